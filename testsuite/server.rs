//! A server in a folder of its own: configuration, start, kill, restart, its log, its mailboxes, its `sendmail`.

use crate::{mbox, port, process, wait_for};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The account under which a whole server runs when the tests themselves run as root.
pub const ORDINARY: u32 = 65_534;

/// Where the built programs are: `POSTRIDER_BIN`, or beside the test program's folder.
#[must_use]
pub fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("POSTRIDER_BIN") {
        return folder.into();
    }
    let exe = std::env::current_exe().expect("our own path");
    exe.parent().and_then(Path::parent).expect("target/PROFILE/deps/x").to_owned()
}

/// What to start. In every text `@F@` stands for the server's folder and `@PORT@` for its SMTP port.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The listeners.
    pub listen: String,
    /// The `mailbox` node.
    pub mailbox: String,
    /// What is inside `queue { … }` besides the path.
    pub queue: String,
    /// Further nodes.
    pub more: String,
    /// Content of the alias file.
    pub aliases: String,
    /// Name server; without one DNS answers nothing (a port where nobody listens).
    pub dns: Option<SocketAddr>,
    /// As root with all roles under their own uids (inside `testsuite/host`), or all as one ordinary user.
    pub roles: bool,
    /// Instead of all of the above.
    pub whole: Option<String>,
    /// Where spool and drop folder are, if not in the server's folder.
    pub spool: Option<PathBuf>,
    /// Before the program: `strace …`, `prlimit …`.
    pub wrap: Vec<String>,
    /// Environment of the server.
    pub env: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: "listen \"127.0.0.1:@PORT@\"".into(),
            mailbox: "mailbox \"mbox\" path=\"@F@/mail/{user}\"".into(),
            queue: "retry min=\"1s\" max=\"2s\"; expire \"5d\"".into(),
            more: String::new(),
            aliases: "postmaster: nobody\n".into(),
            dns: None,
            roles: false,
            whole: None,
            spool: None,
            wrap: Vec::new(),
            env: Vec::new(),
        }
    }
}

impl Setup {
    /// All mail that is not local goes to this address.
    #[must_use]
    pub fn relay_to(mut self, sink: SocketAddr) -> Self {
        self.more.push_str(&format!("\nsmart-host \"[{}]:{}\"", sink.ip(), sink.port()));
        self
    }
    /// Adds nodes.
    #[must_use]
    pub fn with(mut self, nodes: &str) -> Self {
        self.more.push('\n');
        self.more.push_str(nodes);
        self
    }
    /// With the roles of DESIGN §2.
    #[must_use]
    pub const fn with_roles(mut self) -> Self {
        self.roles = true;
        self
    }
    /// Makes the folder and starts; panics if no 220 comes within 20 s.
    #[must_use]
    pub fn start(self) -> Server {
        let mut server = Server::make(self);
        server.start();
        server
    }
}

/// A server and its folder, which goes away with it.
pub struct Server {
    /// Everything is below.
    pub folder: PathBuf,
    /// What it was made from.
    pub setup: Setup,
    /// Where it listens.
    pub address: SocketAddr,
    child: Option<Child>,
    _kept: Option<tempfile::TempDir>,
}

