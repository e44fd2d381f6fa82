//! Checks over several settings, list files, and the engine's settings types filled in. Called by [`crate::Config::load`].

use crate::draft::{Draft, Listen, MailboxKind, Role};
use crate::inputs::Inputs;
use crate::load::Reader;
use crate::problem::{Place, Severity};
use crate::text::is_filled;
use crate::{Config, Listener, Mailbox, System, privacy, trust};
use std::path::Path;

/// The alias file of a host that names none.
pub(crate) const USUAL_ALIASES: &str = "/etc/aliases";

impl Reader {
    /// The configuration, if nothing was wrong so far or here.
    pub fn finish(mut self, system: &System) -> (Config, Self) {
        self.check();
        let host = self.host(system);
        let mut route = self.draft.route.clone();
        route.host = host.clone();
        route.interfaces = system.interfaces.clone();
        let mut inputs = Inputs::new(&self.draft.trust);
        let tables = self.tables(&mut inputs);
        let lists = self.lists(&mut inputs);
        let tls = self.tls(&mut inputs);
        self.draft.authorities = self.draft.authorities.take().or_else(|| system.authorities.clone());
        let authorities = self.authorities(&mut inputs);
        self.fill(&mut route, &lists, &inputs);
        let stores = self.stores();
        route.virtual_mailboxes = stores.iter().flat_map(|store| store.domains.iter().cloned()).collect();
        route.smart_host = self.draft.smart_host.clone();
        route.null_client = self.draft.null_client;
        let draft = self.effective(&host);
        let mut deliver = draft.deliver.clone();
        deliver.host = host.clone();
        deliver.maildir = draft.mailbox == MailboxKind::Maildir;
        deliver.command = draft.mailbox == MailboxKind::Command;
        let lmtp = draft.lmtp.as_deref().filter(|_| draft.mailbox == MailboxKind::Lmtp);
        deliver.lmtp = lmtp.and_then(route::Key::lmtp).map(|key| key.to_string());
        deliver.tls = draft.smart_host_tls.unwrap_or(deliver.tls);
        let mut receive = draft.receive.clone();
        receive.host = host;
        receive.tls = tls;
        receive.authorities = authorities;
        receive.privacy = privacy::towards_clients(&draft.privacy);
        receive.auth_warnings = privacy::has(&draft.privacy, "authwarnings");
        receive.restrict_mailq = privacy::has(&draft.privacy, "restrictmailq");
        if privacy::has(&draft.privacy, "nobodyreturn") {
            deliver.return_size = 0;
        }
        let config = Config {
            files: self.sources.paths(),
            receive,
            deliver,
            route,
            queue: spool(&draft),
            listen: listeners(&draft.listen),
            inputs: inputs.files,
            tables,
            lists,
            access: draft.access_options,
            mailbox: Mailbox { kind: draft.mailbox, path: draft.mailbox_path.clone().unwrap_or_default() },
            stores,
            run: draft.run.clone(),
            log: draft.log.clone(),
            given: self.places.keys().cloned().collect(),
            draft,
        };
        (config, self)
    }

