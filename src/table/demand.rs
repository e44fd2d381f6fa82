//! What the access table says of encryption and of what a client is offered: `TLS_Srv:`, `TLS_Clt:`, `TLS_Rcpt:`, `Srv_Features:`
//! (sendmail.md 3.3). `compat/table` reads it; `receive` and `deliver` hold it against the session.

use mail::{Certificate, Encryption, Status, Verify};

/// What must hold of the encryption of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Key length in bits at least; 0: any.
    pub bits: u32,
    /// The other side's certificate must have been verified.
    pub verified: bool,
    /// What else its certificate must say; all of it.
    pub certificate: Vec<Requirement>,
    /// What becomes of mail if it is unmet.
    pub unmet: Unmet,
}

/// The class of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmet {
    /// For now, in the words of an entry that says nothing of it.
    #[default]
    Later,
    /// `TEMP+`: for now.
    Temporary,
    /// `PERM+`: for good.
    Permanent,
}

/// Something that a certificate must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `CN:name`; without a name it is the other side's.
    Name(Option<String>),
    /// `CS:`: the subject.
    Subject(String),
    /// `CI:`: who signed it.
    Issuer(String),
    /// Something that is not known here: never met.
    Unknown(String),
}

impl Demand {
    /// What a session that does not meet it is answered, in sendmail's words. `host`: the other side's name in DNS. What could not be judged
    /// waits, whatever the entry says: it is this host that has no authorities to ask.
    #[must_use]
    pub fn refused(&self, session: &Encryption, host: Option<&str>) -> Option<(u16, Status, String)> {
        let text = self.unmet(session, host)?;
        let unjudged = self.verified && session.verify == Verify::Temp && self.unmet == Unmet::Permanent;
        let (code, status) = if unjudged { Unmet::Later.reply() } else { self.refusal() };
        Some((code, status, text))
    }

    /// What is wrong with a session.
    fn unmet(&self, session: &Encryption, host: Option<&str>) -> Option<String> {
        let unverified = match session.verify {
            _ if !self.verified => None,
            Verify::Ok => None,
            Verify::No => Some("not authenticated"),
            Verify::Not => Some("no authentication requested"),
            Verify::Fail => Some("authentication failed"),
            Verify::Temp => Some("authentication cannot be judged now"),
            Verify::Unset => Some("authentication required"),
            Verify::None => Some("other side does not support STARTTLS"),
            Verify::Clear => Some("STARTTLS disabled locally"),
        };
        if let Some(text) = unverified {
            return Some(text.to_owned());
        }
        if session.bits < self.bits {
            return Some(format!("encryption too weak {} less than {}", session.bits, self.bits));
        }
        let nobody = Certificate::default();
        let certificate = session.certificate.as_ref().unwrap_or(&nobody);
        self.certificate.iter().find_map(|requirement| requirement.unmet(certificate, host))
    }

    /// Reply code and status of a refusal, as the entry has them.
    #[must_use]
    pub const fn refusal(&self) -> (u16, Status) {
        self.unmet.reply()
    }
}

impl Unmet {
    const fn reply(self) -> (u16, Status) {
        match self {
            Self::Later => (454, Status::temporary(7, 0)),
            Self::Temporary => (403, Status::temporary(7, 0)),
            Self::Permanent => (503, Status::permanent(7, 0)),
        }
    }
}

impl Requirement {
    fn unmet(&self, shown: &Certificate, host: Option<&str>) -> Option<String> {
        let differs = |what: &str, is: &str, must: &str| {
            let same = !must.is_empty() && is.eq_ignore_ascii_case(must);
            (!same).then(|| format!("{what} {is} does not match {must}"))
        };
        match self {
            Self::Name(name) => {
                let must = name.as_deref().or(host).unwrap_or_default();
                let named = std::iter::once(&shown.name).chain(&shown.hosts).any(|name| is_named(name, must));
                let is = if shown.name.is_empty() { "BadCertificateUnknown" } else { &shown.name };
                if named { None } else { differs("CN", is, must) }
            }
            Self::Subject(must) => differs("Cert Subject", &shown.subject, must),
            Self::Issuer(must) => differs("Cert Issuer", &shown.issuer, must),
            Self::Unknown(text) => Some(format!("unknown requirement {text}")),
        }
    }
}

/// Whether a name in a certificate is this one; `*.example` is any name with one label more (sendmail's check_cert_altnames).
fn is_named(name: &str, must: &str) -> bool {
    let below = must.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, below)| below);
    let wild = name.strip_prefix("*.").zip(below);
    !must.is_empty()
        && (name.eq_ignore_ascii_case(must) || wild.is_some_and(|(name, below)| name.eq_ignore_ascii_case(below)))
}

