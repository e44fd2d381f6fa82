//! The configuration: one KDL file in, the engine's settings types out (DESIGN §6). Called by `daemon` alone.
//!
//! [`Config::load`] reads and checks everything and returns all errors at once; [`plan_text`] says what the keeper must do;
//! [`EngineSettings`] travels as JSON through the keeper to the engine.

mod draft;
mod finish;
mod inputs;
mod load;
mod measure;
mod plan;
mod privacy;
mod problem;
mod scalar;
mod schema;
mod setting;
mod show;
mod source;
mod store;
mod table;
mod table_setting;
mod text;
mod trust;

pub use draft::{AccessOptions, Log, LogFormat, MailboxKind, Role, Run};
pub use plan::{COMMAND_LINE, Ids, plan_text};
pub use problem::{Errors, Problem, Severity, Warning};
pub use show::reference;
pub use source::plain;
pub use table::{Entries, List, ListFile, ListName, ListProblem, TableFiles, Tables, fill};
pub use text::socketmap;

use load::Reader;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What the host says about itself; the daemon finds it out, without DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Its name, qualified if it is known.
    pub hostname: String,
    /// The addresses of its interfaces.
    pub interfaces: Vec<IpAddr>,
    /// Its file of certificates of authorities, if it has one.
    pub authorities: Option<String>,
}

/// A socket that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `MTA` or `MSA`, for the log (`daemon=`).
    pub name: String,
    /// Address and port.
    pub address: String,
    /// What it is for.
    pub role: Role,
    /// Whether the server must not start without it.
    pub required: bool,
}

/// A file that the keeper opens for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// Which write bits of its mode make it untrusted (`0o022`, or fewer).
    pub file: u32,
    /// The same for the folders on the way to it.
    pub folders: u32,
}

/// Where local mail is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// mbox or Maildir.
    pub kind: MailboxKind,
    /// Path with `{user}` or `{home}`.
    pub path: String,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The files it was read from, included ones too; also one that is not there.
    pub files: Vec<PathBuf>,
    /// For the receiving side; `tls` has input numbers.
    pub receive: receive::Settings,
    /// For the delivering side.
    pub deliver: deliver::Settings,
    /// For the router.
    pub route: route::Settings,
    /// For the spool.
    pub queue: queue::Settings,
    /// Listeners.
    pub listen: Vec<Listener>,
    /// Files that the keeper opens for the engine; their places are their numbers.
    pub inputs: Vec<Input>,
    /// Tables.
    pub tables: Tables,
    /// Lists, with what they come from; `route` has their members.
    pub lists: Vec<List>,
    /// What is looked up in the access table.
    pub access: AccessOptions,
    /// Local mailboxes.
    pub mailbox: Mailbox,
    /// Mailboxes of virtual domains.
    stores: Vec<draft::Store>,
    /// Processes.
    pub run: Run,
    /// Log.
    pub log: Log,
    /// Paths of the settings that were given.
    given: BTreeSet<String>,
    /// The settings as written.
    draft: draft::Draft,
}

/// Everything the engine is told. Goes as JSON through the keeper, which does not look inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    /// For the receiving side.
    pub receive: receive::Settings,
    /// For the delivering side.
    pub deliver: deliver::Settings,
    /// For the router.
    pub route: route::Settings,
    /// For the spool.
    pub queue: queue::Settings,
    /// Listeners in the order of their descriptors, optional ones included.
    pub listen: Vec<Listener>,
    /// Paths of the inputs by number, for provenance only: the engine opens none of them.
    pub inputs: Vec<String>,
    /// Tables.
    pub tables: Tables,
    /// Lists, with what they come from; `route` has their members as they were when the configuration was read.
    pub lists: Vec<List>,
    /// What is looked up in the access table.
    pub access: AccessOptions,
    /// Log.
    pub log: Log,
}

impl Config {
    /// Reads and checks a configuration file with everything it names. A missing file is an empty one, with a warning.
    ///
    /// # Errors
    /// All that is wrong, in the order of the files.
    pub fn load(path: &Path, system: &System) -> Result<(Self, Vec<Warning>), Errors> {
        let mut reader = Reader::default();
        reader.file(path);
        Self::from_reader(reader, system)
    }

    /// Like [`Config::load`] for a text that is in no file; `name` stands in errors, and `include` starts at the
    /// current folder.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn parse(name: &str, text: &str, system: &System) -> Result<(Self, Vec<Warning>), Errors> {
        let mut reader = Reader::default();
        reader.text(name, text.to_owned());
        Self::from_reader(reader, system)
    }

    fn from_reader(reader: Reader, system: &System) -> Result<(Self, Vec<Warning>), Errors> {
        let (config, reader) = reader.finish(system);
        let (errors, warnings) = reader.sources.into_problems();
        if errors.is_empty() { Ok((config, warnings)) } else { Err(Errors(errors)) }
    }

    /// Whether a word of DontBlameSendmail was given to `trust`.
    #[must_use]
    pub fn trusts(&self, word: &str) -> bool {
        self.draft.trust.iter().any(|given| given == word)
    }

    /// The write bits that make the folders of alias files unsafe.
    #[must_use]
    pub fn unsafe_alias_folders(&self) -> u32 {
        trust::refused(trust::What::Aliases, &self.draft.trust).1
    }
    /// For whom programs and files of aliases run, if that was said.
    #[must_use]
    pub fn default_user(&self) -> Option<&str> {
        self.draft.local.default_user.as_deref()
    }

    /// Where `.forward` files are, with macros; empty: nowhere.
    #[must_use]
    pub fn forward_path(&self) -> &str {
        &self.draft.local.forward
    }

    /// What the engine is told.
    #[must_use]
    pub fn engine_settings(&self) -> EngineSettings {
        EngineSettings {
            receive: self.receive.clone(),
            deliver: self.deliver.clone(),
            route: self.route.clone(),
            queue: self.queue.clone(),
            listen: self.listen.clone(),
            inputs: self.inputs.iter().map(|input| input.path.to_string_lossy().into_owned()).collect(),
            tables: self.tables.clone(),
            lists: self.lists.clone(),
            access: self.access,
            log: self.log.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
