//! One virtual router (RFC 3768 §6.4, RFC 9568 §6.4, with keepalived's FAULT): states, deadlines, who wins.
//!
//! Here: a value fed with events of one virtual router, and what they do to its state. Not here: its states in
//! detail (`backup`, `master`), adverts that come (`hearing`) and go (`packets`), another configuration
//! (`reconfigure`), which router a datagram is for, interfaces and trackers, sync groups (`engine`), pacing of
//! gratuitous ARP (`engine::announce`), octets (`wire`).

mod backup;
mod conditions;
mod counters;
mod event;
mod fault;
mod hearing;
mod master;
mod packets;
mod reconfigure;
mod view;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::Session;
use crate::engine::{Action, DeviceAddress, RouterId};
use crate::receive::{self, Refusal};
use crate::timers;
use crate::types::{Delivery, InstanceConfig, Priority, State, Version};

use backup::Backup;
use conditions::{Change, Conditions};
use master::Master;

pub use conditions::{Condition, Heard, Standing};
pub use counters::Counters;
pub(crate) use event::{Effect, Event, Moment, Yield};
pub(crate) use fault::Situation;
pub use fault::{Contribution, Fault, Problem, Tracked};

/// State with its deadlines.
#[derive(Clone, Debug)]
enum Phase {
    Initialize,
    Backup(Backup),
    Master(Master),
    Fault,
    Stopped,
}

/// A virtual router.
#[derive(Clone, Debug)]
pub struct Router {
    id: RouterId,
    config: Arc<InstanceConfig>,
    /// The addresses with their interfaces.
    addresses: Arc<[DeviceAddress]>,
    /// Octets of the advertised ones.
    address_octets: Vec<u8>,
    /// What a master's membership in a sync group decides: it may not go alone, and it begins as Backup
    /// unless all members own their addresses.
    grouped: bool,
    begins_as_master: bool,
    phase: Phase,
    situation: Situation,
    effective: Priority,
    session: Session,
    heard_old_checksum: bool,
    /// Version 3: interval of the master as it was heard last (RFC 9568 §6.1, Active_Adver_Interval).
    learnt: Duration,
    packet_id: u16,
    last_sent: Option<Instant>,
    master: Option<(IpAddr, Priority)>,
    last_heard: Option<Instant>,
    conditions: Conditions,
    counters: Counters,
    told: BTreeSet<(Refusal, IpAddr)>,
    /// When `told` was emptied last for another master that was heard.
    told_anew: Option<Instant>,
    begun: bool,
    /// As with nopreempt, for now.
    preemption_held: bool,
    /// Nobody takes over before (vrrp_startup_delay).
    held_until: Option<Instant>,
    revision: u64,
    /// Changes that a reader must see at once, not with the next counters.
    transitions: u64,
}

impl Router {
    pub(crate) fn new(id: RouterId, config: Arc<InstanceConfig>) -> Self {
        Router {
            id,
            effective: config.priority,
            learnt: config.advert_interval,
            addresses: DeviceAddress::all_of(&config).into(),
            address_octets: receive::address_octets(&config),
            grouped: false,
            begins_as_master: config.priority == Priority::OWNER,
            config,
            phase: Phase::Initialize,
            situation: Situation::default(),
            session: Session::default(),
            heard_old_checksum: false,
            packet_id: 1,
            last_sent: None,
            master: None,
            last_heard: None,
            conditions: Conditions::default(),
            counters: Counters::default(),
            told: BTreeSet::new(),
            told_anew: None,
            begun: false,
            preemption_held: false,
            held_until: None,
            revision: 0,
            transitions: 0,
        }
    }

    pub(crate) fn is_situated(&self, situation: &Situation) -> bool {
        self.situation == *situation
    }

    /// `grouped`: it is of a sync group; `begins_as_master`: all of its group own their addresses, or it is
    /// of none and owns its own.
    pub(crate) fn join(&mut self, grouped: bool, begins_as_master: bool) {
        (self.grouped, self.begins_as_master) = (grouped, begins_as_master);
    }

