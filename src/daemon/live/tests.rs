//! Files changed in every way that administrators and programs have, and what the table answers meanwhile.

use super::*;
use crate::kind::registry;
use crate::told::Lines;
use call::keep::{InputState, Unsafe};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use table::Why;

/// A folder with a table in it, and the keeper's eyes.
struct Host {
    folder: tempfile::TempDir,
    log: Arc<Lines>,
}

impl Host {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), log: Arc::default() }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
    fn found(&self, name: &str) -> (InputState, Option<OwnedFd>) {
        match fs::File::open(self.path(name)) {
            Ok(file) => (InputState::Open, Some(file.into())),
            Err(_) => (InputState::Absent, None),
        }
    }
    async fn start(&self, optional: bool, before: Option<Arc<LiveTable>>) -> Arc<LiveTable> {
        self.start_with(registry(&route::Settings::default()), optional, before).await
    }
    async fn start_with(&self, kinds: Registry, optional: bool, before: Option<Arc<LiveTable>>) -> Arc<LiveTable> {
        let name = self.path("t").display().to_string();
        let files = TableFiles { kind: "hash".into(), name, text: Some(0), compiled: Some(1), optional, entries: None };
        let inputs = (Input::new(0, self.found("t")), Some(Input::new(1, self.found("t.db"))));
        let log: Arc<dyn Log> = Arc::<Lines>::clone(&self.log);
        LiveTable::start((files, None), inputs, Arc::new(kinds), log, before).await
    }
    /// One look at the files.
    async fn look(&self, table: &LiveTable) {
        let (text, compiled) = (self.found("t"), self.found("t.db"));
        let mut state = table.state.lock().await;
        state.text.take(text.0, text.1);
        state.compiled.as_mut().unwrap().take(compiled.0, compiled.1);
        drop(state);
        table.act(false).await;
    }
    /// Looks until the answer is this.
    async fn until(&self, table: &LiveTable, expected: &str) {
        let since = Instant::now();
        while ask(table).await != expected {
            assert!(since.elapsed() < Duration::from_secs(5), "still {}, not {expected}", ask(table).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.look(table).await;
        }
    }
    fn said(&self, text: &str) -> bool {
        self.log.0.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

async fn ask(table: &LiveTable) -> String {
    match table.look_up("k").await {
        Ok(Some(Hit { value, why: Why { .. } })) => value,
        Ok(None) => "nothing".into(),
        Err(Unavailable(_)) => "later".into(),
    }
}

#[tokio::test]
async fn a_new_version_waits_until_it_is_still() {
    let host = Host::new();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    assert_eq!(ask(&table).await, "old");
    // Slowly, in place, with the key missing for a while.
    for n in 0..8 {
        host.write("t", &"x y\n".repeat(n));
        host.look(&table).await;
        assert_eq!(ask(&table).await, "old");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    host.write("t", "k new\n");
    host.look(&table).await;
    assert_eq!(ask(&table).await, "old");
    host.until(&table, "new").await;
    assert!(host.said("/t: new version in use"));
    // By rename.
    host.write("t.new", "k renamed\n");
    fs::rename(host.path("t.new"), host.path("t")).unwrap();
    host.until(&table, "renamed").await;
}

#[tokio::test]
async fn a_file_that_somebody_writes_is_not_used() {
    let host = Host::new();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    host.write("t", "half of it\n");
    let file = fs::File::open(host.path("t")).unwrap();
    table.state.lock().await.text.take(InputState::Busy, Some(file.into()));
    for _ in 0..16 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        table.act(false).await;
        assert_eq!(ask(&table).await, "old");
    }
    host.until(&table, "nothing").await;
}

#[tokio::test]
async fn what_has_gone_or_cannot_be_used_leaves_the_last_good_version() {
    let host = Host::new();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    fs::remove_file(host.path("t")).unwrap();
    for _ in 0..3 {
        host.look(&table).await;
        assert_eq!(ask(&table).await, "old");
    }
    assert!(host.said("gone; the last good version serves"));
    // At a reload as well.
    let table = host.start(false, Some(table)).await;
    assert_eq!(ask(&table).await, "old");
    // No table at all, and newer.
    host.write("t.db", "what is this");
    let since = Instant::now();
    while !host.said("t.db: of no known format") {
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", host.log.0);
        tokio::time::sleep(Duration::from_millis(5)).await;
        host.look(&table).await;
        assert_eq!(ask(&table).await, "old");
    }
    fs::remove_file(host.path("t.db")).unwrap();
    host.write("t", "k new\n");
    host.until(&table, "new").await;
}

/// `cp garbage t.db`: the descriptor in use shows the garbage.
#[tokio::test]
async fn a_compiled_form_damaged_in_place_is_read_from_its_text() {
    let host = Host::new();
    host.write("t", "k old\n");
    let text = fs::File::open(host.path("t")).unwrap();
    let compiled = fs::File::create_new(host.path("t.db")).unwrap();
    let mut writer = table::Writer::new(&compiled);
    writer.put(b"k", b"old", 1, table::Duplicate::Keep).unwrap();
    writer.finish(table::origin(&text, Some(&host.path("t"))).unwrap()).unwrap();
    let table = host.start(false, None).await;
    assert_eq!(ask(&table).await, "old");
    // At a reload it is remembered as well.
    let table = host.start(false, Some(table)).await;
    host.write("t.db", "what is this");
    assert_eq!(ask(&table).await, "later");
    host.until(&table, "old").await;
    assert!(host.said("which it was made from, serves"), "{:?}", host.log.0);
    // Another text may lack what the compiled form had: who knows.
    host.write("t", "x new\n");
    fs::File::open(host.path("t"))
        .unwrap()
        .set_modified(std::time::SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    host.write("t.db", "what is that");
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        host.look(&table).await;
        assert_eq!(ask(&table).await, "old");
    }
    assert!(!host.said("t.db: new version in use"));
}

#[tokio::test]
async fn an_old_compiled_form_does_not_step_in_for_a_text_that_is_being_replaced() {
    let host = Host::new();
    let db = fs::File::create(host.path("t.db")).unwrap();
    let mut writer = table::Writer::new(&db);
    writer.put(b"k", b"stale", 1, table::Duplicate::Keep).unwrap();
    writer.finish(table::Origin { name: "t".into(), size: 1, modified: 1 }).unwrap();
    db.set_modified(std::time::SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    assert_eq!(ask(&table).await, "old");
    fs::remove_file(host.path("t")).unwrap();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(100) {
        host.look(&table).await;
        assert_eq!(ask(&table).await, "old");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    host.write("t", "k new\n");
    host.until(&table, "new").await;
    // But it serves if the text is gone for good.
    fs::remove_file(host.path("t")).unwrap();
    host.until(&table, "stale").await;
}

#[tokio::test]
async fn what_cannot_be_trusted_or_read_is_a_temporary_failure() {
    let host = Host::new();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    table.state.lock().await.text.take(InputState::Unsafe(Unsafe::WorldFile), None);
    table.act(false).await;
    assert_eq!(ask(&table).await, "later");
    assert!(host.said("World writable file"));
    // Nothing but its mode changed.
    host.until(&table, "old").await;
}

/// An older `X.db` beside it lacks what is new in the text.
#[tokio::test]
async fn a_compiled_form_does_not_step_in_for_a_text_that_is_refused() {
    let host = Host::new();
    let db = fs::File::create(host.path("t.db")).unwrap();
    let mut writer = table::Writer::new(&db);
    writer.put(b"other", b"stale", 1, table::Duplicate::Keep).unwrap();
    writer.finish(table::Origin { name: "t".into(), size: 1, modified: 1 }).unwrap();
    db.set_modified(std::time::SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    host.write("t", "k new\n");
    let table = host.start(false, None).await;
    assert_eq!(ask(&table).await, "new");
    for state in [InputState::Unsafe(Unsafe::WorldFile), InputState::Unreadable(nix::libc::EISDIR)] {
        table.state.lock().await.text.take(state, None);
        let since = Instant::now();
        while since.elapsed() < GONE + GONE / 5 {
            table.act(false).await;
            assert_eq!(ask(&table).await, "later", "{state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        host.until(&table, "new").await;
    }
    assert!(host.said("/t: World writable file") && host.said("/t: Is a directory"), "{:?}", host.log.0);
}

/// Nothing about the file says that it can be read now.
#[tokio::test]
async fn what_could_not_be_loaded_is_tried_again() {
    let host = Host::new();
    host.write("t", "k new\n");
    let (mut kinds, times) = (registry(&route::Settings::default()), AtomicU32::new(0));
    kinds.add("hash", move |source| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Unavailable("/t: Stale file handle".into())),
        _ => table::load_map(source),
    });
    let table = host.start_with(kinds, false, None).await;
    assert_eq!(ask(&table).await, "later");
    host.until(&table, "new").await;
    assert!(host.said("Stale file handle"));
}

/// However long there was nothing, or something that was used long ago.
#[tokio::test]
async fn what_is_just_being_written_is_not_used_at_once() {
    let host = Host::new();
    let table = host.start(true, None).await;
    for (old, key) in [("nothing", "new"), ("new", "newer")] {
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(500) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            host.look(&table).await;
        }
        host.write("t", "half of it\n");
        for _ in 0..10 {
            let file = fs::File::open(host.path("t")).unwrap();
            table.state.lock().await.text.take(InputState::Busy, Some(file.into()));
            table.act(false).await;
            assert_eq!(ask(&table).await, old);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        host.write("t", &format!("k {key}\n"));
        host.until(&table, key).await;
    }
}

/// A program that keeps it open and writes now and then.
#[tokio::test]
async fn a_file_that_is_open_for_writing_all_the_time_is_used_at_last() {
    let host = Host::new();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    let (since, mut text) = (Instant::now(), String::from("k new\n"));
    while ask(&table).await == "old" {
        assert!(since.elapsed() < Duration::from_secs(5), "never used");
        text += "x y\n";
        host.write("t", &text);
        // Still for longer than a table has to be, changed more often than one may be forgotten.
        for _ in 0..10 {
            let file = fs::File::open(host.path("t")).unwrap();
            table.state.lock().await.text.take(InputState::Busy, Some(file.into()));
            table.act(false).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(ask(&table).await, "new");
    assert!(since.elapsed() > Duration::from_millis(300), "used at once");
}

/// Renamed into place again and again, it is never still, but always whole.
#[tokio::test]
async fn a_table_that_is_replaced_all_the_time_is_used() {
    let host = Host::new();
    host.write("t", "k old\n");
    let table = host.start(false, None).await;
    let since = Instant::now();
    let mut numbers = 0..;
    while ask(&table).await == "old" {
        assert!(since.elapsed() < Duration::from_secs(5), "never used");
        host.write("t.new", &format!("k new\n# {}\n", numbers.next().unwrap()));
        // The clock of a file system ticks each 4 ms or so.
        tokio::time::sleep(Duration::from_millis(15)).await;
        fs::rename(host.path("t.new"), host.path("t")).unwrap();
        host.look(&table).await;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(ask(&table).await, "new");
}

#[tokio::test]
async fn a_table_that_is_not_there() {
    let host = Host::new();
    let (optional, needed) = (host.start(true, None).await, host.start(false, None).await);
    assert_eq!((ask(&optional).await, ask(&needed).await), ("nothing".into(), "later".into()));
    host.write("t", "k new\n");
    host.until(&optional, "new").await;
    host.until(&needed, "new").await;
}
