//! `rmail USER…`: mail that came by UUCP (sendmail.md 2.8, and measured on 8.17's). Reads the `From user date remote from host` lines before
//! the message, makes the bang path of them, and does what `sendmail -G -oee -odi -oi -pUUCP:host.UUCP -fhost!user USER…` does.
//!
//! Better than the original: when that fails, so does `rmail`, with its code (8.17 prints it and exits 0, and UUCP forgets the message).

use super::send;
use crate::exit;
use crate::output::{Output, complain};
use lexopt::{Arg, Parser};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A From line is no longer.
const LINE: usize = 2048;
const USAGE: &str = "usage: rmail [-T] [-D domain] user ...";

/// Where the message came from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Origin {
    /// The host that handed it to us.
    system: Option<Vec<u8>>,
    /// All hosts, each with a `!` behind it.
    path: Vec<u8>,
    user: Vec<u8>,
}

/// Runs it.
pub(super) fn run(program: &str, arguments: &[OsString], mut input: impl BufRead, output: &mut Output) -> u8 {
    let call = match Call::read(arguments) {
        Ok(call) => call,
        Err(why) => {
            if !why.is_empty() {
                complain(&format!("{program}: {why}"));
            }
            complain(USAGE);
            return exit::USAGE;
        }
    };
    if let Some(user) = call.users.iter().find(|user| user.as_bytes().starts_with(b"-")) {
        complain(&format!("rmail: dash precedes argument: {}", user.to_string_lossy()));
        return exit::USAGE;
    }
    let (origin, first) = match Origin::read(&mut input) {
        Ok(read) => read,
        Err(why) => {
            complain(&format!("rmail: {why}"));
            return exit::DATA;
        }
    };
    let arguments = call.arguments(&origin);
    if call.trace {
        trace(&origin, &arguments);
    }
    let code = send(arguments, first.as_slice().chain(input), output);
    output.flush();
    if code != exit::OK {
        complain(&format!("rmail: /usr/sbin/sendmail: terminated with {code} (non-zero) status"));
    }
    code
}

/// The command line.
struct Call {
    domain: OsString,
    trace: bool,
    users: Vec<OsString>,
}

impl Call {
    fn read(arguments: &[OsString]) -> Result<Self, String> {
        let mut call = Self { domain: "UUCP".into(), trace: false, users: Vec::new() };
        let mut parser = Parser::from_args(arguments);
        parser.set_short_equals(false);
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            match arg {
                Arg::Short('T') => call.trace = true,
                Arg::Short('D') => {
                    call.domain = parser.value().map_err(|_| "option requires an argument -- 'D'".to_owned())?;
                }
                Arg::Short(letter) => return Err(format!("invalid option -- '{letter}'")),
                Arg::Long(_) => return Err("invalid option -- '-'".to_owned()),
                Arg::Value(user) => call.users.push(user),
            }
        }
        if call.users.is_empty() { Err(String::new()) } else { Ok(call) }
    }

    /// What sendmail is given.
    fn arguments(&self, origin: &Origin) -> Vec<OsString> {
        let mut protocol = b"-p".to_vec();
        protocol.extend_from_slice(self.domain.as_bytes());
        if let Some(system) = &origin.system {
            protocol.push(b':');
            protocol.extend_from_slice(system);
            protocol.push(b'.');
            protocol.extend_from_slice(self.domain.as_bytes());
        }
        let sender = [b"-f", origin.path.as_slice(), &origin.user].concat();
        let fixed = ["-G", "-oee", "-odi", "-oi"].map(OsString::from);
        let made = [protocol, sender].map(OsString::from_vec);
        fixed.into_iter().chain(made).chain(self.users.iter().map(|user| one_address(user))).collect()
    }
}

/// A comma in an argument of rmail's does not separate two recipients.
fn one_address(user: &OsStr) -> OsString {
    let bytes = user.as_bytes();
    if bytes.contains(&b',') && !bytes.contains(&b'<') {
        return OsString::from_vec([b"<", bytes, b">"].concat());
    }
    user.to_owned()
}

impl Origin {
    /// Reads the lines; also returns the first line behind them, which belongs to the message.
    fn read(input: &mut impl BufRead) -> Result<(Self, Vec<u8>), String> {
        let mut origin = Self::default();
        loop {
            let line = line(input)?;
            let text = |line: &[u8]| String::from_utf8_lossy(line).trim_end().to_owned();
            let Some(rest) = line.strip_prefix(b"From ").or_else(|| line.strip_prefix(b">From ")) else {
                if origin.user.is_empty() {
                    return Err(format!("missing or empty From line: {}", text(&line)));
                }
                return Ok((origin, line));
            };
            origin.add(rest).map_err(|why| match why {
                Wrong::Corrupted => format!("corrupted From line: {}", line.trim_ascii_end().escape_ascii()),
                Wrong::Bang(address) => format!("bang starts address: {}", text(&address)),
            })?;
        }
    }

    /// One line, behind its `From `: each adds its host to the path, the last one's user counts.
    fn add(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if line.trim_ascii().is_empty() {
            return Err(Wrong::Corrupted);
        }
        let mut user = word(line);
        match remote(line) {
            Some(host) => self.host(host),
            None => {
                if let Some(bang) = user.iter().rposition(|&b| b == b'!') {
                    let (host, rest) = user.split_at(bang);
                    if host.is_empty() {
                        return Err(Wrong::Bang(user.to_vec()));
                    }
                    user = rest.get(1..).filter(|rest| !rest.is_empty()).ok_or(Wrong::Corrupted)?;
                    self.host(host);
                }
            }
        }
        self.user = if user.is_empty() { b"<>".to_vec() } else { user.to_vec() };
        Ok(())
    }

