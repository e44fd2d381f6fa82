//! The agent's command line, and the one place where a login name becomes a path.

use crate::Error;
use call::agent::Kind;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How a mailbox is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Mbox,
    Maildir,
}

/// What the keeper says; its values come from root-owned configuration, except `user`, which the engine chose.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub kind: Kind,
    pub user: String,
    pub format: Format,
    /// With `{user}` and `{home}`.
    pub path: String,
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
    /// The alias files, for a system agent.
    pub aliases: Vec<String>,
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
            _ => return Err(usage("kind is mailbox, user or system")),
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
        Ok(Self {
            kind,
            user: user.to_owned(),
            format: match option("--format")? {
                "mbox" => Format::Mbox,
                "maildir" => Format::Maildir,
                _ => return Err(usage("--format")),
            },
            path: option("--path")?.to_owned(),
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
        })
    }
}

/// Whether `name` may be asked of NSS and stand in a path: no separator, no `.` or `..`, nothing unprintable.
pub(crate) fn is_path_safe(name: &str) -> bool {
    let odd = |c: char| c == '/' || c == '\0' || c.is_control();
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(odd)
}

/// Fills the template; `None` if it does not become an absolute path, or a name is not safe in it.
pub(crate) fn fill(template: &str, user: &str, home: &str) -> Option<PathBuf> {
    let safe = is_path_safe(user) && (!template.contains("{home}") || home.starts_with('/'));
    // Home first: a name can hold no braces of the template's after it.
    let path = PathBuf::from(template.replace("{home}", home).replace("{user}", user));
    (safe && path.is_absolute()).then_some(path)
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
    fn a_name_never_leaves_its_place_in_the_path() {
        assert_eq!(fill("/var/mail/{user}", "alice", "/"), Some("/var/mail/alice".into()));
        assert_eq!(fill("{home}/Maildir", "alice", "/home/alice"), Some("/home/alice/Maildir".into()));
        for bad in ["", ".", "..", "../root", "a/b", "a\0b", "a\nb", ".lk1"] {
            assert_eq!(fill("/var/mail/{user}", bad, "/"), None, "{bad:?}");
        }
        assert_eq!(fill("{home}/Maildir", "alice", ""), None);
        assert_eq!(fill("mail/{user}", "alice", "/home/alice"), None);
    }
}
