//! LMTP (RFC 2033) where it differs from SMTP: LHLO, a reply for each recipient after the dot, sockets of this host, and whom a
//! local mailbox's mail is for. Used by `connect`, `session` and `transaction`; everything else is theirs.
//!
//! Commit point: the reply of each recipient after the dot. Those without one when the session breaks are temporary, and may have
//! their copy: nothing in LMTP could tell.

use crate::connect::{Link, Refused, broken, hello, welcome};
use crate::job::Job;
use crate::outcome::{Command, Fate, Trouble};
use crate::session::{Broken, Limits, Session, reason};
use crate::settings::Settings;
use crate::stream::{Socket, Stream};
use crate::told::Told;
use crate::transaction::Progress;
use mail::{Address, Status};
use queue::Recipient;
use route::Key;
use std::borrow::Cow;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// A session through a socket of this host. Whatever fails here may be put right, so nothing is permanent before MAIL.
pub(crate) async fn connect(path: &str, settings: &Settings, told: &Told) -> Result<Link, Trouble> {
    told.begins("Connecting to", path, "lmtp");
    match open(path, settings, told).await {
        Ok(session) => Ok(Link { session, relay: path.to_owned(), host: path.to_owned() }),
        Err(Refused::Fate(fate) | Refused::Tls(fate) | Refused::Auth(fate)) => {
            let fate = match fate.status.is_permanent() {
                true => Fate::local(Status::temporary(3, 0), &fate.reply),
                false => fate,
            };
            Err(Trouble { fate, relay: path.to_owned(), host: path.to_owned(), rest: 0 })
        }
    }
}

async fn open(path: &str, settings: &Settings, told: &Told) -> Result<Session<Socket>, Refused> {
    let limit = Duration::from_millis(settings.connect_timeout);
    let deferred = |text: &str| Refused::Fate(Fate::local(Status::temporary(4, 1), text));
    let stream = match tokio::time::timeout(limit, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(deferred(&reason(&error, path))),
        Err(_) => return Err(deferred(&format!("Connection timed out with {path}"))),
    };
    let limits = Limits(settings.timeout_divisor);
    let mut session = Session::new(Stream::Plain(Socket::Unix(stream)), limits);
    session.lmtp = true;
    session.told = told.clone();
    let greeting = session.answer(limits.greeting()).await.map_err(|error| broken(&error, path))?;
    welcome(&greeting, Command::None)?;
    hello(&mut session, settings, path).await?;
    Ok(session)
}

/// Whether a job along this route is for a mailbox and nothing else.
pub(crate) fn is_settled(route: &str, job: &Job) -> bool {
    route.starts_with("local:\\") || (route.starts_with("local:") && job.looked)
}

/// Whether this hop speaks LMTP.
pub(crate) fn is_spoken_by(key: &Key) -> bool {
    key.mailer() == "lmtp"
}

/// Whom the mail is for: a local user by his name and what follows the plus, as sendmail's local mailer is told; else the address.
pub(crate) fn address(recipient: &Recipient) -> Cow<'_, Address> {
    match Key::parse(&recipient.route) {
        Some(Key::Local { user, detail, .. }) if detail.is_empty() => Cow::Owned(Address::from_parts(&user, None)),
        Some(Key::Local { user, detail, .. }) => Cow::Owned(Address::from_parts(&format!("{user}+{detail}"), None)),
        _ => Cow::Borrowed(&recipient.address),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// The replies after the dot: one for each recipient that was taken, in the order of RCPT.
    pub(crate) async fn finish_each(&mut self, progress: &mut Progress) -> Result<(), Broken> {
        for index in progress.accepted.clone() {
            let answer = self.answer(self.limits.dot()).await?;
            progress.delivered(index, &answer);
        }
        self.transactions = self.transactions.saturating_add(1);
        progress.accepted.clear();
        Ok(())
    }
}
