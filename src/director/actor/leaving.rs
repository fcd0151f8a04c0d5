//! drain_timeout: real servers that a reload took away stay with weight 0 until their connections have ended.
//!
//! Here: which stay, for how long, and what is added to the wanted parts for them. Not here: what else is
//! wanted (`pool`), who counts connections (`owner`).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lbd_grammar::config::{VirtualServer, VirtualServerId};
use lbd_ipvs::{Destination, DestinationStats, Entry, Protocol, Service, ServiceId};

use super::{Director, Managed};
use crate::control::status::LeavingStatus;
use crate::director::owner::{Counters, Part};
use crate::director::parts::{self, Services};
use crate::event::Event;
use crate::state_file::{SavedLeaving, boot_clock_ms};

/// Between two looks at the connections.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// A destination that stays for its connections.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    /// The virtual server that it was of.
    of: VirtualServerId,
    id: ServiceId,
    /// For a service that nobody else wants any more.
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

/// What stays of `before` when `after` comes instead: what `after` does not have although the configuration, not
/// a check, took it away; `servers` are those that the new configuration still has, in no particular service.
pub(super) fn left(
    of: &VirtualServerId,
    (before, after): (&Part, &Part),
    gone: impl Fn(&ServiceId, &SocketAddr) -> bool,
    limit: Duration,
    now: Instant,
) -> Vec<Leaving> {
    if limit.is_zero() {
        return Vec::new();
    }
    let until_wall = humantime::format_rfc3339_millis(SystemTime::now() + limit).to_string();
    let until_ms = boot_clock_ms().saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let mut left = Vec::new();
    for (id, Entry { service, destinations }) in before {
        for (address, destination) in destinations {
            let stays = after.get(id).is_some_and(|entry| entry.destinations.contains_key(address));
            if !stays && gone(id, address) {
                left.push(Leaving {
                    of: of.clone(),
                    id: *id,
                    service: service.clone(),
                    address: *address,
                    destination: Destination { weight: 0, ..*destination },
                    since: now,
                    until: now + limit,
                    until_ms,
                    until_wall: until_wall.clone(),
                });
            }
        }
    }
    left
}

/// The destinations of a configuration's real servers in its services.
pub(super) fn configured<'a>(
    config: &'a VirtualServer,
    services: &'a Services,
) -> impl Fn(&ServiceId, &SocketAddr) -> bool + 'a {
    move |id, address| {
        services.contains(id)
            && config.real_servers.iter().any(|real| parts::destination(*id, real.address) == *address)
    }
}

/// `part`, and what stays for its connections.
pub(super) fn with(leaving: &[Leaving], of: &VirtualServerId, mut part: Part) -> Part {
    for one in leaving.iter().filter(|one| one.of == *of) {
        let entry = part
            .entry(one.id)
            .or_insert_with(|| Entry { service: one.service.clone(), destinations: Default::default() });
        entry.destinations.entry(one.address).or_insert(one.destination);
    }
    part
}

impl Leaving {
    /// Connections that it still has; `None` while nobody has counted since it began to leave.
    fn connections(&self, counters: &Counters) -> Option<u32> {
        let counted = counters.get(&self.id).filter(|counted| counted.at > self.since)?;
        let DestinationStats { active_connections, inactive_connections, .. } =
            counted.counters.of(&self.address).copied().unwrap_or_default();
        // Of TCP and SCTP the others are those that ended. Of UDP none is ever active.
        match self.id {
            ServiceId::Addr { protocol: Protocol::Tcp | Protocol::Sctp, .. } => Some(active_connections),
            _ => Some(active_connections.saturating_add(inactive_connections)),
        }
    }
}

