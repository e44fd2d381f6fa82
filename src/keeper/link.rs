//! The keeper's end of the engine's fd 3: frames with descriptors, never waiting. An engine that does not read
//! must not stop the keeper.

use call::frame::{Decoder, Frame, decode, encode, receive, send};
use call::keep::{FromEngine, ToEngine};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// An engine that leaves so many frames unread hangs.
const UNREAD: usize = 8_192;

pub(crate) struct Link {
    pub socket: UnixStream,
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
    out: VecDeque<(Vec<u8>, Vec<OwnedFd>, usize)>,
}

impl Link {
    pub(crate) fn new(socket: UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            decoder: Decoder::default(),
            descriptors: VecDeque::new(),
            out: VecDeque::new(),
        })
    }
    /// Whether frames wait for the socket to take them.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }
    /// Queues a frame and sends what can be sent.
    pub(crate) fn send(&mut self, message: &ToEngine, descriptors: Vec<OwnedFd>) -> Result<(), call::Error> {
        if self.out.len() >= UNREAD {
            return Err(call::Error::TooLong);
        }
        self.out.push_back((encode(message)?, descriptors, 0));
        self.flush()
    }
    pub(crate) fn flush(&mut self) -> Result<(), call::Error> {
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
    /// Everything that has arrived.
    ///
    /// # Errors
    /// Also at the end of the stream: either way this engine is done with.
    pub(crate) fn read(&mut self) -> Result<Vec<FromEngine>, call::Error> {
        let mut messages = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let mut descriptors = Vec::new();
            match receive(self.socket.as_fd(), &mut buffer, &mut descriptors) {
                Ok(0) if messages.is_empty() => return Err(call::Error::Closed),
                Ok(0) => return Ok(messages),
                Ok(n) => self.decoder.feed(buffer.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                Err(error) => return Err(error.into()),
            }
            self.descriptors.extend(descriptors);
            while let Some(frame) = self.decoder.next()? {
                match frame {
                    Frame::Message(payload) => messages.push(decode(&payload)?),
                    Frame::Data(_) => return Err(call::Error::Malformed),
                }
            }
        }
    }
    /// The descriptor of the next frame that has one.
    pub(crate) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}
