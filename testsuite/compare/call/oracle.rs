//! The real sendmail as Debian installs it: a set-gid submission program reading `submit.cf` and a daemon reading `sendmail.cf`, in a root
//! of its own on the private host (sendmail.md §7). Its local mailer writes each message into a file of its own.

use crate::host;
use crate::model::Message;
use crate::root::{PROGRAM, Root};
use crate::run::{Side, dead_letters, sunk};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use testsuite::{Sink, process, seconds, server, wait_for};

/// Where its smart host listens.
const SINK: u16 = 2600;

const QUEUES: [&str; 2] = ["var/spool/mqueue", "var/spool/mqueue-client"];

const COMMON: &str = "include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
define(`confDOMAIN_NAME', `mx.example.test')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confTO_IDENT', `0')dnl
define(`confSMTP_LOGIN_MSG', `$j Sendmail $v/$Z; $b')dnl
";

const DAEMON: &str = "DOMAIN(`debian-mta')dnl
define(`confMAX_DAEMON_CHILDREN', `0')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confMAX_HOP', `100')dnl
define(`ALIAS_FILE', `/etc/aliases')dnl
define(`LOCAL_MAILER_PATH', `/bin/sh')dnl
define(`LOCAL_MAILER_ARGS', `sh /etc/mail/deliver $u $g')dnl
FEATURE(`use_cw_file')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA-v4, Port=25, Addr=127.0.0.1')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h 2600')dnl
MODIFY_MAILER_FLAGS(`LOCAL', `+E')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
";

const SUBMIT: &str = "DOMAIN(`debian-msp')dnl
FEATURE(`use_ct_file')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`msp', `[127.0.0.1]', `25')dnl
";

/// It, running.
pub struct Oracle {
    root: Root,
    daemon: Option<Child>,
    sink: Sink,
}

impl Oracle {
    /// In a fresh root; `None`, with the reason printed, where that is not possible.
    pub fn start() -> Option<Self> {
        let root = Root::unpack()?;
        let sink = Sink::on(([127, 0, 0, 1], SINK), false, |step| crate::run::dsn(step.at));
        let mut oracle = Self { root, daemon: None, sink };
        oracle.furnish();
        oracle.configure();
        let log = fs::File::create(oracle.path("tmp/daemon.log")).unwrap();
        let mut daemon = oracle.command("/usr/sbin/sendmail");
        daemon.arg("-bD").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        oracle.daemon = Some(daemon.spawn().unwrap());
        wait_for("sendmail's port", seconds(20), || std::net::TcpStream::connect(("127.0.0.1", 25)).is_ok());
        Some(oracle)
    }
    fn path(&self, path: &str) -> PathBuf {
        self.root.path(path)
    }
    fn furnish(&mut self) {
        for file in ["etc/hosts", "etc/services"] {
            let _ = fs::copy(format!("/{file}"), self.path(file));
        }
        if !self.path("etc/services").exists() {
            fs::write(self.path("etc/services"), "smtp 25/tcp\nsubmission 587/tcp\n").unwrap();
        }
        for (file, text) in [
            ("etc/aliases", host::ALIASES),
            ("etc/mail/trusted-users", "carol\n"),
            ("etc/mail/local-host-names", "local.test\n"),
            ("etc/mail/deliver", "{ echo \"From $2 x\"; cat; } >\"/var/mail/$1.$$.$PPID\"\n"),
        ] {
            fs::write(self.path(file), text).unwrap();
        }
        for folder in ["var/spool/mqueue-client", "var/lib/sendmail/host_status", "usr/lib", "usr/sbin", "usr/bin"] {
            fs::create_dir_all(self.path(folder)).unwrap();
        }
        let _ = fs::remove_dir_all(self.path("var/run"));
        for folder in ["run/sendmail/mta", "run/sendmail/msp"] {
            fs::create_dir_all(self.path(folder)).unwrap();
        }
        symlink("../run", self.path("var/run")).unwrap();
        for name in ["usr/sbin/sendmail", "usr/lib/sendmail", "usr/bin/mailq", "usr/bin/newaliases"] {
            let _ = fs::remove_file(self.path(name));
            symlink(PROGRAM, self.path(name)).unwrap();
        }
        let own = |path: &str, uid, gid, mode| {
            chown(self.path(path), Some(uid), Some(gid)).unwrap();
            fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        own("var/spool/mqueue-client", 19_993, 19_993, 0o2770);
        own(PROGRAM, 0, 19_993, 0o2755);
        own("var/spool/mqueue", 19_994, 19_993, 0o2750);
        own("var/mail", 0, 8, 0o2777);
        host::homes(&self.path("home").to_string_lossy());
        self.root.bind("/dev");
    }
    fn configure(&self) {
        for (name, text) in [("sendmail", DAEMON), ("submit", SUBMIT)] {
            fs::write(self.path(&format!("etc/mail/{name}.mc")), format!("{COMMON}{text}")).unwrap();
            let out = self.run("/usr/bin/m4", &[&format!("/etc/mail/{name}.mc")]);
            fs::write(self.path(&format!("etc/mail/{name}.cf")), out.stdout).unwrap();
        }
        let out = self.run("/usr/bin/newaliases", &[]);
        assert!(out.status.success(), "{out:?}");
    }
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(program);
        command.args(arguments);
        server::run(command, b"")
    }
    fn command(&self, program: &str) -> Command {
        let mut command = self.root.command(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
    fn waiting(&self) -> usize {
        QUEUES
            .iter()
            .flat_map(|folder| fs::read_dir(self.path(folder)).unwrap().flatten())
            .filter(|entry| !entry.path().is_dir())
            .count()
    }
}

impl Side for Oracle {
    fn command(&self, user: &str, program: &str) -> Command {
        let id = host::uid(user);
        let mut command = Command::new("chroot");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args([&format!("--userspec={id}:{id}"), &format!("--groups={id}")]);
        command.arg(self.path("")).arg(program);
        command
    }
    fn settle(&self) {
        let begin = std::time::Instant::now();
        while self.waiting() > 0 && begin.elapsed() < seconds(20) {
            self.run("/usr/sbin/sendmail", &["-Ac", "-qf"]);
            self.run("/usr/sbin/sendmail", &["-qf"]);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        if self.waiting() > 0 {
            for arguments in [["-Am", "-bp"], ["-Ac", "-bp"]] {
                let out = self.run("/usr/sbin/sendmail", &arguments);
                println!("sendmail keeps, and we take away: {}", String::from_utf8_lossy(&out.stdout));
            }
            for entry in QUEUES.iter().flat_map(|f| fs::read_dir(self.path(f)).unwrap().flatten()) {
                println!("{}", entry.path().display());
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        for entry in fs::read_dir(self.path("var/mail")).unwrap().flatten() {
            let user = entry.file_name().to_string_lossy().split('.').next().unwrap_or_default().to_owned();
            let text = fs::read(entry.path()).unwrap();
            messages.push(Message { place: format!("mailbox {user}"), text: crate::normal::text(&text) });
        }
        messages.extend(sunk(&self.sink));
        messages.extend(dead_letters(&self.path("home")));
        messages
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            process::kill_tree(daemon.id() as i32);
            let _ = daemon.wait();
        }
    }
}
