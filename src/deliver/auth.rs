//! Saying who we are to a server (RFC 4954; sendmail.md 3.8, 5.6), inside TLS only. Called by `connect` when a session is open; what
//! it means to have gone without is asked by `transaction`. No secret gets into a fate, a log line or `Debug`.

use crate::connect::{Door, Refused, broken};
use crate::outcome::Fate;
use crate::session::Session;
use mail::client::{Answer, Exchange, Login, Mechanism};
use mail::log::Event;
use mail::{Severity, Status};
use route::{Credentials, Key};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Milliseconds for which a hop rests that did not believe us: most servers shut out who tries too often.
pub(crate) const REST: u64 = 60_000;

/// What is known for a server, once awaited; or why it could not be looked up, for the log.
pub type Known<'a> = Pin<Box<dyn Future<Output = Result<Option<Secret>, String>> + Send + 'a>>;

/// Credentials and their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The credentials.
    pub credentials: Credentials,
    /// `file:line: key`, for the log.
    pub source: String,
    /// The key that was found.
    pub key: String,
}

/// Whoever knows names and passwords for other servers.
pub trait Secrets: Send + Sync {
    /// What is known for a server of this name (without brackets and trailing dot; `None` if it was named by its address) and
    /// address; both `None`: what holds for every server.
    fn credentials<'a>(&'a self, host: Option<&'a str>, ip: Option<IpAddr>) -> Known<'a>;
}

/// We are nobody to this server, although there are credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anonymous {
    /// For log and mailq.
    pub(crate) reason: &'static str,
    /// The administrator named the hop; it was not found by the recipient's MX.
    pub(crate) chosen: bool,
    /// The credentials are for this server and not for all.
    pub(crate) particular: bool,
}

impl Anonymous {
    /// A refusal that may come from not being known ends nobody's mail: the cause can be put right. `fate` came of `answer`.
    pub(crate) fn forgive(&self, answer: &Answer, fate: Fate) -> Fate {
        let about_policy = answer.status.is_some_and(|status| status.subject == 7);
        let about_us = answer.code == 530
            || (self.chosen && about_policy)
            || (self.chosen && self.particular && answer.status.is_none());
        if !fate.status.is_permanent() || !about_us {
            return fate;
        }
        let status = Status { severity: Severity::Temporary, ..fate.status };
        Fate::local(status, &format!("{} (not authenticated: {})", fate.reply, self.reason))
    }
}

/// What `find` found.
struct Found {
    secret: Secret,
    chosen: bool,
    particular: bool,
}

impl Door<'_> {
    /// Says who we are, if credentials are known. Without TLS and towards servers that cannot, the session goes on as it is, marked.
    pub(crate) async fn sign_in<S>(&self, key: &Key, session: &mut Session<S>) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let found = find(&*self.inner.parts.secrets, key, self.name(), self.ip).await.map_err(|text| {
            Refused::Fate(Fate::local(Status::temporary(3, 0), &format!("credentials for {}: {text}", self.shown)))
        })?;
        let Some(Found { secret, chosen, particular }) = found else {
            return Ok(());
        };
        let without = |reason| Anonymous { reason, chosen, particular };
        if !chosen && !particular {
            // Whoever gets mail here could make his MX ask for the password of the smart host.
            session.anonymous = Some(without("credentials for every server are not for those found by MX"));
            return Ok(());
        }
        let mechanisms = Mechanism::choose(&session.capabilities.auth, &secret.credentials.mechanisms);
        let reason = match (session.is_encrypted(), mechanisms.is_empty(), session.capabilities.auth.is_empty()) {
            (false, ..) => "no TLS",
            (true, true, true) => "AUTH not offered",
            (true, true, false) => "no mechanism in common",
            (true, false, _) => return self.try_all(session, &secret, &mechanisms).await,
        };
        self.tell(format!("not used: {reason}"));
        session.anonymous = Some(without(reason));
        Ok(())
    }
    /// One mechanism after the other, as long as the server only dislikes the mechanism: a wrong password is said once.
    async fn try_all<S>(
        &self,
        session: &mut Session<S>,
        secret: &Secret,
        mechanisms: &[Mechanism],
    ) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Credentials { user, identity, password, .. } = &secret.credentials;
        let login = Login { user, identity, password };
        let mut last = String::new();
        for &mechanism in mechanisms {
            let mut exchange = Exchange::new(mechanism, &login).map_err(|error| {
                refused(Status::temporary(7, 0), &format!("{error} in the credentials ({})", secret.source))
            })?;
            let answer = session.authenticate(&mut exchange).await.map_err(|error| broken(&error, self.shown))?;
            if answer.is_success() {
                self.tell(format!("mech={}, bits=0", mechanism.name()));
                return Ok(());
            }
            let name = mechanism.name();
            last = format!("AUTH {name}: {} (credentials: {})", exchange.shown(&answer), secret.source);
            if !matches!(answer.code, 504 | 534) {
                break;
            }
        }
        Err(refused(Status::temporary(7, 8), &last))
    }
    fn tell(&self, what: String) {
        let text = format!("AUTH=client, relay={} [{}], {what}", self.shown, self.ip);
        self.inner.parts.log.write(&Event::Server { text });
    }
}

