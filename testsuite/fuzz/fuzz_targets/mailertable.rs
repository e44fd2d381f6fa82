//! mailertable: every answer is a hop that can be used, or says that it is none.
#![no_main]

#[allow(dead_code)]
mod asked;

use asked::{Asked, is_checked, is_sound, split, wait};
use compat_table::check::Format;
use compat_table::mailers::MailerTable;
use libfuzzer_sys::fuzz_target;
use table::{Hop, Mailers};

fuzz_target!(|data: &[u8]| {
    let Some((_, domain, text)) = split(data) else { return };
    let raw = Asked::new(text);
    let table = MailerTable::new(raw.clone());
    let found = wait(table.hop(&domain));
    raw.was_little();
    match found.ok().flatten().map(|found| found.value) {
        Some(Hop::Refuse(refusal)) => is_sound(&refusal),
        Some(Hop::Smtp { mailer, hosts }) => {
            assert!(!hosts.is_empty() && mailer == mailer.to_ascii_lowercase());
            assert!(hosts.iter().all(|host| host.name == host.name.to_ascii_lowercase() && !host.name.contains('\n')));
        }
        Some(Hop::Local(user)) => assert_ne!(user.as_deref(), Some("")),
        Some(Hop::Lmtp(_) | Hop::Discard | Hop::Unknown(_)) | None => {}
    }
    is_checked(Format::Mailers, text);
});
