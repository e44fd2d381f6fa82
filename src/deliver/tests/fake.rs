//! What stands around the crate in tests.

use crate::{
    Agents, Asked, Current, Deliver, Demanded, Demands, ForServer, Known, Parts, Routed, Routes, Routing, Secrets,
    Settings, Started,
};
use bytes::Bytes;
use call::agent::{Batch, Done, Expansion, Kind, Member, Named, Order, Outcome, Outcomes};
use call::frame::{Connection, Frame};
use mail::log::{Event, Log};
use mail::time::Clock;
use mail::{Address, QueueId, Time};
use queue::{
    Accepted, Change, Content, ContentId, ContentWriter, Envelope, Error, Expanded, NewState, Notice, Origin, Pending,
    Recipient, Select, State, Store, Summary, Transaction,
};
use route::{DnsError, Found, Mx, Owner, Resolver};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::{Future, ready};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Follows tokio's clock, which tests stop and wind.
pub(crate) struct Ticking(Instant);
const START: i64 = 1_795_292_536_000;

impl Clock for Ticking {
    fn now(&self) -> Time {
        let ms = self.0.elapsed().as_millis();
        Time { wall: START + ms as i64, mono: 1_000 + ms as u64 }
    }
    fn zone(&self, _unix: i64) -> (i32, String) {
        (0, "GMT".into())
    }
}

#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn write(&self, event: &Event) {
        let lines = event.lines(mail::log::USUAL);
        self.0.lock().unwrap().extend(lines.into_iter().map(|line| line.text));
    }
}

#[derive(Default)]
struct Held {
    messages: BTreeMap<QueueId, (Envelope, Bytes)>,
    out: BTreeSet<QueueId>,
    finished: Vec<Envelope>,
    counter: u64,
}

/// A store in memory.
#[derive(Default)]
pub(crate) struct Memory {
    held: Mutex<Held>,
    changed: Arc<Notify>,
    pub(crate) read_only: Mutex<bool>,
    /// The next so many `record_with` fail.
    pub(crate) failing: AtomicUsize,
    /// Milliseconds that a `load` takes, and how many are done.
    pub(crate) slow: AtomicU64,
    pub(crate) loads: Arc<AtomicUsize>,
}

fn done<T: Send + 'static>(result: Result<T, Error>) -> Pending<T> {
    Box::pin(ready(result))
}

impl Memory {
    fn apply(held: &mut Held, id: QueueId, changes: &[Change]) {
        let Some((envelope, _)) = held.messages.get_mut(&id) else {
            return;
        };
        for change in changes {
            let recipient = &mut envelope.recipients[change.recipient as usize];
            recipient.state = match change.state {
                NewState::Delivered => State::Delivered,
                NewState::Bounced => State::Bounced,
                NewState::Deferred(at) => State::Deferred(at),
            };
            recipient.tries += u32::from(change.attempted);
            recipient.last_reply.clone_from(&change.reply);
            recipient.last_status = change.status;
            recipient.warned |= change.warned;
        }
        if envelope.recipients.iter().all(|r| r.state.is_finished()) {
            let (envelope, _) = held.messages.remove(&id).unwrap();
            held.finished.push(envelope);
            held.out.remove(&id);
        } else if !envelope.recipients.iter().any(|r| matches!(r.state, State::InFlight)) {
            held.out.remove(&id);
        }
    }
    pub(crate) fn put(&self, mut envelope: Envelope, content: &[u8], out: bool) -> Accepted {
        let mut held = self.held.lock().unwrap();
        envelope.size = content.len() as u64;
        if out {
            let due = envelope.recipients.iter_mut().filter(|r| !r.state.is_finished());
            due.for_each(|r| r.state = State::InFlight);
            held.out.insert(envelope.id);
        }
        let content = Bytes::copy_from_slice(content);
        held.messages.insert(envelope.id, (envelope.clone(), content.clone()));
        drop(held);
        self.changed.notify_waiters();
        Accepted { envelope: Arc::new(envelope), content: Some(Content::Memory(content)) }
    }
    /// What waits of a message is due, as after a flush.
    pub(crate) fn make_due(&self, id: QueueId) {
        let mut held = self.held.lock().unwrap();
        for recipient in &mut held.messages.get_mut(&id).unwrap().0.recipients {
            if matches!(recipient.state, State::Deferred(_)) {
                recipient.state = State::Due { perhaps_delivered: false };
            }
        }
        drop(held);
        self.changed.notify_waiters();
    }
    /// A message that waits.
    pub(crate) fn one(&self, id: QueueId) -> Envelope {
        self.held.lock().unwrap().messages[&id].0.clone()
    }
    pub(crate) fn waiting(&self) -> Vec<Envelope> {
        self.held.lock().unwrap().messages.values().map(|(e, _)| e.clone()).collect()
    }
    pub(crate) fn finished(&self) -> Vec<Envelope> {
        self.held.lock().unwrap().finished.clone()
    }
    pub(crate) fn claimed(&self) -> usize {
        self.held.lock().unwrap().out.len()
    }
    pub(crate) fn text(&self, id: QueueId) -> String {
        String::from_utf8(self.held.lock().unwrap().messages[&id].1.to_vec()).unwrap()
    }
}

