//! What the plan names, open: sockets, inputs, the drop folder. The engine names no path. A reload keeps sockets.

use crate::plan::Planned;
use crate::{Error, failed};
use call::keep::{InputState, Seen, ToEngine};
use call::plan::{Input, Plan};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

/// A plan with everything it names open.
pub(crate) struct Opened {
    pub plan: Plan,
    /// Listeners, then the submission and the control socket: where, and the socket.
    pub sockets: Vec<(String, Rc<OwnedFd>)>,
    pub drop: OwnedFd,
}

impl Opened {
    pub(crate) fn new((plan, new): Planned, old: Option<&Self>, root: bool) -> Result<Self, Error> {
        let useless = failed(78, "configuration");
        if root && (plan.engine.0 == 0 || plan.users.0 == 0) {
            return Err(useless("the engine and postrider-users never run as root: name other users"));
        }
        let mut new = new.into_iter();
        let mut next = || new.next().ok_or_else(|| useless("postrider plan brought too little"));
        let (drop, mut sockets) = (next()?, Vec::new());
        for at in plan.places() {
            let held = old.and_then(|old| old.sockets.iter().find(|(held, _)| *held == at));
            let socket = held.map_or_else(|| next().map(Rc::new), |(_, socket)| Ok(Rc::clone(socket)))?;
            sockets.push((at, socket));
        }
        Ok(Self { plan, sockets, drop })
    }

    /// The first frame for an engine.
    pub(crate) fn start_frame(&self) -> io::Result<(ToEngine, Vec<OwnedFd>)> {
        let (mut inputs, mut descriptors) = (Vec::new(), Vec::new());
        for number in 0..self.plan.inputs.len() {
            let (state, file) = self.input(number, None);
            inputs.push(state);
            descriptors.extend(file);
        }
        descriptors.push(self.drop.try_clone()?);
        for (_, socket) in &self.sockets {
            descriptors.push(socket.try_clone()?);
        }
        let listeners = self.plan.listen.iter().map(|listen| listen.name.clone()).collect();
        Ok((ToEngine::Start { settings: self.plan.settings.clone(), listeners, inputs }, descriptors))
    }

    /// The state of an input now, and its descriptor if it is another than the known one.
    pub(crate) fn input(&self, number: usize, known: Option<Seen>) -> (InputState, Option<OwnedFd>) {
        let looked = self.plan.inputs.get(number).map(|input| look(input, known));
        looked.unwrap_or(Err(Errno::NOENT.into())).unwrap_or_else(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => (InputState::Absent, None),
            errno => (InputState::Unreadable(errno.unwrap_or(Errno::IO).raw_os_error()), None),
        })
    }

    /// Removes the socket files: all, or those that `next` does not have.
    pub(crate) fn remove_sockets(&self, next: Option<&Self>) {
        for (path, _) in &self.plan.sockets {
            if !next.is_some_and(|next| next.plan.sockets.iter().any(|(kept, _)| kept == path)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn look(input: &Input, known: Option<Seen>) -> io::Result<(InputState, Option<OwnedFd>)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(&input.path, flags, Mode::empty())?);
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Errno::INVAL.into());
    }
    if known == Some(Seen::of(&about)) {
        return Ok((InputState::Unchanged, None));
    }
    if let Some(why) = input.distrust(about.mode(), about.gid()) {
        return Ok((InputState::Unsafe(why), None));
    }
    let state = if is_being_written(&file) { InputState::Busy } else { InputState::Open };
    Ok((state, Some(file.into())))
}

/// Whether anybody has the file open for writing: the kernel grants a read lease only if nobody has. Where it cannot be
/// asked for (NFS, another's file) the answer is no, and the engine waits until the file is still.
#[allow(unsafe_code, reason = "no safe interface to leases")]
fn is_being_written(file: &File) -> bool {
    use nix::libc::{EAGAIN, F_RDLCK, F_SETLEASE, F_UNLCK, fcntl};
    // SAFETY: a flag on our own descriptor. A writer that opens the file just now waits until the lease is given back
    // below; the signal that tells us so is ignored.
    let lease = |kind: i32| unsafe { fcntl(file.as_raw_fd(), F_SETLEASE, kind) };
    let busy = lease(F_RDLCK) < 0 && io::Error::last_os_error().raw_os_error() == Some(EAGAIN);
    lease(F_UNLCK);
    busy
}

#[cfg(test)]
#[path = "open_test.rs"]
mod tests;
