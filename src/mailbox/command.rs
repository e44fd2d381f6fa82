//! The administrator's delivery command, sendmail's local mailer (`FEATURE(local_procmail)`): what is run for one message. Its words come from
//! the configuration by way of the keeper's command line, never from the engine; what stands in braces becomes one argument or a part of one,
//! and no shell reads it. Called by the loop.

use crate::identity::Person;
use crate::program::{Call, harmless, plain, sender};
use call::agent::Item;
use std::path::PathBuf;

/// The command for one message; `None` if the configuration names none.
pub(crate) fn call(words: &[String], item: &Item, person: &Person) -> Option<Call> {
    let (program, arguments) = words.split_first()?;
    // With whether a stranger chose it.
    let value = |name: &str| match name {
        "user" => Some((person.name.clone(), false)),
        "home" => Some((person.home.to_string_lossy().into_owned(), false)),
        // It may choose a folder or a rule of the user's: no separators (S-41).
        "extension" => Some((harmless(&item.detail), true)),
        "sender" => Some((plain(&sender(item)), true)),
        "recipient" => Some((plain(&item.recipient), true)),
        _ => None,
    };
    let arguments = arguments.iter().map(|word| fill(word, &value)).collect();
    Some(Call { mailer: "local", program: PathBuf::from(program), name: None, arguments })
}

/// Fills one argument. What a stranger chose never makes an option of it.
fn fill(word: &str, value: &dyn Fn(&str) -> Option<(String, bool)>) -> String {
    let (mut filled, mut rest) = (String::new(), word);
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let found = behind.split_once('}').and_then(|(name, after)| Some((value(name)?, after)));
        rest = match found {
            Some(((text, strange), after)) => {
                filled.push_str(&if strange && filled.is_empty() { no_option(text) } else { text });
                after
            }
            // A brace of the command's own.
            None => {
                filled.push('{');
                behind
            }
        };
    }
    filled + rest
}

/// `-x@host` is the same address as `"-x"@host`; whatever else begins so loses its hyphen.
fn no_option(text: String) -> String {
    let Some(rest) = text.strip_prefix('-') else { return text };
    match text.rsplit_once('@') {
        Some((local, domain)) if !local.contains(['"', '\\']) => format!("\"{local}\"@{domain}"),
        _ => format!("_{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stays_one_argument() {
        let item = Item {
            sender: "-oQ/tmp@x".into(),
            recipient: "al+{home}; `id`@here".into(),
            detail: "../a b".into(),
            ..Item::default()
        };
        let person = crate::identity::tests::person(std::path::Path::new("/home/{user}"));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let told =
            call(&words("/bin/x -a {extension} -d {user} -f{sender} {sender} {recipient} {home}/{x"), &item, &person);
        let arguments = told.unwrap();
        assert_eq!((arguments.mailer, arguments.program.to_str()), ("local", Some("/bin/x")));
        let expected =
            ["-a", ".._a_b", "-d", "al", "-f-oQ/tmp@x", "\"-oQ/tmp\"@x", "al+{home}; `id`@here", "/home/{user}/{x"];
        assert_eq!(arguments.arguments, expected);
        let nobody =
            call(&words("/bin/x {extension} {sender}"), &Item { detail: "-f".into(), ..Item::default() }, &person);
        assert_eq!(nobody.unwrap().arguments, ["_f", "MAILER-DAEMON"]);
        assert_eq!(call(&[], &item, &person), None);
    }
}
