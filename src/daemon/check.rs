//! `postrider check [--config FILE] [--json]`: what the kernel enforces on this host, and whether folders, sockets, accounts and secrets are as
//! the server needs them. One line each: `ok`, `warning` or `failed`, with what to do. Changes nothing. Called by `role`.

use crate::output::{Output, complain};
use crate::plan::configuration;
use config::Config;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line: what was looked at, how it is, and what to do about it.
struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

/// All lines so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, state: State, text: impl Into<String>) {
        self.0.push(Finding { what, state, text: text.into() });
    }

    fn ok(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, State::Ok, text);
    }

    fn warn(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, State::Warning, text);
    }

    fn fail(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, State::Failed, text);
    }

    /// Prints them; returns the exit code: 1 if anything failed.
    fn print(&self, json: bool) -> u8 {
        let mut out = Output::standard();
        for Finding { what, state, text } in &self.0 {
            let _kept = if json {
                writeln!(out, "{}", serde_json::json!({ "check": what, "state": state.name(), "text": text }))
            } else {
                writeln!(out, "{:<8} {what}: {text}", state.name())
            };
        }
        let failed = self.0.iter().any(|finding| finding.state == State::Failed);
        out.finish(u8::from(failed))
    }
}

/// Runs it; returns the exit code: 0 nothing failed, 1 something did, 64 usage.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let (mut config, mut json, mut rest) = (configuration(), false, arguments.iter());
    while let Some(argument) = rest.next() {
        match (argument.to_str(), argument == "--config") {
            (Some("--json"), _) => json = true,
            (_, true) if rest.len() > 0 => config = rest.next().map_or(config, PathBuf::from),
            _ => {
                complain!("usage: postrider check [--config FILE] [--json]");
                return 64;
            }
        }
    }
    let mut found = Findings::default();
    kernel(&mut found);
    programs(&mut found);
    match Config::load(&config, &crate::system::ask()) {
        Ok((config, _)) => host(&config, &mut found),
        Err(errors) => {
            let first = errors.to_string();
            let first = first.lines().next().unwrap_or_default();
            found.fail("configuration", format!("{first}; see postrider config check {}", config.display()));
        }
    }
    found.print(json)
}

fn host(config: &Config, found: &mut Findings) {
    let root = rustix::process::geteuid().is_root();
    if !root {
        found.warn("user", "not run by root: what only root can see is not judged");
    }
    accounts(config, found);
    folders(config, found);
    secrets(config, found);
    sockets(config, found);
    processes(config, found);
}

fn kernel(found: &mut Findings) {
    let kernel = confine::kernel();
    match kernel.landlock {
        Ok(1 | 2) => found.warn("landlock", format!("{kernel}; a newer kernel (6.2) also covers truncation")),
        Ok(_) => found.ok("landlock", kernel.to_string()),
        Err(_) => found.warn(
            "landlock",
            format!("{kernel}; the engine can reach every file its user can: boot a kernel of 5.13 or later with lsm=landlock,..."),
        ),
    }
    match kernel.seccomp {
        true => found
            .ok("seccomp", "filters are there; programs, identities and other processes are out of the engine's reach"),
        false => found.warn(
            "seccomp",
            "this kernel has no filters (CONFIG_SECCOMP_FILTER): the engine may use every system call",
        ),
    }
    match kernel.no_new_privs {
        Some(false) => found.ok("no_new_privs", "known, and not set here"),
        Some(true) => found.warn(
            "no_new_privs",
            "set for this session: a server started from here could not run set-id programs of users (procmail, dotlockfile); remove NoNewPrivileges from its unit",
        ),
        None => found.warn("no_new_privs", "not known to this kernel"),
    }
    for (name, why) in [("hardlinks", "hard links to others' files"), ("symlinks", "links in shared folders")] {
        let path = format!("/proc/sys/fs/protected_{name}");
        match std::fs::read_to_string(&path).map(|text| text.trim() != "0") {
            Ok(true) => found.ok("links", format!("protected_{name} is on")),
            Ok(false) => found.warn("links", format!("{why} are not held back: sysctl fs.protected_{name}=1")),
            Err(error) => found.warn("links", format!("{path} cannot be read: {error}")),
        }
    }
}

fn programs(found: &mut Findings) {
    let beside = |name: &str| std::env::current_exe().unwrap_or_default().with_file_name(name);
    for name in ["postrider-keeper", "postrider-agent", "postrider-users"] {
        match beside(name).metadata() {
            Ok(about) if about.mode() & 0o022 != 0 || about.mode() & 0o6000 != 0 => {
                let path = beside(name);
                found
                    .fail("programs", format!("{} has mode {:04o}: chmod 0755", path.display(), about.mode() & 0o7777));
            }
            Ok(_) => found.ok("programs", format!("{name} is there")),
            Err(_) => found.warn(
                "programs",
                format!("no {name} beside postrider, which serves instead: install the small program"),
            ),
        }
    }
}

