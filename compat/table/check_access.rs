//! What can be wrong with a line of access (sendmail.md 3.3). Called by [`crate::check`].

use crate::access::Options;
use crate::check::Report;
use crate::demand::{demand, odd_features};
use crate::judgement::lone_word;
use crate::token::quoted;
use crate::value::{error, reply_code};
use std::net::Ipv6Addr;
use table::Requirement;

/// The tags that sendmail's rules look for.
const TAGS: [&str; 22] = [
    "connect",
    "from",
    "to",
    "spam",
    "greetpause",
    "clientrate",
    "clientconn",
    "tls_srv",
    "tls_clt",
    "tls_rcpt",
    "try_tls",
    "srv_features",
    "clt_features",
    "tls_srv_features",
    "tls_clt_features",
    "authinfo",
    "certissuer",
    "certsubject",
    "qgrp",
    "badmx",
    "compat",
    "bcc",
];
/// The tags whose values are OK, RELAY, REJECT and so on.
const JUDGED: [&str; 5] = ["", "connect", "from", "to", "compat"];
/// The words of those values.
const WORDS: [&str; 4] = ["OK", "RELAY", "REJECT", "DISCARD"];

/// Checks one entry; `value` has no blanks around it.
pub(crate) fn entry(report: &mut Report, options: Options, key: &str, value: &str) {
    let (tag, rest) = tag(key);
    if !tag.is_empty() && !TAGS.contains(&tag.as_str()) {
        report.tell(&format!("expected one of sendmail's tags, not \"{tag}:\": never looked up"));
        return;
    }
    // The keys of certificates and of compat_check are no hosts.
    if !matches!(tag.as_str(), "certissuer" | "certsubject" | "compat") {
        check_key(report, options, rest);
    }
    if JUDGED.contains(&tag.as_str()) {
        judged(report, options, rest, value);
    } else {
        other(report, &tag, value);
    }
}

/// `Connect:10.1` → `connect`, `10.1`. `IPv6:` is no tag.
fn tag(key: &str) -> (String, &str) {
    match key.split_once(':') {
        Some((tag, rest))
            if !tag.eq_ignore_ascii_case("ipv6")
                && !tag.contains(['@', '.', '['])
                && key.parse::<Ipv6Addr>().is_err() =>
        {
            (tag.to_ascii_lowercase(), rest)
        }
        _ => (String::new(), key),
    }
}

fn check_key(report: &mut Report, options: Options, key: &str) {
    let address = key.get(..5).filter(|mark| mark.eq_ignore_ascii_case("ipv6:")).and_then(|_| key.get(5..));
    if key.contains('/') && !key.contains('@') {
        report.tell("expected a network as its first octets or groups, such as 10.1.2: sendmail knows no \"/\"");
    } else if key.parse::<Ipv6Addr>().is_ok() && key.contains(':') {
        report.tell(&format!("expected \"IPv6:{key}\": without IPv6: in front it is never looked up"));
    } else if address.is_some_and(|address| address.contains("::")) && !options.compressed_ipv6 {
        let full = address.and_then(|address| address.parse::<Ipv6Addr>().ok());
        let full = full.map(|ip| ip.segments().map(|part| format!("{part:x}")).join(":")).unwrap_or_default();
        report.tell(&format!("expected all groups of the address, \"IPv6:{full}\": \"::\" is never looked up"));
    } else if let Some(rest) = key.strip_prefix("*.").or(key.strip_prefix("*@")).or(key.strip_prefix('@')) {
        report.tell(&format!("expected \"{rest}\": a domain covers what is below it; \"{key}\" is never looked up"));
    } else if key.starts_with('.') && !options.look_up_dot_domain {
        report.tell(&format!(
            "expected \"{}\": keys with a dot in front need lookupdotdomain",
            key.trim_start_matches('.')
        ));
    } else {
        report.dotless(key);
    }
}

