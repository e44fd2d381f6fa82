//! A mailbox in /var/mail, a program that empties it in a loop, our deliveries, and the count of ids afterwards.

use crate::interop_kill::{Deaths, Ends, Victim, kill_until};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, scaled, seconds};

/// Most messages an agent has in hand (DESIGN §2).
pub const IN_HAND: usize = 32;
const SENDERS: usize = 5;
/// No pass may take longer, also of a reader that would wait for ever.
const TURN: Duration = seconds(60);
/// Some readers wait for 2 s and no longer.
const STALLED: Duration = Duration::from_millis(700);

/// A program that takes the mail out of a mailbox.
#[derive(Clone, Debug)]
pub struct Reader {
    /// For the output.
    pub name: &'static str,
    /// One pass, as a shell command. It fails when the program gave up waiting for a lock.
    pub pass: String,
    /// Who calls it: the mailbox's owner, or root for programs that become him.
    pub caller: String,
    /// Where it puts the mail: an mbox, or a folder with a message in each file.
    pub saved: PathBuf,
    /// When it gives up waiting for a lock, for the output (mbox-locking.md §3).
    pub patience: &'static str,
}

/// The exit code of such a pass.
const LEFT: i32 = 3;

/// What became of the passes of a reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passes {
    pub good: usize,
    /// In which it gave up. Then what it had saved is still in the mailbox, and it saves that again.
    pub failed: usize,
    /// In which it had its lock ([`LEFT`]) and went without writing; to be told from its trace. It saves that again too.
    pub left: usize,
    pub longest: Duration,
    pub all: Duration,
}

/// A message somewhere.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "for the output")]
pub struct Seen {
    /// `mailbox` or the reader's name.
    pub place: String,
    pub queue_id: String,
}

/// What the count of ids says.
#[derive(Debug, Default)]
pub struct Count {
    pub sent: usize,
    pub left: usize,
    pub saved: usize,
    pub lost: Vec<String>,
    pub doubled: BTreeMap<String, Vec<Seen>>,
    pub torn: Vec<String>,
}

/// Whether the test can be: not without root, overlay mounts and a set of clients. A program that is missing in the set is a
/// failure: else nobody would notice that its test no longer runs.
pub fn can(test: &str, programs: &[&str]) -> bool {
    if !root_or_skip(test) {
        return false;
    }
    let clients = std::env::var_os("POSTRIDER_CLIENTS").unwrap_or_else(|| "/var/tmp/postrider-clients".into());
    if std::env::var_os("POSTRIDER_OVERLAY").is_none() || !Path::new(&clients).join("complete").exists() {
        eprintln!("SKIPPED {test}: no overlay mounts, or no programs (testsuite/fetch-clients)");
        return false;
    }
    let there = |name: &&&str| ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(name).exists());
    let missing: Vec<_> = programs.iter().filter(|name| !there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}: their packages are not in {}", Path::new(&clients).display());
    true
}

