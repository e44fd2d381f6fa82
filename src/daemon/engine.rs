//! The unprivileged server process: adopts what the keeper brings, wires the stations together, serves.
//!
//! Order at start: settings, log, spool (a second start on it is refused here), accounts, tables, delivery, listeners, `Ready`.
//! A reload swaps settings and tables inside the same process; sessions in progress finish under the old ones.

use crate::clock::RealClock;
use crate::input::LiveTable;
use crate::link::{self, Incoming, Link};
use crate::logger::Logger;
use crate::people::People;
use call::agent::Kind;
use call::keep::{FromEngine, InputState, ToEngine};
use config::EngineSettings;
use control::Control;
use deliver::Deliver;
use mail::Address;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::{Recipient, Store};
use receive::{Current, Receive, Taken};
use route::{Hickory, Key, Resolver, Router, Verdict};
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Longest wait for deliveries in progress at a stop.
const STOP: Duration = Duration::from_secs(10);

/// Runs the engine on fd 3; returns the exit code.
pub(crate) fn run() -> u8 {
    #[allow(unsafe_code, reason = "fd 3 is the keeper's socket by the contract of this role; nothing else owns it")]
    let socket = unsafe { OwnedFd::from_raw_fd(3) };
    if rustix::net::sockopt::socket_type(&socket).is_err() {
        eprintln!("postrider engine: started by postrider-keeper only (fd 3 is not its socket)");
        return 64;
    }
    let _closed_on_exec = rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(32).enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("postrider engine: cannot start threads");
        return 71;
    };
    match runtime.block_on(serve(socket)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("postrider engine: {error:#}");
            70
        }
    }
}

async fn serve(socket: OwnedFd) -> anyhow::Result<()> {
    let (link, mut incoming) = link::open(socket.into())?;
    let Some((ToEngine::Start { settings, listeners, inputs }, descriptors)) = incoming.next().await? else {
        anyhow::bail!("the keeper sent no settings");
    };
    let brought = Brought::new(settings, listeners, inputs, descriptors);
    let mut engine = match Engine::start(brought, link.clone()).await {
        Ok(engine) => engine,
        Err(error) => {
            link.send(&FromEngine::Refused(format!("{error:#}")), None);
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Err(error);
        }
    };
    link.send(&FromEngine::Ready, None);
    engine.follow(&mut incoming).await?;
    engine.stop().await;
    Ok(())
}

/// What a `Start` frame brings, with the descriptors where they belong.
struct Brought {
    settings: String,
    listeners: Vec<(String, OwnedFd)>,
    inputs: Vec<(InputState, Option<OwnedFd>)>,
    users: Option<OwnedFd>,
    submit: Option<OwnedFd>,
    control: Option<OwnedFd>,
}

impl Brought {
    fn new(settings: String, listeners: Vec<String>, inputs: Vec<InputState>, descriptors: Vec<OwnedFd>) -> Self {
        let mut left: VecDeque<OwnedFd> = descriptors.into();
        let listeners = listeners.into_iter().filter_map(|name| Some((name, left.pop_front()?))).collect();
        let inputs = inputs
            .into_iter()
            .map(|state| (state, if state == InputState::Open { left.pop_front() } else { None }))
            .collect();
        let (users, submit, control) = (left.pop_front(), left.pop_front(), left.pop_front());
        Self { settings, listeners, inputs, users, submit, control }
    }
    /// Takes an input by number.
    fn input(&mut self, number: u16) -> (InputState, Option<OwnedFd>) {
        match self.inputs.get_mut(usize::from(number)) {
            Some((state, descriptor)) => (*state, descriptor.take()),
            None => (InputState::Absent, None),
        }
    }
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
    seats: Arc<Semaphore>,
    listening: Vec<JoinHandle<()>>,
}

