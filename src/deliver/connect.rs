//! From a hop to a session: hosts and addresses in turn, TCP, greeting, EHLO, STARTTLS, AUTH (`auth`). Called by `relay`.

use crate::demand::ForServer;
use crate::outcome::{Command, Fate, Trouble};
use crate::session::{Broken, Limits, Session, reason};
use crate::settings::{Settings, Tls};
use crate::start::Inner;
use crate::stream::{Socket, Stream};
use crate::told::Told;
use crate::transaction::refusal;
use ::tls::Side;
use mail::client::Answer;
use mail::log::Event;
use mail::{Encryption, Status, Verify};
use route::{Host, Key};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A session with the host it goes to.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) session: Session<Socket>,
    /// `host. [ip]` for the log.
    pub(crate) relay: String,
    /// The host as texts and bounces show it.
    pub(crate) host: String,
}

/// Why one address gave no session.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Fate of the recipients if no other address helps.
    Fate(Fate),
    /// TLS failed; a fresh connection in clear text may be tried if the settings allow it.
    Tls(Fate),
    /// It does not believe us. Its other addresses have the same opinion.
    Auth(Fate),
}

/// A session with the first host that gives one.
pub(crate) async fn connect(inner: &Inner, key: &Key, settings: &Settings, told: &Told) -> Result<Link, Trouble> {
    if let Key::Socket { path } = key {
        return crate::lmtp::connect(path, settings, told).await;
    }
    let hosts = route::hosts(key, &*inner.parts.resolver, &inner.parts.settings.local()).await;
    let hosts = hosts.map_err(|failure| Trouble::nowhere(Fate::local(failure.status, &failure.text)))?;
    let by_mx = matches!(key, Key::Mx { .. });
    let mut worst: Option<Trouble> = None;
    for host in &hosts {
        let shown = shown(host);
        for &address in host.addresses.iter().filter(|a| !by_mx || may_reach(a.ip())) {
            let relay = format!("{shown} [{}]", address.ip());
            told.begins("Connecting to", &at_port(&shown, address.port()), key.mailer());
            match open(inner, key, settings, (host, address, &shown), told).await {
                Ok(session) => {
                    return Ok(Link { session, relay, host: shown });
                }
                Err(Refused::Auth(fate)) => {
                    // This is what the administrator must hear of, whatever the other hosts say.
                    worst = Some(Trouble { fate, relay, host: shown.clone(), rest: crate::auth::REST });
                    break;
                }
                Err(Refused::Fate(fate) | Refused::Tls(fate)) => {
                    let host = shown.clone();
                    weigh(&mut worst, Trouble { fate, relay, host, rest: 0 });
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| nowhere(key)))
}

/// One temporary failure among several is reason enough to come again.
fn weigh(worst: &mut Option<Trouble>, new: Trouble) {
    let counts =
        |known: &Trouble| known.rest == 0 && (known.fate.status.is_permanent() || new.fate.status.is_temporary());
    if worst.as_ref().is_none_or(counts) {
        *worst = Some(new);
    }
}

/// A host's name as tables know it; `None` for one that was named by its address.
pub(crate) fn table_name(host: &str) -> Option<&str> {
    Some(host.trim_end_matches('.')).filter(|name| !name.starts_with('['))
}

/// All addresses were refused (S-66).
fn nowhere(key: &Key) -> Trouble {
    let domain = match key {
        Key::Mx { domain } => domain.as_str(),
        _ => "",
    };
    let text = format!("config error: mail loops back to me (MX problem?) for {domain}");
    Trouble::nowhere(Fate::local(Status::permanent(3, 5), &text))
}

/// A host in the log's spelling: names end in a dot, as sendmail's canonical names do.
fn shown(host: &Host) -> String {
    if host.name.starts_with('[') || host.name.ends_with('.') { host.name.clone() } else { format!("{}.", host.name) }
}

/// A host as `-v` names it: with a port that is not the usual one.
fn at_port(shown: &str, port: u16) -> String {
    if port == 25 { shown.to_owned() } else { format!("{shown} port {port}") }
}

/// What the world's DNS must not make us talk to: ourselves, nobody, everybody.
fn may_reach(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || broadcast)
}

async fn open(
    inner: &Inner,
    key: &Key,
    settings: &Settings,
    (host, address, shown): (&Host, SocketAddr, &str),
    told: &Told,
) -> Result<Session<Socket>, Refused> {
    let ip = address.ip();
    let dial = async || {
        let stream = dial(address, settings, shown).await?;
        inner.parts.log.write(&Event::Connected { outgoing: true, relay: format!("{shown} [{ip}]") });
        Ok(stream)
    };
    let door = Door { inner, settings, host, ip, shown, lmtp: crate::lmtp::is_spoken_by(key), told };
    let ForServer { in_clear, demanded } = inner
        .parts
        .demands
        .of_server(door.name(), ip)
        .await
        .map_err(|text| deferred(3, 0, &format!("TLS demands for {shown}: {text}")))?;
    let tls = if in_clear && settings.tls == Tls::May { Tls::None } else { settings.tls };
    let mut session = match door.greet(dial().await?, tls).await {
        Err(Refused::Tls(_)) if tls == Tls::May && demanded.is_none() => {
            // Only a fresh connection is in a known state (S-70).
            door.greet(dial().await?, Tls::None).await?
        }
        other => other?,
    };
    if let Some(fate) = demanded.and_then(|demanded| demanded.unmet(&session.encryption, door.name())) {
        return Err(Refused::Fate(fate));
    }
    // A host that greets with our own name is ourselves: sendmail's mailer flag k.
    let own = session.name.eq_ignore_ascii_case(&settings.host);
    if own && matches!(key, Key::Mx { .. }) {
        return Err(Refused::Fate(nowhere(key).fate));
    }
    door.sign_in(key, &mut session).await?;
    Ok(session)
}

async fn dial(address: SocketAddr, settings: &Settings, shown: &str) -> Result<Socket, Refused> {
    let limit = Duration::from_millis(settings.connect_timeout);
    let stream = match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(deferred(4, 1, &reason(&error, shown))),
        Err(_) => return Err(deferred(4, 1, &format!("Connection timed out with {shown}"))),
    };
    // Every write is a whole group of commands; waiting for the last acknowledgement would only delay it.
    let _best_effort = stream.set_nodelay(true);
    Ok(Socket::Tcp(stream))
}

