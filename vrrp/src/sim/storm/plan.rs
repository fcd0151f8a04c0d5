//! What one run is made of: routers, groups, link and weather, all from one seed.
//!
//! Here: choices. Not here: what they do (`world`), what must hold (`ledger`, `segments`).
//!
//! Never chosen, because no election could be right then: different intervals in version 2 (such routers
//! refuse each other); groups whose members rank their nodes differently (each group is the better one on one
//! segment, and both yield for good).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use crate::timers;

pub const MOST_NODES: usize = 5;
pub const MOST_SEGMENTS: usize = 2;

/// auth_hmac's time_window.
const WINDOW: Duration = Duration::from_secs(5);
/// Clocks that differ by less never matter: two such differences are less than the window.
pub const HARMLESS_CLOCK: i64 = 2_000;
/// After a larger difference, and after a restart that forgets what was sent, this long.
pub const CLOCK_SETTLES: Duration = Duration::from_secs(12);

/// What happens to nodes and link.
#[derive(Clone, Debug)]
pub enum Weather {
    /// A process starts, unless one runs.
    Start(usize),
    /// kill -9.
    Kill(usize),
    /// kill -9 and a new process at once that takes over what the old one held.
    Upgrade(usize),
    /// An orderly stop.
    Stop(usize),
    /// The process stands still.
    Pause(usize, Duration),
    /// A node's interface.
    Link(usize, usize, bool),
    /// What a node tracks.
    Track(usize, bool),
    /// Somebody removes an address of a master.
    TakeAddress(usize, usize),
    /// Reload of the same file.
    Reload(usize),
    /// A node's clock, in ms from the right time.
    Clock(usize, i64),
    /// A node is on this side of segment 0, and of segment 1.
    Side(usize, [u8; MOST_SEGMENTS]),
    /// Of 100 datagrams to a node so many are lost.
    Lose(usize, u8),
    /// Of 100 datagrams so many come twice.
    Duplicate(u8),
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// By node. The router at a place is on the segment of that number.
    pub setups: Vec<Setup>,
    pub segments: usize,
    pub grouped: bool,
    pub hmac: bool,
    /// It is certain when there is one master again.
    pub converges: bool,
    /// A datagram takes from `shortest` to `longest`.
    pub shortest: Duration,
    pub longest: Duration,
    /// By time.
    pub weather: Vec<(Duration, Weather)>,
    /// Then everything is healed.
    pub quiet_at: Duration,
    /// So long after that there is one master.
    pub settled_at: Duration,
    /// And still then.
    pub end: Duration,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let r = &mut random;
        let nodes = r.usize(2..=MOST_NODES);
        let segments = r.usize(1..=MOST_SEGMENTS);
        let grouped = r.u8(0..4) > 0 && (segments == 2 || r.u8(0..4) == 0);
        let hmac = r.u8(0..24) == 0;
        let kinds: Vec<Kind> = (0..segments).map(|_| Kind::any(r)).collect();
        let hosts: Vec<Host> = Host::all(r, nodes, grouped);
        let startup_delay = if r.u8(0..6) == 0 { ms(r.u64(200..4000)) } else { Duration::ZERO };
        let setup = |r: &mut fastrand::Rng, node: usize| {
            let instances = (0..segments)
                .map(|segment| {
                    instance(r, segment, node, nodes, &kinds[segment], &hosts[node], grouped, hmac)
                })
                .collect::<Vec<_>>();
            let mut setup = Setup { startup_delay, ..Setup::of(instances) };
            if grouped {
                let members = setup.instances.iter().map(|one| Arc::clone(&one.name)).collect();
                let of_group = hosts[node].tracks_group.then(|| hosts[node].tracker()).flatten();
                let trackers = of_group.into_iter().collect();
                setup.groups =
                    vec![GroupConfig { name: "G".into(), members, trackers, ..GroupConfig::default() }];
            }
            setup
        };
        let setups: Vec<Setup> = (0..nodes).map(|node| setup(r, node)).collect();

        let all = || setups.iter().flat_map(|setup| &setup.instances);
        let shortest_interval = all().map(|one| one.advert_interval).min().expect("routers");
        let longest =
            r.u64(200..=u64::try_from(shortest_interval.as_micros() / 4).expect("short").min(60_000));
        let shortest = if r.bool() { longest } else { r.u64(100..=longest) };

