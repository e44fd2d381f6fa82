//! A table that follows its files. Looked at once a second, whether it is asked or not; a new version is loaded beside the old one once it has
//! been still for a second, and takes its place when it is whole. Until then, and when it cannot be used, the last good one serves: a
//! table that is being rewritten never answers "not there" for what it had and will have.

use crate::input::{Input, Now, Version};
use crate::link::Link;
use crate::problem::{LOADED, problems};
use compat_table::check::Format;
use config::TableFiles;
use mail::log::{Event, Log};
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use table::{Answer, Form, Hit, Origin, Registry, Source, Table, Unavailable};
use tokio::sync::Mutex;

/// A file in use.
type Used = Option<(Form, Version)>;
/// A version of the table, or why there is none.
type Loaded = Result<Arc<dyn Table>, Unavailable>;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// When the file that was in use has gone, an older one beside it (a stale `X.db`) is used only after this long: perhaps it is being
/// replaced.
const GONE: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(10) };
/// What could not be used is tried again after this long: perhaps a file server was away.
const AGAIN: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(60) };
/// Problems of one version that are logged one by one.
const TOLD: usize = 20;
/// From this size on memory of an old version is given back to the system.
const LARGE: u64 = 1 << 20;

/// A live table.
pub(crate) struct LiveTable {
    files: TableFiles,
    /// Whose lines are checked when it is loaded.
    format: Option<Format>,
    kinds: Arc<Registry>,
    log: Arc<dyn Log>,
    /// What answers, and the file it came from.
    current: RwLock<(Loaded, Used)>,
    /// Held while the keeper is asked: never waited for by anybody but the table's own task.
    state: Mutex<State>,
}

/// Its files and which of them is in use.
struct State {
    text: Input,
    compiled: Option<Input>,
    /// In use now.
    used: Used,
    /// Could not be used, and since when.
    bad: Option<(Form, Version, Instant)>,
    /// What the compiled form in use was made from.
    made_from: Option<Origin>,
    /// Whether there ever was a file.
    found: bool,
    /// What was logged last about files that are not there or not readable.
    told: String,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: what is in use is what is there.
    Keep,
    /// Nothing yet.
    Wait(Duration),
    /// Use this one.
    Load(Form),
    /// There is no file.
    Missing,
    /// There is one, but it cannot be used.
    Broken(String),
}

impl State {
    fn input(&self, form: Form) -> Option<&Input> {
        match form {
            Form::Text => Some(&self.text),
            Form::Compiled => self.compiled.as_ref(),
        }
    }

    /// What is in use, or was found to be of no use, is what is there.
    fn settle(&mut self) {
        self.text.settle();
        self.compiled.iter_mut().for_each(Input::settle);
    }

    fn source(&self, name: &str) -> Source {
        let compiled = self.compiled.as_ref().and_then(Input::file);
        Source { name: name.into(), text: self.text.file(), compiled }
    }

    fn step(&self, name: &str, at_start: bool) -> Step {
        let refused = |input: Option<&Input>| match input.map(|input| &input.now) {
            Some(Now::Refused(why)) => Some(why.clone()),
            _ => None,
        };
        // Either may be newer than the other, and have what that lacks: who knows.
        if let Some(why) = refused(self.compiled.as_ref()) {
            return Step::Broken(format!("{name}.db: {why}"));
        }
        if let Some(why) = refused(Some(&self.text)) {
            return Step::Broken(format!("{name}: {why}"));
        }
        let Ok(table::Chosen { form, .. }) = table::choose(&self.source(name)) else { return Step::Missing };
        let Some((input, version)) = self.input(form).and_then(|input| Some((input, input.version()?))) else {
            return Step::Missing;
        };
        let chosen = (form, version);
        let bad = self.bad.is_some_and(|(form, version, since)| (form, version) == chosen && since.elapsed() < AGAIN);
        if self.used == Some(chosen) || bad {
            return Step::Keep;
        }
        if let Some(rest) = self.replacement(form, version) {
            return Step::Wait(rest);
        }
        input.unrest(at_start).map_or(Step::Load(form), Step::Wait)
    }

