//! `~/dead.letter`: where a message ends that could not be sent, in mbox form with sendmail's one-space From_ line
//! (sendmail.md 1.6, 5.9). The home comes from the account, never from the environment.

use crate::content::Content;
use crate::host;
use crate::zone::{Zone, now};
use call::submit::Submission;
use mail::QueueId;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As in the Received fields that the engine writes.
const VERSION: &str = concat!("Postrider-", env!("CARGO_PKG_VERSION"));
/// Longest wait for another writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Appends a message with this queue id (empty if it has none); returns the file's path.
///
/// # Errors
/// No such folder, not a plain file, no space: then nothing of this message stays in the file.
pub fn save(home: &Path, submission: &Submission, id: &str, content: &Content<'_>) -> io::Result<PathBuf> {
    let path = home.join("dead.letter");
    // A link here could point anywhere the caller may write; a pipe would block.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    // flock, as sendmail's own file mailer uses; another writer of dead.letter is sendmail or one of us.
    let give_up = Instant::now() + PATIENCE;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = file.metadata()?.len();
    let written = append(&file, before, submission, id, content).and_then(|()| durable::sync(&file));
    if let Err(error) = written {
        file.set_len(before)?;
        return Err(error);
    }
    Ok(path)
}

fn append(file: &File, end: u64, submission: &Submission, id: &str, content: &Content<'_>) -> io::Result<()> {
    use std::io::Seek;
    let mut file = file;
    file.seek(io::SeekFrom::Start(end))?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let unix = now();
    let date = mail::date::ctime(unix, Zone::local().at(unix).0);
    writeln!(out, "From {} {date}", sender(submission))?;
    let mut lines = Lines { out: &mut out, line_start: true, carry: Vec::new() };
    lines.write(lead(submission, id, unix).as_bytes())?;
    content.read::<io::Error>(|piece| lines.write(piece))?;
    writeln!(out)?;
    out.flush()
}

fn sender(submission: &Submission) -> &str {
    if submission.sender.is_empty() { "MAILER-DAEMON" } else { &submission.sender }
}

/// The fields that the engine puts before a message (`receive/prepare.rs`), as far as they can be known here.
fn lead(submission: &Submission, id: &str, unix: i64) -> String {
    let id = if id.is_empty() { QueueId::new(unix, u64::from(std::process::id())).to_string() } else { id.to_owned() };
    let (host, date, stamp) = (host::full_name(), Zone::local().date(unix), mail::date::compact(unix));
    let given = &submission.received;
    let from = match given.host.as_str() {
        "" => format!("(from {}@localhost)", submission.user),
        host => format!("from {host} ({}@localhost)", submission.user),
    };
    let with = if given.protocol.is_empty() { String::new() } else { format!(" with {}", given.protocol) };
    let only = submission.recipients.len() <= 1 && !given.recipient.is_empty();
    let to = if only { format!("\r\n\tfor {}; ", given.recipient) } else { ";\r\n\t".to_owned() };
    let mut text = format!("Return-Path: <{}>\r\nReceived: {from}\r\n", sender(submission));
    text.push_str(&format!("\tby {host} ({VERSION}/Submit){with} id {id}{to}{date}\r\n"));
    text.push_str(&submission.generated);
    if submission.resent_message_id {
        text.push_str(&format!("Resent-Message-Id: <{stamp}.{id}@{host}>\r\n"));
    }
    if submission.message_id {
        text.push_str(&format!("Message-Id: <{stamp}.{id}@{host}>\r\n"));
    }
    text.push_str(&submission.warnings.replacen("{host}", &host, 1));
    text
}

/// CRLF to LF, and `>` before `From ` at a line's start. A piece of content may end anywhere: the few bytes whose meaning
/// depends on what follows are held back in `carry`.
struct Lines<'a, W> {
    out: &'a mut W,
    line_start: bool,
    carry: Vec<u8>,
}

impl<W: Write> Lines<'_, W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut whole = std::mem::take(&mut self.carry);
        whole.extend_from_slice(piece);
        for part in whole.split_inclusive(|&b| b == b'\n') {
            let unclear = (self.line_start && part.len() < 5) || part.ends_with(b"\r");
            if unclear && !part.ends_with(b"\n") {
                self.carry = part.to_vec();
            } else {
                self.part(part)?;
            }
        }
        Ok(())
    }
    fn part(&mut self, part: &[u8]) -> io::Result<()> {
        if self.line_start && part.starts_with(b"From ") {
            self.out.write_all(b">")?;
        }
        self.line_start = part.ends_with(b"\n");
        match part.strip_suffix(b"\r\n") {
            Some(text) => {
                self.out.write_all(text)?;
                self.out.write_all(b"\n")
            }
            None => self.out.write_all(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content<'a>(folder: &'a Path, text: &str) -> Content<'a> {
        let mut content = Content::new(folder);
        content.write(text.as_bytes()).unwrap();
        content
    }

    #[test]
    fn appends_in_mbox_form() {
        let home = tempfile::tempdir().unwrap();
        let message = content(home.path(), "Subject: x\r\n\r\nFrom here\r\nto there\r\n");
        for _ in 0..2 {
            save(home.path(), &crate::tests::submission(), "6ALKL600000042", &message).unwrap();
        }
        let text = std::fs::read_to_string(home.path().join("dead.letter")).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("From alice ") && !first.contains("  S"));
        let (lead, rest) = rest.split_once("Date: d\n").unwrap();
        assert!(lead.starts_with("Return-Path: <alice>\nReceived: (from alice@localhost)\n\tby "), "{lead}");
        assert!(lead.contains("/Submit) id 6ALKL600000042;\n\t"), "{lead}");
        let (message_id, rest) = rest.split_once('\n').unwrap();
        assert!(message_id.starts_with("Message-Id: <") && message_id.contains(".6ALKL600000042@"), "{message_id}");
        assert!(rest.starts_with("Subject: x\n\n>From here\nto there\n\nFrom alice "), "{rest}");
    }

    #[test]
    fn lines_may_be_cut_anywhere() {
        let given = b"From a\r\nFro\r\nx\rFrom b\r\n\r\nFrom c\r\n";
        for size in 1..8 {
            let mut out = Vec::new();
            let mut lines = Lines { out: &mut out, line_start: true, carry: Vec::new() };
            given.chunks(size).for_each(|piece| lines.write(piece).unwrap());
            assert_eq!(out, b">From a\nFro\nx\rFrom b\n\n>From c\n", "{size}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp/elsewhere", home.path().join("dead.letter")).unwrap();
        let message = content(home.path(), "x\r\n");
        assert!(save(home.path(), &crate::tests::submission(), "", &message).is_err());
        assert!(!Path::new("/tmp/elsewhere").exists());
    }
}