fn user(name: &str) -> Result<(u32, u32), String> {
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        Ok(None) => Err(format!("no user \"{name}\": adduser --system --group --no-create-home {name}")),
        Err(errno) => Err(format!("user \"{name}\" cannot be looked up: {}", errno.desc())),
    }
}

fn accounts(config: &Config, found: &mut Findings) {
    let run = &config.run;
    let (engine, users) = (user(&run.user), user(&run.users_user));
    for (name, account) in [(&run.user, &engine), (&run.users_user, &users)] {
        match account {
            Ok((0, _)) => {
                found.fail("accounts", format!("\"{name}\" is root: the server's processes need users of their own"))
            }
            Ok((uid, _)) => found.ok("accounts", format!("{name} has uid {uid}")),
            Err(why) => found.fail("accounts", why.clone()),
        }
    }
    if engine.is_ok() && engine == users {
        found.warn("accounts", format!("{} runs the engine and postrider-users: give them different users", run.user));
    }
    match nix::unistd::Group::from_name(&run.mail_group) {
        Ok(Some(group)) if !group.mem.is_empty() => found.warn(
            "accounts",
            format!("in group {}, and so able to write mailboxes: {}", run.mail_group, group.mem.join(", ")),
        ),
        Ok(Some(_)) => found.ok("accounts", format!("group {} has no members", run.mail_group)),
        _ => found.fail("accounts", format!("no group \"{}\": addgroup --system {0}", run.mail_group)),
    }
}

/// What is wrong with a folder that shall belong to `owner` and have this mode, and what to do.
fn folder(path: &str, owner: u32, mode: u32) -> Result<String, (State, String)> {
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err((State::Warning, format!("{path} is not there; the server makes it when it starts")));
        }
        Err(error) => return Err((State::Warning, format!("{path} cannot be seen as this user: {error}"))),
    };
    if !about.is_dir() {
        return Err((State::Failed, format!("{path} is no folder: remove it, the server makes one")));
    }
    if about.uid() != owner {
        return Err((State::Failed, format!("{path} belongs to uid {}: chown {owner} {path}", about.uid())));
    }
    if about.mode() & 0o7777 != mode {
        let is = about.mode() & 0o7777;
        return Err((
            State::Failed,
            format!("{path} has mode {is:04o}: chmod {mode:04o} {path}, or restart the server"),
        ));
    }
    Ok(format!("{path} belongs to uid {owner} and has mode {mode:04o}"))
}

fn folders(config: &Config, found: &mut Findings) {
    let own = rustix::process::geteuid();
    // A server of an ordinary user has everything under his uid.
    let keeper = std::fs::metadata(&config.run.folder).map_or(own.as_raw(), |about| about.uid());
    let engine = if keeper == 0 { user(&config.run.user).map_or(0, |(uid, _)| uid) } else { keeper };
    for (what, path, owner, mode) in
        [("drop folder", &config.run.drop, keeper, 0o1733), ("queue", &config.queue.path, engine, 0o700)]
    {
        match folder(path, owner, mode) {
            Ok(text) => found.ok(what, text),
            Err((state, text)) => found.add(what, state, text),
        }
    }
    let shared = |about: &Metadata| about.mode() & 0o002 != 0 && about.mode() & 0o1000 == 0;
    let mailboxes = Path::new(&config.mailbox.path).ancestors().find(|path| !path.to_string_lossy().contains('{'));
    match mailboxes.map(|path| (path, path.metadata())) {
        Some((path, Ok(about))) if shared(&about) => {
            found.fail("mailboxes", format!("everybody may remove what is in {}: chmod o-w, or +t", path.display()))
        }
        Some((path, Ok(about))) if path != Path::new("/") => {
            found.ok("mailboxes", format!("{} has mode {:04o}", path.display(), about.mode() & 0o7777));
        }
        Some((path, Err(error))) => found.warn("mailboxes", format!("{}: {error}", path.display())),
        _ => {}
    }
}

