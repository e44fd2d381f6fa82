//! Several programs on one mailbox, those that take both locks. First bsd-mailx, s-nail, mutt and Dovecot's IMAP in turn, as one person
//! uses them, while we deliver. At the same time they do not go together, whoever delivers: mutt and mailx read without a
//! lock what they loaded, so another's rewriting makes them save messages twice or in pieces (seen: mutt with doveadm). Then at the
//! same time scripts that hold both locks from reading to emptying, taken in either order. (Not doveadm: beside another holder of
//! dot-locks it at times ends in `unlink(/var/mail/u12.lock) failed: Permission denied`, and the mailbox stays locked for minutes.)

use crate::interop::{
    Count, Passes, Reader, assert_no_locks, clear, count, drain, judge, read_once, report, send, slowest_sync, start,
    starved, tell, uid,
};
use crate::interop_dovecot::Dovecot;
use crate::interop_kill::{Ends, Victim, kill_until};
use crate::interop_reader::{bsd_mailx_at, mutt_at, reader, s_nail_at};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use testsuite::{Server, message, scaled};

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

/// Each row of readers is a loop; the rows run at the same time. procmail delivers `theirs` more.
fn run(server: &mut Server, rows: &[&[Reader]], theirs: usize, victims: &'static [Victim]) {
    clear(USER);
    let readers: Vec<Reader> = rows.concat();
    let (end, address) = (AtomicBool::new(false), server.address);
    let (mut sent, deaths, passes, slowest) = std::thread::scope(|scope| {
        let end = &end;
        let over = Ends(end);
        let reading: Vec<_> = rows.iter().map(|row| scope.spawn(move || in_turn(end, row))).collect();
        let other = scope.spawn(move || procmail(theirs));
        let syncing = scope.spawn(move || slowest_sync(end, USER));
        let (sent, deaths) = kill_until(server, uid(USER), victims, || send(address, USER, "m", scaled(500, 40)));
        other.join().unwrap();
        drain(server, USER);
        drop(over);
        let passes: Vec<Passes> = reading.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (sent, deaths, passes, syncing.join().unwrap())
    });
    sent.extend((0..theirs).map(|n| format!("p{n}")));
    let mut count = count(USER, &readers, &sent);
    readers.iter().zip(&passes).for_each(|(reader, passes)| report(reader, passes));
    tell("mix", &count, &deaths, slowest);
    let with_people = readers.iter().any(|reader| reader.name == "mutt");
    if theirs > 0 && with_people {
        forgive(&mut count);
    } else {
        readers.iter().zip(&passes).for_each(|(reader, passes)| starved(reader, passes, &deaths, slowest));
    }
    assert!(count.lost.is_empty(), "lost: {:?}\n{}", count.lost, server.story());
    judge(server, &count, &deaths, passes.iter().map(|passes| passes.failed + passes.left).sum());
    assert_no_locks(USER);
}

/// procmail keeps its dot-lock while it waits for the kernel's (mbox-locking.md §1), which Dovecot, mutt and bsd-mailx have while they wait
/// for the dot-lock. They give up (mutt having saved what it then does not remove), or Dovecot, after 2 minutes, takes procmail's lock
/// away, and procmail writes while somebody reads or empties. That is between those two; ours are all there.
fn forgive(count: &mut Count) {
    let theirs: Vec<_> = count.lost.iter().filter(|id| id.starts_with('p')).collect();
    println!("mix: lost of procmail's: {theirs:?}; doubled: {:?}; torn: {:?}", count.doubled.keys(), count.torn);
    count.lost.retain(|id| !id.starts_with('p'));
    count.doubled.clear();
    count.torn.clear();
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
    let Some(mut server) = start("interop mix", &["bsd-mailx", "s-nail", "mutt", "procmail", "lockfile"]) else {
        return;
    };
    let Some(dovecot) = Dovecot::start("interop mix") else { return };
    let people = [bsd_mailx_at(USER), s_nail_at(USER), mutt_at(USER), dovecot.imap_at(USER)];
    let script = server.path("careful.py");
    std::fs::write(&script, CAREFUL).unwrap();
    let careful = |order: &'static str| {
        let pass = format!("/usr/bin/python3 {} @BOX@ @HOME@/{order} {order}", script.display());
        reader(order, USER, order, "not at all", &pass)
    };
    let scripts = [[careful("kernel")], [careful("dot")]];
    for victims in [&[][..], Victim::ALL] {
        run(&mut server, &[&people], 0, victims);
        run(&mut server, &scripts.each_ref().map(<[_; 1]>::as_slice), scaled(40, 4), victims);
    }
    if scaled(1, 0) == 1 {
        run(&mut server, &[&people], 40, &[]);
    }
}
