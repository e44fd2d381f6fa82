//! Tests of the command line: the tests that the tables of flags, modes and options name, and the calls of invocations.md. What is expected
//! where sendmail.md says nothing was seen on the real program.

use super::*;
use crate::flag::{Arity, Class, FLAGS, MODES, RUNS};
use crate::named::named;
use crate::option::{self, Effect, SETTINGS};

fn read(line: &[&str]) -> Result<Command, Stop> {
    Command::read(std::iter::once("sendmail").chain(line.iter().copied()).map(OsString::from))
}

fn good(line: &[&str]) -> Command {
    read(line).unwrap_or_else(|stop| panic!("{line:?}: {stop}"))
}

/// Each line is refused with its text and 64.
fn wrong(lines: &[(&[&str], &str)]) {
    for (line, text) in lines {
        assert_eq!(read(line).unwrap_err(), usage(*text), "{line:?}");
    }
}

/// Each option is refused with its text and 70.
fn wrong_option(lines: &[(&str, &str)]) {
    for (given, text) in lines {
        assert_eq!(read(&[given]).unwrap_err(), Stop::Refused(70, (*text).to_owned()), "{given}");
    }
}

/// As one text: commands are not comparable.
fn shape(command: &Command) -> String {
    format!("{:?}", Command { ignored: Vec::new(), ..command.clone() })
}

