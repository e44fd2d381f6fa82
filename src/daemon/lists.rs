//! List files (`local-host-names`, `relay-domains`, …) that are followed like tables: when one has changed, the router gets new
//! settings. Wanted by administrators who know that sendmail reads them only when it starts, and harmless to those who do not.

use crate::input::{Input, Now, Version, read};
use crate::link::Link;
use config::{EngineSettings, List, ListFile};
use mail::log::{Event, Log};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// One file.
struct ListInput {
    input: Input,
    used: Option<Version>,
    /// As it was when it could last be read, also before a reload.
    text: Option<Vec<u8>>,
    /// Whether it is empty when there is no such file.
    optional: bool,
    /// What was logged last about it.
    told: String,
}

impl ListInput {
    /// Whether its text is known: an unknown one must not count as empty.
    fn is_known(&self) -> bool {
        self.text.is_some() || (self.optional && matches!(self.input.now, Now::Absent))
    }

    /// Reads a new version that can be used; what it has, if that is something else than before.
    fn take(&mut self, at_start: bool) -> std::io::Result<Option<Vec<u8>>> {
        let Now::There { file, version, .. } = &self.input.now else { return Ok(None) };
        let version = *version;
        if self.used == Some(version) {
            self.input.settle();
            return Ok(None);
        }
        if self.input.unrest(at_start && self.text.is_none()).is_some() {
            return Ok(None);
        }
        let text = read(file)?;
        self.input.settle();
        let new = self.text.as_ref() != Some(&text) || self.used.is_none();
        (self.text, self.used) = (Some(text.clone()), Some(version));
        Ok(new.then_some(text))
    }

    /// What is wrong with the file, and what that leads to; empty if nothing is.
    fn problem(&self) -> String {
        let why = match &self.input.now {
            Now::There { .. } if self.text.is_some() => return String::new(),
            Now::Absent if self.text.is_none() && self.optional => return String::new(),
            // What was told until now, until it is read.
            Now::There { .. } if !self.told.is_empty() => return self.told.clone(),
            Now::There { .. } => "it is being written",
            Now::Refused(why) => why,
            Now::Absent if self.text.is_some() => "gone",
            Now::Absent => "no such file",
        };
        format!("{why}; {}", self.so())
    }

    const fn so(&self) -> &'static str {
        if self.text.is_some() { SERVES } else { UNKNOWN }
    }
}

const SERVES: &str = "the last good version serves";
/// What comes of a file that was never read: the settings of the plan serve, see `unlisted` for the rest.
const UNKNOWN: &str =
    "the lists serve as they were when the configuration was read, and other mail from outside has to wait";

/// What is in use, by path, for whoever comes after a reload.
pub(crate) type Texts = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// All list files of a configuration.
pub(crate) struct LiveLists {
    lists: Vec<List>,
    /// Names of the inputs.
    names: Vec<String>,
    files: BTreeMap<u16, ListInput>,
    log: Arc<dyn Log>,
    texts: Texts,
}

impl LiveLists {
    /// Takes the inputs of the lists; `bring` has what the keeper found, `before` what was in use until now.
    pub(crate) fn new(
        settings: &EngineSettings,
        mut bring: impl FnMut(u16) -> Input,
        log: Arc<dyn Log>,
        before: &Texts,
    ) -> Self {
        let names = settings.inputs.clone();
        let old = before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let file = |file: &ListFile| {
            let (number, optional) = (file.input, file.optional);
            let input = bring(number);
            let known = names.get(usize::from(number)).and_then(|name| old.get(name));
            let text = known.filter(|_| !(optional && matches!(input.now, Now::Absent))).cloned();
            (number, ListInput { input, used: None, text, optional, told: String::new() })
        };
        let files = settings.lists.iter().flat_map(|list| &list.files).map(file).collect();
        let (lists, texts) = (settings.lists.clone(), Arc::new(Mutex::new(old)));
        Self { lists, names, files, log, texts }
    }

    /// What is in use, from now on.
    pub(crate) fn texts(&self) -> Texts {
        Arc::clone(&self.texts)
    }

    /// The router's settings with the lists as they are now. A file that cannot be read leaves them as they were planned.
    pub(crate) fn settings(&mut self, planned: &route::Settings) -> route::Settings {
        self.look(true);
        if self.is_complete() { self.fill(planned) } else { planned.clone() }
    }

    /// Whether the text of each file is known; if not, the settings are those of the plan.
    pub(crate) fn is_complete(&self) -> bool {
        self.files.values().all(ListInput::is_known)
    }

    /// Follows the files until the task is ended; `change` gets the settings each time.
    pub(crate) async fn watch(mut self, link: Link, planned: route::Settings, change: impl Fn(route::Settings) + Send) {
        if self.files.is_empty() {
            return;
        }
        let mut complete = self.is_complete();
        loop {
            tokio::time::sleep(self.look_again()).await;
            for file in self.files.values_mut() {
                file.input.refresh(&link).await;
            }
            if (self.look(false) || !complete) && self.is_complete() {
                complete = true;
                change(self.fill(&planned));
            }
        }
    }

    /// A file that is not still yet is due sooner.
    fn look_again(&self) -> Duration {
        let changed = self.files.values().filter(|file| file.input.version().is_some_and(|now| Some(now) != file.used));
        let rest = changed.filter_map(|file| file.input.unrest(false)).min();
        rest.unwrap_or(INTERVAL).clamp(Duration::from_millis(10), INTERVAL)
    }

    /// Takes over what has changed; whether anything has.
    fn look(&mut self, at_start: bool) -> bool {
        let mut any = false;
        for (number, file) in &mut self.files {
            let name = self.names.get(usize::from(*number)).map_or("list", String::as_str);
            let problem = match file.take(at_start) {
                Ok(None) => file.problem(),
                Ok(Some(text)) => {
                    any = true;
                    let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
                    texts.insert(name.to_owned(), text);
                    String::new()
                }
                Err(error) => format!("{error}; {}", file.so()),
            };
            if !problem.is_empty() && file.told != problem {
                self.log.write(&Event::Server { text: format!("{name}: {problem}") });
            }
            file.told = problem;
        }
        any
    }

    fn fill(&self, planned: &route::Settings) -> route::Settings {
        let mut route = planned.clone();
        for (number, line, text) in config::fill(&mut route, &self.lists, |n| self.files.get(&n)?.text.clone()) {
            let name = self.names.get(usize::from(number)).map_or("list", String::as_str);
            self.log.write(&Event::Server { text: format!("{name}:{line}: {text}") });
        }
        route
    }
}

#[cfg(test)]
mod tests;
