//! virtual_server.
//!
//! Here: its rows, and the values that it shares with real_server. Not here: inheritance and the
//! rules between keywords (`resolve`).

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use lbd_health::ScriptId;
use lbd_ipvs::{Family, Forwarding, Netmask, Protocol, Scheduler, ServiceFlags, Tunnel, TunnelChecksum};

use super::call::Call;
use super::real_server::RealBuilder;
use super::{Part, Row, Table, later, row};
use crate::config::FlapDamping;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;

pub(super) use super::checker::{CheckDefaults, check_defaults};
pub(super) use super::resolve::virtual_server::{Found, admit, lower};

/// What a virtual_server says.
#[derive(Clone, Default)]
pub(crate) struct ServerBuilder {
    pub family: Option<(Family, Span)>,
    pub schedule: Schedule,
    pub scheduler: Option<&'static str>,
    pub flags: ServiceFlags,
    pub ops: Option<Span>,
    pub forwarding: Option<Forwarding>,
    pub persistence_engine: Option<String>,
    pub persistence_timeout: Option<u32>,
    pub granularity: Option<(Netmask, Span)>,
    pub protocol: Option<(Protocol, Span)>,
    pub ha_suspend: Option<Span>,
    pub omega: bool,
    pub smtp_alert: Option<bool>,
    pub snmp_name: Option<String>,
    pub quorum: Option<(u32, Span)>,
    pub hysteresis: Option<(u32, Span)>,
    pub keep_at_least: Option<u32>,
    pub drain_timeout: Option<Duration>,
    pub steadiness: Steadiness,
    pub quorum_up: Option<ScriptId>,
    pub quorum_down: Option<ScriptId>,
    pub inhibit_on_failure: bool,
    pub virtualhost: Option<String>,
    pub weight: Option<u32>,
    pub sorry: Option<SorryBuilder>,
    pub reals: Vec<RealBuilder>,
}

/// sorry_server
#[derive(Clone)]
pub(crate) struct SorryBuilder {
    pub endpoint: Endpoint,
    pub place: Span,
    pub inhibit: bool,
    pub forwarding: Option<Forwarding>,
}

/// How a server returns that was down: of a virtual server or a real server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steadiness {
    pub slow_start: Option<Duration>,
    /// `Some(None)`: switched off.
    pub flap_damping: Option<Option<FlapDamping>>,
}

impl Steadiness {
    pub fn slow_start(&mut self, call: &mut Call<'_, '_>) {
        self.slow_start = call.seconds(0..=DAY).or(self.slow_start);
    }

    pub fn flap_damping(&mut self, call: &mut Call<'_, '_>) {
        let Some(changes) = call.number_as::<u32>(0..=MOST_CHANGES) else { return };
        if changes == 0 {
            self.flap_damping = Some(None);
            return;
        }
        let (Some(within), Some(hold)) = (call.seconds(1..=DAY), call.seconds(1..=DAY)) else { return };
        self.flap_damping = Some(Some(FlapDamping { changes, within, hold }));
    }
}

/// Longest time of own keywords, in seconds.
const DAY: u64 = 86_400;
/// So many changes of a server are kept in mind.
const MOST_CHANGES: u64 = 100;

const DRAIN: &str = "A real server that a reload takes away stays with weight 0 until its connections have ended, \
     SECS at most. keepalived does not know it.";
pub(super) const SLOW_START: &str = "After it was down, the weight grows from a tenth to the whole in ten steps within SECS. \
     The quorum counts the whole. keepalived does not know it.";
pub(super) const FLAP_DAMPING: &str = "A server that went down CHANGES times within SECS stays out after its recovery \
     until HOLD seconds have passed without a failure. keepalived does not know it.";
pub(super) const SLOW_RANGE: &str = "0..=86400, 0 for off";
pub(super) const FLAP_RANGE: &str = "CHANGES 0..=100, 0 for off; SECS and HOLD 1..=86400";

/// What checkers inherit: of a virtual server, a real server or a checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    pub delay_loop: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub retry: Option<u32>,
    pub delay_before_retry: Option<Duration>,
    pub warmup: Option<Duration>,
    pub alpha: Option<bool>,
}

impl Schedule {
    pub fn delay_loop(&mut self, call: &mut Call<'_, '_>) {
        self.delay_loop = call.timer(LEAST, UNLIMITED).or(self.delay_loop);
    }

