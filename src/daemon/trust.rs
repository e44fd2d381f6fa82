//! This host's certificate and key, and those who vouch for others: read from the inputs of the keeper at the start and at a reload. Called by
//! `engine`.

use crate::brought::Brought;
use call::keep::InputState;
use config::EngineSettings;
use mail::log::{Event, Log};
use receive::Tls;
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

fn pem(brought: &mut Brought, number: u16) -> Result<Vec<u8>, String> {
    match brought.input(number) {
        // Half a certificate would not parse; one that somebody merely has open is whole.
        (InputState::Open | InputState::Busy, Some(descriptor)) => {
            crate::input::read(&descriptor.into()).map_err(|error| error.to_string())
        }
        (state, _) => Err(format!("cannot be opened ({state:?})")),
    }
}
