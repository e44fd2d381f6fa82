//! sendmail's check_relay, check_mail and check_rcpt (sendmail.md 3.3 and 2.11): may this client, this sender, this recipient? Pure
//! decisions over the router's tables and DNS; `policy` acts on them, `explain` prints them.
//!
//! A look-up that fails is 451, never a refusal for good.

use crate::client::Resolved;
use crate::settings::{DelayChecks, Settings};
use mail::reply::Reply;
use mail::{Address, Certificate, Encryption, Status, Verify};
use route::{DnsError, Resolver, Router};
use std::net::IpAddr;
use std::time::Duration;
use table::{Client, Found, Hit, Judgement, Mailbox, Refusal, Unavailable, Why};

/// Longest wait for the DNS of a sender's domain.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing against it.
    Pass,
    /// The access table says so: what would be asked after it is not asked (delay_checks).
    Stop(Why),
    /// Refused with this reply.
    Refuse(Reply, Why),
    /// Accepted and thrown away.
    Discard(Why),
    /// Accepted and held, with this reason.
    Hold(String, Why),
}

/// The client of a session, as the checks see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor<'a> {
    pub(crate) ip: IpAddr,
    /// Forward-confirmed name, or empty.
    pub(crate) name: &'a str,
    pub(crate) resolved: Resolved,
    /// How its session is encrypted, and what its certificate is worth.
    pub(crate) encryption: &'a Encryption,
}

impl<'a> Visitor<'a> {
    fn client(&self) -> Client<'a> {
        Client { ip: Some(self.ip), name: Some(self.name).filter(|name| !name.is_empty()) }
    }
    /// As in reply texts.
    fn literal(&self) -> String {
        format!("[{}]", crate::smtp::in_full(self.ip))
    }
}

/// The checks of one configuration for one client.
pub(crate) struct Checks<'a> {
    pub(crate) router: &'a Router,
    pub(crate) settings: &'a Settings,
    pub(crate) resolver: &'a dyn Resolver,
    pub(crate) visitor: Visitor<'a>,
}

/// The reply to a look-up that failed.
fn unavailable(Unavailable(text): Unavailable) -> Decision {
    let reply = Reply::temporary(451, 3, 0, "Temporary system failure. Please try again later.");
    Decision::Refuse(reply, Why { source: "look-up failed".into(), line: 0, key: text })
}

fn setting(name: &str, key: &str) -> Why {
    Why { source: name.into(), line: 0, key: key.to_owned() }
}

fn refuse(code: u16, status: Status, text: impl Into<String>, why: Why) -> Decision {
    Decision::Refuse(Reply::new(code, Some(status), text), why)
}

/// What an entry of the access table means; `reject` is what REJECT says at this place.
fn judged(found: Found<Judgement>, reject: (Status, &str)) -> Decision {
    let Found { value, why } = found;
    match value {
        Judgement::Ok | Judgement::Relay => Decision::Stop(why),
        Judgement::Reject => refuse(550, reject.0, reject.1, why),
        Judgement::Discard => Decision::Discard(why),
        Judgement::Quarantine(text) => Decision::Hold(text, why),
        Judgement::Refuse(Refusal { code, status, text, .. }) => refuse(code, status, text, why),
        Judgement::Friend | Judgement::Hater => Decision::Pass,
    }
}

const DENIED: (Status, &str) = (Status::permanent(7, 1), "Access denied");

