use super::*;
use crate::scratch::{Broken, raw, wait};

fn redirect(text: &str, user: &str, domain: &str) -> Option<(String, Redirect)> {
    let table = VirtualUserTable::new(raw(text));
    let found = wait(table.redirect(Mailbox { user, domain: Some(domain) })).unwrap()?;
    Some((found.why.key, found.value))
}

fn to(text: &str, user: &str) -> String {
    match redirect(text, user, "v.test") {
        Some((_, Redirect::Address(to))) => to,
        other => format!("{other:?}"),
    }
}

fn refused(value: &str) -> String {
    match redirect(&format!("u@v.test\t{value}\n"), "u", "v.test") {
        Some((_, Redirect::Refuse(Refusal { code, status, text, .. }))) => format!("{code} {status} {text}"),
        other => format!("{other:?}"),
    }
}

/// All seven keys; each is taken away when it was the answer.
#[test]
fn the_seven_steps() {
    let order = ["u+d@v.test", "u++@v.test", "u+*@v.test", "u@v.test", "++@v.test", "+*@v.test", "@v.test"];
    let expect = |user: &str, order: &[&str]| {
        for first in 0..=order.len() {
            // Entries that the address must never reach stand there as well.
            let text: String = order.iter().skip(first).rev().map(|key| format!("{key}\tx\n")).collect();
            let found = redirect(&format!("{text}@test no\n+@v.test no\n"), user, "V.Test.");
            assert_eq!(found.map(|found| found.0), order.get(first).map(|key| (*key).to_owned()), "{user}");
        }
    };
    expect("U+d", &order);
    expect("u+", &["u+@v.test", "u+*@v.test", "u@v.test", "+*@v.test", "@v.test"]);
    expect("u", &["u@v.test", "@v.test"]);
}

#[test]
fn parameters() {
    assert_eq!(to("@v.test %1-%2-%3@x\n", "d+det"), "d-det-+det@x");
    assert_eq!(to("@v.test %1-%2-%3@x\n", "Plain"), "Plain--@x");
    assert_eq!(to("u+d@v.test %1_%2%3@x\n", "u+d"), "u+d_@x", "the whole local part, and no detail");
    assert_eq!(to("@v.test %1%3@other.example\n", "u+a+b"), "u+a+b@other.example");
    assert_eq!(to("u++@v.test %0.%1.%2\n", "u+d"), "u++@v.test.u.d");
}

/// What 8.17.1.9 did with each of these (`-bv` and RCPT).
#[test]
fn values_as_measured() {
    let address = [
        ("alice", "alice"),
        ("Alice X <alice>", "alice"),
        ("alice (note)", "alice"),
        ("alice  # note", "alice.#.note"),
        ("far.example!alice", "far.example!alice"),
        ("alice%far.example@mx.test", "alice%far.example@mx.test"),
        ("alice\r", "alice"),
        ("\\alice@mx.test", "\\alice@mx.test"),
    ];
    for (value, expected) in address {
        assert_eq!(to(&format!("u@v.test {value}\n"), "u"), expected, "{value}");
    }
    let mailbox = redirect("u@v.test \\alice\n", "u", "v.test");
    assert_eq!(mailbox, Some(("u@v.test".into(), Redirect::Mailbox("alice".into()))));
    let refusals = [
        ("alice,bob", "553 5.1.3 Invalid route address"),
        ("|/bin/cat", "550 5.7.1 Cannot mail directly to programs"),
        ("\"|/bin/cat x\"", "550 5.7.1 Cannot mail directly to programs"),
        ("/tmp/f", "550 5.7.1 Cannot mail directly to files"),
        (":include:/tmp/f", "550 5.7.1 Cannot mail directly to :include:s"),
        ("\"\"", "553 5.1.3 User address required"),
        ("error:nouser 550 No such user", "550 5.0.0 No such user"),
        ("error:5.7.0:550 nope", "550 5.7.0 nope"),
        ("error:nouser:550 x", "553 5.3.0 :550 x"),
        ("error: no code", "553 5.3.0 code"),
        ("error:nouser %1 is gone", "553 5.3.0 u is gone"),
    ];
    for (value, expected) in refusals {
        assert_eq!(refused(value), expected, "{value}");
    }
}

/// sendmail: `rewrite: excessive recursion`, for everybody and for ever.
#[test]
fn a_user_that_points_to_itself_is_the_local_user() {
    assert_eq!(to("Self@v.test self@V.TEST\n@v.test all@x\n", "self"), "self");
    assert_eq!(to("@v.test %1@v.test\n", "anyone+x"), "anyone@v.test", "still another address");
    assert_eq!(to("@v.test %1%3@v.test.\n", "anyone+x"), "anyone+x");
    assert_eq!(to("a@v.test b@v.test\n", "a"), "b@v.test");
    assert_eq!(to("@v.test \"%1\"@v.test\n", "two words"), "\"two words\"");
}

#[test]
fn marks_of_sendmails_own() {
    assert_eq!(redirect("u@v.test !\n@v.test all\n", "u", "v.test"), None);
    assert_eq!(to("u@v.test @\n@v.test all\n", "u"), "all");
}

#[test]
fn provenance_limits_and_failures() {
    let table = VirtualUserTable::new(raw("#\nU@v.test x\n"));
    let found = wait(table.redirect(Mailbox { user: "u", domain: Some("V.test") })).unwrap().unwrap();
    assert_eq!(found.why.to_string(), "/t:2: u@v.test");
    assert_eq!(wait(table.redirect(Mailbox { user: "u", domain: None })), Ok(None), "never for a bare name");
    let long = "u".repeat(100_000);
    assert_eq!(wait(table.redirect(Mailbox { user: &long, domain: Some("v.test") })), Ok(None));
    let broken = VirtualUserTable::new(Arc::new(Broken));
    assert!(wait(broken.redirect(Mailbox { user: "u", domain: Some("v.test") })).is_err());
}

#[test]
fn keys_that_nobody_asks_for() {
    let entries = [(3, "a@V.test", "x"), (4, "b@other.test", "x"), (5, "@Other.test", "x"), (6, "bare", "x")];
    let told = check_domains("/t", entries, &|domain| domain == "v.test");
    assert_eq!(told.len(), 1, "each domain once");
    assert!(told[0].to_string().starts_with("/t:4: expected ") && told[0].text.contains("other.test"));
}