impl Store for Memory {
    fn write(&self, _expected: u64) -> Result<Box<dyn ContentWriter>, Error> {
        Err(Error::ReadOnly("test".into()))
    }
    fn room(&self, _size: u64) -> Result<(), Error> {
        if *self.read_only.lock().unwrap() { Err(Error::ReadOnly("test".into())) } else { Ok(()) }
    }
    fn transaction(&self) -> Box<dyn Transaction> {
        unreachable!("deliver opens no transactions")
    }
    fn new_id(&self, now: Time) -> QueueId {
        let mut held = self.held.lock().unwrap();
        held.counter += 1;
        QueueId::new(now.seconds(), held.counter)
    }
    fn accept(&self, _: Box<dyn ContentWriter>, _: Vec<Envelope>) -> Pending<Vec<Accepted>> {
        unreachable!("deliver accepts nothing")
    }
    fn submitted(&self, _: [u8; 16]) -> Option<QueueId> {
        None
    }
    fn claim(&self, now: Time, limit: usize) -> Vec<QueueId> {
        let mut held = self.held.lock().unwrap();
        let Held { messages, out, .. } = &mut *held;
        let mut ids = Vec::new();
        for (id, (envelope, _)) in messages {
            let mut due = false;
            for r in &mut envelope.recipients {
                let now_due =
                    matches!(r.state, State::Due { .. }) || matches!(r.state, State::Deferred(at) if at <= now.wall);
                if now_due && !out.contains(id) && ids.len() < limit {
                    due = true;
                    r.state = State::InFlight;
                }
            }
            if due {
                ids.push(*id);
            }
        }
        out.extend(&ids);
        ids
    }
    fn next_due(&self) -> Option<i64> {
        let held = self.held.lock().unwrap();
        let recipients =
            held.messages.iter().filter(|(id, _)| !held.out.contains(id)).flat_map(|(_, (e, _))| &e.recipients);
        recipients
            .filter_map(|r| match r.state {
                State::Due { .. } => Some(0),
                State::Deferred(at) => Some(at),
                _ => None,
            })
            .min()
    }
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let changed = self.changed.clone();
        let mut waiting = Box::pin(async move { changed.notified().await });
        // Registers now.
        let _ = waiting.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        waiting
    }
    fn load(&self, id: QueueId) -> Pending<Arc<Envelope>> {
        let held = self.held.lock().unwrap();
        let envelope = held.messages.get(&id).map(|(e, _)| Arc::new(e.clone())).ok_or(Error::Unknown);
        let loads = self.loads.clone();
        let slow = std::time::Duration::from_millis(self.slow.load(Ordering::SeqCst));
        Box::pin(async move {
            tokio::time::sleep(slow).await;
            loads.fetch_add(1, Ordering::SeqCst);
            envelope
        })
    }
    fn content(&self, id: QueueId) -> Pending<Content> {
        let held = self.held.lock().unwrap();
        done(held.messages.get(&id).map(|(_, c)| Content::Memory(c.clone())).ok_or(Error::Unknown))
    }
    fn release_claim(&self, id: QueueId, at: i64) {
        let mut held = self.held.lock().unwrap();
        held.out.remove(&id);
        if let Some((envelope, _)) = held.messages.get_mut(&id) {
            for r in &mut envelope.recipients {
                if matches!(r.state, State::InFlight) {
                    r.state = State::Deferred(at);
                }
            }
        }
        drop(held);
        self.changed.notify_waiters();
    }
    fn record(&self, id: QueueId, changes: Vec<Change>) -> Pending<()> {
        Self::apply(&mut self.held.lock().unwrap(), id, &changes);
        self.changed.notify_waiters();
        done(Ok(()))
    }
    fn record_with(&self, id: QueueId, changes: Vec<Change>, notice: Notice) -> Pending<Accepted> {
        if self.failing.load(Ordering::SeqCst) > 0 {
            self.failing.fetch_sub(1, Ordering::SeqCst);
            return done(Err(Error::Full("test".into())));
        }
        Self::apply(&mut self.held.lock().unwrap(), id, &changes);
        done(Ok(self.put(notice.envelope, &notice.content, true)))
    }
    fn expand(&self, id: QueueId, expansion: queue::Expansion) -> Pending<Expanded> {
        let mut held = self.held.lock().unwrap();
        let (message, content) = held.messages.get_mut(&id).unwrap();
        let (recipients, content) = (&mut message.recipients, content.clone());
        for index in expansion.parents {
            assert_eq!(recipients[index as usize].state, State::InFlight, "expanded twice");
            recipients[index as usize].state = State::Expanded;
        }
        let flying = |child: Recipient| {
            if child.state.is_finished() { child } else { Recipient { state: State::InFlight, ..child } }
        };
        recipients.extend(expansion.children.into_iter().map(flying));
        Self::apply(&mut held, id, &[]);
        let envelope = held.messages.get(&id).map(|(envelope, _)| Arc::new(envelope.clone()));
        drop(held);
        let clones = expansion.clones.into_iter().map(|clone| self.put(clone, &content, true)).collect();
        done(Ok(Expanded { envelope, clones }))
    }
    fn list(&self, _: Select, _: Option<QueueId>, _: usize) -> Pending<Vec<Summary>> {
        done(Ok(Vec::new()))
    }
    fn count(&self, _: Select) -> Pending<u64> {
        done(Ok(0))
    }
    fn hold(&self, _: Select, _: String) -> Pending<u64> {
        done(Ok(0))
    }
    fn release(&self, _: Select) -> Pending<u64> {
        done(Ok(0))
    }
    fn delete(&self, _: Select) -> Pending<u64> {
        done(Ok(0))
    }
    fn flush(&self, _: Select) -> Pending<u64> {
        done(Ok(0))
    }
    fn corrupt(&self) -> Pending<Vec<String>> {
        done(Ok(Vec::new()))
    }
    fn close(&self) -> Pending<()> {
        done(Ok(()))
    }
}

