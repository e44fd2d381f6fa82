//! The files of a configuration: tables, lists, certificate and key get input numbers; list files are read and checked; what is missing
//! or not trusted is told. Called by `finish.rs`.

use crate::Input;
use crate::draft::{Draft, Named, Names};
use crate::finish::USUAL_ALIASES;
use crate::load::Reader;
use crate::problem::Severity;
use crate::table::{Entries, List, ListFile, ListName, TableFiles, Tables, fill};
use crate::text::{SOCKETMAP, kind_and_path};
use crate::trust::{self, What};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The setting, and the kind of its tables.
const ALIASES: &str = "aliases";

/// The inputs so far.
#[derive(Debug)]
pub struct Inputs {
    trust: Vec<String>,
    /// By number.
    pub files: Vec<Input>,
}

impl Inputs {
    /// None yet; `trust` has words of DontBlameSendmail.
    pub fn new(trust: &[String]) -> Self {
        Self { trust: trust.to_vec(), files: Vec::new() }
    }

    fn add(&mut self, path: &str, what: What) -> u16 {
        let (file, folders) = trust::refused(what, &self.trust);
        self.files.push(Input { path: PathBuf::from(path), file, folders });
        // The plan allows far fewer, and says so.
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    fn table(&mut self, text: &str, usual: &str, what: What, optional: bool) -> TableFiles {
        let (kind, path) = kind_and_path(text);
        if kind == SOCKETMAP {
            return without_file(kind, path, optional);
        }
        let (kind, pair) = match kind {
            // What makemap and newaliases are told: the text, and beside it the compiled form.
            "" | "hash" | "btree" | "dbm" | "cdb" | "implicit" => (usual, true),
            // Text of the same format.
            "text" if usual == ALIASES => (usual, false),
            other => (other, false),
        };
        let path = &file_of(kind, path);
        let number = self.add(path, what);
        let compiled = pair.then(|| self.add(&format!("{path}.db"), what));
        TableFiles { text: Some(number), compiled, ..without_file(kind, path, optional) }
    }
}

/// The file that a table's path means: Postfix's tools put `.lmdb` behind it.
fn file_of(kind: &str, path: &str) -> String {
    let suffix = if kind == "lmdb" && !path.ends_with(".lmdb") { ".lmdb" } else { "" };
    format!("{path}{suffix}")
}

fn without_file(kind: &str, name: &str, optional: bool) -> TableFiles {
    TableFiles { kind: kind.to_owned(), name: name.to_owned(), text: None, compiled: None, optional, entries: None }
}

/// Lists as they stand in the draft, with the paths of their settings.
fn written(draft: &Draft) -> [(ListName, &'static str, &Vec<Names>); 8] {
    [
        (ListName::LocalDomains, "local-domains", &draft.local_domains),
        (ListName::RelayDomains, "relay-domains", &draft.relay_domains),
        (ListName::VirtualDomains, "virtual-users.domains", &draft.virtual_domains),
        (ListName::GenericsDomains, "generics.domains", &draft.generics_domains),
        (ListName::MasqueradeDomains, "masquerade.domains", &draft.masquerade_domains),
        (ListName::MasqueradeExceptions, "masquerade.except", &draft.masquerade_exceptions),
        (ListName::ExposedUsers, "masquerade.exposed-users", &draft.exposed_users),
        (ListName::TrustedUsers, "trusted-users", &draft.trusted_users),
    ]
}

impl Reader {
    /// Numbers for the tables; what is missing is told.
    pub(crate) fn tables(&mut self, inputs: &mut Inputs) -> Tables {
        let draft = self.draft.clone();
        let usual = [USUAL_ALIASES.to_owned()];
        let aliases = if draft.aliases.is_empty() { &usual[..] } else { &draft.aliases };
        // The usual ones need not exist if nobody named them. But those that did when this was planned are being replaced: their names are
        // not unknown users.
        let optional = draft.aliases_optional || draft.aliases.is_empty();
        let aliases = aliases.iter().map(|file| {
            let files = inputs.table(file, ALIASES, What::Aliases, optional);
            TableFiles { optional: optional && is_nowhere(&files), ..files }
        });
        let aliases: Vec<TableFiles> = aliases.collect();
        self.check_aliases(&draft, &aliases);
        if let Some(file) = &draft.user_database.file {
            self.no_patterns("user-database", file);
        }
        let mut table = |name: &str, named: &Named| {
            let entries = self.rows(name, named);
            let Some(file) = &named.file else {
                let entries = entries?;
                return Some(TableFiles {
                    entries: Some(entries.clone()),
                    ..without_file("inline", &entries.at, true)
                });
            };
            let files = TableFiles { entries, ..inputs.table(file, "hash", What::Table, named.optional) };
            if !named.optional {
                self.missing(name, &files);
            }
            Some(files)
        };
        Tables {
            aliases,
            union: draft.aliases_union,
            virtual_users: table("virtual-users", &draft.virtual_users),
            virtual_mailboxes: table("virtual-mailboxes", &draft.virtual_mailboxes),
            mailers: table("mailers", &draft.mailers),
            access: table("access", &draft.access),
            auth_info: table("auth-info", &draft.auth_info),
            domains: table("domains", &draft.domains),
            bitdomain: table("bitdomain", &draft.bitdomain),
            uucpdomain: table("uucpdomain", &draft.uucpdomain),
            user_database: table("user-database", &draft.user_database),
            generics: table("generics", &draft.generics),
        }
    }

    /// The entries of a table that stand in the configuration itself.
    fn rows(&mut self, setting: &str, named: &Named) -> Option<Entries> {
        let mut rows = Vec::new();
        for (n, entry) in named.entries.iter().enumerate() {
            match &entry[..] {
                [key, value] => rows.push((key.clone(), value.clone())),
                _ => self.error_at(&format!("{setting}.entry#{n}"), "\"entry\" needs a key and a value"),
            }
        }
        let at = self.sources.show(self.place(&format!("{setting}.entry#0"))?);
        // Without the column.
        let at = at.rsplit_once(':').map_or(&at[..], |(at, _)| at).to_owned();
        Some(Entries { at, rows })
    }

    /// For tables whose values may name programs: `$1` would put what a stranger wrote where commands stand.
    fn no_patterns(&mut self, setting: &str, file: &str) {
        let (kind, _) = kind_and_path(file);
        if matches!(kind, "regexp" | "pcre" | "cidr") {
            self.error_at(setting, &format!("\"{setting}\" cannot be of kind \"{kind}\""));
        }
    }

    fn check_aliases(&mut self, draft: &Draft, tables: &[TableFiles]) {
        for (file, files) in draft.aliases.iter().zip(tables) {
            if files.kind == SOCKETMAP {
                self.error_at(ALIASES, "aliases cannot be asked of a socketmap");
                continue;
            }
            self.no_patterns(ALIASES, file);
            if !draft.aliases_optional {
                self.missing(ALIASES, files);
            }
        }
    }

    /// Tells of a table that has to be there and is not.
    fn missing(&mut self, setting: &str, files: &TableFiles) {
        let there = |path: &str| Path::new(path).try_exists().unwrap_or(true);
        let gone = files.text.is_some()
            && !there(&files.name)
            && (files.compiled.is_none() || !there(&format!("{}.db", files.name)));
        if let Some(place) = self.place(setting).filter(|_| gone) {
            let so = "no such file; mail waits until it is there, unless optional=#true";
            self.sources.warn(place, format!("{}: {so}", files.name));
        }
    }

    /// Numbers for the lists.
    pub(crate) fn lists(&mut self, inputs: &mut Inputs) -> Vec<List> {
        let clients =
            List { name: ListName::RelayClients, members: self.draft.relay_clients.clone(), files: Vec::new() };
        let list = |(name, _, all): (ListName, &str, &Vec<Names>)| List {
            name,
            members: all.iter().flat_map(|names| names.names.iter().cloned()).collect(),
            files: all
                .iter()
                .filter_map(|names| Some((names, names.file.as_ref()?)))
                .map(|(names, file)| ListFile {
                    input: inputs.add(file, What::List),
                    words: names.words,
                    optional: names.optional && !is_something(file),
                })
                .collect(),
        };
        let written = written(&self.draft).into_iter().map(list);
        written.chain([clients]).filter(|list| !list.members.is_empty() || !list.files.is_empty()).collect()
    }

    /// Reads the list files and fills the lists in.
    pub(crate) fn fill(&mut self, route: &mut route::Settings, lists: &[List], inputs: &Inputs) {
        let mut texts = BTreeMap::new();
        let draft = self.draft.clone();
        let named = written(&draft).into_iter().flat_map(|(_, setting, all)| {
            all.iter()
                .enumerate()
                .filter_map(move |(n, names)| Some((format!("{setting}#{n}@file"), names, names.file.as_ref()?)))
        });
        for (setting, names, file) in named {
            match self.sources.read_list(Path::new(file)) {
                Ok(text) => drop(texts.insert(file.clone(), text)),
                Err(error) if names.optional && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.error_at(&setting, &format!("{file}: {}", crate::source::plain(&error))),
            }
        }
        let path =
            |number: u16| inputs.files.get(usize::from(number)).map(|input| input.path.to_string_lossy().into_owned());
        for (number, line, text) in fill(route, lists, |number| texts.get(&path(number)?).cloned()) {
            // The rest of the list works; the engine says the same when it reads the file.
            let text = format!("{text}; left out");
            self.sources.about_line(Severity::Warning, &path(number).unwrap_or_default(), line, text);
        }
    }

    /// Numbers for certificate and key.
    pub(crate) fn tls(&mut self, inputs: &mut Inputs) -> Option<(u16, u16)> {
        let (certificate, key) = (self.draft.certificate.clone(), self.draft.key.clone());
        for (path, file) in [("tls.certificate", &certificate), ("tls.certificate@key", &key)] {
            if let Some(file) = file {
                self.check_key(path, file);
            }
        }
        Some((inputs.add(&certificate?, What::Key), inputs.add(&key?, What::Key)))
    }

    /// A number for the authorities' certificates. Without any, nobody's certificate is trusted.
    pub(crate) fn authorities(&mut self, inputs: &mut Inputs) -> Option<u16> {
        let file = self.draft.authorities.clone()?;
        if !is_something(&file) {
            self.error_at("tls.authorities", &format!("{file}: no such file"));
        }
        Some(inputs.add(&file, What::List))
    }

    fn check_key(&mut self, path: &str, file: &str) {
        match std::fs::metadata(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.error_at(path, &format!("{file}: no such file"));
            }
            Ok(about) if path.ends_with("@key") && about.permissions().mode() & 0o007 != 0 => {
                let text = format!("unsafe permissions: everybody may read the key {file}");
                if let Some(place) = self.place(path) {
                    self.sources.warn(place, text);
                }
            }
            // Unreadable for us: the keeper, which opens it, will say so.
            _ => {}
        }
    }
}

/// Whether there is something of that name, as far as we can see; also a link that leads nowhere just now.
fn is_something(path: &str) -> bool {
    !matches!(Path::new(path).symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// Whether a table has no file at all.
fn is_nowhere(files: &TableFiles) -> bool {
    !is_something(&files.name) && (files.compiled.is_none() || !is_something(&format!("{}.db", files.name)))
}
