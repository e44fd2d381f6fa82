//! On the private host (`testsuite/host`): as root, with roles, on ports 25 and 587, with MX.

use rustix::process::Signal;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use testsuite::sink::Act;
use testsuite::{Server, Setup, Sink, Smtp, Zone, mbox, message, process, root_or_skip, seconds, server, wait_for};

/// Ports 25 and 587, /var/mail and /var/spool/postrider exist once.
static HOST: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    let guard = HOST.lock().unwrap_or_else(|e| e.into_inner());
    for folder in ["/var/spool/postrider", "/run/postrider"] {
        let _ = fs::remove_dir_all(folder);
    }
    for entry in fs::read_dir("/var/mail").unwrap() {
        let _ = fs::remove_file(entry.unwrap().path());
    }
    guard
}

/// A server on the real places: port 25, /var/mail, /run/postrider.
pub fn real(text: &str) -> Server {
    let setup = Setup { whole: Some(text.to_owned()), ..Setup::default().with_roles() };
    let mut server = Server::make(setup);
    server.address = SocketAddr::from(([127, 0, 0, 1], 25));
    server
}

/// `sendmail` as a user, with the places built in.
pub fn sendmail_as(user: &str, arguments: &[&str], input: &str) -> std::process::Output {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", user, "--regid", "tester", "--clear-groups"])
        .arg(server::programs().join("sendmail"))
        .args(arguments)
        .current_dir("/");
    server::run(command, input.as_bytes())
}

