//! The agent's command line, and the one place where a login name becomes a path.

use crate::Error;
use call::agent::Kind;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a mailbox is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Mbox,
    Maildir,
    /// By the administrator's command; root's, for whom nothing runs, as mbox.
    Command,
}

/// Who owns the mailboxes of a virtual domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// What the keeper says; its values come from root-owned configuration, except `user`, which the engine chose.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub kind: Kind,
    pub user: String,
    pub format: Format,
    /// With `{user}` and `{home}`; for a virtual agent with `{user}` and `{domain}`.
    pub path: String,
    /// For a virtual agent: whose the domain's mailboxes are; `None` if none are named for it.
    pub owner: Option<Owner>,
    /// Group of mailbox agents (mail).
    pub group: u32,
    pub min_uid: u32,
    pub engine_uid: u32,
    pub socket: i32,
    /// Where `.forward` files are, with macros (sendmail's ForwardPath); empty: nowhere.
    pub forward: String,
    /// Write bits that make a `.forward`, and a folder on the way to it, unsafe.
    pub unsafe_bits: (u32, u32),
    /// This host's name without its domain, `$w`.
    pub host: String,
    /// What runs programs: `/bin/sh`, or smrsh.
    pub shell: PathBuf,
    /// Longest time that a program may take.
    pub program_time: Duration,
    /// The alias files, for a system agent: texts, and `X.db` beside those that may have one.
    pub aliases: Vec<String>,
    /// The administrator's command, with what stands in braces.
    pub command: Vec<String>,
    /// comsat is told of new mail.
    pub biff: bool,
}

impl Arguments {
    pub(crate) fn parse(args: &[OsString]) -> Result<Self, Error> {
        let usage = |what: &str| Error::Usage(format!("bad arguments: {what}"));
        let texts: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
        let texts = texts.ok_or_else(|| usage("not UTF-8"))?;
        let Some((&[kind, user], options)) = texts.split_first_chunk::<2>() else {
            return Err(usage("kind and user expected"));
        };
        let kind = match kind {
            "mailbox" => Kind::Mailbox,
            "user" => Kind::User,
            "system" => Kind::System,
            "virtual" => Kind::Virtual,
            _ => return Err(usage("kind is mailbox, user, system or virtual")),
        };
        let option = |name: &str| {
            let found = options.chunks_exact(2).find(|pair| pair.first() == Some(&name));
            found.and_then(|pair| pair.get(1)).copied().ok_or_else(|| usage(name))
        };
        let number = |name: &str| option(name).and_then(|text| text.parse::<u32>().map_err(|_| usage(name)));
        let octal = |name: &str| option(name).and_then(|text| u32::from_str_radix(text, 8).map_err(|_| usage(name)));
        let all = |name: &'static str| {
            let pairs = options.chunks_exact(2).filter(move |pair| pair.first() == Some(&name));
            pairs.filter_map(|pair| pair.get(1)).map(|&value| value.to_owned())
        };
        let (mut format, mut path) = (option("--format")?, option("--path")?);
        let mut owner = None;
        if let (Kind::Virtual, Some((_, domain))) = (kind, user.rsplit_once('@')) {
            let stores = options.chunks_exact(2).filter(|pair| pair.first() == Some(&"--virtual"));
            let mut stores = stores.filter_map(|pair| pair.get(1)?.split_once(':'));
            if let Some((_, store)) = stores.find(|(name, _)| *name == domain) {
                let told = store_of(store).ok_or_else(|| usage("--virtual"))?;
                (owner, format, path) = (Some(told.0), told.1, told.2);
            }
        }
        Ok(Self {
            kind,
            user: user.to_owned(),
            owner,
            format: match format {
                "mbox" => Format::Mbox,
                "maildir" => Format::Maildir,
                "command" => Format::Command,
                _ => return Err(usage("--format")),
            },
            path: path.to_owned(),
            group: number("--group")?,
            min_uid: number("--min-uid")?,
            engine_uid: number("--engine-uid")?,
            socket: option("--socket-fd")?.parse().map_err(|_| usage("--socket-fd"))?,
            forward: option("--forward")?.to_owned(),
            unsafe_bits: (octal("--unsafe-file")?, octal("--unsafe-folder")?),
            host: option("--host")?.to_owned(),
            shell: option("--shell")?.into(),
            program_time: Duration::from_secs(number("--program-time")?.into()),
            aliases: all("--aliases").collect(),
            command: all("--command").collect(),
            biff: option("--biff").is_ok_and(|word| word == "yes"),
        })
    }
}

/// `uid:gid:kind:path`.
fn store_of(text: &str) -> Option<(Owner, &str, &str)> {
    let mut parts = text.splitn(4, ':');
    let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((Owner { uid, gid }, parts.next()?, parts.next()?))
}

/// Whether `name` may be asked of NSS and stand in a path: no separator, no `.` or `..`, nothing unprintable.
pub(crate) fn is_path_safe(name: &str) -> bool {
    let odd = |c: char| c == '/' || c == '\0' || c.is_control();
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(odd)
}

/// Fills the template; `None` if it does not become an absolute path, if a name is not safe in it, or if it is the path of a lock.
pub(crate) fn fill(template: &str, user: &str, home: &str) -> Option<PathBuf> {
    let safe = is_path_safe(user) && (!template.contains("{home}") || home.starts_with('/'));
    // Home first: a name can hold no braces of the template's after it.
    let path = PathBuf::from(template.replace("{home}", home).replace("{user}", user));
    (safe && path.is_absolute() && !is_lock(&path)).then_some(path)
}

