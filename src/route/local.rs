//! Addresses of this host: virtual users, aliases with their owners, and what is left when no alias matches (sendmail's ruleset 5):
//! luser relay, mail hub, local relay, the account. Part of the walk.

use crate::class::{fold, fold_user};
use crate::key::Entry;
use crate::router::setting;
use crate::virtual_mailbox::is_lock;
use crate::walk::{Circle, Refused, Walk, Within};
use crate::{Key, Owner, Place, Router};
use mail::{Address, Status};
use table::{Account, AliasEntry, Found, Mailbox, Part, Redirect, Unavailable, Why, alias_entries};

impl Router {
    /// Follows a virtual user; false if there is none.
    pub(crate) async fn add_virtual(
        &self,
        walk: &mut Walk,
        address: &Address,
        named: Option<&Why>,
    ) -> Result<bool, Unavailable> {
        let Some(domain) = address.domain().map(|d| d.strip_suffix('.').unwrap_or(d)) else { return Ok(false) };
        let folded = fold(domain);
        // A literal is never a virtual domain; one of ours has become the host's name by now.
        if self.settings().null_client
            || folded.starts_with('[')
            || (self.local_domain(&folded).is_none()
                && self.virtual_domain(&folded).is_none()
                && self.mailbox_domain(&folded).is_none())
        {
            return Ok(false);
        }
        let user = address.user();
        let asked = Mailbox { user: &user, domain: Some(domain) };
        let Some(Found { value, why }) = self.tables().virtual_users.redirect(asked).await? else { return Ok(false) };
        match value {
            Redirect::Refuse(refusal) => {
                walk.refuse(address.clone(), Refused::by_table(refusal, why), named.cloned());
            }
            Redirect::Mailbox(user) if escaped(&user).domain().is_some() => {
                self.follow_virtual(walk, address, &format!("\\{user}"), why).await?;
            }
            Redirect::Mailbox(user) => {
                walk.trace.step("virtual-user", address, &format!("\\{user}"), || why.clone());
                self.add_user(walk, &escaped(&user), Some(why), true).await?;
            }
            Redirect::Address(text) => self.follow_virtual(walk, address, &text, why).await?,
        }
        Ok(true)
    }

    async fn follow_virtual(&self, walk: &mut Walk, from: &Address, text: &str, why: Why) -> Result<(), Unavailable> {
        let next = match virtual_value(text) {
            Ok(next) => next,
            Err((code, status, told)) => {
                let refused = Refused { code, status, text: told.to_owned(), why: why.clone(), exit: None };
                walk.refuse(from.clone(), refused, Some(why));
                return Ok(());
            }
        };
        walk.trace.step("virtual-user", from, &next, || why.clone());
        let key = |a: &Address| format!("{}@{}", fold_user(&a.user()), a.domain_key().unwrap_or_default());
        if key(&next) == key(from) {
            // People write this to exclude one user from a catch-all; sendmail runs into its recursion limit.
            if self.add_virtual_mailbox(walk, &next, Some(&why)).await? {
                return Ok(());
            }
            let plain = Address::from_parts(next.local(), None);
            return self.add_local(walk, &plain, Some(why)).await;
        }
        let within = Within::Virtual(key(from));
        // An alias since then has the last word: it may name its own user.
        let circles =
            walk.path.iter().rposition(|w| *w == within).is_some_and(|at| {
                !walk.path.get(at..).unwrap_or_default().iter().any(|w| matches!(w, Within::Alias(_)))
            });
        if circles || walk.is_too_virtual() {
            let text = "rewrite: excessive recursion (max 50)".to_owned();
            walk.push(from.clone(), Key::Error { status: Status::permanent(4, 6), text }, Some(why.clone()), why);
            return Ok(());
        }
        walk.path.push(within);
        self.add(walk, next, Some(why)).await?;
        walk.path.pop();
        Ok(())
    }

