//! One virtual router (RFC 3768 §6.4, RFC 9568 §6.4, with keepalived's FAULT): states, deadlines, who wins.
//!
//! Here: a value fed with events of one virtual router. Not here: which router a datagram is for, interfaces
//! and trackers, sync groups (`engine`), pacing of gratuitous ARP (`engine::announce`), octets (`wire`).

mod backup;
mod conditions;
mod fault;
mod master;
mod packets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::Session;
use crate::engine::{Action, DeviceAddress, RouterId};
use crate::receive::{self, ChecksumForm, Received, Refusal};
use crate::timers;
use crate::types::{Delivery, IfIndex, InstanceConfig, Priority, State, Version};

use backup::Backup;
use conditions::{Change, Conditions};
use master::Master;

pub use conditions::{Condition, Heard, Standing};
pub(crate) use fault::Situation;
pub use fault::{Contribution, Fault, Problem, Tracked};

/// Refusals that are told, by cause and sender: at most so many until the master changes.
const TOLD: usize = 64;

/// Now, on the clock of deadlines and on that of people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub at: Instant,
    /// Since 1970.
    pub unix: Duration,
}

/// What happened, as one virtual router sees it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// May take part from now on; `resume`: it is master already; `hold`: nobody takes over before.
    Begin { resume: bool, hold: Duration },
    /// Time has passed; harmless when early, late or repeated. The next advert, if one is due, is to come so much
    /// sooner than the interval says.
    Deadline { sooner: Duration },
    /// An acceptable advertisement.
    Advert(Received),
    /// One that is not.
    Refused(Refusal, IpAddr),
    /// Surroundings may have changed; the reason in words.
    Situation(Situation, String),
    /// All members of the sync group wish to be master.
    Elect,
    /// Another member of the sync group left MASTER.
    Yield(Yield),
    /// The addresses asked for last are on their interfaces.
    AddressesSet,
    /// Somebody removed one of our addresses.
    AddressLost(String),
    /// A master of a lower priority is let be, or no more.
    HoldPreemption(bool),
    /// Takes part no more; `deleted`: by a reload.
    Stop { deleted: bool },
}

/// How a master leaves for Backup, so that its sync group leaves alike.
#[derive(Clone, Debug)]
pub(crate) struct Yield {
    /// With a priority-0 advertisement.
    pub release: bool,
    /// Comes back as soon as a master would have been heard, not after the whole master down interval.
    pub soon: Option<Duration>,
    /// In words.
    pub reason: String,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Act(Action),
    /// So many gratuitous ARP requests or neighbour advertisements for each address.
    Announce(u32),
    /// One gratuitous ARP or neighbour advertisement for each address on the interfaces of garp_extra_if.
    AnnounceExtra,
    /// One for the source address of unicast advertisements.
    AnnounceSource,
    /// Forget those that wait.
    Silence,
    /// A member of a sync group would be master now.
    Wishes,
    /// A member of a sync group that is Backup heard a master that it lets be.
    HearsMaster,
    /// A member of a sync group left MASTER for Backup.
    Yielded(Yield),
}

/// State with its deadlines.
#[derive(Clone, Debug)]
enum Phase {
    Initialize,
    Backup(Backup),
    Master(Master),
    Fault,
    Stopped,
}

