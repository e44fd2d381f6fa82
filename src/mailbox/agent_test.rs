//! The agent's loop over a socket pair, in a scratch folder, under our own identity.

use super::*;
use call::agent::{Item, Kind};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};

struct Agent {
    folder: tempfile::TempDir,
    engine: Connection,
    thread: std::thread::JoinHandle<Result<(), Error>>,
}

fn start(format: Format) -> Agent {
    start_in(format, tempfile::tempdir().unwrap())
}

fn arguments(format: Format, folder: &tempfile::TempDir) -> Arguments {
    let path = format!("{}/{{user}}", folder.path().display());
    Arguments { kind: Kind::User, user: "alice".into(), format, path, ..crate::arguments::tests::arguments() }
}

fn settled() -> Settled {
    let home = std::path::Path::new("/nonexistent");
    let uid = nix::unistd::geteuid().as_raw();
    Settled::Recipient(Person { name: "alice".into(), uid, ..crate::identity::tests::person(home) })
}

fn start_in(format: Format, folder: tempfile::TempDir) -> Agent {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let arguments = arguments(format, &folder);
    let thread = std::thread::spawn(move || {
        serve(theirs, &Desk { settled: &settled(), arguments: &arguments, aliases: &AliasFiles::default() })
    });
    Agent { folder, engine: Connection::new(ours), thread }
}

fn item(ticket: u64, length: usize) -> Item {
    Item {
        ticket,
        queue_id: format!("6ALKL60000{ticket:04}"),
        sender: "bob@example.org".into(),
        prepend: "Return-Path: <bob@example.org>\r\n".into(),
        from_date: "Sat Nov 21 20:22:16 2026".into(),
        source: 0,
        offset: 0,
        length: length as u64,
        perhaps_delivered: false,
        ..Item::default()
    }
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

impl Agent {
    fn send(&mut self, items: Vec<Item>, contents: &[File]) -> Vec<Outcome> {
        let descriptors: Vec<BorrowedFd<'_>> = contents.iter().map(AsFd::as_fd).collect();
        let order = Order::Deliver(Batch { items, mailbox_size: 0, into: None });
        self.engine.send(&order, &descriptors).unwrap();
        self.engine.message::<Outcomes>().unwrap().unwrap().outcomes
    }
    fn deliver(&mut self, items: Vec<Item>, content: &[u8]) -> Vec<Done> {
        let outcomes = self.send(items, &[file(content)]);
        outcomes.into_iter().map(|outcome| outcome.result).collect()
    }
    fn mbox(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("alice")).unwrap()
    }
    fn end(self) -> tempfile::TempDir {
        drop(self.engine);
        self.thread.join().unwrap().unwrap();
        self.folder
    }
}

fn is_delivered(done: &Done) -> bool {
    matches!(done, Done::Delivered(_))
}

const MESSAGE: &[u8] = b"Received: by x id 6ALKL600000001; now\r\nSubject: one\r\n\r\nFrom the sea\r\nend";
const STORED: &str = "From bob@example.org  Sat Nov 21 20:22:16 2026\nReturn-Path: <bob@example.org>\n\
    Received: by x id 6ALKL600000001; now\nSubject: one\n\n>From the sea\nend\n\n";

#[test]
fn batches_are_appended_in_order_each_answered_once() {
    let mut agent = start(Format::Mbox);
    let mut two = vec![item(1, MESSAGE.len()), item(2, 6)];
    two[1].source = 1;
    two[1].offset = 3;
    two[1].sender = String::new();
    let contents = [file(MESSAGE), file(b"xyzA: b\r\nzzz")];
    let outcomes = agent.send(two, &contents);
    assert_eq!(outcomes.iter().map(|o| o.ticket).collect::<Vec<_>>(), [1, 2]);
    let path = agent.folder.path().join("alice").display().to_string();
    assert_eq!(outcomes[0].result, Done::Delivered(format!("mbox {path}")));
    let head = "From MAILER-DAEMON  Sat Nov 21 20:22:16 2026\nReturn-Path: <bob@example.org>\n";
    assert_eq!(agent.mbox(), format!("{STORED}{head}A: b\n\n\n"));
    assert!(is_delivered(&agent.deliver(vec![item(1, MESSAGE.len())], MESSAGE)[0]));
    assert!(agent.mbox().ends_with(&format!("\n\n\n{STORED}")));
    let folder = agent.end();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no lock stays");
}

