//! A running `postrider plan`: it reads the configuration, binds and makes what is not there yet, and brings it here.
//! Nothing waits for it. Called by `keeper`.

use crate::start::{command, start};
use call::link::Link;
use call::plan::Plan;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

/// It has this long.
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
    pub(crate) fn step(&mut self) -> Option<Result<Planned, String>> {
        let outcome = match self.link.read::<Result<String, String>>().map(|mut told| told.pop()) {
            _ if self.since.elapsed() > BOUND => Err("postrider plan takes too long".to_owned()),
            Ok(None) => return None,
            Ok(Some(told)) => told.and_then(|text| Plan::parse(&text)),
            Err(_) => Err("postrider plan failed".to_owned()),
        };
        let _ = self.child.kill().and_then(|()| self.child.wait());
        Some(outcome.map(|plan| (plan, std::iter::from_fn(|| self.link.descriptor()).collect())))
    }
}