    fn host(&mut self, host: &[u8]) {
        self.path.extend_from_slice(host);
        self.path.push(b'!');
        self.system.get_or_insert_with(|| host.to_vec());
    }
}

enum Wrong {
    Corrupted,
    Bang(Vec<u8>),
}

/// Up to the first white space.
fn word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The host behind `remote from `.
fn remote(line: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"remote from ";
    let at = memchr::memmem::find(line.get(1..)?, MARK)? + 1 + MARK.len();
    Some(word(line.get(at..)?)).filter(|host| !host.is_empty())
}

/// The next line with its end.
fn line(input: &mut impl BufRead) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE as u64).read_until(b'\n', &mut line);
    match read.map_err(|error| format!("stdin: {}", crate::output::without_number(&error.to_string())))? {
        0 => Err("no data".to_owned()),
        _ if line.ends_with(b"\n") => Ok(line),
        _ => Err("line too long".to_owned()),
    }
}

/// `-T`.
fn trace(origin: &Origin, arguments: &[OsString]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some(system) = &origin.system {
        complain(&format!("from_sys: {}", text(system)));
    }
    complain(&format!("from_path: {}", text(&origin.path)));
    complain(&format!("from_user: {}", text(&origin.user)));
    complain("Sendmail arguments:\n\t/usr/sbin/sendmail");
    arguments.iter().for_each(|argument| complain(&format!("\t{}", argument.to_string_lossy())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(lines: &str) -> Result<String, String> {
        let call = Call::read(&["bob".into()]).map_err(|why| format!("arguments: {why}"))?;
        let text = format!("{lines}Subject: s\n\nx\n");
        let (origin, first) = Origin::read(&mut text.as_bytes())?;
        assert_eq!(first, b"Subject: s\n");
        let arguments: Vec<String> =
            call.arguments(&origin).iter().map(|a| a.to_str().unwrap().to_owned()).skip(4).collect();
        Ok(arguments.join(" "))
    }

    /// All of it as 8.17's rmail called a recording sendmail.
    #[test]
    fn from_lines_become_a_path() {
        for (lines, arguments) in [
            (
                "From mary Sat Nov 21 remote from hostb\n>From x Sat Nov remote from hosta\n",
                "-pUUCP:hostb.UUCP -fhostb!hosta!x bob",
            ),
            ("From mary Sat Nov 21 20:27:47 1998\n", "-pUUCP -fmary bob"),
            (">From mary d remote from a\n", "-pUUCP:a.UUCP -fa!mary bob"),
            ("From a!b!mary d remote from hostb\n", "-pUUCP:hostb.UUCP -fhostb!a!b!mary bob"),
            ("From hosta!hostb!mary d\n", "-pUUCP:hosta!hostb.UUCP -fhosta!hostb!mary bob"),
            (
                "From h3!u1 d remote from h1\n>From u2 d remote from h2\n>From u3 d remote from h3\n",
                "-pUUCP:h1.UUCP -fh1!h2!h3!u3 bob",
            ),
            ("From a!u1 d\n>From b!u2 d\n", "-pUUCP:a.UUCP -fa!b!u2 bob"),
            ("From u d remote from h1 x\n", "-pUUCP:h1.UUCP -fh1!u bob"),
            ("From u@remote from h\n", "-pUUCP:h.UUCP -fh!u@remote bob"),
            ("From remote from h\n", "-pUUCP -fremote bob"),
            ("From -oX d remote from h\n", "-pUUCP:h.UUCP -fh!-oX bob"),
            ("From   u d remote from h\n", "-pUUCP:h.UUCP -fh!<> bob"),
        ] {
            assert_eq!(made(lines).as_deref(), Ok(arguments), "{lines}");
        }
        for (lines, error) in [
            ("", "missing or empty From line: Subject: s"),
            ("From \n", "corrupted From line: From"),
            ("From !u\n", "bang starts address: !u"),
        ] {
            assert_eq!(made(lines).unwrap_err(), error);
        }
        assert_eq!(Origin::read(&mut &b"From a b\n"[..]).unwrap_err(), "no data");
        assert_eq!(Origin::read(&mut &b"From a b"[..]).unwrap_err(), "line too long");
    }

    #[test]
    fn the_command_line() {
        let read = |line: &str| Call::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        let call = read("-D dom.ain a,b <c,d>").unwrap_or_else(|why| panic!("{why}"));
        let origin = Origin { system: Some(b"h".to_vec()), path: b"h!".to_vec(), user: b"u".to_vec() };
        let arguments = call.arguments(&origin);
        assert_eq!(arguments.get(4..).unwrap(), ["-pdom.ain:h.dom.ain", "-fh!u", "<a,b>", "<c,d>"]);
        for (line, why) in [("", ""), ("-x bob", "invalid option -- 'x'"), ("-D", "option requires an argument -- 'D'")]
        {
            assert_eq!(read(line).err().as_deref(), Some(why));
        }
    }
}
