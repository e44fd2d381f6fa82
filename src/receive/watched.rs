//! What the caller of `sendmail -v` is shown after its message was accepted (`call::submit` has the dialogue, the delivering side tells). Called
//! by `submission`.
//!
//! Limits: [`WATCHERS`] callers, each with [`LINES`] lines of at most [`TOLD`] bytes in hand, for at most [`WATCHED_FOR`], and [`PATIENCE`] for
//! each write. Nobody waits for the caller: a line that finds no room is counted and gone.

use call::frame;
use call::seat::{Seat, Seats};
use call::submit::{TOLD, Told, WATCHED_FOR, Witness};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// Callers that are shown something at the same time, in all and of one uid; others are told nothing.
const WATCHERS: (u32, u32) = (64, 8);
/// Lines in hand for one caller.
const LINES: usize = 128;
/// Longest wait for a caller to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Seats for those who watch.
pub(crate) fn seats() -> Arc<Seats> {
    Seats::new(WATCHERS.0, WATCHERS.1)
}

/// The telling end.
struct Mouth {
    /// The caller is root.
    is_root: bool,
    lines: mpsc::Sender<String>,
    left_out: Arc<AtomicU64>,
}

impl Witness for Mouth {
    fn tell(&self, mut line: String) {
        line.truncate(line.floor_char_boundary(TOLD));
        if self.lines.try_send(line).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn may_see_members(&self) -> bool {
        self.is_root
    }
}

/// The caller's end.
pub(crate) struct Watched {
    lines: mpsc::Receiver<String>,
    left_out: Arc<AtomicU64>,
    /// Nothing is told to one that found no seat.
    seat: Option<Seat>,
}

/// Both ends for a caller.
pub(crate) fn watch(seats: &Arc<Seats>, uid: u32) -> (Arc<dyn Witness>, Watched) {
    let (sender, lines) = mpsc::channel(LINES);
    let left_out = Arc::new(AtomicU64::new(0));
    let mouth = Mouth { is_root: uid == 0, lines: sender, left_out: Arc::clone(&left_out) };
    (Arc::new(mouth), Watched { lines, left_out, seat: seats.take(uid) })
}

impl Watched {
    /// Passes on what is told until there is no more, the time is over, or the caller is gone.
    pub(crate) async fn pass_on(mut self, mut stream: UnixStream) -> Result<(), frame::Error> {
        let until = Instant::now() + WATCHED_FOR;
        let mut anything = [0; 1];
        while self.seat.is_some() {
            tokio::select! {
                line = timeout_at(until, self.lines.recv()) => match line {
                    Ok(Some(line)) => say(&mut stream, &Told::Line(line)).await?,
                    Ok(None) | Err(_) => break,
                },
                // It has nothing more to say: it hung up, or is no `sendmail`.
                _ = stream.read(&mut anything) => return Ok(()),
            }
        }
        say(&mut stream, &Told::End { left_out: self.left_out.load(Ordering::Relaxed) }).await
    }
}

async fn say(stream: &mut UnixStream, told: &Told) -> Result<(), frame::Error> {
    let bytes = frame::encode(told)?;
    Ok(timeout(PATIENCE, stream.write_all(&bytes)).await.map_err(|_| frame::Error::Closed)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::frame::{Decoder, Frame};

    async fn told(mut stream: UnixStream) -> Vec<Told> {
        let (mut decoder, mut all) = (Decoder::default(), Vec::new());
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        decoder.feed(&bytes);
        while let Some(Frame::Message(payload)) = decoder.next().unwrap() {
            all.push(frame::decode(&payload).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn lines_come_in_order_and_nobody_waits_for_the_caller() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mouth, watched) = watch(&seats(), 1);
        for n in 0..LINES + 5 {
            mouth.tell(if n == 0 { "ä".repeat(TOLD) } else { n.to_string() });
        }
        drop(mouth);
        watched.pass_on(ours).await.unwrap();
        let all = told(theirs).await;
        assert_eq!(all.len(), LINES + 1);
        assert_eq!(all[0], Told::Line("ä".repeat(TOLD / 2)));
        assert_eq!(all[1], Told::Line("1".to_owned()));
        assert_eq!(all[LINES], Told::End { left_out: 5 });
    }

    #[tokio::test]
    async fn whoever_has_gone_is_not_waited_for_and_too_many_are_told_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_mouth, watched) = watch(&seats(), 1);
        drop(theirs);
        watched.pass_on(ours).await.unwrap();

        let seats = seats();
        let all: Vec<_> = (0..WATCHERS.1).map(|_| watch(&seats, 1)).collect();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mouth, watched) = watch(&seats, 1);
        mouth.tell("nothing".to_owned());
        watched.pass_on(ours).await.unwrap();
        assert_eq!(told(theirs).await, [Told::End { left_out: 0 }]);
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn it_has_an_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mouth, watched) = watch(&seats(), 1);
        mouth.tell("begun".to_owned());
        watched.pass_on(ours).await.unwrap();
        assert_eq!(told(theirs).await, [Told::Line("begun".to_owned()), Told::End { left_out: 0 }]);
    }
}
