//! Slots between threads: what is there counts, not how often it was said.
//!
//! A slot keeps the latest value of each kind (one for each tracker, one for each virtual
//! router), so it is never full, nothing in it is dropped, and the sender never waits for its reader.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lbd_vrrp::{DeviceAddress, InstanceConfig, RouterId, TrackerId};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes a thread that polls.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<EventFd>);

impl Waker {
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Waker(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Never waits: an eventfd whose counter is full is readable all the same.
    pub fn wake(&self) {
        let _full = self.0.write(1);
    }

    /// To be called by the woken thread before it looks at its slots.
    pub fn reset(&self) {
        let _empty = self.0.read();
    }

    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&*self.0)
    }
}

/// What the daemon wants of the VRRP thread.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub begin: bool,
    pub reload: Option<Vec<InstanceConfig>>,
    pub trackers: BTreeMap<TrackerId, bool>,
    pub stop: Option<bool>,
    /// Makes the engine panic.
    #[cfg(test)]
    pub panic: bool,
}

/// What the VRRP thread wants of netconf.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// In the order in which they were said first.
    pub routers: Vec<Want>,
    /// Do what is there and end.
    pub stop: bool,
}

/// Addresses of one virtual router.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub router: RouterId,
    pub hold: Vec<DeviceAddress>,
    pub purge: Vec<DeviceAddress>,
}

impl Wants {
    /// The latest word of each router counts; what it wanted purged before still goes, unless it
    /// is held again.
    pub fn put(&mut self, mut want: Want) {
        if let Some(at) = self.routers.iter().position(|one| one.router == want.router) {
            let old = self.routers.remove(at);
            want.purge.extend(old.purge.into_iter().chain(old.hold));
        }
        // Sets: a router may have a thousand addresses, and the sender is the VRRP thread.
        let mut seen: HashSet<DeviceAddress> = want.hold.iter().cloned().collect();
        want.purge.retain(|address| seen.insert(address.clone()));
        self.routers.push(want);
    }
}

/// A slot of which the content is taken out as a whole.
#[derive(Debug, Default)]
pub(super) struct Slot<T>(Mutex<T>);

impl<T: Default> Slot<T> {
    /// Held for the few instructions that change or take the content, never over a system call.
    pub fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.lock())
    }

    pub fn take(&self) -> T {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_vrrp::VirtualAddress;
    use std::net::{IpAddr, Ipv4Addr};

    fn address(last: u8) -> DeviceAddress {
        let address = VirtualAddress::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 32);
        DeviceAddress { device: "eth0".into(), address }
    }

    #[test]
    fn the_latest_want_counts_and_nothing_held_before_is_forgotten() {
        let mut wants = Wants::default();
        let want = |hold: &[u8], purge: &[u8]| Want {
            router: RouterId(1),
            hold: hold.iter().map(|last| address(*last)).collect(),
            purge: purge.iter().map(|last| address(*last)).collect(),
        };
        wants.put(want(&[1, 2], &[]));
        wants.put(want(&[], &[2]));
        wants.put(want(&[1, 3], &[]));
        let [last] = wants.routers.as_slice() else { panic!("one router") };
        assert_eq!(last.hold, [address(1), address(3)]);
        assert_eq!(last.purge, [address(2)]);
    }
}
