//! Golden tests of message preparation: what goes in, and the submission that comes out.

use super::*;
use crate::content::Content;
use crate::input::Input;
use mail::content::LineEnds;
use std::ffi::OsString;

fn caller(name: &str) -> Caller {
    Caller {
        uid: 2_001,
        name: name.into(),
        full_name: crate::caller::full_name("Alice A. Liddell,Room 1,555", name),
        home: None,
        known: true,
    }
}

struct Case {
    line: Vec<&'static str>,
    input: &'static str,
    name: Option<&'static str>,
}

fn case(line: &[&'static str], input: &'static str) -> Case {
    Case { line: line.to_vec(), input, name: None }
}

/// The whole message as the engine would put it together, without what only the engine knows, then the envelope.
fn golden(case: &Case) -> String {
    let args = std::iter::once("sendmail").chain(case.line.iter().copied()).map(OsString::from);
    let command = Command::read(args).unwrap();
    let mut input = Input::new(case.input.as_bytes(), command.ignore_dots);
    let heading = Heading::read(&mut input, command.save_from_line).unwrap();
    let alice = caller("alice");
    let origin = Origin {
        caller: &alice,
        name: case.name.map(str::to_owned),
        now: 1_795_292_536,
        zone: Zone::utc,
        hosts: || vec!["mx.example.test".into()],
        id: [0; 16],
    };
    let prepared = prepare(&command, &heading, &origin);
    let mut content = Content::new(std::path::Path::new("/nonexistent"));
    let (mut ends, mut body) = (LineEnds::new(), Vec::new());
    ends.feed(&heading.body_start, &mut body);
    while let Some(piece) = input.bulk().unwrap() {
        ends.feed(piece, &mut body);
    }
    ends.finish(&mut body);
    content.write(&prepared.header).unwrap();
    content.write(b"\r\n").unwrap();
    content.write(&body).unwrap();
    let s = &prepared.submission;
    let mut out = s.generated.clone();
    if s.resent_message_id {
        out.push_str("Resent-Message-Id: *\r\n");
    }
    if s.message_id {
        out.push_str("Message-Id: *\r\n");
    }
    out.push_str(&s.warnings);
    out.push_str(std::str::from_utf8(content.whole().unwrap()).unwrap());
    assert!(!out.replace("\r\n", "").contains('\n'), "line ends are CRLF");
    let to: Vec<&str> = s.recipients.iter().map(|r| r.address.as_str()).collect();
    let mut text = format!("<{}> -> {}\n{}", s.sender, to.join(" "), out.replace("\r\n", "\n"));
    for one in &prepared.refused {
        text.push_str(&format!("! {}... {}\n", one.address, one.text));
    }
    text
}

const DATE: &str = "Date: Sat, 21 Nov 2026 20:22:16 GMT\n";
const FROM: &str = "From: \"Alice A. Liddell\" <alice>\n";

#[test]
fn missing_fields_are_made_in_order() {
    let expected = format!("<alice> -> bob\n{DATE}{FROM}Message-Id: *\nSubject: x\n\nhi\n");
    assert_eq!(golden(&case(&["bob"], "Subject: x\n\nhi\n")), expected);
    // PHP: CRLF, LF by turns, and no line end at the end.
    assert_eq!(golden(&case(&["bob"], "Subject: x\r\n\nhi")), expected);
    // No header: an empty line goes between.
    let expected = format!("<alice> -> bob\n{DATE}{FROM}Message-Id: *\n\nhello world\n");
    assert_eq!(golden(&case(&["bob"], "hello world")), expected);
    // Nothing at all.
    assert_eq!(golden(&case(&["bob"], "")), format!("<alice> -> bob\n{DATE}{FROM}Message-Id: *\n\n"));
    // What is there stays, in its place, even when wrong.
    let given = "Date: foo\nX: y\nMessage-ID: <a@b>\nFrom: me\n\nhi\n";
    assert_eq!(golden(&case(&["bob"], given)), format!("<alice> -> bob\n{given}"));
}

#[test]
fn t_takes_recipients_from_the_header_and_adds_arguments() {
    let given = "To: bob (Bob), \"Carol, X\" <carol>\nCc: dave@Example.org,\n erin\nBcc: frank\nFrom: a\nDate: d\nMessage-Id: m\n\nhi\n";
    let kept = given.replace("Bcc: frank\n", "").replace(",\n erin", ", erin");
    let expected = format!("<alice> -> grace dave@example.org bob carol erin frank\n{kept}");
    assert_eq!(golden(&case(&["-t", "grace,", "dave@example.org"], given)), expected);
    // Without -t the header names nobody, and Bcc goes all the same.
    assert_eq!(golden(&case(&["-i", "bob"], given)), format!("<alice> -> bob\n{kept}"));
}

#[test]
fn a_lone_bcc_stays_empty_and_empty_groups_are_nobody() {
    let tail = "From: a\nDate: d\nMessage-Id: m\n\nhi\n";
    let given: &'static str = "Bcc: bob, carol\nBcc: dave\nFrom: a\nDate: d\nMessage-Id: m\n\nhi\n";
    assert_eq!(golden(&case(&["-t"], given)), format!("<alice> -> bob carol dave\nBcc:\nBcc:\n{tail}"));
    let given: &'static str = "To: undisclosed-recipients:;\nBcc: bob\nFrom: a\nDate: d\nMessage-Id: m\n\nhi\n";
    let expected = format!("<alice> -> bob\nTo: undisclosed-recipients:;\n{tail}");
    assert_eq!(golden(&case(&["-ti"], given)), expected);
    let given: &'static str = "Subject: none\nFrom: a\nDate: d\nMessage-Id: m\n\nhi\n";
    assert_eq!(golden(&case(&["-t"], given)), format!("<alice> -> \n{given}"));
}

#[test]
fn what_is_no_address_in_a_field_is_mailed_too() {
    let errors = |line: &[&'static str], input: &str| {
        let args = std::iter::once("sendmail").chain(line.iter().copied()).map(OsString::from);
        let command = Command::read(args).unwrap();
        let heading = Heading::read(&mut Input::new(input.as_bytes(), true), false).unwrap();
        let alice = caller("alice");
        let origin = Origin { caller: &alice, name: None, now: 0, zone: Zone::utc, hosts: Vec::new, id: [0; 16] };
        let prepared = prepare(&command, &heading, &origin);
        let to: Vec<String> = prepared.submission.recipients.iter().map(|r| r.address.clone()).collect();
        (to.join(" "), prepared.refused.len(), prepared.submission.errors)
    };
    let field = "To: bob, carol@@x\n\n";
    assert_eq!(errors(&["-t"], field), ("bob carol@@x".into(), 1, Errors::Mail));
    assert_eq!(errors(&["-t", "-oeq"], field), ("bob".into(), 1, Errors::Report));
    assert_eq!(errors(&["-t", "dave@"], field), ("dave@ bob carol@@x".into(), 2, Errors::Mail));
    assert_eq!(errors(&["-t", "dave@"], "To: bob\n\n"), ("bob".into(), 1, Errors::Report));
    // Not `bob`: the engine could not tell it from an address.
    assert_eq!(errors(&["-t"], "To: Al <bob, carol\n\n"), ("<bob carol".into(), 1, Errors::Mail));
    assert_eq!(errors(&["-t", "-oeq"], "To: Al <bob, carol\n\n"), ("carol".into(), 1, Errors::Report));
    assert_eq!(errors(&["-t"], "To: <<bob>>, <<carol>\n\n"), ("bob <carol".into(), 1, Errors::Mail));
}

#[test]
fn resent_fields_rule_when_there_are_any() {
    let given = "Resent-To: bob\nResent-Bcc: carol\nTo: dave\nFrom: a\nDate: d\nMessage-Id: m\n\nhi\n";
    let expected = format!(
        "<alice> -> bob carol\nResent-{DATE}Resent-{FROM}Resent-Message-Id: *\n{}",
        given.replace("Resent-Bcc: carol\n", "")
    );
    assert_eq!(golden(&case(&["-t"], given)), expected);
}

/// What stays of Bcc and Resent-Bcc, with `-t` and without.
#[test]
fn only_to_cc_and_apparently_to_are_visible_recipients() {
    for (given, kept) in [
        ("Bcc: bob\nResent-To: carol\n", "Bcc:\nResent-To: carol\n"),
        ("Bcc: bob\nResent-Cc: carol\n", "Bcc:\nResent-Cc: carol\n"),
        ("Bcc: bob\nResent-Bcc: carol\n", "Bcc:\nResent-Bcc:\n"),
        ("Resent-To: bob\nResent-Bcc: carol\n", "Resent-To: bob\nResent-Bcc:\n"),
        ("To: bob\nBcc: carol\nResent-Bcc: dave\n", "To: bob\n"),
        ("Bcc: bob\nApparently-To: carol\n", "Apparently-To: carol\n"),
        ("To:\nBcc: bob\n", "To:\n"),
    ] {
        for line in [&["-t", "-i", "bob"][..], &["-i", "bob"]] {
            let args = std::iter::once("sendmail").chain(line.iter().copied()).map(OsString::from);
            let command = Command::read(args).unwrap();
            let heading = Heading::read(&mut Input::new(given.as_bytes(), true), false).unwrap();
            let alice = caller("alice");
            let origin = Origin { caller: &alice, name: None, now: 0, zone: Zone::utc, hosts: Vec::new, id: [0; 16] };
            let header = prepare(&command, &heading, &origin).header;
            assert_eq!(String::from_utf8(header).unwrap().replace('\r', ""), kept, "{given:?} {line:?}");
        }
    }
}

#[test]
fn senders_and_names() {
    let tail = "Message-Id: *\n";
    let with = |line: &[&'static str], from: &str, sender: &str, warning: &str| {
        let expected = format!("<{sender}> -> bob\n{DATE}From: {from}\n{tail}{warning}\nx\n");
        assert_eq!(golden(&case(line, "\nx\n")), expected, "{line:?}");
    };
    let warn = |who: &str| format!("X-Authentication-Warning: {{host}}: alice set sender to {who} using -f\n");
    with(&["-f", "<>", "bob"], "MAILER-DAEMON", "", &warn("<>"));
    with(&["-f", "x@y.example", "bob"], "x@y.example", "x@y.example", &warn("x@y.example"));
    let full = "\"Alice A. Liddell\" <alice@mx.example.test>";
    with(&["-f", "alice@mx.example.test", "bob"], full, "alice@mx.example.test", "");
    let by_r = "X-Authentication-Warning: {host}: alice set sender to x@y.example using -r\n";
    with(&["-r", "x@y.example", "bob"], "x@y.example", "x@y.example", by_r);
    with(&["-falice", "bob"], "\"Alice A. Liddell\" <alice>", "alice", "");
    with(&["-F", "Some Body", "bob"], "Some Body <alice>", "alice", "");
    with(&["-F", "\"Reminder Service\"", "bob"], "\"Reminder Service\" <alice>", "alice", "");
    with(&["-F", "X \"Q\" (y) Z", "bob"], "X \"Q\" (y) Z <alice>", "alice", "");
    with(&["-F", "X (y", "bob"], "\"X (y\" <alice>", "alice", "");
    with(&["-F", "a \"b", "bob"], "\"a \\\"b\" <alice>", "alice", "");
    with(&["-F", "x <y>", "bob"], "\"x <y>\" <alice>", "alice", "");
    with(&["-F", "x\" <evil@x>, \"y", "bob"], "\"x\\\" <evil@x>, \\\"y\" <alice>", "alice", "");
    let mut named = case(&["bob"], "\nx\n");
    named.name = Some("Environment");
    assert_eq!(golden(&named), format!("<alice> -> bob\n{DATE}From: Environment <alice>\n{tail}\nx\n"));
}

#[test]
fn empty_fields_that_are_made_count_as_missing() {
    let made = format!("<alice> -> bob\n{DATE}{FROM}Message-Id: *\n");
    let given = "From: \nTo:\nDate:\nmessage-id:\n \nSubject:\n\nhi\n";
    assert_eq!(golden(&case(&["bob"], given)), format!("{made}To:\nSubject:\n\nhi\n"));
    assert_eq!(golden(&case(&["bob"], "Date:\n")), format!("{made}\n"));
}

#[test]
fn what_is_noted_is_in_nobodys_way() {
    let noted = |line: &[&str]| {
        let command = Command::read(std::iter::once(&"sendmail").chain(line).map(OsString::from)).unwrap();
        let alice = caller("alice");
        let origin = Origin { caller: &alice, name: None, now: 0, zone: Zone::utc, hosts: Vec::new, id: [0; 16] };
        let prepared = prepare(&command, &Heading::default(), &origin);
        assert!(prepared.refused.is_empty(), "{line:?}");
        let to: Vec<String> = prepared.submission.recipients.into_iter().map(|one| one.address).collect();
        let texts: Vec<String> = prepared.noted.into_iter().map(|one| one.text).collect();
        [prepared.submission.sender, to.join(" "), texts.join("|")]
    };
    let own = |parts: [&str; 3]| parts.map(str::to_owned);
    assert_eq!(noted(&["<<bob>>"]), own(["alice", "bob", ""]));
    assert_eq!(noted(&["Bob <bob", "carol"]), own(["alice", "bob carol", "Unbalanced '<'"]));
    assert_eq!(noted(&["-fa,b", "bob"]), own(["alice", "bob", "Invalid route address"]));
    assert_eq!(noted(&["-f", "B, C <d@e>", "bob"]), own(["d@e", "bob", ""]));
    assert_eq!(noted(&["-f", "\"a,b\"@e", "bob"]), own(["\"a,b\"@e", "bob", ""]));
    assert_eq!(noted(&["-f", "carol,", "bob"]), own(["carol", "bob", ""]));
    assert_eq!(noted(&["-f", "a\nb", "bob"]), own(["a.b", "bob", ""]));
    assert_eq!(noted(&["-f", "carol\r\n", "bob\n"]), own(["carol", "bob", ""]));
}

#[test]
fn removed_fields_and_the_from_line() {
    let given =
        "From x@y  Fri Nov 20 10:00:00 2026\nReturn-Path: <q>\nContent-Length: 5\nFull-Name: F N\nErrors-To: e\n\nhi\n";
    let date = "Date: Fri, 20 Nov 2026 10:00:00 GMT\n";
    let expected = format!("<alice> -> bob\n{date}From: F N <alice>\nMessage-Id: *\nErrors-To: e\n\nhi\n");
    assert_eq!(golden(&case(&["-oi", "bob"], given)), expected);
}

#[test]
fn a_lone_dot_ends_it_unless_told_otherwise() {
    let head = format!("<alice> -> bob\n{DATE}{FROM}Message-Id: *\nA: b\n\n");
    let given = "A: b\n\none\n..two\n.\nthree\n";
    assert_eq!(golden(&case(&["bob"], given)), format!("{head}one\n.two\n"));
    assert_eq!(golden(&case(&["-oi", "bob"], given)), format!("{head}one\n..two\n.\nthree\n"));
}

#[test]
fn programs_files_and_nonsense_are_refused() {
    for (argument, line) in [
        ("\"|/bin/sh\"", "\"|/bin/sh\"... Cannot mail directly to programs"),
        ("/etc/passwd", "/etc/passwd... Cannot mail directly to files"),
        (":include:/etc/shadow", ":include:/etc/shadow... Cannot mail directly to :include:s"),
        ("bob@@mx..example.test", "bob@@mx..example.test... Invalid host name"),
        ("bob@@x", "bob@@x... Invalid route address"),
        ("bob@", "bob@... Hostname required"),
        ("@x", "@x... User address required"),
        ("<>", "<>... User unknown"),
    ] {
        let text = golden(&case(&["--", argument], "A: b\n\n"));
        assert!(text.ends_with(&format!("! {line}\n")), "{text}");
        assert!(text.starts_with("<alice> -> \n"), "{text}");
    }
}

#[test]
fn a_backslash_before_a_name_is_that_name() {
    let text = golden(&case(&["\\bob"], "A: b\n\n"));
    assert!(text.starts_with("<alice> -> bob\n"), "{text}");
}

#[test]
fn a_sender_that_is_none_is_complained_of_and_replaced() {
    let command = Command::read(["sendmail", "-f", "bad@@x", "bob"].iter().map(OsString::from)).unwrap();
    let (sender, wrong) = sender(&command, &caller("alice"));
    let wrong = wrong.unwrap();
    assert_eq!((sender.as_str(), wrong.exit, wrong.text.as_str()), ("alice", exit::USAGE, "Invalid route address"));
}

/// The mode that counts, and what the engine is told.
fn mode(line: &[&str]) -> (ErrorMode, Errors) {
    let command = Command::read(std::iter::once(&"sendmail").chain(line).map(OsString::from)).unwrap();
    let alice = caller("alice");
    let hosts = || vec!["mx.example.test".into()];
    let origin = Origin { caller: &alice, name: None, now: 0, zone: Zone::utc, hosts, id: [0; 16] };
    let prepared = prepare(&command, &Heading::default(), &origin);
    (prepared.errors, prepared.submission.errors)
}

#[test]
fn errors_are_printed_mailed_or_neither() {
    for (line, wanted) in [
        (&["bob"][..], (ErrorMode::Print, Errors::Report)),
        (&["-oep", "-f", "alice@mx.example.test", "bob"], (ErrorMode::Print, Errors::Report)),
        (&["-f", "<>", "bob"], (ErrorMode::Print, Errors::Report)),
        (&["-oem", "bob"], (ErrorMode::Mail, Errors::Mail)),
        (&["-oew", "bob"], (ErrorMode::Mail, Errors::Mail)),
        (&["-oee", "bob"], (ErrorMode::Berknet, Errors::Mail)),
        (&["-oeq", "bob"], (ErrorMode::Quiet, Errors::Report)),
        // A sender who is not the caller gets mail, and so does whoever does not wait.
        (&["-f", "carol", "bob"], (ErrorMode::Mail, Errors::Mail)),
        (&["-f", "x@far.example", "bob"], (ErrorMode::Mail, Errors::Mail)),
        (&["-odb", "bob"], (ErrorMode::Mail, Errors::Mail)),
        (&["-odq", "bob"], (ErrorMode::Mail, Errors::Mail)),
        (&["-oeq", "-odb", "bob"], (ErrorMode::Quiet, Errors::Report)),
    ] {
        assert_eq!(mode(line), wanted, "{line:?}");
    }
}

#[test]
fn what_is_wrong_in_the_text_bounces_with_the_others_if_nobody_waits() {
    let named = |line: &[&str]| {
        let command = Command::read(std::iter::once(&"sendmail").chain(line).map(OsString::from)).unwrap();
        let alice = caller("alice");
        let origin = Origin { caller: &alice, name: None, now: 0, zone: Zone::utc, hosts: Vec::new, id: [0; 16] };
        let prepared = prepare(&command, &Heading::default(), &origin);
        let all: Vec<String> = prepared.submission.recipients.into_iter().map(|one| one.address).collect();
        (all.join(" "), prepared.refused.into_iter().map(|one| one.address).collect::<Vec<_>>().join(" "))
    };
    let own = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(named(&["-odb", "a", "bob@@x", "b", "c@@y"]), own("a bob@@x b c@@y", "bob@@x c@@y"));
    assert_eq!(named(&["-odb", "bob@@x"]), own("", "bob@@x"));
    assert_eq!(named(&["a", "bob@@x"]), own("a", "bob@@x"));
    // Not wrong, only nobody: the engine says so, and whoever does not wait never hears of it.
    assert_eq!(named(&["-odb", "bob;carol"]), own("bob;carol", ""));
    assert_eq!(named(&["bob;carol"]), own("", "bob;carol"));
}

#[test]
fn a_field_for_a_message_without_recipients() {
    for (action, field) in [
        ("none", ""),
        ("add-to", "To: bob,\n\tcarol\n"),
        ("add-apparently-to", "Apparently-To: bob,\n\tcarol\n"),
        ("add-bcc", "Bcc:\n"),
        ("add-to-undisclosed", "To: undisclosed-recipients:;\n"),
    ] {
        let option = format!("-ONoRecipientAction={action}");
        let line: &'static str = Box::leak(option.into_boxed_str());
        let expected = format!("<alice> -> bob carol\n{DATE}{FROM}Message-Id: *\nA: b\n{field}\nhi\n");
        assert_eq!(golden(&case(&[line, "bob", "carol"], "A: b\n\nhi\n")), expected);
        assert!(!golden(&case(&[line, "bob"], "Cc: x\n\nhi\n")).contains("undisclosed"), "{action}");
    }
}

#[test]
fn the_received_field_names_an_only_argument_and_what_p_says() {
    let received = |line: &[&str]| {
        let command = Command::read(std::iter::once(&"sendmail").chain(line).map(OsString::from)).unwrap();
        let Received { host, protocol, recipient } = super::received(&command);
        (host, protocol, recipient)
    };
    let text = |host: &str, protocol: &str, to: &str| (host.to_owned(), protocol.to_owned(), to.to_owned());
    assert_eq!(received(&["bob"]), text("", "", "bob"));
    assert_eq!(received(&["-t"]), text("", "", ""));
    assert_eq!(received(&["bob", "carol"]), text("", "", ""));
    assert_eq!(received(&["bob,carol"]), text("", "", ""));
    assert_eq!(received(&["-pUUCP:uuhost.UUCP", "Bob <bob>"]), text("uuhost.UUCP", "UUCP", "Bob <bob>"));
}

#[test]
fn the_same_recipient_counts_once_and_lists_have_an_end() {
    let text = golden(&case(&["bob, carol", "bob,", "Bob@X.example", "Bob@x.EXAMPLE"], "A: b\n\n"));
    assert!(text.starts_with("<alice> -> bob carol Bob@X.example\n"), "{text}");
    let many = (0..RECIPIENT_LIMIT + 50).map(|n| format!("u{n}")).collect::<Vec<_>>().join(",");
    let mut gathered = Gathered::default();
    gathered.add(many.as_bytes());
    assert_eq!(gathered.recipients.len(), RECIPIENT_LIMIT + 1);
}