    /// When the next `Event::Deadline` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Backup(backup) => Some(backup.down_at),
            Phase::Master(master) => master.deadline(),
            Phase::Initialize | Phase::Fault | Phase::Stopped => None,
        }
    }

    /// When an advert was due that is due now.
    pub(crate) fn advert_due(&self, now: Instant) -> Option<Instant> {
        let Phase::Master(master) = &self.phase else { return None };
        master.advert_at.filter(|at| *at <= now)
    }

    /// Whether adverts are looked at at all.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.phase, Phase::Backup(_) | Phase::Master(_))
    }

    /// Whether it would be master but for its sync group.
    pub(crate) fn wishes(&self) -> bool {
        matches!(self.phase, Phase::Backup(Backup { wish: Some(_), .. }))
    }

    /// Feeds one event and appends what it causes to `out`.
    pub(crate) fn on_event(&mut self, now: Moment, event: Event, out: &mut Vec<Effect>) {
        self.revision += 1;
        // What a sync group does is not of one member: each looks at its own deadline.
        let of_group = matches!(event, Event::Yield(_) | Event::Elect | Event::AnnounceLower);
        if !of_group && !matches!(event, Event::Begin { .. } | Event::Stop { .. }) {
            self.step_back_after_pause(now, out);
        }
        match event {
            Event::Begin { resume, hold } => self.begin(now, resume, hold, out),
            Event::Deadline { sooner } => self.on_deadline(now, sooner, out),
            Event::Advert(advert) => self.on_advert(now, advert, out),
            Event::Refused(cause, source) => self.on_refused(now, cause, source, out),
            Event::Situation(situation, reason) => self.adapt(now, situation, &reason, out),
            Event::Elect => {
                if let Phase::Backup(backup) = &mut self.phase
                    && let Some(reason) = backup.wish.take()
                {
                    self.become_master(now, &reason, out);
                }
            }
            Event::Yield(how) => {
                if matches!(self.phase, Phase::Master(_)) {
                    self.yield_to_backup(now, &how, out);
                } else if let Phase::Backup(backup) = &mut self.phase {
                    backup.wish = None;
                }
            }
            Event::AnnounceLower => self.announce_lower(now, out),
            Event::AddressesSet => {
                if let Phase::Master(master) = &mut self.phase
                    && master.announce_at.take().is_some()
                {
                    out.push(Effect::Announce(self.config.garp.repeat));
                }
            }
            Event::AddressLost(reason) => {
                if matches!(self.phase, Phase::Master(_)) {
                    let skew = self.skew_time(self.effective);
                    let how = Yield { release: true, soon: Some(skew), reason };
                    self.yield_to_backup(now, &how, out);
                    out.push(Effect::Yielded(how));
                }
            }
            Event::HoldPreemption(held) => {
                self.preemption_held = held;
                let over = self.conditions.clear(Condition::PreemptionHeld).filter(|_| !held);
                self.tell(over.into_iter().collect(), out);
            }
            Event::Stop { deleted } => self.stop(now, deleted, out),
        }
    }

    fn begin(&mut self, now: Moment, resume: bool, hold: Duration, out: &mut Vec<Effect>) {
        if self.begun {
            return;
        }
        self.begun = true;
        self.held_until = Some(now.at + hold);
        if resume && self.situation.waits_only() {
            // The addresses are there and peers still count our last advert: nothing is taken away,
            // and a script's first result is not waited for. It must hear who else is.
            self.held_until = None;
            self.become_master(now, "resumed after a restart", out);
            return;
        }
        // What an earlier process left would answer beside the real master. An owner's addresses
        // are its own and become ours at once.
        if self.config.priority != Priority::OWNER {
            self.purge(out);
        }
        self.settle(now, "start", out);
    }

    /// From when on it may wait for a master: now, or when the start-up delay is over.
    fn waits_from(&self, now: Moment) -> Instant {
        self.held_until.map_or(now.at, |until| until.max(now.at))
    }

    /// Leaves Initialize or Fault as far as the situation allows.
    fn settle(&mut self, now: Moment, reason: &str, out: &mut Vec<Effect>) {
        if self.situation.faults.is_empty() {
            if matches!((&self.phase, &self.config.delivery), (Phase::Fault, Delivery::Unicast { .. })) {
                out.push(Effect::AnnounceSource);
            }
            self.learnt = self.config.advert_interval;
            let from = self.waits_from(now);
            if self.begins_as_master && from == now.at {
                self.become_master(now, "address owner", out);
                return;
            }
            let wait = if self.begins_as_master { Duration::ZERO } else { self.master_down_interval() };
            self.enter(State::Backup, reason, out);
            self.phase = Phase::Backup(Backup::until(from + wait));
        } else if matches!(self.phase, Phase::Initialize) && !self.situation.waits_only() {
            self.enter(State::Fault, &self.situation.fault_text(), out);
            self.phase = Phase::Fault;
        }
    }

    fn adapt(&mut self, now: Moment, situation: Situation, reason: &str, out: &mut Vec<Effect>) {
        if self.situation != situation {
            self.transitions += 1;
        }
        let priority = situation.priority.unwrap_or(self.config.priority);
        let source_moved = self.situation.source != situation.source;
        let is_master = matches!(self.phase, Phase::Master(_));
        if is_master && !situation.waits_only() && situation.interface == self.situation.interface {
            // From where it sent so far: the address that is gone may be its source.
            self.send_advert(now, Priority::RELEASE, None, out);
        }
        self.situation = situation;
        if priority != self.effective {
            self.change_priority(now, priority, reason, out);
        }
        if !self.begun {
            return;
        }
        let waits_only = self.situation.waits_only();
        match self.phase {
            Phase::Initialize | Phase::Fault => self.settle(now, reason, out),
            Phase::Backup(_) if !waits_only => {
                self.enter(State::Fault, &self.situation.fault_text(), out);
                self.phase = Phase::Fault;
            }
            Phase::Master(_) if !waits_only => {
                self.leave_master(State::Fault, &self.situation.fault_text(), out);
                self.phase = Phase::Fault;
            }
            Phase::Master(_) if source_moved => {
                // Peers compare source addresses at equal priority: let them hear the new one.
                self.send_advert(now, self.effective, None, out);
            }
            _ => {}
        }
    }

    fn change_priority(&mut self, now: Moment, to: Priority, reason: &str, out: &mut Vec<Effect>) {
        let before = self.skew_time(self.effective);
        let after = self.skew_time(to);
        let from = std::mem::replace(&mut self.effective, to);
        if let Phase::Backup(backup) = &mut self.phase {
            // Only the skew changes: what was waited so far counts.
            let moved = backup.down_at + after;
            backup.down_at = moved.checked_sub(before).unwrap_or(now.at);
        }
        if self.begun && !matches!(self.phase, Phase::Stopped) {
            out.push(Effect::Act(Action::PriorityChanged {
                router: self.id,
                instance: Arc::clone(&self.config.name),
                from,
                to,
                reason: reason.into(),
            }));
        }
    }

    fn on_deadline(&mut self, now: Moment, sooner: Duration, out: &mut Vec<Effect>) {
        match &self.phase {
            Phase::Backup(backup) if now.at >= backup.down_at => self.on_down(now, out),
            Phase::Master(_) => self.on_master_deadline(now, sooner, out),
            _ => {}
        }
    }

    fn tell(&mut self, changes: Vec<Change>, out: &mut Vec<Effect>) {
        for Change { condition, active, detail } in changes {
            self.transitions += 1;
            let instance = Arc::clone(&self.config.name);
            out.push(Effect::Act(Action::Condition { router: self.id, instance, condition, active, detail }));
        }
    }

    fn stop(&mut self, now: Moment, deleted: bool, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        if matches!(self.phase, Phase::Master(_)) {
            self.send_advert(now, Priority::RELEASE, None, out);
            self.release_addresses(out);
        }
        self.transitions += 1;
        self.phase = Phase::Stopped;
        if !self.begun {
            return;
        }
        out.push(Effect::Act(Action::Stopped {
            router: self.id,
            instance: Arc::clone(&self.config.name),
            priority: self.effective,
            deleted,
        }));
    }

    fn release_addresses(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Silence);
        self.purge(out);
    }

    fn purge(&self, out: &mut Vec<Effect>) {
        let purge = Some(Arc::clone(&self.addresses));
        let (holds, hold) = (false, Arc::default());
        out.push(Effect::Act(Action::SetAddresses { router: self.id, holds, hold, purge }));
    }

    fn enter(&mut self, to: State, reason: &str, out: &mut Vec<Effect>) {
        self.master = None;
        out.push(self.transition(self.state(), to, reason));
    }

    fn transition(&mut self, from: State, to: State, reason: &str) -> Effect {
        self.transitions += 1;
        Effect::Act(Action::Transition {
            router: self.id,
            instance: Arc::clone(&self.config.name),
            from,
            to,
            priority: self.effective,
            reason: reason.into(),
        })
    }

    /// The interval that a Backup counts with: the master's in version 3, the own one in version 2.
    fn master_interval(&self) -> Duration {
        match self.config.version {
            Version::V2 => self.config.advert_interval,
            Version::V3 => self.learnt,
        }
    }

    fn skew_time(&self, priority: Priority) -> Duration {
        timers::skew_time(self.config.version, self.master_interval(), priority)
    }

    fn master_down_interval(&self) -> Duration {
        let adverts = self.config.down_timer_adverts;
        timers::master_down_interval(self.config.version, self.master_interval(), adverts, self.effective)
    }
}
