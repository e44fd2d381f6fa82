//! `.forward` and `:include:` files, and ForwardPath: no path leaves its folder, no entry grows a line.
#![no_main]

use compat_table::Entry;
use compat_table::forward::{Owner, check, lines, paths};
use libfuzzer_sys::fuzz_target;
use table::{alias_entries, alias_value};

fuzz_target!(|data: &[u8]| {
    let mut last = 0;
    for line in lines(data) {
        assert!(line.line > last && !line.entries.is_empty());
        last = line.line;
        let canonical = alias_value(&line.entries);
        assert_eq!(alias_entries(&canonical).len(), line.entries.len(), "{canonical:?}");
        for entry in &line.entries {
            if let Entry::File(path) = entry {
                assert!(path.starts_with('/') && !path.contains('\n'));
            }
        }
    }
    for problem in check("/t", data) {
        let line = problem.to_string();
        assert!(line.starts_with("/t:") && !line.contains(char::is_control), "{line:?}");
    }
    let text = String::from_utf8_lossy(data);
    let owner = Owner { home: "/home/al", user: "al", detail: &text, host: "mx" };
    for path in paths("$z/.forward.$w+$h:$z/.forward+$h:$z/.forward:$u", owner) {
        assert!(path.strip_prefix("/home/al/").is_some_and(|name| !name.contains('/')), "{path:?}");
    }
    for path in paths(&text, owner) {
        assert!(path.starts_with('/'));
    }
});