impl Server {
    /// Folder and configuration, nothing started.
    #[must_use]
    pub fn make(setup: Setup) -> Self {
        // Root's server obeys no configuration below a folder that everybody may write.
        let within = if setup.roles { "/run" } else { "/tmp" };
        let kept = tempfile::Builder::new().prefix("pr.").tempdir_in(within).unwrap();
        let folder = kept.path().to_owned();
        let kept = if std::env::var_os("POSTRIDER_KEEP").is_some() {
            eprintln!("kept: {}", kept.keep().display());
            None
        } else {
            Some(kept)
        };
        let port = port::free();
        let server =
            Self { address: SocketAddr::from(([127, 0, 0, 1], port)), folder, setup, child: None, _kept: kept };
        fs::set_permissions(&server.folder, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["mail", "tmp", "logs"] {
            fs::create_dir(server.path(name)).unwrap();
            server.give(&server.path(name));
        }
        server.give(&server.folder);
        if server.setup.roles {
            // The engine writes its own log file.
            if let Ok(Some(user)) = nix::unistd::User::from_name("postrider") {
                chown(server.path("logs"), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
            }
            let mail = nix::unistd::Group::from_name("mail").unwrap().unwrap();
            chown(server.path("mail"), Some(0), Some(mail.gid.as_raw())).unwrap();
            fs::set_permissions(server.path("mail"), fs::Permissions::from_mode(0o2775)).unwrap();
        }
        server.write_configuration();
        server
    }
    /// Ordinary servers of a root test own their folder as `nobody`.
    fn give(&self, path: &Path) {
        if !self.setup.roles && nix::unistd::geteuid().is_root() {
            chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
    }
    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
    /// The configuration file.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.path("postrider.kdl")
    }
    /// Writes configuration and alias file from `self.setup` again.
    pub fn write_configuration(&self) {
        let s = &self.setup;
        let spool = s.spool.clone().unwrap_or_else(|| self.folder.clone());
        let dns = s.dns.map_or_else(|| "127.0.0.1:9".to_owned(), |a| a.to_string());
        let user = if s.roles { "user \"postrider\"; " } else { "" };
        // The folder lies below /tmp.
        let trust = if s.roles { "trust \"TrustStickyBit\"\n" } else { "" };
        let text = s.whole.clone().unwrap_or_else(|| {
            format!(
                "host \"mx.test\"\n{trust}{}\nlocal-domains \"local.test\"\naliases \"@F@/aliases\"\n{}\n\
                 queue {{ path \"{spool}/spool\"; {} }}\n\
                 run {{ folder \"@F@/run\"; drop \"{spool}/drop\"; {user}pid-file \"@F@/run/pid\" }}\n\
                 dns {{ servers \"{dns}\" }}\nlog {{ file \"@F@/logs/log\"; syslog #false }}\n{}\n",
                s.listen,
                s.mailbox,
                s.queue,
                s.more,
                spool = spool.display(),
            )
        });
        let text =
            text.replace("@F@", &self.folder.to_string_lossy()).replace("@PORT@", &self.address.port().to_string());
        fs::write(self.configuration(), text).unwrap();
        fs::write(self.path("aliases"), &s.aliases).unwrap();
        self.give(&self.configuration());
        self.give(&self.path("aliases"));
    }
    /// A command with the environment of this server, as its user.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let path = if program.starts_with('/') { PathBuf::from(program) } else { programs().join(program) };
        let mut command = Command::new(path);
        command.current_dir(&self.folder);
        if !self.real() {
            command.env("POSTRIDER_RUN", self.path("run")).env("POSTRIDER_DROP", self.drop_folder());
        }
        self.as_ordinary(&mut command);
        command
    }
    fn as_ordinary(&self, command: &mut Command) {
        if !self.setup.roles && nix::unistd::geteuid().is_root() {
            command.uid(ORDINARY).gid(ORDINARY).env("HOME", &self.folder).env("USER", "nobody");
        }
    }
    /// Whether it is on the real places of the private host: a whole configuration, with roles.
    const fn real(&self) -> bool {
        self.setup.whole.is_some() && self.setup.roles
    }
    /// The drop folder.
    #[must_use]
    pub fn drop_folder(&self) -> PathBuf {
        if self.real() {
            return "/var/spool/postrider/drop".into();
        }
        self.setup.spool.clone().unwrap_or_else(|| self.folder.clone()).join("drop")
    }
    /// Starts the keeper without waiting.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "already started");
        let err = fs::OpenOptions::new().create(true).append(true).open(self.path("stderr")).unwrap();
        let program = programs().join("postrider");
        let mut words = self.setup.wrap.clone();
        words.push(program.to_string_lossy().into_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["keeper", "--config"])
            .arg(self.configuration())
            .envs(self.setup.env.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(err.try_clone().unwrap())
            .stderr(err);
        self.as_ordinary(&mut command);
        self.child = Some(command.spawn().unwrap_or_else(|e| panic!("{words:?}: {e}")));
    }
    /// Starts and waits for the banner; returns how long that took.
    pub fn start(&mut self) -> Duration {
        self.spawn();
        self.wait_ready(Duration::from_secs(20))
    }
    /// Waits until a new connection gets a 220.
    pub fn wait_ready(&mut self, limit: Duration) -> Duration {
        let begin = Instant::now();
        while !self.greets(Duration::from_secs(2)) {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().unwrap()) {
                panic!("the server ended with {status}:\n{}", self.story());
            }
            assert!(begin.elapsed() < limit, "no 220 within {limit:?}:\n{}", self.story());
            std::thread::sleep(Duration::from_millis(2));
        }
        begin.elapsed()
    }
    /// Whether a new connection gets a 220 within `wait`.
    #[must_use]
    pub fn greets(&self, wait: Duration) -> bool {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.address, wait) else {
            return false;
        };
        let _ = stream.set_read_timeout(Some(wait));
        let mut banner = [0u8; 200];
        let ok = stream.read(&mut banner).is_ok_and(|n| banner[..n].starts_with(b"220"));
        let _ = stream.write_all(b"QUIT\r\n");
        ok
    }
    /// The keeper's pid: our child, or the child of what it was wrapped in.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("started").id() as i32;
        if self.setup.wrap.is_empty() {
            return child;
        }
        let inner = process::all().into_iter().find(|p| p.parent == child);
        inner.map_or(child, |p| p.pid)
    }
    /// All processes of the server.
    #[must_use]
    pub fn processes(&self) -> Vec<process::Process> {
        process::tree(self.pid())
    }
    /// The engine: the process that listens.
    #[must_use]
    pub fn engine(&self) -> i32 {
        let mut engine = None;
        wait_for("an engine", Duration::from_secs(5), || {
            engine = self.processes().into_iter().map(|p| p.pid).find(|&p| {
                let line = fs::read(format!("/proc/{p}/cmdline")).unwrap_or_default();
                line.split(|&b| b == 0).any(|word| word == b"engine")
            });
            engine.is_some()
        });
        engine.unwrap()
    }
    /// SIGKILL to every process at one moment. Returns how many there were.
    pub fn kill(&mut self) -> usize {
        let Some(mut child) = self.child.take() else { return 0 };
        let n = process::kill_tree(child.id() as i32);
        let _ = child.wait();
        n
    }
    /// SIGKILL to the keeper alone; all that it started ends by itself. Returns how long that took.
    pub fn kill_keeper(&mut self) -> Duration {
        let others = self.processes();
        process::signal(self.pid(), Signal::KILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        let lives = |p: &process::Process| process::read(p.pid).filter(|now| now.state != 'Z' && now.name == p.name);
        let begin = Instant::now();
        loop {
            let left: Vec<_> = others.iter().filter_map(lives).collect();
            if left.is_empty() {
                return begin.elapsed();
            }
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "the keeper is gone and they stay: {left:?}\n{}",
                self.story()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// SIGKILL to the keeper alone; nothing else is waited for. The engine.
    pub fn abandon(&mut self) -> i32 {
        let engine = self.engine();
        process::signal(self.pid(), Signal::KILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        engine
    }
    /// SIGTERM to the keeper; panics if it does not end within 20 s. Returns its exit status.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        process::signal(self.pid(), Signal::TERM);
        let mut child = self.child.take().expect("started");
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if begin.elapsed() > Duration::from_secs(20) {
                process::kill_tree(child.id() as i32);
                panic!("SIGTERM did not end it within 20 s:\n{}", self.story());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    /// SIGHUP to the keeper.
    pub fn reload(&self) {
        process::signal(self.pid(), Signal::HUP);
    }
    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("logs/log")).unwrap_or_default()).into_owned()
    }
    /// What to print when a test fails: the last lines of stderr and log.
    #[must_use]
    pub fn story(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        let err = fs::read_to_string(self.path("stderr")).unwrap_or_default();
        format!("--- stderr\n{}\n--- log\n{}", tail(err), tail(self.log()))
    }
    /// Waits until the log holds `text`; returns that line.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            if let Some(line) = self.log().lines().find(|l| l.contains(text)) {
                return line.to_owned();
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "log never said {text:?}:\n{}", self.story());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// A user's mailbox file.
    #[must_use]
    pub fn mailbox(&self, user: &str) -> PathBuf {
        self.path("mail").join(user)
    }
    /// Waits until the user's mailbox holds `n` messages, and returns them.
    #[track_caller]
    pub fn wait_mail(&self, user: &str, n: usize) -> Vec<mbox::Entry> {
        let begin = Instant::now();
        loop {
            let entries = mbox::read(&self.mailbox(user)).unwrap_or_default();
            if entries.len() >= n {
                return entries;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{} of {n} messages in the mailbox of {user}:\n{}",
                entries.len(),
                self.story()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// Runs `sendmail` with these arguments and this input, at most 60 s.
    pub fn sendmail(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command("sendmail");
        command.args(arguments);
        run(command, input)
    }
    /// What `mailq` prints.
    #[must_use]
    pub fn mailq(&self) -> String {
        let out = self.sendmail(&["-bp"], b"");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
    /// Waits until `mailq` says that the queue is empty, and nothing is in the drop folder.
    #[track_caller]
    pub fn wait_empty(&self, limit: Duration) {
        let begin = Instant::now();
        loop {
            let list = self.mailq();
            let dropped = fs::read_dir(self.drop_folder()).map_or(0, Iterator::count);
            if list.contains("is empty") && dropped == 0 {
                return;
            }
            assert!(
                begin.elapsed() < limit,
                "queue not empty within {limit:?}, {dropped} in the drop folder:\n{list}\n{}",
                self.story()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}

/// Runs a command with this input; kills it and panics after 60 s.
pub fn run(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let pid = child.id() as i32;
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if wait.recv_timeout(Duration::from_secs(60)).is_err() {
            process::signal(pid, Signal::KILL);
            return true;
        }
        false
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    assert!(!guard.join().unwrap(), "{command:?} did not end within 60 s");
    let _ = writer.join();
    output
}
