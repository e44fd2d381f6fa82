//! What the administrator demands of the encryption towards a server or for a recipient (sendmail.md 3.3: `Try_TLS:`, `TLS_Srv:`,
//! `TLS_Rcpt:`). `connect` asks about servers, `relay` about recipients. What is not met lets mail wait, or come back where the entry says
//! `PERM+` and it could be judged.

use crate::job::Job;
use crate::outcome::Fate;
use mail::{Address, Encryption};
use route::Demand;
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// An answer, once awaited; or why it could not be looked up.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// A demand and where it stands, `file:line: key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demanded {
    /// The demand.
    pub demand: Demand,
    /// For the log.
    pub source: String,
}

/// What holds for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForServer {
    /// STARTTLS is not tried.
    pub in_clear: bool,
    /// What its encryption must be.
    pub demanded: Option<Demanded>,
}

/// Whoever knows what is demanded.
pub trait Demands: Send + Sync {
    /// For a server of this name (without brackets and trailing dot; `None` if it was named by its address) and address.
    fn of_server<'a>(&'a self, host: Option<&'a str>, ip: IpAddr) -> Asked<'a, ForServer>;
    /// For a recipient.
    fn for_recipient<'a>(&'a self, address: &'a Address) -> Asked<'a, Option<Demanded>>;
}

impl Demanded {
    /// What becomes of mail if a session with `host` does not meet the demand.
    pub(crate) fn unmet(&self, session: &Encryption, host: Option<&str>) -> Option<Fate> {
        let (code, status, text) = self.demand.refused(session, host)?;
        Some(Fate::local(status, &format!("{code} {status} {text} ({})", self.source)))
    }
}

/// The other side of a session: how it is encrypted, and the host's name as tables know it.
#[derive(Clone, Copy)]
pub(crate) struct Other<'a> {
    pub(crate) session: &'a Encryption,
    pub(crate) host: Option<&'a str>,
}

/// Recipients of `job` who may not get their mail over this session.
pub(crate) async fn barred(demands: &dyn Demands, job: &Job, other: Other<'_>) -> Vec<(Fate, Vec<u32>)> {
    let mut barred = Vec::new();
    for (index, recipient) in job.recipients() {
        let fate = match demands.for_recipient(&recipient.address).await {
            Ok(demanded) => demanded.and_then(|demanded| demanded.unmet(other.session, other.host)),
            Err(text) => Some(Fate::local(mail::Status::temporary(3, 0), &format!("TLS_Rcpt: {text}"))),
        };
        barred.extend(fate.map(|fate| (fate, vec![index])));
    }
    barred
}

/// Whether it is known at once that nobody of `job` is barred: its envelope may ride along. Tables in memory are always ready.
pub(crate) fn is_open_to_all(demands: &dyn Demands, job: &Job, other: Other<'_>) -> bool {
    let asked = pin!(barred(demands, job, other));
    matches!(asked.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(barred) if barred.is_empty())
}
