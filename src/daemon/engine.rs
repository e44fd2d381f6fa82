//! The unprivileged server process: adopts what the keeper brings, wires the stations together, serves.
//!
//! Order at start: settings, log, spool (a second start on it is refused here), accounts, tables, delivery, listeners, `Ready`.
//! A reload swaps settings and tables inside the same process; sessions in progress finish under the old ones.

use crate::brought::{Brought, Listeners};
use crate::clock::RealClock;
use crate::drop_folder::DropFolder;
use crate::link::{self, Inbox, Incoming, Link};
use crate::names::Names;
use crate::output::complain;
use crate::outward::KeeperAgents;
use crate::people::People;
use crate::routes::Routes;
use crate::sandbox;
use crate::seats::Seats;
use crate::spool;
use crate::tables::{Assembly, Following};
use crate::tally::Tally;
use crate::trust;
use anyhow::Context as _;
use call::keep::{FromEngine, ToEngine};
use config::EngineSettings;
use confine::Confined;
use control::Control;
use deliver::Deliver;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::Store;
use receive::{Current, Receive};
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
    raise_limits();
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

/// Thousands of sessions need open files, and a soft limit of whoever started all this may be a usual user's (1,024).
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Cpu] {
        let maximum = getrlimit(resource).maximum;
        // As far as it goes: the rest is told by whoever started us.
        let _kept = setrlimit(resource, Rlimit { current: maximum, maximum });
    }
}

async fn serve(
    socket: UnixStream,
    inbox: Inbox,
    brought: Brought,
    confined: Result<Confined, confine::Error>,
) -> anyhow::Result<()> {
    let (link, mut incoming) = link::open(socket, inbox)?;
    let started = match confined {
        Ok(confined) => Engine::start(brought, link.clone(), &mut incoming, confined).await,
        Err(error) => Err(error.into()),
    };
    let (mut engine, assembly, listeners, drop) = match started {
        Ok(started) => started,
        Err(error) => {
            link.say(&spool::refusal(&error)).await;
            return Err(error);
        }
    };
    // Before the first client is greeted: whoever sees a greeting may count on the keeper's starting us again.
    link.say(&FromEngine::Ready).await;
    engine.listen(listeners);
    engine.follow_files(assembly);
    engine.follow_drop(drop)?;
    engine.follow(&mut incoming).await?;
    engine.stop().await;
    Ok(())
}

/// The drop folder.
type Folder = Option<OwnedFd>;

/// What stands around the delivering side.
type Around<'a> =
    (&'a Arc<dyn Store>, &'a Arc<Names>, &'a Arc<Routes>, &'a Arc<KeeperAgents>, &'a Arc<dyn Log>, &'a Arc<dyn Clock>);

fn delivering(
    settings: &Arc<deliver::Current>,
    (store, names, routes, agents, log, clock): Around<'_>,
) -> deliver::Parts {
    deliver::Parts {
        settings: Arc::clone(settings),
        store: Arc::clone(store),
        resolver: Arc::<Names>::clone(names),
        agents: Arc::<KeeperAgents>::clone(agents),
        routes: Arc::<Routes>::clone(routes),
        secrets: Arc::<Routes>::clone(routes),
        demands: Arc::<Routes>::clone(routes),
        log: Arc::clone(log),
        clock: Arc::clone(clock),
    }
}

