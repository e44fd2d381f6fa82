//! Local submission: the Unix socket that `sendmail` talks to. Who calls is what the kernel says (`SO_PEERCRED`), never
//! what the frames say.

use crate::accept::{Draft, Taken, log_all};
use crate::envelope::{are_fields, bounced, envelope, notify, user_name, warnings};
use crate::prepare::{Preparing, Trouble, headers_too_large};
use crate::rewrite::Rewriter;
use crate::watched::{self, Watched};
use crate::{Progress, Receive};
use call::frame::{self, Decoder, Frame};
use call::seat::Seats;
use call::submit::{Answer, Mode, Refused, Request, Submission, Witness};
use mail::{Address, QueueId, Status};
use queue::{ContentWriter, Origin, Protocol};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest wait for the next piece; a client that was stopped in the middle of a message must not hold a seat for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time until a caller has said what it wants: that is one frame, written at once.
const FIRST: Duration = Duration::from_secs(10);
/// Longest time for one message: the client has it whole before it connects.
const MESSAGE: Duration = Duration::from_secs(600);
/// Callers with a connection, in all and of one uid; whoever is over it finds the socket closed and uses the drop folder.
const CALLERS: (u32, u32) = (1_024, 256);
/// Callers of one uid that are served at once; the others wait, at the cost of a descriptor each.
const SERVED: usize = 16;

/// Recipients that a bounce of a whole message names.
const REPORTED: usize = 100;

/// Accepts local submitters until the task is ended.
pub async fn listen_local(receive: Arc<Receive>, listener: UnixListener) {
    let (callers, turns) = (Seats::new(CALLERS.0, CALLERS.1), Arc::new(Turns::default()));
    let watchers = watched::seats();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let Ok(uid) = stream.peer_cred().map(|caller| caller.uid()) else { continue };
        let Some(seat) = callers.take(uid) else { continue };
        let (receive, turns, watchers) = (Arc::clone(&receive), Arc::clone(&turns), Arc::clone(&watchers));
        tokio::spawn(async move {
            if let Err(error) = wait_and_serve(&receive, stream, uid, (&turns, &watchers)).await {
                receive.remark(None, format!("local submission of uid {uid}: {error}"));
            }
            drop(seat);
        });
    }
}

/// The turns of each uid; one that nobody holds or waits for is forgotten.
#[derive(Default)]
struct Turns(Mutex<HashMap<u32, Weak<Semaphore>>>);

impl Turns {
    fn of(&self, uid: u32) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = turns.get(&uid).and_then(Weak::upgrade) {
            return known;
        }
        turns.retain(|_, held| held.strong_count() > 0);
        let fresh = Arc::new(Semaphore::new(SERVED));
        turns.insert(uid, Arc::downgrade(&fresh));
        fresh
    }
}

/// Serves a caller when fewer than [`SERVED`] of its uid are being served; whoever waits too long goes to the drop folder.
async fn wait_and_serve(
    receive: &Arc<Receive>,
    mut stream: UnixStream,
    uid: u32,
    (turns, watchers): (&Turns, &Arc<Seats>),
) -> Result<(), frame::Error> {
    let Ok(Ok(turn)) = timeout(FIRST, turns.of(uid).acquire_owned()).await else { return Ok(()) };
    let watched = connection(receive, &mut stream, uid, watchers).await?;
    // Who only watches keeps nobody waiting.
    drop(turn);
    match watched {
        Some(watched) => watched.pass_on(stream).await,
        None => Ok(()),
    }
}

/// One caller; several messages may follow each other. What the last one is shown of its delivery.
async fn connection(
    receive: &Arc<Receive>,
    stream: &mut UnixStream,
    uid: u32,
    watchers: &Arc<Seats>,
) -> Result<Option<Watched>, frame::Error> {
    let mut decoder = Decoder::default();
    loop {
        let first = timeout(FIRST, next(stream, &mut decoder)).await.map_err(|_| frame::Error::Closed)??;
        let Some(Frame::Message(payload)) = first else { return Ok(None) };
        let submission = match frame::decode(&payload)? {
            Request::Submit(submission) => submission,
            Request::HeadersTooLarge { user, limit } => {
                let user = user_name(receive, &user, uid).await;
                receive.note(None, headers_too_large(limit, &format!("{user}@localhost")));
                return Ok(None);
            }
            Request::End { .. } => return Err(frame::Error::Malformed),
        };
        let (witness, watched) = match submission.mode {
            Mode::Watched => Some(watched::watch(watchers, uid)).unzip(),
            Mode::Background | Mode::Queue => (None, None),
        };
        let taking = take(receive, stream, &mut decoder, submission, uid, witness);
        let Some(answer) = timeout(MESSAGE, taking).await.map_err(|_| frame::Error::Closed)?? else {
            return Ok(None);
        };
        let bytes = frame::encode(&answer)?;
        timeout(PATIENCE, stream.write_all(&bytes)).await.map_err(|_| frame::Error::Closed)??;
        if let (Answer::Accepted { .. }, Some(watched)) = (answer, watched) {
            return Ok(Some(watched));
        }
    }
}