    pub fn connect_timeout(&mut self, call: &mut Call<'_, '_>) {
        self.connect_timeout = call.timer(LEAST, LONGEST).or(self.connect_timeout);
    }

    pub fn retry(&mut self, call: &mut Call<'_, '_>, least: u64) {
        self.retry = call.number_as(least..=u32::MAX.into()).or(self.retry);
    }

    pub fn delay_before_retry(&mut self, call: &mut Call<'_, '_>) {
        self.delay_before_retry = call.timer(Duration::ZERO, UNLIMITED).or(self.delay_before_retry);
    }

    pub fn warmup(&mut self, call: &mut Call<'_, '_>) {
        self.warmup = call.timer(Duration::ZERO, UNLIMITED).or(self.warmup);
    }

    pub fn alpha(&mut self, call: &mut Call<'_, '_>) {
        self.alpha = call.switch().or(self.alpha);
    }
}

const LEAST: Duration = Duration::from_micros(1);
const LONGEST: Duration = Duration::from_micros(4_294_967_295);
/// keepalived's own limit.
const UNLIMITED: Duration = Duration::from_micros(u64::MAX - 1);

/// Address and port as written; no port, or only zeros, is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub address: IpAddr,
    pub port: Option<NonZeroU16>,
}

/// `ADDR [PORT]`; `None` if one of them is bad, which leaves `what` out.
pub(super) fn endpoint(call: &mut Call<'_, '_>, what: &str) -> Option<Endpoint> {
    let word = call.word()?;
    let address = call.address_in(word);
    let port = match call.optional() {
        None => None,
        Some(port) if !port.text.is_empty() && port.text.bytes().all(|byte| byte == b'0') => None,
        Some(port) => match port.text.parse::<u16>() {
            Ok(number) if port.text.bytes().all(|byte| byte.is_ascii_digit()) => NonZeroU16::new(number),
            _ => {
                let digits = port.text.bytes().all(|byte| byte.is_ascii_digit()) && !port.text.is_empty();
                let why = if digits { "is out of range" } else { "is not a number" };
                let message = format!("{}: port {} {why}", quote(call.name()), quote(port.text));
                call.say(
                    Diagnostic::warning(Kind::BadValue, Some(port.span), message)
                        .label(format!("{what} is left out"))
                        .help("a port from 1 to 65535"),
                );
                return None;
            }
        },
    };
    Some(Endpoint { address: address?, port })
}

/// What the rows below fill.
type B = ServerBuilder;

pub(crate) static TABLE: Table<ServerBuilder> =
    Table { name: "virtual_server", part: Part::Director, rows: &[CHECKS, SERVICE, STATE, SERVERS] };

type Rows = &'static [Row<ServerBuilder>];

const CHECKS: Rows = &[
    row("delay_loop", "SECS", "Time between checks.", |b: &mut B, c| b.schedule.delay_loop(c))
        .range(TIME)
        .default("60"),
    row("connect_timeout", "SECS", "Limit of a check's connect and of each read.", |b: &mut B, c| {
        b.schedule.connect_timeout(c);
    })
    .range(LIMIT)
    .default("5"),
    row("retry", "N", "Retries before a server counts as down.", |b: &mut B, c| b.schedule.retry(c, 1))
        .range("1..=4294967295")
        .otherwise("the checker's"),
    row("delay_before_retry", "SECS", "Wait before each retry.", |b: &mut B, c| {
        b.schedule.delay_before_retry(c)
    })
    .range(DELAY)
    .otherwise("the checker's"),
    row("warmup", "SECS", "The first check waits a random part of it.", |b: &mut B, c| b.schedule.warmup(c))
        .range(DELAY)
        .otherwise("delay_loop"),
    row("virtualhost", "NAME", "Host of HTTP checks.", |b: &mut B, c| {
        b.virtualhost = c.word().map(|word| word.text.to_owned()).or(b.virtualhost.take());
    }),
];

pub(super) const LIMIT: &str = "above 0, up to 4294.967295";
pub(super) const TIME: &str = "above 0";
pub(super) const DELAY: &str = "0 and above";

