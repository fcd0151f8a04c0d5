//! Every rule of behaviour.md §4 that a pool or a server's state decides, as a named row.
//!
//! A pool is written `q2 h1 sorry 1 2w5 3i`: quorum 2, hysteresis 1, a sorry server (`sorry!` inhibited; `sorry@1`
//! is server 1), `keep1`, and servers by number: `w5` weight, `i` inhibit_on_failure, `a` starts as
//! down (alpha), `f` found failing by an earlier process, `s9` slow_start, `d3/60/30` flap_damping.
//!
//! A step is `start`, `-1` (a checker of server 1 fails), `+1` (none does any more), `w1=5` (weight by
//! checkers), `drain1` `maint1` `ready1` `weight1=5`, `t500` (milliseconds pass), `reload POOL`. What is wanted after it
//! is `EVENTS | TABLE`: `1+` `1-` server up or down, `1w3>5` weight, `Q+` `Q-` quorum; `1:5` in the table with weight
//! 5, 9 is the sorry server.

use lbd_grammar::config::{FlapDamping, RealServer, SorryServer};
use lbd_health::{
    Check, CheckKind, CheckerState, CheckerView, Connection, Contribution, Outcome, Schedule, ServerState,
    Verdict,
};
use lbd_ipvs::{Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags, ServiceId};

use super::*;

pub(super) fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

pub(super) fn destination(weight: u32) -> Destination {
    Destination { forwarding: Forwarding::Direct, weight, upper_threshold: 0, lower_threshold: 0 }
}

pub(super) fn real_server(last: u8, weight: u32) -> RealServer {
    RealServer {
        address: address(last),
        destination: destination(weight),
        inhibit_on_failure: false,
        notify_up: None,
        notify_down: None,
        smtp_alert: true,
        snmp_name: None,
        slow_start: Duration::ZERO,
        flap_damping: None,
        checks: Vec::new(),
    }
}

pub(super) fn virtual_server(real_servers: Vec<RealServer>) -> VirtualServer {
    VirtualServer {
        id: ServiceId::Addr { protocol: Protocol::Tcp, vip: address(100) }.into(),
        service: Service {
            scheduler: Scheduler::new("rr").expect("name"),
            flags: ServiceFlags::default(),
            persistence_timeout: 0,
            netmask: Netmask::full(Family::Inet),
            persistence_engine: None,
        },
        forwarding: Forwarding::Direct,
        quorum: 1,
        hysteresis: 0,
        keep_at_least: 0,
        drain_timeout: Duration::ZERO,
        delay_loop: Duration::from_secs(60),
        ha_suspend: false,
        smtp_alert: false,
        snmp_name: None,
        omega: false,
        quorum_up: None,
        quorum_down: None,
        sorry_server: None,
        real_servers,
    }
}

pub(super) fn sorry_server(last: u8, inhibit: bool) -> SorryServer {
    SorryServer { address: address(last), destination: destination(1), inhibit }
}

/// A pool as written, and what each server starts as.
fn parse(text: &str) -> (VirtualServer, Vec<Standing>) {
    let mut config = virtual_server(Vec::new());
    let mut standings = Vec::new();
    for word in text.split_whitespace() {
        let number = |prefix: &str| word.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok());
        if let Some(rest) = word.strip_prefix("sorry") {
            let last = rest.strip_prefix('@').map_or(9, |last| last.parse().expect("a server"));
            config.sorry_server = Some(sorry_server(last, rest == "!"));
        } else if let Some(quorum) = number("q") {
            config.quorum = quorum;
        } else if let Some(hysteresis) = number("h") {
            config.hysteresis = hysteresis;
        } else if let Some(keep) = number("keep") {
            config.keep_at_least = keep;
        } else {
            let (server, standing) = parse_server(word);
            config.real_servers.push(server);
            standings.push(standing);
        }
    }
    (config, standings)
}

