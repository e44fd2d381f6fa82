//! Load with a ledger: many clients send messages with ids, and every id that was answered with 250 or exit 0 is written down.
//! Afterwards [`Ledger::judge`] counts them in mailboxes and sink: none lost, none merged, duplicates counted.

use crate::smtp::dotted;
use crate::{Server, Sink, Smtp, mbox, message, server};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::Duration;

/// How many local users take part: u00 … u19 of the private host.
pub const USERS: usize = 20;

/// What was promised to whom.
#[derive(Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<(String, String)>>,
    refused: AtomicUsize,
    broken: AtomicUsize,
    next: AtomicUsize,
    in_data: AtomicUsize,
    end: AtomicBool,
    /// Bytes of one message, about.
    pub lines: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// Acknowledged, but neither in a mailbox nor at the sink.
    pub lost: Vec<String>,
    /// Copies beyond the first, over all messages.
    pub duplicates: usize,
    /// Two messages in one entry: always a fault.
    pub merged: Vec<String>,
    /// Entries cut off by a kill in the middle of an append.
    pub fragments: Vec<String>,
    /// Distinct ids seen.
    pub seen: usize,
}

/// How to call `sendmail` while the server comes and goes.
#[derive(Clone)]
pub struct Caller {
    run: PathBuf,
    drop: PathBuf,
    uid: u32,
}

impl Caller {
    /// For this server: as `tester` on the private host, else as the ordinary user.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        Self {
            run: server.path("run"),
            drop: server.drop_folder(),
            uid: if server.setup.roles { 19_999 } else { server::ORDINARY },
        }
    }
    /// A `sendmail` command.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(server::programs().join("sendmail"));
        command.env("POSTRIDER_RUN", &self.run).env("POSTRIDER_DROP", &self.drop);
        command.current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.uid(self.uid).gid(self.uid);
        }
        command
    }
}

impl Ledger {
    /// With messages of about `lines` × 60 bytes.
    #[must_use]
    pub fn new(lines: usize) -> Self {
        Self { lines, ..Self::default() }
    }
    /// How many were acknowledged.
    #[must_use]
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
    /// Sessions that have sent DATA and wait for the answer to the dot.
    #[must_use]
    pub fn in_data(&self) -> usize {
        self.in_data.load(Ordering::SeqCst)
    }
    /// Clients stop after the message they have in hand.
    pub fn stop(&self) {
        self.end.store(true, Ordering::SeqCst);
    }
    /// Stops the clients when this goes out of scope, also by a panic: `thread::scope` waits for them.
    #[must_use]
    pub fn stop_at_end(&self) -> impl Drop + '_ {
        struct Stop<'a>(&'a Ledger);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.stop();
            }
        }
        Stop(self)
    }
    /// One line about the clients' side.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} acknowledged, {} refused for now, {} sessions broken",
            self.count(),
            self.refused.load(Ordering::SeqCst),
            self.broken.load(Ordering::SeqCst)
        )
    }
    fn ended(&self) -> bool {
        self.end.load(Ordering::SeqCst)
    }
    fn acknowledge(&self, id: String, how: &str) {
        self.acknowledged.lock().unwrap().push((id, how.to_owned()));
    }
    /// Next id and its recipient: half local, half relayed.
    fn draw(&self) -> (String, String) {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let to =
            if n.is_multiple_of(2) { format!("u{:02}@local.test", (n / 2) % USERS) } else { format!("r{n}@far.test") };
        (format!("m{n}"), to)
    }
    /// Starts `sessions` SMTP clients, and one that calls `sendmail -t`.
    pub fn load<'s>(&'s self, scope: &'s Scope<'s, '_>, address: SocketAddr, caller: Caller, sessions: usize) {
        for _ in 0..sessions {
            scope.spawn(move || {
                while !self.ended() {
                    if self.session(address).is_err() {
                        self.broken.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        scope.spawn(move || {
            while !self.ended() {
                let (id, to) = self.draw();
                let mut command = caller.command();
                command.args(["-t", "-i"]);
                let out = server::run(command, message::text(&id, &to, self.lines).as_bytes());
                if out.status.code() == Some(0) {
                    self.acknowledge(id, "sendmail exit 0");
                } else {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    /// One connection with up to 50 messages.
    fn session(&self, address: SocketAddr) -> io::Result<()> {
        let mut session = Smtp::hello(address)?;
        for _ in 0..50 {
            if self.ended() {
                return Ok(());
            }
            let (id, to) = self.draw();
            let mut refused = false;
            for line in ["MAIL FROM:<sender@client.test>".to_owned(), format!("RCPT TO:<{to}>"), "DATA".into()] {
                let reply = session.command(&line)?;
                assert!(reply.code < 500, "a permanent refusal under load: {line}: {}", reply.text());
                if reply.code >= 400 {
                    refused = true;
                    break;
                }
            }
            if refused {
                self.refused.fetch_add(1, Ordering::SeqCst);
                session.command("RSET")?;
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            self.in_data.fetch_add(1, Ordering::SeqCst);
            let reply = self.content(&mut session, &id, &to);
            self.in_data.fetch_sub(1, Ordering::SeqCst);
            let reply = reply?;
            match reply.code {
                250 => self.acknowledge(id, &reply.text()),
                400..=499 => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => panic!("{id}: {}", reply.text()),
            }
        }
        session.command("QUIT").map(|_| ())
    }
    /// In two pieces, so that a kill often finds a session in the middle.
    fn content(&self, session: &mut Smtp, id: &str, to: &str) -> io::Result<crate::smtp::Reply> {
        let data = dotted(&message::text(id, to, self.lines));
        let (first, second) = data.split_at(data.len() / 2);
        session.send(first)?;
        std::thread::sleep(Duration::from_millis(1));
        session.send(second)?;
        session.reply()
    }
    /// Counts ids in these mailboxes and at the sink.
    #[must_use]
    pub fn judge(&self, boxes: &[PathBuf], sink: &Sink) -> Judgement {
        let (mut seen, wrong) = mbox::count(boxes);
        let mut judgement = Judgement::default();
        for text in wrong {
            // A kill in the middle of an append leaves a piece; two ids in one entry are a message that no reader finds.
            if text.contains(" ids in one message") && !text.contains(" 0 ids") {
                judgement.merged.push(text);
            } else {
                judgement.fragments.push(text);
            }
        }
        for taken in sink.taken() {
            match message::whole(&taken.text) {
                Ok(id) => *seen.entry(id).or_insert(0) += taken.rcpt.len(),
                Err(e) => judgement.merged.push(format!("sink: {e}")),
            }
        }
        judgement.duplicates = seen.values().map(|n| n - 1).sum();
        judgement.seen = seen.len();
        judgement.lost = self.missing(&seen);
        judgement
    }
    fn missing(&self, seen: &BTreeMap<String, usize>) -> Vec<String> {
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.iter().filter(|(id, _)| !seen.contains_key(id)).map(|(id, how)| format!("{id}: {how}")).collect()
    }
}
