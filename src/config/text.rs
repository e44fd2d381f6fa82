//! Checked texts: names, addresses, networks, paths. Called through the declarations in `setting.rs`.

use crate::scalar::{Checked, Scalar, no_hint, quote, text};
use crate::table_setting::known_kind;
use ::table::socketmap::Server;
use serde::{Deserialize, Deserializer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

text!(
    /// A host name in lower case, without a dot at the end.
    HostName, "a host name", host_name
);
text!(
    /// A domain or an address literal.
    Domain, "a domain or an address in brackets", domain
);
text!(
    /// A domain, or `.domain` for what is below it.
    RelayDomain, "a domain", relay_domain
);
text!(
    /// A network as `address/bits`.
    Network, "an address or a network such as \"192.0.2.0/24\"", network
);
text!(
    /// An absolute path.
    FilePath, "an absolute path", path
);
text!(
    /// A table: an absolute path, or a kind and a path or, for a socketmap, where its server is.
    TableFile, "an absolute path, or \"kind:/path\"", table_file
);
text!(
    /// A key or a value of a table.
    EntryText, "a key and a value", entry_text
);
text!(
    /// A local user's name.
    User, "the name of a user", list_user
);
text!(
    /// The domain that masqueraded senders show.
    MasqueradeName, "a domain", masquerade_name
);
text!(
    /// Where mail goes on, see `route::Key::onward`.
    Onward, "a host such as \"relay.example\" or \"[relay.example]:587\", or \"local:user\"", onward
);
text!(
    /// Address and port to listen on.
    ListenAddress, "an address and a port such as \"[::]:25\"", listen_address
);
text!(
    /// A smart host, see `route::Key::smart_host`.
    SmartHost, "a host such as \"[relay.example]:587\" or \"relay.example\"", smart_host
);
text!(
    /// Where LMTP is spoken, see `route::Key::lmtp`.
    LmtpPlace, "a socket such as \"/run/dovecot/lmtp\", or \"[host]:port\"", lmtp_place
);
text!(
    /// A name server as `address:port`.
    NameServer, "an address, with a port if it is not 53", name_server
);
text!(
    /// A login or group name.
    Account, "the name of an account", account
);
text!(
    /// A colon list of paths, see sendmail's ForwardPath.
    ForwardPath, "paths such as \"$z/.forward\", with colons between them, or nothing", forward_path
);
text!(
    /// A mailbox path with `{user}` or `{home}`.
    MailboxPath, "a path with {user} or {home}", mailbox_path
);
text!(
    /// A path of mailboxes with `{user}` and `{domain}`.
    StorePath, "a path with {user} and {domain}", store_path
);
text!(
    /// A program or one of its arguments.
    CommandWord, "a program and its arguments", command_word
);
text!(
    /// A local user or an address.
    Recipient, "a user or an address", recipient
);

/// Letters, digits, `-` and `_` between dots; 253 characters, 63 for a label, which does not begin or end with a `-`.
fn host_name(text: &str) -> Result<String, String> {
    let edge = |label: &str| label.starts_with('-') || label.ends_with('-');
    let name = names(text).filter(|name| !name.split('.').any(edge));
    name.ok_or_else(|| format!("\"{text}\" is no host name"))
}

/// A host name as addresses have them: a `-` may stand anywhere.
fn names(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii();
    let plain = |c: char| plain(c) && !c.is_control() && !c.is_whitespace();
    let label = |l: &str| (1..=63).contains(&l.len()) && l.chars().all(plain);
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

/// A domain in a list file: whatever an address may have there, as in sendmail.
pub(crate) fn listed_domain(text: &str) -> Result<String, String> {
    names(text).map_or_else(|| domain(text), Ok)
}

/// A relay domain in a list file.
pub(crate) fn listed_relay_domain(text: &str) -> Result<String, String> {
    let name = names(text.strip_prefix('.').unwrap_or(text));
    name.map_or_else(|| relay_domain(text), |name| Ok(if text.starts_with('.') { format!(".{name}") } else { name }))
}

pub(crate) fn domain(text: &str) -> Result<String, String> {
    let Some(literal) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else {
        return host_name(text).map_err(|_| format!("\"{text}\" is no domain"));
    };
    let lower = literal.to_ascii_lowercase();
    let ip = match lower.strip_prefix("ipv6:") {
        Some(six) => six.parse::<Ipv6Addr>().is_ok(),
        None => lower.parse::<Ipv4Addr>().is_ok(),
    };
    if ip {
        Ok(format!("[{lower}]"))
    } else {
        Err(format!("\"{text}\" is no address literal, expected \"[192.0.2.1]\" or \"[IPv6:2001:db8::1]\""))
    }
}

/// A literal is one for recipients (`user@[192.0.2.1]`); the network of clients is written without brackets.
pub(crate) fn relay_domain(text: &str) -> Result<String, String> {
    if text.starts_with('[') {
        return domain(text);
    }
    let name = host_name(text.strip_prefix('.').unwrap_or(text)).map_err(|_| format!("\"{text}\" is no domain"))?;
    Ok(if text.starts_with('.') { format!(".{name}") } else { name })
}

fn network(text: &str) -> Result<String, String> {
    let bad = || format!("\"{text}\" is no network, expected an address or a network such as \"192.0.2.0/24\"");
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = address.parse().map_err(|_| bad())?;
    let width: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let bits: u8 = match bits {
        // `parse` would take `+8`.
        Some(bits) if bits.starts_with(|c: char| c.is_ascii_digit()) => {
            bits.parse().ok().filter(|b| *b <= width).ok_or_else(bad)?
        }
        Some(_) => return Err(bad()),
        None => width,
    };
    let base = masked(ip, bits);
    if base == ip {
        Ok(format!("{base}/{bits}"))
    } else {
        Err(format!("\"{text}\" has bits set behind the prefix; write \"{base}/{bits}\""))
    }
}

/// The first address of a network.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

/// A member of sendmail's class R that is a network: octets of IPv4 (`192.0.2` is `192.0.2.0/24`) or groups of IPv6
/// (`IPv6:2001:db8`), as `address/bits`.
pub(crate) fn prefix_network(word: &str) -> Option<String> {
    let lower = word.to_ascii_lowercase();
    if let Some(six) = lower.strip_prefix("ipv6:") {
        if let Ok(ip) = six.parse::<Ipv6Addr>() {
            return Some(format!("{ip}/128"));
        }
        let groups = six.trim_end_matches(':').split(':').count();
        let whole = format!("{}::", six.trim_end_matches(':'));
        let ip = whole.parse::<Ipv6Addr>().ok()?;
        return Some(format!("{ip}/{}", groups * 16));
    }
    let octets: Vec<u8> = lower.trim_end_matches('.').split('.').map(octet).collect::<Option<_>>()?;
    let full: Vec<u8> = octets.iter().copied().chain([0; 4]).take(4).collect();
    let full: [u8; 4] = full.try_into().ok()?;
    (octets.len() <= 4).then(|| format!("{}/{}", Ipv4Addr::from(full), octets.len() * 8))
}

/// As an address has it: sendmail compares texts, and no address begins with `010.` or `+10.`.
fn octet(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| digits)
}

/// Paths go into the plan, whose fields end at a TAB and whose lines end at a line end.
fn clean(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err("a path must not contain control characters".to_owned());
    }
    if text.len() > 4_000 {
        return Err("the path is longer than 4,000 bytes".to_owned());
    }
    Ok(())
}

