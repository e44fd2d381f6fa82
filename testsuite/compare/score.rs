//! The score: agreement per row and in all, and the accepted differences of `compare/differences`.

use crate::answer::Answer;
use crate::pattern::matches;
use crate::set::{Ask, Case};
use std::cell::Cell;
use std::collections::BTreeMap;

/// What the issue asks for, in per mille: of a row, and in all.
const ROW: usize = 950;
const ALL: usize = 995;

/// One accepted difference.
#[derive(Debug)]
struct Accepted {
    row: String,
    pattern: String,
    reason: String,
    used: Cell<usize>,
}

#[derive(Debug, Default)]
struct Line {
    agree: usize,
    listed: usize,
    differ: Vec<String>,
    hits: usize,
}

/// Counts answers.
#[derive(Debug)]
pub struct Score {
    accepted: Vec<Accepted>,
    rows: BTreeMap<&'static str, Line>,
    dangerous: Vec<String>,
}

impl Score {
    /// With the accepted differences: lines of row, pattern and reason, separated by tabs. `*` in row and pattern stands for anything.
    pub fn new(list: &str) -> Self {
        let accepted = list.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).map(|line| {
            let parts: Vec<&str> = line.split('\t').filter(|p| !p.is_empty()).collect();
            let [row, pattern, reason] = parts[..] else {
                panic!("differences: row, pattern and reason, tabs between: {line}")
            };
            Accepted { row: row.into(), pattern: pattern.into(), reason: reason.into(), used: Cell::new(0) }
        });
        Self { accepted: accepted.collect(), rows: BTreeMap::new(), dangerous: Vec::new() }
    }
    /// One case and both answers.
    pub fn add(&mut self, place: &str, case: &Case, theirs: &Answer, ours: &Answer) {
        let agree = canonical(theirs) == canonical(ours);
        let text = format!("{}: {theirs} <> {ours}", ask(&case.ask));
        let line = self.rows.entry(case.row).or_default();
        line.hits += usize::from(case.hit);
        if agree {
            line.agree += 1;
            return;
        }
        if let Some(danger) = dangerous(theirs, ours) {
            self.dangerous.push(format!("{danger}: {place} {}: {text}", case.row));
        }
        let known = self.accepted.iter().find(|a| matches(&a.row, case.row) && matches(&a.pattern, &text));
        if let Some(known) = known {
            known.used.set(known.used.get() + 1);
            line.listed += 1;
        } else {
            line.differ.push(format!("{place} {text}"));
        }
    }
    /// Prints everything; what is not good enough comes back.
    pub fn verdict(&self, shown: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let (mut good, mut same, mut cases, mut hits) = (0, 0, 0, 0);
        for (row, line) in &self.rows {
            let n = line.agree + line.listed + line.differ.len();
            let right = line.agree + line.listed;
            println!(
                "{row:32} {n:5} cases {:5} agree {:4} listed {:4} differ {:6.2}%",
                line.agree,
                line.listed,
                line.differ.len(),
                percent(right, n)
            );
            for one in line.differ.iter().take(shown) {
                println!("    {one}");
            }
            if right * 1000 < n * ROW {
                wrong.push(format!("{row}: {:.2}% is below 95%", percent(right, n)));
            }
            (good, same, cases, hits) = (good + right, same + line.agree, cases + n, hits + line.hits);
        }
        println!(
            "SCORE {:.2}% of {cases} cases ({:.2}% without the listed differences) in {} rows, {:.0}% of them hits",
            percent(good, cases),
            percent(same, cases),
            self.rows.len(),
            percent(hits, cases)
        );
        for accepted in &self.accepted {
            println!(
                "accepted {:5} times: {} {}: {}",
                accepted.used.get(),
                accepted.row,
                accepted.pattern,
                accepted.reason
            );
        }
        if good * 1000 < cases * ALL {
            wrong.push(format!("in all {:.2}% is below 99.5%", percent(good, cases)));
        }
        wrong.extend(self.dangerous.iter().cloned());
        wrong
    }
}

fn percent(n: usize, of: usize) -> f64 {
    n as f64 * 100.0 / of.max(1) as f64
}

/// A question in one line.
pub fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Recipient(address) => address.clone(),
        Ask::Verify(address) => format!("-bv {address}"),
        Ask::Crowd { client, count, held } => {
            format!("{count} connections of {client}{}", if *held { " at once" } else { "" })
        }
        Ask::Eager(client) => format!("{client} talks at once"),
        Ask::Peer(peer) => {
            let session = if peer.bits == 0 { "in clear".to_owned() } else { format!("{} bits", peer.bits) };
            let verified = if peer.verified { ", verified" } else { "" };
            format!("{:?} of {} [{}] for {}, {session}{verified}", peer.term, peer.name, peer.ip, peer.to)
        }
        Ask::Session { client, from, to } => format!("{client} <{from}> <{to}>"),
        Ask::Sender { to, .. } => format!("sender to {to}"),
        Ask::Rewrite { place, address } => format!("{place:?} {address}"),
    }
}

/// Class and status of a reply.
fn class(reply: &str) -> String {
    let mut words = reply.split(' ');
    let code = words.next().unwrap_or("");
    if !code.starts_with(['4', '5']) {
        return code.to_owned();
    }
    format!("{}xx {}", &code[..1], words.next().unwrap_or("-"))
}

/// What is compared: mailer, host and user of each target and whether something is refused; or class and status of the refusal.
fn canonical(answer: &Answer) -> String {
    match answer {
        Answer::Route { targets, refused, reply } if !reply.starts_with(['4', '5']) => {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            format!("{}{}", targets.join("; "), if refused.is_empty() { "" } else { "; refused" })
        }
        Answer::Route { reply, .. } => class(reply),
        Answer::Replies(replies) => replies.iter().map(|r| class(r)).collect::<Vec<_>>().join(" | "),
        Answer::Text(text) => text.clone(),
    }
}

/// A difference that no list makes acceptable.
fn dangerous(theirs: &Answer, ours: &Answer) -> Option<&'static str> {
    match (theirs, ours) {
        (Answer::Route { targets: t, .. }, Answer::Route { targets: o, refused, reply }) => {
            // Some of the recipients are missing, and nobody is told.
            let fewer = o.len() < t.len() && o.is_subset(t);
            (reply.starts_with('2') && refused.is_empty() && fewer).then_some("LOSES MAIL")
        }
        (Answer::Replies(t), Answer::Replies(o)) => {
            let last = t.last().map_or("", String::as_str);
            let taken = o.len() == 3 && o[2].starts_with('2');
            match last {
                _ if !taken || !last.starts_with('5') => None,
                last if last.contains("5.7.1 Relaying denied") => Some("OPENS A RELAY"),
                // Of a table or a check, not of the address itself: 5.7.x, or access's default text.
                last if last.starts_with("550 5.7.")
                    || last.starts_with("554 5.7.")
                    || last.contains("Access denied") =>
                {
                    Some("TAKES WHAT A TABLE REFUSES")
                }
                _ => None,
            }
        }
        _ => None,
    }
}