/// Anybody puts `X.db` beside `X` there, or `X` itself.
#[test]
fn a_sticky_folder_is_no_place_for_tables() {
    if !root_or_skip("a_sticky_folder") {
        return;
    }
    let _alone = alone();
    fs::create_dir_all("/etc/sticky").unwrap();
    fs::set_permissions("/etc/sticky", fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write("/etc/sticky/users", "plain@mx.test u03\n").unwrap();
    fs::write("/etc/sticky/aliases", "postmaster: u03\n").unwrap();
    for (trust, code, exit) in [("", 451, 70), ("trust \"TrustStickyBit\"\n", 250, 0)] {
        let tables = "virtual-users \"/etc/sticky/users\"\naccess \"/etc/sticky/access\" optional=#true\n";
        let mut server =
            real(&format!("{trust}{tables}aliases \"/etc/sticky/aliases\"\nsenders {{ accept-unresolvable }}\n"));
        server.start();
        let mut session = Smtp::hello(server.address).unwrap();
        let mail = session.command("MAIL FROM:<a@client.test>").unwrap().code;
        let got = if mail == 250 { session.command("RCPT TO:<plain@mx.test>").unwrap().code } else { mail };
        assert_eq!(got, code, "{trust}");
        let mut check = server.command("postrider");
        check.args(["config", "check"]).arg(server.configuration());
        let said = server::run(check, b"");
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        for name in ["users", "access", "aliases"] {
            let told = said.contains(&format!("/etc/sticky/{name}: World writable directory"));
            assert_eq!(told, trust.is_empty(), "{name}: {said}");
        }
        let mut newaliases = server.command("postrider");
        newaliases.args(["newaliases", "--config"]).arg(server.configuration());
        assert_eq!(server::run(newaliases, b"").status.code(), Some(exit));
        server.kill();
    }
    fs::remove_dir_all("/etc/sticky").unwrap();
}

#[test]
fn an_empty_configuration_is_a_host_with_local_users() {
    if !root_or_skip("an_empty_configuration") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    let all = ["127.0.0.1:25", "127.0.0.1:587", "[::1]:25", "[::1]:587"];
    for address in all {
        let address: SocketAddr = address.parse().unwrap();
        let mut session = Smtp::hello(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        for to in ["u03", "u03@localhost", "u03@mx.test", "u03@[127.0.0.1]", "postmaster", "MAILER-DAEMON"] {
            session.command("MAIL FROM:<a@client.test>").unwrap();
            assert_eq!(session.command(&format!("RCPT TO:<{to}>")).unwrap().code, 250, "{to}");
            session.command("RSET").unwrap();
        }
        let text = message::text(&format!("to-{address}"), "u03", 3);
        assert_eq!(session.message("a@client.test", &["u03@mx.test"], &text).unwrap().code, 250);
    }
    let out = sendmail_as("u05", &["-t", "-i"], &message::text("cmd", "u03@mx.test", 3));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let path = Path::new("/var/mail/u03");
    wait_for("5 messages in /var/mail/u03", seconds(20), || mbox::read(path).is_ok_and(|m| m.len() == 5));
    let meta = fs::metadata(path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (20_003, 8), "owner and group of a new mailbox");
    assert!(meta.permissions().mode() & 0o007 == 0, "{:o}", meta.permissions().mode());
    let mail = mbox::read(path).unwrap();
    let by_command = mail.iter().find(|m| m.header().contains("X-Test-Id: cmd")).unwrap();
    assert!(
        by_command.from_line.starts_with("From u05@mx.test") || by_command.from_line.starts_with("From u05 "),
        "{}",
        by_command.from_line
    );
    // The message is readable a moment before its agent has unlocked.
    wait_for("the end of the dot-lock", seconds(5), || !Path::new("/var/mail/u03.lock").exists());
}

#[test]
fn a_folder_of_roots_with_something_in_it_is_not_given_away() {
    if !root_or_skip("a_folder_of_roots") {
        return;
    }
    let _alone = alone();
    let server = real("queue { path \"@F@/data\" }");
    let data = server.path("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("precious"), "x").unwrap();
    fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = server.command("postrider");
    command.args(["keeper", "--config"]).arg(server.configuration());
    let out = server::run(command, b"");
    assert_eq!(out.status.code(), Some(78), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("belongs to root and is not empty"), "{out:?}");
    let about = fs::metadata(&data).unwrap();
    assert_eq!((about.uid(), about.mode() & 0o777), (0, 0o755));
}

#[test]
fn without_a_server_root_reads_the_queue_and_runs_it_once() {
    if !root_or_skip("without_a_server_root_reads_the_queue") {
        return;
    }
    let _alone = alone();
    let sink = Sink::scripted(|_| Act::Drop);
    let address = sink.address;
    let mut server = real(&format!("smart-host \"[127.0.0.1]:{}\"\n", address.port()));
    // A queue run names no configuration.
    fs::copy(server.configuration(), "/etc/mail/postrider.kdl").unwrap();
    server.start();
    let ask_all = |arguments: &[&str]| {
        let mut command = Command::new(server::programs().join("sendmail"));
        command.args(arguments).current_dir("/");
        server::run(command, b"")
    };
    let ask = |argument: &str| ask_all(&[argument]);
    let said = |out: &std::process::Output| String::from_utf8_lossy(&out.stdout).into_owned();
    sendmail_as("u05", &["-i", "one@far.test"], "Subject: x\n\nx\n");
    wait_for("a deferred message", seconds(15), || said(&ask("-bp")).contains("(Deferred: "));
    server.stop();
    drop(sink);
    sendmail_as("u05", &["-i", "two@far.test"], "Subject: y\n\ny\n");

    let list = said(&ask("-bp"));
    assert!(list.starts_with("\t\t/var/spool/mqueue (2 requests)\n"), "{list}");
    assert!(list.contains(" one@far.test") && list.contains(" two@far.test") && list.contains("(Deferred: "), "{list}");
    assert!(list.ends_with("\t\tTotal requests: 2\n"), "{list}");
    let others = sendmail_as("u05", &["-bp"], "");
    assert_eq!(others.status.code(), Some(75), "not empty, and not for everybody: {others:?}");
    assert_eq!(sendmail_as("u05", &["-q"], "").status.code(), Some(75));
    assert_eq!(sendmail_as("u05", &["-Qx", "-q"], "").status.code(), Some(75));

    let sink = Sink::on(address, false, |_| Act::Go);
    // What is held stays so when the queue is run; what root did belongs to the engine all the same.
    let hold = ask("-Qby root");
    assert_eq!(hold.status.code(), Some(75), "one is not in the queue yet: {hold:?}");
    let engine = fs::metadata("/var/spool/postrider/queue").unwrap().uid();
    assert_ne!(engine, 0);
    for folder in ["", "segments", "spare", "bodies", "corrupt"] {
        for entry in fs::read_dir(Path::new("/var/spool/postrider/queue").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().uid(), engine, "{}", path.display());
        }
    }
    let run = ask("-q");
    assert_eq!((run.status.code(), said(&run).as_str()), (Some(0), ""), "{run:?}");
    wait_for("the message that is not held", seconds(20), || sink.len() == 1);
    wait_for("no engine", seconds(20), || std::os::unix::net::UnixStream::connect("/run/postrider/control").is_err());
    wait_for("its end", seconds(20), || said(&ask("-bp")).ends_with("Total requests: 0\n"));
    let released = ask_all(&["-Q", "-qQ"]);
    assert_eq!((released.status.code(), said(&released).as_str()), (Some(0), ""), "{released:?}");
    assert_eq!(sink.len(), 1, "nothing was tried");
    let run = ask("-q");
    assert_eq!((run.status.code(), said(&run).as_str()), (Some(0), ""), "{run:?}");
    wait_for("both messages", seconds(20), || sink.len() == 2);
    assert!(!server.greets(seconds(0)), "it listens to nobody");
    wait_for("its end", seconds(20), || ask("-bp").stdout == b"/var/spool/mqueue is empty\n\t\tTotal requests: 0\n");
    wait_for("no engine", seconds(20), || std::os::unix::net::UnixStream::connect("/run/postrider/control").is_err());
    fs::remove_file("/etc/mail/postrider.kdl").unwrap();
}

/// Scripts of decades do `kill $(head -1 FILE)` and then `eval $(tail -1 FILE)`.
#[test]
fn the_last_line_of_the_pid_file_starts_the_server_again() {
    if !root_or_skip("the_last_line_of_the_pid_file") {
        return;
    }
    let _alone = alone();
    let server = real("");
    fs::copy(server.configuration(), "/etc/mail/postrider.kdl").unwrap();
    let lines = || -> Vec<String> {
        let text = fs::read_to_string("/run/postrider/postrider.pid").unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    };
    let end = |pid: &str| {
        process::signal(pid.parse().unwrap(), Signal::TERM);
        wait_for("its end", seconds(20), || lines().is_empty());
    };
    let program = server::programs().join("sendmail");
    let other = server.configuration();
    let config = format!("-C{}", other.display());
    for (arguments, also) in [
        (&["-bd", "-q15m"][..], "-bd -q15m"),
        (&["-L", "sm-mta", "-bd"], "-L sm-mta -bd"),
        (&["-bd", &config], &*format!("-bd {config}")),
        (&["-bd", "-X", "/tmp/a b"], "-bd -X '/tmp/a b'"),
    ] {
        // By a name without a folder, as most scripts call it.
        let mut command = Command::new("sendmail");
        command.args(arguments).env("PATH", server::programs()).current_dir("/");
        assert_eq!(server::run(command, b"").status.code(), Some(0), "{arguments:?}");
        let first = lines();
        assert_eq!(first[1..], [format!("{} {also}", program.display())]);
        end(&first[0]);
        let mut again = Command::new("/bin/sh");
        again.args(["-c", &format!("eval \"{}\"", first[1])]).env("PATH", "/usr/bin:/bin").current_dir("/tmp");
        assert_eq!(server::run(again, b"").status.code(), Some(0), "{first:?}");
        assert!(server.greets(seconds(5)), "it serves again");
        let second = lines();
        assert!(second[0] != first[0] && second[1] == first[1], "{second:?}");
        end(&second[0]);
    }
    // No sendmail started this one.
    let mut command = server.command("postrider");
    command.args(["keeper", "--detach", "--config"]).arg(&other).env("POSTRIDER_STARTED_BY", "rm -r /");
    assert_eq!(server::run(command, b"").status.code(), Some(0));
    let found = lines();
    assert_eq!(found[1..], [format!("/usr/sbin/sendmail -bd {config}")]);
    end(&found[0]);
    fs::remove_file("/etc/mail/postrider.kdl").unwrap();
}

#[test]
fn mail_for_root_and_from_a_chroot() {
    if !root_or_skip("mail_for_root_and_from_a_chroot") {
        return;
    }
    let _alone = alone();
    let mut server = real("aliases \"@F@/aliases\"\n");
    server.start();
    let out = sendmail_as("u05", &["-i", "root"], &message::text("root", "root", 3));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    wait_for("root's mailbox", seconds(20), || mbox::read(Path::new("/var/mail/root")).is_ok_and(|m| m.len() == 1));
    // As in a chroot: neither socket nor drop folder, but loopback.
    let mut command = server.command("sendmail");
    command.args(["-i", "u01"]).env("POSTRIDER_RUN", "/nonexistent").env("POSTRIDER_DROP", "/nonexistent");
    let out = server::run(command, message::text("chroot", "u01", 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    wait_for("mail from the chroot", seconds(20), || {
        mbox::read(Path::new("/var/mail/u01")).is_ok_and(|m| m.len() == 1)
    });
}

/// "Must show" 6: uids, gids and open files of every process under load, as DESIGN §2 says.
#[test]
fn roles_have_their_own_uids_and_files() {
    if !root_or_skip("roles_have_their_own_uids_and_files") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    let engine = server.engine();
    let (mut agents, mut wrong) = (HashSet::new(), Vec::new());
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut session = Smtp::hello(SocketAddr::from(([127, 0, 0, 1], 25))).unwrap();
            for n in 0..400 {
                let to = format!("u{:02}@mx.test", n % 20);
                let text = message::text(&format!("n{n}"), &to, 30);
                assert_eq!(session.message("a@client.test", &[&to], &text).unwrap().code, 250);
            }
        });
        while !load.is_finished() {
            for p in server.processes() {
                judge(&p, server.pid(), engine, &mut agents, &mut wrong);
            }
        }
    });
    wrong.extend(process::threads(engine).into_iter().filter_map(|thread| {
        let confined = [("Seccomp", 2), ("NoNewPrivs", 1)].iter().all(|(field, is)| thread.field(field) == Some(*is));
        (!confined).then(|| format!("a thread of the engine is not confined: {thread:?}"))
    }));
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(agents.len() > 3, "agents were seen as their users: {agents:?}");
    let boxes = (0..20).map(|n| format!("/var/mail/u{n:02}"));
    wait_for("all 400", seconds(60), || mbox::count(boxes.clone()).0.len() == 400);
}