impl Engine {
    async fn start(mut brought: Brought, link: Link) -> anyhow::Result<Self> {
        let settings: EngineSettings = serde_json::from_str(&brought.settings)?;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let log: Arc<dyn Log> = Arc::new(Logger::new(&settings.log, Arc::clone(&clock))?);
        let server = |text: String| log.write(&Event::Server { text });
        let (spool, recovery) = queue::spool::Spool::open(&settings.queue, clock.now())?;
        recovery.lines.into_iter().for_each(server);
        spool.log_to(Arc::clone(&log));
        let store: Arc<dyn Store> = spool;
        let people = Arc::new(People::default());
        if let Some(users) = brought.users.take() {
            people.connect(users)?;
        }
        let resolver = resolver(&settings)?;
        let router = router(&settings, &mut brought, &link, &log, &people);
        let routes = Arc::new(Routes { router: RwLock::new(Arc::new(router)) });
        let delivery = Arc::new(deliver::Current::new(settings.deliver.clone()));
        let (next, agents) = (AtomicU32::new(1), link.clone());
        let deliver = Arc::new(Deliver::start(deliver::Parts {
            settings: Arc::clone(&delivery),
            store: Arc::clone(&store),
            resolver: Arc::clone(&resolver),
            local: local_names(&settings),
            agents: Arc::new(KeeperAgents { link: agents, next }),
            routes: Arc::<Routes>::clone(&routes),
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
        })?);
        let tls = tls(&settings, &mut brought)?;
        let parts = receive::Parts {
            store: Arc::clone(&store),
            next: Arc::new(Onward { deliver: Arc::clone(&deliver) }),
            resolver,
            accounts: Arc::<People>::clone(&people),
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
        };
        let current = Current { settings: settings.receive.clone(), router: routes.current(), tls };
        let receive = Receive::new(current, parts);
        let seats = Arc::new(Semaphore::new(settings.receive.sessions.max(1) as usize));
        let listening = Vec::new();
        let mut engine = Self { link, log, clock, store, people, receive, deliver, delivery, routes, seats, listening };
        engine.listen(brought)?;
        engine.server(format!("starting daemon ({}): SMTP+queueing", settings.receive.version));
        Ok(engine)
    }

    fn server(&self, text: String) {
        self.log.write(&Event::Server { text });
    }

    /// Serves the brought listeners instead of the old ones; the sockets are the same, so no client is refused.
    fn listen(&mut self, brought: Brought) -> anyhow::Result<()> {
        for old in self.listening.drain(..) {
            old.abort();
        }
        for (name, descriptor) in brought.listeners {
            let listener = std::net::TcpListener::from(descriptor);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let seats = Arc::clone(&self.seats);
            self.listening.push(tokio::spawn(receive::listen(Arc::clone(&self.receive), listener, name, seats)));
        }
        if let Some(descriptor) = brought.submit {
            let listener = unix_listener(descriptor)?;
            self.listening.push(tokio::spawn(receive::listen_local(Arc::clone(&self.receive), listener)));
        }
        if let Some(descriptor) = brought.control {
            let uid = rustix::process::geteuid().as_raw();
            let control = Control { store: Arc::clone(&self.store), clock: Arc::clone(&self.clock), uid };
            self.listening.push(tokio::spawn(control::listen(Arc::new(control), unix_listener(descriptor)?)));
        }
        Ok(())
    }

