//! A line for the system's log. Never waits: a log that is full or not there must not keep a message.

use std::os::unix::net::UnixDatagram;

/// Facility mail with level notice.
const PRIORITY: u8 = (2 << 3) | 5;

/// Logs `text` under the name of `program`; control characters become `?`.
pub(crate) fn log(program: &str, text: &str) {
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _stays_bounded = socket.set_nonblocking(true);
    let text = crate::output::plain(text, 1_000);
    let line = format!("<{PRIORITY}>{program}[{}]: {text}", std::process::id());
    let _nobody_listens = socket.send_to(line.as_bytes(), "/dev/log");
}