/// One look at one process; what is against DESIGN §2 goes into `wrong`.
fn judge(p: &process::Process, keeper: i32, engine: i32, agents: &mut HashSet<u32>, wrong: &mut Vec<String>) {
    // Files first: an agent begins as root and never becomes root again, so what root had open at the second look was root's.
    let files = process::open_files(p.pid);
    let (uids, gids) = (process::ids(p.pid, "Uid"), process::ids(p.pid, "Gid"));
    let groups = process::ids(p.pid, "Groups");
    let Some(&uid) = uids.first() else { return };
    let command = fs::read(format!("/proc/{}/cmdline", p.pid)).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    let mut say = |text: String| wrong.push(format!("{} ({command}): {text}", p.name));
    let mail: Vec<&String> = files.iter().filter(|f| f.starts_with("/var/mail/")).collect();
    if p.pid == keeper {
        if uid != 0 {
            say(format!("keeper as {uids:?}"));
        }
    } else if p.pid == engine {
        if uids.iter().any(|&u| u != 19_990) || gids.iter().any(|&g| g != 19_990) {
            say(format!("engine as {uids:?} {gids:?}"));
        }
        if groups.iter().any(|&g| g != 19_990) {
            say(format!("engine with groups {groups:?}"));
        }
        if !mail.is_empty() {
            say(format!("engine has a mailbox open: {mail:?}"));
        }
    } else if uid == 19_991 {
        if !mail.is_empty() || files.iter().any(|f| f.starts_with("/var/spool/postrider")) {
            say(format!("users process has {files:?}"));
        }
    } else if (20_000..20_020).contains(&uid) {
        agents.insert(uid);
        let own = format!("/var/mail/u{:02}", uid - 20_000);
        if uids.iter().any(|&u| u != uid) || gids.contains(&0) {
            say(format!("agent has a way back: {uids:?} {gids:?}"));
        }
        if command.contains(" mailbox ") && !mail.is_empty() && process::ids(p.pid, "Seccomp") != [2] {
            say("mailbox agent is not confined".into());
        }
        if command.contains(" user ") && process::ids(p.pid, "NoNewPrivs") == [1] {
            say("user agent is confined: his set-id programs would not work".into());
        }
        // Files that tell the time of the file system: `.lk…`, or without a name (O_TMPFILE).
        let is_own = |f: &str| [own.as_str(), "/var/mail/.lk", "/var/mail/#"].iter().any(|start| f.starts_with(start));
        if mail.iter().any(|f| !is_own(f)) {
            say(format!("agent of {uid} has {mail:?}"));
        }
        if files.iter().any(|f| f.contains("/segment") || f.starts_with("/var/spool/postrider/segments")) {
            say(format!("agent has a segment open: {files:?}"));
        }
    } else if uid == 0 && !mail.is_empty() && p.pid != keeper {
        say(format!("root with a mailbox open: {mail:?}"));
    }
    if process::ids(p.pid, "CapEff").is_empty() && uid != 0 {
        let status = fs::read_to_string(format!("/proc/{}/status", p.pid)).unwrap_or_default();
        let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or("0").trim().to_owned();
        if effective.chars().any(|c| c != '0') {
            wrong.push(format!("{} ({command}): uid {uid} with capabilities {effective}", p.name));
        }
    }
}