    /// The settings with the defaults that depend on others or on the system.
    fn effective(&self, host: &str) -> Draft {
        let mut draft = self.draft.clone();
        draft.host = Some(host.to_owned());
        if draft.aliases.is_empty() {
            draft.aliases = vec![USUAL_ALIASES.to_owned()];
            draft.aliases_optional = true;
        }
        if draft.listen.is_empty() {
            draft.listen = usual_listeners();
        }
        if draft.privacy.is_empty() {
            draft.privacy = privacy::USUAL.map(str::to_owned).to_vec();
        }
        let usual = match draft.mailbox {
            MailboxKind::Mbox | MailboxKind::Lmtp | MailboxKind::Command => "/var/mail/{user}",
            MailboxKind::Maildir => "{home}/Maildir",
        };
        draft.mailbox_path.get_or_insert_with(|| usual.to_owned());
        let folder = &draft.run.folder;
        draft.run.pid_file.get_or_insert_with(|| format!("{folder}/postrider.pid"));
        draft
    }

    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        self.places.get(path).copied()
    }

    /// An error at the setting named by `path`, if it was given (a default is never wrong).
    pub(crate) fn error_at(&mut self, path: &str, text: &str) {
        if let Some(place) = self.place(path) {
            self.sources.error(place, text);
        }
    }

    fn check(&mut self) {
        let draft = self.draft.clone();
        let policy = draft.deliver.policy;
        if draft.null_client && draft.smart_host.is_none() {
            self.error_at("null-client", "\"null-client\" needs a \"smart-host\"");
        }
        if draft.mailbox == MailboxKind::Lmtp && draft.lmtp.is_none() {
            self.error_at("mailbox", "\"lmtp\" needs socket=");
        }
        self.check_command(&draft);
        if policy.min_backoff > policy.max_backoff {
            self.error_at("queue.retry", "min= is longer than max=");
        }
        if policy.warn >= policy.expire
            && let Some(place) = self.place("queue.warn")
        {
            self.sources.warn(place, "no warning is ever sent: mail is returned before");
        }
        if draft.deliver.hop_initial > draft.deliver.hop_limit {
            self.error_at("delivery.concurrency", "initial= is larger than limit=");
        }
        if draft.receive.header_size > draft.receive.message_size {
            for path in ["limits.header-size", "limits.message-size"] {
                self.error_at(path, "\"header-size\" is larger than \"message-size\"");
            }
        }
        if !(64 << 10..=1 << 30).contains(&draft.queue.segment) {
            self.error_at("queue.segment-size", "a segment has 64KiB to 1GiB");
        }
        if draft.queue.large > draft.queue.segment / 2 {
            self.error_at("queue.large-body", "\"large-body\" is more than half of \"segment-size\"");
        }
        if draft.queue.memory < draft.queue.large {
            self.error_at("queue.memory", "\"memory\" is less than \"large-body\"");
        }
        if draft.smart_host_tls.is_some_and(|tls| tls != draft.deliver.tls)
            && let Some(place) = self.place("delivery.tls")
        {
            self.sources.warn(place, "not used: all mail goes to the smart host, whose \"tls\" is set");
        }
        for word in draft.trust.iter().filter(|word| !trust::has_effect(word)) {
            if let Some(place) = self.place("trust") {
                self.sources.warn(place, format!("{word} has no effect here"));
            }
        }
        if draft.route.promiscuous_relay
            && let Some(place) = self.place("relaying.promiscuous")
        {
            self.sources.warn(place, "everybody may send mail anywhere through this host: an open relay");
        }
        self.check_listeners(&draft.listen);
    }

    fn check_command(&mut self, draft: &Draft) {
        let is_command = draft.mailbox == MailboxKind::Command;
        match draft.mailbox_command.first() {
            None if is_command => self.error_at("mailbox", "\"command\" needs \"run\" in its block"),
            Some(_) if !is_command => self.error_at("mailbox.run", "only a mailbox of kind \"command\" has one"),
            Some(program) if !program.starts_with('/') || program.contains('{') => {
                self.error_at("mailbox.run", &format!("\"{program}\" is no absolute path of a program"));
            }
            _ => {}
        }
        // What a stranger wrote would be read as commands.
        let to_shell = |pair: &[String]| matches!(pair, [option, text] if is_shell_option(option) && is_filled(text));
        let shells = ["sh", "bash", "dash", "ksh", "zsh"];
        let is_shell =
            draft.mailbox_command.iter().any(|word| shells.iter().any(|shell| word.ends_with(&format!("/{shell}"))));
        if is_shell && draft.mailbox_command.windows(2).any(to_shell) {
            let text = "a shell would read what stands for the braces as commands; write \"-c\" \"exec prog \\\"$1\\\"\" \"sh\" \"{user}\"";
            self.error_at("mailbox.run", text);
        }
    }

    fn check_listeners(&mut self, listen: &[Listen]) {
        for (n, one) in listen.iter().enumerate() {
            let first = listen.iter().position(|other| other.address == one.address);
            if let Some(first) = first.filter(|first| *first < n && !one.address.is_empty())
                && let Some(place) = self.place(&format!("listen#{first}"))
            {
                let text = format!("\"{}\" is already listened on at {}", one.address, self.sources.show(place));
                self.error_at(&format!("listen#{n}"), &text);
            }
        }
    }

    /// The host's name; never from DNS, never by waiting (sendmail sleeps for a minute here).
    fn host(&mut self, system: &System) -> String {
        let given = self.draft.host.clone();
        let name = given.unwrap_or_else(|| system.hostname.trim_end_matches('.').to_ascii_lowercase());
        let name = if name.is_empty() { "localhost".to_owned() } else { name };
        if !name.is_ascii() {
            // It goes as it is into the greeting, EHLO and Received (RFC 5321 2.3.5: letters, digits, hyphens).
            self.error_at(
                "host",
                "a host name has only letters, digits, '-' and '.'; write an international one as xn--...",
            );
        }
        if !name.contains('.') {
            let text = format!("local host name ({name}) is not qualified; set \"host\"");
            match self.place("host") {
                Some(place) => self.sources.warn(place, text),
                None => self.sources.about_file(Severity::Warning, "host name", text),
            }
        }
        name
    }
}

/// `-c`, also among others.
fn is_shell_option(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|letters| !letters.starts_with('-') && letters.contains('c'))
}

/// Loopback with both ports; IPv6 may be missing.
fn usual_listeners() -> Vec<Listen> {
    let listen = |address: &str, role: Role, optional: bool| Listen { address: address.to_owned(), role, optional };
    vec![
        listen("127.0.0.1:25", Role::Mta, false),
        listen("[::1]:25", Role::Mta, true),
        listen("127.0.0.1:587", Role::Submission, false),
        listen("[::1]:587", Role::Submission, true),
    ]
}

fn listeners(given: &[Listen]) -> Vec<Listener> {
    let name = |role: Role| match role {
        Role::Mta => "MTA",
        Role::Submission => "MSA",
    };
    let listener = |one: &Listen| Listener {
        name: name(one.role).to_owned(),
        address: one.address.clone(),
        role: one.role,
        required: !one.optional,
    };
    given.iter().map(listener).collect()
}

/// The spool is closed to everybody (0700), but the drop folder in it must be reached by all: then the spool moves into
/// `queue` below, beside it.
fn spool(draft: &Draft) -> queue::Settings {
    let mut spool = draft.queue.clone();
    if Path::new(&draft.run.drop).starts_with(&spool.path) {
        spool.path = format!("{}/queue", spool.path.trim_end_matches('/'));
    }
    spool
}
