//! Tables of patterns: any text, any key; a value is not larger than its limit.
#![no_main]

#[allow(dead_code)]
mod stored;

use libfuzzer_sys::fuzz_target;
use stored::wait;
use table::Table as _;
use table::pattern::Pattern;

fuzz_target!(|data: &[u8]| {
    // A pattern may take a megabyte: thousands of them are the administrator's own choice, not the fuzzer's.
    let data = &data[..data.len().min(2_048)];
    let end = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (question, text) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let table = Pattern::new("/t", text);
    assert!(table.warnings().iter().all(|line| line.starts_with("/t:") && !line.contains(char::is_control)));
    for key in [question.as_ref(), "", "Dogs-List@example.org", &"a".repeat(4_000)] {
        if let Some(hit) = wait(table.look_up(key)).expect("in memory") {
            assert!(hit.value.len() <= 70_000 && hit.why.line > 0);
        }
    }
});
