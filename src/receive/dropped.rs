//! Files of the drop folder, opened by the keeper: the same submission, in one piece. The owner of the file is the
//! submitter; the content is copied; what is not whole by length and checksum is not a message.

use crate::Receive;
use crate::envelope::refused;
use crate::submission::{Submitting, give_back};
use call::submit::{Answer, Errors, MAGIC, Submission, TRAILER};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the queue (or was refused for good, and that is logged): the entry can go.
    Done,
    /// Not now; offer it again later.
    Later,
}

/// Largest submission record in a dropped file.
const RECORD: u64 = 16 << 20;

/// Longest wait for the same submission on its other way, at the cost of a place; after that the entry rests and comes again.
const PATIENCE: Duration = Duration::from_secs(10);

/// An opened entry whose frame was checked.
struct Whole {
    submission: Submission,
    offset: u64,
    length: u64,
}

/// Takes one entry. `size` is what the keeper saw; the owner cannot change the past of what we read, only spoil its own mail.
pub async fn take_dropped(receive: Arc<Receive>, file: File, uid: u32, name: &str, size: u64) -> Taken {
    let file = Arc::new(file);
    let opened = Arc::clone(&file);
    let checked = tokio::task::spawn_blocking(move || check(&opened, size)).await;
    let whole = match checked {
        Ok(Ok(Some(whole))) => whole,
        Ok(Ok(None)) => {
            receive.remark(None, format!("drop folder: {name} (uid {uid}) is not a whole submission; removed"));
            return Taken::Done;
        }
        Ok(Err(error)) => {
            receive.remark(None, format!("drop folder: {name}: {error}"));
            return Taken::Later;
        }
        Err(_) => return Taken::Later,
    };
    // A client that gave up on a stopped engine left the same message in the socket: let that one finish, then see.
    let _still_busy = tokio::time::timeout(PATIENCE, receive.alone_with(whole.submission.id)).await;
    let submission = match unheard(&receive, whole.submission).await {
        Ok(Some(submission)) => submission,
        Ok(None) => return Taken::Done,
        Err(answer) => return settle(&receive, name, uid, answer),
    };
    let answer = match Submitting::begin(&receive, submission.clone(), uid).await {
        Ok(submitting) => match feed(submitting, &file, whole.offset, whole.length).await {
            Some(answer) => answer,
            None => return Taken::Later,
        },
        Err(answer) => answer,
    };
    let Answer::Never(_, text) = &answer else { return settle(&receive, name, uid, answer) };
    // Its caller was told that all is well (exit 0), so he hears of it by mail, like of a recipient that is refused.
    let header = head(&file, whole.offset, whole.length).await;
    match give_back(&receive, submission, uid, text, &header).await {
        Answer::Later(why) => settle(&receive, name, uid, Answer::Later(why)),
        _ => settle(&receive, name, uid, answer),
    }
}

/// What is still to be done of a submission whose caller has gone. Nobody waits for the answer any more: what is refused comes back as a
/// bounce. If it was taken from the socket already, but the answer came too late, that are the recipients that the caller was to hear of:
/// they come as a submission of their own, whose number follows from the first one's, so that they come once.
async fn unheard(receive: &Arc<Receive>, submission: Submission) -> Result<Option<Submission>, Answer> {
    let mut rest = Submission { errors: Errors::Mail, ..submission };
    if receive.store.submitted(rest.id).is_some() {
        if submission.errors == Errors::Mail {
            return Ok(None);
        }
        let refused = refused(receive, &rest).await?;
        rest.recipients.retain(|recipient| refused.contains(&recipient.address));
        rest.id.iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(Some(rest).filter(|rest| !rest.recipients.is_empty()))
}

/// The header of a message that is refused, as far as 64 KiB go.
async fn head(file: &Arc<File>, offset: u64, length: u64) -> Vec<u8> {
    let (file, mut bytes) = (Arc::clone(file), vec![0; length.min(64 << 10) as usize]);
    let read = tokio::task::spawn_blocking(move || file.read_exact_at(&mut bytes, offset).map(|()| bytes)).await;
    let mut bytes = read.ok().and_then(Result::ok).unwrap_or_default();
    bytes.truncate(mail::header::split(&bytes).header);
    bytes.truncate(memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1));
    bytes.retain(|byte| *byte != 0);
    bytes
}

/// The content, in pieces; `None` if it cannot be read.
async fn feed(mut submitting: Submitting, file: &Arc<File>, from: u64, length: u64) -> Option<Answer> {
    let (mut offset, end) = (from, from + length);
    while offset < end {
        let (file, length) = (Arc::clone(file), (end - offset).min(256 << 10) as usize);
        let piece = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, offset).map(|()| piece)
        });
        match piece.await {
            Ok(Ok(piece)) => {
                offset += piece.len() as u64;
                submitting.feed(&piece).await;
            }
            _ => return None,
        }
    }
    Some(submitting.commit(None).await)
}

fn settle(receive: &Receive, name: &str, uid: u32, answer: Answer) -> Taken {
    match answer {
        Answer::Accepted { .. } => Taken::Done,
        Answer::Later(why) => {
            receive.remark(None, format!("drop folder: {name} (uid {uid}) waits: {why}"));
            Taken::Later
        }
        Answer::Never(_, text) => {
            receive.remark(None, format!("drop folder: {name} (uid {uid}) refused: {text}"));
            Taken::Done
        }
    }
}

/// Reads the frame and verifies the checksum; `None` if it is not a whole submission.
fn check(file: &File, size: u64) -> io::Result<Option<Whole>> {
    let mut head = [0; 12];
    if size < head.len() as u64 + TRAILER {
        return Ok(None);
    }
    file.read_exact_at(&mut head, 0)?;
    let (magic, length) = head.split_at(8);
    let record: u64 = u32::from_le_bytes(length.try_into().expect("four bytes remain of twelve")).into();
    let Some(content) = size.checked_sub(head.len() as u64 + record + TRAILER) else {
        return Ok(None);
    };
    if magic != MAGIC || record > RECORD {
        return Ok(None);
    }
    let mut bytes = vec![0; record as usize];
    file.read_exact_at(&mut bytes, head.len() as u64)?;
    let Ok((submission, [])) = call::submit::decode_submission(&bytes) else {
        return Ok(None);
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(&bytes);
    let offset = head.len() as u64 + record;
    let mut buffer = vec![0; 256 << 10];
    let mut at = offset;
    while at < offset + content {
        let piece = (offset + content - at).min(buffer.len() as u64) as usize;
        let slice = &mut buffer[..piece];
        file.read_exact_at(slice, at)?;
        crc.update(slice);
        at += piece as u64;
    }
    let mut trailer = [0; TRAILER as usize];
    file.read_exact_at(&mut trailer, at)?;
    let whole = trailer == call::submit::drop_trailer(content, crc);
    Ok(whole.then_some(Whole { submission, offset, length: content }))
}
