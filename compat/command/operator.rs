//! Queue runs: `-q` asks the running engine to try what is waiting, `-Q` to hold or release it; with an interval a server is
//! wanted (`server`). Called by `run`.

use crate::command_line::Command;
use crate::output::{Output, plain};
use crate::place::Places;
use crate::queue_run::QueueRun;
use crate::{engine, exit};
use call::operator::{Reply, Request};

/// One queue run; returns the exit code.
pub fn run(command: &Command, run: &QueueRun, places: &Places, output: &mut Output) -> u8 {
    if let Some(group) = &run.unknown_group {
        output.line(&format!("Queue group {} unknown", plain(group, 100)));
        return exit::OK;
    }
    let select = run.select.clone();
    let request = match command.quarantine.as_deref() {
        None => Request::Flush(select),
        Some("") => Request::Release(select),
        Some(reason) => Request::Hold(select, reason.to_owned()),
    };
    match ask(&request, places) {
        Ok(Reply::Refused(text)) => {
            output.line(&plain(&text, 400));
            exit::NOT_ALLOWED
        }
        Ok(_) => exit::OK,
        Err(error) => {
            output.line(&format!("sendmail: the mail server does not answer ({error}); nothing was tried"));
            exit::TEMPORARY
        }
    }
}

fn ask(request: &Request, places: &Places) -> Result<Reply, engine::Error> {
    let mut connection = engine::open(&places.run, "control")?;
    connection.send(request, &[])?;
    connection.message::<Reply>()?.ok_or(engine::Error::Silent)
}
