//! The operator's verbs, over the control socket. Anyone on the host may list and count (as with sendmail's mailq);
//! whoever changes something must be root or the user the server runs as. The kernel says who calls.

use call::frame::{self, Decoder, Frame};
use call::operator::{EntryWith, Host, Page, RecipientWith, Reply, Request, Statistics};
use call::seat::Seats;
use mail::QueueId;
use mail::time::Clock;
use queue::{Body, Envelope, Part, Pattern, Protocol, Recipient, Select, State, Store, Summary};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Messages read at once for a list.
const PAGE: usize = 512;
/// Bytes of one frame of a list, about; a message larger than this has a frame of its own.
const FRAME: usize = 1 << 20;
/// Most bytes of one message in a list; the recipients beyond are counted, not shown. Frames end at 16 MiB.
const ENTRY: usize = 8 << 20;
/// Largest request of a caller who may only look: decoded, empty names take 24 times their size.
const ASKED: usize = 64 << 10;
/// Longest wait for a caller to read.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a caller's next request.
const REQUEST: Duration = Duration::from_secs(10);
/// Callers served at once, in all and of one uid.
const CALLERS: (u32, u32) = (256, 32);

/// What the engine counts and remembers beside the queue (sendmail's statistics and host status).
pub trait Ledger: Send + Sync {
    /// The counters; with `clear` they begin anew.
    fn statistics(&self, clear: bool) -> Statistics;
    /// How the last attempts at other hosts went, the last one first.
    fn hosts(&self) -> Vec<Host>;
    /// Forgets the hosts; how many there were.
    fn purge_hosts(&self) -> u64;
}

/// What the verbs work on.
pub struct Control {
    /// The queue.
    pub store: Arc<dyn Store>,
    /// Statistics and host status.
    pub ledger: Arc<dyn Ledger>,
    /// Whether only root, the server's user and its group may look (PrivacyOptions=restrictmailq).
    pub restricted: bool,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// The server's own uid: it may do what root may.
    pub uid: u32,
}

/// Serves callers until the task is ended.
pub async fn listen(control: Arc<Control>, listener: UnixListener) {
    let seats = Seats::new(CALLERS.0, CALLERS.1);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let Some(seat) = seats.take(peer.uid()) else { continue };
        let control = Arc::clone(&control);
        let caller = Caller {
            own_group: peer.gid() == rustix::process::getegid().as_raw(),
            trusted: peer.uid() == 0 || peer.uid() == control.uid,
        };
        tokio::spawn(async move {
            // A caller that hangs up in the middle of its list is its own business.
            let _gone = connection(&control, stream, caller).await;
            drop(seat);
        });
    }
}

/// Who asks, as the kernel says.
#[derive(Clone, Copy)]
struct Caller {
    /// Of the server's own group.
    own_group: bool,
    /// Root, or the server's own user.
    trusted: bool,
}

async fn connection(control: &Control, mut stream: UnixStream, caller: Caller) -> Result<(), frame::Error> {
    let mut decoder = Decoder::with_limit(if caller.trusted { frame::LIMIT } else { ASKED });
    let mut buffer = Vec::new();
    loop {
        match decoder.next()? {
            Some(Frame::Message(payload)) => {
                let request = frame::decode(&payload)?;
                answer(control, caller, request, &mut stream).await?;
            }
            Some(Frame::Data(_)) => return Err(frame::Error::Malformed),
            None => {
                buffer.clear();
                buffer.reserve(4_096);
                match timeout(REQUEST, stream.read_buf(&mut buffer)).await {
                    Ok(Ok(n)) if n > 0 => decoder.feed(&buffer),
                    _ => return Ok(()),
                }
            }
        }
    }
}

/// What the caller may not do, in sendmail's words.
fn forbidden(restricted: bool, caller: Caller, request: &Request) -> Option<&'static str> {
    match request {
        _ if caller.trusted => None,
        Request::List(_) | Request::Count(_) if restricted && !caller.own_group => {
            Some("You are not permitted to see the queue")
        }
        Request::List(_) | Request::Count(_) | Request::Statistics(false) | Request::Hosts => None,
        Request::PurgeHosts => Some("Permission denied (real uid not trusted)"),
        _ => Some("You do not have permission to process the queue"),
    }
}

