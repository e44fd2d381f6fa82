//! `-C`: which configuration the modes that read one are to use (sendmail.md 1.3). This program never parses it; it only sees whether there is
//! such a file and that it is not in sendmail's language. Called by `run`.

use crate::command_line::Stop;
use crate::exit;
use crate::output::without_number;
use std::io::Read;
use std::path::Path;

/// Folders in which `sendmail.cf` and `submit.cf` are the usual ones: scripts that name them mean what is used without `-C`.
const FOLDERS: &[&str] = &["/etc", "/etc/mail", "/usr/lib", "/usr/local/etc/mail", "/usr/share/sendmail"];
/// As much of a file is looked at.
const LIMIT: u64 = 1 << 16;

/// The file to use, or `None` for the usual one.
///
/// # Errors
/// It cannot be opened (72, sendmail's text), or it is sendmail's (78).
pub fn named(file: Option<&str>) -> Result<Option<&str>, Stop> {
    let Some(name) = file else { return Ok(None) };
    let path = Path::new(name);
    let sendmails = path.file_name().is_some_and(|name| name == "sendmail.cf" || name == "submit.cf");
    if sendmails && path.parent().is_some_and(|folder| FOLDERS.iter().any(|usual| folder == Path::new(usual))) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut text));
    if let Err(error) = read {
        let why = without_number(&error.to_string());
        return Err(Stop::Refused(exit::OS_FILE, format!("{name}: line 0: cannot open: {why}")));
    }
    if path.extension().is_some_and(|end| end == "cf") || text.split(|b| *b == b'\n').any(is_version) {
        let why = "is in sendmail's language; the configuration is /etc/mail/postrider.kdl";
        return Err(Stop::Refused(exit::CONFIG, format!("{name}: line 1: {why}")));
    }
    Ok(Some(name))
}

/// `V10/Berkeley`, which every `.cf` has.
fn is_version(line: &[u8]) -> bool {
    line.strip_prefix(b"V").is_some_and(|rest| {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        digits > 0 && matches!(rest.get(digits), None | Some(b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_mean_the_usual_file() {
        for usual in ["/etc/mail/sendmail.cf", "/etc/mail/submit.cf", "/etc/sendmail.cf"] {
            assert_eq!(named(Some(usual)), Ok(None), "{usual}");
        }
        assert_eq!(named(None), Ok(None));
        let missing = "/nonexistent: line 0: cannot open: No such file or directory";
        assert_eq!(named(Some("/nonexistent")), Err(Stop::Refused(72, missing.into())));
    }

    #[test]
    fn sendmails_own_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, good) in [
            ("a.kdl", "host \"mx\"\n", true),
            ("b", "# x\nV10/Berkeley\n", false),
            ("c.cf", "", false),
            ("d", "", true),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let outcome = named(path.to_str());
            assert_eq!(outcome.is_ok(), good, "{name}: {outcome:?}");
            assert!(good || matches!(outcome, Err(Stop::Refused(78, _))), "{name}");
        }
    }
}
