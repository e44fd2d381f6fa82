//! The router that a configuration makes, with its tables read once by the caller himself: for `explain`, `verify` and `config check`.
//! The engine's tables are `live`.

use crate::kind::{Raw, access_options, as_aliases, complete, registry};
use crate::people::account;
use crate::problem::problems;
use call::account::Outcome;
use call::plan::Input;
use compat_table::check::{Format, check};
use config::{Config, TableFiles, Warning};
use mail::Address;
use route::Router;
use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use table::{Account, Accounts, Answer, Empty, Hit, Lined, Registry, Source, Table, Unavailable};

/// Configuration, router, and what is wrong with either.
pub(crate) struct Snapshot {
    pub(crate) config: Config,
    pub(crate) router: Arc<Router>,
    /// The tables themselves, by sendmail's names.
    pub(crate) maps: Vec<(String, Arc<dyn Table>)>,
    /// About the configuration.
    pub(crate) warnings: Vec<Warning>,
    /// About the tables, each `file:line: text`.
    pub(crate) problems: Vec<String>,
}

/// A table that cannot be read.
struct Broken(String);

impl Table for Broken {
    fn look_up<'a>(&'a self, _key: &'a str) -> Answer<'a, Hit> {
        Box::pin(std::future::ready(Err(Unavailable(self.0.clone()))))
    }
}

/// Accounts by getpwnam in this process: it is short-lived and may wait.
struct Names;

impl Accounts for Names {
    fn find<'a>(&'a self, name: &'a str) -> Answer<'a, Account> {
        let found = match users::find(name) {
            Outcome::Found(found) => Ok(Some(account(found))),
            Outcome::NotFound => Ok(None),
            Outcome::Unavailable(text) => Err(Unavailable(text)),
        };
        Box::pin(std::future::ready(found))
    }
}

/// A file that cannot be used.
struct Closed {
    why: String,
    /// Whoever asks may not read it.
    denied: bool,
}

impl Closed {
    fn new(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self { why: format!("{}: {why}", path.display()), denied: false }
    }
}

/// Reads tables and keeps what is wrong with them.
struct Reading<'a> {
    config: &'a Config,
    kinds: Registry,
    problems: RefCell<Vec<String>>,
    /// For `config check`: whether anybody asks virtual users for a domain.
    is_known: Option<&'a dyn Fn(&str) -> bool>,
}

impl Reading<'_> {
    /// Opens an input as the keeper would: `None` if there is no such file.
    fn open(&self, number: u16) -> Result<Option<File>, Closed> {
        let Some(input) = self.config.inputs.get(usize::from(number)) else { return Ok(None) };
        let told = |why: &dyn std::fmt::Display| Closed::new(&input.path, why);
        let watched = Input { path: input.path.clone(), file: input.file, folders: input.folders };
        // Opening a FIFO would wait for ever.
        let file = match File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&input.path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                // Who may put it there decides what it says.
                let folder = watched.distrust(0, 0).map(|why| told(&why).why);
                self.problems.borrow_mut().extend(folder);
                return Ok(None);
            }
            Err(error) => {
                return Err(Closed { denied: error.kind() == ErrorKind::PermissionDenied, ..told(&error) });
            }
        };
        let about = file.metadata().map_err(|error| told(&error))?;
        if !about.is_file() {
            return Err(told(&"not a regular file"));
        }
        match watched.distrust(about.mode(), about.gid()) {
            Some(why) => Err(told(&why)),
            None => Ok(Some(file)),
        }
    }

    /// A table's text and its compiled form.
    fn both(&self, files: &TableFiles) -> Result<(Option<File>, Option<File>), String> {
        let open = |number: Option<u16>| number.map(|number| self.open(number)).transpose().map(Option::flatten);
        let text = open(files.text).map_err(|closed| closed.why)?;
        match open(files.compiled) {
            Ok(compiled) => Ok((text, compiled)),
            // As `newaliases` makes it; the text, which whoever asks may read, is what it was made from, or will be.
            Err(Closed { why, denied: true }) if text.is_some() => {
                self.problems.borrow_mut().push(format!("{why}; {} is read instead", files.name));
                Ok((text, None))
            }
            Err(closed) => Err(closed.why),
        }
    }

    fn load(&self, files: &TableFiles, format: Option<Format>) -> Result<Arc<dyn Table>, String> {
        let (text, compiled) = self.both(files)?;
        if text.is_none() && compiled.is_none() {
            return if files.optional { Ok(Arc::new(Empty)) } else { Err(format!("{}: no such file", files.name)) };
        }
        let source = Source { name: files.name.as_str().into(), text, compiled };
        let copy = |file: &Option<File>| file.as_ref().and_then(|file| file.try_clone().ok());
        let again = Source { name: source.name.clone(), text: copy(&source.text), compiled: copy(&source.compiled) };
        let lined = self.text_alone(&files.kind, &source);
        let table = self.kinds.load(&files.kind, source).map_err(|Unavailable(text)| text)?;
        let table = match lined {
            Some(load) => Arc::new(Lined::new(table, load)),
            None => table,
        };
        let mut all = self.problems.borrow_mut();
        all.extend(table.warnings().iter().cloned());
        // Patterns and networks have lines of their own.
        if let Some((format, is_known)) =
            format.zip(self.is_known).filter(|_| matches!(&files.kind[..], "hash" | "text"))
        {
            let more = problems(format, again, u64::MAX, Some(is_known));
            let new: Vec<String> = more.into_iter().filter(|problem| !all.contains(problem)).collect();
            all.extend(new);
        }
        Ok(table)
    }

    /// How the text of a table is loaded, where its compiled form decides.
    fn text_alone(
        &self,
        kind: &str,
        source: &Source,
    ) -> Option<impl Fn() -> Result<Arc<dyn Table>, Unavailable> + Send + Sync + 'static> {
        let _both = (source.text.as_ref()?, source.compiled.as_ref()?);
        let (kinds, kind, name) = (self.kinds.clone(), kind.to_owned(), Arc::clone(&source.name));
        let text = source.text.as_ref()?.try_clone().ok()?;
        Some(move || {
            let text = text.try_clone().map_err(|error| Unavailable(error.to_string()))?;
            kinds.load(&kind, Source { name: Arc::clone(&name), text: Some(text), compiled: None })
        })
    }

    fn table(&self, files: &TableFiles, format: Option<Format>) -> Arc<dyn Table> {
        if let Some((format, entries)) = format.zip(files.entries.as_ref()).filter(|_| self.is_known.is_some()) {
            // All of them are told with the place of the first.
            let rows = entries.rows.iter().map(|(key, value)| (0, &key[..], &value[..]));
            let told = check(format, &entries.at, rows).into_iter().map(|problem| problem.to_string());
            self.problems.borrow_mut().extend(told);
        }
        let file = files.text.map(|_| {
            self.load(files, format).unwrap_or_else(|why| {
                self.problems.borrow_mut().push(why.clone());
                Arc::new(Broken(why))
            })
        });
        complete(files, file)
    }
}

