//! What a virtual router makes of a datagram for it: accepted or refused, counted, and what that says about
//! its sender.
//!
//! Here: counters and conditions. Not here: the checks (`receive`), who becomes master (`backup`, `master`).

use std::net::IpAddr;
use std::sync::Arc;

use super::conditions::Change;
use super::{Condition, Effect, Moment, Phase, Router};
use crate::engine::Action;
use crate::receive::{self, ChecksumForm, Received, Refusal};
use crate::types::Priority;

/// Refusals that are told, by cause and sender: at most so many until the master changes.
const TOLD: usize = 64;

impl Router {
    /// Checks a datagram for this virtual router.
    pub(crate) fn check(
        &mut self,
        now: Moment,
        datagram: &crate::wire::datagram::Datagram<'_>,
    ) -> Result<Received, Refusal> {
        if !self.listens() || self.held_until.is_some_and(|until| now.at < until) {
            return Err(Refusal::NotRunning);
        }
        receive::check(&self.config, &self.address_octets, &mut self.session, now.unix, datagram)
    }

    pub(super) fn on_advert(&mut self, now: Moment, advert: Received, out: &mut Vec<Effect>) {
        if self.is_own(&advert) {
            self.on_refused(now, Refusal::OwnAddress, advert.source, out);
            return;
        }
        self.counters.received += 1;
        self.last_heard = Some(now.at);
        self.note(now, &advert, out);
        if advert.priority == Priority::RELEASE {
            self.counters.priority_zero_received += 1;
        }
        match self.phase {
            Phase::Backup(_) => self.backup_hears(now, advert, out),
            Phase::Master(_) => self.master_hears(now, advert, out),
            _ => {}
        }
    }

    /// An advertisement that came back, or of a router with our address.
    fn is_own(&self, advert: &Received) -> bool {
        matches!(self.phase, Phase::Master(_))
            && advert.priority == self.effective
            && Some(advert.source) == self.situation.source
    }

    /// What an accepted advertisement says about its sender.
    fn note(&mut self, now: Moment, advert: &Received, out: &mut Vec<Effect>) {
        let mut changes: Vec<Change> = Vec::new();
        let source = advert.source;
        match advert.form {
            ChecksumForm::Usual => {}
            ChecksumForm::WithoutPseudoHeader => self.counters.checksum_without_pseudo_header += 1,
            ChecksumForm::OldUnicast => {
                self.counters.old_unicast_checksum += 1;
                self.heard_old_checksum = true;
            }
        }
        if self.conditions.standing().next().is_some() {
            changes.extend(self.conditions.clear(Condition::NoPeer));
            self.conditions.expire(now.at, &mut changes);
        }
        let skip = self.config.skip_address_check && self.master.is_some_and(|(known, _)| known == source);
        if !advert.same_addresses && !skip {
            self.counters.address_list += 1;
            changes.extend(self.conditions.raise(now.at, Condition::AddressList, || {
                format!("{source} lists other addresses; its advertisements are used all the same")
            }));
        }
        if advert.interval != self.config.advert_interval {
            self.counters.interval += 1;
            let (interval, own) = (advert.interval, self.config.advert_interval);
            changes.extend(self.conditions.raise(now.at, Condition::Interval, || {
                format!("{source} advertises every {interval:?}, we every {own:?}")
            }));
        }
        if !advert.listed {
            self.counters.unlisted_peer += 1;
            changes.extend(self.conditions.raise(now.at, Condition::UnlistedPeer, || {
                format!("{source} is no unicast_peer and is used all the same; check_unicast_src refuses it")
            }));
        }
        self.counters.unsigned += u64::from(advert.unsigned);
        if let Some(skew) = advert.skew {
            changes.extend(self.conditions.raise(now.at, Condition::ClockSkew, || {
                let seconds = skew.as_secs_f64();
                format!(
                    "the clock of {source} is {seconds:.1} s from ours, more than half of what auth_hmac accepts: \
                     synchronise both"
                )
            }));
        }
        if advert.priority == self.effective && advert.priority != Priority::OWNER {
            let priority = advert.priority;
            changes.extend(self.conditions.raise(now.at, Condition::EqualPriority, || {
                format!("{source} has our priority {priority}: which of both is master depends on addresses")
            }));
        }
        if advert.priority == Priority::OWNER && self.effective == Priority::OWNER {
            changes.extend(
                self.conditions
                    .raise(now.at, Condition::Owners, || format!("{source} has priority 255 as we have")),
            );
        }
        self.conditions.hear(now.at, advert);
        self.tell(changes, out);
    }

    pub(super) fn on_refused(&mut self, now: Moment, cause: Refusal, source: IpAddr, out: &mut Vec<Effect>) {
        *self.counters.refused.entry(cause).or_default() += 1;
        // Before the start, in a fault and for an owner told so, refusing is the normal case.
        if matches!(cause, Refusal::NotRunning | Refusal::Owner) {
            return;
        }
        if self.told.len() < TOLD && self.told.insert((cause, source)) {
            let instance = Arc::clone(&self.config.name);
            out.push(Effect::Act(Action::Refused { instance, source, cause }));
        }
        if cause != Refusal::OwnAddress {
            self.rival_refused(now, cause, source, out);
        }
    }
}
