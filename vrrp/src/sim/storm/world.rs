//! Nodes, link and weather of one run on one virtual clock.
//!
//! Here: who does what when, who hears whom. Not here: what happens to them (`weather`), what is right (`ledger`,
//! `segments`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::*;
use super::ledger::{Ledger, clock};
use super::plan::{CLOCK_SETTLES, HARMLESS_CLOCK, MOST_NODES, MOST_SEGMENTS, Plan, Weather, script};
use super::segments::{Segments, View};
use super::{Rule, Violation};

mod flight;
mod weather;

use flight::{Content, Flight};

/// Datagrams that a stopped process finds when it runs again.
const BUFFER: usize = 32;
/// Events of one node at one moment; more is spinning.
const MOST_AT_ONCE: u32 = 400;
/// 2026 in seconds since 1970.
const UNIX: Duration = Duration::from_secs(1_795_000_000);

struct Host {
    engine: Engine,
    ledger: Ledger,
    alive: bool,
    /// Its process stands still until then.
    paused_until: Option<Instant>,
    buffer: VecDeque<Content>,
    waiting: Vec<Weather>,
    up: [bool; MOST_SEGMENTS],
    side: [u8; MOST_SEGMENTS],
    good: bool,
    /// Of 100 datagrams.
    loss: u8,
    /// Clock, in ms from the right time.
    clock: i64,
    deaf_until: Instant,
    held_until: [Instant; MOST_SEGMENTS],
    /// The longest interval that each router can have learnt.
    longest: [Duration; MOST_SEGMENTS],
    /// When it heard a priority 0 last, if it heard nothing else since.
    released_at: [Option<Instant>; MOST_SEGMENTS],
    /// When it heard a master last that it lets be, and that one's interval.
    heard: [Option<(Instant, Duration)>; MOST_SEGMENTS],
    at_once: (Instant, u32),
}

impl Host {
    fn runs(&self) -> bool {
        self.alive && self.paused_until.is_none()
    }
}

/// Numbers of a run, to see that something happened in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    pub events: u64,
    pub adverts: u64,
    pub lost: u64,
    pub masters: u64,
    pub doubles: u64,
    pub orphans: u64,
    pub simulated: Duration,
}