impl Checks<'_> {
    /// At connection.
    pub(crate) async fn relay(&self) -> Decision {
        match self.router.tables().access.connect(self.visitor.client()).await {
            Ok(Some(found)) => judged(found, DENIED),
            Ok(None) => Decision::Pass,
            Err(error) => unavailable(error),
        }
    }

    /// At MAIL. The null sender is always welcome (RFC 5321 4.5.5).
    pub(crate) async fn mail(&self, sender: &Address) -> Decision {
        if sender.is_null() {
            return Decision::Pass;
        }
        // No permission to relay exempts a client, only to be this host. (sendmail exempts not even that; its programs would not get
        // their mail through while DNS is down.)
        let own = self.router.is_this_host(self.visitor.ip);
        let lenient = own || self.settings.accept_unqualified_senders;
        // With delay_checks sendmail asks about the sender as it is by then, and that has the host's name for `localhost`.
        let as_given = self.settings.delay_checks == DelayChecks::Off;
        if !lenient && as_given && self.names_this_host(sender) && !self.is_own_name() {
            let text = "Real domain name required for sender address";
            return refuse(553, Status::permanent(5, 4), text, setting("check_mail", sender.as_str()));
        }
        let sender = match self.router.canonical_form(sender).await {
            Ok(canonical) => canonical.unwrap_or_else(|| sender.clone()),
            Err(error) => return unavailable(error),
        };
        let user = sender.user();
        let asked = Mailbox { user: &user, domain: sender.domain().map(|d| d.strip_suffix('.').unwrap_or(d)) };
        match self.router.tables().access.sender(asked).await {
            Ok(Some(found)) => return judged(found, DENIED),
            Ok(None) => {}
            Err(error) => return unavailable(error),
        }
        match sender.domain_key() {
            None if !lenient => {
                let text = format!("Domain name required for sender address {sender}");
                refuse(553, Status::permanent(5, 4), text, setting("check_mail", sender.as_str()))
            }
            Some(domain) if !own && !self.settings.accept_unresolvable_domains => {
                self.sender_domain(&sender, &domain).await
            }
            _ => Decision::Pass,
        }
    }

    fn is_own_name(&self) -> bool {
        let name = Address::from_parts("x", Some(self.visitor.name));
        !self.visitor.name.is_empty() && self.router.local(&name).is_some()
    }

    /// `user@localhost` and its literals.
    fn names_this_host(&self, sender: &Address) -> bool {
        let Some(domain) = sender.domain_key() else { return false };
        let own = self.router.settings().host.split_once('.').map(|(_, own)| own);
        ["localhost", "[127.0.0.1]", "[ipv6:::1]", "localhost.uucp"].contains(&domain.as_str())
            || domain.strip_prefix("localhost.").is_some_and(|rest| Some(rest) == own)
    }

    /// Mail from a domain that does not exist could never be answered. Of the local ones only the host's own name is not asked for.
    async fn sender_domain(&self, sender: &Address, domain: &str) -> Decision {
        let host = self.router.settings().host.as_str();
        if domain.starts_with('[') || domain == host || host.split_once('.').is_some_and(|(own, _)| domain == own) {
            return Decision::Pass;
        }
        let asked = tokio::time::timeout(PATIENCE, exists(self.resolver, domain)).await;
        match asked.unwrap_or(Err(DnsError::Temporary("timed out".into()))) {
            Ok(()) => Decision::Pass,
            Err(DnsError::Temporary(why)) => {
                let text = format!("Domain of sender address {sender} does not resolve");
                refuse(451, Status::temporary(1, 8), text, setting("dns", &format!("{domain}: {why}")))
            }
            Err(_) => {
                let text = format!("Domain of sender address {sender} does not exist");
                refuse(553, Status::permanent(1, 8), text, setting("dns", &format!("{domain}: not found")))
            }
        }
    }

    /// At RCPT: is the recipient itself refused, and may this client send there?
    pub(crate) async fn rcpt(&self, sender: &Address, recipient: &Address) -> Decision {
        if self.settings.blocklist_recipients
            && let Some(refusal) = self.blocked(recipient).await
        {
            return refusal;
        }
        self.relaying(sender, recipient).await
    }

    /// What `To:` entries have against a recipient, and against the one that `%` and `!` lead to in the end.
    async fn blocked(&self, recipient: &Address) -> Option<Decision> {
        let reject = (Status::permanent(2, 1), "Mailbox disabled for this recipient");
        let routed = recipient.user().contains(['@', '!', '%']);
        let inner = if routed { self.router.innermost(recipient).await } else { Ok(None) };
        let inner = match inner {
            Ok(inner) => inner,
            Err(error) => return Some(unavailable(error)),
        };
        for asked in std::iter::once(recipient).chain(&inner) {
            match self.of_recipient(asked, false).await.map(|found| found.map(|found| judged(found, reject))) {
                Ok(None | Some(Decision::Pass | Decision::Stop(_))) => {}
                Ok(Some(refusal)) => return Some(refusal),
                Err(error) => return Some(unavailable(error)),
            }
        }
        None
    }

    /// What the access table has about a recipient, under `To:` or under `Spam:`.
    async fn of_recipient(&self, recipient: &Address, spam: bool) -> Result<Option<Found<Judgement>>, Unavailable> {
        let canonical = self.router.canonical_form(recipient).await?;
        let recipient = canonical.as_ref().unwrap_or(recipient);
        let user = recipient.user();
        let local = self.router.local(recipient).is_some();
        let domain = recipient.domain().map(|d| d.strip_suffix('.').unwrap_or(d));
        let access = &self.router.tables().access;
        if spam {
            let domain = domain.or(Some(self.router.settings().host.as_str()));
            access.spam(Mailbox { user: &user, domain }, local).await
        } else {
            access.recipient(Mailbox { user: &user, domain }, local).await
        }
    }

    async fn relaying(&self, sender: &Address, recipient: &Address) -> Decision {
        // Who may relay by his certificate is asked nothing more (delay_checks): sendmail's RelayTLS comes first.
        match self.relay_by(self.visitor.encryption.verified()).await {
            Ok(Some(hit)) => return Decision::Stop(hit.why),
            Ok(None) => {}
            Err(error) => return unavailable(error),
        }
        let to = self.router.relay_to(recipient).await;
        if matches!(to, Ok(Some(_))) {
            return Decision::Pass;
        }
        let from = self.router.relay_from(self.visitor.client(), sender).await;
        match (from, to) {
            (Ok(Some(_)), _) => Decision::Pass,
            (Err(error), _) | (_, Err(error)) => unavailable(error),
            (Ok(None), Ok(_)) => self.denied_by_certificate().await,
        }
    }

    async fn relay_by(&self, certificate: Option<&Certificate>) -> Result<Option<Hit>, Unavailable> {
        match certificate {
            Some(certificate) => self.router.tables().access.relay_by(certificate).await,
            None => Ok(None),
        }
    }

    /// Denied, but only for now if a certificate that cannot be judged at present (no authority could be read) would allow it.
    async fn denied_by_certificate(&self) -> Decision {
        let shown = &self.visitor.encryption;
        let unjudged = shown.certificate.as_ref().filter(|_| shown.verify == Verify::Temp);
        match self.relay_by(unjudged).await {
            Ok(None) => self.denied(),
            Ok(Some(hit)) => {
                unavailable(Unavailable(format!("{}: the client's certificate cannot be judged now", hit.why)))
            }
            Err(error) => unavailable(error),
        }
    }

    /// The texts of a refusal depend on what DNS knows of the client (sendmail.md 2.11).
    fn denied(&self) -> Decision {
        let literal = self.visitor.literal();
        let why = setting("relay", "neither client nor recipient may relay");
        let denied = |text: String| refuse(550, Status::permanent(7, 1), text, why.clone());
        match self.visitor.resolved {
            Resolved::Ok => denied("Relaying denied".into()),
            Resolved::Forged => denied(format!("Relaying denied. IP name possibly forged {literal}")),
            Resolved::Failed => denied(format!("Relaying denied. IP name lookup failed {literal}")),
            Resolved::Temporary => {
                let ip = crate::smtp::in_full(self.visitor.ip);
                let text = format!("Relaying temporarily denied. Cannot resolve PTR record for {ip}");
                refuse(450, Status::temporary(4, 0), text, why)
            }
        }
    }

    /// All that is asked at RCPT, with the name of each check: with delay_checks those of the sender and of the client as well.
    pub(crate) async fn at_rcpt(&self, sender: &Address, recipient: &Address) -> Said {
        let mut said = vec![("check_rcpt", self.rcpt(sender, recipient).await)];
        if self.settings.delay_checks == DelayChecks::Off || is_last(&said) {
            return said;
        }
        if let Some(decision) = self.spam(recipient).await {
            said.push(("spam", decision));
            return said;
        }
        said.push(("check_mail", self.mail(sender).await));
        if !is_last(&said) {
            said.push(("check_relay", self.relay().await));
        }
        said
    }

    /// Whether the recipient's wishes end the checks here (`Spam:`).
    async fn spam(&self, recipient: &Address) -> Option<Decision> {
        let mode = self.settings.delay_checks;
        if !matches!(mode, DelayChecks::Friend | DelayChecks::Hater) {
            return None;
        }
        match (mode, self.of_recipient(recipient, true).await) {
            (_, Err(error)) => Some(unavailable(error)),
            (DelayChecks::Friend, Ok(Some(Found { value: Judgement::Friend, why }))) => Some(Decision::Stop(why)),
            (DelayChecks::Friend, Ok(_)) | (_, Ok(Some(Found { value: Judgement::Hater, .. }))) => None,
            (_, Ok(_)) => Some(Decision::Stop(setting("delay-checks", "recipient is no spam hater"))),
        }
    }
}

/// What the checks said, in their order.
pub(crate) type Said = Vec<(&'static str, Decision)>;

/// Whether nothing is asked after it.
fn is_last(said: &[(&str, Decision)]) -> bool {
    !matches!(said.last(), Some((_, Decision::Pass)) | None)
}

/// Whether mail for the domain could go anywhere: it has MX records or an address.
async fn exists(resolver: &dyn Resolver, domain: &str) -> Result<(), DnsError> {
    match resolver.mx(domain).await {
        Ok(records) if !records.is_empty() => Ok(()),
        Err(DnsError::NoName) => Err(DnsError::NoName),
        Err(error @ DnsError::Temporary(_)) => Err(error),
        Ok(_) | Err(DnsError::NoRecord) => match resolver.addresses(domain).await {
            Ok(ips) if !ips.is_empty() => Ok(()),
            Ok(_) => Err(DnsError::NoRecord),
            Err(error) => Err(error),
        },
    }
}

#[cfg(test)]
pub(crate) mod tests;
