use super::*;
use crate::identity::tests::person;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nFrom here\r\n";

/// Runs a command with a message; what came of it and what it said.
fn run_for(seconds: u64, command: &str, message: &[u8]) -> (Done, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let (engine, _kept) = UnixStream::pair().unwrap();
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(message).unwrap();
    let mut arguments = crate::arguments::tests::arguments();
    arguments.program_time = Duration::from_secs(seconds);
    let item = Item {
        sender: "a$(touch x)@b.example".into(),
        recipient: "al+`id`".into(),
        detail: "() { :;}; x".into(),
        from_date: "Sat Nov 21 20:22:16 2026".into(),
        ..Item::default()
    };
    let content = Content { source: &source, offset: 0, length: message.len() as u64 };
    let call = Call::line(command, &arguments.shell);
    let (done, said) = run(&call, (&item, content), &person(home.path()), &arguments, &engine);
    (done, said.map(|said| said.lines).unwrap_or_default())
}

#[test]
fn exit_codes_mean_what_sysexits_says() {
    for (code, done) in [
        (0, Done::Delivered("prog".into())),
        (67, Done::Permanent(1, 1, "User unknown".into())),
        (69, Done::Permanent(0, 0, "Service unavailable".into())),
        (75, Done::Temporary(0, 0, "prog mailer (/bin/sh) exited with EX_TEMPFAIL".into())),
        (3, Done::Permanent(3, 0, "unknown mailer error 3".into())),
    ] {
        let told = run_for(60, &format!("echo out; echo err >&2; exit {code}"), MESSAGE);
        assert_eq!(told, (done, vec!["out".into(), "err".into()]), "{code}");
    }
    let (done, _) = run_for(60, "kill -9 $$", MESSAGE);
    assert_eq!(done, Done::Temporary(3, 0, "prog mailer (/bin/sh) died with signal 9".into()));
}

#[test]
fn it_reads_the_message_as_sendmail_writes_it() {
    let (done, said) = run_for(60, "cat", MESSAGE);
    assert_eq!(done, Done::Delivered("prog".into()));
    let expected = ["From a$(touch x)@b.example Sat Nov 21 20:22:16 2026", "Subject: x", "", "From here"];
    assert_eq!(said, expected, "no quoting, no Return-Path");
}

#[test]
fn it_holds_no_descriptor_of_ours() {
    let file = tempfile::tempfile().unwrap();
    // One that would pass through an exec, as the socket that the keeper gave us came.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let (_, said) = run_for(60, "ls /proc/$$/fd; :", MESSAGE);
    assert_eq!(said, ["0", "1", "2"]);
}

#[test]
fn nothing_of_a_strangers_is_left_for_a_shell() {
    let (_, said) = run_for(60, "env | sort | grep -v -e ^HOME -e ^PWD -e ^_= -e ^SHLVL -e ^OLDPWD; ls", MESSAGE);
    let expected = [
        "AGENT=sendmail",
        "EXTENSION=__________x",
        "LOGNAME=al",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "RECIPIENT=al+_id_",
        "SENDER=a__touch_x_@b.example",
        "SHELL=/bin/sh",
        "USER=al",
    ];
    assert_eq!(
        said.iter().filter(|line| !line.starts_with("TZ=")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
}

#[test]
fn one_that_reads_nothing_or_closes_everything_is_no_trouble() {
    let large = vec![b'x'; 1 << 20];
    assert_eq!(run_for(60, "exit 0", &large).0, Done::Delivered("prog".into()));
    assert_eq!(run_for(60, "exec <&- >&- 2>&-; exit 67", &large).0, Done::Permanent(1, 1, "User unknown".into()));
    let (done, said) = run_for(60, "cat; yes | head -c 1000000; exit 0", &large);
    assert_eq!(done, Done::Delivered("prog".into()));
    assert!(said.iter().map(String::len).sum::<usize>() <= OUTPUT);
}

#[test]
fn a_slow_one_is_ended_with_all_it_started() {
    let begin = Instant::now();
    let (done, said) = run_for(1, "echo slow; sleep 300 & echo $!; sleep 300", MESSAGE);
    assert_eq!(done, Done::Temporary(3, 0, "prog mailer (/bin/sh) took longer than 1 s".into()));
    assert!(begin.elapsed() < Duration::from_secs(30));
    let child: i32 = said[1].parse().unwrap();
    let gone = || nix::sys::signal::kill(Pid::from_raw(child), None).is_err() || is_zombie(child);
    while !gone() {
        assert!(begin.elapsed() < Duration::from_secs(30), "its child lives");
        std::thread::yield_now();
    }
}

/// Ended, and not yet taken note of by whoever inherited it.
fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
