//! What the system itself sends: jobs, reports, warnings.

use crate::host::{compare, good, host, root_shell, shell};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testsuite::{seconds, wait_for};

/// A program that ends with the value.
struct Daemon(Child);

impl Daemon {
    fn start(program: &str, arguments: &[&str]) -> Self {
        Self(Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The private host has no login accounting: a plain PAM stack.
fn plain_pam(service: &str) {
    let pam = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
    fs::write(Path::new("/etc/pam.d").join(service), pam).unwrap();
}

fn folder(path: &str, owner: (u32, u32), mode: u32) {
    fs::create_dir_all(path).unwrap();
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn cron() {
    let Some(host) = host("/usr/sbin/cron") else { return };
    plain_pam("cron");
    let table = Path::new("/var/spool/cron/crontabs/u02");
    fs::write(table, "MAILTO=u01@mx.test,u03\n@reboot printf 'a job says\\n.\\nFrom cron'\n").unwrap();
    chown(table, Some(20_002), None).unwrap();
    fs::set_permissions(table, fs::Permissions::from_mode(0o600)).unwrap();
    let _ = fs::remove_file("/run/crond.reboot");
    let daemon = Daemon::start("/usr/sbin/cron", &["-f"]);
    wait_for("cron's mail", seconds(20), || !host.given().is_empty() && Path::new("/var/mail/u01").exists());
    host.delivered(&["u01", "u03"], "u02@mx.test");
    assert_eq!(host.arguments(), "-FCronDaemon -i -B8BITMIME -oem u01@mx.test,u03");
    drop(daemon);
    fs::remove_file(table).unwrap();
}

#[test]
fn at() {
    let Some(host) = host("/usr/sbin/atd") else { return };
    plain_pam("atd");
    for path in ["/var/spool/cron/atjobs", "/var/spool/cron/atspool"] {
        folder(path, (1, 1), 0o1770);
    }
    fs::write("/var/spool/cron/atjobs/.SEQ", "").unwrap();
    chown("/var/spool/cron/atjobs/.SEQ", Some(1), Some(1)).unwrap();
    fs::write("/etc/at.deny", "").unwrap();
    good(&shell("u05", "echo 'printf \"a job says\\n.\\nFrom at\"' | at now"));
    let daemon = Daemon::start("/usr/sbin/atd", &["-f", "-l", "100", "-b", "1"]);
    wait_for("at's mail", seconds(20), || Path::new("/var/mail/u05").exists());
    host.delivered(&["u05"], "u05@mx.test");
    assert_eq!(host.arguments(), "-i u05");
    drop(daemon);
}

#[test]
fn anacron() {
    let Some(host) = host("/usr/sbin/anacron") else { return };
    folder("/var/spool/anacron", (0, 0), 0o755);
    let table = "SHELL=/bin/sh\nPATH=/usr/bin:/bin\nMAILTO=u01@mx.test\n1 0 job1 echo a job says; echo From anacron\n";
    let table = host.script("anacrontab", table);
    good(&root_shell(&format!("anacron -d -f -n -t {table} -S /var/spool/anacron")));
    host.delivered(&["u01"], "root@mx.test");
    assert_eq!(host.arguments(), "-FAnacron -odi u01@mx.test");
}

/// A wrong password is reported.
#[test]
fn sudo() {
    let Some(host) = host("/usr/bin/sudo") else { return };
    fs::write("/etc/pam.d/sudo", "auth required pam_deny.so\naccount required pam_permit.so\n").unwrap();
    fs::set_permissions("/usr/bin/sudo", fs::Permissions::from_mode(0o4755)).unwrap();
    let rules = "Defaults mailerpath=\"/usr/sbin/sendmail\",mailerflags=\"-t\",mailto=\"u01@mx.test\",mail_badpass,passwd_tries=1\nu05 ALL=(ALL) ALL\n";
    let _ = fs::remove_file("/etc/sudoers");
    fs::write("/etc/sudoers", rules).unwrap();
    fs::set_permissions("/etc/sudoers", fs::Permissions::from_mode(0o440)).unwrap();
    let out = shell("u05", "echo wrong | sudo -S /bin/true");
    assert!(!out.status.success(), "{out:?}");
    wait_for("sudo's mail", seconds(10), || Path::new("/var/mail/u01").exists());
    host.delivered(&["u01"], "u05@mx.test");
    assert_eq!(host.arguments(), "-t");
    let mail = host.mail("u01", 1);
    assert!(String::from_utf8_lossy(mail[0].body()).contains("u05 : 1 incorrect password attempt"), "{mail:?}");
}

#[test]
fn logwatch() {
    let Some(host) = host("/usr/sbin/logwatch") else { return };
    folder("/var/cache/logwatch", (0, 0), 0o755);
    good(&root_shell("logwatch --output mail --mailto u01@mx.test --range all --service all --detail high"));
    host.delivered(&["u01"], "root@mx.test");
    assert!(host.mail("u01", 1)[0].field("Subject").is_some_and(|s| s.starts_with("Logwatch for ")));
}

/// The sendmail action, as a jail begins, bans and ends.
#[test]
fn fail2ban() {
    let Some(host) = host("/usr/bin/fail2ban-server") else { return };
    let place = host.server.path("fail2ban");
    let place = place.to_string_lossy();
    good(&root_shell(&format!("cp -a /etc/fail2ban {place}; rm -f {place}/jail.d/*; touch {place}/log")));
    let jail = format!(
        "[test]\nenabled = true\nbackend = polling\nlogpath = {place}/log\nfilter =\nfailregex = bad <HOST>\n\
         action = sendmail[name=test, dest=\"u01@mx.test\", sender=\"fail2ban@mx.test\", sendername=\"Fail2Ban\"]\n"
    );
    fs::write(format!("{place}/jail.conf"), jail).unwrap();
    let client = format!("-c {place} -s {place}/socket -p {place}/pid");
    let command = format!(
        "fail2ban-server {client} --logtarget {place}/said -b start && fail2ban-client {client} set test banip 198.51.100.7; \
         fail2ban-client {client} stop"
    );
    good(&root_shell(&command));
    let mail = host.mail("u01", 3);
    let subjects: Vec<String> = mail.iter().filter_map(|m| m.field("Subject")).collect();
    for (subject, word) in subjects.iter().zip(["started on", "banned 198.51.100.7 from", "stopped on"]) {
        assert!(subject.contains(word), "{subjects:?}");
    }
    let given = host.given();
    for (entry, subject) in mail.iter().zip(&subjects) {
        let given = given.iter().find(|g| String::from_utf8_lossy(g).contains(&format!("Subject: {subject}\n")));
        compare(given.expect("what it gave"), entry, "fail2ban@mx.test");
    }
    host.nobody_but(&["u01"]);
}
