//! Who is to hold what: the wants of all virtual routers, and what is still missing.
//!
//! Here: set arithmetic. Not here: requests to the kernel (`netconf`), what it has (`kernel`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use lbd_vrrp::RouterId;

use super::kernel;
use super::mailbox::{STATIC, Want};
use super::object::{Key, Load, Object, Place, RouteEntry};
use super::repair::{Repairs, Verdict};

/// Something that somebody holds.
#[derive(Debug)]
pub(super) struct Held {
    pub object: Object,
    holders: BTreeSet<RouterId>,
    /// Kind, then as it came: the order in which what is missing is tried again.
    order: (u8, u64),
    /// The last attempt to add it succeeded.
    set: bool,
    /// It was put there by VRRP, not by the host itself: it may be replaced.
    made: bool,
    repairs: Repairs,
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

    /// By this what is tried again is ordered.
    pub fn order(&self) -> (u8, u64) {
        self.order
    }

    /// It is there, as far as is known.
    pub fn is_set(&self) -> bool {
        self.set
    }

    /// It is there, and VRRP put it there.
    pub fn is_made(&self) -> bool {
        self.set && self.made
    }

    /// How often it was put back.
    pub fn repaired(&self) -> u64 {
        self.repairs.count
    }

    /// It is static, whoever else holds it.
    fn is_fixed(&self) -> bool {
        self.holders.contains(&STATIC)
    }
}

/// What wants come down to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// To be removed before all: the kernel has no room for what replaces it, another prefix length of an IPv6
    /// address, other options of the same address, another route to the same destination; or, asked to delete it later, it
    /// might take what replaces it.
    pub replaced: Vec<Object>,
    /// To be added then, in order: what moves never leaves.
    pub add: Vec<Key>,
    /// To be removed then, in order.
    pub remove: Vec<Object>,
    /// When each router has what it wants, in order.
    pub done: Vec<Done>,
}

/// A router has what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub router: RouterId,
    /// It is master.
    pub holds: bool,
    /// So many have been added, its addresses among them.
    pub added: usize,
    /// So many have been removed; `None` if it does not wait for any.
    pub removed: Option<usize>,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Book {
    held: HashMap<Key, Held>,
    /// What each router said last.
    routers: HashMap<RouterId, Load>,
    /// Held and not set.
    missing: BTreeMap<(u8, u64), Key>,
    serial: u64,
    /// Something may be different for readers.
    changed: bool,
}

impl Book {
    /// Takes wants in; `is_there` says what the kernel has.
    pub fn plan(&mut self, wants: &[Want], is_there: impl Fn(&Object) -> bool) -> Plan {
        self.changed |= !wants.is_empty();
        let mut plan = Plan::default();
        let mut taken = Taken::default();
        for want in wants {
            // Announcements of the addresses wait for nothing else.
            let mut added = plan.add.len();
            for object in want.hold.objects() {
                let key = object.key();
                let (known, before) = self.hold(want.router, &object, &key);
                if before.is_some() || !known || !is_there(&object) {
                    taken.add(&object);
                    plan.add.push(key);
                }
                plan.replaced.extend(before);
                if let Object::Address(_) = object {
                    added = plan.add.len();
                }
            }
            plan.done.push(Done { router: want.router, holds: want.holds, added, removed: None });
        }
        let mut left = HashSet::new();
        for (want, done) in wants.iter().zip(&mut plan.done) {
            let mut unwanted = self.unwanted(want, &mut left);
            plan.replaced.extend(unwanted.extract_if(.., |one| taken.is_in_the_way(one)));
            if !unwanted.is_empty() {
                // Last in, first out: a primary address would take its secondary ones along, an address its routes.
                unwanted.reverse();
                plan.remove.append(&mut unwanted);
                done.removed = Some(plan.remove.len());
            }
        }
        if !left.is_empty() {
            self.pass_on(&left, &mut plan);
        }
        plan
    }

