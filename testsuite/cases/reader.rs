//! The log, as its readers see it: every shape of line against a golden file, and logwatch's own script for sendmail over the same day.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testsuite::sink::{Act, At};
use testsuite::{Server, Setup, Sink, Smtp, message, seconds, server, sink, wait_for};

/// A day with everything that sendmail's log readers count.
fn day() -> (Server, Sink) {
    let sink = Sink::scripted(|step| match (step.at, String::from_utf8_lossy(step.line)) {
        (At::Rcpt, line) if line.contains("gone@") => Act::Say("550 5.1.1 no such user here".into()),
        (At::Rcpt, line) if line.contains("later@") => Act::Say("451 4.7.1 greylisted".into()),
        _ => Act::Go,
    });
    let (certificate, key) = sink::certificate();
    let mut server = Server::make(
        Setup { aliases: "postmaster: nobody\nlist: daemon, b@far.test\nowner-list: postmaster\n".into(), ..Setup::default() }
            .relay_to(sink.address)
            .with("access \"@F@/access\"\ntls { certificate \"@F@/cert.pem\" key=\"@F@/key.pem\" }\nlimits { command-timeout \"2s\" }"),
    );
    for (name, text) in [
        ("cert.pem", &*certificate),
        ("key.pem", &*key),
        ("access", "From:drop@client.test DISCARD\nFrom:bad@client.test REJECT\n"),
    ] {
        std::fs::write(server.path(name), text).unwrap();
    }
    server.start();
    sessions(&server);
    server.wait_mail("daemon", 3);
    server.wait_log("stat=Deferred: 451 4.7.1 greylisted");
    server.wait_log("DSN: User unknown");
    server.wait_log("timeout waiting for input");
    server.wait_log("lost input channel");
    server.reload();
    wait_for("the reload", seconds(10), || server.log().matches("starting daemon (").count() == 2);
    (server, sink)
}

fn sessions(server: &Server) {
    let text = message::text("m", "x", 3);
    for _ in 0..2 {
        server.sendmail(&["-i", "daemon@local.test"], b"Subject: x\n\nx\n");
    }
    let mut session = Smtp::hello(server.address).unwrap();
    for to in ["list@local.test", "gone@far.test", "later@far.test"] {
        assert_eq!(session.message("a@client.test", &[to], &text).unwrap().code, 250, "{to}");
    }
    assert_eq!(session.message("drop@client.test", &["daemon@local.test"], &text).unwrap().code, 250);
    assert_eq!(session.command("MAIL FROM:<bad@client.test>").unwrap().code, 550);
    session.command("MAIL FROM:<a@client.test>").unwrap();
    assert_eq!(session.command("RCPT TO:<nosuchuser@local.test>").unwrap().code, 550);
    session.command("RSET").unwrap();
    assert_eq!(session.command("VRFY daemon").unwrap().code, 252);
    assert_eq!(session.command("EXPN list").unwrap().code, 502);
    session.command("QUIT").unwrap();
    let mut encrypted = Smtp::hello(server.address).unwrap();
    encrypted.starttls().unwrap();
    encrypted.command("QUIT").unwrap();
    let mut cut = Smtp::hello(server.address).unwrap();
    cut.command("MAIL FROM:<a@client.test>").unwrap();
    drop(cut);
    let mut slow = Smtp::hello(server.address).unwrap();
    slow.command("MAIL FROM:<a@client.test>").unwrap();
    slow.patience(seconds(10));
    assert_eq!(slow.reply().unwrap().code, 421);
}