        let storm = ms(r.u64(35_000..45_000));
        let weather = weather(r, nodes, segments, grouped, hmac, storm);
        let slowest = all().map(|one| one.advert_interval).max().expect("routers");
        let down = all()
            .map(|one| {
                timers::master_down_interval(one.version, slowest, one.down_timer_adverts, Priority(1))
            })
            .max()
            .expect("routers");
        let preempt_delay = all().map(|one| one.preempt_delay).max().expect("routers");
        let clocks = if hmac { CLOCK_SETTLES } else { Duration::ZERO };
        let settle = clocks + startup_delay + preempt_delay + slowest * 3 + down * 2 + ms(500);
        let settled_at = storm + settle;
        let end = (settled_at + down + slowest).max(Duration::from_secs(60));
        Plan {
            seed,
            setups,
            segments,
            grouped,
            hmac,
            converges: kinds.iter().all(|kind| kind.intervals != Intervals::FarApart),
            shortest: Duration::from_micros(shortest),
            longest: Duration::from_micros(longest),
            weather,
            quiet_at: storm,
            settled_at,
            end,
        }
    }

    pub fn config(&self, node: usize, segment: usize) -> &InstanceConfig {
        &self.setups[node].instances[segment]
    }

    /// The setup in words.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{} nodes, {} segments{}{}, datagrams take {:?} to {:?}, startup_delay {:?}, quiet from {:?}, settled at {:?}\n",
            self.setups.len(),
            self.segments,
            if self.grouped { ", sync groups" } else { "" },
            if self.hmac { ", auth_hmac" } else { "" },
            self.shortest,
            self.longest,
            self.setups[0].startup_delay,
            self.quiet_at,
            self.settled_at,
        );
        for (node, setup) in self.setups.iter().enumerate() {
            for (segment, one) in setup.instances.iter().enumerate() {
                let unicast = matches!(one.delivery, Delivery::Unicast { .. });
                text += &format!(
                    "  node {node} eth{segment}: {:?} {} priority {} every {:?} x{}{}{}{}{}{} trackers {:?} {:?}\n",
                    one.version,
                    one.family,
                    one.priority,
                    one.advert_interval,
                    one.down_timer_adverts,
                    if one.preempt { "" } else { " nopreempt" },
                    if one.preempt_delay.is_zero() {
                        String::new()
                    } else {
                        format!(" preempt_delay {:?}", one.preempt_delay)
                    },
                    if unicast { " unicast" } else { "" },
                    if one.lower_priority_no_advert { " lower_prio_no_advert" } else { "" },
                    if one.higher_priority_send_advert { " higher_prio_send_advert" } else { "" },
                    one.trackers.iter().map(|(_, weight)| weight.value).collect::<Vec<_>>(),
                    setup.groups.first().map(|group| group.trackers.len()),
                );
            }
        }
        text
    }
}

/// By so many tenths, in whole centiseconds, as version 3 has them.
fn longer(interval: Duration, tenths: u128) -> Duration {
    let cs = interval.as_millis() / 10;
    ms(u64::try_from((cs + cs * tenths / 10) * 10).expect("short"))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn script() -> TrackerId {
    TrackerId::script("check")
}

/// How the intervals of one segment's routers differ; in version 2 they never do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intervals {
    Same,
    /// By half at most.
    Near,
    /// A Backup that hears the last advert of a fast master after the first one of a slow master counts with
    /// the short interval, and takes over before the slow one sends again. Each time that ends within one
    /// interval, but it may happen again.
    FarApart,
}

/// What the routers of one segment have in common.
struct Kind {
    version: Version,
    family: Family,
    interval: Duration,
    intervals: Intervals,
    adverts: u8,
    unicast: bool,
    garp_delay: Duration,
}

impl Kind {
    fn any(r: &mut fastrand::Rng) -> Self {
        let version = if r.bool() { Version::V2 } else { Version::V3 };
        let interval = match version {
            Version::V2 => ms([1000, 1000, 1000, 2000, 3000][r.usize(0..5)]),
            Version::V3 => Self::any_centiseconds(r),
        };
        Kind {
            version,
            family: if version == Version::V3 && r.bool() { Family::V6 } else { Family::V4 },
            interval,
            intervals: match (version, r.u8(0..8)) {
                (Version::V3, 0) => Intervals::FarApart,
                (Version::V3, 1) => Intervals::Near,
                _ => Intervals::Same,
            },
            adverts: [3, 3, 3, 3, 2, 4][r.usize(0..6)],
            unicast: r.u8(0..4) == 0,
            garp_delay: if r.u8(0..4) == 0 { ms(5000) } else { Duration::ZERO },
        }
    }

