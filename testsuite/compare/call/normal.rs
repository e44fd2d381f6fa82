//! One form for texts of both: queue ids, the present time, versions and multipart boundaries are words, bytes that are no text are escaped,
//! and the Received field of sendmail's second hop (submission program to daemon, which we do not have) is left out.

use crate::bounce;
use std::fmt::Write as _;

/// The normal form.
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut second_hop = false;
    for (number, line) in escaped(bytes).split_inclusive('\n').enumerate() {
        if second_hop && line.starts_with([' ', '\t']) {
            continue;
        }
        second_hop = line.starts_with("Received: from mx.example.test (localhost [127.0.0.1])");
        if second_hop {
            continue;
        }
        if let (0, Some(rest)) = (number, line.strip_prefix("From ")) {
            let sender = rest.split(' ').next().unwrap_or_default();
            let _ = writeln!(out, "From {sender}");
        } else {
            out.push_str(&greeting(version(&dates(&ids(line)))));
        }
    }
    if bounce::is_report(&out) { bounce::text(&out) } else { out }
}

/// Text with what is no printable ASCII as `\xNN`; CR before LF as `\r`.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\n' | b'\t' | b' '..=b'~' => out.push(char::from(byte)),
            b'\r' => out.push_str("\\r"),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out
}

/// Queue ids, and what is made of them: Message-Ids and boundaries.
fn ids(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let stamp = word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit());
        let id = word.len() == 14
            && word.bytes().skip(8).all(|b| b.is_ascii_digit())
            && word.bytes().take(8).any(|b| b.is_ascii_alphabetic());
        let serial = out.ends_with("ID.") && word.len() >= 9 && word.bytes().all(|b| b.is_ascii_digit());
        out.push_str(if id || serial {
            "ID"
        } else if stamp {
            "STAMP"
        } else {
            word
        });
        let other = after.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(after.len());
        out.push_str(&after[..other]);
        rest = &after[other..];
    }
    out
}

/// Moments of the last years. What calls give as dates is older.
fn dates(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut out: Vec<&str> = Vec::new();
    let mut at = 0;
    let day = |w: &str| ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&w);
    let year = |w: &str| w.trim_end().len() == 4 && w.trim_end().parse::<u16>().is_ok_and(|y| y >= 2025);
    let clock = |w: &str| w.len() == 8 && w.as_bytes()[2] == b':' && w.as_bytes()[5] == b':';
    while let Some(&word) = words.get(at) {
        let of = |n: usize| words.get(at + n).copied().unwrap_or_default();
        // A word may be glued to the weekday by a tab or a quote.
        let (glue, weekday) = word.split_at(word.rfind(['\t', '"', ';']).map_or(0, |p| p + 1));
        if weekday.strip_suffix(',').is_some_and(day) && year(of(3)) && clock(of(4).get(..8).unwrap_or_default()) {
            out.push(if glue.is_empty() { "DATE" } else { "\tDATE" });
            out.push(of(4).get(8..).unwrap_or_default());
            at += 5;
        } else if day(weekday) && clock(of(3)) && year(of(4).get(..4).unwrap_or_default()) {
            out.push("CTIME");
            out.push(of(4).get(4..).unwrap_or_default());
            at += 5;
        } else if day(weekday) && of(2).is_empty() && clock(of(4)) && year(of(5).get(..4).unwrap_or_default()) {
            out.push("CTIME");
            out.push(of(5).get(4..).unwrap_or_default());
            at += 6;
        } else {
            out.push(word);
            at += 1;
        }
    }
    out.join(" ")
}

/// `by HOST (VERSION/Submit)` of a Received field.
fn version(line: &str) -> String {
    let Some((before, rest)) = line.split_once("by mx.example.test (") else { return line.to_owned() };
    let Some((version, after)) = rest.split_once(')') else { return line.to_owned() };
    let submit = if version.ends_with("/Submit") { "/Submit" } else { "" };
    format!("{before}by mx.example.test (VERSION{submit}){after}")
}

/// The greeting of SMTP names the server.
fn greeting(line: String) -> String {
    match line.split_once("220 mx.example.test ESMTP ").and_then(|(_, rest)| rest.split_once(';')) {
        Some((_, date)) => format!("220 mx.example.test ESMTP SERVER;{date}"),
        None => line,
    }
}
