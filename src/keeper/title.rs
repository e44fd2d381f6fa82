//! What `ps` shows of the keeper: monitors look for sendmail's `accepting connections` (sendmail.md 2.9). Called by `keeper` when the
//! engine serves.
//!
//! The title is written over our own arguments, which were read at the start, through `/proc/self/mem`: no pointers, and nothing else of the process can be
//! hit. Where that is not possible `ps` shows the arguments.

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

/// Shows this state, if there is room for it.
pub(crate) fn set(state: &str) {
    if let Some((start, room)) = arguments() {
        let _best_effort = write(state, start, room);
    }
}

/// Where the arguments lie, and how many bytes they have: fields 48 and 49 of proc(5) `stat`, which follow the name in parentheses.
fn arguments() -> Option<(u64, usize)> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let start: u64 = fields.nth(45)?.parse().ok()?;
    let end: u64 = fields.next()?.parse().ok()?;
    Some((start, usize::try_from(end.checked_sub(start)?).ok()?))
}

fn write(state: &str, start: u64, room: usize) -> Option<()> {
    let bytes = fitted(state, room)?;
    File::options().write(true).open("/proc/self/mem").ok()?.write_all_at(&bytes, start).ok()
}

/// The longer of sendmail's two forms that leaves room for its NUL, filled up.
fn fitted(state: &str, room: usize) -> Option<Vec<u8>> {
    let forms = [format!("sendmail: MTA: {state}"), format!("sendmail: {state}")];
    let mut bytes = forms.into_iter().find(|form| form.len() < room)?.into_bytes();
    bytes.resize(room, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_never_outgrows_the_arguments() {
        let text = |room| fitted("accepting connections", room).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(text(40).unwrap(), "sendmail: MTA: accepting connections\0\0\0\0");
        assert_eq!(text(36).unwrap(), "sendmail: accepting connections\0\0\0\0\0");
        assert_eq!(text(31), None);
        assert!(arguments().is_some_and(|(start, room)| start > 0 && room > 0));
    }
}
