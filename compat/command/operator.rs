//! Queue runs: `-q` asks the running engine to try what is waiting, `-Q` to hold or release it. As root without an engine, one is started for this one
//! run, without listeners; what `-Q` says is then written into the spool (`postrider queue answer`), and nothing is tried. Called by `run` and
//! `server`.

use crate::command_line::Command;
use crate::hand_over::Verb;
use crate::output::{Output, plain, without_number};
use crate::place::Places;
use crate::queue_run::QueueRun;
use crate::{dropped, engine, exit, mailq};
use call::frame::Connection;
use call::operator::{Entry, Reply, Request, Select};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// An engine that was started for one run must answer within this time.
const START: Duration = Duration::from_secs(30);
/// How often it is asked whether it has finished; never more than a tenth of its time.
const TICK: Duration = Duration::from_millis(100);
/// So often it must have nothing to do: a dropped message takes a moment from the folder to the queue.
const QUIET: u32 = 3;
/// What lies in the drop folder is waited for so long (some of it may be nobody's message), and all of a run so long.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(3_600));

/// One queue run; returns the exit code.
pub fn run(command: &Command, run: &QueueRun, places: &Places, configuration: Option<&str>, output: &mut Output) -> u8 {
    if command.restrict_queue_run && !nix::unistd::getuid().is_root() {
        return not_allowed("You do not have permission to process the queue", output);
    }
    if run.lost {
        return exit::OK;
    }
    let wait = command.verbose || run.foreground;
    if engine::open(&places.run, "control").is_err() && may_start(configuration) && can_start(places) {
        // A server that starts would try first what it is to hold.
        return if command.quarantine.is_some() {
            in_spool(&request(command, run), run, places, configuration, output)
        } else if wait {
            for_one_run(command, run, places, configuration, output)
        } else {
            in_background(command, run, output)
        };
    }
    let before = wait.then(|| entries(command, engine::open(&places.run, "control"), run));
    ask_for_run(command, run, places, before, output)
}

/// Root, and whoever has a server of his own and names its configuration.
fn may_start(configuration: Option<&str>) -> bool {
    nix::unistd::getuid().is_root() || configuration.is_some()
}

/// Whether nobody listens: an engine that hangs is not to be doubled.
fn can_start(places: &Places) -> bool {
    !places.run.join("control").exists() || engine::open(&places.run, "submit").is_err()
}

/// `before` has the entries that are to be tried (none unless -v), if the caller waits for the run.
fn ask_for_run(
    command: &Command,
    run: &QueueRun,
    places: &Places,
    before: Option<Vec<Entry>>,
    output: &mut Output,
) -> u8 {
    match ask(&request(command, run), places) {
        Ok(Reply::Refused(text)) => return not_allowed(&text, output),
        Ok(_) => {}
        Err(error) => {
            let done = if command.quarantine.is_some() { "changed" } else { "tried" };
            output.line(&format!("sendmail: the mail server does not answer ({}); nothing was {done}", error.reason()));
            return exit::TEMPORARY;
        }
    }
    if let (Some(before), None) = (before, &command.quarantine) {
        report(&before, &finished(&run.select(), places), output);
    }
    exit::OK
}

/// What the engine is asked.
fn request(command: &Command, run: &QueueRun) -> Request {
    match command.quarantine.as_deref() {
        None => Request::Flush(run.select()),
        Some("") => Request::Release(run.select()),
        Some(reason) => Request::Hold(run.select(), reason.to_owned()),
    }
}

/// `-Q` without a server. What still lies in the drop folder is in no queue yet, and cannot be held there.
fn in_spool(
    request: &Request,
    run: &QueueRun,
    places: &Places,
    configuration: Option<&str>,
    output: &mut Output,
) -> u8 {
    match mailq::stand_in(configuration).and_then(|connection| ask_over(connection, request)) {
        Ok(Reply::End(_)) => {}
        Ok(Reply::Refused(text)) => {
            output.line(&format!("sendmail: {}; nothing was changed", plain(&without_number(&text), 400)));
            return exit::TEMPORARY;
        }
        Ok(_) | Err(_) => {
            output.line("sendmail: the queue cannot be opened (see: postrider config check); nothing was changed");
            return exit::TEMPORARY;
        }
    }
    let all = dropped::entries(&places.drop).unwrap_or_default();
    let dropped = all.iter().filter(|entry| run.takes(entry)).count();
    if dropped == 0 || !matches!(request, Request::Hold(..)) {
        return exit::OK;
    }
    output.line(&format!("sendmail: not held, for the mail server has not taken them yet: {dropped} (see mailq)"));
    exit::TEMPORARY
}

fn not_allowed(text: &str, output: &mut Output) -> u8 {
    output.line(&plain(text, 400));
    exit::NOT_ALLOWED
}

