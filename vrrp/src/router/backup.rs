//! The state Backup (RFC 3768 §6.4.2, RFC 9568 §6.4.2), with preempt_delay and the wish of a sync group's
//! member.

use std::sync::Arc;
use std::time::Instant;

use super::conditions::QUIET;
use super::{Condition, Effect, Moment, Phase, Router};
use crate::receive::Received;
use crate::types::{Priority, Version};

#[derive(Clone, Debug)]
pub(super) struct Backup {
    /// Then it takes over.
    pub down_at: Instant,
    /// preempt_delay: since then adverts of lower priorities are heard, and none of ours or a higher one.
    lower_since: Option<Instant>,
    /// Why it would take over, if not for silence.
    cause: Option<String>,
    /// Would be master but for its sync group; why.
    pub wish: Option<String>,
}

impl Backup {
    pub fn until(down_at: Instant) -> Self {
        Backup { down_at, lower_since: None, cause: None, wish: None }
    }

    pub fn because(down_at: Instant, cause: &str) -> Self {
        Backup { cause: Some(cause.to_owned()), ..Backup::until(down_at) }
    }
}

impl Router {
    /// The timer ran out.
    pub(super) fn on_down(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let again = now.at + self.master_down_interval();
        let (master, grouped) = (self.master, self.grouped);
        let Phase::Backup(backup) = &mut self.phase else { return };
        let reason = backup.cause.take().unwrap_or_else(|| match master {
            Some((address, _)) => format!("no advertisement of {address} within the master down interval"),
            None => "no advertisement within the master down interval".into(),
        });
        if grouped {
            backup.down_at = again;
            backup.wish.get_or_insert(reason);
            out.push(Effect::Wishes);
        } else {
            self.become_master(now, &reason, out);
        }
    }

    /// Two that take turns must neither fill the log nor have everything published each time.
    fn hears_another(&mut self, now: Moment) {
        if self.told_anew.is_none_or(|at| now.at >= at + QUIET) {
            self.told_anew = Some(now.at);
            self.told.clear();
            self.transitions += 1;
        }
    }

    pub(super) fn backup_hears(&mut self, now: Moment, advert: Received, out: &mut Vec<Effect>) {
        let skew = self.skew_time(self.effective);
        let (own, config) = (self.effective, Arc::clone(&self.config));
        let (source, priority) = (advert.source, advert.priority);
        let of_other = self.master.is_some_and(|(known, theirs)| known != source && theirs >= own);
        let Phase::Backup(backup) = &mut self.phase else { return };
        if of_other && config.preempt && priority < own && priority != Priority::RELEASE {
            // The better master is about to make it yield: preempt_delay and the interval are not of it.
            return;
        }
        if advert.priority == Priority::RELEASE {
            backup.down_at = now.at + skew;
            backup.cause = Some(format!("{} released (priority 0)", advert.source));
            return;
        }
        let preemption_held = self.preemption_held;
        let Phase::Backup(backup) = &mut self.phase else { return };
        let held_back = if advert.priority >= own {
            backup.lower_since = None;
            true
        } else if config.priority == Priority::OWNER {
            // RFC 9568 §6.1: whatever Preempt_Mode says.
            false
        } else if !config.preempt || preemption_held {
            true
        } else {
            let since = *backup.lower_since.get_or_insert(now.at);
            now.at < since + config.preempt_delay
        };
        if !held_back {
            backup.cause = Some(format!("preempting {} with priority {}", advert.source, advert.priority));
            return;
        }
        (backup.cause, backup.wish) = (None, None);
        if config.version == Version::V3 {
            self.learnt = advert.interval;
        }
        let down_at = now.at + self.master_down_interval();
        if let Phase::Backup(backup) = &mut self.phase {
            backup.down_at = down_at;
        }
        if preemption_held && config.preempt && priority < own {
            let held = self.conditions.raise(now.at, Condition::PreemptionHeld, || {
                format!("{source} with priority {priority} stays master until its connections are known here")
            });
            self.tell(held.into_iter().collect(), out);
        }
        if self.master.is_none_or(|(known, _)| known != advert.source) {
            self.hears_another(now);
        }
        self.master = Some((advert.source, advert.priority));
        if self.grouped {
            out.push(Effect::HearsMaster);
        }
    }
}