fn path(text: &str) -> Result<String, String> {
    clean(text)?;
    if !text.starts_with('/') {
        return Err(format!("\"{text}\" is no absolute path"));
    }
    Ok(text.to_owned())
}

/// Kind and path of a table; no kind: empty.
pub(crate) fn kind_and_path(text: &str) -> (&str, &str) {
    match text.split_once(':') {
        Some((kind, path)) if !kind.contains('/') => (kind, path),
        _ => ("", text),
    }
}

/// The kind of table that is asked of a server.
pub(crate) const SOCKETMAP: &str = "socketmap";

/// Server and name of a map: `unix:/path:name` or `inet:address:port:name`.
///
/// # Errors
/// What was expected.
pub fn socketmap(text: &str) -> Result<(Server, String), String> {
    let bad = || {
        format!(
            "\"{SOCKETMAP}:{text}\" is no socketmap, expected \"{SOCKETMAP}:unix:/path:name\" or \"{SOCKETMAP}:inet:127.0.0.1:8881:name\""
        )
    };
    clean(text)?;
    let (server, name) = text.rsplit_once(':').ok_or_else(bad)?;
    // A blank would end the name in the question.
    if name.is_empty() || name.contains(['/', ' ']) {
        return Err(bad());
    }
    let server = match server.split_once(':').ok_or_else(bad)? {
        ("unix", path) if path.starts_with('/') => Server::Unix(path.into()),
        ("inet", address) => Server::Tcp(address.parse().map_err(|_| bad())?),
        _ => return Err(bad()),
    };
    Ok((server, name.to_owned()))
}

fn entry_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > 4_000 || text.chars().any(char::is_control) {
        return Err("an entry has a key and a value of 1 to 4,000 bytes, without control characters".to_owned());
    }
    Ok(text.trim().to_owned())
}

fn table_file(text: &str) -> Result<String, String> {
    let (kind, file) = kind_and_path(text);
    if kind == SOCKETMAP {
        return socketmap(file).map(|_| text.to_owned());
    }
    if kind.is_empty() && text.starts_with(':') {
        return Err("\"\" is no kind of table".to_owned());
    }
    known_kind(kind)?;
    path(file).map(|_| text.to_owned())
}

