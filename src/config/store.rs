//! Where the mailboxes of virtual domains are, and whose: from the configuration and from the file that it names. Called by `finish.rs`. What
//! stands here decides as whom agents run, so the file is as trusted as the configuration, and read when that is.

use crate::draft::{Draft, Store, StoreKind};
use crate::load::Reader;
use crate::problem::Severity;
use crate::scalar::scalar;
use crate::text::{HostName, StorePath};
use kdl::KdlValue;
use std::collections::HashSet;
use std::path::Path;

/// All of them stand on an agent's command line, bytes.
const MOST: usize = 512 << 10;

impl Reader {
    /// All of them, checked.
    pub(crate) fn stores(&mut self) -> Vec<Store> {
        let draft = self.draft.clone();
        let mut stores =
            Stores { all: Vec::new(), seen: HashSet::new(), local: local(&draft), least: draft.run.min_uid };
        for (n, store) in draft.stores.iter().enumerate() {
            for wrong in stores.add(store.clone()) {
                self.error_at(&format!("virtual-mailboxes.domain#{n}"), &wrong);
            }
        }
        if let Some(file) = &draft.stores_file {
            self.stores_of(file, &mut stores);
        }
        let size: usize = stores.all.iter().map(|store| store.domains.len() * (store.path.len() + 64)).sum();
        if size > MOST {
            self.error_at("virtual-mailboxes", "too many domains with mailboxes");
        }
        stores.all
    }

    fn stores_of(&mut self, file: &str, stores: &mut Stores) {
        let text = match self.sources.read(Path::new(file)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                return self
                    .error_at("virtual-mailboxes.domains-file", &format!("{file}: {}", crate::source::plain(&error)));
            }
        };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = match store(line) {
                Ok(store) => stores.add(store),
                Err(wrong) => vec![wrong],
            };
            for wrong in wrong {
                self.sources.about_line(Severity::Error, file, number, wrong);
            }
        }
    }
}

/// `domain uid gid path [kind]`.
fn store(line: &str) -> Result<Store, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (domain, uid, gid, path, kind) = match words[..] {
        [domain, uid, gid, path] => (domain, uid, gid, path, "maildir"),
        [domain, uid, gid, path, kind] => (domain, uid, gid, path, kind),
        _ => return Err("expected a domain, uid, gid, a path and perhaps \"mbox\" or \"maildir\"".to_owned()),
    };
    let id = |text: &str| {
        let id = text.parse::<u32>().ok().filter(|id| (1..=4_000_000_000).contains(id));
        id.ok_or_else(|| format!("\"{text}\" is no uid or gid, expected a number from 1 to 4000000000"))
    };
    let text = |text: &str| KdlValue::String(text.to_owned());
    Ok(Store {
        domains: vec![scalar::<HostName>(&text(domain))?],
        path: scalar::<StorePath>(&text(path))?,
        uid: id(uid)?,
        gid: id(gid)?,
        kind: scalar::<StoreKind>(&text(kind))?,
    })
}

/// Domains whose users have accounts.
fn local(draft: &Draft) -> HashSet<String> {
    draft.local_domains.iter().flat_map(|names| &names.names).chain(&draft.host).cloned().collect()
}

struct Stores {
    all: Vec<Store>,
    seen: HashSet<String>,
    local: HashSet<String>,
    least: u32,
}

impl Stores {
    /// Takes one; what is wrong with it.
    fn add(&mut self, store: Store) -> Vec<String> {
        let mut wrong = Vec::new();
        if store.domains.is_empty() {
            wrong.push("\"domain\" needs a domain".to_owned());
        }
        if store.domains.len() > 1 && !store.path.contains("{domain}") {
            wrong.push("path= is the same for all these domains; it needs {domain}".to_owned());
        }
        if store.uid < self.least {
            wrong.push("the uid is below \"min-uid\" of \"run\"".to_owned());
        }
        for domain in &store.domains {
            if !self.seen.insert(domain.clone()) {
                wrong.push(format!("\"{domain}\" has its mailboxes already"));
            }
            if self.local.contains(domain) {
                wrong.push(format!("\"{domain}\" is local: its users have accounts"));
            }
        }
        self.all.push(store);
        wrong
    }
}
