//! `-q…`: queue runs and their selectors (sendmail.md 1.5). Read by `command_line`; `operator` asks the engine for a run, `mailq` for a list.

use crate::command_line::{Stop, usage};
use call::operator::{Entry, Part, Pattern, Select};

/// The one queue group.
pub const GROUP: &str = "mqueue";

/// What `-q` flags ask for, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRun {
    /// Seconds between runs: a server is wanted, not one run.
    pub interval: Option<u64>,
    /// `-q[!]I`, `R`, `S`, `Q`: which entries.
    pub patterns: Vec<Pattern>,
    /// `-qQ`: quarantined entries, and no others.
    pub quarantined: bool,
    /// `-qL`: lost entries. There are none.
    pub lost: bool,
    /// `-qG`.
    pub group: Option<String>,
    /// `-qf`: the caller waits for the run.
    pub foreground: bool,
}

impl QueueRun {
    /// Adds one flag, given without its `-q`.
    ///
    /// # Errors
    /// [`Stop`] for wrong ones.
    pub fn add(&mut self, value: &str) -> Result<(), Stop> {
        let (negated, value) = value.strip_prefix('!').map_or((false, value), |rest| (true, rest));
        let mut rest = value.chars();
        let Some(kind) = rest.next() else { return Ok(()) };
        let text = rest.as_str();
        match kind {
            'G' if negated => return Err(usage("Can not use -q!G")),
            'G' => {
                if self.group.replace(text.to_owned()).is_some() {
                    return Err(usage("Can not use multiple -qG options"));
                }
            }
            'I' => self.pattern(Part::Id, text, negated),
            'R' => self.pattern(Part::Recipient, text, negated),
            'S' => self.pattern(Part::Sender, text, negated),
            'Q' => {
                self.quarantined = true;
                if negated || !text.is_empty() {
                    self.pattern(Part::Reason, text, negated);
                }
            }
            'L' => self.lost = true,
            'f' => self.foreground = true,
            'p' => self.interval = Some(interval(text)?.max(1)),
            _ => self.interval = Some(interval(value)?).filter(|seconds| *seconds > 0),
        }
        Ok(())
    }

    /// An empty text is everywhere: `-qR nomatch` is the classic slip (sendmail.md 1.1).
    fn pattern(&mut self, part: Part, text: &str, negated: bool) {
        self.patterns.push(Pattern { part, text: text.to_owned(), negated });
    }

    /// The entries that are meant.
    #[must_use]
    pub fn select(&self) -> Select {
        Select { held: Some(self.quarantined), patterns: self.patterns.clone(), ..Select::default() }
    }

    /// Whether an entry that the engine has not seen yet is meant, by the engine's rule: one pattern of each kind. Nothing of that is
    /// quarantined.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let of = |part| self.patterns.iter().filter(move |pattern| pattern.part == part);
        let kinds = [Part::Id, Part::Sender, Part::Recipient, Part::Reason];
        !self.quarantined
            && kinds.into_iter().all(|part| of(part).next().is_none() || of(part).any(|pattern| fits(entry, pattern)))
    }

    /// The selectors as flags again.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let flag = |pattern: &Pattern| {
            let letter = match pattern.part {
                Part::Id => 'I',
                Part::Sender => 'S',
                Part::Recipient => 'R',
                Part::Reason => 'Q',
            };
            format!("-q{}{letter}{}", if pattern.negated { "!" } else { "" }, pattern.text)
        };
        self.quarantined.then(|| "-qQ".to_owned()).into_iter().chain(self.patterns.iter().map(flag)).collect()
    }

    /// The name of a group that does not exist, if one was given.
    #[must_use]
    pub fn unknown_group(&self) -> Option<&str> {
        self.group.as_deref().filter(|name| *name != GROUP)
    }
}

fn fits(entry: &Entry, pattern: &Pattern) -> bool {
    let has = |text: &str| text.to_ascii_lowercase().contains(&pattern.text.to_ascii_lowercase()) != pattern.negated;
    match pattern.part {
        Part::Id => entry.id.contains(&pattern.text) != pattern.negated,
        Part::Sender => has(&entry.sender),
        Part::Recipient => entry.recipients.iter().any(|recipient| has(&recipient.address)),
        Part::Reason => false,
    }
}

