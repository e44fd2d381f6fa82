//! The loop: one poll over signals, the engine's socket and the drop folder; and the clock.
//!
//! States: the engine is there or not; without it, all its agents are reaped (they end with its socket, at the
//! latest by SIGKILL) before a new one starts, so that no two processes deliver the same message. One that even
//! SIGKILL does not end (it hangs in a file system) holds that up for a minute only.

use crate::agents::Agents;
use crate::drop_folder::{self, DropFolder};
use crate::open::Opened;
use crate::start::{Planning, end, role, start};
use crate::{Error, failed, log};
use call::agent::Kind;
use call::keep::{FromEngine, ToEngine};
use call::link::Link;
use call::plan::Plan;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The drop folder is scanned at least so often, whatever inotify says.
const SCAN: Duration = Duration::from_secs(60);
/// How often the clock is looked at while something is due.
const TICK: Duration = Duration::from_millis(200);
/// Agents without an engine have this long.
const AGENTS_BOUND: Duration = Duration::from_secs(5);
/// Agents that outlive SIGKILL hold up a new engine, or our end, for so long.
const UNDYING: Duration = Duration::from_secs(60);
/// An engine that is asked to stop has this long.
const STOP_BOUND: Duration = Duration::from_secs(20);
/// Before a new engine: doubles up to the second value, and begins again after an engine that lived for that long.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

struct Engine {
    child: Child,
    link: Link,
    since: Instant,
    ready: bool,
}

/// What is to be done at a certain time.
#[derive(Default)]
struct Timers {
    engine: Option<Instant>,
    users: Option<Instant>,
    kill: Option<Instant>,
    /// Agents are waited for until then.
    patience: Option<Instant>,
    scan: Option<Instant>,
}

/// Begins empty.
#[derive(Default)]
struct State {
    /// A reload that the engine has not yet answered.
    reload: Option<Opened>,
    planning: Option<Planning>,
    plan_again: bool,
    engine: Option<Engine>,
    /// The last one is in use.
    users: Vec<Child>,
    agents: Agents,
    drop: DropFolder,
    /// Some engine was ready.
    served: bool,
    stopping: bool,
    failure: Option<Error>,
    /// Doublings of the time before a new engine.
    tries: u32,
    at: Timers,
}

pub(crate) struct Keeper {
    config: PathBuf,
    /// The parent of `--detach` waits for our word on stdout.
    detached: bool,
    root: bool,
    signals: SignalFd,
    inotify: OwnedFd,
    opened: Opened,
    now: State,
}

