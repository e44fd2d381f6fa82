//! Frames over Unix stream sockets, blocking (agents, `sendmail`) or driven by somebody else's loop
//! (the engine: [`Decoder`] and [`receive`] / [`send`] on a non-blocking socket).

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Largest frame, kind and payload, in bytes. Large enough for 100,000 recipients.
pub const LIMIT: usize = 16 << 20;
/// Largest content in one frame: callers send far smaller pieces, and what has begun to arrive is kept in memory.
pub const DATA_LIMIT: usize = 1 << 20;
/// Kind of a postcard-encoded message.
pub const MESSAGE: u8 = 0;
/// Kind of raw content.
pub const DATA: u8 = 1;
/// Most descriptors with one frame (the kernel's SCM_MAX_FD is 253).
pub const MAX_DESCRIPTORS: usize = 250;

/// What can go wrong on a local socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side closed in the middle of a frame, or where a frame was expected.
    #[error("connection closed")]
    Closed,
    /// The other side announced more than [`LIMIT`], or we tried to send it.
    #[error("frame longer than the limit")]
    TooLong,
    /// The frame is not what was expected: the other side's fault.
    #[error("malformed frame")]
    Malformed,
}

/// One received frame.
#[derive(Debug)]
pub enum Frame {
    /// A postcard message; decode with [`decode`].
    Message(Vec<u8>),
    /// Raw content.
    Data(Vec<u8>),
}

/// Encodes a message as a whole frame.
///
/// # Errors
/// [`Error::TooLong`] above [`LIMIT`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let mut out = vec![0, 0, 0, 0, MESSAGE];
    out = postcard::to_extend(message, out).map_err(|_| Error::Malformed)?;
    set_length(out)
}

/// A frame with its length in place.
pub(crate) fn set_length(mut frame: Vec<u8>) -> Result<Vec<u8>, Error> {
    let length = frame.len().saturating_sub(4);
    if length > LIMIT {
        return Err(Error::TooLong);
    }
    if let Some(head) = frame.first_chunk_mut() {
        *head = (length as u32).to_le_bytes();
    }
    Ok(frame)
}

/// The five bytes before `length` bytes of raw content.
#[must_use]
pub fn data_header(length: usize) -> [u8; 5] {
    let whole = u32::try_from(length + 1).expect("content frames are cut far below 4 GiB").to_le_bytes();
    [whole[0], whole[1], whole[2], whole[3], DATA]
}

/// Decodes the payload of a [`Frame::Message`].
///
/// # Errors
/// [`Error::Malformed`], also if bytes are left over.
pub fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        _ => Err(Error::Malformed),
    }
}

/// Takes frames out of bytes that arrive in pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    limit: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Decoder {
    /// For frames of at most `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: Vec::new(), limit }
    }
    /// Adds received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }
    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`Error::TooLong`] or [`Error::Malformed`]: the connection cannot be used any more.
    #[allow(clippy::should_implement_trait, reason = "fallible: an iterator would hide that errors are final")]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > self.limit || (length > DATA_LIMIT + 1 && self.buffer.get(4) == Some(&DATA)) {
            return Err(Error::TooLong);
        }
        if length == 0 {
            return Err(Error::Malformed);
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        let payload = self.buffer[5..4 + length].to_vec();
        let kind = self.buffer[4];
        self.buffer.drain(..4 + length);
        match kind {
            MESSAGE => Ok(Some(Frame::Message(payload))),
            DATA => Ok(Some(Frame::Data(payload))),
            _ => Err(Error::Malformed),
        }
    }
    /// Whether a frame has begun that is not complete.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// One `recvmsg`: bytes read (0 = closed); received descriptors are appended to `descriptors`, close-on-exec.
///
/// # Errors
/// The system call's, `WouldBlock` included.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(got.bytes)
}

/// One `sendmsg` of `bytes` with descriptors (they go with the first byte); returns how many bytes went out.
/// Never raises SIGPIPE.
///
/// # Errors
/// The system call's, `WouldBlock` included.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one frame"));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A blocking connection that speaks frames.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    descriptors: Vec<OwnedFd>,
}

impl Connection {
    /// Over a connected stream; time-outs are the stream's (`set_read_timeout`).
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), descriptors: Vec::new() }
    }
    /// The stream, for time-outs and polling.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
    /// Sends one message, with descriptors.
    ///
    /// # Errors
    /// As the socket's, and [`Error::TooLong`].
    pub fn send<T: Serialize>(&mut self, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let bytes = encode(message)?;
        let mut sent = send(self.stream.as_fd(), &bytes, descriptors)?;
        while sent < bytes.len() {
            sent += send(self.stream.as_fd(), &bytes[sent..], &[])?;
        }
        Ok(())
    }
    /// Sends raw content as one frame.
    ///
    /// # Errors
    /// As the socket's.
    pub fn send_data(&mut self, content: &[u8]) -> Result<(), Error> {
        let mut frame = data_header(content.len()).to_vec();
        frame.extend_from_slice(content);
        Ok(self.stream.write_all(&frame)?)
    }
    /// Waits for the next frame; `None` if the other side closed between frames.
    ///
    /// # Errors
    /// As the socket's (a time-out is `WouldBlock`), or the other side's.
    #[allow(clippy::should_implement_trait, reason = "fallible: an iterator would hide that errors are final")]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            // Orders and answers are small; the content of a long one comes in pieces.
            let mut buffer = [0; 16_384];
            match receive(self.stream.as_fd(), &mut buffer, &mut self.descriptors)? {
                0 if self.decoder.is_midway() => return Err(Error::Closed),
                0 => return Ok(None),
                n => self.decoder.feed(&buffer[..n]),
            }
        }
    }
    /// Waits for a message of type `T`; `None` if the other side closed between frames.
    ///
    /// # Errors
    /// As [`Connection::next`]; [`Error::Malformed`] for anything else than such a message.
    pub fn message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        match self.next()? {
            None => Ok(None),
            Some(Frame::Message(payload)) => decode(&payload).map(Some),
            Some(Frame::Data(_)) => Err(Error::Malformed),
        }
    }
    /// Descriptors that came with the frames read so far; the caller takes them.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Question;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_message_arrives_with_its_descriptor() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Connection::new(a), Connection::new(b));
        let question = Question { ticket: 7, name: "alice".into() };
        let file = std::fs::File::open("/dev/null").unwrap();
        a.send(&question, &[file.as_fd()]).unwrap();
        a.send_data(b"hello").unwrap();
        assert_eq!(b.message::<Question>().unwrap(), Some(question));
        let got = b.take_descriptors();
        assert_eq!(got.len(), 1);
        assert_ne!(got[0].as_raw_fd(), file.as_raw_fd());
        assert!(matches!(b.next().unwrap(), Some(Frame::Data(d)) if d == b"hello"));
        drop(a);
        assert!(b.next().unwrap().is_none());
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut decoder = Decoder::default();
        decoder.feed(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next(), Err(Error::TooLong)));
        let mut decoder = Decoder::default();
        decoder.feed(&[0, 0, 0, 0]);
        assert!(matches!(decoder.next(), Err(Error::Malformed)));
        let mut decoder = Decoder::default();
        decoder.feed(&[2, 0, 0, 0, 9, 9]);
        assert!(matches!(decoder.next(), Err(Error::Malformed)));
    }
}
