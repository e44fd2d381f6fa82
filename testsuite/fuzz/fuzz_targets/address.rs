//! Addresses and SMTP paths: what was read means the same when it is written and read again, and never makes a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::client::{MailOptions, mail_from};
use mail::{Address, command, path};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(address) = Address::parse(text) {
        assert_eq!(address.as_str(), text);
        same(&address);
    }
    if let Ok(read) = path::reverse_path(text) {
        assert!(text.contains(read.given) && text.ends_with(read.rest));
        same(&read.address);
    }
    let _ = (path::forward_path(text), path::written(text));
    let _ = (command::mail_parameters(text), command::rcpt_parameters(text));
    if let Some(plain) = command::decode_xtext(text) {
        assert_eq!(command::decode_xtext(&command::encode_xtext(&plain)), Some(plain));
    }
});

fn same(address: &Address) {
    let line = mail_from(address, &MailOptions::default());
    assert_eq!(line.find(['\r', '\n']), Some(line.len() - 2));
    let read = path::reverse_path(&line["MAIL From:".len()..line.len() - 2]).expect("what we write we read");
    assert_eq!(&read.address, address);
    assert_eq!((address.domain_key().is_some(), read.rest), (address.domain().is_some(), ""));
    assert!(!address.user().chars().any(char::is_control));
}
