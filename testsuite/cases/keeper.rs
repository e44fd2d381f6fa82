//! The privileged process, seen from outside: what its program contains, how it is started, and what `postrider check` says of a host.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;
use std::fs;
use std::io::{IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testsuite::sink::{Act, At};
use testsuite::{Server, Setup, Sink, message, process, root_or_skip, seconds, server, wait_for};

/// `postrider check` on a server's configuration: its lines, and the exit code.
fn check(server: &Server, more: &[&str]) -> (Vec<String>, i32) {
    let mut command = server.command("postrider");
    command.args(["check", "--config"]).arg(server.configuration()).args(more);
    let out = server::run(command, b"");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (text.lines().map(str::to_owned).collect(), out.status.code().unwrap_or(-1))
}

#[test]
fn check_says_what_is_enforced_and_what_is_wrong() {
    let mut server = Setup::default().start();
    let (lines, code) = check(&server, &[]);
    let has = |lines: &[String], start: &str, text: &str| {
        lines.iter().any(|line| line.starts_with(start) && line.contains(text))
    };
    for (start, text) in [
        ("ok       seccomp:", "filters"),
        ("ok       drop folder:", "mode 1733"),
        ("ok       queue:", "mode 0700"),
        ("ok       sockets:", "run/submit answers"),
        ("ok       sockets:", "run/control answers"),
        ("ok       processes:", "threads have seccomp and no_new_privs"),
        ("ok       processes:", "set-id programs work"),
    ] {
        assert!(has(&lines, start, text), "{start} {text}: {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.contains(" landlock: ")), "{lines:#?}");
    assert!(lines.iter().all(|line| ["ok ", "warning ", "failed "].iter().any(|state| line.starts_with(state))));
    // The accounts of the usual configuration need not exist here: then that is what failed, and the code says so.
    let failed = lines.iter().filter(|line| line.starts_with("failed")).count();
    assert_eq!(code, i32::from(failed > 0), "{lines:#?}");
    let (json, _) = check(&server, &["--json"]);
    assert_eq!(json.len(), lines.len());
    for line in &json {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["check"].is_string() && line["text"].is_string() && line["state"].is_string(), "{line}");
    }
    let loose = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(server.drop_folder(), loose).unwrap();
    let (lines, code) = check(&server, &[]);
    assert!(has(&lines, "failed   drop folder:", "chmod 1733") && code == 1, "{lines:#?}");
    server.stop();
    let (lines, code) = check(&server, &[]);
    assert!(
        has(&lines, "failed   sockets:", "run/submit") && has(&lines, "failed   processes:", "sendmail -bd"),
        "{lines:#?}"
    );
    assert_eq!(code, 1);
    fs::write(server.configuration(), "nonsense {").unwrap();
    let (lines, code) = check(&server, &[]);
    assert!(has(&lines, "failed   configuration:", "postrider config check") && code == 1, "{lines:#?}");
}

/// A shell's word about the host, how it is taken back, and the line that `postrider check` has in between. `@F@`: the server's folder,
/// `@P@`: the programs.
#[rustfmt::skip] // one entry, one line
const LOOSE: &[(&str, &str, &str)] = &[
    ("chmod 666 @F@/aliases", "chmod 644 @F@/aliases", "failed   tables: @F@/aliases: World writable file"),
    ("chmod 660 @F@/aliases; chgrp mail @F@/aliases", "chmod 644 @F@/aliases", "failed   tables: @F@/aliases: Group writable file"),
    ("chown u01 @F@/postrider.kdl", "chown root @F@/postrider.kdl", "failed   configuration: @F@/postrider.kdl: error: not root's alone: @F@/postrider.kdl belongs to user 20001 (u01)"),
    ("chmod 777 @F@/more", "chmod 755 @F@/more", "failed   configuration: @F@/more/in/more.kdl: error: not root's alone: everybody may write @F@/more (mode 0777)"),
    ("chmod 755 @F@/mail", "chmod 2775 @F@/mail", "failed   mailboxes: group mail can lock and make no mailbox in @F@/mail"),
    ("chgrp root @F@/mail", "chgrp mail @F@/mail", "failed   mailboxes: group mail can lock and make no mailbox in @F@/mail"),
    ("chown u01 @F@/mail", "chown root @F@/mail", "failed   mailboxes: @F@/mail belongs to user 20001 (u01): chown root @F@/mail"),
    ("chmod 2777 @F@/mail", "chmod 2775 @F@/mail", "failed   mailboxes: everybody may write @F@/mail (mode 2777)"),
    ("install -m 660 /dev/null @F@/mail/u05", "rm @F@/mail/u05", "warning  mailboxes: 1 which others than the user may write: chmod 0600 @F@/mail/u05"),
    ("ln -s /etc/passwd @F@/mail/u06", "rm @F@/mail/u06", "warning  mailboxes: 1 to which no mail is delivered: @F@/mail/u06 is no file"),
    ("chmod 777 @F@/apart", "chmod 755 @F@/apart", "failed   queue: everybody may write @F@/apart (mode 0777)"),
    ("chmod 777 @F@/logs", "chmod 755 @F@/logs", "failed   log file: everybody may write @F@/logs (mode 0777)"),
    ("useradd -M -g mail loose", "userdel loose", "warning  accounts: in group mail, and so able to write mailboxes: loose"),
    ("chown u01 @P@/postrider-agent", "chown root @P@/postrider-agent", "failed   programs: postrider-agent is run by the server, as root as well, and @P@/postrider-agent belongs to user 20001 (u01)"),
    ("chmod 777 @P@/postrider", "chmod 755 @P@/postrider", "failed   programs: postrider is run by the server, as root as well, and everybody may write @P@/postrider"),
    ("chmod 777 @P@", "chmod 755 @P@", "failed   programs: postrider-keeper is run by the server, as root as well, and everybody may write @P@ (mode 0777)"),
    ("chmod 4755 @P@/postrider-agent", "chmod 755 @P@/postrider-agent", "failed   programs: @P@/postrider-agent has mode 4755"),
    ("chmod 2755 @P@/sendmail", "chmod 755 @P@/sendmail", "warning  programs: @P@/sendmail sets an id (mode 2755)"),
];

/// Each way in which somebody else than root decides, or mail cannot be delivered, is a line; and the line goes with it.
#[test]
fn check_sees_what_is_loose() {
    if !root_or_skip("check_sees_what_is_loose") {
        return;
    }
    // What the configuration includes is judged as well; programs are copies, for the built ones are everybody's.
    let setup = Setup::default().with_roles().with("include \"@F@/more/in/more.kdl\"");
    let mut server = Server::make(Setup { spool: Some("@F@/apart".into()), ..setup });
    fs::create_dir(server.path("apart")).unwrap();
    fs::create_dir_all(server.path("more/in")).unwrap();
    fs::write(server.path("more/in/more.kdl"), "").unwrap();
    let programs = server.path("bin");
    fs::create_dir(&programs).unwrap();
    for name in ["postrider", "postrider-keeper", "postrider-agent", "postrider-users", "sendmail"] {
        fs::copy(server::programs().join(name), programs.join(name)).unwrap();
    }
    server.start();
    wait_for("the pid file", seconds(10), || server.path("run/pid").exists());
    let (folder, programs) = (server.folder.display().to_string(), programs.display().to_string());
    let filled = |text: &str| text.replace("@F@", &folder).replace("@P@", &programs);
    let shell = |text: &str| {
        let mut shell = server.command("/bin/sh");
        shell.args(["-c", &filled(text)]);
        let out = server::run(shell, b"");
        assert!(out.status.success(), "{text}: {out:?}");
    };
    let look = || {
        let mut command = server.command(&format!("{programs}/postrider"));
        command.args(["check", "--config"]).arg(server.configuration());
        let out = server::run(command, b"");
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code())
    };
    let (good, code) = look();
    assert_eq!((good.contains("failed"), code), (false, Some(0)), "{good}");
    for (break_it, mend, line) in LOOSE {
        shell(break_it);
        let (told, code) = look();
        shell(mend);
        assert!(told.lines().any(|told| told.starts_with(&filled(line))), "{break_it}: {line}\n{told}");
        assert_eq!(code, Some(i32::from(line.starts_with("failed"))), "{break_it}: {told}");
        assert!(!told.contains("(os error"), "{told}");
    }
    assert_eq!(look().0.matches("failed").count(), 0);
    // Connecting alone proves nothing: the kernel does that.
    let engine = server.engine();
    process::signal(engine, Signal::STOP);
    let (told, code) = look();
    process::signal(engine, Signal::CONT);
    for name in ["submit", "control"] {
        let line = format!("failed   sockets: {folder}/run/{name} does not answer: the engine hangs or is stopped");
        assert!(told.contains(&line) && code == Some(1), "{told}");
    }
    assert_eq!(look().1, Some(0));
}

/// Whoever owns the configuration decides what runs as whom.
#[test]
fn roots_server_obeys_roots_configuration_alone() {
    if !root_or_skip("roots_server_obeys_roots_configuration_alone") {
        return;
    }
    let more = tempfile::Builder::new().prefix("more.").tempdir_in("/run").unwrap();
    fs::set_permissions(more.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (included, link) = (more.path().join("more.kdl"), more.path().join("link.kdl"));
    let mut server = Server::make(Setup::default().with_roles().with(&format!("include \"{}\"", included.display())));
    fs::write(&included, "").unwrap();
    symlink(server.configuration(), &link).unwrap();
    let run = |words: &[&str], file: &Path| {
        let mut command = server.command("postrider");
        command.args(words).arg(file);
        let out = server::run(command, b"");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let refused = |file: &Path, why: &str| {
        for words in [&["config", "check"][..], &["keeper", "--config"], &["keeper", "--detach", "--config"]] {
            let (code, said) = run(words, file);
            assert_eq!(code, Some(78), "{words:?} {why}: {said}");
            assert!(said.contains("error: not root's alone: ") && said.contains(why), "{words:?} {why}: {said}");
        }
    };
    let (config, user) = (server.configuration(), Some(20_001));
    for path in [&config, &included, &more.path().to_owned(), &server.folder] {
        chown(path, user, None).unwrap();
        refused(&config, &format!("{} belongs to user 20001 (u01)", path.display()));
        chown(path, Some(0), None).unwrap();
    }
    for (path, mode) in [(more.path(), 0o777), (&included, 0o664), (server.folder.as_path(), 0o1777)] {
        let before = fs::metadata(path).unwrap().permissions();
        chown(path, None, Some(8)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (code, said) = run(&["keeper", "--config"], &config);
        assert!(code == Some(78) && said.contains("may write") && said.contains(&path.display().to_string()), "{said}");
        fs::set_permissions(path, before).unwrap();
    }
    chown(more.path(), user, None).unwrap();
    refused(&link, &format!("{} belongs to user 20001", more.path().display()));
    chown(more.path(), Some(0), None).unwrap();
    // A server that runs goes on as it was.
    server.start();
    chown(&config, user, None).unwrap();
    process::signal(server.pid(), Signal::HUP);
    wait_for("the refusal", seconds(10), || {
        server.story().contains("reload: ") && server.story().contains("not root's alone")
    });
    assert!(server.greets(seconds(5)));
}

/// A hard limit of whoever starts the server would be everybody's: root takes it off, and who cannot does not start (S-46).
#[test]
fn files_may_grow_whoever_starts_the_server() {
    let server = Server::make(Setup::default());
    let start = |server: &Server| {
        let (program, config) = (server::programs().join("postrider"), server.configuration());
        let script = format!("ulimit -f 100; exec {} keeper --detach --config {}", program.display(), config.display());
        let mut shell = server.command("/bin/sh");
        shell.args(["-c", &script]);
        server::run(shell, b"")
    };
    let out = start(&server);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(71) && said.contains("limit cannot be taken off"), "{said}");
    if !root_or_skip("files_may_grow_whoever_starts_the_server") {
        return;
    }
    let server = Server::make(Setup::default().with_roles());
    let out = start(&server);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    // CAP_SYS_RESOURCE; many containers do not have it.
    if u64::from_str_radix(capabilities, 16).unwrap() & (1 << 24) == 0 {
        assert_eq!(out.status.code(), Some(71), "{out:?}");
        return;
    }
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let detached = Detached::of(&server);
    for p in process::tree(detached.0) {
        let limits = fs::read_to_string(format!("/proc/{}/limits", p.pid)).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
        assert_eq!(line.matches("unlimited").count(), 2, "{p:?} {line}");
    }
}

/// A keeper that is not our child; ended with all of its own.
struct Detached(i32);

impl Detached {
    fn of(server: &Server) -> Self {
        let text = fs::read_to_string(server.path("run/pid")).unwrap();
        Self(text.lines().next().unwrap().parse().unwrap())
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        process::kill_tree(self.0);
    }
}

/// The installed program asks no name service: nothing of the resolver or of NSS is linked.
#[test]
fn the_keepers_program_links_no_name_service() {
    let path = server::programs().join("postrider-keeper");
    let program = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let linked = dynamic_names(&program);
    let has = |name: &str| linked.iter().any(|linked| linked == name);
    assert!(has("setresuid"), "the names are read: {linked:?}");
    let asked = [
        "getpwnam",
        "getpwuid",
        "getgrnam",
        "getgrgid",
        "getaddrinfo",
        "getnameinfo",
        "gethostbyname",
        "initgroups",
        "getgrouplist",
        "dlopen",
        "system",
        "popen",
    ];
    let found: Vec<_> =
        asked.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_r")]).filter(|name| has(name)).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Names in the dynamic string table of an ELF file of this machine (64 bits, little endian).
fn dynamic_names(program: &[u8]) -> Vec<String> {
    let number = |at: usize, bytes: usize| {
        program[at..at + bytes].iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    assert!(program.starts_with(b"\x7fELF\x02\x01"));
    let (table, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let section = |n: usize| table + n * size;
    // SHT_DYNSYM; its sh_link is the number of its string table.
    let dynamic = (0..count).map(section).find(|&at| number(at + 4, 4) == 11).expect("dynamic symbols");
    let strings = section(number(dynamic + 0x28, 4));
    let (start, length) = (number(strings + 0x18, 8), number(strings + 0x20, 8));
    program[start..start + length]
        .split(|&byte| byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// `sendmail -bd` comes back when the server serves, and not before; what is wrong is said by the one who started it.
#[test]
fn detaching_waits_for_the_server_and_tells_why_there_is_none() {
    let server = Server::make(Setup::default());
    let mut command = server.command("postrider");
    command.args(["keeper", "--detach", "--config"]).arg(server.configuration());
    let out = server::run(command, b"");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(server.greets(seconds(5)), "it serves already");
    let detached = Detached::of(&server);
    let pid = detached.0;
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(title.starts_with(b"sendmail: MTA: accepting connections\0"), "{}", String::from_utf8_lossy(&title));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, pid.to_string(), "a session of its own");
    let mut second = server.command("postrider");
    second.args(["keeper", "--detach", "--config"]).arg(server.configuration());
    let out = server::run(second, b"");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(75), "try again, not a mistake in the configuration: {said}");
    assert_eq!(said.matches("waiting up to 25 s for its end").count(), 1, "{said}");
    assert!(said.lines().last().is_some_and(|line| line.contains(&format!("already running? pid {pid} "))), "{said}");
    let own = fs::read_to_string(server.path("run/pid")).unwrap();
    assert!(own.starts_with(&format!("{pid}\n")) && server.greets(seconds(5)), "the first one's files are left alone");
    // Nobody reads the keeper's complaints any more: it lives on without.
    process::signal(pid, Signal::HUP);
    server.wait_log("restarting /usr/sbin/sendmail due to signal");
    assert!(server.greets(seconds(5)));
    process::signal(pid, Signal::TERM);
    wait_for("the end", seconds(20), || process::read(pid).is_none_or(|p| p.state == 'Z'));
}

/// The keeper is killed, and its engine has to finish first: with a hanging client to serve, and even stopped. A new one waits.
#[test]
fn a_server_that_still_ends_is_waited_for() {
    let hangs = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&hangs);
    let hang = Sink::scripted(move |step| {
        let at_the_dot = step.at == At::Dot;
        seen.fetch_or(at_the_dot, Ordering::SeqCst);
        if at_the_dot { Act::Hang } else { Act::Go }
    });
    let mut server = Setup::default().relay_to(hang.address).start();
    let mail = message::text("hangs", "far@far.test", 3);
    let sent = server.sendmail(&["-i", "far@far.test"], mail.as_bytes());
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    wait_for("the hanging delivery", seconds(20), || hangs.load(Ordering::SeqCst));
    let old = server.abandon();
    server.spawn();
    let line = server.wait_log("waiting up to 25 s for its end");
    assert!(line.contains(&format!("in use by process {old}")), "{line}");
    server.wait_ready(seconds(30));
    assert_eq!(server.log().matches("waiting up to 25 s").count(), 1);
    assert!(process::read(old).is_none_or(|process| process.state == 'Z'), "never two of them");
    // Stopped, it keeps its ports, and is not seen to end.
    let old = server.engine();
    process::signal(old, Signal::STOP);
    assert_eq!(server.abandon(), old);
    server.spawn();
    let said = || fs::read_to_string(server.path("stderr")).unwrap_or_default();
    wait_for("the wait", seconds(20), || said().contains("waiting up to 25 s for its end"));
    process::signal(old, Signal::CONT);
    server.wait_ready(seconds(30));
    server.stop();
}

/// Whoever starts the server has ignored signals, a running alarm, low limits and open files.
#[test]
fn nothing_is_inherited_from_whoever_starts_it() {
    if !root_or_skip("nothing_is_inherited") {
        return;
    }
    let server = Server::make(Setup::default());
    let config = server.configuration().display().to_string();
    let program = server::programs().join("postrider").display().to_string();
    let script = format!(
        "trap '' CHLD HUP TERM USR1 PIPE; ulimit -S -n 64; exec 7</etc/passwd; umask 000; \
         exec env LD_LIBRARY_PATH=/nowhere IFS=x SECRET=x {program} keeper --detach --config {config}"
    );
    let mut shell = server.command("/bin/sh");
    shell.args(["-c", &script]);
    let out = server::run(shell, b"");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let detached = Detached::of(&server);
    let pid = detached.0;
    let tree = process::tree(pid);
    assert!(tree.len() >= 3, "keeper, engine, users: {tree:?}");
    for p in &tree {
        let environment = fs::read(format!("/proc/{}/environ", p.pid)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        if p.pid != pid {
            assert!(!environment.contains("SECRET") && !environment.contains("IFS="), "{p:?} {environment}");
        }
        assert!(!process::open_files(p.pid).iter().any(|file| file == "/etc/passwd"), "{p:?}");
        let status = fs::read_to_string(format!("/proc/{}/status", p.pid)).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim().to_owned();
        let ignored = u64::from_str_radix(&ignored, 16).unwrap();
        for (signal, name) in [(1, "HUP"), (10, "USR1"), (15, "TERM"), (17, "CHLD")] {
            assert!(ignored & (1 << (signal - 1)) == 0, "{p:?} ignores {name}");
        }
    }
    let mail = message::text("inherited", "daemon@local.test", 3);
    assert_eq!(server.sendmail(&["-i", "daemon@local.test"], mail.as_bytes()).status.code(), Some(0));
    server.wait_mail("daemon", 1);
    process::signal(pid, Signal::TERM);
    wait_for("the end", seconds(20), || process::read(pid).is_none_or(|p| p.state == 'Z'));
}

/// Callers of the submission socket may be anybody, and do anything.
#[test]
fn the_submission_socket_survives_its_callers() {
    let server = Setup::default().start();
    let engine = server.engine();
    let call = || UnixStream::connect(server.path("run/submit")).unwrap();
    let descriptors = || fs::read_dir(format!("/proc/{engine}/fd")).unwrap().count();
    let before = descriptors();
    // Six descriptors with each of: an unknown message, an endless frame, content without a message, an empty frame.
    let null = fs::File::open("/dev/null").unwrap();
    for bytes in [&[3, 0, 0, 0, 0, 200, 1][..], &[255; 5], &[3, 0, 0, 0, 1, 1, 1], &[0; 4]] {
        let caller = call();
        let six = [null.as_fd(); 6];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&six)));
        sendmsg(&caller, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
        drop(caller);
    }
    wait_for("their descriptors are closed", seconds(20), || descriptors() <= before + 2);
    // A thousand that stop in the middle of a message, all at once.
    let stopped: Vec<UnixStream> = (0..1_000)
        .map(|_| {
            let mut caller = call();
            let _turned_away = caller.write_all(&[200, 0, 0, 0, 0, 0]);
            caller
        })
        .collect();
    let send = |id: &str, shell: &str| {
        let mut command = server.command("/bin/sh");
        command.args(["-c", shell, "sh"]).arg(server::programs().join("sendmail"));
        let out = server::run(command, message::text(id, "daemon@local.test", 3).as_bytes());
        assert_eq!(out.status.code(), Some(0), "{id}: {out:?}");
    };
    send("crowd", "exec \"$1\" -i daemon@local.test");
    assert!(server.greets(seconds(5)), "SMTP goes on");
    drop(stopped);
    send("after", "exec \"$1\" -i daemon@local.test");
    send("closed", "exec \"$1\" -i daemon@local.test >&- 2>&-");
    let mut command = server.command("/bin/sh");
    command
        .args(["-c", "exec \"$1\" -i daemon@local.test <&- >&- 2>&-", "sh"])
        .arg(server::programs().join("sendmail"));
    let _no_input = server::run(command, b"");
    wait_for("all three", seconds(60), || {
        let ids = testsuite::mbox::count([server.mailbox("daemon")]).0;
        ["after", "closed", "crowd"].iter().all(|id| ids.get(*id) == Some(&1))
    });
    assert_eq!(server.engine(), engine, "it is the same engine");
}
