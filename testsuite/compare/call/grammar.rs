//! Generated calls: flags, recipients, header and body shapes, users, in combinations that chance makes. Every entry of every list occurs:
//! call number n has the n-th of each, and chance adds to it.

use crate::model::Call;
use crate::random::Random;

/// Flags that stand alone.
const FLAGS: &[&[&str]] = &[
    &[],
    &["-oi"],
    &["-i"],
    &["-odb"],
    &["-odi"],
    &["-odq"],
    &["-odd"],
    &["-oem"],
    &["-oep"],
    &["-oeq"],
    &["-oee"],
    &["-oew"],
    &["-em"],
    &["-ep"],
    &["-eq"],
    &["-ee"],
    &["-ew"],
    &["-e", "m"],
    &["-om"],
    &["-oo"],
    &["-m"],
    &["-n"],
    &["-c"],
    &["-s"],
    &["-of"],
    &["-B8BITMIME"],
    &["-B", "7BIT"],
    &["-Bfoo"],
    &["-f", "bob"],
    &["-f", ""],
    &["-f", "<>"],
    &["-f", "x@far.example"],
    &["-f", "Name <x@far.example>"],
    &["-f", "bad@@x"],
    &["-fbob@mx.example.test"],
    &["-falice@mx.example.test"],
    &["-f", "alice@local.test"],
    &["-f", "nosuch"],
    &["-r", "bob"],
    &["-rx@far.example"],
    &["-f", "x (y)"],
    &["-f", "<bob>"],
    &["-f", "far!bob"],
    &["-F", "X Y"],
    &["-F", "X \"Q\" (y) Z"],
    &["-F", ""],
    &["-FFull"],
    &["-F", "A. B."],
    &["-F", "\u{c4}rger"],
    &["-h", "3"],
    &["-h200"],
    &["-h", "xx"],
    &["-N", "never"],
    &["-N", "success,failure,delay"],
    &["-Nfailure"],
    &["-N", "foo"],
    &["-N", "success"],
    &["-R", "full"],
    &["-Rhdrs"],
    &["-R", "foo"],
    &["-V", "abc"],
    &["-V", "env+1"],
    &["-V", "a+2Bb"],
    &["-L", "tag"],
    &["-pSMTP"],
    &["-p", "TEST:client.host"],
    &["-U"],
    &["-G"],
    &["-Ac"],
    &["-bm"],
    &["-O", "DeliveryMode=b"],
    &["-O", "ErrorMode=m"],
    &["-OErrorMode=q"],
    &["-O", "NoRecipientAction=add-to"],
    &["-ONoRecipientAction=add-bcc"],
    &["-ONoRecipientAction=add-to-undisclosed"],
    &["-ONoRecipientAction=add-apparently-to"],
    &["-O", "SuperSafe=false"],
    &["-O", "IgnoreDots"],
    &["-OIgnoreDots=true"],
    &["-oL9"],
    &["-x"],
    &["-Zx"],
    &["-bz"],
    &["-b9"],
    &["-f", "bob", "-f", "carol"],
    &["-R", "full", "-R", "hdrs"],
    &["-O", "Foo=1"],
    &["-O", "Log=9"],
    &["-oJ"],
    &["-o7"],
    &["-O", "SevenBitInput=true"],
    &["-C/nonexistent"],
    &["-bO"],
    &["-bC"],
    &["-q!Gx"],
    &["-E"],
    &["-J"],
    &["-Q."],
    &["-t", "-N", "never"],
];

/// Recipients as arguments.
const RECIPIENTS: &[&[&str]] = &[
    &["bob"],
    &["nosuch"],
    &["bob", "nosuch"],
    &["bob,carol"],
    &["bob, carol"],
    &["bob,", "carol"],
    &["bob@mx.example.test"],
    &["BOB"],
    &["Bob Smith <bob>"],
    &["bob (comment)"],
    &["\"bob\""],
    &["undisclosed-recipients:;"],
    &["group: bob, carol;"],
    &["multi"],
    &["both"],
    &["far@away.example"],
    &["far@away.example", "bob"],
    &["bob@local.test"],
    &["bob", "bob@mx.example.test"],
    &["|/bin/true"],
    &["/tmp/x"],
    &[":include:/tmp/x"],
    &[""],
    &["bob@"],
    &["@mx.example.test"],
    &["bob@@x"],
    &["<bob>"],
    &["<>"],
    &["bob;carol"],
    &["bob carol"],
    &["nosuch1", "nosuch2"],
    &["loop1"],
    &["nobody-there"],
    &["\\bob"],
    &["a%b@mx.example.test"],
    &["far!bob"],
    &["postmaster"],
    &["MAILER-DAEMON"],
    &["--", "bob"],
    &["--", "-x"],
    &["bob", "-oi"],
    &["\"Smith, Bob\" <bob>, carol"],
    &["bob@mx.example.test."],
    &["bob@MX.EXAMPLE.TEST"],
    &["<@far.example:bob@mx.example.test>"],
    &["\"a b\"@away.example"],
    &["bob@[127.0.0.1]"],
    &["b\u{f6}b"],
    &["bob", "carol", "dave", "erin"],
    &["(only a comment)"],
    &["bob", "nosuch", "far@away.example"],
    &["root"],
    &["alice"],
];

