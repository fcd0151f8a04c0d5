//! One virtual router (RFC 3768 §6.4, with keepalived's FAULT): states, deadlines, who wins.
//!
//! Here: a value fed with events of one virtual router. Not here: which router a datagram is
//! for, interfaces and trackers (`engine`), pacing of gratuitous ARP (`engine::garp`), octets (`wire`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{Action, DeviceAddress, RouterId};
use crate::receive::{Received, Refusal};
use crate::timers;
use crate::types::{Delivery, IfIndex, InstanceConfig, Priority, State, TrackerId};
use crate::wire::advert::Advert;
use crate::wire::ipv4::{self, Header};

/// Shortest gap between two answers to lower-priority advertisements: one answer to each would
/// make the router a 1:1 reflector.
const ANSWER_GAP: Duration = Duration::from_millis(100);
/// Gratuitous ARP waits for the addresses to be on the interface, at most this long.
const ANNOUNCE_LIMIT: Duration = Duration::from_millis(250);

/// Why a virtual router cannot take part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The interface of the adverts, or of an address, is not there.
    InterfaceMissing(String),
    /// It is there and not up and running.
    InterfaceDown(String),
    /// It has no IPv4 address to send from.
    NoAddress(String),
    /// track_src_ip: the configured source is not on the interface.
    SourceMissing(Ipv4Addr, String),
    /// A tracked interface of weight 0 is down (with `reverse`: up).
    TrackedInterface(String, Problem),
    /// A tracked script of weight 0 failed (with `reverse`: succeeded).
    Tracker(TrackerId, Problem),
    /// A tracked script of weight 0 has no result yet: nothing is announced meanwhile.
    Waiting(TrackerId),
}

/// What is wrong with something tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It is bad.
    Bad,
    /// It is good, and tracked in reverse.
    Good,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::InterfaceMissing(name) => write!(f, "interface {name} does not exist"),
            Fault::InterfaceDown(name) => write!(f, "interface {name} is down"),
            Fault::NoAddress(name) => write!(f, "interface {name} has no IPv4 address"),
            Fault::SourceMissing(address, name) => write!(f, "source address {address} is not on {name}"),
            Fault::TrackedInterface(name, problem) => match problem {
                Problem::Missing => write!(f, "tracked interface {name} does not exist"),
                Problem::Bad => write!(f, "tracked interface {name} is down"),
                Problem::Good => write!(f, "tracked interface {name} is up (reverse)"),
            },
            Fault::Tracker(id, Problem::Good) => write!(f, "script {id} succeeded (reverse)"),
            Fault::Tracker(id, _) => write!(f, "script {id} failed"),
            Fault::Waiting(id) => write!(f, "waiting for the first result of script {id}"),
        }
    }
}

/// What surrounds a virtual router, as the engine works it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Index of the interface, if it is there.
    pub interface: Option<IfIndex>,
    /// Source address of the adverts.
    pub source: Option<Ipv4Addr>,
    /// Sorted.
    pub faults: Vec<Fault>,
    /// Configured priority with all contributions.
    pub priority: Option<Priority>,
}

impl Situation {
    fn waits_only(&self) -> bool {
        self.faults.iter().all(|fault| matches!(fault, Fault::Waiting(_)))
    }
}

/// What happened, as one virtual router sees it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// May take part from now on; `resume`: it is master already.
    Begin { resume: bool },
    /// Time has passed; harmless when early, late or repeated.
    Deadline,
    /// An acceptable advertisement.
    Advert(Received),
    /// Surroundings may have changed; the reason in words.
    Situation(Situation, String),
    /// The addresses asked for last are on their interfaces.
    AddressesSet,
    /// Somebody removed one of our addresses.
    AddressLost(String),
    /// Takes part no more; `deleted`: by a reload.
    Stop { deleted: bool },
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Act(Action),
    /// So many gratuitous ARP requests for each address.
    Announce(u32),
    /// Forget those that wait.
    Silence,
}

/// State with its deadlines.
#[derive(Clone, Debug)]
enum Phase {
    Initialize,
    Backup { down_at: Instant, preempt_at: Option<Instant>, cause: Option<String> },
    Master(Master),
    Fault,
    Stopped,
}

#[derive(Clone, Debug, Default)]
struct Master {
    advert_at: Option<Instant>,
    /// Addresses were asked for and no answer came yet.
    announce_at: Option<Instant>,
    second_burst_at: Option<Instant>,
    refresh_at: Option<Instant>,
    lower_burst_at: Option<Instant>,
    answered_at: Option<Instant>,
}