/// What a client is not offered, or must do first, over and above what the settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// No STARTTLS.
    pub no_starttls: bool,
    /// It is not asked for a certificate.
    pub no_certificate: bool,
    /// No PIPELINING.
    pub no_pipelining: bool,
    /// No DSN.
    pub no_dsn: bool,
    /// No ETRN.
    pub no_etrn: bool,
    /// No EXPN.
    pub no_expn: bool,
    /// No VERB.
    pub no_verb: bool,
    /// No mail without AUTH.
    pub needs_auth: bool,
    /// It is to come again later: no mail is taken.
    pub later: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(verify: Verify, bits: u32) -> Encryption {
        let certificate = Certificate {
            subject: "/O=x/CN=Mail.Test".into(),
            issuer: "/CN=ca".into(),
            name: "Mail.Test".into(),
            hosts: vec!["a.test".into(), "*.wild.test".into()],
        };
        Encryption { bits, verify, certificate: Some(certificate), ..Encryption::default() }
    }

    #[test]
    fn who_must_be_verified() {
        let demand = Demand { verified: true, bits: 128, ..Demand::default() };
        let said = |verify, bits| demand.unmet(&session(verify, bits), None);
        assert_eq!(said(Verify::Ok, 128), None);
        assert_eq!(said(Verify::Ok, 64).unwrap(), "encryption too weak 64 less than 128");
        for (verify, text) in [
            (Verify::No, "not authenticated"),
            (Verify::Not, "no authentication requested"),
            (Verify::Fail, "authentication failed"),
            (Verify::Temp, "authentication cannot be judged now"),
            (Verify::Unset, "authentication required"),
            (Verify::None, "other side does not support STARTTLS"),
            (Verify::Clear, "STARTTLS disabled locally"),
        ] {
            assert_eq!(said(verify, 256).unwrap(), text);
            let weaker = Demand { verified: false, ..demand.clone() };
            assert_eq!(weaker.unmet(&session(verify, 256), None), None);
        }
    }

    #[test]
    fn what_a_certificate_must_say() {
        let unmet = |requirement: Requirement, host| {
            let demand = Demand { certificate: vec![requirement], ..Demand::default() };
            demand.unmet(&session(Verify::Ok, 256), host)
        };
        let name = |name: &str| Requirement::Name(Some(name.into()));
        for known in ["mail.test", "A.test", "x.wild.test"] {
            assert_eq!(unmet(name(known), None), None, "{known}");
            assert_eq!(unmet(Requirement::Name(None), Some(known)), None, "{known}");
        }
        assert_eq!(unmet(name("b.test"), Some("mail.test")).unwrap(), "CN Mail.Test does not match b.test");
        for unknown in ["x.y.wild.test", "wild.test", ".wild.test", "*.test", ""] {
            assert!(unmet(name(unknown), None).is_some(), "{unknown}");
        }
        assert!(unmet(Requirement::Name(None), None).is_some());
        assert_eq!(unmet(Requirement::Subject("/O=X/CN=mail.test".into()), None), None);
        let said = unmet(Requirement::Issuer("/CN=other".into()), None).unwrap();
        assert_eq!(said, "Cert Issuer /CN=ca does not match /CN=other");
        assert!(unmet(Requirement::Unknown("CITag:x".into()), None).is_some());
        let nobody = Demand { certificate: vec![name("")], ..Demand::default() };
        assert!(nobody.unmet(&Encryption::default(), Some("")).is_some());
    }

    #[test]
    fn a_refusal_has_the_class_that_was_asked_for() {
        let code = |unmet| Demand { unmet, ..Demand::default() }.refusal().0;
        assert_eq!([Unmet::Later, Unmet::Temporary, Unmet::Permanent].map(code), [454, 403, 503]);
    }

    #[test]
    fn what_could_not_be_judged_waits() {
        let said = |unmet, verified, verify, bits| {
            let demand = Demand { unmet, verified, bits: 128, ..Demand::default() };
            demand.refused(&session(verify, bits), None).map(|(code, status, _)| (code, status.is_permanent()))
        };
        for (unmet, now) in [(Unmet::Later, 454), (Unmet::Temporary, 403), (Unmet::Permanent, 454)] {
            assert_eq!(said(unmet, true, Verify::Temp, 256), Some((now, false)));
            assert_eq!(said(unmet, true, Verify::Temp, 64), Some((now, false)));
            assert_eq!(said(unmet, true, Verify::Ok, 256), None);
            assert_eq!(said(unmet, false, Verify::Temp, 256), None);
        }
        // These were judged: no certificate, a wrong one, and encryption that is weak whoever it is.
        for (verified, verify, bits) in [(true, Verify::No, 256), (true, Verify::Fail, 256), (false, Verify::Temp, 64)]
        {
            assert_eq!(said(Unmet::Permanent, verified, verify, bits), Some((503, true)), "{verify}");
        }
    }
}
