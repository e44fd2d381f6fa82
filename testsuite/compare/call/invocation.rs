//! The calls of `reference/invocations.md`: real programs (its table 2) and hand-written ones (3), with input of the shape that was seen.

use crate::model::Call;

const PLAIN: &[u8] = b"From: alice@mx.example.test\nTo: bob@mx.example.test\nSubject: plain\nX-Mark: @M@\n\nhi @M@\n";
const NO_SENDER: &[u8] = b"To: bob@mx.example.test\nSubject: no sender\nX-Mark: @M@\n\nhi @M@\n";
const LIST: &[u8] = b"To: bob@mx.example.test\nSubject: a list of people\nCc: carol@mx.example.test\nBcc: dave@mx.example.test\nMIME-Version: 1.0\nContent-Type: text/plain; charset=\"UTF-8\"\nContent-Transfer-Encoding: 8bit\n\none @M@\n.\ntwo\n";
const NO_FROM: &[u8] = b"To: bob@mx.example.test\nSubject: no from\nMIME-Version: 1.0\nContent-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: 8bit\n\nGr\xc3\xbc\xc3\x9fe @M@\n";
const WHOLE: &[u8] = b"Date: Thu, 01 Mar 2001 10:00:00 +0100\nFrom: Alice <alice@mx.example.test>\nTo: bob@mx.example.test, Dave <dave@mx.example.test>\nCc: carol@mx.example.test\nSubject: whole\nMessage-ID: <whole@mx.example.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Disposition: inline\nContent-Transfer-Encoding: 8bit\n\none @M@\n.\n\xc3\xa4 two\n";
const WITH_FROM: &[u8] =
    b"From: bounce@lists.example.test\nTo: bob@mx.example.test\nSubject: with from\nMIME-Version: 1.0\n\nhi @M@\n";
