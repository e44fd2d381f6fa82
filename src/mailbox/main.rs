//! `postrider-agent`: started by the keeper for one recipient. See the library.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(mailbox::run(std::env::args_os().skip(1).collect()))
}