const SERVICE: Rows = &[
    row("ip_family", "inet|inet6", "Family of a firewall mark.", |b: &mut B, c| {
        let span = c.head();
        let family = c.choice(&[("inet", Family::Inet), ("inet6", Family::Inet6)]);
        b.family = family.map(|family| (family, span)).or(b.family);
    })
    .otherwise("the address's; of a mark the first real server's"),
    row("lb_algo", SCHEDULERS, "Scheduler.", scheduler).default("wlc"),
    row("lvs_sched", SCHEDULERS, "Same as lb_algo.", scheduler).otherwise("lb_algo"),
    row("hashed", "", "Old flag without effect; after lb_algo sh or mh.", |b: &mut B, c| {
        if !matches!(b.scheduler, Some("sh" | "mh")) {
            let place = c.place();
            c.say(
                Diagnostic::warning(
                    Kind::BadValue,
                    Some(place),
                    "`hashed` belongs to `lb_algo sh` and `lb_algo mh`",
                )
                .label("ignored")
                .help("remove it; it has no effect"),
            );
        }
    }),
    row("ops", "", "One-packet scheduling, for UDP.", |b: &mut B, c| b.ops = Some(c.place())),
    row("flag-1", "", "Scheduler flag 1.", |b: &mut B, _| b.flags = b.flags.with(ServiceFlags::SCHED_1)),
    row("flag-2", "", "Scheduler flag 2.", |b: &mut B, _| b.flags = b.flags.with(ServiceFlags::SCHED_2)),
    row("flag-3", "", "Scheduler flag 3.", |b: &mut B, _| b.flags = b.flags.with(ServiceFlags::SCHED_3)),
    row("sh-port", "", "sh also hashes the port; after lb_algo sh.", |b: &mut B, c| {
        flag(b, c, "sh", ServiceFlags::SCHED_2)
    }),
    row("sh-fallback", "", "sh takes another server if one is down; after lb_algo sh.", |b: &mut B, c| {
        flag(b, c, "sh", ServiceFlags::SCHED_1);
    }),
    row("mh-port", "", "mh also hashes the port; after lb_algo mh.", |b: &mut B, c| {
        flag(b, c, "mh", ServiceFlags::SCHED_2)
    }),
    row("mh-fallback", "", "mh takes another server if one is down; after lb_algo mh.", |b: &mut B, c| {
        flag(b, c, "mh", ServiceFlags::SCHED_1);
    }),
    row("lb_kind", METHODS, "Forwarding method.", |b: &mut B, c| {
        b.forwarding = forwarding(c).or(b.forwarding)
    })
    .default("NAT"),
    row("lvs_method", METHODS, "Same as lb_kind.", |b: &mut B, c| {
        b.forwarding = forwarding(c).or(b.forwarding)
    })
    .otherwise("lb_kind"),
    row("persistence_engine", "NAME", "Persistence engine, for example sip.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        if word.text.is_empty() {
            c.bad(word, "the name is empty", "1 to 15 characters");
            return;
        }
        let end = (0..=MOST_ENGINE).rev().find(|end| word.text.is_char_boundary(*end)).unwrap_or(0);
        let name = word.text.get(..end).unwrap_or(word.text);
        if name.len() < word.text.len() {
            c.repaired(format!("is cut to {}", quote(name)), "1 to 15 characters", name);
        }
        b.persistence_engine = Some(name.to_owned());
    })
    .range("1 to 15 characters")
    .example("sip"),
    row(
        "persistence_timeout",
        "[SECS]",
        "A client stays on its server for this long; 360 without number.",
        |b: &mut B, c| {
            let Some(word) = c.optional() else {
                b.persistence_timeout = Some(PERSISTENCE);
                return;
            };
            let number = c.number_in(word, 1..=2_678_400).and_then(|number| u32::try_from(number).ok());
            b.persistence_timeout = number.or(b.persistence_timeout);
        },
    )
    .range("1..=2678400")
    .otherwise("off"),
    row("persistence_granularity", "MASK|LEN", "Clients that count as one.", granularity)
        .range("an IPv4 mask, or 1..=128")
        .otherwise("the whole address"),
    row("protocol", "TCP|UDP|SCTP", "Protocol.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        let upper = word.text.to_ascii_uppercase();
        let names = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];
        let found = names.iter().find(|(name, _)| *name == upper).map(|(_, protocol)| *protocol);
        let found = found.or_else(|| c.choice_in(word, &names));
        b.protocol = found.map(|protocol| (protocol, word.span)).or(b.protocol);
    })
    .default("UDP"),
];

/// The kernel's limit (`IP_VS_PENAME_MAXLEN` with its NUL).
const MOST_ENGINE: usize = 15;

