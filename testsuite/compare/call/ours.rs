//! Our server on the real places of the private host, all roles under their own uids.

use crate::host::{self, NAME};
use crate::model::Message;
use crate::run::{Side, dead_letters, sunk};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use testsuite::{Server, Setup, Sink, mbox, seconds, server};

/// It, running.
pub struct Ours {
    _server: Server,
    sink: Sink,
}

impl Ours {
    /// On port 2525, for sendmail has 25.
    pub fn start() -> Self {
        let sink = Sink::scripted(|step| crate::run::dsn(step.at));
        fs::create_dir_all("/etc/mail").unwrap();
        fs::write("/etc/mail/trusted-users", "carol\n").unwrap();
        let text = format!(
            "host \"{NAME}\"\nlisten \"127.0.0.1:2525\"\nlocal-domains \"local.test\"\naliases \"/etc/aliases\"\n\
             trusted-users file=\"/etc/mail/trusted-users\"\nsenders {{ accept-unresolvable }}\n\
             dns {{ servers \"127.0.0.1:9\" }}\nmailbox \"mbox\" path=\"/var/mail/{{user}}\"\n\
             log {{ file \"@F@/logs/log\"; syslog #false }}\nsmart-host \"[127.0.0.1]:{}\"\n",
            sink.address.port()
        );
        let mut server = Server::make(Setup { whole: Some(text), ..Setup::default().with_roles() });
        server.address = SocketAddr::from(([127, 0, 0, 1], 2525));
        // Where those of our programs look that read it themselves.
        fs::copy(server.configuration(), "/etc/mail/postrider.kdl").unwrap();
        server.start();
        Self { _server: server, sink }
    }
    fn queue(&self) -> String {
        let command = Command::new("/usr/bin/mailq");
        String::from_utf8_lossy(&server::run(command, b"").stdout).into_owned()
    }
}

impl Side for Ours {
    fn command(&self, user: &str, program: &str) -> Command {
        let id = host::uid(user);
        let mut command = Command::new("chroot");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args([&format!("--userspec={id}:{id}"), &format!("--groups={id}"), "/", program]);
        command
    }
    fn settle(&self) {
        let begin = std::time::Instant::now();
        while !self.queue().contains("is empty") && begin.elapsed() < seconds(20) {
            let mut flush = Command::new("/usr/sbin/sendmail");
            flush.arg("-q");
            let _ = server::run(flush, b"");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        if !self.queue().contains("is empty") {
            println!("we keep: {}", self.queue());
        }
    }
    fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        for entry in fs::read_dir("/var/mail").unwrap().flatten() {
            let user = entry.file_name().to_string_lossy().into_owned();
            for one in mbox::read(&entry.path()).unwrap_or_else(|e| panic!("{user}: {e}")) {
                let mut text = one.from_line.into_bytes();
                text.push(b'\n');
                text.extend_from_slice(&one.text);
                messages.push(Message { place: format!("mailbox {user}"), text: crate::normal::text(&text) });
            }
        }
        messages.extend(sunk(&self.sink));
        messages.extend(dead_letters(Path::new("/home")));
        messages
    }
}
