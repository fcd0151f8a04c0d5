//! System calls about the calling thread for which neither std nor nix has a safe form. The only unsafe
//! code here; system calls and not the C library's functions, of which musl's do nothing and which differ
//! in their types.
#![allow(unsafe_code, reason = "each call has its SAFETY comment")]

use libc::{c_int, c_long};
use nix::errno::Errno;

/// Policy with its flags, and real-time priority (0 for none), of this thread: `sched_getscheduler(2)`,
/// `sched_getparam(2)`.
///
/// # Errors
/// What the kernel says.
pub fn class() -> nix::Result<(c_int, c_int)> {
    // SAFETY: no memory is passed.
    let policy = result(unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) })?;
    let mut priority: c_int = 0;
    // SAFETY: the kernel's struct sched_param is one int, which it writes; it lives longer than the call.
    result(unsafe { libc::syscall(libc::SYS_sched_getparam, 0, &raw mut priority) })?;
    Ok((policy, priority))
}

/// Sets them.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE, without RLIMIT_RTPRIO, or in a control group without real-time budget.
pub fn set_class(policy: c_int, priority: c_int) -> nix::Result<()> {
    // SAFETY: the kernel's struct sched_param is one int, which it reads; it lives longer than the call.
    result(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) }).map(drop)
}

/// Nice value of this thread, -20..=19: `getpriority(2)`.
///
/// # Errors
/// What the kernel says.
pub fn nice() -> nix::Result<c_int> {
    // SAFETY: no memory is passed.
    let found = result(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) })?;
    // The system call answers 1..=40, so that no answer is negative.
    Ok(20 - found)
}

/// Sets it; of this thread alone, as the kernel has it (POSIX would have it for the process).
///
/// # Errors
/// `EACCES` or `EPERM` when it becomes less without CAP_SYS_NICE and RLIMIT_NICE.
pub fn set_nice(nice: c_int) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    result(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

fn result(answer: c_long) -> nix::Result<c_int> {
    let answer = Errno::result(answer)?;
    // All answers above are small.
    c_int::try_from(answer).map_err(|_| Errno::EOVERFLOW)
}
