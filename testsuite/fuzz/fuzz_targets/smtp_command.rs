//! A whole SMTP session: command lines, decisions, content. Every reply must be one well-formed reply, and content must
//! decode the same however it is cut into packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::client::ReplyDecoder;
use mail::content::{DataDecoder, Encoder};
use mail::server::{Limits, Session, Step};

const LIMITS: Limits = Limits { message_size: 10_000, recipients: 5, errors: 50 };

fuzz_target!(|data: &[u8]| {
    let mut session = Session::new("mx.example", "1", "client [192.0.2.1]", LIMITS, true);
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|w| w == b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[][..], |at| &rest[at + 2..]);
        let reply = match session.command(line) {
            Step::Reply(reply) => reply,
            Step::Close(reply) => {
                check(&reply.to_wire());
                return;
            }
            Step::Sender(from) => session.sender(decide(&from.given)),
            Step::Recipient(rcpt) => session.recipient(decide(&rcpt.given)),
            Step::Verify(text) | Step::Expand(text) => mail::Reply::success(252, 5, 2, text),
            Step::RunQueue(node) => mail::Reply::success(250, 0, 0, format!("Queuing for node {node} started")),
            Step::StartTls(reply) => {
                session.tls_started("version=TLSv1.3".into());
                assert!(session.envelope().is_none());
                reply
            }
            Step::Content => match session.data(Ok(())) {
                Ok(reply) => {
                    rest = content(rest);
                    session.finish();
                    reply
                }
                Err(reply) => reply,
            },
        };
        check(&reply.to_wire());
    }
});

fn decide(given: &str) -> Result<(), mail::Reply> {
    if given.contains('x') {
        return Err(mail::Reply::permanent(550, 1, 1, format!("{given}... User unknown")));
    }
    Ok(())
}

fn check(wire: &[u8]) {
    let (used, answer) = ReplyDecoder::new().feed(wire).expect("our own reply");
    assert!(answer.is_some() && used == wire.len(), "one reply: {wire:?}");
}

fn content(wire: &[u8]) -> &[u8] {
    let (mut whole, mut out) = (DataDecoder::new(), Vec::new());
    let (used, done) = whole.feed(wire, &mut out);
    let (mut cut, mut pieces, mut total) = (DataDecoder::new(), Vec::new(), 0);
    for piece in wire[..used].chunks(3) {
        total += cut.feed(piece, &mut pieces).0;
    }
    assert_eq!((total, &pieces, cut.done()), (used, &out, done));
    assert_eq!((cut.bare(), cut.nul()), (whole.bare(), whole.nul()));
    if done {
        let truth = wire[..used].ends_with(b"\r\n.\r\n") || used == 3;
        assert!(truth, "only CRLF.CRLF ends the data");
    }
    // What leaves again is clean and ends once.
    let (mut encoder, mut again) = (Encoder::new(), Vec::new());
    out.chunks(5).for_each(|piece| encoder.feed(piece, &mut again));
    encoder.finish(&mut again);
    let (mut reader, mut back) = (DataDecoder::new(), Vec::new());
    assert_eq!(reader.feed(&again, &mut back), (again.len(), true));
    assert!(!reader.bare());
    &wire[used..]
}
