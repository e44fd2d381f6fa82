//! Postfix delivers into the same mailbox at the same time: what movemail destroys of its mail and of ours. Only at full size, and only
//! where the benchmark's scratch root of Postfix is (`POSTRIDER_POSTFIX`, made by `shared/bench`); it stands under an overlay and is not changed.

use crate::interop::{clear, count, drain, read_until, report, send, slowest_sync, start, tell};
use crate::interop_kill::{Deaths, Ends};
use crate::interop_movemail::{ALONE, Traced, USER, reader_in};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use testsuite::{Server, port, scaled, seconds, server, wait_for};

const SETUP: &str = r#"
mkdir "$T/upper" "$T/work" "$T/root"; chmod 755 "$T"
R=$T/root; mount -t overlay -o "lowerdir=$B,upperdir=$T/upper,workdir=$T/work" overlay "$R"
mount --bind /dev "$R/dev"; mount --bind /proc "$R/proc"; mount --bind /var/mail "$R/var/mail"
grep "^$U:" /etc/passwd >>"$R/etc/passwd"; mkdir -p "$R/home/$U"
cat >"$R/etc/postfix/main.cf" <<E
compatibility_level = 3.6
myhostname = postfix.test
mydestination = local.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
mailbox_size_limit = 0
mail_spool_directory = /var/mail
smtpd_tls_security_level = none
smtpd_peername_lookup = no
E
sed -e "s/^smtp \+inet/$P inet/" "$R/etc/postfix/master.cf.orig" | awk '/^[^ #]/ && $5 == "y" { $5 = "n" } { print }' >"$R/etc/postfix/master.cf"
rm -f "$R/var/spool/postfix/pid/master.pid" "$R/var/lib/postfix/master.lock"
chroot "$R" postsuper -d ALL; chroot "$R" postfix start
"#;

struct Postfix {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Postfix {
    fn start(base: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("postfix.").tempdir_in("/var/tmp").unwrap();
        let port = port::free();
        let mut command = Command::new("bash");
        command
            .args(["-e", "-c", SETUP])
            .env("T", folder.path())
            .env("B", base)
            .env("U", USER)
            .env("P", port.to_string());
        let out = server::run(command, b"");
        let postfix = Self { folder, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        assert!(out.status.success(), "{out:?}");
        wait_for("Postfix", seconds(20), || testsuite::Smtp::hello(postfix.address).is_ok());
        postfix
    }
    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }
    fn call(&self, line: &str) -> String {
        let mut command = Command::new("chroot");
        command.arg(self.root()).args(["sh", "-c", line]);
        String::from_utf8_lossy(&server::run(command, b"").stdout).into_owned()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.call("postfix stop");
        for mount in ["var/mail", "proc", "dev", ""] {
            let _ = Command::new("umount").arg("-l").arg(self.root().join(mount)).status();
        }
    }
}

#[test]
fn movemail_beside_postfix() {
    let base = std::env::var_os("POSTRIDER_POSTFIX").unwrap_or_else(|| "/var/tmp/bench-roots/postfix".into());
    let base = PathBuf::from(base);
    if scaled(1, 0) == 0 || !base.join("usr/sbin/postfix").exists() {
        println!("SKIPPED movemail beside Postfix: not at full size, or no {}", base.display());
        return;
    }
    let Some(server) = start("movemail beside Postfix", &["movemail.mailutils"]) else { return };
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let postfix = Postfix::start(&base);
    // What falls into a window is chance: the sum counts.
    let (mut ours, mut theirs) = (0, 0);
    for _ in 0..3 {
        let lost = one_round(&server, &postfix);
        (ours, theirs) = (ours + lost.0, theirs + lost.1);
        if theirs > 0 && ours <= theirs {
            return;
        }
    }
    assert!(ours <= theirs, "{ours} of ours, {theirs} of Postfix's");
}

/// How many of ours and of Postfix's were destroyed.
fn one_round(server: &Server, postfix: &Postfix) -> (usize, usize) {
    clear(USER);
    let (reader, traces) = reader_in(USER);
    let traced = Traced::begin(server);
    let (end, total) = (AtomicBool::new(false), scaled(500, 60));
    let (ours, theirs, passes, slowest) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_until(&end, &reader));
        let syncing = scope.spawn(|| slowest_sync(&end, USER));
        let over = Ends(&end);
        let theirs = scope.spawn(|| send(postfix.address, USER, "p", total));
        let ours = send(server.address, USER, "m", total);
        let theirs = theirs.join().unwrap();
        drain(server, USER);
        wait_for("Postfix's queue", seconds(300), || postfix.call("postqueue -f; postqueue -p").contains("is empty"));
        drop(over);
        (ours, theirs, reading.join().unwrap(), syncing.join().unwrap())
    });
    report(&reader, &passes);
    let both = count(USER, std::slice::from_ref(&reader), &[ours, theirs].concat());
    tell("movemail, Postfix", &both, &Deaths::default(), slowest);
    let lost = |tag: char| both.lost.iter().filter(|id| id.starts_with(tag)).cloned().collect::<Vec<_>>();
    println!(
        "movemail beside Postfix: of {total} each, {} of ours and {} of Postfix's destroyed",
        lost('m').len(),
        lost('p').len()
    );
    traced.explain(&traces, &lost('m'));
    (lost('m').len(), lost('p').len())
}
