//! The programs: that they are there, set no id, and nobody but root decides what is in them.

use super::{Findings, State};
use crate::way::{Trust, loose};
use std::os::unix::fs::MetadataExt;

pub(super) fn programs(found: &mut Findings) {
    let own = std::env::current_exe().unwrap_or_default();
    // Who builds for himself runs what is his.
    let owners = [0, rustix::process::geteuid().as_raw()];
    let trust = Trust { owners: &owners, writers: 0o022, sticky: true };
    for name in ["postrider", "postrider-keeper", "postrider-agent", "postrider-users"] {
        let path = if name == "postrider" { own.clone() } else { own.with_file_name(name) };
        let told = path.display();
        let Ok(about) = path.metadata() else {
            let text = format!("no {name} beside postrider, which serves instead: install the small program");
            found.warn("programs", text);
            continue;
        };
        let mode = about.mode() & 0o7777;
        match loose(&path, &trust) {
            _ if mode & 0o6000 != 0 => found.fail("programs", format!("{told} has mode {mode:04o}: chmod 0755 {told}")),
            Some(loose) => {
                let state = if loose.is_group() { State::Warning } else { State::Failed };
                let text = format!("{name} is run by the server, as root as well, and {loose}: {}", loose.mend());
                found.add("programs", state, text);
            }
            None => found.ok("programs", format!("{name} is there")),
        }
    }
    let sendmail = own.with_file_name("sendmail");
    if let Some(mode) = sendmail.metadata().ok().map(|about| about.mode() & 0o7777).filter(|mode| mode & 0o6000 != 0) {
        let told = sendmail.display();
        found.warn(
            "programs",
            format!("{told} sets an id (mode {mode:04o}), which it does not need: chmod 0755 {told}"),
        );
    }
}