/// DNS without any zone: literals and `localhost` only.
pub(crate) struct NoDns;

impl Resolver for NoDns {
    fn mx<'a>(&'a self, domain: &'a str) -> Found<'a, Vec<Mx>> {
        let answer = match domain {
            "loop.example" => Ok(vec![Mx { preference: 10, host: "lo.example".into() }]),
            "slow.example" => Err(DnsError::Temporary("timed out".into())),
            _ => Err(DnsError::NoName),
        };
        Box::pin(ready(answer))
    }
    fn addresses<'a>(&'a self, _host: &'a str) -> Found<'a, Vec<IpAddr>> {
        Box::pin(ready(Ok(vec![[127, 0, 0, 9].into()])))
    }
    fn names(&self, _address: IpAddr) -> Found<'_, Vec<String>> {
        Box::pin(ready(Err(DnsError::NoName)))
    }
}

/// What an agent does with each item.
pub(crate) type Behaviour = dyn Fn(&str, &call::agent::Item) -> Option<Done> + Send + Sync;

/// What agents got: user, batch, contents.
pub(crate) type Batches = Mutex<Vec<(String, Batch, Vec<Vec<u8>>)>>;

/// Agents that are threads; `None` from the behaviour is an agent that dies.
pub(crate) struct Threads {
    pub(crate) behave: Arc<Behaviour>,
    pub(crate) batches: Arc<Batches>,
    pub(crate) asked: AtomicUsize,
    pub(crate) started: AtomicUsize,
    pub(crate) refuse: Mutex<bool>,
    /// Which of those started were killed.
    pub(crate) killed: Mutex<Vec<u32>>,
    /// Which agents were asked for.
    pub(crate) kinds: Mutex<Vec<(Kind, String)>>,
    /// What `.forward` files say, by user: their lines.
    pub(crate) forwards: Arc<Forwards>,
    /// What happens at entries of files, by their marks, instead of what the behaviour says.
    pub(crate) entries: Arc<Entries>,
}

