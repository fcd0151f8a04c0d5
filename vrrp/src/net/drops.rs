//! How many datagrams a socket has dropped, which no crate asks for.

#![allow(unsafe_code, reason = "the macro expands to it")]

use nix::sys::socket::sockopt::GetStruct;

/// Numbers of the option (`SK_MEMINFO_VARS`, linux/sock_diag.h).
const NUMBERS: usize = 9;

/// `SO_MEMINFO` (Linux 4.12).
#[derive(Clone, Copy, Debug)]
pub(super) struct Meminfo;

// SAFETY (of what the macro expands to): the kernel writes at most the length given to it, and nix
// asserts that it wrote all of it; any bits are a `[u32; _]`.
nix::getsockopt_impl!(Meminfo, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; NUMBERS], GetStruct<[u32; NUMBERS]>);

/// Datagrams dropped, mostly because the receive buffer was full (`SK_MEMINFO_DROPS`).
pub(super) fn of([_, _, _, _, _, _, _, _, drops]: [u32; NUMBERS]) -> u32 {
    drops
}
