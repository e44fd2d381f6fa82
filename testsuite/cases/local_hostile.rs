//! An engine in a stranger's hands: a script stands in its place and asks the keeper and the agents for what it should not get: root, other
//! accounts, other people's mailboxes and files. Each is refused with its reason; nothing is run, written or removed. (S-45, S-53, DESIGN §2.)

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use testsuite::{Server, Setup, process, root_or_skip, seconds, server};

/// Speaks `call::frame` and postcard: lengths and numbers as LEB128, texts with their length, `None` as 0.
const ENGINE: &str = r#"
import array, os, re, socket, struct, sys, time
folder = sys.argv[1]
out = open(folder + "/tmp/answers", "w")
keeper = socket.socket(fileno=3)
def number(n):
    b = b""
    while n > 127: b, n = b + bytes([n & 127 | 128]), n >> 7
    return b + bytes([n])
def text(t): t = t.encode(); return number(len(t)) + t
def frame(payload): return struct.pack("<IB", len(payload) + 1, 0) + payload
def answer(s, seconds=10):
    s.settimeout(seconds)
    try: return re.sub(rb"[^ -~]+", b" ", s.recv(65536)).decode()[:300].strip() or "(closed)"
    except OSError as e: return "(%s)" % e
def say(name, got): out.write("%s: %s\n" % (name, got)); out.flush()
MAILBOX, USER, SYSTEM = 0, 1, 2
ticket = 0
def agent(kind, user, order, fds=()):
    global ticket
    ticket += 1
    ours, theirs = socket.socketpair()
    # Begin, with the role Agent(kind)
    socket.send_fds(keeper, [frame(number(2) + number(ticket) + number(0) + number(kind) + text(user))], [theirs.fileno()])
    theirs.close()
    try: socket.send_fds(ours, [frame(order)], list(fds))
    except OSError as e: return "(%s)" % e
    return answer(ours)
def entry(file, mark): return text(file) + text(mark)
def expand(named=None): return number(1) + text("") + (b"\0" if named is None else b"\1" + entry(*named))
def item(): return (number(1) + text("Q1") + text("a@b") + text("c@d") + text("") + b"\0" + text("") +
    text("Sat Nov 21 20:22:16 2026") + number(0) + number(0) + number(len(CONTENT)) + b"\0")
CONTENT = b"Subject: x\r\n\r\nhostile\r\n"
def deliver(into=None): return number(0) + number(1) + item() + (b"\0" if into is None else b"\1" + entry(*into)) + number(0)
def content():
    fd = os.memfd_create("m"); os.write(fd, CONTENT); return fd
def order(name, kind, user, into=None): say(name, agent(kind, user, deliver(into), [content()]))

heard = b""
def listen():
    """The next frame of the keeper, and whether descriptors came."""
    global heard
    came = False
    keeper.settimeout(10)
    while len(heard) < 4 or len(heard) < 4 + struct.unpack("<I", heard[:4])[0]:
        piece, fds, _, _ = socket.recv_fds(keeper, 1 << 16, 250)
        if not piece: sys.exit("the keeper is gone")
        heard, came = heard + piece, came or bool(fds)
        for fd in fds: os.close(fd)
    end = 4 + struct.unpack("<I", heard[:4])[0]
    payload, heard = heard[5:end], heard[end:]
    return payload, came
def ask(payload):
    keeper.send(frame(payload))
    while True:
        got, came = listen()
        if got[0] == 1:  # Answer: Open, Unchanged, Absent, Unreadable(errno), …
            return "%s%s" % (["open", "unchanged", "absent", "refused"][min(got[1], 3)], ", with a descriptor" if came else "")
listen()
keeper.send(frame(number(0)))  # Ready
os.symlink("/etc/shadow", folder + "/drop/link")
say("root's .forward", agent(USER, "root", expand()))
order("root's program", USER, "root", ("/root/.forward", "x"))
order("our own account", MAILBOX, "postrider")
order("our own account's program", USER, "postrider", ("/nonexistent/.forward", "x"))
for name in ["../root", "u15/../root", ".", "", "u15.lock/x", "u15\n", "u15\0"]:
    order("mailbox of %r" % name, MAILBOX, name)
order("mailbox by number", MAILBOX, "0:0")
order("another's .forward", USER, "u14", ("/home/u15/.forward", MARK := "6d61726b"))
order("a file of our own as .forward", USER, "u14", (folder + "/tmp/hostile", MARK))
order("a mailbox by its path", MAILBOX, "u14", (folder + "/mail/u15", MARK))
order("a file of our own as aliases", SYSTEM, "root", (folder + "/tmp/hostile", MARK))
order("a list as aliases", SYSTEM, "daemon", ("/etc/shadow", MARK))
say("shadow as a list", agent(SYSTEM, "root", expand(("/etc/shadow", MARK))))
say("an input nobody named", ask(number(4) + number(999) + b"\0"))
for name in ["../precious", "/etc/passwd", "..", "link", "x/../../precious"]:
    say("entry %s" % name, ask(number(5) + text(name)))
for name in ["../precious", "/etc/passwd", "..", "x/../../precious"]:
    say("remove %s" % name, ask(number(6) + text(name)))
