//! `makemap`, `newaliases`, `editmap`, `praliases`: sendmail's programs (`compat_table::program`) with the alias files of the configuration.

use crate::clock::RealClock;
use crate::logger::Logger;
use crate::output::Output;
use crate::plan::configuration;
use compat_table::program::{self, AliasFile, Rebuild};
use config::Config;
use mail::Address;
use mail::log::{Event, Log as _};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs one of them with the arguments behind its name; returns its exit code.
pub(crate) fn run(name: &str, arguments: &[OsString]) -> u8 {
    let (mut out, mut err) = (Output::standard(), std::io::stderr().lock());
    let code = match name {
        "makemap" => match std::io::stdin().as_fd().try_clone_to_owned() {
            Ok(stdin) => program::makemap(arguments, &File::from(stdin), &mut out, &mut err),
            Err(error) => {
                let _nobody_listens = writeln!(err, "makemap: standard input: {error}");
                66
            }
        },
        "editmap" => program::editmap(arguments, &mut out, &mut err),
        "praliases" => {
            let files = Config::load(&configuration(), &crate::system::ask()).map(|(config, _)| alias_files(&config));
            program::praliases(arguments, &files.unwrap_or_default(), &mut out, &mut err)
        }
        _ => newaliases(arguments, &mut out, &mut err),
    };
    match name {
        // The table is made, whether or not anybody reads how large it is.
        "newaliases" => {
            let _nobody_listens = out.flush();
            code
        }
        // But who asked for a listing did not get it.
        _ => out.finish(code),
    }
}

/// `newaliases [--config FILE] [--alias-file FILES] [--check]`; the last two are sendmail's `-oA` and `-on`.
fn newaliases(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let behind = |flag: &str| arguments.windows(2).find_map(|pair| (pair[0] == flag).then(|| pair[1].clone()));
    let path = behind("--config").map_or_else(configuration, PathBuf::from);
    // Whoever names a configuration of his own rebuilds his own files; the kernel decides.
    if path == Path::new(crate::plan::DEFAULT) && !rustix::process::geteuid().is_root() {
        let _nobody_listens = writeln!(out, "Permission denied (real uid not trusted)");
        return 64;
    }
    let loaded = Config::load(&path, &crate::system::ask()).map_err(|errors| errors.to_string());
    // It names the files that are written here, with root's rights.
    let trusted = loaded.and_then(|(config, _)| match &crate::way::refusals(&config)[..] {
        [] => Ok(config),
        refusals => Err(refusals.join("\n")),
    });
    let config = match trusted {
        Ok(config) => config,
        Err(errors) => {
            let _nobody_listens = writeln!(err, "{errors}");
            return 78;
        }
    };
    let router = route::Router::new(config.route.clone(), route::Tables::default());
    let named = behind("--alias-file").map(|list| AliasFile::list(&list.to_string_lossy()));
    let folders = config.unsafe_alias_folders();
    let rebuild = Rebuild {
        files: &named.unwrap_or_else(|| alias_files(&config)),
        is_local: &|domain| router.local(&Address::from_parts("x", Some(domain))).is_some(),
        group_writable: config.trusts("GroupWritableAliasFile"),
        world_writable: config.trusts("WorldWritableAliasFile"),
        distrust: &|path| distrust(path, folders),
        check: arguments.iter().any(|argument| argument == "--check"),
    };
    let mut said = Vec::new();
    let code = program::newaliases(&rebuild, &mut said, err);
    log(&config, &String::from_utf8_lossy(&said));
    let _nobody_listens = out.write_all(&said);
    code
}

/// What was rebuilt, in sendmail's words, to syslog. Never to the server's log file: if it were made here the server could not write it.
fn log(config: &Config, said: &str) {
    let settings = config::Log { file: None, ..config.log.clone() };
    let Ok(logger) = Logger::new(&settings, Arc::new(RealClock::new())) else { return };
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten();
    let user = user.map_or_else(|| "unknown".to_owned(), |user| user.name);
    for line in said.lines() {
        let Some((file, _)) = line.split_once(": ").filter(|(_, rest)| rest.contains(" aliases, longest ")) else {
            continue;
        };
        logger.write(&Event::Server { text: format!("alias database {file} rebuilt by {user}") });
        logger.write(&Event::Server { text: line.to_owned() });
    }
}

/// The folder on the way to a file in which others could put another one, by the keeper's rules: what it would not read is not made.
fn distrust(path: &Path, refused: u32) -> Option<String> {
    let counted = call::plan::Input::counted();
    let behind = std::fs::canonicalize(path).unwrap_or_default();
    let folders = path.ancestors().skip(1).chain(behind.ancestors().skip(1));
    folders.filter(|folder| !folder.as_os_str().is_empty()).find_map(|folder| {
        let about = folder.metadata().ok()?;
        let why = call::keep::Unsafe::of(true, about.mode(), about.gid(), refused & counted)?;
        Some(format!("{why} {}", folder.display()))
    })
}

/// The alias files that newaliases makes: those with a compiled form.
fn alias_files(config: &Config) -> Vec<AliasFile> {
    let file = |files: &config::TableFiles| match files.compiled {
        Some(_) => AliasFile::File { path: PathBuf::from(&files.name), optional: false },
        None if files.kind == "aliases" => AliasFile::Elsewhere("text".into()),
        None => AliasFile::Elsewhere(files.kind.clone()),
    };
    config.tables.aliases.iter().map(file).collect()
}
