//! The worker of programs, files and lists that aliases and `.forward` files name. The agent is told which entry of which file; what it says
//! now, the agent reads itself (DESIGN §2). One message at a time: a program takes as long as it takes.

use crate::agent::{Agent, Broken};
use crate::anew;
use crate::batch::{self, Packed, Parcel};
use crate::expand;
use crate::job::Job;
use crate::line;
use crate::local::{Loaded, circle, end, load, next, start, unstarted};
use crate::outcome::{Attempt, Fate};
use crate::place::Place;
use crate::told::Told;
use call::agent::{Done, Kind, Outcome};
use mail::{Address, Status};
use queue::Recipient;
use route::{Entry, Key};
use std::time::Duration;

/// Beyond a program's own time, which its agent keeps; and for files and lists.
const MARGIN: Duration = Duration::from_secs(300);

/// Serves one hop until nothing waits for a while.
pub(crate) async fn work(place: Place) {
    let mut agent = None;
    while let Some(job) = next(&place).await {
        let route = job.recipients().next().map(|(_, recipient)| recipient.route.clone()).unwrap_or_default();
        match Key::parse(&route) {
            Some(Key::Include(entry)) => expand::list(&place, job, &entry).await,
            Some(key @ (Key::Program(_) | Key::File(_))) => {
                if let Some(loaded) = load(&place, job).await {
                    match circle(&place, &loaded) {
                        Some(fate) => {
                            let attempt = Attempt::here(key.mailer(), place.inner.parts.clock.now().mono);
                            end(&place, loaded.job, &attempt, fate);
                        }
                        None => deliver(&place, &mut agent, loaded, &key).await,
                    }
                }
            }
            _ => job.give_back_now(),
        }
        place.success();
    }
}

/// Which agent may act on an entry.
pub(crate) fn agent_for(entry: &Entry) -> (Kind, &str) {
    if entry.user.is_empty() { (Kind::System, "alias") } else { (Kind::User, &entry.user) }
}

async fn deliver(place: &Place, kept: &mut Option<Agent>, Loaded { job, content }: Loaded, key: &Key) {
    let (Key::Program(entry) | Key::File(entry)) = key else { return };
    let attempt = Attempt::here(key.mailer(), place.inner.parts.clock.now().mono);
    Told::of(&job).begins("Connecting to", "", key.mailer());
    let is_file = matches!(key, Key::File(_));
    let limit = limit(place, is_file);
    let (kind, user) = agent_for(entry);
    let mut again = false;
    loop {
        let packed = match pack(place, &job, content.clone(), entry, again) {
            Ok(packed) => packed,
            Err(error) => {
                return end(place, job, &attempt, Fate::local(Status::temporary(3, 0), &error.to_string()));
            }
        };
        let (mut agent, used) = match kept_or_new(place, kept, kind, user).await {
            Ok(agent) => agent,
            Err(error) => return unstarted(place, vec![job], &attempt, &error),
        };
        let done = match agent.deliver(&packed, limit).await {
            // A kept one had ended: it did nothing.
            Err(Broken::Before(_)) if used => continue,
            // A second agent looks whether it is there. A program that may have run is not run again at once.
            Err(Broken::Before(_) | Broken::Amid(_)) if is_file && !again => {
                again = true;
                continue;
            }
            Err(broken) => Err(broken.to_string()),
            Ok(outcomes) => {
                // A system agent serves one order.
                *kept = (kind == Kind::User).then_some(agent);
                outcomes.outcomes.into_iter().next().ok_or_else(|| "agent gave no outcome".to_owned())
            }
        };
        return match done {
            Ok(Outcome { result: Done::Gone(why), .. }) => anew::again(place, kept, job, &attempt, &why).await,
            Ok(outcome) => end(place, job, &attempt, Fate::of_agent(outcome.result, outcome.program)),
            Err(why) => end(place, job, &attempt, Fate::local(Status::temporary(3, 0), &why)),
        };
    }
}

/// How long an agent may take.
fn limit(place: &Place, is_file: bool) -> Duration {
    let settings = place.inner.parts.settings.get();
    let time = if is_file { Duration::ZERO } else { Duration::from_millis(settings.program_time) };
    time + MARGIN / settings.timeout_divisor.max(1)
}

/// The kept agent (true), or a new one.
pub(crate) async fn kept_or_new(
    place: &Place,
    kept: &mut Option<Agent>,
    kind: Kind,
    user: &str,
) -> Result<(Agent, bool), String> {
    match kept.take() {
        Some(agent) => Ok((agent, true)),
        None => Ok((start(place, kind, user).await?, false)),
    }
}

/// What a program hears as its detail: of a user's, the one that chose his file; of an alias's, that of the address as it was given.
fn detail(entry: &Entry, recipient: &Recipient) -> String {
    let given = Address::parse(line::bare(&recipient.given)).ok().filter(|_| entry.user.is_empty());
    let detail = given.and_then(|given| Some(given.user().split_once('+')?.1.to_owned()));
    detail.unwrap_or_else(|| entry.detail.clone())
}

fn pack(place: &Place, job: &Job, content: queue::Content, entry: &Entry, again: bool) -> std::io::Result<Packed> {
    let (_, recipient) = job.recipients().next().ok_or(std::io::ErrorKind::NotFound)?;
    let settings = place.inner.parts.settings.get();
    let parcel = Parcel {
        envelope: &job.message.envelope,
        recipient,
        content,
        unsure: again || job.message.is_old,
        detail: detail(entry, recipient),
        forward: false,
        // A Return-Path, too, which programs do not get from sendmail: list managers throw away what has no sender.
        fields: settings.fields,
        host: &settings.host,
    };
    let into = call::agent::Entry { file: entry.file.clone(), mark: entry.mark.clone() };
    batch::pack(&[parcel], 0, Some(into), &*place.inner.parts.clock)
}