#[test]
fn mx_records_decide() {
    if !root_or_skip("mx_records_decide") {
        return;
    }
    let _alone = alone();
    let zone = Zone::start(
        "far.test MX 10 first.test\nfar.test MX 20 second.test\nfirst.test A 198.51.100.10\nsecond.test A 198.51.100.11\n\
         noMX.test A 198.51.100.12\nnull.test MX 0 .\nbroken.test SERVFAIL\n\
         ours.test MX 10 mx.test\nours.test MX 20 first.test\nmx.test A 127.0.0.1\n",
    );
    let second = Sink::on(([198, 51, 100, 11], 25), false, |_| Act::Go);
    let third = Sink::on(([198, 51, 100, 12], 25), false, |_| Act::Go);
    let text = format!(
        "host \"mx.test\"\nlisten \"127.0.0.1:25\"\ndns {{ servers \"{}\" }}\nqueue {{ retry min=\"1s\" max=\"2s\" }}\nlog {{ file \"@F@/logs/log\"; syslog #false }}\n",
        zone.address
    );
    let mut server = real(&text);
    server.start();
    let send = |to: &str| {
        let out = sendmail_as("u05", &["-i", to], &message::text(to, to, 3));
        assert_eq!(out.status.code(), Some(0), "{out:?}");
    };
    send("a@far.test"); // the first MX does not answer: the second gets it
    wait_for("the second MX", seconds(40), || second.len() == 1);
    send("a@nomx.test");
    wait_for("the address itself", seconds(20), || third.len() == 1);
    send("a@null.test");
    send("a@nonexistent.test");
    let back = Path::new("/var/mail/u05");
    wait_for("two bounces", seconds(30), || mbox::read(back).is_ok_and(|m| m.len() == 2));
    let text = fs::read_to_string(back).unwrap();
    assert!(text.contains("Status: 5.1.10"), "null MX: {text}");
    assert!(text.contains("Host unknown"), "{text}");
    send("a@broken.test");
    wait_for("a temporary failure stays temporary", seconds(20), || {
        let list = server::run(Command::new(server::programs().join("sendmail")).arg("-bp").take(), b"");
        String::from_utf8_lossy(&list.stdout).contains("a@broken.test")
    });
    assert_eq!(mbox::read(back).unwrap().len(), 2);
}