named! {
    fn configuration_to_use() {
        assert!(good(&["-Ac", "-L", "sm-msp", "-q20m"]).submission_only);
        assert!(!good(&["-Am"]).submission_only && !good(&["-A", "x"]).submission_only);
        wrong(&[(&["-bd", "-Ac"], "550 Mail submission program cannot be used as daemon\r")]);
    }

    fn body_type() {
        assert!(good(&["-B8BITMIME"]).eight_bit && good(&["-B", "8bitmime"]).eight_bit);
        assert!(!good(&["-B", "7BIT"]).eight_bit);
        let foo = good(&["-Bfoo", "bob"]);
        assert_eq!((foo.exit, foo.notices), (64, vec!["Illegal body type foo".to_owned()]));
        assert_eq!(good(&["-Bfoo", "-B7BIT"]).exit, 0);
    }

    fn mode_of_operation() {
        for (flags, mode) in [
            (&["-bm"][..], Mode::Deliver),
            (&["-ba"], Mode::Deliver),
            (&["-bs"], Mode::Smtp),
            (&["-bp"], Mode::PrintQueue),
            (&["-bi"], Mode::Rebuild),
            (&["-I"], Mode::Rebuild),
            (&["-bv", "bob"], Mode::Verify),
            (&["-bvx", "bob"], Mode::Verify),
            (&["-bm", "-bp"], Mode::PrintQueue),
        ] {
            assert_eq!(good(flags).mode, mode, "{flags:?}");
        }
        wrong(&[
            (&["-bz"], "Frozen configurations unsupported"),
            (&["-b9", "-Z"], "Invalid operation mode 9"),
            (&["-q9x", "-b9"], "Invalid operation mode 9"),
            (&["-b", "", "-bp"], "Invalid operation mode \0"),
            (&["-b"], "Invalid operation mode  "),
        ]);
        for (name, mode) in [("/usr/bin/mailq", Mode::PrintQueue), ("newaliases", Mode::Rebuild), ("x", Mode::Deliver)] {
            assert_eq!(Command::read([OsString::from(name)].into_iter()).unwrap().mode, mode, "{name}");
        }
        assert_eq!(Command::read(std::iter::empty()).unwrap().mode, Mode::Deliver);
    }

    fn modes_of_the_server() {
        for (flag, mode) in [
            ("-bC", Mode::CheckConfiguration),
            ("-bH", Mode::PurgeHostStatus),
            ("-bh", Mode::HostStatus),
            ("-bP", Mode::CountQueue),
            ("-bt", Mode::Test),
        ] {
            assert_eq!(good(&[flag]).mode, mode, "{flag}");
        }
        wrong(&[
            (&["-bt", "-q"], "Can not use -q with -bt"),
            (&["-bC", "-qRx"], "Can not use -q with -bC"),
            (&["-bi", "-Qx"], "Can not use -Q with -bi"),
            (&["-bp", "-Q"], "Can not use -Q with -bp"),
            (&["-bs", "-qx"], "550 Can not use -q with -bs\r"),
            (&["-ba", "-h", "x"], "550 Bad hop count (x)\r"),
            (&["-bD", "-qx"], "Invalid time unit `x'"),
        ]);
    }

    fn server_modes() {
        assert_eq!(good(&["-L", "sm-mta", "-bd", "-q10m"]).mode, Mode::Server { foreground: false });
        assert_eq!(good(&["-bD"]).mode, Mode::Server { foreground: true });
        let smtpd = Command::read([OsString::from("/usr/sbin/smtpd")].into_iter()).unwrap();
        assert_eq!(smtpd.mode, Mode::Server { foreground: false });
        let group = Stop::Refused(0, "550 Queue group foo unknown\r".to_owned());
        assert_eq!(read(&["-qGfoo", "-bd"]).unwrap_err(), group);
    }

    fn names_of_options() {
        assert_eq!(good(&["-bO", "-q"]).mode, Mode::Options);
        let names: Vec<&str> = option::known().map(|setting| setting.name).collect();
        assert_eq!(names[..3], ["SevenBitInput", "EightBitMode", "AliasFile"]);
        // The two without a name are empty lines, as in the original.
        assert_eq!(names.iter().filter(|name| name.is_empty()).count(), 2);
    }

    fn configuration_file() {
        assert_eq!(good(&["-C/x.kdl"]).configuration.as_deref(), Some("/x.kdl"));
        assert_eq!(good(&["-C", "/x.kdl", "bob"]).configuration.as_deref(), Some("/x.kdl"));
        let bare = good(&["-C", "-v"]);
        assert!(bare.configuration.as_deref() == Some("sendmail.cf") && bare.verbose);
    }

    fn debug_file() {
        let command = good(&["-D", "/tmp/x", "-d0.1"]);
        assert!(command.debug && command.debug_file.is_some() && !command.debug_file_late);
        assert!(good(&["-d0.1", "-D", "/tmp/x"]).debug_file_late);
    }

    fn debug_levels() {
        for on in ["-d0.1", "-d0", "-d", "-d0-99.1", "-d5.3,0.4"] {
            assert!(good(&[on]).debug, "{on}");
        }
        for off in ["-d0.0", "-d21.12", "-dx", "-d1-99.9"] {
            assert!(!good(&[off]).debug, "{off}");
        }
        // Its value must be attached.
        assert_eq!(good(&["-d", "0.1", "bob"]).recipients, ["0.1", "bob"]);
    }

    fn error_mode() {
        for (flags, mode) in [
            (&["-em"][..], ErrorMode::Mail),
            (&["-e", "q"], ErrorMode::Quiet),
            (&["-oep"], ErrorMode::Print),
            (&["-oew"], ErrorMode::Mail),
            (&["-oee"], ErrorMode::Berknet),
            (&["-oee", "-oez"], ErrorMode::Berknet),
            (&["-OErrorMode=m"], ErrorMode::Mail),
            (&["-O", "errormode = quiet"], ErrorMode::Quiet),
        ] {
            assert_eq!(good(flags).errors, mode, "{flags:?}");
        }
    }

    fn full_name() {
        assert_eq!(good(&["-F=x"]).full_name.as_deref(), Some("=x"));
        assert_eq!(good(&["-F", "\"Reminder Service\""]).full_name.as_deref(), Some("\"Reminder Service\""));
        assert_eq!(good(&["-F", "x\nBcc: y", "-f", "carol\r\n"]).full_name.as_deref(), Some("x Bcc: y"));
        assert_eq!(read(&["bob\n", "a\r\nb"]).unwrap().recipients, ["bob ", "a  b"]);
    }

    fn envelope_sender() {
        for null in [&["-f", ""][..], &["-f", "<>"], &["-f<>"], &["-r", ""]] {
            assert!(matches!(good(null).sender.as_deref(), Some("" | "<>")));
        }
        assert_eq!(good(&["-rx@y"]).sender.as_deref(), Some("x@y"));
        wrong(&[
            (&["-f", "a", "-r", "b"], "More than one \"from\" person"),
            (&["-f", "", "-f", ""], "More than one \"from\" person"),
        ]);
    }

    fn received_protocol() {
        assert_eq!(good(&["-pUUCP:uuhost.UUCP", "bob"]).protocol, "UUCP:uuhost.UUCP");
        assert_eq!(good(&["-p", "SMTP", "bob"]).protocol, "SMTP");
    }

    fn hop_count() {
        for (given, hops) in [("3", 3), ("", 0), ("-1", 0), ("99999999999", u32::MAX)] {
            assert_eq!(good(&["-h", given]).hops, hops, "{given}");
        }
        wrong(&[(&["-h", "xx"], "Bad hop count (xx)"), (&["-h5x"], "Bad hop count (5x)")]);
    }

    fn lone_dot() {
        assert!(good(&["-i"]).ignore_dots && good(&["-oi"]).ignore_dots && good(&["-OIgnoreDots"]).ignore_dots);
        assert!(!good(&["-oi", "-oif"]).ignore_dots);
    }

    fn macros() {
        let plain = shape(&Command::default());
        for fine in ["-M{daemon_flags}CC", "-oMxy", "-MZfoo"] {
            assert_eq!(shape(&good(&[fine])), plain, "{fine}");
        }
        for (flags, protocol) in [
            (&["-MrESMTP"][..], "ESMTP"),
            (&["-oMrESMTP", "-Mshost:x"], "ESMTP:host:x"),
            (&["-Mshost", "-MrUUCP"], "UUCP:host"),
            (&["-pSMTP:a", "-Msb"], "SMTP:b"),
        ] {
            assert_eq!(good(flags).protocol, protocol, "{flags:?}");
        }
        let unbalanced = "Unbalanced { on foo\nUnable to assign macro/class ID (mid = 0xffffffff)";
        wrong_option(&[("-M{foo", unbalanced), ("-oM", "Name required for macro/class")]);
    }

    fn notifications() {
        for (given, bits) in [("never", 1), ("success", 2), ("success,failure", 6), ("DELAY, failure", 12)] {
            assert_eq!(good(&["-N", given]).notify, bits, "{given}");
        }
        assert_eq!(good(&["-N", "success", "-N", "never"]).notify, 2);
        assert_eq!(good(&["-N", "never", "-N", "failure,delay"]).notify, 12);
        for bad in ["sometimes", "", "success,never"] {
            wrong(&[(&["-N", bad], "Invalid -N argument")]);
        }
    }

    fn long_options() {
        assert_eq!(good(&["-OLog=9", "x"]).notices, ["Option Log used as abbreviation for LogLevel"]);
        assert_eq!(good(&["-O", "LogLevel = 3", "x"]).recipients, ["x"]);
        wrong_option(&[
            ("-OFoo=1", "readcf: unknown option name Foo"),
            ("-OKeepBcc", "readcf: unknown option name KeepBcc"),
            ("-O=x", "readcf: null option name"),
            ("-OQueue=1", "readcf: ambiguous option name Queue (matches QueueFactor and QueueDirectory)"),
            ("-OTimeout.foo=5d", "settimeout: invalid timeout foo"),
            ("-OPrivacyOptions=foo", "readcf: Op line: foo unrecognized"),
            ("-ONoRecipientAction=foo", "Invalid NoRecipientAction: foo"),
            ("-OMilter.foo=3", "milter_set_option: invalid Milter option foo"),
            ("-OQueueSortOrder=zz", "Invalid queue sort order \"zz\""),
        ]);
        wrong(&[
            (&["-OEightBitMode=foo"], "Unknown 8-bit mode f"),
            (&["-ODeliveryMode=foo"], "Unknown delivery mode f"),
            (&["-OLog=9", "-h", "x"], "Option Log used as abbreviation for LogLevel\nBad hop count (x)"),
        ]);
    }

    fn letter_options() {
        wrong_option(&[
            ("-o!", "readcf: unknown option name 0x21"),
            ("-o3", "readcf: unknown option name 0x33"),
            ("-oD", "readcf: unknown option name 0x44"),
        ]);
        assert_eq!(read(&["-o", ""]).unwrap_err(), Stop::Refused(70, "readcf: unknown option name 0x0".into()));
        wrong(&[(&["-odz"], "Unknown delivery mode z")]);
        assert_eq!(good(&["-oZ99"]).ignored.len(), 1);
    }

    fn quarantine() {
        assert_eq!(good(&["-Qspam", "-qRx"]).quarantine.as_deref(), Some("spam"));
        assert_eq!(good(&["-Q", "-qQ"]).quarantine.as_deref(), Some(""));
        assert_eq!(good(&["-Q", "spam", "-qRx"]).quarantine.as_deref(), Some("spam"));
        wrong(&[(&["-Q."], "Can not use -Q."), (&["-Q", ".", "-qRx"], "Can not use -Q.")]);
    }

    fn queue_runs() {
        assert_eq!(good(&["-q"]).queue_run, Some(QueueRun::default()));
        assert_eq!(good(&["-q", "-v"]).queue_run, Some(QueueRun::default()));
        assert_eq!(good(&["-q", "30m"]).queue_run.unwrap().interval, Some(1_800));
        let cluster = good(&["-vq"]);
        assert!(cluster.verbose && cluster.queue_run == Some(QueueRun::default()));
        // With something attached, the next argument is a recipient.
        let slip = good(&["-qR", "nomatch"]);
        assert_eq!((slip.recipients.len(), slip.queue_run.unwrap().patterns.len()), (1, 1));
        let listed = good(&["-bp", "-qRexample.com", "-q!Sbob", "-qQ"]);
        assert_eq!((listed.mode, listed.queue_run.unwrap().patterns.len()), (Mode::PrintQueue, 2));
        let unknown = Stop::Refused(0, "Queue group foo unknown".to_owned());
        assert_eq!(read(&["-bp", "-qGfoo"]).unwrap_err(), unknown);
        wrong(&[(&["-q9x"], "Invalid time unit `x'")]);
    }

    fn returned_part() {
        assert_eq!((good(&["-Rhdrs"]).return_headers, good(&["-R", "FULL"]).return_headers), (Some(true), Some(false)));
        wrong(&[
            (&["-R", "some"], "Invalid -R value"),
            (&["-R", ""], "Invalid -R value"),
            (&["-Rfull", "-Rfull"], "Duplicate -R flag"),
        ]);
    }

    fn from_line() {
        assert!(good(&["-s"]).save_from_line && good(&["-of"]).save_from_line);
    }

    fn queue_timeout() {
        let bare = good(&["-T", "-bp"]);
        assert_eq!((bare.notices, bare.exit), (vec!["Invalid time unit `T'".to_owned(); 2], 64));
        for fine in ["-T5d", "-oT5d", "-oT5d/4h", "-OTimeout.queuereturn=5d", "-OTimeout=5d"] {
            assert_eq!(shape(&good(&[fine])), shape(&Command::default()), "{fine}");
        }
        for once in ["-OTimeout.connect=5x", "-or5x", "-OMinQueueAge=x", "-oK5x"] {
            assert_eq!(good(&[once]).notices.len(), 1, "{once}");
        }
        assert_eq!(good(&["-oT5x"]).notices.len(), 2);
    }

    fn recipients_from_header() {
        let command = good(&["-vt", "bob"]);
        assert!(command.verbose && command.from_header);
        assert_eq!(command.recipients, ["bob"]);
    }

    fn envelope_id() {
        assert_eq!(good(&["-V", "a+2Bb"]).envelope_id.as_deref(), Some("a+b"));
        assert_eq!(good(&["-V", ""]).envelope_id, None);
        assert_eq!(good(&["-V", "a+3d"]).envelope_id.as_deref(), Some("a="));
        for bad in ["env+1", "a b", "a=b", "a+2", "a+0A"] {
            wrong(&[(&["-V", bad], "Invalid syntax in -V flag")]);
        }
    }

    fn verbose() {
        assert!(good(&["-v"]).verbose && good(&["-ov"]).verbose && good(&["-OVerbose=true"]).verbose);
    }

    fn traffic_log() {
        assert_eq!(good(&["-X/tmp/x"]).traffic_file, Some("/tmp/x".into()));
        assert_eq!(good(&["-X", "/tmp/x"]).traffic_file, Some("/tmp/x".into()));
    }

    fn ignored_flags() {
        let plain = shape(&good(&["bob"]));
        for flag in FLAGS.iter().filter(|flag| flag.test == "ignored_flags") {
            assert!(matches!(flag.class, Class::Ignored(_)), "-{}", flag.letter);
            let value = if flag.arity == Arity::None { "" } else { "5" };
            assert_eq!(shape(&good(&[&format!("-{}{value}", flag.letter), "bob"])), plain, "-{}", flag.letter);
        }
    }

    fn effects_of_options() {
        assert_eq!(good(&["-oA/x"]).alias_file.as_deref(), Some("/x"));
        assert!(good(&["-ODaemonPortOptions=Port=2525", "-bd"]).daemon_ports);
        assert_eq!((good(&["-odq"]).delivery, good(&["-ODeliveryMode=d"]).delivery), (Delivery::Queue, Delivery::Queue));
        assert!(good(&["-o7"]).seven_bit && !good(&["-OSevenBitInput=False"]).seven_bit);
        assert_eq!(good(&["-OMaxQueueRunSize=10"]).print_at_most, Some(10));
        assert_eq!(good(&["-OMaxQueueRunSize=0"]).print_at_most, None);
        assert_eq!(good(&["-ONoRecipientAction=add-to-undisclosed"]).no_recipient, NoRecipient::Undisclosed);
        let strict = good(&["-opgoaway,restrictmailq restrictqrun"]);
        assert!(strict.restrict_queue_print && strict.restrict_queue_run);
        assert_eq!(good(&["-OQueueDirectory=/x"]).queue_directory.as_deref(), Some("/x"));
        let plain = shape(&Command::default());
        for checked in ["-OMilter.LogLevel=3", "-OQueueSortOrder=host", "-o8m", "-OEightBitMode=pass8"] {
            assert_eq!(shape(&good(&[checked])), plain, "{checked}");
        }
    }

    fn ignored_options() {
        let plain = shape(&Command::default());
        for setting in SETTINGS.iter().filter(|setting| matches!(setting.class, option::Class::Ignored(_))) {
            for value in ["", "5", "x"] {
                let given = if setting.name.is_empty() {
                    format!("-o{}{value}", setting.letter)
                } else {
                    format!("-O{}={value}", setting.name)
                };
                let command = good(&[&given]);
                assert_eq!(shape(&command), plain, "{given}");
                assert_eq!(command.ignored.len(), 1, "{given}");
            }
        }
    }
}

