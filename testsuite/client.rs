//! Real programs of Debian 12 call `/usr/sbin/sendmail` or speak SMTP to port 25, on the private host: issue 2's "Must show" 5, issue 4's 3.
//! A wrapper keeps what each program gave to `sendmail`, so that the delivered message is compared with it byte for byte:
//! the body equal, every header field equal and in order but Bcc, and nothing added but what sendmail.md 1.9 lists.
//! And: bsd-mailx and mutt empty a mailbox in a loop while 500 messages arrive.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "client/host.rs"]
mod host;
#[path = "client/mail_program.rs"]
mod mail_program;
#[path = "client/reader.rs"]
mod reader;
#[path = "client/script.rs"]
mod script;
#[path = "client/service.rs"]
mod service;
#[path = "client/small.rs"]
mod small;