/// A line without what differs from day to day and from user to user.
fn shape(line: &str) -> Option<String> {
    let text = line.split_once("]: ").filter(|(head, _)| head.contains(" sendmail["))?.1;
    // What the sink says with its own number.
    let text = text.split_once("stat=Sent (").map_or(text.to_owned(), |(before, _)| format!("{before}stat=Sent (...)"));
    let words = text.split(' ').map(|word| {
        let bare = word.trim_end_matches([':', ',']);
        let tail = &word[bare.len()..];
        let id = bare.len() == 14 && bare.is_ascii() && bare[8..].bytes().all(|b| b.is_ascii_digit());
        match bare.split_once('=') {
            _ if id => format!("QID{tail}"),
            _ if bare.starts_with('(') && bare.contains('/') => format!("(UID/GID){tail}"),
            Some((name @ ("msgid" | "size" | "delay" | "xdelay" | "pri" | "cipher" | "bits"), _)) => {
                format!("{name}=...{tail}")
            }
            Some((name @ ("from" | "ctladdr"), user)) if !user.starts_with('<') => format!("{name}=USER{tail}"),
            Some(("relay", user)) if user.ends_with("@localhost") => format!("relay=USER@localhost{tail}"),
            _ => word.to_owned(),
        }
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// `POSTRIDER_BLESS=1` writes the file anew; look at what has changed.
#[test]
fn every_line_of_a_day_has_its_shape() {
    let (server, _sink) = day();
    let shapes: BTreeSet<String> = server.log().lines().filter_map(shape).collect();
    let said: String = shapes.iter().map(|line| format!("{line}\n")).collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/day.log");
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(&golden, &said).unwrap();
    }
    assert_eq!(said, std::fs::read_to_string(golden).unwrap());
}

/// Where testsuite/fetch-clients has unpacked logwatch.
fn logwatch() -> Option<PathBuf> {
    let clients = std::env::var_os("POSTRIDER_CLIENTS").unwrap_or_else(|| "/var/tmp/postrider-clients".into());
    let folder = PathBuf::from(clients).join("usr/share/logwatch");
    let script = folder.join("scripts/services/sendmail");
    if !script.exists() {
        eprintln!("SKIPPED: no {} (testsuite/fetch-clients gets it)", script.display());
        return None;
    }
    Some(folder)
}

/// What logwatch's script for sendmail makes of a log.
fn read_by(folder: &Path, log: &str) -> String {
    // As logwatch's own `MultiService` and `RemoveHeaders` leave it.
    let lines = log.lines().filter_map(|line| line.split_once("]: ").filter(|(head, _)| head.contains(" sendmail[")));
    let input: String = lines.map(|(_, text)| format!("{text}\n")).collect();
    let mut command = Command::new("perl");
    command
        .arg("-I")
        .arg(folder.join("lib"))
        .arg(folder.join("scripts/services/sendmail"))
        .env("LOGWATCH_DETAIL_LEVEL", "10")
        .env("LOGWATCH_DEBUG", "0")
        .stderr(Stdio::piped());
    let out = server::run(command, input.as_bytes());
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(!said.to_lowercase().contains("unmatched"), "{said}");
    said
}

/// What sendmail's log has a line for is counted; what is ours has a tag of its own, so that nobody reports it as unknown.
#[test]
fn refused_messages_are_counted_or_left_to_us() {
    let Some(folder) = logwatch() else { return };
    let limits = "limits { message-size \"200KiB\"; header-size \"32KiB\"; hops 25 }\nsenders { accept-unresolvable }";
    let server = Setup::default().with(limits).start();
    let long = format!("X-Long: {}\n\nx\n", "x".repeat(40 << 10));
    let large = format!("Subject: x\n\n{}", "x\n".repeat(200 << 10));
    let looping = "Received: by somewhere\n".repeat(30) + "\nx\n";
    let mut session = Smtp::hello(server.address).unwrap();
    for (text, code) in [(&long, 552), (&large, 552), (&looping, 554)] {
        let out = server.sendmail(&["-i", "daemon@local.test"], text.as_bytes());
        assert!(matches!(out.status.code(), Some(65 | 69)), "{out:?}");
        assert_eq!(session.message("a@client.test", &["daemon@local.test"], text).unwrap().code, code);
    }
    server.sendmail(&["-i", "daemon@local.test"], b"Subject: x\n\na\0b\n");
    server.sendmail(&["daemon@local.test"], b"Subject: cut\n\none\n.\ntwo\n");
    server.sendmail(&["-t", "-f", "games@local.test"], b"To: bo@@x, Al <al@x, nosuchuser\n\nx\n");
    server.wait_mail("daemon", 1);
    server.wait_mail("games", 1);
    drop(std::os::unix::net::UnixStream::connect(server.path("run/submit")).map(|mut hostile| {
        std::io::Write::write_all(&mut hostile, &[0xff; 64]).unwrap();
    }));
    for ours in [
        "nobody: a line with a lone dot ended the message; what followed is lost (no -i)",
        "NOQUEUE: bo@@x... Invalid route address",
        "NOQUEUE: <al@x... Unbalanced '<'",
        "NOQUEUE: local submission of uid ",
    ] {
        server.wait_log(ours);
        let log = server.log();
        let line = log.lines().find(|line| line.contains(ours)).unwrap();
        assert!(line.contains(" postrider["), "{line}");
    }
    let said = read_by(&folder, &server.log());
    for count in [
        "30 (25 max)  ",
        "30 (25 max): relay=localhost [127.0.0.1]  ",
        "Too large headers from:",
        "    nobody@localhost  ",
        " bytes in 2 message(s)",
        "Unknown local users:",
        "    nosuchuser  ",
    ] {
        assert!(said.contains(count), "{count}: {said}");
    }
}

#[test]
fn logwatch_reads_a_day_of_our_log() {
    let Some(folder) = logwatch() else { return };
    let (server, _sink) = day();
    let said = read_by(&folder, &server.log());
    // Two by sendmail and three by SMTP, one of them to a list of two; the first start counts once, a restart twice.
    for count in [
        "Sendmail was started 3 time(s)",
        "Messages To Recipients:          5\nAddressed Recipients:            6\n",
        "Messages No Valid Rcpts:         3\n",
        "Name          # Rcpts\nlocal               3\n",
        "    No cert was presented                                               1 Time\n",
        "    <drop@client.test>                                                  1 Time\n",
        "    [127.0.0.1] <bad@client.test>\n",
        "    <nosuchuser@local.test>                                             1 Time\n",
        "    localhost                                     [127.0.0.1]           2 Times\n",
        "    from localhost                                                      1 Time\n",
        "  VRFY                                                                  1 Time\n",
        "        <gone@far.test>                                                 1 Time\n",
        "    451 4.7.1 greylisted\n",
    ] {
        assert!(said.contains(count), "{count}: {said}");
    }
}