impl Master {
    fn deadline(&self) -> Option<Instant> {
        [self.advert_at, self.announce_at, self.second_burst_at, self.refresh_at, self.lower_burst_at]
            .into_iter()
            .flatten()
            .min()
    }
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
    /// Refusals by cause.
    pub refused: BTreeMap<Refusal, u64>,
}

/// A virtual router.
#[derive(Clone, Debug)]
pub struct Router {
    id: RouterId,
    config: Arc<InstanceConfig>,
    phase: Phase,
    situation: Situation,
    effective: Priority,
    packet_id: u16,
    master: Option<Ipv4Addr>,
    counters: Counters,
    told: BTreeSet<Refusal>,
    begun: bool,
    revision: u64,
}

impl Router {
    pub(crate) fn new(id: RouterId, config: Arc<InstanceConfig>) -> Self {
        Router {
            id,
            effective: config.priority,
            config,
            phase: Phase::Initialize,
            situation: Situation::default(),
            packet_id: 1,
            master: None,
            counters: Counters::default(),
            told: BTreeSet::new(),
            begun: false,
            revision: 0,
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

    /// State.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Initialize | Phase::Stopped => State::Initialize,
            Phase::Backup { .. } => State::Backup,
            Phase::Master(_) => State::Master,
            Phase::Fault => State::Fault,
        }
    }

    /// Priority with the trackers' contributions, 1..=254; 255 for the owner.
    pub fn effective_priority(&self) -> Priority {
        self.effective
    }

    /// The master's address as far as known; our own while we are.
    pub fn master(&self) -> Option<Ipv4Addr> {
        match self.phase {
            Phase::Master(_) => self.situation.source,
            Phase::Backup { .. } => self.master,
            _ => None,
        }
    }

    /// Why it takes no part.
    pub fn faults(&self) -> &[Fault] {
        &self.situation.faults
    }

    /// Numbers.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Goes up with every change that a reader of this value can see.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Index of the interface, if it is there.
    pub fn interface(&self) -> Option<IfIndex> {
        self.situation.interface
    }

    /// Source address of the adverts.
    pub fn source(&self) -> Option<Ipv4Addr> {
        self.situation.source
    }

    /// Addresses it holds now: all while master, else none.
    pub fn held(&self) -> Vec<DeviceAddress> {
        match self.phase {
            Phase::Master(_) => DeviceAddress::all_of(&self.config),
            _ => Vec::new(),
        }
    }

    pub(crate) fn is_situated(&self, situation: &Situation) -> bool {
        self.situation == *situation
    }