async fn answer(
    control: &Control,
    caller: Caller,
    request: Request,
    stream: &mut UnixStream,
) -> Result<(), frame::Error> {
    if let Some(text) = forbidden(control.restricted, caller, &request) {
        return send(stream, &Reply::Refused(text.to_owned())).await;
    }
    let (store, ledger) = (&control.store, &control.ledger);
    let selected = match &request {
        Request::Statistics(clear) => return send(stream, &Reply::Statistics(ledger.statistics(*clear))).await,
        Request::Hosts => return send(stream, &Reply::Hosts(ledger.hosts())).await,
        Request::PurgeHosts => return send(stream, &Reply::End(ledger.purge_hosts())).await,
        Request::List(s)
        | Request::Flush(s)
        | Request::Hold(s, _)
        | Request::Release(s)
        | Request::Delete(s)
        | Request::Count(s) => s,
    };
    let select = match select(selected, control.clock.now().wall) {
        Ok(select) => select,
        Err(text) => return send(stream, &Reply::Refused(text)).await,
    };
    let done = match request {
        Request::List(_) => return list(control, select, stream).await,
        Request::Flush(_) => store.flush(select).await,
        Request::Hold(_, reason) => store.hold(select, reason).await,
        Request::Release(_) => store.release(select).await,
        Request::Delete(_) => store.delete(select).await,
        _ => store.count(select).await,
    };
    let reply = match done {
        Ok(count) => Reply::End(count),
        Err(error) => Reply::Refused(error.to_string()),
    };
    send(stream, &reply).await
}

async fn list(control: &Control, select: Select, stream: &mut UnixStream) -> Result<(), frame::Error> {
    let mut count = 0;
    let mut page = read_page(control, &select, None).await;
    loop {
        let (last, made) = match page {
            Ok(page) => page,
            Err(error) => return send(stream, &Reply::Refused(error.to_string())).await,
        };
        let Some(last) = last else {
            return send(stream, &Reply::End(count)).await;
        };
        count += made.count;
        let frames = made.frames()?;
        // The next page is read while this one is on its way.
        let next = read_page(control, &select, Some(last));
        let (sent, read) = tokio::join!(write(stream, &frames), next);
        sent?;
        page = read;
    }
}

/// The frames of some messages.
#[derive(Default)]
struct Made {
    whole: Vec<u8>,
    page: Page,
    count: u64,
    error: Option<frame::Error>,
}