#[test]
fn a_torn_tail_is_separated_from_the_next_message() {
    for (torn, repaired) in [
        ("From x  y\n\nhal", "From x  y\n\nhal\n\n"),
        ("From x  y\n\nhalf\n", "From x  y\n\nhalf\n\n"),
        ("From x  y\n\nwhole\n\n", "From x  y\n\nwhole\n\n"),
        ("\n", "\n\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("alice"), torn).unwrap();
        let mut agent = start_in(Format::Mbox, folder);
        assert!(is_delivered(&agent.deliver(vec![item(1, MESSAGE.len())], MESSAGE)[0]));
        assert_eq!(agent.mbox(), format!("{repaired}{STORED}"));
        agent.end();
    }
}

#[test]
fn a_message_whose_content_cannot_be_read_leaves_no_trace_and_does_not_harm_its_neighbours() {
    let mut agent = start(Format::Mbox);
    let mut three = vec![item(1, MESSAGE.len()), item(2, MESSAGE.len() + 1), item(3, 6)];
    three[1].perhaps_delivered = true;
    let results = agent.deliver(three, MESSAGE);
    assert!(is_delivered(&results[0]) && is_delivered(&results[2]));
    assert!(matches!(&results[1], Done::Temporary(2, 0, why) if why.contains("shorter")));
    assert!(agent.mbox().starts_with(&format!("{STORED}From bob@example.org  Sat")));
    assert_eq!(agent.mbox().matches("Subject").count(), 1);
    agent.end();
}

#[test]
fn a_large_message_that_fails_late_is_cut_back() {
    let mut agent = start(Format::Mbox);
    let large = b"0123456789abcde\r\n".repeat(200_000);
    let mut items = vec![item(1, MESSAGE.len()), item(2, large.len() + 9)];
    items[1].source = 1;
    let outcomes = agent.send(items, &[file(MESSAGE), file(&large)]);
    assert!(is_delivered(&outcomes[0].result) && !is_delivered(&outcomes[1].result));
    assert_eq!(agent.mbox(), STORED);
    let outcomes = agent.send(vec![item(2, large.len())], &[file(&large)]);
    assert!(is_delivered(&outcomes[0].result));
    assert_eq!(agent.mbox().len(), STORED.len() + 78 + large.len() - 200_000 + 2);
    agent.end();
}

#[test]
fn perhaps_delivered_is_looked_for_first_and_a_torn_copy_does_not_count() {
    let mut agent = start(Format::Mbox);
    let mut again = item(1, MESSAGE.len());
    again.perhaps_delivered = true;
    assert!(is_delivered(&agent.deliver(vec![again.clone()], MESSAGE)[0]));
    assert_eq!(agent.mbox(), STORED);
    // Found, also when a reader has added a header line meanwhile.
    let path = agent.folder.path().join("alice");
    let read = STORED.replace("Subject: one\n", "Subject: one\nStatus: RO\n");
    std::fs::write(&path, &read).unwrap();
    assert!(is_delivered(&agent.deliver(vec![again.clone()], MESSAGE)[0]));
    assert_eq!(agent.mbox(), read);
    // Torn, with the next message behind it: written again.
    let torn = STORED.replace("end\n\n", "e\n\n");
    std::fs::write(&path, &torn).unwrap();
    assert!(is_delivered(&agent.deliver(vec![again], MESSAGE)[0]));
    assert_eq!(agent.mbox(), format!("{torn}{STORED}"));
    agent.end();
}

#[test]
fn a_sender_makes_no_lines_of_his_own() {
    let mut agent = start(Format::Mbox);
    let mut evil = item(1, 2);
    evil.sender = "a\nFrom b\r\n\r\nc".into();
    assert!(is_delivered(&agent.deliver(vec![evil], b"\r\n")[0]));
    assert!(agent.mbox().starts_with("From a?From b????c  Sat"));
    agent.end();
}

#[test]
fn what_is_not_his_mailbox_defers_with_a_clear_text() {
    let mut agent = start(Format::Mbox);
    let path = agent.folder.path().join("alice");
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    let results = agent.deliver(vec![item(1, 2), item(2, 2)], b"\r\n");
    assert_eq!(results.len(), 2);
    assert!(matches!(&results[0], Done::Temporary(2, 0, why) if why.contains("symbolic link")));
    std::fs::remove_dir_all(agent.folder.path()).unwrap();
    assert!(matches!(agent.deliver(vec![item(1, 2)], b"\r\n")[0], Done::Temporary(2, 0, _)));
    agent.end();
}

/// Only root can give folders away.
#[test]
fn a_maildir_of_somebody_else_is_not_written() {
    let mut agent = start(Format::Maildir);
    let top = agent.folder.path().join("alice");
    std::fs::create_dir(&top).unwrap();
    if std::os::unix::fs::chown(&top, Some(54_321), None).is_ok() {
        let results = agent.deliver(vec![item(1, MESSAGE.len())], MESSAGE);
        assert!(
            matches!(&results[0], Done::Temporary(2, 0, why) if why.ends_with("owned by uid 54321")),
            "{results:?}"
        );
        assert_eq!(std::fs::read_dir(&top).unwrap().count(), 0);
    }
    agent.end();
}

#[test]
fn maildir() {
    let mut agent = start(Format::Maildir);
    let mut items = vec![item(1, MESSAGE.len()), item(2, MESSAGE.len() + 1)];
    let results = agent.deliver(items.clone(), MESSAGE);
    assert!(is_delivered(&results[0]) && !is_delivered(&results[1]));
    items.truncate(1);
    items[0].perhaps_delivered = true;
    assert!(is_delivered(&agent.deliver(items, MESSAGE)[0]));
    let top = agent.folder.path().join("alice");
    let list = |part: &str| std::fs::read_dir(top.join(part)).unwrap().flatten().collect::<Vec<_>>();
    assert_eq!((list("tmp").len(), list("new").len(), list("cur").len()), (0, 1, 0));
    let entry = &list("new")[0];
    let name = entry.file_name().to_string_lossy().into_owned();
    // Id and recipient (the hash of `alice` is on disk: it must not change), and the size at the end.
    assert!(name.contains("I6ALKL600000001U872213e7."), "{name}");
    assert!(name.ends_with(&format!(",S={}", entry.metadata().unwrap().len())), "{name}");
    let text = std::fs::read_to_string(entry.path()).unwrap();
    let (_, expected) = STORED.split_once('\n').unwrap();
    assert_eq!(text, expected.replace(">From", "From").strip_suffix('\n').unwrap());
    agent.end();
}

#[test]
fn a_missing_descriptor_ends_the_agent() {
    let mut agent = start(Format::Mbox);
    agent.engine.send(&Order::Deliver(Batch { items: vec![item(1, 2)], mailbox_size: 0, into: None }), &[]).unwrap();
    assert!(agent.engine.message::<Outcomes>().unwrap().is_none());
    assert!(agent.thread.join().unwrap().is_err());
}

#[test]
fn a_refused_recipient_is_answered_without_touching_a_file() {
    let batch = Batch { items: vec![item(4, 2)], mailbox_size: 0, into: None };
    let (engine, _agent) = UnixStream::pair().unwrap();
    let done = Done::Permanent(7, 0, "no".into());
    let arguments = crate::arguments::tests::arguments();
    let settled = Settled::Refused(done.clone());
    let desk = Desk { settled: &settled, arguments: &arguments, aliases: &AliasFiles::default() };
    let outcomes = desk.deliver(&batch, &[file(b"\r\n")], &engine);
    assert_eq!(outcomes, [Outcome { ticket: 4, result: done, program: None }]);
}

#[test]
fn an_old_agent_answers_what_it_has_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let arguments = arguments(Format::Mbox, &folder);
    let thread = std::thread::spawn(move || {
        let (settled, aliases) = (settled(), AliasFiles::default());
        serve_for(Duration::ZERO, theirs, &Desk { settled: &settled, arguments: &arguments, aliases: &aliases })
    });
    let mut agent = Agent { folder, engine: Connection::new(ours), thread };
    assert!(is_delivered(&agent.deliver(vec![item(1, MESSAGE.len())], MESSAGE)[0]));
    let content = file(MESSAGE);
    assert!(
        agent
            .engine
            .send(
                &Order::Deliver(Batch { items: vec![item(2, MESSAGE.len())], mailbox_size: 0, into: None }),
                &[content.as_fd()]
            )
            .is_err()
    );
    assert_eq!(agent.mbox(), STORED);
    agent.end();
}

