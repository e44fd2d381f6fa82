//! `makemap`, `newaliases`, `editmap`, `praliases`: sendmail's programs (`compat_table::program`) with the alias files of the configuration.

use crate::output::Output;
use crate::plan::configuration;
use compat_table::program::{self, AliasFile, Rebuild};
use config::Config;
use mail::Address;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

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

/// `newaliases [--config FILE]`.
fn newaliases(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let path = match arguments {
        [flag, path] if flag == "--config" => PathBuf::from(path),
        _ => configuration(),
    };
    // Whoever names a configuration of his own rebuilds his own files; the kernel decides.
    if path == Path::new(crate::plan::DEFAULT) && !rustix::process::geteuid().is_root() {
        let _nobody_listens = writeln!(out, "Permission denied (real uid not trusted)");
        return 64;
    }
    let config = match Config::load(&path, &crate::system::ask()) {
        Ok((config, _)) => config,
        Err(errors) => {
            let _nobody_listens = writeln!(err, "{errors}");
            return 78;
        }
    };
    let router = route::Router::new(config.route.clone(), route::Tables::default());
    let rebuild = Rebuild {
        files: &alias_files(&config),
        is_local: &|domain| router.local(&Address::from_parts("x", Some(domain))).is_some(),
        group_writable: config.trusts("GroupWritableAliasFile"),
        world_writable: config.trusts("WorldWritableAliasFile"),
    };
    program::newaliases(&rebuild, out, err)
}

/// The alias files that newaliases makes: those with a compiled form.
fn alias_files(config: &Config) -> Vec<AliasFile> {
    let file = |files: &config::TableFiles| match files.compiled {
        Some(_) => AliasFile::File { path: PathBuf::from(&files.name), optional: false },
        None => AliasFile::Elsewhere(files.kind.clone()),
    };
    config.tables.aliases.iter().map(file).collect()
}
