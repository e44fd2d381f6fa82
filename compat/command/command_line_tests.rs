//! Tests of the command line: each flag with its arity, and the calls of invocations.md.

use super::*;
use crate::flag::{FLAGS, MODES};

fn read(line: &[&str]) -> Result<Command, Stop> {
    Command::read(std::iter::once("sendmail").chain(line.iter().copied()).map(OsString::from))
}

#[test]
fn the_table_is_getopts_string() {
    // sendmail 8.18's own string (sendmail.md 1.1), with -d -Q -q -C attached only after its obsolete().
    let getopt = "A:B:b:C:cD:d:e:F:f:Gh:IiL:M:mN:nO:o:p:Q:q:R:r:sT:tUV:vX:xE:J:";
    let mut letters = getopt.chars().peekable();
    let mut count = 0;
    while let Some(letter) = letters.next() {
        let takes = letters.next_if_eq(&':').is_some();
        let flag = flag::find(letter).unwrap_or_else(|| panic!("-{letter} has no entry"));
        assert_eq!(flag.arity != Arity::None, takes, "-{letter}");
        assert_eq!(flag.arity == Arity::Attached, "qdCQT".contains(letter), "-{letter}");
        assert_eq!(flag.value.is_empty(), !takes, "-{letter}");
        assert!(!flag.man.is_empty());
        count += 1;
    }
    assert_eq!(count, FLAGS.len());
}

#[test]
fn every_flag_parses_with_its_arity() {
    for flag in FLAGS {
        let sample = match flag.letter {
            'b' => "m",
            'B' => "8BITMIME",
            'h' => "3",
            'M' => "rESMTP",
            'N' => "never",
            'O' => "LogLevel=9",
            'o' => "i",
            'R' => "hdrs",
            _ => "5",
        };
        let attached = format!("-{}{sample}", flag.letter);
        let bare = format!("-{}", flag.letter);
        let line: &[&str] = match flag.arity {
            Arity::None => &[&bare, "bob"],
            Arity::Attached => &[&attached, "bob"],
            Arity::Value => &[&bare, sample, "bob"],
        };
        match (flag.class, read(line)) {
            (Class::NotBuilt, Err(Stop::NotBuilt(name))) => assert_eq!(name, bare),
            (Class::Done, Err(Stop::Refused(64, text))) if flag.letter == 'Q' => assert!(text.contains("-q")),
            (_, Ok(command)) => assert_eq!(command.recipients, ["bob"], "{bare}"),
            (class, other) => panic!("{bare} {class:?}: {other:?}"),
        }
        if flag.arity == Arity::Value {
            assert_eq!(
                read(&[&bare]).unwrap_err(),
                Stop::Getopt(format!("option requires an argument -- {}", flag.letter))
            );
            if let Ok(command) = read(&[&attached, "bob"]) {
                assert_eq!(command.recipients, ["bob"], "{attached}");
            }
        }
    }
}

#[test]
fn every_mode_is_done_or_named() {
    for mode in MODES {
        let given = format!("-b{}", mode.letter);
        match (mode.class, read(&[&given])) {
            (Class::Done, Ok(_)) => {}
            (Class::NotBuilt, Err(Stop::NotBuilt(name))) => assert_eq!(name, given),
            (Class::Refused(why), Err(Stop::Refused(64, text))) => assert_eq!(why, text),
            other => panic!("{given}: {other:?}"),
        }
    }
    assert_eq!(read(&["-b9"]).unwrap_err(), usage("Invalid operation mode 9"));
}

#[test]
fn options_stand_anywhere_and_two_dashes_end_them() {
    let command = read(&["bob", "-oi", "carol", "-f", "x@y", "--", "-t"]).unwrap();
    assert_eq!(command.recipients, ["bob", "carol", "-t"]);
    assert!(command.ignore_dots && !command.from_header);
    assert_eq!(command.sender.as_deref(), Some("x@y"));
    let command = read(&["-vt"]).unwrap();
    assert!(command.verbose && command.from_header);
    // The value of -q must be attached: `nomatch` is a recipient.
    let command = read(&["-qR", "nomatch"]).unwrap();
    assert_eq!(command.recipients, ["nomatch"]);
    assert_eq!(command.queue_run, Some(QueueRun::default()));
}

#[test]
fn values_keep_their_equals_sign_and_their_quotes() {
    assert_eq!(read(&["-F=x"]).unwrap().full_name.as_deref(), Some("=x"));
    assert_eq!(read(&["-F", "\"Reminder Service\""]).unwrap().full_name.as_deref(), Some("\"Reminder Service\""));
    for null in [&["-f", ""][..], &["-f", "<>"], &["-f<>"]] {
        assert!(matches!(read(null).unwrap().sender.as_deref(), Some("" | "<>")));
    }
}

