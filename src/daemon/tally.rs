//! Counters per mailer and the last result at each host, made out of the log's events: sendmail's statistics file and host status
//! (sendmail.md 2.5). `engine` puts it before the log; `control` answers `mailstats`, `hoststat` and `purgestat` from it.
//!
//! Kept in the spool's folder, written every few minutes and at a stop. A crash loses the last minutes of counting and no mail.

use call::operator::{Host, MailerCount, Statistics};
use mail::log::{Event, Log, Outcome};
use mail::time::Clock;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// sendmail's mailers by their numbers, as `sendmail -bt` lists them with `=M`.
pub(crate) const MAILERS: [&str; 9] =
    ["prog", "*file*", "*include*", "local", "smtp", "esmtp", "smtp8", "dsmtp", "relay"];
/// Most hosts remembered; the one that was tried longest ago is forgotten first.
const HOSTS: usize = 2_000;
/// Longest result kept, in characters: `hoststat -v` shows no more.
const RESULT: usize = 78;
/// How often changes are written.
const INTERVAL: Duration = Duration::from_secs(180);
const FILE: &str = "statistics.json";

/// Counts what it passes on to the log.
pub(crate) struct Tally {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    counted: Mutex<Counted>,
    changed: AtomicBool,
}

#[derive(Default)]
struct Counted {
    statistics: Statistics,
    /// Time and result.
    hosts: HashMap<String, (i64, String)>,
}

impl Tally {
    /// In front of `log`; goes on from what stands in the spool's folder.
    pub(crate) fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, spool: &str) -> Self {
        let path = Path::new(spool).join(FILE);
        let read = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let (statistics, hosts): (Statistics, Vec<Host>) = read.unwrap_or_default();
        let since = if statistics.since == 0 { clock.now().seconds() } else { statistics.since };
        let hosts = hosts.into_iter().map(|host| (host.name, (host.at, host.result))).collect();
        let counted = Mutex::new(Counted { statistics: Statistics { since, ..statistics }, hosts });
        Self { log, clock, path, counted, changed: AtomicBool::new(false) }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes changes now and then, until the task is ended.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let tally = Arc::clone(&self);
            let _written = tokio::task::spawn_blocking(move || tally.write_file()).await;
        }
    }

    /// Writes what has changed.
    pub(crate) fn write_file(&self) {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let (statistics, hosts) = (control::Ledger::statistics(self, false), control::Ledger::hosts(self));
        let Ok(text) = serde_json::to_vec(&(statistics, hosts)) else { return };
        if let Err(error) = durable::folder::write_whole(&self.path, &text) {
            self.changed.store(true, Ordering::Relaxed);
            self.log.write(&Event::Server { text: format!("statistics: {}: {error}", self.path.display()) });
        }
    }

    fn count(&self, event: &Event) {
        let mut counted = self.counted();
        let Counted { statistics, hosts } = &mut *counted;
        match event {
            Event::From(line) => {
                let local = line.proto.is_empty() || !line.from.contains('@');
                add(&mut mailer(statistics, if local { "local" } else { "esmtp" }).from, 1, line.size);
            }
            Event::To(line) => {
                if line.stat.starts_with("Sent") {
                    add(&mut mailer(statistics, &line.mailer).to, line.to.len() as u64, line.size);
                }
                if let Some(name) = host_name(&line.relay) {
                    let result = result(&line.stat, &line.reply, line.dsn);
                    remember(hosts, name, self.clock.now().seconds(), result);
                }
            }
            Event::Decision { outcome, .. } => {
                let smtp = mailer(statistics, "esmtp");
                match outcome {
                    Outcome::Rejected => smtp.rejected += 1,
                    Outcome::Discarded => smtp.discarded += 1,
                    Outcome::Quarantined => smtp.quarantined += 1,
                    Outcome::Disconnected => statistics.connections[2] += 1,
                }
            }
            Event::Connected { outgoing, .. } => statistics.connections[usize::from(*outgoing)] += 1,
            Event::Note { .. } | Event::Encrypted { .. } | Event::Server { .. } => return,
        }
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl Log for Tally {
    fn write(&self, event: &Event) {
        self.count(event);
        self.log.write(event);
    }
}

impl control::Ledger for Tally {
    fn statistics(&self, clear: bool) -> Statistics {
        let mut counted = self.counted();
        if !clear {
            return counted.statistics.clone();
        }
        self.changed.store(true, Ordering::Relaxed);
        let fresh = Statistics { since: self.clock.now().seconds(), ..Statistics::default() };
        std::mem::replace(&mut counted.statistics, fresh)
    }
    fn hosts(&self) -> Vec<Host> {
        let counted = self.counted();
        let host = |(name, (at, result)): (&String, &(i64, String))| Host {
            name: name.clone(),
            at: *at,
            result: result.clone(),
        };
        let mut hosts: Vec<Host> = counted.hosts.iter().map(host).collect();
        hosts.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
        hosts
    }
    fn purge_hosts(&self) -> u64 {
        self.changed.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.counted().hosts).len() as u64
    }
}

/// The line of a mailer; the lines stand by number.
fn mailer<'a>(statistics: &'a mut Statistics, name: &str) -> &'a mut MailerCount {
    let number = MAILERS.iter().position(|known| *known == name).unwrap_or(MAILERS.len()) as u32;
    let lines = &mut statistics.mailers;
    let at = match lines.binary_search_by(|line| (line.number, &*line.name).cmp(&(number, name))) {
        Ok(at) => at,
        Err(at) => {
            lines.insert(at, MailerCount { number, name: name.to_owned(), ..MailerCount::default() });
            at
        }
    };
    &mut lines[at]
}