    /// Of what some that held it have left, the options of the first of those who still do count.
    fn pass_on(&mut self, left: &HashSet<Key>, plan: &mut Plan) {
        for (router, load) in &self.routers {
            for object in load.objects() {
                let key = object.key();
                let Some(held) = self.held.get_mut(&key).filter(|_| left.contains(&key)) else { continue };
                if held.holders.first() != Some(router) || held.object == object {
                    continue;
                }
                let old = std::mem::replace(&mut held.object, object);
                if held.is_made() && kernel::are_different(&old, &held.object) {
                    plan.replaced.push(old);
                    plan.add.push(key);
                }
            }
        }
    }

    /// Whether the object was added, and as what if the kernel has it otherwise.
    fn hold(&mut self, router: RouterId, object: &Object, key: &Key) -> (bool, Option<Object>) {
        match self.held.entry(key.clone()) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.holders.insert(router);
                let mut before = None;
                // With several holders the first one's options count.
                if held.object != *object && held.holders.len() == 1 {
                    let old = std::mem::replace(&mut held.object, object.clone());
                    let differs = kernel::are_different(&old, object);
                    before = (held.set && held.made && differs).then_some(old);
                }
                (held.set, before)
            }
            Entry::Vacant(vacant) => {
                self.serial += 1;
                let order = (key.rank(), self.serial);
                vacant.insert(Held {
                    object: object.clone(),
                    holders: BTreeSet::from([router]),
                    order,
                    set: false,
                    made: false,
                    repairs: Repairs::default(),
                    failing: None,
                });
                self.missing.insert(order, key.clone());
                (false, None)
            }
        }
    }

    /// What nobody holds any more, in the order in which it was wanted; `left` takes what others still do.
    fn unwanted(&mut self, want: &Want, left: &mut HashSet<Key>) -> Vec<Object> {
        let before = if want.hold.is_empty() {
            self.routers.remove(&want.router)
        } else {
            self.routers.insert(want.router, want.hold.clone())
        };
        // Held again as it was.
        let before = before.filter(|before| !before.is_same(&want.hold));
        if before.is_none() && want.purge.is_empty() {
            return Vec::new();
        }
        let mut seen: HashSet<Key> = want.hold.objects().map(|object| object.key()).collect();
        let mut unwanted = Vec::new();
        for object in before.iter().chain(&want.purge).flat_map(Load::objects) {
            let key = object.key();
            if seen.contains(&key) {
                continue;
            }
            if let Some(held) = self.held.get_mut(&key) {
                let was_holder = held.holders.remove(&want.router);
                if !held.holders.is_empty() {
                    left.extend(was_holder.then_some(key));
                    continue;
                }
                self.missing.remove(&held.order);
                self.held.remove(&key);
            }
            unwanted.push(object);
            seen.insert(key);
        }
        // Kinds together: what is purged comes behind what was held.
        unwanted.sort_by_key(|object| object.key().rank());
        unwanted
    }

    /// Takes the outcome of an attempt to add it; the object if that is news for the log.
    pub fn tried(&mut self, key: &Key, failure: Option<String>) -> Option<&Held> {
        let held = self.held.get_mut(key)?;
        let news = held.tried(failure);
        if held.set {
            self.missing.remove(&held.order);
        } else {
            self.missing.insert(held.order, key.clone());
        }
        self.changed = true;
        news.then_some(&*held)
    }

    /// It is there because VRRP put it there.
    pub fn made(&mut self, key: &Key) {
        if let Some(held) = self.held.get_mut(key) {
            held.made = true;
        }
    }

    /// It is there no more; whether that is a loss: somebody holds it, it was there, and it matters.
    pub fn gone(&mut self, key: &Key) -> bool {
        match self.held.get_mut(key) {
            Some(held) if held.set => {
                (held.set, held.made) = (false, false);
                self.changed = true;
                if held.object.is_untracked() {
                    return false;
                }
                self.missing.insert(held.order, key.clone());
                true
            }
            _ => false,
        }
    }

    /// Someone removed it: what is to be done.
    pub fn lost(&mut self, key: &Key, now: Instant) -> Option<Verdict> {
        let held = self.held.get_mut(key)?;
        let fixed = held.is_fixed();
        Some(held.repairs.lost(now, fixed))
    }

    /// It is there: whether that put back what someone removed, and is to be told.
    pub fn back(&mut self, key: &Key, now: Instant) -> Option<bool> {
        let held = self.held.get_mut(key)?;
        let fixed = held.is_fixed();
        held.repairs.back(now, fixed)
    }

    /// Forgets everything; what was held.
    pub fn forget(&mut self) -> impl Iterator<Item = Object> + use<> {
        let Book { held, .. } = std::mem::take(self);
        self.changed = true;
        held.into_values().map(|held| held.object)
    }

    pub fn get(&self, key: &Key) -> Option<&Held> {
        self.held.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = (&Key, &Held)> {
        self.held.iter()
    }

    pub fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Held and not there, as far as is known, but for what is not to be put back yet.
    pub fn missing(&self, now: Instant) -> Vec<Key> {
        let waits =
            |key: &Key| self.held.get(key).is_some_and(|held| held.repairs.waits_until(now).is_some());
        self.missing.values().filter(|key| !waits(key)).cloned().collect()
    }

    /// When the first of what is missing may be put back that may not yet.
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.missing.values().filter_map(|key| self.held.get(key)?.repairs.waits_until(now)).min()
    }

    /// Held and set, as far as is known here, and as `is_there` says.
    pub fn set(&self, is_there: impl Fn(&Object) -> bool) -> Vec<Key> {
        let wanted = |(key, held): (&Key, &Held)| (held.set && is_there(&held.object)).then(|| key.clone());
        self.held.iter().filter_map(wanted).collect()
    }

    /// After the routes and rules of the kernel were read: takes down which of those that are held are there, and
    /// says which were lost, and which are to be tried since what stood in their place may be gone.
    pub fn compare(&mut self, is_there: impl Fn(&Object) -> bool) -> (Vec<Key>, Vec<Key>) {
        let (mut there, mut gone, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for (key, held) in &self.held {
            if matches!(key, Key::Address(..)) {
                continue;
            }
            match (is_there(&held.object), held.set) {
                (true, _) => there.push(key.clone()),
                (false, true) if held.made => gone.push(key.clone()),
                (false, true) => again.push(key.clone()),
                (false, false) => {}
            }
        }
        for key in &there {
            self.made(key);
            if self.get(key).is_some_and(|held| !held.set) {
                self.tried(key, None);
            }
        }
        gone.retain(|key| self.gone(key));
        again.sort_by_key(|key| self.held.get(key).map(|held| held.order));
        (gone, again)
    }

    /// Whether something may be different for readers since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// What is about to be added, by where it is to be.
#[derive(Default)]
struct Taken {
    places: HashSet<Place>,
    /// IPv4 routes that stand one behind the other.
    stacks: HashMap<Place, Vec<RouteEntry>>,
}

impl Taken {
    fn add(&mut self, object: &Object) {
        self.places.extend(object.place());
        if let Some((place, entry)) = object.stacked() {
            self.stacks.entry(place).or_default().push(entry.clone());
        }
    }

    fn is_in_the_way(&self, old: &Object) -> bool {
        // Most kinds have no such places.
        !self.places.is_empty() && old.places().any(|place| self.places.contains(&place))
            || !self.stacks.is_empty() && self.is_taken_for(old)
    }

    fn is_taken_for(&self, old: &Object) -> bool {
        let Some((place, old)) = old.stacked() else { return false };
        self.stacks.get(&place).is_some_and(|stack| stack.iter().any(|new| new.is_taken_for(old)))
    }
}

#[cfg(test)]
mod tests;
