use super::*;
use std::sync::Arc;
use table::Why;

fn shown(refusal: &Refusal) -> String {
    format!("{} {} {}", refusal.code, refusal.status, refusal.text)
}

/// What 8.17.1.9 said to MAIL FROM with such values in access; where ours differs the second column says what sendmail said.
#[test]
fn access_refusals_as_measured() {
    let cases = [
        ("ERROR:5.7.1:550 text here", "550 5.7.1 text here"),
        ("ERROR:5.7.1:\"550 text here\"", "550 5.7.1 text here"),
        ("ERROR:\"550 Gone. And (more), with: colon\"", "550 5.0.0 Gone. And (more), with: colon"),
        ("error:4.2.1:450 slow down", "450 4.2.1 slow down"),
        ("ERROR:5.7.1 550 text", "553 5.3.0 5.7.1 550 text"),
        ("ERROR:\"550 5.7.9 enhanced text\"", "550 5.7.9 enhanced text"),
        ("ERROR:nouser:550 x y", "553 5.3.0 nouser:550 x y"),
        ("ERROR:nouser 550 x y", "553 5.3.0 nouser 550 x y"),
        ("ERROR:5.7.1: 550 blank", "550 5.7.1 blank"),
        ("ERROR: 5.7.1:550 blank", "550 5.7.1 blank"),
        ("ERROR : 5.7.1 :550 blank", "550 5.7.1 blank"),
        ("ERROR:D.S.N:550 text", "550 5.0.0 text"),
        ("ERROR:5.7.1:\"550 \\\"esc\\\" z\"", "550 5.7.1 \"esc\" z"),
        // sendmail: 550 4.7.1, 450 5.7.1 and 550 2.0.0, which contradict themselves.
        ("ERROR:4.7.1:550 mixed", "550 5.7.1 mixed"),
        ("ERROR:5.7.1:450 mixed", "450 4.7.1 mixed"),
        ("ERROR:2.0.0:550 two", "550 5.0.0 two"),
        // The status is lost.
        ("ERROR:5.1.1:no code here", "553 5.3.0 no code here"),
        ("ERROR:4.2.1:no code here", "553 5.3.0 no code here"),
        // sendmail: 250 2.0.0 fine, and refused all the same.
        ("ERROR:250 fine", "553 5.3.0 250 fine"),
        // sendmail: pieces of the address.
        ("ERROR:", "553 5.3.0 Access denied"),
        ("ERROR:5.7.1:", "553 5.3.0 Access denied"),
        // sendmail: an Unbalanced '"' message.
        ("ERROR:5.7.1:\"550 open", "550 5.7.1 open"),
    ];
    for (value, expected) in cases {
        let rest = error(value).expect(value);
        assert_eq!(shown(&error_refusal(rest, Keyword::None)), expected, "{value}");
    }
    assert_eq!(error("errors:x").or(error("ERROR")).or(error("550 error:x")), None);
}

#[test]
fn texts_alone() {
    let cases = [
        ("550 We don't accept mail", "550 5.0.0 We don't accept mail"),
        ("550 5.7.1 enhanced text", "550 5.7.1 enhanced text"),
        ("RELEY", "553 5.3.0 RELEY"),
        ("REJECT # note", "553 5.3.0 REJECT # note"),
        ("421 go away", "421 4.0.0 go away"),
        ("\"550 all quoted\"", "550 5.0.0 all quoted"),
        ("550", "553 5.3.0 550"),
        ("550-dash", "553 5.3.0 550-dash"),
        ("550\tTab \r\n and\x1b[2J control", "550 5.0.0 Tab and [2J control"),
    ];
    for (value, expected) in cases {
        assert_eq!(shown(&refusal(value, None)), expected, "{value}");
    }
}

#[test]
fn keywords_of_virtual_users_and_mailers() {
    let blank = [
        ("nouser 550 nope", "550 5.0.0 nope"),
        ("5.7.0:550 nope", "550 5.7.0 nope"),
        ("nouser:550 x", "553 5.3.0 :550 x"),
        ("no code", "553 5.3.0 code"),
        ("nouser", "553 5.3.0 User unknown"),
        ("tempfail 450 later", "450 4.0.0 later"),
        ("tempfail later", "553 5.3.0 later"),
        ("5.1.1 550 blank", "553 5.3.0 .1.1 550 blank"),
        ("NOUSER \"550 quoted text. here\"", "550 5.0.0 quoted text. here"),
        ("550 code only", "553 5.3.0 code only"),
        ("5.7.0:\"550 5.7.9 nope\"", "550 5.7.9 nope"),
        ("", "553 5.3.0 Access denied"),
    ];
    for (rest, expected) in blank {
        assert_eq!(shown(&error_refusal(rest, Keyword::Blank)), expected, "{rest}");
    }
    let colon = [
        ("5.1.2:550 text", "550 5.1.2 text"),
        ("nohost text", "553 5.3.0 nohost text"),
        ("nohost:550 text", "550 5.0.0 text"),
        ("550 text", "550 5.0.0 text"),
        ("tempfail:450 later", "450 4.0.0 later"),
        ("5.1.2 550 text", "553 5.3.0 5.1.2 550 text"),
    ];
    for (rest, expected) in colon {
        assert_eq!(shown(&error_refusal(rest, Keyword::Colon)), expected, "{rest}");
    }
}

#[test]
fn parameters() {
    let hit = |value: &str| Hit { value: value.into(), why: Why { source: Arc::from("/t"), line: 1, key: "k".into() } };
    let arguments = ["key", "user", "detail"];
    let cases = [("%1@x", "user@x"), ("%0.%2.%3.%9", "key.detail.."), ("%%1 %x %", "%1 %x %"), (" a\r", "a"), ("", "")];
    for (value, expected) in cases {
        assert_eq!(fill(&hit(value), &arguments).unwrap(), expected, "{value}");
    }
    let long = "x".repeat(500);
    assert!(fill(&hit(&"%1".repeat(10_000)), &["", &long]).is_err());
}

#[test]
fn plus_needs_something_in_front() {
    assert_eq!(plussed("user+a+b"), Some(("user", "a+b")));
    assert_eq!(plussed("user+"), Some(("user", "")));
    assert_eq!(plussed("++x"), Some(("+", "x")));
    assert_eq!(plussed("+x").or(plussed("user")).or(plussed("")), None);
}
