//! System calls about one thread of this process for which neither std nor nix has a safe form. The only
//! unsafe code here; system calls and not the C library's functions, of which musl's do nothing and which
//! differ in their types. Thread 0 is the calling one.
#![allow(unsafe_code, reason = "each call has its SAFETY comment")]

use libc::{c_int, c_long};
use nix::errno::Errno;
use nix::unistd::Pid;

/// Policy with its flags, and real-time priority (0 for none), of a thread: `sched_getscheduler(2)`,
/// `sched_getparam(2)`.
///
/// # Errors
/// What the kernel says.
pub fn class(thread: Pid) -> nix::Result<(c_int, c_int)> {
    // SAFETY: no memory is passed.
    let policy = result(unsafe { libc::syscall(libc::SYS_sched_getscheduler, thread.as_raw()) })?;
    let mut priority: c_int = 0;
    // SAFETY: the kernel's struct sched_param is one int, which it writes; it lives longer than the call.
    result(unsafe { libc::syscall(libc::SYS_sched_getparam, thread.as_raw(), &raw mut priority) })?;
    Ok((policy, priority))
}

/// Sets them.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE, without RLIMIT_RTPRIO, or in a control group without real-time budget.
pub fn set_class(thread: Pid, policy: c_int, priority: c_int) -> nix::Result<()> {
    // SAFETY: the kernel's struct sched_param is one int, which it reads; it lives longer than the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, thread.as_raw(), policy, &raw const priority) };
    result(answer).map(drop)
}

/// Nice value of a thread, -20..=19: `getpriority(2)`.
///
/// # Errors
/// What the kernel says.
pub fn nice(thread: Pid) -> nix::Result<c_int> {
    // SAFETY: no memory is passed.
    let found = result(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, thread.as_raw()) })?;
    // The system call answers 1..=40, so that no answer is negative.
    Ok(20 - found)
}

/// Sets it; of that thread alone, as the kernel has it (POSIX would have it for the process).
///
/// # Errors
/// `EACCES` or `EPERM` when it becomes less without CAP_SYS_NICE and RLIMIT_NICE.
pub fn set_nice(thread: Pid, nice: c_int) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    let answer = unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, thread.as_raw(), nice) };
    result(answer).map(drop)
}

fn result(answer: c_long) -> nix::Result<c_int> {
    let answer = Errno::result(answer)?;
    // All answers above are small.
    c_int::try_from(answer).map_err(|_| Errno::EOVERFLOW)
}