const BCC: &[u8] = b"MIME-Version: 1.0\nX-Mailer: MIME::Lite\nDate: Thu, 01 Mar 2001 10:00:00 +0000\nFrom: alice@mx.example.test\nTo: bob@mx.example.test\nCc: carol@mx.example.test\nBcc: dave@mx.example.test\nSubject: lite\n\nhi @M@\n.\n\xe4\xf6\n";
const AT: &[u8] = b"Subject: Output from your job        3\nTo: alice\n\n@M@ no final newline";
const CRON: &[u8] = b"From: root (Cron Daemon)\nTo: bob,dave@mx.example.test\nSubject: Cron <erin@mx> echo x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\nX-Cron-Env: <HOME=/home/erin>\n\n\xc3\xbc @M@\n";
const CRON_DOT: &[u8] = b"From: root (Cron Daemon)\nTo: bob\nSubject: Cron <alice@mx> echo x\nX-Cron-Env: <LOGNAME=alice>\n\n@M@\n.\nafter the dot, no final newline";
const ANACRON: &[u8] = b"From: Anacron <root>\nTo: bob\nSubject: Anacron job 'x' on mx\nContent-Type: text/plain; charset=ANSI_X3.4-1968\n\n@M@\n.\nlost\n";
const CALENDAR: &[u8] = b"From: \"Reminder Service\" <erin>\nTo: erin\nSubject: Today's Calendar\nPrecedence: bulk\nAuto-Submitted: auto-generated\n\n@M@\n";
const PHP: &[u8] = b"To: bob@mx.example.test\r\nSubject: php\r\nX-PHP: @M@\r\n\r\nbody\r\n";
const PHP_MIXED: &[u8] = b"To: bob@mx.example.test\r\nSubject: php\r\nFrom: web@mx.example.test\r\nReply-To: carol@mx.example.test\r\nBcc: dave@mx.example.test\r\nX-Mailer: PHP/8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nline @M@\n.\n\xc3\xa4\nend\r\n";
const PHP_FOLD: &[u8] = b"To: bob@mx.example.test\r\nSubject: a long\r\n folded subject\r\nFrom: web@mx.example.test\r\nX-Id: @M@\r\nX-Fold: one\r\n\ttwo\r\n\r\nx\n";
const PHP_MULTI: &[u8] = b"To: bob@mx.example.test\r\nSubject: php\r\nFrom: alice@mx.example.test\r\nCc: carol@mx.example.test\r\nX-Multi: 1\r\nX-Multi: 2 @M@\r\n\r\nline\r\n.\r\nend\r\n";
const PERL: &[u8] = b"X-Kept: @M@\nCc: carol@mx.example.test\nBcc: dave@mx.example.test\nTo: bob@mx.example.test\nSubject: perl\n\none @M@\n.\ntwo\n";
const PERL_SENDER: &[u8] = b"Subject: perl\nX-Mailer: Mail::Mailer\nSender: carol@mx.example.test\nTo: bob@mx.example.test\nX-Fold: one\n two\nFrom: alice@mx.example.test\n\nhi @M@\n..\n.x\n";
const RT: &[u8] = b"From: rt@mx.example.test\nTo: bob@mx.example.test\nSubject: [rt #1] x\nRT-Ticket: 1\nAuto-Submitted: auto-generated\n\n@M@\n";
const MAILMAN: &[u8] = b"To: list@lists.example.test\nFrom: alice@mx.example.test\nSubject: x\nSender: list-bounces@lists.example.test\nErrors-To: list-bounces@lists.example.test\n\n@M@\n";
const TRAC: &[u8] = b"From: trac@mx.example.test\r\nTo: bob@mx.example.test\r\nSubject: trac\r\nX-Fold: a\r\n b\r\n\r\n@M@\r\n.\r\nend\r\n";
const SUDO: &[u8] = b"To: bob\nFrom: alice\nAuto-Submitted: auto-generated\nSubject: *** SECURITY information for mx ***\n\nmx : Nov 22 : alice : x @M@\n\n";
const FAIL2BAN: &[u8] = b"Subject: [Fail2Ban] sshd: banned 192.0.2.1 from mx\nDate: Thu, 01 Mar 2001 10:00:00 +0000\nFrom: Fail2Ban <fail2ban@lists.example.test>\nTo: bob@mx.example.test\n\nHi,\n\n@M@\n\nRegards,\n\nFail2Ban";
const FORMAIL: &[u8] =
    b"From carol@far.example  Thu Mar  1 10:00:00 2001\nFrom: carol@far.example\nTo: alice\nSubject: formail\n\n@M@\n";
const FETCHMAIL: &[u8] = b"Received: from pop.example (pop.example [192.0.2.1])\n\tby mx.example.test with POP3 (fetchmail) for <judy@localhost>; Thu, 01 Mar 2001 10:00:00 +0000\nReturn-Path: <carol@far.example>\nFrom: carol@far.example\nTo: judy@far.example\nSubject: fetched\nX-Kept: @M@\n\nx\n.\ny\n";
const MPACK: &[u8] = b"Message-ID: <12.34@mx.example.test>\nMIME-Version: 1.0\nTo: bob@mx.example.test\nSubject: file\nContent-Type: multipart/mixed; boundary=\"-\"\n\n---\n\n@M@\n-----\n";
const VACATION: &[u8] =
    b"To: alice@mx.example.test\nSubject: away\nFrom: frank@mx.example.test\n\nI am away. @M@\n.\nlost\n";
const BUG: &[u8] = b"Content-Type: text/plain; charset=\"us-ascii\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\nFrom: Alice <alice@example.org>\nTo: Debian Bug Tracking System <submit@bugs.example.org>\nSubject: x: y\nMessage-ID: <1.2.reportbug@mx.example.test>\nX-Mailer: reportbug 1\nDate: Thu, 01 Mar 2001 10:00:00 +0000\nX-Debbugs-Cc: alice@example.org\n\nPackage: x @M@\n";
const BARE: &[u8] = b"just text @M@\n";

