//! The server on its real places, the wrapper that keeps what `sendmail` was given, and the comparison.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};
use testsuite::{Server, Setup, mbox, root_or_skip, seconds, server, wait_for};

/// Port 25 and /var/mail exist once.
static HOST: Mutex<()> = Mutex::new(());

/// A body with everything that gets damaged on the way.
pub const BODY: &str =
    "Grüße aus der Küche\nFrom here on\n.\n..\n.x\n>From quoted\n\ttab and trailing blank \n\nlast line\n";

/// Where the wrapper is put. Programs know sendmail by these names.
const NAMES: [&str; 2] = ["/usr/sbin/sendmail", "/usr/lib/sendmail"];

pub struct Host {
    pub server: Server,
    kept: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// Starts a server on the real places, and puts the keeping wrapper before our `sendmail`. `None`: skipped, because there is no private host
/// or none of the programs. A single one that is missing is a failure: else nobody would notice that its test no longer runs.
pub fn host(program: &str) -> Option<Host> {
    if !root_or_skip(program) {
        return None;
    }
    let clients = std::env::var_os("POSTRIDER_CLIENTS").unwrap_or_else(|| "/var/tmp/postrider-clients".into());
    if std::env::var_os("POSTRIDER_OVERLAY").is_none() || !Path::new(&clients).join("complete").exists() {
        eprintln!("SKIPPED {program}: no overlay mounts, or no programs (testsuite/fetch-clients)");
        return None;
    }
    assert!(Path::new(program).exists(), "{program}: its package is not in {}", Path::new(&clients).display());
    let alone = HOST.lock().unwrap_or_else(|e| e.into_inner());
    for folder in ["/var/spool/postrider", "/run/postrider"] {
        let _ = fs::remove_dir_all(folder);
    }
    for entry in fs::read_dir("/var/mail").unwrap() {
        let _ = fs::remove_file(entry.unwrap().path());
    }
    let setup = Setup {
        whole: Some("aliases \"/etc/aliases\"\nlog { file \"@F@/logs/log\"; syslog #false }\n".into()),
        ..Setup::default().with_roles()
    };
    let mut server = Server::make(setup);
    server.address = SocketAddr::from(([127, 0, 0, 1], 25));
    let kept = server.path("kept");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o1777)).unwrap();
    let program = server::programs().join("sendmail");
    let wrapper = format!(
        "#!/bin/sh\nf={0}/$$\nprintf '%s\\n' \"$@\" >$f.args\ncase \" $* \" in *' -bs '*) tee $f.smtp | {1} \"$@\"; exit;; esac\n\
         cat >$f.message\nexec {1} \"$@\" <$f.message\n",
        kept.display(),
        program.display()
    );
    for name in NAMES {
        let _ = fs::remove_file(name);
        fs::write(name, &wrapper).unwrap();
        fs::set_permissions(name, fs::Permissions::from_mode(0o755)).unwrap();
    }
    server.start();
    Some(Host { server, kept, _alone: alone })
}

/// A shell command as a user of the private host, with a plain environment.
pub fn shell(user: &str, command: &str) -> Output {
    let mut c = Command::new("setpriv");
    c.args(["--reuid", user, "--regid", "tester", "--init-groups", "env", "-i"])
        .arg(format!("HOME=/home/{user}"))
        .arg(format!("USER={user}"))
        .arg(format!("LOGNAME={user}"))
        .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TERM=xterm", "sh", "-c", command])
        .current_dir("/tmp");
    server::run(c, b"")
}

/// The same as root.
pub fn root_shell(command: &str) -> Output {
    let mut c = Command::new("sh");
    c.args(["-c", command]).current_dir("/tmp");
    server::run(c, b"")
}

#[track_caller]
pub fn good(out: &Output) {
    assert!(out.status.success(), "{out:?}");
}

