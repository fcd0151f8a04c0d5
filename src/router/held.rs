//! Who is to hold which address: the wants of all virtual routers, and what is still missing.
//!
//! Here: set arithmetic. Not here: requests to the kernel (`netconf`), what it has (`kernel`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use lbd_vrrp::{DeviceAddress, RouterId};

use super::kernel;
use super::mailbox::Want;

/// Interface, address, prefix length.
pub(super) type HeldKey = (String, IpAddr, u8);

pub(super) fn key(address: &DeviceAddress) -> HeldKey {
    (address.device.clone(), address.address.address, address.address.prefix)
}

/// An address that somebody holds.
#[derive(Debug)]
pub(super) struct Held {
    pub address: DeviceAddress,
    holders: BTreeSet<RouterId>,
    /// The last attempt to add it succeeded.
    set: bool,
    /// It was put there by VRRP, not by the host itself: it may be replaced.
    made: bool,
    /// Why it could not be added, as it was logged; `None` once it was.
    pub failing: Option<String>,
}

impl Held {
    /// Takes the outcome of an attempt to add it; whether that is news for the log, which tries every
    /// second must not fill.
    fn tried(&mut self, failure: Option<String>) -> bool {
        self.set = failure.is_none();
        let news = self.failing != failure;
        self.failing = failure;
        news
    }

    pub fn holders(&self) -> impl Iterator<Item = RouterId> {
        self.holders.iter().copied()
    }
}

/// What wants come down to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// To be removed before all: the kernel has no room for what replaces it, another prefix length of an IPv6
    /// address or other options of the same address.
    pub replaced: Vec<DeviceAddress>,
    /// To be added then, in order: an address that moves never leaves.
    pub add: Vec<HeldKey>,
    /// To be removed then, in order.
    pub remove: Vec<DeviceAddress>,
    /// When each router has what it wants, in order.
    pub done: Vec<Done>,
}

/// A router has what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub router: RouterId,
    /// It wants any.
    pub holds: bool,
    /// So many have been added.
    pub added: usize,
    /// So many have been removed; `None` if it does not wait for any.
    pub removed: Option<usize>,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Book {
    held: HashMap<HeldKey, Held>,
    /// What each router said last.
    routers: HashMap<RouterId, Arc<[DeviceAddress]>>,
    /// Held and not set.
    missing: BTreeSet<HeldKey>,
}

impl Book {
    /// Takes wants in; `is_there` says what the kernel has.
    pub fn plan(&mut self, wants: &[Want], is_there: impl Fn(&DeviceAddress) -> bool) -> Plan {
        let mut plan = Plan::default();
        for want in wants {
            for address in want.hold.iter() {
                let at = key(address);
                let (known, before) = self.hold(want.router, address, &at);
                if before.is_some() || !known || !is_there(address) {
                    plan.add.push(at);
                }
                plan.replaced.extend(before);
            }
            let holds = !want.hold.is_empty();
            plan.done.push(Done { router: want.router, holds, added: plan.add.len(), removed: None });
        }
        let six: HashSet<(&str, IpAddr)> =
            plan.add.iter().filter(|at| at.1.is_ipv6()).map(|at| (at.0.as_str(), at.1)).collect();
        for (want, done) in wants.iter().zip(&mut plan.done) {
            let mut unwanted = self.unwanted(want);
            let makes_room =
                |one: &mut DeviceAddress| six.contains(&(one.device.as_str(), one.address.address));
            plan.replaced.extend(unwanted.extract_if(.., makes_room));
            if !unwanted.is_empty() {
                // Last in, first out: a primary address would take its secondary ones along.
                unwanted.reverse();
                plan.remove.append(&mut unwanted);
                done.removed = Some(plan.remove.len());
            }
        }
        plan
    }

