//! A running `postrider plan`: it reads the configuration, binds and makes what is not there yet, and brings it here.
//! Nothing waits for it. Called by `keeper`.

use crate::start::{command, start};
use crate::{Error, failed, log};
use call::link::Link;
use call::plan::{Plan, Told};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

/// It has this long, of which it may wait 25 s for a server that ends.
const BOUND: Duration = Duration::from_secs(30);
/// Largest plan.
const LARGEST: usize = 8 << 20;

/// A plan, and descriptors: the drop folder, and the sockets that we do not hold yet.
pub(crate) type Planned = (Plan, Vec<OwnedFd>);

pub(crate) struct Planning {
    child: Child,
    pub link: Link,
    since: Instant,
}

impl Planning {
    pub(crate) fn start<'a>(held: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut plan = command("plan");
        plan.arg("--hand-over").args(held);
        let child = start(plan, &theirs.into(), None)?;
        Ok(Self { child, link: Link::with_limit(ours, LARGEST)?, since: Instant::now() })
    }

    /// The plan when it is complete, or why there is none.
    pub(crate) fn step(&mut self) -> Option<Result<Planned, Error>> {
        let useless = failed(78, "configuration");
        let outcome = match self.link.read().map(|mut told| told.pop()) {
            _ if self.since.elapsed() > BOUND => Err(useless("postrider plan takes too long".into())),
            Ok(None) => return None,
            Ok(Some(Told::Waits(why))) => {
                log::error(&why);
                return None;
            }
            Ok(Some(Told::Plan(text))) => Plan::parse(&text).map_err(useless),
            Ok(Some(Told::Refused(exit, text))) => Err(Error { exit, text }),
            Err(_) => Err(useless("postrider plan failed".into())),
        };
        let _ = self.child.kill().and_then(|()| self.child.wait());
        Some(outcome.map(|plan| (plan, std::iter::from_fn(|| self.link.descriptor()).collect())))
    }
}