impl Threads {
    pub(crate) fn new(behave: impl Fn(&str, &call::agent::Item) -> Option<Done> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            behave: Arc::new(behave),
            batches: Arc::default(),
            asked: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            refuse: Mutex::new(false),
            killed: Mutex::default(),
            kinds: Mutex::default(),
            forwards: Arc::default(),
            entries: Arc::default(),
        })
    }
    pub(crate) fn delivered() -> Arc<Self> {
        Self::new(|_, _| Some(Done::Delivered("mbox".into())))
    }
}

impl Agents for Threads {
    fn start<'a>(&'a self, kind: Kind, user: &'a str) -> Started<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.kinds.lock().unwrap().push((kind, user.to_owned()));
        if *self.refuse.lock().unwrap() {
            return Box::pin(ready(Err("fork: Resource temporarily unavailable".to_owned())));
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) as u32;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (behave, batches, user) = (self.behave.clone(), self.batches.clone(), user.to_owned());
        let (forwards, entries) = (self.forwards.clone(), self.entries.clone());
        std::thread::spawn(move || agent(&user, theirs, &*behave, &batches, (&forwards, &entries)));
        Box::pin(ready(Ok((number, ours))))
    }
    fn kill(&self, number: u32) {
        self.killed.lock().unwrap().push(number);
    }
}

type Forwards = Mutex<BTreeMap<String, Vec<Result<String, String>>>>;
type Entries = Mutex<HashMap<String, Done>>;

/// What an agent says to a question.
fn expansion(lines: Option<&Vec<Result<String, String>>>) -> Expansion {
    let member = |(n, entry): (usize, &Result<String, String>)| Member {
        entry: entry.clone(),
        file: "/home/x/.forward".into(),
        line: n as u32 + 1,
    };
    let answer = lines.map_or(Named::Mailbox, |lines| Named::Members(lines.iter().enumerate().map(member).collect()));
    Expansion { answer, notes: Vec::new() }
}

fn agent(
    user: &str,
    socket: UnixStream,
    behave: &Behaviour,
    seen: &Batches,
    (forwards, entries): (&Forwards, &Entries),
) {
    let at = |entry: Option<&call::agent::Entry>| entries.lock().unwrap().get(&entry?.mark).cloned();
    let mut connection = Connection::new(socket);
    while let Ok(Some(Frame::Message(payload))) = connection.next() {
        let batch = match call::frame::decode(&payload).unwrap() {
            Order::Deliver(batch) => batch,
            Order::Expand(question) => {
                let answer = match at(question.entry.as_ref()) {
                    Some(Done::Gone(why)) => Expansion { answer: Named::Gone(why), notes: Vec::new() },
                    _ => expansion(forwards.lock().unwrap().get(user)),
                };
                connection.send(&answer, &[]).unwrap();
                continue;
            }
        };
        let files: Vec<std::fs::File> = connection.take_descriptors().into_iter().map(Into::into).collect();
        let mut outcomes = Vec::new();
        let mut contents = Vec::new();
        for item in &batch.items {
            let mut content = vec![0; item.length as usize];
            let file = &files[item.source as usize];
            std::os::unix::fs::FileExt::read_exact_at(file, &mut content, item.offset).unwrap();
            contents.push(content);
        }
        seen.lock().unwrap().push((user.to_owned(), batch.clone(), contents));
        for item in &batch.items {
            let result = at(batch.into.as_ref()).map_or_else(|| behave(user, item), Some);
            let Some(result) = result else { return };
            outcomes.push(Outcome { ticket: item.ticket, result, program: None });
        }
        connection.send(&Outcomes { outcomes }, &[]).unwrap();
    }
}

/// Every bounce recipient is a local user, but for `parked`, whose mail stays in the queue.
#[derive(Default)]
pub(crate) struct AllLocal {
    /// The accounts cannot be read.
    pub(crate) unavailable: AtomicBool,
    /// Lists with an owner, and their members.
    pub(crate) lists: Mutex<HashMap<String, (Owner, Vec<String>)>>,
}

