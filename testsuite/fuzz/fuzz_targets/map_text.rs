//! The text of a map by makemap's rules: rows lie in the text, in order, and the table of the same text has the first of each key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use table::Table as _;
use table::text::{Rules, Text, rows};

fuzz_target!(|data: &[u8]| {
    let table = Text::new("/t", data.to_vec()).expect("shorter than 1 GiB");
    let (mut first, mut last) = (HashMap::new(), 0);
    for row in rows(data) {
        match row {
            Ok(row) => {
                assert!(row.line > last && !row.value.is_empty());
                last = row.line;
                first.entry(row.key.to_ascii_lowercase()).or_insert((row.line, row.value));
            }
            Err(fault) => {
                assert!(fault.line > last && !fault.what.is_empty());
                last = fault.line;
            }
        }
    }
    for (key, (line, value)) in first {
        let Ok(key) = String::from_utf8(key) else { continue };
        let Poll::Ready(Ok(Some(hit))) = pin!(table.look_up(&key)).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("{key:?} is not found");
        };
        assert_eq!((hit.why.line, hit.value), (line, String::from_utf8_lossy(value).into_owned()));
    }
    assert!(table.warnings().iter().all(|line| line.starts_with("/t:") && !line.contains(char::is_control)));
    let rules = Rules { delimiter: data.first().copied(), comment: b';', empty_values: true };
    let _ = rules.rows(data).count();
});