    /// Does what the keeper says until it says stop or is gone.
    async fn follow(&mut self, incoming: &mut Incoming) -> anyhow::Result<()> {
        while let Some((message, descriptors)) = incoming.next().await? {
            match message {
                ToEngine::Start { settings, listeners, inputs } => {
                    let brought = Brought::new(settings, listeners, inputs, descriptors);
                    match self.reload(brought) {
                        Ok(()) => self.link.send(&FromEngine::Ready, None),
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
                ToEngine::Stop => return Ok(()),
            }
        }
        Ok(())
    }

    fn reload(&mut self, mut brought: Brought) -> anyhow::Result<()> {
        let settings: EngineSettings = serde_json::from_str(&brought.settings)?;
        let tls = tls(&settings, &mut brought)?;
        if let Some(users) = brought.users.take() {
            self.people.connect(users)?;
        }
        let router = router(&settings, &mut brought, &self.link, &self.log, &self.people);
        self.routes.swap(router);
        self.delivery.set(settings.deliver.clone());
        self.receive.swap(Current { settings: settings.receive.clone(), router: self.routes.current(), tls });
        self.listen(brought)?;
        self.server("configuration reloaded".into());
        Ok(())
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
        if let Err(error) = self.store.close().await {
            self.server(format!("queue: {error}"));
        }
        self.server("stopping daemon, reason=signal".into());
    }
}

fn unix_listener(descriptor: OwnedFd) -> std::io::Result<tokio::net::UnixListener> {
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

fn resolver(settings: &EngineSettings) -> anyhow::Result<Arc<dyn Resolver>> {
    let servers: Result<Vec<_>, _> = settings.route.name_servers.iter().map(|s| s.parse()).collect();
    let resolver = Hickory::new(&servers?).map_err(|text| anyhow::anyhow!("DNS: {text}"))?;
    Ok(Arc::new(resolver))
}

fn router(
    settings: &EngineSettings,
    brought: &mut Brought,
    link: &Link,
    log: &Arc<dyn Log>,
    people: &Arc<People>,
) -> Router {
    let aliases: Arc<dyn table::Table> = match settings.aliases {
        Some(number) => {
            let found = brought.input(number);
            let name = settings.inputs.get(usize::from(number)).map_or("aliases", String::as_str);
            Arc::new(LiveTable::new(number, name, compat_table::aliases::load, found, link.clone(), Arc::clone(log)))
        }
        None => Arc::new(table::Empty),
    };
    Router::new(settings.route.clone(), aliases, Arc::<People>::clone(people))
}

fn tls(settings: &EngineSettings, brought: &mut Brought) -> anyhow::Result<Option<tokio_rustls::TlsAcceptor>> {
    let Some((certificate, key)) = settings.receive.tls else {
        return Ok(None);
    };
    let mut pem = |number: u16, what: &str| match brought.input(number) {
        (InputState::Open, Some(descriptor)) => Ok(crate::input::read(descriptor)?),
        (state, _) => Err(anyhow::anyhow!("tls {what} cannot be opened ({state:?})")),
    };
    let (chain, key) = (pem(certificate, "certificate")?, pem(key, "key")?);
    receive::acceptor(&chain, &key).map(Some).map_err(|text| anyhow::anyhow!("tls: {text}"))
}

fn local_names(settings: &EngineSettings) -> route::Local {
    let mut names = settings.route.local_domains.clone();
    names.push(settings.route.host.to_lowercase());
    let mut addresses = settings.route.interfaces.clone();
    addresses.retain(|ip| !ip.is_loopback());
    route::Local { names, addresses }
}

/// From receiving to delivering.
struct Onward {
    deliver: Arc<Deliver>,
}

impl receive::Next for Onward {
    fn accepted(&self, message: queue::Accepted) {
        self.deliver.submit(message);
    }
}

/// Routes for mail that is made here.
struct Routes {
    router: RwLock<Arc<Router>>,
}

impl Routes {
    fn current(&self) -> Arc<Router> {
        Arc::clone(&self.router.read().unwrap_or_else(PoisonError::into_inner))
    }
    fn swap(&self, router: Router) {
        *self.router.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(router);
    }
}

impl deliver::Routes for Routes {
    fn route<'a>(&'a self, address: &'a Address) -> Pin<Box<dyn Future<Output = Vec<Recipient>> + Send + 'a>> {
        Box::pin(async move {
            let targets = match self.current().expand(address).await {
                Verdict::Targets(targets) => targets,
                Verdict::Refused { status, text, .. } => {
                    return vec![Recipient::new(
                        address.as_str(),
                        address.clone(),
                        &Key::Error { status, text }.to_string(),
                    )];
                }
                Verdict::Unavailable { text } => {
                    let key = Key::Error { status: mail::Status::temporary(3, 0), text };
                    return vec![Recipient::new(address.as_str(), address.clone(), &key.to_string())];
                }
            };
            let recipient = |target: route::Target| {
                let mut recipient = Recipient::new(address.as_str(), target.address, &target.key.to_string());
                recipient.controlling = target.controlling;
                recipient
            };
            targets.into_iter().map(recipient).collect()
        })
    }
}

/// Agents, started by the keeper.
struct KeeperAgents {
    link: Link,
    next: AtomicU32,
}

impl deliver::Agents for KeeperAgents {
    fn start<'a>(&'a self, kind: Kind, user: &'a str) -> deliver::Started<'a> {
        let pair = std::os::unix::net::UnixStream::pair();
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let started = pair.map_err(|e| e.to_string()).map(|(ours, theirs)| {
            let user = user.to_owned();
            self.link.send(&FromEngine::StartAgent { ticket, kind, user }, Some(theirs.into()));
            ours
        });
        Box::pin(std::future::ready(started))
    }
}
