//! Packs messages for an agent: one frame, one sealed memfd for all small contents, the body's own file for large ones
//! (never a descriptor that holds other people's mail, DESIGN §2). Used by `local`.

use crate::field::Fields;
use call::agent::{BATCH_BYTES, BATCH_MESSAGES, Batch, Entry, Item, Order};
use mail::time::Clock;
use queue::{Content, Envelope, Recipient};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A batch with what it refers to.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) order: Order,
    sources: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Sealed(File),
    Body(Arc<File>),
}

impl Packed {
    /// The descriptors, in the order of `Item::source`.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        fn fd(source: &Source) -> BorrowedFd<'_> {
            match source {
                Source::Sealed(file) => file.as_fd(),
                Source::Body(file) => file.as_fd(),
            }
        }
        self.sources.iter().map(fd).collect()
    }
}

/// Whether a batch of `messages` and `bytes` may take one more message of `size`.
pub(crate) fn has_room(messages: usize, bytes: u64, size: u64) -> bool {
    messages == 0 || (messages < BATCH_MESSAGES && bytes.saturating_add(size) <= BATCH_BYTES)
}

/// One message for an agent.
pub(crate) struct Parcel<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) recipient: &'a Recipient,
    pub(crate) content: Content,
    /// An earlier attempt may have succeeded.
    pub(crate) unsure: bool,
    /// What follows the plus in the recipient's name.
    pub(crate) detail: String,
    /// Not if there may be a `.forward`.
    pub(crate) forward: bool,
    /// What is put before it.
    pub(crate) fields: Fields,
    /// This host's name.
    pub(crate) host: &'a str,
}

/// Packs messages with their contents; tickets are their positions.
pub(crate) fn pack(
    messages: &[Parcel<'_>],
    mailbox_size: u64,
    into: Option<Entry>,
    clock: &dyn Clock,
) -> io::Result<Packed> {
    let mut sources = Vec::new();
    let mut items = Vec::with_capacity(messages.len());
    let small: Vec<IoSlice<'_>> = messages.iter().filter_map(|parcel| in_memory(&parcel.content)).collect();
    if !small.is_empty() {
        sources.push(Source::Sealed(sealed(small)?));
    }
    let mut offset = 0;
    for (ticket, parcel) in (0..).zip(messages) {
        let (envelope, content) = (parcel.envelope, &parcel.content);
        let length = content.len();
        let (source, at) = match content {
            Content::Memory(_) => (0, offset),
            Content::File { file, .. } => {
                sources.push(Source::Body(file.clone()));
                (sources.len() as u16 - 1, 0)
            }
        };
        if matches!(content, Content::Memory(_)) {
            offset += length;
        }
        items.push(Item {
            ticket,
            queue_id: envelope.id.to_string(),
            sender: envelope.sender.as_str().to_owned(),
            recipient: crate::line::bare(&parcel.recipient.given).to_owned(),
            detail: parcel.detail.clone(),
            forward: parcel.forward,
            prepend: parcel.fields.text(&envelope.sender, parcel.recipient, parcel.host) + &envelope.prepend,
            from_date: from_date(envelope, clock),
            source,
            offset: at,
            length,
            perhaps_delivered: parcel.unsure,
        });
    }
    Ok(Packed { order: Order::Deliver(Batch { items, mailbox_size, into }), sources })
}

fn in_memory(content: &Content) -> Option<IoSlice<'_>> {
    match content {
        Content::Memory(bytes) => Some(IoSlice::new(bytes)),
        Content::File { .. } => None,
    }
}

fn from_date(envelope: &Envelope, clock: &dyn Clock) -> String {
    let unix = envelope.arrived.div_euclid(1_000);
    let (offset, _) = clock.zone(unix);
    mail::date::ctime(unix, offset)
}

/// A memfd that nobody can change any more: the agent runs as another user.
fn sealed(mut parts: Vec<IoSlice<'_>>) -> io::Result<File> {
    let mut file = File::from(memfd_create("mail", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    let mut rest = &mut parts[..];
    while rest.iter().any(|part| !part.is_empty()) {
        let written = file.write_vectored(rest)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}
