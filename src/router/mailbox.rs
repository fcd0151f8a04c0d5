//! Slots between threads: what is there counts, not how often it was said.
//!
//! A slot keeps the latest value of each kind (one for each tracker, one for each virtual
//! router), so it is never full, nothing in it is dropped, and the sender never waits for its reader.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lbd_grammar::config::Scheduling;
use lbd_vrrp::{RouterId, Setup, TrackerId, TrackerResult};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::ThreadWishes;
use super::host::Release;
use super::network::Network;
use super::object::Load;

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
    pub reload: Option<(Setup, Scheduling, Arc<Network>)>,
    /// Who is told that the reload was done.
    pub release: Option<Release>,
    pub trackers: BTreeMap<TrackerId, TrackerResult>,
    /// Names of virtual routers that let masters of lower priorities be.
    pub hold_preemption: Option<BTreeSet<Arc<str>>>,
    pub thread: Option<ThreadWishes>,
    pub stop: Option<Leave>,
    /// Makes the engine panic.
    #[cfg(test)]
    pub panic: bool,
}

/// What a stop leaves in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Nothing: masters release.
    Nothing,
    /// What virtual routers hold, but nothing static (`-V`).
    Instances,
    /// All as it is (handover).
    Everything,
}

/// Of the virtual routers, the one that clears up what an earlier process, or an earlier attempt, left.
pub(super) const LEFTOVERS: RouterId = RouterId(0);
/// Of the virtual routers, the one that holds what is static.
pub(super) const STATIC: RouterId = RouterId(u64::MAX);

/// What the VRRP thread wants of netconf.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// With the number of the word.
    routers: HashMap<RouterId, (u64, Want)>,
    said: u64,
    /// Everything that is wanted is said, since netconf is ready.
    pub complete: bool,
    /// Do what is there and end.
    pub stop: bool,
    /// Makes netconf panic.
    #[cfg(test)]
    pub panic: bool,
}

/// What one virtual router wants in the kernel.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub router: RouterId,
    /// It is master, whatever it holds.
    pub holds: bool,
    /// Wanted; nothing if it is not master.
    pub hold: Load,
    /// Unwanted, unless in `hold`.
    pub purge: Vec<Load>,
}

impl Want {
    /// It holds nothing.
    pub fn nothing(router: RouterId) -> Self {
        Want { router, holds: false, hold: Load::default(), purge: Vec::new() }
    }
}

impl Wants {
    /// The latest word of each router counts; what it wanted purged before still goes, unless it
    /// is held again.
    ///
    /// Lists are not looked into: a router may have a thousand addresses, and this is the VRRP thread.
    pub fn put(&mut self, mut want: Want) {
        if let Some((_, old)) = self.routers.remove(&want.router) {
            for list in old.purge.into_iter().chain([old.hold]) {
                let known = |one: &Load| one.is_same(&list);
                if !(list.is_empty() || known(&want.hold) || want.purge.iter().any(known)) {
                    want.purge.push(list);
                }
            }
        }
        self.said += 1;
        self.routers.insert(want.router, (self.said, want));
    }

    /// In the order in which they were said.
    pub fn in_order(self) -> Vec<Want> {
        let mut wants: Vec<_> = self.routers.into_values().collect();
        wants.sort_unstable_by_key(|(said, _)| *said);
        wants.into_iter().map(|(_, want)| want).collect()
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
    use crate::router::object::Entries;
    use lbd_vrrp::{DeviceAddress, VirtualAddress};
    use std::net::{IpAddr, Ipv4Addr};

    fn list(last: &[u8]) -> Load {
        let address = |last: &u8| DeviceAddress {
            device: "eth0".into(),
            address: VirtualAddress::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, *last)), 32),
        };
        Load::of_addresses(last.iter().map(address).collect())
    }

    /// The same addresses with a route.
    fn with_route(load: &Load) -> Load {
        let route = lbd_grammar::read_route("10.0.0.0/8 dev eth0").expect("route");
        Load { entries: Arc::new(Entries::of(&[route], &[])), ..load.clone() }
    }

    #[test]
    fn the_latest_want_counts_and_nothing_held_before_is_forgotten() {
        let [none, one, two, three] = [list(&[]), list(&[1, 2]), list(&[2]), list(&[1, 3])];
        let routed = with_route(&one);
        let want = |router, hold: &Load, purge: &[&Load]| Want {
            router: RouterId(router),
            holds: !hold.is_empty(),
            hold: hold.clone(),
            purge: purge.iter().copied().cloned().collect(),
        };
        for (name, said, hold, purge) in [
            ("once", vec![want(1, &one, &[&two])], &one, vec![&two]),
            ("replaced", vec![want(1, &one, &[]), want(1, &none, &[&two])], &none, vec![&two, &one]),
            (
                "held again",
                vec![want(1, &one, &[]), want(1, &none, &[&two]), want(1, &three, &[])],
                &three,
                vec![&two, &one],
            ),
            (
                "again and again: each list once",
                vec![
                    want(1, &one, &[]),
                    want(1, &none, &[&one]),
                    want(1, &one, &[]),
                    want(1, &none, &[&one]),
                ],
                &none,
                vec![&one],
            ),
            ("what is held is not purged", vec![want(1, &none, &[&one]), want(1, &one, &[])], &one, vec![]),
            (
                "other routes with the same addresses are another list",
                vec![want(1, &routed, &[]), want(1, &one, &[])],
                &one,
                vec![&routed],
            ),
        ] {
            let mut wants = Wants::default();
            for want in said {
                wants.put(want);
            }
            let wants = wants.in_order();
            let [last] = wants.as_slice() else { panic!("{name}: one router") };
            assert!(last.hold.is_same(hold), "{name}");
            assert_eq!(last.purge.len(), purge.len(), "{name}");
            assert!(last.purge.iter().zip(purge).all(|(got, want)| got.is_same(want)), "{name}");
        }
        let mut wants = Wants::default();
        for router in [3, 1, 2, 3] {
            wants.put(want(router, &one, &[]));
        }
        let order: Vec<_> = wants.in_order().iter().map(|want| want.router.0).collect();
        assert_eq!(order, [1, 2, 3]);
    }
}