fn deferred(subject: u16, detail: u16, text: &str) -> Refused {
    Refused::Fate(Fate::local(Status::temporary(subject, detail), text))
}

pub(crate) fn broken(error: &Broken, shown: &str) -> Refused {
    deferred(4, 2, &error.text(shown))
}

/// The host at whose door we stand.
pub(crate) struct Door<'a> {
    pub(crate) inner: &'a Inner,
    settings: &'a Settings,
    pub(crate) host: &'a Host,
    pub(crate) ip: IpAddr,
    pub(crate) shown: &'a str,
    lmtp: bool,
    told: &'a Told,
}

impl Door<'_> {
    /// The host's name as tables know it, unless it was named by its address.
    pub(crate) fn name(&self) -> Option<&str> {
        table_name(&self.host.name)
    }
    /// Greeting, EHLO, and STARTTLS as `tls` says.
    async fn greet<S>(&self, stream: S, tls: Tls) -> Result<Session<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Limits(self.settings.timeout_divisor);
        let lost = |error: Broken| broken(&error, self.shown);
        let mut session = Session::new(Stream::Plain(stream), limits);
        session.lmtp = self.lmtp;
        session.told = self.told.clone();
        let greeting = session.answer(limits.greeting()).await.map_err(lost)?;
        welcome(&greeting, Command::None)?;
        hello(&mut session, self.settings, self.shown).await?;
        if tls == Tls::None {
            session.encryption.verify = Verify::Clear;
            return Ok(session);
        }
        if !session.capabilities.starttls {
            session.encryption.verify = Verify::None;
            return match tls {
                Tls::Required => Err(deferred(7, 10, "encryption required, but not offered")),
                _ => Ok(session),
            };
        }
        // Hosts exist that hang up at STARTTLS; what holds for a failed handshake holds for them.
        let hung_up = |error: Broken| Refused::Tls(Fate::local(Status::temporary(4, 2), &error.text(self.shown)));
        let answer = session.command("STARTTLS", limits.mail()).await.map_err(hung_up)?;
        if answer.code != 220 {
            let mut fate = refusal(&answer, (7, 0), "", Command::Line("STARTTLS".to_owned()));
            // A 5xx here is about TLS, not about the message: it may go when they have put it right.
            if fate.status.is_permanent() {
                fate = Fate::local(Status::temporary(7, 0), &fate.reply);
            }
            return Err(Refused::Tls(fate));
        }
        let stream = session.into_clear().ok_or_else(|| no_handshake("text before the handshake"))?;
        let (stream, encryption) = self.shake_hands(stream, limits).await?;
        let mut session = Session::new(Stream::Tls(Box::new(stream)), limits);
        session.lmtp = self.lmtp;
        session.encryption = encryption;
        session.told = self.told.clone();
        hello(&mut session, self.settings, self.shown).await?;
        Ok(session)
    }
    async fn shake_hands<S>(&self, stream: S, limits: Limits) -> Result<(TlsStream<S>, Encryption), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = self.inner.tls.connect(&self.host.name, self.ip, stream);
        let stream = match tokio::time::timeout(limits.data(), handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(no_handshake(&error.to_string())),
            Err(_) => return Err(no_handshake("timed out")),
        };
        let authorities = self.inner.parts.settings.authorities();
        let agreed = authorities.encryption(stream.get_ref().1, Side::Server, true);
        let relay = format!("{} [{}]", self.shown, self.ip);
        self.inner.parts.log.write(&Event::encrypted(true, &relay, &agreed));
        Ok((stream, agreed))
    }
}

fn no_handshake(why: &str) -> Refused {
    let text = format!("403 4.7.0 TLS handshake failed: {why}");
    Refused::Tls(Fate::local(Status::temporary(7, 0), &text))
}

pub(crate) async fn hello<S>(session: &mut Session<S>, settings: &Settings, shown: &str) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = session.hello(&settings.host).await.map_err(|e| broken(&e, shown))?;
    welcome(&answer, Command::Line("EHLO".to_owned()))
}

pub(crate) fn welcome(answer: &Answer, command: Command) -> Result<(), Refused> {
    if (200..300).contains(&answer.code) {
        Ok(())
    } else {
        Err(Refused::Fate(refusal(answer, (3, 2), "Service unavailable", command)))
    }
}
