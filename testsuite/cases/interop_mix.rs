//! Several programs on one mailbox, those that take both locks. First bsd-mailx, s-nail, mutt and Dovecot's IMAP in turn, as one person
//! uses them, while procmail and we deliver. At the same time they do not go together, whoever delivers: mutt and mailx read without a
//! lock what they loaded, so another's rewriting makes them save messages twice or in pieces (seen: mutt with doveadm). Then at the
//! same time scripts that hold both locks from reading to emptying, taken in either order. (Not doveadm: beside another holder of
//! dot-locks it at times ends in `unlink(/var/mail/u12.lock) failed: Permission denied`, and the mailbox stays locked for minutes.)

use crate::interop::{
    IN_HAND, Passes, Reader, assert_no_locks, clear, count, drain, has, ids, kill_until, read_once, report, send,
    start, uid,
};
use crate::interop_dovecot::Dovecot;
use crate::interop_reader::{bsd_mailx_at, mutt_at, reader, s_nail_at};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testsuite::{Server, message, scaled, seconds};

const USER: &str = "u12";

/// Delivers `total` messages with procmail, under its own locks.
fn procmail(total: usize) {
    for n in 0..total {
        let mut child = Command::new("procmail")
            .args(["-t", "-Y", "-f", "p@client.test", "-d", USER])
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = message::text(&format!("p{n}"), USER, 30);
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "procmail");
    }
}

/// Each row of readers is a loop; the rows run at the same time.
fn run(server: &Server, rows: &[&[Reader]], killing: bool) {
    clear(USER);
    let readers: Vec<Reader> = rows.concat();
    let (total, theirs) = (scaled(500, 60), scaled(40, 4));
    let (end, calm, kills) = (AtomicBool::new(false), AtomicBool::new(!killing), AtomicUsize::new(0));
    let passes: Vec<Passes> = std::thread::scope(|scope| {
        let end = &end;
        let reading: Vec<_> = rows.iter().map(|row| scope.spawn(move || in_turn(end, row))).collect();
        if killing {
            scope.spawn(|| kill_until(&calm, server, uid(USER), &kills));
        }
        let other = scope.spawn(move || procmail(theirs));
        send(server, USER, "m", total);
        calm.store(true, Ordering::SeqCst);
        other.join().unwrap();
        drain(server, USER, end);
        reading.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut sent = ids("m", total);
    sent.extend(ids("p", theirs));
    let count = count(USER, &readers, &sent);
    let kills = kills.into_inner();
    for (reader, passes) in readers.iter().zip(&passes) {
        println!(
            "mix, {}: {} passes, {} failed, longest {:.1} s",
            reader.name,
            passes.good,
            passes.failed,
            passes.longest.as_secs_f32()
        );
    }
    report("mix", &Passes::default(), &count, kills);
    assert!(count.lost.is_empty(), "lost: {:?}\n{}", count.lost, server.story());
    assert!(count.torn.len() <= kills, "torn: {:?}", count.torn);
    // procmail keeps its dot-lock while it waits for the kernel's (mbox-locking.md §1), which mutt has while it waits for the dot-lock.
    // After 5 s mutt gives up, having saved what it then does not remove. Whoever held on so long is no witness against us.
    let gave_up = |name: &String| readers.iter().zip(&passes).any(|(r, p)| r.name == name && p.longest > seconds(5));
    let (theirs, ours): (Vec<_>, Vec<_>) = count.doubled.iter().partition(|(_, copies)| copies.iter().any(gave_up));
    println!("mix: doubled by a reader that gave up: {theirs:?}");
    assert!(ours.len() <= kills * IN_HAND, "doubled: {ours:?}");
    assert_no_locks(USER);
}

fn in_turn(end: &AtomicBool, row: &[Reader]) -> Vec<Passes> {
    let mut passes = vec![Passes::default(); row.len()];
    while !end.load(Ordering::SeqCst) {
        for (reader, sum) in row.iter().zip(&mut passes) {
            read_once(reader, sum);
        }
    }
    passes
}

/// Both locks in the order that is said, each given up if the other is taken, as a careful script does it.
const CAREFUL: &str = r#"
import fcntl, os, subprocess, sys
box, saved, order = sys.argv[1:]
if not os.path.exists(box): sys.exit()
f = open(box, "r+b")
def kernel():
    try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError: return False
    return True
def dot(): return subprocess.call(["lockfile", "-1", "-r", "0", "-ml"], stderr=subprocess.DEVNULL) == 0
def undot(): subprocess.check_call(["lockfile", "-mu"])
if order == "kernel" and kernel() and dot(): pass
elif order == "dot" and dot():
    if not kernel(): undot(); sys.exit()
else: sys.exit()
with open(saved, "ab") as out: out.write(f.read())
f.truncate(0)
undot()
"#;

#[test]
fn those_that_take_both_locks() {
    let Some(server) = start("interop mix", &["bsd-mailx", "s-nail", "mutt", "procmail"]) else { return };
    let Some(dovecot) = Dovecot::start().filter(|_| has(&["lockfile"])) else {
        eprintln!("SKIPPED interop mix: no Dovecot");
        return;
    };
    let people = [bsd_mailx_at(USER), s_nail_at(USER), mutt_at(USER), dovecot.imap_at(USER)];
    let script = server.path("careful.py");
    std::fs::write(&script, CAREFUL).unwrap();
    let careful = |order: &'static str| {
        let pass = format!("/usr/bin/python3 {} @BOX@ @HOME@/{order} {order}", script.display());
        reader(order, USER, order, 60, &pass)
    };
    let scripts = [[careful("kernel")], [careful("dot")]];
    for killing in [false, true] {
        run(&server, &[&people], killing);
        run(&server, &scripts.each_ref().map(<[_; 1]>::as_slice), killing);
    }
}
