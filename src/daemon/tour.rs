//! `postrider try [--once]`: the complete server in a scratch folder, as an ordinary user, shown at work with real output. Every
//! step is checked; `--once` ends after the tour with exit 0 only if all held.

use crate::output::complain;
use crate::role;
use crate::sink::{self, Inbox};
use anyhow::Context as _;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a step to come true.
const PATIENCE: Duration = Duration::from_secs(15);

/// `println!` that does not panic.
macro_rules! say {
    ($($text:tt)*) => { writeln!(std::io::stdout(), $($text)*) };
}

/// Runs the tour; returns the exit code.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let once = match arguments {
        [] => false,
        [flag] if flag == "--once" => true,
        _ => {
            complain!("usage: postrider try [--once]");
            return 64;
        }
    };
    if rustix::process::geteuid().is_root() {
        return as_nobody(arguments);
    }
    match Tour::start().and_then(|mut tour| tour.walk(once)) {
        Ok(()) => 0,
        Err(error) => {
            complain!("\nThis did not work: {error:#}");
            1
        }
    }
}

/// The tour needs no privilege, so as root it gives all of it up first and starts anew.
fn as_nobody(arguments: &[OsString]) -> u8 {
    use std::os::unix::process::CommandExt;
    let _nobody_listens = say!("(started by root: going on as user nobody)");
    let nobody = match nix::unistd::User::from_name("nobody") {
        Ok(Some(nobody)) => nobody,
        _ => {
            complain!("postrider try: no user \"nobody\" to run as; start it as an ordinary user");
            return 77;
        }
    };
    let dropped = nix::unistd::setgroups(&[])
        .and_then(|()| nix::unistd::setgid(nobody.gid))
        .and_then(|()| nix::unistd::setuid(nobody.uid));
    if let Err(error) = dropped {
        complain!("postrider try: cannot become nobody: {error}");
        return 77;
    }
    let failed = Command::new("/proc/self/exe").arg("try").args(arguments).current_dir("/tmp").exec();
    complain!("postrider try: {failed}");
    71
}

/// A running server in a folder, and the world around it.
struct Tour {
    folder: tempfile::TempDir,
    keeper: Child,
    user: String,
    smtp: SocketAddr,
    inbox: Inbox,
}

impl Drop for Tour {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.keeper.id().cast_signed()) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _status = self.keeper.wait();
    }
}

impl Tour {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-try-").tempdir()?;
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("you have no passwd entry")?.name;
        let (world, inbox) = sink::start()?;
        let smtp = free_port()?;
        let config = write_configuration(folder.path(), smtp, world)?;
        say!("A complete server, running as {user} in {}\n", folder.path().display())?;
        say!("$ cat {}\n{}", config.display(), std::fs::read_to_string(&config)?)?;
        let keeper =
            Command::new("/proc/self/exe").args(["keeper", "--config"]).arg(&config).stdin(Stdio::null()).spawn()?;
        let mut tour = Self { folder, keeper, user, smtp, inbox };
        tour.wait_ready()?;
        Ok(tour)
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            if let Ok(mut stream) = TcpStream::connect_timeout(&self.smtp, Duration::from_secs(1)) {
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut greeting = [0; 3];
                if stream.read_exact(&mut greeting).is_ok() && &greeting == b"220" {
                    say!("The server greeted on {} after {} ms.\n", self.smtp, began.elapsed().as_millis())?;
                    return Ok(());
                }
            }
            if let Some(status) = self.keeper.try_wait()? {
                anyhow::bail!("the server ended: {status}");
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "no greeting on {} within {PATIENCE:?}", self.smtp);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn walk(&mut self, once: bool) -> anyhow::Result<()> {
        let user = self.user.clone();
        say!("== 1. A program hands a message to sendmail; it lands in a mailbox.")?;
        self.submit(&format!("To: {user}\nSubject: hello\n\nIt works.\nFrom here on, a line that mbox must quote.\n"))?;
        let mbox = self.folder.path().join("mail").join(&user);
        let text = wait("the message in the mailbox", || found_in(&mbox, "Subject: hello"))?;
        say!("$ cat {}\n{text}", mbox.display())?;
        anyhow::ensure!(text.contains("\n>From here on"), "the From_ quoting is missing");

        say!("== 2. A message for another host is relayed by SMTP.")?;
        self.submit("To: friend@world.example\nSubject: outward bound\n\nHello, world.\n")?;
        let text = wait("the message at the other host", || self.inbox.find("Subject: outward bound"))?;
        say!("(what the other host received)\n{text}")?;

        say!("== 3. A message to an unknown user comes back.")?;
        self.submit("To: unknown@world.example\nSubject: into the void\n\nAnyone there?\n")?;
        let bounce = "Subject: Returned mail: see transcript for details";
        let text = wait("the bounce", || found_in(&mbox, bounce))?;
        let at = text.find("From MAILER-DAEMON").unwrap_or_default();
        say!("$ tail {}\n{}", mbox.display(), &text[at..])?;
        anyhow::ensure!(text.contains("550 5.1.1 no such user here"), "the bounce does not say why");

        say!("== 4. A host that says \"later\": the message waits, and mailq says why.")?;
        self.submit("To: later@world.example\nSubject: patience\n\nNo hurry.\n")?;
        let listing = wait("the deferred message in mailq", || {
            self.run("mailq", &["mailq"], None)
                .ok()
                .filter(|listing| listing.contains("Deferred: 451 4.7.1 greylisted"))
        })?;
        say!("$ mailq\n{listing}")?;
        say!("Every step was checked and held.\n")?;
        if !once {
            self.stay()?;
        }
        Ok(())
    }