/// `-v`: each entry that was to be tried, and what still waits with its reason.
fn report(before: &[Entry], after: &[Entry], output: &mut Output) {
    for (number, entry) in before.iter().enumerate() {
        let (id, all) = (plain(&entry.id, 20), before.len());
        output.line(&format!("\nRunning /var/spool/mqueue/{id} (sequence {} of {all})", number + 1));
        for recipient in after.iter().filter(|other| other.id == entry.id).flat_map(|other| &other.recipients) {
            output.line(&format!("{}... {}", plain(&recipient.address, 256), plain(&recipient.status, 400)));
        }
    }
}

/// What `-v` will report on.
fn entries(command: &Command, connection: Result<Connection, engine::Error>, run: &QueueRun) -> Vec<Entry> {
    let wanted = connection.ok().filter(|_| command.verbose);
    wanted.and_then(|connection| list(connection, &run.select())).unwrap_or_default()
}

/// Waits until nothing selected is due or being tried, nothing lies in the drop folder, and it stays so for a moment; or until the engine
/// does not answer any more. Returns what waits.
fn finished(select: &Select, places: &Places) -> Vec<Entry> {
    let (mut quiet, start) = (0, Instant::now());
    loop {
        let began = Instant::now();
        let Some(entries) = engine::open(&places.run, "control").ok().and_then(|c| list(c, select)) else {
            return Vec::new();
        };
        let busy = |entry: &Entry| entry.active || entry.recipients.iter().any(|r| r.next == 0 && entry.hold.is_none());
        let dropped = start.elapsed() < BOUNDS.0 && dropped::entries(&places.drop).is_some_and(|all| !all.is_empty());
        quiet = if dropped || entries.iter().any(busy) { 0 } else { quiet + 1 };
        if quiet > QUIET || start.elapsed() > BOUNDS.1 {
            return entries;
        }
        std::thread::sleep(TICK.max(began.elapsed() * 10));
    }
}

fn list(mut connection: Connection, select: &Select) -> Option<Vec<Entry>> {
    connection.send(&Request::List(select.clone()), &[]).ok()?;
    let mut all = Vec::new();
    loop {
        match connection.message::<Reply>().ok()?? {
            Reply::Entries(entries) => all.extend(entries),
            Reply::End(_) => return Some(all),
            _ => return None,
        }
    }
}

fn ask(request: &Request, places: &Places) -> Result<Reply, engine::Error> {
    ask_over(engine::open(&places.run, "control")?, request)
}

fn ask_over(mut connection: Connection, request: &Request) -> Result<Reply, engine::Error> {
    connection.send(request, &[])?;
    connection.message::<Reply>()?.ok_or(engine::Error::Silent)
}

/// The same again in a process of its own, as sendmail does, while the caller goes on.
fn in_background(command: &Command, run: &QueueRun, output: &mut Output) -> u8 {
    let mut arguments = vec!["-qf".to_owned()];
    arguments.extend(run.flags());
    arguments.extend(command.configuration.iter().map(|file| format!("-C{file}")));
    let started = Verb::new("sendmail", arguments).spawn(|command| {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    });
    match started {
        Ok(_) => exit::OK,
        Err(error) => {
            output.line(&format!("sendmail: cannot start postrider: {}", without_number(&error.to_string())));
            exit::OS_ERROR
        }
    }
}

/// Starts a server that listens to nobody, lets it try, and ends it.
fn for_one_run(
    command: &Command,
    run: &QueueRun,
    places: &Places,
    configuration: Option<&str>,
    output: &mut Output,
) -> u8 {
    // Before it starts: what is due is tried at once.
    let spool = if command.verbose { mailq::stand_in(configuration) } else { Err(engine::Error::Silent) };
    let before = entries(command, spool, run);
    let mut verb = Verb::new("keeper", configuration.map(|file| ["--config", file]).into_iter().flatten());
    verb.listeners = false;
    let mut server = match verb.spawn(|command| {
        command.stdin(Stdio::null()).stdout(Stdio::null());
    }) {
        Ok(server) => server,
        Err(error) => {
            output.line(&format!("sendmail: cannot start postrider: {}", without_number(&error.to_string())));
            return exit::OS_ERROR;
        }
    };
    let code = match answers(&mut server, places) {
        true => ask_for_run(command, run, places, Some(before), output),
        false => {
            output.line("sendmail: the mail server does not start; nothing was tried");
            exit::TEMPORARY
        }
    };
    end(server);
    code
}

fn answers(server: &mut Child, places: &Places) -> bool {
    let until = Instant::now() + START;
    while Instant::now() < until && matches!(server.try_wait(), Ok(None)) {
        if ask(&Request::Count(Select::default()), places).is_ok() {
            return true;
        }
        std::thread::sleep(TICK);
    }
    false
}

fn end(mut server: Child) {
    if let Some(pid) = i32::try_from(server.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _reaped = server.wait();
}
