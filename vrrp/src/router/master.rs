//! The state Master (RFC 3768 §6.4.3, RFC 9568 §6.4.3): adverts in rhythm, announcements, other masters, and
//! pauses of the process.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backup::Backup;
use super::{Condition, Effect, Moment, Phase, Router, Yield};
use crate::engine::{Action, DeviceAddress};
use crate::receive::{Received, Refusal};
use crate::timers;
use crate::types::{InstanceConfig, Priority, State, Version};

/// Shortest gap between two answers to lower-priority advertisements: one answer to each would
/// make the router a 1:1 reflector.
const ANSWER_GAP: Duration = Duration::from_millis(100);
/// The same between announcements and events for lower priorities: a burst is many frames for each address.
const BURST_GAP: Duration = Duration::from_secs(1);
/// Shortest gap between an advertisement and one that answers a release, and the least of it where intervals are of
/// some centiseconds.
const RELEASE_GAP: Duration = Duration::from_millis(5);
const LEAST_RELEASE_GAP: Duration = Duration::from_micros(500);
/// Gratuitous ARP waits for the addresses to be on the interface, at most this long.
const ANNOUNCE_LIMIT: Duration = Duration::from_millis(250);
/// So many advertisements of another master, after we answered the first, are no accident.
const SPLIT_BRAIN: u32 = 3;
/// Another master is gone when it was not heard for three intervals, and for this long.
const CONTENTION: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default)]
pub(super) struct Master {
    pub advert_at: Option<Instant>,
    /// Addresses were asked for and no answer came yet.
    pub announce_at: Option<Instant>,
    second_burst_at: Option<Instant>,
    refresh_at: Option<Instant>,
    extra_at: Option<Instant>,
    lower_burst_at: Option<Instant>,
    answered_at: Option<Instant>,
    announced_at: Option<Instant>,
    rival: Option<Rival>,
}

/// Another master.
#[derive(Clone, Copy, Debug)]
struct Rival {
    adverts: u32,
    gone_at: Instant,
}

