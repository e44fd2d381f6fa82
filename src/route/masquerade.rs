//! How senders (and, under allmasquerade, recipients) are shown to others: this host's name for `localhost`, its short name and names without a
//! domain, domain table, generics table, masquerading (sendmail.md 3.6, 3.7, 4.4; sendmail's rulesets 3, 61, 93 and 94). Called by
//! `receive` for envelope and header.
//!
//! **Where and when.** sendmail rewrites at each delivery, by mailer. Its local and its SMTP mailers rewrite alike but for two settings
//! (`always_add_domain`, `local_no_masquerade`), so we do it once, at acceptance: the envelope keeps the sender as given and as sent, the
//! content holds the header as it will be shown. A bounce made here goes to the sender as given, as sendmail's does. What differs: with
//! `local_no_masquerade` a message is left alone only if all its recipients are local.

use crate::Router;
use crate::class::{fold, fold_user};
use crate::router::setting;
use crate::trace::Trace;
use mail::Address;
use table::{Mailbox, Unavailable, Why};

/// Which address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The envelope's sender.
    EnvelopeSender,
    /// From, Sender, Reply-To and the like.
    HeaderSender,
    /// To, Cc and the like.
    HeaderRecipient,
}

impl Router {
    /// Whether the headers of mail to these kinds of recipients may have to be rewritten; if not, nobody has to hold one in memory.
    /// What leaves the host never shows a name without a domain; what stays is read before `localhost` means another host.
    #[must_use]
    pub fn rewrites_for(&self, any_remote: bool) -> bool {
        let settings = self.settings();
        let tables = !settings.masquerade_as.is_empty() || self.generalises || self.renames;
        any_remote || (!settings.local_no_masquerade && (tables || settings.always_add_domain))
    }

    /// The address as others shall see it, with the reason, if that differs.
    ///
    /// # Errors
    /// If a table cannot be asked.
    pub async fn shown(&self, place: Place, address: &Address) -> Result<Option<(Address, Why)>, Unavailable> {
        if address.is_null() {
            return Ok(None);
        }
        let mut trace = Trace::default();
        let plain = self.with_own_domain(address).unwrap_or_else(|| address.clone());
        let Ok(named) = self.named(&mut trace, plain).await? else { return Ok(None) };
        let canonical = without_dot(self.completed(named));
        let settings = self.settings();
        let masked = match place {
            Place::EnvelopeSender => settings.masquerade_envelope,
            Place::HeaderSender => true,
            Place::HeaderRecipient => settings.allmasquerade,
        };
        let changed = if masked { self.masked(&canonical).await? } else { None };
        let new = changed.unwrap_or_else(|| {
            let why = setting("canonical form", address.domain().unwrap_or(&settings.host));
            (self.qualify(&canonical), why)
        });
        Ok(Some(new).filter(|(new, _)| new != address))
    }

    /// Without an `@`, `far.example!user` and `user%far.example` are `user@far.example`.
    fn with_own_domain(&self, address: &Address) -> Option<Address> {
        let (settings, local) = (self.settings(), address.local());
        if address.domain().is_some() || local.starts_with('"') {
            return None;
        }
        let (user, host) = match local.split_once('!').filter(|_| !settings.nouucp) {
            Some((host, user)) => Some((user, host)).filter(|_| host.contains('.'))?,
            None => local.rsplit_once('%').filter(|_| !settings.nopercenthack)?,
        };
        Address::parse(&format!("{user}@{host}")).ok()
    }

    /// Generics, then masquerading.
    async fn masked(&self, address: &Address) -> Result<Option<(Address, Why)>, Unavailable> {
        let host = &self.settings().host;
        let domain = address.domain().map_or_else(|| fold(host), fold);
        let user = address.user();
        if self.generalises && (address.domain().is_none() || self.generic.contains(&domain)) {
            let asked = Mailbox { user: &user, domain: Some(&domain) };
            if let Some(hit) = self.tables().generics.outside(asked).await? {
                return Ok(self.outside(&hit.value).map(|address| (address, hit.why)));
            }
        }
        if self.exceptions.contains(&domain) {
            return Ok(None);
        }
        let shown = self.masquerades(address, &domain).filter(|_| !self.exposed.contains(&fold_user(&user)));
        Ok(shown.map(|why| (address.at_domain(&self.settings().masquerade_as), why)))
    }

