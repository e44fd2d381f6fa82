//! Becoming the recipient, for good (DESIGN §2, S-46, S-53). Called once, before anything is read.

use crate::Error;
use crate::arguments::{Arguments, is_path_safe};
use call::agent::{Done, Kind};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, User, getgrouplist, getresgid, getresuid, setgroups, setresgid, setresuid, setuid};
use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether the agent changes its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Started by root: become the recipient.
    Change,
    /// Everything runs as one ordinary user (and in tests).
    Keep,
}

/// Who we are now.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The recipient, or DefaultUser.
    Recipient(Person),
    /// Nobody at all: every message gets this answer.
    Refused(Done),
}

/// Somebody who gets mail, or for whom programs run.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// As the database spells it.
    pub name: String,
    pub home: PathBuf,
    /// His login shell, for the environment.
    pub shell: PathBuf,
    /// It is one of /etc/shells: he may have programs run and files written for him (sendmail.md 3.2).
    pub has_shell: bool,
    /// Owner of what we write.
    pub uid: u32,
}

const NOBODY: u32 = 65_534;

/// Looks the user up and becomes him, or nobody with an answer to give.
pub(crate) fn settle(arguments: &mut Arguments, identity: Identity) -> Result<Settled, Error> {
    limit_ourselves()?;
    let account = match arguments.kind {
        Kind::System => default_user(&arguments.user),
        Kind::Virtual => without_account(arguments),
        Kind::Mailbox | Kind::User => look_up(&arguments.user),
    };
    if let (Ok(User { uid, .. }), Kind::User, Identity::Change) = (&account, arguments.kind, identity)
        && uid.is_root()
    {
        // Whatever he is called: nothing runs for him and nothing is read, but he has a mailbox, whose agent is confined.
        arguments.kind = Kind::Mailbox;
    }
    let account = match identity {
        Identity::Change => account.and_then(|account| admit(account, arguments)),
        // His own folder serves any name: a template without {home} needs no account.
        Identity::Keep if arguments.kind == Kind::Virtual => account,
        Identity::Keep => account.or_else(|done| stand_in(arguments).ok_or(done)),
    };
    match (account, identity) {
        (Ok(account), Identity::Keep) => {
            let mut person = person(&account, nix::unistd::geteuid());
            // Whoever started all this has one.
            person.has_shell = true;
            Ok(Settled::Recipient(person))
        }
        (Ok(account), Identity::Change) => {
            become_user(&account, arguments)?;
            Ok(Settled::Recipient(person(&account, account.uid)))
        }
        (Err(done), Identity::Keep) => Ok(Settled::Refused(done)),
        (Err(done), Identity::Change) => {
            drop_to(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY), &[])?;
            Ok(Settled::Refused(done))
        }
    }
}

fn person(account: &User, uid: Uid) -> Person {
    let shell = if account.shell.as_os_str().is_empty() { "/bin/sh".into() } else { account.shell.clone() };
    let has_shell = is_login_shell(&shell, std::fs::read_to_string("/etc/shells").ok().as_deref());
    Person { name: account.name.clone(), home: account.dir.clone(), shell, has_shell, uid: uid.as_raw() }
}

/// Whether a shell is in /etc/shells; without that file the two that every system has are.
fn is_login_shell(shell: &Path, shells: Option<&str>) -> bool {
    let shells = shells.unwrap_or("/bin/sh\n/bin/csh\n");
    shells
        .lines()
        .map(str::trim)
        .any(|line| line == "/SENDMAIL/ANY/SHELL/" || (line.starts_with('/') && Path::new(line) == shell))
}

/// DefaultUser: `name`, or `uid:gid` where no such name exists.
fn default_user(text: &str) -> Result<User, Done> {
    let Some((uid, gid)) = text.split_once(':') else { return look_up(text) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| Done::Temporary(3, 5, "bad default user".to_owned()));
    let (uid, gid) = (Uid::from_raw(number(uid)?), Gid::from_raw(number(gid)?));
    let (dir, shell) = (PathBuf::from("/"), PathBuf::from("/bin/sh"));
    let name = User::from_uid(uid).ok().flatten().map_or_else(|| text.to_owned(), |user| user.name);
    Ok(User { name, uid, gid, dir, shell, passwd: CString::default(), gecos: CString::default() })
}

