//! A hostile engine: what it says, and what it gets.

use super::*;
use call::agent::Kind;
use call::frame::{Connection, encode, send};
use call::plan::Plan;
use std::io::Write;
use std::os::fd::AsFd;

/// A keeper with an engine that does nothing (its process sleeps), and our hand on the engine's end of the socket.
fn stage() -> (Guarded, Connection, tempfile::TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let drop = std::fs::File::open(scratch.path()).unwrap().into();
    let recipe = |kind, user: Option<&str>| Recipe {
        kind,
        life: Duration::from_secs(60),
        user: user.map(str::to_owned),
        arguments: ["--min-uid", "1", "--engine-uid", "5"].map(str::to_owned).to_vec(),
    };
    let agents = vec![recipe(Kind::Mailbox, None), recipe(Kind::System, Some("mail"))];
    let plan = Plan { engine: (5, 5), users: (6, 6), agents, pid_file: scratch.path().join("pid"), ..Plan::default() };
    let opened = Opened::new((plan, vec![drop, null(), null()]), None, true).unwrap();
    let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK).unwrap();
    let mut keeper = Guarded(Keeper { root: false, signals, opened, now: State::default() });
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    keeper.now.engine = Some(Engine { child: sleeper(), link: Link::new(ours).unwrap(), since: Instant::now() });
    (keeper, Connection::new(theirs), scratch)
}

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

/// Ends what it started.
struct Guarded(Keeper);

impl std::ops::Deref for Guarded {
    type Target = Keeper;
    fn deref(&self) -> &Keeper {
        &self.0
    }
}

impl std::ops::DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Keeper {
        &mut self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.now.children.kill("the test is over", |_| true);
        if let Some(engine) = &mut self.0.now.engine {
            let _ = engine.child.kill();
            let _ = engine.child.wait();
        }
    }
}

fn is_alive(keeper: &mut Keeper) -> bool {
    std::thread::sleep(Duration::from_millis(20));
    keeper.now.engine.as_mut().is_some_and(|engine| engine.child.try_wait().unwrap().is_none())
}

/// It was killed: the kernel may take its time over it.
fn dies(keeper: &mut Keeper) -> bool {
    (0..500).any(|_| !is_alive(keeper))
}

#[test]
fn nonsense_ends_the_engine() {
    let unknown = [3, 0, 0, 0, 0, 200, 1];
    let content = [3, 0, 0, 0, 1, 1, 1];
    let endless = u32::MAX.to_le_bytes();
    for bytes in [&unknown[..], &content, &endless] {
        let (mut keeper, engine, _scratch) = stage();
        engine.stream().write_all(bytes).unwrap();
        assert!(!keeper.hear_engine());
        assert!(dies(&mut keeper), "{bytes:?}");
    }
}

#[test]
fn what_a_dead_engine_said_last_counts() {
    let (mut keeper, mut engine, _scratch) = stage();
    // A question that cannot be answered any more stands before it, and a descriptor makes two reads of it all.
    let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    engine.send(&FromEngine::Check { number: 0, known: None }, &[]).unwrap();
    let begin = FromEngine::Begin { ticket: 1, role: Role::Agent(Kind::User), user: String::new() };
    engine.send(&begin, &[null.as_fd()]).unwrap();
    engine.send(&FromEngine::Ready, &[]).unwrap();
    drop(engine);
    while keeper.hear_engine() {}
    assert!(keeper.now.served);
}

impl Keeper {
    /// What it answers to one message.
    fn told(&mut self, engine: &mut Connection, message: &FromEngine, with: &[OwnedFd]) -> Option<ToEngine> {
        engine.send(message, &with.iter().map(AsFd::as_fd).collect::<Vec<_>>()).unwrap();
        assert!(self.hear_engine());
        engine.stream().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        engine.message().ok().flatten()
    }
}

#[test]
fn paths_instead_of_names_and_numbers_of_nothing() {
    let (mut keeper, mut engine, scratch) = stage();
    std::fs::write(scratch.path().join("entry"), "x").unwrap();
    for name in ["/etc/shadow", "../entry", "..", "", "a/b", "a\0"] {
        for message in [FromEngine::Open(name.into()), FromEngine::Remove(name.into())] {
            let told = keeper.told(&mut engine, &message, &[]);
            assert!(matches!(told, Some(ToEngine::Answer(InputState::Unreadable(_)))), "{message:?}: {told:?}");
        }
    }
    let told = keeper.told(&mut engine, &FromEngine::Check { number: 65_535, known: None }, &[]);
    assert_eq!(told, Some(ToEngine::Answer(InputState::Absent)));
    assert!(engine.take_descriptors().is_empty() && scratch.path().join("entry").exists());
    // Numbers of processes that it never had.
    assert_eq!(keeper.told(&mut engine, &FromEngine::End { ticket: std::process::id() }, &[]), None);
    assert!(is_alive(&mut keeper));
}