#[test]
fn calls_of_real_programs() {
    let cron = read(&["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "bob,dave@mx.example.test"]).unwrap();
    assert!(cron.ignore_dots && cron.eight_bit && cron.errors == ErrorMode::Mail);
    let rmail = read(&["-G", "-oee", "-odq", "-oi", "-pUUCP:host.UUCP", "-fhost!user", "bob"]).unwrap();
    assert!(rmail.errors == ErrorMode::Berknet && rmail.delivery == Delivery::Queue);
    let tracker = read(&["-O", "DeliveryMode=b", "-OErrorMode=m", "-oi", "-t"]).unwrap();
    assert!(tracker.errors == ErrorMode::Mail && tracker.from_header);
    let mutt = read(&["-oem", "-oi", "-N", "success,failure", "-R", "hdrs", "-V", "a+2Bb", "--", "bob"]).unwrap();
    assert_eq!((mutt.notify, mutt.return_headers, mutt.envelope_id.as_deref()), (6, Some(true), Some("a+b")));
    let alpine = read(&["-bs", "-odb", "-oem", "-om"]).unwrap();
    assert_eq!(alpine.mode, Mode::Smtp);
    let server = read(&["-L", "sm-mta", "-bd", "-q10m"]).unwrap();
    assert_eq!(server.mode, Mode::Server { foreground: false });
    assert!(read(&["-Ac", "-L", "sm-msp", "-q20m"]).unwrap().submission_only);
}

#[test]
fn mistakes_have_sendmails_texts() {
    for (line, text) in [
        (&["-f", "a", "-r", "b"][..], "More than one \"from\" person"),
        (&["-h", "xx"], "Bad hop count (xx)"),
        (&["-N", "sometimes"], "Invalid -N argument"),
        (&["-R", "some"], "Invalid -R value"),
        (&["-Rfull", "-Rfull"], "Duplicate -R flag"),
        (&["-Venv+1"], "Invalid syntax in -V flag"),
        (&["-bz"], "Frozen configurations unsupported"),
        (&["-bd", "-Ac"], "550 Mail submission program cannot be used as daemon"),
        (&["-F", "x\nBcc: y", "bob"], "Line breaks are not allowed in arguments"),
    ] {
        assert_eq!(read(line).unwrap_err(), usage(text), "{line:?}");
    }
    assert_eq!(read(&["-Z9", "bob"]).unwrap_err(), Stop::Getopt("illegal option -- Z".into()));
    assert!(matches!(read(&["-OFoo=1"]), Err(Stop::Refused(70, t)) if t == "readcf: unknown option name Foo"));
    assert!(matches!(read(&["-OQueue=1"]), Err(Stop::Refused(70, _))));
    assert!(matches!(read(&["-OTimeout.queuereturn=1d"]), Err(Stop::NotBuilt(n)) if n == "-OTimeout"));
    assert_eq!(read(&["-Bfoo", "bob"]).unwrap().exit, 64);
    assert_eq!(read(&["-OLog=9", "x"]).unwrap().notices, ["Option Log used as abbreviation for LogLevel"]);
}

#[test]
fn the_name_picks_a_mode_and_may_be_missing() {
    let named = |name: &str| Command::read([OsString::from(name)].into_iter());
    assert_eq!(named("/usr/bin/mailq").unwrap().mode, Mode::PrintQueue);
    assert_eq!(named("send-mail").unwrap().mode, Mode::Deliver);
    assert_eq!(named("/usr/bin/newaliases").unwrap().mode, Mode::Rebuild);
    assert_eq!(read(&["-I"]).unwrap().mode, Mode::Rebuild);
    assert_eq!(read(&["-bv", "bob", "-oi"]).unwrap().mode, Mode::Verify);
    assert_eq!(Command::read(std::iter::empty()).unwrap().mode, Mode::Deliver);
}

#[test]
fn newaliases_takes_other_files_and_checks() {
    let named =
        |line: &[&str]| Command::read(std::iter::once("newaliases").chain(line.iter().copied()).map(OsString::from));
    let command = named(&["-on", "-oA/etc/a,/etc/b"]).unwrap();
    assert_eq!((command.check_aliases, command.alias_files.as_deref()), (true, Some("/etc/a,/etc/b")));
    let command = read(&["-bi", "-OCheckAliases=True", "-OAliasFile=hash:/etc/a"]).unwrap();
    assert_eq!((command.check_aliases, command.alias_files.as_deref()), (true, Some("hash:/etc/a")));
    assert!(!named(&["-OCheckAliases=False"]).unwrap().check_aliases);
    assert!(matches!(read(&["-oA/etc/a", "bob"]), Err(Stop::NotBuilt(what)) if what == "-oA"));
}