/// The running engine.
struct Engine {
    link: Link,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    people: Arc<People>,
    agents: Arc<KeeperAgents>,
    /// Keeps `postrider-users` running.
    employing: JoinHandle<()>,
    drop: DropFolder,
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
        incoming: &mut Incoming,
        confined: Confined,
    ) -> anyhow::Result<(Self, Assembly, Listeners, Folder)> {
        let settings: EngineSettings = serde_json::from_str(&brought.settings)?;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let (tally, store) = spool::open(&settings, &clock, incoming).await?;
        let log: Arc<dyn Log> = Arc::<Tally>::clone(&tally);
        log.write(&Event::Server { text: format!("engine: {confined}") });
        let agents = Arc::new(KeeperAgents::new(link.clone(), Arc::clone(&log)));
        let (people, employing) = People::start(&agents, &log);
        let names = Arc::new(Names::new(&settings.route.name_servers)?);
        let (accounts, bring) = (Arc::<People>::clone(&people), |number| brought.input(number));
        let assembly = Assembly::make(&settings, bring, accounts, &log, &Following::default()).await;
        let routes = Arc::new(Routes::new(assembly.router()));
        let delivery = Arc::new(deliver::Current::new(settings.deliver.clone(), assembly.local()));
        let parts = (&store, &names, &routes, &agents, &log, &clock);
        let deliver = Arc::new(Deliver::start(delivering(&delivery, parts))?);
        let (trusted, listeners) = (trust::load(&settings, &mut brought, &*log)?, brought.listeners()?);
        delivery.set_authorities(trusted.authorities);
        let current = Current { settings: settings.receive.clone(), router: routes.current(), tls: trusted.tls };
        let parts = receive::Parts {
            store: Arc::clone(&store),
            next: Arc::new(Onward { deliver: Arc::clone(&deliver) }),
            resolver: Arc::<Names>::clone(&names),
            accounts: Arc::<People>::clone(&people),
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
        };
        let receive = Receive::new(current, parts);
        let drop = DropFolder::start(link.clone(), Arc::clone(&receive), Arc::clone(&log));
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
            agents,
            employing,
            drop,
            receive,
            deliver,
            delivery,
            routes,
            names,
            tally,
        };
        engine.announce(&settings);
        Ok((engine, assembly, listeners, brought.drop))
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
                        Ok((assembly, drop)) => {
                            // Nobody asks about the old numbers any more when the keeper turns to the new ones.
                            self.following = Following::default();
                            self.link.send(&FromEngine::Ready, None);
                            self.follow_files(assembly);
                            self.follow_drop(drop)?;
                            let (agents, log) = (Arc::clone(&self.agents), Arc::clone(&self.log));
                            // The new plan may name another user for it.
                            std::mem::replace(&mut self.employing, self.people.employ(agents, log)).abort();
                        }
                        Err(error) => {
                            self.server(format!("reload refused: {error:#}"));
                            self.link.send(&spool::refusal(&error), None);
                        }
                    }
                }
                ToEngine::Ended { ticket, how } => self.agents.ended(ticket, &how),
                ToEngine::Answer(_) => {}
                ToEngine::Dump => self.dump().await,
                ToEngine::Stop => return Ok(()),
            }
        }
        Ok(())
    }

    /// All that can fail comes first: the keeper is told "refused" only while everything is as it was.
    async fn reload(&mut self, mut brought: Brought) -> anyhow::Result<(Assembly, Folder)> {
        let settings: EngineSettings = serde_json::from_str(&brought.settings)?;
        let names = Names::ask(&settings.route.name_servers)?;
        let (trusted, listeners) = (trust::load(&settings, &mut brought, &*self.log)?, brought.listeners()?);
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
        self.delivery.set_authorities(trusted.authorities);
        let router = self.routes.current();
        self.receive.swap(Current { settings: settings.receive.clone(), router, tls: trusted.tls });
        self.listen(listeners);
        self.announce(&settings);
        Ok((assembly, brought.drop))
    }

    /// What SIGUSR1 asks for, between sendmail's lines (sendmail.md 2.9).
    async fn dump(&self) {
        let note = |text: String| self.log.write(&Event::Note { id: None, text, ours: false });
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

    /// The drop folder from now on; without one the keeper is not what it should be.
    fn follow_drop(&self, drop: Folder) -> anyhow::Result<()> {
        Ok(self.drop.follow(drop.context("the keeper brought no drop folder")?)?)
    }

    async fn stop(self) {
        self.listening.iter().for_each(JoinHandle::abort);
        self.deliver.stop(STOP).await;
        let tally = Arc::clone(&self.tally);
        let _written = tokio::task::spawn_blocking(move || tally.write_file()).await;
        if let Err(error) = self.store.close().await {
            self.server(format!("queue: {error}"));
        }
        self.server("stopping daemon, reason=signal".into());
    }
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
