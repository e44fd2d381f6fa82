//! `-bd`, `-bD`, `-q30m`: hands over to `postrider keeper`. This program stays small and parses no configuration. Called by `run`.

use crate::command_line::Command;
use crate::hand_over::Verb;
use crate::output::Output;
use crate::place::Places;
use crate::{engine, exit, operator};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// `-bd`, `-bD`: becomes the server; returns the exit code if that fails.
pub fn run(command: &Command, foreground: bool, configuration: Option<&str>, output: &mut Output) -> u8 {
    if !nix::unistd::getuid().is_root() {
        output.line("550 Permission denied (real uid not trusted)\r");
        return exit::USAGE;
    }
    if command.daemon_ports {
        // Ignoring it could mean to listen where it was meant not to.
        output.line("550 DaemonPortOptions: the server listens where postrider.kdl says; remove the option\r");
        return exit::CONFIG;
    }
    for setting in &command.ignored {
        output.line(&format!("option {} has no effect: postrider.kdl decides", setting.name));
    }
    let mut verb = keeper(configuration);
    if !foreground {
        verb.arguments.push("--detach".into());
    }
    verb.exec(output)
}

/// `-q30m` without `-bd`: a server that tries what is due, and listens to nobody. One that runs already does so anyway; it is asked
/// for a run at once, as sendmail begins with one.
pub fn queue_runner(command: &Command, places: &Places, configuration: Option<&str>, output: &mut Output) -> u8 {
    if engine::open(&places.run, "control").is_ok() {
        return operator::run(command, &command.queue_run.clone().unwrap_or_default(), places, configuration, output);
    }
    if !nix::unistd::getuid().is_root() {
        output.line("Permission denied (real uid not trusted)");
        return exit::USAGE;
    }
    let mut verb = keeper(configuration);
    verb.arguments.push("--detach".into());
    verb.listeners = false;
    verb.exec(output)
}

fn keeper(configuration: Option<&str>) -> Verb<'static> {
    let mut verb = Verb::new("keeper", configuration.map(|file| ["--config", file]).into_iter().flatten());
    let called: Vec<OsString> = std::env::args_os().collect();
    if let Some((name, arguments)) = called.split_first() {
        verb.arguments.push("--started-by".into());
        verb.arguments.push(command_line(&whole_path(name), arguments).into());
    }
    verb
}

/// The second line of the pid file: the call that started the server, as sendmail writes it there, for scripts that make it again
/// (`eval $(tail -1 FILE)`, `sh -c`). Beyond sendmail, what a shell would read as something else is quoted.
fn command_line(program: &Path, arguments: &[OsString]) -> String {
    let words = std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The program as it was called, whole: whoever starts it again may be elsewhere and have another PATH.
fn whole_path(name: &OsStr) -> PathBuf {
    let given = Path::new(name);
    if name.as_encoded_bytes().contains(&b'/') {
        return std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(given)).find(|file| file.is_absolute() && file.is_file());
    found.or_else(|| std::env::current_exe().ok()).unwrap_or_else(|| given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_can_make_the_same_call_again() {
        for (arguments, line) in [
            (&["-bd", "-q15m"][..], "/usr/sbin/sendmail -bd -q15m"),
            (
                &["-L", "sm-mta", "-bd", "-q1h30m", "-ODeliveryMode=b"],
                "/usr/sbin/sendmail -L sm-mta -bd -q1h30m -ODeliveryMode=b",
            ),
            (&["-bd", "-X", "/tmp/a b", ""], "/usr/sbin/sendmail -bd -X '/tmp/a b' ''"),
            (&["-bd", "-X$(id)", "-Xit's"], "/usr/sbin/sendmail -bd '-X$(id)' '-Xit'\\''s'"),
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            let made = command_line(Path::new("/usr/sbin/sendmail"), &arguments);
            assert_eq!(made, line);
            // As the shell reads it.
            let script = made.replace("/usr/sbin/sendmail", "printf '%s\\n'");
            let out = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{}\n", words.join("\n")));
        }
    }

    #[test]
    fn the_program_is_named_whole() {
        assert_eq!(whole_path(OsStr::new("/usr/lib/sendmail")), Path::new("/usr/lib/sendmail"));
        assert!(whole_path(OsStr::new("./sendmail")).is_absolute());
        let found = whole_path(OsStr::new("sh"));
        assert!(found.is_absolute() && found.ends_with("sh"), "{}", found.display());
        assert!(whole_path(OsStr::new("no-such-program")).is_absolute());
    }
}
