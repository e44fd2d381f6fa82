//! A mailbox in /var/mail, a program that empties it in a loop, our deliveries, and the count of ids afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testsuite::{Server, Setup, Smtp, mbox, message, process, root_or_skip, scaled, seconds};

/// Most messages an agent has in hand (DESIGN §2).
pub const IN_HAND: usize = 32;
const SENDERS: usize = 5;

/// A program that takes the mail out of a mailbox.
#[derive(Clone, Debug)]
pub struct Reader {
    /// For the output.
    pub name: &'static str,
    /// One pass, as a shell command.
    pub pass: String,
    /// Who calls it: the mailbox's owner, or root for programs that become him.
    pub caller: String,
    /// Where it puts the mail: an mbox, or a folder with a message in each file.
    pub saved: PathBuf,
    /// So long it waits for a lock by itself before it gives up (mbox-locking.md §3), and a pass takes besides.
    pub patience: Duration,
}

/// What became of the passes of a reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passes {
    pub good: usize,
    pub failed: usize,
    pub longest: Duration,
}

/// What the count of ids says.
#[derive(Debug, Default)]
pub struct Count {
    pub left: usize,
    pub saved: usize,
    pub lost: Vec<String>,
    /// An id and where its copies are.
    pub doubled: BTreeMap<String, Vec<String>>,
    pub torn: Vec<String>,
}

pub fn has(programs: &[&str]) -> bool {
    let there = |name: &&str| {
        ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(name.trim_start_matches('/')).exists())
    };
    let missing: Vec<_> = programs.iter().filter(|name| !there(name)).collect();
    if !missing.is_empty() || std::env::var_os("POSTRIDER_OVERLAY").is_none() {
        eprintln!("SKIPPED: {missing:?} not there (testsuite/fetch-clients), or no overlay mounts");
        return false;
    }
    true
}

/// A server that delivers into /var/mail. `None`: not on the private host, or a program is missing.
pub fn start(test: &str, programs: &[&str]) -> Option<Server> {
    if !root_or_skip(test) || !has(programs) {
        return None;
    }
    let setup = Setup {
        mailbox: "mailbox \"mbox\" path=\"/var/mail/{user}\"".into(),
        queue: "retry min=\"300ms\" max=\"1s\"; expire \"5d\"".into(),
        ..Setup::default().with_roles()
    };
    Some(setup.start())
}

/// A shell command as a user of the private host, with a plain environment, ended after 100 s.
pub fn shell(user: &str, command: &str) -> Output {
    let mut c = Command::new("setpriv");
    let (group, home) = if user == "root" { ("root", "/".into()) } else { ("tester", format!("/home/{user}")) };
    c.args(["--reuid", user, "--regid", group, "--init-groups", "env", "-i"])
        .args([format!("HOME={home}"), format!("USER={user}"), format!("LOGNAME={user}")])
        .arg(format!("MAIL=/var/mail/{user}"))
        .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TERM=xterm", "timeout", "100", "sh", "-c"])
        .arg(command)
        .current_dir(home);
    c.stdin(std::process::Stdio::null()).output().unwrap()
}

/// Runs the reader over and over until `end`; some wait long for their first lock, so at least twice.
pub fn read_until(end: &AtomicBool, reader: &Reader) -> Passes {
    let mut passes = Passes::default();
    let limit = Instant::now() + seconds(200);
    while !end.load(Ordering::SeqCst) || (passes.good < 2 && Instant::now() < limit) {
        read_once(reader, &mut passes);
    }
    passes
}

pub fn read_once(reader: &Reader, passes: &mut Passes) {
    let start = Instant::now();
    let out = shell(&reader.caller, &reader.pass);
    passes.longest = passes.longest.max(start.elapsed());
    if out.status.success() {
        passes.good += 1;
        return;
    }
    passes.failed += 1;
    if passes.failed <= 2 {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        println!("{}: {}, {}", reader.name, out.status, said.trim().lines().last().unwrap_or_default());
    }
}

/// Sends `total` messages with ids `tag…` to the user over some seconds.
pub fn send(server: &Server, user: &str, tag: &str, total: usize) {
    std::thread::scope(|scope| {
        for t in 0..SENDERS {
            scope.spawn(move || {
                let mut session = Smtp::hello(server.address).unwrap();
                for n in (t..total).step_by(SENDERS) {
                    let to = format!("{user}@local.test");
                    let text = message::text(&format!("{tag}{n}"), &to, 30);
                    assert_eq!(session.message("a@client.test", &[&to], &text).unwrap().code, 250);
                    std::thread::sleep(Duration::from_millis(150));
                }
            });
        }
    });
}

/// SIGKILL to our agents of this user, each some moments after it appeared, until `end`; how many.
pub fn kill_until(end: &AtomicBool, server: &Server, uid: u32, kills: &AtomicUsize) {
    let mut wait = 20;
    while !end.load(Ordering::SeqCst) {
        for agent in server.processes() {
            if process::ids(agent.pid, "Uid").first() == Some(&uid) {
                process::signal(agent.pid, rustix::process::Signal::KILL);
                kills.fetch_add(1, Ordering::SeqCst);
            }
        }
        // Every moment of a delivery gets its turn.
        wait = 20 + (wait * 7 + 31) % 230;
        std::thread::sleep(Duration::from_millis(wait));
    }
}

