//! Changes in the kernel: what is wanted and not there, what is there and unwanted.
//!
//! Here: the order of requests, their time limits and outcomes. Not here: what is wanted (`held`), what the kernel says
//! unasked (`listen`).

use std::collections::HashSet;
use std::io;
use std::time::Instant;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use nix::errno::Errno;

use super::{ATTEMPTS, Netconf, Report};
use crate::router::held::Done;
use crate::router::kernel;
use crate::router::mailbox::Want;
use crate::router::object::{Key, Object};
use crate::router::route::Request;
use crate::router::talk::{Outcome, Talk};

impl Netconf<'_> {
    /// All additions come before the first removal: what moves never leaves.
    pub(super) fn apply(&mut self, wants: &[Want]) -> io::Result<()> {
        self.look_at_entries(wants)?;
        let mirror = &self.mirror;
        let plan = self.book.plan(wants, |object| mirror.has(object));
        self.removing.extend(plan.replaced.iter().chain(&plan.remove).cloned());
        self.remove(&plan.replaced, |_, _| ())?;
        let replaced: HashSet<Key> = plan.replaced.iter().map(Object::key).collect();
        // What the kernel says of IPv6 addresses does not name who asked for it.
        self.lost.retain(|key| !replaced.contains(key));
        let mut added = plan.done.iter().filter(|done| done.removed.is_none()).peekable();
        self.add(&plan.add, |this, count| {
            while let Some(done) = added.next_if(|done| done.added <= count) {
                this.set(done);
            }
        })?;
        let mut removed = plan.done.iter().filter(|done| done.removed.is_some()).peekable();
        self.remove(&plan.remove, |this, count| {
            while let Some(done) = removed.next_if(|done| done.removed.is_none_or(|end| end <= count)) {
                this.set(done);
            }
        })?;
        if self.complete {
            self.removing.clear();
        }
        if !plan.remove.is_empty() && self.book.has_missing() {
            // What was in the way may be gone.
            self.retry = Some(Instant::now());
        }
        Ok(())
    }

    /// A router has what it wants. What its announcements need is told before.
    fn set(&mut self, done: &Done) {
        if self.mirror.is_forwarding_different() {
            self.tell();
        }
        self.reports.send(Report::AddressesSet { router: done.router, holds: done.holds });
    }

    /// Adds what is held, batch by batch, and says each time how many were tried.
    pub(super) fn add(&mut self, wanted: &[Key], mut after: impl FnMut(&mut Self, usize)) -> io::Result<()> {
        let mut tried = 0;
        for batch in wanted.chunks(self.line.socket.batch()) {
            let mut requests = Vec::with_capacity(batch.len());
            let mut asked = Vec::with_capacity(batch.len());
            for key in batch {
                let Some(held) = self.book.get(key) else { continue };
                match self.mirror.addition(&held.object) {
                    Ok(request) => {
                        requests.push(request);
                        asked.push(key);
                    }
                    Err(unready) => self.tried(key, Some(unready.to_string())),
                }
            }
            let outcomes = self.exchange(requests)?;
            for (key, outcome) in asked.into_iter().zip(outcomes) {
                self.added(key, outcome);
            }
            self.repair()?;
            tried += batch.len();
            after(self, tried);
        }
        // With nothing to be tried there is no batch.
        if wanted.is_empty() {
            after(self, 0);
        }
        Ok(())
    }

    fn added(&mut self, key: &Key, outcome: Outcome) {
        let failure = match outcome {
            // It was taken away again at once, or nobody knows: what is there then says the next try.
            Outcome::Unknown => return self.retry = Some(Instant::now()),
            Outcome::Done if self.went_again(key) => return self.retry = Some(Instant::now()),
            Outcome::Done => {
                self.book.made(key);
                if let Some(held) = self.book.get(key) {
                    self.mirror.added(&held.object);
                }
                None
            }
            Outcome::Refused(refusal) if refusal.errno == Errno::EEXIST => {
                let held = self.book.get(key);
                if held.is_some_and(|held| self.mirror.has_of_vrrp(&held.object)) {
                    self.book.made(key);
                }
                // Another route or rule that says the same counts, as with keepalived.
                let another = matches!(key, Key::Address(..)) && !self.is_there(key);
                another.then(|| "the interface has it with another prefix length".to_owned())
            }
            Outcome::Refused(refusal) => Some(refusal.to_string()),
        };
        let is_there = failure.is_none();
        self.tried(key, failure);
        if is_there {
            self.is_back(key);
        }
    }

    /// Whether an address went while it was added.
    fn went_again(&self, key: &Key) -> bool {
        let Key::Address(device, ip, prefix) = key else { return false };
        let index = self.mirror.index_of(device);
        index.is_some_and(|index| self.gone.contains(&(index, *ip, *prefix))) && !self.is_there(key)
    }

    pub(super) fn is_there(&self, key: &Key) -> bool {
        self.book.get(key).is_some_and(|held| self.mirror.has(&held.object))
    }

    fn tried(&mut self, key: &Key, failure: Option<String>) {
        let Some(held) = self.book.tried(key, failure) else { return };
        match (key, &held.failing) {
            (Key::Address(device, ip, prefix), Some(error)) => tracing::warn!(
                %ip, prefix, device, error,
                "virtual address could not be added; trying again every second"
            ),
            (Key::Address(device, ip, prefix), None) => {
                tracing::info!(%ip, prefix, device, "virtual address could be added now");
            }
            (_, Some(error)) => {
                tracing::warn!(error, "{} could not be added; trying again every second", held.object);
            }
            (_, None) => tracing::info!("{} could be added now", held.object),
        }
    }

    /// Removes what nobody holds, as far as it is there, and says each time how many are done.
    fn remove(&mut self, unwanted: &[Object], mut after: impl FnMut(&mut Self, usize)) -> io::Result<()> {
        let mut done = 0;
        for batch in unwanted.chunks(self.line.socket.batch()) {
            let mut rest: Vec<&Object> = batch.iter().collect();
            for _ in 0..ATTEMPTS {
                let deletion = |object| Some((object, self.mirror.deletion(object)?));
                let (asked, requests): (Vec<&Object>, Vec<_>) = rest.into_iter().filter_map(deletion).unzip();
                self.asked = asked.iter().filter_map(|object| self.mirror.address_key(object)).collect();
                let outcomes = self.exchange(requests)?;
                rest = Vec::new();
                for (object, outcome) in asked.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Unknown => rest.push(object),
                        Outcome::Refused(refusal) if !is_gone(refusal.errno) => {
                            tracing::error!(error = %refusal, "{object} could not be removed");
                        }
                        _ => self.mirror.deleted(object),
                    }
                }
                self.repair()?;
                if rest.is_empty() {
                    break;
                }
            }
            self.asked.clear();
            // Without promote_secondaries the kernel removes secondary addresses with their primary:
            // that was our doing, so they return at once.
            let collateral = std::mem::take(&mut self.collateral);
            self.add(&collateral, |_, _| ())?;
            self.restore_bystanders()?;
            done += batch.len();
            after(self, done);
        }
        Ok(())
    }

    /// What was put on interfaces that have another name by now.
    pub(super) fn remove_strays(&mut self) -> io::Result<()> {
        let strays = std::mem::take(&mut self.strays);
        if strays.is_empty() {
            return Ok(());
        }
        self.asked = strays.iter().filter_map(|stray| stray.address).collect();
        for batch in strays.chunks(self.line.socket.batch()) {
            let outcomes = self.exchange(batch.iter().map(|stray| stray.removal.clone()).collect())?;
            for outcome in outcomes {
                if let Outcome::Refused(refusal) = outcome
                    && !is_gone(refusal.errno)
                {
                    tracing::error!(
                        error = %refusal,
                        "what is on an interface that was renamed could not be removed"
                    );
                }
            }
        }
        self.asked.clear();
        self.restore_bystanders()
    }

    fn restore_bystanders(&mut self) -> io::Result<()> {
        let bystanders = std::mem::take(&mut self.bystanders);
        for batch in bystanders.chunks(self.line.socket.batch()) {
            let outcomes = self.exchange(batch.iter().map(as_it_was).collect())?;
            for outcome in outcomes {
                if let Outcome::Refused(refusal) = outcome
                    && refusal.errno != Errno::EEXIST
                {
                    tracing::error!(
                        error = %refusal,
                        "an address that the kernel removed with the primary address of its network could not be put back"
                    );
                }
            }
        }
        self.repair()
    }

    /// The monitor's messages about our own changes come before the last answer, but for IPv6 addresses that are added.
    fn exchange(&mut self, requests: Vec<Request>) -> io::Result<Vec<Outcome>> {
        self.gone.clear();
        self.ask(requests)
    }
}

/// Whether what was to be removed is not there.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ESRCH | Errno::ENOENT)
}

/// The request that adds an address as the kernel said that it was.
fn as_it_was(gone: &AddressMessage) -> Request {
    let mut message = gone.clone();
    message.header.flags = AddressHeaderFlags::empty();
    message.attributes.retain_mut(|attribute| match attribute {
        AddressAttribute::Flags(flags) => {
            // The kernel's to say.
            flags.remove(AddressFlags::Secondary | AddressFlags::Permanent);
            true
        }
        AddressAttribute::Local(_)
        | AddressAttribute::Address(_)
        | AddressAttribute::Broadcast(_)
        | AddressAttribute::Label(_)
        | AddressAttribute::CacheInfo(_)
        | AddressAttribute::Protocol(_) => true,
        _ => false,
    });
    Request { message: RouteNetlinkMessage::NewAddress(message), flags: kernel::NEW }
}
