//! Senders as others shall see them (`route/masquerade.rs` decides): the envelope's at MAIL or submission, the header's once it has
//! arrived whole. Called by `policy`, `submission`, `content` and `prepare`.

use mail::Address;
use mail::header::{self, Role};
use route::{Place, Router};
use std::collections::HashMap;
use table::Unavailable;

/// Most addresses of one header that are looked up; what comes after them stays as it is.
const ADDRESSES: usize = 10_000;

/// Rewrites headers of one message.
#[derive(Clone)]
pub(crate) struct Rewriter {
    router: std::sync::Arc<Router>,
    /// Names without a domain may stay so: the message stays on this host.
    keeps_bare: bool,
}

impl Rewriter {
    /// For a message to these recipients; none if nothing is rewritten for them.
    pub(crate) fn new(router: &std::sync::Arc<Router>, any_remote: bool) -> Option<Self> {
        let keeps_bare = !any_remote && !router.settings().always_add_domain;
        router.rewrites_for(any_remote).then(|| Self { router: std::sync::Arc::clone(router), keeps_bare })
    }
    /// The header with its addresses as they will be shown.
    pub(crate) async fn header(&self, header: &[u8]) -> Result<Vec<u8>, Unavailable> {
        let mut known: HashMap<(Role, Address), Option<Address>> = HashMap::new();
        for (role, address) in header::parties(header, ADDRESSES) {
            let at_home = self.keeps_bare && address.domain().is_none();
            let key = (role, address);
            if at_home || known.contains_key(&key) {
                continue;
            }
            let place = match role {
                Role::Sender => Place::HeaderSender,
                Role::Recipient => Place::HeaderRecipient,
            };
            let shown = self.router.shown(place, &key.1).await?.map(|(new, _)| new);
            known.insert(key, shown);
        }
        if known.values().all(Option::is_none) {
            return Ok(header.to_vec());
        }
        let new = |role, address: &Address| known.get(&(role, address.clone())).cloned().flatten();
        Ok(header::readdress(header, new))
    }
}

/// The envelope's sender, qualified and as it will be shown.
pub(crate) async fn sender(router: &Router, given: &Address) -> Result<Address, Unavailable> {
    // As given: a name without a domain is looked up in the generics table, whatever their domains, as it is in the header.
    let shown = router.shown(Place::EnvelopeSender, given).await?;
    Ok(shown.map_or_else(|| router.qualify(given), |(new, _)| new))
}
