//! `postrider-users`: started by the keeper under a uid of its own. See the library.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(users::run())
}