impl Routes for AllLocal {
    fn route<'a>(&'a self, address: &'a Address) -> Routing<'a> {
        let routed = |to: &Address, owner: Option<&Owner>| {
            let route = match to.local() {
                _ if self.unavailable.load(Ordering::SeqCst) => "error:4.3.0 no accounts".to_owned(),
                "parked" => "smtp:slow.example".to_owned(),
                local => format!("local:{local}"),
            };
            Routed { recipient: Recipient::new(to.as_str(), to.clone(), &route), owner: owner.cloned() }
        };
        let lists = self.lists.lock().unwrap();
        let all = match lists.get(address.local()) {
            Some((owner, members)) => {
                members.iter().map(|member| routed(&Address::from_parts(member, None), Some(owner))).collect()
            }
            None => vec![routed(address, None)],
        };
        Box::pin(ready(all))
    }
}

/// A member of an alias of `/m/aliases`.
pub(crate) fn aliased(alias: &str, route: &str) -> Recipient {
    let mut recipient = Recipient::new(alias, Address::from_parts(&route::quoted(route), None), route);
    recipient.controlling = format!("/m/aliases:1: {alias}");
    recipient
}

/// Knows no password.
struct Ignorant;

impl Secrets for Ignorant {
    fn credentials<'a>(&'a self, _host: Option<&'a str>, _ip: Option<IpAddr>) -> Known<'a> {
        Box::pin(ready(Ok(None)))
    }
}

impl Demands for Ignorant {
    fn of_server<'a>(&'a self, _host: Option<&'a str>, _ip: IpAddr) -> Asked<'a, ForServer> {
        Box::pin(ready(Ok(ForServer::default())))
    }
    fn for_recipient<'a>(&'a self, _address: &'a Address) -> Asked<'a, Option<Demanded>> {
        Box::pin(ready(Ok(None)))
    }
}

/// The crate with its made-up surroundings.
pub(crate) struct Stage {
    pub(crate) store: Arc<Memory>,
    pub(crate) agents: Arc<Threads>,
    pub(crate) log: Arc<Lines>,
    pub(crate) clock: Arc<Ticking>,
    pub(crate) routes: Arc<AllLocal>,
    pub(crate) deliver: Deliver,
}

impl Stage {
    pub(crate) fn new(agents: Arc<Threads>, settings: Settings) -> Self {
        Self::with(agents, settings, Arc::new(Ignorant))
    }
    pub(crate) fn with(agents: Arc<Threads>, settings: Settings, secrets: Arc<dyn Secrets>) -> Self {
        let (store, log, clock) =
            (Arc::new(Memory::default()), Arc::new(Lines::default()), Arc::new(Ticking(Instant::now())));
        let settings = Arc::new(Current::new(settings, route::Local::default()));
        let routes = Arc::new(AllLocal::default());
        let deliver = Deliver::start(Parts {
            settings,
            store: store.clone(),
            resolver: Arc::new(NoDns),
            agents: agents.clone(),
            routes: routes.clone(),
            secrets,
            demands: Arc::new(Ignorant),
            log: log.clone(),
            clock: clock.clone(),
        })
        .unwrap();
        Self { store, agents, log, clock, routes, deliver }
    }
    /// An envelope from `sender` along `routes`, arrived now.
    pub(crate) fn envelope(&self, sender: &str, routes: &[(&str, &str)]) -> Envelope {
        let address = |text: &str| match text.split_once('@') {
            Some((local, domain)) => Address::from_parts(local, Some(domain)),
            None if text.is_empty() => Address::null(),
            None => Address::from_parts(text, None),
        };
        let now = self.clock.now();
        Envelope {
            id: self.store.new_id(now),
            content: ContentId(0),
            size: 0,
            arrived: now.wall,
            origin: Origin::default(),
            sender: address(sender),
            sender_given: format!("<{sender}>"),
            message_id: "<1@test>".into(),
            ret: None,
            envid: String::new(),
            body: queue::Body::SevenBit,
            smtputf8: false,
            requiretls: false,
            by: None,
            priority: 0,
            queue_only: false,
            prepend: String::new(),
            hold: None,
            recipients: routes.iter().map(|(to, route)| Recipient::new(to, address(to), route)).collect(),
            unknown: Vec::new(),
        }
    }
    /// Accepts and submits a message.
    pub(crate) fn submit(&self, envelope: Envelope, content: &[u8]) -> QueueId {
        let id = envelope.id;
        self.deliver.submit(self.store.put(envelope, content, true));
        id
    }
    /// Waits until `condition` holds; fails after a long (real or wound) while.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("never: {what}; log: {:#?}; waiting: {:#?}", self.lines(), self.store.waiting());
    }
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }
    pub(crate) fn has_line(&self, part: &str) -> bool {
        self.lines().iter().any(|line| line.contains(part))
    }
}

