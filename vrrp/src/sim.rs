//! Several engines on one virtual clock, joined by a link that may drop, delay or part (tests).
//!
//! Time jumps to the next thing that happens. Octets go through the whole receive path.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use crate::engine::{Action, DeviceAddress, Engine, Event, Interface, RouterId};
use crate::types::*;
use crate::wire::datagram::Datagram;
use crate::wire::ipv6;

pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

pub fn config(name: &str, vrid: u8, priority: u8) -> InstanceConfig {
    InstanceConfig {
        name: name.into(),
        vrid: NonZeroU8::new(vrid).expect("VRID"),
        priority: Priority(priority),
        ..crate::receive::plain_config(
            Delivery::Multicast { group: GROUP.into() },
            Authentication::Pass(*b"secret\0\0"),
        )
    }
}

/// A router of version 3.
pub fn v3(name: &str, priority: u8) -> InstanceConfig {
    InstanceConfig {
        version: Version::V3,
        authentication: Authentication::None,
        ..config(name, 51, priority)
    }
}

/// The datagrams that a router of `config` sends as it becomes master and is stopped.
fn datagrams_of(config: &InstanceConfig) -> Vec<Vec<u8>> {
    let mut sim = Sim::new(vec![config.clone()]);
    let router = sim.router(0);
    sim.event(0, Event::Begin { resume: vec![router] });
    sim.event(0, Event::Stop);
    let advert = |(_, action): (Duration, Action)| match action {
        Action::SendAdvert { packet, .. } => Some(packet),
        _ => None,
    };
    sim.nodes.remove(0).log.into_iter().filter_map(advert).collect()
}

/// An advert as a router of `config` sends it.
pub fn first_advert(config: &InstanceConfig) -> Vec<u8> {
    datagrams_of(config).swap_remove(0)
}

/// Its last one, of priority 0.
pub fn release(config: &InstanceConfig) -> Vec<u8> {
    datagrams_of(config).pop().expect("a master was stopped")
}

pub fn vip(address: Ipv4Addr) -> VirtualAddress {
    VirtualAddress::new(IpAddr::V4(address), 32)
}

pub fn index() -> IfIndex {
    NonZeroU32::new(2).expect("index")
}

/// eth0 of the host with this last octet.
pub fn interface(host: u8) -> Interface {
    nic(2, host)
}

/// Interface `ethN`, of index N + 2, of the host with this last octet.
pub fn nic(index: u32, host: u8) -> Interface {
    let net = u8::try_from(index - 2).expect("few interfaces");
    let local = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, net.into(), host.into());
    Interface {
        name: format!("eth{net}"),
        index: NonZeroU32::new(index).expect("index"),
        up: true,
        multicast: true,
        mac: Some([2, 0, 0, 0, net, host]),
        addresses: vec![Ipv4Addr::new(10, 0, net, host).into(), local.into()],
        forwarding: true,
    }
}

/// A datagram as a raw socket gives it.
pub fn datagram(octets: &[u8]) -> Option<Datagram<'_>> {
    if let Ok((header, payload)) = ipv6::Header::parse(octets) {
        return Some(Datagram::of_ipv6(header.source, header.destination, header.hop_limit, payload));
    }
    Datagram::of_ipv4(octets).ok()
}

/// Version, priority and number of addresses of the advert in a packet without authentication header.
pub fn advert_of(packet: &[u8]) -> (u8, u8, u8) {
    let message = datagram(packet).expect("a datagram").payload;
    (message[0] >> 4, message[2], message[3])
}

pub struct Node {
    pub engine: Engine,
    pub host: u8,
    pub alive: bool,
    /// Everything it did, with the time.
    pub log: Vec<(Duration, Action)>,
    pub held: BTreeSet<IpAddr>,
}

impl Node {
    pub fn state(&self) -> State {
        self.engine.routers().first().map_or(State::Initialize, |router| router.state())
    }

    pub fn priority(&self) -> u8 {
        self.engine.routers().first().map_or(0, |router| router.effective_priority().0)
    }

    pub fn transitions(&self) -> Vec<(State, State)> {
        let transition = |(_, action): &(Duration, Action)| match action {
            Action::Transition { from, to, .. } => Some((*from, *to)),
            _ => None,
        };
        self.log.iter().filter_map(transition).collect()
    }
}

pub struct Sim {
    pub start: Instant,
    pub now: Instant,
    pub nodes: Vec<Node>,
    /// Each node's side of the link; different sides do not hear each other.
    pub side: Vec<u8>,
    pub delay: Duration,
    /// Of 100 datagrams, for each receiver.
    pub loss: u32,
    pub random: fastrand::Rng,
    wire: VecDeque<(Instant, usize, IfIndex, Vec<u8>)>,
    /// Longest time during which two nodes of one side were master.
    pub worst_double: Duration,
    double_since: Option<Instant>,
}

impl Sim {
    pub fn new(configs: Vec<InstanceConfig>) -> Self {
        Self::of(configs.into_iter().map(|config| Setup::of(vec![config])).collect())
    }