/// Caller, call and input of table 2.
const PROGRAMS: &[(&str, &str, &str, &[u8])] = &[
    // The first of all: no connection to the smart host is kept yet.
    ("direct -v far", "root", "/usr/sbin/sendmail -Am -v -i far@away.example", PLAIN),
    ("direct -v here", "root", "/usr/sbin/sendmail -Am -v -i bob", PLAIN),
    ("direct -v unknown", "root", "/usr/sbin/sendmail -Am -v -i bob nosuch", PLAIN),
    ("bsd-mailx", "alice", "/usr/sbin/sendmail -i -t", LIST),
    ("bsd-mailx 8-bit", "alice", "/usr/sbin/sendmail -i -t", NO_FROM),
    ("bsd-mailx -r", "alice", "/usr/sbin/sendmail -i -t -f bounce@lists.example.test", WITH_FROM),
    (
        "s-nail",
        "alice",
        "/usr/sbin/sendmail -i -- bob@mx.example.test dave@mx.example.test carol@mx.example.test",
        WHOLE,
    ),
    ("s-nail -r", "alice", "/usr/sbin/sendmail -i -f bounce@lists.example.test -- bob@mx.example.test", WHOLE),
    ("mailutils", "alice", "/usr/sbin/sendmail -oi -f alice@mx.example.test -t", LIST),
    ("mailutils -r", "alice", "/usr/sbin/sendmail -oi -f bounce@lists.example.test -t", NO_FROM),
    ("detail", "alice", "/usr/sbin/sendmail -i -t", b"To: bob+detail@mx.example.test\nSubject: x\n\n@M@\n"),
    ("alias", "alice", "/usr/sbin/sendmail -i -t", b"To: postmaster\nSubject: x\n\n@M@\n"),
    (
        "mutt",
        "alice",
        "/usr/sbin/sendmail -oem -oi -- bob@mx.example.test dave@mx.example.test carol@mx.example.test",
        WHOLE,
    ),
    (
        "mutt 8bit",
        "alice",
        "/usr/sbin/sendmail -oem -oi -B8BITMIME -f bounce@lists.example.test -- bob@mx.example.test",
        WHOLE,
    ),
    ("mutt dsn", "alice", "/usr/sbin/sendmail -oem -oi -N success,failure -R hdrs -- bob@mx.example.test", WHOLE),
    ("mutt two", "alice", "/usr/sbin/sendmail -oem -oi -- bob@mx.example.test carol@mx.example.test", WHOLE),
    ("nmh", "alice", "/usr/sbin/sendmail -t -i", WHOLE),
    ("at", "alice", "/usr/sbin/sendmail -i alice", AT),
    ("logcheck", "grace", "/sbin/sendmail -oi judy", SUDO),
    ("at -m", "erin", "/usr/sbin/sendmail -i erin", AT),
    ("batch", "grace", "/usr/sbin/sendmail -i grace", AT),
    ("anacron", "root", "/usr/sbin/sendmail -FAnacron -odi bob", ANACRON),
    ("calendar", "erin", "/usr/sbin/sendmail -i -t -F '\"Reminder Service\"'", CALENDAR),
    ("cron list", "erin", "/usr/sbin/sendmail -FCronDaemon -i -B8BITMIME -oem bob,dave@mx.example.test", CRON),
    ("cron", "erin", "/usr/sbin/sendmail -FCronDaemon -i -B8BITMIME -oem erin", CRON),
    ("cron dot", "alice", "/usr/sbin/sendmail -FCronDaemon -i -B8BITMIME -oem bob", CRON_DOT),
    ("php", "judy", "/usr/sbin/sendmail -t -i", PHP),
    ("php mixed", "judy", "/usr/sbin/sendmail -t -i", PHP_MIXED),
    ("php multi", "judy", "/usr/sbin/sendmail -t -i", PHP_MULTI),
    ("php fold", "judy", "/usr/sbin/sendmail -t -i", PHP_FOLD),
    ("php -f", "judy", "/usr/sbin/sendmail -t -i -f bounce@lists.example.test", PHP),
    ("php -fx", "judy", "/usr/sbin/sendmail -t -i -fbounce2@lists.example.test", PHP),
    ("MIME::Lite", "alice", "/usr/lib/sendmail -t -oi -oem -falice@mx.example.test", BCC),
    ("MIME::Lite plain", "alice", "/usr/sbin/sendmail -t -oi -oem", BCC),
    (
        "Email::Sender",
        "alice",
        "/usr/sbin/sendmail -i -f bounce@lists.example.test -- bob@mx.example.test carol@mx.example.test",
        WHOLE,
    ),
    ("Mail::Mailer", "alice", "/usr/sbin/sendmail -t", PERL),
    ("Mail::Internet", "alice", "/usr/sbin/sendmail -t", PERL_SENDER),
    ("MIME::Entity", "alice", "/usr/sbin/sendmail -t", PERL_SENDER),
    ("Mail::Box", "alice", "/sbin/sendmail -i carol@mx.example.test bob@mx.example.test", BCC),
    ("FormMail", "judy", "/usr/sbin/sendmail -t -oi -oeq", PERL),
    ("python", "alice", "/usr/sbin/sendmail -t -oi", LIST),
    (
        "Mailman 2",
        "alice",
        "/usr/sbin/sendmail -f list-bounces@lists.example.test bob@mx.example.test carol@mx.example.test dave@mx.example.test",
        MAILMAN,
    ),
    ("Trac", "alice", "/usr/sbin/sendmail -i -f trac@mx.example.test bob@mx.example.test", TRAC),
    ("RT", "alice", "/usr/sbin/sendmail -oi -t -f '<>'", RT),
    ("RT empty", "alice", "/usr/sbin/sendmail -oi -t -f ''", RT),
    ("RT glued", "alice", "/usr/sbin/sendmail -oi -t -f<>", RT),
    (
        "ruby",
        "alice",
        "/usr/sbin/sendmail -i -f alice@mx.example.test -- bob@mx.example.test dave@mx.example.test carol@mx.example.test",
        WHOLE,
    ),
    ("git", "alice", "/usr/sbin/sendmail -i bob@mx.example.test dave@mx.example.test carol@mx.example.test", WHOLE),
    (
        "git cmd",
        "alice",
        "/usr/sbin/sendmail -oi -oem -i bob@mx.example.test dave@mx.example.test carol@mx.example.test",
        WHOLE,
    ),
    (
        "git sender",
        "alice",
        "/usr/sbin/sendmail -f bounce@lists.example.test -i bob@mx.example.test dave@mx.example.test carol@mx.example.test",
        WHOLE,
    ),
    ("emacs message", "alice", "/usr/sbin/sendmail -oi -f alice@mx.example.test -t", BCC),
    ("emacs mail", "alice", "/usr/sbin/sendmail -oi -f bounce@lists.example.test -oep -odi -t", WITH_FROM),
    ("sudo", "alice", "/usr/sbin/sendmail -t", SUDO),
    ("logwatch", "root", "/usr/sbin/sendmail -t", SUDO),
    ("logcheck -m", "grace", "/usr/sbin/sendmail -oi bob", SUDO),
    ("smartd", "root", "/usr/sbin/sendmail -i -t", NO_FROM),
    ("mdadm", "root", "/usr/lib/sendmail -t", SUDO),
    ("fail2ban", "root", "/usr/sbin/sendmail -f fail2ban@lists.example.test bob@mx.example.test", FAIL2BAN),
    ("apt-listchanges", "root", "/usr/sbin/sendmail -oi -t", NO_FROM),
    ("unattended-upgrades", "root", "/usr/sbin/sendmail -i -t -f root", LIST),
    ("reportbug", "alice", "/usr/sbin/sendmail -f alice@example.org -oi -oem submit@bugs.example.org", BUG),
    ("formail", "alice", "/usr/sbin/sendmail -oi bob", FORMAIL),
    ("mpack", "alice", "/usr/lib/sendmail -oi bob@mx.example.test", MPACK),
    (
        "mime-construct",
        "alice",
        "/usr/sbin/sendmail -oi bob@mx.example.test dave@mx.example.test carol@mx.example.test",
        MPACK,
    ),
    ("fetchmail", "alice", "/usr/sbin/sendmail -oem -oi -f bounce@lists.example.test judy", FETCHMAIL),
    ("procmail", "frank", "/usr/sbin/sendmail -oi bob@mx.example.test, dave", FETCHMAIL),
    ("vacation", "frank", "/usr/sbin/sendmail -f frank -- alice@mx.example.test", VACATION),
    ("rmail", "root", "/usr/lib/sendmail -G -oee -odq -oi -pUUCP:uuhost.UUCP -fuuhost!alice bob", PLAIN),
];

