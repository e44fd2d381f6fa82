//! Tests of the spool as a whole.

mod basic;
mod bench;
mod damage;
mod fault;
mod sim;

use super::Spool;
use crate::{Envelope, Recipient, Settings, Store};
use mail::{Address, Time};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes with the test.
pub(super) struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("queue-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub fn settings(&self) -> Settings {
        Settings { path: self.0.to_str().unwrap().into(), segment: 64 << 10, min_free: 1 << 20, ..Settings::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) const NOW: Time = Time { wall: 1_795_292_466_000, mono: 5 };

pub(super) fn open(settings: &Settings) -> Arc<Spool> {
    Spool::open(settings, NOW).unwrap().0
}

pub(super) fn envelope(spool: &dyn Store, to: &[&str]) -> Envelope {
    let mut envelope = super::envelope_code::tests::full();
    envelope.id = spool.new_id(NOW);
    envelope.hold = None;
    envelope.queue_only = false;
    envelope.origin.submission = [0; 16];
    let recipient = |to: &&str| Recipient::new(to, Address::from_parts(to, Some("far.example")), "smtp:far.example");
    envelope.recipients = to.iter().map(recipient).collect();
    envelope.unknown.clear();
    envelope
}

pub(super) async fn accept(spool: &dyn Store, to: &[&str], body: &[u8]) -> crate::Accepted {
    let mut writer = spool.write(0).unwrap();
    writer.write(body).unwrap();
    let envelope = envelope(spool, to);
    spool.accept(writer, vec![envelope]).await.unwrap().remove(0)
}