/// A length of time as sendmail writes it: `30m`, `1h30m`; minutes when no unit is given.
///
/// # Errors
/// sendmail's text, exit 64.
pub fn interval(text: &str) -> Result<u64, Stop> {
    let (mut seconds, mut number, mut wrong) = (0u64, None::<u64>, Vec::new());
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(u64::from(digit)));
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => {
                wrong.push(format!("Invalid time unit `{c}'"));
                0
            }
        };
        seconds = seconds.saturating_add(number.take().unwrap_or(0).saturating_mul(unit));
    }
    if wrong.is_empty() {
        Ok(seconds.saturating_add(number.unwrap_or(0).saturating_mul(60)))
    } else {
        Err(usage(wrong.join("\n")))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::named::named;

    fn run(flags: &[&str]) -> QueueRun {
        let mut run = QueueRun::default();
        flags.iter().for_each(|flag| run.add(flag).unwrap());
        run
    }

    fn texts(run: &QueueRun) -> Vec<String> {
        let text = |p: &Pattern| format!("{}{:?} {}", if p.negated { "!" } else { "" }, p.part, p.text);
        run.select().patterns.iter().map(text).collect()
    }

    named! {
        fn one_run() {
            assert_eq!(run(&["", "0", "!"]), QueueRun::default());
            assert_eq!(run(&["0"]).select().held, Some(false));
            assert!(run(&["f"]).foreground && run(&["foo"]).foreground);
        }

        fn intervals() {
            assert_eq!(interval("30m").unwrap(), 1_800);
            assert_eq!(interval("15").unwrap(), 900);
            assert_eq!(interval("1h30s").unwrap(), 3_630);
            assert_eq!(run(&["30m"]).interval, Some(1_800));
            assert_eq!(run(&["p", "!5m"]).interval, Some(300));
            assert_eq!(run(&["p"]).interval, Some(1));
            assert_eq!(interval("ro").unwrap_err(), usage("Invalid time unit `r'\nInvalid time unit `o'"));
            for wrong in ["3x", "x", "!x", "1h30x"] {
                let stop = QueueRun::default().add(wrong).unwrap_err();
                assert_eq!(stop, usage("Invalid time unit `x'"), "{wrong}");
            }
        }

        fn groups() {
            assert_eq!(run(&["Gfoo"]).unknown_group(), Some("foo"));
            assert_eq!(run(&["Gmqueue"]).unknown_group(), None);
            assert_eq!(QueueRun::default().add("!Gfoo").unwrap_err(), usage("Can not use -q!G"));
            assert_eq!(run(&["Ga"]).add("Gb").unwrap_err(), usage("Can not use multiple -qG options"));
        }

        fn selectors() {
            let all = run(&["Rexample.com", "!Sbob", "I6A", "R"]);
            assert_eq!(texts(&all), ["Recipient example.com", "!Sender bob", "Id 6A", "Recipient "]);
            assert_eq!(all.interval, None);
        }

        fn quarantined() {
            assert_eq!(run(&["Q"]).select(), Select { held: Some(true), ..Select::default() });
            assert_eq!(texts(&run(&["Qspam"])), ["Reason spam"]);
            assert_eq!(texts(&run(&["!Qspam"])), ["!Reason spam"]);
            assert_eq!(run(&["!Qspam"]).select().held, Some(true));
        }

        fn what_lies_in_the_drop_folder() {
            let recipient = |address: &str| call::operator::EntryRecipient {
                address: address.into(),
                controlling: String::new(),
                status: String::new(),
                tries: 0,
                next: 0,
            };
            let entry = Entry {
                id: "fa900c".into(),
                size: 1,
                arrived: 0,
                sender: "Alice".into(),
                body: String::new(),
                active: false,
                hold: None,
                warned: false,
                recipients: vec![recipient("bob"), recipient("carol")],
            };
            for (flags, takes) in [
                (&[][..], true),
                (&["RBOB", "Rnone"], true),
                (&["Rnone"], false),
                (&["!Rbob"], true),
                (&["Rbob", "Salice"], true),
                (&["Rbob", "!Salice"], false),
                (&["Ia9"], true),
                (&["IA9"], false),
                (&["Q"], false),
            ] {
                assert_eq!(run(flags).takes(&entry), takes, "{flags:?}");
            }
        }

        fn written_again() {
            let given = run(&["Rexample.com", "!Sbob", "I6A", "Qx"]);
            let flags = given.flags();
            assert_eq!(flags, ["-qQ", "-qRexample.com", "-q!Sbob", "-qI6A", "-qQx"]);
            assert_eq!(run(&flags.iter().map(|flag| &flag[2..]).collect::<Vec<_>>()), given);
        }

        fn lost() {
            assert!(run(&["L"]).lost && !run(&["Rl"]).lost);
        }
    }
}
