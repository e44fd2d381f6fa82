//! Readers and movers of one mailbox each; mbox-locking.md §1 tells what each locks.

use crate::interop::{Reader, rewrites};
use std::path::Path;

pub fn reader(name: &'static str, user: &str, saved: &str, patience: &'static str, pass: &str) -> Reader {
    let home = Path::new("/home").join(user);
    let mailbox = format!("/var/mail/{user}");
    let pass = pass.replace("@BOX@", &mailbox).replace("@HOME@", &home.to_string_lossy());
    Reader {
        name,
        pass: format!("{pass}; rc=$?; sleep 0.1; exit $rc"),
        caller: user.into(),
        saved: home.join(saved),
        patience,
    }
}

/// fcntl while it loads; fcntl, then the dot-lock by setgid `dotlockfile` when it writes.
pub fn bsd_mailx_at(user: &str) -> Reader {
    let pass = "test ! -s @BOX@ || printf 's * @HOME@/mailx\\nq\\n' | bsd-mailx -n -N >mailx.out 2>&1 || grep -q 'No mail' mailx.out; ! grep -sq 'max tries' mailx.out";
    reader("bsd-mailx", user, "mailx", "30 s", pass)
}

/// fcntl, then the dot-lock, for reading and for writing.
pub fn s_nail_at(user: &str) -> Reader {
    let pass = "test ! -s @BOX@ || printf 'move * @HOME@/s-nail\\nquit\\n' | s-nail -:/ -Snewfolders=mbox -f @BOX@ >s-nail.out 2>&1 || grep -q 'No mail' s-nail.out";
    reader("s-nail", user, "s-nail", "2 s", pass)
}

/// mutt wants a terminal; python gives it one. New mail during a `<quit>` brings it back to its list with everything still to be
/// removed: so it quits again and again. Whatever made it end without removing what it saved, the pass has failed.
const MUTT: &str = "test ! -s @BOX@ || { cat >@HOME@/@P@.rc <<'RC'
set folder=@HOME@ confirmcreate=no confirmappend=no delete=yes quit=yes move=no mark_old=no mbox_type=mbox wait_key=no sleep_time=0
push \"<tag-pattern>~A<enter><tag-prefix><save-message>@HOME@/@P@<enter>@SYNC@\"
RC
timeout 20 /usr/bin/python3 -c 'import pty,sys; sys.exit(pty.spawn([@TRACED@\"@P@\",\"-n\",\"-F\",\"@HOME@/@P@.rc\",\"-f\",\"@BOX@\"]) >> 8)' >@HOME@/@P@.out 2>&1
rc=$?; ids() { grep -ah '^X-Test-Id' $1 | sort; }
ids @HOME@/@P@ >saved-ids; kept=$(ids @BOX@ | comm -12 - saved-ids)
test -z \"$kept\" || { echo saved and not removed: $kept >&2; rc=1; @LEFT@ }; (exit $rc); }";

fn mutt_with(program: &str) -> String {
    MUTT.replace("@P@", program).replace("@SYNC@", &"<quit>".repeat(300))
}

/// fcntl, then the dot-lock by `mutt_dotlock`.
pub fn mutt_at(user: &str) -> Reader {
    reader("mutt", user, "mutt", "5 s", &mutt_with("mutt").replace("@TRACED@", "").replace("@LEFT@", ""))
}

#[test]
fn bsd_mailx() {
    rewrites("interop bsd-mailx", "u01", &["bsd-mailx", "dotlockfile"], &bsd_mailx_at("u01"));
}

#[test]
fn s_nail() {
    rewrites("interop s-nail", "u02", &["s-nail"], &s_nail_at("u02"));
}

#[test]
fn mutt() {
    rewrites("interop mutt", "u03", &["mutt", "mutt_dotlock"], &mutt_at("u03"));
}

