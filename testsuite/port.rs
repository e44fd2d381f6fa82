//! Ports for what a test starts. Called by the server harness, the sink and the zone.
//!
//! Port 0 would take one of the ephemeral range, and a listener that a test closes and opens again could find its port taken by
//! somebody's outgoing connection. These ports lie below that range (Linux: 32768 and up) and each is given once per process.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// First port and how many: above the services of a host, below the ephemeral range.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that nobody listens on, by TCP or UDP, and that this process never gives again.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free() -> u16 {
    // Two test programs at a time begin in different places.
    let start = std::process::id().wrapping_mul(97);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port below the ephemeral range")
}

#[cfg(test)]
mod tests {
    use super::free;

    #[test]
    fn a_port_is_given_once_and_is_no_ephemeral_one() {
        let given: std::collections::HashSet<u16> = (0..200).map(|_| free()).collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|&port| (12_000..32_000).contains(&port)), "{given:?}");
    }
}