    /// How long to wait for the file that was in use to come back, before an older one takes its place.
    fn replacement(&self, form: Form, version: Version) -> Option<Duration> {
        let (used, old) = self.used?;
        let input = self.input(used)?;
        let gone = used != form && matches!(input.now, Now::Absent);
        if gone && version.stamp.modified < old.stamp.modified { GONE.checked_sub(input.seen_for()) } else { None }
    }
}

impl LiveTable {
    /// Loads a table from what the keeper found. `before` is the one that served its file until now, at a reload.
    pub(crate) async fn start(
        (files, format): (TableFiles, Option<Format>),
        inputs: (Input, Option<Input>),
        kinds: Arc<Registry>,
        log: Arc<dyn Log>,
        before: Option<Arc<Self>>,
    ) -> Arc<Self> {
        let none = (Err(Unavailable(format!("{}: not loaded yet", files.name))), None);
        let current = before.map_or(none, |before| before.read());
        let (used, found) = (current.1, current.1.is_some());
        // At a reload something serves: what is being written in steps can wait.
        let nothing_serves = current.0.is_err();
        let mut state =
            State { text: inputs.0, compiled: inputs.1, used, bad: None, made_from: None, found, told: String::new() };
        state.made_from = table::made_from(&state.source(&files.name));
        let table = Self { current: RwLock::new(current), files, format, kinds, log, state: Mutex::new(state) };
        table.act(nothing_serves).await;
        Arc::new(table)
    }

    /// Its path, which tells it from others.
    pub(crate) const fn files(&self) -> &TableFiles {
        &self.files
    }

    /// Looks at the files once a second until the task is ended.
    pub(crate) async fn watch(self: Arc<Self>, link: Link) {
        loop {
            tokio::time::sleep(self.act(false).await).await;
            let mut state = self.state.lock().await;
            state.text.refresh(&link).await;
            if let Some(compiled) = &mut state.compiled {
                compiled.refresh(&link).await;
            }
        }
    }

    /// Does what is to be done; returns when to look again.
    async fn act(&self, at_start: bool) -> Duration {
        let mut state = self.state.lock().await;
        let name = self.files.name.clone();
        match state.step(&name, at_start) {
            Step::Keep => {
                state.told.clear();
                state.settle();
            }
            Step::Wait(rest) => return rest.clamp(Duration::from_millis(10), INTERVAL),
            Step::Load(form) => self.load(&mut state, form, at_start).await,
            Step::Missing => self.missing(&mut state),
            Step::Broken(why) => {
                state.found = true;
                state.settle();
                // Not the last good version: who made the file unsafe wants it to count, and an answer from it could be wrong.
                self.set(&mut state, Err(Unavailable(why.clone())), None);
                self.tell(&mut state, why);
            }
        }
        INTERVAL
    }

    fn missing(&self, state: &mut State) {
        let name = &self.files.name;
        let text = if state.found {
            // It was there and is gone: perhaps it is being replaced.
            format!("{name}: gone; the last good version serves")
        } else if self.files.optional {
            self.set(state, Ok(Arc::new(table::Empty)), None);
            format!("{name}: no such file; taken as empty")
        } else {
            let text = format!("{name}: no such file; what asks it has to wait");
            self.set(state, Err(Unavailable(text.clone())), None);
            text
        };
        self.tell(state, text);
    }