/// Numbers since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Adverts sent (one for all unicast peers).
    pub sent: u64,
    /// Adverts accepted.
    pub received: u64,
    /// Times it became master.
    pub became_master: u64,
    /// Times it left MASTER.
    pub released_master: u64,
    /// Priority-0 adverts sent.
    pub priority_zero_sent: u64,
    /// Priority-0 adverts accepted.
    pub priority_zero_received: u64,
    /// Times it stepped back after a pause of the process.
    pub pauses: u64,
    /// Used although the address list was another one.
    pub address_list: u64,
    /// Used although the interval was another one (version 3).
    pub interval: u64,
    /// Used although from no unicast_peer.
    pub unlisted_peer: u64,
    /// Used although not signed (auth_hmac, mode permissive or receive-only).
    pub unsigned: u64,
    /// Version 3 over IPv4 with a checksum without pseudo header.
    pub checksum_without_pseudo_header: u64,
    /// Version 3 over IPv4 with the checksum of old unicast peers.
    pub old_unicast_checksum: u64,
    /// Refusals by cause.
    pub refused: BTreeMap<Refusal, u64>,
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

    /// Handle of this virtual router; stays over a reload that keeps it.
    pub fn id(&self) -> RouterId {
        self.id
    }

    /// Configuration.
    pub fn config(&self) -> &InstanceConfig {
        &self.config
    }

    pub(crate) fn shared_config(&self) -> Arc<InstanceConfig> {
        Arc::clone(&self.config)
    }

    /// State.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Initialize | Phase::Stopped => State::Initialize,
            Phase::Backup(_) => State::Backup,
            Phase::Master(_) => State::Master,
            Phase::Fault => State::Fault,
        }
    }

    /// Priority with the trackers' contributions, 1..=254; 255 for the owner.
    pub fn effective_priority(&self) -> Priority {
        self.effective
    }

    /// The master's address and priority as far as known; our own while we are.
    pub fn master(&self) -> Option<(IpAddr, Priority)> {
        match self.phase {
            Phase::Master(_) => self.situation.source.map(|source| (source, self.effective)),
            Phase::Backup(_) => self.master,
            _ => None,
        }
    }

    /// When the last acceptable advertisement came.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// Why it takes no part.
    pub fn faults(&self) -> &[Fault] {
        &self.situation.faults
    }

    /// What is tracked and what it does to the priority.
    pub fn contributions(&self) -> &[Contribution] {
        &self.situation.contributions
    }

    /// Numbers.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is wrong around it.
    pub fn conditions(&self) -> impl Iterator<Item = (Condition, &Standing)> {
        self.conditions.standing()
    }

    /// Other routers of this virtual router, at most 8.
    pub fn heard(&self) -> &[Heard] {
        self.conditions.heard()
    }

    /// Goes up with every change that a reader of this value can see.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Goes up with each change of state, priority, faults, configuration or conditions.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Index of the interface, if it is there.
    pub fn interface(&self) -> Option<IfIndex> {
        self.situation.interface
    }

    /// Index of the interface below its own one, if it is there.
    pub fn parent(&self) -> Option<IfIndex> {
        self.situation.parent
    }

    /// Whether a master of a lower priority is let be for now.
    pub(crate) fn is_preemption_held(&self) -> bool {
        self.preemption_held
    }

    /// Source address of the adverts.
    pub fn source(&self) -> Option<IpAddr> {
        self.situation.source
    }

    /// Its addresses with their interfaces, advertised ones first.
    pub fn addresses(&self) -> &Arc<[DeviceAddress]> {
        &self.addresses
    }

    /// Addresses it holds now: all while master, else none.
    pub fn held(&self) -> Arc<[DeviceAddress]> {
        match self.phase {
            Phase::Master(_) => Arc::clone(&self.addresses),
            _ => Arc::default(),
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

    /// Feeds one event and appends what it causes to `out`.
    pub(crate) fn on_event(&mut self, now: Moment, event: Event, out: &mut Vec<Effect>) {
        self.revision += 1;
        if !matches!(event, Event::Begin { .. } | Event::Stop { .. } | Event::Yield(_)) {
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

    /// Goes on with another configuration of the same identity. What did not change goes on: the rhythm of
    /// the adverts, the timer of a Backup.
    pub(crate) fn reconfigure(
        &mut self,
        now: Moment,
        config: Arc<InstanceConfig>,
        situation: Situation,
        out: &mut Vec<Effect>,
    ) {
        if *self.config != *config {
            self.step_back_after_pause(now, out);
        }
        let old = std::mem::replace(&mut self.config, config);
        self.revision += 1;
        if *old == *self.config {
            self.adapt(now, situation, "reload", out);
            return;
        }
        self.transitions += 1;
        let before = Arc::clone(&self.addresses);
        let old_octets = std::mem::take(&mut self.address_octets);
        let old_down = self.down_interval_of(&old);
        self.address_octets = receive::address_octets(&self.config);
        let after = DeviceAddress::all_of(&self.config);
        if *before != *after {
            self.addresses = after.into();
        }
        let priority = self.effective;
        // What a master that is heard said of its interval holds on.
        let heard = self.master.is_some() && self.listens();
        if old.version != self.config.version || !heard {
            self.learnt = self.config.advert_interval;
        }
        if old.authentication != self.config.authentication {
            self.session = Session::default();
        }
        self.adapt(now, situation, "reload", out);
        let on_wire = old.advert_interval != self.config.advert_interval
            || old_octets != self.address_octets
            || old.authentication != self.config.authentication
            || old.delivery != self.config.delivery
            || old.version != self.config.version
            || priority != self.effective;
        let down_at = self.waits_from(now) + self.master_down_interval();
        let heard = heard && self.config.version == Version::V3;
        let other_adverts = old.down_timer_adverts != self.config.down_timer_adverts;
        let other_wait = old_down != self.down_interval_of(&self.config) && (!heard || other_adverts);
        match &mut self.phase {
            Phase::Master(_) => self.reconfigure_master(now, &old, &before, on_wire, out),
            // The priority's part was moved by `adapt`.
            Phase::Backup(backup) if other_wait => {
                backup.down_at = down_at;
            }
            _ => {}
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
            let was_fault = matches!(self.phase, Phase::Fault);
            self.learnt = self.config.advert_interval;
            let from = self.waits_from(now);
            if self.begins_as_master && from == now.at {
                self.become_master(now, "address owner", out);
                return;
            }
            let wait = if self.begins_as_master { Duration::ZERO } else { self.master_down_interval() };
            self.enter(State::Backup, reason, out);
            self.phase = Phase::Backup(Backup::until(from + wait));
            if was_fault && matches!(self.config.delivery, Delivery::Unicast { .. }) {
                out.push(Effect::AnnounceSource);
            }
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
        if self.begun {
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

    fn on_advert(&mut self, now: Moment, advert: Received, out: &mut Vec<Effect>) {
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

    fn tell(&mut self, changes: Vec<Change>, out: &mut Vec<Effect>) {
        for Change { condition, active, detail } in changes {
            self.transitions += 1;
            let instance = Arc::clone(&self.config.name);
            out.push(Effect::Act(Action::Condition { router: self.id, instance, condition, active, detail }));
        }
    }

    fn on_refused(&mut self, now: Moment, cause: Refusal, source: IpAddr, out: &mut Vec<Effect>) {
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

    /// What a configuration makes of the wait, priority aside.
    fn down_interval_of(&self, config: &InstanceConfig) -> Duration {
        timers::master_down_interval(
            config.version,
            config.advert_interval,
            config.down_timer_adverts,
            Priority::OWNER,
        )
    }
}
