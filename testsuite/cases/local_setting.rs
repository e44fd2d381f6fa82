//! Settings of local delivery: fields and the circles they show, comsat, users without account, owners of lists.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use testsuite::{Server, Setup, Sink, Smtp, message, root_or_skip, seconds, wait_for};

fn send(server: &Server, from: &str, to: &str, text: &str) {
    let mut session = Smtp::hello(server.address).unwrap();
    assert_eq!(session.message(from, &[to], text).unwrap().code, 250, "{to}");
}

#[test]
fn a_message_that_was_delivered_to_him_already_is_returned() {
    let fields = "mailbox \"mbox\" path=\"@F@/mail/{user}\" delivered-to=#true original-to=#true return-path=#false";
    let mut setup = Setup { mailbox: fields.into(), ..Setup::default() };
    setup.aliases.push_str("team: daemon\n");
    let server = setup.start();
    send(&server, "bin@local.test", "team@local.test", &message::text("one", "team", 3));
    let mail = server.wait_mail("daemon", 1);
    let host = mail[0].field("Delivered-To").unwrap().strip_prefix("daemon@").unwrap().to_owned();
    assert_eq!(mail[0].field("X-Original-To").as_deref(), Some("team@local.test"));
    assert_eq!(mail[0].field("Return-Path"), None);
    let again = format!("Delivered-To: Daemon@{host}\r\n{}", message::text("two", "daemon", 3));
    send(&server, "bin@local.test", "daemon@local.test", &again);
    let line = server.wait_log("stat=mail forwarding loop for daemon@");
    assert!(line.contains("dsn=5.4.6"), "{line}");
    let bounce = String::from_utf8_lossy(&server.wait_mail("bin", 1)[0].text).into_owned();
    assert!(bounce.contains("mail forwarding loop") && bounce.contains("X-Test-Id: two"), "{bounce}");
    // Another host's user of that name is nobody here.
    let other = format!("Delivered-To: daemon@other.test\r\n{}", message::text("three", "daemon", 3));
    send(&server, "bin@local.test", "daemon@local.test", &other);
    server.wait_mail("daemon", 2);
}

/// Not only after as many hops as a message may have (which ends it without that field).
#[test]
fn what_another_host_forwards_back_is_returned_at_once() {
    if !root_or_skip("what_another_host_forwards_back_is_returned_at_once") {
        return;
    }
    let far = Sink::start();
    let mailbox = "mailbox \"mbox\" path=\"@F@/mail/{user}\" delivered-to=#true".into();
    let server = Setup { mailbox, ..Setup::default().with_roles().relay_to(far.address) }.start();
    fs::write("/home/u26/.forward", "\\u26, u26@far.test\n").unwrap();
    chown("/home/u26/.forward", Some(20_026), Some(19_999)).unwrap();
    send(&server, "u20@local.test", "u26@local.test", &message::text("one", "u26", 3));
    wait_for("the copy for the other host", seconds(20), || far.len() == 1);
    let text = String::from_utf8(far.taken().remove(0).text).unwrap();
    assert!(text.starts_with("Delivered-To: u26@mx.test\nReceived: ") && !text.contains("Return-Path"), "{text}");
    assert_eq!(server.wait_mail("u26", 1)[0].field("Delivered-To").as_deref(), Some("u26@mx.test"));
    send(&server, "u20@local.test", "u26@local.test", &text);
    let line = server.wait_log("stat=mail forwarding loop for u26@mx.test");
    assert!(line.contains("dsn=5.4.6"), "{line}");
    assert_eq!(server.wait_mail("u20", 1).len(), 1);
    server.wait_empty(seconds(20));
    assert_eq!((far.len(), server.wait_mail("u26", 1).len()), (1, 1), "{}", server.log());
    fs::remove_file("/home/u26/.forward").unwrap();
}

