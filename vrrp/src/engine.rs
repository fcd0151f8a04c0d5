//! All virtual routers of this host: time and events in, actions out.
//!
//! Here: what there is, and whom an event is for. Not here: datagrams (`arrival`), sync groups (`conduct`,
//! `sync`), actions (`effects`), reload (`reload`), interfaces and priorities (`surroundings`), the states of
//! one router (`router`), sockets (`net`), addresses on interfaces, the clock (the caller's).

mod announce;
mod arrival;
mod conduct;
mod deadlines;
mod effects;
mod identity;
mod message;
mod reload;
mod strangers;
mod surroundings;
mod sync;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::router::{Effect, Event as RouterEvent, Moment, Router, Situation};
use crate::timers;
use crate::types::{Delivery, Family, GarpIntervals, IfIndex, InstanceConfig, Priority, Setup, State};

use announce::Announcements;
use deadlines::Deadlines;
use strangers::Strangers;
use surroundings::Surroundings;

pub use identity::Identity;
pub use message::{Action, DeviceAddress, Event, RouterId};
pub use strangers::Foreign;
pub use surroundings::Interface;
pub use sync::Group;

/// All virtual routers of this host.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    routers: Vec<Router>,
    groups: Vec<Group>,
    /// Places among `groups`, by place among `routers`.
    group_of: Vec<Option<usize>>,
    /// Places of routers by the interface and number that adverts for them have.
    by_number: HashMap<(IfIndex, Family, u8), Vec<usize>>,
    /// The same of those without an interface.
    by_number_alone: HashMap<(Family, u8), Vec<usize>>,
    /// Parents of routers' own interfaces: what comes in there comes in on the own one too.
    heard_twice: HashSet<(IfIndex, Family, u8)>,
    /// Of the routers, by place.
    deadlines: Deadlines,
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
        self.deadlines.first().into_iter().chain(self.announcements.deadline()).min()
    }

    /// Whether a Backup would take over at [`Event::Deadline`] now. What has arrived by then is to be fed
    /// first: its master may be in it.
    pub fn takeover_due(&self, now: Instant) -> bool {
        let due = self.deadlines.due(now).into_iter();
        due.filter_map(|place| self.routers.get(place)).any(|router| router.state() == State::Backup)
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
        let due = self.deadlines.due(now);
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
        announcements.on_deadline(now, &mut |device, address| {
            effects::frame(surroundings, device, address, out);
        });
    }

    fn on_interface(&mut self, now: Instant, interface: Interface, out: &mut Vec<Action>) {
        let name = interface.name.clone();
        let before = self.surroundings.interfaces.get(&name);
        if before == Some(&interface) {
            return;
        }
        let reason = match before {
            Some(before) if before.up == interface.up && before.addresses != interface.addresses => {
                format!("interface {name} has other addresses")
            }
            _ => format!("interface {name} is {}", if interface.up { "up" } else { "down" }),
        };
        // A renamed interface keeps its index: the old name is gone.
        self.surroundings.interfaces.retain(|_, other| other.index != interface.index);
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
        let mut situations = self.situations(&self.configs());
        let order = sync::order(&self.groups, &self.group_of, &self.routers, &situations);
        let mut moved = false;
        for place in order {
            let (Some(router), Some(situation)) = (self.routers.get(place), situations.get_mut(place)) else {
                continue;
            };
            let situation = std::mem::take(situation);
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
        self.deadlines = Deadlines::of(self.routers.iter().map(Router::deadline));
        self.number();
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
