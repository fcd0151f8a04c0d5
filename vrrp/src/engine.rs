//! All virtual routers of this host: time and events in, actions out.
//!
//! Here: whom an event is for, surroundings and priorities, sync groups, reload by identity, pacing of
//! gratuitous ARP. Not here: the states of one router (`router`), sockets (`net`), addresses on
//! interfaces, the clock (the caller's).

mod announce;
mod identity;
mod reload;
mod strangers;
mod surroundings;
mod sync;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::receive::{self, Refusal};
use crate::router::{Condition, Effect, Event as RouterEvent, Moment, Router, Situation, Yield};
use crate::timers;
use crate::types::{
    Delivery, Family, GarpIntervals, IfIndex, InstanceConfig, Priority, Setup, State, TrackerId,
    TrackerResult, VirtualAddress,
};
use crate::wire::arp::gratuitous_request;
use crate::wire::datagram::Datagram;
use crate::wire::ndisc::unsolicited_advertisement;

use announce::Announcements;
use strangers::Strangers;
use surroundings::Surroundings;

pub use identity::Identity;
pub use strangers::Foreign;
pub use surroundings::Interface;
pub use sync::Group;

/// Handle of a virtual router, never used twice by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u64);

/// A virtual address with the interface it belongs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceAddress {
    /// Interface.
    pub device: String,
    /// The address.
    pub address: VirtualAddress,
}

