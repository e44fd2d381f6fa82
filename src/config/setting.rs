//! All settings, each declared once: name, type with unit and limits, field, one sentence. The default is what
//! [`crate::draft::Draft::default`] has in the field, mostly from the engine crates' own `Settings`.

use crate::draft::{FileWords, Listen, LogFormat, MailboxKind, Names, Role};
use crate::measure::{Duration, Size};
use crate::scalar::{Count, Flag, Maybe, Scalar, scalar};
use crate::schema::{Item, Node, Part, all, each, each_list, item, list, setting};
use crate::table_setting::{
    ACCESS, ADDRESSES, AUTH_INFO, BITDOMAIN, DOMAINS, GENERICS, MAILERS, MASQUERADE, OPTIONAL, PRIVACY, RELAYING,
    SENDERS, TRUST, TRUSTED_USERS, USER_DATABASE, UUCPDOMAIN, VIRTUAL_MAILBOXES, VIRTUAL_USERS, names,
};
use crate::text::{
    Account, CommandWord, Domain, FilePath, ForwardPath, HostName, ListenAddress, LmtpPlace, MailboxPath, NameServer,
    Network, Recipient, RelayDomain, SmartHost, TableFile,
};
use deliver::Tls;

/// Nodes of later issues: known, so that the error says so instead of "unknown".
pub const LATER: &[&str] = &["dkim", "milter", "tls-policy"];

