//! List files that are there, gone and back, and the settings that come of them.

use super::*;
use crate::told::Lines;
use call::keep::{InputState, Unsafe};
use config::{Config, System};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A folder with the files `w` and `r`.
struct Host {
    folder: tempfile::TempDir,
    log: Arc<Lines>,
}

impl Host {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), log: Arc::default() }
    }
    fn path(&self, number: u16) -> PathBuf {
        self.folder.path().join(["w", "r"][usize::from(number)])
    }
    fn found(&self, number: u16) -> (InputState, Option<OwnedFd>) {
        match fs::File::open(self.path(number)) {
            Ok(file) => (InputState::Open, Some(file.into())),
            Err(_) => (InputState::Absent, None),
        }
    }
    fn write(&self, text: &str) {
        [0, 1].iter().for_each(|number| fs::write(self.path(*number), text).unwrap());
    }
    fn remove(&self) {
        [0, 1].iter().for_each(|number| fs::remove_file(self.path(*number)).unwrap());
    }
    /// Local domains in `w`, domains to relay to in `r`, as the keeper plans them with what is there now.
    fn plan(&self, more: &str) -> EngineSettings {
        let file = |number| format!("file={:?} {more}", self.path(number));
        let text = format!("local-domains {}\nrelay-domains {}\naliases \"/t\" optional=#true", file(0), file(1));
        let system = System { hostname: "mx.test".into(), ..System::default() };
        Config::parse("t.kdl", &text, &system).unwrap().0.engine_settings()
    }
    fn start(&self, plan: &EngineSettings, before: &Texts) -> LiveLists {
        let first = plan.lists[0].files[0].input;
        let bring = |number: u16| Input::new(number, self.found(number - first));
        LiveLists::new(plan, bring, Arc::<Lines>::clone(&self.log), before)
    }
    fn said(&self, text: &str) -> usize {
        self.log.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

/// Local domains and domains to relay to.
fn names(route: &route::Settings) -> String {
    format!("{} {}", route.local_domains.join(","), route.relay_domains.join(","))
}

#[test]
fn a_list_that_is_not_there_is_not_empty() {
    let host = Host::new();
    host.write("planned.test\n");
    let plan = host.plan("");
    host.write("now.test\n");
    let none = Texts::default();
    let mut lists = host.start(&plan, &none);
    assert_eq!((names(&lists.settings(&plan.route)), lists.is_complete()), ("now.test now.test".into(), true));
    let texts = lists.texts();
    fs::remove_file(host.path(1)).unwrap();
    // A new engine knows one of them: that is not enough.
    let mut lists = host.start(&plan, &none);
    assert_eq!((names(&lists.settings(&plan.route)), lists.is_complete()), ("planned.test planned.test".into(), false));
    assert_eq!((host.said("/r: no such file; the lists serve as they were"), host.said("/w:")), (1, 0));
    // Told once.
    assert!(!lists.look(false) && host.said("no such file") == 1);
    // At a reload there is what was read before.
    let mut lists = host.start(&plan, &texts);
    assert_eq!((names(&lists.settings(&plan.route)), lists.is_complete()), ("now.test now.test".into(), true));
    assert_eq!(host.said("/r: gone; the last good version serves"), 1);
    // Nor is one that may be missing, but was not when this was planned.
    host.write("planned.test\n");
    let plan = host.plan("optional=#true");
    host.remove();
    let mut lists = host.start(&plan, &none);
    assert_eq!((names(&lists.settings(&plan.route)), lists.is_complete()), ("planned.test planned.test".into(), false));
}

#[test]
fn one_that_may_be_missing_is_empty() {
    let host = Host::new();
    let plan = host.plan("optional=#true");
    let mut lists = host.start(&plan, &Texts::default());
    assert_eq!((names(&lists.settings(&plan.route)), lists.is_complete()), (" ".into(), true));
    assert_eq!(host.said(""), 0);
}

#[test]
fn one_that_cannot_be_read_is_not_empty() {
    let host = Host::new();
    host.write("planned.test\n");
    let plan = host.plan("");
    let first = plan.lists[0].files[0].input;
    let file = || Some(fs::File::open(host.path(0)).unwrap().into());
    for (state, told) in
        [(InputState::Unsafe(Unsafe::WorldFile), "World writable"), (InputState::Busy, "being written")]
    {
        let descriptor = || file().filter(|_: &OwnedFd| state == InputState::Busy);
        let bring = |number| Input::new(number, if number == first { (state, descriptor()) } else { host.found(1) });
        let mut lists = LiveLists::new(&plan, bring, Arc::<Lines>::clone(&host.log), &Texts::default());
        assert_eq!(names(&lists.settings(&plan.route)), "planned.test planned.test");
        assert!(!lists.is_complete() && host.said(told) == 1, "{:?}", host.log.0);
    }
}
