//! The access table while a list file is not known: whoever is refused relaying then may be in it, so the answer is "for the time being".
//! Everything else is asked of the table itself. Called by `tables`; a router that has all lists goes without.

use mail::Certificate;
use std::sync::Arc;
use table::{Access, Answer, Client, Credentials, Demand, Features, Found, Hit, Judgement, Mailbox, Unavailable};

/// The table.
pub(crate) struct Unlisted(pub(crate) Arc<dyn Access>);

/// Who is not found may be in the list.
async fn perhaps(answer: Answer<'_, Found<Judgement>>) -> Result<Option<Found<Judgement>>, Unavailable> {
    let none = || Unavailable("a list file cannot be read".into());
    answer.await?.ok_or_else(none).map(Some)
}

impl Access for Unlisted {
    fn connect<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        self.0.connect(client)
    }
    fn relay_from<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        self.0.relay_from(client)
    }
    fn sender<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        self.0.sender(address)
    }
    fn recipient<'a>(&'a self, address: Mailbox<'a>, local: bool) -> Answer<'a, Found<Judgement>> {
        self.0.recipient(address, local)
    }
    fn relay_to<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Judgement>> {
        Box::pin(perhaps(self.0.relay_to(domain)))
    }
    fn relay_to_address<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        Box::pin(perhaps(self.0.relay_to_address(address)))
    }
    fn spam<'a>(&'a self, address: Mailbox<'a>, local: bool) -> Answer<'a, Found<Judgement>> {
        self.0.spam(address, local)
    }
    fn peer<'a>(&'a self, tag: &'a str, peer: Client<'a>) -> Answer<'a, Hit> {
        self.0.peer(tag, peer)
    }
    fn credentials<'a>(&'a self, server: Client<'a>) -> Answer<'a, Found<Credentials>> {
        self.0.credentials(server)
    }
    fn encryption<'a>(&'a self, server: bool, peer: Client<'a>) -> Answer<'a, Found<Demand>> {
        self.0.encryption(server, peer)
    }
    fn encryption_for<'a>(&'a self, recipient: Mailbox<'a>) -> Answer<'a, Found<Demand>> {
        self.0.encryption_for(recipient)
    }
    fn features<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Features>> {
        self.0.features(client)
    }
    fn relay_by<'a>(&'a self, certificate: &'a Certificate) -> Answer<'a, Hit> {
        self.0.relay_by(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compat_table::access::{AccessTable, Options};
    use mail::Address;
    use route::{Router, Settings, Tables};
    use table::Inline;

    #[tokio::test]
    async fn who_is_in_no_list_may_be_in_the_one_that_is_not_known() {
        let rows = [("open.test", "RELAY"), ("to:shut.test", "REJECT")].map(|(key, value)| (key.into(), value.into()));
        let access = AccessTable::new(Arc::new(Inline::new("a", rows)), Options::default());
        let access: Arc<dyn Access> = Arc::new(Unlisted(Arc::new(access)));
        let settings = Settings { relay_domains: vec!["planned.test".into()], ..Settings::default() };
        let router = Router::new(settings, Tables { access: Arc::clone(&access), ..Tables::default() });
        let asked = async |domain: &str| router.relay_to(&Address::from_parts("x", Some(domain))).await;
        for domain in ["planned.test", "open.test"] {
            assert!(asked(domain).await.unwrap().is_some(), "{domain}");
        }
        assert!(asked("shut.test").await.unwrap().is_none());
        assert!(asked("other.test").await.is_err());
        // Nothing but relaying waits.
        let mailbox = Mailbox { user: "x", domain: Some("other.test") };
        assert!(
            access.sender(mailbox).await.unwrap().is_none() && access.recipient(mailbox, true).await.unwrap().is_none()
        );
    }
}
