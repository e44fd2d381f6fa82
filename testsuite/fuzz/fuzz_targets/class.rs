//! Class files in both ways of reading, and the `F` lines that name them.
#![no_main]

use compat_table::class::{parse, read};
use libfuzzer_sys::fuzz_target;
use table::Words;

fuzz_target!(|data: &[u8]| {
    let count = |which| {
        let words = read(data, which);
        assert!(words.iter().all(|word| !word.text.is_empty() && !word.text.contains([' ', '\t', '\r', '\n'])));
        assert!(words.windows(2).all(|pair| pair[0].line <= pair[1].line));
        words.len()
    };
    assert!(count(Words::First) <= data.split(|&b| b == b'\n').count());
    let _ = count(Words::All);
    if let Some(file) = parse(&String::from_utf8_lossy(data)) {
        assert!(file.path.starts_with('/') && !file.path.contains([' ', '\t']));
    }
});
