//! What differs between both, line by line; which of that is accepted (`differences`); and the score.

use crate::bounce::{is_postmasters, is_report, receipt};
use crate::model::{Call, Message, Outcome};
use crate::pattern::matches;
use std::borrow::Cow;
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
    /// Nothing differs.
    agree: usize,
    /// Nothing differs from what sendmail does when it is called as [`crate::better`] has it.
    otherwise: usize,
    /// Only by named improvements.
    better: usize,
    /// By what is listed for another reason.
    listed: usize,
    differ: Vec<String>,
}

impl Row {
    fn right(&self) -> usize {
        self.agree + self.otherwise + self.better + self.listed
    }
    fn all(&self) -> usize {
        self.right() + self.differ.len()
    }
}

/// Counts.
#[derive(Default)]
pub struct Score {
    accepted: Vec<Accepted>,
    rows: BTreeMap<String, Row>,
    dangerous: Vec<String>,
    stray: Vec<String>,
    loud: bool,
    /// Every line that an accepted difference took.
    taken: String,
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
        Self { accepted: accepted.collect(), loud, ..Self::default() }
    }
    /// One call and both outcomes.
    pub fn add(&mut self, call: &Call, theirs: &Outcome, ours: &Outcome) {
        if self.loud {
            println!("=== {} {:?} {:?}", call.name, call.user, texts(call));
            println!("--- theirs {}\n--- ours {}", shown(theirs), shown(ours));
        }
        let lines = differences(theirs, ours);
        if self.loud {
            println!("--- differences\n{}", lines.join("\n"));
        }
        let name = format!("{} {} said {}", call.name, texts(call).join(" "), theirs.stdout.replace('\n', " / "));
        // Where the original gives up, what we do instead is not compared.
        let gave_up = |a: &&Accepted| {
            a.line.strip_prefix('!').is_some_and(|p| matches(&a.call, &name) && lines.iter().any(|l| fits(p, l)))
        };
        let (mut reasons, mut unknown): (Vec<&Accepted>, Vec<&String>) = (Vec::new(), Vec::new());
        let gave_up = self.accepted.iter().find(gave_up);
        for line in &lines {
            match gave_up.or_else(|| self.accepted.iter().find(|a| a.takes(&name, line))) {
                Some(accepted) => {
                    self.taken.push_str(&format!("{}\t{}\t{name}\t{line}\n", accepted.call, accepted.line));
                    reasons.push(accepted);
                }
                None => unknown.push(line),
            }
        }
        reasons.iter().for_each(|accepted| accepted.used.set(accepted.used.get() + 1));
        // Of a failure it matters only that somebody is told, by a bounce or dead.letter.
        let notice = |l: &str| {
            l.contains(" bounce in ")
                || l.contains(" receipt in ")
                || l.contains(" notice in ")
                || l.contains(" dead.letter of ")
        };
        let told = ours.messages.iter().any(|m| is_report(&m.text) || m.place.starts_with("dead.letter"));
        for line in unknown.iter().filter(|l| l.starts_with("mail: missing") || l.starts_with("mail: extra")) {
            if !(told && line.split('"').next().is_some_and(notice)) {
                self.dangerous.push(format!("{}: {line}", call.name));
            }
        }
        let row = self.rows.entry(call.name.split(": ").next().unwrap_or_default().to_owned()).or_default();
        if !unknown.is_empty() {
            let unknown: Vec<&str> = unknown.into_iter().map(String::as_str).collect();
            row.differ.push(format!("{} {:?}\n        {}", call.name, texts(call), unknown.join("\n        ")));
        } else if lines.is_empty() {
            *(if call.instead.is_none() { &mut row.agree } else { &mut row.otherwise }) += 1;
        } else if reasons.iter().all(|accepted| accepted.reason.starts_with("BETTER")) {
            row.better += 1;
        } else {
            row.listed += 1;
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
        let mut wrong = Vec::new();
        for (name, row) in &self.rows {
            println!(
                "{name:14} {:5} calls {:5} agree {:5} otherwise {:5} better {:5} listed {:4} differ",
                row.all(),
                row.agree,
                row.otherwise,
                row.better,
                row.listed,
                row.differ.len()
            );
            row.differ.iter().for_each(|one| println!("    {one}"));
            let enough = if name == "generated" { GENERATED } else { 1000 };
            if row.right() * 1000 < row.all() * enough {
                wrong.push(format!("{name}: {:.2}%", percent(row.right(), row.all())));
            }
        }
        self.stray.iter().for_each(|one| println!("without a mark: {one}"));
        if let Some(file) = std::env::var_os("POSTRIDER_DUMP") {
            std::fs::write(file, &self.taken).unwrap();
        }
        for a in &self.accepted {
            println!("accepted {:5} times: {} | {} | {}", a.used.get(), a.call, a.line, a.reason);
        }
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        let all = sum(Row::all);
        println!(
            "CALLS {:.2}% of {all} ({:.2}% agree, {:.2}% of them with a call that sendmail can take; {:.2}% are named improvements, {:.2}% are \
             listed for other reasons)",
            percent(sum(Row::right), all),
            percent(sum(|row| row.agree + row.otherwise), all),
            percent(sum(|row| row.otherwise), all),
            percent(sum(|row| row.better), all),
            percent(sum(|row| row.listed), all)
        );
        wrong.extend(self.dangerous.iter().cloned());
        if only.is_empty() { wrong } else { Vec::new() }
    }
}

impl Accepted {
    fn takes(&self, call: &str, line: &str) -> bool {
        matches(&self.call, call) && fits(&self.line, line)
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

/// By place and kind: a bounce is not compared with the message itself. Receipts in one place count as one, whoever tells of whom in which; so do
/// notices to the postmaster.
fn by_place(messages: &[Message]) -> BTreeMap<String, Vec<Cow<'_, str>>> {
    let mut all: BTreeMap<String, Vec<Cow<'_, str>>> = BTreeMap::new();
    let mut receipts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in messages {
        let letter = message.place.starts_with("dead.letter");
        match receipt(&message.text) {
            // sendmail tells him twice, its submission program and its daemon; what matters is that he is told.
            _ if !letter && is_postmasters(&message.text) => {
                all.insert(format!("notice in {}", message.place), vec![Cow::Borrowed("told")]);
            }
            Some(told) if !letter => receipts.entry(format!("receipt in {}", message.place)).or_default().extend(told),
            _ => {
                let bounce = is_report(&message.text) && !letter;
                let place = if bounce { format!("bounce in {}", message.place) } else { message.place.clone() };
                all.entry(place).or_default().push(Cow::Borrowed(&message.text));
            }
        }
    }
    for (place, mut told) in receipts {
        told.sort();
        all.insert(place, vec![Cow::Owned(told.join("\n"))]);
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

/// Whether `text` fits a pattern, in which `: ?` is `: -` or `: +`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once(": ?") {
        Some((before, after)) => ["-", "+"].iter().any(|sign| matches(&format!("{before}: {sign}{after}"), text)),
        None => matches(pattern, text),
    }
}
