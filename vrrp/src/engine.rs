//! All virtual routers of this host: time and events in, actions out.
//!
//! Here: whom an event is for, surroundings and priorities, reload by identity, pacing of
//! gratuitous ARP. Not here: the states of one router (`router`), sockets (`net`), addresses on
//! interfaces, the clock (the caller's).

mod garp;
mod surroundings;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::receive::{self, Refusal};
use crate::router::{Effect, Event as RouterEvent, Router};
use crate::types::{Delivery, IfIndex, InstanceConfig, Priority, State, TrackerId, VirtualAddress, Vrid};
use crate::wire::arp::{FRAME, gratuitous_request};
use crate::wire::ipv4::{self, Header};

use garp::Garp;
use surroundings::Surroundings;

pub use surroundings::Interface;

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
                device: address.device.clone().unwrap_or_else(|| config.interface_name().to_owned()),
                address: address.clone(),
            })
            .collect()
    }

    /// The IPv4 addresses that adverts list.
    pub fn advertised(config: &InstanceConfig) -> Vec<Ipv4Addr> {
        config.addresses.iter().filter_map(|address| ipv4::address(address.address)).collect()
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Time has passed. Harmless when early, late or repeated.
    Deadline,
    /// An IPv4 datagram with its header, received on an interface.
    Datagram {
        /// Where it came in.
        interface: IfIndex,
        /// Anything.
        octets: &'a [u8],
    },
    /// An interface is there, or is different from before.
    Interface(Interface),
    /// An interface is there no more.
    InterfaceGone(String),
    /// A tracker has a result.
    Tracker(TrackerId, bool),
    /// [`Action::SetAddresses`] of this router was done (as far as the kernel allowed).
    AddressesSet(RouterId),
    /// Somebody else removed an address that this router holds.
    AddressLost {
        /// Whose it was.
        router: RouterId,
        /// Address and interface in words.
        what: String,
    },
    /// The routers may take part from now on; those named are master already: their addresses
    /// are there and their last advert is young.
    Begin {
        /// Masters of an earlier process.
        resume: Vec<RouterId>,
    },
    /// Another configuration.
    Reload(Vec<InstanceConfig>),
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
        /// Out of this interface.
        interface: IfIndex,
        /// The group or a peer.
        destination: Ipv4Addr,
        /// Whole IPv4 datagram.
        packet: Vec<u8>,
    },
    /// Send an Ethernet frame (gratuitous ARP).
    SendFrame {
        /// Out of this interface.
        interface: IfIndex,
        /// Frame.
        frame: [u8; FRAME],
    },
    /// Make these the addresses that the router holds; take away all others that it held, and
    /// those of `purge` even if it never held them. An address that another router holds stays.
    /// Answered with [`Event::AddressesSet`].
    SetAddresses {
        /// Whose.
        router: RouterId,
        /// Wanted, in order.
        hold: Vec<DeviceAddress>,
        /// Unwanted unless in `hold`.
        purge: Vec<DeviceAddress>,
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
    /// The first refusal of this cause since the master changed: to be logged.
    Refused {
        /// For whom it was.
        instance: Arc<str>,
        /// Who sent it.
        source: Ipv4Addr,
        /// Why.
        cause: Refusal,
    },
}

/// What makes two configurations the same virtual router, over a reload too (family: IPv4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    vrid: Vrid,
    interface: Option<String>,
    /// Sorted; `None` for multicast.
    peers: Option<Vec<IpAddr>>,
}

impl Identity {
    /// The identity of a configuration.
    pub fn of(config: &InstanceConfig) -> Self {
        let peers = match &config.delivery {
            Delivery::Multicast { .. } => None,
            Delivery::Unicast { peers, .. } => {
                let mut peers: Vec<IpAddr> = peers.iter().map(|peer| peer.address).collect();
                peers.sort_unstable();
                Some(peers)
            }
        };
        Identity { vrid: config.vrid, interface: config.interface.clone(), peers }
    }
}

