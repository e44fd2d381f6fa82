//! `smrsh -c COMMAND`: the shell of sendmail's program mailer where an administrator wants it restricted (sendmail.md 2.7, and measured
//! on 8.17's). Each command of a line is one of `/etc/mail/smrsh` (only its basename counts), or `exec`, `exit`, `echo`;
//! `&&` and `||` join them; what else means something to a shell is refused. Then `/bin/sh` runs the line, with a PATH and nothing else.

use super::syslog;
use crate::exit;
use crate::output::complain;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Where the administrator puts the programs that may be run.
const FOLDER: &str = "/etc/mail/smrsh";
/// Longest line, in bytes.
const LIMIT: usize = 982;
/// What a shell would act on. Also with the eighth bit set: some shells take it off.
const SPECIAL: &[u8] = b"<|>^();&`$\r\n";
const BUILT_IN: [&[u8]; 3] = [b"exec", b"exit", b"echo"];

/// Why a line is not run: what is said (the program's name goes before it) and what is logged.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    said: String,
    logged: String,
}

/// Runs it; returns only if nothing was run.
pub(super) fn run(program: &str, arguments: &[OsString]) -> u8 {
    let line = match arguments {
        [flag, line] if flag == "-c" && !line.as_bytes().trim_ascii().is_empty() => line,
        _ => {
            complain(&format!("Usage: {program} -c command"));
            syslog::log("smrsh", "usage");
            return exit::USAGE;
        }
    };
    match allowed(line.as_bytes(), Path::new(FOLDER)) {
        Ok(line) => {
            let error = shell(&line).exec();
            complain(&format!("Cannot exec /bin/sh: {}", crate::output::without_number(&error.to_string())));
            exit::OS_ERROR
        }
        Err(refusal) => {
            complain(&format!("{program}: {}", refusal.said));
            syslog::log("smrsh", &format!("uid {}: {}", nix::unistd::Uid::current(), refusal.logged));
            exit::UNAVAILABLE
        }
    }
}

fn shell(line: &OsStr) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// The line as the shell gets it: programs with their true path.
fn allowed(line: &[u8], folder: &Path) -> Result<OsString, Refusal> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if line.len() > LIMIT {
        let said = format!("command too long: {}", text(line));
        return Err(Refusal { said, logged: format!("command too long: {:.40}", text(line)) });
    }
    let mut made = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let end = rest.iter().position(|b| b" \t".contains(b)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if BUILT_IN.contains(&name) && !(name == b"exec" && behind.is_empty()) {
            made.extend_from_slice(name);
            if name == b"exec" {
                // What it runs is judged like any other program.
                made.push(b' ');
                rest = behind.trim_ascii_start();
                if rest.is_empty() {
                    let why = "missing command to exec".to_owned();
                    return Err(Refusal { said: why.clone(), logged: why });
                }
                continue;
            }
        } else {
            made.extend_from_slice(&find(name, folder)?);
        }
        let (arguments, join) = split(behind);
        made.extend_from_slice(arguments);
        rest = match join {
            [] => b"",
            [b'&', b'&', more @ ..] | [b'|', b'|', more @ ..] => {
                made.extend_from_slice(join.get(..2).unwrap_or_default());
                made.push(b' ');
                more.trim_ascii_start()
            }
            [special, ..] => return Err(Refusal::character(*special, line)),
        };
    }
    Ok(OsString::from_vec(made))
}

/// Arguments, and from the first special character on.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| SPECIAL.contains(&(b & 0x7f))).unwrap_or(text.len()))
}

