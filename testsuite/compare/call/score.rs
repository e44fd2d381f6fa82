//! What differs between both, line by line; which of that is accepted (`differences`); and the score.

use crate::model::{Call, Message, Outcome};
use std::cell::Cell;
use std::collections::BTreeMap;

/// What the issue asks of generated calls, in per mille. Of `invocations` all must agree or be listed.
const GENERATED: usize = 990;

/// One accepted difference.
struct Accepted {
    call: String,
    line: String,
    reason: String,
    used: Cell<usize>,
}

#[derive(Default)]
struct Row {
    agree: usize,
    listed: usize,
    differ: Vec<String>,
}

/// Counts.
pub struct Score {
    accepted: Vec<Accepted>,
    rows: BTreeMap<String, Row>,
    dangerous: Vec<String>,
    stray: Vec<String>,
    loud: bool,
}

impl Score {
    /// With the accepted differences: call, line and reason, separated by tabs; `*` stands for anything. `loud` prints everything.
    pub fn new(list: &str, loud: bool) -> Self {
        let accepted = list.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).map(|line| {
            let parts: Vec<&str> = line.split('\t').filter(|p| !p.is_empty()).collect();
            let [call, line, reason] = parts[..] else {
                panic!("differences: call, line and reason, tabs between: {line}")
            };
            Accepted { call: call.into(), line: line.replace("\\t", "\t"), reason: reason.into(), used: Cell::new(0) }
        });
        Self { accepted: accepted.collect(), rows: BTreeMap::new(), dangerous: Vec::new(), stray: Vec::new(), loud }
    }
    /// One call and both outcomes.
    pub fn add(&mut self, call: &Call, theirs: &Outcome, ours: &Outcome) {
        if self.loud {
            println!("=== {} {:?} {:?}", call.name, call.user, texts(call));
            println!("--- theirs {}\n--- ours {}", shown(theirs), shown(ours));
        }
        let lines = differences(theirs, ours);
        let name = format!("{} {} said {}", call.name, texts(call).join(" "), theirs.stdout.replace('\n', " / "));
        // Where the original gives up, what we do instead is not compared.
        let gave_up = self.accepted.iter().find(|a| {
            a.line.strip_prefix('!').is_some_and(|p| matches(&a.call, &name) && lines.iter().any(|l| matches(p, l)))
        });
        let row = self.rows.entry(call.name.split(": ").next().unwrap_or_default().to_owned()).or_default();
        if let Some(accepted) = gave_up {
            accepted.used.set(accepted.used.get() + 1);
            row.listed += 1;
            return;
        }
        let (known, unknown): (Vec<&String>, Vec<&String>) =
            lines.iter().partition(|line| self.accepted.iter().any(|a| a.takes(&name, line)));
        for line in &known {
            if let Some(accepted) = self.accepted.iter().find(|a| a.takes(&name, line)) {
                accepted.used.set(accepted.used.get() + 1);
            }
        }
        for line in unknown.iter().filter(|l| l.starts_with("mail: missing") || l.starts_with("mail: extra")) {
            self.dangerous.push(format!("{}: {line}", call.name));
        }
        if lines.is_empty() {
            row.agree += 1;
        } else if unknown.is_empty() {
            row.listed += 1;
        } else {
            let unknown: Vec<&str> = unknown.into_iter().map(String::as_str).collect();
            row.differ.push(format!("{} {:?}\n        {}", call.name, texts(call), unknown.join("\n        ")));
        }
    }
    /// Messages without a mark.
    pub fn stray(&mut self, theirs: &[Message], ours: &[Message]) {
        for (whose, all) in [("theirs", theirs), ("ours", ours)] {
            self.stray.extend(all.iter().map(|m| format!("{whose}: {} {:?}", m.place, m.text)));
        }
    }
    /// Prints everything; what is not good enough comes back.
    pub fn verdict(&self, only: &str) -> Vec<String> {
        let (mut good, mut same, mut all, mut wrong) = (0, 0, 0, Vec::new());
        for (name, row) in &self.rows {
            let (right, n) = (row.agree + row.listed, row.agree + row.listed + row.differ.len());
            println!(
                "{name:14} {n:5} calls {:5} agree {:5} listed {:4} differ",
                row.agree,
                row.listed,
                row.differ.len()
            );
            row.differ.iter().for_each(|one| println!("    {one}"));
            let enough = if name == "generated" { GENERATED } else { 1000 };
            if right * 1000 < n * enough {
                wrong.push(format!("{name}: {:.2}%", percent(right, n)));
            }
            (good, same, all) = (good + right, same + row.agree, all + n);
        }
        self.stray.iter().for_each(|one| println!("without a mark: {one}"));
        for accepted in &self.accepted {
            println!(
                "accepted {:5} times: {} | {} | {}",
                accepted.used.get(),
                accepted.call,
                accepted.line,
                accepted.reason
            );
        }
        println!(
            "CALLS {:.2}% of {all} ({:.2}% without the listed differences)",
            percent(good, all),
            percent(same, all)
        );
        wrong.extend(self.dangerous.iter().cloned());
        if only.is_empty() { wrong } else { Vec::new() }
    }
}

