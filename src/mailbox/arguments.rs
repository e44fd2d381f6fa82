//! The agent's command line, and the one place where a login name becomes a path.

use crate::Error;
use call::agent::Kind;
use std::ffi::OsString;
use std::path::PathBuf;

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
            _ => return Err(usage("kind is mailbox or user")),
        };
        let option = |name: &str| {
            let found = options.chunks_exact(2).find(|pair| pair.first() == Some(&name));
            found.and_then(|pair| pair.get(1)).copied().ok_or_else(|| usage(name))
        };
        let number = |name: &str| option(name).and_then(|text| text.parse::<u32>().map_err(|_| usage(name)));
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
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_wrong_ones_refused() {
        let line =
            "mailbox -alice --format mbox --path /var/mail/{user} --group 8 --min-uid 1 --engine-uid 99 --socket-fd 3";
        let parse = |line: &str| Arguments::parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let arguments = parse(line).unwrap();
        assert_eq!((arguments.kind, arguments.user.as_str()), (Kind::Mailbox, "-alice"));
        assert_eq!((arguments.group, arguments.min_uid, arguments.socket), (8, 1, 3));
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
