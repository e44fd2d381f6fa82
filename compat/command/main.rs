//! The program `sendmail` (also `mailq`, `newaliases`, … by the name it is called with). Everything is in the library,
//! because `postrider sendmail …` runs the same code.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(compat_command::run(std::env::args_os()))
}