    pub(crate) async fn add_local(
        &self,
        walk: &mut Walk,
        address: &Address,
        named: Option<Why>,
    ) -> Result<(), Unavailable> {
        if address.is_escaped() {
            walk.trace.step("mailbox", address, &address.user(), || setting("backslash", address.local()));
            return self.add_user(walk, address, named, true).await;
        }
        let name = fold_user(&address.user());
        let sticky = self.settings().stickyhost && address.domain().is_some() && !name.contains('+');
        if let Some(hub) = self.mail_hub.as_ref().filter(|_| sticky) {
            walk.push(address.clone(), hub.clone(), named, setting("mail-hub", &hub.to_string()));
            return Ok(());
        }
        let within = Within::Alias(name.clone());
        if walk.path.contains(&within) {
            // `bob: bob` ends at the user.
            let is_own = walk.path.iter().rfind(|w| matches!(w, Within::Alias(_))) == Some(&within);
            return match self.close(walk, address, &name, (named.clone(), !sticky)).await? {
                false if is_own => self.add_user(walk, address, named, !sticky).await,
                _ => Ok(()),
            };
        }
        if let Some(done) = walk.done.get(&name) {
            walk.arrived += usize::from(done.reached);
            walk.trace.step("duplicate", address, &"", || setting("aliases", &name));
            for back_to in walk.closes(&name) {
                let again = Address::from_parts(&quoted(&back_to), None);
                self.close(walk, &again, &back_to, (named.clone(), !sticky)).await?;
            }
            return Ok(());
        }
        match self.alias(&name).await? {
            Some((list, parts)) => self.add_members(walk, address, (name, &list), &parts).await,
            None => self.add_user(walk, address, named, !sticky).await,
        }
    }

    /// Ends a circle back to `name`, which is being expanded: at the nearest name on the way that has an account, as in sendmail. False: there
    /// is none. Then nobody is lost, for its members are being added (`a: \a, b` and `b: \b, a`), unless there is none.
    async fn close(
        &self,
        walk: &mut Walk,
        address: &Address,
        name: &str,
        (named, relayed): (Option<Why>, bool),
    ) -> Result<bool, Unavailable> {
        let account = self.nearest_account(walk, address).await?;
        let taker = account.as_ref().map(|address| fold_user(&address.user()));
        walk.circles.push(Circle { back_to: name.to_owned(), taker });
        let Some(account) = account else {
            walk.trace.step("duplicate", address, &"", || setting("aliases", name));
            walk.cut.insert(name.to_owned(), (address.clone(), named));
            return Ok(false);
        };
        self.add_user(walk, &account, named, relayed).await?;
        Ok(true)
    }

