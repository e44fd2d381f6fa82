//! AUTH to the smart host, out of the tables (sendmail.md 3.8): inside TLS only, and a wrong password ends no mail.

use std::fs;
use std::sync::{Arc, Mutex};
use testsuite::sink::{Act, At};
use testsuite::{Server, Setup, Sink, message, seconds, wait_for};

/// `\0joe\0Tr0ub4dor`.
const RIGHT: &str = "AUTH PLAIN AGpvZQBUcjB1YjRkb3I=";

/// A smart host that takes mail only after the right AUTH; the AUTH lines that it saw.
fn smart_host(tls: bool) -> (Sink, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (lines, known) = (seen.clone(), Mutex::new(Vec::new()));
    let sink = Sink::offering(tls, move |step| {
        let line = String::from_utf8_lossy(step.line).into_owned();
        match step.at {
            At::Ehlo if tls => Act::Say("250-sink.test\n250-PIPELINING\n250-STARTTLS\n250 AUTH LOGIN PLAIN".into()),
            At::Ehlo => Act::Say("250-sink.test\n250 AUTH LOGIN PLAIN".into()),
            At::Other if line.starts_with("AUTH") => {
                lines.lock().unwrap().push(line.clone());
                if line != RIGHT {
                    return Act::Say(format!("535 5.7.8 failed: {line}"));
                }
                known.lock().unwrap().push(step.connection);
                Act::Say("235 2.7.0 accepted".into())
            }
            At::Mail if !known.lock().unwrap().contains(&step.connection) => {
                Act::Say("530 5.7.0 Authentication required".into())
            }
            _ => Act::Go,
        }
    });
    (sink, seen)
}

/// A server with an access table that says this of the smart host.
fn server(sink: &Sink, nodes: &str, file: &str, entry: &str) -> Server {
    let setup = Setup {
        queue: "retry min=\"200ms\" max=\"300ms\"; expire \"5d\"".into(),
        ..Setup::default().relay_to(sink.address).with(nodes)
    };
    let mut server = Server::make(setup);
    fs::write(server.path(file), entry).unwrap();
    server.start();
    server
}

