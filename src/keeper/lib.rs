//! The privileged process: starts and ends the engine, `postrider-users` and agents; opens inputs and drop entries.
//! It parses no mail, no network data and no KDL (`postrider plan` does), calls no NSS, and can be read in one sitting.
//!
//! Start with [`run`]; the loop is in `keeper.rs`. Design: DESIGN §2.

mod children;
mod drop_folder;
mod keeper;
mod log;
mod open;
mod plan;
mod start;

/// Why the keeper ends with an error, and its exit code (sysexits).
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Error {
    exit: u8,
    text: String,
}

/// 70 the engine, 71 the system, 75 what may pass by itself, 78 the configuration or what it names.
fn failed<E: std::fmt::Display>(exit: u8, what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error { exit, text: format!("{what}: {error}") }
}

/// `postrider-keeper`, without arguments: `postrider plan` finds the configuration by the environment, operators use
/// `postrider keeper`. Returns when the server has been stopped, or could not start, with the exit code.
#[must_use]
pub fn run() -> u8 {
    let outcome =
        start::prepare().map_err(failed(71, "inherited state")).and_then(|()| keeper::Keeper::start()?.serve());
    outcome.unwrap_or_else(|error| {
        log::error(&error.to_string());
        error.exit
    })
}