    /// Whether the address was added, and as what if the kernel has it otherwise.
    fn hold(
        &mut self,
        router: RouterId,
        address: &DeviceAddress,
        at: &HeldKey,
    ) -> (bool, Option<DeviceAddress>) {
        match self.held.entry(at.clone()) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.holders.insert(router);
                let mut before = None;
                // With several holders the first one's options count.
                if held.address != *address && held.holders.len() == 1 {
                    let old = std::mem::replace(&mut held.address, address.clone());
                    let message = |one: &DeviceAddress| kernel::addition(0, &one.address);
                    before = (held.set && held.made && message(&old) != message(address)).then_some(old);
                }
                (held.set, before)
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Held {
                    address: address.clone(),
                    holders: BTreeSet::from([router]),
                    set: false,
                    made: false,
                    failing: None,
                });
                self.missing.insert(at.clone());
                (false, None)
            }
        }
    }

    /// What nobody holds any more, in the order in which it was wanted.
    fn unwanted(&mut self, want: &Want) -> Vec<DeviceAddress> {
        let before = if want.hold.is_empty() {
            self.routers.remove(&want.router)
        } else {
            self.routers.insert(want.router, Arc::clone(&want.hold))
        };
        // Held again as it was.
        let before = before.filter(|before| !Arc::ptr_eq(before, &want.hold));
        if before.is_none() && want.purge.is_empty() {
            return Vec::new();
        }
        let mut seen: HashSet<HeldKey> = want.hold.iter().map(key).collect();
        let mut unwanted = Vec::new();
        for address in before.iter().chain(&want.purge).flat_map(|list| list.iter()) {
            let at = key(address);
            if seen.contains(&at) {
                continue;
            }
            if let Some(held) = self.held.get_mut(&at) {
                held.holders.remove(&want.router);
                if !held.holders.is_empty() {
                    continue;
                }
                self.held.remove(&at);
                self.missing.remove(&at);
            }
            unwanted.push(address.clone());
            seen.insert(at);
        }
        unwanted
    }

    /// Takes the outcome of an attempt to add it; the address if that is news for the log.
    pub fn tried(&mut self, at: &HeldKey, failure: Option<String>) -> Option<&Held> {
        let held = self.held.get_mut(at)?;
        let news = held.tried(failure);
        if held.set {
            self.missing.remove(at);
        } else {
            self.missing.insert(at.clone());
        }
        news.then_some(&*held)
    }

    /// It is there because VRRP put it there.
    pub fn made(&mut self, at: &HeldKey) {
        if let Some(held) = self.held.get_mut(at) {
            held.made = true;
        }
    }

    /// It is there no more; whether that is a loss: somebody holds it, and it was there.
    pub fn gone(&mut self, at: &HeldKey) -> bool {
        match self.held.get_mut(at) {
            Some(held) if held.set => {
                (held.set, held.made) = (false, false);
                self.missing.insert(at.clone());
                true
            }
            _ => false,
        }
    }

    /// Whether its loss is nobody's concern (no_track): it is left as it is until it is wanted anew.
    pub fn is_untracked(&self, at: &HeldKey) -> bool {
        self.held.get(at).is_some_and(|held| held.address.address.no_track)
    }

    /// Forgets everything; what was held.
    pub fn forget(&mut self) -> impl Iterator<Item = DeviceAddress> + use<> {
        let Book { held, .. } = std::mem::take(self);
        held.into_values().map(|held| held.address)
    }

    pub fn get(&self, at: &HeldKey) -> Option<&Held> {
        self.held.get(at)
    }

    pub fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Held and not there, as far as is known.
    pub fn missing(&self) -> Vec<HeldKey> {
        self.missing.iter().cloned().collect()
    }

    /// Held and set, as far as is known here, and as `is_there` says.
    pub fn set(&self, is_there: impl Fn(&DeviceAddress) -> bool) -> Vec<HeldKey> {
        let wanted =
            |(at, held): (&HeldKey, &Held)| (held.set && is_there(&held.address)).then(|| at.clone());
        self.held.iter().filter_map(wanted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_vrrp::VirtualAddress;

    fn list(last: &[u8]) -> Arc<[DeviceAddress]> {
        let address = |last: &u8| DeviceAddress {
            device: "eth0".into(),
            address: VirtualAddress::new(IpAddr::from([10, 0, 0, *last]), 32),
        };
        last.iter().map(address).collect()
    }

    fn want(router: u64, hold: &[u8], purge: &[&[u8]]) -> Want {
        let purge = purge.iter().map(|last| list(last)).collect();
        Want { router: RouterId(router), hold: list(hold), purge }
    }

    fn last(ip: IpAddr) -> u8 {
        match ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        }
    }

    #[test]
    fn a_failure_that_lasts_is_told_once() {
        let address = list(&[1])[0].clone();
        let mut held = Held { address, holders: BTreeSet::new(), set: false, made: false, failing: None };
        for (name, failure, news) in [
            ("added at once", None, false),
            ("first failure", Some("A"), true),
            ("the same", Some("A"), false),
            ("the same again", Some("A"), false),
            ("another", Some("B"), true),
            ("added at last", None, true),
            ("still there", None, false),
            ("failing anew", Some("B"), true),
        ] {
            assert_eq!(held.tried(failure.map(str::to_owned)), news, "{name}");
            assert_eq!(held.set, failure.is_none(), "{name}");
        }
    }

    /// One after the other; everything that is to be added is there then.
    #[test]
    fn wants_in_turn() {
        let mut book = Book::default();
        let mut there = BTreeSet::new();
        let none: &[u8] = &[];
        for (name, wants, add, remove, done) in [
            ("comes", vec![want(1, &[3, 1, 2], &[])], &[3, 1, 2][..], none, vec![(1, 3, None)]),
            ("is there", vec![want(1, &[3, 1, 2], &[])], none, none, vec![(1, 0, None)]),
            ("shared", vec![want(2, &[2, 4], &[])], &[4], none, vec![(2, 1, None)]),
            (
                "last in, first out; what another holds stays",
                vec![want(1, &[], &[])],
                none,
                &[1, 3],
                vec![(1, 0, Some(2))],
            ),
            (
                "moves",
                vec![want(2, &[], &[]), want(3, &[4, 5], &[])],
                &[5],
                &[2],
                vec![(2, 0, Some(1)), (3, 1, None)],
            ),
            (
                "purged: neither what is held nor anything twice",
                vec![want(0, &[], &[&[4, 8, 9], &[9, 8]])],
                none,
                &[9, 8],
                vec![(0, 0, Some(2))],
            ),
            ("purged and held again", vec![want(3, &[4, 5], &[&[5, 6]])], none, &[6], vec![(3, 0, Some(1))]),
            ("goes", vec![want(3, &[], &[&[4, 5]])], none, &[5, 4], vec![(3, 0, Some(2))]),
        ] {
            let plan = book.plan(&wants, |address| there.contains(&key(address)));
            assert_eq!(plan.add.iter().map(|at| last(at.1)).collect::<Vec<_>>(), add, "{name}");
            assert_eq!(plan.replaced, [], "{name}");
            assert_eq!(
                plan.remove.iter().map(|one| last(one.address.address)).collect::<Vec<_>>(),
                remove,
                "{name}"
            );
            let got: Vec<_> =
                plan.done.iter().map(|done| (done.router.0, done.added, done.removed)).collect();
            assert_eq!(got, done, "{name}");
            for at in plan.add {
                assert!(book.tried(&at, None).is_none(), "{name}: no news");
                there.insert(at);
            }
            assert!(!book.has_missing(), "{name}");
        }
        assert!(book.held.is_empty() && book.routers.is_empty());
    }

    #[test]
    fn what_is_missing() {
        let mut book = Book::default();
        let plan = book.plan(&[want(1, &[1, 2], &[])], |_| false);
        assert_eq!(book.missing(), plan.add, "before the first attempt");
        let [one, two] = plan.add.as_slice() else { panic!("two") };
        assert!(book.tried(one, Some("no".into())).is_some());
        assert!(book.tried(two, None).is_none());
        assert_eq!(book.missing(), std::slice::from_ref(one));
        assert!(!book.gone(one), "it was not there");
        assert!(book.gone(two));
        assert!(!book.gone(two), "told once");
        assert!(book.has_missing());
        book.plan(&[want(1, &[], &[])], |_| false);
        assert!(!book.has_missing());
        assert!(!book.gone(one), "nobody holds it");
    }
}
