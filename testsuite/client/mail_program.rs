//! What people write mail with.

use crate::host::{BODY, good, host, shell};
use std::fs;

const SENDER: &str = "u05@mx.test";

/// A draft with the usual recipients; `extra` are more header lines.
fn draft(extra: &str) -> String {
    format!("From: {SENDER}\nTo: u01@mx.test\nCc: u02@mx.test\n{extra}Subject: draft\n\n{BODY}")
}

#[test]
fn bsd_mailx() {
    let Some(host) = host("/usr/bin/bsd-mailx") else { return };
    let command = format!(
        "printf '%s' '{BODY}' | bsd-mailx -s 'Grüße' -c u02@mx.test -b u03@mx.test -a 'X-Kept: yes' u01@mx.test"
    );
    good(&shell("u05", &command));
    host.delivered(&["u01", "u02", "u03"], SENDER);
}

#[test]
fn s_nail() {
    let Some(host) = host("/usr/bin/s-nail") else { return };
    let command = format!(
        "printf '%s' '{BODY}' | s-nail -:/ -S sendcharsets=utf-8 -s 'Grüße' -r {SENDER} -c u02@mx.test -b u03@mx.test u01@mx.test"
    );
    good(&shell("u05", &command));
    host.delivered(&["u01", "u02", "u03"], SENDER);
    assert_eq!(host.arguments(), format!("-i -f {SENDER} -- u01@mx.test u02@mx.test u03@mx.test"));
}

#[test]
fn mutt() {
    let Some(host) = host("/usr/bin/mutt") else { return };
    let command = format!(
        "printf '%s' '{BODY}' | mutt -n -F /dev/null -e 'set copy=no use_envelope_from=yes from={SENDER} send_charset=utf-8 allow_8bit=yes' -s 'Grüße' -c u02@mx.test -b u03@mx.test u01@mx.test"
    );
    good(&shell("u05", &command));
    host.delivered(&["u01", "u02", "u03"], SENDER);
}

/// `mail`, with the name and with the URL of its sendmail mailer.
#[test]
fn mailutils() {
    for mailer in ["", "-E 'set sendmail=sendmail:/usr/lib/sendmail'"] {
        let Some(host) = host("/usr/bin/mail.mailutils") else { return };
        let command = format!(
            "printf '%s' '{BODY}' | mail.mailutils -N -E 'set nodot' {mailer} -s 'subject' -a 'X-Kept: yes' -a 'Cc: u02@mx.test' -a 'Bcc: u03@mx.test' u01@mx.test"
        );
        good(&shell("u05", &command));
        host.delivered(&["u01", "u02", "u03"], SENDER);
        assert_eq!(host.arguments(), format!("-oi -f {SENDER} -t"));
    }
}

/// As its mail-mode and message-mode send.
#[test]
fn emacs() {
    let Some(host) = host("/usr/bin/emacs-nox") else { return };
    let script = format!(
        "(require 'sendmail)\n(setq user-mail-address \"{SENDER}\" mail-interactive t mail-specify-envelope-from t)\n\
         (with-temp-buffer\n (insert \"To: u01@mx.test\\nCc: u02@mx.test\\nBcc: u03@mx.test\\nSubject: Grüße\\n\" mail-header-separator \"\\n\" \"{BODY}\")\n\
         (setq buffer-file-coding-system 'utf-8)\n (sendmail-send-it))\n"
    );
    let path = host.script("send.el", &script);
    good(&shell("u05", &format!("emacs-nox --batch -Q -l {path}")));
    host.delivered(&["u01", "u02", "u03"], SENDER);
    assert_eq!(host.arguments(), format!("-oi -f {SENDER} -oep -odi -t"));
}

fn nmh(mts: &str, extra: &str, users: &[&str], arguments: &str) {
    let Some(host) = host("/usr/bin/mh/send") else { return };
    let path = host.script("draft", &draft(extra));
    let command = format!(
        "mkdir -p $HOME/Mail; echo 'Path: Mail' >$HOME/.mh_profile; cp {path} $HOME/Mail/draft; PATH=/usr/bin/mh:$PATH send -mts {mts} $HOME/Mail/draft"
    );
    good(&shell("u05", &command));
    host.delivered(users, SENDER);
    assert_eq!(host.arguments(), arguments);
}

#[test]
fn nmh_by_pipe() {
    nmh("sendmail/pipe", "", &["u01", "u02"], "-t -i");
}

#[test]
fn nmh_by_smtp() {
    nmh("sendmail/smtp", "Dcc: u03@mx.test\n", &["u01", "u02", "u03"], "-bs -odb -oem -om");
}

/// Presses keys (second argument, third, …) when the screen shows what goes before them.
const TYPIST: &str = r"
import os, pty, select, sys, time
command, steps = sys.argv[1], list(zip(sys.argv[2::2], sys.argv[3::2]))
pid, screen = pty.fork()
if pid == 0: os.execvp('sh', ['sh', '-c', command])
seen, end = b'', time.time() + 30
while time.time() < end:
    if select.select([screen], [], [], 0.1)[0]:
        try: piece = os.read(screen, 4096)
        except OSError: break
        if not piece: break
        seen += piece
    elif steps and steps[0][0].encode() in seen:
        os.write(screen, steps.pop(0)[1].encode().decode('unicode_escape').encode()); seen = b''
else:
    os.kill(pid, 9); sys.stderr.write(repr(seen[-2000:]))
sys.exit(os.waitpid(pid, 0)[1] >> 8)
";

#[test]
fn alpine() {
    let Some(host) = host("/usr/bin/alpine") else { return };
    let (typist, body) = (host.script("typist.py", TYPIST), host.script("body", BODY));
    fs::write(
        "/home/u05/.pinerc",
        "user-domain=mx.test\nlast-version-used=99.99\ndefault-fcc=\"\"\nfeature-list=send-without-confirm\n",
    )
    .unwrap();
    let command = format!(
        "/usr/bin/python3 {typist} 'alpine -p /home/u05/.pinerc u01@mx.test,u02@mx.test <{body}' 'COMPOSE MESSAGE' '\\x18'"
    );
    let out = shell("u05", &command);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    host.delivered(&["u01", "u02"], SENDER);
    assert_eq!(host.arguments(), "-bs -odb -oem");
}