/// The test that shows what an option does.
fn test_of(class: option::Class) -> &'static str {
    match class {
        option::Class::Absent => "long_options",
        option::Class::Ignored(_) => "ignored_options",
        option::Class::Done(effect) => match effect {
            Effect::ErrorMode => "error_mode",
            Effect::IgnoreDots => "lone_dot",
            Effect::Macro => "macros",
            Effect::SaveFromLine => "from_line",
            Effect::QueueTimes | Effect::Time | Effect::Timeout => "queue_timeout",
            Effect::Verbose => "verbose",
            Effect::AliasFile
            | Effect::CheckAliases
            | Effect::DaemonPorts
            | Effect::DeliveryMode
            | Effect::EightBitMode
            | Effect::MaxQueueRunSize
            | Effect::Milter
            | Effect::NoRecipientAction
            | Effect::Privacy
            | Effect::QueueDirectory
            | Effect::SevenBit
            | Effect::SortOrder => "effects_of_options",
        },
    }
}

#[test]
fn every_entry_has_a_class_a_reason_and_a_test() {
    let mut counts = std::collections::BTreeMap::<(&str, &str), usize>::new();
    let classes =
        FLAGS.iter().map(|f| ("flags", f.class, f.test)).chain(MODES.iter().map(|m| ("modes", m.class, m.test)));
    for (table, class, test) in classes {
        *counts.entry((table, class.word())).or_default() += 1;
        assert!(NAMES.contains(&test), "no test {test}");
        assert!(!matches!(class, Class::Ignored("") | Class::Refused("")), "{test}");
    }
    for setting in SETTINGS {
        let word = match setting.class {
            option::Class::Done(_) => "done",
            option::Class::Ignored(why) => {
                assert!(!why.is_empty(), "{}", setting.name);
                "ignored"
            }
            option::Class::Absent => "absent",
        };
        *counts.entry(("options", word)).or_default() += 1;
        assert!(NAMES.contains(&test_of(setting.class)), "{}", setting.name);
        assert_eq!(word == "done", !setting.man.is_empty(), "{}", setting.name);
    }
    for run in RUNS {
        *counts.entry(("queue runs", "done")).or_default() += 1;
        assert!(crate::queue_run::tests::NAMES.contains(&run.test), "no test {}", run.test);
    }
    for ((table, word), count) in counts {
        println!("{table}: {count} {word}");
    }
}