/// Waits until everything is delivered, and ends the readers, also if that never happens.
pub fn drain(server: &Server, user: &str, end: &AtomicBool) {
    let limit = Instant::now() + seconds(150);
    while !server.mailq().contains("is empty") {
        if Instant::now() > limit {
            end.store(true, Ordering::SeqCst);
            let lock = format!("/var/mail/{user}.lock");
            let who = Command::new("sh").args(["-c", &format!("ls -l {lock}; cat {lock}; ps ax")]).output().unwrap();
            panic!("not delivered: {}\n{}\n{}", server.mailq(), String::from_utf8_lossy(&who.stdout), server.story());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    end.store(true, Ordering::SeqCst);
}

/// Ids in the mailbox and where the readers saved them.
pub fn count(user: &str, readers: &[Reader], sent: &[String]) -> Count {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut count = Count::default();
    let mut look = |name: &str, path: &Path| {
        let (ids, torn) = if path.is_dir() { files(path) } else { mbox::count([path]) };
        count.torn.extend(torn.into_iter().map(|text| format!("{name}: {text}")));
        for (id, copies) in &ids {
            places.entry(id.clone()).or_default().extend(vec![name.to_owned(); *copies]);
        }
        ids.len()
    };
    let left = look("mailbox", &Path::new("/var/mail").join(user));
    let saved = readers.iter().map(|reader| look(reader.name, &reader.saved)).sum();
    (count.left, count.saved) = (left, saved);
    count.lost = sent.iter().filter(|id| !places.contains_key(*id)).cloned().collect();
    count.doubled = places.into_iter().filter(|(_, copies)| copies.len() > 1).collect();
    count
}

fn files(folder: &Path) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut ids, mut torn) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        match message::whole(&fs::read(&path).unwrap()) {
            Ok(id) => *ids.entry(id).or_default() += 1,
            Err(why) => torn.push(format!("{}: {why}", path.display())),
        }
    }
    (ids, torn)
}

/// An empty start: mailbox, home.
pub fn clear(user: &str) {
    let _ = fs::remove_file(Path::new("/var/mail").join(user));
    for entry in fs::read_dir(Path::new("/home").join(user)).unwrap() {
        let path = entry.unwrap().path();
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

pub fn uid(user: &str) -> u32 {
    nix::unistd::User::from_name(user).unwrap().unwrap().uid.as_raw()
}

/// One reader against our deliveries, then again while our agents are killed. Nothing is lost or torn, nothing doubled beyond what
/// was in an agent's hand when it died, and the reader gets its turn.
pub fn rewrites(test: &str, user: &str, programs: &[&str], reader: &Reader) {
    let Some(server) = start(test, programs) else { return };
    for killing in [false, true] {
        clear(user);
        let (count, kills) = one_run(&server, user, reader, killing);
        assert!(count.lost.is_empty(), "lost: {:?}\n{}", count.lost, server.story());
        assert!(count.torn.len() <= kills, "torn: {:?}", count.torn);
        // Saved, and still in the mailbox: mutt and neomutt save first, and do not remove when the mailbox has changed meanwhile.
        let kept =
            |copies: &Vec<String>| copies.iter().filter(|place| *place == "mailbox").count() == 1 && copies.len() == 2;
        let doubled = count.doubled.values().filter(|copies| !kept(copies)).count();
        assert!(doubled <= kills * IN_HAND, "doubled: {:?}", count.doubled);
    }
}

/// Judges the reader; the count is for the caller.
pub fn one_run(server: &Server, user: &str, reader: &Reader, killing: bool) -> (Count, usize) {
    let total = scaled(500, 60);
    let (end, calm, kills) = (AtomicBool::new(false), AtomicBool::new(!killing), AtomicUsize::new(0));
    let passes = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_until(&end, reader));
        if killing {
            scope.spawn(|| kill_until(&calm, server, uid(user), &kills));
        }
        send(server, user, "m", total);
        calm.store(true, Ordering::SeqCst);
        drain(server, user, &end);
        reading.join().unwrap()
    });
    let count = count(user, std::slice::from_ref(reader), &ids("m", total));
    let kills = kills.into_inner();
    report(reader.name, &passes, &count, kills);
    assert!(passes.good > 1 && count.saved > 0, "the reader did its part: {passes:?}");
    assert!(passes.longest < reader.patience, "{} waited {:?}", reader.name, passes.longest);
    assert!(passes.failed <= passes.good, "{} starved: {passes:?}", reader.name);
    assert_no_locks(user);
    (count, kills)
}

/// The ids that [`send`] sends.
pub fn ids(tag: &str, total: usize) -> Vec<String> {
    (0..total).map(|n| format!("{tag}{n}")).collect()
}

pub fn report(name: &str, passes: &Passes, count: &Count, kills: usize) {
    println!(
        "{name}: {} passes, {} failed, longest {:.1} s; {} left, {} saved, {} lost, {} doubled, {} torn; {kills} agents killed",
        passes.good,
        passes.failed,
        passes.longest.as_secs_f32(),
        count.left,
        count.saved,
        count.lost.len(),
        count.doubled.len(),
        count.torn.len()
    );
}

/// No lock and no temporary file of ours stays.
pub fn assert_no_locks(user: &str) {
    let litter: Vec<_> = fs::read_dir("/var/mail")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| *name == format!("{user}.lock"))
        .collect();
    assert!(litter.is_empty(), "{litter:?}");
}
