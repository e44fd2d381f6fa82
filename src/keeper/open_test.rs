//! Inputs and sockets.

use super::*;
use call::keep::Unsafe;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_file_that_is_open_for_writing_is_being_written() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let reader = || File::open(&path).unwrap();
    let (first, second) = (reader(), reader());
    // Other readers, the engine among them, do not count.
    assert!(!is_being_written(&first) && !is_being_written(&second));
    let writer = File::options().append(true).open(&path).unwrap();
    assert!(is_being_written(&first));
    drop(writer);
    assert!(!is_being_written(&first));
    // Nothing is left behind that would hold up a writer.
    File::options().write(true).open(&path).unwrap();
}

/// Descriptors as `postrider plan` brings them.
fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn opened(inputs: Vec<Input>) -> Opened {
    let plan = Plan { inputs, engine: (5, 5), users: (6, 6), ..Plan::default() };
    Opened::new((plan, (0..3).map(|_| null()).collect()), None, true).unwrap()
}

#[test]
fn inputs_are_what_the_plan_named_and_nobody_else_may_have_written() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    std::fs::write(at("table"), "x").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), Mode::RUSR).unwrap();
    let input = |name: &str| Input { path: at(name), file: 0o022, folders: 0 };
    let opened = opened(vec![input("table"), input("fifo"), input("none"), input("table/below")]);
    let state = |number, known| opened.input(number, known).0;
    assert_eq!(state(0, None), InputState::Open);
    let known = Seen::of(&at("table").metadata().unwrap());
    assert_eq!(state(0, Some(known)), InputState::Unchanged);
    assert_eq!(state(0, Some(Seen { size: 9, ..known })), InputState::Open);
    let writer = File::options().append(true).open(at("table")).unwrap();
    assert_eq!(state(0, None), InputState::Busy);
    drop(writer);
    std::fs::set_permissions(at("table"), PermissionsExt::from_mode(0o646)).unwrap();
    assert_eq!(state(0, None), InputState::Unsafe(Unsafe::WorldFile));
    // A FIFO that nobody writes does not hold us up.
    assert!(matches!(state(1, None), InputState::Unreadable(_)));
    assert_eq!([state(2, None), state(3, None), state(4, None), state(65_535, None)], [InputState::Absent; 4]);
}

#[test]
fn roots_processes_are_never_planned_and_held_sockets_are_kept() {
    let sockets = [("/r/submit".into(), 0o666), ("/r/control".into(), 0o666)];
    let plan =
        |engine, users| Plan { engine: (engine, 1), users: (users, 1), sockets: sockets.clone(), ..Plan::default() };
    let some = |n: usize| (0..n).map(|_| null()).collect::<Vec<_>>();
    assert!(Opened::new((plan(0, 2), some(3)), None, true).is_err());
    assert!(Opened::new((plan(2, 0), some(3)), None, true).is_err());
    assert!(Opened::new((plan(2, 3), some(2)), None, true).is_err_and(|why| why.text.contains("too little")));
    let first = Opened::new((plan(2, 3), some(3)), None, true).unwrap();
    let next = Opened::new((plan(2, 3), some(1)), Some(&first), true).unwrap();
    let number = |opened: &Opened| opened.sockets.iter().map(|(_, socket)| socket.as_raw_fd()).collect::<Vec<_>>();
    assert_eq!(number(&first), number(&next));
}
