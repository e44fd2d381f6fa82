//! Sessions out: SMTP, hand-over to agents; results, bounces, warnings.

mod settings;

pub use settings::{Settings, Tls};
