//! The file of a data base, as its reader (`mail::database`) sees it: with `pread`, never mapped (an administrator's `cp` onto a mapped
//! file would end the engine). Called by [`crate::Database`].

use crate::Stamp;
use mail::database::Bytes;
use std::fs::File;
use std::io;

/// An open file.
#[derive(Debug)]
pub(crate) struct Stored {
    file: File,
    /// What it must still be after each reading; `None` if checksums in it tell.
    stamp: Option<Stamp>,
}

impl Stored {
    /// One that tells by itself when it has changed.
    pub(crate) const fn checked(file: File) -> Self {
        Self { file, stamp: None }
    }

    /// One without checksums: nothing is read of it any more once it has changed.
    pub(crate) fn unchanging(file: File) -> io::Result<Self> {
        let stamp = Some(Stamp::of(&file)?);
        Ok(Self { file, stamp })
    }

    /// When it changed last, where that matters.
    pub(crate) const fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// Whether what was read until now is all of one version.
    pub(crate) fn unchanged(&self) -> io::Result<()> {
        let Some(then) = self.stamp else { return Ok(()) };
        let now = Stamp::of(&self.file)?;
        // Not the time of the inode's change: it moves when another file takes this one's name, which harms nobody.
        let same = (now.size, now.modified) == (then.size, then.modified);
        if same { Ok(()) } else { Err(io::Error::other("changed")) }
    }
}

impl Bytes for Stored {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = durable::read_at_most(&self.file, buffer, offset)?;
        // After reading: what was read counts only if nobody had written until now.
        self.unchanged()?;
        Ok(read)
    }
}
