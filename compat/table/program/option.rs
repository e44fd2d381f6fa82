//! Reads options as glibc's getopt does: one letter, bundled, values attached or not, operands anywhere, `--`.

use super::{Ended, Output, exit};
use lexopt::{Arg, Parser};
use std::ffi::OsString;

/// One option.
pub(super) struct Given {
    pub(super) letter: char,
    /// Empty if it takes none.
    pub(super) value: OsString,
}

/// Options and operands in their order. `letters` as for getopt: a colon after those that take a value.
pub(super) fn read(
    arguments: &[OsString],
    letters: &str,
    usage: &str,
    output: &mut Output<'_>,
) -> Result<(Vec<Given>, Vec<OsString>), Ended> {
    let (mut given, mut operands) = (Vec::new(), Vec::new());
    let mut parser = Parser::from_args(arguments);
    parser.set_short_equals(false);
    let mut wrong = |text: String| {
        if !text.is_empty() {
            output.complain(&text);
        }
        let _nobody_listens = writeln!(output.err, "{usage}");
        exit::USAGE
    };
    loop {
        let letter = match parser.next() {
            Ok(None) => return Ok((given, operands)),
            Ok(Some(Arg::Value(operand))) => {
                operands.push(operand);
                continue;
            }
            Ok(Some(Arg::Short(letter))) => letter,
            Ok(Some(Arg::Long(_))) | Err(_) => '-',
        };
        let takes = letters.split_once(letter).map(|(_, rest)| rest.starts_with(':'));
        let value = match takes {
            None => return Err(wrong(format!("invalid option -- '{letter}'"))),
            Some(false) => OsString::new(),
            Some(true) => match parser.value() {
                Ok(value) => value,
                Err(_) => return Err(wrong(format!("option requires an argument -- '{letter}'"))),
            },
        };
        given.push(Given { letter, value });
    }
}

/// Says how the program is used.
pub(super) fn misused(usage: &str, output: &mut Output<'_>) -> Ended {
    let _nobody_listens = writeln!(output.err, "{usage}");
    exit::USAGE
}
