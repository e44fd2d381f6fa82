//! Work that may wait and may block, off the writer's thread: removing the files of finished bodies, making spare segments.

use super::Shared;
use crate::ContentId;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What can be asked.
pub(crate) enum Chore {
    /// The body's message is finished and that is durable.
    RemoveBody(ContentId),
    /// Make a spare segment, filled with zeros, and put its name into the list.
    Spare(Spares),
    /// Write a checkpoint; here only, so that none overtakes another. Who waits hears how it went.
    Checkpoint(Vec<u8>, Option<mpsc::SyncSender<std::io::Result<()>>>),
    Stop,
}

/// Names in `spare/` that are ready.
pub(crate) type Spares = Arc<Mutex<Vec<String>>>;

/// Takes chores; never blocks. The number waiting is bounded by the messages that finish.
pub(crate) struct Sender(mpsc::Sender<Chore>);

impl Sender {
    pub fn send(&self, chore: Chore) {
        // The thread has ended only if the spool was dropped; bodies are then removed at the next start.
        let _ended = self.0.send(chore);
    }
    pub fn stop(&self) {
        self.send(Chore::Stop);
    }
}

pub(crate) fn channel() -> (Sender, mpsc::Receiver<Chore>) {
    let (sender, receiver) = mpsc::channel();
    (Sender(sender), receiver)
}

/// Starts the thread.
pub(crate) fn start(shared: Arc<Shared>, chores: mpsc::Receiver<Chore>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("spool-chores".into()).spawn(move || {
        let mut unread: Vec<mail::QueueId> = shared.index().messages.keys().copied().collect();
        while let Some(chore) = next(&chores, &shared, &mut unread) {
            match chore {
                Chore::RemoveBody(content) => {
                    // A failure leaves an orphan, which the next start removes.
                    let _orphan = shared.disk.unlink(&shared.disk.body(content.0));
                }
                Chore::Spare(spares) => make_spare(&shared, &spares),
                Chore::Checkpoint(bytes, answer) => {
                    // Without it the next start reads more of the log, nothing else.
                    let written = shared.disk.write_whole(&shared.disk.root.join("checkpoint"), &bytes);
                    let _nobody_waits = answer.map(|answer| answer.send(written));
                }
                Chore::Stop => return,
            }
        }
    })
}

/// The next chore. While there is none, what was found at the start is read and verified, a little at a time: damage is better found while
/// the sender remembers what he wrote.
fn next(chores: &mpsc::Receiver<Chore>, shared: &Shared, unread: &mut Vec<mail::QueueId>) -> Option<Chore> {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
    const AT_ONCE: usize = 16;
    while !unread.is_empty() {
        match chores.recv_timeout(PAUSE) {
            Ok(chore) => return Some(chore),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        for id in unread.drain(unread.len().saturating_sub(AT_ONCE)..) {
            // What does not fit is set aside and reported there.
            let _verified = shared.read_content(id);
        }
    }
    unread.shrink_to_fit();
    chores.recv().ok()
}

fn make_spare(shared: &Shared, spares: &Spares) {
    let name = format!("{}.seg", durable::random_name());
    let path = shared.disk.folder("spare").join(&name);
    let made =
        shared.disk.create(&path, u64::from(shared.segment), true).and_then(|_| shared.disk.sync_folder("spare"));
    if made.is_ok() {
        super::lock(spares).push(name);
    }
    shared.jobs.nudge();
}