    /// Submits as any program would, and shows the call.
    fn submit(&self, message: &str) -> anyhow::Result<()> {
        say!("$ sendmail -t <<END\n{message}END")?;
        self.run("sendmail", &["sendmail", "-t"], Some(message)).map(drop)
    }

    fn run(&self, program: &str, words: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        let mut command = if program == "sendmail" {
            role::command("sendmail", "sendmail")
        } else {
            let mut command = Command::new("/proc/self/exe");
            command.arg(words[0]);
            command
        };
        let mut child = command
            .args(&words[1..])
            .env("POSTRIDER_RUN", self.folder.path().join("run"))
            .env("POSTRIDER_DROP", self.folder.path().join("drop"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.unwrap_or_default().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(output.status.success(), "{program} ended with {}: {text}", output.status);
        Ok(text)
    }

    fn stay(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path().display();
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("postrider"));
        say!("The server keeps running. Try it from another terminal:\n")?;
        say!("  export POSTRIDER_RUN={folder}/run POSTRIDER_DROP={folder}/drop")?;
        say!("  echo 'Subject: me too' | {} sendmail {}", own.display(), self.user)?;
        say!("  {} mailq", own.display())?;
        say!("  {} queue list", own.display())?;
        say!("  tail -f {folder}/log")?;
        say!("  nc {} {}        # SMTP by hand\n", self.smtp.ip(), self.smtp.port())?;
        say!("Ctrl-C ends it and removes the folder.")?;
        let status = self.keeper.wait()?;
        anyhow::ensure!(status.success(), "the server ended: {status}");
        Ok(())
    }
}

fn write_configuration(folder: &Path, smtp: SocketAddr, world: SocketAddr) -> anyhow::Result<PathBuf> {
    for name in ["mail", "run", "spool", "drop"] {
        std::fs::create_dir(folder.join(name))?;
    }
    std::fs::write(folder.join("aliases"), "postmaster: root\n")?;
    let at = folder.display();
    let text = format!(
        "host \"try.example\"\nlisten \"{smtp}\"\nsmart-host \"[{}]:{}\"\naliases \"{at}/aliases\"\n\
         mailbox \"mbox\" path=\"{at}/mail/{{user}}\"\nqueue {{ path \"{at}/spool\" }}\n\
         run {{ folder \"{at}/run\"; drop \"{at}/drop\"; pid-file \"{at}/run/pid\" }}\nlog {{ file \"{at}/log\"; syslog #false }}\n",
        world.ip(),
        world.port()
    );
    let path = folder.join("postrider.kdl");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn found_in(path: &Path, text: &str) -> Option<String> {
    let content = std::fs::read(path).ok()?;
    let content = String::from_utf8_lossy(&content).into_owned();
    content.contains(text).then_some(content)
}

/// Asks again until there is an answer.
fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
