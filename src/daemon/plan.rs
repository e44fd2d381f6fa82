//! `postrider plan --config FILE`: reads the configuration and prints what the keeper is to bind, open and start.
//! The keeper may not ask the name service, so names become numbers here; and it binds nothing, so that is done here, too (`binding`).

use crate::binding::{self, Bound, Failure};
use crate::output::{complain, print};
use anyhow::Context as _;
use call::frame::Connection;
use call::plan::{Plan, Told};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the configuration is when nothing is said.
pub(crate) const DEFAULT: &str = "/etc/mail/postrider.kdl";

/// A server that was asked to stop has ended after this long: 20 s for its engine, 5 s for what that started (`keeper.rs`).
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// The configuration that commands read: `POSTRIDER_CONFIG`, or the usual one. Nothing set-id runs here, so whoever sets it only misleads
/// himself.
pub(crate) fn configuration() -> PathBuf {
    std::env::var_os("POSTRIDER_CONFIG").map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from)
}

/// Prints the plan; returns the exit code. With `--hand-over` it goes to the keeper, at the other end of fd 3, with everything that the plan
/// names and is not in `held`: bound and open.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let outcome = match arguments {
        [flag, held @ ..] if flag == "--hand-over" => hand_over(held),
        [flag, path] if flag == "--config" => make(Path::new(&path)).map(|text| print(&text)),
        [] => make(&configuration()).map(|text| print(&text)),
        _ => {
            complain!("usage: postrider plan [--config FILE]");
            return 64;
        }
    };
    outcome.unwrap_or_else(|error| {
        complain!("{error:#}");
        78
    })
}

fn hand_over(held: &[OsString]) -> anyhow::Result<u8> {
    #[allow(unsafe_code, reason = "fd 3 is the keeper's socket by the contract of --hand-over; nothing else owns it")]
    let socket = unsafe { OwnedFd::from_raw_fd(3) };
    rustix::net::sockopt::socket_type(&socket).context("started by postrider-keeper only")?;
    let held: Vec<&str> = held.iter().filter_map(|at| at.to_str()).collect();
    let mut connection = Connection::new(socket.into());
    let bound = planned(!held.is_empty()).map_err(|error| Failure { taken: false, text: format!("{error:#}") });
    let bound = bound.and_then(|text| {
        let Bound { plan, descriptors } = bind(&Plan::parse(&text)?, &held, &mut connection)?;
        Ok((without_absent(&text, &plan), descriptors))
    });
    match bound {
        Ok((text, descriptors)) => {
            let passed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            connection.send(&Told::Plan(text), &passed)?;
            Ok(0)
        }
        Err(Failure { taken, text }) => {
            // Whoever has it may end later: a service manager must not take that for a mistake in the configuration.
            let exit = if taken { 75 } else { 78 };
            connection.send(&Told::Refused(exit, text), &[])?;
            Ok(exit)
        }
    }
}

/// The text of the plan. A server that runs does not go back to the defaults because its file is being replaced or lost.
fn planned(is_reload: bool) -> anyhow::Result<String> {
    let path = configuration();
    anyhow::ensure!(!is_reload || path.exists(), "{}: no such file", path.display());
    make(&path)
}

/// Binds. At a start the server before us may still be about to end; it is waited for, as long as its stop may take.
fn bind(plan: &Plan, held: &[&str], keeper: &mut Connection) -> Result<Bound, Failure> {
    let (started, mut told) = (Instant::now(), false);
    loop {
        match binding::make(plan.clone(), held) {
            Err(failure) if failure.taken && held.is_empty() && started.elapsed() < PATIENCE => {
                if !told {
                    let waits = format!("{}; waiting up to {} s for its end", failure.text, PATIENCE.as_secs());
                    told = keeper.send(&Told::Waits(waits), &[]).is_ok();
                }
                if !told || is_gone(keeper) {
                    return Err(failure);
                }
            }
            done => return done,
        }
    }
}

/// Sleeps a moment; whether the keeper, which says nothing, has ended meanwhile.
fn is_gone(keeper: &Connection) -> bool {
    let tick = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    poll(&mut [PollFd::new(keeper.stream(), PollFlags::IN)], Some(&tick)).is_ok_and(|ready| ready > 0)
}

