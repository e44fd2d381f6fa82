//! `-v`: what the engine tells of the first attempts at a message, printed as it comes (sendmail.md 1.10; `call::submit` has the dialogue).
//! The message is safe by then, so whatever goes wrong here only ends the show. Called by `deliver`.

use crate::engine::PATIENCE;
use crate::output::{Output, plain};
use call::frame::Connection;
use call::submit::{TOLD, Told, WATCHED_FOR};
use std::time::Instant;

/// Prints until the engine has told all, the time is over, or nobody reads what we print.
pub fn show(mut connection: Connection, output: &mut Output) {
    let until = Instant::now() + WATCHED_FOR + PATIENCE;
    loop {
        output.flush();
        let left = until.saturating_duration_since(Instant::now());
        if output.has_failed() || left.is_zero() || connection.stream().set_read_timeout(Some(left)).is_err() {
            return;
        }
        match connection.message::<Told>() {
            Ok(Some(Told::Line(line))) => output.line(&plain(&line, TOLD)),
            Ok(Some(Told::End { left_out: 0 })) | Ok(None) | Err(_) => return,
            Ok(Some(Told::End { left_out })) => return output.line(&format!("({left_out} lines are not shown)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn shown(told: &[Told], sink: Box<dyn std::io::Write>) -> Output {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut engine = Connection::new(theirs);
        told.iter().for_each(|told| engine.send(told, &[]).unwrap());
        let mut output = Output::to(sink);
        // It ends by itself, though the engine's end stays open.
        show(Connection::new(ours), &mut output);
        output
    }

    #[test]
    fn lines_are_printed_until_the_end() {
        let path = std::env::temp_dir().join(format!("live-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        let told = [
            Told::Line("bob... Connecting to local...".into()),
            Told::Line("220 a\u{1b}[31mb".into()),
            Told::End { left_out: 3 },
        ];
        drop(shown(&told, Box::new(file)));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "bob... Connecting to local...\n220 a?[31mb\n(3 lines are not shown)\n");
    }

    #[test]
    fn nobody_reads() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert!(shown(&[Told::Line("a".into())], Box::new(writer)).has_failed());
    }
}