    pub fn of(configs: Vec<Setup>) -> Self {
        let start = Instant::now();
        let side = vec![0; configs.len()];
        let node = |(host, setup): (u8, Setup)| Node {
            engine: Engine::new(setup),
            host,
            alive: true,
            log: vec![],
            held: BTreeSet::new(),
        };
        let mut sim = Sim {
            start,
            now: start,
            nodes: (1..).zip(configs).map(node).collect(),
            side,
            delay: Duration::from_micros(100),
            loss: 0,
            random: fastrand::Rng::with_seed(7),
            wire: VecDeque::new(),
            worst_double: Duration::ZERO,
            double_since: None,
        };
        for node in 0..sim.nodes.len() {
            sim.plug(node);
        }
        sim
    }

    /// All interfaces come up.
    pub fn plug(&mut self, node: usize) {
        for index in [2, 3] {
            self.event(node, Event::Interface(nic(index, self.nodes[node].host)));
        }
    }

    pub fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.event(node, Event::Begin { resume: vec![] });
        }
    }

    /// Gives a node what came over the wire.
    pub fn deliver(&mut self, to: usize, octets: &[u8]) {
        if let Some(datagram) = datagram(octets) {
            self.event(to, Event::Datagram { interface: index(), datagram });
        }
    }

    /// Feeds an event to a node and carries its actions out.
    pub fn event(&mut self, at: usize, event: Event) {
        let mut actions = Vec::new();
        self.nodes[at].engine.on_event(self.now, event, &mut actions);
        let since = self.now - self.start;
        let mut set = Vec::new();
        for action in actions {
            match &action {
                Action::SendAdvert { packet, destination, interface, .. } => {
                    let due = self.now + self.delay;
                    let interface = interface.unwrap_or(index());
                    for other in 0..self.nodes.len() {
                        let last = match destination {
                            IpAddr::V4(address) => address.octets()[3],
                            IpAddr::V6(address) => address.octets()[15],
                        };
                        let heard = other != at
                            && self.side[other] == self.side[at]
                            && (destination.is_multicast() || last == self.nodes[other].host)
                            && self.random.u32(0..100) >= self.loss;
                        if heard {
                            self.wire.push_back((due, other, interface, packet.clone()));
                        }
                    }
                }
                Action::SetAddresses { router, hold, purge, .. } => {
                    let node = &mut self.nodes[at];
                    purge.iter().flat_map(|purge| purge.iter()).for_each(|one| {
                        node.held.remove(&one.address.address);
                    });
                    node.held.extend(hold.iter().map(|one| one.address.address));
                    set.push(*router);
                }
                _ => {}
            }
            self.nodes[at].log.push((since, action));
        }
        for router in set {
            self.event(at, Event::AddressesSet(router));
        }
        self.note_doubles();
    }

    fn note_doubles(&mut self) {
        let sides: BTreeSet<u8> = self.side.iter().copied().collect();
        let double = sides.into_iter().any(|side| self.masters_on(side).len() > 1);
        match (double, self.double_since) {
            (true, None) => self.double_since = Some(self.now),
            (false, Some(since)) => {
                self.worst_double = self.worst_double.max(self.now - since);
                self.double_since = None;
            }
            _ => {}
        }
    }

    pub fn masters_on(&self, side: u8) -> Vec<usize> {
        let master = |(node, at): (&Node, &u8)| node.alive && *at == side && node.state() == State::Master;
        (0..).zip(self.nodes.iter().zip(&self.side)).filter(|(_, one)| master(*one)).map(|(i, _)| i).collect()
    }

    pub fn masters(&self) -> Vec<usize> {
        self.masters_on(0)
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = (0..).zip(&self.nodes).filter(|(_, node)| node.alive);
            let timer = timers.filter_map(|(i, node)| Some((node.engine.deadline()?, i))).min();
            let packet = self.wire.front().map(|(at, ..)| *at);
            match (timer, packet) {
                (timer, Some(at)) if at <= end && timer.is_none_or(|(timer, _)| at <= timer) => {
                    let (at, to, interface, octets) = self.wire.pop_front().expect("just seen");
                    self.now = self.now.max(at);
                    if self.nodes[to].alive {
                        let datagram = datagram(&octets).expect("what an engine sends");
                        self.event(to, Event::Datagram { interface, datagram });
                    }
                }
                (Some((at, node)), _) if at <= end => {
                    self.now = self.now.max(at);
                    self.event(node, Event::Deadline);
                }
                _ => break,
            }
        }
        self.now = end;
        self.note_doubles();
        if let Some(since) = self.double_since {
            self.worst_double = self.worst_double.max(self.now - since);
        }
    }

    pub fn router(&self, node: usize) -> RouterId {
        self.nodes[node].engine.routers()[0].id()
    }
}

mod adverts;
mod conditions;
mod effective;
mod election;
mod groups;
mod properties;
mod ranks;
mod reload;
mod starts;
mod storm;
mod tracking;
mod version3;