trait Take {
    fn take(&mut self) -> Command;
}

impl Take for Command {
    fn take(&mut self) -> Command {
        std::mem::replace(self, Command::new("true"))
    }
}

/// What comes to `/dev/log`, for who has the host [`alone`].
fn syslog() -> UnixDatagram {
    let _ = fs::remove_file("/dev/log");
    let log = UnixDatagram::bind("/dev/log").unwrap();
    fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666)).unwrap();
    log.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    log
}

/// Without a server, too, somebody hears of what the command refuses by itself.
#[test]
fn without_a_server_a_header_that_is_too_long_goes_to_syslog() {
    if !root_or_skip("without_a_server_a_header") {
        return;
    }
    let _alone = alone();
    let log = syslog();
    let out = sendmail_as("u05", &["-i", "u06"], &format!("X-Long: {}\n\nx\n", "x".repeat(2 << 20)));
    assert_eq!(out.status.code(), Some(65), "{out:?}");
    let mut buffer = [0u8; 8192];
    let n = log.recv(&mut buffer).unwrap();
    let _ = fs::remove_file("/dev/log");
    let line = String::from_utf8_lossy(&buffer[..n]).into_owned();
    let said = "]: NOQUEUE: headers too large (1048576 max) from u05@localhost during message collect";
    assert!(line.starts_with("<21>sendmail[") && line.ends_with(said), "{line}");
}