/// The declarations, in the order of the reference.
pub static NODES: &[Node] = &[
    setting!("host", Maybe<HostName>, host, "Full name of this host; by default the system's."),
    setting!("postmaster", Recipient, deliver.postmaster, "Who gets bounces that cannot be returned."),
    names!(
        "local-domains",
        Domain,
        local_domains,
        "Domains.",
        "Domains whose users are this host's, besides its own names."
    ),
    Node::new(
        "aliases",
        "Local names that stand for others.",
        all![
            list!(
                Part::Arguments,
                TableFile,
                aliases,
                "Files in sendmail's aliases format, asked in this order; by default /etc/aliases."
            ),
            item!(
                Part::Property("union"),
                Flag,
                aliases_union,
                "All files are asked and the members of all joined; otherwise the first that has the name decides."
            ),
            item!(Part::Property("optional"), Flag, aliases_optional, OPTIONAL),
            item!(Part::Property("depth"), Count<1, 100>, route.alias_depth, "Longest chain of aliases."),
            item!(Part::Property("limit"), Count<1, 1_000_000>, route.alias_limit, "Most recipients that one address may become."),
        ],
    ),
    VIRTUAL_USERS,
    VIRTUAL_MAILBOXES,
    MAILERS,
    ACCESS,
    AUTH_INFO,
    DOMAINS,
    BITDOMAIN,
    UUCPDOMAIN,
    USER_DATABASE,
    GENERICS,
    MASQUERADE,
    ADDRESSES,
    names!(
        "relay-domains",
        RelayDomain,
        relay_domains,
        "Domains, with all below them.",
        "Domains for which anybody may send mail through this host."
    ),
    Node::new(
        "relay-clients",
        "",
        all![list!(
            Part::Arguments,
            Network,
            relay_clients,
            "Networks whose hosts may send mail anywhere through this host."
        )],
    ),
    SENDERS,
    RELAYING,
    TRUSTED_USERS,
    TRUST,
    PRIVACY,
    Node::new(
        "listen",
        "Where SMTP is served; by default 127.0.0.1 and ::1, ports 25 and 587.",
        all![
            each!(Part::Argument, ListenAddress, listen[address], "Address and port."),
            each!(Part::Property("role"), Role, listen[role], "Mail from other hosts, or from users' programs."),
            each!(
                Part::Property("optional"),
                Flag,
                listen[optional],
                "Start without it where there is no such address."
            ),
        ],
    )
    .repeated(
        |d| d.listen.push(Listen { address: String::new(), role: Role::Mta, optional: false }),
        |d| d.listen.len(),
    )
    .later(&["auth", "milter", "tls"]),
    Node::block(
        "tls",
        "STARTTLS for clients of this host, and whom to trust on both sides.",
        all![
            Node::new(
                "certificate",
                "Certificate chain and key, both PEM.",
                all![
                    item!(Part::Argument, Maybe<FilePath>, certificate, "Certificate, then those that signed it."),
                    Item { required: true, ..item!(Part::Property("key"), Maybe<FilePath>, key, "Private key.") },
                ],
            ),
            setting!(
                "authorities",
                Maybe<FilePath>,
                authorities,
                "Certificates (PEM) of those who vouch for clients and servers; by default the system's."
            ),
        ],
    ),
    Node::new(
        "smart-host",
        "",
        all![item!(
            Part::Argument,
            Maybe<SmartHost>,
            smart_host,
            "Takes all mail that is not local; in brackets without MX look-up."
        )],
    )
    .with(all![setting!("tls", Maybe<Tls>, smart_host_tls, "TLS towards the smart host.")]),
    Node::new(
        "null-client",
        "",
        all![item!(Part::Switch, Flag, null_client, "All mail, local users' too, goes to the smart host.")],
    ),
    Node::new(
        "mailbox",
        "Where local mail is stored.",
        all![
            item!(Part::Argument, MailboxKind, mailbox, "Kind of mailbox."),
            item!(
                Part::Property("path"),
                Maybe<MailboxPath>,
                mailbox_path,
                "By default \"/var/mail/{user}\" or \"{home}/Maildir\"."
            ),
            item!(
                Part::Property("socket"),
                Maybe<LmtpPlace>,
                lmtp,
                "For \"lmtp\": who takes it, \"/run/dovecot/lmtp\" or \"[host]:port\"."
            ),
            item!(
                Part::Property("size"),
                Size,
                deliver.mailbox_size,
                "Largest mailbox, 0 for any size; a Maildir's own quota (maildirsize) goes before it."
            ),
            item!(
                Part::Property("return-path"),
                Flag,
                deliver.fields.return_path,
                "Put Return-Path with the sender before a message."
            ),
            item!(
                Part::Property("original-to"),
                Flag,
                deliver.fields.original_to,
                "Put X-Original-To with the address as given before a message."
            ),
            item!(
                Part::Property("delivered-to"),
                Flag,
                deliver.fields.delivered_to,
                "Put Delivered-To with the address that aliases led to before a message, and before one that a .forward sends to another host; one that has it already is returned: a loop."
            ),
            item!(Part::Property("biff"), Flag, biff, "Tell comsat(8) of new mail in an mbox."),
        ],
    )
    .with(all![Node::new(
        "run",
        "",
        all![list!(
            Part::Arguments,
            CommandWord,
            mailbox_command,
            "For \"command\": program and arguments, run as the user and without a shell; {user}, {extension}, {sender}, {recipient} and {home} stand for themselves."
        )],
    )]),
    LOCAL,
    QUEUE,
    LIMITS,
    DELIVERY,
    Node::block(
        "dns",
        "How names are resolved.",
        all![Node::new(
            "servers",
            "",
            all![list!(
                Part::Arguments,
                NameServer,
                route.name_servers,
                "Name servers; by default those of /etc/resolv.conf."
            )],
        )],
    ),
    Node::block(
        "log",
        "Where events are written.",
        all![
            setting!("syslog", Flag, log.syslog, "Write to syslog, facility mail."),
            setting!("file", Maybe<FilePath>, log.file, "Write to a file as well."),
            setting!("format", LogFormat, log.format, "Shape of the lines."),
            setting!(
                "level",
                Count<1, 98>,
                log.level,
                "sendmail's LogLevel: from 10 on with the reason of each refusal, from 11 on with each connection; below 9 as 9."
            ),
        ],
    ),
    RUN,
];

const LOCAL: Node = Node::block(
    "local",
    "What users and aliases may have done with their mail.",
    all![
        setting!(
            "forward-path",
            ForwardPath,
            local.forward,
            "Where a user's .forward is looked for; the first that exists and is safe counts."
        ),
        setting!(
            "default-user",
            Maybe<Account>,
            local.default_user,
            "For whom programs and files of aliases run; by default mailnull, else sendmail, else uid 1."
        ),
        setting!("shell", FilePath, local.shell, "Runs programs, with -c and the command: /bin/sh or smrsh."),
        setting!(
            "program-time",
            Duration,
            deliver.program_time,
            "A program that takes longer is ended, and its message tried again."
        ),
        setting!("programs", Count<1, 10_000>, deliver.programs, "Most programs, files and lists at once."),
    ],
);