#[test]
fn the_table_is_getopts_string() {
    // sendmail 8.18's own string (sendmail.md 1.1), and -x, -E and -J of other builds.
    let getopt = "A:B:b:C:cD:d:e:F:f:Gh:IiL:M:mN:nO:o:p:Q:q:R:r:sT:tUV:vX:xE:J:";
    let mut letters = getopt.chars().peekable();
    let mut count = 0;
    while let Some(letter) = letters.next() {
        let takes = letters.next_if_eq(&':').is_some();
        let flag = crate::flag::find(letter).unwrap_or_else(|| panic!("-{letter} has no entry"));
        assert_eq!(flag.arity != Arity::None, takes, "-{letter}");
        assert_eq!(flag.arity == Arity::Optional, "qQC".contains(letter), "-{letter}");
        assert_eq!(flag.arity == Arity::Attached, "dTEJ".contains(letter), "-{letter}");
        assert_eq!(flag.value.is_empty(), !takes, "-{letter}");
        assert!(flag.man.ends_with('.'), "-{letter}");
        count += 1;
    }
    assert_eq!(count, FLAGS.len());
}

#[test]
fn what_is_no_option_and_all_behind_it_are_recipients() {
    // The real program's getopt does not permute: `-oi` behind a recipient is one, too.
    let command = good(&["-v", "bob", "-oi", "--", "-t"]);
    assert_eq!(command.recipients, ["bob", "-oi", "--", "-t"]);
    assert!(command.verbose && !command.ignore_dots && !command.from_header);
    for end in ["--", "--foo", "--foo=bar"] {
        let command = good(&["-i", end, "-t", "bob"]);
        assert_eq!(command.recipients, ["-t", "bob"], "{end}");
        assert!(command.ignore_dots);
    }
    assert_eq!(good(&["-"]).recipients, ["-"]);
}

