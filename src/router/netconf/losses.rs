//! What someone else removed: put back, or yielded.
//!
//! Here: what is done about a loss. Not here: how it is found (`listen`), how often it is put back (`repair`).

use std::io;
use std::time::{Duration, Instant};

use super::{Netconf, Report};
use crate::router::mailbox::STATIC;
use crate::router::object::{Key, Object};
use crate::router::repair::{REPAIRS, Verdict, WINDOW};

/// What is found lost so long after its interface was not up went with it: routes are looked at a fifth of a second
/// later at most.
const FLAP: Duration = Duration::from_millis(500);

impl Netconf<'_> {
    /// An interface is not up. Names come and go with containers: only those that matter are kept.
    pub(super) fn note_flap(&mut self, name: Option<String>) {
        let Some(name) = name else { return };
        let now = Instant::now();
        self.forget_flaps(now);
        self.flapped.insert(name, now);
    }

    fn forget_flaps(&mut self, now: Instant) {
        self.flapped.retain(|_, at| now.saturating_duration_since(*at) < FLAP);
    }

    /// Interface states come first: an address that went with its interface is no news to a
    /// router that is in FAULT for it.
    pub(super) fn put_back(&mut self) -> io::Result<()> {
        self.tell();
        let now = Instant::now();
        self.forget_flaps(now);
        let mut again = Vec::new();
        for key in std::mem::take(&mut self.lost) {
            let Some(held) = self.book.get(&key) else { continue };
            if self.mirror.has(&held.object) {
                continue;
            }
            // With an interface that is not up the kernel drops what is on it, and takes nothing new: it is tried
            // again every second.
            if held.object.interfaces().any(|name| !self.mirror.is_up(name)) {
                continue;
            }
            if held.object.interfaces().any(|name| self.flapped.contains_key(name)) {
                again.push(key);
                continue;
            }
            match self.book.lost(&key, now) {
                Some(Verdict::PutBack) => again.push(key),
                Some(Verdict::Yield) => self.give_up(&key),
                Some(Verdict::Later) | None => {}
            }
        }
        self.retry_in_time();
        again.sort_by_key(|key| self.book.get(key).map(|held| held.order()));
        self.add(&again, |_, _| ())
    }

    /// What is to be put back later is tried then.
    pub(super) fn retry_in_time(&mut self) {
        let at = self.book.waits_until(Instant::now());
        self.retry = self.retry.into_iter().chain(at).min();
    }

    /// Those who hold it yield, as keepalived does at once.
    fn give_up(&mut self, key: &Key) {
        let Some(held) = self.book.get(key) else { return };
        let what = format!("{}, put back {REPAIRS} times within {} s,", held.object, WINDOW.as_secs());
        for router in held.holders() {
            self.reports.send(Report::AddressLost { router, what: what.clone() });
        }
    }

    /// It is there: if someone had removed it, that is told.
    pub(super) fn is_back(&mut self, key: &Key) {
        let Some(tell) = self.book.back(key, Instant::now()) else { return };
        let Some(held) = self.book.get(key) else { return };
        let address = match &held.object {
            Object::Address(one) => Some((one.device.clone(), one.address.address)),
            Object::Route(_) | Object::Rule(_) => None,
        };
        let what = held.object.to_string();
        for router in held.holders() {
            *self.repaired.entry(router).or_default() += 1;
            if tell || router != STATIC {
                let (what, address) = (what.clone(), address.clone());
                self.reports.send(Report::Repaired { router, what, address, tell });
            }
        }
    }
}