fn parse_server(word: &str) -> (RealServer, Standing) {
    let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let mut server = real_server(word[..end].parse().expect("a server"), 1);
    let mut standing = Standing { alive: true, failed: false, weight: 1 };
    let mut rest = &word[end..];
    while let Some(letter) = rest.chars().next() {
        let digits = &rest[1..];
        let end = digits.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(digits.len());
        let value = &digits[..end];
        rest = &digits[end..];
        match letter {
            'w' => server.destination.weight = value.parse().expect("a weight"),
            'i' => server.inhibit_on_failure = true,
            'a' => standing.alive = false,
            'f' => (standing.alive, standing.failed) = (false, true),
            's' => server.slow_start = Duration::from_secs(value.parse().expect("seconds")),
            'd' => {
                let numbers: Vec<u32> = value.split('/').map(|one| one.parse().expect("a number")).collect();
                server.flap_damping = Some(FlapDamping {
                    changes: numbers[0],
                    within: Duration::from_secs(numbers[1].into()),
                    hold: Duration::from_secs(numbers[2].into()),
                });
            }
            other => panic!("{other} in {word}"),
        }
    }
    standing.weight = server.destination.weight;
    (server, standing)
}

struct Scene {
    now: Instant,
    pool: Pool,
}

impl Scene {
    fn number(&self, index: usize) -> String {
        let server = self.pool.config().real_servers.get(index).expect("a server");
        server.address.ip().to_string().rsplit('.').next().expect("an octet").to_owned()
    }

    fn index(&self, number: &str) -> usize {
        let address = address(number.parse().expect("a number"));
        let servers = &self.pool.config().real_servers;
        servers.iter().position(|server| server.address == address).expect("a server of the pool")
    }

    fn told(&self, list: &[Change]) -> Vec<String> {
        let sign = |up: bool| if up { '+' } else { '-' };
        let one = |change: &Change| match change {
            Change::Server { index, up, .. } => format!("{}{}", self.number(*index), sign(*up)),
            Change::Weight { index, from, to } => format!("{}w{from}>{to}", self.number(*index)),
            Change::Quorum(change) => format!("Q{}", sign(change.up)),
        };
        list.iter().map(one).collect()
    }

    fn step(&mut self, step: &str) -> Vec<Change> {
        let standing = |scene: &Scene, index: usize| scene.pool.standing(index).expect("a server");
        let changes = if let Some(text) = step.strip_prefix("reload ") {
            let before = self.pool.config().clone();
            let (config, mut standings) = parse(text);
            for (server, standing) in config.real_servers.iter().zip(&mut standings) {
                let known = before.real_servers.iter().position(|one| one.address == server.address);
                if let Some(known) = known.and_then(|index| self.pool.standing(index)) {
                    *standing = Standing { weight: server.destination.weight, ..known };
                }
            }
            self.pool.reconfigure(self.now, config.into(), &standings)
        } else if let Some(time) = step.strip_prefix('t') {
            self.now += Duration::from_millis(time.parse().expect("milliseconds"));
            self.pool.tick(self.now)
        } else if let Some(number) = step.strip_prefix('-') {
            let index = self.index(number);
            let standing = Standing { alive: false, failed: true, ..standing(self, index) };
            self.pool.update(self.now, index, standing)
        } else if let Some(number) = step.strip_prefix('+') {
            let index = self.index(number);
            let standing = Standing { alive: true, failed: false, ..standing(self, index) };
            self.pool.update(self.now, index, standing)
        } else if let Some(rest) = step.strip_prefix("weight") {
            let (number, weight) = rest.split_once('=').expect("weight");
            let order = Order::Weight(weight.parse().expect("a weight"));
            self.pool.order(self.now, self.index(number), Some(order))
        } else if let Some(rest) = step.strip_prefix('w') {
            let (number, weight) = rest.split_once('=').expect("weight");
            let index = self.index(number);
            let standing = Standing { weight: weight.parse().expect("a weight"), ..standing(self, index) };
            self.pool.update(self.now, index, standing)
        } else if let Some(number) = step.strip_prefix("drain") {
            self.pool.order(self.now, self.index(number), Some(Order::Drain))
        } else if let Some(number) = step.strip_prefix("maint") {
            self.pool.order(self.now, self.index(number), Some(Order::Maint))
        } else if let Some(number) = step.strip_prefix("ready") {
            self.pool.order(self.now, self.index(number), None)
        } else {
            panic!("no such step: {step}")
        };
        changes.list
    }

    fn table(&self) -> String {
        let entries = self.pool.wanted().destinations;
        let last =
            |address: &SocketAddr| address.ip().to_string().rsplit('.').next().expect("an octet").to_owned();
        let shown: Vec<String> =
            entries.iter().map(|(address, dest)| format!("{}:{}", last(address), dest.weight)).collect();
        shown.join(" ")
    }
}

