//! Test messages that can be counted and whose tears can be seen: an id in the header, and the same id in the last line.

/// The header field with the id.
pub const FIELD: &str = "X-Test-Id";

/// A message with LF line ends: header, `lines` lines of text, and the end mark.
#[must_use]
pub fn text(id: &str, to: &str, lines: usize) -> String {
    let mut out = format!("From: tester@mx.test\nTo: {to}\nSubject: test {id}\n{FIELD}: {id}\n\n");
    for n in 0..lines {
        out.push_str(&format!("line {n} of {id} ................................................\n"));
    }
    out.push_str(&format!("end of {id}\n"));
    out
}

/// The ids in the header of `message` (any line ends). A whole message has exactly one.
#[must_use]
pub fn ids(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    text.lines().filter_map(|l| l.trim_end_matches('\r').strip_prefix("X-Test-Id: ").map(str::to_owned)).collect()
}

/// Its id if the message is whole: one id, and the end mark of that id as the last line that is not empty.
pub fn whole(message: &[u8]) -> Result<String, String> {
    // After a power cut a mailbox may end in NULs: the length of an append that was never written. What stood before is whole.
    let message = message.split(|&b| b == 0).next().unwrap_or_default();
    let found = ids(message);
    let [id] = found.as_slice() else {
        return Err(format!("{} ids in one message: {found:?}", found.len()));
    };
    let text = String::from_utf8_lossy(message);
    let last = text.lines().rev().map(str::trim_end).find(|l| !l.is_empty());
    if last == Some(&format!("end of {id}")) { Ok(id.clone()) } else { Err(format!("message {id} ends with {last:?}")) }
}
