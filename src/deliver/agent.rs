//! The engine's end of the socket to one agent: a batch goes out with its descriptors, a frame of outcomes comes back.
//! Used by `local`.

use crate::batch::Packed;
use call::agent::{Expansion, Order, Outcomes, Question};
use call::frame::{Decoder, Frame, decode, encode, receive, send};
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdStream;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// An agent that did not answer.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What it did with the order is unknown; otherwise it has done nothing.
    pub(crate) begun: bool,
    pub(crate) error: call::Error,
}

/// A running agent. Dropping it closes the socket, at which the agent ends.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: UnixStream,
    decoder: Decoder,
}

impl Agent {
    /// Takes over the engine's end.
    pub(crate) fn adopt(socket: StdStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, decoder: Decoder::default() })
    }
    /// One batch. An error means that the agent is gone or talks nonsense: it must not be used again.
    pub(crate) async fn deliver(&mut self, packed: &Packed) -> Result<Outcomes, Broken> {
        self.order(&packed.order, &packed.descriptors()).await
    }
    /// One question.
    pub(crate) async fn expand(&mut self, question: Question) -> Result<Expansion, Broken> {
        self.order(&Order::Expand(question), &[]).await
    }
    async fn order<T: DeserializeOwned>(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<T, Broken> {
        self.send(order, descriptors).await.map_err(|error| Broken { begun: false, error })?;
        let answer = async { decode(&self.frame().await?) };
        answer.await.map_err(|error| Broken { begun: true, error })
    }
    /// If this fails the agent has not got the order whole, so it has done nothing.
    async fn send(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<(), call::Error> {
        let bytes = encode(order)?;
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let socket = self.socket.as_fd();
            // The descriptors go with the first byte.
            let with = if sent == 0 { descriptors } else { &[] };
            sent += self.socket.async_io(Interest::WRITABLE, || send(socket, rest, with)).await?;
        }
        Ok(())
    }
    async fn frame(&mut self) -> Result<Vec<u8>, call::Error> {
        loop {
            match self.decoder.next()? {
                Some(Frame::Message(payload)) => return Ok(payload),
                Some(Frame::Data(_)) => return Err(call::Error::Malformed),
                None => {}
            }
            let (mut buffer, mut unwanted) = ([0; 4_096], Vec::new());
            let socket = self.socket.as_fd();
            let got = self.socket.async_io(Interest::READABLE, || receive(socket, &mut buffer, &mut unwanted)).await?;
            // Descriptors from an agent are not asked for; `unwanted` closes them.
            match buffer.get(..got) {
                Some(bytes) if got > 0 => self.decoder.feed(bytes),
                _ => return Err(call::Error::Closed),
            }
        }
    }
}
