//! What the receiving side must be told; filled by `config`, carried to the engine as JSON.

use mail::server::Privacy;
use serde::{Deserialize, Serialize};

/// Settings of the receiving side. Sizes in bytes, times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name in greeting, replies and Received fields.
    pub host: String,
    /// Largest message content; announced as SIZE.
    pub message_size: u64,
    /// Largest header.
    pub header_size: u64,
    /// Most recipients of one transaction.
    pub recipients: u32,
    /// Errors after which the session is ended with 421.
    pub errors: u32,
    /// Most Received fields (sendmail's MaxHopCount).
    pub hops: u32,
    /// Most sessions at once.
    pub sessions: u32,
    /// Most sessions of one client address; 0 = no limit.
    pub sessions_per_client: u32,
    /// Longest wait for a command.
    pub command_timeout: u64,
    /// Longest wait for the next piece of content.
    pub data_timeout: u64,
    /// FEATURE(greet_pause): `GreetPause:` entries are asked.
    pub greet_pause: bool,
    /// Pause of those that no entry is about; 0 = none.
    pub greet_pause_default: u64,
    /// FEATURE(ratecontrol): `ClientRate:` entries are asked.
    pub client_rate: bool,
    /// FEATURE(conncontrol): `ClientConn:` entries are asked.
    pub client_connections: bool,
    /// STARTTLS: number of the input with the certificate chain, and of the one with the key (PEM).
    pub tls: Option<(u16, u16)>,
    /// Number of the input with the certificates of those who vouch for clients, and for servers (PEM).
    pub authorities: Option<u16>,
    /// When client and sender are checked.
    pub delay_checks: DelayChecks,
    /// `To:` entries of the access table may refuse recipients.
    pub blocklist_recipients: bool,
    /// Senders without a domain, or at `localhost`, are taken from anyone.
    pub accept_unqualified_senders: bool,
    /// Senders whose domain DNS does not know are taken. This host's always are.
    pub accept_unresolvable_domains: bool,
    /// What clients have to say first, and what they are not told.
    pub privacy: Privacy,
    /// Local submissions get X-Authentication-Warning fields.
    pub auth_warnings: bool,
    /// Only root, the server's user and its group may list the queue.
    pub restrict_mailq: bool,
    /// The version shown in Received fields, as `8.18.1/Postrider-0.1.0` would be by sendmail.
    pub version: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            message_size: 50 << 20,
            header_size: 1 << 20,
            recipients: 1_000,
            errors: 20,
            hops: 100,
            sessions: 4_096,
            sessions_per_client: 0,
            command_timeout: 300_000,
            data_timeout: 300_000,
            greet_pause: false,
            greet_pause_default: 0,
            client_rate: false,
            client_connections: false,
            tls: None,
            authorities: None,
            delay_checks: DelayChecks::Off,
            blocklist_recipients: false,
            accept_unqualified_senders: false,
            accept_unresolvable_domains: false,
            privacy: Privacy::default(),
            auth_warnings: true,
            restrict_mailq: false,
            version: concat!("Postrider-", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// FEATURE(delay_checks) and its argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DelayChecks {
    /// The client at connection, the sender at MAIL.
    #[default]
    Off,
    /// All at RCPT.
    On,
    /// All at RCPT, but not for recipients with `Spam:… FRIEND`.
    Friend,
    /// All at RCPT, but only for recipients with `Spam:… HATER`.
    Hater,
}
