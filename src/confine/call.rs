//! The system calls that are refused: what an attacker needs and a mail server does not. Called by `lib`.

use crate::Work;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
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
    libc::SYS_fanotify_init,
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
    libc::SYS_socketpair,
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    // Other processes of the same user.
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    // Names for what is not its own, owners, other rights, and those that a program would have.
    libc::SYS_fchmodat,
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
    &[
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_chown,
        libc::SYS_lchown,
        libc::SYS_chmod,
    ],
    &[libc::SYS_mkdir, libc::SYS_rename],
);
#[cfg(not(target_arch = "x86_64"))]
const OLDER: (&[libc::c_long], &[libc::c_long]) = (&[], &[]);

/// Where the mode of a new file stands among the arguments.
const MODES: &[(libc::c_long, u8)] = &[
    (libc::SYS_openat, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
];

/// What a finished dot-lock gets, and nothing else is given any.
const LOCK_MODE: u64 = 0o644;

/// `fcntl` and `ioctl` that have the kernel send signals to others.
const OWNERS: &[(libc::c_long, i32)] = &[
    // F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP.
    (libc::SYS_fcntl, 8),
    (libc::SYS_fcntl, 10),
    (libc::SYS_fcntl, 15),
    (libc::SYS_ioctl, 0x8901),
    (libc::SYS_ioctl, 0x8902),
];

/// Calls from this number on were added after this list was written (setxattrat is the first; numbers are the same on all machines): who is
/// told ENOSYS does without.
const NEWER: u32 = 463;
/// For one that only writes: from fchmodat2 on.
const NEWER_TO_WRITER: u32 = 452;

/// Answered with ENOSYS: what is asked for stands in memory, where a filter cannot look, and everybody can do without (clone3 became clone).
const UNKNOWN: &[libc::c_long] = &[libc::SYS_clone3];
const UNKNOWN_TO_WRITER: &[libc::c_long] = &[libc::SYS_openat2];

/// x32 has its own numbers for everything, from here on.
const X32: u32 = 0x4000_0000;

/// Refused under conditions.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters for this machine; of all that say something about a call the strictest counts.
pub(crate) fn filters(work: Option<Work>) -> Result<[BpfProgram; 2], Error> {
    let (refused, unknown) = by_number(work);
    let newer = if work.is_some() { NEWER_TO_WRITER } else { NEWER };
    Ok([refuse(&[(&refused, libc::EPERM), (&unknown, libc::ENOSYS)], newer), by_arguments(work)?])
}

/// What is refused whatever its arguments are, and what is not known.
fn by_number(work: Option<Work>) -> (Vec<libc::c_long>, Vec<libc::c_long>) {
    let (mut refused, mut unknown) = (REFUSED.to_vec(), UNKNOWN.to_vec());
    if work.is_some() {
        refused.extend(REFUSED_TO_WRITER.iter().chain(OLDER.0));
        unknown.extend(UNKNOWN_TO_WRITER);
    }
    if work == Some(Work::Append) {
        refused.extend(REFUSED_TO_APPENDER.iter().chain(OLDER.1));
    }
    (refused, unknown)
}

/// Answers calls by their number alone, by halves. The library compares with one number after the other; the kernel tries every number there
/// is when it takes a filter, for every agent anew: by halves an agent starts with a seventh less CPU. That the calls are this machine's
/// the other filter sees to.
fn refuse(groups: &[(&[libc::c_long], i32)], newer: u32) -> BpfProgram {
    let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    let mut answers = BTreeMap::from([(newer, errno(libc::ENOSYS)), (X32, errno(libc::EPERM))]);
    for (numbers, refusal) in groups {
        answers.extend(numbers.iter().map(|&number| (number as u32, errno(*refusal))).filter(|(n, _)| *n < newer));
    }
    // From which number on which answer holds.
    let mut steps = vec![(0, libc::SECCOMP_RET_ALLOW)];
    for (&number, &answer) in &answers {
        steps.push((number, answer));
        if number < newer && !answers.contains_key(&(number + 1)) {
            steps.push((number + 1, libc::SECCOMP_RET_ALLOW));
        }
    }
    steps.dedup_by_key(|(_, answer)| *answer);
    // The number is the first field of what a filter sees.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    halve(&steps, &mut program);
    program
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// The answer among these, which begin with the lowest number.
fn halve(steps: &[(u32, u32)], program: &mut BpfProgram) {
    let (lower, upper) = steps.split_at(steps.len() / 2);
    match (steps, upper.first()) {
        ([_, _, ..], Some((from, _))) => {
            let mut below = BpfProgram::new();
            halve(lower, &mut below);
            // A comparison's own step counts only in eight bits.
            program.push(step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, *from, 0, 1));
            program.push(step(libc::BPF_JMP | libc::BPF_JA, below.len() as u32, 0, 0));
            program.append(&mut below);
            halve(upper, program);
        }
        _ => program.extend(steps.iter().map(|(_, answer)| step(libc::BPF_RET | libc::BPF_K, *answer, 0, 0))),
    }
}

/// What is refused because of its arguments.
fn by_arguments(work: Option<Work>) -> Result<BpfProgram, Error> {
    let mut rules = Rules::new();
    if work.is_none() {
        for flag in NAME_SPACES {
            let flag = u64::from(flag.unsigned_abs());
            if_so(&mut rules, libc::SYS_clone, &[(0, SeccompCmpOp::MaskedEq(flag), flag)])?;
        }
    } else {
        for &(number, at) in MODES {
            for bit in [u64::from(libc::S_ISUID), u64::from(libc::S_ISGID)] {
                if_so(&mut rules, number, &[(at, SeccompCmpOp::MaskedEq(bit), bit)])?;
            }
        }
        // Whether a process is there may be asked (the holder of a lock), and it may end itself.
        let own = u64::from(std::process::id());
        if_so(&mut rules, libc::SYS_kill, &[(0, SeccompCmpOp::Ne, own), (1, SeccompCmpOp::Ne, 0)])?;
        if_so(&mut rules, libc::SYS_tgkill, &[(0, SeccompCmpOp::Ne, own)])?;
        if_so(&mut rules, libc::SYS_prlimit64, &[(0, SeccompCmpOp::Ne, 0)])?;
        if_so(&mut rules, libc::SYS_fchmod, &[(1, SeccompCmpOp::Ne, LOCK_MODE)])?;
        for &(number, request) in OWNERS {
            if_so(&mut rules, number, &[(1, SeccompCmpOp::Eq, u64::from(request.unsigned_abs()))])?;
        }
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

/// Refuses a call if all of these hold of its arguments, or what was said of it before does.
fn if_so(rules: &mut Rules, number: i64, conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<(), Error> {
    let of = |(at, is, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*at, SeccompCmpArgLen::Dword, is.clone(), *value)
    };
    let conditions: Result<Vec<_>, _> = conditions.iter().map(of).collect();
    rules.entry(number).or_default().push(SeccompRule::new(conditions?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter made by [`refuse`] answers.
    fn answer(program: &[sock_filter], number: u32) -> u32 {
        let mut at = 0;
        loop {
            let step = &program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS && step.k == 0 => {}
                code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += jump(number >= step.k),
                code if code == libc::BPF_JMP | libc::BPF_JA => at += step.k as usize,
                code if code == libc::BPF_RET | libc::BPF_K => return step.k,
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn every_number_has_its_answer() {
        let errno = |number: i32| libc::SECCOMP_RET_ERRNO | number as u32;
        for work in [None, Some(Work::Append), Some(Work::Arrange)] {
            let (refused, unknown) = by_number(work);
            let newer = 460;
            let program = refuse(&[(&refused, libc::EPERM), (&unknown, libc::ENOSYS)], newer);
            for number in 0..1_000 {
                let expected = match i64::from(number) {
                    _ if number >= newer => errno(libc::ENOSYS),
                    it if refused.contains(&it) => errno(libc::EPERM),
                    it if unknown.contains(&it) => errno(libc::ENOSYS),
                    _ => libc::SECCOMP_RET_ALLOW,
                };
                assert_eq!(answer(&program, number), expected, "{number}");
                assert_eq!(answer(&program, number | X32), errno(libc::EPERM), "x32 {number}");
            }
        }
        let many: Vec<libc::c_long> = (0..999).step_by(2).collect();
        let program = refuse(&[(&many, libc::EPERM)], 1_000);
        assert!((0..1_000).all(|n| (answer(&program, n) == errno(libc::EPERM)) == (n % 2 == 0)));
        let none = refuse(&[(&[], libc::EPERM)], 1_000);
        assert_eq!((answer(&none, 0), answer(&none, 999)), (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ALLOW));
    }
}