#[test]
fn what_a_killed_agent_left_of_the_same_message_is_taken_away_and_nothing_else() {
    let before = "From x  y\nA: b\n\nwhole\n\n";
    for (old, left) in [(before, 6), (before, 60), (before, STORED.len() - 6), ("", 100), (before, STORED.len() - 2)] {
        let folder = tempfile::tempdir().unwrap();
        let torn = format!("{old}{}", &STORED[..left]);
        std::fs::write(folder.path().join("alice"), &torn).unwrap();
        let mut agent = start_in(Format::Mbox, folder);
        let mut again = item(1, MESSAGE.len());
        // A new message with the same beginning is another one.
        assert!(is_delivered(&agent.deliver(vec![again.clone()], MESSAGE)[0]));
        assert!(agent.mbox().starts_with(&torn) && agent.mbox().ends_with(STORED));
        std::fs::write(agent.folder.path().join("alice"), &torn).unwrap();
        again.perhaps_delivered = true;
        assert!(is_delivered(&agent.deliver(vec![item(2, 4), again], MESSAGE)[1]));
        let mbox = agent.mbox();
        assert!(mbox.starts_with(&format!("{old}From bob@example.org  Sat Nov 21")), "{left}: {mbox}");
        assert!(mbox.ends_with(STORED) && mbox.matches("Subject: one").count() == 1, "{left}: {mbox}");
        agent.end();
    }
}

