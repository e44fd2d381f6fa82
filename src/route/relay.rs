//! May a client relay? sendmail's Rcpt_ok and Relay_ok (sendmail.md 3.3), asked by `receive` at RCPT.

use crate::Router;
use crate::class::{fold, fold_user};
use crate::router::setting;
use crate::trace::Trace;
use mail::Address;
use table::{Client, Found, Judgement, Mailbox, Unavailable, Why};

/// Most addresses inside addresses that are looked at.
const NESTED: usize = 50;

impl Router {
    /// Why anyone may send to the address's domain, if so, from settings alone: it is local, virtual, or in `relay-domains`.
    #[must_use]
    pub fn relay_domain(&self, address: &Address) -> Option<Why> {
        if let Some(why) = self.local(address) {
            return Some(why);
        }
        let domain = fold(address.domain()?);
        if let Some(entry) = self.relay_domains.find(&domain) {
            return Some(setting("relay-domains", entry));
        }
        self.virtual_domain(&domain).or_else(|| self.mailbox_domain(&domain)).or_else(|| self.own_domain(&domain))
    }

    /// FEATURE(relay_entire_domain): the domain of the host and what is below it.
    fn own_domain(&self, domain: &str) -> Option<Why> {
        let (_, own) = self.settings().host.split_once('.').filter(|_| self.settings().relay_entire_domain)?;
        let inside = domain == own || domain.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'));
        inside.then(|| setting("relay-entire-domain", own))
    }

