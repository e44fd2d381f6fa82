//! sendmail's command surface: flags, message preparation, texts, exit codes, and the small program behind the names `sendmail`,
//! `mailq`, `newaliases` and the others. No tokio, no KDL, no set-id of any kind (DESIGN §2): it is the caller, it
//! reads the message, and it hands it to the engine, to the drop folder, or to SMTP on loopback.
//!
//! [`run`] is the one way in; the README says where to start reading.

pub mod argument;
pub mod caller;
pub mod command_line;
pub mod configuration;
pub mod content;
pub mod dead_letter;
pub mod debug;
pub mod deliver;
pub mod drop_file;
pub mod dropped;
pub mod engine;
pub mod exit;
pub mod flag;
mod flag_value;
pub mod hand_over;
pub mod heading;
pub mod host;
pub mod input;
pub mod live;
pub mod mailq;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod named;
pub mod operator;
pub mod option;
pub mod output;
pub mod place;
pub mod prepare;
pub mod privilege;
pub mod program;
pub mod queue_run;
pub mod server;
pub mod session;
pub mod setting;
pub mod small;
pub mod smtp;
pub mod traffic;
pub mod verify;
pub mod wire;
pub mod zone;

use command_line::{Command, Mode, Stop};
use hand_over::Verb;
use output::Output;
use place::Places;
use program::Program;
use std::ffi::OsString;
use std::io::Read;
use traffic::Traffic;

/// Runs the program with these arguments, the name first, and returns its exit code (`sysexits.h`).
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let mut output = Output::standard();
    if let Err(error) = privilege::drop_borrowed() {
        output.line(&format!("sendmail: cannot become the real user: {}", error.desc()));
        return exit::OS_ERROR;
    }
    endure();
    let args: Vec<OsString> = args.collect();
    match args.first().and_then(|name| program::find(name)) {
        Some((name, Program::Verb)) => Verb::new(name, args.into_iter().skip(1)).exec(&mut output),
        Some((name, Program::Small(which))) => small::run(which, name, &args, &mut output),
        _ => match Command::read(args.into_iter()) {
            Ok(command) => begin(&command, output),
            Err(stop) => refuse(&stop, &mut output),
        },
    }
}

pub(crate) fn refuse(stop: &Stop, output: &mut Output) -> u8 {
    match stop {
        Stop::Getopt(text) => {
            output::complain(text);
            exit::USAGE
        }
        Stop::Refused(code, text) => {
            output.line(text);
            *code
        }
    }
}

/// What comes before the work itself: files that the flags name, notices, debug output.
fn begin(command: &Command, mut output: Output) -> u8 {
    let files = configuration::named(command.configuration.as_deref())
        .and_then(|file| Ok((file, command.traffic_file.as_deref().map(Traffic::open).transpose()?)));
    let (configuration, traffic) = match files {
        Ok(files) => files,
        Err(stop) => return refuse(&command.in_its_words(stop), &mut output),
    };
    command.notices.iter().for_each(|notice| output.line(notice));
    if command.mode == Mode::Options {
        option::known().for_each(|setting| output.line(setting.name));
        return exit::OK;
    }
    if let Err(code) = debug::print(command, &mut output) {
        return code;
    }
    let Some(traffic) = traffic else {
        return act(command, configuration, Box::new(input::Patient(std::io::stdin())), &mut output);
    };
    output.flush();
    let mut output = Output::to(Box::new(traffic.writing(std::io::stdout())));
    act(command, configuration, Box::new(traffic.reading(input::Patient(std::io::stdin()))), &mut output)
}

fn act(command: &Command, configuration: Option<&str>, source: Box<dyn Read>, output: &mut Output) -> u8 {
    let places = Places::from_environment();
    let source: Box<dyn Read> = if command.seven_bit { Box::new(input::SevenBit(source)) } else { source };
    let verb = |name, arguments: &[&str]| Verb { configuration, ..Verb::new(name, arguments) };
    match (command.mode, &command.queue_run) {
        (Mode::Deliver, None) if command.quarantine.is_none() => deliver::run(command, &places, source, output),
        // The submission program's own queue runner: that queue does not exist here, so there is nothing to run.
        (Mode::Deliver, Some(_)) if command.submission_only => exit::OK,
        (Mode::Deliver, Some(run)) if run.interval.is_some() => {
            server::queue_runner(command, &places, configuration, output)
        }
        (Mode::Deliver, run) => {
            operator::run(command, &run.clone().unwrap_or_default(), &places, configuration, output)
        }
        (Mode::Smtp, _) => session::run(command, &places, source, output),
        (Mode::PrintQueue, _) => {
            let code = mailq::run(command, &places, output);
            output.checked(code)
        }
        (Mode::CountQueue, _) => mailq::count(&places, output),
        (Mode::Server { foreground }, _) => server::run(command, foreground, configuration, output),
        (Mode::Rebuild, _) => {
            let files = command.alias_file.iter().flat_map(|files| ["--alias-file", files]);
            let check = command.check_aliases.then_some("--check");
            verb("newaliases", &files.chain(check).collect::<Vec<_>>()).exec(output)
        }
        (Mode::Verify, _) => verify::run(command, configuration, source, output),
        (Mode::CheckConfiguration, _) => verb("config", &["check", "--quiet"]).exec(output),
        (Mode::HostStatus, _) => verb("hoststat", if command.verbose { &["-v"] } else { &[] }).exec(output),
        (Mode::PurgeHostStatus, _) => verb("purgestat", &[]).exec(output),
        (Mode::Test, _) => verb("test-mode", &[]).exec(output),
        (Mode::Options, _) => exit::OK,
    }
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
            recipients: vec![Recipient { address: "bob".into(), notify: 0, orcpt: String::new() }],
            cut: false,
            received: call::submit::Received::default(),
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
