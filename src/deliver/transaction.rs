//! One mail transaction as client (RFC 5321 3.3, RFC 2920 pipelining): envelope out, replies in, content, final answer.
//! Used by `relay`, which may send the next envelope with the end of the present content (RFC 2920 3.1 allows that).

use crate::auth::Anonymous;
use crate::job::Job;
use crate::lmtp;
use crate::outcome::{Command, Fate};
use crate::session::{Broken, Session};
use mail::client::{self, Answer, Capabilities, MailOptions};
use mail::command::{Notify, Ret};
use mail::content::{Encoder, is_wire_clean};
use mail::{Severity, Status};
use queue::{Content, Envelope};
use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Content of a file goes out in pieces of this size, bytes.
const PIECE: usize = 128 << 10;

/// What is known of the recipients so far; survives a broken session.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether any reply to this transaction came.
    pub(crate) answered: bool,
    /// The other side said 421: it closes.
    pub(crate) closing: bool,
    /// It said so to MAIL: nothing is known about this message.
    pub(crate) turned_away: bool,
    /// Recipients the other side took, until the final answer.
    pub(crate) accepted: Vec<u32>,
    /// Recipients with a fate.
    pub(crate) fates: Vec<(Fate, Vec<u32>)>,
    /// MAIL was refused: the fate of everybody.
    refused: Option<Fate>,
    /// As in the session.
    anonymous: Option<Anonymous>,
}

impl Progress {
    /// Gives `fate` to whoever of `job` has none yet.
    pub(crate) fn rest(&mut self, job: &Job, fate: Fate) {
        let decided = |index: &u32| self.fates.iter().any(|(_, indices)| indices.contains(index));
        let rest: Vec<u32> = job.recipients.iter().copied().filter(|index| !decided(index)).collect();
        self.accepted.clear();
        if !rest.is_empty() {
            self.fates.push((fate, rest));
        }
    }
    /// A refusal in this session.
    fn refusal(&self, answer: &Answer, default: (u16, u16), stat: &str, command: Command) -> Fate {
        let fate = refusal(answer, default, stat, command);
        match &self.anonymous {
            Some(anonymous) => anonymous.forgive(answer, fate),
            None => fate,
        }
    }
    /// What the answer to the final dot means.
    fn final_fate(&mut self, answer: &Answer) -> Fate {
        self.closing |= answer.code == 421;
        if (200..300).contains(&answer.code) {
            return Fate::sent(answer.text());
        }
        self.refusal(answer, (3, 0), "Service unavailable", Command::Line("DATA".to_owned()))
    }
    /// One recipient's final answer.
    pub(crate) fn delivered(&mut self, index: u32, answer: &Answer) {
        let fate = self.final_fate(answer);
        self.one(index, fate);
    }
    fn one(&mut self, index: u32, fate: Fate) {
        match self.fates.iter_mut().find(|(known, _)| known.is_like(&fate)) {
            Some((_, indices)) => indices.push(index),
            None => self.fates.push((fate, vec![index])),
        }
    }
}

/// The status of a negative reply; its class is the code's, whatever the enhanced code says.
fn status(answer: &Answer, subject: u16, detail: u16) -> Status {
    let severity = if answer.code >= 500 { Severity::Permanent } else { Severity::Temporary };
    match answer.status {
        Some(status) => Status { severity, ..status },
        None => Status { severity, subject, detail },
    }
}

/// sendmail's word for a permanent refusal at RCPT.
fn at_rcpt(code: u16) -> &'static str {
    match code {
        550 | 551 | 553 => "User unknown",
        _ => "Service unavailable",
    }
}

fn at_mail(code: u16) -> &'static str {
    match code {
        501 | 553 => "Data format error",
        _ => "Service unavailable",
    }
}