impl Snapshot {
    /// Reads a configuration and everything it names; `thorough` goes through the tables' lines as well.
    ///
    /// # Errors
    /// The mistakes of the configuration, for printing.
    pub(crate) fn read(path: &Path, thorough: bool) -> Result<Self, String> {
        let (mut config, warnings) = Config::load(path, &crate::system::ask()).map_err(|errors| errors.to_string())?;
        crate::plan::who_receives(&mut config);
        check_config(&config)?;
        let plain = Router::new(config.route.clone(), route::Tables::default());
        let is_known = |domain: &str| plain.relay_domain(&Address::from_parts("x", Some(domain))).is_some();
        let (kinds, problems) = (registry(&config.route), RefCell::default());
        let is_known: Option<&dyn Fn(&str) -> bool> = if thorough { Some(&is_known) } else { None };
        let reading = Reading { config: &config, kinds, problems, is_known };
        let named = &config.tables;
        let access = Format::Access(access_options(config.access));
        let perhaps =
            |files: &Option<TableFiles>, format| files.as_ref().map(|files| reading.table(files, Some(format)));
        let raw = Raw {
            union: named.union,
            aliases: named.aliases.iter().map(|files| as_aliases(files, reading.table(files, None))).collect(),
            virtual_users: perhaps(&named.virtual_users, Format::VirtualUsers),
            virtual_mailboxes: perhaps(&named.virtual_mailboxes, Format::VirtualMailboxes),
            mailers: perhaps(&named.mailers, Format::Mailers),
            access: perhaps(&named.access, access),
            auth_info: perhaps(&named.auth_info, Format::AuthInfo),
            domains: perhaps(&named.domains, Format::Domains),
            bitdomain: perhaps(&named.bitdomain, Format::Domains),
            uucpdomain: perhaps(&named.uucpdomain, Format::Domains),
            user_database: perhaps(&named.user_database, Format::UserDatabase),
            generics: perhaps(&named.generics, Format::Generics),
        };
        let problems = reading.problems.into_inner();
        let maps = raw.named();
        let tables = raw.wrap(&config.route.host, config.access, Arc::new(Names));
        let router = Arc::new(Router::new(config.route.clone(), tables));
        Ok(Self { config, router, maps, warnings, problems })
    }
}

/// What only `daemon` can check of a configuration: kinds of tables, and lists that somebody else could have written.
///
/// # Errors
/// All that is wrong, one a line.
pub(crate) fn check_config(config: &Config) -> Result<(), String> {
    let kinds = registry(&config.route);
    let unknown = config.tables.iter().filter(|files| files.text.is_some() && !kinds.knows(&files.kind));
    let mut wrong: Vec<String> =
        unknown.map(|files| format!("{}: there is no table kind \"{}\"", files.name, files.kind)).collect();
    // Tables may be mended while the server runs; lists have become settings by then.
    for file in config.lists.iter().flat_map(|list| &list.files) {
        let Some(input) = config.inputs.get(usize::from(file.input)) else { continue };
        let watched = Input { path: input.path.clone(), file: input.file, folders: input.folders };
        if let Ok(about) = std::fs::metadata(&input.path)
            && let Some(why) = watched.distrust(about.mode(), about.gid())
        {
            wrong.push(format!("{}: error: {why}", input.path.display()));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
