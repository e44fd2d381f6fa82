//! The settings as they are written, and their defaults. Filled through `setting.rs`, read by `finish.rs` and `show.rs`.

use crate::scalar::choice;
use deliver::Tls;
use serde::{Deserialize, Serialize};

choice!(
    /// What a listener is for.
    Role {
        /// Mail from other hosts.
        Mta = "mta",
        /// Mail from users' programs (RFC 6409).
        Submission = "submission",
    }
);
choice!(
    /// Kind of local mailbox.
    MailboxKind {
        /// One file for each user.
        Mbox = "mbox",
        /// One folder for each user, one file for each message.
        Maildir = "maildir",
    }
);
choice!(
    /// Shape of log lines.
    LogFormat {
        /// sendmail's, which log readers know.
        Sendmail = "sendmail",
        /// One JSON object a line.
        Json = "json",
    }
);
choice!(
    /// Which words of a list file count.
    FileWords {
        /// All before a `#`.
        All = "all",
        /// The first of each line.
        First = "first",
    }
);

/// A list of names, from arguments and from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Given as arguments.
    pub names: Vec<String>,
    /// A file that lists more.
    pub file: Option<String>,
    /// How the file is read.
    pub words: FileWords,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: Vec::new(), file: None, words: FileWords::All }
    }
}

/// A listener as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: String,
    /// What it is for.
    pub role: Role,
    /// Whether a host that has no such address may start without it.
    pub optional: bool,
}

/// Folders, accounts and limits of the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Folder of the sockets.
    pub folder: String,
    /// Drop folder.
    pub drop: String,
    /// Account of the engine.
    pub user: String,
    /// Account of `postrider-users`.
    pub users_user: String,
    /// Group of mailbox agents.
    pub mail_group: String,
    /// Accounts with smaller numbers get no agent of their own.
    pub min_uid: u32,
    /// Two lines: process id and command line. `None`: `postrider.pid` in the folder.
    pub pid_file: Option<String>,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// To syslog, facility mail.
    pub syslog: bool,
    /// To a file as well.
    pub file: Option<String>,
    /// In which shape.
    pub format: LogFormat,
}

/// The settings as written, on top of the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Host name; `None`: the system's.
    pub host: Option<String>,
    /// Local domains.
    pub local_domains: Vec<Names>,
    /// Aliases file.
    pub aliases: String,
    /// Domains relayed for.
    pub relay_domains: Vec<Names>,
    /// Networks relayed for.
    pub relay_clients: Vec<String>,
    /// Listeners; empty: the default ones.
    pub listen: Vec<Listen>,
    /// Certificate chain.
    pub certificate: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Smart host.
    pub smart_host: Option<String>,
    /// TLS towards it.
    pub smart_host_tls: Option<Tls>,
    /// Everything goes there.
    pub null_client: bool,
    /// Kind of mailbox.
    pub mailbox: MailboxKind,
    /// Where it is; `None`: as usual for the kind.
    pub mailbox_path: Option<String>,
    /// Spool.
    pub queue: queue::Settings,
    /// Receiving side.
    pub receive: receive::Settings,
    /// Delivering side.
    pub deliver: deliver::Settings,
    /// Router.
    pub route: route::Settings,
    /// Processes.
    pub run: Run,
    /// Log.
    pub log: Log,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            host: None,
            local_domains: Vec::new(),
            aliases: "/etc/aliases".into(),
            relay_domains: Vec::new(),
            relay_clients: Vec::new(),
            listen: Vec::new(),
            certificate: None,
            key: None,
            smart_host: None,
            smart_host_tls: None,
            null_client: false,
            mailbox: MailboxKind::Mbox,
            mailbox_path: None,
            queue: queue::Settings::default(),
            receive: receive::Settings::default(),
            deliver: deliver::Settings::default(),
            route: route::Settings { alias_depth: 10, alias_limit: 50_000, ..route::Settings::default() },
            run: Run {
                folder: "/run/postrider".into(),
                drop: "/var/spool/postrider/drop".into(),
                user: "postrider".into(),
                users_user: "postrider-users".into(),
                mail_group: "mail".into(),
                min_uid: 1,
                pid_file: None,
            },
            log: Log { syslog: true, file: None, format: LogFormat::Sendmail },
        }
    }
}
