//! Which virtual addresses a namespace has, and since when, by the kernel's own messages (rtnetlink).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

use crate::netns::Netns;
use crate::wait;

/// `RTMGRP_IPV4_IFADDR` of `linux/rtnetlink.h`.
const ADDRESS_GROUP: u32 = 0x10;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_LOCAL: u16 = 2;
/// Length of `struct nlmsghdr` and of `struct ifaddrmsg`.
const MESSAGE: usize = 16;
const HEADER: usize = 8;
/// For a thousand messages at once, and more.
const BUFFER: usize = 16 << 20;
/// Between two looks: what is measured shall not wait for who measures. Times are exact to this.
const NAP: Duration = Duration::from_millis(1);

type Since = BTreeMap<Ipv4Addr, Duration>;

/// Watches the addresses of a namespace until it is dropped.
#[derive(Debug)]
pub struct Addresses {
    stop: Arc<AtomicBool>,
    since: Arc<Mutex<Since>>,
    thread: Option<JoinHandle<()>>,
}

impl Addresses {
    /// Starts to watch. Addresses that were there before are not known.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN.
    pub fn start(ns: &Netns) -> Result<Self> {
        let socket = ns.run(open)?.context("rtnetlink socket")?;
        let (stop, since) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Since::new())));
        let (flag, list) = (Arc::clone(&stop), Arc::clone(&since));
        let thread = std::thread::Builder::new().name("addresses".into()).spawn(move || {
            let mut octets = vec![0; 64 << 10];
            while !flag.load(Ordering::Relaxed) {
                let mut flags = MsgFlags::empty();
                while let Ok(length) = recv(socket.as_raw_fd(), &mut octets, flags) {
                    flags = MsgFlags::MSG_DONTWAIT;
                    let now = super::now();
                    let mut list = lock(&list);
                    for change in octets.get(..length).map(changes).unwrap_or_default() {
                        match change {
                            Change::Added(address) => {
                                list.entry(address).or_insert(now);
                            }
                            Change::Removed(address) => {
                                list.remove(&address);
                            }
                        }
                    }
                }
                wait::pause(NAP);
            }
        })?;
        Ok(Self { stop, since, thread: Some(thread) })
    }

    /// How many virtual addresses there are.
    pub fn count(&self) -> usize {
        lock(&self.since).keys().filter(|address| super::is_vip(**address)).count()
    }

    /// When the youngest of them came, since 1970.
    pub fn youngest(&self) -> Option<Duration> {
        lock(&self.since).iter().filter(|(address, _)| super::is_vip(**address)).map(|(_, at)| *at).max()
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(since: &Mutex<Since>) -> MutexGuard<'_, Since> {
    since.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open() -> nix::Result<OwnedFd> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    setsockopt(&fd, sockopt::RcvBufForce, &BUFFER)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000))?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, ADDRESS_GROUP))?;
    Ok(fd)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added(Ipv4Addr),
    Removed(Ipv4Addr),
}

/// What the messages of a datagram say; what cannot be read is passed over.
fn changes(octets: &[u8]) -> Vec<Change> {
    parts(octets, 4)
        .filter_map(|message| {
            let kind = u16_at(message, 4)?;
            let address = local(message.get(MESSAGE + HEADER..)?)?;
            match kind {
                RTM_NEWADDR => Some(Change::Added(address)),
                RTM_DELADDR => Some(Change::Removed(address)),
                _ => None,
            }
        })
        .collect()
}

fn local(attributes: &[u8]) -> Option<Ipv4Addr> {
    let attribute = parts(attributes, 2).find(|one| u16_at(one, 2) == Some(IFA_LOCAL))?;
    let address: [u8; 4] = attribute.get(4..8)?.try_into().ok()?;
    Some(address.into())
}

/// Parts that begin with their length, of `width` octets, and are aligned to four.
fn parts(octets: &[u8], width: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let mut length = [0; 4];
        length.get_mut(..width)?.copy_from_slice(rest.get(..width)?);
        let length = usize::try_from(u32::from_ne_bytes(length)).ok().filter(|length| *length >= 4)?;
        let part = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, address: [u8; 4]) -> Vec<u8> {
        let mut octets = Vec::new();
        octets.extend(40_u32.to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 10 + HEADER]);
        // An attribute that is not looked for comes first.
        for (name, value) in [(1_u16, [9; 4]), (IFA_LOCAL, address)] {
            octets.extend(8_u16.to_ne_bytes());
            octets.extend(name.to_ne_bytes());
            octets.extend(value);
        }
        octets
    }

    #[test]
    fn messages_of_the_kernel() {
        let mut octets = message(RTM_NEWADDR, [10, 1, 0, 1]);
        octets.extend(message(16, [10, 1, 0, 2]));
        octets.extend(message(RTM_DELADDR, [10, 1, 0, 3]));
        let want = [Change::Added([10, 1, 0, 1].into()), Change::Removed([10, 1, 0, 3].into())];
        assert_eq!(changes(&octets), want);
        for length in 0..octets.len() {
            assert!(changes(&octets[..length]).len() < 2, "cut at {length}");
        }
    }
}
