//! Message content on its three ways: from DATA ([`DataDecoder`]), from a local program ([`LineEnds`]) and to the next
//! hop ([`Encoder`]). RFC 5321 2.3.8, 4.1.1.4, 4.5.2.
//!
//! `receive`, `compat/command` and `deliver` call these for every byte of every message, so they look for line ends with
//! memchr and copy runs, never bytes. All keep their state between calls: a packet may end anywhere.
//!
//! Canonical content has CRLF line ends, no dot-stuffing, and ends in CRLF unless it is empty.

mod decode;
mod encode;
mod line_ends;
#[cfg(test)]
mod tests;

pub use decode::DataDecoder;
pub use encode::{Encoder, LINE_LIMIT, is_wire_clean};
pub use line_ends::LineEnds;

/// What a scan for bytes that may not stand in content found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Stray {
    bare: bool,
    nul: bool,
}

/// Looks at `run`, which follows a CR if `after_cr`: a CR must be followed by LF and an LF must follow a CR. The last
/// byte's successor is not known here. Written without branches so that it compiles to vector code.
fn stray(after_cr: bool, run: &[u8]) -> Stray {
    let (Some(&first), Some(rest)) = (run.first(), run.get(1..)) else {
        return Stray::default();
    };
    let mut bare = u8::from(after_cr != (first == b'\n'));
    let mut nul = u8::from(first == 0);
    for (&a, &b) in run.iter().zip(rest) {
        bare |= u8::from(a == b'\r') ^ u8::from(b == b'\n');
        nul |= u8::from(b == 0);
    }
    Stray { bare: bare != 0, nul: nul != 0 }
}
