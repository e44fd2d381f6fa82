//! The loop: one poll over signals and the engine's socket; and the clock.
//!
//! States: the engine is there or not; without it, all its children are reaped (they end with its socket, at the
//! latest by SIGKILL) before a new one starts, so that no two processes deliver the same message. One that even
//! SIGKILL does not end (it hangs in a file system) holds that up for a minute only.

use crate::children::{Children, LIMIT};
use crate::open::Opened;
use crate::plan::Planning;
use crate::start::{command, end, start};
use crate::{Error, drop_folder, failed, log};
use call::keep::{FromEngine, InputState, Role, ToEngine};
use call::link::Link;
use call::plan::Recipe;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How often the clock is looked at while something is due, and otherwise.
const TICK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));
/// Children without an engine have this long.
const CHILDREN_BOUND: Duration = Duration::from_secs(5);
/// Those that outlive SIGKILL hold up a new engine, or our end, for so long.
const UNDYING: Duration = Duration::from_secs(60);
/// An engine that is asked to stop has this long.
const STOP_BOUND: Duration = Duration::from_secs(20);
/// Before a new engine: doubles up to the second value, and begins again after an engine that lived for that long.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

struct Engine {
    child: Child,
    link: Link,
    since: Instant,
}

/// Begins empty.
#[derive(Default)]
struct State {
    /// A reload that the engine has not yet answered.
    reload: Option<Opened>,
    planning: Option<Planning>,
    plan_again: bool,
    engine: Option<Engine>,
    children: Children,
    /// Some engine was ready.
    served: bool,
    stopping: bool,
    failure: Option<Error>,
    /// Before the last engine.
    pause: Duration,
    /// When the next engine is to be started,
    start_at: Option<Instant>,
    /// when what does not end is killed,
    kill_at: Option<Instant>,
    /// and until when children without an engine are waited for.
    patience: Option<Instant>,
}

pub(crate) struct Keeper {
    root: bool,
    signals: SignalFd,
    opened: Opened,
    now: State,
}

