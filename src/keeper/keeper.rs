//! The loop: one poll over signals, the engine's socket, the drop folder, a running plan; and the clock.
//!
//! States: the engine is there or not; without it, all its agents are reaped (they end with its socket, at the
//! latest by SIGKILL) before a new one starts, so that no two processes deliver the same message.

use crate::drop_folder::DropFolder;
use crate::link::Link;
use crate::open::Opened;
use crate::plan::Plan;
use crate::start::{Planning, pair, role, start};
use crate::{Error, failed, log};
use call::agent::Kind;
use call::keep::{FromEngine, InputState, ToEngine};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// More agents at a time are refused; the engine defers.
const AGENTS: usize = 256;
/// The drop folder is scanned at least so often, whatever inotify says.
const SCAN: Duration = Duration::from_secs(60);
/// Agents without an engine have this long.
const AGENTS_BOUND: Duration = Duration::from_secs(5);
/// An engine that is asked to stop has this long.
const STOP_BOUND: Duration = Duration::from_secs(20);
/// Between two starts of an engine: doubles up to the second value, and begins again after an engine that lived for it.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// What an agent sees of our environment, besides `POSTRIDER_*`.
const ENVIRONMENT: [&str; 4] = ["PATH", "TZ", "LD_PRELOAD", "RUST_BACKTRACE"];

struct Engine {
    child: Child,
    link: Link,
    since: Instant,
    ready: bool,
}

pub(crate) struct Keeper {
    config: PathBuf,
    /// The parent of `--detach` waits for our word on stdout.
    detached: bool,
    root: bool,
    opened: Opened,
    /// A reload that the engine has not yet answered.
    reload: Option<Opened>,
    planning: Option<Planning>,
    plan_again: bool,
    engine: Option<Engine>,
    /// The last one is in use.
    users: Vec<Child>,
    agents: Vec<(u32, Child)>,
    drop: DropFolder,
    inotify: OwnedFd,
    signals: SignalFd,
    served: bool,
    stopping: bool,
    failure: Option<Error>,
    back_off: Duration,
    /// Timers: start an engine, start users, end what is left, look into the drop folder.
    engine_at: Option<Instant>,
    users_at: Option<Instant>,
    kill_at: Option<Instant>,
    scan_at: Instant,
}