impl Master {
    pub fn deadline(&self) -> Option<Instant> {
        let gone_at = self.rival.map(|rival| rival.gone_at);
        let Master { advert_at, announce_at, second_burst_at, refresh_at, extra_at, lower_burst_at, .. } =
            self;
        [*advert_at, *announce_at, *second_burst_at, *refresh_at, *extra_at, *lower_burst_at, gone_at]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Router {
    pub(super) fn become_master(&mut self, now: Moment, reason: &str, out: &mut Vec<Effect>) {
        let garp = self.config.garp;
        let from = self.state();
        self.learnt = self.config.advert_interval;
        self.phase = Phase::Master(Master {
            advert_at: Some(now.at + self.config.advert_interval),
            announce_at: Some(now.at + ANNOUNCE_LIMIT),
            second_burst_at: (!garp.delay.is_zero()).then(|| now.at + garp.delay),
            refresh_at: (!garp.refresh.is_zero()).then(|| now.at + garp.delay + garp.refresh),
            extra_at: self.config.garp_extra.as_ref().map(|extra| now.at + garp.delay + extra.interval),
            ..Master::default()
        });
        self.counters.became_master += 1;
        self.last_sent = Some(now.at);
        self.told.clear();
        self.send_advert(now, self.effective, None, out);
        let hold = Arc::clone(&self.addresses);
        out.push(Effect::Act(Action::SetAddresses { router: self.id, holds: true, hold, purge: None }));
        let transition = self.transition(from, State::Master, reason);
        out.push(transition);
        if !self.conditions.heard_any() {
            let no_peer = self.conditions.raise(now.at, Condition::NoPeer, || {
                "no other router of this virtual router was heard since the start".into()
            });
            self.tell(no_peer.into_iter().collect(), out);
        }
    }

    pub(super) fn on_master_deadline(&mut self, now: Moment, sooner: Duration, out: &mut Vec<Effect>) {
        let interval = self.config.advert_interval;
        let garp = self.config.garp;
        let Phase::Master(master) = &mut self.phase else { return };
        if let Some(at) = due(&mut master.advert_at, now.at) {
            // Keeps the rhythm, unless more than a whole interval was slept through.
            let next = at + interval.saturating_sub(sooner);
            master.advert_at = Some(if next > now.at { next } else { now.at + interval });
            self.send_advert(now, self.effective, Some(at), out);
        }
        let Phase::Master(master) = &mut self.phase else { return };
        if due(&mut master.announce_at, now.at).is_some() {
            out.push(Effect::Announce(garp.repeat));
        }
        if due(&mut master.second_burst_at, now.at).is_some() {
            out.push(Effect::Announce(garp.repeat));
        }
        if due(&mut master.lower_burst_at, now.at).is_some() {
            out.push(Effect::Announce(garp.lower_priority_repeat));
        }
        if due(&mut master.refresh_at, now.at).is_some() {
            master.refresh_at = (!garp.refresh.is_zero()).then(|| now.at + garp.refresh);
            out.push(Effect::Announce(garp.refresh_repeat));
        }
        if due(&mut master.extra_at, now.at).is_some() {
            master.extra_at = self.config.garp_extra.as_ref().map(|extra| now.at + extra.interval);
            out.push(Effect::AnnounceExtra);
        }
        if master.rival.is_some_and(|rival| now.at >= rival.gone_at) {
            master.rival = None;
            self.contention_is_over(out);
        }
        let mut over = Vec::new();
        self.conditions.expire(now.at, &mut over);
        self.tell(over, out);
    }

    /// Hosts may have learnt the other master's hardware address last.
    fn contention_is_over(&mut self, out: &mut Vec<Effect>) {
        let Some(over) = self.conditions.clear(Condition::SplitBrain) else { return };
        self.tell(vec![over], out);
        out.push(Effect::Announce(self.config.garp.repeat));
    }

    /// RFC 3768 §6.4.3; lower priorities are answered as RFC 9568 §6.4.3 says and keepalived does.
    pub(super) fn master_hears(&mut self, now: Moment, advert: Received, out: &mut Vec<Effect>) {
        let source = self.situation.source;
        if advert.priority == Priority::RELEASE {
            let interval = self.config.advert_interval;
            // A backup that must not take over has our priority at most, so it waits twice as long and more.
            let gap = (self.skew_time(self.effective) / 2).clamp(LEAST_RELEASE_GAP, RELEASE_GAP);
            let soon = self.last_sent.filter(|sent| now.at < *sent + gap);
            if let Phase::Master(master) = &mut self.phase {
                master.advert_at = Some(soon.map_or(now.at + interval, |sent| sent + gap));
            }
            if soon.is_none() {
                self.send_advert(now, self.effective, None, out);
            }
            return;
        }
        if (advert.priority, Some(advert.source)) > (self.effective, source) {
            if self.config.higher_priority_send_advert {
                self.send_advert(now, self.effective, None, out);
            }
            if self.config.version == Version::V3 {
                self.learnt = advert.interval;
            }
            let reason = format!("advertisement of {} with priority {}", advert.source, advert.priority);
            let how = Yield { release: false, soon: None, reason };
            self.yield_to_backup(now, &how, out);
            self.master = Some((advert.source, advert.priority));
            out.push(Effect::Yielded(how));
            return;
        }
        self.answer_lower(now, out);
        self.rival(now, advert.source, advert.interval, || "does not yield to ours".into(), out);
    }

    /// An advertisement of our virtual router that we must not use comes from a master too.
    pub(super) fn rival_refused(
        &mut self,
        now: Moment,
        cause: Refusal,
        source: IpAddr,
        out: &mut Vec<Effect>,
    ) {
        let interval = self.config.advert_interval;
        self.rival(now, source, interval, || format!("is refused ({})", cause.as_str()), out);
    }

    fn rival(
        &mut self,
        now: Moment,
        source: IpAddr,
        interval: Duration,
        what: impl FnOnce() -> String,
        out: &mut Vec<Effect>,
    ) {
        let longest = interval.max(self.config.advert_interval);
        let Phase::Master(master) = &mut self.phase else { return };
        let adverts = master.rival.map_or(0, |rival| rival.adverts).saturating_add(1);
        let gone_at = now.at + (longest * 3).max(CONTENTION);
        master.rival = Some(Rival { adverts, gone_at });
        if adverts >= SPLIT_BRAIN {
            let split = self.conditions.raise(now.at, Condition::SplitBrain, || {
                format!("{source} goes on sending as a master and {}", what())
            });
            self.tell(split.into_iter().collect(), out);
        }
    }

    fn answer_lower(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let config = Arc::clone(&self.config);
        let Phase::Master(master) = &mut self.phase else { return };
        if master.answered_at.is_some_and(|at| now.at < at + ANSWER_GAP) {
            return;
        }
        master.answered_at = Some(now.at);
        if !config.lower_priority_no_advert {
            self.send_advert(now, self.effective, None, out);
        }
        let Phase::Master(master) = &mut self.phase else { return };
        if master.announced_at.is_some_and(|at| now.at < at + BURST_GAP) {
            return;
        }
        master.announced_at = Some(now.at);
        self.announce_lower(now, out);
        out.push(Effect::Act(Action::HeardLowerPriority {
            router: self.id,
            instance: Arc::clone(&config.name),
            priority: self.effective,
        }));
        if self.grouped {
            out.push(Effect::AnnouncesLower);
        }
    }

    /// Who listened to the other master may have learnt its hardware address.
    pub(super) fn announce_lower(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let garp = self.config.garp;
        let Phase::Master(master) = &mut self.phase else { return };
        if garp.lower_priority_repeat == 0 {
            return;
        }
        if !garp.lower_priority_delay.is_zero() {
            master.lower_burst_at = Some(now.at + garp.lower_priority_delay);
        }
        out.push(Effect::Announce(garp.lower_priority_repeat));
    }

    /// After a pause in which a peer must have taken over, going on would be a fight between two masters: the
    /// router listens for an interval first. An interval that was missed is no pause, even where peers wait for one
    /// only (down_timer_adverts 1).
    pub(super) fn step_back_after_pause(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let (Phase::Master(_), Some(sent)) = (&self.phase, self.last_sent) else { return };
        let config = &self.config;
        let first = config.late_backup.unwrap_or(Priority(254));
        let (version, interval) = (config.version, config.advert_interval);
        let adverts = config.down_timer_adverts.max(2);
        let dead = timers::master_down_interval(version, interval, adverts, first);
        let silent = now.at.saturating_duration_since(sent);
        if silent <= dead {
            return;
        }
        let reason = format!(
            "paused for {} ms, longer than peers wait for a master ({} ms)",
            silent.as_millis(),
            dead.as_millis()
        );
        self.counters.pauses += 1;
        let how = Yield { release: false, soon: Some(interval + self.skew_time(self.effective)), reason };
        self.yield_to_backup(now, &how, out);
        out.push(Effect::Yielded(how));
    }

    pub(super) fn yield_to_backup(&mut self, now: Moment, how: &Yield, out: &mut Vec<Effect>) {
        if how.release {
            self.send_advert(now, Priority::RELEASE, None, out);
        }
        let wait = how.soon.unwrap_or_else(|| self.master_down_interval());
        self.leave_master(State::Backup, &how.reason, out);
        self.phase = Phase::Backup(match how.soon {
            Some(_) => Backup::because(now.at + wait, &format!("no other master after: {}", how.reason)),
            None => Backup::until(now.at + wait),
        });
    }

    pub(super) fn leave_master(&mut self, to: State, reason: &str, out: &mut Vec<Effect>) {
        self.counters.released_master += 1;
        self.told.clear();
        self.master = None;
        self.release_addresses(out);
        let transition = self.transition(State::Master, to, reason);
        out.push(transition);
        let over = self.conditions.clear(Condition::SplitBrain);
        self.tell(over.into_iter().collect(), out);
    }

    /// What a reload changes in place.
    pub(super) fn reconfigure_master(
        &mut self,
        now: Moment,
        old: &InstanceConfig,
        before: &Arc<[DeviceAddress]>,
        on_wire: bool,
        out: &mut Vec<Effect>,
    ) {
        let garp = self.config.garp;
        let interval = self.config.advert_interval;
        let after = Arc::clone(&self.addresses);
        let Phase::Master(master) = &mut self.phase else { return };
        if old.garp.refresh != garp.refresh {
            master.refresh_at = (!garp.refresh.is_zero()).then(|| now.at + garp.refresh);
        }
        if old.garp_extra != self.config.garp_extra {
            master.extra_at = self.config.garp_extra.as_ref().map(|extra| now.at + extra.interval);
        }
        if on_wire {
            master.advert_at = Some(now.at + interval);
        }
        if *before != after {
            if after.iter().any(|address| !before.contains(address)) {
                master.announce_at = Some(now.at + ANNOUNCE_LIMIT);
            }
            let purge = Some(Arc::clone(before));
            out.push(Effect::Act(Action::SetAddresses { router: self.id, holds: true, hold: after, purge }));
        }
        if on_wire {
            self.send_advert(now, self.effective, None, out);
        }
    }
}

/// Takes a deadline that has come.
fn due(at: &mut Option<Instant>, now: Instant) -> Option<Instant> {
    at.take_if(|at| now >= *at)
}