    /// Why anyone may send to this recipient, if so. `user%host@relayed` needs permission for `user@host` as well.
    ///
    /// # Errors
    /// If a table cannot be asked.
    pub async fn relay_to(&self, address: &Address) -> Result<Option<Why>, Unavailable> {
        if self.settings().promiscuous_relay {
            return Ok(Some(setting("promiscuous-relay", "everybody")));
        }
        // An address that is none is refused with its own text, not for relaying.
        let Ok(mut address) = self.canonical(&mut Trace::default(), address).await? else {
            return Ok(Some(setting("canonical form", address.as_str())));
        };
        for _ in 0..NESTED {
            // Quoted text that would route on without its quotes: a table's `%1` takes them off.
            if crate::canonical::is_ambiguous(&address.user()) {
                return Ok(None);
            }
            let Some(why) = self.relay_to_domain(&address).await? else { return Ok(None) };
            if self.settings().loose_relay_check || self.local(&address).is_some() {
                return Ok(Some(why));
            }
            match self.onward_route(&address) {
                None => return Ok(Some(why)),
                Some(Err(_)) => return Ok(None),
                Some(Ok(inner)) => match self.canonical(&mut Trace::default(), &inner).await? {
                    Ok(inner) => address = inner,
                    Err(_) => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// The recipient that is left when every host that may be relayed to is taken off: `user@b` of `user%b@relayed`. Access is asked about it,
    /// for that is where the mail goes in the end (sendmail's ParseRecipient).
    ///
    /// # Errors
    /// If a table cannot be asked.
    pub async fn innermost(&self, address: &Address) -> Result<Option<Address>, Unavailable> {
        let Some(mut address) = self.canonical_form(address).await? else { return Ok(None) };
        for _ in 0..NESTED {
            if self.settings().loose_relay_check || crate::canonical::is_ambiguous(&address.user()) {
                break;
            }
            let Some(Ok(inner)) = self.onward_route(&address) else { break };
            if self.relay_to_domain(&address).await?.is_none() {
                break;
            }
            let Some(inner) = self.canonical_form(&inner).await? else { break };
            address = inner;
        }
        Ok(Some(address))
    }

    async fn relay_to_domain(&self, address: &Address) -> Result<Option<Why>, Unavailable> {
        if let Some(why) = self.relay_domain(address) {
            return Ok(Some(why));
        }
        let Some(domain) = address.domain().map(fold) else { return Ok(None) };
        let user = address.user();
        let asked = Mailbox { user: &user, domain: Some(&domain) };
        let access = &self.tables().access;
        let found = access.relay_to_address(asked).await?;
        if !self.settings().relay_hosts_only {
            return Ok(found.and_then(relays));
        }
        // The very address, which needs its tag, or the very domain: nothing below it, no `user+*@`, and no `user@` at any domain.
        let whole = format!("to:{}@{domain}", fold_user(&user));
        if found.as_ref().is_some_and(|found| found.why.key.eq_ignore_ascii_case(&whole)) {
            return Ok(found.and_then(relays));
        }
        let found = access.relay_to(&domain).await?;
        Ok(found.and_then(relays).filter(|why| untagged(&why.key, "to:") == domain))
    }

    /// With `relay_hosts_only` an entry of the access table, too, opens the very host it names and nothing below it.
    fn reaches(&self, why: &Why, name: &str) -> bool {
        let key = untagged(&why.key, "connect:");
        let above = name.strip_suffix(key.trim_start_matches('.')).is_some_and(|below| below.ends_with('.'));
        !(self.settings().relay_hosts_only && above)
    }

    /// Why this client may relay to any domain, if it may. `sender` counts only where a setting says so.
    ///
    /// # Errors
    /// If a table cannot be asked.
    pub async fn relay_from(&self, client: Client<'_>, sender: &Address) -> Result<Option<Why>, Unavailable> {
        let Some(ip) = client.ip else { return Ok(Some(setting("client", "local submission"))) };
        if self.settings().promiscuous_relay {
            return Ok(Some(setting("promiscuous-relay", "everybody")));
        }
        if let Some(why) = self.trusted_client(ip) {
            return Ok(Some(why));
        }
        let name = client.name.map(fold).filter(|name| !name.is_empty());
        let found = self.tables().access.relay_from(client).await?.and_then(relays);
        if let Some(why) = found.filter(|why| self.reaches(why, name.as_deref().unwrap_or_default())) {
            return Ok(Some(why));
        }
        if let Some(why) = self.relaying_sender(sender).await? {
            return Ok(Some(why));
        }
        let Some(name) = name else { return Ok(None) };
        if self.is_local_name(&name) {
            return Ok(Some(setting("local-domains", &name)));
        }
        let entry = self.relay_domains.find(&name).map(|entry| setting("relay-domains", entry));
        Ok(entry.or_else(|| self.own_domain(&name)))
    }

    /// FEATURE(relay_local_from) and FEATURE(relay_mail_from), for the sender's canonical form: `boss%far@ours` is not one of ours.
    async fn relaying_sender(&self, sender: &Address) -> Result<Option<Why>, Unavailable> {
        let settings = self.settings();
        if !settings.relay_local_from && !settings.relay_mail_from {
            return Ok(None);
        }
        let Some(sender) = self.canonical_form(sender).await? else { return Ok(None) };
        let Some(domain) = sender.domain().map(fold) else { return Ok(None) };
        if settings.relay_local_from && self.local(&sender).is_some() {
            return Ok(Some(setting("relay-local-from", &domain)));
        }
        if !settings.relay_mail_from {
            return Ok(None);
        }
        let user = sender.user();
        let asked = Mailbox { user: &user, domain: Some(&domain) };
        let found = self.tables().access.sender(asked).await?.and_then(relays);
        // By the whole address only, and only with the tag, unless the domain counts as well; `From:user@` is no whole address.
        let fits = |why: &Why| {
            let key = why.key.to_ascii_lowercase();
            match key.strip_prefix("from:").map(|key| (key, key.split_once('@'))) {
                None | Some((_, Some((_, "")))) => false,
                Some((_, Some(_))) => true,
                Some((key, None)) => settings.relay_mail_from_domain && (!settings.relay_hosts_only || key == domain),
            }
        };
        Ok(found.filter(fits))
    }
}

/// A key of the access table in lower case, without its tag.
fn untagged(key: &str, tag: &str) -> String {
    let key = key.to_ascii_lowercase();
    key.strip_prefix(tag).map(str::to_owned).unwrap_or(key)
}

fn relays(found: Found<Judgement>) -> Option<Why> {
    (found.value == Judgement::Relay).then_some(found.why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Tables};
    use std::sync::Arc;
    use table::{Access, Answer, Credentials, Hit};

    /// `To:x.example RELAY` and `Connect:client.example RELAY`, as the access table finds them for what is below as well.
    struct Open;

    fn entry<'a>(name: Option<&str>, tag: &str, entry: &str) -> Answer<'a, Found<Judgement>> {
        let why = || Why { source: "access".into(), line: 1, key: format!("{tag}:{entry}") };
        let hit = name.is_some_and(|name| name.ends_with(entry));
        Box::pin(std::future::ready(Ok(hit.then(|| Found { value: Judgement::Relay, why: why() }))))
    }

    impl Access for Open {
        fn connect<'a>(&'a self, _: Client<'a>) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn relay_from<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
            if client.ip.is_some_and(|ip| ip.to_string().starts_with("198.51.100.")) {
                return entry(Some("198.51.100"), "Connect", "198.51.100");
            }
            entry(client.name, "Connect", "client.example")
        }
        fn sender<'a>(&'a self, _: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn recipient<'a>(&'a self, _: Mailbox<'a>, _: bool) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn relay_to<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Judgement>> {
            entry(Some(domain), "To", "x.example")
        }
        fn spam<'a>(&'a self, _: Mailbox<'a>, _: bool) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn peer<'a>(&'a self, _: &'a str, _: Client<'a>) -> Answer<'a, Hit> {
            Box::pin(std::future::ready(Ok(None)))
        }
        fn credentials<'a>(&'a self, _: Client<'a>) -> Answer<'a, Found<Credentials>> {
            Box::pin(std::future::ready(Ok(None)))
        }
    }

    /// Any key, asked in sendmail's order for a recipient or sender: the whole address, without detail, `user@`, the domain and above.
    struct Listed(&'static [(&'static str, Judgement)]);

    impl Listed {
        fn search<'a>(&self, tag: &str, address: Mailbox<'_>) -> Answer<'a, Found<Judgement>> {
            let (user, domain) = (address.user.to_ascii_lowercase(), address.domain.unwrap_or_default());
            let plain = user.split('+').next().unwrap_or(&user);
            let above = domain.match_indices('.').filter_map(|(at, _)| domain.get(at + 1..)).map(str::to_owned);
            let first =
                [format!("{user}@{domain}"), format!("{plain}@{domain}"), format!("{user}@"), domain.to_owned()];
            let hit = first.into_iter().chain(above).find_map(|key| {
                let tagged = format!("{tag}:{key}");
                self.0.iter().find(|(entry, _)| *entry == tagged || *entry == key)
            });
            let found = hit.map(|(key, value)| Found {
                value: value.clone(),
                why: Why { source: "access".into(), line: 1, key: (*key).to_owned() },
            });
            Box::pin(std::future::ready(Ok(found)))
        }
    }

    impl Access for Listed {
        fn connect<'a>(&'a self, _: Client<'a>) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn relay_from<'a>(&'a self, _: Client<'a>) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn sender<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
            self.search("from", address)
        }
        fn recipient<'a>(&'a self, _: Mailbox<'a>, _: bool) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn relay_to<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Judgement>> {
            self.search("to", Mailbox { user: "-", domain: Some(domain) })
        }
        fn relay_to_address<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
            self.search("to", address)
        }
        fn spam<'a>(&'a self, _: Mailbox<'a>, _: bool) -> Answer<'a, Found<Judgement>> {
            entry(None, "", "")
        }
        fn peer<'a>(&'a self, _: &'a str, _: Client<'a>) -> Answer<'a, Hit> {
            Box::pin(std::future::ready(Ok(None)))
        }
        fn credentials<'a>(&'a self, _: Client<'a>) -> Answer<'a, Found<Credentials>> {
            Box::pin(std::future::ready(Ok(None)))
        }
    }

    /// As 8.17.1.9 answers with relay_hosts_only and relaytofulladdress.
    #[tokio::test]
    async fn with_hosts_only_a_whole_address_opens_itself() {
        use Judgement::{Ok, Reject, Relay};
        let entries: &[(&str, Judgement)] = &[
            ("to:full@fa.example", Relay),
            ("to:fu@", Relay),
            ("to:dom.example", Relay),
            ("to:rej@dom.example", Reject),
            ("to:q@par.example", Relay),
            ("to:par.example", Ok),
            ("bare.example", Relay),
            ("full@bare2.example", Relay),
        ];
        let settings = Settings { host: "mx.example.org".into(), relay_hosts_only: true, ..Settings::default() };
        let router = Router::new(settings, Tables { access: Arc::new(Listed(entries)), ..Tables::default() });
        for (to, may) in [
            ("Full@FA.example", true),
            ("full+d@fa.example", false),
            ("fu@any.example", false),
            ("\"fu\"@any.example", false),
            ("x@fa.example", false),
            ("x@dom.example", true),
            ("x@a.dom.example", false),
            ("rej@dom.example", false),
            ("rej+x@dom.example", true),
            ("fu@dom.example", true),
            ("q@par.example", true),
            ("q+x@par.example", false),
            ("x@bare.example", true),
            ("full@bare2.example", false),
        ] {
            let found = router.relay_to(&Address::parse(to).unwrap()).await.unwrap();
            assert_eq!(found.is_some(), may, "{to} {found:?}");
        }
    }

    /// As 8.17.1.9 answers with relay_mail_from, relay_mail_from of domains, relay_local_from.
    #[tokio::test]
    async fn senders_are_judged_by_their_canonical_form() {
        use Judgement::Relay;
        let entries: &[(&str, Judgement)] = &[
            ("from:boss@", Relay),
            ("from:b@full.example", Relay),
            ("from:domain.example", Relay),
            ("u@bare.example", Relay),
        ];
        let stranger = Client { ip: Some("198.51.100.9".parse().unwrap()), name: None };
        let base = Settings { host: "mx.example.org".into(), ..Settings::default() };
        let mail = Settings { relay_mail_from: true, ..base.clone() };
        let domain = Settings { relay_mail_from_domain: true, ..mail.clone() };
        let local = Settings { relay_local_from: true, ..base };
        for (from, expected) in [
            ("boss@any.example", [false, false, false]),
            ("b@Full.example.", [true, true, false]),
            ("b+x@full.example", [true, true, false]),
            ("b%full.example@mx.example.org", [true, true, false]),
            ("\"b@full.example\"@mx.example.org", [true, true, false]),
            ("full.example!b", [true, true, false]),
            ("x@domain.example", [false, true, false]),
            ("x@a.domain.example", [false, true, false]),
            ("u@bare.example", [false, false, false]),
            ("boss%far.example@mx.example.org", [false, false, false]),
            ("far.example!u@mx.example.org", [false, false, false]),
            ("u@mx", [false, false, true]),
            ("u@localhost", [false, false, true]),
            ("u", [false, false, false]),
        ] {
            for (settings, expected) in [&mail, &domain, &local].into_iter().zip(expected) {
                let tables = Tables { access: Arc::new(Listed(entries)), ..Tables::default() };
                let router = Router::new(settings.clone(), tables);
                let found = router.relay_from(stranger, &Address::parse(from).unwrap()).await.unwrap();
                assert_eq!(found.is_some(), expected, "{from} {found:?}");
            }
        }
    }

    #[tokio::test]
    async fn hosts_only_is_for_the_access_table_as_well() {
        for relay_hosts_only in [false, true] {
            let settings = Settings { host: "mx.example.org".into(), relay_hosts_only, ..Settings::default() };
            let router = Router::new(settings, Tables { access: Arc::new(Open), ..Tables::default() });
            for (to, below) in [("u@X.example", false), ("u@a.X.example", true), ("u@a.b.X.example", true)] {
                let may = router.relay_to(&Address::parse(to).unwrap()).await.unwrap().is_some();
                assert_eq!(may, !(below && relay_hosts_only), "{to}");
            }
            for (ip, name, expected) in [
                ("192.0.2.9", Some("Client.example"), true),
                ("192.0.2.9", Some("a.client.example"), !relay_hosts_only),
                ("198.51.100.9", Some("a.client.example"), true),
                ("198.51.100.9", None, true),
                ("192.0.2.9", None, false),
            ] {
                let name = name.map(str::to_lowercase);
                let client = Client { ip: Some(ip.parse().unwrap()), name: name.as_deref() };
                let sender = Address::parse("a@far.example").unwrap();
                assert_eq!(router.relay_from(client, &sender).await.unwrap().is_some(), expected, "{ip} {name:?}");
            }
        }
    }
}
