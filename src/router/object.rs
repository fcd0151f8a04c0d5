//! What is held in the kernel for somebody: addresses, routes and rules.
//!
//! Here: the things, what tells one from another, lists of them. Not here: who holds which (`held`), messages
//! (`kernel`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use lbd_grammar::config::{Lockable, Named, Prefix, Route, RouteMode, RouteTable, RouteType, Rule};
use lbd_vrrp::DeviceAddress;

/// Numbers of the kernel's: tables, and scopes of routes (linux/rtnetlink.h).
const TABLE_MAIN: u32 = 254;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
/// The largest values that the kernel keeps; above them it keeps these.
const MOST_MTU: u32 = 65_520;
const MOST_SEGMENT: u32 = 65_495;

/// Something that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Address(DeviceAddress),
    Route(RouteEntry),
    Rule(RuleEntry),
}

/// What tells one object from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Interface, address, prefix length.
    Address(String, IpAddr, u8),
    Route(Arc<Route>),
    Rule(Arc<Rule>),
}

/// Of which the kernel has room for one only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// An IPv6 address on an interface, whatever its prefix length.
    Address(String, IpAddr),
    /// A destination in a table, with what else routes are looked up by. `way`: an IPv6 route may have neighbours
    /// over other ways.
    Route {
        destination: Prefix,
        source: Option<Prefix>,
        table: Option<RouteTable>,
        tos: Option<Named<u8>>,
        metric: Option<u32>,
        way: Option<(Option<String>, Option<IpAddr>)>,
    },
}

/// A route with all names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteEntry {
    /// Without what says nothing about the route that is there: `mode`, `no_track`, `track_group`; defaults written
    /// out.
    pub route: Arc<Route>,
    /// How the kernel is asked for it.
    pub mode: RouteMode,
    /// Its loss has no effect, and it is not put back.
    pub no_track: bool,
    /// As the configuration writes it.
    pub text: Arc<str>,
}

/// A rule with all names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleEntry {
    /// Without `no_track` and `track_group`.
    pub rule: Arc<Rule>,
    /// Its loss has no effect, and it is not put back.
    pub no_track: bool,
    /// As the configuration writes it.
    pub text: Arc<str>,
}

/// Routes and rules, in the order in which they are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub routes: Vec<RouteEntry>,
    pub rules: Vec<RuleEntry>,
}

/// What somebody holds, or is to lose.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    pub addresses: Arc<[DeviceAddress]>,
    pub entries: Arc<Entries>,
}

impl Object {
    pub fn key(&self) -> Key {
        match self {
            Object::Address(DeviceAddress { device, address }) => {
                Key::Address(device.clone(), address.address, address.prefix)
            }
            Object::Route(entry) => Key::Route(Arc::clone(&entry.route)),
            Object::Rule(entry) => Key::Rule(Arc::clone(&entry.rule)),
        }
    }

    /// The place that it needs for itself, if it does.
    pub fn place(&self) -> Option<Place> {
        match self {
            Object::Address(_) => self.places().next(),
            // IPv4 routes that need not be alone stand one behind the other.
            Object::Route(RouteEntry { route, mode: RouteMode::Prepend | RouteMode::Append, .. })
                if route.destination.address.is_ipv4() =>
            {
                None
            }
            Object::Route(entry) => Some(entry.place(entry.mode == RouteMode::Add)),
            Object::Rule(_) => None,
        }
    }

    /// All places in which it is.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let (one, other) = match self {
            Object::Address(DeviceAddress { device, address }) => {
                let six = address.address.is_ipv6();
                (six.then(|| Place::Address(device.clone(), address.address)), None)
            }
            Object::Route(entry) => (Some(entry.place(true)), Some(entry.place(false))),
            Object::Rule(_) => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// Where an IPv4 route stands before or behind others.
    pub fn stacked(&self) -> Option<(Place, &RouteEntry)> {
        match self {
            Object::Route(entry) if entry.route.destination.address.is_ipv4() => {
                Some((entry.place(true), entry))
            }
            Object::Address(_) | Object::Route(_) | Object::Rule(_) => None,
        }
    }

    /// Its loss has no effect, and it is not put back. A route that the kernel is told to drop is meant to go.
    pub fn is_untracked(&self) -> bool {
        match self {
            Object::Address(address) => address.address.no_track,
            Object::Route(entry) => entry.no_track || entry.route.expires.is_some(),
            Object::Rule(entry) => entry.no_track,
        }
    }

    /// Interfaces that it needs.
    pub fn interfaces(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Object::Address(address) => Box::new(std::iter::once(address.device.as_str())),
            Object::Route(entry) => Box::new(entry.route.interfaces()),
            // It waits for them in the kernel.
            Object::Rule(_) => Box::new(std::iter::empty()),
        }
    }
}

/// As events and status write it.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Address(DeviceAddress { device, address }) => {
                write!(f, "{}/{} on {device}", address.address, address.prefix)
            }
            Object::Route(entry) => write!(f, "route {}", entry.text),
            Object::Rule(entry) => write!(f, "rule {}", entry.text),
        }
    }
}

