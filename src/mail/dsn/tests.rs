//! Golden texts: programs parse these.

use super::*;

const DATE: &str = "Sat, 21 Nov 2026 20:22:21 GMT";

fn recipient() -> Recipient {
    Recipient {
        shown: "bob@far.example".into(),
        expanded_from: "list".into(),
        final_recipient: "list@mx.example.test".into(),
        actual: "bob@far.example".into(),
        orcpt: String::new(),
        action: Action::Failed,
        status: Status::permanent(1, 1),
        remote_mta: "far.example".into(),
        reason: "550 5.1.1 no such user here".into(),
        diagnostic: "SMTP; 550 5.1.1 no such user here".into(),
        transcript: [
            "... while talking to far.example.:",
            ">>> RCPT To:<bob@far.example>",
            "<<< 550 5.1.1 no such user here",
            "550 5.1.1 <bob@far.example>... User unknown",
        ]
        .map(str::to_owned)
        .to_vec(),
        last_attempt: DATE.into(),
        will_retry_until: String::new(),
    }
}

fn report(kind: Kind) -> Report<'static> {
    Report {
        kind,
        host: "mx.example.test".into(),
        id: "6ALKMLNU027063".into(),
        new_id: "6ALKMLNU027064".into(),
        version: "V".into(),
        from: "MAILER-DAEMON".into(),
        to: "alice".into(),
        date: DATE.into(),
        message_id: "202611212022.6ALKMLNU027064@mx.example.test".into(),
        boundary: "6ALKMLNU027064.1795292541/mx.example.test".into(),
        arrival_date: DATE.into(),
        received_from: "root@localhost".into(),
        received_from_mta: String::new(),
        envid: String::new(),
        recipients: vec![recipient()],
        notes: Vec::new(),
        sender: "alice".into(),
        eight_bit: false,
        header: b"From: alice\r\nSubject: hi\r\n",
        content: None,
    }
}

fn text(report: &Report<'_>) -> String {
    let bytes = build(report);
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    text.replace("\r\n", "\n")
}

#[test]
fn failure() {
    let mut failure = report(Kind::Failure);
    failure.received_from_mta = "client.example".into();
    assert_eq!(text(&failure), include_str!("golden/failure.txt"));
}

#[test]
fn delay() {
    let mut delay = report(Kind::Delay { past: "4 hours".into(), until: "5 days".into() });
    delay.envid = "env 1".into();
    delay.recipients = vec![Recipient {
        shown: "u@a.example".into(),
        expanded_from: String::new(),
        final_recipient: "u@a.example".into(),
        actual: String::new(),
        orcpt: "rfc822;u@a.example".into(),
        action: Action::Delayed,
        status: Status::temporary(4, 1),
        remote_mta: "a.example".into(),
        reason: String::new(),
        diagnostic: String::new(),
        transcript: vec!["u@a.example... Deferred: Connection refused by a.example.".into()],
        last_attempt: DATE.into(),
        will_retry_until: "Thu, 26 Nov 2026 20:22:21 GMT".into(),
    }];
    assert_eq!(text(&delay), include_str!("golden/delay.txt"));
}

