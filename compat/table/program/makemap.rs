//! `makemap` (sendmail.md 2.6): makes a map from the text on standard input, and lists one with `-u`.
//!
//! Rows with faults are told and left out, the map is made all the same, and the exit code is 65, as in sendmail.

use super::option::{self, Given};
use super::{Ended, Output, bytes, c_string, database_path, exit, open, open_map, reason};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use table::text::{Row, Rules};
use table::{Duplicate, NewFile, Origin, Writer, origin};

const USAGE: &str = "Usage: makemap [-C cffile] [-N] [-c cachesize] [-D commentchar]
               [-d] [-e] [-f] [-i type] [-l] [-o] [-r] [-s] [-t delimiter]
               [-u] [-v] type mapname";
/// Lines are read up to here; what is longer was longer than any line may be (see [`Rules::row`]).
const LINE: usize = 4_096;
/// Read at once.
const BUFFER: usize = 256 << 10;

/// What was asked for.
struct Order {
    rules: Rules,
    fold: bool,
    /// `-o`: the rows there are stay.
    append: bool,
    /// `-r`: the last of a key counts.
    replace: bool,
    /// `-d`: one may stand several times; the first is found, all are listed.
    duplicates: bool,
    dump: bool,
    verbose: bool,
    class: String,
    map: OsString,
}

/// Runs `makemap` with the arguments behind its name and returns its exit code.
pub fn makemap(arguments: &[OsString], stdin: &File, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let mut output = Output { program: "makemap", out: stdout, err: stderr };
    run(arguments, stdin, &mut output).unwrap_or_else(|code| code)
}

fn run(arguments: &[OsString], stdin: &File, output: &mut Output<'_>) -> Result<u8, Ended> {
    let Some(order) = read(arguments, output)? else {
        return Ok(exit::OK);
    };
    output.check_class(&order.class, &order.map)?;
    if order.dump { dump(&order, output) } else { make(&order, stdin, output) }
}

/// `None`: all was said.
fn read(arguments: &[OsString], output: &mut Output<'_>) -> Result<Option<Order>, Ended> {
    let (given, operands) = option::read(arguments, "C:Nc:D:defi:lorst:uv", USAGE, output)?;
    if given.iter().any(|option| option.letter == 'l') {
        // Those that Debian's has first, for scripts that compare.
        super::CLASSES.iter().for_each(|class| output.say(class.as_bytes()));
        return Ok(None);
    }
    let [class, map] = operands.as_slice() else {
        return Err(option::misused(USAGE, output));
    };
    let last = |letter| given.iter().rev().find(|option| option.letter == letter).map(|option| &option.value);
    let has = |letter| last(letter).is_some();
    let first_byte = |value: &OsString| bytes(value).first().copied();
    let mut rules = Rules { empty_values: has('e'), ..Rules::default() };
    if let Some(value) = last('D') {
        rules.comment = first_byte(value).unwrap_or(0);
    }
    if let Some(value) = last('t') {
        rules.delimiter = first_byte(value);
        if value.is_empty() {
            let _nobody_listens = writeln!(output.err, "Invalid separator");
        }
    }
    output.check_configuration(configuration(&given))?;
    Ok(Some(Order {
        rules,
        fold: !has('f'),
        append: has('o'),
        replace: has('r'),
        duplicates: has('d'),
        dump: has('u'),
        verbose: has('v'),
        class: class.to_string_lossy().into_owned(),
        map: map.clone(),
    }))
}

fn configuration(given: &[Given]) -> Option<&OsStr> {
    given.iter().rev().find(|option| option.letter == 'C').map(|option| option.value.as_os_str())
}

fn dump(order: &Order, output: &mut Output<'_>) -> Result<u8, Ended> {
    let database = open_map(&order.map).map_err(|why| output.cannot_open(&order.class, &order.map, &why))?;
    for record in database.records() {
        match record {
            Ok(record) => output.say(&[c_string(&record.key), b"\t", c_string(&record.value)].concat()),
            Err(error) => {
                output.complain(&error.0);
                return Err(exit::IO);
            }
        }
    }
    Ok(exit::OK)
}

fn make(order: &Order, stdin: &File, output: &mut Output<'_>) -> Result<u8, Ended> {
    let path = database_path(&order.map);
    warn_of_folder(&path, output);
    let cannot_open =
        |output: &mut Output<'_>, error: &io::Error| output.cannot_open(&order.class, &order.map, &reason(error));
    let new = NewFile::create(&path).map_err(|error| cannot_open(output, &error))?;
    // Before reading: if the text changes meanwhile, it is newer than this says, and decides.
    let origin = origin(stdin, None).unwrap_or_default();
    let mut writer = Writer::new(new.file());
    if order.append {
        copy_old(order, &new, &mut writer, output)?;
    }
    let code = fill(order, stdin, &mut writer, !origin.name.is_empty(), output)?;
    let origin = if order.append { Origin::default() } else { origin };
    let failed = |output: &mut Output<'_>, error: io::Error| {
        output.complain(format!("close({}): {}", order.map.display(), reason(&error)));
        exit::IO
    };
    writer.finish(origin).map_err(|error| failed(output, error))?;
    let kept = new.put_in_place().map_err(|error| failed(output, error))?;
    if order.verbose {
        if let Some(kept) = kept {
            output.complain(format!("the old {} is kept as {}", path.display(), kept.display()));
        }
        output.complain(format!("{} is Postrider's compiled table, not {}", path.display(), order.class));
    }
    Ok(code)
}

