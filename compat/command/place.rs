//! Where the server is to be found: folders and the port, from the environment or their defaults. Nothing set-id runs here
//! (`privilege`), so a caller who sets these only misleads himself.

use crate::privilege::variable;
use std::path::PathBuf;

/// The places.
#[derive(Clone, Debug)]
pub struct Places {
    /// Folder of the sockets `submit` and `control`: `$POSTRIDER_RUN`, `/run/postrider`.
    pub run: PathBuf,
    /// Drop folder: `$POSTRIDER_DROP`, `/var/spool/postrider/drop`.
    pub drop: PathBuf,
    /// Address and port for the last resort: `$POSTRIDER_SMTP`, `127.0.0.1:25`.
    pub smtp: String,
}

impl Places {
    /// From the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let get = |name: &str, default: &str| PathBuf::from(variable(name).unwrap_or_else(|| default.into()));
        Self {
            run: get("POSTRIDER_RUN", "/run/postrider"),
            drop: get("POSTRIDER_DROP", "/var/spool/postrider/drop"),
            smtp: variable("POSTRIDER_SMTP")
                .and_then(|given| given.into_string().ok())
                .unwrap_or_else(|| "127.0.0.1:25".to_owned()),
        }
    }
}
