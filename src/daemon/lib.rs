//! The engine's programs. Alone sees both `config` and `compat`: it wires the crates together and decides nothing.
//!
//! | file | what |
//! |---|---|
//! | `role` | which program this is: by name, by first argument; the sibling beside it or itself |
//! | `plan` | `postrider plan`: the configuration as the keeper needs it |
//! | `engine` | the unprivileged server process |
//! | `link` | its socket to the keeper |
//! | `input` | tables and keys that come through it |
//! | `people` | accounts, asked of `postrider-users` |
//! | `clock`, `logger` | the real clock, the real log |
//! | `operate`, `settings` | `postrider queue …`, `postrider config …` |
//! | `tour` | `postrider try` |

mod clock;
mod engine;
mod input;
mod link;
mod logger;
mod operate;
mod people;
mod plan;
pub mod role;
mod settings;
mod sink;
mod system;
mod tour;