/// The calls of part 3, all by alice with a plain message. `X` is bob.
const WRITTEN: &[&str] = &[
    "/usr/sbin/sendmail -oi -oem -odb no-such-user",
    "/usr/sbin/sendmail -oi X@mx.example.test",
    "/usr/sbin/sendmail -f '<>' frank",
    "/usr/sbin/sendmail -f X@mx.example.test frank",
    "/usr/sbin/sendmail multi bob X@mx.example.test",
    "/usr/sbin/sendmail -oi MIXED.X@mx.example.test",
    "/usr/sbin/sendmail -oi BOB@MX.example.test",
    "/usr/sbin/sendmail -oi bad-X@mx.example.test",
    "/usr/sbin/sendmail -oi whoami-X@mx.example.test",
    "/usr/sbin/sendmail -i X@mx.example.test",
    "/usr/sbin/sendmail alID",
    "/usr/sbin/sendmail -t -i",
    "/usr/sbin/sendmail -ti",
    "/usr/sbin/sendmail -it",
    "/usr/sbin/sendmail -t -oi",
    "/usr/sbin/sendmail -odb -oem -oi -t",
    "/usr/sbin/sendmail -odi -t",
    "/usr/sbin/sendmail -oee -t",
    "/usr/sbin/sendmail -oeq -t",
    "/usr/sbin/sendmail -oep -t",
    "/usr/sbin/sendmail -oew -t",
    "/usr/sbin/sendmail -oi -oem X@mx.example.test",
    "/usr/sbin/sendmail -bm X@mx.example.test",
    "/usr/sbin/sendmail -i -- X@mx.example.test",
    "/usr/sbin/sendmail -oi -oee -- X@mx.example.test",
    "/usr/sbin/sendmail -om X@mx.example.test",
    "/usr/sbin/sendmail -m X@mx.example.test",
    "/usr/sbin/sendmail -em -i X@mx.example.test",
    "/usr/sbin/sendmail -B8BITMIME -i X@mx.example.test",
    "/usr/sbin/sendmail -B 7BIT -i X@mx.example.test",
    "/usr/sbin/sendmail -n -t",
    "/usr/sbin/sendmail -h 3 X@mx.example.test",
    "/usr/sbin/sendmail -N never X@mx.example.test",
    "/usr/sbin/sendmail -R hdrs -N failure,delay X@mx.example.test",
    "/usr/sbin/sendmail -V envid123 X@mx.example.test",
    "/usr/sbin/sendmail -L mytag -t",
    "/usr/sbin/sendmail -Ac -t",
    "/usr/sbin/sendmail -O DeliveryMode=i -t",
    "/usr/sbin/sendmail -ODeliveryMode=b -OErrorMode=m -oi -t",
    "/usr/sbin/sendmail -r bounce@lists.example.test X@mx.example.test",
    "/usr/sbin/sendmail -f bounce@lists.example.test X@mx.example.test",
    "/usr/sbin/sendmail -fbounce@lists.example.test -t",
    "/usr/sbin/sendmail -f alice -F Full -t",
    "/usr/sbin/sendmail -FFull -t",
    "/usr/sbin/sendmail -e m -t",
    "/usr/sbin/sendmail -o i -t",
    "/usr/sbin/sendmail -o em -t",
    "/usr/sbin/sendmail -v -i X@mx.example.test",
    "/usr/sbin/sendmail -vt",
    "/usr/sbin/sendmail X@mx.example.test",
    "/usr/sbin/sendmail bob",
    "/usr/sbin/sendmail -F 'Some Body' -f X@mx.example.test -t",
    "/usr/sbin/sendmail",
    "/usr/sbin/sendmail -Z9 bob",
    "/usr/sbin/sendmail -oi -oee bob@@mx..example.test",
    "/usr/lib/sendmail bob",
    "/usr/sbin/sendmail judy",
    "/usr/sbin/sendmail erin",
    "/usr/sbin/sendmail -U bob",
    "/usr/sbin/sendmail -I",
    "/usr/sbin/sendmail -Am bob",
];