fn follow(name: &str, text: &str, steps: &[(&str, &str)]) {
    let now = Instant::now();
    let (config, standings) = parse(text);
    let (pool, change) = Pool::new(now, config.into(), &standings, &[]);
    let mut scene = Scene { now, pool };
    for (number, (step, want)) in steps.iter().enumerate() {
        let list = match *step {
            "start" => change.map(Change::Quorum).into_iter().collect(),
            "stop" => scene.pool.ending(),
            step => scene.step(step),
        };
        let got = format!("{} | {}", scene.told(&list).join(" "), scene.table());
        assert_eq!(got.trim(), want.trim(), "{name}: step {number} `{step}` of `{text}`");
    }
}

type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const STATE_AND_TRANSITIONS: &[Row] = &[
    ("4.1 a server without checker is always up", "1", &[("start", "Q+ | 1:1")]),
    (
        "4.1 a server with no failed checker is in the table at once, a failed or alpha one is left out",
        "1 2a 3f",
        &[("start", "Q+ | 1:1")],
    ),
    (
        "4.1 with inhibit_on_failure a failed or alpha server starts with weight 0",
        "1i 2ai 3fi",
        &[("start", "Q+ | 1:1 2:0 3:0")],
    ),
    (
        "4.1 an alpha server comes in with its first good result",
        "1a",
        &[("start", "|"), ("+1", "1+ Q+ | 1:1")],
    ),
    (
        "4.1 a first result equal to the assumed state changes nothing in the table",
        "1 2a",
        &[("start", "Q+ | 1:1"), ("+1", "| 1:1"), ("-2", "| 1:1")],
    ),
    (
        "4.2 what did not change changes nothing",
        "1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("-1", "| 2:1"),
            ("+1", "1+ | 1:1 2:1"),
            ("+1", "| 1:1 2:1"),
        ],
    ),
    (
        "4.2 inhibit_on_failure: weight 0 instead of removal, its weight again later",
        "1w3i 2",
        &[("start", "Q+ | 1:3 2:1"), ("-1", "1- | 1:0 2:1"), ("+1", "1+ | 1:3 2:1")],
    ),
    (
        "4.2 while the sorry server is active only the flag changes",
        "q2 sorry 1 2 3",
        &[
            ("start", "Q+ | 1:1 2:1 3:1"),
            ("-1", "1- | 2:1 3:1"),
            ("-2", "2- Q- | 9:1"),
            ("-3", "3- | 9:1"),
            ("+3", "3+ | 9:1"),
            ("+1", "1+ Q+ | 1:1 3:1"),
        ],
    ),
    (
        "4.2 the quorum is judged after the server",
        "1",
        &[("start", "Q+ | 1:1"), ("-1", "1- Q- |"), ("+1", "1+ Q+ | 1:1")],
    ),
];

const WEIGHTS: &[Row] = &[
    (
        "4.3 a weight by checkers is the kernel's at once",
        "1w3 2",
        &[("start", "Q+ | 1:3 2:1"), ("w1=7", "1w3>7 | 1:7 2:1"), ("w1=3", "1w7>3 | 1:3 2:1")],
    ),
    (
        "4.3 a weight that changes while the server is down is used later",
        "1w3 2",
        &[("start", "Q+ | 1:3 2:1"), ("-1", "1- | 2:1"), ("w1=7", "1w3>7 | 2:1"), ("+1", "1+ | 1:7 2:1")],
    ),
    (
        "4.3 a weight that changes while the sorry server is active is used later",
        "q3 sorry 1w3 2",
        &[
            ("start", "Q+ | 1:3 2:1"),
            ("-1", "1- Q- | 9:1"),
            ("w2=2", "2w1>2 | 9:1"),
            ("+1", "1+ Q+ | 1:3 2:2"),
        ],
    ),
    (
        "4.3 weight 0: in the table and alive, and nothing for the quorum",
        "1w3",
        &[("start", "Q+ | 1:3"), ("w1=0", "1w3>0 Q- | 1:0"), ("w1=1", "1w0>1 Q+ | 1:1")],
    ),
    (
        "4.3 the quorum is judged after a weight",
        "q4 sorry 1w3 2",
        &[("start", "Q+ | 1:3 2:1"), ("w1=2", "1w3>2 Q- | 9:1"), ("w1=3", "1w2>3 Q+ | 1:3 2:1")],
    ),
    (
        "4.3 with inhibit_on_failure a weight of a server that is down stays 0",
        "1w3i 2",
        &[("start", "Q+ | 1:3 2:1"), ("-1", "1- | 1:0 2:1"), ("w1=9", "1w3>9 | 1:0 2:1")],
    ),
];

