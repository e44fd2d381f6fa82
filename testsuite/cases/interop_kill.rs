//! SIGKILL to our processes while mail comes in, and which messages that excuses from being there twice.

use std::fmt::{self, Display};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testsuite::{Server, process, seconds};

/// Service by itself, on a machine whose disk takes seconds for a sync.
const LATE: Duration = seconds(90);

/// Whom the next SIGKILL is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// All agents of the user.
    Agent,
    /// The keeper starts another.
    Engine,
    /// Started again at once, as init does.
    Keeper,
}

impl Victim {
    /// Round and round.
    pub const ALL: &'static [Self] =
        &[Self::Agent, Self::Agent, Self::Agent, Self::Engine, Self::Agent, Self::Agent, Self::Agent, Self::Keeper];
    /// Without the keeper, for tests that trace it; it waits longer and longer for the next engine, so there are few.
    pub const BELOW: &'static [Self] = &{
        let mut all = [Self::Agent; 30];
        all[3] = Self::Engine;
        all
    };
}

/// Who was killed.
#[derive(Debug, Default)]
pub struct Deaths {
    agents: usize,
    engines: usize,
    keepers: usize,
    /// The log's length at each moment.
    at: Vec<usize>,
}

impl Deaths {
    pub const fn all(&self) -> usize {
        self.agents + self.engines + self.keepers
    }
    /// Whether this message was on its way when somebody died: taken before, `Sent` after it. A death may cost some lines of the log.
    pub fn met(&self, log: &str, queue_id: &str) -> bool {
        const SOME_LINES: usize = 4_000;
        let position = |what: &str, and: &str| {
            let mark = format!(" {queue_id}: {what}=");
            let found = log.match_indices(&mark).find(|(at, _)| {
                log.get(*at..).is_some_and(|rest| rest.lines().next().is_some_and(|line| line.contains(and)))
            });
            found.map(|(at, _)| at)
        };
        let taken = position("from", "").unwrap_or(0).saturating_sub(SOME_LINES);
        let sent = position("to", "stat=Sent").map_or(usize::MAX, |at| at + SOME_LINES);
        self.at.iter().any(|at| (taken..=sent).contains(at))
    }
    fn kill(&mut self, server: &mut Server, uid: u32, victim: Victim) -> bool {
        let moment = fs::metadata(server.path("logs/log")).map_or(0, |m| m.len() as usize);
        let dead = match victim {
            Victim::Agent => {
                let all = server.processes().into_iter().map(|p| p.pid);
                let theirs: Vec<i32> = all.filter(|pid| process::ids(*pid, "Uid").first() == Some(&uid)).collect();
                theirs.iter().for_each(|pid| process::signal(*pid, rustix::process::Signal::KILL));
                self.agents += theirs.len();
                theirs.len()
            }
            Victim::Engine => {
                process::signal(server.engine(), rustix::process::Signal::KILL);
                self.engines += 1;
                server.wait_ready(LATE);
                1
            }
            Victim::Keeper => {
                let ending = server.kill_keeper();
                self.keepers += 1;
                server.spawn();
                let starting = server.wait_ready(LATE);
                println!(
                    "killed the keeper: the others ended within {ending:.1?}, the next one served after {starting:.1?}"
                );
                1
            }
        };
        if dead > 0 {
            self.at.push(moment);
        }
        dead > 0
    }
}

impl Display for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} agents, {} engines, {} keepers", self.agents, self.engines, self.keepers)
    }
}

/// Says that it is over, also when a test fails: threads wait for it.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Kills these, in turn, until `work` is done.
pub fn kill_until<T>(
    server: &mut Server,
    uid: u32,
    victims: &'static [Victim],
    work: impl FnOnce() -> T,
) -> (T, Deaths) {
    let (end, mut deaths, mut turn) = (AtomicBool::new(victims.is_empty()), Deaths::default(), victims.iter().cycle());
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut wait, mut next) = (20, turn.next());
            while let Some(victim) = next.filter(|_| !end.load(Ordering::SeqCst)) {
                if deaths.kill(server, uid, *victim) {
                    next = turn.next();
                }
                // Every moment of a delivery gets its turn.
                wait = 20 + (wait * 7 + 31) % 230;
                std::thread::sleep(Duration::from_millis(wait));
            }
        });
        let _over = Ends(&end);
        work()
    });
    (done, deaths)
}

#[test]
fn a_death_excuses_what_was_on_its_way() {
    let log = format!(
        "x A1: from=<a>\n{0}x A2: from=<a>\nx A1: to=<u>, stat=Deferred\n{0}x A1: to=<u>, stat=Sent\n{0}x A3: from=<a>\nx A2: to=<u>, stat=Sent\n",
        "-\n".repeat(5_000)
    );
    let deaths = Deaths { agents: 1, at: vec![15_000], ..Deaths::default() };
    assert!(deaths.met(&log, "A1") && deaths.met(&log, "A2") && !deaths.met(&log, "A3"));
    let early = Deaths { agents: 1, at: vec![100], ..Deaths::default() };
    assert!(early.met(&log, "A1") && !early.met(&log, "A2"));
}
