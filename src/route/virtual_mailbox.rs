//! Mailboxes of people without accounts: a domain's users by a table (`virtual-mailboxes`). After virtual users, before what is local. Part of the walk.

use crate::Key;
use crate::Router;
use crate::class::{fold, fold_user};
use crate::router::setting;
use crate::walk::Walk;
use mail::{Address, Status};
use table::{Unavailable, Why};

/// Longest name: it becomes a folder.
const LONGEST: usize = 200;

impl Router {
    /// Adds the mailbox, or says that there is none; false if the domain has none at all.
    pub(crate) async fn add_virtual_mailbox(
        &self,
        walk: &mut Walk,
        address: &Address,
        named: Option<&Why>,
    ) -> Result<bool, Unavailable> {
        let Some(domain) = address.domain().map(|domain| fold(domain.strip_suffix('.').unwrap_or(domain))) else {
            return Ok(false);
        };
        let Some(why) = self.mailbox_domain(&domain) else { return Ok(false) };
        let name = fold_user(&address.user());
        let user = name.split_once('+').map_or(name.as_str(), |(user, _)| user);
        let asked = format!("{user}@{domain}");
        let found = if is_safe(user) { self.tables().virtual_mailboxes.look_up(&asked).await? } else { None };
        match found {
            Some(hit) => {
                walk.trace.step("virtual-mailbox", address, &asked, || hit.why.clone());
                let key = Key::Virtual { user: user.to_owned(), domain: domain.clone() };
                walk.push(address.clone(), key, named.cloned(), hit.why);
            }
            // RFC 5321 4.5.1: every domain has one.
            None if user == "postmaster" => {
                walk.trace.step("virtual-mailbox", address, &user, || why);
                self.add_local(walk, &Address::from_parts(user, None), named.cloned()).await?;
            }
            None => {
                let key = Key::Error { status: Status::permanent(1, 1), text: "User unknown".into() };
                walk.push(address.clone(), key, named.cloned(), setting("virtual-mailboxes", &asked));
            }
        }
        Ok(true)
    }
}

/// Whether a name may become a part of a path; the agent asks the same again.
fn is_safe(user: &str) -> bool {
    let odd = |c: char| c == '/' || c.is_control();
    !user.is_empty() && user.len() <= LONGEST && !user.starts_with('.') && !user.contains(odd) && !is_lock(user)
}

/// Whether a mailbox of that name would be another one's lock file (mbox); the agent asks the same again.
pub(crate) fn is_lock(user: &str) -> bool {
    user.to_ascii_lowercase().ends_with(".lock")
}