const QUORUM: &[Row] = &[
    ("4.4 initial: gained at a start with live servers, so quorum_up is told", "1", &[("start", "Q+ | 1:1")]),
    (
        "4.4 gained at quorum + hysteresis, lost below quorum - hysteresis",
        "q3 h1 1 2 3 4",
        &[
            ("start", "Q+ | 1:1 2:1 3:1 4:1"),
            ("-4", "4- | 1:1 2:1 3:1"),
            ("-3", "3- | 1:1 2:1"),
            ("-2", "2- Q- | 1:1"),
            ("+2", "2+ | 1:1 2:1"),
            ("+3", "3+ | 1:1 2:1 3:1"),
            ("+4", "4+ Q+ | 1:1 2:1 3:1 4:1"),
        ],
    ),
    (
        "4.4 lost with no live weight, whatever the hysteresis",
        "q2 h1 1w3 2",
        &[("start", "Q+ | 1:3 2:1"), ("-1", "1- | 2:1"), ("w2=0", "2w1>0 Q- | 2:0")],
    ),
    (
        "4.4 a start between the two is one without quorum: the sorry server is in, quorum_down is told",
        "q3 h1 sorry 1 2 3 4f",
        &[("start", "Q- | 9:1"), ("+4", "4+ Q+ | 1:1 2:1 3:1 4:1")],
    ),
    ("4.4 a start without quorum and without sorry server is silent", "q2 1 2a", &[("start", "| 1:1")]),
    (
        "4.4 loss without sorry server leaves the live servers in",
        "q2 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- Q- | 2:1"), ("+1", "1+ Q+ | 1:1 2:1")],
    ),
    (
        "4.4 the sorry server has weight 1; when the quorum is gained it leaves and live servers return",
        "sorry 1w5 2",
        &[("start", "Q+ | 1:5 2:1"), ("-1", "1- | 2:1"), ("-2", "2- Q- | 9:1"), ("+1", "1+ Q+ | 1:5")],
    ),
    (
        "4.4 sorry_server_inhibit: in at weight 0 from the start, and again when the quorum is gained",
        "sorry! 1",
        &[("start", "Q+ | 1:1 9:0"), ("-1", "1- Q- | 9:1"), ("+1", "1+ Q+ | 1:1 9:0")],
    ),
    (
        "4.4 with inhibit_on_failure live servers stay at weight 0 beside the sorry server",
        "q2 sorry 1i 2i",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- Q- | 1:0 2:0 9:1")],
    ),
    (
        "4.4 a sorry server that is also a real server shares its entry",
        "q2 sorry@1 1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-2", "2- Q- | 1:1"),
            ("-1", "1- | 1:1"),
            ("+1", "1+ | 1:1"),
            ("+2", "2+ Q+ | 1:1 2:1"),
        ],
    ),
];

const STOP: &[Row] = &[
    (
        "4.5 omega: each live server is told, the quorum after the one that brings its loss",
        "q2 1 2 3f 4",
        &[("start", "Q+ | 1:1 2:1 4:1"), ("stop", "1- 2- Q- 4- | 1:1 2:1 4:1")],
    ),
    (
        "4.5 omega without quorum: servers alone",
        "q5 1 2",
        &[("start", "| 1:1 2:1"), ("stop", "1- 2- | 1:1 2:1")],
    ),
];

