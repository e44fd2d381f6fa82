//! "Must show" 3: what breaks underneath. No false 250, nothing acknowledged is lost, service resumes by itself.
//! Needs the private host (`testsuite/host`): strace, mounts, loop devices, FUSE.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cases/disk.rs"]
mod disk;
#[path = "cases/limit.rs"]
mod limit;
