//! Round trips, and every spelling with which one server could be made to see an end that another does not.

use super::*;
use proptest::prelude::*;

fn decode(wire: &[u8], step: usize) -> (Vec<u8>, usize, DataDecoder) {
    let (mut decoder, mut out, mut used) = (DataDecoder::new(), Vec::new(), 0);
    for piece in wire.chunks(step.max(1)) {
        let (n, done) = decoder.feed(piece, &mut out);
        used += n;
        if done {
            break;
        }
        assert_eq!(n, piece.len());
    }
    (out, used, decoder)
}

fn encode(content: &[u8], step: usize) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    content.chunks(step.max(1)).for_each(|piece| encoder.feed(piece, &mut out));
    encoder.finish(&mut out);
    out
}

fn line_ends(input: &[u8], step: usize) -> (Vec<u8>, bool) {
    let (mut ends, mut out) = (LineEnds::new(), Vec::new());
    input.chunks(step.max(1)).for_each(|piece| ends.feed(piece, &mut out));
    ends.finish(&mut out);
    (out, ends.bare_cr())
}

#[test]
fn only_crlf_dot_crlf_ends_the_data() {
    let ends = ["\n", "\r", "\r\n", "\r\0\n", "\r\r\n", "\n\r", "\r\n\0", "\r\n ", "\u{2028}", "\u{85}"];
    let dots = [".", "\u{ff0e}", ". ", ".\0", "\0.", " .", "..", ".\t"];
    let mut tried = 0;
    for before in ends {
        for dot in dots {
            for after in ends {
                let middle = format!("{before}{dot}{after}");
                if middle.contains("\r\n.\r\n") {
                    continue;
                }
                let wire = format!("a{middle}MAIL FROM:<x>\r\n.\r\nQUIT\r\n");
                for step in [1, 2, 3, 5, wire.len()] {
                    let (out, used, decoder) = decode(wire.as_bytes(), step);
                    assert!(decoder.done(), "{middle:?}");
                    assert_eq!(&wire[used..], "QUIT\r\n", "{middle:?}");
                    assert!(out.windows(4).any(|w| w == b"MAIL"), "{middle:?}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 700);
}

#[test]
fn lone_cr_lf_and_nul_are_noted() {
    for (wire, bare, nul) in [
        ("a\r\n.\r\n", false, false),
        ("a\n.\r\nb\r\n.\r\n", true, false),
        ("a\rb\r\n.\r\n", true, false),
        ("a\r\r\n.\r\n", true, false),
        (".\rb\r\n.\r\n", true, false),
        (".\nb\r\n.\r\n", true, false),
        ("\n\r\n.\r\n", true, false),
        ("a\0\r\n.\r\n", false, true),
        ("..\r\n.x\r\n.\r\n", false, false),
        (".\r\n", false, false),
    ] {
        for step in 1..=wire.len() {
            let (_, _, decoder) = decode(wire.as_bytes(), step);
            assert_eq!((decoder.bare(), decoder.nul()), (bare, nul), "{wire:?} by {step}");
            assert!(decoder.done(), "{wire:?}");
        }
    }
}

#[test]
fn dots_come_off() {
    for step in 1..20 {
        let (out, used, _) = decode(b"..a\r\n...\r\n.b\r\n\r\n.c..\r\n.\r\nRSET\r\n", step);
        assert_eq!(out, b".a\r\n..\r\nb\r\n\r\nc..\r\n");
        assert_eq!(used, 25);
    }
    assert_eq!(decode(b".\r\nQUIT\r\n", 100).0, b"");
    assert!(!decode(b"a\r\n.\r", 100).2.done());
}

#[test]
fn local_input_gets_crlf() {
    for (input, content, bare) in [
        ("", "", false),
        ("a", "a\r\n", false),
        ("a\nb\r\nc\n", "a\r\nb\r\nc\r\n", false),
        ("a\r", "a\r\n", false),
        ("\r", "\r\n", false),
        ("a\rb\n", "a\rb\r\n", true),
        ("a\r\r\n", "a\r\r\n", true),
        ("\n\n", "\r\n\r\n", false),
        (".\n", ".\r\n", false),
    ] {
        for step in 1..=input.len().max(1) {
            assert_eq!(line_ends(input.as_bytes(), step), (content.into(), bare), "{input:?} by {step}");
        }
    }
}

#[test]
fn nothing_unclean_leaves() {
    for (content, wire) in [
        ("", ".\r\n"),
        ("a\r\n", "a\r\n.\r\n"),
        (".\r\n", "..\r\n.\r\n"),
        ("a\n.b\nc", "a\r\n..b\r\nc\r\n.\r\n"),
        ("a\rb\r\n", "a b\r\n.\r\n"),
        ("a\r\r\n", "a \r\n.\r\n"),
        ("\r.\r\n", " .\r\n.\r\n"),
        ("\n.\r", "\r\n.. \r\n.\r\n"),
    ] {
        for step in 1..=content.len().max(1) {
            assert_eq!(encode(content.as_bytes(), step), wire.as_bytes(), "{content:?} by {step}");
        }
    }
}

#[test]
fn long_lines_are_broken_between_characters() {
    let exact = "x".repeat(LINE_LIMIT) + "\r\n";
    assert!(is_wire_clean(exact.as_bytes()));
    assert_eq!(encode(exact.as_bytes(), 7), (exact.clone() + ".\r\n").as_bytes());
    let over = "x".repeat(LINE_LIMIT + 1) + "\r\n";
    assert!(!is_wire_clean(over.as_bytes()));
    assert_eq!(encode(over.as_bytes(), 7), format!("{}\r\n x\r\n.\r\n", "x".repeat(LINE_LIMIT)).as_bytes());
    // A multiple of the limit in the middle of a buffer.
    assert!(!is_wire_clean(("a\r\n".to_owned() + &over + "b\r\n").as_bytes()));
    for step in [1, 2, 3, 500, 10_000] {
        for text in ["é", "€", "😀", "a😀", "ab€"] {
            let wire = encode((text.repeat(900) + "\r\n").as_bytes(), step);
            let lines = std::str::from_utf8(&wire).unwrap();
            assert!(lines.split("\r\n").all(|l| l.len() <= LINE_LIMIT && std::str::from_utf8(l.as_bytes()).is_ok()));
            assert_eq!(lines.replace("\r\n ", ""), text.repeat(900) + "\r\n.\r\n");
        }
    }
}

/// Bytes in which the ones that matter are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(0), Just(b'a'), any::<u8>()];
    proptest::collection::vec(byte, 0..60)
}

/// Lines of anything but NUL, LF, CR.
fn canonical() -> impl Strategy<Value = Vec<u8>> {
    let line = proptest::collection::vec(prop_oneof![Just(b'.'), 1u8..10, 14u8..=255], 0..40);
    proptest::collection::vec(line, 0..12).prop_map(|lines| {
        let mut content = Vec::new();
        for line in lines {
            content.extend(line);
            content.extend(b"\r\n");
        }
        content
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_content_survives_the_wire(content in canonical(), a in 1usize..9, b in 1usize..9) {
        let wire = encode(&content, a);
        let (out, used, decoder) = decode(&wire, b);
        prop_assert_eq!(out, content);
        prop_assert_eq!(used, wire.len());
        prop_assert!(decoder.done() && !decoder.bare());
    }

    #[test]
    fn any_content_leaves_clean_and_ends_once(content in bytes(), step in 1usize..9) {
        let wire = encode(&content, step);
        prop_assert_eq!(&wire, &encode(&content, content.len()));
        let (out, used, decoder) = decode(&wire, wire.len());
        prop_assert_eq!(used, wire.len());
        prop_assert!(decoder.done() && !decoder.bare());
        prop_assert!(!stray(false, &wire).bare && wire.ends_with(b".\r\n"));
        prop_assert!(wire.split(|&b| b == b'\n').all(|line| line.len() <= LINE_LIMIT + 2));
        // Encoding what was decoded changes nothing more.
        prop_assert_eq!(encode(&out, step), wire.clone());
        if is_wire_clean(&content) {
            prop_assert_eq!(wire, [&content[..], b".\r\n"].concat());
        }
    }

    #[test]
    fn packets_do_not_matter(wire in bytes(), step in 1usize..9) {
        let (whole, one) = (decode(&wire, wire.len()), decode(&wire, step));
        prop_assert_eq!(&whole.0, &one.0);
        prop_assert_eq!(whole.1, one.1);
        prop_assert_eq!((whole.2.bare(), whole.2.nul()), (one.2.bare(), one.2.nul()));
        prop_assert_eq!(line_ends(&wire, step), line_ends(&wire, wire.len()));
    }

    #[test]
    fn header_and_list_readers_never_panic(content in bytes()) {
        let _ = crate::list::addresses(&content);
        let split = crate::header::split(&content);
        let mut scan = crate::header::Scan::new();
        content.chunks(3).for_each(|piece| scan.feed(piece));
        prop_assert_eq!(scan.size(), split.header as u64);
        let _ = crate::header::qualify(&content, "h");
    }
}