impl Keeper {
    /// Plans, opens, and starts the first engine.
    pub(crate) fn start(config: PathBuf, detached: bool) -> Result<Self, Error> {
        let mask =
            SigSet::from_iter([Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGINT]);
        mask.thread_set_mask().map_err(failed(71, "signal mask"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let signals = signals.map_err(failed(71, "signalfd"))?;
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed(71, "inotify"))?;
        let mut planning = Planning::start(&config).map_err(failed(71, "start postrider plan"))?;
        let text = loop {
            if let Some(outcome) = planning.step() {
                break outcome.map_err(failed(78, "configuration"))?;
            }
            // Its end is a signal, which stays to be read.
            sleep(&mut [PollFd::new(&signals, PollFlags::IN)], TICK);
        };
        let root = rustix::process::geteuid().is_root();
        let opened = Plan::parse(&text).and_then(|plan| Opened::open(plan, None, root));
        let mut keeper = Self {
            config,
            detached,
            root,
            signals,
            inotify,
            opened: opened.map_err(failed(78, "configuration"))?,
            now: State::default(),
        };
        keeper.watch_drop();
        keeper.start_engine().map_err(failed(71, "start the engine"))?;
        Ok(keeper)
    }

    /// Until the end.
    pub(crate) fn serve(mut self) -> Result<u8, Error> {
        while !(self.now.stopping && self.is_alone()) {
            self.wait();
            let ended = self.take_signals();
            self.step_plan();
            self.hear_engine();
            if ended {
                self.reap();
            }
            self.look_at_clock();
        }
        self.opened.remove_sockets(None);
        if self.now.served {
            let _ = std::fs::remove_file(&self.opened.plan.pid_file);
        }
        self.now.failure.map_or(Ok(0), Err)
    }

    /// Neither engine nor agents, but for those that cannot end.
    fn is_alone(&self) -> bool {
        let waited = self.now.at.patience.is_none_or(|at| at <= Instant::now());
        self.now.engine.is_none() && (self.now.agents.is_empty() || waited)
    }

    /// Sleeps until something happens.
    fn wait(&mut self) {
        let at = &self.now.at;
        let due = at.engine.or(at.users).or(at.kill).or(at.patience).is_some();
        let hurry = due || self.now.planning.is_some() || self.now.drop.is_waiting();
        let bound = match (self.now.drop.is_due(), hurry) {
            (true, _) => drop_folder::PAUSE,
            (false, true) => TICK,
            (false, false) => SCAN,
        };
        // What we know already shall not wake us for each new name: anybody could keep us busy.
        let news = if self.now.drop.unseen { PollFlags::empty() } else { PollFlags::IN };
        let mut polled = vec![PollFd::new(&self.inotify, news), PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(Engine { link, .. }) = &self.now.engine {
            let events = [PollFlags::IN, PollFlags::IN | PollFlags::OUT];
            polled.push(PollFd::new(link.socket(), events[usize::from(link.has_output())]));
        }
        sleep(&mut polled, bound);
        if polled.first().is_some_and(|polled| !polled.revents().is_empty()) {
            while rustix::io::read(&self.inotify, &mut [0; 4_096]).is_ok_and(|n| n > 0) {}
            self.now.drop.unseen = true;
        }
    }

    /// Whether a child has ended.
    fn take_signals(&mut self) -> bool {
        let mut ended = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGHUP) => self.now.plan_again = true,
                Ok(Signal::SIGCHLD) => ended = true,
                Ok(Signal::SIGUSR1) => self.tell(&ToEngine::Dump, Vec::new()),
                _ => self.stop(),
            }
        }
        ended
    }

    fn stop(&mut self) {
        if !self.now.stopping {
            self.now.stopping = true;
            self.now.at.kill = Some(Instant::now() + STOP_BOUND);
            self.tell(&ToEngine::Stop, Vec::new());
        }
    }

    /// Sends to the engine, if there is one; if it cannot be reached it is ended.
    fn tell(&mut self, message: &ToEngine, descriptors: Vec<OwnedFd>) {
        if let Some(engine) = &mut self.now.engine
            && engine.link.send(message, descriptors).is_err()
        {
            let _ = engine.child.kill();
        }
    }

    /// A reload: plan, open, offer to the engine; the old configuration stays until it says Ready.
    fn step_plan(&mut self) {
        if self.now.plan_again && self.now.planning.is_none() && self.now.reload.is_none() && !self.now.stopping {
            self.now.plan_again = false;
            self.now.planning = Planning::start(&self.config).inspect_err(|error| stays(&error.to_string())).ok();
        }
        let Some(outcome) = self.now.planning.as_mut().and_then(Planning::step) else {
            return;
        };
        self.now.planning = None;
        let plan = outcome.and_then(|text| Plan::parse(&text));
        match plan.and_then(|plan| Opened::open(plan, Some(&self.opened), self.root)) {
            Err(why) => stays(&why),
            // A new engine will start with it.
            Ok(opened) if self.now.engine.is_none() => self.adopt(opened),
            Ok(mut opened) => match self.start_users().and_then(|users| opened.start_frame(users)) {
                Ok((start, descriptors)) => {
                    self.tell(&start, descriptors);
                    self.now.reload = Some(opened);
                }
                Err(error) => {
                    stays(&error.to_string());
                    opened.remove_sockets(Some(&self.opened));
                }
            },
        }
    }

    fn adopt(&mut self, opened: Opened) {
        self.opened.remove_sockets(Some(&opened));
        self.opened = opened;
        self.watch_drop();
        log::notice("configuration reloaded");
    }

    fn watch_drop(&mut self) {
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
        if let Err(errno) = inotify::add_watch(&self.inotify, &self.opened.plan.drop, flags) {
            log::error(&format!("cannot watch the drop folder, looking each minute: {errno}"));
        }
    }

    fn start_engine(&mut self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let users = self.start_users()?;
        let (frame, descriptors) = self.opened.start_frame(users)?;
        let ids = self.root.then_some(self.opened.plan.engine);
        let child = start(self.command("engine"), Some(&theirs.into()), ids)?;
        let (link, since) = (Link::new(ours)?, Instant::now());
        self.now.engine = Some(Engine { child, link, since, ready: false });
        self.tell(&frame, descriptors);
        Ok(())
    }

    /// The engine's end of the socket; `postrider-users` ends with that, so each engine and each reload gets a new one.
    fn start_users(&mut self) -> io::Result<OwnedFd> {
        let (engine, theirs) = UnixStream::pair()?;
        let ids = self.root.then_some(self.opened.plan.users);
        self.now.users.push(start(self.command("users"), Some(&theirs.into()), ids)?);
        Ok(engine.into())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = role(name);
        command.stdout(Stdio::null());
        if self.detached {
            // Who started us must not wait for the end of our stderr.
            command.stderr(Stdio::null());
        }
        command
    }

    fn hear_engine(&mut self) {
        let Some(Engine { link, child, .. }) = &mut self.now.engine else {
            return;
        };
        match link.flush().and_then(|()| link.read()) {
            Ok(messages) => messages.into_iter().for_each(|message| self.obey(message)),
            // Gone, or talking nonsense; `reap` sees the end.
            Err(_) => drop(child.kill()),
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
                self.tell(&ToEngine::Input { number, state }, file.into_iter().collect());
            }
            FromEngine::DropDone { name } => self.now.drop.done(&self.opened.drop, &name),
            FromEngine::DropLater { name } => self.now.drop.later(&name),
        }
    }

    fn ready(&mut self) {
        if let Some(opened) = self.now.reload.take() {
            self.adopt(opened);
        }
        if let Some(engine) = self.now.engine.as_mut().filter(|engine| !engine.ready) {
            engine.ready = true;
            // A new engine has nothing in hand.
            self.now.drop = DropFolder::default();
            self.now.at.scan = Some(Instant::now());
        }
        if !self.now.served {
            self.now.served = true;
            crate::title::set("accepting connections");
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
            let _ = io::Write::write_all(&mut io::stdout(), b"+\n");
            if let Ok(null) = File::options().write(true).open("/dev/null") {
                let _ = rustix::stdio::dup2_stdout(&null).and_then(|()| rustix::stdio::dup2_stderr(&null));
            }
        }
    }

    fn refused(&mut self, why: String) {
        if let Some(opened) = self.now.reload.take() {
            stays(&why);
            opened.remove_sockets(Some(&self.opened));
        } else if self.now.served {
            log::error(&format!("the engine cannot start: {why}"));
        } else {
            self.now.failure = Some(failed(78, "configuration")(why));
            self.stop();
        }
    }

    fn start_agent(&mut self, ticket: u32, kind: Kind, user: &str) -> Result<(), String> {
        let descriptor = self.now.engine.as_mut().and_then(|engine| engine.link.descriptor());
        let socket = descriptor.ok_or("no descriptor came with the request")?;
        // Those for aliases are of many lists, and none of them is anybody's leftover.
        let owner = if kind == Kind::System { format!("alias/{ticket}") } else { user.to_owned() };
        self.now.agents.make_room(&owner).map_err(|why| format!("fork: {why}"))?;
        let plan = &self.opened.plan;
        let (format, path, group) = &plan.mailbox;
        let mut command = self.command("agent");
        match kind {
            Kind::Mailbox => command.args(["mailbox", user]),
            Kind::User => command.args(["user", user]),
            // Never a name of the engine's.
            Kind::System => command.args(["system", &plan.local.default_user]),
        };
        command.args(["--format", format, "--path", path, "--group", &group.to_string()]);
        command.args(["--min-uid", &plan.min_uid.to_string(), "--engine-uid", &plan.engine.0.to_string()]);
        let local = &plan.local;
        command.args(["--forward", &local.forward, "--host", &local.host]);
        command.args(["--unsafe-file", &local.unsafe_file, "--unsafe-folder", &local.unsafe_folder]);
        command.args(["--shell", &local.shell, "--program-time", &local.seconds, "--socket-fd", "3"]);
        if kind == Kind::System {
            command.args(plan.alias_files.iter().flat_map(|path| ["--aliases", path]));
        }
        let child = start(command, Some(&socket), None).map_err(|error| format!("fork: {error}"))?;
        // A program may take its time; a mailbox may not.
        let program = if kind == Kind::Mailbox { 0 } else { local.seconds.parse().unwrap_or(0) };
        self.now.agents.add(ticket, &owner, child, Duration::from_secs(program));
        Ok(())
    }

    fn reap(&mut self) {
        for (ticket, how) in self.now.agents.reap() {
            self.tell(&ToEngine::AgentEnded { ticket, how }, Vec::new());
        }
        let in_use = self.now.users.last().map(Child::id);
        self.now.users.retain_mut(|child| end(child).is_none());
        if in_use != self.now.users.last().map(Child::id) && self.now.engine.is_some() && !self.now.stopping {
            log::error("postrider-users has ended; starting it again");
            self.now.at.users = Some(Instant::now() + BACK_OFF.0);
        }
        if let Some(how) = self.now.engine.as_mut().and_then(|engine| end(&mut engine.child)) {
            // What it said last (a refusal) is still in the socket.
            self.hear_engine();
            self.engine_ended(&how);
        }
    }

    fn engine_ended(&mut self, how: &str) {
        let engine = self.now.engine.take();
        let lived = engine.map_or(Duration::ZERO, |engine| engine.since.elapsed());
        self.now.reload = None;
        self.now.at = Timers::default();
        self.now.at.kill = Some(Instant::now() + AGENTS_BOUND);
        self.now.at.patience = Some(Instant::now() + UNDYING);
        if self.now.stopping {
            return;
        }
        if !self.now.served {
            self.now.stopping = true;
            self.now.failure = Some(failed(70, "the engine ended before it was ready")(how));
            return;
        }
        // 1 s, 2 s, 4 s ... 60 s.
        let tries = if lived > BACK_OFF.1 { 0 } else { self.now.tries };
        let pause = (BACK_OFF.0 * (1 << tries)).min(BACK_OFF.1);
        self.now.tries = (tries + 1).min(6);
        log::error(&format!("the engine has ended ({how}); a new one starts in {pause:?}"));
        self.now.at.engine = Some(Instant::now() + pause);
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if self.now.engine.is_none() && self.now.agents.is_empty() {
            (self.now.at.kill, self.now.at.patience) = (None, None);
        }
        self.now.agents.kill_old();
        if due(self.now.at.kill) {
            self.now.at.kill = None;
            if let Some(Engine { child, .. }) = &mut self.now.engine {
                log::error(&format!("the engine does not end: {} killed", child.id()));
                let _ = child.kill();
            }
            self.now.agents.kill_all();
        }
        if due(self.now.at.engine) && self.is_alone() && !self.now.stopping {
            (self.now.at.engine, self.now.at.patience) = (None, None);
            if !self.now.agents.is_empty() {
                log::error("starting an engine although agents of the last one do not end");
            }
            if let Err(error) = self.start_engine() {
                log::error(&format!("cannot start the engine: {error}"));
                self.now.at.engine = Some(now + BACK_OFF.1);
            }
        }
        if due(self.now.at.users) {
            self.now.at.users = None;
            match self.start_users() {
                Ok(users) => self.tell(&ToEngine::Users, vec![users]),
                Err(_) => self.now.at.users = Some(now + BACK_OFF.0),
            }
        }
        if due(self.now.at.scan) {
            self.now.at.scan = Some(now + SCAN);
            self.now.drop.unseen = true;
        }
        self.now.drop.wake();
        if self.now.drop.is_due() && self.now.engine.as_ref().is_some_and(|engine| engine.ready) && !self.now.stopping {
            for (name, uid, size, file) in self.now.drop.scan(&self.opened.drop) {
                self.tell(&ToEngine::Dropped { name, uid, size }, vec![file]);
            }
        }
    }
}

fn sleep(polled: &mut [PollFd<'_>], bound: Duration) {
    // Every bound here is far below what a Timespec holds.
    let _ = poll(polled, Timespec::try_from(bound).ok().as_ref());
}

fn stays(why: &str) {
    log::error(&format!("reload: {why}; the old configuration stays"));
}