impl DeviceAddress {
    /// All addresses of `config`, advertised ones first.
    pub fn all_of(config: &InstanceConfig) -> Vec<Self> {
        let addresses = config.addresses.iter().chain(&config.excluded_addresses);
        addresses
            .map(|address| DeviceAddress {
                device: config.device_of(address).to_owned(),
                address: address.clone(),
            })
            .collect()
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Time has passed. Harmless when early, late or repeated.
    Deadline,
    /// A datagram was received on an interface.
    Datagram {
        /// Where it came in.
        interface: IfIndex,
        /// Anything.
        datagram: Datagram<'a>,
    },
    /// An interface is there, or is different from before.
    Interface(Interface),
    /// An interface is there no more.
    InterfaceGone(String),
    /// Something tracked has a result.
    Tracker(TrackerId, TrackerResult),
    /// [`Action::SetAddresses`] of this router was done (as far as the kernel allowed).
    AddressesSet(RouterId),
    /// Somebody else removed an address that this router holds.
    AddressLost {
        /// Whose it was.
        router: RouterId,
        /// Address and interface in words.
        what: String,
    },
    /// Somebody else removed an address that this router holds, and it was put back: hosts are told anew where
    /// it is.
    AddressRestored {
        /// Whose it is.
        router: RouterId,
        /// Its interface.
        device: String,
        /// The address.
        address: IpAddr,
    },
    /// The routers may take part from now on; those named are master already: their addresses
    /// are there and their last advert is young.
    Begin {
        /// Masters of an earlier process; if there are any, the start-up delay is over.
        resume: Vec<RouterId>,
    },
    /// Virtual routers of these names let masters of lower priorities be, as with nopreempt, and no others.
    HoldPreemption(BTreeSet<Arc<str>>),
    /// Another configuration.
    Reload(Setup),
    /// Release everything.
    Stop,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement.
    SendAdvert {
        /// Sender.
        router: RouterId,
        /// Out of this interface; `None`: where the routing table says (unicast without interface).
        interface: Option<IfIndex>,
        /// The group or a peer.
        destination: IpAddr,
        /// Whole IP datagram.
        packet: Vec<u8>,
        /// When a timer wanted it; `None` if something else did.
        due: Option<Instant>,
    },
    /// Send an Ethernet frame (gratuitous ARP, unsolicited neighbour advertisement).
    SendFrame {
        /// Out of this interface.
        interface: IfIndex,
        /// Frame.
        frame: Vec<u8>,
    },
    /// Make these the addresses that the router holds; take away all others that it held, and
    /// those of `purge` even if it never held them. An address that another router holds stays.
    /// Answered with [`Event::AddressesSet`], if it holds any.
    SetAddresses {
        /// Whose.
        router: RouterId,
        /// It is master, with or without addresses.
        holds: bool,
        /// Wanted, in order.
        hold: Arc<[DeviceAddress]>,
        /// Unwanted unless in `hold`.
        purge: Option<Arc<[DeviceAddress]>>,
    },
    /// The state changed.
    Transition {
        /// Whose.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Effective priority.
        priority: Priority,
        /// Cause in words.
        reason: String,
    },
    /// All members of a sync group are in this state; told after theirs.
    GroupTransition {
        /// Its name.
        group: Arc<str>,
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// The effective priority changed.
    PriorityChanged {
        /// Whose.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Before.
        from: Priority,
        /// Now.
        to: Priority,
        /// Cause in words.
        reason: String,
    },
    /// A master heard a lower priority (or the same from a lower address). At most ten a second.
    HeardLowerPriority {
        /// Who.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Own effective priority.
        priority: Priority,
    },
    /// Something is wrong around a router, or is over.
    Condition {
        /// Whose.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// What.
        condition: Condition,
        /// It begins.
        active: bool,
        /// Who and what, in words.
        detail: String,
    },
    /// A virtual router that is not configured here was heard for the first time: to be logged.
    Foreign(Foreign),
    /// A router stopped taking part. Its addresses are being removed.
    Stopped {
        /// Who.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Effective priority.
        priority: Priority,
        /// By a reload.
        deleted: bool,
    },
    /// A sync group takes part no more; told after all virtual routers.
    GroupStopped {
        /// Its name.
        group: Arc<str>,
        /// By a reload.
        deleted: bool,
    },
    /// The first refusal of this cause and sender since the master changed: to be logged.
    Refused {
        /// For whom it was.
        instance: Arc<str>,
        /// Who sent it.
        source: IpAddr,
        /// Why.
        cause: Refusal,
    },
}

/// All virtual routers of this host.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    routers: Vec<Router>,
    groups: Vec<Group>,
    /// Places among `groups`, by place among `routers`.
    group_of: Vec<Option<usize>>,
    /// Places of routers by the interface and number that adverts for them have.
    by_number: HashMap<(Option<IfIndex>, Family, u8), Vec<usize>>,
    /// Parents of routers' own interfaces: what comes in there comes in on the own one too.
    heard_twice: HashSet<(IfIndex, Family, u8)>,
    /// Deadlines of routers by place, and the same by place.
    due: BTreeSet<(Instant, usize)>,
    queued: Vec<Option<Instant>>,
    surroundings: Surroundings,
    /// Never taken as a source: virtual ones of anybody.
    virtual_addresses: BTreeSet<IpAddr>,
    announcements: Announcements,
    garp_intervals: GarpIntervals,
    strangers: Strangers,
    startup_delay: Duration,
    /// Until then none takes part, but for those that go on as masters (vrrp_startup_delay).
    held_until: Option<Instant>,
    next_id: u64,
    begun: bool,
    /// Names of virtual routers that let masters of lower priorities be.
    held_back: BTreeSet<Arc<str>>,
    revision: u64,
    transitions: u64,
    /// A moment on both clocks.
    clock: Option<(Instant, Duration)>,
    /// Reused between events.
    effects: Vec<Effect>,
}

impl Engine {
    /// Virtual routers in Initialize; nothing is sent before [`Event::Begin`].
    pub fn new(setup: Setup) -> Self {
        let mut engine = Engine::default();
        engine.fill(setup);
        engine
    }

    fn fill(&mut self, setup: Setup) {
        for config in setup.instances {
            let id = self.new_id();
            self.routers.push(Router::new(id, Arc::new(config)));
        }
        self.garp_intervals = setup.garp_intervals;
        self.startup_delay = setup.startup_delay;
        self.strangers.tell_all = setup.log_unknown_vrids;
        let configs = self.configs();
        self.groups = sync::groups(setup.groups, &configs, &[]);
        self.arrange(&configs);
    }

