//! What real headers hold, and what attackers put there.

use super::*;

fn read(body: &str) -> Vec<String> {
    let bytes = body.as_bytes();
    addresses(bytes)
        .into_iter()
        .map(|listed| match listed.address {
            Ok(address) => format!("{address}{}", if listed.group { " (group)" } else { "" }),
            Err(text) => format!("! {text}"),
        })
        .collect()
}

#[test]
fn lists_as_people_and_programs_write_them() {
    for (body, expected) in [
        ("bob", &["bob"][..]),
        (" bob@example.org", &["bob@example.org"]),
        ("bob (Bob), \"Carol, X\" <carol>", &["bob", "carol"]),
        ("A. B. Smith <a@b>", &["a@b"]),
        ("=?utf-8?Q?Smith,_J?= <a@b>, =?x?B?PGE=?=\r\n =?x?B?PGE=?= <c@d>", &["a@b", "c@d"]),
        ("Müller <m@exämple.org>", &["m@exämple.org"]),
        ("<@a.example,@b.example:u@d>", &["u@d"]),
        ("@a.example:u@d, b@c", &["u@d", "b@c"]),
        ("\"q s\"@d, \"a\\\"b\"@d", &["\"q s\"@d", "\"a\\\"b\"@d"]),
        ("pete (a (nested, <x@y>) one) @ (c) host . example", &["pete@host.example"]),
        ("u@[192.0.2.1], <u@[IPv6:::1]>", &["u@[192.0.2.1]", "u@[IPv6:::1]"]),
        ("a@b,, ,c@d,", &["a@b", "c@d"]),
        ("undisclosed-recipients:;", &[]),
        ("Undisclosed recipients: ;", &[]),
        ("friends: a@b, c <d@e>; f@g", &["a@b (group)", "d@e (group)", "f@g"]),
        ("x:;, y@z", &["y@z"]),
        ("bob;", &["bob"]),
        ("<a@b>; <c@d>;", &["a@b", "c@d"]),
        ("bob carol dave@x", &["bob", "carol", "dave@x"]),
        // No alias is asked about such a name; without its backslash it would be another recipient.
        ("\\bob", &["\\bob"]),
        ("alice, \\bob", &["alice", "\\bob"]),
        ("bob \\carol", &["bob", "\\carol"]),
        ("al\\ice@x, <\\bob@mx.test>", &["al\\ice@x", "\\bob@mx.test"]),
        ("", &[]),
        ("()", &[]),
        (" \r\n\t", &[]),
    ] {
        assert_eq!(read(body), expected, "{body}");
    }
}

#[test]
fn broken_elements_are_reported_and_the_others_kept() {
    for (body, expected) in [
        ("a@, b@c", &["! a@", "b@c"][..]),
        ("\\, \\ bob, b@c", &["! \\", "! \\ bob", "b@c"]),
        ("bob smith, c@d", &["! bob smith", "c@d"]),
        ("bob;carol, c@d", &["! bob;carol", "c@d"]),
        ("a@b; c@d;", &["! a@b; c@d"]),
        ("<a@b, c@d", &["! a@b", "c@d"]),
        ("<>, c@d", &["! <>", "c@d"]),
        ("X <@a>, c@d", &["! @a", "c@d"]),
        ("a@b, \"open, c@d", &["a@b", "! \"open, c@d"]),
        ("a@b, (open, c@d", &["a@b", "! (open, c@d"]),
        ("a@b\0, c@d", &["! a@b\0", "c@d"]),
    ] {
        assert_eq!(read(body), expected, "{body}");
    }
    let deep = format!("a@b, {}x{} c@d", "(".repeat(31), ")".repeat(31));
    assert_eq!(read(&deep).len(), 2);
    assert!(read(&deep)[1].starts_with('!'));
    let nested = format!("a@b, {}x{} c@d", "(".repeat(30), ")".repeat(30));
    assert_eq!(read(&nested), ["a@b", "c@d"]);
    assert!(matches!(&addresses(b"a\xff@b")[..], [Listed { address: Err(_), .. }]));
}

#[test]
fn spans_point_at_the_address() {
    let body = b" \"A, B\" <bob> (x), c @ d, g: e;";
    let spans: Vec<&[u8]> = addresses(body).into_iter().map(|l| &body[l.span]).collect();
    assert_eq!(spans, [&b"bob"[..], b"c @ d", b"e"]);
}

#[test]
fn elements_are_what_stands_between_commas() {
    let texts = |body: &'static [u8]| {
        let all = elements(body)?;
        Some(all.into_iter().map(|range| std::str::from_utf8(&body[range]).unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(
        texts(b" \"A, B\" <a@b>\r\n , c (x, y) ,, <@d,@e:f@g>, h: i, j;,").unwrap(),
        ["\"A, B\" <a@b>", "c (x, y)", "<@d,@e:f@g>", "h: i", "j;"]
    );
    assert_eq!(texts(b" , ").unwrap(), Vec::<&str>::new());
    assert!(texts(b"a, \"b").is_none() && texts(b"a, <b").is_none() && texts(b"a (b").is_none());
}

#[test]
fn long_headers_take_linear_time() {
    for unit in ["(", "\"", "<", "a@b,", "=?", "=?a?b?", "\\", "()", "g:", "a ", ".", "<@a,", "[", "(\\"] {
        let time = |bytes: usize| {
            let body = unit.repeat(bytes / unit.len());
            let start = std::time::Instant::now();
            let _ = addresses(body.as_bytes());
            start.elapsed()
        };
        let (short, long) = (time(20_000), time(200_000));
        // Ten times the length takes ten times as long, not a hundred; generous, for the machine may be busy.
        assert!(long < short * 60 + std::time::Duration::from_millis(300), "{unit}: {short:?} {long:?}");
    }
}

#[test]
fn what_has_no_end_is_named_as_sendmail_names_it() {
    for (text, expected) in [
        ("<a@b", Some("Unbalanced '<'")),
        ("Al <a@b, <c@d>", Some("Unbalanced '<'")),
        ("a@b>", Some("Unbalanced '>'")),
        ("<a@b>> <", Some("Unbalanced '>'")),
        ("\"Al <a@b>", Some("Unbalanced '\"'")),
        ("Al (x <a@b>", Some("Unbalanced '('")),
        ("Al x) <a@b>", Some("Unbalanced ')'")),
        ("\"a>(\" (< \" >) <\\>a@b>", None),
        ("a@@b", None),
        ("\\", None),
        ("", None),
    ] {
        assert_eq!(unbalanced(text), expected, "{text}");
    }
}