/// `-o` wants a map that is there.
fn copy_old(order: &Order, new: &NewFile, writer: &mut Writer<'_>, output: &mut Output<'_>) -> Result<(), Ended> {
    let copy = || -> Result<(), String> {
        let old = new.old().ok_or("No such file or directory")?;
        let old = old.try_clone().map_err(|error| reason(&error))?;
        let old = open(&order.map, old).map_err(|error| error.0)?;
        for record in old.records() {
            let record = record.map_err(|error| error.0)?;
            // Its line is one of another text.
            writer.put(&record.key, &record.value, 0, Duplicate::Append).map_err(|error| reason(&error))?;
        }
        Ok(())
    };
    let mut copy = copy;
    copy().map_err(|why| output.cannot_open(&order.class, &order.map, &why))
}

/// Reads all rows; the exit code says whether all could be used.
fn fill(
    order: &Order,
    stdin: &File,
    writer: &mut Writer<'_>,
    lines: bool,
    output: &mut Output<'_>,
) -> Result<u8, Ended> {
    let mut input = BufReader::with_capacity(BUFFER, stdin);
    let (mut text, mut folded, mut number, mut code) = (Vec::new(), Vec::new(), 0u32, exit::OK);
    loop {
        match next_line(&mut input, &mut text) {
            Ok(true) => number = number.saturating_add(1),
            Ok(false) => return Ok(code),
            Err(error) => {
                // sendmail takes it for the end; half a map must not replace a whole one.
                output.complain(format!("standard input: {}", reason(&error)));
                return Err(exit::IO);
            }
        }
        let fault = match order.rules.row(number, &text) {
            None => continue,
            Some(Ok(row)) => put(order, writer, row, lines, &mut folded, output),
            Some(Err(fault)) => Err((told(&fault.what, order, &text), exit::DATA)),
        };
        if let Err((what, problem)) = fault {
            let place = format!("{}: line {number}: ", order.map.display());
            output.complain([place.as_bytes(), &what].concat());
            if problem == exit::IO {
                return Err(problem);
            }
            code = problem;
        }
    }
}

/// A fault in sendmail's words: it has folded the key by then. The key is as it was written, in whatever character set.
fn told(what: &str, order: &Order, text: &[u8]) -> Vec<u8> {
    const KEY: &str = "no RHS for LHS ";
    if !what.starts_with(KEY) {
        return what.as_bytes().to_vec();
    }
    let mut key = order.rules.key(text).to_vec();
    if order.fold {
        key.make_ascii_lowercase();
    }
    [KEY.as_bytes(), &key].concat()
}

fn put(
    order: &Order,
    writer: &mut Writer<'_>,
    row: Row<'_>,
    lines: bool,
    folded: &mut Vec<u8>,
    output: &mut Output<'_>,
) -> Result<(), (Vec<u8>, u8)> {
    folded.clear();
    folded.extend_from_slice(row.key);
    if order.fold {
        folded.make_ascii_lowercase();
    }
    if order.verbose {
        output.say(&[b"key=`", folded.as_slice(), b"', val=`", row.value, b"'"].concat());
    }
    let duplicate = match (order.duplicates, order.replace) {
        (true, _) => Duplicate::Append,
        (false, true) => Duplicate::Replace,
        (false, false) => Duplicate::Keep,
    };
    let key = |what: &str| [b"key ", folded.as_slice(), b": ", what.as_bytes()].concat();
    match writer.put(folded, row.value, if lines { row.line } else { 0 }, duplicate) {
        Ok(true) if !order.replace && !order.duplicates => Err((key("duplicate key"), exit::DATA)),
        Ok(_) => Ok(()),
        Err(error) => Err((key(&format!("put error: {}", reason(&error))), exit::IO)),
    }
}

/// Reads a line without its LF, at most [`LINE`] bytes of it. `false`: the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let ready = match input.fill_buf() {
            Ok(ready) => ready,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if ready.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', ready);
        let part = ready.get(..end.unwrap_or(ready.len())).unwrap_or_default();
        line.extend_from_slice(part.get(..LINE.saturating_sub(line.len()).min(part.len())).unwrap_or_default());
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// sendmail's warning (it says it twice): whoever may write there can put another map in place.
fn warn_of_folder(path: &Path, output: &mut Output<'_>) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = folder.metadata().map_or(0, |data| data.mode());
    let who = match mode {
        _ if mode & 0o002 != 0 => "World",
        _ if mode & 0o020 != 0 => "Group",
        _ => return,
    };
    let _nobody_listens = writeln!(output.err, "WARNING: {who} writable directory {}", folder.display());
}