impl Director {
    /// Takes over what was leaving when an earlier process ended, unless it is configured again or its time is
    /// over.
    pub(super) fn resume_leaving(&mut self, saved: Vec<SavedLeaving>, now: Instant) {
        let (clock, wall) = (boot_clock_ms(), SystemTime::now());
        let mut concerned = BTreeSet::new();
        for SavedLeaving { of, id, service, address, destination, until_ms } in saved {
            let managed = self.services.iter().find(|managed| managed.pool.config().id == of);
            let back = managed.is_some_and(|one| configured(one.pool.config(), &one.services)(&id, &address));
            let Some(rest) = until_ms.checked_sub(clock).filter(|_| !back) else { continue };
            let rest = Duration::from_millis(rest);
            let until_wall = humantime::format_rfc3339_millis(wall + rest).to_string();
            concerned.insert(of.clone());
            self.leaving.push(Leaving {
                of,
                id,
                service,
                address,
                destination,
                since: now,
                until: now + rest,
                until_ms,
                until_wall,
            });
        }
        self.leaving_due = (!self.leaving.is_empty()).then_some(now + LOOK);
        for of in concerned {
            self.restate(&of);
        }
    }

    /// Has what is leaving written down for the next process.
    fn remember_leaving(&self) {
        let saved = |one: &Leaving| SavedLeaving {
            of: one.of.clone(),
            id: one.id,
            service: one.service.clone(),
            address: one.address,
            destination: one.destination,
            until_ms: one.until_ms,
        };
        (self.options.remember_leaving)(self.leaving.iter().map(saved).collect());
    }

    /// What this virtual server wants, with what stays for its connections.
    pub(super) fn part_of(&self, managed: &Managed) -> Part {
        with(&self.leaving, &managed.pool.config().id, managed.part())
    }

    /// Lets go what has no connections any more, or had its time.
    pub(super) fn look_at_leaving(&mut self, now: Instant) {
        if self.leaving_due.is_none_or(|due| due > now) {
            return;
        }
        let counters = self.options.owner.counters();
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        for one in std::mem::take(&mut self.leaving) {
            let connections = one.connections(&counters);
            if connections == Some(0) || one.until <= now {
                gone.push((one, connections))
            } else {
                stay.push(one)
            }
        }
        self.leaving = stay;
        self.leaving_due = (!self.leaving.is_empty()).then_some(now + LOOK);
        if !gone.is_empty() {
            self.remember_leaving();
        }
        for (one, connections) in gone {
            self.restate(&one.of);
            self.options.events.send(Event::Left {
                service: one.of,
                address: one.address,
                connections: connections.unwrap_or_default(),
            });
        }
    }

    /// Has the table owner told anew what a virtual server wants.
    fn restate(&mut self, id: &VirtualServerId) {
        let managed = self.services.iter().find(|managed| managed.pool.config().id == *id);
        let part = match managed {
            Some(managed) => self.part_of(managed),
            None => with(&self.leaving, id, Part::new()),
        };
        self.dirty.insert(id.clone(), (!part.is_empty()).then_some(part));
    }

    /// Takes over what begins to leave; `last` is what its virtual server wants, or wanted last.
    pub(super) fn let_leave(&mut self, of: &VirtualServerId, last: &Part, left: Vec<Leaving>, now: Instant) {
        for one in self.leaving.iter_mut().filter(|one| one.of == *of) {
            if let Some(entry) = last.get(&one.id) {
                one.service.clone_from(&entry.service);
            }
        }
        if !left.is_empty() {
            self.leaving.extend(left);
            self.remember_leaving();
        }
        if self.leaving.is_empty() {
            self.leaving_due = None;
        } else {
            self.leaving_due.get_or_insert(now + LOOK);
        }
    }

    /// Forgets what was leaving and is configured again.
    pub(super) fn returned(&mut self, config: &Arc<VirtualServer>, services: &Services) {
        if !self.leaving.is_empty() {
            let back = configured(config, services);
            let before = self.leaving.len();
            self.leaving.retain(|one| one.of != config.id || !back(&one.id, &one.address));
            if self.leaving.len() != before {
                self.remember_leaving();
            }
        }
    }

    pub(super) fn leaving_status(&self) -> Vec<LeavingStatus> {
        let counters = self.options.owner.counters();
        let shown = |one: &Leaving| LeavingStatus {
            virtual_server: one.of.to_string(),
            real_server: one.address.to_string(),
            connections: one.connections(&counters),
            until: one.until_wall.clone(),
        };
        self.leaving.iter().map(shown).collect()
    }
}
