//! What nodes mean for each other: at most one master for long, and never none for long.
//!
//! Here: how long each pair of masters and each router without a master has been as it is, what excuses it,
//! and when that is too long. Not here: one node for itself (`ledger`), who can reach whom (`world`).
//!
//! **Two masters.** Of two masters that hear each other one is to yield: the one with the lower priority, at
//! equal priority the one with the lower address. It does so when it hears the other, which sends an
//! advert every one of its intervals. So after `k` lost ones in a row both are master for at most `k + 1`
//! intervals and the delay of the link. They hear each other while both processes run, both interfaces are
//! up, both are on one side, and with auth_hmac both clocks agree. Whenever one of these begins anew, and when
//! the priorities change places, the time begins anew: nothing that was sent before need have been heard.
//!
//! **No master.** A router that could be master and hears of none takes over when its own master down
//! interval is over, with the priority that it has by then and, in version 3, the longest interval that
//! it can have learnt since it was last started or master: that is within the largest interval of all such
//! routers, and each is held to its own. Losses shorten the time; a datagram under way prolongs it by the
//! delay of the link. The time begins when the last master of its side ended (one that runs again after a
//! pause is one for that moment, and its priority 0 leaves a whole skew time), or when the router itself began:
//! started (after the start-up delay), left FAULT, came to this side, or its process ran again after a pause.
//! A router that heard a priority 0 since waits for its skew time only. A member of a sync group waits for the
//! slowest member, and only if no member hears a master.
//! preempt_delay does not matter: it only holds back while there is a master.

use std::time::{Duration, Instant};

use super::plan::{MOST_NODES, MOST_SEGMENTS};
use super::{Rule, Violation};

/// A router as it is, for whoever sees everything.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its process runs and its interface is up.
    pub works: bool,
    pub side: u8,
    pub is_master: bool,
    /// In Backup.
    pub waits: bool,
    /// Priority and host.
    pub rank: (u8, u8),
    pub interval: Duration,
    /// The longest that its master down interval can be, and its skew time.
    pub down: Duration,
    pub skew: Duration,
    /// It heard a priority 0 and no other advert since.
    pub released_at: Option<Instant>,
    /// Not before this does it listen.
    pub held_until: Instant,
    /// Until then it may refuse what it hears, and be refused.
    pub deaf_until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    since: Instant,
    winner: usize,
    lost: u32,
}

#[derive(Clone, Debug)]
pub struct Segments {
    grouped: bool,
    /// The most that a datagram takes.
    delay: Duration,
    alone: [[Option<Instant>; MOST_NODES]; MOST_SEGMENTS],
    pairs: [[[Option<Pair>; MOST_NODES]; MOST_NODES]; MOST_SEGMENTS],
    /// After this something lasts too long.
    alarm: Option<(Instant, Rule, usize, usize)>,
    /// Times that there were two masters, and that a router was without.
    pub doubles: u64,
    pub orphans: u64,
}

impl Segments {
    pub fn new(grouped: bool, delay: Duration) -> Self {
        Segments {
            grouped,
            delay,
            alone: Default::default(),
            pairs: Default::default(),
            alarm: None,
            doubles: 0,
            orphans: 0,
        }
    }

    /// What was between this node and others does not count any more.
    pub fn forget(&mut self, node: usize) {
        for (alone, pairs) in self.alone.iter_mut().zip(&mut self.pairs) {
            alone[node] = None;
            for (at, row) in pairs.iter_mut().enumerate() {
                row.iter_mut().enumerate().for_each(|(other, pair)| {
                    if at == node || other == node {
                        *pair = None;
                    }
                });
            }
        }
    }

    /// An advert was lost.
    pub fn lost(&mut self, segment: usize, from: usize, to: usize) {
        if let Some(pair) = &mut self.pairs[segment][from.min(to)][from.max(to)]
            && pair.winner == from
        {
            pair.lost += 1;
        }
    }

