//! `postrider queue answer`: stands in for an engine that does not run, on the socket that is its standard input. It lists and counts what lies in the
//! spool, with no lock and no change; to hold and release messages it opens the spool as the engine does, and tries nothing. Started by root's
//! `mailq` and `sendmail -Q`.

use crate::clock::RealClock;
use crate::logger::Logger;
use crate::output::complain;
use crate::plan::configuration;
use anyhow::Context as _;
use call::frame::Connection;
use call::operator::{Entry, Reply, Request, Select};
use config::Config;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::Store;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// Entries in one frame.
const PAGE: usize = 512;

/// Answers until the other side closes; returns the exit code.
pub(crate) fn answer() -> u8 {
    let stdin = std::io::stdin();
    let Ok(socket) = stdin.as_fd().try_clone_to_owned() else { return 71 };
    let config = match Config::load(&configuration(), &crate::system::ask()) {
        Ok((config, _)) => config,
        Err(errors) => {
            complain!("{errors}");
            return 78;
        }
    };
    match talk(Connection::new(UnixStream::from(socket)), &config) {
        Ok(()) => 0,
        Err(error) => {
            complain!("postrider queue: {error:#}");
            69
        }
    }
}

fn talk(mut connection: Connection, config: &Config) -> anyhow::Result<()> {
    let spool = Path::new(&config.queue.path);
    while let Some(request) = connection.message::<Request>()? {
        let reply = match request {
            Request::Count(select) => Reply::End(list(spool, &select, |_| Ok(()))?),
            Request::List(select) => {
                let mut page = Vec::new();
                let count = list(spool, &select, |entry| {
                    page.push(entry);
                    if page.len() >= PAGE {
                        connection.send(&Reply::Entries(std::mem::take(&mut page)), &[])?;
                    }
                    Ok(())
                })?;
                connection.send(&Reply::Entries(page), &[])?;
                Reply::End(count)
            }
            Request::Hold(select, reason) => changed(config, &select, Some(reason)),
            Request::Release(select) => changed(config, &select, None),
            _ => Reply::Refused("the server does not run".into()),
        };
        connection.send(&reply, &[])?;
    }
    Ok(())
}

/// Calls `each` with every entry that is meant; how many there were. An envelope that cannot be read is left out: the next start sets it aside
/// and says so.
///
/// # Errors
/// The spool cannot be read, or what `each` says.
fn list(spool: &Path, select: &Select, mut each: impl FnMut(Entry) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let wanted = control::select(select, RealClock::new().now().wall).map_err(anyhow::Error::msg)?;
    let (mut count, mut outcome) = (0, Ok(()));
    queue::spool::inspect::inspect(spool, |found| {
        if let (Ok(envelope), Ok(())) = (&found.envelope, &outcome)
            && wanted.fits(envelope)
        {
            count += 1;
            outcome = each(control::entry(envelope, false));
        }
    })?;
    outcome.map(|()| count)
}

fn changed(config: &Config, select: &Select, hold: Option<String>) -> Reply {
    match change(config, select, hold) {
        Ok(count) => Reply::End(count),
        Err(error) => Reply::Refused(format!("{error:#}")),
    }
}

/// Holds messages, or releases them without a reason to hold; how many. As the engine's user, so that the spool stays the engine's, and under
/// its lock: a server that starts meanwhile waits for us, and to one that runs nothing happens. What the spool says of itself, it says once:
/// that goes into the log, as at any start.
fn change(config: &Config, select: &Select, hold: Option<String>) -> anyhow::Result<u64> {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let select = control::select(select, clock.now().wall).map_err(anyhow::Error::msg)?;
    become_engine(&config.run.user)?;
    let log: Arc<dyn Log> = Arc::new(Logger::new(&config.log, Arc::clone(&clock))?);
    let (spool, recovery) = queue::spool::Spool::open(&config.queue, clock.now())?;
    recovery.lines.into_iter().for_each(|text| log.write(&Event::Server { text }));
    spool.log_to(log);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(async {
        let done = match hold {
            Some(reason) => spool.hold(select, reason).await,
            None => spool.release(select).await,
        };
        // What was answered is durable; without this the next start reads a little more.
        let _next_start_reads_more = spool.close().await;
        done
    })?)
}

/// Root becomes the engine's user for good; anybody else has a server of his own.
fn become_engine(name: &str) -> anyhow::Result<()> {
    if !nix::unistd::getuid().is_root() && !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let user = nix::unistd::User::from_name(name)?.with_context(|| format!("no user \"{name}\""))?;
    anyhow::ensure!(!user.uid.is_root(), "user \"{name}\" has uid 0");
    nix::unistd::setgroups(&[user.gid])?;
    nix::unistd::setgid(user.gid)?;
    nix::unistd::setuid(user.uid)?;
    Ok(())
}