impl Accepted {
    fn takes(&self, call: &str, line: &str) -> bool {
        matches(&self.call, call) && matches(&self.line, line)
    }
}

fn percent(n: usize, of: usize) -> f64 {
    n as f64 * 100.0 / of.max(1) as f64
}

fn texts(call: &Call) -> Vec<String> {
    call.arguments.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

fn shown(outcome: &Outcome) -> String {
    let messages: Vec<String> = outcome.messages.iter().map(|m| format!("[{}]\n{}", m.place, m.text)).collect();
    format!("exit {}\n{}{}{}", outcome.exit, outcome.stdout, outcome.stderr, messages.join(""))
}

/// Each line begins with what it is of; `-` is theirs, `+` is ours.
fn differences(theirs: &Outcome, ours: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    if theirs.exit != ours.exit {
        lines.push(format!("exit: {} <> {}", theirs.exit, ours.exit));
    }
    lines.extend(diff(&theirs.stdout, &ours.stdout).into_iter().map(|l| format!("stdout: {l}")));
    lines.extend(diff(&theirs.stderr, &ours.stderr).into_iter().map(|l| format!("stderr: {l}")));
    let (t, o) = (by_place(&theirs.messages), by_place(&ours.messages));
    let places: std::collections::BTreeSet<&String> = t.keys().chain(o.keys()).collect();
    for place in places {
        let none = Vec::new();
        let (t, o) = (t.get(place).unwrap_or(&none), o.get(place).unwrap_or(&none));
        for n in 0..t.len().max(o.len()) {
            match (t.get(n), o.get(n)) {
                (Some(t), Some(o)) => lines.extend(diff(t, o).into_iter().map(|l| format!("mail: {place}: {l}"))),
                (Some(t), None) => lines.push(format!("mail: missing {place}: {t:?}")),
                (None, Some(o)) => lines.push(format!("mail: extra {place}: {o:?}")),
                (None, None) => {}
            }
        }
    }
    lines
}

/// By place and kind: a bounce is not compared with the message itself.
fn by_place(messages: &[Message]) -> BTreeMap<String, Vec<&str>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for message in messages {
        let bounce = message.text.contains("report-type=delivery-status") && !message.place.starts_with("dead.letter");
        let place = if bounce { format!("bounce in {}", message.place) } else { message.place.clone() };
        all.entry(place).or_default().push(&message.text);
    }
    all
}

/// Lines of one or the other only, by the longest common subsequence.
fn diff(theirs: &str, ours: &str) -> Vec<String> {
    let (t, o): (Vec<&str>, Vec<&str>) = (theirs.split('\n').collect(), ours.split('\n').collect());
    let start = t.iter().zip(&o).take_while(|(a, b)| a == b).count();
    let end = t[start..].iter().rev().zip(o[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (t, o) = (&t[start..t.len() - end], &o[start..o.len() - end]);
    let mut length = vec![vec![0u32; o.len() + 1]; t.len() + 1];
    for i in (0..t.len()).rev() {
        for j in (0..o.len()).rev() {
            length[i][j] = if t[i] == o[j] { length[i + 1][j + 1] + 1 } else { length[i + 1][j].max(length[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < t.len() || j < o.len() {
        if i < t.len() && j < o.len() && t[i] == o[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == o.len() || (i < t.len() && length[i + 1][j] >= length[i][j + 1]) {
            out.push(format!("-{}", t[i]));
            i += 1;
        } else {
            out.push(format!("+{}", o[j]));
            j += 1;
        }
    }
    out
}

/// Whether `text` fits a pattern in which `*` stands for anything, and `: ?` for `: -` or `: +`.
fn matches(pattern: &str, text: &str) -> bool {
    if let Some((before, after)) = pattern.split_once(": ?") {
        return ["-", "+"].iter().any(|sign| matches(&format!("{before}: {sign}{after}"), text));
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
