//! Sockets of another process, with what only the socket itself tells.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::{Domain, Socket};

/// linux/socket.h
pub const NETLINK: i32 = 16;
/// linux/netlink.h: events about processes.
pub const CONNECTOR: i32 = 11;

/// Octets of the receive buffer of each socket of a process that has this domain and protocol (0: netlink's own), as the kernel
/// counts: twice what it was told (socket(7)).
///
/// # Errors
/// When the process has ended, or its files are not for us.
pub fn receive_buffers(pid: Pid, domain: impl Into<Domain>, protocol: i32) -> Result<Vec<usize>> {
    let domain = domain.into();
    let process = rustix::process::Pid::from_raw(pid.as_raw()).context("a process id")?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        // It may have been closed since.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if !target.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let number = entry.file_name().to_str().context("a number")?.parse()?;
        let Ok(file) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { continue };
        let socket = Socket::from(file);
        let its = socket.protocol()?.map_or(0, i32::from);
        if socket.domain()? == domain && its == protocol {
            found.push(socket.recv_buffer_size()?);
        }
    }
    ensure!(!found.is_empty(), "process {pid} has no socket of {domain:?} and protocol {protocol}");
    Ok(found)
}
