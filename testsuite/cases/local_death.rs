//! Agents that die or stop between their sync and their answer, on the private host. In the agent's place runs a script that hands the orders
//! to the real one, and the answers to the engine, but for the first delivery of a user for whom that was asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, server, wait_for};

const AGENT: &str = r#"#!/usr/bin/python3 -I
import fcntl, os, signal, socket, subprocess, sys
real = '@P@/real-agent'
wish = '@P@/%s.%s' % tuple(sys.argv[1:3])
if not os.path.exists(wish):
    os.execv(real, [real] + sys.argv[1:])
engine = socket.socket(fileno=0)
ours, theirs = socket.socketpair()
child = subprocess.Popen([real] + sys.argv[1:], stdin=theirs)
theirs.close()
while True:
    order, descriptors, _, _ = socket.recv_fds(engine, 1 << 20, 64)
    if not order:
        sys.exit(0)
    socket.send_fds(ours, [order], descriptors)
    answer = ours.recv(1 << 20)
    if descriptors:
        break
    engine.sendall(answer)
# It is written and synced, and nobody hears of it.
child.kill()
child.wait()
box = open(wish).read()
os.rename(wish, wish + '.done')
if box:
    box = open(box, 'r+')
    fcntl.lockf(box, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(os.getpid(), signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGKILL)
"#;

/// A server with that script as its agent, not started; and the folder of its programs.
fn make(setup: Setup) -> (Server, PathBuf) {
    let mut server = Server::make(setup.with_roles());
    let folder = server.path("programs");
    fs::create_dir(&folder).unwrap();
    let script = |name: &str, text: &str| {
        fs::write(folder.join(name), text.replace("@P@", &folder.to_string_lossy())).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    for (from, to) in [("postrider-keeper", ""), ("postrider-users", ""), ("postrider-agent", "real-agent")] {
        fs::copy(server::programs().join(from), folder.join(if to.is_empty() { from } else { to })).unwrap();
    }
    script("postrider-agent", AGENT);
    script("postrider", &format!("#!/bin/sh\nexec {}/postrider \"$@\"\n", server::programs().display()));
    let keeper =
        format!("POSTRIDER_CONFIG={} {}/postrider-keeper; exit $?", server.configuration().display(), folder.display());
    server.setup.wrap = ["/bin/sh", "-c", &keeper].map(str::to_owned).to_vec();
    (server, folder)
}

fn forward(user: &str, text: &str) {
    let path = Path::new("/home").join(user).join(".forward");
    fs::write(&path, text).unwrap();
    let uid = 20_000 + user[1..].parse::<u32>().unwrap();
    chown(&path, Some(uid), Some(19_999)).unwrap();
}

fn send(server: &Server, to: &[&str], id: &str, more: &str) {
    let text = message::text(id, to[0], 3).replacen("Subject: ", &format!("{more}Subject: "), 1);
    let mut session = Smtp::hello(server.address).unwrap();
    assert_eq!(session.message("a@client.test", to, &text).unwrap().code, 250, "{to:?}");
}

/// No queue run comes to help: the second agent does it at once, and finds what the first has written.
#[test]
fn what_an_agent_wrote_before_it_died_is_not_written_twice() {
    if !root_or_skip("what_an_agent_wrote_before_it_died_is_not_written_twice") {
        return;
    }
    let queue = "retry min=\"1h\" max=\"2h\"; expire \"5d\"".to_owned();
    let aliases = "l: u33\nowner-l: u04\nm: u34\nowner-m: u04\n".to_owned();
    let (mut server, folder) = make(Setup { queue, aliases, ..Setup::default() });
    let dead = ["mailbox.u32", "mailbox.u33", "mailbox.u34", "mailbox.u36", "user.u37"];
    dead.iter().for_each(|wish| fs::write(folder.join(wish), "").unwrap());
    forward("u35", "m\n");
    forward("u37", "/home/u37/archive\n");
    server.start();
    send(&server, &["u32@local.test"], "plain", "");
    send(&server, &["u31@local.test", "l@local.test"], "list", "");
    send(&server, &["u35@local.test"], "list-of-a-forward", "");
    let long = format!("X-Long: {}\n", "y".repeat(900)).repeat(400);
    send(&server, &["u36@local.test"], "long", &long);
    send(&server, &["u37@local.test"], "file", "");
    server.wait_empty(seconds(30));
    for wish in dead {
        assert!(folder.join(format!("{wish}.done")).exists(), "{wish} did not die\n{}", server.story());
    }
    let archive = PathBuf::from("/home/u37/archive");
    let boxes = ["u32", "u31", "u33", "u34", "u36"].map(|user| server.mailbox(user)).into_iter().chain([archive]);
    for path in boxes {
        let found = mbox::read(&path).unwrap();
        assert_eq!(found.len(), 1, "{}\n{}", path.display(), server.log());
    }
    assert!(!server.log().contains("stat=Deferred"), "{}", server.log());
    ["u35", "u37"].iter().for_each(|user| fs::remove_file(format!("/home/{user}/.forward")).unwrap());
}

/// A stopped agent keeps its locks, and does not see that the engine has let go of it. Its time: 300 s, divided.
#[test]
fn a_stopped_agent_is_killed_when_its_time_is_over() {
    if !root_or_skip("a_stopped_agent_is_killed_when_its_time_is_over") {
        return;
    }
    let (mut server, folder) = make(Setup::default().with("delivery { timeout-divisor 100 }"));
    fs::write(folder.join("mailbox.u38"), server.mailbox("u38").as_os_str().as_encoded_bytes()).unwrap();
    server.start();
    send(&server, &["u38@local.test"], "one", "");
    wait_for("a stopped agent", seconds(20), || folder.join("mailbox.u38.done").exists());
    send(&server, &["u38@local.test"], "two", "");
    server.wait_log("agent of u38: killed, it does not answer");
    server.wait_mail("u38", 2);
    server.wait_empty(seconds(30));
    let found = mbox::read(&server.mailbox("u38")).unwrap();
    let mut ids: Vec<_> = found.iter().filter_map(|entry| entry.field(message::FIELD)).collect();
    ids.sort();
    assert_eq!(ids, ["one", "two"]);
    server.wait_log("stat=Deferred: agent timed out");
}