fn send(server: &Server, name: &str) {
    let out = server.sendmail(&["-i", "x@far.test"], message::text(name, "x@far.test", 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

#[test]
fn the_smart_host_is_told_who_we_are() {
    let (sink, seen) = smart_host(true);
    let server = server(&sink, "access \"@F@/access\"", "access", "AuthInfo:127.0.0.1\t\"U:joe\" \"P:Tr0ub4dor\"\n");
    send(&server, "auth");
    wait_for("the message", seconds(20), || sink.len() == 1);
    assert!(sink.taken()[0].tls);
    assert_eq!(*seen.lock().unwrap(), [RIGHT]);
    server.wait_log("AUTH=client, relay=[127.0.0.1] [127.0.0.1], mech=PLAIN, bits=0");
    server.wait_empty(seconds(10));
}

#[test]
fn a_wrong_password_waits_for_the_right_one() {
    let (sink, _) = smart_host(true);
    let entry = "AuthInfo:\t\"I:joe\" \"P:0ldPassw0rd\"\n";
    let mut server = server(&sink, "access \"@F@/access\"", "access", entry);
    send(&server, "auth");
    wait_for("mailq with the reason", seconds(15), || server.mailq().contains("AUTH PLAIN"));
    let list = server.mailq();
    assert!(list.contains("535 5.7.8"), "{list}");
    server.wait_log("/access:1: ");
    for secret in ["0ldPassw0rd", "AGpvZQAwbGRQYXNzdzByZA"] {
        assert!(!list.contains(secret) && !server.log().contains(secret), "{list}\n{}", server.log());
    }
    fs::write(server.path("access"), "AuthInfo:\t\"I:joe\" \"P:Tr0ub4dor\"\n").unwrap();
    // The hop rests for a minute, but not over a restart.
    server.stop();
    server.start();
    wait_for("the message with the new password", seconds(20), || sink.len() == 1);
    server.wait_empty(seconds(10));
}

#[test]
fn no_password_in_clear_text() {
    let (sink, seen) = smart_host(false);
    let server = server(&sink, "access \"@F@/access\"", "access", "AuthInfo:127.0.0.1 \"U:joe\" \"P:Tr0ub4dor\"\n");
    send(&server, "auth");
    server.wait_log("stat=Deferred: 530 5.7.0 Authentication required (not authenticated: no TLS)");
    server.wait_log("AUTH=client, relay=[127.0.0.1] [127.0.0.1], not used: no TLS");
    assert!(seen.lock().unwrap().is_empty() && sink.is_empty());
}

/// Whatever is written down while passwords are used, refused, repeated by the other side, and said to us by a client (S-55).
#[test]
fn no_secret_is_written_down() {
    let (sink, seen) = smart_host(true);
    let entry = "AuthInfo:\t\"I:joe\" \"P:0ldPassw0rd\"\n";
    let mut server = server(&sink, "access \"@F@/access\"", "access", entry);
    server.stop();
    // Everything that it can be told to write.
    let text = fs::read_to_string(server.configuration()).unwrap();
    fs::write(server.configuration(), text.replace("syslog #false", "syslog #false; level 15")).unwrap();
    server.start();
    let mut said = Vec::new();
    let out = server.sendmail(&["-v", "-i", "-X", "traffic", "x@far.test"], b"Subject: x\n\nx\n");
    said.extend([out.stdout, out.stderr].concat());
    wait_for("a refusal", seconds(15), || server.mailq().contains("535 5.7.8"));
    said.extend(server.mailq().into_bytes());
    // A client of ours says them, where they are not asked for.
    let mut client = testsuite::Smtp::hello(server.address).unwrap();
    said.extend(client.command("AUTH PLAIN AGNsaWVudABjMWllbnRQdw==").unwrap().text().into_bytes());
    said.extend(client.command("AUTH LOGIN").unwrap().text().into_bytes());
    for line in ["Y2xpZW50", "YzFpZW50UHc=", "PASS c1ientPw"] {
        // It sees its own unknown command again, as sendmail shows it; nobody else does.
        assert_eq!(client.command(line).unwrap().code, 500);
    }
    testsuite::process::signal(server.pid(), rustix::process::Signal::USR1);
    server.wait_log("end of state dump");
    fs::write(server.path("access"), "AuthInfo:\t\"I:joe\" \"P:Tr0ub4dor\"\n").unwrap();
    let engine = format!("/proc/{}/environ", server.engine());
    if nix::unistd::geteuid().is_root() {
        // No core file, and nobody of the same user reads its memory.
        assert_eq!(
            std::os::unix::fs::MetadataExt::uid(&fs::metadata(&engine).unwrap()),
            0,
            "{engine}: its process is dumpable"
        );
    }
    server.stop();
    server.start();
    wait_for("the message with the new password", seconds(20), || sink.len() == 1);
    for program in [&["hoststat"][..], &["config", "show"], &["check"]] {
        let mut command = server.command("postrider");
        command.args(program).env("POSTRIDER_CONFIG", server.configuration());
        let out = testsuite::server::run(command, b"");
        said.extend([out.stdout, out.stderr].concat());
    }
    server.stop();
    assert!(seen.lock().unwrap().iter().any(|line| line == RIGHT));
    fs::remove_file(server.path("access")).unwrap();
    fs::write(server.path("said"), said).unwrap();
    let count = without_secrets(server.path(""));
    assert!(count > 8, "{count} files");
}

/// Looks into every file below a folder; how many there were.
fn without_secrets(folder: std::path::PathBuf) -> usize {
    let secrets = [
        "0ldPassw0rd",
        "Tr0ub4dor",
        "c1ientPw",
        "AwbGRQYXNzdzByZA",
        "BUcjB1YjRkb3I",
        "AGNsaWVudABjMWllbnRQdw",
        "YzFpZW50UHc",
    ];
    let (mut files, mut count) = (vec![folder], 0);
    while let Some(path) = files.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            files.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        count += 1;
        let found = secrets.iter().find(|secret| text.contains(**secret));
        assert_eq!(found, None, "in {}", path.display());
    }
    count
}

/// `-v` shows the dialogue, but neither what is said in AUTH nor what the other side repeats of it.
#[test]
fn verbose_shows_no_password() {
    for (password, encoded, answer) in
        [("Tr0ub4dor", "AGpvZQBUcjB1YjRkb3I=", "235 "), ("0ldPassw0rd", "AGpvZQAwbGRQYXNzdzByZA", "535 ")]
    {
        let (sink, seen) = smart_host(true);
        let entry = format!("AuthInfo:\t\"I:joe\" \"P:{password}\" \"M:PLAIN\"\n");
        let server = server(&sink, "access \"@F@/access\"", "access", &entry);
        let out = server.sendmail(&["-v", "-i", "x@far.test"], b"Subject: x\n\nx\n");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let has = |start: &str| said.lines().any(|line| line.starts_with(start));
        assert!(!seen.lock().unwrap().is_empty());
        assert!(has(">>> STARTTLS") && has(">>> AUTH *") && has(answer), "{said}");
        assert!(!said.contains(password) && !said.contains(encoded), "{said}");
    }
}
