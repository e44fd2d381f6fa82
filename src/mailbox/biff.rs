//! Tells comsat(8), which tells whoever ran `biff y`, that mail has come: one datagram a message to the biff port of this host. Off unless
//! configured. Called by the loop after the sync; never waits, and nobody hears whether it arrived.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::OnceLock;

/// "biff" in services(5).
const PORT: u16 = 512;

/// Bound to loopback: it reaches nothing else.
static SOCKET: OnceLock<io::Result<UdpSocket>> = OnceLock::new();

/// Makes the socket, as long as that is allowed.
pub(crate) fn prepare() {
    SOCKET.get_or_init(|| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
}

/// Says that messages of `user` begin at these places of his mailbox. Nothing depends on it.
pub(crate) fn tell(user: &str, mailbox: &Path, begun: &[u64]) {
    prepare();
    let Some(Ok(socket)) = SOCKET.get() else { return };
    for at in begun {
        let _ = socket.send_to(datagram(user, mailbox, *at).as_bytes(), (Ipv4Addr::LOCALHOST, PORT));
    }
}

/// `user@offset`, and the mailbox where it is not the one that comsat looks into by itself.
fn datagram(user: &str, mailbox: &Path, at: u64) -> String {
    let usual = ["/var/mail", "/var/spool/mail"].iter().any(|folder| mailbox == Path::new(folder).join(user));
    if usual { format!("{user}@{at}\n") } else { format!("{user}@{at}:{}\n", mailbox.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_comsat_reads_it() {
        assert_eq!(datagram("al", Path::new("/var/mail/al"), 0), "al@0\n");
        assert_eq!(datagram("al", Path::new("/srv/al"), 12), "al@12:/srv/al\n");
    }
}
