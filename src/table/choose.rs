//! Which of a table's two files decides: its text `X` or its compiled form `X.db`. Called by the kinds here and by
//! `compat/table` for aliases; the reason goes to the log and to `postrider explain`.

use crate::database::origin_of;
use crate::{Database, Origin, Source, Stamp, Table, Unavailable, text};
use std::fs::File;
use std::sync::Arc;

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `X`.
    Text,
    /// `X.db`.
    Compiled,
}

/// The file that decides, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub form: Form,
    /// For people, e.g. `/etc/mail/access.db decides: not older than the text`.
    pub why: String,
}

/// Chooses: the compiled form if it is not older than the text or there is no text, as in sendmail; otherwise the text.
///
/// # Errors
/// If there is neither, or a file cannot be looked at.
pub fn choose(source: &Source) -> Result<Chosen, Unavailable> {
    let name = &source.name;
    let (text, compiled) = (stamp(name, source.text.as_ref())?, stamp(name, source.compiled.as_ref())?);
    let (form, why) = match (text, compiled) {
        (None, None) => return Err(Unavailable(format!("{name}: neither the text nor {name}.db can be opened"))),
        (Some(_), None) => (Form::Text, format!("{name} decides: there is no {name}.db")),
        (None, Some(_)) => (Form::Compiled, format!("{name}.db decides: there is no {name}")),
        (Some(text), Some(compiled)) if compiled.modified < text.modified => {
            (Form::Text, format!("{name} decides: newer than {name}.db"))
        }
        (Some(text), Some(_)) => match made_from(source) {
            // Changed while makemap was at work.
            Some(origin) if text.modified > i128::from(origin.modified) => {
                (Form::Text, format!("{name} decides: newer than what {name}.db was made from"))
            }
            Some(origin) if text.modified < i128::from(origin.modified) => (
                Form::Compiled,
                format!("{name}.db decides: not older than the text (but made from a newer version of it)"),
            ),
            _ => (Form::Compiled, format!("{name}.db decides: not older than the text")),
        },
    };
    Ok(Chosen { form, why })
}

fn stamp(name: &str, file: Option<&File>) -> Result<Option<Stamp>, Unavailable> {
    file.map(Stamp::of).transpose().map_err(|error| Unavailable(format!("{name}: {error}")))
}

/// Which version of the text beside it the compiled form was made from; `None` if that is not known.
#[must_use]
pub fn made_from(source: &Source) -> Option<Origin> {
    let origin = origin_of(source.compiled.as_ref()?.try_clone().ok()?)?;
    (*origin.name == *source.name && origin.modified != 0).then_some(origin)
}

/// The text alone, where the compiled form decides but is damaged: only if it is the very version which that was made from, as its
/// header says or, where that is damaged as well, `known`. Another version may lack half of the keys.
#[must_use]
pub fn text_instead(source: Source, known: Option<&Origin>) -> Option<Source> {
    let origin = made_from(&source).or_else(|| known.cloned())?;
    let text = Stamp::of(source.text.as_ref()?).ok()?;
    let same = (text.size, text.modified) == (origin.size, i128::from(origin.modified));
    same.then_some(Source { compiled: None, ..source })
}

