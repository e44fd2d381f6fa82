//! A connection that never waits: frames out are queued, frames in are taken as they come. For a loop that polls
//! (the keeper), which the other side must not be able to stop by not reading.

use crate::Error;
use crate::frame::{Decoder, Frame, decode, encode, receive, send};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The other side hangs if it leaves so many frames unread.
const UNREAD: usize = 2_048;
/// Most descriptors that have come and were not asked for.
const UNCLAIMED: usize = 512;
/// Largest frame that comes in.
const LARGEST: usize = 64 << 10;

/// The connection.
#[derive(Debug)]
pub struct Link {
    socket: UnixStream,
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
    out: VecDeque<(Vec<u8>, Vec<OwnedFd>, usize)>,
}

impl Link {
    /// Over a connected socket, which becomes non-blocking.
    ///
    /// # Errors
    /// The system call's.
    pub fn new(socket: UnixStream) -> std::io::Result<Self> {
        Self::with_limit(socket, LARGEST)
    }
    /// The same for frames of at most `limit` bytes.
    ///
    /// # Errors
    /// The system call's.
    pub fn with_limit(socket: UnixStream, limit: usize) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (descriptors, out) = (VecDeque::new(), VecDeque::new());
        Ok(Self { socket, decoder: Decoder::with_limit(limit), descriptors, out })
    }
    /// For polling.
    #[must_use]
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }
    /// Whether frames wait for the socket to take them.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }
    /// Queues a frame with its descriptors, and sends what can be sent.
    ///
    /// # Errors
    /// The socket's; [`Error::TooLong`] if too much is unread. The connection is of no more use.
    pub fn send<T: Serialize>(&mut self, message: &T, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        if self.out.len() >= UNREAD {
            return Err(Error::TooLong);
        }
        self.out.push_back((encode(message)?, descriptors, 0));
        self.flush()
    }
    /// Sends what can be sent.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> Result<(), Error> {
        while let Some((bytes, descriptors, sent)) = self.out.front_mut() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match send(self.socket.as_fd(), bytes.get(*sent..).unwrap_or_default(), &borrowed) {
                Ok(n) => *sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            // They went with the first byte.
            descriptors.clear();
            if *sent >= bytes.len() {
                self.out.pop_front();
            }
        }
        Ok(())
    }
    /// Messages that have arrived whole. One system call: there may be more, for a side that never stops talking waits for its turn.
    ///
    /// # Errors
    /// The socket's or the other side's; [`Error::Closed`] at the end of the stream.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Error> {
        let (mut messages, mut descriptors, mut buffer) = (Vec::new(), Vec::new(), [0; 16_384]);
        match receive(self.socket.as_fd(), &mut buffer, &mut descriptors) {
            Ok(0) => return Err(Error::Closed),
            Ok(n) => self.decoder.feed(buffer.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
            Err(error) => return Err(error.into()),
        }
        self.descriptors.extend(descriptors);
        if self.descriptors.len() > UNCLAIMED {
            return Err(Error::Malformed);
        }
        while let Some(frame) = self.decoder.next()? {
            match frame {
                Frame::Message(payload) => messages.push(decode(&payload)?),
                Frame::Data(_) => return Err(Error::Malformed),
            }
        }
        Ok(messages)
    }
    /// The descriptor of the next message that has one, in the order of the messages.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Question;

    #[test]
    fn a_side_that_does_not_read_stops_nobody() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Link::new(a).unwrap(), Link::new(b).unwrap());
        let question = |ticket| Question { ticket, name: "x".repeat(2_000) };
        for ticket in 0..1_000 {
            let null = std::fs::File::open("/dev/null").unwrap();
            a.send(&question(ticket), vec![null.into()]).unwrap();
        }
        assert!(a.has_output());
        let mut next = 0;
        while next < 1_000 {
            for got in b.read::<Question>().unwrap() {
                assert_eq!(got, question(next));
                assert!(b.descriptor().is_some());
                next += 1;
            }
            a.flush().unwrap();
        }
        drop(a);
        assert!(matches!(b.read::<Question>(), Err(Error::Closed)));
    }

    #[test]
    fn a_side_that_sends_too_much_is_told_so() {
        let pair = || {
            let (a, b) = UnixStream::pair().unwrap();
            (a, Link::new(b).unwrap())
        };
        let feed = |bytes: &[u8]| {
            let (mut a, mut b) = pair();
            a.set_nonblocking(true).unwrap();
            let mut outcome = Ok(Vec::new());
            for piece in bytes.chunks(16_384) {
                std::io::Write::write_all(&mut a, piece).unwrap();
                outcome = outcome.and_then(|_| b.read::<Question>());
            }
            outcome.map(|messages| messages.len())
        };
        let question = encode(&Question { ticket: 1, name: "alice".into() }).unwrap();
        assert_eq!(feed(&question).unwrap(), 1);
        // A length beyond all measure, content, an empty frame, an unknown one, one with something behind it.
        assert!(matches!(feed(&(LARGEST as u32 + 1).to_le_bytes()), Err(Error::TooLong)));
        assert!(matches!(feed(&[3, 0, 0, 0, crate::frame::DATA, 1, 2]), Err(Error::Malformed)));
        assert!(matches!(feed(&[0, 0, 0, 0]), Err(Error::Malformed)));
        assert!(matches!(feed(&[3, 0, 0, 0, crate::frame::MESSAGE, 255, 255]), Err(Error::Malformed)));
        let mut more = question.clone();
        more.push(0);
        more[0] += 1;
        assert!(matches!(feed(&more), Err(Error::Malformed)));
        // One call is one turn, whatever waits.
        let (mut a, mut b) = pair();
        std::io::Write::write_all(&mut a, &question.repeat(10_000)).unwrap();
        let first = b.read::<Question>().unwrap().len();
        assert!((1..=16_384 / question.len()).contains(&first), "{first}");
        // Descriptors that nobody asked for.
        let (a, mut b) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        let many = [null.as_fd(); 250];
        let mut told = Ok(Vec::new());
        for _ in 0..3 {
            send(a.as_fd(), &question, &many).unwrap();
            told = told.and_then(|_| b.read::<Question>());
        }
        assert!(matches!(told, Err(Error::Malformed)));
    }
}
