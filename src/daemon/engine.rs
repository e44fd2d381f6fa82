//! The unprivileged server process: adopts what the keeper brings, wires the stations together, serves.
//!
//! Order at start: settings, log, spool (a second start on it is refused here), accounts, tables, delivery, listeners, `Ready`.
//! A reload swaps settings and tables inside the same process; sessions in progress finish under the old ones.

use crate::brought::{Brought, Listeners};
use crate::clock::RealClock;
use crate::link::{self, Inbox, Incoming, Link};
use crate::logger::Logger;
use crate::names::Names;
use crate::output::complain;
use crate::outward::KeeperAgents;
use crate::people::People;
use crate::routes::Routes;
use crate::sandbox;
use crate::seats::Seats;
use crate::tables::{Assembly, Following};
use crate::tally::Tally;
use anyhow::Context as _;
use call::keep::{FromEngine, InputState, ToEngine};
use config::EngineSettings;
use confine::Confined;
use control::Control;
use deliver::Deliver;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::Store;
use receive::{Current, Receive, Taken};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use table::Accounts;
use tokio::task::JoinHandle;

/// Longest wait for deliveries in progress at a stop.
const STOP: Duration = Duration::from_secs(10);
/// What sendmail's log line about a restart names; log readers expect a path.
const PROGRAM: &str = "/usr/sbin/sendmail";
/// Most hosts of a state dump.
const SHOWN: usize = 100;

/// Runs the engine on fd 3; returns the exit code.
pub(crate) fn run() -> u8 {
    #[allow(unsafe_code, reason = "fd 3 is the keeper's socket by the contract of this role; nothing else owns it")]
    let socket = unsafe { OwnedFd::from_raw_fd(3) };
    if rustix::net::sockopt::socket_type(&socket).is_err() {
        complain!("postrider engine: started by postrider-keeper only (fd 3 is not its socket)");
        return 64;
    }
    let _closed_on_exec = rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC);
    match begin(socket.into()) {
        Ok(()) => 0,
        Err(error) => {
            complain!("postrider engine: {error:#}");
            70
        }
    }
}

/// What has to happen while there is one thread: settings, and giving up what they do not need.
fn begin(socket: UnixStream) -> anyhow::Result<()> {
    let mut inbox = Inbox::default();
    let Some((ToEngine::Start { settings, listeners, inputs }, descriptors)) = inbox.first(&socket)? else {
        anyhow::bail!("the keeper sent no settings");
    };
    let confined = serde_json::from_str(&settings).map(|settings| sandbox::enter(&settings));
    let brought = Brought::new(settings, listeners, inputs, descriptors);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(32).enable_all().build();
    runtime.context("cannot start threads")?.block_on(serve(socket, inbox, brought, confined?))
}

async fn serve(
    socket: UnixStream,
    inbox: Inbox,
    brought: Brought,
    confined: Result<Confined, confine::Error>,
) -> anyhow::Result<()> {
    let (link, mut incoming) = link::open(socket, inbox)?;
    let started = match confined {
        Ok(confined) => Engine::start(brought, link.clone(), confined).await,
        Err(error) => Err(error.into()),
    };
    let (mut engine, assembly, listeners) = match started {
        Ok(started) => started,
        Err(error) => {
            link.send(&FromEngine::Refused(format!("{error:#}")), None);
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Err(error);
        }
    };
    // Before the first client is greeted: whoever sees a greeting may count on the keeper's starting us again.
    link.send(&FromEngine::Ready, None);
    tokio::task::yield_now().await;
    engine.listen(listeners);
    engine.follow_files(assembly);
    engine.follow(&mut incoming).await?;
    engine.stop().await;
    Ok(())
}

/// Accounts, asked of the process that may ask NSS.
fn people(brought: &mut Brought) -> anyhow::Result<Arc<People>> {
    let people = Arc::new(People::default());
    if let Some(users) = brought.users.take() {
        people.connect(users)?;
    }
    Ok(people)
}

/// The running engine.
struct Engine {
    link: Link,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    people: Arc<People>,
    receive: Arc<Receive>,
    deliver: Arc<Deliver>,
    delivery: Arc<deliver::Current>,
    routes: Arc<Routes>,
    seats: Seats,
    names: Arc<Names>,
    tally: Arc<Tally>,
    restricted: bool,
    listening: Vec<JoinHandle<()>>,
    following: Following,
}