/// Files whose content must stay secret: private key, passwords for other servers.
fn secrets(config: &Config, found: &mut Findings) {
    let key = config.receive.tls.map(|(_, key)| key);
    let words = config.tables.auth_info.iter().flat_map(|files| [files.text, files.compiled]).flatten();
    for number in key.into_iter().chain(words) {
        let Some(path) = config.inputs.get(usize::from(number)).map(|input| &input.path) else { continue };
        let told = path.display();
        match path.metadata() {
            Ok(about) => {
                let readers = match (about.mode() & 0o004 != 0, about.mode() & 0o040 != 0 && about.gid() != 0) {
                    (true, _) => "everybody".to_owned(),
                    (false, true) => format!("group {}", about.gid()),
                    (false, false) => String::new(),
                };
                match readers.as_str() {
                    "" => found.ok("secrets", format!("{told} is read by uid {} alone", about.uid())),
                    "everybody" => found.fail("secrets", format!("everybody can read {told}: chmod 0600 {told}")),
                    group => {
                        found.warn("secrets", format!("{group} can read {told}: chmod 0600 {told}, unless it has to"))
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.warn("secrets", format!("{told} cannot be seen as this user: {error}")),
        }
    }
}

fn sockets(config: &Config, found: &mut Findings) {
    for (name, what) in
        [("submit", "sendmail leaves mail in the drop folder"), ("control", "mailq reads the queue itself")]
    {
        let path = Path::new(&config.run.folder).join(name);
        match UnixStream::connect(&path) {
            Ok(_) => found.ok("sockets", format!("{} answers", path.display())),
            Err(error) => {
                let why = error.to_string();
                let why = why.split(" (os error").next().unwrap_or_default();
                found.fail("sockets", format!("{}: {why}; until the server runs, {what}", path.display()));
            }
        }
    }
}

/// The keeper by its pid file, the engine as its child: whether each thread is confined.
fn processes(config: &Config, found: &mut Findings) {
    let pid_file = config.run.pid_file.as_deref().unwrap_or_default();
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let Some(keeper) = text.lines().next().and_then(|line| line.parse::<u32>().ok()) else {
        return found.fail("processes", format!("no server is running ({pid_file}): sendmail -bd"));
    };
    let status = |at: String| std::fs::read_to_string(format!("/proc/{at}/status")).ok();
    let Some(about) = status(keeper.to_string()) else {
        return found.fail("processes", format!("{pid_file} names {keeper}, which is gone: sendmail -bd"));
    };
    match field(&about, "NoNewPrivs") {
        Some("0") => found.ok("processes", format!("keeper {keeper}: users' set-id programs work")),
        _ => found.warn("processes", format!("keeper {keeper} has no_new_privs: users' set-id programs do not work")),
    }
    let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap_or_default();
    let is_engine = |pid: &&str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).nth(1) == Some(b"engine")
    };
    let Some(engine) = children.split_whitespace().find(is_engine) else {
        return found
            .warn("processes", "the engine cannot be seen: it is not running, or /proc hides it from this user");
    };
    let threads = std::fs::read_dir(format!("/proc/{engine}/task")).map(|all| all.flatten().collect::<Vec<_>>());
    let threads: Vec<String> =
        threads.unwrap_or_default().iter().map(|thread| thread.file_name().to_string_lossy().into_owned()).collect();
    let confined = |thread: &&String| {
        let about = status(format!("{engine}/task/{thread}")).unwrap_or_default();
        // One that has just ended is no worse.
        about.is_empty() || (field(&about, "NoNewPrivs"), field(&about, "Seccomp")) == (Some("1"), Some("2"))
    };
    let count = threads.iter().filter(confined).count();
    match count == threads.len() {
        true => found.ok("processes", format!("engine {engine}: all {count} threads have seccomp and no_new_privs")),
        false => found.fail(
            "processes",
            format!("engine {engine}: {} threads are not confined; restart it", threads.len() - count),
        ),
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_are_judged_by_kind_owner_and_mode() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("drop").display().to_string();
        let own = rustix::process::geteuid().as_raw();
        let judged = |owner| folder(&path, owner, 0o1733).map_err(|(state, _)| state);
        assert_eq!(judged(own), Err(State::Warning), "not there yet");
        std::fs::create_dir(&path).unwrap();
        for (mode, state) in [(0o1733, None), (0o1777, Some(State::Failed)), (0o0733, Some(State::Failed))] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(judged(own).err(), state, "{mode:o}");
            assert_eq!(judged(own + 1).err(), Some(State::Failed));
        }
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/tmp", &path).unwrap();
        assert_eq!(judged(own).err(), Some(State::Failed), "a link is no folder");
    }

    #[test]
    fn a_status_is_read_by_whole_names() {
        let status = "Seccomp_filters:\t1\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        assert_eq!(
            (field(status, "Seccomp"), field(status, "NoNewPrivs"), field(status, "Secc")),
            (Some("2"), Some("1"), None)
        );
    }
}
