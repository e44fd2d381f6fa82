//! The plan: what `postrider plan` read from the configuration, for the keeper. One item a line, fields separated by
//! one tab, first line `postrider-plan` and the version. Read strictly: what is not understood is an error, for it may have been a restriction.

use crate::agent::Kind;
use crate::keep::{STICKY, Unsafe};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `postrider plan` tells the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It waits for something, for the log; the rest comes later.
    Waits(String),
    /// The plan; everything that it names comes along as descriptors.
    Plan(String),
    /// There is none: exit code (sysexits) and why.
    Refused(u8, String),
}

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
    /// The bits that count for the user of this process. Nobody else's mail depends on an ordinary user's server, which often lies below `/tmp`.
    #[must_use]
    pub fn counted() -> u32 {
        if rustix::process::geteuid().is_root() { 0o022 | STICKY } else { 0o002 }
    }

    /// Who besides its owner could have written the file, of mode `mode` and group `gid`, or put another in its place. For a server of an
    /// ordinary user the group counts as himself: a group of his own is usual, and nothing is decided for others.
    #[must_use]
    pub fn distrust(&self, mode: u32, gid: u32) -> Option<Unsafe> {
        let counted = Self::counted();
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

/// How agents of one kind are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Which kind.
    pub kind: Kind,
    /// An older one is killed.
    pub life: Duration,
    /// For whom it runs, whoever is named by the engine.
    pub user: Option<String>,
    /// What follows kind and user on its command line.
    pub arguments: Vec<String>,
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
    /// One for each kind of agent.
    pub agents: Vec<Recipe>,
    /// Where our pid goes.
    pub pid_file: PathBuf,
    /// Second line of the pid file.
    pub command_line: String,
    /// The engine's settings (JSON), opaque here.
    pub settings: String,
}

/// More listeners and inputs would not fit into one frame's descriptors.
const DESCRIPTORS: usize = crate::frame::MAX_DESCRIPTORS - crate::keep::OTHERS;

impl Plan {
    /// Reads a whole plan.
    ///
    /// # Errors
    /// Line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("postrider-plan\t2") {
            return Err("not a plan of version 2".to_owned());
        }
        let mut plan = Self::default();
        let mut seen = Vec::new();
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let name = fields.first().copied().unwrap_or_default();
            if !matches!(name, "listen" | "input") && seen.contains(&name) {
                return Err(format!("plan: {name} given twice"));
            }
            plan.item(&fields).ok_or_else(|| format!("plan: bad line {line:.200}"))?;
            seen.push(name);
        }
        let needed = [
            "submit",
            "control",
            "engine",
            "users",
            "spool",
            "drop",
            "mailbox-agent",
            "user-agent",
            "system-agent",
            "pid-file",
            "settings",
        ];
        if let Some(missing) = needed.iter().find(|name| !seen.contains(*name)) {
            return Err(format!("plan: no {missing}"));
        }
        if plan.listen.len() + plan.inputs.len() > DESCRIPTORS {
            return Err("plan: too many listeners and inputs".to_owned());
        }
        Ok(plan)
    }

    /// Where its sockets are, in the order of their descriptors: addresses of the listeners, then paths.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let addresses = self.listen.iter().map(|listen| listen.address.to_string());
        addresses.chain(self.sockets.iter().map(|(path, _)| path.display().to_string())).collect()
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
                self.inputs.push(Input {
                    path: absolute(path)?,
                    file: octal(file)?,
                    folders: bits(folders, STICKY | 0o777)?,
                });
            }
            ["engine", uid, gid] => self.engine = (uid.parse().ok()?, gid.parse().ok()?),
            ["users", uid, gid] => self.users = (uid.parse().ok()?, gid.parse().ok()?),
            ["spool", path] => self.spool = absolute(path)?,
            ["drop", path] => self.drop = absolute(path)?,
            ["mailbox-agent", life, ref rest @ ..] => self.agent(Kind::Mailbox, life, None, rest)?,
            ["user-agent", life, ref rest @ ..] => self.agent(Kind::User, life, None, rest)?,
            ["virtual-agent", life, ref rest @ ..] => self.agent(Kind::Virtual, life, None, rest)?,
            // Never a name of the engine's.
            ["system-agent", life, user, ref rest @ ..] if !user.is_empty() => {
                self.agent(Kind::System, life, Some(user), rest)?;
            }
            ["pid-file", path] => self.pid_file = absolute(path)?,
            ["command-line", text] => self.command_line = text.to_owned(),
            ["settings", json] => self.settings = json.to_owned(),
            _ => return None,
        }
        Some(())
    }

    fn agent(&mut self, kind: Kind, life: &str, user: Option<&str>, arguments: &[&str]) -> Option<()> {
        let (life, user) = (Duration::from_secs(life.parse::<u32>().ok()?.into()), user.map(str::to_owned));
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.agents.push(Recipe { kind, life, user, arguments });
        Some(())
    }
}

