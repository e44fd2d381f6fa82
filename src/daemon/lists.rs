//! List files (`local-host-names`, `relay-domains`, …) that are followed like tables: when one has changed, the router gets new
//! settings. Wanted by administrators who know that sendmail reads them only when it starts, and harmless to those who do not.

use crate::input::{Input, Now, Version, read};
use crate::link::Link;
use config::{EngineSettings, List};
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
}

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
        let numbers = settings.lists.iter().flat_map(|list| list.files.iter().map(|file| file.input));
        let file = |number: u16| {
            let input = bring(number);
            let known = names.get(usize::from(number)).and_then(|name| old.get(name));
            let text = known.filter(|_| !matches!(input.now, Now::Absent)).cloned();
            (number, ListInput { input, used: None, text })
        };
        let files = numbers.map(file).collect();
        Self { lists: settings.lists.clone(), names, files, log, texts: Arc::new(Mutex::new(old)) }
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

    /// Whether the text of each file is known: an unknown one must not count as empty.
    fn is_complete(&self) -> bool {
        self.files.values().all(|file| file.text.is_some() || matches!(file.input.now, Now::Absent))
    }

    /// Follows the files until the task is ended; `change` gets the settings each time.
    pub(crate) async fn watch(mut self, link: Link, planned: route::Settings, change: impl Fn(route::Settings) + Send) {
        if self.files.is_empty() {
            return;
        }
        loop {
            tokio::time::sleep(self.look_again()).await;
            for file in self.files.values_mut() {
                file.input.refresh(&link).await;
            }
            if self.look(false) && self.is_complete() {
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
            let Now::There { file: open, version, .. } = &file.input.now else { continue };
            let version = *version;
            if file.used == Some(version) || file.input.unrest(at_start && file.text.is_none()).is_some() {
                continue;
            }
            match read(open) {
                Ok(text) => {
                    any |= file.text.as_ref() != Some(&text) || file.used.is_none();
                    if let Some(name) = self.names.get(usize::from(*number)) {
                        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
                        texts.insert(name.clone(), text.clone());
                    }
                    (file.text, file.used) = (Some(text), Some(version));
                }
                Err(error) => {
                    let name = self.names.get(usize::from(*number)).map_or("list", String::as_str);
                    self.log.write(&Event::Server { text: format!("{name}: {error}; the last good version serves") });
                }
            }
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
