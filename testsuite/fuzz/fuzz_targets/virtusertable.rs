//! virtusertable: every answer is one line, a refusal can be sent, and an address never points to itself.
#![no_main]

#[allow(dead_code)]
mod asked;

use asked::{Asked, is_checked, is_sound, split, wait};
use compat_table::check::Format;
use compat_table::virtual_users::VirtualUserTable;
use libfuzzer_sys::fuzz_target;
use table::{Mailbox, Redirect, VirtualUsers};

fuzz_target!(|data: &[u8]| {
    let Some((user, domain, text)) = split(data) else { return };
    let raw = Asked::new(text);
    let table = VirtualUserTable::new(raw.clone());
    let found = wait(table.redirect(Mailbox { user: &user, domain: Some(&domain) }));
    raw.was_little();
    match found.ok().flatten().map(|found| found.value) {
        Some(Redirect::Refuse(refusal)) => is_sound(&refusal),
        Some(Redirect::Address(to)) => {
            assert!(!to.is_empty() && !to.contains('\n') && !to.starts_with('|'), "{to:?}");
            assert!(!to.eq_ignore_ascii_case(&format!("{user}@{domain}")), "{to:?}");
        }
        Some(Redirect::Mailbox(user)) => assert!(!user.is_empty() && !user.contains('\n'), "{user:?}"),
        None => {}
    }
    is_checked(Format::VirtualUsers, text);
});