keeper.send(frame(number(3) + number(os.getppid())))  # end the keeper
say("who we are", "%s %s" % (os.getresuid(), os.getgroups()))
for path in ["/etc/shadow", folder + "/mail/u15", "/root/secret"]:
    try: open(path); say("open " + path, "OPENED")
    except OSError as e: say("open " + path, e.strerror)
say("the end", "reached")
time.sleep(600)
"#;

/// What the script was told.
const REFUSED: &[(&str, &str)] = &[
    ("root's .forward", "root has a mailbox and nothing else"),
    ("root's program", "root has a mailbox and nothing else"),
    ("our own account", "may not receive mail: it is the mail system's own account"),
    ("our own account's program", "may not receive mail: it is the mail system's own account"),
    ("mailbox of '../root'", "User unknown"),
    ("mailbox of 'u15/../root'", "User unknown"),
    ("mailbox of '.'", "User unknown"),
    ("mailbox of ''", "User unknown"),
    ("mailbox of 'u15.lock/x'", "User unknown"),
    ("mailbox of 'u15\\n'", "User unknown"),
    ("mailbox by number", "User unknown"),
    ("another's .forward", "/home/u15/.forward is no .forward of u14"),
    ("a file of our own as .forward", "/tmp/hostile is no .forward of u14"),
    ("a mailbox by its path", "refused: not for an agent of this kind"),
    ("a file of our own as aliases", "/tmp/hostile is no alias file"),
    ("a list as aliases", "/etc/shadow is no alias file"),
    ("shadow as a list", "/etc/shadow is no alias file"),
    ("an input nobody named", "absent"),
    ("entry ../precious", "refused"),
    ("entry /etc/passwd", "refused"),
    ("entry ..", "refused"),
    ("entry link", "refused"),
    ("entry x/../../precious", "refused"),
    ("remove ../precious", "refused"),
    ("remove /etc/passwd", "refused"),
    ("remove ..", "refused"),
    ("remove x/../../precious", "refused"),
    ("who we are", "(19990, 19990, 19990) []"),
    ("open /etc/shadow", "Permission denied"),
    ("open @F@/mail/u15", "Permission denied"),
    ("open /root/secret", "Permission denied"),
];

/// The programs as they are, but for `postrider engine`.
fn programs(server: &Server) -> std::path::PathBuf {
    let folder = server.path("programs");
    fs::create_dir(&folder).unwrap();
    for name in ["postrider-keeper", "postrider-agent", "postrider-users"] {
        let real = server::programs();
        let copied = fs::copy(real.join(name), folder.join(name));
        assert!(copied.is_ok(), "{name}: {copied:?}");
    }
    fs::write(folder.join("engine.py"), ENGINE).unwrap();
    let wrapper = format!(
        "#!/bin/sh\ncase $1 in engine) exec /usr/bin/python3 {}/engine.py {};; esac\nexec {}/postrider \"$@\"\n",
        folder.display(),
        server.folder.display(),
        server::programs().display()
    );
    fs::write(folder.join("postrider"), wrapper).unwrap();
    fs::set_permissions(folder.join("postrider"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn what_a_hostile_engine_asks_for() {
    if !root_or_skip("what_a_hostile_engine_asks_for") {
        return;
    }
    let server = Server::make(Setup::default().with_roles());
    let folder = programs(&server);
    let owned = server.path("tmp/owned");
    let line = format!("\"|touch {}\"\n", owned.display());
    for (path, mode) in [("tmp/hostile", 0o644), ("mail/u15", 0o600), ("precious", 0o644)] {
        fs::write(server.path(path), &line).unwrap();
        fs::set_permissions(server.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(server.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let root = fs::read_to_string("/var/mail/root").ok();
    let mut keeper = Command::new(folder.join("postrider-keeper"));
    keeper.env("POSTRIDER_CONFIG", server.configuration()).stdin(Stdio::null());
    let mut keeper = keeper.spawn().unwrap();
    let answers = || fs::read_to_string(server.path("tmp/answers")).unwrap_or_default();
    let limit = std::time::Instant::now() + seconds(60);
    while !answers().contains("the end: reached") && std::time::Instant::now() < limit {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let answers = answers();
    process::kill_tree(keeper.id() as i32);
    let _ = keeper.wait();
    println!("{answers}");
    for (what, why) in REFUSED {
        let what = what.replace("@F@", &server.folder.to_string_lossy());
        let told = answers.lines().find(|line| line.starts_with(&format!("{what}: ")));
        let right = |line: &str| line.contains(why) && !line.contains("with a descriptor");
        assert!(told.is_some_and(right), "{what}: {told:?}\n{answers}");
    }
    assert!(!owned.exists());
    assert_eq!(fs::read_to_string(server.path("mail/u15")).unwrap(), line);
    assert!(server.path("precious").exists() && fs::metadata("/etc/passwd").is_ok());
    assert_eq!(fs::read_to_string("/var/mail/root").ok(), root);
    let boxes: Vec<_> = fs::read_dir(server.path("mail")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(boxes, ["u15"]);
}
