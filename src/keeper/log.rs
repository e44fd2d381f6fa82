//! The keeper's own log: stderr, and syslog when nobody is looking at stderr.

use std::io::IsTerminal;
use std::os::unix::net::UnixDatagram;

/// syslog facility mail.
const MAIL: u8 = 2 << 3;

/// Something failed.
pub(crate) fn error(text: &str) {
    write(MAIL | 3, text);
}

/// Something changed.
pub(crate) fn notice(text: &str) {
    write(MAIL | 5, text);
}

fn write(priority: u8, text: &str) {
    // File names from the drop folder are anybody's bytes (S-54).
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(900).collect();
    let mut stderr = std::io::stderr();
    let _ = std::io::Write::write_all(&mut stderr, format!("postrider-keeper: {text}\n").as_bytes());
    if !stderr.is_terminal() {
        let line = format!("<{priority}>postrider-keeper[{}]: {text}", std::process::id());
        if let Ok(socket) = UnixDatagram::unbound() {
            // A full or absent syslog holds nothing up.
            let _ = socket.set_nonblocking(true);
            let _ = socket.send_to(line.as_bytes(), "/dev/log");
        }
    }
}
