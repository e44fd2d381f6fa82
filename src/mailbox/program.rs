//! Running one program for one message, as sendmail's prog and local mailers do (sendmail.md 3.1): a From_ line and the message on its stdin,
//! its exit code by sysexits(3), its output for the bounce. What is run comes out of the user's or the aliases' file (`entry.rs`: `/bin/sh -c
//! COMMAND`), or from the keeper's command line (`command.rs`), never from the engine.
//!
//! It has a session of its own. If it takes too long, or the engine goes, that whole group is ended. What it leaves behind when it ends
//! by itself goes on, as with sendmail.

use crate::arguments::Arguments;
use crate::convert::{Content, Converter, CopyError, copy};
use crate::identity::Person;
use call::agent::{Done, Item, Said};
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid as ProcessId, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Output kept for the bounce.
const OUTPUT: usize = 4_096;
const LINES: usize = 40;
/// Between asking a program's group to end and ending it.
const GRACE: Duration = Duration::from_secs(3);

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// sendmail's name of the mailer, for the log.
    pub mailer: &'static str,
    pub program: PathBuf,
    /// What it sees as its own name, if not its path: Dovecot's starts itself again by it.
    pub name: Option<String>,
    /// Without the program's name.
    pub arguments: Vec<String>,
}

impl Call {
    /// A line of a `.forward` or the aliases.
    pub(crate) fn line(command: &str, shell: &Path) -> Self {
        Self {
            mailer: "prog",
            program: shell.to_owned(),
            name: shell.file_name().map(|name| name.to_string_lossy().into_owned()),
            arguments: vec!["-c".to_owned(), command.to_owned()],
        }
    }
    fn shown(&self) -> String {
        format!("{} mailer ({})", self.mailer, self.program.display())
    }
}

/// Runs `call` with one message.
pub(crate) fn run(
    call: &Call,
    (item, content): (&Item, Content<'_>),
    person: &Person,
    arguments: &Arguments,
    engine: &UnixStream,
) -> (Done, Option<Said>) {
    if call.arguments.iter().any(|argument| argument.contains('\0')) {
        return (Done::Permanent(3, 5, "the command holds a NUL".to_owned()), None);
    }
    let mut running = match Running::start(call, item, person, arguments, engine) {
        Ok(running) => running,
        Err(error) => {
            return (Done::Temporary(3, 0, format!("cannot start {}: {error}", call.program.display())), None);
        }
    };
    let mut head = format!("From {} {}\n", sender(item), plain(&item.from_date)).into_bytes();
    Converter::new(false).feed(item.prepend.as_bytes(), true, &mut head);
    let fed = copy(content, Converter::new(false), &mut Vec::new(), &mut head, &mut |out| running.feed(out));
    let ended = match fed {
        Ok(()) => running.finish(),
        Err(CopyError::Target(error)) => Err(error),
        Err(CopyError::Source(error)) => {
            running.kill();
            return (Done::Temporary(3, 0, format!("cannot read message: {error}")), None);
        }
    };
    let lines = lines(&running.output);
    match ended {
        Ok(status) => {
            let said = Said { code: status.code(), lines };
            (judge(status, call), Some(said))
        }
        Err(error) => {
            running.kill();
            let why = if error.kind() == io::ErrorKind::TimedOut {
                format!("{} took longer than {} s", call.shown(), arguments.program_time.as_secs())
            } else {
                format!("{}: {error}", call.shown())
            };
            (Done::Temporary(3, 0, why), Some(Said { code: None, lines }))
        }
    }
}

/// The sender for a From_ line.
pub(crate) fn sender(item: &Item) -> String {
    if item.sender.is_empty() { "MAILER-DAEMON".to_owned() } else { plain(&item.sender) }
}

/// A line break in it would begin a line of a stranger's choice.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What a stranger chose, for the environment (S-41): no shell finds anything in it.
pub(crate) fn harmless(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '_' | '+' | '-');
    text.chars().take(1_000).map(|c| if fits(c) { c } else { '_' }).collect()
}

fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    text.lines()
        .take(LINES)
        .map(|line| line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect())
        .collect()
}

/// sysexits(3) as sendmail reads them.
fn judge(status: ExitStatus, call: &Call) -> Done {
    let temporary = |what: &str| Done::Temporary(0, 0, format!("{} exited with {what}", call.shown()));
    let permanent = |subject, detail, text: &str| Done::Permanent(subject, detail, text.to_owned());
    match status.code() {
        None => {
            let number = status.signal().unwrap_or(0);
            Done::Temporary(3, 0, format!("{} died with signal {number}", call.shown()))
        }
        Some(0) => Done::Delivered(call.mailer.to_owned()),
        Some(64) => permanent(0, 0, "Command line usage error"),
        Some(65) => permanent(6, 0, "Data format error"),
        Some(66) => permanent(3, 0, "Cannot open input"),
        Some(67) => permanent(1, 1, "User unknown"),
        Some(68) => permanent(1, 2, "Host unknown"),
        Some(69) => permanent(0, 0, "Service unavailable"),
        Some(70) => permanent(3, 0, "Internal error"),
        Some(71) => temporary("EX_OSERR"),
        Some(72) => permanent(3, 5, "System file missing"),
        Some(73) => permanent(0, 0, "Cannot create output"),
        Some(74) => temporary("EX_IOERR"),
        Some(75) => temporary("EX_TEMPFAIL"),
        Some(76) => permanent(5, 0, "Remote protocol error"),
        Some(77) => permanent(0, 0, "Insufficient permission"),
        Some(78) => permanent(3, 5, "Local configuration error"),
        Some(other) => Done::Permanent(3, 0, format!("unknown mailer error {other}")),
    }
}

