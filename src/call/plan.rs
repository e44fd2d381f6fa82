//! The plan: what `postrider plan` read from the configuration, for the keeper. One item a line, fields separated by
//! one tab, first line `postrider-plan` and the version. Read strictly: what is not understood is an error, for it may have been a restriction.

use crate::keep::Unsafe;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A TCP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// By which the engine knows it.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
    /// Otherwise the machine need not have the address.
    pub required: bool,
}

/// A file for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// Which write bits of its mode make it untrusted: `0o022`, or fewer.
    pub file: u32,
    /// The same for the folders on the way to it.
    pub folders: u32,
}

impl Input {
    /// Who besides its owner could have written the file, of mode `mode` and group `gid`, or put another in its place. For a server of an
    /// ordinary user the group counts as himself: a group of his own is usual, and nothing is decided for others.
    #[must_use]
    pub fn distrust(&self, mode: u32, gid: u32) -> Option<Unsafe> {
        let counted = if rustix::process::geteuid().is_root() { 0o022 } else { 0o002 };
        let folder = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Unsafe::of(true, about.mode(), about.gid(), self.folders & counted)
        };
        // The way that was named and, if links are on it, the one it leads to.
        let behind = std::fs::canonicalize(&self.path).unwrap_or_default();
        let mut folders = self.path.ancestors().skip(1).chain(behind.ancestors().skip(1));
        Unsafe::of(false, mode, gid, self.file & counted).or_else(|| folders.find_map(folder))
    }
}

/// Rules for `.forward` files and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where `.forward` files are (sendmail's ForwardPath).
    pub forward: String,
    /// Write bits that make such a file, and a folder on the way to it, unsafe; octal.
    pub unsafe_file: String,
    /// The same for folders.
    pub unsafe_folder: String,
    /// This host's name without its domain.
    pub host: String,
    /// What runs programs.
    pub shell: String,
    /// Longest time of a program, seconds.
    pub seconds: String,
    /// For whom aliases' programs run: a name, or `uid:gid`.
    pub default_user: String,
}

impl Default for Local {
    fn default() -> Self {
        let [forward, unsafe_file, unsafe_folder, host, shell, seconds, default_user] =
            ["", "022", "022", "localhost", "/bin/sh", "3600", "1:1"].map(str::to_owned);
        Self { forward, unsafe_file, unsafe_folder, host, shell, seconds, default_user }
    }
}

/// Everything the keeper knows about the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the descriptors.
    pub listen: Vec<Listen>,
    /// Submission, control: path and mode.
    pub sockets: [(PathBuf, u32); 2],
    /// Files for the engine, by number.
    pub inputs: Vec<Input>,
    /// uid and gid of the engine.
    pub engine: (u32, u32),
    /// uid and gid of `postrider-users`.
    pub users: (u32, u32),
    /// Folder of the queue, 0700, the engine's.
    pub spool: PathBuf,
    /// The drop folder, 1733.
    pub drop: PathBuf,
    /// Format, path template, group.
    pub mailbox: (String, String, u32),
    /// What agents are told of `.forward` files and programs.
    pub local: Local,
    /// Files whose programs, files and lists a system agent may act on.
    pub alias_files: Vec<String>,
    /// Accounts below get no agent, but root a mailbox agent.
    pub min_uid: u32,
    /// Where our pid goes.
    pub pid_file: PathBuf,
    /// Second line of the pid file.
    pub command_line: String,
    /// The engine's settings (JSON), opaque here.
    pub settings: String,
}

/// More listeners and inputs would not fit into one frame's descriptors.
const DESCRIPTORS: usize = crate::frame::MAX_DESCRIPTORS - 3;

