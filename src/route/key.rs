//! The route key that the queue stores and never looks into. It groups recipients that share a hop.

use std::fmt;

/// A hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A local mailbox: `local:alice`.
    Local {
        /// Login name.
        user: String,
    },
    /// By MX of the domain, port 25: `smtp:example.org`.
    Mx {
        /// Domain in lower case, without trailing dot.
        domain: String,
    },
    /// A named relay: `relay:[mail.example]:587` (no MX look-up) or `relay:mail.example:25` (with).
    Relay {
        /// Host name or address, without brackets.
        host: String,
        /// Whether MX records of the host are looked up.
        mx: bool,
        /// TCP port.
        port: u16,
    },
    /// Nothing can be done with it: `error:4.3.5 text`, `error:5.1.1 User unknown`.
    Error {
        /// Status.
        status: mail::Status,
        /// Text.
        text: String,
    },
}

impl Key {
    /// Reads what [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "local" => Some(Self::Local { user: rest.to_owned() }),
            "smtp" => Some(Self::Mx { domain: rest.to_owned() }),
            "relay" => {
                let (host, port) = rest.rsplit_once(':')?;
                let port = port.parse().ok()?;
                match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
                    Some(host) => Some(Self::Relay { host: host.to_owned(), mx: false, port }),
                    None => Some(Self::Relay { host: host.to_owned(), mx: true, port }),
                }
            }
            "error" => {
                let (status, text) = mail::Status::split(rest)?;
                Some(Self::Error { status, text: text.to_owned() })
            }
            _ => None,
        }
    }
    /// A smart host as written in a configuration: `relay.example`, `[relay.example]`, `[192.0.2.1]:587`, `[::1]:25`.
    #[must_use]
    pub fn smart_host(text: &str) -> Option<Self> {
        let (host, mx, rest) = match text.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']')?;
                (host, false, rest)
            }
            None => match text.split_once(':') {
                Some((host, _)) => (host, true, &text[host.len()..]),
                None => (text, true, ""),
            },
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|&p| p != 0)?,
            None if rest.is_empty() => 25,
            None => return None,
        };
        let name_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        let mx = mx && host.parse::<std::net::IpAddr>().is_err();
        (!host.is_empty() && host.chars().all(name_ok)).then(|| Self::Relay {
            host: host.to_ascii_lowercase(),
            mx,
            port,
        })
    }
    /// sendmail's name of the mailer, for the log: `local`, `esmtp`, `relay`.
    #[must_use]
    pub const fn mailer(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Mx { .. } => "esmtp",
            Self::Relay { .. } => "relay",
            Self::Error { .. } => "error",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { user } => write!(f, "local:{user}"),
            Self::Mx { domain } => write!(f, "smtp:{domain}"),
            Self::Relay { host, mx: false, port } => write!(f, "relay:[{host}]:{port}"),
            Self::Relay { host, mx: true, port } => write!(f, "relay:{host}:{port}"),
            Self::Error { status, text } => write!(f, "error:{status} {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        for text in [
            "local:alice",
            "smtp:example.org",
            "relay:[127.0.0.1]:2525",
            "relay:[::1]:25",
            "relay:mail.example:25",
            "error:4.3.5 not built yet",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        assert!(Key::parse("x:y").is_none() && Key::parse("relay:a").is_none());
    }

    #[test]
    fn smart_hosts_as_people_write_them() {
        let show = |t: &str| Key::smart_host(t).map(|k| k.to_string());
        assert_eq!(show("[relay.isp.example]:587").as_deref(), Some("relay:[relay.isp.example]:587"));
        assert_eq!(show("relay.isp.example").as_deref(), Some("relay:relay.isp.example:25"));
        assert_eq!(show("[::1]:2525").as_deref(), Some("relay:[::1]:2525"));
        for bad in ["", "[]", "[a", "a:0", "a:x", "[a]x", "a b", "a:70000"] {
            assert_eq!(show(bad), None, "{bad}");
        }
    }
}