/// Whether this is how another mailbox's dot-lock is called: nobody's mail may be taken for one, nor hold up another's.
fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("lock"))
}

/// Fills a virtual domain's template for `user@domain`; the second path is what must be there already. `None` if a part of the address is
/// not safe in a path or not in lower case: then it is not one that the router gives.
pub(crate) fn fill_virtual(template: &str, address: &str) -> Option<(PathBuf, PathBuf)> {
    let (user, domain) = address.rsplit_once('@')?;
    let safe = [user, domain].iter().all(|part| is_path_safe(part) && !part.chars().any(char::is_uppercase));
    let (fixed, _) = template.split_once('{')?;
    let (fixed, _) = fixed.rsplit_once('/')?;
    // One pass each: a name holds no braces of the template's.
    let filled: Vec<String> = template.split('/').map(|part| fill_part(part, user, domain)).collect();
    let path = PathBuf::from(filled.join("/"));
    (safe && path.is_absolute() && !fixed.is_empty() && !is_lock(&path)).then(|| (path, PathBuf::from(fixed)))
}

fn fill_part(part: &str, user: &str, domain: &str) -> String {
    let pieces: Vec<String> = part.split("{user}").map(|piece| piece.replace("{domain}", domain)).collect();
    pieces.join(user)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const LINE: &str = "mailbox -alice --format mbox --path /var/mail/{user} --group 8 --min-uid 1 --engine-uid 99 --socket-fd 3 \
        --forward $z/.forward+$h:$z/.forward --unsafe-file 022 --unsafe-folder 022 --host mx --shell /bin/sh --program-time 60 \
        --aliases /etc/aliases --aliases /etc/more";

    /// Usual ones.
    pub(crate) fn arguments() -> Arguments {
        parse(LINE).unwrap()
    }

    fn parse(line: &str) -> Result<Arguments, Error> {
        Arguments::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_and_wrong_ones_refused() {
        let line = LINE;
        let arguments = parse(line).unwrap();
        assert_eq!((arguments.kind, arguments.user.as_str()), (Kind::Mailbox, "-alice"));
        assert_eq!((arguments.group, arguments.min_uid, arguments.socket), (8, 1, 3));
        assert_eq!((arguments.unsafe_bits, arguments.aliases.len()), ((0o022, 0o022), 2));
        assert!(parse(&line.replace("mailbox ", "root ")).is_err());
        assert!(parse(&line.replace("--min-uid 1 ", "")).is_err());
        assert!(parse(&line.replace("uid 99", "uid -1")).is_err());
    }

    #[test]
    fn a_virtual_agent_serves_only_domains_that_the_keeper_named() {
        let line = LINE.replace("mailbox -alice", "virtual bob@b.example")
            + " --virtual a.example:5000:5001:mbox:/a/{user} --virtual b.example:6000:6001:maildir:/v/{domain}/{user}:x";
        let arguments = parse(&line).unwrap();
        assert_eq!((arguments.owner, arguments.format), (Some(Owner { uid: 6_000, gid: 6_001 }), Format::Maildir));
        assert_eq!(arguments.path, "/v/{domain}/{user}:x");
        for other in ["bob@c.example", "bob", "bob@B.example", "b.example"] {
            assert_eq!(parse(&line.replace("bob@b.example", other)).unwrap().owner, None, "{other}");
        }
        assert_eq!(parse(&line.replace("virtual bob", "user bob")).unwrap().owner, None);
        assert!(parse(&line.replace("6000", "-1")).is_err());
    }

    #[test]
    fn a_virtual_name_never_leaves_its_place_in_the_path() {
        let filled = |template: &str, address: &str| {
            fill_virtual(template, address).map(|(path, fixed)| format!("{} {}", path.display(), fixed.display()))
        };
        let template = "/var/vmail/{domain}/{user}/Maildir";
        assert_eq!(filled(template, "bob@x.example").as_deref(), Some("/var/vmail/x.example/bob/Maildir /var/vmail"));
        assert_eq!(filled("/v/m-{user}@{domain}", "{domain}@x").as_deref(), Some("/v/m-{domain}@x /v"));
        for bad in [
            "bob", "@x", "bob@", "..@x", "bob@..", "a/b@x", "bob@a/b", "bob@.x", "a\0@x", "Bob@x", "bob@X", ".b@x",
            "a\nb@x",
        ] {
            assert_eq!(filled(template, bad), None, "{bad:?}");
        }
        assert_eq!(filled("/{domain}/{user}", "bob@x"), None);
        assert_eq!(filled("/v/{domain}/{user}", "bob.lock@x"), None, "bob's dot-lock");
        assert!(filled(template, "bob.lock@x").is_some());
    }

    #[test]
    fn a_name_never_leaves_its_place_in_the_path() {
        assert_eq!(fill("/var/mail/{user}", "alice", "/"), Some("/var/mail/alice".into()));
        assert_eq!(fill("{home}/Maildir", "alice", "/home/alice"), Some("/home/alice/Maildir".into()));
        for bad in ["", ".", "..", "../root", "a/b", "a\0b", "a\nb", ".lk1", "alice.lock"] {
            assert_eq!(fill("/var/mail/{user}", bad, "/"), None, "{bad:?}");
        }
        assert_eq!(fill("{home}/Maildir", "alice", ""), None);
        assert_eq!(fill("mail/{user}", "alice", "/home/alice"), None);
    }
}