    /// The first of these that has an account: an address that was met again, and the aliases on the way to it, the last one first.
    async fn nearest_account(&self, walk: &Walk, address: &Address) -> Result<Option<Address>, Unavailable> {
        let aliases = walk.path.iter().rev().filter_map(|within| match within {
            Within::Alias(name) => Some(Address::from_parts(&quoted(name), None)),
            _ => None,
        });
        for address in std::iter::once(address.clone()).chain(aliases) {
            let name = fold_user(&address.user());
            let user = name.split_once('+').map_or(name.as_str(), |(user, _)| user);
            if self.tables().accounts.find(user).await?.is_some() {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// The members of an alias. They have its owner as sender, if it has one; a list without one inherits.
    async fn add_members(
        &self,
        walk: &mut Walk,
        address: &Address,
        (name, list): (String, &str),
        parts: &[Part],
    ) -> Result<(), Unavailable> {
        for Part { hit, .. } in parts {
            walk.trace.step("alias", address, &hit.value.replace('\n', ", "), || hit.why.clone());
        }
        let owner = self.owner(walk, list).await?;
        let outer = owner.map(|owner| walk.owner.replace(owner));
        walk.path.push(Within::Alias(name.clone()));
        let before = (walk.circles.len(), walk.arrived);
        let asked = walk.asked.clone();
        self.add_parts(walk, address, parts).await?;
        walk.asked = asked;
        if let Some((from, named)) = walk.cut.remove(&name).filter(|_| walk.arrived == before.1) {
            self.looped(walk, &from, named);
        }
        walk.path.pop();
        walk.finish(name, before);
        if let Some(outer) = outer {
            walk.owner = outer;
        }
        Ok(())
    }

    /// What the tables that have an alias say.
    async fn add_parts(&self, walk: &mut Walk, address: &Address, parts: &[Part]) -> Result<(), Unavailable> {
        let mut any = false;
        for part in parts {
            for entry in alias_entries(&part.hit.value) {
                any = true;
                self.add_entry(walk, address, entry, part).await?;
            }
        }
        if let Some(why) = parts.first().map(|part| &part.hit.why).filter(|_| !any) {
            // Never accepted and forgotten; sendmail bounces it as a broken loop.
            let text = "aliasing/forwarding loop broken (an alias without members)".to_owned();
            let key = Key::Error { status: Status::permanent(4, 6), text };
            walk.push(address.clone(), key, Some(why.clone()), why.clone());
        }
        Ok(())
    }

    /// The sender for the members of `list`: what `owner-list` points to if that is one plain address (`\user` with its backslash, as
    /// sendmail sends it), else that name itself.
    async fn owner(&self, walk: &mut Walk, list: &str) -> Result<Option<Owner>, Unavailable> {
        let name = if list.starts_with("owner-") { "owner-owner".to_owned() } else { format!("owner-{list}") };
        let Some(hit) = self.tables().aliases.look_up(&name).await? else { return Ok(None) };
        let plain = match &alias_entries(&hit.value)[..] {
            [AliasEntry::Address(text)] if !text.contains([',', ':', '/', '|', '"']) => Address::parse(text).ok(),
            [AliasEntry::Mailbox(user)] => Some(escaped(user)),
            _ => None,
        };
        let owner = plain.unwrap_or_else(|| Address::from_parts(&quoted(&name), None));
        let given = self.qualify(&owner);
        let shown = self.shown(Place::EnvelopeSender, &given).await?.map_or_else(|| given.clone(), |(new, _)| new);
        let owner = Owner { given, shown };
        walk.trace.step("owner", &list, &owner, || hit.why);
        Ok(Some(owner))
    }

    async fn add_entry(
        &self,
        walk: &mut Walk,
        parent: &Address,
        entry: AliasEntry,
        Part { hit, table }: &Part,
    ) -> Result<(), Unavailable> {
        let why = &hit.why;
        walk.admit(self.settings().alias_limit).await?;
        walk.asked = match &entry {
            AliasEntry::Address(text) => text.clone(),
            other => other.to_string(),
        };
        let too_deep = self.is_too_deep(walk);
        let key = match &entry {
            AliasEntry::Address(text) => match read(text) {
                Some(address) => return self.add(walk, address, Some(why.clone())).await,
                None => {
                    let text = format!("{text}... bad address in alias");
                    let key = Key::Error { status: Status::permanent(1, 3), text };
                    walk.push(parent.clone(), key, Some(why.clone()), why.clone());
                    return Ok(());
                }
            },
            _ if too_deep => {
                self.looped(walk, parent, Some(why.clone()));
                return Ok(());
            }
            AliasEntry::Mailbox(user) => {
                let address = escaped(user);
                if address.domain().is_some() {
                    return self.add(walk, address, Some(why.clone())).await;
                }
                return self.add_user(walk, &address, Some(why.clone()), true).await;
            }
            AliasEntry::Program(_) => Key::Program,
            AliasEntry::File(_) => Key::File,
            AliasEntry::Include(_) => Key::Include,
        };
        let named = Entry { user: String::new(), detail: String::new(), mark: entry.mark(), file: table.to_string() };
        // Shown, never acted upon.
        let shown = Address::from_parts(&quoted(&entry.to_string()), None);
        walk.push(shown, key(named), Some(why.clone()), why.clone());
        Ok(())
    }

    /// The alias for a local name and the key that hit: `user+detail`, then `user+*`, then `user` (sendmail.md 3.1); then the user data
    /// base, by the whole name.
    async fn alias(&self, name: &str) -> Result<Option<(String, Vec<Part>)>, Unavailable> {
        let user = name.split_once('+').map(|(user, _)| user);
        let keys = [Some(name.to_owned()), user.map(|user| format!("{user}+*")), user.map(str::to_owned)];
        for key in keys.into_iter().flatten().filter(|key| !key.is_empty()) {
            if let Some(parts) = self.tables().aliases.parts(&key).await? {
                return Ok(Some((key, parts)));
            }
        }
        let database = &self.tables().user_database;
        Ok(database.parts(name).await?.map(|parts| (name.to_owned(), parts)))
    }

    /// What is left when there is no alias. `relayed`: luser relay, hub and local relay apply.
    pub(crate) async fn add_user(
        &self,
        walk: &mut Walk,
        address: &Address,
        named: Option<Why>,
        relayed: bool,
    ) -> Result<(), Unavailable> {
        let name = fold_user(&address.user());
        let user = name.split_once('+').map_or(name.as_str(), |(user, _)| user);
        if relayed && !self.local_users.contains(&name) && !walk.path.contains(&Within::Luser) {
            let relays = [(&self.mail_hub, "mail-hub"), (&self.local_relay, "local-relay")];
            let relay = relays.into_iter().find_map(|(key, what)| Some((key.as_ref()?, what)));
            // `\user` is a mailbox here or nobody.
            if let Some(luser) = &self.luser_relay
                && !address.is_escaped()
                && self.tables().accounts.find(user).await?.is_none()
                && !is_always_there(user)
            {
                return self.add_onward(walk, address, luser, "luser-relay", named).await;
            }
            if let Some((key, what)) = relay {
                return self.add_onward(walk, address, key, what, named).await;
            }
        }
        self.add_account(walk, address, user, named).await
    }

    /// A relay that takes local names: the address gets its host.
    async fn add_onward(
        &self,
        walk: &mut Walk,
        address: &Address,
        key: &Key,
        what: &'static str,
        named: Option<Why>,
    ) -> Result<(), Unavailable> {
        let why = setting(what, &key.to_string());
        let host = match key {
            Key::Local { user, .. } => {
                let next = Address::from_parts(&quoted(user), None);
                walk.trace.step(what, address, &next, || why.clone());
                walk.path.push(Within::Luser);
                Box::pin(self.add_local(walk, &next, Some(why))).await?;
                walk.path.pop();
                return Ok(());
            }
            Key::Error { status, text } => {
                let code = if status.is_permanent() { 550 } else { 451 };
                let refused = Refused { code, status: *status, text: text.clone(), why, exit: None };
                walk.refuse(address.clone(), refused, named);
                return Ok(());
            }
            Key::Relay { host, mx, .. } => Some((host, *mx)),
            Key::Relays { hosts, .. } => hosts.first().map(|relay| (&relay.host, relay.mx)),
            Key::Mx { domain } => Some((domain, true)),
            _ => None,
        };
        let domain = host.map(|(host, mx)| match host.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V6(_)) => format!("[IPv6:{host}]"),
            Err(_) if mx => host.clone(),
            Ok(std::net::IpAddr::V4(_)) | Err(_) => format!("[{host}]"),
        });
        let moved = domain.map_or_else(|| address.clone(), |domain| address.at_domain(&domain));
        walk.push(moved, key.clone(), named, why);
        Ok(())
    }

    /// The account itself, or one of the two names that always work.
    async fn add_account(
        &self,
        walk: &mut Walk,
        address: &Address,
        user: &str,
        named: Option<Why>,
    ) -> Result<(), Unavailable> {
        let mut found = self.tables().accounts.find(user).await?;
        if found.is_none() && is_always_there(user) {
            // RFC 5321 4.5.1: postmaster is always deliverable; without an alias it is root.
            let root = Within::Alias("root".into());
            if let Some(parts) = self.tables().aliases.parts("root").await?
                && !walk.path.contains(&root)
            {
                for Part { hit, .. } in &parts {
                    walk.trace.step("alias", address, &hit.value.replace('\n', ", "), || hit.why.clone());
                }
                walk.path.push(root);
                Box::pin(self.add_parts(walk, address, &parts)).await?;
                walk.path.pop();
                return Ok(());
            }
            found = self.tables().accounts.find("root").await?;
        }
        match found {
            Some(account) if !self.may_receive(&account) => {
                let why = setting("account", &format!("{} (uid {}) may not receive mail", account.name, account.uid));
                let key = Key::Error { status: Status::permanent(1, 1), text: "User unknown".into() };
                walk.push(address.clone(), key, named, why);
            }
            Some(account) => {
                let why = setting("account", &format!("{} (uid {})", account.name, account.uid));
                let written =
                    if address.is_escaped() { address.local().to_owned() } else { address.user().into_owned() };
                let name = fold_user(&address.user());
                // The detail may choose the user's `.forward`; the agent lets it choose no folder.
                let detail = name.split_once('+').map_or("", |(_, detail)| detail).to_owned();
                // Root has a mailbox and nothing else: no agent asks for a `.forward` as root.
                let plain = address.is_escaped() || account.uid == 0;
                let key = Key::Local { user: account.name, detail, plain };
                walk.push_user(key, written, named, why);
            }
            None => {
                let key = Key::Error { status: Status::permanent(1, 1), text: "User unknown".into() };
                walk.push(address.clone(), key, named, setting("accounts", user));
            }
        }
        Ok(())
    }

    /// Whether an agent would deliver for the account (`mailbox/identity.rs` says so again): what never can be delivered is not accepted.
    fn may_receive(&self, account: &Account) -> bool {
        let settings = self.settings();
        let open = account.uid == 0 || account.uid >= settings.min_uid;
        open && settings.engine_uid != Some(account.uid) && !is_lock(&account.name)
    }

    /// Whether what an alias names here is one alias too many away, whatever it is.
    pub(crate) fn is_too_deep(&self, walk: &Walk) -> bool {
        walk.aliases_deep() > self.settings().alias_depth.max(1) as usize
    }

    pub(crate) fn looped(&self, walk: &mut Walk, address: &Address, named: Option<Why>) {
        let (deep, most) = (walk.aliases_deep(), self.settings().alias_depth);
        let mut text = "aliasing/forwarding loop broken".to_owned();
        if self.is_too_deep(walk) {
            text.push_str(&format!(" ({deep} aliases deep; {most} max)"));
        }
        let why = named.clone().unwrap_or_else(|| setting("aliases", address.as_str()));
        walk.push(address.clone(), Key::Error { status: Status::permanent(4, 6), text }, named, why);
    }
}

fn is_always_there(user: &str) -> bool {
    user == "postmaster" || user == "mailer-daemon"
}

/// An address in a table: a plain one, or one in brackets, perhaps with a source route, which is dropped.
fn read(text: &str) -> Option<Address> {
    let text = text.trim();
    let address = Address::parse(text).ok().or_else(|| {
        let path = mail::path::forward_path(text).ok()?;
        path.rest.trim().is_empty().then_some(path.address)
    });
    address.filter(|address| !address.is_null())
}

/// `\user`, `\user@host`: no alias is asked about it, and a hub that gets it with its backslash asks none either.
pub(crate) fn escaped(user: &str) -> Address {
    read(&format!("\\{user}")).unwrap_or_else(|| Address::from_parts(&quoted(user), None))
}

/// The address that a virtual user's value is, or reply code, status and text. Programs, files and lists need an alias.
fn virtual_value(text: &str) -> Result<Address, (u16, Status, &'static str)> {
    let start = text.trim_start().trim_start_matches('"');
    let refused = |told| Err((550, Status::permanent(7, 1), told));
    if start.starts_with('|') {
        return refused("Cannot mail directly to programs");
    }
    if start.starts_with('/') {
        return refused("Cannot mail directly to files");
    }
    if start.get(..9).is_some_and(|tag| tag.eq_ignore_ascii_case(":include:")) {
        return refused("Cannot mail directly to :include:s");
    }
    read(text).ok_or((553, Status::permanent(1, 3), "Invalid route address"))
}

/// A name as a local part: quoted if it holds anything but atom characters.
#[must_use]
pub fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