/// All virtual routers of this host.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    routers: Vec<Router>,
    surroundings: Surroundings,
    garp: Garp,
    next_id: u64,
    begun: bool,
    /// Datagrams of no virtual router of ours, or of no VRRP at all.
    strangers: u64,
    /// Reused between events.
    effects: Vec<Effect>,
}

impl Engine {
    /// Virtual routers in Initialize; nothing is sent before [`Event::Begin`].
    pub fn new(instances: Vec<InstanceConfig>) -> Self {
        let mut engine = Engine::default();
        for config in instances {
            let id = engine.new_id();
            engine.routers.push(Router::new(id, Arc::new(config)));
        }
        engine
    }

    /// The virtual routers in configuration order.
    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// Datagrams that were for none of them.
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Groups to be joined, by interface.
    pub fn memberships(&self) -> BTreeSet<(IfIndex, Ipv4Addr)> {
        let groups = self.routers.iter().filter_map(|router| match router.config().delivery {
            Delivery::Multicast { group } => router.interface().zip(ipv4::address(group)),
            Delivery::Unicast { .. } => None,
        });
        groups.collect()
    }

    /// When [`Event::Deadline`] is due; `None` when nothing waits for time.
    pub fn deadline(&self) -> Option<Instant> {
        self.routers.iter().filter_map(Router::deadline).chain(self.garp.deadline()).min()
    }

