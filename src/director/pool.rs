//! One virtual server's pool: what its checkers and the operator say → what the kernel should hold.
//!
//! Pure: the time comes with each input, a deadline is a value. Here: what follows for the virtual server
//! (keepalived's rules for quorum, hysteresis, sorry server, weights and inhibit_on_failure) and
//! keep_at_least. Not here: one server's own rules (`member`), how a verdict is reached (`lbd_health`),
//! services (`parts`), the kernel's table (`owner`).

mod member;

#[cfg(test)]
mod model;
#[cfg(test)]
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lbd_grammar::config::VirtualServer;
use lbd_ipvs::{Destination, Entry};

use member::Member;

/// What the checkers say of one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// No checker fails, or is assumed to (alpha).
    pub alive: bool,
    /// A checker has found a failure: it is not only assumed.
    pub failed: bool,
    /// Configured weight with the checkers' contributions, 0..=2^31-1.
    pub weight: u32,
}

/// What the operator wants of one real server, over what its checkers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Weight 0 and kept in the table, also while the sorry server answers: connections end by themselves.
    Drain,
    /// Out of the table and of the quorum.
    Maint,
    /// This weight, instead of the configured one with the checkers' contributions.
    Weight(u32),
}

/// `drain`, `maint`, `weight 5`, as status shows it.
impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Order::Drain => f.write_str("drain"),
            Order::Maint => f.write_str("maint"),
            Order::Weight(weight) => write!(f, "weight {weight}"),
        }
    }
}

/// The quorum came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumChange {
    /// It is there now.
    pub up: bool,
    /// Live weight.
    pub weight: u64,
    /// quorum + hysteresis when gained, quorum - hysteresis when lost.
    pub needed: u64,
    /// The sorry server that leaves (gained) or takes over (lost).
    pub sorry_server: Option<SocketAddr>,
}

/// Why a server came into service or left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its checkers.
    Verdict,
    /// The operator.
    Order,
    /// A reload left no failing checker, or brought one.
    Reload,
    /// keep_at_least: it fails, but too few others are left.
    Kept,
    /// keep_at_least: enough others are there again.
    Relieved,
    /// flap_damping: it has held out.
    Steady,
}

/// What an input changed, in the order in which it is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A server came into service or left it.
    Server {
        /// Its place in the configuration.
        index: usize,
        /// It serves now.
        up: bool,
        /// Why.
        why: Why,
    },
    /// A server's weight is another; what slow_start makes of it is not meant.
    Weight {
        /// Its place in the configuration.
        index: usize,
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// The quorum came or went.
    Quorum(QuorumChange),
}

/// What follows from an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// To be told.
    pub list: Vec<Change>,
    /// [`Pool::wanted`] is another than before.
    pub table: bool,
}

/// A server beyond what its checkers say, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// It counts for the quorum, and takes connections unless the sorry server answers.
    pub serving: bool,
    /// Weight that counts: of the checkers, or the operator's.
    pub weight: u32,
    /// Weight in the table while it serves.
    pub table_weight: u32,
    /// What the operator wants.
    pub order: Option<Order>,
    /// It fails and is kept (keep_at_least).
    pub kept: bool,
    /// It is kept out until then (flap_damping).
    pub held_until: Option<Instant>,
    /// slow_start ends then.
    pub slow_until: Option<Instant>,
}

/// A virtual server and its servers.
#[derive(Clone, Debug)]
pub struct Pool {
    config: Arc<VirtualServer>,
    /// In the order of the configuration.
    members: Vec<Member>,
    quorum: bool,
    /// Some server has rules of time.
    timed: bool,
    /// Number of the latest failure, for keep_at_least.
    failures: u64,
}

/// Assumed of servers that nobody speaks of.
const NOTHING: Standing = Standing { alive: false, failed: false, weight: 0 };

/// What is being worked in.
#[derive(Clone, Copy)]
enum Input {
    Verdict(usize),
    Order(usize),
    Tick,
    Reload,
}

impl Pool {
    /// A pool as it starts: without quorum until its servers show otherwise. `standings` are in the
    /// order of the configuration's real servers; missing ones count as dead. `orders` are those of an
    /// earlier process.
    ///
    /// The change is reported when the quorum is there, and when it is not and a sorry server takes
    /// over; a start without either is silent.
    pub fn new(
        now: Instant,
        config: Arc<VirtualServer>,
        standings: &[Standing],
        orders: &[(usize, Order)],
    ) -> (Self, Option<QuorumChange>) {
        let mut pool = Pool { config, members: Vec::new(), quorum: false, timed: false, failures: 0 };
        pool.timed = timed(&pool.config);
        for index in 0..pool.config.real_servers.len() {
            let standing = standings.get(index).copied().unwrap_or(NOTHING);
            let member = pool.fresh(standing);
            pool.members.push(member);
        }
        for (index, order) in orders {
            if let Some(member) = pool.members.get_mut(*index) {
                member.order = Some(*order);
            }
        }
        let _silent = pool.settle_members(now, Input::Reload);
        let change = pool.evaluate().or_else(|| {
            pool.sorry_active().then(|| QuorumChange {
                up: false,
                weight: pool.alive_weight(),
                needed: pool.needed_to_keep(),
                sorry_server: pool.sorry_address(),
            })
        });
        (pool, change)
    }