/// Headers, without the empty line. `-t` finds at least the mark.
const HEADERS: &[&str] = &[
    "To: bob\nSubject: plain\n",
    "To: bob, carol\nFrom: alice\n",
    "To: nosuch\n",
    "To: bob\nCc: nosuch\n",
    "To: undisclosed-recipients:;\nBcc: bob\nSubject: bcc\n",
    "Bcc: bob\nSubject: bcc only\n",
    "Bcc: bob\nBcc: carol\n",
    "Cc: bob\nSubject: cc only\n",
    "To: bob\nBcc: carol\n",
    "To: friends: bob, carol;\nSubject: group\n",
    "To: bob (The Bob), \"Carol, X\" <carol>\n",
    "To: =?utf-8?q?B=C3=B6b?= <bob@mx.example.test>\n",
    "To: bob,\n carol,\n\tdave\nSubject: folded\n field\n",
    "To:\nSubject: empty\n",
    "Apparently-To: bob\n",
    "To: carol\nResent-To: bob\nResent-From: alice\n",
    "To: carol\nResent-Bcc: bob\nResent-To: dave\n",
    "Resent-Bcc: bob\nTo: carol\n",
    "Resent-From: alice\nTo: bob\n",
    "Resent-To: bob\nResent-Date: Thu, 01 Mar 2001 10:00:00 +0000\nResent-Message-Id: <r@x.example>\nDate: Thu, 01 Mar 2001 10:00:00 +0000\nFrom: x@far.example\nTo: y@far.example\n",
    "From: Somebody Else <else@far.example>\nTo: bob\n",
    "From: root\nTo: bob\nSender: carol\n",
    "Full-Name: Full N. Name\nTo: bob\n",
    "Return-Path: <x@y.example>\nContent-Length: 7\nTo: bob\n",
    "Message-Id: <given@x.example>\nDate: Thu, 01 Mar 2001 10:00:00 +0000\nFrom: alice\nTo: bob\n",
    "message-id: <given@x.example>\ndate: foo\nfrom: alice\nto: bob\n",
    "Errors-To: carol\nReturn-Receipt-To: carol\nTo: bob\n",
    "X-Authentication-Warning: forged\nReceived: by x.example; Thu, 01 Mar 2001 10:00:00 +0000\nTo: bob\n",
    "Precedence: bulk\nPriority: urgent\nTo: bob\nReply-To: alice, carol\n",
    "To: bob\nTo: carol\n",
    "Subject: \u{fc}ber\nTo: bob\n",
    "To: bob\nSubject: =?iso-8859-1?Q?=FCber?=\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n",
    "To : bob\nSubject\t: x\n",
    "To: bob@mx.example.test, carol@local.test, far@away.example\n",
    "To: far@away.example\nFrom: alice\nReply-To: bob\n",
    "To: bob@mx.example.test (Bob) , \"Far\" <far@away.example>\n",
    "From carol@far.example  Thu Mar  1 10:00:00 2001\nTo: bob\n",
    ">From carol@far.example  Thu Mar  1 10:00:00 2001\nTo: bob\n",
    "From carol@far.example  Thu Mar  1 10:00:00 2001\n",
    "To: bob\nSubject: a very long subject that goes on and on and on, far beyond what one line of a header should have, and then some more of it\n",
    "To: alice, bob, carol, dave, erin, frank, grace, judy, multi, both, far@away.example, further@away.example, furthest@away.example\n",
    "Subject:\nX-Empty:\nTo: bob\n",
    "Subject: no blank\nX-Tab:\tvalue\nX-Two:  two blanks\nTo:bob\n",
    "To: bob@@far..example\nSubject: bad\n",
    "To: bob, carol@@x\nSubject: one bad\n",
    "Bcc:\nSubject: empty bcc\nTo: bob\n",
    "Cc:\nTo: bob\nBcc: \n",
    "To: bob;\n",
    "To: <bob>, <carol@mx.example.test>\nFrom: <alice>\n",
    "To: |/bin/true\nCc: bob\n",
    "In-Reply-To: <a@b>\nReferences: <a@b>\n <c@d>\nComments: none, really\nTo: bob\n",
    "To: \"bob\"\nFrom: \"Alice, A.\" <alice@mx.example.test>\n",
    "",
];