/// Loads a map in makemap's format from whichever file decides; a [`crate::Load`], of kinds `"hash"`, `"btree"`, `"dbm"`,
/// `"cdb"` and `"implicit"`.
///
/// # Errors
/// If the file that decides cannot be read. The other one never stands in for it: it may lack half of the keys.
pub fn load_map(source: Source) -> Result<Arc<dyn Table>, Unavailable> {
    match choose(&source)?.form {
        Form::Text => text::load(source),
        Form::Compiled => Ok(Arc::new(Database::of(source)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Duplicate, Writer};
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, SystemTime};

    fn file(text: &[u8], age: u64) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        file
    }

    fn nanos(age: u64) -> i64 {
        let then = SystemTime::now() - Duration::from_secs(age);
        i64::try_from(then.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
    }

    fn compiled(age: u64, modified: i64) -> Option<File> {
        let file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(&file);
        writer.put(b"k", b"compiled", 3, Duplicate::Keep).unwrap();
        writer.finish(Origin { name: "/t".into(), size: 7, modified }).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        Some(file)
    }

    fn ask(text: Option<File>, compiled: Option<File>) -> (String, String) {
        let source = Source { name: "/t".into(), text, compiled };
        let why = match choose(&source) {
            Ok(chosen) => chosen.why,
            Err(error) => return (error.0, String::new()),
        };
        let answer = match load_map(source) {
            Ok(table) => futures(table.look_up("k")),
            Err(error) => error.0,
        };
        (why, answer)
    }

    fn futures(answer: crate::Answer<'_, crate::Hit>) -> String {
        let mut answer = answer;
        let waker = std::task::Waker::noop();
        match answer.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(Ok(Some(hit))) => format!("{} {}", hit.why, hit.value),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_newer_one_decides() {
        let own = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(ask(None, None).0, "/t: neither the text nor /t.db can be opened");
        let text = || Some(file(b"k text\n", 5));
        let not_older = "/t.db decides: not older than the text";
        assert_eq!(ask(text(), compiled(0, 0)), own(not_older, "/t:3: k compiled"));
        let newer = "/t decides: newer than what /t.db was made from";
        assert_eq!(ask(text(), compiled(0, nanos(8))), own(newer, "/t:1: k text"));
        let older = "/t.db decides: not older than the text (but made from a newer version of it)";
        assert_eq!(ask(text(), compiled(0, nanos(2))), own(older, "/t:3: k compiled"));
        assert_eq!(ask(text(), compiled(9, 0)), own("/t decides: newer than /t.db", "/t:1: k text"));
        assert_eq!(ask(None, compiled(9, 0)), own("/t.db decides: there is no /t", "/t:3: k compiled"));
        assert_eq!(ask(Some(file(b"k text\n", 5)), None), own("/t decides: there is no /t.db", "/t:1: k text"));
        // Somebody is writing it in place, or the disk was full: it is not known what the keys would be.
        assert_eq!(ask(text(), Some(file(b"", 0))), own(not_older, "/t.db: is empty"));
    }

    #[test]
    fn the_text_steps_in_only_if_it_is_what_was_compiled() {
        let text = file(b"k text\n", 5);
        let stamp = Stamp::of(&text).unwrap();
        let source = |text: &File, compiled| Source { name: "/t".into(), text: text.try_clone().ok(), compiled };
        let modified = i64::try_from(stamp.modified).unwrap();
        let damaged = compiled(0, modified);
        damaged.as_ref().unwrap().write_all_at(b"x", 530).unwrap();
        assert!(load_map(source(&text, damaged.as_ref().unwrap().try_clone().ok())).is_err(), "not taken into use");
        let instead = text_instead(source(&text, damaged), None).unwrap();
        assert!(instead.compiled.is_none() && instead.text.is_some());
        let origin = Origin { name: "/t".into(), size: 7, modified };
        let garbage = || Some(file(b"what is this", 0));
        assert!(text_instead(source(&text, garbage()), Some(&origin)).is_some());
        assert!(text_instead(source(&text, garbage()), None).is_none());
        let other = Origin { size: 8, ..origin.clone() };
        assert!(text_instead(source(&text, garbage()), Some(&other)).is_none());
        let newer = file(b"k text\n", 4);
        assert!(text_instead(source(&newer, garbage()), Some(&origin)).is_none());
    }

    #[test]
    fn a_compiled_form_that_decides_and_cannot_be_read_is_unavailable() {
        let (_, answer) = ask(Some(file(b"k text\n", 5)), Some(file(b"what is this, no table at all", 0)));
        assert_eq!(answer, "/t.db: of no known format; make it again with makemap or newaliases");
    }
}