/// Somebody in a virtual domain: its uid and gid, and nothing else.
fn without_account(arguments: &Arguments) -> Result<User, Done> {
    // What is wrong with the configuration can be put right: it waits.
    let refused = |why: String| Err(Done::Temporary(3, 5, why));
    let Some(owner) = arguments.owner else {
        return refused(format!("no mailboxes are configured for {}", arguments.user));
    };
    if owner.gid == arguments.group {
        return refused(format!("with group {} a virtual domain could write everybody's mailbox", owner.gid));
    }
    let (uid, gid, name) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid), arguments.user.clone());
    let (dir, shell) = (PathBuf::from("/"), PathBuf::from("/bin/sh"));
    Ok(User { name, uid, gid, dir, shell, passwd: CString::default(), gecos: CString::default() })
}

fn look_up(name: &str) -> Result<User, Done> {
    if !is_path_safe(name) {
        return Err(Done::Permanent(1, 1, "User unknown".to_owned()));
    }
    match User::from_name(name) {
        Ok(Some(user)) if is_path_safe(&user.name) => Ok(user),
        // Only this is "not found": glibc answers with an error number when a source could not be asked (`users`).
        Ok(_) => Err(Done::Permanent(1, 1, "User unknown".to_owned())),
        Err(errno) => Err(Done::Temporary(3, 0, format!("account look-up failed: {}", errno.desc()))),
    }
}

fn stand_in(arguments: &Arguments) -> Option<User> {
    if !is_path_safe(&arguments.user) || arguments.path.contains("{home}") {
        return None;
    }
    let mut user = User::from_uid(nix::unistd::geteuid()).ok()??;
    user.name.clone_from(&arguments.user);
    Some(user)
}

/// Who never gets an agent.
fn admit(account: User, arguments: &Arguments) -> Result<User, Done> {
    let uid = account.uid.as_raw();
    let refuse =
        |why: &str| Err(Done::Permanent(7, 0, format!("{} (uid {uid}) may not receive mail: {why}", account.name)));
    if uid == arguments.engine_uid {
        // Else the engine could have itself a process with more rights than its own.
        return refuse("it is the mail system's own account");
    }
    if uid == 0 && arguments.kind == Kind::Virtual {
        return Err(Done::Temporary(3, 5, "nobody's mailbox is root's".to_owned()));
    }
    if uid == 0 && arguments.kind == Kind::System {
        return Err(Done::Temporary(3, 5, "programs and files of aliases never run as root".to_owned()));
    }
    if uid == 0 && arguments.kind != Kind::Mailbox {
        return Err(Done::Temporary(3, 5, "root has a mailbox and nothing else".to_owned()));
    }
    if uid != 0 && uid < arguments.min_uid {
        return refuse("below the minimum uid");
    }
    Ok(account)
}

fn become_user(account: &User, arguments: &Arguments) -> Result<(), Error> {
    let mail = Gid::from_raw(arguments.group);
    match arguments.kind {
        Kind::Mailbox => drop_to(account.uid, mail, &[mail]),
        Kind::Virtual => drop_to(account.uid, account.gid, &[account.gid]),
        Kind::User | Kind::System => {
            let name =
                CString::new(account.name.as_str()).map_err(|_| Error::Identity("name holds a NUL".to_owned()))?;
            let mut groups = getgrouplist(&name, account.gid).map_err(|errno| failed("groups", errno))?;
            // With group mail he could write every mailbox; whoever is in that group gets it from his login only.
            groups.retain(|group| *group != mail);
            let primary = if account.gid == mail { Gid::from_raw(NOBODY) } else { account.gid };
            drop_to(account.uid, primary, &groups)
        }
    }
}

fn failed(what: &str, errno: nix::Error) -> Error {
    Error::Identity(format!("{what}: {}", errno.desc()))
}

