//! Tables of patterns: `/pattern/flags value`, one in a line; `!/pattern/` matches what the pattern does not. The first that matches
//! decides; `$1`…`$9` in its value are what its groups matched. Letters are equal in both cases unless the flag `i` turns that off
//! (as in Postfix's `regexp:` and `pcre:`). Called through [`crate::Registry`].
//!
//! Patterns are those of the `regex` crate: each look-up takes time linear in its key. What needs back-tracking (look-around,
//! back-references) is told and left out.

use crate::text::Fault;
use crate::{Answer, Hit, Source, Table, Unavailable, Why, text};
use regex::{Regex, RegexBuilder};
use std::future::ready;
use std::sync::Arc;

/// A key longer than any address or header line that is looked up matches nothing.
const KEY: usize = 4_096;
/// Compiled size of one pattern, bytes: `(a{1000}){1000}` must not fill the memory.
const SIZE: usize = 1 << 20;
/// Patterns of a table.
const RULES: usize = 100_000;
/// More problems than this are not told.
const PROBLEMS: usize = 1_000;
/// A value with its groups filled in.
const VALUE: usize = 64 << 10;

#[derive(Debug)]
struct Rule {
    pattern: Regex,
    /// `!`: it must not match.
    negated: bool,
    value: String,
    written: String,
    line: u32,
}

/// A table of patterns.
#[derive(Debug)]
pub struct Pattern {
    name: Arc<str>,
    rules: Vec<Rule>,
    warnings: Vec<String>,
}

/// Loads a table of patterns; a [`crate::Load`], of kinds `"regexp"` and `"pcre"`.
///
/// # Errors
/// If the text cannot be read.
pub fn load(source: Source) -> Result<Arc<dyn Table>, Unavailable> {
    Ok(Arc::new(Pattern::new(&source.name, &text::read(&source)?)))
}

impl Pattern {
    /// Reads the text of one. `name` is its path, for provenance.
    #[must_use]
    pub fn new(name: &str, text: &[u8]) -> Self {
        let mut table = Self { name: name.into(), rules: Vec::new(), warnings: Vec::new() };
        let mut conditions = Conditions::default();
        for (number, line) in (1u32..).zip(text.split(|&b| b == b'\n')) {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(fault) = conditions.passes_over(number, &line) {
                table.tell(fault);
                continue;
            }
            match rule(number, &line) {
                Ok(_) if table.rules.len() >= RULES => {
                    table.warnings.push(format!("{name}:{number}: more than {RULES} patterns"));
                    break;
                }
                Ok(rule) => table.rules.push(rule),
                Err(fault) => table.tell(Some(fault)),
            }
        }
        table
    }

    fn tell(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault.filter(|_| self.warnings.len() < PROBLEMS) {
            self.warnings.push(format!("{}:{}: {}", self.name, fault.line, mail::log::safe(&fault.what)));
        }
    }

    fn find(&self, key: &str) -> Option<Hit> {
        let key = Some(key).filter(|key| key.len() <= KEY)?;
        let rule = self.rules.iter().find(|rule| rule.pattern.is_match(key) != rule.negated)?;
        let value = if rule.negated { Some(rule.value.clone()) } else { filled(rule, key) };
        Some(Hit {
            value: value?,
            why: Why { source: Arc::clone(&self.name), line: rule.line, key: rule.written.clone() },
        })
    }
}

/// `if` and `endif` of Postfix's tables, which are not obeyed here: what stands between them would hold without its condition, so it is
/// left out. Also for `cidr`.
#[derive(Debug, Default)]
pub(crate) struct Conditions(usize);

impl Conditions {
    /// Whether a line is left out, with the fault to tell.
    pub(crate) fn passes_over(&mut self, line: u32, text: &str) -> Option<Option<Fault>> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let word = text.get(..end).unwrap_or_default().to_ascii_lowercase();
        let inside = self.0 > 0;
        match word.as_str() {
            "if" => self.0 += 1,
            "endif" => self.0 = self.0.saturating_sub(1),
            _ if inside => {}
            _ => return None,
        }
        let what = "if is not known here: everything up to its endif is left out".to_owned();
        Some((!inside).then_some(Fault { line, what }))
    }
}

/// Whether a value asks for a group that the pattern does not have.
fn asks_for_more(value: &str, groups: usize) -> bool {
    let numbers = value.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix(['{', '(']).unwrap_or(rest);
        rest.get(..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())).unwrap_or_default()
    });
    let mut numbers = numbers.filter(|digits| !digits.is_empty());
    numbers.any(|digits| digits.parse::<usize>().map_or(true, |number| number >= groups))
}

/// Puts the groups into the value.
fn filled(rule: &Rule, key: &str) -> Option<String> {
    let groups = rule.pattern.captures(key)?;
    let (mut out, mut rest) = (String::new(), rule.value.as_str());
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (name, behind) = match after.strip_prefix(['{', '(']) {
            Some(inner) => inner.split_once(['}', ')'])?,
            None if after.starts_with('$') => ("", after.get(1..)?),
            None => after.split_at_checked(digits)?,
        };
        match name.parse::<usize>() {
            Ok(number) => out.push_str(groups.get(number).map_or("", |group| group.as_str())),
            Err(_) => out.push('$'),
        }
        rest = behind;
        if out.len() > VALUE {
            return None;
        }
    }
    out.push_str(rest);
    Some(out)
}

