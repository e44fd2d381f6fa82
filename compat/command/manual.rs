//! The parts of sendmail(8) and of MIGRATION.md that come from the tables of flags, modes, queue runs and options. The test below fails if what
//! stands there is not what the tables say; with `POSTRIDER_WRITE=1` in the environment it writes it there instead.

use crate::flag::{Arity, Class, FLAGS, Flag, MODES, RUNS};
use crate::option::{self, SETTINGS, Setting};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Longest line of a page.
const WIDTH: usize = 76;

/// Text for mdoc(7): a line for each sentence, wrapped, nothing that could be taken for a request.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for sentence in text.replace('\\', "\\e").split_inclusive(". ") {
        let mut line = String::new();
        for word in sentence.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(out, "{line}");
                line.clear();
            }
            if line.is_empty() && word.starts_with(['.', '\'']) {
                line.push_str("\\&");
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word.replace("-", "\\-"));
        }
        if !line.is_empty() {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!(".Bl -tag -width Ds\n{}.El\n", items.collect::<String>())
}

fn reason(class: Class) -> String {
    match class {
        Class::Done | Class::Refused(_) => String::new(),
        Class::Ignored(why) => prose(&format!("Accepted without effect: {why}.")),
    }
}

fn flag(flag: &Flag) -> String {
    let value = match (flag.arity, flag.value) {
        (Arity::None, _) => String::new(),
        (Arity::Value, value) => format!(" Ar {value}"),
        (Arity::Attached | Arity::Optional, value) => format!(" Ns Op Ar {value}"),
    };
    format!(".It Fl {}{value}\n{}{}", flag.letter, prose(flag.man), reason(flag.class))
}

fn flags() -> String {
    list(FLAGS.iter().map(flag))
}

fn modes() -> String {
    list(MODES.iter().map(|mode| format!(".It Fl b{}\n{}{}", mode.letter, prose(mode.man), reason(mode.class))))
}

fn runs() -> String {
    list(RUNS.iter().map(|run| format!(".It Fl q{}\n{}", run.form.replace("[!]", "\\&[!]"), prose(run.man))))
}

fn name(setting: &Setting) -> String {
    match (setting.letter, setting.name) {
        ('\0', name) => name.to_owned(),
        (letter, "") => format!("-o{letter}"),
        (letter, name) => format!("{name} (-o{letter})"),
    }
}

fn options() -> String {
    let item = |setting: &Setting| format!(".It Cm {}\n{}", name(setting).replace('-', "\\-"), prose(setting.man));
    let done = SETTINGS.iter().filter(|setting| matches!(setting.class, option::Class::Done(_)));
    let mut text = list(done.map(item));
    text.push_str(".Pp\nThese are accepted and have no effect, for the reason given:\n");
    let reasons = ignored().into_iter();
    let names = |settings: &[String]| prose(&settings.join(", "));
    text.push_str(&list(reasons.map(|(why, settings)| format!(".It \"{}\"\n{}", capital(why), names(&settings)))));
    text
}

fn ignored() -> BTreeMap<&'static str, Vec<String>> {
    let mut reasons = BTreeMap::<_, Vec<String>>::new();
    for setting in SETTINGS {
        if let option::Class::Ignored(why) = setting.class {
            reasons.entry(why).or_default().push(name(setting));
        }
    }
    reasons
}

fn capital(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// MIGRATION's tables.
fn tables() -> String {
    let mut text = "| flag | | what becomes of it |\n|---|---|---|\n".to_owned();
    let what = |class: Class, man: &str| match class {
        Class::Done => man.trim_end_matches('.').to_owned(),
        Class::Ignored(why) => why.to_owned(),
        Class::Refused(why) => format!("`{why}`, 64"),
    };
    let mut row = |form: String, word: &str, what: String| {
        let _ = writeln!(text, "| `{}` | {word} | {} |", form.replace('|', "\\|"), what.replace('|', "\\|"));
    };
    for flag in FLAGS {
        let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
        row(format!("-{}{value}", flag.letter), flag.class.word(), what(flag.class, flag.man));
    }
    for mode in MODES {
        row(format!("-b{}", mode.letter), mode.class.word(), what(mode.class, mode.man));
    }
    for run in RUNS {
        row(format!("-q{}", run.form), "done", run.man.trim_end_matches('.').to_owned());
    }
    let (mut done, mut all) = (Vec::new(), 0);
    for setting in option::known() {
        all += 1;
        if matches!(setting.class, option::Class::Done(_)) {
            done.push(name(setting));
        }
    }
    let _ = write!(
        text,
        "\nOf the {all} options {} have an effect: {}. The others are accepted without one:\n\n",
        done.len(),
        done.join(", ")
    );
    for (why, settings) in ignored() {
        let _ = writeln!(text, "* {why}: {}", settings.join(", "));
    }
    text
}

/// Puts what the tables say between the lines that hold `begin` and `end`.
fn put(page: &str, part: &str, generated: &str) -> String {
    let begin = page.find(&format!("BEGIN {part} ")).unwrap_or_else(|| panic!("no BEGIN {part}"));
    let begin = begin + page[begin..].find('\n').unwrap() + 1;
    let end = begin + page[begin..].find(&format!("END {part} ")).unwrap_or_else(|| panic!("no END {part}"));
    let end = page[..end].rfind('\n').unwrap() + 1;
    format!("{}{generated}{}", &page[..begin], &page[end..])
}

#[test]
fn the_pages_say_what_the_tables_say() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let man = vec![("FLAGS", flags()), ("MODES", modes()), ("RUNS", runs()), ("OPTIONS", options())];
    for (file, parts) in [("packaging/man/sendmail.8", man), ("MIGRATION.md", vec![("FLAGS", tables())])] {
        let path = root.join(file);
        let page = std::fs::read_to_string(&path).unwrap();
        let right = parts.iter().fold(page.clone(), |page, (part, text)| put(&page, part, text));
        if std::env::var_os("POSTRIDER_WRITE").is_some() {
            std::fs::write(&path, right).unwrap();
        } else {
            assert!(
                page == right,
                "{file} is not what the tables say; POSTRIDER_WRITE=1 cargo test -p compat-command manual writes it"
            );
        }
    }
}

#[test]
fn every_name_has_a_page() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/man");
    for (name, _) in crate::program::PROGRAMS.iter().filter(|(name, _)| !matches!(*name, "send-mail" | "smtpd")) {
        let page = [1, 8].into_iter().find(|section| folder.join(format!("{name}.{section}")).is_file());
        assert!(page.is_some(), "{name}");
    }
}

#[test]
fn prose_is_safe_for_mdoc() {
    assert_eq!(prose("One. .Two 'three \\x -f"), "One.\n\\&.Two 'three \\ex \\-f\n");
}
