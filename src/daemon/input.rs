//! Tables that come through the keeper as descriptors, by number. The engine names no path: before a look-up, at most once a
//! second, it asks whether the file has changed, and reads the fresh descriptor.

use crate::link::Link;
use call::keep::InputState;
use mail::log::{Event, Log};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use table::{Answer, Hit, Load, Table, Unavailable};

/// How often a table's file is looked at, at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for the keeper's answer; the last good version serves meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest table text.
const LIMIT: u64 = 512 << 20;

/// A table behind an input number.
pub(crate) struct LiveTable {
    number: u16,
    name: String,
    load: Load,
    link: Link,
    log: Arc<dyn Log>,
    current: RwLock<Result<Arc<dyn Table>, Unavailable>>,
    checked: Mutex<Instant>,
    /// That it is not there was said.
    absent: AtomicBool,
}

/// The whole content of an input.
pub(crate) fn read(descriptor: OwnedFd) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::from(descriptor).take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(std::io::Error::other("larger than 512 MiB"));
    }
    Ok(text)
}

impl LiveTable {
    /// With the state the keeper found at the start. An absent file is an empty table, an unreadable one a temporary failure.
    pub(crate) fn new(
        number: u16,
        name: &str,
        load: Load,
        (state, descriptor): (InputState, Option<OwnedFd>),
        link: Link,
        log: Arc<dyn Log>,
    ) -> Self {
        let table = Self {
            number,
            name: name.to_owned(),
            load,
            link,
            log,
            current: RwLock::new(Ok(Arc::new(table::Empty))),
            checked: Mutex::new(Instant::now()),
            absent: AtomicBool::new(state == InputState::Absent),
        };
        if state == InputState::Absent {
            table.server(format!("{name}: no such file; taken as empty"));
        } else {
            table.adopt(state, descriptor);
        }
        table
    }

    fn server(&self, text: String) {
        self.log.write(&Event::Server { text });
    }

    fn set(&self, table: Result<Arc<dyn Table>, Unavailable>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn adopt(&self, state: InputState, descriptor: Option<OwnedFd>) {
        if state != InputState::Absent {
            self.absent.store(false, Ordering::Relaxed);
        }
        match (state, descriptor) {
            (InputState::Open, Some(descriptor)) => match read(descriptor) {
                Ok(text) => match (self.load)(&self.name, &text) {
                    Ok(table) => {
                        table.warnings().iter().for_each(|warning| self.server(warning.clone()));
                        self.set(Ok(table));
                    }
                    Err(Unavailable(text)) => {
                        self.server(format!("{}: {text}; the last good version serves", self.name))
                    }
                },
                Err(error) => self.unreadable(&error.to_string()),
            },
            (InputState::Unreadable(errno), _) => {
                self.unreadable(&std::io::Error::from_raw_os_error(errno).to_string());
            }
            // It was there and is gone: perhaps it is being replaced. The last good version serves.
            (InputState::Absent, _) if !self.absent.swap(true, Ordering::Relaxed) => {
                self.server(format!("{}: gone; the last good version serves", self.name));
            }
            (InputState::Absent, _) => {}
            (InputState::Unchanged | InputState::Open, _) => {}
        }
    }

    fn unreadable(&self, why: &str) {
        self.server(format!("{}: {why}", self.name));
        self.set(Err(Unavailable(format!("{}: {why}", self.name))));
    }

    async fn refresh(&self) {
        {
            let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.elapsed() < INTERVAL {
                return;
            }
            *checked = Instant::now();
        }
        if let Ok(Some((state, descriptor))) = tokio::time::timeout(PATIENCE, self.link.check(self.number)).await {
            self.adopt(state, descriptor);
        }
    }
}

impl Table for LiveTable {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move {
            self.refresh().await;
            let table = self.current.read().unwrap_or_else(PoisonError::into_inner).clone()?;
            table.look_up(key).await
        })
    }
}
