//! The system calls that are refused: what an attacker needs and a mail server does not. Called by `lib`.

use crate::Work;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Refused with EPERM, to everybody who is confined.
const REFUSED: &[libc::c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other identities and rights.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Name spaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_mknodat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    // Files by handle pass by every folder on the way.
    libc::SYS_open_by_handle_at,
    // The kernel itself, and where its faults have been.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
];

/// Flags of clone that make a name space: in one of users anybody is root, and reaches parts of the kernel that are root's alone.
const NAME_SPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Refused besides to a process that only writes files.
const REFUSED_TO_WRITER: &[libc::c_long] = &[
    // Further processes; the C library's other way to them is not there (`UNKNOWN_TO_WRITER`).
    libc::SYS_clone,
    // Everybody who listens: the network, and the engine's other sockets. What it was given it keeps.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other processes of the same user.
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    // Names for what is not its own, owners, and rights that a program would have.
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
];

/// Refused to one that appends to a single file.
const REFUSED_TO_APPENDER: &[libc::c_long] = &[libc::SYS_mkdirat, libc::SYS_renameat, libc::SYS_renameat2];

/// The same by their older names, which later machines do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: (&[libc::c_long], &[libc::c_long]) = (
    &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_link, libc::SYS_symlink, libc::SYS_chown, libc::SYS_lchown],
    &[libc::SYS_mkdir, libc::SYS_rename],
);
#[cfg(not(target_arch = "x86_64"))]
const OLDER: (&[libc::c_long], &[libc::c_long]) = (&[], &[]);

/// Where a mode stands among the arguments.
const MODES: &[(libc::c_long, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    // fchmodat2, not named on every machine by the libc crate; its number is the same on all.
    (452, 2),
    (libc::SYS_openat, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
];

/// Answered with ENOSYS: what is asked for stands in memory, where a filter cannot look, and everybody can do without (clone3 became clone).
const UNKNOWN: &[libc::c_long] = &[libc::SYS_clone3];
const UNKNOWN_TO_WRITER: &[libc::c_long] = &[libc::SYS_openat2];

type Refused = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters for this machine; of all that say something about a call the strictest counts.
pub(crate) fn filters(work: Option<Work>) -> Result<[BpfProgram; 2], Error> {
    let mut refused: Refused = BTreeMap::new();
    let mut unknown: Refused = UNKNOWN.iter().map(|&number| (number, Vec::new())).collect();
    for flag in NAME_SPACES {
        let flag = u64::from(flag.unsigned_abs());
        if_so(&mut refused, libc::SYS_clone, &[(0, SeccompCmpOp::MaskedEq(flag), flag)])?;
    }
    if let Some(work) = work {
        only_writes(&mut refused, work)?;
        unknown.extend(UNKNOWN_TO_WRITER.iter().map(|&number| (number, Vec::new())));
    }
    refused.extend(REFUSED.iter().map(|&number| (number, Vec::new())));
    Ok([filter(refused, libc::EPERM)?, filter(unknown, libc::ENOSYS)?])
}

fn only_writes(refused: &mut Refused, work: Work) -> Result<(), Error> {
    for &(number, at) in MODES {
        for bit in [u64::from(libc::S_ISUID), u64::from(libc::S_ISGID)] {
            if_so(refused, number, &[(at, SeccompCmpOp::MaskedEq(bit), bit)])?;
        }
    }
    // Whether a process is there may be asked (the holder of a lock), and it may end itself.
    let own = u64::from(std::process::id());
    if_so(refused, libc::SYS_kill, &[(0, SeccompCmpOp::Ne, own), (1, SeccompCmpOp::Ne, 0)])?;
    if_so(refused, libc::SYS_tgkill, &[(0, SeccompCmpOp::Ne, own)])?;
    let all = |numbers: &[libc::c_long]| numbers.iter().map(|&number| (number, Vec::new())).collect::<Vec<_>>();
    refused.extend(all(REFUSED_TO_WRITER).into_iter().chain(all(OLDER.0)));
    if work == Work::Append {
        refused.extend(all(REFUSED_TO_APPENDER).into_iter().chain(all(OLDER.1)));
    }
    Ok(())
}

/// Refuses a call if all of these hold of its arguments, or what was said of it before does.
fn if_so(refused: &mut Refused, number: i64, conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<(), Error> {
    let of = |(at, is, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*at, SeccompCmpArgLen::Dword, is.clone(), *value)
    };
    let conditions: Result<Vec<_>, _> = conditions.iter().map(of).collect();
    refused.entry(number).or_default().push(SeccompRule::new(conditions?)?);
    Ok(())
}

fn filter(calls: Refused, errno: i32) -> Result<BpfProgram, Error> {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}
