//! The plan for the keeper: one item a line, fields separated by one TAB, `settings` last. Printed by `postrider plan`.

use crate::draft::{MailboxKind, Store, StoreKind};
use crate::{Config, EngineSettings};
use std::fmt::Write as _;

/// Second line of the pid file, which scripts run to start the server again (sendmail.md 2.9), of a server that no `sendmail` started.
pub const COMMAND_LINE: &str = "/usr/sbin/sendmail -bd";

/// Seconds after which the keeper kills an agent that runs no program: above its own life (10 min) and the engine's patience with its last
/// batch (5 min).
const AGENT_LIFE: u64 = 16 * 60;

/// Numbers of the accounts named in `run`; the daemon asks NSS, this crate never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The engine's user.
    pub engine_uid: u32,
    /// Its group.
    pub engine_gid: u32,
    /// The user of `postrider-users`.
    pub users_uid: u32,
    /// Its group.
    pub users_gid: u32,
    /// The group that may write mailboxes.
    pub mail_gid: u32,
    /// For whom programs and files of aliases run: a name, or `uid:gid`.
    pub default_user: String,
}

/// The plan of a server that this command line started. What cannot stand in a field (TAB, line ends, NUL) becomes a blank.
#[must_use]
pub fn plan_text(config: &Config, ids: &Ids, command_line: &str) -> String {
    let mut plan = Plan(String::new());
    plan.line(&["postrider-plan", "2"]);
    for one in &config.listen {
        let required = if one.required { "required" } else { "optional" };
        plan.line(&["listen", &one.name, &one.address, required]);
    }
    let run = &config.run;
    // Everybody may connect: the kernel says who it is, and the engine decides.
    plan.line(&["submit", &format!("{}/submit", run.folder), "0666"]);
    plan.line(&["control", &format!("{}/control", run.folder), "0666"]);
    for (n, input) in config.inputs.iter().enumerate() {
        let refused = |bits: u32| format!("{bits:03o}");
        let path = input.path.to_string_lossy();
        plan.line(&["input", &n.to_string(), &path, &refused(input.file), &refused(input.folders)]);
    }
    plan.line(&["engine", &ids.engine_uid.to_string(), &ids.engine_gid.to_string()]);
    plan.line(&["users", &ids.users_uid.to_string(), &ids.users_gid.to_string()]);
    plan.line(&["spool", &config.queue.path]);
    plan.line(&["drop", &run.drop]);
    let (life, time) = (AGENT_LIFE.to_string(), program_seconds(config));
    let life_with_program = (AGENT_LIFE + time).to_string();
    let mut told = agent_arguments(config, ids, time);
    plan.agent(&["mailbox-agent", &life], &told);
    plan.agent(&["user-agent", &life_with_program], &told);
    if !config.stores.is_empty() {
        let mut told = told.clone();
        told.extend(config.stores.iter().flat_map(stores).flat_map(|store| ["--virtual".to_owned(), store]));
        plan.agent(&["virtual-agent", &life], &told);
    }
    for file in config.tables.aliases.iter().filter(|file| file.text.is_some()) {
        told.extend(["--aliases".to_owned(), file.name.clone()]);
        if file.compiled.is_some() {
            told.extend(["--aliases".to_owned(), format!("{}.db", file.name)]);
        }
    }
    plan.agent(&["system-agent", &life_with_program, &ids.default_user], &told);
    plan.line(&["pid-file", run.pid_file.as_deref().unwrap_or_default()]);
    plan.line(&["command-line", command_line]);
    plan.line(&["settings", &config.engine_settings().to_json()]);
    plan.0
}

/// A part of a second is one.
fn program_seconds(config: &Config) -> u64 {
    config.deliver.program_time.div_ceil(1_000)
}

/// What every agent is told (`mailbox/arguments.rs`).
fn agent_arguments(config: &Config, ids: &Ids, program_seconds: u64) -> Vec<String> {
    let kind = match config.mailbox.kind {
        // With LMTP no agent is asked to write one.
        MailboxKind::Mbox | MailboxKind::Lmtp => "mbox",
        MailboxKind::Maildir => "maildir",
        MailboxKind::Command => "command",
    };
    let (file, folder) = crate::trust::forward(&config.draft.trust);
    let (host, local) = (&config.route.host, &config.draft.local);
    let pairs = [
        ("--format", kind.to_owned()),
        ("--path", config.mailbox.path.clone()),
        ("--group", ids.mail_gid.to_string()),
        ("--min-uid", config.run.min_uid.to_string()),
        ("--engine-uid", ids.engine_uid.to_string()),
        ("--forward", local.forward.clone()),
        ("--host", host.split_once('.').map_or(host.as_str(), |(short, _)| short).to_owned()),
        ("--unsafe-file", format!("{file:03o}")),
        ("--unsafe-folder", format!("{folder:03o}")),
        ("--shell", local.shell.clone()),
        ("--program-time", program_seconds.to_string()),
        ("--socket-fd", "0".to_owned()),
    ];
    let command = config.draft.mailbox_command.iter().filter(|_| config.mailbox.kind == MailboxKind::Command);
    let command = command.map(|word| ("--command", word.clone()));
    let biff = config.draft.biff.then(|| ("--biff", "yes".to_owned()));
    pairs.into_iter().chain(command).chain(biff).flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// `domain:uid:gid:kind:path`, one for each domain.
fn stores(store: &Store) -> impl Iterator<Item = String> {
    let kind = match store.kind {
        StoreKind::Mbox => "mbox",
        StoreKind::Maildir => "maildir",
    };
    let told = move |domain: &String| format!("{domain}:{}:{}:{kind}:{}", store.uid, store.gid, store.path);
    store.domains.iter().map(told)
}

struct Plan(String);

impl Plan {
    fn agent(&mut self, head: &[&str], arguments: &[String]) {
        self.line(&head.iter().copied().chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>());
    }

    fn line(&mut self, fields: &[&str]) {
        for (n, field) in fields.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\t" };
            let field = field.replace(['\t', '\r', '\n', '\0'], " ");
            // Writing to a String cannot fail.
            let _ = write!(self.0, "{separator}{field}");
        }
        self.0.push('\n');
    }
}

impl EngineSettings {
    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain structs with string keys always become JSON")
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// With the place in the text, if it is something else.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