#[test]
fn getopts_complaints_have_the_name_as_called() {
    let line = |args: &[&str]| Command::read(args.iter().map(OsString::from)).unwrap_err();
    assert_eq!(
        line(&["/usr/sbin/sendmail", "-Z9", "bob"]),
        Stop::Getopt("/usr/sbin/sendmail: illegal option -- Z".into())
    );
    assert_eq!(line(&["sendmail", "-Z", "-bt"]), Stop::Getopt("sendmail: illegal option -- Z".into()));
    // The mode is looked at first.
    assert_eq!(line(&["sendmail", "-Z", "-b9"]), Stop::Refused(64, "Invalid operation mode 9".into()));
    for flag in FLAGS.iter().filter(|flag| flag.arity == Arity::Value && flag.letter != 'b') {
        let text = format!("sendmail: option requires an argument -- {}", flag.letter);
        assert_eq!(line(&["sendmail", &format!("-{}", flag.letter)]), Stop::Getopt(text));
    }
}

#[test]
fn all_mistakes_are_told() {
    let stop = |line: &[&str]| match read(line) {
        Err(Stop::Refused(code, text)) => (code, text),
        other => panic!("{other:?}"),
    };
    let foo = "readcf: unknown option name Foo";
    assert_eq!(stop(&["-OFoo", "-h", "x"]), (64, format!("{foo}\nBad hop count (x)")));
    assert_eq!(stop(&["-OFoo", "-OLog=2", "-OBar"]).0, 70);
    assert_eq!(stop(&["-odz", "-OFoo"]), (64, "Unknown delivery mode z".to_owned()));
    assert_eq!(stop(&["-bs", "-OFoo", "-N", "x"]).1, format!("554 5.0.0 {foo}\r\n550 Invalid -N argument\r"));
}

