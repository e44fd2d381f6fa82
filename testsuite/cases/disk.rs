//! Disks that fail, fill up, lose power or are slow. Needs the private host: mounts, loop devices, strace.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testsuite::ledger::{Caller, USERS};
use testsuite::server::{ORDINARY, run};
use testsuite::sink::{Act, At};
use testsuite::{Ledger, Server, Setup, Sink, Smtp, message, process, root_or_skip, scaled, seconds, wait_for};

/// Something mounted, for as long as this lives.
struct Mounted {
    path: PathBuf,
    helper: Option<Child>,
    _folder: tempfile::TempDir,
}

fn sh(command: &str) {
    let out = run(
        {
            let mut c = Command::new("sh");
            c.args(["-c", command]);
            c
        },
        b"",
    );
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Mounted {
    fn tmpfs(options: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("disk.").tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("mnt");
        fs::create_dir(&path).unwrap();
        sh(&format!("mount -t tmpfs -o {options},mode=755,uid={ORDINARY},gid={ORDINARY} none {}", path.display()));
        Self { path, helper: None, _folder: folder }
    }
    /// ext4 on a loop device over a file; commit=600: what is not synced is not on the disk.
    fn ext4(megabytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("disk.").tempdir_in("/var/tmp").unwrap();
        let image = folder.path().join("image");
        sh(&format!("truncate -s {megabytes}M {0} && mkfs.ext4 -q -F {0}", image.display()));
        Self::loop_mount(folder, &image, None)
    }
    /// The same on a disk whose flush takes 1 ms (`slow-disk`, a FUSE file in memory).
    fn slow(megabytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("slow.").tempdir_in("/var/tmp").unwrap();
        let fuse = folder.path().join("fuse");
        fs::create_dir(&fuse).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("slow-disk");
        let helper = Command::new("python3")
            .arg(script)
            .arg(&fuse)
            .args([megabytes.to_string(), "1.0".to_owned()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let image = fuse.join("image");
        wait_for("the slow disk", seconds(10), || image.exists());
        sh(&format!("mkfs.ext4 -q -F {}", image.display()));
        Self::loop_mount(folder, &image, Some(helper))
    }
    fn loop_mount(folder: tempfile::TempDir, image: &Path, helper: Option<Child>) -> Self {
        let path = folder.path().join("mnt");
        fs::create_dir(&path).unwrap();
        sh(&format!("mount -o loop,commit=600 {} {}", image.display(), path.display()));
        chown(&path, Some(ORDINARY), Some(ORDINARY)).unwrap();
        Self { path, helper, _folder: folder }
    }
    /// The power goes: what was not synced is forgotten.
    fn power_cut(&self) {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH
        let script =
            "import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], 0), 0x8004587d, struct.pack('I', 2))";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(&self.path);
        let out = run(python, b"");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    fn mount_again(&self) {
        let image = self.path.parent().unwrap().join("image");
        sh(&format!(
            "for i in $(seq 100); do umount {0} 2>/dev/null && break; sleep 0.1; done; mount -o loop,commit=600 {1} {0}",
            self.path.display(),
            image.display()
        ));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l".as_ref(), self.path.as_os_str()]).status();
        if let Some(helper) = &mut self.helper {
            std::thread::sleep(Duration::from_millis(300)); // the loop device lets go of the file
            let _ = helper.kill();
            let _ = helper.wait();
            let _ = Command::new("umount")
                .args(["-l".as_ref(), self.path.parent().unwrap().join("fuse").as_os_str()])
                .status();
        }
    }
}

/// A server whose spool, drop folder and mailboxes are on this disk.
fn server_on(disk: &Mounted, sink: &Sink) -> Server {
    let mail = disk.path.join("mail");
    fs::create_dir_all(&mail).unwrap();
    chown(&mail, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let mut setup = Setup::default().relay_to(sink.address);
    setup.mailbox = format!("mailbox \"mbox\" path=\"{}/{{user}}\"", mail.display());
    setup.queue = "retry min=\"300ms\" max=\"1s\"; expire \"5d\"".into();
    setup.spool = Some(disk.path.clone());
    Server::make(setup)
}

fn boxes(disk: &Mounted) -> Vec<PathBuf> {
    (0..USERS).map(|n| disk.path.join(format!("mail/u{n:02}"))).collect()
}

/// strace on the running engine, until dropped.
struct Traced(Child);

impl Traced {
    fn attach(pid: i32, arguments: &[&str]) -> Self {
        let child = Command::new("strace")
            .args(["-f", "-qq"])
            .args(arguments)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("strace on the engine", seconds(10), || {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|s| s.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0")))
        });
        std::thread::sleep(Duration::from_millis(200)); // the other threads
        Self(child)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        process::signal(self.0.id() as i32, rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}

#[test]
fn a_sync_that_fails_is_never_answered_with_250() {
    if !root_or_skip("a_sync_that_fails") {
        return;
    }
    let sink = Sink::start();
    let disk = Mounted::ext4(200);
    let mut server = server_on(&disk, &sink);
    server.start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("before", "u00@local.test", 3);
    assert_eq!(session.message("a@client.test", &["u00@local.test"], &text).unwrap().code, 250);
    let trace = Traced::attach(
        server.engine(),
        &["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", "-o", "/dev/null"],
    );
    for n in 0..5 {
        let text = message::text(&format!("during{n}"), "u00@local.test", 3);
        // A closed session is as good an answer as a 4xx.
        match Smtp::hello(server.address).and_then(|mut s| s.message("a@client.test", &["u00@local.test"], &text)) {
            Ok(reply) => assert!((400..500).contains(&reply.code), "{}", reply.text()),
            Err(e) => eprintln!("during EIO: {e}"),
        }
    }
    drop(trace);
    let mut again = false;
    wait_for("service by itself after EIO", seconds(40), || {
        let text = message::text("after", "u00@local.test", 3);
        again |= Smtp::hello(server.address)
            .and_then(|mut s| s.message("a@client.test", &["u00@local.test"], &text))
            .is_ok_and(|r| r.code == 250);
        again
    });
    wait_for("both messages", seconds(30), || {
        let (ids, _) = testsuite::mbox::count([disk.path.join("mail/u00")]);
        ids.contains_key("before") && ids.contains_key("after")
    });
}

#[test]
fn syncs_that_fail_now_and_then_lose_nothing() {
    if !root_or_skip("syncs_that_fail_now_and_then") {
        return;
    }
    let sink = Sink::start();
    let disk = Mounted::ext4(300);
    let mut server = server_on(&disk, &sink);
    server.start();
    let ledger = Ledger::new(40);
    std::thread::scope(|scope| {
        let _stop = ledger.stop_at_end();
        ledger.load(scope, server.address, Caller::of(&server), 8);
        for when in ["3+7", "1+2", "5+11"] {
            let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
            let trace =
                Traced::attach(server.engine(), &["-e", "trace=fsync,fdatasync", "-e", &inject, "-o", "/dev/null"]);
            std::thread::sleep(seconds(3));
            drop(trace);
            // By SMTP: `sendmail` succeeds meanwhile through the drop folder.
            let again = wait_for("service by itself after EIO", seconds(60), || {
                Smtp::hello(server.address)
                    .and_then(|mut s| s.message("a@client.test", &["x@far.test"], &message::text("probe", "x", 3)))
                    .is_ok_and(|r| r.code == 250)
            });
            println!("EIO {when}: {}, service again after {again:?}", ledger.summary());
        }
    });
    server.wait_empty(seconds(60));
    let judgement = ledger.judge(&boxes(&disk), &sink);
    println!("EIO now and then: {}; {judgement:?}", ledger.summary());
    assert!(judgement.lost.is_empty() && judgement.merged.is_empty());
}

#[test]
fn a_full_disk_refuses_new_mail_and_drains_without_a_duplicate() {
    if !root_or_skip("a_full_disk") {
        return;
    }
    let closed = Arc::new(AtomicBool::new(true));
    let gate = closed.clone();
    let sink = Sink::scripted(move |s| match s.at {
        At::Mail if gate.load(Ordering::SeqCst) => Act::Say("451 4.3.2 wait".into()),
        _ => Act::Go,
    });
    let disk = Mounted::tmpfs("size=160m");
    let mut server = server_on(&disk, &sink);
    server.start();
    let mut accepted = 0;
    let mut session = Smtp::hello(server.address).unwrap();
    let filler = disk.path.join("filler");
    fs::write(&filler, vec![1u8; 60 << 20]).unwrap();
    let refusal = loop {
        let text = message::text(&format!("f{accepted}"), "x@far.test", 600);
        let reply = session.message("a@client.test", &["x@far.test"], &text).unwrap();
        if reply.code != 250 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 20_000, "a 160 MB disk took {accepted} messages of 36 KB");
    };
    assert_eq!(refusal.code / 100, 4, "{}", refusal.text());
    println!("full disk: {accepted} accepted, then {}", refusal.text());
    sh(&format!("cat /dev/zero >{}/rest 2>/dev/null || true", disk.path.display()));
    let out = server.sendmail(&["-i", "x@far.test"], message::text("late", "x", 3).as_bytes());
    assert_ne!(out.status.code(), Some(0), "exit 0 with a disk full to the last byte: {out:?}");
    closed.store(false, Ordering::SeqCst);
    wait_for("the queue drains on a full disk", seconds(120), || sink.len() >= accepted);
    server.wait_empty(seconds(60));
    server.kill();
    server.start(); // the outcomes were recorded: nothing comes again
    std::thread::sleep(seconds(3));
    assert_eq!(sink.len(), accepted, "duplicates");
    fs::remove_file(&filler).unwrap();
    let _ = fs::remove_file(disk.path.join("rest"));
    wait_for("new mail is taken again", seconds(40), || {
        Smtp::hello(server.address)
            .and_then(|mut s| s.message("a@client.test", &["x@far.test"], &message::text("again", "x", 3)))
            .is_ok_and(|r| r.code == 250)
    });
}

#[test]
fn no_inodes_left() {
    if !root_or_skip("no_inodes_left") {
        return;
    }
    let sink = Sink::scripted(|s| match s.at {
        At::Mail => Act::Say("451 4.3.2 wait".into()),
        _ => Act::Go,
    });
    let disk = Mounted::tmpfs("size=400m,nr_inodes=100");
    let mut server = server_on(&disk, &sink);
    server.start();
    let mut session = Smtp::hello(server.address).unwrap();
    let mut accepted = Vec::new();
    for n in 0..150 {
        // Above 64 KiB: a file each.
        let text = message::text(&format!("i{n}"), "x@far.test", 2_000);
        match session.message("a@client.test", &["x@far.test"], &text) {
            Ok(reply) if reply.code == 250 => {
                accepted.push(reply.text().split(' ').nth(2).unwrap_or_default().to_owned())
            }
            Ok(reply) => assert_eq!(reply.code / 100, 4, "{}", reply.text()),
            Err(e) => panic!("{n}: {e}"),
        }
    }
    assert!(server.greets(seconds(5)));
    let list = server.mailq();
    for id in &accepted {
        assert!(list.contains(id.as_str()), "{id} was acknowledged and is not in the queue");
    }
    assert!(accepted.len() < 100, "100 inodes cannot hold so many files");
    println!("no inodes: {} of 150 accepted, all in the queue", accepted.len());
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if !root_or_skip("a_power_cut") {
        return;
    }
    let sink = Sink::start();
    let disk = Mounted::ext4(600);
    let mut server = server_on(&disk, &sink);
    server.start();
    let ledger = Ledger::new(40);
    let cuts = scaled(10, 3);
    std::thread::scope(|scope| {
        let _stop = ledger.stop_at_end();
        ledger.load(scope, server.address, Caller::of(&server), 20);
        for cut in 0..cuts {
            let from = ledger.count();
            wait_for("load", seconds(60), || ledger.count() > from + 300 && ledger.in_data() > 0);
            // Nobody answers after the power is gone. (Without this, ext4 lets an fdatasync that is under way succeed although
            // the conversion of unwritten extents is lost with the journal: a 250 that no real power cut could have let out.)
            process::stop_tree(server.pid());
            disk.power_cut();
            server.kill();
            disk.mount_again();
            // A lock that was being made when the power went is empty, so nobody can tell whose it was; but the machine was
            // off for a while, and it is old now (mbox-locking.md §5.10).
            sh(&format!("find {} -name '*.lock' -exec touch -d '-10 minutes' {{}} +", disk.path.display()));
            let ready = server.start();
            println!("power cut {cut}: {} acknowledged, ready after {ready:?}", ledger.count());
        }
    });
    server.wait_empty(seconds(120));
    let judgement = ledger.judge(&boxes(&disk), &sink);
    println!(
        "power cut: {}; {} seen, {} lost, {} duplicates, fragments: {:?}",
        ledger.summary(),
        judgement.seen,
        judgement.lost.len(),
        judgement.duplicates,
        judgement.fragments
    );
    for lost in &judgement.lost {
        // `m17: 250 2.0.0 6AM06M00000000 Message accepted`: what the log says about that queue id.
        let id = lost.split(' ').nth(3).unwrap_or("?");
        eprintln!("{lost}");
        server.log().lines().filter(|l| l.contains(id)).for_each(|l| eprintln!("    {l}"));
    }
    assert!(judgement.lost.is_empty(), "{:?}", judgement.lost);
    assert!(judgement.merged.is_empty(), "{:?}", judgement.merged);
}

/// From the trace of a lone client's messages: 354, the content is written, a sync succeeds, 250; in this order.
#[test]
fn never_a_250_before_its_sync() {
    if !root_or_skip("never_a_250_before_its_sync") {
        return;
    }
    let sink = Sink::start();
    let disk = Mounted::ext4(200);
    let mut server = server_on(&disk, &sink);
    server.start();
    let file = server.path("tmp/trace");
    let output = file.to_string_lossy().into_owned();
    let calls = "trace=fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,linkat";
    let trace = Traced::attach(server.engine(), &["-e", calls, "-s", "65536", "-o", &output]);
    let mut session = Smtp::hello(server.address).unwrap();
    for (n, lines) in [3, 3, 3, 2_000, 3, 2_000].into_iter().enumerate() {
        let text = message::text(&format!("order{n}"), "x@far.test", lines);
        assert_eq!(session.message("a@client.test", &["x@far.test"], &text).unwrap().code, 250);
        std::thread::sleep(Duration::from_millis(300));
    }
    drop(trace);
    let text = fs::read_to_string(&file).unwrap();
    let (mut open, mut synced, mut answers) = (false, false, 0);
    for line in text.lines() {
        if line.contains("\"354 ") {
            (open, synced) = (true, false);
        } else if (line.contains("fsync") || line.contains("fdatasync")) && line.trim_end().ends_with("= 0") {
            synced = true;
        } else if line.contains("\"250 2.0.0 ") && line.contains("Message accepted") {
            assert!(open && synced, "250 before any sync: {line}");
            (open, answers) = (false, answers + 1);
        }
    }
    assert_eq!(answers, 6, "each 250 was seen in the trace");
}

/// Sync calls per accepted message with `sessions` sessions, over the whole server.
fn syncs_per_message(disk: &Mounted, sessions: usize, messages: usize) -> (f64, Duration) {
    let sink = Sink::start();
    let mut server = server_on(disk, &sink);
    let count = server.path("tmp/count").to_string_lossy().into_owned();
    let calls = "trace=fsync,fdatasync,sync_file_range,syncfs,msync,sync";
    server.setup.wrap =
        ["strace", "-f", "-qq", "--seccomp-bpf", "-c", "-o", &count, "-e", calls].map(str::to_owned).to_vec();
    server.start();
    let address = server.address;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for t in 0..sessions {
            scope.spawn(move || {
                let mut session = Smtp::hello(address).unwrap();
                for n in 0..messages / sessions {
                    let text = message::text(&format!("t{t}n{n}"), "x@far.test", 60);
                    assert_eq!(session.message("a@client.test", &["x@far.test"], &text).unwrap().code, 250);
                }
            });
        }
    });
    let took = begin.elapsed();
    server.wait_empty(seconds(60));
    server.stop();
    let table = fs::read_to_string(server.path("tmp/count")).unwrap();
    let total: f64 = table
        .lines()
        .filter(|l| l.contains("sync"))
        .filter_map(|l| l.split_whitespace().nth(3)?.parse::<f64>().ok())
        .sum();
    let _ = fs::remove_dir_all(disk.path.join("spool"));
    (total / messages as f64, took / messages as u32)
}

#[test]
fn group_commit_shares_syncs_and_a_lone_client_does_not_wait() {
    if !root_or_skip("group_commit") {
        return;
    }
    let messages = scaled(4_000, 1_000);
    let disk = Mounted::slow(512);
    // Other work on the machine keeps sessions apart and only makes this worse: the best of three.
    let mut slow = f64::INFINITY;
    for _ in 0..3 {
        slow = slow.min(syncs_per_message(&disk, 20, messages).0);
        if slow <= 0.3 {
            break;
        }
    }
    let (_, lone) = syncs_per_message(&disk, 1, messages / 5);
    drop(disk);
    let disk = Mounted::ext4(512);
    let (plain, _) = syncs_per_message(&disk, 20, messages);
    let (one, quick) = syncs_per_message(&disk, 1, messages / 5);
    println!(
        "syncs per message: {slow:.2} with 20 sessions and 1 ms flush, {plain:.2} on the plain disk; a lone client {one:.2}; \
         his message takes {lone:?} with 1 ms flush, {quick:?} on the plain disk"
    );
    assert!(slow <= 0.3, "{slow:.2} sync calls per accepted message with 1 ms flush");
    assert!(plain <= 1.1, "{plain:.2} sync calls per accepted message on the plain disk");
    assert!(lone < Duration::from_millis(12), "a lone client waits {lone:?} per message");
}