    /// Another engine that never uses a handle of this one.
    pub fn successor(&self, setup: Setup) -> Self {
        let mut engine = Engine { next_id: self.next_id, ..Engine::default() };
        engine.fill(setup);
        engine
    }

    /// The virtual routers in configuration order.
    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// The sync groups in configuration order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The sync group of the router at this place.
    pub fn group_of(&self, place: usize) -> Option<&Group> {
        self.group_of.get(place).copied().flatten().and_then(|at| self.groups.get(at))
    }

    /// Datagrams that were for none of them.
    pub fn strangers(&self) -> u64 {
        self.strangers.count()
    }

    /// Virtual routers that were heard and are not configured here, at most 64.
    pub fn foreign(&self) -> impl Iterator<Item = &Foreign> {
        self.strangers.foreign()
    }

    /// Says what time it is for people: `unix` since 1970 at `at`. Signed advertisements carry it.
    pub fn set_clock(&mut self, at: Instant, unix: Duration) {
        self.clock = Some((at, unix));
    }

    /// Goes up with every event.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Goes up with each change of state, priority, faults, configuration or conditions of any router.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Groups to be joined, by interface. A router with an own interface joins on its parent too: switches that
    /// look into IGMP must not learn the virtual hardware address from it.
    pub fn memberships(&self) -> BTreeSet<(IfIndex, IpAddr)> {
        let groups = self.routers.iter().filter_map(|router| match router.config().delivery {
            Delivery::Multicast { group } => {
                let interfaces = router.interface().into_iter().chain(router.parent());
                Some(interfaces.map(move |interface| (interface, group)))
            }
            Delivery::Unicast { .. } => None,
        });
        groups.flatten().collect()
    }

    /// When [`Event::Deadline`] is due; `None` when nothing waits for time.
    pub fn deadline(&self) -> Option<Instant> {
        let router = self.due.first().map(|(at, _)| *at);
        router.into_iter().chain(self.announcements.deadline()).min()
    }

    /// Whether a Backup would take over at [`Event::Deadline`] now. What has arrived by then is to be fed
    /// first: its master may be in it.
    pub fn takeover_due(&self, now: Instant) -> bool {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        due.filter_map(|(_, place)| self.routers.get(*place)).any(|router| router.state() == State::Backup)
    }

    /// Feeds one event and appends the actions it causes to `out`.
    pub fn on_event(&mut self, now: Instant, event: Event<'_>, out: &mut Vec<Action>) {
        self.revision += 1;
        match event {
            Event::Deadline => self.on_deadline(now, out),
            Event::Datagram { interface, datagram } => self.on_datagram(now, interface, &datagram, out),
            Event::Interface(interface) => self.on_interface(now, interface, out),
            Event::InterfaceGone(name) => {
                if self.surroundings.interfaces.remove(&name).is_some() {
                    self.resituate(now, &format!("interface {name} does not exist"), out);
                }
            }
            Event::Tracker(id, result) => {
                if self.surroundings.trackers.insert(id.clone(), result) != Some(result) {
                    self.resituate(now, &id.told(result), out);
                }
            }
            Event::AddressesSet(id) => {
                self.tell_one(now, id, RouterEvent::AddressesSet, out);
            }
            Event::AddressLost { router, what } => {
                let reason = format!("{what} was removed by someone else");
                self.tell_one(now, router, RouterEvent::AddressLost(reason), out);
            }
            Event::AddressRestored { router, device, address } => {
                self.announce_again(now, router, &device, address);
            }
            Event::Begin { resume } => self.begin(now, &resume, out),
            Event::HoldPreemption(names) => {
                self.held_back = names;
                self.hold_preemption(now, out);
            }
            Event::Reload(setup) => {
                self.reload(now, setup, out);
                self.hold_preemption(now, out);
            }
            Event::Stop => self.stop(now, out),
        }
    }

