//! lvs_timeouts: set, kept, and put back to what was there before.

use lbd_ipvs::{IpvsError, Timeouts};

use super::Keeper;

/// lvs_timeouts: what the kernel had before, and has.
#[derive(Debug)]
pub(super) struct KeptTimeouts {
    /// Before ours were set; `None` when ours are not.
    pub before: Option<Timeouts>,
    /// As they were read or set last.
    pub have: Timeouts,
    pub refused: Option<IpvsError>,
}

impl KeptTimeouts {
    /// The kernel has `have`; `before` is what an earlier process replaced.
    pub(super) fn new(before: Option<Timeouts>, have: Timeouts) -> Self {
        KeptTimeouts { before, have, refused: None }
    }

    /// What should hold, given what is wanted; `None` when nothing of ours does.
    pub(super) fn wanted(&self, wanted: Timeouts) -> Option<Timeouts> {
        match self.before {
            Some(before) => Some(wanted.or(before)),
            None => (wanted != Timeouts::default()).then(|| wanted.or(self.have)),
        }
    }
}

impl Keeper {
    /// Sets the connection timeouts that are wanted, or back to what they were before.
    pub(super) fn keep_timeouts(&mut self, retry: bool) {
        if self.kernel.is_none() || (self.timeouts.refused.is_some() && !retry) {
            return;
        }
        let Some(wanted) = self.timeouts.wanted(self.settings.timeouts) else { return };
        if self.timeouts.before.is_none() {
            self.timeouts.before = Some(self.timeouts.have);
            self.write_timeouts();
        }
        if wanted != self.timeouts.have {
            let Some(kernel) = &mut self.kernel else { return };
            match kernel.set_timeouts(wanted) {
                Ok(()) => {
                    self.status.writes += 1;
                    self.timeouts.have = wanted;
                    self.timeouts.refused = None;
                }
                Err(error) => {
                    self.status.errors += 1;
                    if error.is_lost() {
                        self.lost(&error);
                    } else {
                        self.timeouts.refused = Some(error);
                    }
                    return;
                }
            }
        }
        if self.settings.timeouts == Timeouts::default() {
            self.timeouts.before = None;
            self.write_timeouts();
        }
    }

    /// Whether someone else changed the connection timeouts.
    pub(super) fn compare_timeouts(&mut self) {
        let Some(found) = self.look(|kernel| kernel.timeouts()) else { return };
        let ours = self.timeouts.before.is_some() && self.timeouts.refused.is_none();
        if ours && found != self.timeouts.have {
            let wanted = self.timeouts.have;
            self.drifted(|_| format!("the connection timeouts were set to {found}: set back to {wanted}"));
            self.status.drift_repaired += 1;
        }
        self.timeouts.have = found;
        self.keep_timeouts(false);
    }

    fn write_timeouts(&mut self) {
        let written = self.state.put_timeouts(self.timeouts.before);
        self.written(written);
    }
}