const QUEUE: Node = Node::block(
    "queue",
    "Mail that waits.",
    all![
        setting!(
            "path",
            FilePath,
            queue.path,
            "Folder of the spool; its subfolder queue where the drop folder lies in it."
        ),
        setting!("expire", Duration, deliver.policy.expire, "Mail older than this is returned."),
        setting!("warn", Duration<true>, deliver.policy.warn, "The sender is warned once mail is older than this."),
        Node::new(
            "retry",
            "Wait between two attempts; it doubles each time.",
            all![
                item!(Part::Property("min"), Duration, deliver.policy.min_backoff, "After the first failure."),
                item!(Part::Property("max"), Duration, deliver.policy.max_backoff, "At most."),
            ],
        ),
        setting!("reserve", Count<1, 64>, queue.reserve, "Spare segments, so that a queue drains on a full disk."),
        setting!("min-free", Size, queue.min_free, "New mail is refused when the file system has less free."),
        setting!("segment-size", Size, queue.segment, "Size of one segment."),
        setting!("large-body", Size, queue.large, "Bodies of this size and more get files of their own."),
        setting!("memory", Size, queue.memory, "Most memory for message content."),
    ],
);

const LIMITS: Node = Node::block(
    "limits",
    "What a client may do.",
    all![
        setting!("message-size", Size, receive.message_size, "Largest message."),
        setting!("header-size", Size, receive.header_size, "Largest header."),
        setting!("recipients", Count<1, 1_000_000>, receive.recipients, "Most recipients of one transaction."),
        setting!("hops", Count<1, 1_000>, receive.hops, "Most Received fields; more mean a loop."),
        setting!("errors", Count<1, 10_000>, receive.errors, "Errors after which a session is ended."),
        setting!("sessions", Count<1, 1_000_000>, receive.sessions, "Most sessions at once."),
        setting!("sessions-per-client", Count<0, 1_000_000>, receive.sessions_per_client, "Most sessions of one address; 0 is no limit."),
        setting!("command-timeout", Duration, receive.command_timeout, "Longest wait for a command."),
        setting!("data-timeout", Duration, receive.data_timeout, "Longest wait for the next piece of a message."),
    ],
);

const DELIVERY: Node = Node::block(
    "delivery",
    "How mail leaves.",
    all![
        Node::new(
            "concurrency",
            "Connections in use.",
            all![
                item!(Part::Property("initial"), Count<1, 1_000>, deliver.hop_initial, "To one host at first."),
                item!(Part::Property("limit"), Count<1, 1_000>, deliver.hop_limit, "To one host at most."),
                item!(Part::Property("total"), Count<1, 100_000>, deliver.limit, "Deliveries over all hosts at most."),
            ],
        ),
        setting!("recipients", Count<1, 10_000>, deliver.recipients, "Most recipients of one transaction."),
        setting!(
            "connect-timeout",
            Duration,
            deliver.connect_timeout,
            "Longest wait for a connection."
        ),
        setting!(
            "idle",
            Duration,
            deliver.idle,
            "An idle connection is kept this long for more mail."
        ),
        setting!("agents", Count<1, 10_000>, deliver.agents, "Most agents for mailboxes at once, idle ones included."),
        setting!(
            "return-size",
            Size,
            deliver.return_size,
            "Larger messages are returned without their body."
        ),
        setting!("tls", Tls, deliver.tls, "STARTTLS towards other hosts."),
        setting!("timeout-divisor", Count<1, 100_000>, deliver.timeout_divisor, "Divides the SMTP client's timeouts, for tests."),
    ],
)
.later(&["mode"]);

const RUN: Node = Node::block(
    "run",
    "Processes, their accounts and their folders.",
    all![
        setting!("folder", FilePath, run.folder, "Folder of the sockets."),
        setting!("drop", FilePath, run.drop, "Folder that takes mail while the engine is down."),
        setting!("user", Account, run.user, "Account of the engine."),
        setting!("users-user", Account, run.users_user, "Account of the process that asks for accounts."),
        setting!("mail-group", Account, run.mail_group, "Group that may write mailboxes."),
        setting!("min-uid", Count<1, 4_000_000_000>, run.min_uid, "Accounts below it, but for root, get no mail, and nothing is run for them."),
        setting!(
            "pid-file",
            Maybe<FilePath>,
            run.pid_file,
            "Process id and command line; by default postrider.pid in the folder."
        ),
    ],
);