    /// Feeds one event and appends the actions it causes to `out`.
    pub fn on_event(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Deadline => {
                let due = |router: &Router| router.deadline().is_some_and(|at| now >= at);
                self.each(now, due, |_| RouterEvent::Deadline, out);
                let Engine { garp, surroundings, .. } = self;
                garp.on_deadline(now, &mut |device, address| frame(surroundings, device, address, out));
            }
            Event::Datagram { interface, octets } => self.on_datagram(now, interface, octets, out),
            Event::Interface(interface) => {
                let name = interface.name.clone();
                let known = self.surroundings.interfaces.get(&name);
                if known != Some(&interface) {
                    // A renamed interface keeps its index: the old name is gone.
                    self.surroundings.interfaces.retain(|_, other| other.index != interface.index);
                    let reason = format!("interface {name} is {}", if interface.up { "up" } else { "down" });
                    self.surroundings.interfaces.insert(name, interface);
                    self.resituate(now, &reason, out);
                }
            }
            Event::InterfaceGone(name) => {
                if self.surroundings.interfaces.remove(&name).is_some() {
                    self.resituate(now, &format!("interface {name} does not exist"), out);
                }
            }
            Event::Tracker(id, good) => {
                if self.surroundings.trackers.insert(id.clone(), good) != Some(good) {
                    let verdict = if good { "succeeded" } else { "failed" };
                    self.resituate(now, &format!("script {id} {verdict}"), out);
                }
            }
            Event::AddressesSet(id) => {
                self.each(now, |router| router.id() == id, |_| RouterEvent::AddressesSet, out);
            }
            Event::AddressLost { router, what } => {
                let reason = format!("{what} was removed by someone else");
                let lost = |_: &Router| RouterEvent::AddressLost(reason.clone());
                self.each(now, |one| one.id() == router, lost, out);
            }
            Event::Begin { resume } => {
                self.begun = true;
                self.resituate(now, "start", out);
                let begin = |router: &Router| RouterEvent::Begin { resume: resume.contains(&router.id()) };
                self.each(now, |_| true, begin, out);
            }
            Event::Reload(instances) => self.reload(now, instances, out),
            Event::Stop => self.each(now, |_| true, |_| RouterEvent::Stop { deleted: false }, out),
        }
    }

    fn on_datagram(&mut self, now: Instant, interface: IfIndex, octets: &[u8], out: &mut Vec<Action>) {
        let Ok((header, payload)) = Header::parse(octets) else {
            self.strangers += 1;
            return;
        };
        let Some(index) = receive::vrid(payload).and_then(|vrid| self.addressee(interface, vrid, &header))
        else {
            self.strangers += 1;
            return;
        };
        let Some(router) = self.routers.get_mut(index) else { return };
        let result = if router.listens() {
            receive::check(router.config(), &header, payload)
        } else {
            Err(Refusal::NotRunning)
        };
        match result {
            Ok(advert) => router.on_event(now, RouterEvent::Advert(advert), &mut self.effects),
            Err(cause) => {
                // Before the start, in a fault and for an owner told so, refusing is the normal case.
                let quiet = matches!(cause, Refusal::NotRunning | Refusal::Owner);
                if router.refuse(cause) && !quiet {
                    self.effects.push(router.refused(cause, header.source));
                }
            }
        }
        self.carry_out(now, index, out);
    }

    /// Whom a datagram is for. Several routers may share VRID and interface as long as they
    /// differ in group, source or peers; one that matches in none of these gets it and refuses it.
    fn addressee(&self, interface: IfIndex, vrid: u8, header: &Header) -> Option<usize> {
        let fit = |router: &Router| -> u8 {
            let destination = receive::destination_fits(&router.config().delivery, header.destination);
            let (to_us, peer) = match &router.config().delivery {
                Delivery::Multicast { .. } => (true, true),
                Delivery::Unicast { peers, .. } => {
                    let from = IpAddr::V4(header.source);
                    let peer = peers.iter().any(|peer| peer.address == from);
                    (router.source() == Some(header.destination), peer)
                }
            };
            4 * u8::from(destination) + 2 * u8::from(destination && to_us) + u8::from(destination && peer)
        };
        let candidates = self.routers.iter().enumerate().filter(|(_, router)| {
            router.interface() == Some(interface) && router.config().vrid.get() == vrid
        });
        // The first of the best.
        candidates.rev().max_by_key(|(_, router)| fit(router)).map(|(index, _)| index)
    }

    fn reload(&mut self, now: Instant, instances: Vec<InstanceConfig>, out: &mut Vec<Action>) {
        let mut old = std::mem::take(&mut self.routers);
        let mut kept = Vec::with_capacity(instances.len());
        for config in instances {
            let identity = Identity::of(&config);
            match old.iter().position(|router| Identity::of(router.config()) == identity) {
                Some(at) => {
                    self.routers.push(old.remove(at));
                    kept.push(Some(Arc::new(config)));
                }
                None => {
                    let id = self.new_id();
                    self.routers.push(Router::new(id, Arc::new(config)));
                    kept.push(None);
                }
            }
        }
        // All routers are in their places with their new addresses before the first one acts:
        // a source is never taken from another's virtual addresses.
        let all = kept.iter().zip(&self.routers).map(|(new, router)| match new {
            Some(config) => Arc::clone(config),
            None => Arc::new(router.config().clone()),
        });
        let all: Vec<_> = all.collect();
        let virtual_addresses = virtual_addresses(all.iter().map(AsRef::as_ref));
        for (index, (new, config)) in kept.into_iter().zip(&all).enumerate() {
            let situation = self.surroundings.situation(config, &virtual_addresses);
            let Some(router) = self.routers.get_mut(index) else { continue };
            match new {
                Some(config) => router.reconfigure(now, config, situation, &mut self.effects),
                None => {
                    let event = RouterEvent::Situation(situation, "reload".into());
                    router.on_event(now, event, &mut self.effects);
                    if self.begun {
                        router.on_event(now, RouterEvent::Begin { resume: false }, &mut self.effects);
                    }
                }
            }
            self.carry_out(now, index, out);
        }
        // Removed ones come last: an address that moved to a kept master never leaves.
        for mut router in old {
            router.on_event(now, RouterEvent::Stop { deleted: true }, &mut self.effects);
            let id = router.id();
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Act(action) => out.push(action),
                    Effect::Announce(_) | Effect::Silence => self.garp.silence(id),
                }
            }
        }
        let named: BTreeSet<&TrackerId> =
            all.iter().flat_map(|config| config.trackers.iter().map(|(id, _)| id)).collect();
        self.surroundings.trackers.retain(|id, _| named.contains(id));
    }

    /// Works out every router's situation anew and tells those for which it is different.
    fn resituate(&mut self, now: Instant, reason: &str, out: &mut Vec<Action>) {
        let virtual_addresses = virtual_addresses(self.routers.iter().map(Router::config));
        for index in 0..self.routers.len() {
            let Some(router) = self.routers.get_mut(index) else { continue };
            let situation = self.surroundings.situation(router.config(), &virtual_addresses);
            if router.is_situated(&situation) {
                continue;
            }
            let event = RouterEvent::Situation(situation, reason.to_owned());
            router.on_event(now, event, &mut self.effects);
            self.carry_out(now, index, out);
        }
    }

    fn each(
        &mut self,
        now: Instant,
        whom: impl Fn(&Router) -> bool,
        event: impl Fn(&Router) -> RouterEvent,
        out: &mut Vec<Action>,
    ) {
        for index in 0..self.routers.len() {
            let Some(router) = self.routers.get_mut(index) else { continue };
            if whom(router) {
                let event = event(router);
                router.on_event(now, event, &mut self.effects);
                self.carry_out(now, index, out);
            }
        }
    }

    /// Turns what the router at `index` wants into actions.
    fn carry_out(&mut self, now: Instant, index: usize, out: &mut Vec<Action>) {
        let Engine { routers, effects, garp, surroundings, .. } = self;
        let Some(router) = routers.get(index) else { return };
        for effect in effects.drain(..) {
            match effect {
                Effect::Act(action) => out.push(action),
                Effect::Silence => garp.silence(router.id()),
                Effect::Announce(rounds) => {
                    let burst = (rounds, Duration::ZERO);
                    for (device, addresses) in by_device(router.config()) {
                        garp.announce(
                            now,
                            router.id(),
                            &device,
                            &addresses,
                            burst,
                            &mut |device, address| {
                                frame(surroundings, device, address, out);
                            },
                        );
                    }
                }
            }
        }
    }

    fn new_id(&mut self) -> RouterId {
        self.next_id += 1;
        RouterId(self.next_id)
    }
}

