//! The engine's socket to the keeper: frames with descriptors, driven by tokio.

use call::frame::{self, Decoder, Frame};
use call::keep::{FromEngine, InputState, OTHERS, ToEngine};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Bytes read at once.
const BUFFER: usize = 65_536;

/// What is to be sent, and who waits until it is.
type Outgoing = (Vec<u8>, Option<OwnedFd>, Option<oneshot::Sender<()>>);

/// The keeper's answer to a question.
pub(crate) type Answer = (InputState, Option<OwnedFd>);

/// Who waits for an answer, in the order of the questions.
type Waiting = VecDeque<oneshot::Sender<Answer>>;

/// The sending side; clones share the socket.
#[derive(Clone)]
pub(crate) struct Link {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    waiting: Arc<Mutex<Waiting>>,
}

/// What arrived and was not taken yet.
#[derive(Default)]
pub(crate) struct Inbox {
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
}

/// A message with its descriptors.
pub(crate) type Arrived = (ToEngine, Vec<OwnedFd>);

impl Inbox {
    /// The next whole message, if there is one.
    fn take(&mut self) -> Result<Option<Arrived>, frame::Error> {
        let Some(frame) = self.decoder.next()? else { return Ok(None) };
        let Frame::Message(payload) = frame else {
            return Err(frame::Error::Malformed);
        };
        let message: ToEngine = frame::decode(&payload)?;
        let count = descriptors_of(&message).min(self.descriptors.len());
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }
    fn put(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        self.descriptors.extend(descriptors);
        self.decoder.feed(bytes);
    }
    /// The first message, waited for without a runtime: nothing of ours may have threads yet. `None` when the keeper is gone.
    pub(crate) fn first(&mut self, stream: &std::os::unix::net::UnixStream) -> Result<Option<Arrived>, frame::Error> {
        loop {
            if let Some(arrived) = self.take()? {
                return Ok(Some(arrived));
            }
            let (mut buffer, mut got) = (vec![0; BUFFER], Vec::new());
            let n = frame::receive(stream.as_fd(), &mut buffer, &mut got)?;
            if n == 0 {
                return Ok(None);
            }
            self.put(&buffer[..n], got);
        }
    }
}

/// The receiving side.
pub(crate) struct Incoming {
    stream: Arc<UnixStream>,
    inbox: Inbox,
    waiting: Arc<Mutex<Waiting>>,
}

/// Both sides over the keeper's socket, with what has already arrived.
pub(crate) fn open(stream: std::os::unix::net::UnixStream, inbox: Inbox) -> io::Result<(Link, Incoming)> {
    stream.set_nonblocking(true)?;
    let stream = Arc::new(UnixStream::from_std(stream)?);
    // Unbounded, but what is sent is bounded by what is in progress: agents, inputs, dropped entries.
    let (outgoing, queue) = mpsc::unbounded_channel();
    tokio::spawn(send_all(Arc::clone(&stream), queue));
    let waiting: Arc<Mutex<Waiting>> = Arc::default();
    let incoming = Incoming { stream, inbox, waiting: Arc::clone(&waiting) };
    Ok((Link { outgoing, waiting }, incoming))
}

async fn send_all(stream: Arc<UnixStream>, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some((bytes, descriptor, waiting)) = queue.recv().await {
        let mut sent = 0;
        while sent < bytes.len() {
            let with: Vec<BorrowedFd<'_>> = match (&descriptor, sent) {
                (Some(descriptor), 0) => vec![descriptor.as_fd()],
                _ => Vec::new(),
            };
            let rest = &bytes[sent..];
            let write = stream.async_io(Interest::WRITABLE, || frame::send(stream.as_fd(), rest, &with));
            match write.await {
                Ok(n) => sent += n,
                Err(_) => return, // the receiving side sees the end
            }
        }
        if let Some(waiting) = waiting {
            let _gone = waiting.send(());
        }
    }
}

impl Link {
    /// Sends a message, with at most one descriptor.
    pub(crate) fn send(&self, message: &FromEngine, descriptor: Option<OwnedFd>) {
        if let Ok(bytes) = frame::encode(message) {
            // If the keeper is gone the engine is about to end.
            let _gone = self.outgoing.send((bytes, descriptor, None));
        }
    }
    /// Sends a message and waits until the kernel has it.
    pub(crate) async fn say(&self, message: &FromEngine) {
        if let Ok(bytes) = frame::encode(message) {
            let (tell, told) = oneshot::channel();
            let _gone = self.outgoing.send((bytes, None, Some(tell)));
            let _gone = told.await;
        }
    }
    /// Asks; `None` when the keeper is gone. Whoever stops waiting loses the answer and nothing else.
    pub(crate) async fn ask(&self, question: &FromEngine) -> Option<Answer> {
        let (tell, told) = oneshot::channel();
        {
            // In one step: answers come in the order of the questions.
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push_back(tell);
            self.send(question, None);
        }
        told.await.ok()
    }
}

impl Incoming {
    /// The next message with its descriptors; `None` when the keeper is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<(ToEngine, Vec<OwnedFd>)>, frame::Error> {
        loop {
            while let Some((message, descriptors)) = self.inbox.take()? {
                let ToEngine::Answer(state) = message else {
                    return Ok(Some((message, descriptors)));
                };
                let asker = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                if let Some(asker) = asker {
                    let _gone = asker.send((state, descriptors.into_iter().next()));
                }
            }
            let (mut buffer, mut got) = (vec![0; BUFFER], Vec::new());
            let stream = &self.stream;
            let n =
                stream.async_io(Interest::READABLE, || frame::receive(stream.as_fd(), &mut buffer, &mut got)).await?;
            if n == 0 {
                return Ok(None);
            }
            self.inbox.put(&buffer[..n], got);
        }
    }
}

/// How many descriptors come with a message.
fn descriptors_of(message: &ToEngine) -> usize {
    match message {
        ToEngine::Start { listeners, inputs, .. } => {
            let open = inputs.iter().filter(|state| state.has_descriptor()).count();
            listeners.len() + open + OTHERS
        }
        ToEngine::Answer(state) => usize::from(state.has_descriptor()),
        ToEngine::Ended { .. } | ToEngine::Stop | ToEngine::Dump => 0,
    }
}
