//! drain_timeout: real servers that a reload took away stay with weight 0 until their connections have ended.
//!
//! Here: which stay, for how long, and what is added to the wanted parts for them. Not here: what else is
//! wanted (`pool`), who counts connections (`owner`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use lbd_grammar::config::{VirtualServer, VirtualServerId};
use lbd_ipvs::{Destination, DestinationStats, Entry, Protocol, Service, ServiceId};

use super::{Director, Managed};
use crate::control::status::LeavingStatus;
use crate::director::owner::{Counters, Part};
use crate::director::parts::{self, Services, Shared};
use crate::event::Event;
use crate::state_file::{SavedLeaving, boot_clock_ms};

/// Between two looks at the connections.
const LOOK: Duration = Duration::from_secs(1);
/// The keyword's longest time; a state file may say anything.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A destination that stays for its connections.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    id: ServiceId,
    /// As those want it who drive the service now, or the last one did.
    service: Service,
    address: SocketAddr,
    /// With weight 0.
    destination: Destination,
    since: Instant,
    until: Instant,
    /// The same on the boot clock, for the next process.
    until_ms: u64,
    /// The same for status, RFC 3339.
    until_wall: String,
}

/// All that stay, by the virtual server that they were of.
#[derive(Clone, Debug, Default)]
pub(super) struct Leavers(BTreeMap<VirtualServerId, Vec<Leaving>>);

/// A virtual server of the configuration, and what it drives.
#[derive(Clone, Copy)]
pub(super) struct Driver<'a> {
    pub config: &'a VirtualServer,
    pub services: &'a Services,
    pub shared: &'a Shared,
}

impl Driver<'_> {
    /// One of its real servers, or the sorry server, is at this place in the table.
    fn has(&self, id: &ServiceId, address: &SocketAddr) -> bool {
        let reals = self.config.real_servers.iter().map(|real| real.address);
        let mut servers = reals.chain(self.config.sorry_server.iter().map(|sorry| sorry.address));
        servers.any(|server| parts::destination(*id, server) == *address)
    }
}

impl Leavers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose virtual servers' parts have something of it.
    pub(super) fn servers(&self) -> BTreeSet<VirtualServerId> {
        self.0.keys().cloned().collect()
    }

    /// What of the part `before` is not in `after` begins to leave, for `limit` at most. What goes because of a
    /// check or a command, and not because it left the configuration, goes at once ([`Leavers::settle`]).
    pub(super) fn add(
        &mut self,
        of: &VirtualServerId,
        (before, after): (&Part, &Part),
        limit: Duration,
        now: Instant,
    ) -> usize {
        if limit.is_zero() {
            return 0;
        }
        let until_wall = humantime::format_rfc3339_millis(SystemTime::now() + limit).to_string();
        let until_ms = boot_clock_ms().saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let mut left = Vec::new();
        for (id, Entry { service, destinations }) in before {
            let stays = |address| after.get(id).is_some_and(|entry| entry.destinations.contains_key(address));
            let gone = destinations.iter().filter(|(address, _)| !stays(*address));
            left.extend(gone.map(|(address, destination)| Leaving {
                id: *id,
                service: service.clone(),
                address: *address,
                destination: Destination { weight: 0, ..*destination },
                since: now,
                until: now + limit,
                until_ms,
                until_wall: until_wall.clone(),
            }));
        }
        let count = left.len();
        if count > 0 {
            self.0.entry(of.clone()).or_default().extend(left);
        }
        count
    }

    /// Forgets what the configuration has, whichever virtual server it is of now, and takes over how those want
    /// a service who drive it.
    pub(super) fn settle<'a>(&mut self, drivers: impl Iterator<Item = Driver<'a>>) {
        if self.0.is_empty() {
            return;
        }
        let concerned: HashSet<ServiceId> = self.0.values().flatten().map(|one| one.id).collect();
        let mut driven: HashMap<ServiceId, Vec<Driver<'a>>> = HashMap::new();
        for driver in drivers {
            for id in driver.services.iter().filter(|id| concerned.contains(id)) {
                driven.entry(*id).or_default().push(driver);
            }
        }
        for leaving in self.0.values_mut() {
            leaving.retain_mut(|one| {
                let Some(drivers) = driven.get(&one.id) else { return true };
                if let Some(first) = drivers.first() {
                    one.service = parts::description(one.id, &first.config.service, first.shared);
                }
                !drivers.iter().any(|driver| driver.has(&one.id, &one.address))
            });
        }
        self.0.retain(|_, leaving| !leaving.is_empty());
    }

    /// `part`, and what stays for its connections.
    pub(super) fn with(&self, of: &VirtualServerId, mut part: Part) -> Part {
        for one in self.0.get(of).into_iter().flatten() {
            let entry = part
                .entry(one.id)
                .or_insert_with(|| Entry { service: one.service.clone(), destinations: Default::default() });
            entry.destinations.entry(one.address).or_insert(one.destination);
        }
        part
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    fn iter(&self) -> impl Iterator<Item = (&VirtualServerId, &Leaving)> {
        self.0.iter().flat_map(|(of, leaving)| leaving.iter().map(move |one| (of, one)))
    }
}