impl Keeper {
    /// Plans, opens, and starts the first engine.
    pub(crate) fn start() -> Result<Self, Error> {
        use Signal::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let mask = SigSet::from_iter([SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT]);
        mask.thread_set_mask().map_err(failed(71, "signal mask"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let signals = signals.map_err(failed(71, "signalfd"))?;
        let mut planning = Planning::start(std::iter::empty()).map_err(failed(71, "start postrider plan"))?;
        let planned = loop {
            match planning.step() {
                Some(outcome) => break outcome?,
                None => sleep(&mut [PollFd::new(planning.link.socket(), PollFlags::IN)], TICK.0),
            }
            if let Ok(Some(SIGTERM | SIGINT)) = next(&signals) {
                return Err(failed(75, "no server")("stopped before it served"));
            }
        };
        let root = rustix::process::geteuid().is_root();
        let opened = Opened::new(planned, None, root)?;
        let mut keeper = Self { root, signals, opened, now: State::default() };
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

    /// Neither engine nor children, but for those that cannot end.
    fn is_alone(&self) -> bool {
        let waited = self.now.patience.is_none_or(|at| at <= Instant::now());
        self.now.engine.is_none() && (self.now.children.len() == 0 || waited)
    }

    /// Sleeps until something happens.
    fn wait(&mut self) {
        let now = &self.now;
        let due = now.start_at.or(now.kill_at).or(now.patience).is_some() || now.planning.is_some();
        let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
        polled.extend(self.now.planning.iter().map(|planning| PollFd::new(planning.link.socket(), PollFlags::IN)));
        if let Some(Engine { link, .. }) = &self.now.engine {
            let more = if link.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            polled.push(PollFd::new(link.socket(), PollFlags::IN | more));
        }
        sleep(&mut polled, if due { TICK.0 } else { TICK.1 });
    }

    /// Whether a child has ended.
    fn take_signals(&mut self) -> bool {
        let mut ended = false;
        while let Ok(Some(signal)) = next(&self.signals) {
            match signal {
                Signal::SIGHUP => self.now.plan_again = true,
                Signal::SIGCHLD => ended = true,
                Signal::SIGUSR1 => self.tell(&ToEngine::Dump, Vec::new()),
                _ => self.stop(),
            }
        }
        ended
    }

    fn stop(&mut self) {
        if !self.now.stopping {
            self.now.stopping = true;
            self.now.kill_at = Some(Instant::now() + STOP_BOUND);
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
            let planning = Planning::start(self.opened.sockets.iter().map(|(at, _)| at.as_str()));
            self.now.planning = planning.inspect_err(|error| stays(&error.to_string())).ok();
        }
        let Some(planned) = self.now.planning.as_mut().and_then(Planning::step) else {
            return;
        };
        self.now.planning = None;
        match planned.and_then(|planned| Opened::new(planned, Some(&self.opened), self.root)) {
            Err(error) => stays(&error.to_string()),
            // A new engine will start with it.
            Ok(opened) if self.now.engine.is_none() => self.adopt(opened),
            Ok(opened) => match opened.start_frame() {
                Ok((start, descriptors)) => {
                    self.tell(&start, descriptors);
                    self.now.reload = Some(opened);
                }
                Err(error) => self.drop_offer(&opened, &error.to_string()),
            },
        }
    }

    fn adopt(&mut self, opened: Opened) {
        self.opened.remove_sockets(Some(&opened));
        self.opened = opened;
    }

    fn drop_offer(&self, offered: &Opened, why: &str) {
        stays(why);
        offered.remove_sockets(Some(&self.opened));
    }

    fn start_engine(&mut self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let (frame, descriptors) = self.opened.start_frame()?;
        let ids = self.root.then_some(self.opened.plan.engine);
        let child = start(command("engine"), &theirs.into(), ids)?;
        self.now.engine = Some(Engine { child, link: Link::new(ours)?, since: Instant::now() });
        self.tell(&frame, descriptors);
        Ok(())
    }

    /// Whether it said anything.
    fn hear_engine(&mut self) -> bool {
        let Some(Engine { link, child, .. }) = &mut self.now.engine else {
            return false;
        };
        let (flushed, read) = (link.flush(), link.read());
        let messages = match read {
            // What a dead one said last counts, though it cannot be answered.
            Ok(messages) if flushed.is_ok() || !messages.is_empty() => messages,
            // Gone, or talking nonsense; `reap` sees the end.
            _ => return child.kill().is_err(),
        };
        let any = !messages.is_empty();
        messages.into_iter().for_each(|message| self.obey(message));
        any
    }

    /// Whatever the engine asks, it gets processes and inputs of the plan, and entries of the drop folder.
    fn obey(&mut self, message: FromEngine) {
        match message {
            FromEngine::Ready => self.ready(),
            FromEngine::Refused(exit, why) => self.refused(exit, &why),
            FromEngine::Begin { ticket, role, user } => {
                if let Err(how) = self.begin(ticket, role, &user) {
                    self.tell(&ToEngine::Ended { ticket, how }, Vec::new());
                }
            }
            FromEngine::End { ticket } => self.now.children.kill("the engine asks", |child| child.ticket == ticket),
            FromEngine::Check { number, known } => self.answer(self.opened.input(number.into(), known)),
            FromEngine::Open(name) => self.answer(drop_folder::open(&self.opened.drop, &name)),
            FromEngine::Remove(name) => self.answer((drop_folder::remove(&self.opened.drop, &name), None)),
        }
    }

    fn answer(&mut self, (state, file): (InputState, Option<OwnedFd>)) {
        self.tell(&ToEngine::Answer(state), file.into_iter().collect());
    }

    fn ready(&mut self) {
        if let Some(opened) = self.now.reload.take() {
            self.adopt(opened);
        }
        if !std::mem::replace(&mut self.now.served, true) {
            // Whoever started us in the background waits for the pid file: it is there whole or not at all.
            let plan = &self.opened.plan;
            let new = plan.pid_file.with_extension("new");
            let text = format!("{}\n{}\n", std::process::id(), plan.command_line);
            let _ = std::fs::remove_file(&new);
            if let Err(error) = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &plan.pid_file)) {
                log::error(&format!("cannot write {}: {error}", plan.pid_file.display()));
            }
        }
    }

    fn refused(&mut self, exit: u8, why: &str) {
        if let Some(opened) = self.now.reload.take() {
            self.drop_offer(&opened, why);
        } else if self.now.served {
            log::error(&format!("the engine cannot start: {why}"));
            // It ends anyway; and it shall not fill the log.
            let _ = self.now.engine.as_mut().map(|engine| engine.child.kill());
        } else if !self.now.stopping {
            self.now.failure = Some(failed(exit, "the engine cannot start")(why));
            self.stop();
        }
    }

    /// An agent changes its identity itself, by the plan's rules.
    fn begin(&mut self, ticket: u32, role: Role, user: &str) -> Result<(), String> {
        let descriptor = self.now.engine.as_mut().and_then(|engine| engine.link.descriptor());
        let socket = descriptor.ok_or("no descriptor came with the request")?;
        if self.now.children.len() >= LIMIT {
            return Err("fork: too many processes".to_owned());
        }
        let (started, life) = match role {
            Role::Users => (start(command("users"), &socket, self.root.then_some(self.opened.plan.users)), None),
            Role::Agent(kind) => {
                let planned =
                    self.opened.plan.agents.iter().find(|planned| planned.kind == kind).ok_or("not planned")?;
                (agent(planned, user).stdin(socket).spawn(), Some(planned.life))
            }
        };
        self.now.children.add(ticket, started.map_err(|error| format!("fork: {error}"))?, life);
        Ok(())
    }

    fn reap(&mut self) {
        for (ticket, how) in self.now.children.reap() {
            self.tell(&ToEngine::Ended { ticket, how }, Vec::new());
        }
        if let Some(how) = self.now.engine.as_mut().and_then(|engine| end(&mut engine.child)) {
            // What it said last (a refusal) is still in the socket.
            let _ = (0..LIMIT).all(|_| self.hear_engine());
            self.engine_ended(&how);
        }
    }

    fn engine_ended(&mut self, how: &str) {
        let lived = self.now.engine.take().map_or(Duration::ZERO, |engine| engine.since.elapsed());
        self.now.reload = None;
        let now = Instant::now();
        (self.now.kill_at, self.now.patience) = (Some(now + CHILDREN_BOUND), Some(now + UNDYING));
        if self.now.stopping {
            return;
        }
        if !self.now.served {
            self.now.stopping = true;
            self.now.failure = Some(failed(70, "the engine ended before it was ready")(how));
            return;
        }
        let pause = if lived > BACK_OFF.1 { BACK_OFF.0 } else { (self.now.pause * 2).clamp(BACK_OFF.0, BACK_OFF.1) };
        self.now.pause = pause;
        log::error(&format!("the engine has ended ({how}); a new one starts in {pause:?}"));
        self.now.start_at = Some(now + pause);
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if self.now.engine.is_none() && self.now.children.len() == 0 {
            (self.now.kill_at, self.now.patience) = (None, None);
        }
        self.now.children.kill("too old", |child| due(child.dies));
        if due(self.now.kill_at) {
            self.now.kill_at = None;
            if let Some(Engine { child, .. }) = &mut self.now.engine {
                log::error(&format!("the engine does not end: {} killed", child.id()));
                let _ = child.kill();
            }
            self.now.children.kill("it does not end", |_| true);
        }
        if due(self.now.start_at) && self.is_alone() && !self.now.stopping {
            (self.now.start_at, self.now.patience) = (None, None);
            if let Err(error) = self.start_engine() {
                log::error(&format!("cannot start the engine: {error}"));
                self.now.start_at = Some(now + BACK_OFF.1);
            }
        }
    }
}

/// Its socket will be its standard input: without steps of ours before exec, std need not copy our memory.
fn agent(planned: &Recipe, user: &str) -> Command {
    let mut agent = command("agent");
    agent.args([planned.kind.name(), planned.user.as_deref().unwrap_or(user)]).args(&planned.arguments);
    agent
}

/// The next signal that has come.
fn next(signals: &SignalFd) -> nix::Result<Option<Signal>> {
    signals.read_signal()?.map(|signal| Signal::try_from(signal.ssi_signo.cast_signed())).transpose()
}

fn sleep(polled: &mut [PollFd<'_>], bound: Duration) {
    // Every bound here is far below what a Timespec holds.
    let _ = poll(polled, Timespec::try_from(bound).ok().as_ref());
}

fn stays(why: &str) {
    log::error(&format!("reload: {why}; the old configuration stays"));
}

#[cfg(test)]
#[path = "keeper_test.rs"]
mod tests;