impl Made {
    fn add(&mut self, summary: &Summary) {
        self.count += 1;
        let pushed = self.page.push(&entry::<Cow<'_, str>>(&summary.envelope, summary.active));
        let done = pushed.and_then(|()| if self.page.len() > FRAME { self.end_frame() } else { Ok(()) });
        self.error = self.error.take().or(done.err());
    }
    fn end_frame(&mut self) -> Result<(), frame::Error> {
        self.whole.append(&mut self.page.take()?);
        Ok(())
    }
    fn frames(mut self) -> Result<Vec<u8>, frame::Error> {
        self.end_frame()?;
        self.error.map_or(Ok(self.whole), Err)
    }
}

/// The last message of a page and its frames; they are made on the thread that reads, so that an envelope never changes hands.
async fn read_page(
    control: &Control,
    select: &Select,
    after: Option<QueueId>,
) -> Result<(Option<QueueId>, Made), queue::Error> {
    let made = Arc::new(Mutex::new(Made::default()));
    let shown = Arc::clone(&made);
    let see = move |summary: Summary| shown.lock().unwrap_or_else(PoisonError::into_inner).add(&summary);
    let last = control.store.show(select.clone(), after, PAGE, Box::new(see)).await?;
    let made = std::mem::take(&mut *made.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((last, made))
}

fn recipient_size(recipient: &Recipient) -> usize {
    24 + recipient.address.as_str().len() + recipient.controlling.len() + recipient.last_reply.len()
}

async fn send(stream: &mut UnixStream, reply: &Reply) -> Result<(), frame::Error> {
    write(stream, &frame::encode(reply)?).await
}

async fn write(stream: &mut UnixStream, bytes: &[u8]) -> Result<(), frame::Error> {
    Ok(timeout(PATIENCE, stream.write_all(bytes)).await.map_err(|_| frame::Error::Closed)??)
}

/// What is asked for, in the queue's terms; `now` in wall milliseconds.
///
/// # Errors
/// A queue id that is none.
pub fn select(asked: &call::operator::Select, now: i64) -> Result<Select, String> {
    let id = |text: &String| QueueId::parse(text).ok_or_else(|| format!("\"{text}\" is not a queue id"));
    let before = asked.older.map(|seconds| {
        let ms = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
        now.saturating_sub(ms)
    });
    Ok(Select {
        ids: asked.ids.iter().map(id).collect::<Result<_, _>>()?,
        sender: asked.sender.clone(),
        recipient: asked.recipient.clone(),
        domain: asked.domain.clone(),
        reason: asked.reason.clone(),
        held: asked.held,
        before,
        patterns: asked.patterns.iter().map(pattern).collect(),
    })
}

fn pattern(asked: &call::operator::Pattern) -> Pattern {
    let part = match asked.part {
        call::operator::Part::Id => Part::Id,
        call::operator::Part::Sender => Part::Sender,
        call::operator::Part::Recipient => Part::Recipient,
        call::operator::Part::Reason => Part::Reason,
    };
    Pattern { part, text: asked.text.clone(), negated: asked.negated }
}

/// A list entry, with its own texts or the envelope's; recipients that are finished are left out.
#[must_use]
pub fn entry<'a, T: From<&'a str> + From<String>>(envelope: &'a Envelope, active: bool) -> EntryWith<T> {
    let mut bytes = 0;
    let fitting = waiting(envelope).take_while(|recipient| {
        bytes += recipient_size(recipient);
        bytes <= ENTRY
    });
    let (fitting, all) = (fitting.count(), waiting(envelope).count());
    let mut recipients: Vec<RecipientWith<T>> = waiting(envelope).take(fitting).map(shown).collect();
    if fitting < all {
        let address = format!("({} more)", all - fitting).into();
        recipients.push(RecipientWith { address, controlling: "".into(), status: "".into(), tries: 0, next: 0 });
    }
    EntryWith {
        id: envelope.id.to_string().into(),
        size: envelope.size,
        arrived: envelope.arrived.div_euclid(1_000),
        sender: sender(envelope),
        body: if envelope.body == Body::EightBitMime { "8BITMIME" } else { "" }.into(),
        active,
        hold: envelope.hold.as_deref().map(T::from),
        warned: waiting(envelope).any(|recipient| recipient.warned),
        recipients,
    }
}

fn waiting(envelope: &Envelope) -> impl Iterator<Item = &Recipient> {
    envelope.recipients.iter().filter(|recipient| !recipient.state.is_finished())
}

fn shown<'a, T: From<&'a str>>(recipient: &'a Recipient) -> RecipientWith<T> {
    RecipientWith {
        address: recipient.address.as_str().into(),
        controlling: recipient.controlling.as_str().into(),
        status: recipient.last_reply.as_str().into(),
        tries: recipient.tries,
        next: match recipient.state {
            State::Deferred(until) => until.div_euclid(1_000),
            _ => 0,
        },
    }
}

fn sender<'a, T: From<&'a str> + From<String>>(envelope: &'a Envelope) -> T {
    match envelope.origin.protocol {
        Protocol::Local if !envelope.sender_given.is_empty() => envelope.sender_given.as_str().into(),
        Protocol::Local | Protocol::Internal if envelope.sender.is_null() => "MAILER-DAEMON".into(),
        _ => format!("<{}>", envelope.sender).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_ask_for_what() {
        let any = call::operator::Select::default;
        let caller = |own_group, trusted| Caller { own_group, trusted };
        let (stranger, member, root) = (caller(false, false), caller(true, false), caller(false, true));
        for (request, restricted, refused) in [
            (Request::List(any()), false, [false, false, false]),
            (Request::List(any()), true, [true, false, false]),
            (Request::Count(any()), true, [true, false, false]),
            (Request::Flush(any()), false, [true, true, false]),
            (Request::Delete(any()), false, [true, true, false]),
            (Request::Statistics(false), true, [false, false, false]),
            (Request::Statistics(true), false, [true, true, false]),
            (Request::Hosts, true, [false, false, false]),
            (Request::PurgeHosts, false, [true, true, false]),
        ] {
            let said = [stranger, member, root].map(|caller| forbidden(restricted, caller, &request).is_some());
            assert_eq!(said, refused, "{request:?} {restricted}");
        }
    }
}
