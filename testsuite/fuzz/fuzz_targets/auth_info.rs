//! AuthInfo values: names are UTF-8 without NUL, and what is told about a bad one never shows what stands in it.
#![no_main]

#[allow(dead_code)]
mod asked;

use compat_table::auth_info::{parse, parse_default};
use compat_table::check::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for read in [parse(&text), parse_default(data)] {
        match read {
            Ok(read) => {
                assert!(!read.user.contains('\0') && !read.identity.contains('\0') && !read.password.contains(&0));
                assert!(read.realm.as_deref() != Some(""));
                assert!(read.mechanisms.iter().all(|name| !name.is_empty() && *name == name.to_ascii_uppercase()));
            }
            Err(expected) => assert!(expected.starts_with("expected ") && expected.len() < 80, "{expected}"),
        }
    }
    asked::is_checked(Format::AuthInfo, data);
});
