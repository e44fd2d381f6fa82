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
    /// Named hosts in order, by one of sendmail's mailers: `via:esmtp:[a.example]:25,b.example:25`.
    Relays {
        /// The mailer's name: `esmtp`, `relay`, …
        mailer: String,
        /// At least one.
        hosts: Vec<Relay>,
    },
    /// Thrown away, as a table says: `discard:`.
    Discard,
    /// Nothing can be done with it: `error:4.3.5 text`, `error:5.1.1 User unknown`.
    Error {
        /// Status.
        status: mail::Status,
        /// Text.
        text: String,
    },
}

/// One host of [`Key::Relays`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relay {
    /// Host name or address, without brackets.
    pub host: String,
    /// Whether MX records of the host are looked up.
    pub mx: bool,
    /// TCP port.
    pub port: u16,
}

impl Relay {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(host) => Some(Self { host: host.to_owned(), mx: false, port }),
            None => Some(Self { host: host.to_owned(), mx: true, port }),
        }
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { host, mx: false, port } => write!(f, "[{host}]:{port}"),
            Self { host, mx: true, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// What a host name in a route may consist of: nothing that would read as another part of a key.
fn is_host(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':') || (c.is_alphanumeric());
    !host.is_empty() && host.len() <= 255 && host.chars().all(fits)
}

impl Key {
    /// Reads what [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "local" => Some(Self::Local { user: rest.to_owned() }),
            "smtp" => Some(Self::Mx { domain: rest.to_owned() }),
            "relay" => Relay::parse(rest).map(|Relay { host, mx, port }| Self::Relay { host, mx, port }),
            "via" => {
                let (mailer, hosts) = rest.split_once(':')?;
                let hosts = hosts.split(',').map(Relay::parse).collect::<Option<Vec<_>>>()?;
                Some(Self::Relays { mailer: mailer.to_owned(), hosts })
            }
            "discard" if rest.is_empty() => Some(Self::Discard),
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
    /// Where a mail hub, local relay or luser relay points: `local:user`, `error:5.1.1 text`, `discard:`, a stored key, or
    /// a host as for [`Key::smart_host`].
    #[must_use]
    pub fn onward(text: &str) -> Option<Self> {
        let known = ["local:", "error:", "discard:", "relay:", "via:"];
        if known.iter().any(|kind| text.starts_with(kind)) { Self::parse(text) } else { Self::smart_host(text) }
    }
    /// The hosts of a mailertable entry, all at port 25; nothing if a name is none.
    #[must_use]
    pub fn via(mailer: &str, hosts: &[table::Host]) -> Option<Self> {
        let relay = |host: &table::Host| {
            let mx = host.mx && host.name.parse::<std::net::IpAddr>().is_err();
            is_host(&host.name).then(|| Relay { host: host.name.clone(), mx, port: 25 })
        };
        let hosts = hosts.iter().map(relay).collect::<Option<Vec<_>>>()?;
        match (mailer, &hosts[..]) {
            (_, []) => None,
            ("relay", [Relay { host, mx, port }]) => Some(Self::Relay { host: host.clone(), mx: *mx, port: *port }),
            _ => Some(Self::Relays { mailer: mailer.to_owned(), hosts }),
        }
    }
    /// sendmail's name of the mailer, for the log: `local`, `esmtp`, `relay`.
    #[must_use]
    pub fn mailer(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Mx { .. } => "esmtp",
            Self::Relay { .. } => "relay",
            Self::Relays { mailer, .. } => match mailer.as_str() {
                "smtp" => "smtp",
                "smtp8" => "smtp8",
                "dsmtp" => "dsmtp",
                "relay" => "relay",
                _ => "esmtp",
            },
            Self::Discard => "discard",
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
            Self::Relays { mailer, hosts } => {
                write!(f, "via:{mailer}:")?;
                hosts.iter().enumerate().try_for_each(|(n, host)| {
                    f.write_str(if n == 0 { "" } else { "," })?;
                    write!(f, "{host}")
                })
            }
            Self::Discard => f.write_str("discard:"),
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
            "via:esmtp:[a.example]:25,b.example:25,[2001:db8::1]:25",
            "discard:",
            "error:4.3.5 not built yet",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        assert!(Key::parse("x:y").is_none() && Key::parse("relay:a").is_none() && Key::parse("via:esmtp:").is_none());
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

    #[test]
    fn hubs_and_mailertable_hosts() {
        let show = |t: &str| Key::onward(t).map(|k| k.to_string());
        assert_eq!(show("hub.example").as_deref(), Some("relay:hub.example:25"));
        assert_eq!(show("local:catchall").as_deref(), Some("local:catchall"));
        assert_eq!(show("error:5.1.1 gone").as_deref(), Some("error:5.1.1 gone"));
        let host = |name: &str, mx| table::Host { name: name.into(), mx };
        let via = |mailer, hosts: &[table::Host]| Key::via(mailer, hosts).map(|k| k.to_string());
        assert_eq!(via("relay", &[host("a", false)]).as_deref(), Some("relay:[a]:25"));
        assert_eq!(via("esmtp", &[host("a", true)]).as_deref(), Some("via:esmtp:a:25"));
        assert_eq!(via("esmtp", &[host("a", false), host("::1", true)]).as_deref(), Some("via:esmtp:[a]:25,[::1]:25"));
        // A name that would read as a second host is none.
        assert_eq!(via("esmtp", &[host("a]:25,[b", false)]), None);
        assert_eq!(via("esmtp", &[]), None);
    }
}
