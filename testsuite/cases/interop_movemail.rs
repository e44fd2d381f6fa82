//! movemail of mailutils, which unlocks the mailbox itself before it empties it (mbox-locking.md §6): closing a second descriptor
//! of the file drops its fcntl lock, and it has no dot-lock. What arrives between that moment and its `ftruncate` is destroyed, with
//! any mail server. So both sides are traced, and each missing id must have been written by us in such a window.

use crate::interop::{Reader, judge, one_run, start};
use crate::interop_kill::Victim;
use crate::interop_reader::reader;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use testsuite::{Server, process, seconds, wait_for};

pub const USER: &str = "u11";
/// One test at a time has that mailbox.
pub static ALONE: Mutex<()> = Mutex::new(());
const BOX: &str = "/var/mail/u11";

/// From the lock's loss to the truncation, seconds since 1970.
type Window = (f64, f64);

/// `PID SECONDS.MICROS call…` of strace.
fn stamped(line: &str) -> Option<(f64, &str)> {
    let (_, rest) = line.trim_start().split_once(' ')?;
    let (time, call) = rest.trim_start().split_once(' ')?;
    Some((time.parse().ok()?, call))
}

/// The windows of one traced run.
fn windows(trace: &str) -> Vec<Window> {
    let (mut locked, mut lost, mut found) = (false, None, Vec::new());
    for (time, call) in trace.lines().filter_map(stamped) {
        if call.contains("F_WRLCK") && call.ends_with("= 0") {
            (locked, lost) = (true, None);
        } else if locked && call.starts_with("close(") {
            (locked, lost) = (false, Some(time));
        } else if call.starts_with("ftruncate(") {
            found.extend(lost.take().map(|from| (from, time)));
        }
    }
    found
}

/// When we wrote this id, from the trace of our agents.
fn written(trace: &str, id: &str) -> Vec<f64> {
    let mark = format!("X-Test-Id: {id}\\n");
    trace.lines().filter(|line| line.contains(&mark)).filter_map(|line| Some(stamped(line)?.0)).collect()
}

/// Our agents' writes into the mailbox.
pub struct Traced {
    child: Child,
    file: PathBuf,
}

impl Traced {
    /// Traces the agents that will be started.
    pub fn begin(server: &Server) -> Self {
        let (keeper, file) = (server.pid(), server.path("ours"));
        let child = Command::new("strace")
            .args(["-f", "-qq", "-ttt", "-s", "200000", "-e", "trace=write", "-P", BOX, "-o"])
            .arg(&file)
            .args(["-p", &keeper.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("strace", seconds(60), || {
            fs::read_to_string(format!("/proc/{keeper}/status"))
                .is_ok_and(|s| s.contains(&format!("TracerPid:\t{}", child.id())))
        });
        Self { child, file }
    }
    /// Each of these was written by us in one of movemail's windows, or was in its hands when it crashed.
    pub fn explain(mut self, traces: &Path, lost: &[String]) {
        let crashed = fs::read_to_string(traces.with_file_name("crashed")).unwrap_or_default();
        print!("{}", fs::read_to_string(traces.with_file_name("troubles")).unwrap_or_default());
        process::signal(self.child.id() as i32, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        let ours = fs::read_to_string(&self.file).unwrap_or_default();
        let theirs: Vec<Window> = fs::read_dir(traces)
            .unwrap()
            .flat_map(|entry| windows(&fs::read_to_string(entry.unwrap().path()).unwrap()))
            .collect();
        let total: f64 = theirs.iter().map(|(from, to)| to - from).sum();
        println!("movemail: {} windows without its lock, {:.1} ms in all", theirs.len(), total * 1e3);
        assert!(!theirs.is_empty(), "the traces say nothing");
        let (crashed, lost): (Vec<_>, Vec<_>) =
            lost.iter().partition(|id| crashed.contains(&format!("X-Test-Id: {id}\n")));
        println!("movemail: took {} with it when it crashed: {crashed:?}", crashed.len());
        for id in lost {
            let at = written(&ours, id);
            println!("movemail: {id} was written at {at:?} and destroyed in its own window");
            // A write takes a moment after it was begun.
            let own = |t: &f64| theirs.iter().any(|(from, to)| *from - 0.01 <= *t && t <= to);
            assert!(at.last().is_some_and(own), "{id} lost outside of movemail's windows: {at:?} {theirs:?}");
        }
    }
}

/// It gives up with these words if somebody else has the lock. Whatever else it ends with is its own trouble, and what it had in hand then
/// is put aside.
const PASS: &str = r#"test ! -s @BOX@ || {
strace -f -qq -ttt -e trace=close,fcntl,ftruncate -P @BOX@ -o @TRACE@ movemail.mailutils @BOX@ @HOME@/part 2>said; s=$?
if test $s = 0; then f=movemail; else f=crashed; cat said >&2; echo "movemail: $s, the mailbox began with $(head -c 60 @BOX@ | tr '\000\n' '@|')" >>troubles; fi
test ! -e @HOME@/part || { cat @HOME@/part >>@HOME@/$f && rm @HOME@/part; }
! grep -q 'Conflict with previous locker' said; }"#;

/// movemail, traced into a folder.
pub fn reader_in(user: &str) -> (Reader, PathBuf) {
    let traces = Path::new("/home").join(user).join("traces");
    let pass = format!("mkdir -p {0}; {PASS}", traces.display());
    let pass = pass.replace("@TRACE@", &traces.join("$$").to_string_lossy());
    (reader("movemail", user, "movemail", "10 s", &pass), traces)
}

#[test]
fn movemail() {
    let Some(mut server) = start("interop movemail", &["movemail.mailutils"]) else { return };
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let (reader, traces) = reader_in(USER);
    for victims in [&[][..], Victim::BELOW] {
        let traced = Traced::begin(&server);
        let (mut count, deaths, gave_up) = one_run(&mut server, USER, &reader, victims);
        traced.explain(&traces, &count.lost);
        // What it cut off while we wrote begins in the middle.
        count.torn.truncate(count.torn.len().saturating_sub(count.lost.len()));
        // Copied and cut off before we had let go: it came again, for nobody can know of the copy.
        let log = server.log();
        let cut = |id: &str| log.lines().any(|line| line.contains(id) && line.contains("another program cut "));
        count.doubled.retain(|_, copies| !copies.iter().any(|copy| cut(&copy.queue_id)));
        judge(&server, &count, &deaths, gave_up);
    }
}

#[test]
fn the_trace_of_a_pass_tells_its_window() {
    let trace = "7 10.5 fcntl(4, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET}) = -1 EAGAIN\n7 11.0 fcntl(4, F_SETLK, {l_type=F_WRLCK}) = 0\n\
        7 11.2 close(6) = 0\n7 11.3 close(4) = 0\n7 11.9 ftruncate(3, 0) = 0\n";
    assert_eq!(windows(trace), [(11.2, 11.9)]);
    assert_eq!(written("9 11.4 write(5, \"X: 1\\nX-Test-Id: m1\\n\", 9) = 9\n", "m1"), [11.4]);
}