impl Key {
    /// In this order kinds are added.
    pub fn rank(&self) -> u8 {
        match self {
            Key::Address(..) => 0,
            Key::Route(_) => 1,
            Key::Rule(_) => 2,
        }
    }
}

impl RouteEntry {
    fn place(&self, alone: bool) -> Place {
        let route = &self.route;
        Place::Route {
            destination: route.destination,
            source: route.source,
            table: route.table.clone(),
            tos: route.tos.clone(),
            metric: route.metric,
            way: (!alone).then(|| (route.device.clone(), route.gateway)),
        }
    }

    /// Whether the kernel may take this for `old`, in the same place, when it is asked to delete that. It compares
    /// what the request names, and neither weights nor all options.
    pub fn is_taken_for(&self, old: &RouteEntry) -> bool {
        old.ways().any(|(device, gateway)| {
            self.ways().any(|(own_device, own_gateway)| {
                let on_device = device.is_none() || own_device.is_none() || device == own_device;
                on_device && (gateway.is_none() || gateway == own_gateway)
            })
        })
    }

    /// Interfaces and gateways.
    fn ways(&self) -> impl Iterator<Item = (Option<&str>, Option<IpAddr>)> {
        let route = &self.route;
        let own = (route.device.as_deref(), route.gateway);
        let hops = route.next_hops.iter().map(|hop| (hop.device.as_deref(), hop.gateway));
        hops.chain(route.next_hops.is_empty().then_some(own))
    }

    pub fn of(route: &Route) -> Self {
        let mut plain = route.clone();
        (plain.mode, plain.no_track, plain.track_group) = (RouteMode::Prepend, false, None);
        match &plain.table {
            None | Some(RouteTable::Table(Named::Number(0))) => {
                plain.table = Some(RouteTable::Table(Named::Number(TABLE_MAIN)));
            }
            Some(_) => {}
        }
        if plain.destination.address.is_ipv4() {
            // As keepalived: what leads out of the host leads everywhere, unless the kernel has no such route.
            plain.scope.get_or_insert(Named::Number(match plain.kind {
                RouteType::Local => SCOPE_HOST,
                RouteType::Broadcast | RouteType::Anycast => SCOPE_LINK,
                _ => SCOPE_UNIVERSE,
            }));
        } else {
            plain.scope = None;
        }
        plain.metric.take_if(|metric| *metric == 0);
        for hop in &mut plain.next_hops {
            hop.weight.get_or_insert(1);
        }
        for (metric, most) in
            [(&mut plain.metrics.mtu, MOST_MTU), (&mut plain.metrics.advertised_mss, MOST_SEGMENT)]
        {
            *metric = metric.map(|Lockable { value, locked }| Lockable { value: value.min(most), locked });
        }
        let (mode, no_track) = (route.mode, route.no_track);
        RouteEntry { route: Arc::new(plain), mode, no_track, text: route.to_string().into() }
    }
}

impl RuleEntry {
    pub fn of(rule: &Rule) -> Self {
        let plain = Rule { no_track: false, track_group: None, ..rule.clone() };
        RuleEntry { rule: Arc::new(plain), no_track: rule.no_track, text: rule.to_string().into() }
    }
}

impl Entries {
    pub fn of(routes: &[Route], rules: &[Rule]) -> Self {
        Entries {
            routes: routes.iter().map(RouteEntry::of).collect(),
            rules: rules.iter().map(RuleEntry::of).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }
}

impl Load {
    #[cfg(test)]
    pub fn of_addresses(addresses: Arc<[DeviceAddress]>) -> Self {
        Load { addresses, entries: Arc::default() }
    }

    /// In the order in which it is added.
    pub fn objects(&self) -> impl DoubleEndedIterator<Item = Object> + '_ {
        let addresses = self.addresses.iter().cloned().map(Object::Address);
        let routes = self.entries.routes.iter().cloned().map(Object::Route);
        addresses.chain(routes).chain(self.entries.rules.iter().cloned().map(Object::Rule))
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.entries.is_empty()
    }

    /// Whether both are the same lists, without a look into them.
    pub fn is_same(&self, other: &Self) -> bool {
        let addresses = Arc::ptr_eq(&self.addresses, &other.addresses)
            || self.addresses.is_empty() && other.addresses.is_empty();
        let entries =
            Arc::ptr_eq(&self.entries, &other.entries) || self.entries.is_empty() && other.entries.is_empty();
        addresses && entries
    }
}

impl FromIterator<Object> for Load {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let (mut addresses, mut entries) = (Vec::new(), Entries::default());
        for object in objects {
            match object {
                Object::Address(address) => addresses.push(address),
                Object::Route(entry) => entries.routes.push(entry),
                Object::Rule(entry) => entries.rules.push(entry),
            }
        }
        Load { addresses: addresses.into(), entries: entries.into() }
    }
}
