//! What the access table says of a client before its greeting: how many sessions it may have (`ClientConn:`), how many connections in a
//! minute (`ClientRate:`), how long it waits (`GreetPause:`), what it is offered (`Srv_Features:`); and later what its encryption must be
//! (`TLS_Clt:`). sendmail.md 3.3 and its
//! FEATURE()s conncontrol, ratecontrol, greet_pause. Called by `policy` and `smtp`.
//!
//! A look-up that fails refuses for now.

use crate::smtp::Serving;
use crate::wire::Wire;
use mail::reply::Reply;
use mail::server::Withheld;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use table::{Client, Features, Unavailable, Why};
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest pause (RFC 5321 4.5.3.2.1: clients wait five minutes for a greeting), milliseconds.
const LONGEST: u64 = 300_000;
/// Length of the window in which connections are counted, milliseconds (sendmail's ConnectionRateWindowSize).
const WINDOW: u64 = 60_000;
/// Most clients that are counted; beyond it those whose window is over are forgotten, and then all.
const CLIENTS: usize = 100_000;

/// Connections of each client in the present window and in the one before.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<IpAddr, Rate>>);

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    window: u64,
    before: u32,
    now: u32,
}

impl Rates {
    /// Counts a connection at `mono` milliseconds; how many there were in the last minute, this one included. What is left of the window
    /// before counts by its share.
    fn count(&self, client: IpAddr, mono: u64) -> u64 {
        let window = mono / WINDOW;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, rate| rate.window + 1 >= window);
            if clients.len() >= CLIENTS {
                clients.clear();
            }
        }
        let rate = clients.entry(client).or_default();
        if rate.window != window {
            let before = if rate.window + 1 == window { rate.now } else { 0 };
            *rate = Rate { window, before, now: 0 };
        }
        rate.now = rate.now.saturating_add(1);
        let left = WINDOW - mono % WINDOW;
        u64::from(rate.now) + u64::from(rate.before) * left / WINDOW
    }
}

/// A limit that is exceeded, or that could not be looked up.
pub(crate) type Refused = (Reply, Why);

fn temporary(text: &str) -> Reply {
    Reply::temporary(421, 3, 2, text)
}

fn unavailable(Unavailable(key): Unavailable, code: u16) -> Refused {
    let reply = Reply::temporary(code, 3, 0, "Temporary system failure. Please try again later.");
    (reply, Why { source: "look-up failed".into(), line: 0, key })
}

impl Serving {
    fn client(&self) -> Client<'_> {
        Client { ip: Some(self.peer.ip), name: Some(self.peer.name.as_str()).filter(|name| !name.is_empty()) }
    }

    /// The number that an entry about the client's address has.
    async fn number(&self, tag: &str, client: Client<'_>) -> Result<Option<(u64, Why)>, Refused> {
        let hit =
            self.current.router.tables().access.peer(tag, client).await.map_err(|error| unavailable(error, 421))?;
        Ok(hit.and_then(|hit| Some((hit.value.trim().parse().ok()?, hit.why))))
    }

    /// Whether the client comes too often or is here too often.
    pub(crate) async fn crowds(&self) -> Option<Refused> {
        let settings = &self.current.settings;
        let by_address = Client { ip: Some(self.peer.ip), name: None };
        let checks = [
            (settings.client_connections, "ClientConn", "Too many open connections."),
            (settings.client_rate, "ClientRate", "Connection rate limit exceeded."),
        ];
        for (_, tag, text) in checks.into_iter().filter(|(on, ..)| *on) {
            let count = match tag {
                "ClientConn" => u64::from(self.receive.sessions_of(self.peer.ip)),
                _ => self.receive.rates.count(self.peer.ip, self.receive.clock.now().mono),
            };
            match self.number(tag, by_address).await {
                Ok(Some((limit, why))) if limit != 0 && count > limit => return Some((temporary(text), why)),
                Ok(_) => {}
                Err(refused) => return Some(refused),
            }
        }
        None
    }

    /// Lets the client wait for the greeting. One that talks in the meantime gets no mail through.
    pub(crate) async fn pause<S>(&mut self, wire: &mut Wire<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let settings = &self.current.settings;
        let ourselves = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        if !settings.greet_pause || ourselves.contains(&self.peer.ip.to_canonical()) {
            return;
        }
        let pause = match self.number("GreetPause", self.client()).await {
            Ok(found) => found.map_or(settings.greet_pause_default, |(pause, _)| pause).min(LONGEST),
            Err(_) => settings.greet_pause_default,
        };
        if pause == 0 || !wire.speaks_within(Duration::from_millis(pause)).await {
            return;
        }
        let (peer, host) = (self.peer.text(), &settings.host);
        self.receive.note(
            None,
            format!("rejecting commands from {peer} due to pre-greeting traffic after {} seconds", pause / 1_000),
        );
        let greeting = Reply::bare(554, format!("{host} ESMTP not accepting messages"));
        self.session.refuse_all(Reply::permanent(550, 0, 0, "Command rejected"));
        self.early = Some(greeting);
    }

    /// Looks up what the client is not offered.
    pub(crate) async fn take_features(&mut self) -> Option<Refused> {
        let found = match self.current.router.tables().access.features(self.client()).await {
            Ok(found) => found?,
            Err(error) => return Some(unavailable(error, 421)),
        };
        let Features { no_starttls, no_pipelining, no_dsn, no_etrn, no_expn, no_verb, later, .. } = found.value;
        self.session.withhold(Withheld {
            starttls: no_starttls,
            pipelining: no_pipelining,
            dsn: no_dsn,
            etrn: no_etrn,
            expn: no_expn,
            verb: no_verb,
        });
        if later {
            self.note(format!("srv_features=tempfail, relay={}, access temporarily disabled", self.peer.text()));
            self.session.refuse_all(Reply::temporary(450, 3, 0, "Please try again later."));
        }
        self.features = Some(found);
        None
    }

    /// Whether the client would have to say first who it is.
    pub(crate) fn is_nobody(&self) -> Option<Refused> {
        let found = self.features.as_ref().filter(|found| found.value.needs_auth)?;
        Some((Reply::permanent(530, 7, 0, "Authentication required"), found.why.clone()))
    }

    /// Whether the client's encryption is not what is demanded.
    pub(crate) async fn is_too_open(&self) -> Option<Refused> {
        match self.current.router.tables().access.encryption(false, self.client()).await {
            Ok(found) => found.and_then(|found| {
                let (code, status, text) = found.value.refused(&self.encryption, self.client().name)?;
                Some((Reply::new(code, Some(status), text), found.why))
            }),
            Err(error) => Some(unavailable(error, 451)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_slides() {
        let (rates, client) = (Rates::default(), IpAddr::from([192, 0, 2, 1]));
        let counts: Vec<u64> =
            [0, 1, 59_999, 60_000, 90_000, 119_999, 300_000].map(|at| rates.count(client, at)).into();
        assert_eq!(counts, [1, 2, 3, 4, 3, 3, 1]);
        assert_eq!(rates.count([192, 0, 2, 2].into(), 0), 1);
    }

    #[test]
    fn who_comes_from_everywhere_fills_no_memory() {
        let rates = Rates::default();
        for n in 0..=CLIENTS as u32 {
            rates.count(Ipv4Addr::from(n).into(), 0);
        }
        assert!(rates.0.lock().unwrap().len() <= CLIENTS);
    }
}