    /// Whether something has lasted too long when it is `now` and nothing happened until now.
    pub fn check(&self, now: Instant) -> Result<(), Violation> {
        match self.alarm {
            Some((at, rule, segment, node)) if now > at => Err(rule.broken(|| {
                let pairs: Vec<_> = self.pairs[segment].iter().flatten().flatten().collect();
                format!("eth{segment}, node {node}, {:?} too late; pairs {pairs:?}", now - at)
            })),
            _ => Ok(()),
        }
    }

    /// Something may have changed; `views` by segment and node. What is too late only because of that change
    /// (a priority that shortens the wait) is due now.
    pub fn look(&mut self, now: Instant, views: &[[Option<View>; MOST_NODES]], nodes: usize) {
        self.alarm = None;
        for (segment, views) in views.iter().enumerate() {
            self.find_pairs(now, segment, views, nodes);
            self.find_alone(now, segment, views, nodes);
        }
        let mut limits = [[None; MOST_NODES]; MOST_SEGMENTS];
        for (segment, views) in views.iter().enumerate() {
            for (node, view) in views.iter().enumerate() {
                let limit = self.limit(segment, node, view.as_ref()).map(|limit| limit.max(now));
                limits[segment][node] = limit;
                if let (false, Some(limit)) = (self.grouped, limit) {
                    self.expect(limit, Rule::NoMaster, segment, node);
                }
            }
        }
        for node in 0..if self.grouped { nodes } else { 0 } {
            let mut members = limits.iter().take(views.len()).map(|limits| limits[node]);
            if let Some(limit) = members.try_fold(now, |latest, limit| Some(latest.max(limit?))) {
                self.expect(limit, Rule::NoMaster, 0, node);
            }
        }
    }

    /// When a router without a master is to be one.
    fn limit(&self, segment: usize, node: usize, view: Option<&View>) -> Option<Instant> {
        let (since, view) = (self.alone[segment][node]?, view?);
        let whole = since + view.down;
        let short = view.released_at.map(|at| since.max(at + view.skew));
        Some(short.map_or(whole, |short| short.min(whole)) + self.delay)
    }

    fn find_pairs(&mut self, now: Instant, segment: usize, views: &[Option<View>; MOST_NODES], nodes: usize) {
        for low in 0..nodes {
            for high in low + 1..nodes {
                let both = match (&views[low], &views[high]) {
                    (Some(a), Some(b)) if a.is_master && b.is_master && hear(a, b) => Some((a, b)),
                    _ => None,
                };
                let Some((a, b)) = both else {
                    self.pairs[segment][low][high] = None;
                    continue;
                };
                let (winner, interval) = if a.rank > b.rank { (low, a.interval) } else { (high, b.interval) };
                let slot = &mut self.pairs[segment][low][high];
                let pair = match slot {
                    Some(pair) if pair.winner == winner => *pair,
                    _ => {
                        self.doubles += 1;
                        Pair { since: now.max(a.deaf_until).max(b.deaf_until), winner, lost: 0 }
                    }
                };
                *slot = Some(pair);
                let limit = pair.since + interval * (pair.lost + 1) + self.delay;
                self.expect(now.max(limit), Rule::TwoMasters, segment, winner);
            }
        }
    }

    fn find_alone(&mut self, now: Instant, segment: usize, views: &[Option<View>; MOST_NODES], nodes: usize) {
        for node in 0..nodes {
            let alone = views[node].as_ref().filter(|view| view.works && view.waits).filter(|view| {
                !views.iter().flatten().any(|other| other.is_master && other.works && other.side == view.side)
            });
            let slot = &mut self.alone[segment][node];
            match (alone, &slot) {
                (None, _) => *slot = None,
                (Some(view), None) => {
                    self.orphans += 1;
                    *slot = Some(now.max(view.held_until));
                }
                _ => {}
            }
        }
    }

    fn expect(&mut self, limit: Instant, rule: Rule, segment: usize, node: usize) {
        if self.alarm.is_none_or(|(at, ..)| limit < at) {
            self.alarm = Some((limit, rule, segment, node));
        }
    }
}

fn hear(a: &View, b: &View) -> bool {
    a.works && b.works && a.side == b.side
}