const RELOAD: &[Row] = &[
    (
        "4.6 server kept: its state stays, wherever it stands now",
        "1 2 3",
        &[
            ("start", "Q+ | 1:1 2:1 3:1"),
            ("-1", "1- | 2:1 3:1"),
            ("reload 3 1 2", "| 2:1 3:1"),
            ("+1", "1+ | 1:1 2:1 3:1"),
        ],
    ),
    (
        "4.6 the quorum flag is kept within the hysteresis",
        "q2 h1 1 2 3",
        &[("start", "Q+ | 1:1 2:1 3:1"), ("reload q2 h1 1 2", "| 1:1 2:1"), ("-2", "2- | 1:1")],
    ),
    (
        "4.6 a quorum that is out of reach now is lost",
        "q2 sorry 1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("reload q3 sorry 1 2", "Q- | 9:1"),
            ("reload q2 sorry 1 2", "Q+ | 1:1 2:1"),
        ],
    ),
    (
        "4.6 server gone: the quorum is judged without it",
        "q2 sorry 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("reload q2 sorry 1", "Q- | 9:1")],
    ),
    (
        "4.6 new server: in at once, with alpha as down",
        "1",
        &[("start", "Q+ | 1:1"), ("reload 1 2 3a", "| 1:1 2:1"), ("+3", "3+ | 1:1 2:1 3:1")],
    ),
    (
        "4.6 a weight that differs is applied",
        "1w3 2",
        &[("start", "Q+ | 1:3 2:1"), ("reload 1w5 2", "1w3>5 | 1:5 2:1")],
    ),
    (
        "4.6 inhibit_on_failure changed: added with weight 0, or removed",
        "1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("reload 1i 2", "| 1:0 2:1"),
            ("reload 1 2", "| 2:1"),
        ],
    ),
    (
        "4.6 sorry server unchanged: it goes on",
        "q2 sorry 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- Q- | 9:1"), ("reload q2 sorry 1 2", "| 9:1")],
    ),
    (
        "4.6 sorry server removed while it is active: live servers return",
        "q2 sorry 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- Q- | 9:1"), ("reload q2 1 2", "| 2:1")],
    ),
    (
        "4.6 sorry server added while there is no quorum: it takes over",
        "q2 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- Q- | 2:1"), ("reload q2 sorry 1 2", "| 9:1")],
    ),
    (
        "4.6 sorry server replaced while it is active",
        "q2 sorry 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- Q- | 9:1"), ("reload q2 sorry@8 1 2", "| 8:1")],
    ),
];

const SLOW_START: &[Row] = &[
    ("slow_start: not at the start", "1w100s9 2", &[("start", "Q+ | 1:100 2:1")]),
    (
        "slow_start: after it was down, ten steps from 10 %",
        "1w100s9 2",
        &[
            ("start", "Q+ | 1:100 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:10 2:1"),
            ("t999", "| 1:10 2:1"),
            ("t1", "| 1:20 2:1"),
            ("t4000", "| 1:60 2:1"),
            ("t4000", "| 1:100 2:1"),
        ],
    ),
    (
        "slow_start: at the start if it was seen down before",
        "1w100s9f 2",
        &[("start", "Q+ | 2:1"), ("+1", "1+ | 1:10 2:1")],
    ),
    (
        "slow_start: not for an alpha server that was never seen down",
        "1w100s9a 2",
        &[("start", "Q+ | 2:1"), ("+1", "1+ | 1:100 2:1")],
    ),
    (
        "slow_start: the quorum counts the whole weight",
        "q50 sorry 1w100s9",
        &[("start", "Q+ | 1:100"), ("-1", "1- Q- | 9:1"), ("+1", "1+ Q+ | 1:10")],
    ),
    (
        "slow_start: going down ends it, the next return begins anew",
        "1w100s9 2",
        &[
            ("start", "Q+ | 1:100 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:10 2:1"),
            ("t5000", "| 1:60 2:1"),
            ("-1", "1- | 2:1"),
            ("t1", "| 2:1"),
            ("+1", "1+ | 1:10 2:1"),
        ],
    ),
    (
        "slow_start: a weight by checkers is reached slowly too",
        "1w100s9 2",
        &[
            ("start", "Q+ | 1:100 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:10 2:1"),
            ("w1=50", "1w100>50 | 1:5 2:1"),
            ("t9000", "| 1:50 2:1"),
        ],
    ),
    (
        "slow_start: after maintenance too",
        "1w100s9 2",
        &[("start", "Q+ | 1:100 2:1"), ("maint1", "1- | 2:1"), ("ready1", "1+ | 1:10 2:1")],
    ),
    (
        "slow_start: a reload without it ends it",
        "1w100s9 2",
        &[
            ("start", "Q+ | 1:100 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:10 2:1"),
            ("reload 1w100 2", "| 1:100 2:1"),
        ],
    ),
];

