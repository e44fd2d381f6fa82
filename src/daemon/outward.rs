//! Agents for the delivering side, started by the keeper. Called by `engine`.
//!
//! They run as their users, who may stop them (`kill -STOP`): a stopped agent never sees that the engine has let go of it, and without
//! bounds one user's leftovers would take every place.

use crate::link::Link;
use call::agent::Kind;
use call::keep::{FromEngine, Role};
use mail::log::{Event, Log};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// More agents at a time are refused, and the delivery deferred; the keeper has a bound of its own, above this one.
const LIMIT: usize = 250;
/// From here on only the newest of each user is safe: there is one at a time for each mailbox.
const CROWDED: usize = LIMIT / 2;
/// More of one user are his leftovers: for a new one the oldest is killed.
const PER_USER: usize = 4;

/// An agent that has not ended.
struct Alive {
    ticket: u32,
    user: String,
    killed: bool,
}

/// Agents, started by the keeper.
pub(crate) struct KeeperAgents {
    link: Link,
    log: Arc<dyn Log>,
    next: AtomicU32,
    /// The oldest first.
    alive: Mutex<Vec<Alive>>,
}

impl KeeperAgents {
    pub(crate) fn new(link: Link, log: Arc<dyn Log>) -> Self {
        // Far from the numbers of the last engine, whose agents may still be ending.
        let next = AtomicU32::new(std::process::id() << 16);
        Self { link, log, next, alive: Mutex::default() }
    }

    /// A process of this role, with nothing but our end of its socket.
    pub(crate) fn begin(&self, role: Role, user: &str) -> std::io::Result<(u32, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let user = user.to_owned();
        self.link.send(&FromEngine::Begin { ticket, role, user }, Some(theirs.into()));
        Ok((ticket, ours))
    }

    /// The keeper says that a process has ended.
    pub(crate) fn ended(&self, ticket: u32, how: &str) {
        self.alive().retain(|agent| agent.ticket != ticket);
        if how != "exit status: 0" {
            self.log.write(&Event::Server { text: format!("agent ended: {how}") });
        }
    }

    fn alive(&self) -> std::sync::MutexGuard<'_, Vec<Alive>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_agent(&self, kind: Kind, user: &str) -> Result<(u32, UnixStream), String> {
        let mut alive = self.alive();
        // Those for aliases are of many lists, and none of them is anybody's leftover.
        let owner = |ticket: u32| if kind == Kind::System { format!("alias/{ticket}") } else { user.to_owned() };
        let agents: Vec<_> = alive.iter().map(|agent| (agent.user.as_str(), agent.killed)).collect();
        let surplus = surplus(&agents, if kind == Kind::System { "" } else { user })?;
        if let Some(agent) = surplus.and_then(|number| alive.get_mut(number)) {
            self.end(agent, "its user has newer ones");
        }
        let (ticket, ours) = self.begin(Role::Agent(kind), user).map_err(|error| error.to_string())?;
        alive.push(Alive { ticket, user: owner(ticket), killed: false });
        Ok((ticket, ours))
    }

    fn end(&self, agent: &mut Alive, why: &str) {
        agent.killed = true;
        self.link.send(&FromEngine::End { ticket: agent.ticket }, None);
        self.log.write(&Event::Server { text: format!("agent of {}: killed, {why}", agent.user) });
    }
}

impl deliver::Agents for KeeperAgents {
    fn start<'a>(&'a self, kind: Kind, user: &'a str) -> deliver::Started<'a> {
        Box::pin(std::future::ready(self.begin_agent(kind, user)))
    }
    fn kill(&self, number: u32) {
        if let Some(agent) = self.alive().iter_mut().find(|agent| agent.ticket == number && !agent.killed) {
            self.end(agent, "it does not answer");
        }
    }
}

/// Which of the agents (user, already killed), oldest first, has to make room for a new one of `user`.
fn surplus(agents: &[(&str, bool)], user: &str) -> Result<Option<usize>, &'static str> {
    let alive = agents.iter().filter(|agent| **agent == (user, false)).count();
    let dying = agents.iter().filter(|agent| **agent == (user, true)).count();
    // Some outlive SIGKILL: in a file system that hangs, which can be the user's own (FUSE).
    if agents.len() >= LIMIT || dying >= PER_USER {
        return Err("too many agents");
    }
    if alive >= PER_USER {
        return Ok(agents.iter().position(|agent| *agent == (user, false)));
    }
    let has_newer = |(number, agent): (usize, &(&str, bool))| {
        !agent.1 && agents.iter().skip(number + 1).any(|newer| newer.0 == agent.0)
    };
    Ok((agents.len() >= CROWDED).then(|| agents.iter().enumerate().position(has_newer)).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_of_a_user_costs_his_oldest() {
        let mut agents = vec![("bob", false), ("alice", true), ("alice", false), ("alice", false), ("alice", false)];
        assert_eq!(surplus(&agents, "alice"), Ok(None), "one is dying already");
        agents.push(("alice", false));
        assert_eq!(surplus(&agents, "alice"), Ok(Some(2)));
        assert_eq!(surplus(&agents, "bob"), Ok(None));
        let undying = [("alice", true); PER_USER];
        assert!(surplus(&undying, "alice").is_err());
        assert_eq!(surplus(&undying, "bob"), Ok(None));
    }

    #[test]
    fn in_a_crowd_leftovers_go_and_the_newest_of_each_stays() {
        let names: Vec<String> = (0..LIMIT).map(|n| format!("u{n}")).collect();
        let mut agents: Vec<_> = names.iter().take(CROWDED - 2).map(|name| (name.as_str(), false)).collect();
        assert_eq!(surplus(&agents, "new"), Ok(None));
        agents.extend([("u7", false), ("u9", false)]);
        assert_eq!(surplus(&agents, "new"), Ok(Some(7)));
        agents[7].1 = true;
        assert_eq!(surplus(&agents, "new"), Ok(Some(9)));
        let full: Vec<_> = names.iter().map(|name| (name.as_str(), false)).collect();
        assert!(surplus(&full, "new").is_err());
    }
}
