//! The route key that the queue stores and never looks into. It groups recipients that share a hop.

use std::borrow::Cow;
use std::fmt;

/// A hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A local mailbox: `local:alice`, `local:alice+detail`, `local:\alice`.
    Local {
        /// Login name.
        user: String,
        /// What follows the plus; may be empty. It may choose the user's `.forward`.
        detail: String,
        /// `\alice`: whatever his `.forward` says.
        plain: bool,
    },
    /// A mailbox of somebody without an account: `virtual:bob@example.org`.
    Virtual {
        /// His name, in lower case; safe in a path (`mailbox` checks it as well).
        user: String,
        /// His domain, in lower case.
        domain: String,
    },
    /// A program that an alias or a `.forward` names: `prog:USER+DETAIL:MARK:FILE`.
    Program(Entry),
    /// A file to append to: `file:…`.
    File(Entry),
    /// A list to be read when the mail is here: `include:…`.
    Include(Entry),
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
    /// LMTP (RFC 2033) through a socket of this host: `lmtp:/run/dovecot/lmtp`. Over TCP it is [`Key::Relays`] with the mailer `lmtp`.
    Socket {
        /// Its absolute path.
        path: String,
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

/// An entry in a file. The route holds no command and no path to write to: an agent opens the file and acts only if the entry still
/// stands there (DESIGN §2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Whose `.forward` it is; empty for the administrator's aliases.
    pub user: String,
    /// What follows the plus in his name.
    pub detail: String,
    /// Which entry: [`mail::alias::AliasEntry::mark`].
    pub mark: String,
    /// The file.
    pub file: String,
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (user, mark, file) = (parts.next()?, parts.next()?, parts.next()?);
        let (user, detail) = user.split_once('+').unwrap_or((user, ""));
        let detail = detail.replace("%3A", ":").replace("%25", "%");
        Some(Self { user: user.to_owned(), detail, mark: mark.to_owned(), file: file.to_owned() })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, detail, mark, file } = self;
        f.write_str(user)?;
        if !detail.is_empty() {
            write!(f, "+{}", detail.replace('%', "%25").replace(':', "%3A"))?;
        }
        write!(f, ":{mark}:{file}")
    }
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