/// fcntl only. If mail arrives while it waits for the lock to write, it gets the lock, reads the new mail, and leaves at the next `<quit>`
/// as if nothing were to be removed. So its locks are traced: only who never got the last one has been starved.
#[test]
fn neomutt() {
    let traced = r#""strace","-qq","-o","@HOME@/trace","-e","trace=fcntl","-P","@BOX@","#;
    let left = "grep F_WRLCK @HOME@/trace | tail -n 1 | grep -q ' = 0$' && rc=3;";
    let pass = mutt_with("neomutt").replace("@TRACED@", traced).replace("@LEFT@", left);
    let reader = reader("neomutt", "u04", "neomutt", "4 s", &pass);
    rewrites("interop neomutt", "u04", &["neomutt"], &reader);
}

/// The dot-lock only: the classic recipe of procmail's manual.
#[test]
fn lockfile_and_formail() {
    let pass = "lockfile -1 -ml && { formail -s sh -c 'cat >>@HOME@/formail' <@BOX@ && : >@BOX@; rc=$?; lockfile -mu; test $rc = 0; }";
    let pass = format!("test ! -s @BOX@ || {{ {pass}; }}");
    let reader = reader("lockfile, formail", "u05", "formail", "for ever", &pass);
    rewrites("interop procmail", "u05", &["lockfile", "formail"], &reader);
}

/// The dot-lock only.
#[test]
fn lockfile_progs() {
    let pass = "mail-lock && { cat @BOX@ >>@HOME@/moved && : >@BOX@; rc=$?; mail-unlock; test $rc = 0; }";
    let pass = format!("test ! -s @BOX@ || {{ {pass}; }}");
    let reader = reader("mail-lock", "u06", "moved", "5 s, 10 s, …", &pass);
    rewrites("interop lockfile-progs", "u06", &["mail-lock"], &reader);
}

/// fcntl only.
#[test]
fn nmh_inc() {
    let pass = "test -e .mh_profile || { mkdir -p Mail/inbox; echo 'Path: Mail' >.mh_profile; }
        test ! -s @BOX@ || /usr/bin/mh/inc -file @BOX@ -truncate -silent";
    let reader = reader("nmh inc", "u07", "Mail/inbox", "60 s", pass);
    rewrites("interop nmh", "u07", &["mh/inc"], &reader);
}

/// One pass of a POP3 client. popa3d takes what inetd gives it; what it said `+OK` to at the end is gone from the mailbox.
const POP: &str = r#"
import os, subprocess, sys
user, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
p = subprocess.Popen(["popa3d"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def reply():
    line = p.stdout.readline()
    if not line.startswith(b"+OK"): sys.exit("popa3d: %r" % line)
    return line
def say(line):
    p.stdin.write(line + b"\r\n"); p.stdin.flush()
    return reply()
reply(); say(b"USER " + user.encode()); say(b"PASS x")
got = []
for n in range(1, int(say(b"STAT").split()[1]) + 1):
    say(b"RETR %d" % n)
    text = b""
    while (line := p.stdout.readline()) != b".\r\n":
        text += line[line.startswith(b"."):]
    got.append(text)
    say(b"DELE %d" % n)
say(b"QUIT")
for n, text in enumerate(got):
    open("%s/%d.%d" % (folder, os.getpid(), n), "wb").write(text)
"#;

/// fcntl only; becomes the user by itself.
#[test]
fn popa3d() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pop.py");
    std::fs::write(&path, POP).unwrap();
    if std::env::var_os("POSTRIDER_HOST").is_some() {
        let free = "auth required pam_permit.so\naccount required pam_permit.so\n";
        std::fs::write("/etc/pam.d/popa3d", free).unwrap();
    }
    let pass = format!("test ! -s @BOX@ || /usr/bin/python3 {} u08 @HOME@/pop", path.display());
    let reader = Reader { caller: "root".into(), ..reader("popa3d", "u08", "pop", "for ever", &pass) };
    rewrites("interop popa3d", "u08", &["popa3d"], &reader);
}