#[test]
fn lines_go_to_syslog_in_sendmails_shape() {
    if !root_or_skip("lines_go_to_syslog") {
        return;
    }
    let _alone = alone();
    let log = syslog();
    let mut server = real("");
    server.start();
    let out = sendmail_as("u05", &["-i", "u06"], &message::text("log", "u06", 3));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let (mut lines, mut buffer) = (Vec::new(), [0u8; 8192]);
    while !lines.iter().any(|l: &String| l.contains("stat=Sent")) {
        let n = log.recv(&mut buffer).unwrap_or_else(|e| panic!("{e}: {lines:#?}"));
        lines.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
    }
    let _ = fs::remove_file("/dev/log");
    assert!(lines.iter().all(|l| l.starts_with("<2")), "facility mail: {lines:#?}");
    let from = lines.iter().find(|l| l.contains("from=")).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(from.contains("nrcpts=1") && from.contains("size="), "{from}");
    let to = lines.iter().find(|l| l.contains("to=")).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(to.contains("dsn=2.0.0") && to.contains("mailer=local"), "{to}");
}

#[test]
fn every_configuration_of_conf_starts() {
    if !root_or_skip("every_configuration_of_conf_starts") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "kdl") {
            continue;
        }
        let _alone = alone();
        eprintln!("conf/{}", path.file_name().unwrap().to_string_lossy());
        let mut server = real(&fs::read_to_string(&path).unwrap());
        server.spawn();
        // Whichever of the usual places it listens on; a null client may listen on none but its submission socket.
        let at: [IpAddr; 2] = [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()];
        wait_for("a banner or the submission socket", seconds(10), || {
            at.iter().flat_map(|&ip| [25, 587].map(|port| SocketAddr::new(ip, port))).any(|a| Smtp::hello(a).is_ok())
                || Path::new("/run/postrider/submit").exists()
        });
        assert!(server.stop().success());
    }
}

#[test]
fn the_drop_folder_takes_from_anyone_and_shows_nobody() {
    if !root_or_skip("the_drop_folder") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    server.stop();
    let out = sendmail_as("u05", &["-i", "u07"], &message::text("dropped", "u07", 3));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let folder = Path::new("/var/spool/postrider/drop");
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o7777, 0o1733);
    let list = Command::new("setpriv")
        .args(["--reuid", "u06", "--regid", "tester", "--clear-groups", "ls"])
        .arg(folder)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!list.success(), "nobody may list it");
    for entry in fs::read_dir(folder).unwrap() {
        let meta = entry.unwrap().metadata().unwrap();
        assert_eq!((meta.uid(), meta.permissions().mode() & 0o777), (20_005, 0o600));
    }
    // Rubbish of a hostile user must not stop the rest.
    let rubbish = "cd /var/spool/postrider/drop && ln -s /etc/shadow link && mkfifo fifo && mkdir folder && head -c 100000 /dev/urandom >random && : >empty";
    let mut hostile = Command::new("setpriv");
    hostile.args(["--reuid", "u08", "--regid", "tester", "--clear-groups", "sh", "-c", rubbish]);
    assert!(server::run(hostile, b"").status.success());
    server.start();
    wait_for("the dropped message", seconds(20), || mbox::read(Path::new("/var/mail/u07")).is_ok_and(|m| m.len() == 1));
    let mail = mbox::read(Path::new("/var/mail/u07")).unwrap();
    assert!(mail[0].from_line.starts_with("From u05"), "the owner is the submitter: {}", mail[0].from_line);
    let _ = std::io::stderr().flush();
}