#[test]
fn it_chooses_a_name_and_nothing_else_of_an_agent() {
    let (mut keeper, mut engine, _scratch) = stage();
    let planned = |kind| keeper.opened.plan.agents.iter().find(|planned| planned.kind == kind).unwrap();
    let line = |kind, user: &str| {
        let agent = agent(planned(kind), user);
        agent.get_args().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // Whose uid that is, the agent asks NSS; it refuses the engine's and, but for his mailbox, root's (`mailbox/identity.rs`).
    let rules = "--min-uid 1 --engine-uid 5";
    let behind = |line: &[String], kind: &str, user: &str| {
        let at = line.iter().position(|word| word == kind).unwrap();
        assert_eq!(line[at + 1], user);
        assert_eq!(line[at + 2..], words(rules), "the plan's rules follow");
    };
    behind(&line(Kind::Mailbox, "--engine-uid"), "mailbox", "--engine-uid");
    behind(&line(Kind::System, "root"), "system", "mail");
    let begin = |kind, user: &str| FromEngine::Begin { ticket: 7, role: Role::Agent(kind), user: user.into() };
    let mut refused = |message: &FromEngine, with: &[OwnedFd]| match keeper.told(&mut engine, message, with) {
        Some(ToEngine::Ended { ticket: 7, how }) => how,
        other => panic!("{message:?}: {other:?}"),
    };
    let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
    assert!(refused(&begin(Kind::Mailbox, "bob"), &[]).contains("no descriptor"));
    assert!(refused(&begin(Kind::User, "bob"), &[socket()]).contains("not planned"));
    assert!(refused(&begin(Kind::Mailbox, "bob\0"), &[socket()]).contains("fork"), "no argument holds a NUL");
}

#[test]
fn processes_are_bounded_and_ended_by_their_numbers() {
    let (mut keeper, mut engine, _scratch) = stage();
    for ticket in 0..LIMIT as u32 {
        keeper.now.children.add(ticket, sleeper(), (ticket == 1).then_some(Duration::ZERO));
    }
    let begin = FromEngine::Begin { ticket: 999, role: Role::Users, user: String::new() };
    let socket = OwnedFd::from(UnixStream::pair().unwrap().0);
    let told = keeper.told(&mut engine, &begin, &[socket]);
    assert!(matches!(&told, Some(ToEngine::Ended { ticket: 999, how }) if how.contains("too many")), "{told:?}");
    keeper.told(&mut engine, &FromEngine::End { ticket: 3 }, &[]);
    keeper.look_at_clock();
    let (mut ended, began) = (Vec::new(), Instant::now());
    while ended.len() < 2 && began.elapsed() < Duration::from_secs(20) {
        ended.extend(keeper.now.children.reap());
        std::thread::yield_now();
    }
    ended.sort();
    let killed = "signal: 9 (SIGKILL)".to_owned();
    assert_eq!(ended, [(1, killed.clone()), (3, killed)], "the old one and the one that was named");
    assert_eq!(keeper.now.children.len(), LIMIT - 2);
}

#[test]
fn a_flood_is_taken_in_turns_and_ends_an_engine_that_does_not_read() {
    let (mut keeper, engine, _scratch) = stage();
    engine.stream().set_nonblocking(true).unwrap();
    let question = encode(&FromEngine::Open(b"x".to_vec())).unwrap();
    let (mut rounds, mut unread) = (0, 0);
    while is_running(&mut keeper) {
        // As much as goes in, and never a look at an answer.
        while send(engine.stream().as_fd(), &question.repeat(500), &[]).is_ok() {}
        let began = Instant::now();
        keeper.hear_engine();
        assert!(began.elapsed() < Duration::from_secs(5), "one turn is short");
        unread += usize::from(keeper.now.engine.as_ref().is_some_and(|engine| engine.link.has_output()));
        rounds += 1;
        assert!(rounds < 10_000, "answers that nobody reads pile up without end");
    }
    assert!(unread > 0);
}

fn is_running(keeper: &mut Keeper) -> bool {
    keeper.now.engine.as_mut().is_some_and(|engine| engine.child.try_wait().unwrap().is_none())
}

#[test]
fn too_many_descriptors_end_the_engine() {
    let (mut keeper, engine, _scratch) = stage();
    let null = std::fs::File::open("/dev/null").unwrap();
    let frame = encode(&FromEngine::End { ticket: 1 }).unwrap();
    for _ in 0..3 {
        send(engine.stream().as_fd(), &frame, &[null.as_fd(); 250]).unwrap();
        keeper.hear_engine();
    }
    assert!(dies(&mut keeper));
}

#[test]
fn ready_and_refused_out_of_turn_change_nothing() {
    let (mut keeper, mut engine, scratch) = stage();
    let before = keeper.opened.plan.clone();
    for _ in 0..3 {
        assert_eq!(keeper.told(&mut engine, &FromEngine::Ready, &[]), None);
    }
    assert!(keeper.now.served && scratch.path().join("pid").exists());
    assert_eq!(keeper.opened.plan, before);
    // Refusing when nothing was offered: it cannot serve, so it ends, after one line in the log.
    keeper.told(&mut engine, &FromEngine::Refused(78, "x\n<0>forged".into()), &[]);
    assert!(dies(&mut keeper) && keeper.now.failure.is_none() && !keeper.now.stopping);
}
