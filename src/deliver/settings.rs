//! What the delivering side must be told; filled by `config`, carried to the engine as JSON.

use crate::field::Fields;
use queue::schedule::Policy;
use route::Local;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError, RwLock};
use tls::Authorities;

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
    /// The administrator's command takes local mail; agents know it.
    pub command: bool,
    /// Local mail goes there by LMTP, as a route key (`lmtp:/run/dovecot/lmtp`), instead of to agents.
    pub lmtp: Option<String>,
    /// Largest size of a mailbox in bytes; 0 for none.
    pub mailbox_size: u64,
    /// Header fields that local delivery adds.
    pub fields: Fields,
    /// Most mailbox agents at once, idle ones too: to start one costs more than a delivery, so they stay a moment. (The keeper takes 256.)
    pub agents: u32,
    /// Most agents at once that run programs, write files or read lists.
    pub programs: u32,
    /// Longest time of a program.
    pub program_time: u64,
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
            command: false,
            lmtp: None,
            mailbox_size: 0,
            fields: Fields::default(),
            agents: 150,
            programs: 50,
            program_time: 3_600_000,
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
pub struct Current {
    settings: RwLock<Arc<Settings>>,
    local: RwLock<Arc<Local>>,
    authorities: RwLock<Arc<Authorities>>,
}

impl Current {
    /// In force from now on; `local` has this host's names and addresses, to cut loops.
    #[must_use]
    pub fn new(settings: Settings, local: Local) -> Self {
        Self { settings: RwLock::new(Arc::new(settings)), local: RwLock::new(Arc::new(local)), ..Self::default() }
    }
    /// The settings in force.
    #[must_use]
    pub fn get(&self) -> Arc<Settings> {
        read(&self.settings)
    }
    /// Swaps them.
    pub fn set(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
    /// This host's names and addresses.
    #[must_use]
    pub fn local(&self) -> Arc<Local> {
        read(&self.local)
    }
    /// Who is trusted to vouch for servers; nobody until they are set.
    #[must_use]
    pub fn authorities(&self) -> Arc<Authorities> {
        read(&self.authorities)
    }
    /// Swaps them.
    pub fn set_authorities(&self, authorities: Arc<Authorities>) {
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = authorities;
    }
    /// Swaps them: a list of local domains may change without a reload.
    pub fn set_local(&self, local: Local) {
        *self.local.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(local);
    }
}

fn read<T>(lock: &RwLock<Arc<T>>) -> Arc<T> {
    Arc::clone(&lock.read().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_without_the_settings_and_the_other_way_round() {
        let named = |name: &str| Local { names: vec![name.into()], addresses: Vec::new() };
        let current = Current::new(Settings::default(), named("old.example"));
        let in_use = current.local();
        current.set_local(named("new.example"));
        current.set(Settings { limit: 7, ..Settings::default() });
        assert_eq!((&in_use.names[0][..], &current.local().names[0][..]), ("old.example", "new.example"));
        assert_eq!(current.get().limit, 7);
    }
}
