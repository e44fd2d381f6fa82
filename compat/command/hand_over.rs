//! Becoming `postrider`: what needs the configuration, a table or the spool is its work (`-bd`, `-bv`, `-bi`, `-bt`, …, and the names `makemap`,
//! `editmap`, `praliases`, `mailstats`). This program stays small. Called by `run`, `server`, `mailq` and `operator`.

use crate::output::{Output, without_number};
use crate::{exit, privilege};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

/// A verb of `postrider` with its arguments.
#[derive(Debug)]
pub struct Verb<'a> {
    /// The verb.
    pub name: &'a str,
    /// What follows it.
    pub arguments: Vec<OsString>,
    /// The configuration to use, when it is not the usual one.
    pub configuration: Option<&'a str>,
    /// Whether a server that it starts listens to the network.
    pub listeners: bool,
}

impl<'a> Verb<'a> {
    /// A verb with the usual configuration.
    pub fn new<I: IntoIterator<Item: Into<OsString>>>(name: &'a str, arguments: I) -> Self {
        Self { name, arguments: arguments.into_iter().map(Into::into).collect(), configuration: None, listeners: true }
    }

    /// Becomes it; returns the exit code if that fails.
    pub fn exec(&self, output: &mut Output) -> u8 {
        output.flush();
        failed::<()>(self.try_each(|command| Err(command.exec())), output)
    }

    /// Runs it and waits; returns its exit code.
    pub fn wait(&self, output: &mut Output) -> u8 {
        output.flush();
        match self.try_each(|command| command.status()) {
            Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::SOFTWARE),
            Err(error) => failed::<()>(Err(error), output),
        }
    }

    /// Starts it as `prepare` says.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, mut prepare: impl FnMut(&mut Command)) -> io::Result<Child> {
        self.try_each(|command| {
            prepare(command);
            command.spawn()
        })
    }

    /// Beside this program (the real one, behind any link called sendmail), then where packages put it.
    fn try_each<T>(&self, mut start: impl FnMut(&mut Command) -> io::Result<T>) -> io::Result<T> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for program in candidates() {
            let mut command = Command::new(program);
            command.arg(self.name).args(&self.arguments);
            privilege::clear(&mut command);
            if let Some(file) = self.configuration {
                command.env("POSTRIDER_CONFIG", file);
            }
            if !self.listeners {
                command.env("POSTRIDER_LISTENERS", "none");
            }
            match start(&mut command) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                done => return done,
            }
        }
        Err(last)
    }
}

fn failed<T>(outcome: io::Result<T>, output: &mut Output) -> u8 {
    if let Err(error) = outcome {
        output.line(&match error.kind() {
            io::ErrorKind::NotFound => "sendmail: the program postrider is not installed".to_owned(),
            _ => format!("sendmail: cannot start postrider: {}", without_number(&error.to_string())),
        });
    }
    exit::OS_ERROR
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(own) = std::env::current_exe() {
        // `postrider sendmail …` is this code, too: then we are the program.
        if own.file_name().is_some_and(|name| name == "postrider") {
            found.push(own.clone());
        }
        found.push(own.with_file_name("postrider"));
    }
    found.push(PathBuf::from("/usr/sbin/postrider"));
    found
}
