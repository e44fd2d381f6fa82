//! Dovecot takes our mail by LMTP: all local users' (`mailbox "lmtp"`), and a domain's by the mailer table.

use crate::interop_dovecot::Dovecot;
use std::path::Path;
use testsuite::{Setup, Smtp, mbox, message, seconds, wait_for};

fn arrived(user: &str) -> usize {
    mbox::count([Path::new("/var/mail").join(user)]).0.len()
}

#[test]
fn dovecot_takes_it_with_a_status_for_each_recipient() {
    let Some(dovecot) = Dovecot::start("lmtp to Dovecot") else { return };
    let socket = dovecot.lmtp();
    let setup =
        Setup { mailbox: format!("mailbox \"lmtp\" socket=\"{}\"", socket.display()), ..Setup::default().with_roles() };
    let mut server = testsuite::Server::make(setup);
    std::fs::write(server.path("mailertable"), format!("virtual.test lmtp:unix:{}\n", socket.display())).unwrap();
    server.setup.more = "mailers \"@F@/mailertable\"\nrelay-domains \"virtual.test\"\n".into();
    server.setup.aliases = "postmaster: tester\nteam: u13, u14\n".into();
    server.write_configuration();
    server.start();
    for user in ["u13", "u14", "u15"] {
        crate::interop::clear(user);
    }
    let mut session = Smtp::hello(server.address).unwrap();
    let mut send = |id: &str, to: &[&str]| {
        let text = message::text(id, "team", 30);
        assert_eq!(session.message("tester@local.test", to, &text).unwrap().code, 250);
    };
    send("m1", &["team@local.test", "u15+box@local.test"]);
    // Dovecot knows no nobody-here: a bounce for him, the mail for the other.
    send("m2", &["u13@virtual.test", "nobody-here@virtual.test"]);
    wait_for("all of it", seconds(60), || (arrived("u13"), arrived("u14"), arrived("u15")) == (2, 1, 1));
    let line = server.wait_log("to=<nobody-here@virtual.test>");
    assert!(line.contains("mailer=lmtp") && line.contains("dsn=5.1.1"), "{line}");
    server.wait_log("stat=Sent (<u13@virtual.test>");
    server.wait_empty(seconds(60));
}
