//! `postrider queue answer`: stands in for an engine that does not run, on the socket that is its standard input. It lists and counts what lies in the
//! spool, takes no lock and changes nothing. Started by `mailq` as root; `postrider queue list` uses it, too.

use crate::output::complain;
use crate::plan::configuration;
use call::frame::Connection;
use call::operator::{Entry, Reply, Request, Select};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Entries in one frame.
const PAGE: usize = 512;

/// Answers until the other side closes; returns the exit code.
pub(crate) fn answer() -> u8 {
    let stdin = std::io::stdin();
    let Ok(socket) = stdin.as_fd().try_clone_to_owned() else { return 71 };
    let spool = match config::Config::load(&configuration(), &crate::system::ask()) {
        Ok((config, _)) => config.queue.path,
        Err(errors) => {
            complain!("{errors}");
            return 78;
        }
    };
    match talk(Connection::new(UnixStream::from(socket)), Path::new(&spool)) {
        Ok(()) => 0,
        Err(error) => {
            complain!("postrider queue: {error:#}");
            69
        }
    }
}

fn talk(mut connection: Connection, spool: &Path) -> anyhow::Result<()> {
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
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let wanted =
        control::select(select, i64::try_from(now.as_millis()).unwrap_or(i64::MAX)).map_err(anyhow::Error::msg)?;
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
