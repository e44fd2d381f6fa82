//! Account look-ups (NSS) in a process of their own, because a look-up may open sockets, load anybody's module,
//! and hang. Started by the keeper; fd 3 is the engine's socket; speaks `call::account`; ends with it.
//!
//! Three answers, never two: what could not be asked is [`Outcome::Unavailable`], which becomes 451 or a
//! deferral. A hanging NSS costs at most [`WORKERS`] threads.

use call::account::{Account, Answer, Outcome, Question};
use call::frame::{Connection, encode};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Threads that ask.
const WORKERS: usize = 8;
/// Questions that wait for a thread.
const QUEUE: usize = 1_024;
/// A look-up that takes longer hangs; nothing waits behind eight of those.
const HANG: Duration = Duration::from_millis(3 * SECOND);
/// A question waits so long for a thread.
const PATIENCE: Duration = Duration::from_millis(10 * SECOND);
/// When all threads have hung for so long the process ends: the keeper starts another, whose threads are free.
const STUCK: Duration = Duration::from_millis(30 * SECOND);
/// In milliseconds; the tests' seconds are shorter.
const SECOND: u64 = if cfg!(test) { 30 } else { 1_000 };

/// Why the process ends other than by the engine's end.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The socket, or what came over it.
    #[error("postrider-users: {0}")]
    Socket(#[from] call::Error),
    /// A system call.
    #[error("postrider-users: {0}")]
    Io(#[from] io::Error),
    /// No thread comes back.
    #[error("postrider-users: every account look-up hangs; ending, to be started anew")]
    Stuck,
}

/// Answers questions on fd 3 until the other side closes; returns the exit code.
#[must_use]
pub fn run() -> u8 {
    let Some(socket) = take_socket() else {
        eprintln!("postrider-users: fd 3 is not open; this program is started by postrider-keeper");
        return 64;
    };
    match serve(socket, ask) {
        Ok(()) => 0,
        Err(error) => {
            // A module that hangs may hold a lock that the end of the process waits for.
            nix::unistd::alarm::set(5);
            eprintln!("{error}");
            71
        }
    }
}

#[allow(unsafe_code, reason = "a descriptor that was passed by number has no safe owner yet")]
fn take_socket() -> Option<UnixStream> {
    // SAFETY: used for one F_GETFD, which fails harmlessly on a closed number.
    let three = unsafe { std::os::fd::BorrowedFd::borrow_raw(3) };
    nix::fcntl::fcntl(three, nix::fcntl::FcntlArg::F_GETFD).ok()?;
    // SAFETY: open, as just seen, and nothing else in this process owns it: the keeper passed it for us.
    Some(unsafe { OwnedFd::from_raw_fd(3) }.into())
}

type Ask = fn(&str) -> Outcome;

/// What the threads share.
struct Shared {
    work: Mutex<Work>,
    more: Condvar,
    answers: Mutex<UnixStream>,
    ask: Ask,
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<(Question, Instant)>,
    /// Since when each thread is on its question.
    busy: Vec<Option<Instant>>,
}

fn serve(socket: UnixStream, ask: Ask) -> Result<(), Error> {
    socket.set_read_timeout(Some(Duration::from_millis(SECOND)))?;
    socket.set_write_timeout(Some(Duration::from_secs(30)))?;
    let shared = Arc::new(Shared {
        work: Mutex::default(),
        more: Condvar::new(),
        answers: Mutex::new(socket.try_clone()?),
        ask,
    });
    let mut connection = Connection::new(socket);
    loop {
        match connection.message::<Question>() {
            Ok(Some(question)) => shared.take(question)?,
            Ok(None) => return Ok(()),
            Err(call::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        shared.give_up_old()?;
        if shared.work().all_longer_than(STUCK) {
            return Err(Error::Stuck);
        }
    }
}

impl Work {
    /// Whether every thread that there can be has been on its question for longer than `time`.
    fn all_longer_than(&self, time: Duration) -> bool {
        let long = |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() > time);
        self.busy.len() == WORKERS && self.busy.iter().all(long)
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        // Nothing panics while it holds this; and the data would still be whole.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, question: Question) -> Result<(), Error> {
        if !is_plain(&question.name) {
            return self.answer(question.ticket, Outcome::NotFound);
        }
        let mut work = self.work();
        if work.waiting.len() >= QUEUE || work.all_longer_than(HANG) {
            drop(work);
            return self.answer(question.ticket, unavailable("every account look-up hangs"));
        }
        work.waiting.push_back((question, Instant::now()));
        let busy = work.busy.iter().filter(|since| since.is_some()).count();
        // Threads are started when first needed: most hosts need one.
        if work.busy.len() < WORKERS && busy + work.waiting.len() > work.busy.len() {
            let (number, shared) = (work.busy.len(), Arc::clone(self));
            let started = std::thread::Builder::new().spawn(move || shared.look_up(number));
            match started {
                Ok(_) => work.busy.push(None),
                Err(error) if work.busy.is_empty() => return Err(error.into()),
                // Those that are there will do it.
                Err(_) => {}
            }
        }
        drop(work);
        self.more.notify_one();
        Ok(())
    }

    /// A thread's life; it ends with the process, or when nobody listens any more.
    fn look_up(&self, number: usize) {
        loop {
            let mut work = self.work();
            let question = loop {
                if let Some((question, _)) = work.waiting.pop_front() {
                    break question;
                }
                work = self.more.wait(work).unwrap_or_else(PoisonError::into_inner);
            };
            Self::mark(work, number, Some(Instant::now()));
            let outcome = (self.ask)(&question.name);
            Self::mark(self.work(), number, None);
            if self.answer(question.ticket, outcome).is_err() {
                return;
            }
        }
    }

    fn mark(mut work: MutexGuard<'_, Work>, number: usize, since: Option<Instant>) {
        if let Some(slot) = work.busy.get_mut(number) {
            *slot = since;
        }
    }

    /// Questions that no thread came to.
    fn give_up_old(&self) -> Result<(), Error> {
        loop {
            let mut work = self.work();
            let old = |(_, since): &(Question, Instant)| since.elapsed() > PATIENCE;
            if !work.waiting.front().is_some_and(old) {
                return Ok(());
            }
            let question = work.waiting.pop_front();
            drop(work);
            if let Some((question, _)) = question {
                self.answer(question.ticket, unavailable("every account look-up hangs"))?;
            }
        }
    }

    fn answer(&self, ticket: u32, outcome: Outcome) -> Result<(), Error> {
        let frame = encode(&Answer { ticket, outcome })?;
        let mut socket = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(socket.write_all(&frame)?)
    }
}

fn unavailable(why: &str) -> Outcome {
    Outcome::Unavailable(why.to_owned())
}

/// Asks NSS in this very process: for programs that are short-lived and may wait.
#[must_use]
pub fn find(name: &str) -> Outcome {
    if is_plain(name) { ask(name) } else { Outcome::NotFound }
}

/// Whether a name is worth asking for. No passwd entry has such characters, and a path made from one would leave
/// its folder.
fn is_plain(name: &str) -> bool {
    let odd = |c: char| matches!(c, '/' | ':' | ',') || c.is_control() || c.is_whitespace();
    !name.is_empty() && name.len() <= 255 && !name.starts_with(['-', '.', '+']) && !name.contains(odd)
}

/// One question to NSS. With glibc and musl "not found" is an empty answer without an error; getpwnam(3) allows
/// ENOENT, ESRCH and others for it too, but there they come from a source that could not be asked (a directory daemon that
/// is down gives ENOENT for its socket), and those users exist.
fn ask(name: &str) -> Outcome {
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Outcome::Found(Account {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            gecos: user.gecos.to_string_lossy().into_owned(),
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
            name: user.name,
        }),
        Ok(None) => Outcome::NotFound,
        Err(errno) => Outcome::Unavailable(format!("getpwnam_r: {}", errno.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(ask: Ask) -> Connection {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        std::thread::spawn(move || serve(theirs, ask));
        Connection::new(ours)
    }

    fn send(connection: &mut Connection, ticket: u32, name: &str) {
        let name = name.to_owned();
        connection.send(&Question { ticket, name }, &[]).unwrap();
    }

    #[test]
    fn three_answers() {
        let mut users = start(ask);
        for (ticket, name) in ["root", "no-such-user-here", "../etc/passwd", "-root"].iter().enumerate() {
            send(&mut users, ticket as u32, name);
            let answer: Answer = users.message().unwrap().unwrap();
            assert_eq!(answer.ticket, ticket as u32);
            match answer.outcome {
                Outcome::Found(account) => assert_eq!((ticket, account.uid), (0, 0)),
                other => assert_eq!((ticket > 0, other), (true, Outcome::NotFound)),
            }
        }
    }

    #[test]
    fn hanging_look_ups_do_not_hold_up_the_rest_for_ever() {
        fn hang(name: &str) -> Outcome {
            if name == "hang" {
                std::thread::park();
            }
            Outcome::NotFound
        }
        let mut users = start(hang);
        for ticket in 0..7 {
            send(&mut users, ticket, "hang");
        }
        send(&mut users, 7, "alice");
        let answer: Answer = users.message().unwrap().unwrap();
        assert_eq!((answer.ticket, answer.outcome), (7, Outcome::NotFound));
        send(&mut users, 8, "hang");
        send(&mut users, 9, "alice");
        let answer: Answer = users.message().unwrap().unwrap();
        assert!(matches!((answer.ticket, answer.outcome), (9, Outcome::Unavailable(_))));
        // From now on at once.
        send(&mut users, 10, "alice");
        let answer: Answer = users.message().unwrap().unwrap();
        assert!(matches!((answer.ticket, answer.outcome), (10, Outcome::Unavailable(_))));
    }

    #[test]
    fn ends_when_no_thread_comes_back() {
        fn hang(_: &str) -> Outcome {
            loop {
                std::thread::park();
            }
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || serve(theirs, hang));
        let mut users = Connection::new(ours);
        for ticket in 0..8 {
            send(&mut users, ticket, "hang");
        }
        assert!(matches!(server.join().unwrap(), Err(Error::Stuck)));
    }
}