/// What once differed, by alice with a plain message.
const FURTHER: &[&str] = &[
    "/usr/sbin/sendmail -V a+2Bb -R hdrs -f x@far.example bob nosuch",
    "/usr/sbin/sendmail -V a+2Bb -R full -f x@far.example nosuch",
    "/usr/sbin/sendmail -V a+2Bb -N success,failure -R hdrs far@away.example",
    "/usr/sbin/sendmail -V a+2Bb nosuch -oem",
    "/usr/sbin/sendmail -V a+2Bb -oem nosuch",
    "/usr/sbin/sendmail -odb 'bob;carol'",
    "/usr/sbin/sendmail -oem 'bob;carol'",
    "/usr/sbin/sendmail -odb '<>'",
    "/usr/sbin/sendmail -oem '<>' bob",
    "/usr/sbin/sendmail -odb bob@@x nosuch",
    "/usr/sbin/sendmail -oem '|/bin/true' nosuch",
    "/usr/sbin/sendmail -oem :include:/tmp/x nosuch bob",
    "/usr/sbin/sendmail -oem nosuch1 bob nosuch2",
    "/usr/sbin/sendmail -F 'A Name' -f alice@local.test bob",
    "/usr/sbin/sendmail -f alice@local.test bob",
    "/usr/sbin/sendmail -N success -N never bob",
    "/usr/sbin/sendmail -N never -N success bob",
    "/usr/sbin/sendmail -N success -N failure nosuch bob",
    "/usr/sbin/sendmail -N delay -N never -oem nosuch bob",
];

