//! `postrider-keeper`: the privileged process. See the library.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(keeper::run())
}