/// A program and its pipes.
struct Running<'a> {
    child: Child,
    ended: OwnedFd,
    stdin: Option<File>,
    stdout: File,
    output: Vec<u8>,
    until: Instant,
    engine: &'a UnixStream,
}

impl<'a> Running<'a> {
    fn start(
        call: &Call,
        item: &Item,
        person: &Person,
        arguments: &Arguments,
        engine: &'a UnixStream,
    ) -> io::Result<Self> {
        let (input, stdin) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (stdout, output) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut command = Command::new(&call.program);
        if let Some(name) = &call.name {
            command.arg0(name);
        }
        command.args(&call.arguments);
        environment(&mut command, item, person);
        // An unreachable home must not be written to from elsewhere by accident, but sendmail falls back to the root as well.
        command.current_dir(if person.home.is_dir() { &person.home } else { Path::new("/") });
        command.stdin(input).stdout(output.try_clone()?).stderr(output);
        let child = leave_us(&mut command).spawn()?;
        // Our copies of the program's ends go with it, or its output would never end.
        drop(command);
        let pid = ProcessId::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty())?;
        for pipe in [&stdin, &stdout] {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        let until = Instant::now() + arguments.program_time;
        Ok(Self { child, ended, stdin: Some(stdin.into()), stdout: stdout.into(), output: Vec::new(), until, engine })
    }

    /// Writes all of `bytes`, and takes what the program says meanwhile. One that reads no more, or has ended, is not written to.
    fn feed(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut sent = 0;
        while let (Some(stdin), Some(rest)) = (&mut self.stdin, bytes.get(sent..).filter(|rest| !rest.is_empty())) {
            match stdin.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.wait()? {
                        self.stdin = None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.stdin = None,
            }
        }
        bytes.clear();
        Ok(())
    }

    /// The end of the message, then the end of the program.
    fn finish(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        while !self.wait()? {}
        self.listen();
        self.child.wait()
    }

    /// Waits until something can be done; whether the program has ended.
    fn wait(&mut self) -> io::Result<bool> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut polled = vec![
            PollFd::new(&self.ended, PollFlags::IN),
            PollFd::new(self.engine, PollFlags::empty()),
            PollFd::new(&self.stdout, PollFlags::IN),
        ];
        polled.extend(self.stdin.as_ref().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        match poll(&mut polled, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [ended, gone, said] = [0, 1, 2].map(|n| polled.get(n).is_some_and(|polled| !polled.revents().is_empty()));
        drop(polled);
        if gone {
            return Err(io::Error::other("the engine has gone"));
        }
        if said && !self.listen() && !ended {
            // Its output is closed: from now on only its end is waited for.
            self.stdout = File::open("/dev/null")?;
            return self.wait_for_end();
        }
        Ok(ended)
    }

    /// As [`Self::wait`] for a program that has closed its output, which would wake us for ever.
    fn wait_for_end(&mut self) -> io::Result<bool> {
        let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let mut polled = [PollFd::new(&self.ended, PollFlags::IN)];
        let _ = poll(&mut polled, Some(&pause));
        Ok(!polled[0].revents().is_empty())
    }

    /// Takes what the program has said; false once it can say no more.
    fn listen(&mut self) -> bool {
        let mut piece = [0; 8_192];
        loop {
            match self.stdout.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => {
                    let room = OUTPUT.saturating_sub(self.output.len());
                    self.output.extend_from_slice(piece.get(..count.min(room)).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Ends its whole group.
    fn kill(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let _ = killpg(group, Signal::SIGTERM);
        let mut polled = [PollFd::new(&self.ended, PollFlags::IN)];
        let grace = Timespec { tv_sec: GRACE.as_secs().cast_signed(), tv_nsec: 0 };
        let _ = poll(&mut polled, Some(&grace));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// What sendmail gives (AGENT, and TZ if it is set), and what programs written for other servers look for. No value is a stranger's as he wrote it.
fn environment(command: &mut Command, item: &Item, person: &Person) {
    let zone = std::env::var_os("TZ");
    command.env_clear();
    command.envs(zone.map(|zone| ("TZ", zone)));
    command.env("AGENT", "sendmail").env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
        .env("HOME", &person.home)
        .env("SHELL", &person.shell)
        .env("USER", &person.name)
        .env("LOGNAME", &person.name);
    command.env("SENDER", harmless(&item.sender)).env("RECIPIENT", harmless(&item.recipient));
    command.env("EXTENSION", harmless(&item.detail));
}

/// A session of its own, default signals, the usual umask and number of files; it ends with us.
#[allow(unsafe_code, reason = "what happens between fork and exec has no safe interface")]
fn leave_us(command: &mut Command) -> &mut Command {
    // SAFETY: only async-signal-safe system calls, no allocation; no handler of ours is installed or replaced.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            // It has three descriptors, and no socket of the engine's.
            nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            // The keeper ignores them; a shell would hand that on to everything it starts.
            for ignored in [Signal::SIGXFSZ, Signal::SIGIO, Signal::SIGPIPE] {
                signal(ignored, SigHandler::SigDfl)?;
            }
            // Programs that select(2) do not survive large descriptors' numbers.
            let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard.min(1_024), hard)?;
            Ok(())
        })
    }
}

#[cfg(test)]
#[path = "program_test.rs"]
mod tests;
