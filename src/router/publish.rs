//! What readers see, kept up to date without holding up an advert.
//!
//! A transition is published at once; counters at most every [`EVERY`], a few virtual routers at a time. Not
//! here: the values (`snapshot`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lbd_vrrp::net::Overflows;
use lbd_vrrp::{Engine, RouterId, State};
use tokio::sync::watch;

use super::clock::Clock;
use super::network::Network;
use super::snapshot::{InstanceSnapshot, RouterSnapshot, rfc3339};
use crate::control::status::{ForeignStatus, SyncGroupStatus};

/// Counters are this old at most while somebody counts.
const EVERY: Duration = Duration::from_millis(250);
/// Virtual routers of which counters are written down in one go: a tenth of a millisecond.
const AT_ONCE: usize = 16;

/// What is kept of a router beside the engine.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    revision: u64,
    transitions: u64,
    pub state: State,
    since: SystemTime,
    last_advert_ms: u64,
    pub snapshot: Arc<InstanceSnapshot>,
}

/// What the driver knows that the engine does not.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    pub send_errors: u64,
    /// Not read: of strangers there is a limit to it.
    pub overflows: Overflows,
    pub malformed: u64,
    pub lateness: super::lateness::Lateness,
    pub network: Arc<Network>,
}

#[derive(Debug)]
pub(super) struct Publisher {
    sender: watch::Sender<Arc<RouterSnapshot>>,
    pub seen: BTreeMap<RouterId, Seen>,
    groups: BTreeMap<Arc<str>, (State, SystemTime)>,
    order: Vec<RouterId>,
    begun: bool,
    /// Of the engine, as far as it was looked at.
    revision: u64,
    transitions: Option<u64>,
    /// When counters are due.
    due: Option<Instant>,
    /// The place at which the present round goes on.
    round: Option<usize>,
}

impl Publisher {
    pub fn new(sender: watch::Sender<Arc<RouterSnapshot>>) -> Self {
        Publisher {
            sender,
            seen: BTreeMap::new(),
            groups: BTreeMap::new(),
            order: Vec::new(),
            begun: false,
            revision: 0,
            transitions: None,
            due: None,
            round: None,
        }
    }

    /// There is another engine.
    pub fn forget(&mut self) {
        self.seen.clear();
        (self.transitions, self.due, self.round) = (None, None, None);
    }

    /// When [`Publisher::look`] wants to be called next, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Publishes what is due. `last_ms`: boot clock of a router's last advert.
    pub fn look(
        &mut self,
        now: Instant,
        engine: &Engine,
        begun: bool,
        last_ms: &impl Fn(RouterId) -> u64,
        beside: impl FnOnce() -> Beside,
    ) {
        let routers = engine.routers();
        if self.revision != engine.revision() {
            self.revision = engine.revision();
            self.due.get_or_insert(now + EVERY);
        }
        let urgent = self.transitions != Some(engine.transitions()) || begun != self.begun;
        if urgent {
            self.transitions = Some(engine.transitions());
            for router in routers {
                let seen = self.seen.get(&router.id());
                if seen.is_none_or(|seen| seen.transitions != router.transitions()) {
                    self.write_down(now, engine, router, last_ms(router.id()));
                }
            }
        }
        let mut complete = false;
        if self.due.is_some_and(|due| now >= due) {
            let from = self.round.unwrap_or(0);
            for router in routers.iter().skip(from).take(AT_ONCE) {
                let last = last_ms(router.id());
                let seen = self.seen.get(&router.id());
                if seen.is_none_or(|seen| seen.revision != router.revision() || seen.last_advert_ms != last) {
                    self.write_down(now, engine, router, last);
                }
            }
            complete = from + AT_ONCE >= routers.len();
            self.round = (!complete).then_some(from + AT_ONCE);
            if complete {
                self.due = None;
            }
        }
        if urgent || complete {
            self.begun = begun;
            self.send(now, engine, beside());
        }
    }

    fn write_down(&mut self, now: Instant, engine: &Engine, router: &lbd_vrrp::router::Router, last_ms: u64) {
        let state = router.state();
        let old = self.seen.get(&router.id());
        let since = old.filter(|seen| seen.state == state).map_or_else(SystemTime::now, |seen| seen.since);
        let place = engine.routers().iter().position(|one| one.id() == router.id());
        let group =
            place.and_then(|place| engine.group_of(place)).map(|group| group.config().name.to_string());
        let of = |at| Clock::time_of_day(now, at);
        let snapshot = Arc::new(InstanceSnapshot::of(router, group, since, last_ms, &of));
        let seen = Seen {
            revision: router.revision(),
            transitions: router.transitions(),
            state,
            since,
            last_advert_ms: last_ms,
            snapshot,
        };
        self.seen.insert(router.id(), seen);
    }

    fn send(&mut self, now: Instant, engine: &Engine, beside: Beside) {
        self.order = engine.routers().iter().map(lbd_vrrp::router::Router::id).collect();
        let known: BTreeSet<RouterId> = self.order.iter().copied().collect();
        self.seen.retain(|id, _| known.contains(id));
        let groups = engine.groups().iter().map(|group| {
            let config = group.config();
            let slot = self.groups.entry(Arc::clone(&config.name));
            let (state, since) = slot.or_insert_with(|| (group.state(), SystemTime::now()));
            if *state != group.state() {
                (*state, *since) = (group.state(), SystemTime::now());
            }
            SyncGroupStatus {
                name: config.name.to_string(),
                state: state.as_str().into(),
                since: rfc3339(*since),
                members: config.members.iter().map(ToString::to_string).collect(),
            }
        });
        let groups: Vec<SyncGroupStatus> = groups.collect();
        self.groups.retain(|name, _| groups.iter().any(|group| group.name == **name));
        let foreign = engine.foreign().map(|one| ForeignStatus {
            interface: one.interface.clone(),
            vrid: one.vrid,
            family: one.family.to_string().to_lowercase(),
            source: one.source.to_string(),
            last_at: rfc3339(Clock::time_of_day(now, one.last)),
            adverts: one.adverts,
        });
        let of = |id: &RouterId| self.seen.get(id).map(|seen| Arc::clone(&seen.snapshot));
        let snapshot = RouterSnapshot {
            instances: self.order.iter().filter_map(of).collect(),
            groups,
            foreign: foreign.collect(),
            begun: self.begun,
            strangers: engine.strangers() + beside.overflows.strangers,
            send_errors: beside.send_errors,
            receive_overflows: beside.overflows.main,
            malformed: beside.malformed,
            lateness: beside.lateness,
            network: beside.network,
        };
        self.sender.send_replace(Arc::new(snapshot));
    }
}
