//! `editmap` (sendmail.md 2.6): asks for a key of a map, puts one in, takes one out.
//!
//! A compiled table is never changed in place: the other records are copied beside it and the copy takes its name, so that a
//! reader never sees half of it. A map of a million keys takes a second; whoever edits often edits the text.

use super::option;
use super::{Ended, Output, bytes, c_string, database_path, exit, open, open_map, reason, text_path};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use table::{Database, Duplicate, Form, NewFile, Source, Writer};

const USAGE: &str = "Usage: editmap [-C cffile] [-N] [-f] [-q|-u|-x] maptype mapname key [ \"value ...\" ]";

enum Verb<'a> {
    Query,
    Update(&'a [u8]),
    Remove,
}

/// Runs `editmap` with the arguments behind its name and returns its exit code.
pub fn editmap(arguments: &[OsString], stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let mut output = Output { program: "editmap", out: stdout, err: stderr };
    run(arguments, &mut output).unwrap_or_else(|code| code)
}

fn run(arguments: &[OsString], output: &mut Output<'_>) -> Result<u8, Ended> {
    let (given, operands) = option::read(arguments, "C:fquxN", USAGE, output)?;
    let has = |letter| given.iter().any(|option| option.letter == letter);
    let verb = match (has('q'), has('u'), has('x'), operands.as_slice()) {
        (true, false, false, [_, _, _]) => Verb::Query,
        // Only the first of several values counts, as in sendmail.
        (false, true, false, [_, _, _, value, ..]) => Verb::Update(bytes(value)),
        (false, false, true, [_, _, _]) => Verb::Remove,
        _ => return Err(option::misused(USAGE, output)),
    };
    let [class, map, key, ..] = operands.as_slice() else {
        return Err(option::misused(USAGE, output));
    };
    let configuration = given.iter().rev().find(|option| option.letter == 'C');
    output.check_configuration(configuration.map(|option| option.value.as_os_str()))?;
    let class = class.to_string_lossy();
    output.check_class(&class, map)?;
    let mut key = bytes(key).to_vec();
    if !has('f') {
        key.make_ascii_lowercase();
    }
    match verb {
        Verb::Query => query(&class, map, &key, output),
        Verb::Update(value) => change(&class, map, &key, Some(value), output),
        Verb::Remove => change(&class, map, &key, None, output),
    }
}

fn query(class: &str, map: &OsStr, key: &[u8], output: &mut Output<'_>) -> Result<u8, Ended> {
    let found = open_map(map).and_then(|database| database.get(key).map_err(|error| error.0));
    match found.map_err(|why| output.cannot_open(class, map, &why))? {
        Some(record) => {
            output.say(c_string(&record.value));
            Ok(exit::OK)
        }
        None => {
            output.complain(format!("couldn't find key {} in map {}", shown(key), map.display()));
            Ok(exit::UNAVAILABLE)
        }
    }
}

fn shown(key: &[u8]) -> String {
    mail::log::safe(&String::from_utf8_lossy(key))
}

/// Puts `value` in, or takes the key out.
fn change(class: &str, map: &OsStr, key: &[u8], value: Option<&[u8]>, output: &mut Output<'_>) -> Result<u8, Ended> {
    let new = NewFile::create(&database_path(map)).map_err(|error| output.cannot_open(class, map, &reason(&error)))?;
    let old = match new.old().map(File::try_clone) {
        None => None,
        Some(old) => {
            let old = old.map_err(|error| reason(&error)).and_then(|old| open(map, old).map_err(|error| error.0));
            Some(old.map_err(|why| output.cannot_open(class, map, &why))?)
        }
    };
    if value.is_none() {
        let there = old.as_ref().map_or(Ok(None), |old| old.get(key));
        if there.map_err(|error| output.cannot_open(class, map, &error.0))?.is_none() {
            // Exit code 0, as in sendmail.
            output.complain(format!("key {} doesn't exist in map {}", shown(key), map.display()));
            return Ok(exit::OK);
        }
    }
    let rewritten = if old.is_some() && text_decides(map, new.old()) {
        // It would have no effect, and with one the text's new rows would be lost.
        Err(format!("{} is newer and decides: run makemap first", text_path(map).display()))
    } else {
        rewrite(new, old.as_ref(), key, value)
    };
    rewritten.map_err(|why| {
        let what = match value {
            Some(value) => format!("error updating ({}, {})", shown(key), shown(value)),
            None => format!("couldn't remove key {}", shown(key)),
        };
        output.complain(format!("{what} in map {}: {why}", map.display()));
        exit::IO
    })?;
    Ok(exit::OK)
}

/// Whether there is a text beside the map that has changed since.
fn text_decides(map: &OsStr, old: Option<&File>) -> bool {
    let text = table::open_at_once(text_path(map)).ok();
    let compiled = old.and_then(|old| old.try_clone().ok());
    let source = Source { name: text_path(map).to_string_lossy().into(), text, compiled };
    table::choose(&source).is_ok_and(|chosen| chosen.form == Form::Text)
}

fn rewrite(new: NewFile, old: Option<&Database>, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
    let failed = |error: std::io::Error| reason(&error);
    let mut writer = Writer::new(new.file());
    for record in old.into_iter().flat_map(Database::records) {
        let record = record.map_err(|error| error.0)?;
        if record.key != key {
            writer.put(&record.key, &record.value, record.line, Duplicate::Append).map_err(failed)?;
        }
    }
    if let Some(value) = value {
        writer.put(key, value, 0, Duplicate::Replace).map_err(failed)?;
    }
    writer.finish(old.and_then(Database::origin).cloned().unwrap_or_default()).map_err(failed)?;
    new.put_in_place().map(drop).map_err(failed)
}