/// The path of an allowed program.
fn find(name: &[u8], folder: &Path) -> Result<Vec<u8>, Refusal> {
    let base = name.rsplit(|&b| b == b'/').next().unwrap_or(name);
    let path = folder.join(OsStr::from_bytes(base));
    let refuse = |why: &str| {
        let base = String::from_utf8_lossy(base);
        let logged = format!("attempt to use \"{base}\"{why}");
        Err(Refusal { said: format!("\"{base}\" not available for sendmail programs{why}"), logged })
    };
    let Ok(found) = std::fs::metadata(&path) else { return refuse(" (stat failed)") };
    if !found.is_file() {
        return refuse(" (not a file)");
    }
    // An administrator's file may have any name, but the shell must take it as one word.
    if base.iter().any(|b| SPECIAL.contains(&(b & 0x7f)) || b"\\\"'*?[]{}~#!=%\t \0".contains(b)) {
        return refuse("");
    }
    if rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_err() {
        return refuse("");
    }
    Ok(path.into_os_string().into_vec())
}

impl Refusal {
    fn character(special: u8, line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line).into_owned();
        let special = char::from(special & 0x7f);
        Self {
            said: format!("cannot use {special} in command"),
            logged: format!("attempt to use {special} in command: {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("x.sh", 0o755), ("noexec", 0o644), ("a;b", 0o755)] {
            std::fs::write(folder.path().join(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        folder
    }

    #[test]
    fn lines_that_are_run() {
        let folder = folder();
        for (line, made) in [
            ("x.sh a  b", "@/x.sh a  b"),
            ("/usr/bin/x.sh", "@/x.sh"),
            ("../x.sh", "@/x.sh"),
            ("  exec  /p/x.sh \"a b\"", "exec @/x.sh \"a b\""),
            ("exec exec x.sh", "exec exec @/x.sh"),
            ("exit 75", "exit 75"),
            ("echo", "echo"),
            ("exec x.sh || exit 75", "exec @/x.sh || exit 75"),
            ("x.sh a&&x.sh", "@/x.sh a&& @/x.sh"),
            ("x.sh &&", "@/x.sh && "),
            ("x.sh \\a #c *", "@/x.sh \\a #c *"),
        ] {
            let made = made.replace('@', &folder.path().to_string_lossy());
            assert_eq!(allowed(line.as_bytes(), folder.path()), Ok(OsString::from(made)), "{line}");
        }
    }

    #[test]
    fn lines_that_are_not() {
        let folder = folder();
        let long = format!("x.sh {}", "y".repeat(LIMIT));
        for (line, said) in [
            ("ls -l", "\"ls\" not available for sendmail programs (stat failed)"),
            ("/bin/sh -c x", "\"sh\" not available for sendmail programs (stat failed)"),
            ("x.sh&&x.sh", "\"x.sh&&x.sh\" not available for sendmail programs (stat failed)"),
            ("\"x.sh\" a", "\"\"x.sh\"\" not available for sendmail programs (stat failed)"),
            ("dir", "\"dir\" not available for sendmail programs (not a file)"),
            ("x.sh/", "\"\" not available for sendmail programs (not a file)"),
            ("noexec", "\"noexec\" not available for sendmail programs"),
            ("a;b", "\"a;b\" not available for sendmail programs"),
            ("exec", "\"exec\" not available for sendmail programs (stat failed)"),
            ("exec  ", "missing command to exec"),
            ("x.sh a|x.sh", "cannot use | in command"),
            ("x.sh 'a;b'", "cannot use ; in command"),
            ("x.sh a\nx.sh", "cannot use \n in command"),
            ("x.sh $HOME", "cannot use $ in command"),
            ("x.sh a\u{a4}b", "cannot use $ in command"),
            ("exit 3 & x.sh", "cannot use & in command"),
            ("x.sh &&& x.sh", "\"&\" not available for sendmail programs (stat failed)"),
            ("IFS=' ' && exec x.sh", "\"IFS='\" not available for sendmail programs (stat failed)"),
            (&long, &format!("command too long: {long}")),
        ] {
            assert_eq!(allowed(line.as_bytes(), folder.path()).unwrap_err().said, *said, "{line}");
        }
    }

    #[test]
    fn the_shell_inherits_nothing() {
        let out = shell(OsStr::new("exec /usr/bin/env")).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.contains("PATH=/usr/bin:/bin\n"), "{text}");
        assert!(
            text.lines().all(|l| ["PATH=", "PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|n| l.starts_with(n))),
            "{text}"
        );
    }
}
