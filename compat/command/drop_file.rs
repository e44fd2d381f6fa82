//! A message for the drop folder: taken although no engine answered (DESIGN §2, R-9). Same submission id as over the socket, so
//! the engine takes it once whichever way it came.

use crate::content::Content;
use call::submit::{Submission, drop_header, drop_trailer};
use durable::nameless::DropFile;
use std::io::{self, Write};
use std::path::Path;

/// Why a message is not in the drop folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The submission is too large to be written down.
    #[error("{0}")]
    Call(#[from] call::Error),
}

/// Writes it there, durably: when this returns without an error the message is safe.
///
/// # Errors
/// As [`Error`]; nothing (or nothing whole) is there then.
pub fn save(folder: &Path, submission: &Submission, content: &Content<'_>) -> Result<(), Error> {
    let header = drop_header(submission)?;
    let mut file = DropFile::create(folder)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header);
    file.write_all(&header)?;
    content.read::<io::Error>(|piece| {
        crc.update(piece);
        file.write_all(piece)
    })?;
    file.write_all(&drop_trailer(content.len(), crc))?;
    file.publish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::submit::{MAGIC, TRAILER};

    #[test]
    fn the_file_is_as_the_format_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::new(folder.path());
        content.write(b"Subject: x\r\n\r\nhi\r\n").unwrap();
        let submission = crate::tests::submission();
        save(folder.path(), &submission, &content).unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names.len(), 1);
        let bytes = std::fs::read(&names[0]).unwrap();
        assert!(bytes.starts_with(MAGIC));
        let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let back: Submission = call::frame::decode(&bytes[12..12 + length]).unwrap();
        assert_eq!(back, submission);
        let end = bytes.len() - TRAILER as usize;
        assert_eq!(&bytes[12 + length..end], b"Subject: x\r\n\r\nhi\r\n");
        assert_eq!(bytes[end..end + 8], 18u64.to_le_bytes());
        assert_eq!(bytes[end + 8..], crc32fast::hash(&bytes[..end + 8]).to_le_bytes());
    }

    #[test]
    fn no_folder_is_an_error() {
        let content = Content::new(Path::new("/nonexistent"));
        assert!(save(Path::new("/nonexistent"), &crate::tests::submission(), &content).is_err());
    }
}
