//! movemail of mailutils, which unlocks the mailbox itself before it empties it (mbox-locking.md §6): closing a second descriptor
//! of the file drops its fcntl lock, and it has no dot-lock. What arrives between that moment and its `ftruncate` is destroyed, with
//! any mail server. So both sides are traced, and each missing id must have been written by us in such a window.

use crate::interop::{IN_HAND, clear, one_run, start};
use crate::interop_reader::reader;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testsuite::{Server, process, seconds, wait_for};

const USER: &str = "u11";
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

/// Traces what the agents that will be started write into the mailbox.
fn trace_agents(server: &Server) -> Child {
    let keeper = server
        .processes()
        .into_iter()
        .find(|p| {
            fs::read(format!("/proc/{}/cmdline", p.pid))
                .is_ok_and(|line| line.split(|&b| b == 0).any(|w| w == b"keeper"))
        })
        .map_or(server.pid(), |p| p.pid);
    let child = Command::new("strace")
        .args(["-f", "-qq", "-ttt", "-s", "200000", "-e", "trace=write", "-P", BOX, "-o"])
        .arg(server.path("ours"))
        .args(["-p", &keeper.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("strace", seconds(10), || {
        fs::read_to_string(format!("/proc/{keeper}/status"))
            .is_ok_and(|s| s.contains(&format!("TracerPid:\t{}", child.id())))
    });
    child
}

#[test]
fn movemail() {
    let Some(server) = start("interop movemail", &["movemail.mailutils"]) else { return };
    let traces = Path::new("/home").join(USER).join("traces");
    let pass = format!(
        "mkdir -p {0}; test ! -s @BOX@ || {{ strace -f -qq -ttt -e trace=close,fcntl,ftruncate -P @BOX@ -o {0}/$$ \
         movemail.mailutils @BOX@ @HOME@/part && cat @HOME@/part >>@HOME@/movemail && rm @HOME@/part; }}",
        traces.display()
    );
    let reader = reader("movemail", USER, "movemail", 30, &pass);
    for killing in [false, true] {
        clear(USER);
        let mut tracer = trace_agents(&server);
        let (count, kills) = one_run(&server, USER, &reader, killing);
        process::signal(tracer.id() as i32, rustix::process::Signal::TERM);
        let _ = tracer.wait();
        let ours = fs::read_to_string(server.path("ours")).unwrap_or_default();
        let theirs: Vec<Window> = fs::read_dir(&traces)
            .unwrap()
            .flat_map(|entry| windows(&fs::read_to_string(entry.unwrap().path()).unwrap()))
            .collect();
        let total: f64 = theirs.iter().map(|(from, to)| to - from).sum();
        println!("movemail: {} windows without its lock, {:.1} ms in all", theirs.len(), total * 1e3);
        assert!(!theirs.is_empty(), "the traces say nothing");
        for id in &count.lost {
            let at = written(&ours, id);
            println!("movemail: {id} was written at {at:?} and destroyed in its own window");
            // A write takes a moment after it was begun.
            let own = |t: &f64| theirs.iter().any(|(from, to)| *from - 0.01 <= *t && t <= to);
            assert!(at.last().is_some_and(own), "{id} lost outside of movemail's windows: {at:?} {theirs:?}");
        }
        assert!(count.torn.len() <= kills + count.lost.len(), "torn: {:?}", count.torn);
        assert!(count.doubled.len() <= kills * IN_HAND, "doubled: {:?}", count.doubled);
    }
}

#[test]
fn the_trace_of_a_pass_tells_its_window() {
    let trace = "7 10.5 fcntl(4, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET}) = -1 EAGAIN\n7 11.0 fcntl(4, F_SETLK, {l_type=F_WRLCK}) = 0\n\
        7 11.2 close(6) = 0\n7 11.3 close(4) = 0\n7 11.9 ftruncate(3, 0) = 0\n";
    assert_eq!(windows(trace), [(11.2, 11.9)]);
    assert_eq!(written("9 11.4 write(5, \"X: 1\\nX-Test-Id: m1\\n\", 9) = 9\n", "m1"), [11.4]);
}
