//! The engine's programs. Alone sees both `config` and `compat`: it wires the crates together and decides nothing.
//!
//! | file | what |
//! |---|---|
//! | `role` | which program this is: by name, by first argument; the sibling beside it or itself |
//! | `plan` | `postrider plan`: the configuration as the keeper needs it |
//! | `binding` | what a plan names, bound and made, for the keeper |
//! | `background` | `postrider keeper`: becoming or starting the keeper |
//! | `engine` | the unprivileged server process |
//! | `sandbox` | what it may still reach |
//! | `link`, `brought` | its socket to the keeper, and what comes through it at a start |
//! | `trust` | certificates and key, out of its inputs |
//! | `check` | `postrider check` |
//! | `outward` | agents for delivering |
//! | `drop_folder` | which entries of the drop folder are taken when |
//! | `input` | files that come through it |
//! | `live`, `lists` | tables and lists that follow their files |
//! | `unlisted` | who may be in a list that is not known |
//! | `kind`, `tables` | kinds of tables; everything the router asks, put together |
//! | `stranger` | tables that belong to somebody else |
//! | `renaming` | domaintable, bitdomain and uucpdomain as one |
//! | `routes` | what delivering asks of them |
//! | `people` | accounts, asked of `postrider-users` |
//! | `clock`, `logger` | the real clock, the real log |
//! | `tally` | statistics and host status, out of the log's events |
//! | `names`, `seats` | DNS and the number of sessions, as a reload changes them |
//! | `log_file` | whether the engine can open its log |
//! | `problem` | what is wrong in a table's lines |
//! | `snapshot` | the router of a configuration, tables read once |
//! | `explain`, `server`, `forward`, `verify`, `sysexits` | `postrider explain`, `sendmail -bv` |
//! | `program` | `makemap`, `newaliases`, `editmap`, `praliases` |
//! | `test_mode` | `sendmail -bt` |
//! | `status` | `hoststat`, `purgestat`, `mailstats` |
//! | `output` | what commands print |
//! | `offline` | the spool for `mailq` without an engine |
//! | `operate`, `settings` | `postrider queue …`, `postrider config …` |
//! | `tour` | `postrider try` |

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod background;
mod binding;
mod brought;
mod check;
mod clock;
mod drop_folder;
mod engine;
mod explain;
mod forward;
mod input;
mod kind;
mod link;
mod lists;
mod live;
mod log_file;
mod logger;
mod names;
mod offline;
mod operate;
mod output;
mod outward;
mod people;
mod plan;
mod problem;
mod program;
mod renaming;
pub mod role;
mod routes;
mod sandbox;
mod seats;
mod server;
mod settings;
mod sink;
mod snapshot;
mod spool;
mod status;
mod stranger;
mod sysexits;
mod system;
mod tables;
mod tally;
mod test_mode;
#[cfg(test)]
mod told;
mod tour;
mod trust;
mod unlisted;
mod verify;
mod way;
