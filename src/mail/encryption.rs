//! What was agreed on with the other side of a session, and who it says it is: filled by `tls` after a handshake, judged by the demands of
//! the access table, shown in log and Received fields. Words: sendmail.md 5.6.

use std::fmt;

/// The encryption of a session; the default is a session in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encryption {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Length of the key; 0 in clear.
    pub bits: u32,
    /// What is known of the other side.
    pub verify: Verify,
    /// What it showed, if that could be read. Whoever counts on it looks at `verify` first.
    pub certificate: Option<Certificate>,
}

/// What is known of the other side: sendmail's `${verify}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Its certificate was signed by an authority that is trusted.
    Ok,
    /// It showed none.
    No,
    /// It was not asked for one.
    Not,
    /// It showed one that nobody trusted vouches for.
    Fail,
    /// It showed one that could not be judged: there is no usable authority here.
    Temp,
    /// Nothing: there was no STARTTLS so far.
    #[default]
    Unset,
    /// It does not offer STARTTLS.
    None,
    /// STARTTLS was not tried, for so it is configured.
    Clear,
}

/// Whose certificate it is. Texts are encoded as in sendmail's `${cert_subject}` and `${cert_issuer}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// `/C=US/O=example/CN=mail.example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The first common name of the subject; empty if there is none.
    pub name: String,
    /// Host names it was made for besides (subjectAltName).
    pub hosts: Vec<String>,
}

impl Encryption {
    /// Whether there is any.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.bits > 0
    }
    /// The certificate, if the other side was verified.
    #[must_use]
    pub fn verified(&self) -> Option<&Certificate> {
        self.certificate.as_ref().filter(|_| self.verify == Verify::Ok)
    }
    /// As in Received fields: `version=TLSv1.3 cipher=… bits=256 verify=NO`.
    #[must_use]
    pub fn received(&self) -> String {
        format!("version={} cipher={} bits={} verify={}", self.version, self.cipher, self.bits, self.verify)
    }
}

/// As in log lines: `version=TLSv1.3, verify=NO, cipher=…, bits=256/256`.
impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, cipher, bits, verify, .. } = self;
        write!(f, "version={version}, verify={verify}, cipher={cipher}, bits={bits}/{bits}")
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Not => "NOT",
            Self::Fail => "FAIL",
            Self::Temp => "TEMP",
            Self::Unset => "",
            Self::None => "NONE",
            Self::Clear => "CLEAR",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_in_sendmails_order() {
        let encryption = Encryption {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            bits: 256,
            verify: Verify::No,
            certificate: Some(Certificate::default()),
        };
        let line = "version=TLSv1.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384, bits=256/256";
        assert_eq!(encryption.to_string(), line);
        assert_eq!(encryption.received(), "version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NO");
        assert_eq!((encryption.verified(), Encryption::default().bits), (None, 0));
    }
}