    /// 0.1 to 2 s in whole centiseconds, mostly long ones: the short ones cost the time of the run.
    fn any_centiseconds(r: &mut fastrand::Rng) -> Duration {
        ms([100, 250, 500, 700, 1000, 1000, 1500, 2000][r.usize(0..8)] + 10 * r.u64(0..=1))
    }
}

/// What the routers of one node have in common.
struct Host {
    /// On segment 0; each further one is lower by `step`, the same for all nodes.
    priority: u8,
    step: u8,
    owner: [bool; MOST_SEGMENTS],
    preempt: bool,
    preempt_delay: Duration,
    weight: Option<i16>,
    tracks_group: bool,
    late_backup: Option<Priority>,
    lower_priority_no_advert: bool,
    higher_priority_send_advert: bool,
}

impl Host {
    fn all(r: &mut fastrand::Rng, nodes: usize, grouped: bool) -> Vec<Host> {
        let equal = r.u8(0..6) == 0;
        let common = r.u8(40..=200);
        let extreme = !grouped && r.u8(0..8) == 0;
        let step = if grouped { r.u8(0..=3) } else { r.u8(0..=30) };
        let no_preempt = r.u8(0..4) == 0;
        let owners = match r.u8(0..8) {
            0 => 1,
            1 => r.usize(1..=2),
            _ => 0,
        };
        let mut host = |node: usize| {
            let priority = match (equal || r.u8(0..8) == 0, extreme) {
                (true, _) => common,
                (false, true) => [1, 2, 253, 254][r.usize(0..4)],
                (false, false) => r.u8(40..=200),
            };
            // Mixed: the owner of one segment's addresses only, and best on the other one too.
            let mixed = grouped && owners == 1 && r.u8(0..3) == 0;
            let delayed = r.u8(0..6) == 0;
            Host {
                priority,
                step,
                owner: [node < owners, node < owners && !mixed],
                preempt: !no_preempt && r.u8(0..8) > 0,
                preempt_delay: if delayed { ms(r.u64(500..5000)) } else { Duration::ZERO },
                weight: match r.u8(0..4) {
                    0 => Some(0),
                    1 => Some(r.i16(-25..=25)),
                    _ => None,
                },
                tracks_group: grouped && r.bool(),
                late_backup: (r.u8(0..6) == 0).then(|| Priority(r.u8(1..=254))),
                lower_priority_no_advert: r.u8(0..8) == 0,
                higher_priority_send_advert: r.u8(0..8) == 0,
            }
        };
        (0..nodes).map(&mut host).collect()
    }

    fn priority(&self, segment: usize) -> Priority {
        match (segment, self.owner) {
            (0, [true, _]) | (1, [_, true]) => Priority::OWNER,
            (1, [true, false]) => Priority(254),
            (0, _) => Priority(self.priority),
            _ => Priority(self.priority.saturating_sub(self.step).max(1)),
        }
    }

    fn tracker(&self) -> Option<(TrackerId, Weight)> {
        self.weight.map(|value| (script(), Weight { value, reverse: false }))
    }
}

