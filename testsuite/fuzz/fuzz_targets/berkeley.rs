//! Berkeley DB files: whatever is in one, a look-up and a listing end, and together records are no larger than the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::database::{Berkeley, berkeley};

fuzz_target!(|data: &[u8]| {
    let _ = berkeley::is_one(data);
    let Ok(table) = Berkeley::new(data) else { return };
    let mut bytes = 0;
    for (n, record) in table.records().enumerate() {
        let Ok(record) = record else { break };
        bytes += record.key.len() + record.value.len();
        if n < 20 {
            let _ = table.get(&record.key);
        }
    }
    assert!(bytes <= data.len());
    for key in ["", "alice", "user7@virt.example", "zzz"] {
        let _ = table.get(key.as_bytes());
    }
});
