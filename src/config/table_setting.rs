//! The settings about tables and addresses, each declared once (see `setting.rs`).

use crate::draft::{FileWords, Names, Store, StoreKind};
use crate::measure::Duration;
use crate::privacy::Word;
use crate::problem::did_you_mean;
use crate::scalar::{Count, Delay, Flag, Maybe, Scalar, scalar};
use crate::schema::{ENTRY, Item, Node, Part, all, each, each_list, item, list, setting};
use crate::text::{Domain, EntryText, FilePath, HostName, MasqueradeName, Onward, StorePath, TableFile, User};
use crate::trust::Blame;

pub(crate) const FILE: &str = "A file that lists more, one line each; lines that start with # are skipped.";
pub(crate) const WORDS: &str = "Which words of a line in the file count.";
pub(crate) const OPTIONAL: &str = "Without the file the table is empty; otherwise mail waits until it is there.";
const ENTIRE: &str = "They cover what is below them.";

/// The kinds of tables that may stand before a path, `kind:/path`. Without one it is text, or its compiled form where that decides; the
/// names of sendmail's map classes mean the same.
const KINDS: &[&str] =
    &["hash", "btree", "dbm", "cdb", "implicit", "text", "lmdb", "cidr", "regexp", "pcre", crate::text::SOCKETMAP];

/// Whether there is such a kind of table.
pub(crate) fn known_kind(kind: &str) -> Result<(), String> {
    if kind.is_empty() || KINDS.contains(&kind) {
        return Ok(());
    }
    Err(match kind {
        "passwd" | "nss" | "user" | "unix" => {
            format!("\"{kind}\" is no kind of table: accounts are found without one, after the aliases")
        }
        "union" | "unionmap" => {
            format!("\"{kind}\" is no kind of table; name the tables one after the other, for aliases with union=#true")
        }
        _ => format!("\"{kind}\" is no kind of table{}", did_you_mean(kind, KINDS.iter().copied())),
    })
}

/// A node that lists names, from arguments and a file.
macro_rules! names {
    ($name:literal, $type:ty, $list:ident, $what:literal, $about:literal) => {
        Node::new(
            $name,
            $about,
            all![
                each_list!(Part::Arguments, $type, $list[names], $what),
                each!(Part::Property("file"), Maybe<FilePath>, $list[file], $crate::table_setting::FILE),
                each!(Part::Property("words"), FileWords, $list[words], $crate::table_setting::WORDS),
                each!(Part::Property("optional"), Flag, $list[optional], "The file may be missing."),
            ],
        )
        .repeated(|d| d.$list.push(Names::default()), |d| d.$list.len())
    };
}
pub(crate) use names;

/// A node that names a table.
macro_rules! table {
    ($name:literal, $field:ident, $what:literal, $about:literal) => {
        Node::new(
            $name,
            $about,
            all![
                Item { required: false, ..item!(Part::Argument, Maybe<TableFile>, $field.file, $what) },
                item!(Part::Property("optional"), Flag, $field.optional, OPTIONAL),
            ],
        )
        .with(all![entries!($field)])
    };
}

/// The entries of a table that stand in its block.
macro_rules! entries {
    ($field:ident) => {
        Node::new(
            ENTRY,
            "An entry, asked before the file; there may be no file then.",
            all![Item {
                part: Part::Arguments,
                about: "Key and value.",
                what: <EntryText as Scalar>::what,
                required: false,
                set: |draft, value| {
                    let text = scalar::<EntryText>(value)?;
                    draft.$field.entries.last_mut().map(|entry| entry.push(text)).ok_or_else(String::new)
                },
                get: |draft, n| {
                    let entry = draft.$field.entries.get(n).map(|entry| &entry[..]).unwrap_or_default();
                    entry.iter().filter_map(<EntryText as Scalar>::show).collect()
                },
            }],
        )
        .repeated(|draft| draft.$field.entries.push(Vec::new()), |draft| draft.$field.entries.len())
    };
}

/// `setting!` for a flag that is on when it is named.
macro_rules! switch {
    ($name:literal, $($field:ident).+, $about:expr) => {
        Node::new($name, "", all![item!(Part::Switch, Flag, $($field).+, $about)])
    };
}

pub(crate) const VIRTUAL_USERS: Node = table!(
    "virtual-users",
    virtual_users,
    "File in sendmail's virtusertable format.",
    "Addresses of local and virtual domains that stand for others."
)
.with(all![
    entries!(virtual_users),
    names!(
        "domains",
        Domain,
        virtual_domains,
        "Domains.",
        "Domains that exist in this table only; anybody may send to them."
    ),
    switch!("entire-domain", route.virtuser_entire_domain, ENTIRE),
]);