/// IPv4 addresses of `config` by interface, in order.
fn by_device(config: &InstanceConfig) -> Vec<(String, Vec<Ipv4Addr>)> {
    let mut devices: Vec<(String, Vec<Ipv4Addr>)> = Vec::new();
    for DeviceAddress { device, address } in DeviceAddress::all_of(config) {
        let IpAddr::V4(address) = address.address else { continue };
        match devices.iter_mut().find(|(name, _)| *name == device) {
            Some((_, addresses)) => addresses.push(address),
            None => devices.push((device, vec![address])),
        }
    }
    devices
}

/// Addresses that are no source: virtual ones of anybody.
fn virtual_addresses<'a>(configs: impl Iterator<Item = &'a InstanceConfig>) -> BTreeSet<Ipv4Addr> {
    let addresses = configs.flat_map(|config| config.addresses.iter().chain(&config.excluded_addresses));
    addresses.filter_map(|address| ipv4::address(address.address)).collect()
}

/// A gratuitous ARP, unless the interface is gone or has no hardware address.
fn frame(surroundings: &Surroundings, device: &str, address: Ipv4Addr, out: &mut Vec<Action>) {
    if let Some(interface) = surroundings.interfaces.get(device)
        && let Some(mac) = interface.mac
    {
        out.push(Action::SendFrame { interface: interface.index, frame: gratuitous_request(mac, address) });
    }
}
