//! Header fields, the streaming scan, address lists and edits: the two readers agree, and edits touch only what they name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::header::{Known, Scan, fields, qualify, remove, split};
use mail::list::addresses;

fuzz_target!(|data: &[u8]| {
    let cut = split(data);
    for step in [1, 7, data.len().max(1)] {
        let mut scan = Scan::new();
        data.chunks(step).for_each(|piece| scan.feed(piece));
        assert_eq!(scan.size(), cut.header as u64);
        let received = fields(data).filter(|f| f.is("Received")).count();
        assert_eq!(scan.received_count() as usize, received);
        assert_eq!(scan.has(Known::From), fields(data).any(|f| f.is("From")));
        assert!(scan.message_id().len() <= 3_000);
    }
    let mut end = 0;
    for field in fields(data) {
        assert_eq!(field.raw.start, end);
        end = field.raw.end;
        let body = &data[field.body.clone()];
        let mut last = 0;
        for listed in addresses(body) {
            assert!(listed.span.start >= last && listed.span.end <= body.len());
            last = listed.span.end;
        }
    }
    assert_eq!(end, cut.header);
    let qualified = qualify(data, "h.example");
    // Only insertions, but for blanks and commas between addresses: what was there is still there, in order; and the body as it was.
    let is_layout = |byte: &&u8| byte.is_ascii_whitespace() || **byte == b',';
    let mut new = qualified.iter();
    assert!(data.iter().filter(|byte| !is_layout(byte)).all(|byte| new.any(|b| b == byte)));
    assert!(qualified.ends_with(&data[cut.header..]));
    let removed = remove(data, &["Bcc"]);
    assert!(fields(&removed[..removed.len() - (data.len() - cut.header)]).all(|f| !f.is("Bcc")));
});
