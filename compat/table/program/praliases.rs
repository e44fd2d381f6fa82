//! `praliases` (sendmail.md 2.5): prints aliases, or those asked for, as `name:value`.
//!
//! It prints what the engine looks at: the compiled form if that decides, else the text. sendmail's knows the compiled form only.

use super::alias_file::AliasFile;
use super::option;
use super::{Ended, Output, bytes, c_string, exit, reason, text_path};
use crate::Aliases;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use table::{Database, Form, Source, choose};

const USAGE: &str = "usage: praliases [-C cffile] [-f aliasfile] [key ...]";

/// Runs `praliases` with the arguments behind its name. `files` are those of the configuration, for when neither `-f` nor `-C`
/// names others.
pub fn praliases(arguments: &[OsString], files: &[AliasFile], stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let mut output = Output { program: "praliases", out: stdout, err: stderr };
    run(arguments, files, &mut output).unwrap_or_else(|code| code)
}

fn run(arguments: &[OsString], files: &[AliasFile], output: &mut Output<'_>) -> Result<u8, Ended> {
    let (given, keys) = option::read(arguments, "C:f:", USAGE, output)?;
    let last = |letter| given.iter().rev().find(|option| option.letter == letter).map(|option| &option.value);
    let named: Vec<AliasFile>;
    let files = match (last('f'), last('C')) {
        (Some(file), _) => {
            named = vec![AliasFile::parse(&file.to_string_lossy())];
            &named
        }
        (None, Some(cf)) => {
            let text = std::fs::read(cf).map_err(|error| {
                output.complain(format!("{}: {}", cf.display(), reason(&error)));
                exit::NO_INPUT
            })?;
            named = AliasFile::of_configuration(&String::from_utf8_lossy(&text));
            &named
        }
        (None, None) => files,
    };
    for file in files {
        match file {
            AliasFile::File { path, .. } => print(text_path(path.as_os_str()), &keys, output),
            AliasFile::Elsewhere(class) | AliasFile::Unknown(class) => {
                output.complain(format!("Skipping non-file based alias type {class}"));
            }
        }
    }
    Ok(exit::OK)
}

/// Prints one file. What cannot be read is told, and the exit code stays 0, as in sendmail.
fn print(path: &Path, keys: &[OsString], output: &mut Output<'_>) {
    if let Err(why) = entries(path, keys, output) {
        output.complain(format!("{}: open: {why}", path.display()));
    }
}

fn entries(path: &Path, keys: &[OsString], output: &mut Output<'_>) -> Result<(), String> {
    let text = super::open_regular(path);
    let compiled = super::open_regular(&super::database_path(path.as_os_str())).ok();
    if let (Err(error), None) = (&text, &compiled) {
        return Err(reason(error));
    }
    let source = Source { name: path.to_string_lossy().into(), text: text.ok(), compiled };
    match choose(&source).map_err(|error| error.0)?.form {
        Form::Text => {
            let text = table::text::read(&source).map_err(|error| error.0)?;
            let table = Aliases::read(&source.name, &text, None).map_err(|error| error.0)?;
            if keys.is_empty() {
                table.rows().for_each(|alias| pair(alias.key, &alias.value, output));
            }
            for key in keys {
                let value = table.row(bytes(key)).map(|alias| alias.value);
                asked(bytes(key), value.as_deref(), output);
            }
        }
        Form::Compiled => {
            let database = Database::of(source).map_err(|error| error.0)?;
            if keys.is_empty() {
                for record in database.records() {
                    let record = record.map_err(|error| error.0)?;
                    pair(c_string(&record.key), c_string(&record.value), output);
                }
            }
            for key in keys {
                let record = database.get(bytes(key)).map_err(|error| error.0)?;
                asked(bytes(key), record.as_ref().map(|record| c_string(&record.value)), output);
            }
        }
    }
    Ok(())
}

fn pair(key: &[u8], value: &[u8], output: &mut Output<'_>) {
    output.say(&[key, b":", value].concat());
}

fn asked(key: &[u8], value: Option<&[u8]>, output: &mut Output<'_>) {
    match value {
        Some(value) => pair(key, value, output),
        None => output.say(&[key, b": No such key"].concat()),
    }
}
