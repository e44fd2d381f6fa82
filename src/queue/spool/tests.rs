//! Tests of the spool as a whole.

mod basic;
mod bench;
mod damage;
mod fault;
mod life;
mod rot;
mod sim;

use super::{Call, Hook, Spool};
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

/// A hook that only looks, or refuses.
struct Look<F>(F);

impl<F: Fn(Call<'_>) -> std::io::Result<()> + Send + Sync> Hook for Look<F> {
    fn before(&self, call: Call<'_>, _: Option<&std::fs::File>) -> std::io::Result<()> {
        (self.0)(call)
    }
    fn after(&self, _: Call<'_>) {}
    fn space(&self) -> Option<durable::Space> {
        None
    }
}

/// A spool with such a hook, that probes every 5 ms.
pub(super) fn hooked(
    settings: &Settings,
    look: impl Fn(Call<'_>) -> std::io::Result<()> + Send + Sync + 'static,
) -> Arc<Spool> {
    let probe = std::time::Duration::from_millis(5);
    Spool::open_with(settings, NOW, Some(Arc::new(Look(look))), probe).unwrap().0
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