fn judged(report: &mut Report, options: Options, key: &str, value: &str) {
    let upper = value.to_ascii_uppercase();
    let first = upper.split_ascii_whitespace().next().unwrap_or_default();
    let known = WORDS.contains(&first);
    if known && first == upper {
        return;
    }
    if known {
        report.tell(&format!(
            "expected nothing behind {first}: there are no comments here, all of it is sent as the text of a refusal"
        ));
    } else if upper == "SKIP" {
        if !options.skip {
            report.tell("expected another word: SKIP means nothing unless the table is used with skip");
        } else if key.contains('@') {
            report.tell("expected SKIP for a domain or network only");
        }
    } else if upper == "FRIEND" || upper == "HATER" {
        report.tell(&format!("expected {upper} only behind Spam:, it is sent as the text of a refusal here"));
    } else if upper.starts_with("QUARANTINE:") {
        if upper.len() == "QUARANTINE:".len() {
            report.tell("expected a reason behind QUARANTINE:");
        }
    } else if let Some(rest) = error(value) {
        refusal(report, rest);
    } else if lone_word(value) {
        let words = "OK, RELAY, REJECT, DISCARD, ERROR:… or a text with a reply code";
        report.tell(&format!("expected {words}: \"{value}\" refuses and is sent as the text"));
    } else {
        text(report, value);
    }
}

/// What stands behind `ERROR:`.
fn refusal(report: &mut Report, rest: &str) {
    let (status, after) = rest.split_once(':').unwrap_or((rest, ""));
    let status = status.trim();
    let is_status = status.split('.').count() == 3 && status.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_status {
        text(report, after.trim());
        let code = reply_code(after.trim().trim_start_matches('"')).map(|(code, _)| code / 100);
        let class = status.bytes().next().map(|b| u16::from(b.wrapping_sub(b'0')));
        if code.is_some() && code != class {
            report.tell("expected a status and a reply code of the same class: the reply code counts");
        }
        return;
    }
    let early = rest.split_ascii_whitespace().next().unwrap_or_default();
    if early.split('.').count() == 3 && early.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        report.tell("expected ERROR:5.7.1:550 text, with a colon behind the status");
    } else {
        text(report, rest);
    }
}

fn text(report: &mut Report, text: &str) {
    if text.starts_with('"') && quoted(text).is_ok_and(|(_, string)| string.len() < 2 || !string.ends_with('"')) {
        report.tell("expected a closing quote");
    }
    report.reply(text);
}

/// The values of the other tags.
fn other(report: &mut Report, tag: &str, value: &str) {
    let upper = value.to_ascii_uppercase();
    let number = || value.bytes().all(|b| b.is_ascii_digit());
    match tag {
        "spam" if upper != "FRIEND" && upper != "HATER" => report.tell("expected FRIEND or HATER"),
        "greetpause" if !number() => report.tell("expected milliseconds"),
        "clientrate" | "clientconn" if !number() => report.tell("expected a number, 0 for no limit"),
        "try_tls" if upper != "NO" => report.tell("expected NO"),
        "tls_srv" | "tls_clt" | "tls_rcpt" => demanded(report, value),
        "srv_features" => {
            if let Some(odd) = odd_features(value) {
                report.tell(&format!("expected {odd}"));
            }
        }
        "certissuer" if upper != "RELAY" && upper != "SUBJECT" => report.tell("expected RELAY or SUBJECT"),
        "certsubject" if upper != "RELAY" => report.tell("expected RELAY"),
        "clt_features" | "tls_srv_features" | "tls_clt_features" => {
            report.tell("expected another tag: what this one asks for is not built yet");
        }
        "authinfo" => report.credentials(value),
        _ => {}
    }
}

/// What is demanded of encryption.
fn demanded(report: &mut Report, value: &str) {
    let Some((demand, rest)) = demand(value) else {
        report.tell(
            "expected VERIFY, VERIFY:bits or ENCR:bits, perhaps with PERM+ or TEMP+ in front: sendmail requires nothing here",
        );
        return;
    };
    if !rest.is_empty() {
        report.tell(&format!(
            "expected nothing or +CN:name and the like, not \"{rest}\": sendmail requires nothing here"
        ));
    }
    for requirement in &demand.certificate {
        match requirement {
            Requirement::Unknown(text) => {
                report.tell(&format!(
                    "expected CN:name, CS:subject or CI:issuer, not \"{text}\": never met, the mail waits"
                ));
            }
            _ if !demand.verified => report.tell("expected VERIFY: anybody can make a certificate that says this"),
            _ => {}
        }
    }
}