/// A reply that cannot be right at this place (2xx to DATA, 3xx to MAIL): temporary (S-67).
fn out_of_place(answer: &Answer, command: Command) -> Fate {
    let stat = format!("Deferred: unexpected reply to {command}: {answer}");
    Fate { stat, ..Fate::replied(Status::temporary(5, 0), answer, "", command) }
}

/// A reply of class 4 or 5, or one that is out of place.
pub(crate) fn refusal(answer: &Answer, default: (u16, u16), stat: &str, command: Command) -> Fate {
    if answer.code < 400 {
        return out_of_place(answer, command);
    }
    Fate::replied(status(answer, default.0, default.1), answer, stat, command)
}

/// What a hop's offers forbid, found before anything is sent. `content`, if at hand, tells whether a message that asked for
/// SMTPUTF8 really needs it (many clients ask always); without it the answer errs on the side of yes.
pub(crate) fn forbidden(job: &Job, offers: &Capabilities, content: Option<&Content>) -> Option<Fate> {
    let envelope = &job.message.envelope;
    let size = envelope.size + envelope.prepend.len() as u64;
    if let Some(limit) = offers.size.filter(|&limit| limit > 0 && size > limit) {
        let text = format!("Message is too large; {limit} bytes max");
        return Some(Fate::local(Status::permanent(3, 4), &text));
    }
    if offers.smtputf8 {
        return None;
    }
    if !is_foreign(job) && (!envelope.smtputf8 || content.is_some_and(has_plain_header)) {
        return None;
    }
    let text = "SMTPUTF8 is required, but not offered";
    Some(Fate::local(Status::permanent(6, 7), text))
}

/// Whether the header is ASCII. One that is not whole within 16 KiB counts as foreign.
fn has_plain_header(content: &Content) -> bool {
    let mut start = [0; 16 << 10];
    let head = match content {
        Content::Memory(bytes) => bytes.get(..mail::header::split(bytes).header),
        Content::File { file, .. } => {
            let got = file.read_at(&mut start, 0).unwrap_or(0);
            let read = start.get(..got).unwrap_or_default();
            let header = mail::header::split(read).header;
            read.get(..header).filter(|_| header < got)
        }
    };
    head.is_some_and(<[u8]>::is_ascii)
}

/// Whether an address of the transaction cannot be written in ASCII: then SMTPUTF8 must be said (RFC 6531 3.4).
fn is_foreign(job: &Job) -> bool {
    !job.message.envelope.sender.is_ascii() || job.recipients().any(|(_, r)| !r.address.is_ascii())
}

fn mail_line(job: &Job, offers: &Capabilities) -> String {
    let envelope = &job.message.envelope;
    let ret = envelope.ret.filter(|_| offers.dsn).map(|ret| match ret {
        queue::Ret::Full => Ret::Full,
        queue::Ret::Headers => Ret::Headers,
    });
    let options = MailOptions {
        size: offers.size.map(|_| envelope.size + envelope.prepend.len() as u64),
        // A hop without 8BITMIME gets the bytes as they are, as from sendmail (pass8): they arrive nearly always.
        eight_bit: offers.eight_bit_mime && envelope.body == queue::Body::EightBitMime,
        // Also if nobody asked for it: an alias may lead to such an address.
        smtputf8: offers.smtputf8 && (envelope.smtputf8 || is_foreign(job)),
        ret,
        envid: if offers.dsn { &envelope.envid } else { "" },
    };
    client::mail_from(&envelope.sender, &options)
}