    /// When the next `Event::Deadline` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Backup { down_at, .. } => Some(*down_at),
            Phase::Master(master) => master.deadline(),
            Phase::Initialize | Phase::Fault | Phase::Stopped => None,
        }
    }

    /// Whether adverts are looked at at all.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.phase, Phase::Backup { .. } | Phase::Master(_))
    }

    /// Counts a refusal; `true` the first time of its cause since the last change of master.
    pub(crate) fn refuse(&mut self, cause: Refusal) -> bool {
        *self.counters.refused.entry(cause).or_default() += 1;
        self.revision += 1;
        self.told.insert(cause)
    }

    /// Feeds one event and appends what it causes to `out`.
    pub(crate) fn on_event(&mut self, now: Instant, event: Event, out: &mut Vec<Effect>) {
        self.revision += 1;
        match event {
            Event::Begin { resume } => self.begin(now, resume, out),
            Event::Deadline => self.on_deadline(now, out),
            Event::Advert(advert) => self.on_advert(now, advert, out),
            Event::Situation(situation, reason) => self.adapt(now, situation, &reason, out),
            Event::AddressesSet => {
                if let Phase::Master(master) = &mut self.phase
                    && master.announce_at.take().is_some()
                {
                    out.push(Effect::Announce(self.config.garp.repeat));
                }
            }
            Event::AddressLost(reason) => {
                if matches!(self.phase, Phase::Master(_)) {
                    self.send_advert(Priority::RELEASE, out);
                    let down_at = now + timers::skew_time(self.effective);
                    self.leave_master(State::Backup, &reason, out);
                    self.phase = Phase::Backup { down_at, preempt_at: None, cause: Some(reason) };
                }
            }
            Event::Stop { deleted } => self.stop(deleted, out),
        }
    }

    /// Goes on with another configuration of the same identity.
    pub(crate) fn reconfigure(
        &mut self,
        now: Instant,
        config: Arc<InstanceConfig>,
        situation: Situation,
        out: &mut Vec<Effect>,
    ) {
        if *self.config == *config {
            self.on_event(now, Event::Situation(situation, "reload".into()), out);
            return;
        }
        self.revision += 1;
        let before = DeviceAddress::all_of(&self.config);
        let old_interval = self.master_down_interval();
        self.config = config;
        self.adapt(now, situation, "reload", out);
        let after = DeviceAddress::all_of(&self.config);
        let interval = self.config.advert_interval;
        let new_interval = self.master_down_interval();
        match &mut self.phase {
            Phase::Master(master) => {
                master.advert_at = Some(now + interval);
                let added = after.iter().any(|address| !before.contains(address));
                if added {
                    master.announce_at = Some(now + ANNOUNCE_LIMIT);
                } else if !self.config.garp.refresh.is_zero() {
                    out.push(Effect::Announce(self.config.garp.repeat));
                }
                let refresh = self.config.garp.refresh;
                master.refresh_at = (!refresh.is_zero()).then(|| now + refresh);
                self.send_advert(self.effective, out);
                if before != after {
                    out.push(Effect::Act(Action::SetAddresses {
                        router: self.id,
                        hold: after,
                        purge: before,
                    }));
                }
            }
            Phase::Backup { down_at, .. } if old_interval != new_interval => *down_at = now + new_interval,
            _ => {}
        }
    }

    fn begin(&mut self, now: Instant, resume: bool, out: &mut Vec<Effect>) {
        if self.begun {
            return;
        }
        self.begun = true;
        if resume && self.situation.waits_only() {
            // The addresses are there and peers still count our last advert: nothing is taken away,
            // and a script's first result is not waited for.
            self.become_master(now, "resumed after a restart", out);
            return;
        }
        // What an earlier process left would answer beside the real master. An owner's addresses
        // are its own and become ours at once.
        if self.config.priority != Priority::OWNER {
            let purge = DeviceAddress::all_of(&self.config);
            out.push(Effect::Act(Action::SetAddresses { router: self.id, hold: Vec::new(), purge }));
        }
        self.settle(now, "start", out);
    }

    /// Leaves Initialize or Fault as far as the situation allows.
    fn settle(&mut self, now: Instant, reason: &str, out: &mut Vec<Effect>) {
        if self.situation.faults.is_empty() {
            if self.config.priority == Priority::OWNER {
                self.become_master(now, "address owner", out);
            } else {
                let down_at = now + self.master_down_interval();
                self.enter(State::Backup, reason, out);
                self.phase = Phase::Backup { down_at, preempt_at: None, cause: None };
            }
        } else if matches!(self.phase, Phase::Initialize) && !self.situation.waits_only() {
            self.enter(State::Fault, &self.fault_text(), out);
            self.phase = Phase::Fault;
        }
    }

    fn adapt(&mut self, now: Instant, situation: Situation, reason: &str, out: &mut Vec<Effect>) {
        let priority = situation.priority.unwrap_or(self.config.priority);
        let source_moved = self.situation.source != situation.source;
        self.situation = situation;
        if priority != self.effective {
            let before = timers::skew_time(self.effective);
            let from = std::mem::replace(&mut self.effective, priority);
            if let Phase::Backup { down_at, .. } = &mut self.phase {
                // Only the skew changes: what was waited so far counts.
                let moved = *down_at + timers::skew_time(priority);
                *down_at = moved.checked_sub(before).unwrap_or(now);
            }
            if self.begun {
                out.push(Effect::Act(Action::PriorityChanged {
                    router: self.id,
                    instance: Arc::clone(&self.config.name),
                    from,
                    to: priority,
                    reason: reason.into(),
                }));
            }
        }
        if !self.begun {
            return;
        }
        let waits_only = self.situation.waits_only();
        match self.phase {
            Phase::Initialize | Phase::Fault => self.settle(now, reason, out),
            Phase::Backup { .. } if !waits_only => {
                self.enter(State::Fault, &self.fault_text(), out);
                self.phase = Phase::Fault;
            }
            Phase::Master(_) if !waits_only => {
                self.send_advert(Priority::RELEASE, out);
                self.leave_master(State::Fault, &self.fault_text(), out);
                self.phase = Phase::Fault;
            }
            Phase::Master(_) if source_moved => {
                // Peers compare source addresses at equal priority: let them hear the new one.
                self.send_advert(self.effective, out);
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Backup { down_at, cause, .. } if now >= *down_at => {
                let reason = cause.take().unwrap_or_else(|| match self.master {
                    Some(address) => format!("no advertisement of {address} within the master down interval"),
                    None => "no advertisement within the master down interval".into(),
                });
                self.become_master(now, &reason, out);
            }
            Phase::Master(_) => self.on_master_deadline(now, out),
            _ => {}
        }
    }

    fn on_master_deadline(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let interval = self.config.advert_interval;
        let garp = self.config.garp;
        let Phase::Master(master) = &mut self.phase else { return };
        let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if due(master.advert_at) {
            // Keeps the rhythm, unless more than a whole interval was slept through.
            let next = master.advert_at.map_or(now, |at| at + interval);
            master.advert_at = Some(if next > now { next } else { now + interval });
            self.send_advert(self.effective, out);
        }
        let Phase::Master(master) = &mut self.phase else { return };
        if due(master.announce_at) {
            master.announce_at = None;
            out.push(Effect::Announce(garp.repeat));
        }
        if due(master.second_burst_at) {
            master.second_burst_at = None;
            out.push(Effect::Announce(garp.repeat));
        }
        if due(master.lower_burst_at) {
            master.lower_burst_at = None;
            out.push(Effect::Announce(garp.lower_priority_repeat));
        }
        if due(master.refresh_at) {
            master.refresh_at = (!garp.refresh.is_zero()).then(|| now + garp.refresh);
            out.push(Effect::Announce(garp.refresh_repeat));
        }
    }

    fn on_advert(&mut self, now: Instant, advert: Received, out: &mut Vec<Effect>) {
        if !self.listens() {
            return;
        }
        self.counters.received += 1;
        if advert.priority == Priority::RELEASE {
            self.counters.priority_zero_received += 1;
        }
        let skip = self.config.skip_address_check && self.master == Some(advert.source);
        if !advert.same_addresses && !skip && self.refuse(Refusal::AddressList) {
            out.push(self.refused(Refusal::AddressList, advert.source));
        }
        match self.phase {
            Phase::Backup { .. } => self.backup_hears(now, advert),
            Phase::Master(_) => self.master_hears(now, advert, out),
            _ => {}
        }
    }

    /// RFC 3768 §6.4.2, with preempt_delay.
    fn backup_hears(&mut self, now: Instant, advert: Received) {
        let restart = now + self.master_down_interval();
        let skew = timers::skew_time(self.effective);
        let (own, config) = (self.effective, Arc::clone(&self.config));
        let Phase::Backup { down_at, preempt_at, cause } = &mut self.phase else { return };
        if advert.priority == Priority::RELEASE {
            *down_at = now + skew;
            *cause = Some(format!("{} released (priority 0)", advert.source));
            return;
        }
        let held_back = if advert.priority >= own {
            *preempt_at = None;
            true
        } else if !config.preempt {
            true
        } else {
            let preempt = *preempt_at.get_or_insert(now + config.preempt_delay);
            now < preempt
        };
        if held_back {
            *down_at = restart;
            *cause = None;
            if self.master != Some(advert.source) {
                self.master = Some(advert.source);
                self.told.clear();
            }
        } else {
            *cause = Some(format!("preempting {} with priority {}", advert.source, advert.priority));
        }
    }

    /// RFC 3768 §6.4.3; lower priorities are answered as keepalived does (RFC 9568 §6.4.3).
    fn master_hears(&mut self, now: Instant, advert: Received, out: &mut Vec<Effect>) {
        let source = self.situation.source;
        if advert.priority == Priority::RELEASE {
            self.advertise_now(now, out);
            return;
        }
        if advert.priority == self.effective && Some(advert.source) == source {
            if self.refuse(Refusal::OwnAddress) {
                out.push(self.refused(Refusal::OwnAddress, advert.source));
            }
            return;
        }
        if (advert.priority, Some(advert.source)) > (self.effective, source) {
            if self.config.higher_priority_send_advert {
                self.send_advert(self.effective, out);
            }
            let down_at = now + self.master_down_interval();
            let reason = format!("advertisement of {} with priority {}", advert.source, advert.priority);
            self.leave_master(State::Backup, &reason, out);
            self.master = Some(advert.source);
            self.phase = Phase::Backup { down_at, preempt_at: None, cause: None };
            return;
        }
        self.answer_lower(now, out);
    }

    fn answer_lower(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let config = Arc::clone(&self.config);
        let Phase::Master(master) = &mut self.phase else { return };
        if master.answered_at.is_some_and(|at| now < at + ANSWER_GAP) {
            return;
        }
        master.answered_at = Some(now);
        if config.garp.lower_priority_repeat > 0 {
            if !config.garp.lower_priority_delay.is_zero() {
                master.lower_burst_at = Some(now + config.garp.lower_priority_delay);
            }
            out.push(Effect::Announce(config.garp.lower_priority_repeat));
        }
        out.push(Effect::Act(Action::HeardLowerPriority {
            router: self.id,
            instance: Arc::clone(&config.name),
            priority: self.effective,
        }));
        if !config.lower_priority_no_advert {
            self.send_advert(self.effective, out);
        }
    }

    fn stop(&mut self, deleted: bool, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        if matches!(self.phase, Phase::Master(_)) {
            self.send_advert(Priority::RELEASE, out);
            self.release_addresses(out);
        }
        self.phase = Phase::Stopped;
        out.push(Effect::Act(Action::Stopped {
            router: self.id,
            instance: Arc::clone(&self.config.name),
            priority: self.effective,
            deleted,
        }));
    }

    fn become_master(&mut self, now: Instant, reason: &str, out: &mut Vec<Effect>) {
        let garp = self.config.garp;
        let from = self.state();
        self.phase = Phase::Master(Master {
            advert_at: Some(now + self.config.advert_interval),
            announce_at: Some(now + ANNOUNCE_LIMIT),
            second_burst_at: (!garp.delay.is_zero()).then(|| now + garp.delay),
            refresh_at: (!garp.refresh.is_zero()).then(|| now + garp.delay + garp.refresh),
            lower_burst_at: None,
            answered_at: None,
        });
        self.counters.became_master += 1;
        self.told.clear();
        self.send_advert(self.effective, out);
        let hold = DeviceAddress::all_of(&self.config);
        out.push(Effect::Act(Action::SetAddresses { router: self.id, hold, purge: Vec::new() }));
        out.push(self.transition(from, State::Master, reason));
    }

    fn leave_master(&mut self, to: State, reason: &str, out: &mut Vec<Effect>) {
        self.counters.released_master += 1;
        self.told.clear();
        self.master = None;
        self.release_addresses(out);
        out.push(self.transition(State::Master, to, reason));
    }

    fn release_addresses(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Silence);
        let purge = DeviceAddress::all_of(&self.config);
        out.push(Effect::Act(Action::SetAddresses { router: self.id, hold: Vec::new(), purge }));
    }

    fn enter(&mut self, to: State, reason: &str, out: &mut Vec<Effect>) {
        self.master = None;
        out.push(self.transition(self.state(), to, reason));
    }

    fn transition(&self, from: State, to: State, reason: &str) -> Effect {
        Effect::Act(Action::Transition {
            router: self.id,
            instance: Arc::clone(&self.config.name),
            from,
            to,
            priority: self.effective,
            reason: reason.into(),
        })
    }

    pub(crate) fn refused(&self, cause: Refusal, source: Ipv4Addr) -> Effect {
        Effect::Act(Action::Refused { instance: Arc::clone(&self.config.name), source, cause })
    }

    fn fault_text(&self) -> String {
        let texts: Vec<String> = self.situation.faults.iter().map(ToString::to_string).collect();
        texts.join("; ")
    }

    fn advertise_now(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let interval = self.config.advert_interval;
        if let Phase::Master(master) = &mut self.phase {
            master.advert_at = Some(now + interval);
        }
        self.send_advert(self.effective, out);
    }

    fn send_advert(&mut self, priority: Priority, out: &mut Vec<Effect>) {
        let (Some(interface), Some(source)) = (self.situation.interface, self.situation.source) else {
            return;
        };
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.counters.sent += 1;
        if priority == Priority::RELEASE {
            self.counters.priority_zero_sent += 1;
        }
        let payload = self.advert(priority).emit();
        let (destinations, ttl) = match &self.config.delivery {
            Delivery::Multicast { group } => (vec![*group], ipv4::TTL),
            Delivery::Unicast { peers, ttl, .. } => {
                (peers.iter().map(|peer| peer.address).collect(), ttl.unwrap_or(ipv4::TTL))
            }
        };
        for destination in destinations.into_iter().filter_map(ipv4::address) {
            let header =
                Header { tos: ipv4::TOS, id: self.packet_id, ttl, protocol: ipv4::VRRP, source, destination };
            out.push(Effect::Act(Action::SendAdvert {
                router: self.id,
                interface,
                destination,
                packet: header.emit(&payload),
            }));
        }
    }

    fn advert(&self, priority: Priority) -> Advert {
        Advert {
            version: 2,
            kind: 1,
            vrid: self.config.vrid.get(),
            priority,
            authentication_type: self.config.authentication.wire_type(),
            interval: u8::try_from(self.config.advert_interval.as_secs()).unwrap_or(u8::MAX),
            addresses: DeviceAddress::advertised(&self.config),
            authentication: self.config.authentication.wire_data(),
        }
    }

    fn master_down_interval(&self) -> Duration {
        timers::master_down_interval(
            self.config.advert_interval,
            self.config.down_timer_adverts,
            self.effective,
        )
    }
}