impl Host {
    /// Writes a script that everybody may read; its path.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.server.path(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
    /// The mailbox of `user`, once it holds `n` messages; not one more.
    pub fn mail(&self, user: &str, n: usize) -> Vec<mbox::Entry> {
        let path = Path::new("/var/mail").join(user);
        wait_for(&format!("{n} messages for {user}:\n{}", self.server.story()), seconds(20), || {
            mbox::read(&path).is_ok_and(|m| m.len() >= n)
        });
        let mail = mbox::read(&path).unwrap();
        assert_eq!(mail.len(), n, "{user}");
        mail
    }
    /// Messages that were given to `sendmail`.
    pub fn given(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(&self.kept).unwrap().map(|e| e.unwrap().path());
        files
            .filter_map(|path| match path.extension().and_then(OsStr::to_str) {
                Some("message") => Some(fs::read(&path).unwrap()),
                Some("smtp") => Some(said(&fs::read(&path).unwrap())),
                _ => None,
            })
            .collect()
    }
    /// The arguments of the one call of `sendmail`.
    pub fn arguments(&self) -> String {
        let files = fs::read_dir(&self.kept).unwrap().map(|e| e.unwrap().path());
        let calls: Vec<String> = files
            .filter(|p| p.extension() == Some(OsStr::new("args")))
            .map(|p| fs::read_to_string(p).unwrap().trim().replace('\n', " "))
            .collect();
        assert_eq!(calls.len(), 1, "calls of sendmail: {calls:?}");
        calls[0].clone()
    }
    /// Each of `users` has got the one message that was given, from `sender`, and nobody else has got anything.
    #[track_caller]
    pub fn delivered(&self, users: &[&str], sender: &str) {
        let given = self.given();
        assert_eq!(given.len(), 1, "calls of sendmail");
        for user in users {
            compare(&given[0], &self.mail(user, 1)[0], sender);
        }
        self.nobody_but(users);
    }
    /// No mailbox but those of `users`.
    #[track_caller]
    pub fn nobody_but(&self, users: &[&str]) {
        self.server.wait_empty(seconds(20));
        let mut boxes: Vec<String> =
            fs::read_dir("/var/mail").unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        boxes.retain(|name| !name.ends_with(".lock"));
        boxes.sort();
        assert_eq!(boxes, users, "mailboxes");
    }
}

/// The message of a recorded SMTP dialogue, as it was before dots were added.
fn said(dialogue: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(dialogue).into_owned();
    let (_, data) = text.split_once("\nDATA\r\n").expect("a DATA command");
    let data = data.split("\r\n.\r\n").next().unwrap();
    let lines: Vec<&str> = data.split("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
    lines.join("\n").into_bytes()
}

/// Fields that a submission agent adds when they are missing, and those of each delivery (sendmail.md 1.9).
const ADDED: &[&str] =
    &["return-path", "received", "date", "from", "message-id", "delivered-to", "x-authentication-warning"];

/// Header fields as (lower-case name, text with continuation lines).
fn fields(header: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in header.lines() {
        if line.starts_with([' ', '\t'])
            && let Some(last) = out.last_mut()
        {
            last.1.push('\n');
            last.1.push_str(line);
            continue;
        }
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        out.push((name, line.to_owned()));
    }
    out
}

/// A field of addresses without the layout of its list; another as it is.
fn one_line(field: &str) -> String {
    let (name, text) = field.split_once(':').unwrap_or((field, ""));
    if !["from", "to", "cc", "reply-to", "sender"].contains(&name.to_ascii_lowercase().as_str()) {
        return field.to_owned();
    }
    let elements: Vec<&str> = text.split(',').map(str::trim).collect();
    format!("{name}: {}", elements.join(", "))
}

/// The same field, but that addresses without a domain have got this host's, and that a list of addresses is laid out anew, as by sendmail.
fn is_completed(given: &str, delivered: &str) -> bool {
    const OURS: &str = "@mx.test";
    let (given, delivered) = (&*one_line(given), &*one_line(delivered));
    given == delivered
        || (given.replace(OURS, "") == delivered.replace(OURS, "")
            && given.matches(OURS).count() < delivered.matches(OURS).count())
}

/// The delivered message against what was given.
#[track_caller]
pub fn compare(given: &[u8], entry: &mbox::Entry, sender: &str) {
    let given = String::from_utf8_lossy(given).replace("\r\n", "\n");
    let (header, body) = mbox::split(given.as_bytes());
    let mut want = String::new();
    for line in String::from_utf8_lossy(body).split_inclusive('\n') {
        if line.starts_with("From ") {
            want.push('>');
        }
        want.push_str(line);
    }
    if !want.ends_with('\n') {
        want.push('\n');
    }
    assert_eq!(String::from_utf8_lossy(entry.body()), want, "the body");
    let header = fields(&String::from_utf8_lossy(header));
    let mut wanted = header.iter().filter(|(n, _)| n != "bcc").peekable();
    for (name, text) in fields(&entry.header()) {
        if wanted.next_if(|(_, w)| is_completed(w, &text)).is_none() {
            assert!(
                ADDED.contains(&name.as_str()),
                "field added or changed: {text:?}\ngiven:\n{header:#?}\ngot:\n{}",
                entry.header()
            );
        }
    }
    assert!(wanted.peek().is_none(), "missing: {:?}\n{}", wanted.next(), entry.header());
    assert!(entry.from_line.starts_with(&format!("From {sender} ")), "sender: {}", entry.from_line);
}