#[test]
fn a_full_mailbox_puts_off_what_does_not_fit_and_knows_what_it_has() {
    for (format, size) in [(Format::Mbox, STORED.len()), (Format::Maildir, MESSAGE.len() + 33)] {
        let mut agent = start(format);
        let items = vec![item(1, MESSAGE.len()), item(2, MESSAGE.len()), item(3, MESSAGE.len())];
        let content = file(MESSAGE);
        let batch = Batch { items, mailbox_size: 2 * size as u64 + 10, into: None };
        agent.engine.send(&Order::Deliver(batch), &[content.as_fd()]).unwrap();
        let outcomes = agent.engine.message::<Outcomes>().unwrap().unwrap().outcomes;
        let full = |done: &Done| matches!(done, Done::Temporary(2, 2, why) if why.contains("full"));
        assert!(is_delivered(&outcomes[0].result) && is_delivered(&outcomes[1].result), "{outcomes:?}");
        assert!(full(&outcomes[2].result), "{outcomes:?}");
        let mut again = item(1, MESSAGE.len());
        again.perhaps_delivered = true;
        agent
            .engine
            .send(&Order::Deliver(Batch { items: vec![again], mailbox_size: 1, into: None }), &[content.as_fd()])
            .unwrap();
        let outcomes = agent.engine.message::<Outcomes>().unwrap().unwrap().outcomes;
        assert!(is_delivered(&outcomes[0].result), "it is there");
        agent.end();
    }
}
