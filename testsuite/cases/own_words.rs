//! What callers write that is odd and must not cost their message: line breaks in arguments, a forged sender under `-bs`, a source that does
//! not block.

use std::io::Write;
use std::process::Stdio;
use testsuite::Setup;

#[test]
fn line_breaks_in_arguments_are_blanks() {
    let server = Setup::default().start();
    let out = server.sendmail(&["-F", "a\nBcc: root@local.test", "-f", "daemon\n", "daemon@local.test\n"], b"\nhi\n");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let text = String::from_utf8_lossy(&server.wait_mail("daemon", 1)[0].text).into_owned();
    let from = text.lines().find(|line| line.starts_with("From: ")).unwrap_or_default();
    assert!(from.contains("a Bcc: root@local.test") && !text.contains("\nBcc:"), "{text}");
}

#[test]
fn smtp_on_standard_input_tells_who_gives_himself_another_name() {
    let server = Setup::default().start();
    let talk = |from: &str| {
        let talk =
            format!("EHLO a\r\nMAIL FROM:<{from}>\r\nRCPT TO:<daemon@local.test>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n");
        let out = server.sendmail(&["-bs"], talk.as_bytes());
        assert_eq!(out.status.code(), Some(0), "{out:?}");
    };
    let caller =
        nix::unistd::User::from_uid(server.path("postrider.kdl").metadata().map(uid).unwrap()).unwrap().unwrap();
    talk(&caller.name);
    let first = String::from_utf8_lossy(&server.wait_mail("daemon", 1)[0].text).into_owned();
    assert!(!first.contains("Warning"), "{first}");
    talk("forged@far.test");
    let second = String::from_utf8_lossy(&server.wait_mail("daemon", 2)[1].text).into_owned();
    let warning = format!("X-Authentication-Warning: mx.test: {} owned process doing -bs\n", caller.name);
    assert!(second.contains(&warning) || caller.uid.is_root(), "{second}");
}

fn uid(metadata: std::fs::Metadata) -> nix::unistd::Uid {
    use std::os::unix::fs::MetadataExt;
    nix::unistd::Uid::from_raw(metadata.uid())
}

#[test]
fn standard_input_that_does_not_block_is_waited_for() {
    let server = Setup::default().start();
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut command = server.command("sendmail");
    let mut child = command.args(["-i", "daemon@local.test"]).stdin(Stdio::from(reader)).spawn().unwrap();
    drop(command);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(child.try_wait().unwrap(), None, "it waits");
    writer.write_all(b"Subject: late\n\nhi\n").unwrap();
    drop(writer);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(server.wait_mail("daemon", 1).len(), 1);
}