    /// Takes over a changed configuration: servers of the same address and port go on as they were, with
    /// the operator's orders; the quorum is judged once, from where it stood. New servers change silently.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        config: Arc<VirtualServer>,
        standings: &[Standing],
    ) -> Changes {
        let old = std::mem::replace(&mut self.config, config.clone());
        let members = std::mem::take(&mut self.members);
        let mut old: HashMap<SocketAddr, Member> =
            old.real_servers.iter().map(|server| server.address).zip(members).collect();
        self.timed = timed(&config);
        let mut new = Vec::new();
        for (index, server) in config.real_servers.iter().enumerate() {
            let standing = standings.get(index).copied().unwrap_or(NOTHING);
            let member = match old.remove(&server.address) {
                Some(mut member) => {
                    member.reconfigured(server);
                    member.judged(now, standing, server, &mut self.failures);
                    member
                }
                None => {
                    new.push(index);
                    self.fresh(standing)
                }
            };
            self.members.push(member);
        }
        let mut changes = self.settle_members(now, Input::Reload);
        changes.list.retain(|change| match change {
            Change::Server { index, .. } | Change::Weight { index, .. } => !new.contains(index),
            Change::Quorum(_) => true,
        });
        changes.table = true;
        self.judge_quorum(&mut changes);
        changes
    }

    /// Takes over what the checkers of the server at `index` say; an index out of range changes nothing.
    pub fn update(&mut self, now: Instant, index: usize, standing: Standing) -> Changes {
        let (Some(member), Some(server)) = (self.members.get_mut(index), self.config.real_servers.get(index))
        else {
            return Changes::default();
        };
        if member.standing == standing {
            return Changes::default();
        }
        member.judged(now, standing, server, &mut self.failures);
        self.settle(now, Input::Verdict(index))
    }

    /// Takes over what the operator wants of the server at `index`, `None` for nothing (any more).
    pub fn order(&mut self, now: Instant, index: usize, order: Option<Order>) -> Changes {
        let Some(member) = self.members.get_mut(index) else { return Changes::default() };
        if member.order == order {
            return Changes::default();
        }
        member.order = order;
        let mut changes = self.settle(now, Input::Order(index));
        changes.table = true;
        changes
    }

    /// Time has passed. Late, early and repeated calls do no harm.
    pub fn tick(&mut self, now: Instant) -> Changes {
        self.settle(now, Input::Tick)
    }

    /// When [`Pool::tick`] has something to do next.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.timed {
            return None;
        }
        let servers = self.members.iter().zip(&self.config.real_servers);
        servers.filter_map(|(member, server)| member.deadline(now, server)).min()
    }

    /// What the checkers say of the server at `index`.
    pub fn standing(&self, index: usize) -> Option<Standing> {
        self.members.get(index).map(|member| member.standing)
    }

    /// Whether the server at `index` serves: it counts for the quorum.
    pub fn serves(&self, index: usize) -> bool {
        self.members.get(index).is_some_and(|member| member.serving)
    }

    /// The server at `index`, for status.
    pub fn view(&self, index: usize) -> Option<View> {
        let (member, server) = self.members.get(index).zip(self.config.real_servers.get(index))?;
        Some(member.view(server))
    }

    /// The operator's orders, by place in the configuration.
    pub fn orders(&self) -> impl Iterator<Item = (usize, Order)> + '_ {
        let given = |(index, member): (usize, &Member)| member.order.map(|order| (index, order));
        self.members.iter().enumerate().filter_map(given)
    }

    /// Its configuration.
    pub fn config(&self) -> &Arc<VirtualServer> {
        &self.config
    }

    /// Sum of the serving servers' weights, without regard to slow_start.
    pub fn alive_weight(&self) -> u64 {
        let serving = self.members.iter().filter(|member| member.serving);
        serving.map(|member| u64::from(member.weight)).sum()
    }

    /// Whether the quorum is there.
    pub fn has_quorum(&self) -> bool {
        self.quorum
    }

    /// Whether the sorry server answers.
    pub fn sorry_active(&self) -> bool {
        !self.quorum && self.config.sorry_server.is_some()
    }

    /// What the kernel should hold.
    ///
    /// While the sorry server answers, live real servers are out of the table (at weight 0 with
    /// inhibit_on_failure, or if the operator drains them). A sorry server that is also a real server has
    /// one entry.
    pub fn wanted(&self) -> Entry {
        let mut destinations: BTreeMap<SocketAddr, Destination> = BTreeMap::new();
        let sorry_active = self.sorry_active();
        for (server, member) in self.config.real_servers.iter().zip(&self.members) {
            let weight = match member.order {
                Some(Order::Maint) => continue,
                Some(Order::Drain) if member.serving => 0,
                _ if member.serving && !sorry_active => member.table_weight,
                _ if server.inhibit_on_failure => 0,
                _ => continue,
            };
            destinations.insert(server.address, Destination { weight, ..server.destination });
        }
        if let Some(sorry) = &self.config.sorry_server {
            if sorry_active {
                destinations.insert(sorry.address, sorry.destination);
            } else if sorry.inhibit {
                destinations.entry(sorry.address).or_insert(Destination { weight: 0, ..sorry.destination });
            }
        }
        Entry { service: self.config.service.clone(), destinations }
    }

    /// What is left when all leave one after the other, as keepalived tells it: each server that serves,
    /// and the loss of the quorum after the one that brings it.
    pub fn ending(&self) -> Vec<Change> {
        let mut told = Vec::new();
        let (mut weight, mut quorum) = (self.alive_weight(), self.quorum);
        for (index, member) in self.members.iter().enumerate().filter(|(_, member)| member.serving) {
            told.push(Change::Server { index, up: false, why: Why::Reload });
            weight = weight.saturating_sub(u64::from(member.weight));
            let needed = self.needed_to_keep();
            if quorum && (weight == 0 || weight < needed) {
                quorum = false;
                told.push(Change::Quorum(QuorumChange { up: false, weight, needed, sorry_server: None }));
            }
        }
        told
    }

    fn fresh(&mut self, standing: Standing) -> Member {
        Member::new(standing, &mut self.failures)
    }

    fn settle(&mut self, now: Instant, input: Input) -> Changes {
        let mut changes = self.settle_members(now, input);
        self.judge_quorum(&mut changes);
        changes
    }

    /// Works out anew what every server that the input can concern does.
    fn settle_members(&mut self, now: Instant, input: Input) -> Changes {
        let keep = usize::try_from(self.config.keep_at_least).unwrap_or(usize::MAX);
        for (member, server) in self.members.iter_mut().zip(&self.config.real_servers) {
            member.expire(now, server);
        }
        let kept = if keep > 0 { self.kept(keep) } else { Vec::new() };
        let mut changes = Changes::default();
        let mut weights = Vec::new();
        let servers = self.members.iter_mut().zip(&self.config.real_servers);
        for (index, (member, server)) in servers.enumerate() {
            let settled = member.settle(now, server, kept.contains(&index));
            if settled.serving {
                let (up, why) = (member.serving, why(input, index, member.serving, member.kept));
                changes.list.push(Change::Server { index, up, why });
            }
            if let Some(from) = settled.weight_before {
                weights.push(Change::Weight { index, from, to: member.weight });
            }
            changes.table |= settled.table;
        }
        changes.list.append(&mut weights);
        changes
    }

    /// The servers that keep_at_least keeps though they fail: those that failed last, and before them
    /// those that are only held out.
    fn kept(&self, keep: usize) -> Vec<usize> {
        let sound = self.members.iter().filter(|member| member.is_sound() && member.takes_connections());
        let missing = keep.saturating_sub(sound.count());
        let failing = self.members.iter().enumerate().filter(|(_, member)| {
            !member.is_sound() && member.takes_connections() && (member.is_held() || member.failure > 0)
        });
        let mut failing: Vec<(bool, u64, usize)> =
            failing.map(|(index, member)| (member.is_held(), member.failure, index)).collect();
        failing.sort_unstable_by(|one, other| other.cmp(one));
        failing.into_iter().take(missing).map(|(_, _, index)| index).collect()
    }

    fn judge_quorum(&mut self, changes: &mut Changes) {
        if let Some(change) = self.evaluate() {
            changes.table |= change.sorry_server.is_some();
            changes.list.push(Change::Quorum(change));
        }
    }

    fn evaluate(&mut self) -> Option<QuorumChange> {
        let weight = self.alive_weight();
        let (up, needed) = if self.quorum {
            let needed = self.needed_to_keep();
            (weight > 0 && weight >= needed, needed)
        } else {
            let needed = u64::from(self.config.quorum) + u64::from(self.config.hysteresis);
            (weight >= needed, needed)
        };
        if up == self.quorum {
            return None;
        }
        self.quorum = up;
        Some(QuorumChange { up, weight, needed, sorry_server: self.sorry_address() })
    }

    fn needed_to_keep(&self) -> u64 {
        u64::from(self.config.quorum.saturating_sub(self.config.hysteresis))
    }

    fn sorry_address(&self) -> Option<SocketAddr> {
        self.config.sorry_server.as_ref().map(|sorry| sorry.address)
    }
}

/// Whether the first result of a checker is told though it is what was assumed (keepalived: with alpha, and
/// when it is bad). One that changed something is told for that.
pub fn first_result_is_told(changed: bool, alpha: bool, up: bool) -> bool {
    !changed && (alpha || !up)
}

fn why(input: Input, index: usize, up: bool, kept: bool) -> Why {
    match input {
        _ if up && kept => Why::Kept,
        Input::Verdict(of) if of == index => Why::Verdict,
        Input::Order(of) if of == index => Why::Order,
        Input::Reload => Why::Reload,
        _ if up => Why::Steady,
        _ => Why::Relieved,
    }
}

fn timed(config: &VirtualServer) -> bool {
    let timed = |server: &lbd_grammar::config::RealServer| {
        server.slow_start > Duration::ZERO || server.flap_damping.is_some()
    };
    config.real_servers.iter().any(timed)
}
