//! This host's certificate and key, and those who vouch for others: read from the inputs of the keeper at the start and at a reload. Called by
//! `engine`, and by `config check`.

use crate::brought::Brought;
use call::keep::InputState;
use call::plan::Input;
use config::{Config, EngineSettings};
use mail::log::{Event, Log};
use receive::Tls;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Display, Path};
use std::sync::Arc;
use tls::Authorities;

/// What the two sides of SMTP need.
pub(crate) struct Trust {
    /// `None` without a certificate.
    pub(crate) tls: Option<Tls>,
    pub(crate) authorities: Arc<Authorities>,
}

/// Reads them. Authorities that cannot be read are told, and then nobody's certificate can be judged: mail that demands it waits, whatever its
/// entry says (`mail::Verify::Temp`).
///
/// # Errors
/// If there should be a certificate and there is none that can be used.
pub(crate) fn load(settings: &EngineSettings, brought: &mut Brought, log: &dyn Log) -> anyhow::Result<Trust> {
    let authorities = settings.receive.authorities.map_or_else(Authorities::default, |number| {
        let read = pem(brought, number).and_then(|pem| Authorities::from_pem(&pem).map_err(|error| error.to_string()));
        read.unwrap_or_else(|error| {
            let file = settings.inputs.get(usize::from(number)).map_or("tls authorities", String::as_str);
            log.write(&Event::Server {
                text: format!("{file}: {error}; no certificate can be verified, and what demands it waits"),
            });
            Authorities::default()
        })
    });
    let authorities = Arc::new(authorities);
    let Some((certificate, key)) = settings.receive.tls else { return Ok(Trust { tls: None, authorities }) };
    let mut part = |number, what| pem(brought, number).map_err(|error| anyhow::anyhow!("tls {what} {error}"));
    let (chain, key) = (part(certificate, "certificate")?, part(key, "key")?);
    let tls = Tls::new(&chain, &key, Arc::clone(&authorities)).map_err(|text| anyhow::anyhow!("tls: {text}"))?;
    Ok(Trust { tls: Some(tls), authorities })
}

/// For `config check`, whose caller opens the files himself: what is surprising.
///
/// # Errors
/// What keeps the engine from starting.
pub(crate) fn check(config: &Config) -> Result<Vec<String>, String> {
    let (mut problems, mut authorities) = (Vec::new(), Authorities::default());
    if let Some(number) = config.receive.authorities {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path(config, number));
        let pem = open(config, number).map_err(|error| told(&error));
        match pem.and_then(|pem| Authorities::from_pem(&pem).map_err(|error| told(&error))) {
            Ok(listed) => authorities = listed,
            Err(why) => problems.push(format!("{why}; no certificate can be verified, and what demands it waits")),
        }
    }
    let Some((certificate, key)) = config.receive.tls else { return Ok(problems) };
    let mut parts = Vec::new();
    for number in [certificate, key] {
        match open(config, number) {
            Ok(pem) => parts.push(pem),
            Err(error) => {
                let why = format!("{}: {error}", path(config, number));
                // The keeper opens it as root.
                if error.kind() != ErrorKind::PermissionDenied {
                    return Err(why);
                }
                problems.push(why);
            }
        }
    }
    if let [chain, key] = &parts[..] {
        Tls::new(chain, key, Arc::new(authorities)).map_err(|text| format!("tls: {text}"))?;
    }
    Ok(problems)
}

fn path(config: &Config, number: u16) -> Display<'_> {
    config.inputs.get(usize::from(number)).map_or(Path::new(""), |input| &input.path).display()
}

fn open(config: &Config, number: u16) -> io::Result<Vec<u8>> {
    let Some(input) = config.inputs.get(usize::from(number)) else { return Err(ErrorKind::NotFound.into()) };
    // Opening a FIFO would wait for ever.
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&input.path)?;
    let about = file.metadata()?;
    let watched = Input { path: input.path.clone(), file: input.file, folders: input.folders };
    match watched.distrust(about.mode(), about.gid()) {
        Some(why) => Err(io::Error::other(why.to_string())),
        None => crate::input::read(&file),
    }
}

fn pem(brought: &mut Brought, number: u16) -> Result<Vec<u8>, String> {
    match brought.input(number) {
        // Half a certificate would not parse; one that somebody merely has open is whole.
        (InputState::Open | InputState::Busy, Some(descriptor)) => {
            crate::input::read(&descriptor.into()).map_err(|error| error.to_string())
        }
        (state, _) => Err(format!("cannot be opened ({state:?})")),
    }
}
