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
const UNREAD: usize = 8_192;

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
        socket.set_nonblocking(true)?;
        Ok(Self { socket, decoder: Decoder::default(), descriptors: VecDeque::new(), out: VecDeque::new() })
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
    /// Every message that has arrived whole.
    ///
    /// # Errors
    /// The socket's or the other side's; [`Error::Closed`] at the end of the stream.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Error> {
        let mut messages = Vec::new();
        let mut buffer = vec![0; 16_384];
        loop {
            let mut descriptors = Vec::new();
            match receive(self.socket.as_fd(), &mut buffer, &mut descriptors) {
                Ok(n) if n > 0 => self.decoder.feed(buffer.get(..n).unwrap_or_default()),
                // What came before the end counts; the end is told at the next call.
                _ if !messages.is_empty() => return Ok(messages),
                Ok(_) => return Err(Error::Closed),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                Err(error) => return Err(error.into()),
            }
            self.descriptors.extend(descriptors);
            if self.descriptors.len() > UNREAD {
                return Err(Error::Malformed);
            }
            while let Some(frame) = self.decoder.next()? {
                match frame {
                    Frame::Message(payload) => messages.push(decode(&payload)?),
                    Frame::Data(_) => return Err(Error::Malformed),
                }
            }
        }
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
}