/// A server that delivers into /var/mail. `None`: skipped.
pub fn start(test: &str, programs: &[&str]) -> Option<Server> {
    if !can(test, programs) {
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
    let took = start.elapsed();
    passes.longest = passes.longest.max(took);
    passes.all += took;
    if out.status.success() {
        passes.good += 1;
        return;
    }
    if out.status.code() == Some(LEFT) {
        passes.left += 1;
        return;
    }
    passes.failed += 1;
    if passes.failed <= 2 {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        println!("{}: {}, {}", reader.name, out.status, said.trim().lines().last().unwrap_or_default());
    }
}

/// Sends `total` messages with ids `tag…` to the user over some seconds. What was not acknowledged, because somebody killed us, is
/// sent again under another id. Returns the ids that were acknowledged.
pub fn send(server: SocketAddr, user: &str, tag: &str, total: usize) -> Vec<String> {
    let (to, done) = (format!("{user}@local.test"), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for t in 0..SENDERS {
            let (to, done) = (&to, &done);
            scope.spawn(move || {
                let mut session = None;
                for n in (t..total).step_by(SENDERS) {
                    let id = send_one(&mut session, server, to, &format!("{tag}{n}"));
                    done.lock().unwrap().push(id);
                    std::thread::sleep(Duration::from_millis(150));
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn send_one(session: &mut Option<Smtp>, server: SocketAddr, to: &str, name: &str) -> String {
    let limit = Instant::now() + seconds(150);
    for again in 0.. {
        let id = if again == 0 { name.to_owned() } else { format!("{name}.{again}") };
        if session.is_none() {
            *session = Smtp::hello(server).ok();
        }
        let reply = session.as_mut().and_then(|s| s.message("a@client.test", &[to], &message::text(&id, to, 30)).ok());
        if reply.is_some_and(|reply| reply.code == 250) {
            return id;
        }
        assert!(Instant::now() < limit, "{id} is not taken");
        *session = None;
        std::thread::sleep(Duration::from_millis(100));
    }
    unreachable!("the loop has no end");
}

/// Waits until everything is delivered.
pub fn drain(server: &Server, user: &str) {
    let limit = Instant::now() + seconds(150);
    while !server.mailq().contains("is empty") {
        if Instant::now() > limit {
            let lock = format!("/var/mail/{user}.lock");
            let who = Command::new("sh").args(["-c", &format!("ls -l {lock}; cat {lock}; ps ax")]).output().unwrap();
            panic!("not delivered: {}\n{}\n{}", server.mailq(), String::from_utf8_lossy(&who.stdout), server.story());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Ids in the mailbox and where the readers saved them.
pub fn count(user: &str, readers: &[Reader], sent: &[String]) -> Count {
    let mut copies: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    let mut count = Count { sent: sent.len(), ..Count::default() };
    let mut look = |name: &str, path: &Path| {
        let mut ids = std::collections::BTreeSet::new();
        for text in messages(path, &mut count.torn) {
            match message::whole(&text) {
                Ok(id) => {
                    let copy = Seen { place: name.to_owned(), queue_id: queue_id(&text) };
                    copies.entry(id.clone()).or_default().push(copy);
                    ids.insert(id);
                }
                Err(why) => count.torn.push(format!("{name}: {why}")),
            }
        }
        ids.len()
    };
    let left = look("mailbox", &Path::new("/var/mail").join(user));
    let saved = readers.iter().map(|reader| look(reader.name, &reader.saved)).sum();
    (count.left, count.saved) = (left, saved);
    count.lost = sent.iter().filter(|id| !copies.contains_key(*id)).cloned().collect();
    count.doubled = copies.into_iter().filter(|(_, copies)| copies.len() > 1).collect();
    count
}

/// The messages of an mbox, or of a folder's files; without those that programs keep notes in.
fn messages(path: &Path, torn: &mut Vec<String>) -> Vec<Vec<u8>> {
    if path.is_dir() {
        let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        return files.filter(|path| !hidden(path)).map(|path| fs::read(path).unwrap()).collect();
    }
    let entries = mbox::read(path).unwrap_or_else(|why| {
        // What it begins with is torn; whole messages may follow.
        torn.push(why);
        let data = fs::read(path).unwrap();
        let next = data.windows(7).position(|part| part == b"\n\nFrom ");
        next.map_or_else(Vec::new, |at| mbox::parse(&data[at + 2..]).unwrap())
    });
    entries.into_iter().filter(|entry| !mbox::is_notes(entry)).map(|entry| entry.text).collect()
}

/// From our Received field.
fn queue_id(text: &[u8]) -> String {
    let header = String::from_utf8_lossy(mbox::split(text).0).into_owned();
    let field = mbox::field(&header, "Received").unwrap_or_default();
    let mut words = field.split_whitespace().skip_while(|word| *word != "id").skip(1);
    words.next().unwrap_or_default().trim_end_matches(';').to_owned()
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

/// The longest sync of a file beside the mailboxes until `end`: so long we have to hold a lock, and more than readers wait for it is
/// not our doing.
pub fn slowest_sync(end: &AtomicBool, user: &str) -> Duration {
    let path = format!("/var/mail/.probe-{user}");
    let mut slowest = Duration::ZERO;
    while !end.load(Ordering::SeqCst) {
        let file = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, &[b'x'; 2_000]).unwrap();
        let start = Instant::now();
        file.sync_data().unwrap();
        slowest = slowest.max(start.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    let _ = fs::remove_file(path);
    slowest
}

/// One reader against our deliveries, then again while our agents, engine and keeper are killed. Nothing is lost; nothing is torn or
/// doubled but by a death: torn what an agent wrote, doubled what was on its way.
pub fn rewrites(test: &str, user: &str, programs: &[&str], reader: &Reader) {
    let Some(mut server) = start(test, programs) else { return };
    for victims in [&[][..], Victim::ALL] {
        let (count, deaths, gave_up) = one_run(&mut server, user, reader, victims);
        assert!(count.lost.is_empty(), "lost: {:?}\n{}", count.lost, server.story());
        judge(&server, &count, &deaths, gave_up);
    }
}

/// What is torn is so by a death; what is doubled by a death, or by a reader that gave up.
pub fn judge(server: &Server, count: &Count, deaths: &Deaths, gave_up: usize) {
    assert!(count.torn.len() <= deaths.all(), "torn: {:?}", count.torn);
    if gave_up > 0 {
        return;
    }
    let log = server.log();
    for (id, copies) in &count.doubled {
        assert!(copies.iter().all(|copy| deaths.met(&log, &copy.queue_id)), "{id} doubled: {copies:?}\n{deaths:?}");
    }
    assert!(count.doubled.len() <= deaths.all() * IN_HAND, "doubled: {:?}", count.doubled);
}

/// Judges the reader; the count, and how often the reader gave up, are for the caller.
pub fn one_run(server: &mut Server, user: &str, reader: &Reader, victims: &'static [Victim]) -> (Count, Deaths, usize) {
    clear(user);
    let (end, address) = (AtomicBool::new(false), server.address);
    let (sent, deaths, passes, slowest) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_until(&end, reader));
        let syncing = scope.spawn(|| slowest_sync(&end, user));
        let over = Ends(&end);
        let (sent, deaths) = kill_until(server, uid(user), victims, || send(address, user, "m", scaled(500, 40)));
        drain(server, user);
        drop(over);
        (sent, deaths, reading.join().unwrap(), syncing.join().unwrap())
    });
    let count = count(user, std::slice::from_ref(reader), &sent);
    report(reader, &passes);
    tell(reader.name, &count, &deaths, slowest);
    assert!(passes.good > 1 && count.saved > 0, "the reader did its part: {passes:?}");
    starved(reader, &passes, &deaths, slowest);
    assert_no_locks(user);
    (count, deaths, passes.failed + passes.left)
}

/// A reader that gave up was starved, unless the disk took that long; of a dead agent's lock nobody gets rid before our next agent.
pub fn starved(reader: &Reader, passes: &Passes, deaths: &Deaths, slowest: Duration) {
    if slowest > STALLED {
        println!("{}: a sync took {slowest:.1?}: how long it waited is not judged", reader.name);
        return;
    }
    assert!(passes.failed <= deaths.all(), "{} gave up: {passes:?}", reader.name);
    assert!(passes.longest < TURN, "{} waited {:?}", reader.name, passes.longest);
}

pub fn report(reader: &Reader, passes: &Passes) {
    let all = passes.good + passes.failed + passes.left;
    let mean = passes.all.as_secs_f32() / all.max(1) as f32;
    if passes.left > 0 {
        println!("{}: {} times it had the lock and left without writing", reader.name, passes.left);
    }
    println!(
        "{:17} {:4} passes, {} gave up; a pass took {mean:.1} s, at most {:.1} s (it waits {} for a lock)",
        reader.name,
        all,
        passes.failed,
        passes.longest.as_secs_f32(),
        reader.patience
    );
}

pub fn tell(name: &str, count: &Count, deaths: &Deaths, slowest: Duration) {
    println!(
        "{name:17} {:4} sent: {} saved, {} left, {} lost, {} doubled, {} torn; killed: {deaths}; slowest sync {slowest:.1?}",
        count.sent,
        count.saved,
        count.left,
        count.lost.len(),
        count.doubled.len(),
        count.torn.len()
    );
    count.torn.iter().for_each(|why| println!("{name:17} torn: {}", why.chars().take(300).collect::<String>()));
}

/// No lock stays, nor a file that only told the time.
pub fn assert_no_locks(user: &str) {
    let names = || fs::read_dir("/var/mail").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let lock = names().find(|name| *name == format!("{user}.lock"));
    assert_eq!(lock, None);
    // `.lkPID`; liblockfile's have another shape.
    let is_ours = |name: &String| name.strip_prefix(".lk").is_some_and(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
    let litter: Vec<String> = names().filter(is_ours).collect();
    assert_eq!(litter, Vec::<String>::new());
}

#[test]
fn behind_a_torn_beginning_messages_are_counted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mut torn, good) = (Vec::new(), "From a  date\nX-Test-Id: m1\n\nx\n\nFrom b  date\nX-Test-Id: m2\n\ny\n\n");
    fs::write(file.path(), format!("end of one\n\n{good}")).unwrap();
    assert_eq!((messages(file.path(), &mut torn).len(), torn.len()), (2, 1));
    fs::write(file.path(), good).unwrap();
    assert_eq!((messages(file.path(), &mut torn).len(), torn.len()), (2, 1));
}