fn rcpt_line(recipient: &queue::Recipient, offers: &Capabilities, lmtp: bool) -> String {
    let address = if lmtp { lmtp::address(recipient) } else { Cow::Borrowed(&recipient.address) };
    if !offers.dsn {
        return client::rcpt_to(&address, Notify::default(), "");
    }
    let notify = Notify {
        never: recipient.notify.never,
        success: recipient.notify.success,
        failure: recipient.notify.failure,
        delay: recipient.notify.delay,
    };
    client::rcpt_to(&address, notify, &recipient.orcpt)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether a whole envelope goes out in one piece.
    pub(crate) fn pipelines(&self) -> bool {
        self.capabilities.pipelining && !self.needs_reset
    }
    /// Puts MAIL, every RCPT and DATA of a job behind what waits to be written.
    pub(crate) fn queue_envelope(&mut self, job: &Job) {
        let mail = mail_line(job, &self.capabilities);
        self.out.extend_from_slice(mail.as_bytes());
        for (_, recipient) in job.recipients() {
            let line = rcpt_line(recipient, &self.capabilities, self.lmtp);
            self.out.extend_from_slice(line.as_bytes());
        }
        self.out.extend_from_slice(b"DATA\r\n");
    }
    /// Envelope and DATA; true if the content is to be sent now. `sent`: the envelope went out with the last content.
    pub(crate) async fn negotiate(&mut self, job: &Job, sent: bool, progress: &mut Progress) -> Result<bool, Broken> {
        progress.anonymous.clone_from(&self.anonymous);
        if self.needs_reset {
            self.command("RSET", self.limits.mail()).await?;
            self.needs_reset = false;
        }
        if self.pipelines() {
            if !sent {
                self.queue_envelope(job);
                self.send(self.limits.mail()).await?;
            }
            return self.read_group(job, progress).await;
        }
        self.step_by_step(job, progress).await
    }
    async fn read_group(&mut self, job: &Job, progress: &mut Progress) -> Result<bool, Broken> {
        let answer = self.answer(self.limits.mail()).await?;
        after_mail(&answer, job, progress);
        for (index, _) in job.recipients() {
            let answer = self.answer(self.limits.rcpt()).await?;
            after_rcpt(&answer, index, progress);
        }
        let answer = self.answer(self.limits.data()).await?;
        self.after_data(&answer, job, progress).await
    }
    async fn step_by_step(&mut self, job: &Job, progress: &mut Progress) -> Result<bool, Broken> {
        let line = mail_line(job, &self.capabilities);
        let answer = self.command(line.trim_end(), self.limits.mail()).await?;
        after_mail(&answer, job, progress);
        if progress.refused.is_some() {
            settle_refused(job, progress);
            return Ok(false);
        }
        self.needs_reset = true;
        for (index, recipient) in job.recipients() {
            let line = rcpt_line(recipient, &self.capabilities, self.lmtp);
            let answer = self.command(line.trim_end(), self.limits.rcpt()).await?;
            after_rcpt(&answer, index, progress);
            if progress.closing {
                break;
            }
        }
        if progress.accepted.is_empty() || progress.closing {
            return Ok(false);
        }
        let answer = self.command("DATA", self.limits.data()).await?;
        self.after_data(&answer, job, progress).await
    }
    /// What the answer to DATA means, given those before it.
    async fn after_data(&mut self, answer: &Answer, job: &Job, progress: &mut Progress) -> Result<bool, Broken> {
        progress.closing |= answer.code == 421;
        let go = answer.code == 354;
        let refused = progress.refused.is_some();
        if go && !progress.accepted.is_empty() && !refused {
            self.needs_reset = false;
            return Ok(true);
        }
        if go && self.lmtp {
            // Forbidden (RFC 2033 4.2), and nobody would answer for a dot.
            return Err(Broken::Protocol("354 without a recipient".to_owned()));
        }
        if go {
            // Nobody was accepted, but the other side waits for content: an empty one ends it (RFC 2920 3.1).
            self.out.extend_from_slice(b".\r\n");
            self.send(self.limits.data()).await?;
            self.answer(self.limits.dot()).await?;
        }
        // A lone dot ended the transaction; a refused DATA did not.
        self.needs_reset = !refused && !go;
        if refused {
            settle_refused(job, progress);
        } else if !progress.accepted.is_empty() {
            let fate = progress.refusal(answer, (3, 0), "Service unavailable", Command::Line("DATA".to_owned()));
            progress.rest(job, fate);
        }
        Ok(false)
    }
    /// Content, the final dot, and what waits in `out` behind it.
    pub(crate) async fn content(&mut self, envelope: &Envelope, content: &Content) -> Result<(), Broken> {
        let prepend = envelope.prepend.as_bytes();
        let follows = std::mem::take(&mut self.out);
        match content {
            Content::Memory(bytes) if is_wire_clean(bytes) && is_wire_clean(prepend) => {
                self.write(&[prepend, bytes, b".\r\n", &follows], self.limits.block()).await?;
            }
            Content::Memory(bytes) => {
                let (mut encoder, mut wire) = (Encoder::new(), Vec::with_capacity(bytes.len() + 1_024));
                encoder.feed(prepend, &mut wire);
                encoder.feed(bytes, &mut wire);
                encoder.finish(&mut wire);
                self.write(&[&wire, &follows], self.limits.block()).await?;
            }
            Content::File { file, length } => {
                let mut encoder = Encoder::new();
                let mut wire = Vec::with_capacity(PIECE + 4_096);
                encoder.feed(prepend, &mut wire);
                let (mut at, mut piece) = (0, Vec::new());
                while at < *length {
                    piece = read_piece(file, at, *length, piece).await?;
                    at += piece.len() as u64;
                    encoder.feed(&piece, &mut wire);
                    self.write(&[&wire], self.limits.block()).await?;
                    wire.clear();
                }
                encoder.finish(&mut wire);
                self.write(&[&wire, &follows], self.limits.block()).await?;
            }
        }
        self.told.said(b".");
        // The buffer is kept for the next envelope.
        self.out = follows;
        self.out.clear();
        Ok(())
    }
    /// The answer to the final dot.
    pub(crate) async fn finish(&mut self, job: &Job, progress: &mut Progress) -> Result<(), Broken> {
        if self.lmtp {
            return self.finish_each(progress).await;
        }
        let answer = self.answer(self.limits.dot()).await?;
        self.transactions = self.transactions.saturating_add(1);
        let fate = progress.final_fate(&answer);
        progress.rest(job, fate);
        Ok(())
    }
}