impl Leaving {
    /// Connections that it still has; `None` while nobody has counted since it began to leave.
    fn connections(&self, counters: &Counters) -> Option<u32> {
        let counted = counters.get(&self.id).filter(|counted| counted.at > self.since)?;
        let DestinationStats { active_connections, inactive_connections, .. } =
            counted.reading.counters(&self.address).copied().unwrap_or_default();
        // Of TCP and SCTP the others are those that ended. Of UDP none is ever active.
        match self.id {
            ServiceId::Addr { protocol: Protocol::Tcp | Protocol::Sctp, .. } => Some(active_connections),
            _ => Some(active_connections.saturating_add(inactive_connections)),
        }
    }
}

impl Director {
    /// Takes over what was leaving when an earlier process ended, unless its time is over.
    pub(super) fn resume_leaving(&mut self, saved: Vec<SavedLeaving>, now: Instant) {
        let (clock, wall) = (boot_clock_ms(), SystemTime::now());
        for SavedLeaving { of, id, service, address, destination, until_ms } in saved {
            let Some(rest) = until_ms.checked_sub(clock) else { continue };
            let rest = Duration::from_millis(rest).min(LONGEST);
            let until_wall = humantime::format_rfc3339_millis(wall + rest).to_string();
            let until = now + rest;
            let leaving =
                Leaving { id, service, address, destination, since: now, until, until_ms, until_wall };
            self.leaving.0.entry(of).or_default().push(leaving);
        }
        self.settle_leaving(BTreeSet::new(), now);
    }

    /// After a change of the configuration: `before` are the virtual servers that something was leaving of.
    pub(super) fn settle_leaving(&mut self, before: BTreeSet<VirtualServerId>, now: Instant) {
        let drivers = self.services.iter().map(|managed| Driver {
            config: managed.pool.config(),
            services: &managed.services,
            shared: &managed.shared,
        });
        self.leaving.settle(drivers);
        let concerned: BTreeSet<VirtualServerId> = before.into_iter().chain(self.leaving.servers()).collect();
        self.leaving_changed |= !concerned.is_empty();
        self.restate(&concerned);
        if self.leaving.is_empty() {
            self.leaving_due = None;
        } else {
            self.leaving_due.get_or_insert(now + LOOK);
        }
    }

    /// What is leaving, for the next process.
    pub(super) fn saved_leaving(&self) -> Vec<SavedLeaving> {
        let saved = |(of, one): (&VirtualServerId, &Leaving)| SavedLeaving {
            of: of.clone(),
            id: one.id,
            service: one.service.clone(),
            address: one.address,
            destination: one.destination,
            until_ms: one.until_ms,
        };
        self.leaving.iter().map(saved).collect()
    }

    /// What this virtual server wants, with what stays for its connections.
    pub(super) fn part_of(&self, managed: &Managed) -> Part {
        self.leaving.with(&managed.pool.config().id, managed.part())
    }

    /// Lets go what has no connections any more, or had its time.
    pub(super) fn look_at_leaving(&mut self, now: Instant) {
        if self.leaving_due.is_none_or(|due| due > now) {
            return;
        }
        let counters = self.options.owner.counters();
        let mut gone = Vec::new();
        for (of, leaving) in &mut self.leaving.0 {
            leaving.retain(|one| {
                let connections = one.connections(&counters);
                let stays = connections != Some(0) && one.until > now;
                if !stays {
                    gone.push((of.clone(), one.address, connections.unwrap_or_default()));
                }
                stays
            });
        }
        self.leaving.0.retain(|_, leaving| !leaving.is_empty());
        self.leaving_due = (!self.leaving.is_empty()).then_some(now + LOOK);
        self.leaving_changed |= !gone.is_empty();
        self.restate(&gone.iter().map(|(of, ..)| of.clone()).collect());
        for (service, address, connections) in gone {
            self.options.events.send(Event::Left { service, address, connections });
        }
    }

    /// Has the table owner told anew what these virtual servers want.
    fn restate(&mut self, servers: &BTreeSet<VirtualServerId>) {
        if servers.is_empty() {
            return;
        }
        let mut rest = servers.clone();
        let running = self.services.iter().filter(|managed| rest.remove(&managed.pool.config().id));
        let parts: Vec<_> =
            running.map(|managed| (managed.pool.config().id.clone(), Some(self.part_of(managed)))).collect();
        self.dirty.extend(parts);
        for id in rest {
            let part = self.leaving.with(&id, Part::new());
            self.dirty.insert(id, (!part.is_empty()).then_some(part));
        }
    }

    pub(super) fn leaving_status(&self) -> Vec<LeavingStatus> {
        let counters = self.options.owner.counters();
        let shown = |(of, one): (&VirtualServerId, &Leaving)| LeavingStatus {
            virtual_server: of.to_string(),
            real_server: one.address.to_string(),
            connections: one.connections(&counters),
            until: one.until_wall.clone(),
        };
        self.leaving.iter().map(shown).collect()
    }
}
