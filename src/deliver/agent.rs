//! The engine's end of the socket to one agent: a batch goes out with its descriptors, a frame of outcomes comes back.
//! Used by `local`, `entry` and `expand`.

use crate::batch::Packed;
use crate::start::Agents;
use call::agent::{Expansion, Order, Outcomes, Question};
use call::frame::{Decoder, Frame, decode, encode, receive, send};
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// An agent that gave no answer. It must not be used again.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It has not got the order, so it has done nothing.
    Before(call::Error),
    /// It is gone, or talks nonsense: what it did with the order is unknown.
    Amid(call::Error),
    /// So it is if the time is over. It was killed.
    Late,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Before(error) | Self::Amid(error) => write!(f, "agent: {error}"),
            Self::Late => f.write_str("agent timed out"),
        }
    }
}

/// A running agent. Dropping it closes the socket, at which the agent ends.
pub(crate) struct Agent {
    socket: UnixStream,
    decoder: Decoder,
    number: u32,
    agents: Arc<dyn Agents>,
}

impl Agent {
    /// Takes over the engine's end of the one that `agents` has started.
    pub(crate) fn adopt((number, socket): (u32, StdStream), agents: Arc<dyn Agents>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, decoder: Decoder::default(), number, agents })
    }
    /// One batch.
    pub(crate) async fn deliver(&mut self, packed: &Packed, limit: Duration) -> Result<Outcomes, Broken> {
        self.order(&packed.order, &packed.descriptors(), limit).await
    }
    /// One question.
    pub(crate) async fn expand(&mut self, question: Question, limit: Duration) -> Result<Expansion, Broken> {
        self.order(&Order::Expand(question), &[], limit).await
    }
    async fn order<T: DeserializeOwned>(
        &mut self,
        order: &Order,
        descriptors: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<T, Broken> {
        let exchange = async {
            self.send(order, descriptors).await.map_err(Broken::Before)?;
            let answer = async { decode(&self.frame().await?) };
            answer.await.map_err(Broken::Amid)
        };
        let answer = tokio::time::timeout(limit, exchange).await;
        answer.unwrap_or_else(|_| {
            self.agents.kill(self.number);
            Err(Broken::Late)
        })
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