const SCHEDULERS: &str = "rr|wrr|lc|wlc|lblc|sh|mh|dh|fo|ovf|lblcr|sed|nq|twos";
pub(super) const METHODS: &str = "NAT|DR|TUN [type ipip|gue|gre] [port N] [nocsum|csum|remcsum]";

/// Persistence without a number.
pub(crate) const PERSISTENCE: u32 = 360;

pub(super) const NO_SNMP: &str = "there is no SNMP";

const STATE: Rows = &[
    row("ha_suspend", "", "Check only while the address is on this host.", |b: &mut B, c| {
        b.ha_suspend = Some(c.place())
    }),
    row("smtp_alert", "[BOOL]", "Mail on a change of the quorum.", |b: &mut B, c| {
        b.smtp_alert = c.switch().or(b.smtp_alert);
    })
    .otherwise("smtp_alert_checker, else smtp_alert of global_defs, else false")
    .by(Part::Notify)
    .example("true"),
    later("snmp_name", "NAME", "Name for SNMP.", NO_SNMP, |b: &mut B, c| {
        b.snmp_name = c.word().map(|word| word.text.to_owned()).or(b.snmp_name.take());
    })
    .example("web"),
    row("alpha", "", "Servers start as down.", |b: &mut B, _| b.schedule.alpha = Some(true)),
    row("omega", "", "Run notify_down and quorum_down at the end.", |b: &mut B, _| b.omega = true),
    row("quorum", "N", "Live weight needed.", |b: &mut B, c| {
        let span = c.head();
        b.quorum = c.number_as(1..=u32::MAX.into()).map(|quorum| (quorum, span)).or(b.quorum);
    })
    .range("1..=4294967295")
    .default("1"),
    row("hysteresis", "N", "Margin around the quorum.", |b: &mut B, c| {
        let span = c.head();
        b.hysteresis = c.number_as(0..=u32::MAX.into()).map(|margin| (margin, span)).or(b.hysteresis);
    })
    .range("0, below quorum")
    .default("0"),
    row("keep_at_least", "N", KEEP, |b: &mut B, c| {
        b.keep_at_least = c.number_as(0..=u32::MAX.into()).or(b.keep_at_least);
    })
    .range("0..=4294967295, 0 for off")
    .default("0"),
    row("drain_timeout", "SECS", DRAIN, |b: &mut B, c| {
        b.drain_timeout = c.seconds(0..=DAY).or(b.drain_timeout);
    })
    .range("0..=86400, 0 for off")
    .default("0"),
    row("slow_start", "SECS", SLOW_START, |b: &mut B, c| b.steadiness.slow_start(c))
        .range(SLOW_RANGE)
        .default("0"),
    row("flap_damping", "CHANGES [SECS HOLD]", FLAP_DAMPING, |b: &mut B, c| b.steadiness.flap_damping(c))
        .range(FLAP_RANGE)
        .otherwise("off")
        .example("3 60 300"),
    row("quorum_up", "CMD [USER [GROUP]]", "Run when the quorum is gained.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.quorum_up, script);
    }),
    row("quorum_down", "CMD [USER [GROUP]]", "Run when the quorum is lost.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.quorum_down, script);
    }),
    row("inhibit_on_failure", "", "Servers that are down stay with weight 0.", |b: &mut B, _| {
        b.inhibit_on_failure = true
    }),
    row("weight", "N", "Default weight of the servers.", |b: &mut B, c| {
        b.weight = c.number_as(1..=0x7fff_ffff).or(b.weight);
    })
    .range("1..=2147483647")
    .default("1"),
];

const KEEP: &str = "Failures never leave fewer than N servers that take connections: those that failed last stay in, with their weight \
     and for the quorum, until enough others are up. Servers that were never up, and commands of the operator, are \
     not overruled. keepalived does not know it.";

const SERVERS: Rows = &[
    row("sorry_server", "ADDR [PORT]", "Used while the quorum is lost.", |b: &mut B, c| {
        let place = c.head();
        if let Some(endpoint) = endpoint(c, "this sorry server") {
            b.sorry = Some(SorryBuilder { endpoint, place, inhibit: false, forwarding: None });
        }
    }),
    row(
        "sorry_server_inhibit",
        "",
        "It stays with weight 0; after sorry_server.",
        |b: &mut B, c| match &mut b.sorry {
            Some(sorry) => sorry.inhibit = true,
            None => needs_sorry_server(c),
        },
    ),
    row("sorry_server_lvs_method", METHODS, "Its forwarding method; after sorry_server.", |b: &mut B, c| {
        let found = forwarding(c);
        match &mut b.sorry {
            Some(sorry) => sorry.forwarding = found.or(sorry.forwarding),
            None => needs_sorry_server(c),
        }
    })
    .otherwise("lb_kind"),
    row("real_server", "ADDR [PORT] { … }", "A server.", super::real_server::lower)
        .opens("real_server")
        .example("weight 1"),
];