/// What a sink saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) commands: Vec<String>,
    pub(crate) messages: Vec<String>,
}

/// What a sink says to a command (`GREETING`, `EHLO x`, `MAIL …`, `.`); `None`: the usual, `Some("")`: it hangs up.
pub(crate) type Script = dyn Fn(&str, &Seen) -> Option<String> + Send + Sync;

/// An SMTP server on a stream.
pub(crate) async fn serve<S>(stream: S, script: Arc<Script>, seen: Arc<Mutex<Seen>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    dialogue(stream, script, seen, "GREETING".to_owned()).await;
}

/// One whose greeting was given, waiting for the first command.
pub(crate) async fn serve_after_greeting<S>(mut stream: S, script: Arc<Script>, seen: Arc<Mutex<Seen>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio::io::AsyncReadExt;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    let command = String::from_utf8(line).unwrap().trim_end().to_owned();
    seen.lock().unwrap().commands.push(command.clone());
    dialogue(stream, script, seen, command).await;
}

async fn dialogue<S>(stream: S, script: Arc<Script>, seen: Arc<Mutex<Seen>>, mut command: String)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = BufReader::new(stream);
    let mut data = None::<String>;
    seen.lock().unwrap().connections += 1;
    loop {
        let said = script(&command, &seen.lock().unwrap().clone());
        let usual = match command.split([' ', ':']).next().unwrap_or("") {
            "GREETING" => "220 sink ESMTP",
            "EHLO" => "250-sink hello\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-DSN\r\n250 8BITMIME",
            "DATA" => "354 go",
            "." => "250 2.0.0 ok queued",
            "QUIT" => "221 bye",
            _ => "250 2.1.0 fine",
        };
        let reply = said.unwrap_or_else(|| usual.to_owned());
        if reply.is_empty() || stream.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() || command == "QUIT" {
            return;
        }
        if command == "DATA" && reply.starts_with("354") {
            data = Some(String::new());
        }
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            match &mut data {
                Some(_) if line == ".\r\n" => break,
                Some(text) => text.push_str(&line),
                None => break,
            }
        }
        command = line.trim_end().to_owned();
        let mut seen = seen.lock().unwrap();
        seen.messages.extend(data.take());
        seen.commands.push(command.clone());
    }
}

/// A sink on loopback: its route key and what it sees.
pub(crate) async fn sink(
    script: impl Fn(&str, &Seen) -> Option<String> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Seen>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = format!("relay:[127.0.0.1]:{}", listener.local_addr().unwrap().port());
    let (script, seen): (Arc<Script>, _) = (Arc::new(script), Arc::new(Mutex::new(Seen::default())));
    let watched = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, script.clone(), watched.clone()));
        }
    });
    (key, seen)
}

/// Like [`sink`], but all it says and sees is inside TLS; in clear text it answers EHLO with `offers` and STARTTLS with 220.
pub(crate) async fn secure_sink(
    offers: &'static str,
    script: impl Fn(&str, &Seen) -> Option<String> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Seen>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let acceptor = acceptor();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = format!("relay:[127.0.0.1]:{}", listener.local_addr().unwrap().port());
    let (script, seen): (Arc<Script>, _) = (Arc::new(script), Arc::new(Mutex::new(Seen::default())));
    let watched = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (acceptor, script, seen) = (acceptor.clone(), script.clone(), watched.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 1_000];
                for (reply, wanted) in [("220 x", "EHLO localhost\r\n"), (offers, "STARTTLS\r\n"), ("220 go", "")] {
                    stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
                    if !wanted.is_empty() {
                        let got = stream.read(&mut buffer).await.unwrap();
                        assert_eq!(String::from_utf8_lossy(&buffer[..got]), wanted);
                    }
                }
                let stream = acceptor.accept(stream).await.unwrap();
                serve_after_greeting(stream, script, seen).await;
            });
        }
    });
    (key, seen)
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let key = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
        )
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}