fn add(counter: &mut [u64; 2], messages: u64, size: u64) {
    counter[0] += messages;
    counter[1] += messages.saturating_mul(size.div_ceil(1_024));
}

/// Out of `mx.far.example. [192.0.2.1]` or `[192.0.2.1] [192.0.2.1]`.
fn host_name(relay: &str) -> Option<&str> {
    let name = relay.split(' ').next()?.trim_end_matches('.');
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

/// What the host said; without a reply the reason, without the host's name in it.
fn result(stat: &str, reply: &str, dsn: Option<mail::Status>) -> String {
    let said = stat.strip_prefix("Sent (").and_then(|rest| rest.strip_suffix(')'));
    let text = match (said, dsn) {
        (Some(said), Some(dsn)) => format!("250 {dsn} {said}"),
        _ if stat == "Sent" => "OK".to_owned(),
        _ if !reply.is_empty() => reply.to_owned(),
        _ => [" by ", " with "]
            .iter()
            .find_map(|word| stat.split_once(word))
            .map_or(stat, |(reason, _)| reason)
            .to_owned(),
    };
    text.chars().take(RESULT).collect()
}

fn remember(hosts: &mut HashMap<String, (i64, String)>, name: &str, at: i64, result: String) {
    if !hosts.contains_key(name) && hosts.len() >= HOSTS {
        let oldest = hosts.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone());
        oldest.and_then(|oldest| hosts.remove(&oldest));
    }
    hosts.insert(name.to_owned(), (at, result));
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::Ledger;
    use mail::log::{FromLine, ToLine};
    use mail::{QueueId, Status, Time};

    struct Nowhere;
    impl Log for Nowhere {
        fn write(&self, _event: &Event) {}
    }
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> Time {
            Time { wall: 1_795_292_466_000, mono: 0 }
        }
        fn zone(&self, _unix: i64) -> (i32, String) {
            (0, "GMT".into())
        }
    }

    fn to(mailer: &str, relay: &str, stat: &str, reply: &str) -> Event {
        Event::To(ToLine {
            id: QueueId::new(0, 1),
            to: vec!["a".into(), "b".into()],
            ctladdr: String::new(),
            delay: 0,
            xdelay: 0,
            mailer: mailer.into(),
            pri: 0,
            relay: relay.into(),
            dsn: Some(Status::success(0, 0)),
            size: 1_025,
            reply: reply.into(),
            stat: stat.into(),
        })
    }

    fn from(from: &str, proto: &str) -> Event {
        let (id, relay) = (QueueId::new(0, 1), String::new());
        let [msgid, bodytype, daemon] = [const { String::new() }; 3];
        Event::From(FromLine {
            id,
            from: from.into(),
            size: 10,
            nrcpts: 1,
            msgid,
            bodytype,
            proto: proto.into(),
            daemon,
            relay,
        })
    }

    #[test]
    fn events_become_counters_that_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let tally = || Tally::new(Arc::new(Nowhere), Arc::new(Fixed), &folder.path().to_string_lossy());
        let first = tally();
        for event in [
            from("root", ""),
            from("<a@b>", "ESMTP"),
            to("local", "", "Sent", ""),
            to("esmtp", "mx.far.example. [192.0.2.1]", "Sent (ok queued)", ""),
            to("esmtp", "[192.0.2.2] [192.0.2.2]", "Deferred: Connection refused by [192.0.2.2]", ""),
            to("relay", "hub. [192.0.2.3]", "Deferred: 451 4.7.1 later", "451 4.7.1 later"),
            Event::Connected { outgoing: true, relay: String::new() },
        ] {
            first.write(&event);
        }
        let decide =
            |outcome| Event::Decision { id: None, outcome, text: String::new(), why: String::new(), ours: false };
        first.write(&decide(Outcome::Rejected));
        first.write(&decide(Outcome::Disconnected));
        first.write_file();
        let second = tally();
        let statistics = second.statistics(false);
        let line = |n: usize| &statistics.mailers[n];
        assert_eq!((line(0).name.as_str(), line(0).from, line(0).to), ("local", [1, 1], [2, 4]));
        assert_eq!((line(1).name.as_str(), line(1).from, line(1).to, line(1).rejected), ("esmtp", [1, 1], [2, 4], 1));
        assert_eq!((statistics.mailers.len(), statistics.connections), (2, [0, 1, 1]));
        let hosts: Vec<(String, String)> = second.hosts().into_iter().map(|host| (host.name, host.result)).collect();
        let host = |name: &str, result: &str| (name.to_owned(), result.to_owned());
        assert_eq!(
            hosts,
            [
                host("192.0.2.2", "Deferred: Connection refused"),
                host("hub", "451 4.7.1 later"),
                host("mx.far.example", "250 2.0.0 ok queued"),
            ]
        );
        assert_eq!((second.purge_hosts(), second.hosts().len()), (3, 0));
        assert_eq!(second.statistics(true), statistics);
        assert!(second.statistics(false).mailers.is_empty());
    }

    #[test]
    fn the_table_of_hosts_is_bounded() {
        let mut hosts = HashMap::new();
        for n in 0..HOSTS as i64 + 10 {
            remember(&mut hosts, &n.to_string(), n, String::new());
        }
        assert!(hosts.len() == HOSTS && !hosts.contains_key("9") && hosts.contains_key("10"));
    }
}