impl Engine {
    async fn start(
        mut brought: Brought,
        link: Link,
        confined: Confined,
    ) -> anyhow::Result<(Self, Assembly, Listeners)> {
        let settings: EngineSettings = serde_json::from_str(&brought.settings)?;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let (tally, store) = open(&settings, &clock)?;
        let log: Arc<dyn Log> = Arc::<Tally>::clone(&tally);
        log.write(&Event::Server { text: format!("engine: {confined}") });
        let people = people(&mut brought)?;
        let names = Arc::new(Names::new(&settings.route.name_servers)?);
        let accounts: Arc<dyn Accounts> = Arc::<People>::clone(&people);
        let bring = |number| brought.input(number);
        let assembly = Assembly::make(&settings, bring, accounts, &log, &Following::default()).await;
        let routes = Arc::new(Routes::new(assembly.router()));
        let delivery = Arc::new(deliver::Current::new(settings.deliver.clone(), assembly.local()));
        let deliver = Arc::new(Deliver::start(deliver::Parts {
            settings: Arc::clone(&delivery),
            store: Arc::clone(&store),
            resolver: Arc::<Names>::clone(&names),
            agents: Arc::new(KeeperAgents::new(link.clone())),
            routes: Arc::<Routes>::clone(&routes),
            secrets: Arc::<Routes>::clone(&routes),
            demands: Arc::<Routes>::clone(&routes),
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
        })?);
        let (tls, listeners) = (tls(&settings, &mut brought)?, brought.listeners()?);
        let parts = receive::Parts {
            store: Arc::clone(&store),
            next: Arc::new(Onward { deliver: Arc::clone(&deliver) }),
            resolver: Arc::<Names>::clone(&names),
            accounts: Arc::<People>::clone(&people),
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
        };
        let current = Current { settings: settings.receive.clone(), router: routes.current(), tls };
        let receive = Receive::new(current, parts);
        let engine = Self {
            seats: Seats::new(settings.receive.sessions),
            restricted: settings.receive.restrict_mailq,
            listening: Vec::new(),
            following: Following::default(),
            link,
            log,
            clock,
            store,
            people,
            receive,
            deliver,
            delivery,
            routes,
            names,
            tally,
        };
        engine.announce(&settings);
        Ok((engine, assembly, listeners))
    }

    /// The line that monitors wait for after a start and after a reload.
    fn announce(&self, settings: &EngineSettings) {
        let interval = mail::log::duration(settings.deliver.policy.min_backoff / 1_000);
        self.server(format!("starting daemon ({}): SMTP+queueing@{interval}", settings.receive.version));
    }

    /// Tables and lists follow their files from now on.
    fn follow_files(&mut self, assembly: Assembly) {
        let (routes, receive, log) = (Arc::clone(&self.routes), Arc::clone(&self.receive), Arc::clone(&self.log));
        let delivery = Arc::clone(&self.delivery);
        self.following = assembly.follow(&self.link, move |router, local| {
            routes.swap(router);
            delivery.set_local(local);
            let old = receive.current();
            receive.swap(Current { settings: old.settings.clone(), router: routes.current(), tls: old.tls.clone() });
            log.write(&Event::Server { text: "changed list in use".into() });
        });
    }

    fn server(&self, text: String) {
        self.log.write(&Event::Server { text });
    }

