//! Opening the log and the spool, for the engine. The engine of a keeper that was killed may still bring to an end what it has in hand: it is
//! waited for, as long as a stop may take, so that whoever starts a server again (a service manager) gets one. Who is stopped or left alone
//! meanwhile ends.

use crate::link::Incoming;
use crate::logger::Logger;
use crate::plan::PATIENCE;
use crate::tally::Tally;
use call::keep::{FromEngine, ToEngine};
use config::EngineSettings;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::Store;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a spool in use is looked at.
const TICK: Duration = Duration::from_millis(200);

/// The log with its counters, and the spool, which says in it what it found.
pub(crate) async fn open(
    settings: &EngineSettings,
    clock: &Arc<dyn Clock>,
    incoming: &mut Incoming,
) -> anyhow::Result<(Arc<Tally>, Arc<dyn Store>)> {
    let log: Arc<dyn Log> = Arc::new(Logger::new(&settings.log, Arc::clone(clock))?);
    let started = Instant::now();
    let mut waits = false;
    let (spool, recovery) = loop {
        match queue::spool::Spool::open(&settings.queue, clock.now()) {
            // The engine of a keeper that was killed brings to an end what it has in hand.
            Err(queue::Error::InUse(text)) if started.elapsed() < PATIENCE => {
                if !std::mem::replace(&mut waits, true) {
                    let text = format!("{text}; waiting up to {} s for its end", PATIENCE.as_secs());
                    log.write(&Event::Server { text });
                }
                tokio::select! {
                    () = tokio::time::sleep(TICK) => {}
                    told = incoming.next() => {
                        // Nothing was asked of the keeper yet: it says stop, or is gone.
                        anyhow::ensure!(matches!(told, Ok(Some((ToEngine::Dump, _)))), "stopped before it served");
                    }
                }
            }
            done => break done?,
        }
    };
    let tally = Arc::new(Tally::new(log, Arc::clone(clock), &settings.queue.path));
    recovery.lines.into_iter().for_each(|text| tally.write(&Event::Server { text }));
    spool.log_to(Arc::<Tally>::clone(&tally));
    Ok((tally, spool))
}

/// What the keeper is told, with the exit code for a server that cannot start: a spool that is in use may be free later.
pub(crate) fn refusal(error: &anyhow::Error) -> FromEngine {
    let taken = matches!(error.downcast_ref(), Some(queue::Error::InUse(_)));
    FromEngine::Refused(if taken { 75 } else { 78 }, format!("{error:#}"))
}