pub(crate) fn list_user(text: &str) -> Result<String, String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '@' | '<' | '>' | ',' | ';' | '"');
    if text.is_empty() || text.len() > 256 || text.contains(bad) {
        return Err(format!("\"{text}\" is no user's name"));
    }
    Ok(text.to_owned())
}

fn masquerade_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { host_name(text).map_err(|_| format!("\"{text}\" is no domain")) }
}

fn onward(text: &str) -> Result<String, String> {
    match route::Key::onward(text) {
        Some(_) => Ok(text.to_owned()),
        None => {
            Err(format!("\"{text}\" is no host, expected one such as \"relay.example\" or \"[relay.example]:587\""))
        }
    }
}

fn mailbox_path(text: &str) -> Result<String, String> {
    clean(text)?;
    let bare = text.replace("{user}", "").replace("{home}", "");
    if bare.contains(['{', '}']) {
        return Err(format!("\"{text}\": only {{user}} and {{home}} may stand in braces"));
    }
    if !text.starts_with('/') && !text.starts_with("{home}/") {
        return Err(format!("\"{text}\" must start with \"/\" or \"{{home}}/\""));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!("\"{text}\" must not contain \"..\""));
    }
    if bare.len() == text.len() {
        return Err(format!("\"{text}\" is the same for all users; it needs {{user}} or {{home}}"));
    }
    Ok(text.to_owned())
}

fn store_path(text: &str) -> Result<String, String> {
    clean(text)?;
    let bare = text.replace("{user}", "").replace("{domain}", "");
    if bare.contains(['{', '}']) {
        return Err(format!("\"{text}\": only {{user}} and {{domain}} may stand in braces"));
    }
    if !text.starts_with('/') || text.starts_with("/{") || text.split('/').any(|part| part == "..") {
        return Err(format!("\"{text}\" is no path such as \"/var/vmail/{{domain}}/{{user}}\""));
    }
    if !text.contains("{user}") {
        return Err(format!("\"{text}\" is the same for all users; it needs {{user}}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn command_word(text: &str) -> Result<String, String> {
    clean(text)?;
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
    let words = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| word);
    match words.filter(|word| is_name(word)).find(|word| !IN_COMMAND.contains(word)) {
        Some(word) => Err(format!("\"{{{word}}}\" is nothing here, expected {{{}}}", IN_COMMAND.join("}, {"))),
        None => Ok(text.to_owned()),
    }
}

/// What stands in braces in a command.
const IN_COMMAND: [&str; 5] = ["user", "extension", "sender", "recipient", "home"];

/// Whether an argument of a command depends on the message or its recipient.
pub(crate) fn is_filled(argument: &str) -> bool {
    IN_COMMAND.iter().any(|name| argument.contains(&format!("{{{name}}}")))
}

fn listen_address(text: &str) -> Result<String, String> {
    let bad = || format!("\"{text}\" is no address with a port, expected one such as \"[::]:25\" or \"127.0.0.1:587\"");
    if let Some(port) = text.strip_prefix("*:").and_then(|port| port.parse::<u16>().ok()) {
        return Err(format!("\"{text}\": for all addresses write \"[::]:{port}\""));
    }
    let address: SocketAddr = text.parse().map_err(|_| bad())?;
    if address.port() == 0 {
        return Err(format!("\"{text}\": port 0 cannot be listened on"));
    }
    Ok(address.to_string())
}

fn smart_host(text: &str) -> Result<String, String> {
    match route::Key::smart_host(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "\"{text}\" is no smart host, expected one such as \"[relay.example]:587\" (no MX look-up) or \"relay.example\""
        )),
    }
}

fn lmtp_place(text: &str) -> Result<String, String> {
    match route::Key::lmtp(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "\"{text}\" is no LMTP server, expected one such as \"/run/dovecot/lmtp\" or \"[127.0.0.1]:24\""
        )),
    }
}

fn name_server(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 53).to_string());
    }
    let bad = || format!("\"{text}\" is no address of a name server, expected one such as \"127.0.0.1:5353\"");
    text.parse::<SocketAddr>().map(|a| a.to_string()).map_err(|_| bad())
}

fn forward_path(text: &str) -> Result<String, String> {
    let known = |path: &str| {
        let macros: Vec<_> = path.match_indices('$').map(|(at, _)| path.as_bytes().get(at + 1)).collect();
        path.starts_with(['/', '$']) && macros.iter().all(|name| matches!(name, Some(b'z' | b'u' | b'h' | b'w' | b'$')))
    };
    if text.contains(char::is_control) || !text.split(':').all(|path| path.is_empty() || known(path)) {
        return Err(format!("\"{text}\" is no list of paths; known are $z (home), $u (user), $h (detail), $w (host)"));
    }
    Ok(text.to_owned())
}

