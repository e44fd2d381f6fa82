//! `-bd`, `-bD`, `-q30m`: hands over to `postrider keeper`. This program stays small and parses no configuration. Called by `run`.

use crate::command_line::Command;
use crate::hand_over::Verb;
use crate::output::Output;
use crate::place::Places;
use crate::{engine, exit, operator};

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
    Verb::new("keeper", configuration.map(|file| ["--config", file]).into_iter().flatten())
}