    /// Loads on a thread of its own: a million entries take a second, and sessions go on.
    async fn load(&self, state: &mut State, form: Form, at_start: bool) {
        let (source, kinds, kind) = (state.source(&self.files.name), Arc::clone(&self.kinds), self.files.kind.clone());
        let version = state.input(form).and_then(Input::version);
        let checked = self.format.map(|format| (format, state.source(&self.files.name)));
        let loading = move || {
            let table = kinds.load(&kind, source)?;
            let mut warnings = table.warnings().to_vec();
            warnings.extend(checked.map(|(format, source)| problems(format, source, LOADED, None)).unwrap_or_default());
            Ok((table, warnings))
        };
        let loaded = tokio::task::spawn_blocking(loading).await;
        let loaded = loaded.unwrap_or_else(|_| Err(Unavailable(format!("{}: cannot be loaded", self.files.name))));
        let unchanged = state.text.is_unchanged() && state.compiled.as_ref().is_none_or(Input::is_unchanged);
        let Some(version) = version.filter(|_| unchanged) else {
            return; // written to meanwhile: the next look sees another version
        };
        state.settle();
        match loaded {
            Ok((table, warnings)) => {
                self.tell_warnings(&warnings);
                state.told.clear();
                state.made_from = table::made_from(&state.source(&self.files.name));
                self.set(state, Ok(table), Some((form, version)));
                if !at_start {
                    self.server(format!("{}{}: new version in use", self.files.name, suffix(form)));
                    give_back(version.stamp.size);
                }
            }
            Err(Unavailable(text)) => {
                state.bad = Some((form, version, Instant::now()));
                let overwritten = state.used.is_some_and(|(used, old)| used == form && old.same_file(&version));
                if let Some(table) = self.load_text_instead(state, form).await {
                    self.server(format!("{text}; {}, which it was made from, serves", self.files.name));
                    self.set(state, Ok(table), Some((form, version)));
                } else if self.read().0.is_ok() && !overwritten {
                    self.server(format!("{text}; the last good version serves"));
                } else if overwritten {
                    // What was in use is gone with it: what cannot be read is temporary.
                    self.server(format!("{text}; it was overwritten, what asks it has to wait"));
                } else {
                    self.server(text.clone());
                    self.set(state, Err(Unavailable(text)), None);
                }
            }
        }
    }

    /// The text, if it is the very version that a damaged compiled form was made from.
    async fn load_text_instead(&self, state: &State, form: Form) -> Option<Arc<dyn Table>> {
        let damaged = (form == Form::Compiled).then(|| state.source(&self.files.name))?;
        let source = table::text_instead(damaged, state.made_from.as_ref())?;
        let (kinds, kind) = (Arc::clone(&self.kinds), self.files.kind.clone());
        tokio::task::spawn_blocking(move || kinds.load(&kind, source)).await.ok()?.ok()
    }

    fn tell_warnings(&self, warnings: &[String]) {
        // The reader of the text and the checks of its format may say the same.
        let mut seen = HashSet::new();
        let all: Vec<&String> = warnings.iter().filter(|warning| seen.insert(warning.as_str())).collect();
        all.iter().take(TOLD).for_each(|warning| self.server((*warning).clone()));
        if let Some(more) = all.len().checked_sub(TOLD).filter(|more| *more > 0) {
            self.server(format!("{}: {more} more problems; see postrider config check", self.files.name));
        }
    }

    fn tell(&self, state: &mut State, text: String) {
        if state.told != text {
            self.server(text.clone());
            state.told = text;
        }
    }

    fn server(&self, text: String) {
        self.log.write(&Event::Server { text });
    }

    fn set(&self, state: &mut State, table: Loaded, used: Used) {
        state.used = used;
        state.found |= used.is_some();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (table, used);
    }

    fn read(&self) -> (Loaded, Used) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const fn suffix(form: Form) -> &'static str {
    match form {
        Form::Text => "",
        Form::Compiled => ".db",
    }
}

/// Gives freed memory back once the look-ups that still hold the old version are over; malloc would keep it for ever.
fn give_back(size: u64) {
    if size < LARGE {
        return;
    }
    tokio::spawn(async {
        tokio::time::sleep(INTERVAL).await;
        #[allow(unsafe_code, reason = "no safe interface to malloc_trim")]
        let trim = || {
            // SAFETY: touches only malloc's own free lists, under its own locks.
            unsafe { nix::libc::malloc_trim(0) };
        };
        // May take milliseconds: not on a thread that serves.
        let _ended = tokio::task::spawn_blocking(trim).await;
    });
}

impl Table for LiveTable {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        let (table, _) = self.read();
        Box::pin(async move { table?.look_up(key).await })
    }
}

#[cfg(test)]
mod tests;