/// The plan's text without listeners that could not be had.
fn without_absent(text: &str, plan: &Plan) -> String {
    let is_there = |line: &&str| match line.split('\t').collect::<Vec<_>>()[..] {
        ["listen", _, address, _] => plan.listen.iter().any(|listen| address.parse() == Ok(listen.address)),
        _ => true,
    };
    text.lines().filter(is_there).flat_map(|line| [line, "\n"]).collect()
}

fn make(path: &Path) -> anyhow::Result<String> {
    let (mut config, warnings) =
        config::Config::load(path, &crate::system::ask()).map_err(|e| anyhow::anyhow!("{e}"))?;
    for warning in warnings {
        complain!("{warning}");
    }
    let refusals = crate::way::refusals(&config);
    anyhow::ensure!(refusals.is_empty(), "{}", refusals.join("\n"));
    crate::snapshot::check_config(&config).map_err(anyhow::Error::msg)?;
    // A queue runner without -bd (`sendmail -q`, `sendmail -q30m`) delivers and listens to nobody.
    if std::env::var_os("POSTRIDER_LISTENERS").is_some_and(|which| which == "none") {
        config.listen.clear();
    }
    for warning in crate::stranger::strangers(&config) {
        complain!("{warning}");
    }
    let ids = if rustix::process::geteuid().is_root() { named(&config)? } else { own() };
    who_receives(&mut config);
    // From `background`, which lets nobody else say it.
    let started_by = std::env::var("POSTRIDER_STARTED_BY").unwrap_or_else(|_| config::COMMAND_LINE.to_owned());
    Ok(config::plan_text(&config, &ids, &started_by))
}

/// Tells the router who never gets mail. Where everything runs as one user anybody does.
pub(crate) fn who_receives(config: &mut config::Config) {
    if rustix::process::geteuid().is_root() {
        let engine = nix::unistd::User::from_name(&config.run.user).ok().flatten();
        config.route.engine_uid = engine.map(|user| user.uid.as_raw());
        config.route.min_uid = config.run.min_uid;
    }
}

/// Started by an ordinary user: everything runs as that user.
fn own() -> config::Ids {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    config::Ids {
        engine_uid: uid,
        engine_gid: gid,
        users_uid: uid,
        users_gid: gid,
        mail_gid: gid,
        default_user: format!("{uid}:{gid}"),
    }
}

fn named(config: &config::Config) -> anyhow::Result<config::Ids> {
    let user = |name: &str| -> anyhow::Result<(u32, u32)> {
        let found = nix::unistd::User::from_name(name)?.with_context(|| {
            format!("no user \"{name}\"; create it: adduser --system --group --no-create-home {name}")
        })?;
        anyhow::ensure!(!found.uid.is_root(), "user \"{name}\" has uid 0; the engine never runs as root");
        Ok((found.uid.as_raw(), found.gid.as_raw()))
    };
    let (engine_uid, engine_gid) = user(&config.run.user)?;
    let (users_uid, users_gid) = user(&config.run.users_user)?;
    let mail = &config.run.mail_group;
    let group = nix::unistd::Group::from_name(mail)?.with_context(|| format!("no group \"{mail}\""))?;
    let default_user = default_user(config)?;
    Ok(config::Ids { engine_uid, engine_gid, users_uid, users_gid, mail_gid: group.gid.as_raw(), default_user })
}

/// sendmail's DefaultUser: as configured, else mailnull or sendmail if there is such an account, else uid and gid 1.
fn default_user(config: &config::Config) -> anyhow::Result<String> {
    if let Some(name) = config.default_user() {
        let user = nix::unistd::User::from_name(name)?.with_context(|| format!("no user \"{name}\""))?;
        anyhow::ensure!(!user.uid.is_root(), "default-user \"{name}\" has uid 0; no alias runs anything as root");
        return Ok(user.name);
    }
    for name in ["mailnull", "sendmail"] {
        if nix::unistd::User::from_name(name)?.is_some_and(|user| !user.uid.is_root()) {
            return Ok(name.to_owned());
        }
    }
    Ok("1:1".to_owned())
}
