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
        /// With another program of this host or network, which takes it by LMTP.
        Lmtp = "lmtp",
        /// With a command that is run as the user for each message: procmail, maildrop, dovecot-lda.
        Command = "command",
    }
);
choice!(
    /// Kind of the mailboxes of a virtual domain.
    StoreKind {
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
    /// Whether the file may be missing.
    pub optional: bool,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: Vec::new(), file: None, words: FileWords::All, optional: false }
    }
}

/// A table as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Its file, perhaps with a kind in front.
    pub file: Option<String>,
    /// Whether a missing file is an empty table.
    pub optional: bool,
    /// Entries that stand in the configuration itself: each a key and a value.
    pub entries: Vec<Vec<String>>,
}

/// What is looked up in the access table, as arguments of sendmail's `FEATURE(access_db)` and others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessOptions {
    /// `SKIP` ends a look-up.
    pub skip: bool,
    /// `.domain` keys cover what is below the domain.
    pub dot_domains: bool,
    /// `To:user@domain RELAY` is looked up.
    pub full_addresses: bool,
    /// IPv6 addresses are looked up in their short form.
    pub short_ipv6: bool,
}

/// Mailboxes of domains whose users have no accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The domains.
    pub domains: Vec<String>,
    /// Where they are, with `{user}` and `{domain}`.
    pub path: String,
    /// Whose they are.
    pub uid: u32,
    /// And the group.
    pub gid: u32,
    /// Their kind.
    pub kind: StoreKind,
}

impl Default for Store {
    fn default() -> Self {
        Self { domains: Vec::new(), path: String::new(), uid: 0, gid: 0, kind: StoreKind::Maildir }
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

/// `.forward` files, and programs that aliases name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where `.forward` files are; empty: nowhere.
    pub forward: String,
    /// For whom programs and files of aliases run; `None`: the first of the usual accounts.
    pub default_user: Option<String>,
    /// What runs programs.
    pub shell: String,
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
    /// sendmail's LogLevel.
    pub level: u32,
}

/// The settings as written, on top of the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Host name; `None`: the system's.
    pub host: Option<String>,
    /// Local domains.
    pub local_domains: Vec<Names>,
    /// Aliases files; empty: the usual one.
    pub aliases: Vec<String>,
    /// All of them are asked.
    pub aliases_union: bool,
    /// They may be missing.
    pub aliases_optional: bool,
    /// Virtual users.
    pub virtual_users: Named,
    /// Domains that exist there only.
    pub virtual_domains: Vec<Names>,
    /// Who has a mailbox without an account.
    pub virtual_mailboxes: Named,
    /// Where those are.
    pub stores: Vec<Store>,
    /// A file that says where more are.
    pub stores_file: Option<String>,
    /// Hops by domain.
    pub mailers: Named,
    /// Access.
    pub access: Named,
    /// What is looked up there.
    pub access_options: AccessOptions,
    /// Passwords for other servers.
    pub auth_info: Named,
    /// New names of domains.
    pub domains: Named,
    /// Domains of BITNET hosts.
    pub bitdomain: Named,
    /// Domains of UUCP hosts.
    pub uucpdomain: Named,
    /// Where users without an alias are.
    pub user_database: Named,
    /// Outside addresses of senders.
    pub generics: Named,
    /// Domains whose senders are looked up there.
    pub generics_domains: Vec<Names>,
    /// Further domains that are masqueraded.
    pub masquerade_domains: Vec<Names>,
    /// Domains that are not.
    pub masquerade_exceptions: Vec<Names>,
    /// Users that are not.
    pub exposed_users: Vec<Names>,
    /// Users who may name any sender.
    pub trusted_users: Vec<Names>,
    /// Words of DontBlameSendmail.
    pub trust: Vec<String>,
    /// Words of PrivacyOptions; empty: the usual ones.
    pub privacy: Vec<String>,
    /// Domains relayed for.
    pub relay_domains: Vec<Names>,
    /// Networks relayed for.
    pub relay_clients: Vec<String>,
    /// Listeners; empty: the default ones.
    pub listen: Vec<Listen>,
    /// Certificate chain.
    pub certificate: Option<String>,
    /// Certificates of those who vouch for others.
    pub authorities: Option<String>,
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
    /// Who takes local mail by LMTP, as `route::Key::lmtp` reads it.
    pub lmtp: Option<String>,
    /// comsat is told of new mail.
    pub biff: bool,
    /// The command that takes local mail.
    pub mailbox_command: Vec<String>,
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
    /// `.forward` files and programs.
    pub local: Local,
    /// Processes.
    pub run: Run,
    /// Log.
    pub log: Log,
}

impl Default for Local {
    fn default() -> Self {
        let forward = "$z/.forward.$w+$h:$z/.forward+$h:$z/.forward.$w:$z/.forward".into();
        Self { forward, default_user: None, shell: "/bin/sh".into() }
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            host: None,
            local_domains: Vec::new(),
            aliases: Vec::new(),
            aliases_union: false,
            aliases_optional: false,
            virtual_users: Named::default(),
            virtual_domains: Vec::new(),
            virtual_mailboxes: Named::default(),
            stores: Vec::new(),
            stores_file: None,
            mailers: Named::default(),
            access: Named::default(),
            access_options: AccessOptions::default(),
            auth_info: Named::default(),
            domains: Named::default(),
            bitdomain: Named::default(),
            uucpdomain: Named::default(),
            user_database: Named::default(),
            generics: Named::default(),
            generics_domains: Vec::new(),
            masquerade_domains: Vec::new(),
            masquerade_exceptions: Vec::new(),
            exposed_users: Vec::new(),
            trusted_users: Vec::new(),
            trust: Vec::new(),
            privacy: Vec::new(),
            relay_domains: Vec::new(),
            relay_clients: Vec::new(),
            listen: Vec::new(),
            certificate: None,
            authorities: None,
            key: None,
            smart_host: None,
            smart_host_tls: None,
            null_client: false,
            mailbox: MailboxKind::Mbox,
            lmtp: None,
            biff: false,
            mailbox_command: Vec::new(),
            mailbox_path: None,
            queue: queue::Settings::default(),
            receive: receive::Settings::default(),
            deliver: deliver::Settings::default(),
            route: route::Settings { alias_depth: 10, alias_limit: 100_000, ..route::Settings::default() },
            local: Local::default(),
            run: Run {
                folder: "/run/postrider".into(),
                drop: "/var/spool/postrider/drop".into(),
                user: "postrider".into(),
                users_user: "postrider-users".into(),
                mail_group: "mail".into(),
                min_uid: 1,
                pid_file: None,
            },
            log: Log { syslog: true, file: None, format: LogFormat::Sendmail, level: 9 },
        }
    }
}
