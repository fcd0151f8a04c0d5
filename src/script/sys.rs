//! System calls for which neither std nor nix has a safe form. The only unsafe code of this room.
#![allow(unsafe_code, reason = "each call has its SAFETY comment")]

use std::io;

/// Marks every descriptor from `first` on close-on-exec (Linux 5.11; older kernels: no error, since
/// lbd opens all its descriptors so anyway).
pub fn close_on_exec_from(first: u32) {
    // SAFETY: only flags of descriptors change; nothing is closed before exec.
    let _older_kernel =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Gives every signal its default action and blocks none.
pub fn default_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid action; KILL, STOP and the C library's own signals refuse, which
        // is what they should do. Called in the helper, which has one thread and no handlers.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    nix::sys::signal::sigprocmask(
        nix::sys::signal::SigmaskHow::SIG_SETMASK,
        Some(&nix::sys::signal::SigSet::empty()),
        None,
    )
    .map_err(io::Error::from)
}
