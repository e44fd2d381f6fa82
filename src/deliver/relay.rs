//! The worker of a network hop: one connection, many messages. Started by `hops`, sits on `connect` and `transaction`.

use crate::connect::{Link, connect, table_name};
use crate::demand::{Other, barred, is_open_to_all};
use crate::hops::Taken;
use crate::job::Job;
use crate::outcome::{Attempt, Fate, Trouble, conclude};
use crate::place::Place;
use crate::session::Broken;
use crate::told::Told;
use crate::transaction::{Progress, forbidden};
use mail::Status;
use queue::Content;
use std::sync::Arc;
use std::time::Duration;

/// A hop that cannot be reached is left alone for as long as the attempt took, within these bounds, milliseconds: a refused
/// connection costs nothing to try again, one that times out would hold every worker.
const DEAD: (u64, u64) = (5_000, 60_000);
/// A message whose content cannot be read comes again after this long, milliseconds.
const UNREADABLE: i64 = 300_000;

/// A job and whether its envelope was already sent, behind the content of the one before.
struct Turn {
    job: Job,
    sent: bool,
}

/// Serves a hop until nothing waits for a while.
pub(crate) async fn work(mut place: Place) {
    let mut link: Option<Link> = None;
    loop {
        match place.take() {
            Taken::Leave => break,
            // Whoever watches is shown the end of the session as well, and waits no longer; nor does the next job.
            Taken::Nothing if link.as_ref().is_some_and(|link| link.session.told.is_somebody()) => {
                place.set_connected(false);
                place.inner.spawn(quit(link.take()));
            }
            Taken::Nothing => {
                let idle = place.inner.parts.settings.get().idle;
                if !place.wait(Duration::from_millis(idle)).await {
                    break;
                }
            }
            Taken::Dead(job, trouble, until) => {
                let now = place.inner.parts.clock.now().mono;
                defer(&place, job, &trouble, now, Some(until));
            }
            Taken::Job(job) if place.inner.cannot_record() => place.inner.postpone(job),
            Taken::Job(job) => {
                if !serve(&mut place, &mut link, job).await {
                    break;
                }
            }
        }
    }
    // The slot is free before the good-bye, which may take its time.
    drop(place);
    quit(link).await;
}

async fn quit(link: Option<Link>) {
    if let Some(Link { session, host, .. }) = link {
        session.told.line(|| format!("Closing connection to {host}"));
        session.quit().await;
    }
}

/// One job, and those whose envelopes ride along; false: this worker is to end.
async fn serve(place: &mut Place, link: &mut Option<Link>, job: Job) -> bool {
    let mut next = Some(Turn { job, sent: false });
    while let Some(turn) = next.take() {
        let started = place.inner.parts.clock.now().mono;
        let told = Told::of(&turn.job);
        let mut open = match link.take() {
            Some(open) => {
                told.begins("Using cached ESMTP connection to", &open.host, place.key.mailer());
                open
            }
            None => {
                let settings = place.inner.parts.settings.get();
                match connect(&place.inner, &place.key, &settings, &told).await {
                    Ok(open) => {
                        place.set_connected(true);
                        open
                    }
                    Err(trouble) => return unreachable(place, turn.job, trouble, started),
                }
            }
        };
        // For this job only: what follows is somebody else's.
        open.session.told = told;
        match transact(place, &mut open, turn, started).await {
            After::Fine(turn) => {
                *link = Some(open);
                next = turn;
            }
            After::Over(job) => {
                place.set_connected(false);
                if let Some(job) = job {
                    place.put_back(job);
                }
            }
        }
    }
    true
}

fn unreachable(place: &Place, job: Job, trouble: Trouble, started: u64) -> bool {
    let trouble = Arc::new(trouble);
    let took = place.inner.parts.clock.now().mono.saturating_sub(started);
    if place.unreachable(&trouble, took.max(trouble.rest).clamp(DEAD.0, DEAD.1)) {
        defer(place, job, &trouble, started, None);
        return true;
    }
    // Others are connected; they will take it.
    place.put_back(job);
    false
}

fn defer(place: &Place, job: Job, trouble: &Trouble, started: u64, dead_until: Option<u64>) {
    let attempt = Attempt {
        mailer: place.key.mailer(),
        relay: trouble.relay.clone(),
        host: trouble.host.clone(),
        started,
        passes_dsn: false,
        dead_until,
    };
    let all = job.recipients.clone();
    conclude(&place.inner, job, &attempt, vec![(trouble.fate.clone(), all)]);
}