pub(crate) const VIRTUAL_MAILBOXES: Node = table!(
    "virtual-mailboxes",
    virtual_mailboxes,
    "File with user@domain and anything behind it.",
    "Who has a mailbox in a domain whose users have no accounts."
)
.with(all![
    entries!(virtual_mailboxes),
    STORE,
    setting!(
        "domains-file",
        Maybe<FilePath>,
        stores_file,
        "More such domains, a line each: domain, uid, gid, path and perhaps the kind. Read with the configuration, and as trusted."
    ),
]);

const STORE: Node = Node::new(
    "domain",
    "Domains, and where the mailboxes of their users are; anybody may send to them.",
    all![
        each_list!(Part::Arguments, HostName, stores[domains], "Domains."),
        Item {
            required: true,
            ..each!(
                Part::Property("path"),
                StorePath,
                stores[path],
                "Where; what stands before the first brace must be there, and belong to the uid."
            )
        },
        Item { required: true, ..each!(Part::Property("uid"), Count<1, 4_000_000_000>, stores[uid], "Whose they are, by number.") },
        Item { required: true, ..each!(Part::Property("gid"), Count<1, 4_000_000_000>, stores[gid], "Their group, by number; not the group mail.") },
        each!(Part::Property("kind"), StoreKind, stores[kind], "Their kind."),
    ],
)
.repeated(|draft| draft.stores.push(Store::default()), |draft| draft.stores.len());

pub(crate) const MAILERS: Node =
    table!("mailers", mailers, "File in sendmail's mailertable format.", "Hosts that take the mail for other domains.");

pub(crate) const ACCESS: Node =
    table!("access", access, "File in sendmail's access format.", "Who may send, to whom, and who may relay.").with(
        all![
            entries!(access),
            switch!("skip", access_options.skip, "SKIP ends a look-up."),
            switch!("look-up-dot-domain", access_options.dot_domains, ".domain keys cover what is below the domain."),
            switch!("relay-to-full-address", access_options.full_addresses, "To:user@domain RELAY is looked up."),
            switch!("short-ipv6", access_options.short_ipv6, "IPv6 addresses are looked up as IPv6:2001:db8::1."),
            switch!("blocklist-recipients", receive.blocklist_recipients, "To: entries may refuse recipients."),
            switch!("client-rate", receive.client_rate, "ClientRate: entries limit the connections of a client in a minute."),
            switch!("client-connections", receive.client_connections, "ClientConn: entries limit the sessions of a client."),
            Node::new(
                "greet-pause",
                "",
                all![
                    item!(Part::Switch, Flag, receive.greet_pause, "Clients wait for the greeting, as GreetPause: entries say; who does not is refused."),
                    item!(Part::Property("default"), Duration<true>, receive.greet_pause_default, "For clients without an entry."),
                ]
            ),
            Node::new(
                "delay-checks",
                "",
                all![item!(
                    Part::Switch,
                    Delay,
                    receive.delay_checks,
                    "Client and sender are checked at RCPT; with \"friend\" not for recipients with Spam:... FRIEND, with \"hater\" only for \
                     those with Spam:... HATER."
                )]
            ),
        ],
    );

pub(crate) const AUTH_INFO: Node = table!(
    "auth-info",
    auth_info,
    "File in sendmail's authinfo format.",
    "Names and passwords for other servers; without it they are in the access table."
);

pub(crate) const DOMAINS: Node = table!(
    "domains",
    domains,
    "File in sendmail's domaintable format.",
    "New names of domains, in envelope and header."
);

pub(crate) const BITDOMAIN: Node = table!(
    "bitdomain",
    bitdomain,
    "File in sendmail's bitdomain format.",
    "Domains of hosts in BITNET: keys without their .BITNET."
);

pub(crate) const UUCPDOMAIN: Node = table!(
    "uucpdomain",
    uucpdomain,
    "File in sendmail's uudomain format.",
    "Domains of UUCP hosts: keys without their .UUCP."
);

pub(crate) const USER_DATABASE: Node = table!(
    "user-database",
    user_database,
    "File in sendmail's userdb format.",
    "Where mail for users without an alias goes: user:maildrop and addresses."
);

