//! Replies of a socketmap server: a reply is taken off the stream to its comma and no further, and says one thing.
#![no_main]

#[allow(dead_code)]
mod stored;

use libfuzzer_sys::fuzz_target;
use stored::wait;
use table::socketmap::{meaning, reply};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(bytes) = wait(reply(&mut rest)) {
        let taken = data.len() - rest.len();
        assert!(data[..taken].ends_with(b",") && data[..taken - 1].ends_with(&bytes));
        match meaning(&bytes) {
            Ok(Some(value)) => assert!(bytes.starts_with(b"OK") && value.len() <= 3 * bytes.len()),
            Ok(None) => assert!(bytes.starts_with(b"NOTFOUND")),
            Err(text) => assert!(!text.starts_with("OK ")),
        }
    }
});