/// One message; `None` if the caller went away before its end: nothing was promised.
async fn take(
    receive: &Arc<Receive>,
    stream: &mut UnixStream,
    decoder: &mut Decoder,
    submission: Submission,
    uid: u32,
    witness: Option<Arc<dyn Witness>>,
) -> Result<Option<Answer>, frame::Error> {
    let mut submitting = match Submitting::begin(receive, submission, uid).await {
        Ok(submitting) => submitting,
        Err(answer) => {
            // The content is on its way already: take it off the socket, so that the answer can be read.
            while let Some(Frame::Data(_)) = next(stream, decoder).await? {}
            return Ok(Some(answer));
        }
    };
    loop {
        match next(stream, decoder).await? {
            Some(Frame::Data(bytes)) => submitting.feed(&bytes).await,
            Some(Frame::Message(payload)) => match frame::decode(&payload)? {
                Request::End { length } if length == submitting.length => {
                    return Ok(Some(submitting.commit(witness).await));
                }
                _ => return Err(frame::Error::Malformed),
            },
            None => return Ok(None),
        }
    }
}

async fn next(stream: &mut UnixStream, decoder: &mut Decoder) -> Result<Option<Frame>, frame::Error> {
    let mut buffer = Vec::new();
    loop {
        if let Some(frame) = decoder.next()? {
            return Ok(Some(frame));
        }
        buffer.clear();
        buffer.reserve(16 * 1_024);
        match timeout(PATIENCE, stream.read_buf(&mut buffer)).await {
            Err(_) => return Err(frame::Error::Closed),
            Ok(Ok(0)) if decoder.is_midway() => return Err(frame::Error::Closed),
            Ok(Ok(0)) => return Ok(None),
            Ok(Ok(_)) => decoder.feed(&buffer),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}

/// A submission that is being taken, from the socket or from a dropped file.
pub(crate) struct Submitting {
    receive: Arc<Receive>,
    submission: Submission,
    uid: u32,
    user: String,
    id: QueueId,
    now: mail::Time,
    draft: Draft,
    refused: Vec<Refused>,
    preparing: Preparing,
    writer: Option<Box<dyn ContentWriter>>,
    trouble: Option<Trouble>,
    hops: u32,
    /// Bytes of content fed so far.
    pub(crate) length: u64,
    _progress: Progress,
    _waiting: Box<dyn queue::Transaction>,
}

impl Submitting {
    /// Checks the envelope; an answer at once if nothing more is needed.
    pub(crate) async fn begin(receive: &Arc<Receive>, submission: Submission, uid: u32) -> Result<Self, Answer> {
        if submission.version != call::submit::VERSION {
            return Err(Answer::Later(format!("submission version {} is not known here", submission.version)));
        }
        if submission.recipients.len() > call::submit::RECIPIENT_LIMIT {
            return Err(Answer::Never(64, "452 4.5.3 Too many recipients".into()));
        }
        if ![&submission.generated, &submission.warnings].into_iter().all(|lines| are_fields(lines)) {
            return Err(Answer::Never(65, "554 5.6.0 fields of the caller that are no header lines".into()));
        }
        let Some(progress) = receive.begin(submission.id) else {
            return Err(Answer::Later("this submission is being accepted already".into()));
        };
        if let Some(id) = receive.store.submitted(submission.id) {
            return Err(Answer::Accepted { id: id.to_string(), refused: Vec::new() });
        }
        let current = receive.current();
        let settings = &current.settings;
        let user = user_name(receive, &submission.user, uid).await;
        let (draft, refused) = envelope(receive, &submission).await?;
        let now = receive.clock.now();
        let id = receive.store.new_id(now);
        let (offset, zone) = receive.clock.zone(now.seconds());
        let date = mail::date::rfc5322(now.seconds(), offset, &zone);
        let warnings = warnings(&current.router, &submission, &user, uid);
        let named = Submission { user: user.clone(), warnings, ..submission };
        let rewriter = Rewriter::new(&current.router, draft.any_remote());
        let preparing = Preparing::new(&named, &draft, id, &date, now.seconds(), settings, rewriter);
        let writer = receive.store.write(0).map_err(|e| Answer::Later(e.to_string()))?;
        Ok(Self {
            receive: Arc::clone(receive),
            submission: named,
            uid,
            user,
            id,
            now,
            draft,
            refused,
            preparing,
            writer: Some(writer),
            trouble: None,
            hops: settings.hops,
            length: 0,
            _progress: progress,
            _waiting: receive.store.transaction(),
        })
    }

    /// Takes the next piece of content; trouble is remembered and said at the end.
    pub(crate) async fn feed(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let Some(writer) = self.writer.as_mut() else { return };
        if let Err(trouble) = self.preparing.feed(&mut **writer, bytes).await {
            self.writer = None;
            self.trouble = Some(trouble);
        }
    }

    /// Commits and answers; `witness` is told of the first attempts.
    pub(crate) async fn commit(mut self, witness: Option<Arc<dyn Witness>>) -> Answer {
        let finished = match (self.trouble.take(), self.writer.as_mut()) {
            (Some(trouble), _) => Err(trouble),
            (None, Some(writer)) => self.preparing.finish(&mut **writer, self.submission.hops, self.hops).await,
            (None, None) => Err(Trouble::Store(queue::Error::Failed("no writer".into()))),
        };
        let (Ok(()), Some(writer)) = (&finished, self.writer.take()) else {
            return self.refuse(finished.err());
        };
        if self.draft.expanded() == 0 {
            return Answer::Accepted { id: String::new(), refused: self.refused };
        }
        let origin = Origin {
            protocol: Protocol::Local,
            uid: Some(self.uid),
            user: self.user.clone(),
            submission: self.submission.id,
            ..Origin::default()
        };
        let message_id = self.preparing.message_id();
        let new_id = || self.receive.store.new_id(self.now);
        let mut envelopes = self.draft.envelopes(self.id, new_id, self.now, &origin, &message_id);
        for envelope in &mut envelopes {
            if self.preparing.eight_bit() {
                envelope.body = queue::Body::EightBitMime;
            }
            envelope.queue_only = self.submission.mode == Mode::Queue;
        }
        if self.submission.cut {
            let text =
                format!("{}: a line with a lone dot ended the message; what followed is lost (no -i)", self.user);
            self.receive.remark(Some(self.id), text);
        }
        log_all(&self.receive, &envelopes, self.preparing.size(), &format!("{}@localhost", self.user));
        match self.receive.store.accept(writer, envelopes).await {
            Ok(accepted) => {
                self.receive.hand_on(accepted, witness);
                Answer::Accepted { id: self.id.to_string(), refused: self.refused }
            }
            Err(error) => {
                self.receive.remark(Some(self.id), format!("not accepted: {error}"));
                Answer::Later(error.to_string())
            }
        }
    }

    fn refuse(&self, trouble: Option<Trouble>) -> Answer {
        match trouble {
            Some(Trouble::Never { exit, text, logged }) => {
                let own = || format!("refused submission of {}: {text}", self.user);
                match logged {
                    Some(line) => self.receive.note(Some(self.id), line),
                    None => self.receive.remark(Some(self.id), own()),
                }
                Answer::Never(exit, text)
            }
            Some(Trouble::Store(error)) => Answer::Later(error.to_string()),
            None => Answer::Later("no writer".into()),
        }
    }
}

/// Puts a message that is refused as a whole into the queue as one whose recipients all bounce, with its header only: the way back
/// to a caller who has gone.
pub(crate) async fn give_back(
    receive: &Arc<Receive>,
    submission: Submission,
    uid: u32,
    text: &str,
    header: &[u8],
) -> Answer {
    let user = user_name(receive, &submission.user, uid).await;
    let own = || Address::parse(&user).unwrap_or_else(|_| Address::null());
    let sender = Address::parse(&submission.sender).unwrap_or_else(|_| own());
    let sender = receive.current().router.qualify(&sender);
    let mut draft = Draft::local(sender, submission.sender.clone(), submission.envelope_id, None, false);
    for recipient in submission.recipients.iter().take(REPORTED) {
        let why = table::Why { source: "submission".into(), line: 0, key: recipient.address.clone() };
        let targets = vec![bounced(&recipient.address, Status::permanent(6, 0), text.to_owned(), why)];
        let notify = notify(recipient.notify);
        draft.add(Taken { given: recipient.address.clone(), orcpt: recipient.orcpt.clone(), notify, targets });
    }
    if draft.expanded() == 0 {
        return Answer::Never(64, text.to_owned());
    }
    let now = receive.clock.now();
    let written = receive.store.write(0).and_then(|mut writer| {
        writer.write(header)?;
        writer.write(b"\r\n").map(|()| writer)
    });
    let writer = match written {
        Ok(writer) => writer,
        Err(error) => return Answer::Later(error.to_string()),
    };
    let origin =
        Origin { protocol: Protocol::Local, uid: Some(uid), user, submission: submission.id, ..Origin::default() };
    let id = receive.store.new_id(now);
    let envelopes = draft.envelopes(id, || receive.store.new_id(now), now, &origin, "");
    match receive.store.accept(writer, envelopes).await {
        Ok(accepted) => {
            receive.hand_on(accepted, None);
            Answer::Accepted { id: id.to_string(), refused: Vec::new() }
        }
        Err(error) => Answer::Later(error.to_string()),
    }
}