/// What is known for a server, and whom it is meant for.
async fn find(secrets: &dyn Secrets, key: &Key, name: Option<&str>, ip: IpAddr) -> Result<Option<Found>, String> {
    let Some(secret) = secrets.credentials(name, Some(ip)).await? else {
        return Ok(None);
    };
    let chosen = !matches!(key, Key::Mx { .. });
    let particular = match secrets.credentials(None, None).await {
        Ok(all) => all.is_none_or(|all| all.key != secret.key),
        // What cannot be told counts as the dangerous case.
        Err(_) => chosen,
    };
    Ok(Some(Found { secret, chosen, particular }))
}

fn refused(status: Status, text: &str) -> Refused {
    Refused::Auth(Fate::local(status, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Command;
    use crate::transaction::refusal;

    /// `mx.example` has an entry of its own, every other server that for all.
    struct Two;

    impl Secrets for Two {
        fn credentials<'a>(&'a self, host: Option<&'a str>, _ip: Option<IpAddr>) -> Known<'a> {
            let key = if host == Some("mx.example") { "AuthInfo:mx.example" } else { "AuthInfo:" };
            let credentials = Credentials {
                user: String::new(),
                identity: "joe".into(),
                password: b"x".to_vec(),
                realm: None,
                mechanisms: Vec::new(),
            };
            Box::pin(std::future::ready(Ok(Some(Secret {
                credentials,
                source: format!("f:1: {key}"),
                key: key.into(),
            }))))
        }
    }

    #[tokio::test]
    async fn whom_credentials_are_meant_for() {
        for (key, host, expected) in [
            ("smtp:example", Some("mx.example"), (false, true)),
            // This one gets no password.
            ("smtp:evil.example", Some("mx.evil.example"), (false, false)),
            ("relay:[mx.example]:587", Some("mx.example"), (true, true)),
            ("relay:other.example:587", Some("a.other.example"), (true, false)),
            ("via:esmtp:[192.0.2.1]:25", None, (true, false)),
        ] {
            let found = find(&Two, &Key::parse(key).unwrap(), host, [192, 0, 2, 1].into()).await.unwrap().unwrap();
            assert_eq!((found.chosen, found.particular), expected, "{key}");
        }
    }

    fn after(anonymous: &Anonymous, code: u16, text: &str) -> String {
        let status = Status::split(text).map(|(status, _)| status);
        let answer = Answer { code, status, lines: vec![text.to_owned()] };
        let fate = anonymous.forgive(&answer, refusal(&answer, (1, 1), "User unknown", Command::Rcpt));
        format!("{} {}", fate.status, fate.stat)
    }

    #[test]
    fn refusals_of_a_stranger() {
        let relay = Anonymous { reason: "no TLS", chosen: true, particular: true };
        let all = Anonymous { particular: false, ..relay.clone() };
        let by_mx = Anonymous { chosen: false, ..relay.clone() };
        let wanted = "530 5.7.0 Authentication required";
        for anonymous in [&relay, &all, &by_mx] {
            let stat = after(anonymous, 530, "5.7.0 Authentication required");
            assert_eq!(stat, format!("4.7.0 Deferred: {wanted} (not authenticated: no TLS)"));
            assert_eq!(after(anonymous, 550, "5.1.1 who?"), "5.1.1 User unknown");
            assert_eq!(after(anonymous, 450, "4.7.1 later"), "4.7.1 Deferred: 450 4.7.1 later");
        }
        for (anonymous, denied, unexplained) in
            [(&relay, "4.7.1", "4.1.1"), (&all, "4.7.1", "5.1.1"), (&by_mx, "5.7.1", "5.1.1")]
        {
            assert!(after(anonymous, 554, "5.7.1 Relay access denied").starts_with(denied), "{anonymous:?}");
            assert!(after(anonymous, 550, "relay not permitted").starts_with(unexplained), "{anonymous:?}");
        }
    }
}