/// What is left after a transaction.
enum After {
    /// The connection is fine; perhaps with the next turn.
    Fine(Option<Turn>),
    /// The connection is over; a job that was not really tried goes back.
    Over(Option<Job>),
}

async fn transact(place: &Place, link: &mut Link, turn: Turn, started: u64) -> After {
    let Turn { mut job, sent } = turn;
    let attempt = Attempt {
        mailer: place.key.mailer(),
        relay: link.relay.clone(),
        host: link.host.clone(),
        started,
        passes_dsn: link.session.capabilities.dsn,
        dead_until: None,
    };
    let content = match job.message.content().await {
        Ok(content) => content,
        Err(error) => {
            place.inner.remark(job.message.envelope.id, format!("cannot read queue entry: {error}"));
            job.give_back(place.inner.parts.clock.now().wall + UNREADABLE);
            // An envelope that was sent ahead can only be taken back by hanging up.
            return if sent { After::Over(None) } else { After::Fine(None) };
        }
    };
    let offers = &link.session.capabilities;
    if let Some(fate) = forbidden(&job, offers, Some(&content)).filter(|_| !sent) {
        let all = job.recipients.clone();
        conclude(&place.inner, job, &attempt, vec![(fate, all)]);
        return After::Fine(None);
    }
    if !sent {
        turn_away(place, link, &mut job, &attempt).await;
        if job.recipients.is_empty() {
            return After::Fine(None);
        }
    }
    let mut progress = Progress::default();
    let kept = link.session.transactions > 0;
    let (ahead, result) = exchange(place, link, &job, &content, sent, &mut progress).await;
    // A kept connection that the other side closed meanwhile says nothing about the message: once more on a fresh one.
    if kept && !job.again && (progress.turned_away || (result.is_err() && !progress.answered)) {
        job.again = true;
        return After::Over(Some(job));
    }
    if let Err(error) = &result {
        let text = error.text(&link.host);
        progress.rest(&job, Fate::local(Status::temporary(4, 2), &text));
        place.trouble();
    } else if progress.closing {
        place.trouble();
        progress.rest(&job, Fate::local(Status::temporary(4, 2), &format!("Connection closed by {}", link.host)));
    }
    let fine = result.is_ok() && !progress.closing;
    conclude(&place.inner, job, &attempt, progress.fates);
    if fine {
        place.success();
        After::Fine(ahead.map(|job| Turn { job, sent: true }))
    } else {
        After::Over(ahead)
    }
}

/// Takes out the recipients whose mail may not go over this session, and concludes them.
async fn turn_away(place: &Place, link: &Link, job: &mut Job, attempt: &Attempt) {
    let other = Other { session: &link.session.encryption, host: table_name(&link.host) };
    let barred = barred(&*place.inner.parts.demands, job, other).await;
    if barred.is_empty() {
        return;
    }
    let indices: Vec<u32> = barred.iter().flat_map(|(_, indices)| indices).copied().collect();
    job.recipients.retain(|index| !indices.contains(index));
    conclude(&place.inner, Job::new(Arc::clone(&job.message), indices), attempt, barred);
}

/// The dialogue. If all goes well so far, the envelope of the next job, if one waits, goes out with the end of this content.
async fn exchange(
    place: &Place,
    link: &mut Link,
    job: &Job,
    content: &Content,
    sent: bool,
    progress: &mut Progress,
) -> (Option<Job>, Result<(), Broken>) {
    let session = &mut link.session;
    match session.negotiate(job, sent, progress).await {
        Ok(true) => {}
        Ok(false) => return (None, Ok(())),
        Err(error) => return (None, Err(error)),
    }
    let ahead = if session.pipelines() {
        let other = Other { session: &session.encryption, host: table_name(&link.host) };
        let demands = &*place.inner.parts.demands;
        place.take_if(|next| {
            next.message.witness().is_none()
                && forbidden(next, &session.capabilities, None).is_none()
                && is_open_to_all(demands, next, other)
        })
    } else {
        None
    };
    if let Some(next) = &ahead {
        session.queue_envelope(next);
    }
    let mut result = session.content(&job.message.envelope, content).await;
    if result.is_ok() {
        result = session.finish(job, progress).await;
    }
    (ahead, result)
}