/// What stays of Bcc beside Resent fields, with -t and without.
const BLIND: &[(&str, &[u8])] = &[
    ("resent-to and bcc", b"Bcc: carol\nResent-To: bob\nX-Mark: @M@\n\nhi\n"),
    ("resent-cc and bcc", b"Bcc: carol\nResent-Cc: bob\nX-Mark: @M@\n\nhi\n"),
    ("resent-to and resent-bcc", b"Resent-To: bob\nResent-Bcc: carol\nX-Mark: @M@\n\nhi\n"),
    ("resent-bcc and bcc", b"Bcc: carol\nResent-Bcc: bob\nX-Mark: @M@\n\nhi\n"),
    ("to and both", b"To: dave\nBcc: carol\nResent-Bcc: bob\nX-Mark: @M@\n\nhi\n"),
];

/// Those that look at the queue or tables; input is empty.
const ALONE: &[(&str, &str)] = &[
    ("root", "/usr/bin/newaliases"),
    ("root", "/usr/sbin/sendmail -bi"),
    ("alice", "/usr/sbin/sendmail -bi"),
    ("root", "/usr/sbin/sendmail -q"),
    ("root", "/usr/bin/mailq"),
    ("alice", "/usr/bin/mailq"),
    ("root", "/usr/sbin/sendmail -bp"),
    ("alice", "/usr/sbin/sendmail -bp"),
    ("alice", "/usr/sbin/sendmail -bv bob@mx.example.test"),
    ("alice", "/usr/sbin/sendmail -bv no-such-bob@mx.example.test"),
    ("root", "/usr/sbin/sendmail -bv bob multi far@away.example nosuch"),
];

/// All of them.
pub fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    for (name, user, line, input) in PROGRAMS {
        calls.push(call(&format!("invocations: {name}"), line, input).by(user));
    }
    for line in WRITTEN {
        let line = line.replace("X@", "bob@");
        calls.push(call(&format!("invocations: {line}"), &line, PLAIN));
    }
    for line in FURTHER {
        calls.push(call(&format!("further: {line}"), line, NO_SENDER));
    }
    for (name, input) in BLIND {
        calls.push(call(&format!("further: {name} -t"), "/usr/sbin/sendmail -t -i", input));
        calls.push(call(&format!("further: {name}"), "/usr/sbin/sendmail -i dave", input));
    }
    calls.push(call("invocations: no header", "/usr/sbin/sendmail bob", BARE));
    for (user, line) in ALONE {
        calls.push(call(&format!("invocations: {user} {line}"), line, b"").by(user).alone());
    }
    calls.extend(dialogues());
    calls.into_iter().map(crate::better::call).collect()
}

