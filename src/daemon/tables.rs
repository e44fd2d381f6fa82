//! Everything the router asks, put together from settings and inputs: live tables in sendmail's look-up orders, live lists. Called by
//! `engine` at the start and at a reload.

use crate::input::Input;
use crate::kind::{Raw, access_options, as_aliases, complete, registry};
use crate::link::Link;
use crate::lists::{LiveLists, Texts};
use crate::live::LiveTable;
use crate::unlisted::Unlisted;
use call::keep::InputState;
use compat_table::check::Format;
use config::{EngineSettings, TableFiles};
use mail::log::Log;
use route::Router;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use table::{Accounts, Registry, Table};
use tokio::task::JoinHandle;

/// What the keeper found for an input number.
pub(crate) type Found = (InputState, Option<OwnedFd>);

/// Tables and lists, loaded, not yet followed.
pub(crate) struct Assembly {
    tables: route::Tables,
    route: route::Settings,
    planned: route::Settings,
    live: Vec<Arc<LiveTable>>,
    lists: LiveLists,
}

/// Tables and lists that are followed; no longer when it is dropped.
#[derive(Default)]
pub(crate) struct Following {
    tables: Vec<Arc<LiveTable>>,
    texts: Texts,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Loads tables one after another.
struct Loading<'a, F> {
    bring: F,
    kinds: Arc<Registry>,
    log: &'a Arc<dyn Log>,
    before: &'a Following,
    live: Vec<Arc<LiveTable>>,
}

impl<F: FnMut(u16) -> Found> Loading<'_, F> {
    fn input(&mut self, number: u16) -> Input {
        Input::new(number, (self.bring)(number))
    }

    async fn table(&mut self, files: &TableFiles, format: Option<Format>) -> Arc<dyn Table> {
        let Some(text) = files.text else { return complete(files, None) };
        let inputs = (self.input(text), files.compiled.map(|number| self.input(number)));
        let same = |old: &&Arc<LiveTable>| (&old.files().name, &old.files().kind) == (&files.name, &files.kind);
        let before = self.before.tables.iter().find(same).cloned();
        // Patterns, networks and what is imported have lines of their own, or none.
        let format = format.filter(|_| matches!(&files.kind[..], "hash" | "text"));
        let live =
            LiveTable::start((files.clone(), format), inputs, Arc::clone(&self.kinds), Arc::clone(self.log), before)
                .await;
        self.live.push(Arc::clone(&live));
        complete(files, Some(live))
    }

    async fn perhaps(&mut self, files: Option<&TableFiles>, format: Format) -> Option<Arc<dyn Table>> {
        match files {
            Some(files) => Some(self.table(files, Some(format)).await),
            None => None,
        }
    }
}

impl Assembly {
    /// Loads everything; `bring` has the inputs, `before` the tables that serve until now.
    pub(crate) async fn make(
        settings: &EngineSettings,
        bring: impl FnMut(u16) -> Found,
        accounts: Arc<dyn Accounts>,
        log: &Arc<dyn Log>,
        before: &Following,
    ) -> Self {
        let mut loading = Loading { bring, kinds: Arc::new(registry(&settings.route)), log, before, live: Vec::new() };
        let named = &settings.tables;
        let mut aliases = Vec::new();
        for files in &named.aliases {
            aliases.push(as_aliases(files, loading.table(files, None).await));
        }
        let raw = Raw {
            aliases,
            union: named.union,
            virtual_users: loading.perhaps(named.virtual_users.as_ref(), Format::VirtualUsers).await,
            virtual_mailboxes: loading.perhaps(named.virtual_mailboxes.as_ref(), Format::VirtualMailboxes).await,
            mailers: loading.perhaps(named.mailers.as_ref(), Format::Mailers).await,
            access: loading.perhaps(named.access.as_ref(), Format::Access(access_options(settings.access))).await,
            auth_info: loading.perhaps(named.auth_info.as_ref(), Format::AuthInfo).await,
            domains: loading.perhaps(named.domains.as_ref(), Format::Domains).await,
            bitdomain: loading.perhaps(named.bitdomain.as_ref(), Format::Domains).await,
            uucpdomain: loading.perhaps(named.uucpdomain.as_ref(), Format::Domains).await,
            user_database: loading.perhaps(named.user_database.as_ref(), Format::UserDatabase).await,
            generics: loading.perhaps(named.generics.as_ref(), Format::Generics).await,
        };
        let mut lists = LiveLists::new(settings, |number| loading.input(number), Arc::clone(log), &before.texts);
        Self {
            tables: raw.wrap(&settings.route.host, settings.access, accounts),
            route: lists.settings(&settings.route),
            planned: settings.route.clone(),
            live: loading.live,
            lists,
        }
    }

    /// This host's names and addresses as they are now.
    pub(crate) fn local(&self) -> route::Local {
        local_names(&self.route)
    }

    /// The router as things are now.
    pub(crate) fn router(&self) -> Router {
        let mut tables = self.tables.clone();
        if !self.lists.is_complete() {
            tables.access = Arc::new(Unlisted(tables.access));
        }
        Router::new(self.route.clone(), tables)
    }

    /// Follows the files. Only after the keeper was told that these inputs are in use: until then it answers questions about
    /// numbers by the old plan. `change` gets a router and the
    /// host's names when a list has changed.
    pub(crate) fn follow(self, link: &Link, change: impl Fn(Router, route::Local) + Send + 'static) -> Following {
        let watch = |table: &Arc<LiveTable>| tokio::spawn(Arc::clone(table).watch(link.clone()));
        let mut tasks: Vec<JoinHandle<()>> = self.live.iter().map(watch).collect();
        let (tables, texts) = (self.tables, self.lists.texts());
        let change = move |route| {
            let local = local_names(&route);
            change(Router::new(route, tables.clone()), local);
        };
        tasks.push(tokio::spawn(self.lists.watch(link.clone(), self.planned, change)));
        Following { tables: self.live, texts, tasks }
    }
}

/// What the delivering side cuts loops by.
fn local_names(route: &route::Settings) -> route::Local {
    let mut names = route.local_domains.clone();
    names.push(route.host.to_lowercase());
    let mut addresses = route.interfaces.clone();
    addresses.retain(|ip| !ip.is_loopback());
    route::Local { names, addresses }
}