    /// A generics value, perhaps with full name or comment; without a domain it gets the masquerade's or the host's.
    fn outside(&self, value: &str) -> Option<Address> {
        let mut listed = mail::list::addresses(value.as_bytes()).into_iter();
        let found = listed.next()?.address.ok().filter(|_| listed.next().is_none())?;
        let settings = self.settings();
        let domain = if settings.masquerade_as.is_empty() { &settings.host } else { &settings.masquerade_as };
        Some(if found.domain().is_none() { found.at_domain(domain) } else { found })
    }

    /// Why senders of this domain are masqueraded, if they are.
    fn masquerades(&self, address: &Address, domain: &str) -> Option<Why> {
        let settings = self.settings();
        if settings.masquerade_as.is_empty() {
            return None;
        }
        if let Some(entry) = self.masqueraded.find(domain) {
            return Some(setting("masquerade-domains", entry));
        }
        let own = address.domain().is_none() || (!settings.limited_masquerade && self.local_domain(domain).is_some());
        own.then(|| setting("masquerade-as", &settings.masquerade_as))
    }
}

/// The address without the trailing dot that keeps it from being looked up.
pub(crate) fn without_dot(address: Address) -> Address {
    match address.domain().and_then(|domain| domain.strip_suffix('.')) {
        Some(domain) => address.at_domain(domain),
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Tables};
    use std::sync::Arc;
    use table::{Answer, Generics, Hit, Table};

    struct Outside(#[allow(dead_code, reason = "a table without a field counts as none")] u8);

    impl Generics for Outside {
        fn outside<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Hit> {
            let value = match address.user {
                "joe" => Some("Joe.Doe@world.example"),
                "ann" => Some("ann.x"),
                "full" => Some("F L <f.l@world.example> (note)"),
                "list" => Some("a@world.example, b@world.example"),
                "remark" => Some("a@world.example # note"),
                _ => None,
            };
            let why = |value: &str| Why { source: "generics".into(), line: 1, key: value.into() };
            let hit = value.map(|value| Hit { value: value.into(), why: why(value) });
            Box::pin(std::future::ready(if address.user == "broken" { Err(Unavailable("x".into())) } else { Ok(hit) }))
        }
    }

    struct Renamed(&'static str);

    impl Table for Renamed {
        fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
            let why = Why { source: "domaintable".into(), line: 1, key: key.into() };
            let hit = (key == self.0).then(|| Hit { value: "new.example".into(), why });
            Box::pin(std::future::ready(Ok(hit)))
        }
    }

    fn settings() -> Settings {
        Settings {
            host: "mx.example.org".into(),
            local_domains: vec!["example.org".into(), "shorty".into()],
            masquerade_as: "example.com".into(),
            masquerade_domains: vec!["inner.example".into()],
            masquerade_exceptions: vec!["keep.inner.example".into()],
            masquerade_entire_domain: true,
            exposed_users: vec!["root".into()],
            ..Settings::default()
        }
    }

    async fn shown(router: &Router, place: Place, address: &str) -> String {
        let address = Address::parse(address).unwrap();
        let shown = router.shown(place, &address).await.unwrap();
        shown.map_or_else(|| address.to_string(), |(new, _)| new.to_string())
    }

    #[tokio::test]
    async fn masquerading_by_class() {
        let r = Router::new(settings(), Tables::default());
        for (from, to) in [
            ("u@mx.example.org", "u@example.com"),
            ("u@Example.ORG", "u@example.com"),
            ("u@inner.example", "u@example.com"),
            ("u@a.inner.example", "u@example.com"),
            ("u@x.keep.inner.example", "u@x.keep.inner.example"),
            ("u@far.example", "u@far.example"),
            ("Root@mx.example.org", "Root@mx.example.org"),
            ("root@inner.example", "root@inner.example"),
            ("u", "u@example.com"),
            ("root", "root@mx.example.org"),
            ("u@localhost", "u@example.com"),
            ("u@[127.0.0.1]", "u@example.com"),
            ("root@localhost", "root@mx.example.org"),
            ("u@mx", "u@example.com"),
            ("root@mx", "root@mx.example.org"),
            ("u@Example.org.", "u@example.com"),
            ("u%inner.example", "u@example.com"),
            ("u%a%far.example", "u%a@far.example"),
            ("u%far.example@mx.example.org", "u%far.example@example.com"),
            ("near!u%far.example", "near!u%far.example@example.com"),
            ("\"u%far.example\"", "\"u%far.example\"@example.com"),
            ("u%", "u%@example.com"),
        ] {
            assert_eq!(shown(&r, Place::HeaderSender, from).await, to, "{from}");
        }
        // What is not masqueraded still never shows `localhost` or a name alone; other local names stay as they are written.
        for (from, to) in [
            ("u@example.org", "u@example.org"),
            ("u@shorty", "u@shorty"),
            ("u@mx.example.org", "u@mx.example.org"),
            ("u@inner.example", "u@inner.example"),
            ("u", "u@mx.example.org"),
            ("u@localhost", "u@mx.example.org"),
            ("u@LOCALHOST.example.org", "u@mx.example.org"),
            ("u@MX", "u@mx.example.org"),
            ("u@mx.", "u@mx"),
            ("u@a.mx", "u@a.mx"),
            ("u@[127.0.0.1]", "u@mx.example.org"),
            ("u@[192.0.2.7]", "u@[192.0.2.7]"),
            ("u@far.example.", "u@far.example"),
        ] {
            assert_eq!(shown(&r, Place::HeaderRecipient, from).await, to);
            assert_eq!(shown(&r, Place::EnvelopeSender, from).await, to);
        }
        let all = Settings { masquerade_envelope: true, allmasquerade: true, limited_masquerade: true, ..settings() };
        let r = Router::new(all, Tables::default());
        assert_eq!(shown(&r, Place::EnvelopeSender, "u@inner.example").await, "u@example.com");
        assert_eq!(shown(&r, Place::HeaderRecipient, "u@inner.example").await, "u@example.com");
        assert_eq!(shown(&r, Place::HeaderSender, "u@example.org").await, "u@example.org");
        assert_eq!(shown(&r, Place::HeaderSender, "u@localhost").await, "u@mx.example.org");
    }

    #[tokio::test]
    async fn generics_come_first_and_only_for_their_domains() {
        let tables = Tables { generics: Arc::new(Outside(1)), ..Tables::default() };
        let with = Settings { generics_domains: vec!["mx.example.org".into()], ..settings() };
        let r = Router::new(with.clone(), tables.clone());
        assert_eq!(shown(&r, Place::HeaderSender, "joe@mx.example.org").await, "Joe.Doe@world.example");
        assert_eq!(shown(&r, Place::HeaderSender, "ann@mx.example.org").await, "ann.x@example.com");
        assert_eq!(shown(&r, Place::HeaderSender, "joe@localhost").await, "Joe.Doe@world.example");
        assert_eq!(shown(&r, Place::HeaderSender, "full").await, "f.l@world.example");
        assert_eq!(shown(&r, Place::HeaderSender, "list@mx.example.org").await, "list@mx.example.org");
        assert_eq!(shown(&r, Place::HeaderSender, "remark@mx.example.org").await, "remark@mx.example.org");
        assert_eq!(shown(&r, Place::HeaderSender, "joe@example.org").await, "joe@example.com");
        assert_eq!(shown(&r, Place::HeaderSender, "joe@a.mx.example.org").await, "joe@a.mx.example.org");
        let broken = Address::parse("broken@mx.example.org").unwrap();
        assert!(r.shown(Place::HeaderSender, &broken).await.is_err());
        let entire = Settings { generics_entire_domain: true, masquerade_as: String::new(), ..with };
        let r = Router::new(entire, tables);
        assert_eq!(shown(&r, Place::HeaderSender, "ann@a.mx.example.org").await, "ann.x@mx.example.org");
    }

    #[tokio::test]
    async fn the_domain_table_changes_every_place() {
        let tables = Tables { domains: Arc::new(Renamed("old.example")), ..Tables::default() };
        let r = Router::new(Settings { host: "mx.example.org".into(), ..Settings::default() }, tables);
        assert!(r.rewrites_for(false));
        for place in [Place::EnvelopeSender, Place::HeaderSender, Place::HeaderRecipient] {
            assert_eq!(shown(&r, place, "u@OLD.example").await, "u@new.example");
            assert_eq!(shown(&r, place, "u@OLD.example.").await, "u@OLD.example");
            assert_eq!(shown(&r, place, "old.example!u").await, "u@new.example");
            assert_eq!(shown(&r, place, "\"old.example!u\"").await, "\"old.example!u\"@mx.example.org");
            assert_eq!(shown(&r, place, "u@a.old.example").await, "u@a.old.example");
        }
        // The table is asked about the short name, but not about what that is short for.
        for (old, new) in [("mx", "u@new.example"), ("mx.example.org", "u@mx.example.org")] {
            let tables = Tables { domains: Arc::new(Renamed(old)), ..Tables::default() };
            let r = Router::new(Settings { host: "mx.example.org".into(), ..Settings::default() }, tables);
            assert_eq!(shown(&r, Place::EnvelopeSender, "u@mx").await, new);
        }
        let plain = Router::new(Settings::default(), Tables::default());
        assert!(plain.rewrites_for(true) && !plain.rewrites_for(false));
    }
}