fn rule(line: u32, text: &str) -> Result<Rule, Fault> {
    let fault = |what: String| Fault { line, what };
    let expected = || fault("expected /pattern/flags value".to_owned());
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let delimiter = rest.chars().next().filter(|c| c.is_ascii_punctuation() && *c != '\\').ok_or_else(expected)?;
    let (pattern, rest) = pattern(rest.get(1..).unwrap_or_default(), delimiter).ok_or_else(expected)?;
    let (flags, value) = rest.split_once([' ', '\t']).ok_or_else(expected)?;
    let value = value.trim();
    if value.is_empty() {
        return Err(expected());
    }
    let mut builder = RegexBuilder::new(&pattern);
    builder.size_limit(SIZE).dfa_size_limit(SIZE).case_insensitive(true).dot_matches_new_line(true);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(false),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(false),
            'x' => builder.ignore_whitespace(true),
            _ => return Err(fault(format!("unknown flag {flag}; expected some of i, m, s, x"))),
        };
    }
    let built = builder.build().map_err(|error| fault(short(&error)))?;
    if !negated && asks_for_more(&value.replace("$$", " "), built.captures_len()) {
        return Err(fault("the value asks for a group that the pattern does not have".to_owned()));
    }
    Ok(Rule { pattern: built, negated, value: value.to_owned(), written: format!("/{pattern}/"), line })
}

/// Up to the delimiter; a backslash before it takes its meaning away.
fn pattern(text: &str, delimiter: char) -> Option<(String, &str)> {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                escaped if escaped == delimiter => out.push(escaped),
                escaped => out.extend(['\\', escaped]),
            },
            c if c == delimiter => return Some((out, text.get(at + c.len_utf8()..)?)),
            c => out.push(c),
        }
    }
    None
}

/// The last line of the crate's message: the others draw the pattern.
fn short(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("pattern: {}", last.strip_prefix("error: ").unwrap_or(last))
}

impl Table for Pattern {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(ready(Ok(self.find(key))))
    }
    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_decides() {
        let text = "# c\n/^(\\w+)-list@(.*)$/ $2/${1}$$x$0\n!/@example\\.org$/ elsewhere\n/^Case/i exact\n|/a/b|  any /slash/\n";
        let table = Pattern::new("/p", text.as_bytes());
        assert_eq!(table.warnings, [""; 0]);
        let find = |key: &str| table.find(key).map(|hit| format!("{}: {}", hit.why.line, hit.value));
        assert_eq!(find("Dogs-List@Example.ORG").as_deref(), Some("2: Example.ORG/Dogs$xDogs-List@Example.ORG"));
        assert_eq!(find("x@example.net").as_deref(), Some("3: elsewhere"));
        assert_eq!(find("Case@example.org").as_deref(), Some("4: exact"));
        assert_eq!(find("/a/b@example.org").as_deref(), Some("5: any /slash/"));
        assert_eq!(find("case@example.org"), None);
        assert_eq!(find(&"x".repeat(KEY + 1)), None);
    }

    #[test]
    fn faults_are_told_and_left_out() {
        let text = "/a(/ x\n/(?=a)b/ x\n/a/q x\nno pattern\n/a/\n/open x\n/(a{1000}){1000}/ x\n if /x/\n/ok/ v\n";
        let table = Pattern::new("/p", text.as_bytes());
        let lines: Vec<&str> = table.warnings.iter().map(|warning| warning.split(": ").next().unwrap()).collect();
        assert_eq!(lines, ["/p:1", "/p:2", "/p:3", "/p:4", "/p:5", "/p:6", "/p:7", "/p:8"]);
        assert!(table.warnings[1].contains("look-around"), "{}", table.warnings[1]);
        assert_eq!(table.find("ok").map(|hit| hit.value).as_deref(), Some("v"));
    }

    #[test]
    fn conditions_are_left_out_with_what_depends_on_them() {
        let text = "if /@a/\n/x/ one\nIF!/b/\n/x/ two\nendif\n/x/ three\nendif\n/x/ four\nendif\n/y/ five\n";
        let table = Pattern::new("/p", text.as_bytes());
        let told = |line: u32| format!("/p:{line}: if is not known here: everything up to its endif is left out");
        assert_eq!(table.warnings, [told(1), told(9)]);
        assert_eq!(table.find("x@a").map(|hit| hit.why.line), Some(8));
        assert_eq!(table.find("y@a").map(|hit| hit.why.line), Some(10));
    }

    #[test]
    fn groups_that_are_not_there_are_told() {
        let table =
            Pattern::new("/p", b"/(a)/ $2\n/(a)/ ${9}\n/(a)/ $99999999999999999999\n/(a)/ $1 $$2 $x\n!/a/ $1\n");
        let told = |line: u32| format!("/p:{line}: the value asks for a group that the pattern does not have");
        assert_eq!(table.warnings, [told(1), told(2), told(3)]);
        assert_eq!(table.find("a").map(|hit| (hit.why.line, hit.value)), Some((4, "a $2 $x".to_owned())));
    }

    #[test]
    fn a_pattern_that_would_blow_up_elsewhere_is_linear_here() {
        let table = Pattern::new("/p", b"/^(a+)+$/ v\n/^(a|aa)*b$/ w\n");
        let start = std::time::Instant::now();
        assert!(table.find(&format!("{}!", "a".repeat(4_000))).is_none());
        assert!(start.elapsed().as_secs() < 2);
    }
}