fn absolute(path: &str) -> Option<PathBuf> {
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn octal(mode: &str) -> Option<u32> {
    bits(mode, 0o777)
}

fn bits(mode: &str, most: u32) -> Option<u32> {
    u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "postrider-plan\t2\nlisten\tMTA\t127.0.0.1:25\trequired\nlisten\tv6\t[::1]:25\toptional\n\
        submit\t/r/submit\t0666\ncontrol\t/r/control\t0600\ninput\t0\t/etc/aliases\t022\t1022\ninput\t1\t/etc/mail/x\t0\t0\n\
        engine\t5\t6\nusers\t7\t8\nspool\t/s\ndrop\t/d\nmailbox-agent\t60\t--group\t8\t\nuser-agent\t70\t--forward\t\n\
        system-agent\t80\tmail\t--aliases\t/etc/aliases\n\
        pid-file\t/r/pid\ncommand-line\tpostrider -bd\nsettings\t{}\n";

    #[test]
    fn a_plan_is_read() {
        let plan = Plan::parse(TEXT).unwrap();
        assert_eq!((plan.listen.len(), plan.inputs.len(), plan.engine), (2, 2, (5, 6)));
        assert!(plan.listen[0].required && !plan.listen[1].required);
        assert_eq!(plan.sockets[0], ("/r/submit".into(), 0o666));
        let told =
            |recipe: &Recipe| (recipe.kind, recipe.life.as_secs(), recipe.user.clone(), recipe.arguments.join(" "));
        assert_eq!(
            plan.agents.iter().map(told).collect::<Vec<_>>(),
            [
                (Kind::Mailbox, 60, None, "--group 8 ".into()),
                (Kind::User, 70, None, "--forward ".into()),
                (Kind::System, 80, Some("mail".into()), "--aliases /etc/aliases".into())
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (old, new) in [
            ("plan\t2", "plan\t3"),
            ("input\t1", "input\t2"),
            ("022\t1022", "022"),
            ("022\t1022", "022\t9"),
            ("022\t1022", "022\t2022"),
            ("022\t1022", "1022\t1022"),
            ("spool\t/s\n", ""),
            ("spool\t/s", "spool\ts"),
            ("drop\t/d", "drop\t/d\nspool\t/t"),
            ("0666", "1666"),
            ("agent\t60", "agent\t-1"),
            ("user-agent", "root-agent"),
            ("user-agent", "mailbox-agent"),
            ("system-agent\t80\tmail\t--aliases\t/etc/aliases\n", ""),
            ("80\tmail", "80\t"),
            ("\toptional", "\tperhaps"),
            ("users\t7\t8", "users\t7\t8\t9"),
            ("settings\t{}", "settings\t{}\nnice\t5"),
        ] {
            assert!(Plan::parse(&TEXT.replace(old, new)).is_err(), "{new:?}");
        }
    }
}