    /// Serves these listeners, then gives up the old ones; the sockets are the same, so no client is refused.
    fn listen(&mut self, listeners: Listeners) {
        let mut listening = vec![tokio::spawn(Arc::clone(&self.tally).keep())];
        for (name, listener) in listeners.smtp {
            let seats = self.seats.shared();
            listening.push(tokio::spawn(receive::listen(Arc::clone(&self.receive), listener, name, seats)));
        }
        if let Some(listener) = listeners.submit {
            listening.push(tokio::spawn(receive::listen_local(Arc::clone(&self.receive), listener)));
        }
        if let Some(listener) = listeners.control {
            let uid = rustix::process::geteuid().as_raw();
            let control = Control {
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.clock),
                ledger: Arc::<Tally>::clone(&self.tally),
                restricted: self.restricted,
                uid,
            };
            listening.push(tokio::spawn(control::listen(Arc::new(control), listener)));
        }
        let old = std::mem::replace(&mut self.listening, listening);
        old.iter().for_each(JoinHandle::abort);
    }

    /// Does what the keeper says until it says stop or is gone.
    async fn follow(&mut self, incoming: &mut Incoming) -> anyhow::Result<()> {
        while let Some((message, descriptors)) = incoming.next().await? {
            match message {
                ToEngine::Start { settings, listeners, inputs } => {
                    let brought = Brought::new(settings, listeners, inputs, descriptors);
                    match self.reload(brought).await {
                        Ok(assembly) => {
                            // Nobody asks about the old numbers any more when the keeper turns to the new ones.
                            self.following = Following::default();
                            self.link.send(&FromEngine::Ready, None);
                            self.follow_files(assembly);
                        }
                        Err(error) => {
                            self.server(format!("reload refused: {error:#}"));
                            self.link.send(&FromEngine::Refused(format!("{error:#}")), None);
                        }
                    }
                }
                ToEngine::Users => {
                    if let Some(socket) = descriptors.into_iter().next() {
                        self.people.connect(socket)?;
                    }
                }
                ToEngine::Dropped { name, uid, size } => {
                    if let Some(descriptor) = descriptors.into_iter().next() {
                        self.dropped(name, uid, size, descriptor);
                    }
                }
                ToEngine::AgentEnded { how, .. } if how != "exit 0" => self.server(format!("agent ended: {how}")),
                ToEngine::AgentEnded { .. } | ToEngine::Input { .. } => {}
                ToEngine::Dump => self.dump().await,
                ToEngine::Stop => return Ok(()),
            }
        }
        Ok(())
    }

    /// All that can fail comes first: the keeper is told "refused" only while everything is as it was.
    async fn reload(&mut self, mut brought: Brought) -> anyhow::Result<Assembly> {
        if let Some(users) = brought.users.take() {
            // Whatever becomes of the rest: the keeper takes care of the last one it started.
            self.people.connect(users)?;
        }
        let settings: EngineSettings = serde_json::from_str(&brought.settings)?;
        let names = Names::ask(&settings.route.name_servers)?;
        let (tls, listeners) = (tls(&settings, &mut brought)?, brought.listeners()?);
        self.server(format!("restarting {PROGRAM} due to signal"));
        let accounts: Arc<dyn Accounts> = Arc::<People>::clone(&self.people);
        let bring = |number| brought.input(number);
        let assembly = Assembly::make(&settings, bring, accounts, &self.log, &self.following).await;
        self.names.swap(names);
        self.seats.resize(settings.receive.sessions);
        self.restricted = settings.receive.restrict_mailq;
        self.routes.swap(assembly.router());
        self.delivery.set(settings.deliver.clone());
        self.delivery.set_local(assembly.local());
        self.receive.swap(Current { settings: settings.receive.clone(), router: self.routes.current(), tls });
        self.listen(listeners);
        self.announce(&settings);
        Ok(assembly)
    }

    /// What SIGUSR1 asks for, between sendmail's lines (sendmail.md 2.9).
    async fn dump(&self) {
        let note = |text: String| self.log.write(&Event::Note { id: None, text });
        note(format!("--- dumping state on user signal: $j = {} ---", self.receive.current().settings.host));
        note(format!("CurChildren = {}", self.seats.taken()));
        let count = self.store.count(queue::Select::default()).await;
        note(format!("messages queued = {}", count.map_or_else(|error| error.to_string(), |count| count.to_string())));
        note("--- connection cache: ---".into());
        control::Ledger::hosts(&*self.tally).into_iter().take(SHOWN).for_each(|host| {
            note(format!("{}: {}", host.name, host.result));
        });
        note("--- end of state dump ---".into());
    }

    fn dropped(&self, name: String, uid: u32, size: u64, descriptor: OwnedFd) {
        let (receive, link) = (Arc::clone(&self.receive), self.link.clone());
        tokio::spawn(async move {
            let message = match receive::take_dropped(receive, descriptor.into(), uid, &name, size).await {
                Taken::Done => FromEngine::DropDone { name },
                Taken::Later => FromEngine::DropLater { name },
            };
            link.send(&message, None);
        });
    }

    async fn stop(self) {
        for listening in &self.listening {
            listening.abort();
        }
        self.deliver.stop(STOP).await;
        let tally = Arc::clone(&self.tally);
        let _written = tokio::task::spawn_blocking(move || tally.write_file()).await;
        if let Err(error) = self.store.close().await {
            self.server(format!("queue: {error}"));
        }
        self.server("stopping daemon, reason=signal".into());
    }
}

/// The log with its counters, and the spool, which says in it what it found.
fn open(settings: &EngineSettings, clock: &Arc<dyn Clock>) -> anyhow::Result<(Arc<Tally>, Arc<dyn Store>)> {
    let log: Arc<dyn Log> = Arc::new(Logger::new(&settings.log, Arc::clone(clock))?);
    let (spool, recovery) = queue::spool::Spool::open(&settings.queue, clock.now())?;
    let tally = Arc::new(Tally::new(log, Arc::clone(clock), &settings.queue.path));
    recovery.lines.into_iter().for_each(|text| tally.write(&Event::Server { text }));
    spool.log_to(Arc::<Tally>::clone(&tally));
    Ok((tally, spool))
}

fn tls(settings: &EngineSettings, brought: &mut Brought) -> anyhow::Result<Option<tokio_rustls::TlsAcceptor>> {
    let Some((certificate, key)) = settings.receive.tls else {
        return Ok(None);
    };
    let mut pem = |number: u16, what: &str| match brought.input(number) {
        // Half a certificate would not parse; one that somebody merely has open is whole.
        (InputState::Open | InputState::Busy, Some(descriptor)) => Ok(crate::input::read(&descriptor.into())?),
        (state, _) => Err(anyhow::anyhow!("tls {what} cannot be opened ({state:?})")),
    };
    let (chain, key) = (pem(certificate, "certificate")?, pem(key, "key")?);
    receive::acceptor(&chain, &key).map(Some).map_err(|text| anyhow::anyhow!("tls: {text}"))
}

/// From receiving to delivering.
struct Onward {
    deliver: Arc<Deliver>,
}

impl receive::Next for Onward {
    fn accepted(&self, message: queue::Accepted) {
        self.deliver.submit(message);
    }
    fn accepted_watched(&self, message: queue::Accepted, witness: Arc<dyn call::submit::Witness>) {
        self.deliver.submit_watched(message, witness);
    }
}