#[test]
fn comsat_hears_where_new_mail_begins() {
    if !root_or_skip("comsat_hears_where_new_mail_begins") {
        return;
    }
    let Ok(comsat) = UdpSocket::bind("127.0.0.1:512") else {
        eprintln!("skipped: port 512 is taken");
        return;
    };
    comsat.set_read_timeout(Some(seconds(20))).unwrap();
    let mailbox = "mailbox \"mbox\" path=\"@F@/mail/{user}\" biff=#true".into();
    let server = Setup { mailbox, ..Setup::default().with_roles() }.start();
    let hear = || {
        let mut text = [0; 200];
        let got = comsat.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..got]).into_owned()
    };
    let path = server.mailbox("u09");
    send(&server, "a@client.test", "u09@local.test", &message::text("one", "u09", 3));
    assert_eq!(hear(), format!("u09@0:{}\n", path.display()));
    let size = fs::metadata(&path).unwrap().len();
    send(&server, "a@client.test", "u09@local.test", &message::text("two", "u09", 3));
    assert_eq!(hear(), format!("u09@{size}:{}\n", path.display()));
}

/// Takes every message by LMTP; tells each RCPT line.
fn lmtp(path: &Path) -> Receiver<String> {
    let listener = UnixListener::bind(path).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 here LMTP\r\n").unwrap();
            while let Some(Ok(line)) = lines.next() {
                let reply: &[u8] = match line.get(..4).unwrap_or_default() {
                    "RCPT" => {
                        tell.send(line).unwrap();
                        b"250 2.1.5 OK\r\n"
                    }
                    "DATA" => {
                        stream.write_all(b"354 go\r\n").unwrap();
                        while lines.next().is_some_and(|line| line.unwrap() != ".") {}
                        b"250 2.0.0 taken\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 OK\r\n",
                };
                stream.write_all(reply).unwrap();
            }
        }
    });
    told
}

#[test]
fn users_without_account_go_to_another_store() {
    let server = Setup::default().with("addresses { luser-relay \"lmtp:@F@/tmp/store\" }").start();
    let told = lmtp(&server.path("tmp/store"));
    assert!(Command::new("chmod").arg("777").arg(server.path("tmp/store")).status().unwrap().success());
    send(&server, "a@client.test", "daemon@local.test", &message::text("one", "daemon", 3));
    send(&server, "a@client.test", "no.account@local.test", &message::text("two", "no.account", 3));
    let line = told.recv_timeout(seconds(20)).unwrap();
    assert!(line.starts_with("RCPT To:<no.account@"), "{line}");
    server.wait_mail("daemon", 1);
    server.wait_empty(seconds(20));
    assert!(server.wait_log("mailer=lmtp").contains("stat=Sent"), "{}", server.log());
}

#[test]
fn what_members_forward_still_has_the_lists_owner_as_sender() {
    if !root_or_skip("what_members_forward_still_has_the_lists_owner_as_sender") {
        return;
    }
    let mut setup = Setup::default().with_roles();
    setup.aliases.push_str("crew: u12, :include:/etc/crew\nowner-crew: u13\n");
    fs::write("/etc/crew", "u14\n").unwrap();
    let server = setup.start();
    for (user, uid) in [("u12", 20_012), ("u14", 20_014)] {
        let path = format!("/home/{user}/.forward");
        fs::write(&path, "\"|echo no; exit 67\"\n").unwrap();
        chown(&path, Some(uid), Some(19_999)).unwrap();
    }
    send(&server, "u15@local.test", "crew@local.test", &message::text("one", "crew", 3));
    let bounces = server.wait_mail("u13", 2);
    assert!(bounces.iter().all(|bounce| String::from_utf8_lossy(&bounce.text).contains("User unknown")));
    server.wait_empty(seconds(20));
    assert!(!server.mailbox("u15").exists(), "the sender hears nothing");
    for user in ["u12", "u14"] {
        fs::remove_file(format!("/home/{user}/.forward")).unwrap();
    }
}