pub(crate) const GENERICS: Node = table!(
    "generics",
    generics,
    "File in sendmail's genericstable format.",
    "Addresses that senders show to the outside."
)
.with(all![
    entries!(generics),
    names!(
        "domains",
        Domain,
        generics_domains,
        "Domains.",
        "Domains whose senders are looked up; names without a domain always are."
    ),
    switch!("entire-domain", route.generics_entire_domain, ENTIRE),
]);

pub(crate) const MASQUERADE: Node = Node::new(
    "masquerade",
    "Senders show another domain than the host's.",
    all![Item {
        required: false,
        ..item!(
            Part::Argument,
            MasqueradeName,
            route.masquerade_as,
            "The domain they show; without it only what is in the block counts."
        )
    }],
)
.with(all![
    names!("domains", Domain, masquerade_domains, "Domains.", "Further domains that are masqueraded."),
    names!("except", Domain, masquerade_exceptions, "Domains, with all below them.", "Domains that never are."),
    names!("exposed-users", User, exposed_users, "Users.", "Users that keep their host's name."),
    switch!("envelope", route.masquerade_envelope, "The envelope's sender as well."),
    switch!("all", route.allmasquerade, "Recipients in the header as well."),
    switch!("entire-domain", route.masquerade_entire_domain, "The further domains cover what is below them."),
    switch!("limited", route.limited_masquerade, "Only the further domains, not the local ones."),
    switch!("not-local", route.local_no_masquerade, "Not in mail to local users."),
]);

pub(crate) const ADDRESSES: Node = Node::block(
    "addresses",
    "What addresses mean.",
    all![
        switch!(
            "always-add-domain",
            route.always_add_domain,
            "Names without a domain get one also in mail to local users."
        ),
        setting!("mail-hub", Maybe<Onward>, route.mail_hub, "Takes the mail for local users."),
        setting!("local-relay", Maybe<Onward>, route.local_relay, "Takes the mail for names without a domain."),
        setting!("luser-relay", Maybe<Onward>, route.luser_relay, "Takes the mail for local users that do not exist."),
        Node::new(
            "local-users",
            "",
            all![list!(Part::Arguments, User, route.local_users, "Users that none of the three takes.")]
        ),
        switch!(
            "sticky-host",
            route.stickyhost,
            "user@here goes to the mail hub before aliases, and never to the local relay."
        ),
        switch!("redirect", route.redirect, "user@new.REDIRECT as an alias: 551 with the new address."),
        switch!("no-uucp", route.nouucp, "host!user has no meaning."),
        switch!("no-percent-hack", route.nopercenthack, "user%host has no meaning."),
        switch!("short-ipv6", access_options.short_ipv6, "IPv6 addresses are looked up as IPv6:2001:db8::1."),
    ],
);

pub(crate) const SENDERS: Node = Node::block(
    "senders",
    "Which senders are taken.",
    all![
        switch!(
            "accept-unqualified",
            receive.accept_unqualified_senders,
            "Without a domain, or at localhost, from anyone."
        ),
        switch!(
            "accept-unresolvable",
            receive.accept_unresolvable_domains,
            "With a domain that DNS does not know, from anyone."
        ),
    ],
);

pub(crate) const RELAYING: Node = Node::block(
    "relaying",
    "Who else may send mail through this host.",
    all![
        switch!("hosts-only", route.relay_hosts_only, "A relay domain does not cover what is below it."),
        switch!("entire-domain", route.relay_entire_domain, "The host's own domain and all below it."),
        switch!(
            "mail-from",
            route.relay_mail_from,
            "Senders with From:... RELAY in the access table; they are easily forged."
        ),
        switch!("mail-from-domain", route.relay_mail_from_domain, "Such senders also by their domain."),
        switch!("local-from", route.relay_local_from, "Senders in a local domain; they are easily forged."),
        switch!("promiscuous", route.promiscuous_relay, "Everybody: an open relay."),
        switch!("loose-check", route.loose_relay_check, "user%host@relayed is judged by its last domain alone."),
    ],
);

pub(crate) const TRUSTED_USERS: Node = names!(
    "trusted-users",
    User,
    trusted_users,
    "Users, besides root.",
    "Users who may name any sender without a warning in the header."
);

pub(crate) const TRUST: Node = Node::new(
    "trust",
    "",
    all![list!(
        Part::Arguments,
        Blame,
        trust,
        "Files and folders that are used although others may write them: words of DontBlameSendmail."
    )],
);

pub(crate) const PRIVACY: Node = Node::new(
    "privacy",
    "",
    all![list!(
        Part::Arguments,
        Word,
        privacy,
        "What is asked of clients and kept from them: words of PrivacyOptions, these and no others; \"public\" is none."
    )],
);