/// Whether a text may be the path of a socket: absolute, no longer than the kernel takes, one line.
fn is_socket(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 107 && !path.contains(char::is_control)
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
            "local" => {
                let (plain, rest) = rest.strip_prefix('\\').map_or((false, rest), |rest| (true, rest));
                let (user, detail) = rest.split_once('+').unwrap_or((rest, ""));
                Some(Self::Local { user: user.to_owned(), detail: detail.to_owned(), plain })
            }
            "virtual" => {
                let (user, domain) = rest.rsplit_once('@')?;
                Some(Self::Virtual { user: user.to_owned(), domain: domain.to_owned() })
            }
            "prog" => Entry::parse(rest).map(Self::Program),
            "file" => Entry::parse(rest).map(Self::File),
            "include" => Entry::parse(rest).map(Self::Include),
            "smtp" => Some(Self::Mx { domain: rest.to_owned() }),
            "relay" => Relay::parse(rest).map(|Relay { host, mx, port }| Self::Relay { host, mx, port }),
            "via" => {
                let (mailer, hosts) = rest.split_once(':')?;
                let hosts = hosts.split(',').map(Relay::parse).collect::<Option<Vec<_>>>()?;
                Some(Self::Relays { mailer: mailer.to_owned(), hosts })
            }
            "lmtp" => is_socket(rest).then(|| Self::Socket { path: rest.to_owned() }),
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
        let known = ["local:", "error:", "discard:", "relay:", "via:", "lmtp:"];
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
    /// A mailbox, whatever `.forward` says or not.
    #[must_use]
    pub fn local(user: &str) -> Self {
        Self::Local { user: user.to_owned(), detail: String::new(), plain: false }
    }
    /// Whether a stored route ends on this host, without parsing it.
    #[must_use]
    pub fn is_here(route: &str) -> bool {
        ["local:", "virtual:", "prog:", "file:", "include:"].iter().any(|kind| route.starts_with(kind))
    }
    /// What its recipients wait for: one queue for a mailbox whatever the detail, one for all programs and files of a user, one for each
    /// entry of the aliases, one for each other hop.
    #[must_use]
    pub fn hop(route: &str) -> Cow<'_, str> {
        let (kind, rest) = route.split_once(':').unwrap_or_default();
        let user = rest.split(['+', ':']).next().unwrap_or_default();
        match kind {
            "local" => match rest.strip_prefix('\\').unwrap_or(rest).split_once('+') {
                None if !rest.starts_with('\\') => route.into(),
                None => format!("local:{}", rest.trim_start_matches('\\')).into(),
                Some((user, _)) => format!("local:{user}").into(),
            },
            "prog" | "file" if !user.is_empty() => format!("prog:{user}::").into(),
            _ => route.into(),
        }
    }
    /// Where LMTP is spoken: `/run/dovecot/lmtp`, `unix:/run/dovecot/lmtp`, `[192.0.2.1]:24`, `host:24` (24 by default, no MX look-up).
    #[must_use]
    pub fn lmtp(text: &str) -> Option<Self> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return is_socket(path).then(|| Self::Socket { path: path.to_owned() });
        }
        let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let text = if has_port { text.to_owned() } else { format!("{text}:24") };
        match Self::smart_host(&text)? {
            Self::Relay { host, port, .. } => {
                Some(Self::Relays { mailer: "lmtp".to_owned(), hosts: vec![Relay { host, mx: false, port }] })
            }
            _ => None,
        }
    }
    /// sendmail's name of the mailer, for the log: `local`, `esmtp`, `relay`.
    #[must_use]
    pub fn mailer(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Virtual { .. } => "virtual",
            Self::Program(_) => "prog",
            Self::File(_) => "*file*",
            Self::Include(_) => "*include*",
            Self::Mx { .. } => "esmtp",
            Self::Relay { .. } => "relay",
            Self::Relays { mailer, .. } => match mailer.as_str() {
                "smtp" => "smtp",
                "smtp8" => "smtp8",
                "dsmtp" => "dsmtp",
                "relay" => "relay",
                "lmtp" => "lmtp",
                _ => "esmtp",
            },
            Self::Socket { .. } => "lmtp",
            Self::Discard => "discard",
            Self::Error { .. } => "error",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { user, detail, plain } => {
                let (mark, plus) = (if *plain { "\\" } else { "" }, if detail.is_empty() { "" } else { "+" });
                write!(f, "local:{mark}{user}{plus}{detail}")
            }
            Self::Virtual { user, domain } => write!(f, "virtual:{user}@{domain}"),
            Self::Program(entry) => write!(f, "prog:{entry}"),
            Self::File(entry) => write!(f, "file:{entry}"),
            Self::Include(entry) => write!(f, "include:{entry}"),
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
            Self::Socket { path } => write!(f, "lmtp:{path}"),
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
            "local:\\alice",
            "local:alice+a:b",
            "virtual:a@b:c@example.org",
            "prog::0123456789abcdef:/etc/aliases",
            "prog:alice:0123456789abcdef:/home/a:b/.forward",
            "file:alice+x%3A%25y:0123456789abcdef:/home/alice/.forward+x:%y",
            "include::0123456789abcdef:/etc/aliases",
            "smtp:example.org",
            "relay:[127.0.0.1]:2525",
            "relay:[::1]:25",
            "relay:mail.example:25",
            "via:esmtp:[a.example]:25,b.example:25,[2001:db8::1]:25",
            "via:lmtp:[::1]:24",
            "lmtp:/run/dovecot/lmtp",
            "discard:",
            "error:4.3.5 not built yet",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        assert!(Key::parse("x:y").is_none() && Key::parse("relay:a").is_none() && Key::parse("via:esmtp:").is_none());
    }

    #[test]
    fn recipients_that_wait_for_the_same() {
        for (route, hop) in [
            ("local:\\al+x", "local:al"),
            ("local:\\al", "local:al"),
            ("local:al+x", "local:al"),
            ("local:al", "local:al"),
            ("prog:al+x:1:/f", "prog:al::"),
            ("file:al:2:/f", "prog:al::"),
            ("prog::1:/f", "prog::1:/f"),
            ("smtp:x", "smtp:x"),
        ] {
            assert_eq!(Key::hop(route), hop);
        }
        assert!(Key::parse("prog:al::").is_some(), "a hop's name is a key");
    }

    #[test]
    fn lmtp_by_socket_and_by_port() {
        let show = |t: &str| Key::lmtp(t).map(|k| k.to_string());
        for text in ["/run/dovecot/lmtp", "unix:/run/dovecot/lmtp"] {
            assert_eq!(show(text).as_deref(), Some("lmtp:/run/dovecot/lmtp"));
        }
        assert_eq!(show("[127.0.0.1]:2003").as_deref(), Some("via:lmtp:[127.0.0.1]:2003"));
        assert_eq!(show("mail.example").as_deref(), Some("via:lmtp:[mail.example]:24"));
        assert_eq!(show("[::1]").as_deref(), Some("via:lmtp:[::1]:24"));
        for bad in ["", "unix:", "unix:run", "/a\nb", "[a", "a:0"] {
            assert_eq!(show(bad), None, "{bad}");
        }
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
