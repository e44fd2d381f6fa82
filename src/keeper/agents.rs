//! The agents that run, and when one is killed. They run as their users, who may stop them (`kill -STOP`): a stopped
//! agent never sees that the engine has let go of it, and without bounds one user's leftovers would take every place.

use crate::log;
use crate::start::end;
use std::process::Child;
use std::time::{Duration, Instant};

/// More agents at a time are refused; the engine defers.
const LIMIT: usize = 256;
/// From here on only the newest of each user is safe: the engine has one at a time for each mailbox.
const CROWDED: usize = LIMIT / 2;
/// More of one user are his leftovers: for a new one the oldest is killed.
const PER_USER: usize = 4;
/// Above an agent's own life (10 min) and the engine's patience with its last batch (5 min).
const AGE: Duration = Duration::from_secs(16 * 60);

struct Agent {
    /// The engine's.
    ticket: u32,
    user: String,
    child: Child,
    since: Instant,
    /// It may live this much longer than others.
    longer: Duration,
    killed: bool,
}

/// The oldest first.
#[derive(Default)]
pub(crate) struct Agents(Vec<Agent>);

impl Agents {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes room for one more agent of `user`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn make_room(&mut self, user: &str) -> Result<(), &'static str> {
        let agents: Vec<_> = self.0.iter().map(|agent| (agent.user.as_str(), agent.killed)).collect();
        if let Some(agent) = surplus(&agents, user)?.and_then(|number| self.0.get_mut(number)) {
            kill(agent, "its user has newer ones");
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, ticket: u32, user: &str, child: Child, longer: Duration) {
        self.0.push(Agent { ticket, user: user.to_owned(), child, since: Instant::now(), longer, killed: false });
    }

    /// Takes out those that have ended: ticket and how.
    pub(crate) fn reap(&mut self) -> Vec<(u32, String)> {
        let mut ended = Vec::new();
        self.0.retain_mut(|agent| match end(&mut agent.child) {
            Some(how) => {
                ended.push((agent.ticket, how));
                false
            }
            None => true,
        });
        ended
    }

    pub(crate) fn kill_old(&mut self) {
        self.0
            .iter_mut()
            .filter(|agent| agent.since.elapsed() > AGE + agent.longer)
            .for_each(|agent| kill(agent, "too old"));
    }

    pub(crate) fn kill_all(&mut self) {
        self.0.iter_mut().for_each(|agent| kill(agent, "it does not end"));
    }
}

fn kill(agent: &mut Agent, why: &str) {
    if !agent.killed {
        log::error(&format!("agent {} of {}: killed, {why}", agent.child.id(), agent.user));
        agent.killed = true;
        let _ = agent.child.kill();
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
