//! `postrider`: the engine, the operator's commands, and every other role when its own program is not beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(daemon::role::main(std::env::args_os().collect()))
}
