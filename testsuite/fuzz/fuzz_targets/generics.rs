//! genericstable and domaintable: few look-ups, values of bounded length.
#![no_main]

#[allow(dead_code)]
mod asked;

use asked::{Asked, is_checked, split, wait};
use compat_table::check::Format;
use compat_table::domains::renamed;
use compat_table::generics::GenericsTable;
use libfuzzer_sys::fuzz_target;
use table::{Generics, Mailbox};

fuzz_target!(|data: &[u8]| {
    let Some((user, domain, text)) = split(data) else { return };
    let raw = Asked::new(text);
    let table = GenericsTable::new(raw.clone(), "mx.test");
    for domain in [None, Some(domain.as_str())] {
        if let Ok(Some(hit)) = wait(table.outside(Mailbox { user: &user, domain })) {
            assert!(hit.value.len() <= 5_200 && !hit.value.contains('\n'));
        }
        raw.was_little();
    }
    if let Ok(Some(hit)) = wait(renamed(&*raw, &domain)) {
        assert!(
            !hit.value.is_empty() && !hit.value.contains([' ', '\n', '@']) || hit.value.starts_with('['),
            "{hit:?}"
        );
    }
    is_checked(Format::Generics, text);
    is_checked(Format::Domains, text);
});
