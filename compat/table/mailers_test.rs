use super::*;
use crate::scratch::{Broken, raw, wait};

fn hop(text: &str, domain: &str) -> Option<(String, Hop)> {
    let found = wait(MailerTable::new(raw(text)).hop(domain)).unwrap()?;
    Some((found.why.key, found.value))
}

/// `esmtp [a] b`: a name in brackets is looked up without MX.
fn shown(hop: &Hop) -> String {
    match hop {
        Hop::Smtp { mailer, hosts } => {
            let host = |host: &Host| if host.mx { host.name.clone() } else { format!("[{}]", host.name) };
            format!("{mailer} {}", hosts.iter().map(host).collect::<Vec<_>>().join(" "))
        }
        Hop::Refuse(Refusal { code, status, text, .. }) => format!("{code} {status} {text}"),
        other => format!("{other:?}"),
    }
}

fn value(text: &str) -> String {
    read(text).map_or_else(|| "nothing".to_owned(), |hop| shown(&hop))
}

#[test]
fn the_order() {
    let order = ["a.b.example", ".b.example", ".example", "."];
    for first in 0..=order.len() {
        let text: String = order.iter().skip(first).rev().map(|key| format!("{key} smtp:x\n")).collect();
        // A key without a dot in front never covers what is below it.
        let found = hop(&format!("{text}b.example smtp:no\nexample smtp:no\n"), "A.b.Example.");
        assert_eq!(found.map(|found| found.0), order.get(first).map(|key| (*key).to_owned()));
    }
    assert_eq!(hop(".b.example smtp:x\n", "b.example"), None);
    assert_eq!(hop(". smtp:x\n", "single").unwrap().0, ".");
    // A literal is no domain.
    assert_eq!(hop(". smtp:x\n[10.1.1.1] smtp:x\n", "[10.1.1.1]"), None);
}

#[test]
fn what_the_dot_key_did_not_match() {
    let text = ".d.test esmtp:%1.y.test:%2.z.test\n.test2 smtp:%1.last.test\n. relay:%1\nexact.example smtp:x%1\n";
    let to = |domain| shown(&hop(text, domain).unwrap().1);
    assert_eq!(to("p.q.d.test"), "esmtp p.q.y.test q.z.test");
    assert_eq!(to("x.y.z.test2"), "smtp x.y.z.last.test");
    assert_eq!(to("a.b"), "relay a.b");
    assert_eq!(to("exact.example"), "smtp x");
}

/// What 8.17.1.9 made of them.
#[test]
fn values_as_measured() {
    let cases = [
        ("esmtp:[a.test]:[b.test]", "esmtp [a.test] [b.test]"),
        ("esmtp:a.test,b.test", "esmtp a.test b.test"),
        ("ESMTP:A.test.", "esmtp a.test"),
        ("esmtp:[1.2.3.4]", "esmtp [1.2.3.4]"),
        ("esmtp:[IPv6:2001:db8::1]:b", "esmtp [ipv6:2001:db8::1] b"),
        ("esmtp : a.test", "esmtp a.test"),
        ("esmtp:a.test (note)\r", "esmtp a.test"),
        ("relay:[127.0.0.1]", "relay [127.0.0.1]"),
        // A second host, not a port.
        ("esmtp:[h]:2525", "esmtp [h] 2525"),
        // No trailing comments; DNS will not know such a name.
        ("esmtp:a.test # note", "esmtp a.test.#.note"),
        ("esmtp:[a.test] # note", "esmtp [a.test]#.note"),
        ("esmtp:[a.test", "esmtp [a.test"),
        ("relay.test", "nothing"),
        ("[1.2.3.4]", "nothing"),
        ("[h]:25", "nothing"),
        ("local", "nothing"),
        ("local:", "Local(None)"),
        ("local:bob@x.test", "Local(Some(\"bob\"))"),
        ("local:bob+x", "Local(Some(\"bob+x\"))"),
        ("error:5.1.2:550 text", "550 5.1.2 text"),
        ("error:nohost:550 text", "550 5.0.0 text"),
        ("error:nohost text", "553 5.3.0 nohost text"),
        ("error:\"550 text\"", "550 5.0.0 text"),
        ("prog:/bin/cat", "550 5.7.1 Cannot mail directly to programs"),
        ("*file*:/tmp/x", "550 5.7.1 Cannot mail directly to files"),
        ("nomailer:x", "Unknown(\"nomailer:x\")"),
        ("discard:", "Discard"),
        ("discard:x", "Discard"),
        ("local:\\bob", "Local(Some(\"\\\\bob\"))"),
        ("local:\\", "Local(None)"),
        ("local:\"bob\"", "Local(Some(\"bob\"))"),
        ("local:\"a b\"@x", "Local(Some(\"a b\"))"),
        // sendmail makes pieces of the address the host, or sends to another user; we wait for somebody to look.
        ("esmtp:", "Unknown(\"esmtp: without a host\")"),
        ("esmtp:user@a.test", "Unknown(\"esmtp:user@a.test\")"),
    ];
    for (text, expected) in cases {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn a_value_without_a_mailer_is_no_entry() {
    assert_eq!(hop("a.example relay.test\n.example smtp:x\n", "a.example").unwrap().0, ".example");
}

#[test]
fn limits_and_failures() {
    let deep = format!("{}example", "a.".repeat(100));
    assert_eq!(hop(".example smtp:x\n", &deep).unwrap().0, ".example");
    assert_eq!(hop(". smtp:x\n", &"a".repeat(100_000)), None);
    assert!(wait(MailerTable::new(Arc::new(Broken)).hop("a.example")).is_err());
    let hostile = format!("smtp:{}", "[:,".repeat(100_000));
    let start = std::time::Instant::now();
    let _ = read(&hostile);
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn lmtp_keeps_its_socket_as_written() {
    assert_eq!(value("lmtp:unix:/run/Dovecot/lmtp"), "Lmtp(\"unix:/run/Dovecot/lmtp\")");
    assert_eq!(value("LMTP:[127.0.0.1]:2003"), "Lmtp(\"[127.0.0.1]:2003\")");
}