fn account(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is no account name"))
    }
}

fn recipient(text: &str) -> Result<String, String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',');
    if text.is_empty() || text.len() > 320 || text.contains(bad) || text.starts_with(['|', '/', ':', '\\']) {
        return Err(format!("\"{text}\" is no user and no address"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(host_name("Mail.Example.ORG.").as_deref(), Ok("mail.example.org"));
        for bad in ["", ".", "a..b", "-a.b", "a b", "a/b", "a\n", &"a".repeat(64)] {
            assert!(host_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(domain("[IPv6:2001:DB8::1]").as_deref(), Ok("[ipv6:2001:db8::1]"));
        assert!(domain("[::1]").is_err() && domain("[1.2.3]").is_err());
        assert_eq!(relay_domain(".Example.org").as_deref(), Ok(".example.org"));
        assert_eq!(relay_domain("[10.6.1.1]").as_deref(), Ok("[10.6.1.1]"));
        assert!(relay_domain("[10.6]").is_err() && relay_domain("-v.test").is_err() && domain("-v.test").is_err());
        assert_eq!(listed_domain("-V.test").as_deref(), Ok("-v.test"));
        assert_eq!(listed_relay_domain(".-v.test").as_deref(), Ok(".-v.test"));
        assert_eq!(listed_domain("[10.6.1.1]").as_deref(), Ok("[10.6.1.1]"));
        assert!(listed_domain("a..b").is_err() && listed_domain("a/b").is_err() && listed_relay_domain("").is_err());
    }

    #[test]
    fn networks() {
        assert_eq!(network("192.0.2.0/24").as_deref(), Ok("192.0.2.0/24"));
        assert_eq!(network("192.0.2.7").as_deref(), Ok("192.0.2.7/32"));
        assert_eq!(network("2001:db8::/32").as_deref(), Ok("2001:db8::/32"));
        assert_eq!(network("0.0.0.0/0").as_deref(), Ok("0.0.0.0/0"));
        assert!(network("192.0.2.1/24").unwrap_err().contains("write \"192.0.2.0/24\""));
        for bad in ["192.0.2.0/33", "x", "10.0.0.0/+8", "10.0.0.0/", "10.0.0.0/-8"] {
            assert!(network(bad).is_err(), "{bad}");
        }
        assert_eq!(prefix_network("192.0.2").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(prefix_network("10").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(prefix_network("10.0.").as_deref(), Some("10.0.0.0/16"));
        assert_eq!(prefix_network("IPv6:2001:db8").as_deref(), Some("2001:db8::/32"));
        assert_eq!(prefix_network("IPv6:::1").as_deref(), Some("::1/128"));
        for no in ["example.org", "1.2.3.4.5", "256.1", "", "1.2.3.4.example", "010.1", "10.01", "+10.1", "10..1", "00"]
        {
            assert_eq!(prefix_network(no), None, "{no}");
        }
    }

    #[test]
    fn socketmaps() {
        assert_eq!(socketmap("unix:/run/a:b/s:virt"), Ok((Server::Unix("/run/a:b/s".into()), "virt".into())));
        assert_eq!(socketmap("inet:[::1]:8881:virt"), Ok((Server::Tcp("[::1]:8881".parse().unwrap()), "virt".into())));
        for bad in ["", "unix:/run/s", "unix:run/s:virt", "inet:localhost:8881:virt", "unix:/run/s:", "unix:/run/s:a b"]
        {
            assert!(socketmap(bad).is_err(), "{bad}");
        }
        assert_eq!(table_file("socketmap:unix:/run/s:virt").as_deref(), Ok("socketmap:unix:/run/s:virt"));
        assert!(table_file("socketmap:/run/s").unwrap_err().contains("expected \"socketmap:unix:/path:name\""));
    }

    #[test]
    fn addresses_and_paths() {
        assert_eq!(listen_address("[::]:25").as_deref(), Ok("[::]:25"));
        assert!(listen_address("*:25").unwrap_err().contains("[::]:25"));
        assert!(listen_address("localhost:25").is_err() && listen_address("127.0.0.1:0").is_err());
        assert_eq!(name_server("::1").as_deref(), Ok("[::1]:53"));
        assert_eq!(mailbox_path("/var/mail/{user}").as_deref(), Ok("/var/mail/{user}"));
        for bad in ["/var/mail/all", "{user}", "/m/{name}", "/m/../{user}", "/m/{user}\t"] {
            assert!(mailbox_path(bad).is_err(), "{bad}");
        }
        assert!(path("x").is_err() && path("/a\nb").is_err());
    }
}