impl Keeper {
    /// Plans, opens, and starts the first engine.
    pub(crate) fn start(config: PathBuf, detached: bool) -> Result<Self, Error> {
        let mut mask = SigSet::empty();
        mask.extend([Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT]);
        mask.thread_block().map_err(failed("signal mask"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let root = rustix::process::geteuid().is_root();
        let plan = first_plan(&config)?;
        check(&plan, root).map_err(Error::Configuration)?;
        let opened = Opened::open(plan, None, root).map_err(Error::Configuration)?;
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let mut keeper = Self {
            config,
            detached,
            root,
            opened,
            reload: None,
            planning: None,
            plan_again: false,
            engine: None,
            users: Vec::new(),
            agents: Vec::new(),
            drop: DropFolder::default(),
            inotify: inotify::init(flags).map_err(failed("inotify"))?,
            signals: signals.map_err(failed("signalfd"))?,
            served: false,
            stopping: false,
            failure: None,
            back_off: BACK_OFF.0,
            engine_at: None,
            users_at: None,
            kill_at: None,
            scan_at: Instant::now(),
        };
        keeper.watch_drop();
        keeper.start_engine().map_err(failed("start the engine"))?;
        Ok(keeper)
    }

    /// Until the end.
    pub(crate) fn serve(mut self) -> Result<u8, Error> {
        while !(self.stopping && self.engine.is_none() && self.agents.is_empty()) {
            self.wait();
            self.take_signals();
            self.step_plan();
            self.hear_engine();
            self.reap();
            self.look_at_clock();
        }
        self.opened.remove_sockets(None);
        if self.served {
            let _ = std::fs::remove_file(&self.opened.plan.pid_file);
        }
        for mut child in self.users {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.failure.map_or(Ok(0), Err)
    }

    /// Sleeps until something happens.
    fn wait(&mut self) {
        let timed = [self.engine_at, self.users_at, self.kill_at];
        let hurry = timed.iter().any(Option::is_some) || self.planning.is_some() || self.drop.unseen;
        let bound = if hurry { Duration::from_millis(250) } else { self.scan_at.saturating_duration_since(Instant::now()) };
        let mut polled = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.inotify, PollFlags::IN),
        ];
        if let Some(engine) = &self.engine {
            let out = if engine.link.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            polled.push(PollFd::new(&engine.link.socket, PollFlags::IN | out));
        }
        if let Some(out) = self.planning.as_ref().and_then(Planning::output) {
            polled.push(PollFd::new(out, PollFlags::IN));
        }
        let bound = Timespec {
            tv_sec: bound.as_secs().cast_signed(),
            tv_nsec: bound.subsec_nanos().into(),
        };
        let _ = poll(&mut polled, Some(&bound));
        let dropped = polled.get(1).is_some_and(|polled| !polled.revents().is_empty());
        if dropped {
            let mut events = [0; 4_096];
            while rustix::io::read(&self.inotify, &mut events).is_ok_and(|n| n > 0) {}
            self.drop.unseen = true;
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGHUP) => self.plan_again = true,
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.stop(),
                // SIGCHLD: `reap` looks at every child in each round.
                _ => {}
            }
        }
    }

    fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.kill_at = Some(Instant::now() + STOP_BOUND);
            self.tell(&ToEngine::Stop, Vec::new());
        }
    }

    /// Sends to the engine, if there is one; if it cannot be reached it is ended.
    fn tell(&mut self, message: &ToEngine, descriptors: Vec<OwnedFd>) {
        if let Some(engine) = &mut self.engine
            && engine.link.send(message, descriptors).is_err()
        {
            let _ = engine.child.kill();
        }
    }

    fn step_plan(&mut self) {
        if self.plan_again && self.planning.is_none() && self.reload.is_none() && !self.stopping {
            self.plan_again = false;
            match Planning::start(&self.config) {
                Ok(planning) => self.planning = Some(planning),
                Err(error) => log::error(&format!("reload: {error}")),
            }
        }
        let Some(outcome) = self.planning.as_mut().and_then(Planning::step) else {
            return;
        };
        self.planning = None;
        let opened = outcome.and_then(|text| {
            let plan = Plan::parse(&text)?;
            check(&plan, self.root)?;
            Opened::open(plan, Some(&self.opened), self.root)
        });
        match opened {
            Err(why) => log::error(&format!("reload: {why}; the old configuration stays")),
            // A new engine will start with it.
            Ok(opened) if self.engine.is_none() => self.adopt(opened),
            Ok(opened) => self.offer(opened),
        }
    }

    fn offer(&mut self, mut opened: Opened) {
        let started = self.start_users().and_then(|users| opened.start_frame(users));
        match started {
            Ok((start, descriptors)) => {
                self.tell(&start, descriptors);
                self.reload = Some(opened);
            }
            Err(error) => {
                log::error(&format!("reload: {error}; the old configuration stays"));
                opened.remove_sockets(Some(&self.opened));
            }
        }
    }

    fn adopt(&mut self, opened: Opened) {
        self.opened.remove_sockets(Some(&opened));
        self.opened = opened;
        self.watch_drop();
        log::notice("configuration reloaded");
    }

    fn watch_drop(&mut self) {
        use inotify::WatchFlags;
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
        if let Err(errno) = inotify::add_watch(&self.inotify, &self.opened.plan.drop, flags) {
            log::error(&format!("cannot watch the drop folder, looking each minute: {errno}"));
        }
    }

    fn start_engine(&mut self) -> std::io::Result<()> {
        let (ours, theirs) = pair()?;
        let users = self.start_users()?;
        let (frame, descriptors) = self.opened.start_frame(users)?;
        let command = self.command("engine");
        let child = start(command, &theirs, self.root.then_some(self.opened.plan.engine))?;
        self.engine = Some(Engine {
            child,
            link: Link::new(ours)?,
            since: Instant::now(),
            ready: false,
        });
        self.tell(&frame, descriptors);
        Ok(())
    }

    /// The engine's end of its socket; the process ends with that, so each engine and each reload gets a new one.
    fn start_users(&mut self) -> std::io::Result<OwnedFd> {
        let (engine, theirs) = pair()?;
        let child = start(self.command("users"), &theirs, self.root.then_some(self.opened.plan.users))?;
        self.users.push(child);
        self.users_at = None;
        Ok(engine.into())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = role(name);
        if self.detached {
            command.stderr(Stdio::null());
        }
        command
    }

    fn hear_engine(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let heard = engine.link.flush().and_then(|()| engine.link.read());
        match heard {
            Ok(messages) => messages.into_iter().for_each(|message| self.obey(message)),
            // Gone, or talking nonsense; `reap` sees the end.
            Err(_) => {
                let _ = engine.child.kill();
            }
        }
    }

    fn obey(&mut self, message: FromEngine) {
        match message {
            FromEngine::Ready => self.ready(),
            FromEngine::Refused(why) => self.refused(why),
            FromEngine::StartAgent { ticket, kind, user } => {
                if let Err(how) = self.start_agent(ticket, kind, &user) {
                    self.tell(&ToEngine::AgentEnded { ticket, how }, Vec::new());
                }
            }
            FromEngine::CheckInput { number } => {
                let (state, file) = self.opened.input(number.into());
                debug_assert_eq!(file.is_some(), state == InputState::Open);
                self.tell(&ToEngine::Input { number, state }, file.into_iter().collect());
            }
            FromEngine::DropDone { name } => self.drop.done(&self.opened.drop, &name),
            FromEngine::DropLater { name } => self.drop.later(name),
        }
    }

    fn ready(&mut self) {
        if let Some(opened) = self.reload.take() {
            self.adopt(opened);
        }
        if let Some(engine) = &mut self.engine
            && !engine.ready
        {
            engine.ready = true;
            self.drop.start_over();
        }
        if !self.served {
            self.served = true;
            self.announce();
        }
    }

    /// The pid file, then the word to the waiting parent: scripts read the one after the other.
    fn announce(&self) {
        let plan = &self.opened.plan;
        let text = format!("{}\n{}\n", std::process::id(), plan.command_line);
        let _ = std::fs::remove_file(&plan.pid_file);
        if let Err(error) = std::fs::write(&plan.pid_file, text) {
            log::error(&format!("cannot write {}: {error}", plan.pid_file.display()));
        }
        if self.detached {
            let _ = std::io::Write::write_all(&mut std::io::stdout(), b"+\n");
            if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
                let _ = rustix::stdio::dup2_stdout(&null).and_then(|()| rustix::stdio::dup2_stderr(&null));
            }
        }
    }

    fn refused(&mut self, why: String) {
        if let Some(opened) = self.reload.take() {
            log::error(&format!("reload: {why}; the old configuration stays"));
            opened.remove_sockets(Some(&self.opened));
        } else if self.served {
            log::error(&format!("the engine cannot start: {why}"));
        } else {
            self.failure = Some(Error::Configuration(why));
            self.stop();
        }
    }

    fn start_agent(&mut self, ticket: u32, kind: Kind, user: &str) -> Result<(), String> {
        let descriptor = self.engine.as_mut().and_then(|engine| engine.link.descriptor());
        let socket = descriptor.ok_or("no descriptor came with the request")?;
        if self.agents.len() >= AGENTS || user.is_empty() || user.contains('\0') {
            return Err("fork: too many agents, or no name".to_owned());
        }
        let plan = &self.opened.plan;
        let mut command = self.command("agent");
        command.arg(if kind == Kind::Mailbox { "mailbox" } else { "user" }).arg(user);
        command.args(["--format", &plan.mailbox.0, "--path", &plan.mailbox.1, "--socket-fd", "3"]);
        command.args(["--group", &plan.mailbox.2.to_string(), "--min-uid", &plan.min_uid.to_string()]);
        command.args(["--engine-uid", &plan.engine.0.to_string()]);
        let wanted = |name: &str| ENVIRONMENT.contains(&name) || name.starts_with("POSTRIDER_");
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(wanted)));
        let child = start(command, &socket, None).map_err(|error| format!("fork: {error}"))?;
        self.agents.push((ticket, child));
        Ok(())
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        self.agents.retain_mut(|(ticket, child)| {
            let how = ended_how(child);
            ended.extend(how.clone().map(|how| (*ticket, how)));
            how.is_none()
        });
        for (ticket, how) in ended {
            self.tell(&ToEngine::AgentEnded { ticket, how }, Vec::new());
        }
        let in_use = self.users.last().map(Child::id);
        self.users.retain_mut(|child| ended_how(child).is_none());
        if in_use != self.users.last().map(Child::id) && self.engine.is_some() && !self.stopping {
            log::error("postrider-users has ended; starting it again");
            self.users_at = Some(Instant::now() + BACK_OFF.0);
        }
        if let Some(how) = self.engine.as_mut().and_then(|engine| ended_how(&mut engine.child)) {
            self.engine_ended(&how);
        }
    }

    fn engine_ended(&mut self, how: &str) {
        // What it said last (a refusal) is still in the socket.
        self.hear_engine();
        let Some(engine) = self.engine.take() else { return };
        self.reload = None;
        self.users_at = None;
        self.kill_at = Some(Instant::now() + AGENTS_BOUND);
        if self.stopping {
            return;
        }
        if !self.served {
            self.failure = Some(Error::Engine(format!("the engine ended before it was ready: {how}")));
            self.stopping = true;
            return;
        }
        if engine.since.elapsed() > BACK_OFF.1 {
            self.back_off = BACK_OFF.0;
        }
        log::error(&format!("the engine has ended ({how}); a new one starts in {:?}", self.back_off));
        self.engine_at = Some(Instant::now() + self.back_off);
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if self.engine.is_none() && self.agents.is_empty() {
            self.kill_at = None;
        }
        if due(self.kill_at) {
            self.kill_at = None;
            self.kill_all();
        }
        if due(self.engine_at) && self.agents.is_empty() && !self.stopping {
            self.engine_at = None;
            if let Err(error) = self.start_engine() {
                log::error(&format!("cannot start the engine: {error}"));
                self.engine_at = Some(now + self.back_off);
            }
        }
        if due(self.users_at) {
            match self.start_users() {
                Ok(users) => self.tell(&ToEngine::Users, vec![users]),
                Err(_) => self.users_at = Some(now + BACK_OFF.0),
            }
        }
        if due(Some(self.scan_at)) {
            self.scan_at = now + SCAN;
            self.drop.unseen = true;
        }
        if self.drop.unseen && self.engine.as_ref().is_some_and(|engine| engine.ready) && !self.stopping {
            for (name, uid, size, file) in self.drop.scan(&self.opened.drop) {
                self.tell(&ToEngine::Dropped { name, uid, size }, vec![file]);
            }
        }
    }

    fn kill_all(&mut self) {
        let engine = self.engine.iter_mut().map(|engine| &mut engine.child);
        for child in engine.chain(self.agents.iter_mut().map(|(_, child)| child)) {
            log::error(&format!("process {} does not end: killed", child.id()));
            let _ = child.kill();
        }
    }
}

/// Rules that no configuration changes.
fn check(plan: &Plan, root: bool) -> Result<(), String> {
    if root && (plan.engine.0 == 0 || plan.users.0 == 0) {
        return Err("the engine and postrider-users never run as root: name other users".to_owned());
    }
    Ok(())
}

fn first_plan(config: &std::path::Path) -> Result<Plan, Error> {
    let mut planning = Planning::start(config).map_err(failed("start postrider plan"))?;
    loop {
        if let Some(outcome) = planning.step() {
            return outcome.and_then(|text| Plan::parse(&text)).map_err(Error::Configuration);
        }
        let mut polled = Vec::new();
        polled.extend(planning.output().map(|out| PollFd::from_borrowed_fd(out.as_fd(), PollFlags::IN)));
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let _ = poll(&mut polled, Some(&moment));
    }
}

fn ended_how(child: &mut Child) -> Option<String> {
    let status: ExitStatus = child.try_wait().ok()??;
    Some(match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    })
}