#[test]
fn postmaster() {
    let mut notice = report(Kind::Postmaster);
    notice.to = "postmaster".into();
    notice.sender = String::new();
    notice.header = b"From: Mail Delivery Subsystem <MAILER-DAEMON>\r\nTo: gr\xc3\xbc\xc3\x9fe@x\r\n";
    notice.content = Some(b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nno last line end");
    let mut second = recipient();
    second.shown = "carol@far.example".into();
    second.reason = "550 5.1.1 not here".into();
    second.transcript = vec!["... while talking to far.example.:".into(), "<<< 550 5.1.1 not here".into()];
    notice.recipients.push(second);
    notice.notes =
        vec!["Message could not be delivered for 5 days".into(), "Message will be deleted from queue".into()];
    assert_eq!(text(&notice), include_str!("golden/postmaster.txt"));
}

#[test]
fn a_success_is_told_with_the_header_only() {
    let mut success = report(Kind::Success);
    success.recipients = vec![Recipient {
        action: Action::Delivered,
        status: Status::success(1, 5),
        reason: String::new(),
        expanded_from: String::new(),
        transcript: Vec::new(),
        ..recipient()
    }];
    let text = text(&success);
    for line in [
        "\nSubject: Return receipt\nAuto-Submitted: auto-generated (return-receipt)\n",
        "\n   ----- The following addresses had successful delivery notifications -----\nbob@far.example  (successfully delivered to mailbox)\n\n--",
        "\nAction: delivered (to mailbox)\nStatus: 2.1.5\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn nothing_from_outside_makes_a_line() {
    let mut hostile = report(Kind::Failure);
    let evil = "x\r\n.\r\nBcc: all@x\r\n\r\n--b\0\u{1b}\u{202e}".to_owned();
    let plain = text(&hostile).lines().count();
    hostile.to.clone_from(&evil);
    hostile.received_from.clone_from(&evil);
    hostile.sender.clone_from(&evil);
    hostile.arrival_date.clone_from(&evil);
    for r in &mut hostile.recipients {
        for field in [&mut r.shown, &mut r.reason, &mut r.diagnostic, &mut r.orcpt, &mut r.actual, &mut r.expanded_from]
        {
            field.clone_from(&evil);
        }
        r.transcript[2] = evil.repeat(1_000);
    }
    let text = text(&hostile);
    // One more line: Original-Recipient.
    assert_eq!(text.lines().count(), plain + 1);
    assert!(!text.contains(['\0', '\u{1b}', '\u{202e}']) && text.lines().all(|line| line.len() < 998));
}

#[test]
fn the_boundary_is_not_in_the_original() {
    let mut tricky = report(Kind::Failure);
    tricky.header = b"A: --6ALKMLNU027064.1795292541/mx.example.test\r\n";
    assert!(text(&tricky).contains("boundary=\"6ALKMLNU027064.1795292541/mx.example.testx\""));
}

#[test]
fn addresses_beyond_ascii_have_their_own_types() {
    let mut foreign = report(Kind::Failure);
    foreign.recipients[0].final_recipient = "müller@mx.example.test".into();
    foreign.recipients[0].shown = "müller@mx.example.test".into();
    let text = text(&foreign);
    for line in [
        "\nContent-Transfer-Encoding: 8bit\nSubject:",
        "\nContent-Type: text/plain; charset=utf-8\n",
        "\nContent-Type: message/global-delivery-status\n",
        "\nFinal-Recipient: utf-8; müller@mx.example.test\n",
        "\nContent-Type: message/global-headers\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_foreign_byte_in_a_reply_changes_no_type() {
    let mut odd = report(Kind::Failure);
    odd.recipients[0].diagnostic = "SMTP; 550 kein Empfänger".into();
    odd.recipients[0].reason = "550 kein Empfänger".into();
    let text = text(&odd);
    for line in [
        "\nContent-Type: message/delivery-status\n\n",
        "\nDiagnostic-Code: SMTP; 550 kein Empf?nger\n",
        "    (reason: 550 kein Empfänger)\n",
        "\nContent-Type: text/rfc822-headers\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("global"));
}

#[test]
fn one_answer_for_all_is_quoted_once() {
    let mut refused = report(Kind::Failure);
    let transcript = |to: &str| {
        [
            "... while talking to far.example.:",
            ">>> DATA",
            "<<< 554-5.7.1 spam",
            "<<< 554 5.7.1 go away",
            &format!("554 5.7.1 <{to}>... Service unavailable"),
        ]
        .map(str::to_owned)
        .to_vec()
    };
    refused.recipients = ["u@x", "v@x"].map(|to| Recipient { transcript: transcript(to), ..recipient() }).to_vec();
    let expected = "... while talking to far.example.:\n>>> DATA\n<<< 554-5.7.1 spam\n<<< 554 5.7.1 go away\n\
        554 5.7.1 <u@x>... Service unavailable\n554 5.7.1 <v@x>... Service unavailable\n";
    assert!(text(&refused).contains(expected), "{}", text(&refused));
}