/// Takes on the identity and proves that there is no way back.
fn drop_to(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Error> {
    setgroups(groups).map_err(|errno| failed("setgroups", errno))?;
    setresgid(gid, gid, gid).map_err(|errno| failed("setgid", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| failed("setuid", errno))?;
    let (users, their) = (getresuid().map_err(|errno| failed("getresuid", errno))?, uid);
    let (group, ours) = (getresgid().map_err(|errno| failed("getresgid", errno))?, gid);
    let right = [users.real, users.effective, users.saved].iter().all(|id| *id == their)
        && [group.real, group.effective, group.saved].iter().all(|id| *id == ours);
    if !right || (!uid.is_root() && setuid(Uid::from_raw(0)).is_ok()) {
        return Err(Error::Identity("the change of identity did not hold".to_owned()));
    }
    Ok(())
}

fn limit_ourselves() -> Result<(), Error> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // A core file would hold mail.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| failed("core limit", errno))?;
    std::env::set_current_dir("/")?;
    // A file size limit is an error of the write (EFBIG, 4.2.2), not our death.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().map_err(|errno| failed("signal mask", errno))
}

/// Takes over the socket that the keeper put at `number`: no program that is started here may speak to the engine by it.
#[allow(unsafe_code, reason = "a descriptor's number from the command line has no safe owner yet")]
pub(crate) fn take_descriptor(number: i32) -> Result<OwnedFd, Error> {
    if number < 0 || nix::fcntl::fcntl(borrow(number), nix::fcntl::FcntlArg::F_GETFD).is_err() {
        return Err(Error::Usage("--socket-fd is not an open descriptor".to_owned()));
    }
    // Whatever else we inherited is nobody's business here. SAFETY: only numbers; nothing of ours is open above 2 yet.
    for (first, last) in [(3, number - 1), (number.max(2) + 1, i32::MAX)] {
        if first <= last {
            unsafe { nix::libc::syscall(nix::libc::SYS_close_range, first, last, 0) };
        }
    }
    // It came through an exec; a copy above the standard numbers does not pass through the next one.
    let socket = rustix::io::fcntl_dupfd_cloexec(borrow(number), 3).map_err(io::Error::from)?;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: open (asked above), and nothing else in this process owns it: it was passed for us. It stays open, as nothing.
    let mut passed = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    rustix::io::dup2(&null, &mut passed).map_err(io::Error::from)?;
    Ok(socket)
}

#[allow(unsafe_code, reason = "only to ask whether the number is open")]
fn borrow<'a>(number: i32) -> std::os::fd::BorrowedFd<'a> {
    // SAFETY: not -1 (the caller's check), and used for one F_GETFD, which fails harmlessly on a closed number.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Somebody with this home.
    pub(crate) fn person(home: &Path) -> Person {
        Person { name: "al".into(), home: home.to_owned(), shell: "/bin/sh".into(), has_shell: true, uid: 1_000 }
    }

    fn arguments(kind: Kind) -> Arguments {
        let usual = crate::arguments::tests::arguments();
        Arguments { kind, user: "root".into(), min_uid: 5, engine_uid: 9, ..usual }
    }

    #[test]
    fn only_login_shells_may_have_programs() {
        let shells = Some("# comment /bin/odd\n/bin/sh\n /bin/bash \n");
        let is = |shell: &str, shells: Option<&str>| is_login_shell(Path::new(shell), shells);
        assert!(is("/bin/sh", shells) && is("/bin/bash", shells) && is("/bin/sh", None));
        assert!(!is("/usr/sbin/nologin", shells) && !is("/bin/odd", shells) && !is("", shells) && !is("/x", None));
        assert!(is("/x", Some("/SENDMAIL/ANY/SHELL/\n")));
    }

    #[test]
    fn a_virtual_domain_is_never_root_nor_group_mail() {
        use crate::arguments::Owner;
        let with = |owner: Option<Owner>| {
            let arguments = Arguments { owner, user: "bob@x".into(), ..arguments(Kind::Virtual) };
            without_account(&arguments).and_then(|account| admit(account, &arguments)).map(|user| user.uid.as_raw())
        };
        assert_eq!(with(Some(Owner { uid: 5_000, gid: 5_000 })), Ok(5_000));
        assert!(matches!(with(None), Err(Done::Temporary(3, 5, _))));
        assert!(matches!(with(Some(Owner { uid: 5_000, gid: 8 })), Err(Done::Temporary(3, 5, _))), "group mail");
        assert!(with(Some(Owner { uid: 0, gid: 5_000 })).is_err());
    }

    #[test]
    fn some_accounts_never_get_an_agent() {
        let with = |uid: u32| {
            let mut user = User::from_uid(Uid::from_raw(0)).unwrap().unwrap();
            user.uid = Uid::from_raw(uid);
            user
        };
        let admitted = |uid: u32, kind: Kind| admit(with(uid), &arguments(kind)).is_ok();
        assert!(admitted(0, Kind::Mailbox) && !admitted(0, Kind::User) && !admitted(0, Kind::System));
        assert!(!admitted(4, Kind::Mailbox) && admitted(5, Kind::User));
        assert!(!admitted(9, Kind::Mailbox) && !admitted(9, Kind::User) && !admitted(9, Kind::Virtual));
        assert!(!admitted(0, Kind::Virtual) && !admitted(4, Kind::Virtual) && admitted(5, Kind::Virtual));
        assert!(matches!(look_up("no-such-user-here"), Err(Done::Permanent(1, 1, _))));
        assert!(matches!(look_up("../root"), Err(Done::Permanent(1, 1, _))));
    }
}
