//! What the delivering side must be told; filled by `config`, carried to the engine as JSON.

use queue::schedule::Policy;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError, RwLock};

/// Settings of the delivering side. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name in EHLO and in bounces.
    pub host: String,
    /// Retry, expiry, warning.
    pub policy: Policy,
    /// Connections to one hop at first.
    pub hop_initial: u32,
    /// Most connections to one hop.
    pub hop_limit: u32,
    /// Most deliveries in progress over all hops.
    pub limit: u32,
    /// Most recipients of one outgoing transaction.
    pub recipients: u32,
    /// Which kind of agent takes local mail: mbox or Maildir.
    pub maildir: bool,
    /// Most local agents at once.
    pub agents: u32,
    /// STARTTLS towards other hosts.
    pub tls: Tls,
    /// Longest wait for a TCP connection.
    pub connect_timeout: u64,
    /// RFC 5321 4.5.3.2: greeting 5 min, MAIL 5, RCPT 5, DATA 2, block 3, final dot 10; this is a divisor for tests, 1 in production.
    pub timeout_divisor: u32,
    /// An idle connection is kept this long for more mail.
    pub idle: u64,
    /// Bounces carry at most this many bytes of the original; above it only its header.
    pub return_size: u64,
    /// Where bounces of bounces go.
    pub postmaster: String,
}

/// TLS towards other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Never.
    None,
    /// If offered, any certificate; clear text on a fresh connection otherwise.
    #[default]
    May,
    /// Always, any certificate; deferred otherwise.
    Required,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            policy: Policy::default(),
            hop_initial: 5,
            hop_limit: 20,
            limit: 400,
            recipients: 100,
            maildir: false,
            agents: 50,
            tls: Tls::May,
            connect_timeout: 30_000,
            timeout_divisor: 1,
            idle: 2_000,
            return_size: 50_000,
            postmaster: "postmaster".into(),
        }
    }
}

/// The settings in force. A reload swaps them whole; attempts in progress finish under the old ones (DESIGN §6).
#[derive(Debug, Default)]
pub struct Current(RwLock<Arc<Settings>>);

impl Current {
    /// In force from now on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(RwLock::new(Arc::new(settings)))
    }
    /// The settings in force.
    #[must_use]
    pub fn get(&self) -> Arc<Settings> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Swaps them.
    pub fn set(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
