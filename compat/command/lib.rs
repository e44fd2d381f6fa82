//! sendmail's command surface: flags, message preparation, texts, exit codes, and the small program behind the names `sendmail`,
//! `mailq`, `newaliases` and the others. No tokio, no KDL, no set-id of any kind (DESIGN §2): it is the caller, it
//! reads the message, and it hands it to the engine, to the drop folder, or to SMTP on loopback.
//!
//! [`run`] is the one way in; the README says where to start reading.

pub mod caller;
pub mod command_line;
pub mod content;
pub mod dead_letter;
pub mod deliver;
pub mod drop_file;
pub mod dropped;
pub mod engine;
pub mod exit;
pub mod flag;
pub mod hand_over;
pub mod heading;
pub mod host;
pub mod input;
pub mod mailq;
pub mod operator;
pub mod option;
pub mod output;
pub mod place;
pub mod prepare;
pub mod queue_run;
pub mod server;
pub mod session;
pub mod smtp;
pub mod wire;
pub mod zone;

use command_line::{Command, Mode, Stop};
use output::Output;
use place::Places;
use std::ffi::OsString;

/// Runs the program with these arguments, the name first, and returns its exit code (`sysexits.h`).
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    endure();
    let mut output = Output::standard();
    let args: Vec<OsString> = args.collect();
    if let Some(verb) = args.first().and_then(|name| hand_over::verb(name)) {
        return hand_over::run(verb, args.get(1..).unwrap_or_default(), &mut output);
    }
    let code = match Command::read(args.into_iter()) {
        Ok(command) => act(&command, &mut output),
        Err(stop) => refuse(&stop, &mut output),
    };
    output.flush();
    code
}

fn refuse(stop: &Stop, output: &mut Output) -> u8 {
    match stop {
        Stop::Getopt(_) => {
            output::complain(&stop.to_string());
            exit::USAGE
        }
        Stop::NotBuilt(_) => {
            output.line(&stop.to_string());
            exit::SOFTWARE
        }
        Stop::Refused(code, text) => {
            output.line(text);
            *code
        }
    }
}

fn act(command: &Command, output: &mut Output) -> u8 {
    command.notices.iter().for_each(|notice| output.line(notice));
    let places = Places::from_environment();
    match (command.mode, &command.queue_run) {
        (Mode::PrintQueue, _) => {
            let code = mailq::run(command, &places, output);
            output.checked(code)
        }
        (Mode::Server { foreground }, _) => server::run(foreground, output),
        (Mode::Rebuild, _) => rebuild(command, output),
        (Mode::Verify, _) => verify(command, output),
        // The submission program's own queue runner: that queue does not exist here, so there is nothing to run.
        (Mode::Deliver, Some(run)) if run.interval.is_some() && command.submission_only => exit::OK,
        (Mode::Deliver, Some(run)) if run.interval.is_some() => server::run(false, output),
        (Mode::Deliver, Some(run)) => operator::run(command, run, &places, output),
        (Mode::Deliver, None) => deliver::run(command, &places, std::io::stdin(), output),
        (Mode::Smtp, _) => session::run(command, &places, std::io::stdin(), output),
    }
}

/// `-bi`: `postrider newaliases`, which knows where the aliases are.
fn rebuild(command: &Command, output: &mut Output) -> u8 {
    let mut arguments = Vec::new();
    if let Some(files) = &command.alias_files {
        arguments.extend([OsString::from("--alias-file"), OsString::from(files)]);
    }
    if command.check_aliases {
        arguments.push(OsString::from("--check"));
    }
    hand_over::run("newaliases", &arguments, output)
}

/// `-bv`: `postrider verify` reads configuration and tables, and prints sendmail's texts.
fn verify(command: &Command, output: &mut Output) -> u8 {
    if command.recipients.is_empty() {
        output.line("Recipient names must be specified");
        return exit::USAGE;
    }
    let mut arguments = vec![OsString::from("--")];
    arguments.extend(command.recipients.iter().map(OsString::from));
    hand_over::run("verify", &arguments, output)
}

/// Makes what the caller left us bearable: a file size limit must be an error of `write`, not a signal that kills us with
/// half a message written, and a descriptor limit of a handful must not keep us from the drop folder.
fn endure() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigHandler, Signal, signal};
    #[allow(unsafe_code, reason = "ignoring a signal installs no handler that could run anything")]
    // SAFETY: SIG_IGN is no function of ours.
    let _limit_becomes_efbig = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    const ENOUGH: u64 = 32;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < ENOUGH
    {
        let _best_effort = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use call::submit::{Errors, Mode, Recipient, Submission, VERSION};

    /// A submission for tests of those who carry it.
    pub(crate) fn submission() -> Submission {
        Submission {
            version: VERSION,
            id: [7; 16],
            user: "alice".into(),
            sender: "alice".into(),
            recipients: vec![Recipient { address: "bob".into(), notify: 0 }],
            generated: "Date: d\r\n".into(),
            message_id: true,
            resent_message_id: false,
            warnings: String::new(),
            eight_bit: false,
            return_headers: None,
            envelope_id: String::new(),
            hops: 0,
            mode: Mode::Background,
            errors: Errors::Report,
        }
    }
}
