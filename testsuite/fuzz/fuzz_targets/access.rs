//! access: whatever stands in the table, every question gets a sound answer after few look-ups.
#![no_main]

#[allow(dead_code)]
mod asked;

use asked::{Asked, is_checked, is_sound, split, wait};
use compat_table::access::{AccessTable, Options};
use compat_table::check::Format;
use libfuzzer_sys::fuzz_target;
use table::{Access, Answer, Client, Found, Judgement, Mailbox};

fuzz_target!(|data: &[u8]| {
    let Some((user, domain, text)) = split(data) else { return };
    let bits = data[0];
    let options = Options {
        skip: bits & 1 != 0,
        look_up_dot_domain: bits & 2 != 0,
        relay_to_full_address: bits & 4 != 0,
        compressed_ipv6: bits & 8 != 0,
    };
    let raw = Asked::new(text);
    let access = AccessTable::new(raw.clone(), options);
    let ip = domain.parse().ok().or_else(|| "2001:db8::1".parse().ok());
    let name = Some(domain.as_str()).filter(|_| bits & 16 != 0);
    let client = Client { ip, name };
    let address = Mailbox { user: &user, domain: Some(domain.as_str()).filter(|domain| !domain.is_empty()) };
    let judged = |answer: Answer<'_, Found<Judgement>>| {
        if let Ok(Some(found)) = wait(answer) {
            if let Judgement::Refuse(refusal) = &found.value {
                is_sound(refusal);
            }
        }
        raw.was_little();
    };
    judged(access.connect(client));
    judged(access.relay_from(client));
    judged(access.sender(address));
    judged(access.recipient(address, bits & 32 != 0));
    judged(access.relay_to(&domain));
    judged(access.relay_to_address(address));
    judged(access.spam(address, bits & 32 != 0));
    let _ = wait(access.peer("GreetPause", client));
    raw.was_little();
    let _ = wait(access.credentials(client));
    raw.was_little();
    // No name is longer when it comes here (`tls/name.rs`).
    let named = |text: &str| format!("/CN={}", text.chars().take(200).collect::<String>());
    let shown = mail::Certificate { subject: named(&user), issuer: named(&domain), ..Default::default() };
    let session = mail::Encryption { bits: 128, certificate: Some(shown.clone()), ..Default::default() };
    for demanded in [access.encryption(bits & 64 != 0, client), access.encryption_for(address)] {
        if let Ok(Some(found)) = wait(demanded) {
            let _ = (found.value.refused(&session, name), found.value.refusal());
        }
        raw.was_little();
    }
    let _ = wait(access.features(client));
    raw.was_little();
    let _ = wait(access.relay_by(&shown));
    raw.was_little();
    is_checked(Format::Access(options), text);
});