fn needs_sorry_server(call: &mut Call<'_, '_>) {
    let message = format!("{} has to stand after `sorry_server`", quote(call.name()));
    let place = call.place();
    call.say(
        Diagnostic::warning(Kind::BadValue, Some(place), message)
            .label("ignored")
            .help("move it below that line"),
    );
}

fn scheduler(builder: &mut ServerBuilder, call: &mut Call<'_, '_>) {
    let choices = Scheduler::KNOWN.map(|name| (name, name));
    builder.scheduler = call.choice(&choices).or(builder.scheduler);
}

fn flag(builder: &mut ServerBuilder, call: &mut Call<'_, '_>, scheduler: &str, flag: ServiceFlags) {
    match builder.scheduler {
        Some(found) if found == scheduler => builder.flags = builder.flags.with(flag),
        _ => {
            let message = format!("{} has to stand after `lb_algo {scheduler}`", quote(call.name()));
            let place = call.place();
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(place), message)
                    .label("ignored")
                    .help(format!("put `lb_algo {scheduler}` before it, or remove it")),
            );
        }
    }
}

fn granularity(builder: &mut ServerBuilder, call: &mut Call<'_, '_>) {
    let Some(word) = call.word() else { return };
    let mask = match word.text.parse() {
        Ok(mask) => Netmask::V4(mask),
        Err(_) => match word.text.parse() {
            Ok(length @ 1..=128) if word.text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Netmask::V6(length)
            }
            _ => {
                call.bad(
                    word,
                    format!("{} is no mask", quote(word.text)),
                    "an IPv4 mask such as 255.255.255.0, or an IPv6 prefix length from 1 to 128",
                );
                return;
            }
        },
    };
    builder.granularity = Some((mask, word.span));
    builder.persistence_timeout = builder.persistence_timeout.or(Some(PERSISTENCE));
}

/// A forwarding method with the options of a tunnel.
pub(super) fn forwarding(call: &mut Call<'_, '_>) -> Option<Forwarding> {
    let methods =
        [("NAT", Forwarding::Nat), ("DR", Forwarding::Direct), ("TUN", Forwarding::Tunnel(Tunnel::Ipip))];
    let method = call.choice(&methods)?;
    if !matches!(method, Forwarding::Tunnel(_)) {
        return Some(method);
    }
    let mut kind = "ipip";
    let mut port: Option<NonZeroU16> = None;
    let mut checksum = TunnelChecksum::None;
    let mut last = None;
    while let Some(word) = call.optional() {
        last = Some(word);
        let words = [("type", 0), ("port", 1), ("nocsum", 2), ("csum", 3), ("remcsum", 4)];
        match call.choice_in(word, &words)? {
            0 => kind = call.choice(&[("ipip", "ipip"), ("gue", "gue"), ("gre", "gre")])?,
            1 => port = Some(call.port()?),
            2 => checksum = TunnelChecksum::None,
            3 => checksum = TunnelChecksum::Checksum,
            _ => checksum = TunnelChecksum::Remote,
        }
    }
    let tunnel = match (kind, port, checksum) {
        ("ipip", None, TunnelChecksum::None) => Ok(Tunnel::Ipip),
        ("ipip", ..) => {
            Err(("an ipip tunnel has neither port nor checksum", "remove them, or add `type gue`"))
        }
        ("gue", Some(port), checksum) => Ok(Tunnel::Gue { port, checksum }),
        ("gue", None, _) => Err(("a gue tunnel needs a port", "add `port N`")),
        ("gre", Some(_), _) => Err(("a gre tunnel has no port", "remove `port`")),
        ("gre", None, TunnelChecksum::Remote) => {
            Err(("a gre tunnel has no remote checksum", "use csum or nocsum"))
        }
        (_, _, checksum) => Ok(Tunnel::Gre { checksum }),
    };
    match (tunnel, last) {
        (Ok(tunnel), _) => Some(Forwarding::Tunnel(tunnel)),
        (Err((found, help)), Some(word)) => {
            call.bad(word, found, help);
            None
        }
        (Err(_), None) => None,
    }
}
