//! Sessions in: SMTP, the submission socket, the drop folder.

mod settings;

pub use settings::Settings;