#[test]
fn calls_of_real_programs() {
    let cron = good(&["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "bob,dave@mx.example.test"]);
    assert!(cron.ignore_dots && cron.eight_bit && cron.errors == ErrorMode::Mail);
    let rmail = good(&["-G", "-oee", "-odq", "-oi", "-pUUCP:host.UUCP", "-fhost!user", "bob"]);
    assert!(rmail.errors == ErrorMode::Berknet && rmail.delivery == Delivery::Queue);
    let tracker = good(&["-O", "DeliveryMode=b", "-OErrorMode=m", "-oi", "-t"]);
    assert!(tracker.errors == ErrorMode::Mail && tracker.from_header);
    let mutt = good(&["-oem", "-oi", "-N", "success,failure", "-R", "hdrs", "-V", "a+2Bb", "--", "bob"]);
    assert_eq!((mutt.notify, mutt.return_headers, mutt.envelope_id.as_deref()), (6, Some(true), Some("a+b")));
    let alpine = good(&["-bs", "-odb", "-oem", "-om"]);
    assert_eq!(alpine.mode, Mode::Smtp);
}

#[test]
fn newaliases_takes_other_files_and_checks() {
    let named =
        |line: &[&str]| Command::read(std::iter::once("newaliases").chain(line.iter().copied()).map(OsString::from));
    let command = named(&["-on", "-oA/etc/a,/etc/b"]).unwrap();
    assert_eq!((command.check_aliases, command.alias_file.as_deref()), (true, Some("/etc/a,/etc/b")));
    let command = read(&["-bi", "-OCheckAliases=True", "-OAliasFile=hash:/etc/a"]).unwrap();
    assert_eq!((command.check_aliases, command.alias_file.as_deref()), (true, Some("hash:/etc/a")));
    assert!(!named(&["-OCheckAliases=False"]).unwrap().check_aliases);
}
