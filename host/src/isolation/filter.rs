//! Which system calls a child may make: all but those that no collector needs
//! and that reach beyond the child: other programs and processes, signals,
//! mounts, users, the kernel's modules and clocks. A list of what is allowed
//! would have to name whatever a plugin's libraries call on each kernel.

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};
use std::collections::BTreeMap;

/// Refused with EPERM whatever the arguments are.
const NEVER: &[c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Signals by another way than the ones whose target is looked at below.
    libc::SYS_tkill,
    libc::SYS_pidfd_send_signal,
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_process_vm_readv,
    libc::SYS_process_madvise,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // What is mounted, and what is the root.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    // Who it is.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    // Limits and keys that other processes share or that were set for it.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Does what other calls do, past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
];

#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[c_long] = &[];

/// A signal to oneself is what `abort` is made of.
const TO_ONESELF: &[c_long] =
    &[libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo];

/// What is set for the process of a number, and which argument the number is:
/// only for oneself.
const OF_ONESELF: &[(c_long, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// What makes the kernel send a signal to somebody else for us.
const OWNERS: [c_int; 3] = [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX];
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

/// Installs it for this thread and all that it starts, or says why it cannot be had.
pub fn install() -> Result<(), String> {
    programs()
        .and_then(|programs| programs.iter().try_for_each(|program| apply_filter(program)))
        .map_err(|error| format!("seccomp: {error}"))
}

fn programs() -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let mut programs = Vec::new();
    if cfg!(target_arch = "x86_64") {
        programs.push(no_x32());
    }
    // The C library then takes clone, whose flags can be looked at: those of
    // clone3 lie in memory.
    programs.push(compiled(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?);
    programs.push(compiled(refused()?, libc::EPERM)?);
    Ok(programs)
}

fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in NEVER.iter().chain(NEVER_HERE) {
        rules.insert(*call, Vec::new());
    }
    let own = u64::from(std::process::id());
    for call in TO_ONESELF {
        rules.insert(*call, vec![when(0, SeccompCmpOp::Ne, own)?]);
    }
    for (call, who) in OF_ONESELF {
        // 0 is oneself as well.
        let other = [condition(*who, SeccompCmpOp::Ne, own)?, condition(*who, SeccompCmpOp::Ne, 0)?];
        rules.insert(*call, vec![SeccompRule::new(other.to_vec())?]);
    }
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), 0)?]);
    let owners: Result<_, _> =
        OWNERS.iter().map(|command| when(1, SeccompCmpOp::Eq, command.unsigned_abs().into())).collect();
    rules.insert(libc::SYS_fcntl, owners?);
    // TIOCSTI types into a terminal.
    let ioctls = [FIOSETOWN, SIOCSPGRP, libc::TIOCSTI as u32];
    let ioctls: Result<_, _> =
        ioctls.iter().map(|request| when(1, SeccompCmpOp::Eq, (*request).into())).collect();
    rules.insert(libc::SYS_ioctl, ioctls?);
    // It dies with the agent, whatever it would like; and its memory stays closed.
    let prctls = [libc::PR_SET_PDEATHSIG, libc::PR_SET_PTRACER];
    let prctls: Result<_, _> =
        prctls.iter().map(|option| when(0, SeccompCmpOp::Eq, option.unsigned_abs().into())).collect();
    rules.insert(libc::SYS_prctl, prctls?);
    Ok(rules)
}

fn condition(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::Error> {
    // The kernel reads these arguments as 32 bits: what stands above must not
    // make a difference here.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value).map_err(Into::into)
}

fn when(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    SeccompRule::new(vec![condition(argument, op, value)?]).map_err(Into::into)
}

fn compiled(rules: BTreeMap<i64, Vec<SeccompRule>>, error: c_int) -> Result<BpfProgram, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let errno = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?;
    filter.try_into().map_err(seccompiler::Error::from)
}

/// x86-64 has a second set of numbers for the same calls (`x32`), of the same
/// architecture by the kernel's word; all of them are refused.
fn no_x32() -> BpfProgram {
    let instruction = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    vec![
        // The number is the first word of what a filter sees.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, 0x4000_0000),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    // The filter itself is tried by the integration tests, in children: a
    // process that has it cannot start one.
    #[test]
    fn it_can_be_compiled_and_is_short_enough() {
        let programs = programs().unwrap();
        assert!(programs.len() >= 2);
        // BPF_MAXINSNS of the kernel.
        assert!(programs.iter().all(|program| program.len() < 4096));
    }
}