/// Bodies.
const BODIES: &[&[u8]] = &[
    b"hi\n",
    b"one\n.\ntwo\n",
    b"..\n...x\n.y\n",
    b"From here\n>From there\n\nFrom after an empty line\n",
    b"\xe4\xf6\xfc \xc3\xa4\n",
    b"no newline at the end",
    b"",
    b"a\r\nb\r\n.\r\nc\r\n",
    b"blanks  \n\ttab\n\n\n",
    b"one\rtwo\n",
    b".",
    b".\n",
    b".\r\nx\n",
    b"\n\n",
    b"nul \0 here\n",
];

/// Ways of writing the same input.
#[derive(Clone, Copy)]
enum Written {
    Lf,
    CrLf,
    /// A header only, without its last line end.
    Cut,
    /// A header only.
    HeaderOnly,
    /// A body line of so many bytes.
    Long(usize),
}

/// `n` of them.
pub fn calls(seed: u64, n: usize) -> Vec<Call> {
    let mut random = Random::new(seed);
    (0..n).map(|number| call(&mut random, number)).collect()
}

fn call(random: &mut Random, number: usize) -> Call {
    let mut arguments: Vec<&str> = FLAGS[number % FLAGS.len()].to_vec();
    while random.one_in(3) {
        arguments.extend(FLAGS[random.below(FLAGS.len())]);
    }
    let header = HEADERS[(number + number / HEADERS.len()) % HEADERS.len()];
    // Half of them take recipients from the header, some of these also from arguments.
    let from_header = random.one_in(2);
    if from_header {
        let at = random.below(arguments.len() + 1);
        // Not between a flag and its value.
        arguments.insert(if at == 0 { 0 } else { arguments.len() }, "-t");
    }
    if !from_header || random.one_in(8) {
        arguments.extend(RECIPIENTS[(number * 7 + number / RECIPIENTS.len()) % RECIPIENTS.len()]);
    }
    let body = BODIES[if random.one_in(3) { 0 } else { random.below(BODIES.len()) }];
    let written = match random.below(14) {
        0 | 1 => Written::CrLf,
        2 => Written::Cut,
        3 => Written::HeaderOnly,
        4 => Written::Long([990, 1_500, 2_040, 20_000][random.below(4)]),
        _ => Written::Lf,
    };
    let user = ["alice", "alice", "alice", "alice", "root", "carol", "frank"][random.below(7)];
    let name = format!("generated: {number} {}", shape(header, body, written));
    let call = Call::new(&name, &arguments, &input(header, body, written)).by(user);
    let call = crate::better::call(call);
    match random.below(12) {
        0 => call.with("NAME", "Name From Environment"),
        1 => call.with("TZ", "Europe/Berlin"),
        2 => call.with("HOME", "/nonexistent"),
        _ => call,
    }
}

/// What is special in the input, for the list of differences.
fn shape(header: &str, body: &[u8], written: Written) -> String {
    let (text, has_body) = match written {
        Written::Lf => ("lf".to_owned(), true),
        Written::CrLf => ("crlf".to_owned(), true),
        Written::Cut => ("cut".to_owned(), is_bare(header)),
        Written::HeaderOnly => ("header-only".to_owned(), is_bare(header)),
        Written::Long(n) => (format!("long-{n}"), true),
    };
    let body = match body {
        _ if !has_body => "",
        _ if body.contains(&0) => " nul",
        b"one\rtwo\n" => " bare-cr",
        _ => "",
    };
    text + body
}

/// A header with only a From_ line is no header: its mark is in the body.
fn is_bare(header: &str) -> bool {
    !header.contains(": ") && !header.contains(":\n") && !header.contains(":b")
}

fn input(header: &str, body: &[u8], written: Written) -> Vec<u8> {
    let bare = is_bare(header);
    let mut out = header.as_bytes().to_vec();
    if !bare {
        out.extend_from_slice(b"X-Mark: @M@\n");
    }
    match written {
        Written::Cut if !bare => out.extend_from_slice(b"X-Last: line"),
        Written::HeaderOnly if !bare => {}
        _ => {
            if !bare {
                out.push(b'\n');
            }
            out.extend_from_slice(b"@M@\n");
            out.extend_from_slice(body);
            if let Written::Long(n) = written {
                out.extend(std::iter::repeat_n(b'x', n));
                out.push(b'\n');
            }
        }
    }
    if matches!(written, Written::CrLf) {
        let mut crlf = Vec::new();
        for line in out.split_inclusive(|&b| b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) if !text.ends_with(b"\r") => {
                    crlf.extend_from_slice(text);
                    crlf.extend_from_slice(b"\r\n");
                }
                _ => crlf.extend_from_slice(line),
            }
        }
        return crlf;
    }
    out
}