const KEEP: &[Row] = &[
    (
        "keep_at_least: the last ones that fail are kept with their weight, and count for the quorum",
        "keep2 sorry 1 2w5 3",
        &[("start", "Q+ | 1:1 2:5 3:1"), ("-1", "1- | 2:5 3:1"), ("-2", "| 2:5 3:1"), ("-3", "| 2:5 3:1")],
    ),
    (
        "keep_at_least: until enough others are alive; the one that failed last stays longest",
        "keep2 1 2 3",
        &[
            ("start", "Q+ | 1:1 2:1 3:1"),
            ("-1", "1- | 2:1 3:1"),
            ("-2", "| 2:1 3:1"),
            ("-3", "| 2:1 3:1"),
            ("+1", "1+ 2- | 1:1 3:1"),
            ("+2", "2+ 3- | 1:1 2:1"),
        ],
    ),
    (
        "keep_at_least: one that is kept and recovers changes nothing for others",
        "keep1 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- | 2:1"), ("-2", "| 2:1"), ("+2", "| 2:1")],
    ),
    (
        "keep_at_least: an operator's order is not overruled, another one that failed comes in",
        "keep1 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- | 2:1"), ("maint2", "1+ 2- | 1:1"), ("maint1", "1- Q- |")],
    ),
    (
        "keep_at_least: a drained server does not count",
        "keep1 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("drain2", "2w1>0 | 1:1 2:0"), ("-1", "| 1:1 2:0")],
    ),
    (
        "keep_at_least: servers that were never good are not brought in",
        "keep1 1a 2a",
        &[("start", "|"), ("-1", "|"), ("-2", "|")],
    ),
    (
        "keep_at_least: one that an earlier process found failing may be kept",
        "keep1 1f 2f",
        &[("start", "Q+ | 2:1"), ("+1", "1+ 2- | 1:1")],
    ),
    (
        "keep_at_least: more than there are keeps all",
        "keep9 1 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "| 1:1 2:1"), ("-2", "| 1:1 2:1")],
    ),
    (
        "keep_at_least: a reload may begin and end it",
        "1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("-2", "2- Q- |"),
            ("reload keep1 1 2", "2+ Q+ | 2:1"),
            ("reload 1 2", "2- Q- |"),
        ],
    ),
];

