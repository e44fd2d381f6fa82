//! What the processes say to each other: frames of the local sockets, descriptor passing, the drop file.
//!
//! No runtime and no other crate of ours, so that the keeper and the agents stay small. Every message is a
//! frame: length (u32, little endian, of what follows), kind (u8), payload. Kind [`frame::MESSAGE`] is a
//! postcard-encoded enum of this crate, kind [`frame::DATA`] raw message content. A frame never exceeds
//! [`frame::LIMIT`]; a longer one is a protocol error, never an allocation.
//!
//! | socket | from → to | module |
//! |---|---|---|
//! | submission (`submit`) | `sendmail` → engine | [`submit`] |
//! | control (`control`) | operator's commands → engine | [`operator`] |
//! | fd 3 of the engine | keeper ↔ engine | [`keep`] |
//! | fd 3 of an agent | engine ↔ agent | [`agent`] |
//! | fd 3 of `postrider-users` | engine ↔ users | [`account`] |

pub mod account;
pub mod agent;
pub mod frame;
pub mod keep;
pub mod link;
pub mod operator;
pub mod plan;
pub mod seat;
pub mod submit;

pub use frame::{Error, Frame};