#[expect(clippy::too_many_arguments, reason = "each is another part of the plan")]
fn instance(
    r: &mut fastrand::Rng,
    segment: usize,
    node: usize,
    nodes: usize,
    kind: &Kind,
    host: &Host,
    grouped: bool,
    hmac: bool,
) -> InstanceConfig {
    let net = u8::try_from(segment).expect("few segments");
    let number = |node: usize| u8::try_from(node + 1).expect("few nodes");
    let address = |node: usize| -> IpAddr {
        let nic = nic(u32::from(net) + 2, number(node));
        *nic.addresses.iter().find(|one| Family::of(**one) == kind.family).expect("an address of each family")
    };
    let group: IpAddr = match kind.family {
        Family::V4 => GROUP.into(),
        Family::V6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
    };
    let peers = || (0..nodes).filter(|other| *other != node).map(|other| Peer::new(address(other))).collect();
    let virtual_addresses: Vec<VirtualAddress> = match kind.family {
        Family::V4 => vec![vip(Ipv4Addr::new(10, 0, net, 100)), vip(Ipv4Addr::new(10, 0, net, 101))],
        Family::V6 => {
            let link = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 1, net.into(), 0x64);
            vec![VirtualAddress::new(link.into(), 64)]
        }
    };
    InstanceConfig {
        version: kind.version,
        family: kind.family,
        priority: host.priority(segment),
        advert_interval: match kind.intervals {
            Intervals::Same => kind.interval,
            Intervals::Near => longer(kind.interval, r.u128(0..=5)),
            Intervals::FarApart => Kind::any_centiseconds(r),
        },
        down_timer_adverts: kind.adverts,
        delivery: match kind.unicast {
            true => Delivery::Unicast { peers: peers(), ttl: Some(255), check_source: r.bool() },
            false => Delivery::Multicast { group },
        },
        authentication: if hmac { signed() } else { Authentication::None },
        preempt: host.preempt,
        preempt_delay: host.preempt_delay,
        late_backup: host.late_backup,
        addresses: virtual_addresses,
        garp: GratuitousArp {
            delay: kind.garp_delay,
            repeat: 1,
            lower_priority_delay: kind.garp_delay,
            lower_priority_repeat: 1,
            ..GratuitousArp::default()
        },
        lower_priority_no_advert: host.lower_priority_no_advert,
        higher_priority_send_advert: host.higher_priority_send_advert,
        trackers: host.tracker().filter(|_| !(grouped && host.tracks_group)).into_iter().collect(),
        ..InstanceConfig::new(
            ["VI_0", "VI_1"][segment],
            ["eth0", "eth1"][segment],
            NonZeroU8::new(51 + net).expect("VRID"),
        )
    }
}

fn signed() -> Authentication {
    Authentication::Hmac(Box::new(Hmac {
        keys: vec![(NonZeroU8::MIN, HmacKey::Text(b"0123456789abcdef0123456789abcdef".to_vec()))],
        active: NonZeroU8::MIN,
        anti_replay: AntiReplay::Time { window: WINDOW },
        mode: HmacMode::Enforce,
    }))
}

/// Starts, then disturbances, most of which end after a while.
fn weather(
    r: &mut fastrand::Rng,
    nodes: usize,
    segments: usize,
    grouped: bool,
    hmac: bool,
    storm: Duration,
) -> Vec<(Duration, Weather)> {
    let mut all: Vec<(Duration, Weather)> = Vec::new();
    let together = r.bool();
    for node in 0..nodes {
        let at = if together { Duration::ZERO } else { ms(r.u64(0..3000)) };
        all.push((at, Weather::Start(node)));
    }
    let storm_ms = u64::try_from(storm.as_millis()).expect("short");
    let kinds = if hmac { 14 } else { 13 };
    for _ in 0..r.usize(2..16) {
        let at = ms(r.u64(0..storm_ms));
        let node = r.usize(0..nodes);
        let segment = r.usize(0..segments);
        let until = at + ms(if r.bool() { r.u64(1..3000) } else { r.u64(1000..15_000) });
        let (now, then) = match r.u8(0..kinds) {
            0 => (Weather::Kill(node), Some(Weather::Start(node))),
            1 => (Weather::Stop(node), Some(Weather::Start(node))),
            2 => (Weather::Pause(node, until - at), None),
            3 => (Weather::Pause(node, ms(r.u64(1..2000))), None),
            4 => (Weather::Link(node, segment, false), Some(Weather::Link(node, segment, true))),
            5 => (Weather::Track(node, false), Some(Weather::Track(node, true))),
            6 | 7 => {
                let side = if grouped { [1, 1] } else { [r.u8(0..=1), r.u8(0..=1)] };
                (Weather::Side(node, side), Some(Weather::Side(node, [0, 0])))
            }
            8 | 9 => {
                let percent = [5, 20, 50, 80, 100][r.usize(0..5)];
                (Weather::Lose(node, percent), Some(Weather::Lose(node, 0)))
            }
            10 => (Weather::Duplicate(r.u8(1..=100)), Some(Weather::Duplicate(0))),
            11 => (Weather::TakeAddress(node, segment), None),
            12 if r.bool() => (Weather::Upgrade(node), None),
            12 => (Weather::Reload(node), None),
            _ => {
                let reach = if r.bool() { HARMLESS_CLOCK - 1 } else { 3_600_000 };
                (Weather::Clock(node, r.i64(-reach..=reach)), Some(Weather::Clock(node, 0)))
            }
        };
        all.push((at, now));
        all.extend(then.map(|then| (until, then)));
    }
    all.retain(|(at, _)| *at < storm);
    all.sort_by_key(|(at, _)| *at);
    all
}
