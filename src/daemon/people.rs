//! Accounts, asked of `postrider-users`. A question that is not answered in time is "unavailable", never "unknown".

use crate::outward::KeeperAgents;
use call::account::{self, Answer, Outcome, Question};
use call::frame::{self, Decoder, Frame};
use call::keep::Role;
use mail::log::{Event, Log};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use table::{Account, Accounts, Unavailable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longest wait for an answer: a client at RCPT is waiting too.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is good for this long: one RCPT in ten thousand may hear of a user that was removed a moment ago.
const FRESH: Duration = Duration::from_secs(5);
/// Answers kept.
const CACHE: usize = 10_000;
/// Before a process that has ended is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// Questions under way.
const QUESTIONS: usize = 10_000;

type Told = Result<Option<Account>, Unavailable>;

/// Asks, and keeps answers for a moment.
#[derive(Default)]
pub(crate) struct People {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u32,
    ask: Option<mpsc::Sender<Vec<u8>>>,
    waiting: HashMap<u32, oneshot::Sender<Told>>,
    kept: HashMap<String, (Instant, Account)>,
}

impl People {
    /// With a process to ask, and the task that keeps it running.
    pub(crate) fn start(agents: &Arc<KeeperAgents>, log: &Arc<dyn Log>) -> (Arc<Self>, JoinHandle<()>) {
        let people = Arc::new(Self::default());
        let employing = people.employ(Arc::clone(agents), Arc::clone(log));
        (people, employing)
    }

    /// Has `postrider-users` started, and started again whenever it ends; until the task is aborted. Questions may be asked at once: they wait
    /// for the process as they wait for an answer.
    pub(crate) fn employ(self: &Arc<Self>, agents: Arc<KeeperAgents>, log: Arc<dyn Log>) -> JoinHandle<()> {
        let people = Arc::clone(self);
        let (ask, mut questions) = mpsc::channel::<Vec<u8>>(QUESTIONS);
        {
            let mut state = self.state();
            state.ask = Some(ask);
            // Whoever asked the old process gets "unavailable" at once.
            state.waiting.clear();
        }
        tokio::spawn(async move {
            loop {
                let served = match agents.begin(Role::Users, "") {
                    Ok((_, socket)) => people.serve(socket, &mut questions).await,
                    Err(error) => Err(error),
                };
                let why = served.map_or_else(|error| format!(": {error}"), |()| String::new());
                log.write(&Event::Server { text: format!("postrider-users has ended{why}; starting it again") });
                tokio::time::sleep(AGAIN).await;
            }
        })
    }

    /// Uses a (new) socket to `postrider-users` until it is closed.
    async fn serve(
        &self,
        socket: std::os::unix::net::UnixStream,
        questions: &mut mpsc::Receiver<Vec<u8>>,
    ) -> std::io::Result<()> {
        socket.set_nonblocking(true)?;
        let (mut reader, mut writer) = UnixStream::from_std(socket)?.into_split();
        let write = async {
            while let Some(bytes) = questions.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let read = async {
            let (mut decoder, mut buffer) = (Decoder::default(), Vec::new());
            loop {
                while let Ok(Some(Frame::Message(payload))) = decoder.next() {
                    let Ok(answer) = frame::decode::<Answer>(&payload) else {
                        return;
                    };
                    self.hear(answer);
                }
                buffer.clear();
                buffer.reserve(8_192);
                match reader.read_buf(&mut buffer).await {
                    Ok(n) if n > 0 => decoder.feed(&buffer),
                    _ => return,
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = write => {}
        }
        self.state().waiting.clear();
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, answer: Answer) {
        let told = match answer.outcome {
            Outcome::Found(found) => Ok(Some(account(found))),
            Outcome::NotFound => Ok(None),
            Outcome::Unavailable(text) => Err(Unavailable(text)),
        };
        if let Some(teller) = self.state().waiting.remove(&answer.ticket) {
            let _gone = teller.send(told);
        }
    }

    /// A kept answer, or a ticket and the place where the answer will come.
    fn ask(&self, name: &str) -> Result<(u32, oneshot::Receiver<Told>), Told> {
        let mut state = self.state();
        if let Some((at, account)) = state.kept.get(name)
            && at.elapsed() < FRESH
        {
            return Err(Ok(Some(account.clone())));
        }
        if state.waiting.len() >= QUESTIONS {
            return Err(Err(Unavailable("too many account look-ups under way".into())));
        }
        let Some(ask) = state.ask.clone() else {
            return Err(Err(Unavailable("account service is not running".into())));
        };
        state.next = state.next.wrapping_add(1);
        let ticket = state.next;
        let question = frame::encode(&Question { ticket, name: name.to_owned() });
        let Ok(bytes) = question else { return Err(Ok(None)) };
        let (tell, told) = oneshot::channel();
        state.waiting.insert(ticket, tell);
        if ask.try_send(bytes).is_err() {
            state.waiting.remove(&ticket);
            return Err(Err(Unavailable("too many account look-ups wait".into())));
        }
        Ok((ticket, told))
    }

    fn keep(&self, name: &str, account: &Account) {
        let mut state = self.state();
        if state.kept.len() >= CACHE {
            state.kept.retain(|_, (at, _)| at.elapsed() < FRESH);
            if state.kept.len() >= CACHE {
                state.kept.clear();
            }
        }
        state.kept.insert(name.to_owned(), (Instant::now(), account.clone()));
    }
}

/// As the router sees an account.
pub(crate) fn account(found: account::Account) -> Account {
    Account { name: found.name, uid: found.uid, home: found.home, gecos: found.gecos }
}

impl Accounts for People {
    fn find<'a>(&'a self, name: &'a str) -> table::Answer<'a, Account> {
        Box::pin(async move {
            let (ticket, told) = match self.ask(name) {
                Ok(asked) => asked,
                Err(told) => return told,
            };
            match tokio::time::timeout(PATIENCE, told).await {
                Ok(Ok(told)) => {
                    // Only "found" is kept: a new account gets mail at once.
                    if let Ok(Some(account)) = &told {
                        self.keep(name, account);
                    }
                    told
                }
                Ok(Err(_)) => Err(Unavailable("account service was restarted".into())),
                Err(_) => {
                    self.state().waiting.remove(&ticket);
                    Err(Unavailable(format!("no answer about account {name} in {} s", PATIENCE.as_secs())))
                }
            }
        })
    }
}