pub struct World<'a> {
    plan: &'a Plan,
    start: Instant,
    now: Instant,
    random: fastrand::Rng,
    hosts: Vec<Host>,
    duplicates: u8,
    flights: BinaryHeap<Reverse<Flight>>,
    order: u64,
    next_weather: usize,
    segments: Segments,
    /// Pairs and lonely routers are to be looked at again.
    changed: bool,
    actions: Vec<Action>,
    numbers: Numbers,
    /// The last events in words, if wanted: at most so many.
    journal: Option<(usize, VecDeque<String>)>,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, start: Instant, shown: Option<usize>) -> Self {
        let host = |setup: &Setup| Host {
            engine: Engine::new(setup.clone()),
            ledger: Ledger::default(),
            alive: false,
            paused_until: None,
            buffer: VecDeque::new(),
            waiting: Vec::new(),
            up: [true; MOST_SEGMENTS],
            side: [0; MOST_SEGMENTS],
            good: true,
            loss: 0,
            clock: 0,
            deaf_until: start,
            held_until: [start; MOST_SEGMENTS],
            longest: [Duration::ZERO; MOST_SEGMENTS],
            released_at: [None; MOST_SEGMENTS],
            heard: [None; MOST_SEGMENTS],
            at_once: (start, 0),
        };
        World {
            plan,
            start,
            now: start,
            random: fastrand::Rng::with_seed(plan.seed),
            hosts: plan.setups.iter().map(host).collect(),
            duplicates: 0,
            flights: BinaryHeap::new(),
            order: 0,
            next_weather: 0,
            segments: Segments::new(plan.grouped, plan.longest),
            changed: false,
            actions: Vec::new(),
            numbers: Numbers::default(),
            journal: shown.map(|shown| (shown, VecDeque::new())),
        }
    }

    /// The whole run.
    pub fn run(&mut self) -> Result<Numbers, Violation> {
        let Plan { quiet_at, settled_at, end, .. } = *self.plan;
        self.run_until(quiet_at)?;
        self.calm()?;
        self.run_until(settled_at)?;
        let masters = self.check_masters()?;
        let told = self.told();
        self.run_until(end)?;
        let same = self.check_masters()? == masters && self.told() == told;
        if self.plan.converges && !same {
            return Err(Rule::Quiet.broken(|| "something changed although nothing happened".into()));
        }
        self.numbers.masters = self.hosts.iter().map(|host| host.ledger.became_master).sum();
        self.numbers.doubles = self.segments.doubles;
        self.numbers.orphans = self.segments.orphans;
        self.numbers.simulated = end;
        Ok(self.numbers)
    }

    /// What happened last, in words.
    pub fn story(&self) -> String {
        let lines = self.journal.iter().flat_map(|(_, lines)| lines).map(String::as_str);
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn at(&self) -> Duration {
        self.now - self.start
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        let at = self.now - self.start;
        if let Some((shown, journal)) = &mut self.journal {
            if journal.len() >= *shown {
                journal.pop_front();
            }
            journal.push_back(format!("{} {}", clock(at), text()));
        }
    }

    fn told(&self) -> u64 {
        self.hosts.iter().map(|host| host.ledger.transitions).sum()
    }

    fn run_until(&mut self, end: Duration) -> Result<(), Violation> {
        let end = self.start + end;
        loop {
            let weather = self.plan.weather.get(self.next_weather).map(|(at, _)| self.start + *at);
            let flight = self.flights.peek().map(|Reverse(flight)| flight.at);
            let host = self.next_host();
            let next = [weather, flight, host.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.segments.check(self.now)?;
            self.numbers.events += 1;
            if weather == Some(next) {
                let plan = self.plan;
                let (_, weather) = &plan.weather[self.next_weather];
                self.next_weather += 1;
                self.happen(weather)?;
            } else if flight == Some(next) {
                let Reverse(flight) = self.flights.pop().expect("just seen");
                self.arrive(flight.to, flight.content)?;
            } else if let Some((_, node)) = host {
                self.wake(node)?;
            }
            if std::mem::take(&mut self.changed) {
                self.look();
            }
        }
        self.now = end;
        self.segments.check(self.now)
    }

    /// Who has something to do first: a deadline, or the end of a pause.
    fn next_host(&self) -> Option<(Instant, usize)> {
        let next = |host: &Host| match (host.alive, host.paused_until) {
            (false, _) => None,
            (true, Some(until)) => Some(until),
            (true, None) => host.engine.deadline(),
        };
        (0..).zip(&self.hosts).filter_map(|(node, host)| Some((next(host)?, node))).min()
    }

    fn wake(&mut self, node: usize) -> Result<(), Violation> {
        if self.hosts[node].paused_until.is_some() {
            return self.go_on(node);
        }
        let (at, count) = self.hosts[node].at_once;
        let count = if at == self.now { count + 1 } else { 0 };
        self.hosts[node].at_once = (self.now, count);
        if count > MOST_AT_ONCE {
            return Err(Rule::Bounded.broken(|| format!("node {node} spins")));
        }
        self.feed(node, Event::Deadline)
    }

    /// A process runs again: datagrams first, then what else happened, then its deadlines.
    fn go_on(&mut self, node: usize) -> Result<(), Violation> {
        self.say(|| format!("node {node} runs again"));
        self.hosts[node].paused_until = None;
        self.segments.forget(node);
        // If it was master it is one for this moment at least: what it says as it leaves counts.
        self.look();
        self.changed = true;
        for content in std::mem::take(&mut self.hosts[node].buffer) {
            self.arrive(node, content)?;
        }
        for weather in std::mem::take(&mut self.hosts[node].waiting) {
            self.happen(&weather)?;
        }
        Ok(())
    }

    fn arrive(&mut self, node: usize, content: Content) -> Result<(), Violation> {
        let host = &mut self.hosts[node];
        let Content { segment, from, priority, .. } = content;
        if !host.alive || !host.up[segment] {
            return Ok(());
        }
        if host.paused_until.is_some() {
            if host.buffer.len() < BUFFER {
                host.buffer.push_back(content);
            }
            return Ok(());
        }
        let interval = self.plan.config(from, segment).advert_interval;
        if priority != 0 && interval > host.longest[segment] {
            host.longest[segment] = interval;
            self.changed = true;
        }
        self.say(|| format!("node {node} eth{segment} hears {priority} of node {from}"));
        let datagram = datagram(&content.octets).expect("what an engine sends");
        let index = index_of(segment);
        let own = host_priority(&self.hosts[node], segment);
        self.feed(node, Event::Datagram { interface: index, datagram })?;
        self.note_heard(node, segment, priority, own, interval);
        Ok(())
    }

    /// What a Backup that listens makes of an advert; signed ones it may refuse.
    fn note_heard(&mut self, node: usize, segment: usize, priority: u8, own: Priority, interval: Duration) {
        let (now, config) = (self.now, self.plan.config(node, segment));
        let lets_be = Priority(priority) >= own || !config.preempt && config.priority != Priority::OWNER;
        let host = &mut self.hosts[node];
        if host.ledger.state[segment] != State::Backup || now < host.held_until[segment] || self.plan.hmac {
            return;
        }
        self.changed = true;
        if priority == 0 {
            (host.released_at[segment], host.heard[segment]) = (Some(now), None);
        } else if lets_be {
            (host.released_at[segment], host.heard[segment]) = (None, Some((now, interval)));
        } else {
            // With preempt_delay it may be let be.
            host.released_at[segment] = None;
        }
    }

    /// Who becomes master has heard of none for its master down interval.
    fn check_early(&mut self, node: usize, before: &[State; MOST_SEGMENTS]) -> Result<(), Violation> {
        let now = self.now;
        let host = &mut self.hosts[node];
        for (segment, before) in before.iter().enumerate() {
            let state = host.ledger.state[segment];
            if state != State::Backup {
                host.released_at[segment] = None;
            }
            let heard = if state == State::Backup { None } else { host.heard[segment].take() };
            let takes_over = (*before, state) == (State::Backup, State::Master);
            if let Some((at, interval)) = heard.filter(|_| takes_over) {
                let config = self.plan.config(node, segment);
                let (down, _) = waits(config, interval, host_priority(host, segment));
                if now < at + down {
                    let early = at + down - now;
                    return Err(
                        Rule::Early.broken(|| format!("node {node} eth{segment}, {early:?} too early"))
                    );
                }
            }
        }
        Ok(())
    }

    fn feed(&mut self, node: usize, event: Event<'_>) -> Result<(), Violation> {
        let (now, recording) = (self.now, self.journal.is_some());
        let mut actions = std::mem::take(&mut self.actions);
        actions.clear();
        let unchanged = matches!(event, Event::Reload(_));
        let host = &mut self.hosts[node];
        let before = host.ledger.state;
        host.engine.on_event(now, event, &mut actions);
        let verdict = host.ledger.check(&host.engine, &actions, unchanged);
        let after = host.ledger.state;
        for (segment, (before, after)) in before.iter().zip(after).enumerate() {
            let fresh = match (before, after) {
                (State::Initialize | State::Fault, State::Backup) | (_, State::Master) => *before != after,
                _ => false,
            };
            if fresh {
                host.longest[segment] = self.plan.config(node, segment).advert_interval;
            }
        }
        if recording {
            for action in &actions {
                if let Some(text) = words(action) {
                    self.say(|| format!("  node {node} {text}"));
                }
            }
        }
        verdict.map_err(|violation| violation.of_node(node))?;
        let host = &self.hosts[node];
        let mut changes = before.iter().zip(after).zip(host.held_until);
        let early = changes.find(|((before, after), held_until)| {
            **before != State::Master && *after == State::Master && now < *held_until
        });
        if let Some((_, held_until)) = early {
            let left = held_until - now;
            return Err(Rule::StartupDelay.broken(|| format!("node {node}, {left:?} too early")));
        }
        self.check_early(node, &before)?;
        let mut set: [Option<RouterId>; 2 * MOST_SEGMENTS] = Default::default();
        let mut places = set.iter_mut();
        for action in actions.drain(..) {
            match action {
                Action::SendAdvert { packet, destination, interface, .. } => {
                    self.send(node, interface, destination, packet);
                }
                Action::SetAddresses { router, .. } => {
                    *places.next().expect("each router sets its addresses twice at most") = Some(router);
                }
                Action::Transition { .. } | Action::PriorityChanged { .. } | Action::Stopped { .. } => {
                    self.changed = true;
                }
                _ => {}
            }
        }
        self.actions = actions;
        for router in set.into_iter().flatten() {
            self.feed(node, Event::AddressesSet(router))?;
        }
        Ok(())
    }

    fn send(&mut self, from: usize, interface: Option<IfIndex>, destination: IpAddr, packet: Vec<u8>) {
        let segment = usize::try_from(interface.expect("on an interface").get() - 2).expect("few segments");
        let last = match destination {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        let priority = advert_of(&packet).1;
        let octets: Rc<[u8]> = packet.into();
        self.numbers.adverts += 1;
        if !self.hosts[from].up[segment] {
            return;
        }
        for to in 0..self.hosts.len() {
            let meant = to != from && (destination.is_multicast() || usize::from(last) == to + 1);
            let (sender, host) = (&self.hosts[from], &self.hosts[to]);
            if !meant || !host.alive || !host.up[segment] || host.side[segment] != sender.side[segment] {
                continue;
            }
            if self.random.u8(0..100) < host.loss {
                self.numbers.lost += 1;
                self.segments.lost(segment, from, to);
                self.changed = true;
                self.say(|| format!("  eth{segment}: advert of node {from} is lost for node {to}"));
                continue;
            }
            let copies = if self.random.u8(0..100) < self.duplicates { 2 } else { 1 };
            for _ in 0..copies {
                let content = Content { segment, from, priority, octets: Rc::clone(&octets) };
                self.fly(to, content);
            }
        }
    }

    fn fly(&mut self, to: usize, content: Content) {
        let Plan { shortest, longest, .. } = *self.plan;
        let spread = u64::try_from((longest - shortest).as_micros()).expect("short");
        let at = self.now + shortest + Duration::from_micros(self.random.u64(0..=spread));
        self.order += 1;
        self.flights.push(Reverse(Flight { at, order: self.order, to, content }));
    }

    fn look(&mut self) {
        let mut views = [[None; MOST_NODES]; MOST_SEGMENTS];
        let used = &mut views[..self.plan.segments];
        for (segment, views) in used.iter_mut().enumerate() {
            for (node, host) in self.hosts.iter().enumerate() {
                let router = &host.engine.routers()[segment];
                let config = router.config();
                let priority = router.effective_priority();
                let state = host.ledger.state[segment];
                let works = host.runs() && host.up[segment];
                let (down, skew) = waits(config, host.longest[segment], priority);
                views[node] = Some(View {
                    works,
                    side: host.side[segment],
                    is_master: works && state == State::Master,
                    waits: state == State::Backup,
                    rank: (priority.0, u8::try_from(node).expect("few nodes")),
                    interval: config.advert_interval,
                    down,
                    skew,
                    released_at: host.released_at[segment],
                    held_until: host.held_until[segment],
                    deaf_until: host.deaf_until,
                });
            }
        }
        self.segments.look(self.now, used, self.hosts.len());
    }

    /// One master on each segment, of a group on all, and nobody who would preempt it.
    fn check_masters(&self) -> Result<Vec<usize>, Violation> {
        let mut masters = Vec::new();
        if !self.plan.converges {
            return Ok(masters);
        }
        for segment in 0..self.plan.segments {
            let is_master = |node: &usize| self.hosts[*node].ledger.state[segment] == State::Master;
            let all: Vec<usize> = (0..self.hosts.len()).filter(is_master).collect();
            let [master] = all[..] else {
                return Err(Rule::OneMaster.broken(|| format!("eth{segment}: masters {all:?}")));
            };
            let priority = |node: usize| self.hosts[node].engine.routers()[segment].effective_priority();
            for node in 0..self.hosts.len() {
                let preempts = |one: &InstanceConfig| one.preempt || one.priority == Priority::OWNER;
                // A group goes as a whole: a member that is held back holds all back.
                let preempts = match self.plan.grouped {
                    true => self.plan.setups[node].instances.iter().all(preempts),
                    false => preempts(self.plan.config(node, segment)),
                };
                if preempts && priority(node) > priority(master) {
                    let text = || format!("eth{segment}: node {master}, but node {node} preempts");
                    return Err(Rule::RightMaster.broken(text));
                }
            }
            masters.push(master);
        }
        Ok(masters)
    }
}

/// Master down interval and skew time, after RFC 3768 §6.1 and RFC 9568 §6.1 and not after `timers`.
fn waits(config: &InstanceConfig, interval: Duration, priority: Priority) -> (Duration, Duration) {
    let (interval, unit) = match config.version {
        Version::V2 => (config.advert_interval, Duration::from_secs(1)),
        Version::V3 => (interval, interval),
    };
    let parts = u64::from(256 - u16::from(priority.0));
    let skew = u64::try_from(unit.as_nanos()).expect("short") * parts / 256;
    let skew = Duration::from_nanos(skew);
    (interval * u32::from(config.down_timer_adverts) + skew, skew)
}

fn host_priority(host: &Host, segment: usize) -> Priority {
    host.engine.routers()[segment].effective_priority()
}

fn index_of(segment: usize) -> IfIndex {
    NonZeroU32::new(u32::try_from(segment).expect("few segments") + 2).expect("not zero")
}

/// An action in words, but for gratuitous ARP.
fn words(action: &Action) -> Option<String> {
    Some(match action {
        Action::SendAdvert { packet, interface, destination, .. } => {
            let segment = interface.map_or(0, |index| index.get() - 2);
            format!("eth{segment} sends {} to {destination}", advert_of(packet).1)
        }
        Action::Transition { instance, from, to, reason, .. } => {
            format!("{instance} {from} -> {to}: {reason}")
        }
        Action::GroupTransition { group, from, to } => format!("group {group} {from} -> {to}"),
        Action::PriorityChanged { instance, from, to, reason, .. } => {
            format!("{instance} priority {from} -> {to}: {reason}")
        }
        Action::Condition { instance, condition, active, detail, .. } => {
            format!("{instance} {} {active}: {detail}", condition.as_str())
        }
        Action::Stopped { instance, .. } => format!("{instance} stopped"),
        Action::Refused { instance, source, cause } => {
            format!("{instance} refuses {source}: {}", cause.as_str())
        }
        Action::SetAddresses { hold, .. } => format!("holds {} addresses", hold.len()),
        _ => return None,
    })
}
