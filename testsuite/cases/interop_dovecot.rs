//! Dovecot on a mailbox in /var/mail: IMAP, and `doveadm move`. fcntl, then the dot-lock (as root's child, with group mail).

use crate::interop::{Reader, can, rewrites};
use crate::interop_reader::reader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use testsuite::{process, seconds, wait_for};

/// A Dovecot of its own folder, ports and sockets; ends with the value.
pub struct Dovecot {
    folder: tempfile::TempDir,
    child: Child,
    pub port: u16,
}

impl Dovecot {
    /// `None`: the test is skipped.
    pub fn start(test: &str) -> Option<Self> {
        if !can(test, &["dovecot", "doveadm"]) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("dv.").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let port = testsuite::port::free();
        let at = folder.path().display();
        let text = format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap lmtp\nlisten = 127.0.0.1\nssl = no\n\
             disable_plaintext_auth = no\nauth_username_format = %Ln\nmail_location = mbox:~/mail:INBOX=/var/mail/%u\n\
             mail_privileged_group = mail\nmbox_write_locks = fcntl dotlock\nfirst_valid_uid = 1\n\
             passdb {{\n driver = static\n args = password=x\n}}\nuserdb {{\n driver = passwd\n}}\n\
             namespace inbox {{\n inbox = yes\n}}\nservice anvil {{\n chroot =\n}}\n\
             service imap-login {{\n chroot =\n inet_listener imap {{\n  port = {port}\n }}\n}}\n\
             service lmtp {{\n unix_listener lmtp {{\n  mode = 0666\n }}\n}}\n"
        );
        std::fs::write(folder.path().join("conf"), text).unwrap();
        let conf = folder.path().join("conf");
        let child =
            Command::new("/usr/sbin/dovecot").arg("-F").arg("-c").arg(conf).stdin(Stdio::null()).spawn().unwrap();
        let dovecot = Self { folder, child, port };
        wait_for("Dovecot", seconds(60), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(dovecot)
    }
    pub fn conf(&self) -> PathBuf {
        self.folder.path().join("conf")
    }
    /// Its LMTP socket.
    pub fn lmtp(&self) -> PathBuf {
        self.folder.path().join("run/lmtp")
    }
    /// A reader that uses IMAP.
    pub fn imap_at(&self, user: &str) -> Reader {
        let script = self.folder.path().join("imap.py");
        std::fs::write(&script, IMAP).unwrap();
        let pass = format!("test ! -s @BOX@ || /usr/bin/python3 {} {} {user}", script.display(), self.port);
        reader("Dovecot IMAP", user, "mail/imap", "5 min", &pass)
    }
    /// A reader that uses `doveadm`.
    pub fn doveadm_at(&self, user: &str) -> Reader {
        let conf = self.conf().display().to_string();
        let pass = "test -e @HOME@/mail/doveadm || doveadm -c @CONF@ mailbox create -u @USER@ doveadm
            test ! -s @BOX@ || doveadm -c @CONF@ move -u @USER@ doveadm mailbox INBOX all";
        let pass = pass.replace("@CONF@", &conf).replace("@USER@", user);
        Reader { caller: "root".into(), ..reader("doveadm", user, "mail/doveadm", "5 min", &pass) }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        process::kill_tree(self.child.id() as i32);
        let _ = self.child.wait();
    }
}

const IMAP: &str = r#"
import imaplib, sys
port, user = sys.argv[1:]
imaplib.Commands["MOVE"] = ("SELECTED",)
c = imaplib.IMAP4("127.0.0.1", int(port))
c.login(user, "x")
c.create("imap")
n = int(c.select("INBOX")[1][0])
if n and c._simple_command("MOVE", "1:%d" % n, "imap")[0] != "OK": sys.exit("not moved")
c.logout()
"#;

#[test]
fn dovecot_imap() {
    let Some(dovecot) = Dovecot::start("interop dovecot imap") else { return };
    rewrites("interop dovecot imap", "u09", &[], &dovecot.imap_at("u09"));
}

#[test]
fn doveadm_move() {
    let Some(dovecot) = Dovecot::start("interop doveadm") else { return };
    rewrites("interop doveadm", "u10", &[], &dovecot.doveadm_at("u10"));
}