fn after_mail(answer: &Answer, job: &Job, progress: &mut Progress) {
    progress.answered = true;
    progress.closing |= answer.code == 421;
    progress.turned_away = answer.code == 421;
    if !(200..300).contains(&answer.code) {
        let command = format!("MAIL From:<{}>", job.message.envelope.sender);
        progress.refused = Some(progress.refusal(answer, (1, 0), at_mail(answer.code), Command::Line(command)));
    }
}

fn after_rcpt(answer: &Answer, index: u32, progress: &mut Progress) {
    progress.closing |= answer.code == 421;
    if progress.refused.is_some() {
        return;
    }
    if (200..300).contains(&answer.code) {
        progress.accepted.push(index);
    } else {
        let default = if answer.code >= 500 { (1, 1) } else { (2, 0) };
        let fate = progress.refusal(answer, default, at_rcpt(answer.code), Command::Rcpt);
        progress.one(index, fate);
    }
}

fn settle_refused(job: &Job, progress: &mut Progress) {
    if let Some(fate) = progress.refused.take() {
        progress.rest(job, fate);
    }
}

/// Reads a piece on a thread that may block: a cold disk must not stop the other sessions.
async fn read_piece(file: &Arc<File>, at: u64, length: u64, mut piece: Vec<u8>) -> Result<Vec<u8>, Broken> {
    let want = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
    let file = file.clone();
    let read = tokio::task::spawn_blocking(move || {
        piece.resize(want, 0);
        file.read_exact_at(&mut piece, at).map(|()| piece)
    });
    match read.await {
        Ok(Ok(piece)) => Ok(piece),
        // The transaction is broken off before its dot, so nothing half is delivered.
        Ok(Err(error)) => Err(Broken::Lost(error)),
        Err(_) => Err(Broken::Protocol("reader stopped".to_owned())),
    }
}