const DAMPING: &[Row] = &[
    (
        "flap_damping: down too often, it stays out until it has held out",
        "1d3/60/30 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "| 2:1"),
            ("t29999", "| 2:1"),
            ("t1", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "flap_damping: a failure in between begins the wait anew",
        "1d1/60/30 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "| 2:1"),
            ("t20000", "| 2:1"),
            ("-1", "| 2:1"),
            ("+1", "| 2:1"),
            ("t29999", "| 2:1"),
            ("t1", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "flap_damping: changes that are too far apart do not count together",
        "1d2/60/30 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:1 2:1"),
            ("t60001", "| 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "flap_damping: what came before the hold is forgotten after it",
        "1d2/60/30 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "| 2:1"),
            ("t30000", "1+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "flap_damping: a reload without it lets the server in",
        "1d1/60/30 2",
        &[("start", "Q+ | 1:1 2:1"), ("-1", "1- | 2:1"), ("+1", "| 2:1"), ("reload 1 2", "1+ | 1:1 2:1")],
    ),
    (
        "flap_damping and keep_at_least: a server that is only held out is the first to be kept",
        "keep1 1d1/60/30 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "| 2:1"),
            ("-2", "1+ 2- | 1:1"),
            ("+2", "1- 2+ | 2:1"),
            ("t30000", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "flap_damping and slow_start: slowly after the hold",
        "1w10d1/60/30s9 2",
        &[
            ("start", "Q+ | 1:10 2:1"),
            ("-1", "1- | 2:1"),
            ("+1", "| 2:1"),
            ("t30000", "1+ | 1:1 2:1"),
            ("t9000", "| 1:10 2:1"),
        ],
    ),
];

const ORDERS: &[Row] = &[
    (
        "drain: weight 0 and kept, no quorum of it; ready undoes it",
        "1w3 2",
        &[
            ("start", "Q+ | 1:3 2:1"),
            ("drain1", "1w3>0 | 1:0 2:1"),
            ("drain1", "| 1:0 2:1"),
            ("ready1", "1w0>3 | 1:3 2:1"),
        ],
    ),
    (
        "drain: it stays in beside the sorry server, so that connections end by themselves",
        "sorry 1",
        &[
            ("start", "Q+ | 1:1"),
            ("drain1", "1w1>0 Q- | 1:0 9:1"),
            ("-1", "1- | 9:1"),
            ("+1", "1+ | 1:0 9:1"),
        ],
    ),
    (
        "maint: out, also with inhibit_on_failure",
        "1i 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("maint1", "1- | 2:1"),
            ("-1", "| 2:1"),
            ("+1", "| 2:1"),
            ("ready1", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "ready: one that fails stays out",
        "1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("maint1", "1- | 2:1"),
            ("-1", "| 2:1"),
            ("ready1", "| 2:1"),
            ("+1", "1+ | 1:1 2:1"),
        ],
    ),
    (
        "weight: instead of the configured one and of what checkers add",
        "1w3 2",
        &[
            ("start", "Q+ | 1:3 2:1"),
            ("weight1=7", "1w3>7 | 1:7 2:1"),
            ("w1=5", "| 1:7 2:1"),
            ("ready1", "1w7>5 | 1:5 2:1"),
        ],
    ),
    (
        "weight: counts for the quorum",
        "q4 1w3 2",
        &[
            ("start", "Q+ | 1:3 2:1"),
            ("weight1=1", "1w3>1 Q- | 1:1 2:1"),
            ("weight1=5", "1w1>5 Q+ | 1:5 2:1"),
        ],
    ),
    (
        "orders are kept over a reload by identity",
        "1 2 3",
        &[
            ("start", "Q+ | 1:1 2:1 3:1"),
            ("drain1", "1w1>0 | 1:0 2:1 3:1"),
            ("maint2", "2- | 1:0 3:1"),
            ("reload 3 2w5 1w5", "2w1>5 | 1:0 3:1"),
            ("ready1", "1w0>5 | 1:5 3:1"),
            ("ready2", "2+ | 1:5 2:5 3:1"),
        ],
    ),
    (
        "an order ends with its server",
        "1 2",
        &[
            ("start", "Q+ | 1:1 2:1"),
            ("maint1", "1- | 2:1"),
            ("reload 2", "| 2:1"),
            ("reload 1 2", "| 1:1 2:1"),
        ],
    ),
];

#[test]
fn rules_of_the_pool() {
    for rows in [STATE_AND_TRANSITIONS, WEIGHTS, QUORUM, STOP, RELOAD] {
        rows.iter().for_each(|(name, text, steps)| follow(name, text, steps));
    }
}

#[test]
fn rules_of_own_keywords_and_commands() {
    for rows in [SLOW_START, KEEP, DAMPING, ORDERS] {
        rows.iter().for_each(|(name, text, steps)| follow(name, text, steps));
    }
}

#[test]
fn orders_of_an_earlier_process_hold_from_the_start() {
    let (config, standings) = parse("1 2 3");
    let orders = [(0, Order::Maint), (1, Order::Drain), (9, Order::Maint)];
    let (pool, change) = Pool::new(Instant::now(), config.into(), &standings, &orders);
    assert!(change.is_some_and(|change| change.up && change.weight == 1), "{change:?}");
    let scene = Scene { now: Instant::now(), pool };
    assert_eq!(scene.table(), "2:0 3:1");
    assert_eq!(scene.pool.orders().collect::<Vec<_>>(), [(0, Order::Maint), (1, Order::Drain)]);
}

/// Ticks come when something is due, and not when nothing is.
#[test]
fn deadlines() {
    for (name, text, steps, want_ms) in [
        ("nothing has a time", "1 2", &["-1", "+1"][..], None),
        ("nothing runs", "1s9 2d1/60/30", &[], None),
        ("the next step of slow_start", "1w100s9", &["-1", "+1"], Some(1000)),
        ("the one after it", "1w100s9", &["-1", "+1", "t1500"], Some(2000)),
        ("the last one", "1w100s9", &["-1", "+1", "t8500"], Some(9000)),
        ("it is over", "1w100s9", &["-1", "+1", "t9000"], None),
        ("the end of a hold", "1d1/60/30 2", &["-1", "t5000", "+1"], Some(35_000)),
        ("none while it is down", "1d1/60/30 2", &["-1"], None),
        ("the first of several", "1d1/60/30 2w100s9", &["-1", "+1", "-2", "+2"], Some(1000)),
    ] {
        let begin = Instant::now();
        let (config, standings) = parse(text);
        let mut scene = Scene { now: begin, pool: Pool::new(begin, config.into(), &standings, &[]).0 };
        for step in steps {
            scene.step(step);
        }
        let due = scene.pool.deadline(scene.now).map(|due| (due - begin).as_millis());
        assert_eq!(due, want_ms, "{name}");
    }
}

#[test]
fn which_first_results_are_told() {
    for (name, changed, alpha, up, want) in [
        ("4.1 up as assumed", false, false, true, false),
        ("4.1 alpha, down as assumed", false, true, false, true),
        ("4.1 alpha that was assumed up", false, true, true, true),
        ("4.1 assumed down without alpha, and down", false, false, false, true),
        ("4.2 a change is told as one", true, true, true, false),
    ] {
        assert_eq!(first_result_is_told(changed, alpha, up), want, "{name}");
    }
}

fn tcp(retry: u32, alpha: bool) -> Check {
    let connection = Connection {
        target: address(1),
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(3),
        fwmark: None,
    };
    let schedule = Schedule {
        delay_loop: Duration::from_secs(10),
        retry,
        delay_before_retry: Duration::from_secs(2),
        warmup: Duration::ZERO,
        alpha,
        log_all_failures: false,
    };
    Check { schedule, kind: CheckKind::Tcp(connection) }
}

/// §4.1 of one checker: `+` good, `-` bad, `?` not made; after each whether it is up (`U` `D`), `r` if a
/// retry follows.
#[test]
fn rules_of_a_checker() {
    for (name, retry, alpha, known, outcomes, want) in [
        ("4.1 it starts up", 2, false, None, "", "U"),
        ("4.1 with alpha it starts down", 2, true, None, "", "D"),
        ("4.1 a first run that fails counts at once", 3, false, None, "-", "U D"),
        ("4.1 a failure while up is retried", 2, false, None, "+---", "U U Ur Ur D"),
        ("4.1 a success sets the counter back", 2, false, None, "+--+--+", "U U Ur Ur U Ur Ur U"),
        ("4.1 no retries while down", 2, false, None, "--+", "U D D U"),
        ("4.1 a problem of this host is no verdict", 1, false, None, "+?-?-", "U U U Ur U D"),
        ("4.6 a kept checker keeps its counter", 3, false, Some(2), "--", "U Ur D"),
        ("4.6 clipped to the new retry", 1, false, Some(3), "-", "U D"),
    ] {
        let check = tcp(retry, alpha);
        let mut state = match known {
            None => CheckerState::new(&check),
            Some(tries) => {
                let up = CheckerView { up: true, has_run: true, contribution: Contribution::None };
                CheckerState::resume(&check, up, tries)
            }
        };
        let letter = |state: &CheckerState| if state.is_up() { "U" } else { "D" }.to_owned();
        let mut trace = vec![letter(&state)];
        for outcome in outcomes.chars() {
            let outcome = match outcome {
                '+' => Outcome::good("good"),
                '-' => Outcome::bad("bad"),
                _ => Outcome::unknown("no socket"),
            };
            let step = state.on_outcome(&check, &outcome);
            let retries = outcome.verdict == Verdict::Bad && step.up;
            trace.push(letter(&state) + if retries { "r" } else { "" });
        }
        assert_eq!(trace.join(" "), want, "{name}");
    }
}

/// §4.1 and §4.3 of several checkers on one server.
#[test]
fn rules_of_several_checkers() {
    const fn view(up: bool, contribution: Contribution) -> CheckerView {
        CheckerView { up, has_run: true, contribution }
    }
    let none = Contribution::None;
    for (name, weight, views, want) in [
        ("4.1 without checkers", 3, vec![], (true, 3)),
        ("4.1 down with the first that fails", 3, vec![view(true, none), view(false, none)], (false, 3)),
        ("4.1 up when the last one recovers", 3, vec![view(true, none), view(true, none)], (true, 3)),
        ("4.3 misc_dynamic alone is absolute", 3, vec![view(true, Contribution::Weight(9))], (true, 9)),
        (
            "4.3 contributions are added to the configured weight",
            10,
            vec![view(true, Contribution::Weight(7)), view(true, Contribution::Add(-2))],
            (true, 5),
        ),
        ("4.3 clamped at 0", 3, vec![view(true, Contribution::Add(-9))], (true, 0)),
        ("4.3 clamped at 2^31-1", 3, vec![view(true, Contribution::Add(i64::MAX))], (true, 0x7fff_ffff)),
        ("4.3 a failure removes the contribution", 3, vec![view(false, none)], (false, 3)),
    ] {
        let state = ServerState::resume(views);
        assert_eq!((state.is_up(), state.effective_weight(weight)), want, "{name}");
    }
}
