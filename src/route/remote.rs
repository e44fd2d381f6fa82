//! Addresses elsewhere: mailer table, smart host, MX. Part of the walk.

use crate::class::fold;
use crate::local::{escaped, quoted};
use crate::router::setting;
use crate::walk::{Refused, Walk};
use crate::{Key, Router};
use mail::{Address, Status};
use table::{Found, Hop, Unavailable, Why};

impl Router {
    pub(crate) async fn add_remote(
        &self,
        walk: &mut Walk,
        address: &Address,
        named: Option<Why>,
    ) -> Result<(), Unavailable> {
        if let Some(domain) = address.domain().map(fold).filter(|domain| !domain.starts_with('['))
            && let Some(Found { value, why }) = self.tables().mailers.hop(&domain).await?
        {
            return self.add_hop(walk, address, value, named, why).await;
        }
        let (key, what) = match (&self.smart_host, address.domain()) {
            (Some(host), _) => (host.clone(), "smart-host"),
            (None, Some(domain)) => (Key::Mx { domain: fold(domain) }, "mx"),
            (None, None) => (Key::Mx { domain: fold(&self.settings().host) }, "mx"),
        };
        let why = setting(what, &key.to_string());
        walk.push(self.sent(address, &key), key, named, why);
        Ok(())
    }

    /// The address as the next host gets it: `u@h.uucp` is `h!u` there, with our name behind it unless the mailer is `relay`.
    fn sent(&self, address: &Address, key: &Key) -> Address {
        let domain = address.domain().filter(|_| !self.settings().nouucp && !address.local().starts_with('"'));
        let domain = domain.map(|domain| domain.strip_suffix('.').unwrap_or(domain));
        let relay = key.mailer() == "relay";
        // The host's name as it was written.
        let host = domain.and_then(|domain| domain.split_at_checked(domain.len().checked_sub(".uucp".len())?));
        match host.filter(|(_, end)| end.eq_ignore_ascii_case(".uucp")) {
            Some((host, _)) => {
                let domain = Some(&*self.settings().host).filter(|_| !relay);
                Address::from_parts(&format!("{host}!{}", address.local()), domain)
            }
            None => self.qualify(address),
        }
    }

    /// What the mailer table says.
    async fn add_hop(
        &self,
        walk: &mut Walk,
        address: &Address,
        hop: Hop,
        named: Option<Why>,
        why: Why,
    ) -> Result<(), Unavailable> {
        match hop {
            Hop::Smtp { mailer, hosts } => match Key::via(&mailer, &hosts) {
                Some(key) => walk.push(self.sent(address, &key), key, named, why),
                None => walk.push(address.clone(), misconfigured(&format!("bad host for {mailer}")), named, why),
            },
            Hop::Lmtp(place) => match Key::lmtp(&place) {
                Some(key) => walk.push(address.clone(), key, named, why),
                None => walk.push(address.clone(), misconfigured("bad socket or host for lmtp"), named, why),
            },
            Hop::Local(user) => {
                let next = match user.as_deref().map(|user| (user, user.strip_prefix('\\'))) {
                    Some((_, Some(last))) => escaped(last),
                    Some((user, None)) => Address::from_parts(&quoted(user), None),
                    None => Address::from_parts(&quoted(&address.user()), None),
                };
                walk.trace.step("mailer", address, &next, || why.clone());
                return Box::pin(self.add_local(walk, &next, Some(why))).await;
            }
            Hop::Refuse(refusal) => walk.refuse(address.clone(), Refused::by_table(refusal, why), named),
            Hop::Discard => walk.push(address.clone(), Key::Discard, named, why),
            Hop::Unknown(mailer) => {
                walk.push(address.clone(), misconfigured(&format!("unknown mailer {mailer}")), named, why);
            }
        }
        Ok(())
    }
}

/// The administrator must put something right: the mail waits meanwhile.
fn misconfigured(what: &str) -> Key {
    Key::Error { status: Status::temporary(3, 5), text: format!("{what} in mailertable") }
}
