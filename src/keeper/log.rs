//! The keeper's own log: stderr, and syslog when nobody is looking at stderr.

use std::io::{IsTerminal, Write};
use std::os::unix::net::UnixDatagram;

/// Something failed.
pub(crate) fn error(text: &str) {
    // What the engine says can be anybody's bytes (S-54).
    let text: String = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(900).collect();
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(format!("postrider-keeper: {text}\n").as_bytes());
    let syslog = UnixDatagram::unbound().ok().filter(|_| !stderr.is_terminal());
    if let Some(socket) = syslog {
        // Facility mail, priority error.
        let line = format!("<19>postrider-keeper[{}]: {text}", std::process::id());
        // A full or absent syslog holds nothing up.
        let _ = socket.set_nonblocking(true).and_then(|()| socket.send_to(line.as_bytes(), "/dev/log"));
    }
}