    fn on_deadline(&mut self, now: Instant, out: &mut Vec<Action>) {
        // Those that are due now; one that is due again at once waits for the next round.
        let due: Vec<usize> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, place)| *place).collect();
        // Adverts of one moment, and how many each moment has.
        let advert = |place: &usize| self.routers.get(*place)?.advert_due(now);
        let adverts: Vec<Option<Instant>> = due.iter().map(advert).collect();
        let mut together: BTreeMap<Instant, (usize, usize)> = BTreeMap::new();
        for at in adverts.iter().flatten() {
            together.entry(*at).or_default().1 += 1;
        }
        for (place, advert) in due.into_iter().zip(adverts) {
            let mut sooner = Duration::ZERO;
            if let Some((rank, count)) = advert.and_then(|at| together.get_mut(&at))
                && let Some(router) = self.routers.get(place)
            {
                sooner = timers::spread(*rank, *count, router.config().advert_interval);
                *rank += 1;
            }
            self.tell(now, place, RouterEvent::Deadline { sooner }, out);
        }
        let Engine { announcements, surroundings, .. } = self;
        announcements.on_deadline(now, &mut |device, address| frame(surroundings, device, address, out));
    }

    fn on_datagram(
        &mut self,
        now: Instant,
        interface: IfIndex,
        datagram: &Datagram<'_>,
        out: &mut Vec<Action>,
    ) {
        let vrid = receive::vrid(datagram);
        let Some(place) = vrid.and_then(|vrid| self.addressee(interface, vrid, datagram)) else {
            let family = Family::of(datagram.source);
            if vrid.is_some_and(|vrid| self.heard_twice.contains(&(interface, family, vrid))) {
                return;
            }
            let name = || self.surroundings.name_of(interface);
            out.extend(self.strangers.note(now, interface, name, vrid, datagram).map(Action::Foreign));
            return;
        };
        let moment = self.moment(now);
        let Some(router) = self.routers.get_mut(place) else { return };
        let event = match router.check(moment, datagram) {
            Ok(advert) => RouterEvent::Advert(advert),
            Err(cause) => RouterEvent::Refused(cause, datagram.source),
        };
        self.tell(now, place, event, out);
    }

    /// Whom a datagram is for. Several routers may share VRID and interface as long as they
    /// differ in group, source or peers; one that matches in none of these gets it and refuses it.
    fn addressee(&self, interface: IfIndex, vrid: u8, datagram: &Datagram<'_>) -> Option<usize> {
        let family = Family::of(datagram.source);
        let fit = |router: &Router| -> u8 {
            let destination = receive::destination_fits(&router.config().delivery, datagram.destination);
            let (to_us, peer) = match &router.config().delivery {
                Delivery::Multicast { .. } => (true, true),
                Delivery::Unicast { peers, .. } => {
                    let peer = peers.iter().any(|peer| peer.address == datagram.source);
                    (router.source() == Some(datagram.destination), peer)
                }
            };
            4 * u8::from(destination) + 2 * u8::from(destination && to_us) + u8::from(destination && peer)
        };
        let places = |interface| self.by_number.get(&(interface, family, vrid)).map(Vec::as_slice);
        let here = places(Some(interface)).unwrap_or_default();
        let without = places(None).unwrap_or_default();
        if let ([only], []) = (here, without) {
            return Some(*only);
        }
        // The first of the best, those of the interface before those without one.
        let best = |place: &&usize| self.routers.get(**place).map(fit);
        without.iter().rev().chain(here.iter().rev()).max_by_key(best).copied()
    }

    fn on_interface(&mut self, now: Instant, interface: Interface, out: &mut Vec<Action>) {
        let name = interface.name.clone();
        if self.surroundings.interfaces.get(&name) == Some(&interface) {
            return;
        }
        // A renamed interface keeps its index: the old name is gone.
        self.surroundings.interfaces.retain(|_, other| other.index != interface.index);
        let reason = format!("interface {name} is {}", if interface.up { "up" } else { "down" });
        self.surroundings.interfaces.insert(name, interface);
        self.resituate(now, &reason, out);
    }

    fn hold_preemption(&mut self, now: Instant, out: &mut Vec<Action>) {
        for place in 0..self.routers.len() {
            let Some(router) = self.routers.get(place) else { continue };
            let held = self.held_back.contains(&router.config().name);
            if held != router.is_preemption_held() {
                self.tell(now, place, RouterEvent::HoldPreemption(held), out);
            }
        }
    }

    fn begin(&mut self, now: Instant, resume: &[RouterId], out: &mut Vec<Action>) {
        if self.begun {
            return;
        }
        self.begun = true;
        let hold = self.startup_delay;
        self.held_until = (!hold.is_zero()).then(|| now + hold);
        self.resituate(now, "start", out);
        let named = |place: usize, engine: &Engine| {
            engine.routers.get(place).is_some_and(|router| resume.contains(&router.id()))
        };
        for place in 0..self.routers.len() {
            // A group goes on as master only as a whole.
            let resume = match self.group_of(place) {
                Some(group) => group.members.iter().all(|member| named(*member, self)),
                None => named(place, self),
            };
            self.tell(now, place, RouterEvent::Begin { resume, hold }, out);
        }
    }

    fn stop(&mut self, now: Instant, out: &mut Vec<Action>) {
        for place in 0..self.routers.len() {
            self.tell(now, place, RouterEvent::Stop { deleted: false }, out);
        }
        let groups = std::mem::take(&mut self.groups);
        if self.begun {
            let stopped = |group: Group| Action::GroupStopped { group: group.config.name, deleted: false };
            out.extend(groups.into_iter().map(stopped));
        }
        self.group_of.clear();
    }

    /// Works out every router's situation anew and tells those for which it is different.
    fn resituate(&mut self, now: Instant, reason: &str, out: &mut Vec<Action>) {
        let situations = self.situations(&self.configs());
        let mut moved = false;
        for (place, situation) in situations.into_iter().enumerate() {
            let Some(router) = self.routers.get(place) else { continue };
            if router.is_situated(&situation) {
                continue;
            }
            moved |= (router.interface(), router.parent()) != (situation.interface, situation.parent);
            self.tell(now, place, RouterEvent::Situation(situation, reason.to_owned()), out);
        }
        if moved {
            self.number();
        }
    }

    /// What each virtual router finds, with these configurations.
    fn situations(&self, configs: &[Arc<InstanceConfig>]) -> Vec<Situation> {
        let situation = |(place, config): (usize, &Arc<InstanceConfig>)| {
            let group = self.group_of(place).map(Group::config);
            self.surroundings.situation(config, group, &self.virtual_addresses)
        };
        let mut situations: Vec<Situation> = configs.iter().enumerate().map(situation).collect();
        for group in &self.groups {
            sync::share_faults(group, configs, &mut situations);
        }
        situations
    }

    fn configs(&self) -> Vec<Arc<InstanceConfig>> {
        self.routers.iter().map(Router::shared_config).collect()
    }

    fn tell_one(&mut self, now: Instant, id: RouterId, event: RouterEvent, out: &mut Vec<Action>) {
        if let Some(place) = self.routers.iter().position(|router| router.id() == id) {
            self.tell(now, place, event, out);
        }
    }

    fn announce_again(&mut self, now: Instant, id: RouterId, device: &str, address: IpAddr) {
        let Some(router) = self.routers.iter().find(|router| router.id() == id) else { return };
        if router.state() != State::Master {
            return;
        }
        let (arp, neighbour) = self.garp_intervals.of(device);
        let interval = if address.is_ipv4() { arp } else { neighbour };
        let rounds = router.config().garp.repeat;
        self.announcements.want(now, id, device, address, (rounds, interval));
    }

    /// Feeds an event to the router at `place`, does what it wants, and moves its group along.
    fn tell(&mut self, now: Instant, place: usize, event: RouterEvent, out: &mut Vec<Action>) {
        self.feed(now, place, event);
        self.settle(now, place, out);
    }

    fn feed(&mut self, now: Instant, place: usize, event: RouterEvent) {
        let moment = self.moment(now);
        let Some(router) = self.routers.get_mut(place) else { return };
        let before = router.transitions();
        router.on_event(moment, event, &mut self.effects);
        self.transitions += router.transitions() - before;
    }

    fn settle(&mut self, now: Instant, place: usize, out: &mut Vec<Action>) {
        let moved = self.carry_out(now, place, out);
        let Some(at) = self.group_of.get(place).copied().flatten() else { return };
        match moved {
            Some(Moved::Wishes) => self.elect(now, at, place, out),
            Some(Moved::Yielded(how)) => self.yield_all(now, at, place, &how, out),
            Some(Moved::HearsMaster) => self.let_go(now, at, place, out),
            None => {}
        }
        self.tell_group(at, out);
    }

    /// A member hears a master that it lets be: the others must not stay masters without it.
    fn let_go(&mut self, now: Instant, at: usize, place: usize, out: &mut Vec<Action>) {
        if self.groups.get(at).is_some_and(|group| sync::other_master(group, place, &self.routers)) {
            let how = Yield { release: false, soon: None, reason: "it hears another master".into() };
            self.yield_all(now, at, place, &how, out);
        }
    }

    /// All members go together, as soon as all of them would; `last` wished last, and goes first.
    fn elect(&mut self, now: Instant, at: usize, last: usize, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get(at) else { return };
        if !sync::all_wish(group, &self.routers) {
            return;
        }
        let others = group.members.clone().into_iter().filter(|member| *member != last);
        for member in std::iter::once(last).chain(others) {
            self.feed(now, member, RouterEvent::Elect);
            self.carry_out(now, member, out);
        }
    }

    fn yield_all(&mut self, now: Instant, at: usize, first: usize, how: &Yield, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get(at) else { return };
        let name = self.routers.get(first).map(|router| Arc::clone(&router.config().name));
        let reason = format!("sync group: {} left: {}", name.as_deref().unwrap_or_default(), how.reason);
        for member in group.members.clone().into_iter().filter(|member| *member != first) {
            let how = Yield { reason: reason.clone(), ..how.clone() };
            self.feed(now, member, RouterEvent::Yield(how));
            self.carry_out(now, member, out);
        }
    }

    fn tell_group(&mut self, at: usize, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let Some(to) = sync::state(group, &self.routers) else { return };
        if to == State::Initialize || to == group.state {
            return;
        }
        let from = std::mem::replace(&mut group.state, to);
        out.push(Action::GroupTransition { group: Arc::clone(&group.config.name), from, to });
    }

    /// Turns what the router at `place` wants into actions; what is left concerns its group.
    fn carry_out(&mut self, now: Instant, place: usize, out: &mut Vec<Action>) -> Option<Moved> {
        let Engine { routers, effects, announcements, surroundings, garp_intervals, .. } = self;
        let router = routers.get(place)?;
        let mut moved = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Act(action) => out.push(action),
                Effect::Silence => announcements.silence(router.id()),
                Effect::Announce(rounds) => {
                    for DeviceAddress { device, address } in router.addresses().iter() {
                        let (arp, neighbour) = garp_intervals.of(device);
                        let interval = if address.address.is_ipv4() { arp } else { neighbour };
                        announcements.want(now, router.id(), device, address.address, (rounds, interval));
                    }
                }
                Effect::AnnounceExtra => {
                    let devices = router.config().garp_extra.as_ref().map(|extra| &extra.devices);
                    let of_devices =
                        |one: &&DeviceAddress| devices.is_some_and(|all| all.contains(&one.device));
                    for DeviceAddress { device, address } in router.addresses().iter().filter(of_devices) {
                        let (arp, neighbour) = garp_intervals.of(device);
                        let interval = if address.address.is_ipv4() { arp } else { neighbour };
                        announcements.want(now, router.id(), device, address.address, (1, interval));
                    }
                }
                Effect::AnnounceSource => {
                    if let (Some(source), Some(device)) = (router.source(), &router.config().interface) {
                        frame(surroundings, device, source, out);
                    }
                }
                Effect::HearsMaster => moved = Some(Moved::HearsMaster),
                Effect::Wishes => moved = Some(Moved::Wishes),
                Effect::Yielded(how) => moved = Some(Moved::Yielded(how)),
            }
        }
        let deadline = router.deadline();
        self.queue(place, deadline);
        moved
    }

    fn queue(&mut self, place: usize, deadline: Option<Instant>) {
        let Some(queued) = self.queued.get_mut(place) else { return };
        if *queued == deadline {
            return;
        }
        if let Some(old) = queued.take() {
            self.due.remove(&(old, place));
        }
        *queued = deadline;
        self.due.extend(deadline.map(|at| (at, place)));
    }

    /// Works out anew what depends on which routers there are, with which configurations, in which groups.
    fn arrange(&mut self, configs: &[Arc<InstanceConfig>]) {
        self.group_of = vec![None; self.routers.len()];
        for (at, group) in self.groups.iter().enumerate() {
            for member in &group.members {
                if let Some(slot) = self.group_of.get_mut(*member) {
                    *slot = Some(at);
                }
            }
        }
        for (place, config) in configs.iter().enumerate() {
            let group = self.group_of(place);
            let as_master = group.map(|group| sync::begins_as_master(group, configs));
            let grouped = group.is_some();
            let Some(router) = self.routers.get_mut(place) else { continue };
            router.join(grouped, as_master.unwrap_or(config.priority == Priority::OWNER));
        }
        let addresses = configs.iter().flat_map(|one| one.addresses.iter().chain(&one.excluded_addresses));
        self.virtual_addresses = addresses.map(|one| one.address).collect();
        self.queued = self.routers.iter().map(Router::deadline).collect();
        self.due = (0..).zip(&self.queued).filter_map(|(place, at)| Some(((*at)?, place))).collect();
        self.number();
    }

    fn number(&mut self) {
        self.by_number.clear();
        self.heard_twice.clear();
        for (place, router) in self.routers.iter().enumerate() {
            let config = router.config();
            self.heard_twice.extend(router.parent().map(|parent| (parent, config.family, config.vrid.get())));
            if config.interface.is_some() && router.interface().is_none() {
                continue;
            }
            let at = (router.interface(), config.family, config.vrid.get());
            self.by_number.entry(at).or_default().push(place);
        }
    }

    fn moment(&self, now: Instant) -> Moment {
        let unix = self.clock.map_or(Duration::ZERO, |(at, unix)| match now.checked_duration_since(at) {
            Some(since) => unix + since,
            None => unix.saturating_sub(at.duration_since(now)),
        });
        Moment { at: now, unix }
    }

    fn new_id(&mut self) -> RouterId {
        self.next_id += 1;
        RouterId(self.next_id)
    }
}

/// What a member's event means for its sync group.
enum Moved {
    Wishes,
    HearsMaster,
    Yielded(Yield),
}

/// A gratuitous ARP or neighbour advertisement, unless the interface is gone or has no hardware address.
fn frame(surroundings: &Surroundings, device: &str, address: IpAddr, out: &mut Vec<Action>) {
    let Some(interface) = surroundings.interfaces.get(device) else { return };
    let Some(mac) = interface.mac else { return };
    let frame = match address {
        IpAddr::V4(address) => gratuitous_request(mac, address).to_vec(),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address, interface.forwarding).to_vec(),
    };
    out.push(Action::SendFrame { interface: interface.index, frame });
}
