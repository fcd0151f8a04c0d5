//! The rolling audit: what another program changed of our services is put right, counted and told.
//!
//! Not here: which services are read when (`rounds`), the words for what is found (`drift`).

use std::collections::BTreeSet;

use lbd_ipvs::{ServiceId, Table};

use super::super::drift;
use super::super::rounds::Rounds;
use super::{Applied, Keeper, plan};
use crate::event::Event;

impl Keeper {
    /// Reads the next services of the round, and puts right what someone else changed.
    pub(super) fn audit(&mut self) {
        let began = (self.processor)();
        let mut rounds = std::mem::replace(&mut self.rounds, Rounds::new(self.now));
        let mut slice = rounds.slice(|| {
            let size =
                |id: &ServiceId| self.have.services.get(id).map_or(0, |entry| entry.destinations.len());
            self.ours().into_iter().map(|id| (id, size(&id))).collect()
        });
        // What stopped being ours since the round began is nobody's business any more.
        slice.ids.retain(|id| self.recorded.contains_key(id) || self.wants.table().services.contains_key(id));
        self.compare(&slice.ids);
        if slice.ends_round {
            self.compare_timeouts();
        }
        rounds.done(self.now, &slice, (self.processor)().saturating_sub(began));
        self.status.audits = rounds.completed;
        self.rounds = rounds;
    }

    /// Compares these services with the kernel's.
    fn compare(&mut self, ids: &[ServiceId]) {
        if ids.is_empty() {
            return;
        }
        let Some(mut readings) = self.look(|kernel| kernel.read(ids)) else { return };
        let mut drifted = BTreeSet::new();
        let mut counted = Vec::with_capacity(readings.len());
        for id in ids {
            let reading = readings.remove(id);
            let new = self.known.insert(*id);
            let same = match (self.have.services.get(id), &reading) {
                (Some(have), Some(found)) => found.is(have),
                (have, found) => have.is_none() && found.is_none(),
            };
            if !same {
                match &reading {
                    Some(reading) => self.have.services.insert(*id, reading.entry()),
                    None => self.have.services.remove(id),
                };
                // What was refused was read back then: this is another change.
                if !new && !self.pending.contains(id) {
                    drifted.insert(*id);
                }
            }
            counted.push((*id, reading));
        }
        self.board.note(self.now, counted);
        let found = plan(&drifted, &self.have, self.wants.table(), &self.recorded);
        if found.is_empty() {
            return;
        }
        for op in &found {
            if !self.is_refused(op) {
                self.drifted(|have| drift::words(op, have));
            }
        }
        let writes = self.status.writes;
        let waiting = std::mem::replace(&mut self.pending, drifted);
        let applied = self.apply();
        self.status.drift_repaired += self.status.writes - writes;
        self.pending.extend(waiting);
        if applied == Applied::Again {
            self.settle();
        }
    }

    /// Tells of something that someone else changed, unless much was told of lately.
    pub(super) fn drifted(&mut self, words: impl FnOnce(&Table) -> String) {
        if self.limiter.may_say(self.now) {
            self.events.send(Event::Drift { found: words(&self.have) });
        }
    }
}
