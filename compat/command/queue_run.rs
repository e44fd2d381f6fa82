//! `-q…`: queue runs and their selectors (sendmail.md 1.5). Read by `command_line`, asked of the engine by `operator`.

use crate::command_line::Stop;
use crate::exit;
use call::operator::Select;

/// What `-q` flags ask for, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRun {
    /// Seconds between runs: a server is wanted, not one run.
    pub interval: Option<u64>,
    /// Which entries.
    pub select: Select,
    /// An unknown queue group was named; sendmail says so and exits 0.
    pub unknown_group: Option<String>,
}

impl QueueRun {
    /// Adds one flag, given without its `-q`.
    ///
    /// # Errors
    /// [`Stop`] for wrong ones, and for selectors that are not built.
    pub fn add(&mut self, value: &str) -> Result<(), Stop> {
        let mut rest = value.chars();
        match rest.next() {
            None | Some('f') => Ok(()),
            Some('p') if rest.as_str().is_empty() => Ok(()),
            Some('p') => self.set_interval(rest.as_str()),
            Some('!') if rest.as_str().starts_with('G') => Err(Stop::Refused(exit::USAGE, "Can not use -q!G".into())),
            Some('G') => {
                self.unknown_group = Some(rest.as_str().to_owned());
                Ok(())
            }
            Some(kind @ ('R' | 'S' | 'Q' | 'I')) => self.select(kind, rest.as_str()),
            Some('0'..='9') => self.set_interval(value),
            // `!`, and L for lost entries.
            _ => Err(Stop::NotBuilt(format!("-q{value}"))),
        }
    }

    fn select(&mut self, kind: char, pattern: &str) -> Result<(), Stop> {
        let slot = match kind {
            'Q' if pattern.is_empty() => {
                self.select.held = Some(true);
                return Ok(());
            }
            'I' if mail::QueueId::parse(pattern).is_some() => {
                self.select.ids.push(pattern.to_owned());
                return Ok(());
            }
            // The engine knows whole ids only.
            'I' => return Err(Stop::NotBuilt(format!("-qI{pattern} (part of an id)"))),
            // An empty pattern matches everything: `-qR nomatch` is the classic slip (sendmail.md 1.1).
            _ if pattern.is_empty() => return Ok(()),
            'R' => &mut self.select.recipient,
            'S' => &mut self.select.sender,
            _ => {
                self.select.held = Some(true);
                &mut self.select.reason
            }
        };
        match slot.replace(pattern.to_owned()) {
            None => Ok(()),
            Some(_) => Err(Stop::NotBuilt(format!("a second -q{kind}"))),
        }
    }

    fn set_interval(&mut self, text: &str) -> Result<(), Stop> {
        self.interval = Some(interval(text)?);
        Ok(())
    }
}

/// A length of time as sendmail writes it: `30m`, `1h30m`; minutes when no unit is given.
fn interval(text: &str) -> Result<u64, Stop> {
    let mut seconds = 0u64;
    let mut number = None::<u64>;
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
            _ => return Err(Stop::Refused(exit::USAGE, format!("Invalid time unit `{c}'"))),
        };
        seconds = seconds.saturating_add(number.take().unwrap_or(0).saturating_mul(unit));
    }
    Ok(seconds.saturating_add(number.unwrap_or(0).saturating_mul(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_units() {
        assert_eq!(interval("30m").unwrap(), 1_800);
        assert_eq!(interval("15").unwrap(), 900);
        assert_eq!(interval("1h30s").unwrap(), 3_630);
        assert!(matches!(interval("3x"), Err(Stop::Refused(64, t)) if t == "Invalid time unit `x'"));
    }

    #[test]
    fn selectors_are_attached_and_may_be_empty() {
        let mut run = QueueRun::default();
        run.add("R").unwrap();
        assert_eq!(run, QueueRun::default());
        run.add("Rexample.com").unwrap();
        run.add("Sbob").unwrap();
        assert_eq!(run.select.recipient.as_deref(), Some("example.com"));
        assert_eq!(run.select.sender.as_deref(), Some("bob"));
        assert!(matches!(run.add("Rtwo"), Err(Stop::NotBuilt(_))));
        assert!(matches!(run.add("!Rx"), Err(Stop::NotBuilt(_))));
        assert!(matches!(run.add("!Gx"), Err(Stop::Refused(64, _))));
    }
}