impl Plan {
    /// Reads a whole plan.
    ///
    /// # Errors
    /// Line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("postrider-plan\t1") {
            return Err("not a plan of version 1".to_owned());
        }
        let mut plan = Self::default();
        let mut seen = Vec::new();
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let name = fields.first().copied().unwrap_or_default();
            if !matches!(name, "listen" | "input" | "alias-file") && seen.contains(&name) {
                return Err(format!("plan: {name} given twice"));
            }
            plan.item(&fields).ok_or_else(|| format!("plan: bad line {line:.200}"))?;
            seen.push(name);
        }
        let needed =
            ["submit", "control", "engine", "users", "spool", "drop", "mailbox", "min-uid", "pid-file", "settings"];
        if let Some(missing) = needed.iter().find(|name| !seen.contains(*name)) {
            return Err(format!("plan: no {missing}"));
        }
        if plan.listen.len() + plan.inputs.len() > DESCRIPTORS {
            return Err("plan: too many listeners and inputs".to_owned());
        }
        Ok(plan)
    }

    fn item(&mut self, fields: &[&str]) -> Option<()> {
        match *fields {
            ["listen", name, address, need @ ("required" | "optional")] => self.listen.push(Listen {
                name: name.to_owned(),
                address: address.parse().ok()?,
                required: need == "required",
            }),
            ["submit", path, mode] => self.sockets[0] = (absolute(path)?, octal(mode)?),
            ["control", path, mode] => self.sockets[1] = (absolute(path)?, octal(mode)?),
            ["input", number, path, file, folders] if number.parse() == Ok(self.inputs.len()) => {
                self.inputs.push(Input { path: absolute(path)?, file: octal(file)?, folders: octal(folders)? });
            }
            ["engine", uid, gid] => self.engine = (uid.parse().ok()?, gid.parse().ok()?),
            ["users", uid, gid] => self.users = (uid.parse().ok()?, gid.parse().ok()?),
            ["spool", path] => self.spool = absolute(path)?,
            ["drop", path] => self.drop = absolute(path)?,
            ["mailbox", format @ ("mbox" | "maildir"), template, group] => {
                self.mailbox = (format.to_owned(), template.to_owned(), group.parse().ok()?);
            }
            ["local", forward, file, folder, host, shell, seconds, user] => {
                let [forward, unsafe_file, unsafe_folder, host, shell, seconds, default_user] =
                    [forward, file, folder, host, shell, seconds, user].map(str::to_owned);
                self.local = Local { forward, unsafe_file, unsafe_folder, host, shell, seconds, default_user };
            }
            ["alias-file", path] => self.alias_files.push(absolute(path)?.to_str()?.to_owned()),
            ["min-uid", uid] => self.min_uid = uid.parse().ok()?,
            ["pid-file", path] => self.pid_file = absolute(path)?,
            ["command-line", text] => self.command_line = text.to_owned(),
            ["settings", json] => self.settings = json.to_owned(),
            _ => return None,
        }
        Some(())
    }
}

fn absolute(path: &str) -> Option<PathBuf> {
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn octal(mode: &str) -> Option<u32> {
    u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "postrider-plan\t1\nlisten\tMTA\t127.0.0.1:25\trequired\nlisten\tv6\t[::1]:25\toptional\n\
        submit\t/r/submit\t0666\ncontrol\t/r/control\t0600\ninput\t0\t/etc/aliases\t022\t022\ninput\t1\t/etc/mail/x\t0\t0\n\
        engine\t5\t6\nusers\t7\t8\nspool\t/s\ndrop\t/d\nmailbox\tmbox\t/var/mail/{user}\t8\nmin-uid\t1\n\
        local\t$z/.forward\t022\t022\tmx\t/bin/sh\t3600\tmail\nalias-file\t/etc/aliases\nalias-file\t/etc/more\n\
        pid-file\t/r/pid\ncommand-line\tpostrider -bd\nsettings\t{}\n";

    #[test]
    fn a_plan_is_read() {
        let plan = Plan::parse(TEXT).unwrap();
        assert_eq!((plan.listen.len(), plan.inputs.len(), plan.engine), (2, 2, (5, 6)));
        assert!(plan.listen[0].required && !plan.listen[1].required);
        assert_eq!(plan.sockets[0], ("/r/submit".into(), 0o666));
        assert_eq!((plan.mailbox.2, &plan.local.default_user[..], plan.alias_files.len()), (8, "mail", 2));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (old, new) in [
            ("plan\t1", "plan\t2"),
            ("min-uid\t1", "min-uid\t-1"),
            ("input\t1", "input\t2"),
            ("022\t022", "022"),
            ("022\t022", "022\t9"),
            ("spool\t/s\n", ""),
            ("spool\t/s", "spool\ts"),
            ("drop\t/d", "drop\t/d\nspool\t/t"),
            ("0666", "1666"),
            ("\tmail\n", "\n"),
            ("alias-file\t/etc/more", "alias-file\tmore"),
            ("\toptional", "\tperhaps"),
            ("users\t7\t8", "users\t7\t8\t9"),
            ("settings\t{}", "settings\t{}\nnice\t5"),
        ] {
            assert!(Plan::parse(&TEXT.replace(old, new)).is_err(), "{new:?}");
        }
    }
}
