//! What the server said, for tests of what follows files.

use mail::log::{Event, Log};
use std::sync::Mutex;

/// A log that keeps the lines about the server.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<String>>);

impl Log for Lines {
    fn write(&self, event: &Event) {
        if let Event::Server { text } = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}