const DIALOGUE: &str = "Date: Thu, 01 Mar 2001 10:00:00 +0000\nFrom: alice@mx.example.test\nTo: bob@mx.example.test\nSubject: bs\nMessage-ID: <bs@mx.example.test>\nX-Mark: @M@\n\nhi\n..dot\n.\n";
const SHORT: &str = "To: bob\nX-Mark: @M@\n\nhi\n.\n";

/// `-bs` as swaks, alpine and nmh use it: name, user, call; commands separated by `|`, `TEXT` and `SHORT` for the messages.
const DIALOGUES: &[(&str, &str, &str, &str)] = &[
    ("swaks", "alice", "-bs", "EHLO mx|MAIL FROM:<alice@mx.example.test>|RCPT TO:<bob@mx.example.test>|DATA|TEXT|QUIT"),
    (
        "alpine",
        "alice",
        "-bs -odb -oem",
        "EHLO mx.example.test|MAIL FROM:<alice@mx.example.test> SIZE=300|RCPT TO:<bob@mx.example.test>|RCPT TO:<carol@mx.example.test>|DATA|TEXT|QUIT",
    ),
    (
        "nmh -bs",
        "alice",
        "-bs -odb -oem -om",
        "EHLO mx.example.test|MAIL FROM:<alice@mx.example.test>|RCPT TO:<bob@mx.example.test>|DATA|TEXT|RSET|QUIT",
    ),
    ("-bs bare", "alice", "-bs -oi -oem", "HELO mx|MAIL FROM:<alice>|RCPT TO:<bob>|DATA|SHORT|QUIT"),
    ("-bs unknown", "alice", "-bs", "HELO mx|MAIL FROM:<alice>|RCPT TO:<nosuch>|RCPT TO:<bob>|DATA|SHORT|QUIT"),
    (
        "-bs far",
        "alice",
        "-bs",
        "EHLO mx|MAIL FROM:<alice> BODY=8BITMIME RET=HDRS ENVID=abc|RCPT TO:<x@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@far.example|DATA|SHORT|QUIT",
    ),
    (
        "-bs two messages",
        "alice",
        "-bs",
        "EHLO mx|MAIL FROM:<alice>|RCPT TO:<bob>|DATA|SHORT|MAIL FROM:<>|RCPT TO:<carol>|DATA|SHORT|QUIT",
    ),
    (
        "-bs errors",
        "alice",
        "-bs",
        "NOOP|MAIL FROM:<alice>|RCPT TO:<bob>|FOO|HELP|VRFY bob|EXPN bob|ETRN x|VERB|DATA|SHORT|DATA|RCPT TO:<bob>|QUIT",
    ),
    ("-bs root", "root", "-bs", "EHLO mx|MAIL FROM:<x@far.example>|RCPT TO:<bob>|DATA|SHORT|QUIT"),
];

fn dialogues() -> Vec<Call> {
    let piece = |word: &str| match word {
        "TEXT" => DIALOGUE.to_owned(),
        "SHORT" => SHORT.to_owned(),
        command => format!("{command}\n"),
    };
    let made = DIALOGUES.iter().map(|(name, user, line, commands)| {
        let pieces: Vec<String> = commands.split('|').map(piece).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        call(&format!("invocations: {name}"), &format!("/usr/sbin/sendmail {line}"), b"").talks(&pieces).by(user)
    });
    made.collect()
}

/// From one line, words separated by blanks, quoted by `'`.
fn call(name: &str, line: &str, input: &[u8]) -> Call {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                words.push(std::mem::take(&mut word));
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    let program: &'static str =
        ["/usr/sbin/sendmail", "/usr/lib/sendmail", "/sbin/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases"]
            .into_iter()
            .find(|p| *p == words[0])
            .unwrap();
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    Call::new(name, &arguments, input).with_program(program)
}
