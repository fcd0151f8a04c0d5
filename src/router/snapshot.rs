//! What readers see of the virtual routers and of the host's interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lbd_vrrp::router::{Contribution, Router};
use lbd_vrrp::{DeviceAddress, RouterId, State};

use super::lateness::Lateness;
use super::netconf::View;
use super::network::{self, Network};
use super::object::{Load, Object};
use crate::control::status::{
    ConditionStatus, ContributionStatus, EntryStatus, ForeignStatus, HeardStatus, InstanceStatus,
    LatenessBucket, LatenessStatus, StaticStatus, SyncGroupStatus, VrrpStatus,
};
use crate::state_file::SavedInstance;

/// All virtual routers in configuration order.
#[derive(Clone, Debug, Default)]
pub struct RouterSnapshot {
    /// Virtual routers.
    pub instances: Vec<Arc<InstanceSnapshot>>,
    /// Sync groups in configuration order.
    pub groups: Vec<SyncGroupStatus>,
    /// Virtual routers that were heard and are not configured here.
    pub foreign: Vec<ForeignStatus>,
    /// [`super::Router::begin`] was carried out.
    pub begun: bool,
    /// VRRP datagrams that were for no virtual router of ours, those among them that nobody read.
    pub strangers: u64,
    /// Adverts and ARP frames that the kernel did not take.
    pub send_errors: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub receive_overflows: u64,
    /// Datagrams that are cut short or no IP at all.
    pub malformed: u64,
    /// How late adverts were sent.
    pub lateness: Lateness,
    /// Routes and rules of virtual routers, and what is static.
    pub network: Arc<Network>,
}

impl RouterSnapshot {
    /// As the control API shows it, without what is in the kernel.
    pub fn status(&self) -> VrrpStatus {
        self.status_with(&View::default())
    }

    /// As the control API shows it.
    pub(super) fn status_with(&self, view: &View) -> VrrpStatus {
        VrrpStatus {
            instances: self.instances.iter().map(|one| one.status_with(&self.network, view)).collect(),
            static_entries: if self.begun { fixed(&self.network, view) } else { StaticStatus::default() },
            sync_groups: self.groups.clone(),
            foreign: self.foreign.clone(),
            advert_lateness: (&self.lateness).into(),
            strangers: self.strangers,
            send_errors: self.send_errors,
            receive_overflows: self.receive_overflows,
            malformed: self.malformed,
        }
    }

    /// What the state file keeps.
    pub fn saved(&self) -> Vec<SavedInstance> {
        let instances = self.instances.iter().map(|instance| instance.saved(&self.network));
        instances.chain(self.network.saved()).collect()
    }
}

/// One virtual router.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceSnapshot {
    /// As the control API shows it.
    pub status: InstanceStatus,
    /// It is master.
    pub master: bool,
    /// Boot clock of the last advert sent in milliseconds; 0 before the first.
    pub last_advert_ms: u64,
    /// Addresses it holds: `ADDRESS/PREFIX` and interface.
    pub addresses: Vec<(String, String)>,
    router: Option<RouterId>,
    held: Arc<[DeviceAddress]>,
}

impl InstanceSnapshot {
    /// `of_day` tells the time of day of a moment of the engine.
    pub(super) fn of(
        router: &Router,
        group: Option<String>,
        since: SystemTime,
        last_advert_ms: u64,
        of_day: &impl Fn(Instant) -> SystemTime,
    ) -> Self {
        let config = router.config();
        let counters = router.counters();
        let used = [
            ("address_list", counters.address_list),
            ("interval_used", counters.interval),
            ("unlisted_peer_used", counters.unlisted_peer),
            ("unsigned_used", counters.unsigned),
        ];
        let used =
            used.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count));
        let refused = counters.refused.iter().map(|(cause, count)| (cause.as_str().to_owned(), *count));
        let dropped = refused.chain(used);
        let master = router.master();
        let status = InstanceStatus {
            name: config.name.to_string(),
            interface: config.interface_name().to_owned(),
            parent_interface: config.parent.as_ref().map(|parent| parent.name.clone()),
            vrid: config.vrid.get(),
            version: config.version.number(),
            family: config.family.to_string().to_lowercase(),
            state: router.state().as_str().into(),
            since: rfc3339(since),
            priority: config.priority.0,
            effective_priority: router.effective_priority().0,
            priority_contributions: router.contributions().iter().map(contribution).collect(),
            master: master.map(|(address, _)| address.to_string()),
            master_priority: master.map(|(_, priority)| priority.0),
            sync_group: group,
            last_advert_received: router.last_heard().map(|at| rfc3339(of_day(at))),
            conditions: router
                .conditions()
                .map(|(condition, standing)| ConditionStatus {
                    name: condition.as_str().into(),
                    detail: standing.detail.clone(),
                    since: rfc3339(of_day(standing.since)),
                })
                .collect(),
            heard: router
                .heard()
                .iter()
                .map(|heard| HeardStatus {
                    address: heard.address.to_string(),
                    priority: heard.priority.0,
                    interval_ms: milliseconds(heard.interval),
                    last_at: rfc3339(of_day(heard.last)),
                    adverts: heard.adverts,
                })
                .collect(),
            addresses: config.addresses.iter().map(|one| format!("{}/{}", one.address, one.prefix)).collect(),
            fault_reasons: router.faults().iter().map(ToString::to_string).collect(),
            adverts_sent: counters.sent,
            adverts_received: counters.received,
            adverts_dropped: dropped.collect::<BTreeMap<_, _>>(),
            advert_interval_ms: milliseconds(config.advert_interval),
            priority_zero_sent: counters.priority_zero_sent,
            priority_zero_received: counters.priority_zero_received,
            became_master: counters.became_master,
            released_master: counters.released_master,
            ..InstanceStatus::default()
        };
        let held = router.held();
        let addresses = held.iter().map(saved_address).collect();
        let (router, master) = (Some(router.id()), router.state() == State::Master);
        InstanceSnapshot { status, master, last_advert_ms, addresses, router, held }
    }

    fn status_with(&self, network: &Network, view: &View) -> InstanceStatus {
        let entries = network.entries(&self.status.name);
        let of = |object: Object| entry_status(&object, view, self.master);
        let routes: Vec<EntryStatus> = entries.routes.iter().cloned().map(Object::Route).map(of).collect();
        let rules: Vec<EntryStatus> = entries.rules.iter().cloned().map(Object::Rule).map(of).collect();
        // What netconf was not told of yet is neither there nor missing.
        let held = Load { addresses: Arc::clone(&self.held), entries };
        let missing = held.objects().filter_map(|object| {
            let shown = view.held.get(&object.key()).filter(|one| self.master && !one.present)?;
            Some(match &shown.error {
                Some(error) => format!("{object}: {error}"),
                None => object.to_string(),
            })
        });
        InstanceStatus {
            routes,
            rules,
            missing: missing.collect(),
            repaired: self.router.and_then(|router| view.repaired.get(&router)).copied().unwrap_or(0),
            ..self.status.clone()
        }
    }

    fn saved(&self, network: &Network) -> SavedInstance {
        let entries = if self.master { network.entries(&self.status.name) } else { Arc::default() };
        let (routes, rules) = network::saved(&entries);
        SavedInstance {
            interface: self.status.interface.clone(),
            vrid: self.status.vrid,
            family: self.status.family.clone(),
            master: self.master,
            last_advert_ms: self.last_advert_ms,
            addresses: self.addresses.clone(),
            routes,
            rules,
        }
    }
}

fn entry_status(object: &Object, view: &View, wanted: bool) -> EntryStatus {
    let shown = view.held.get(&object.key()).filter(|_| wanted).cloned().unwrap_or_default();
    let entry = match object {
        Object::Address(_) => object.to_string(),
        Object::Route(entry) => entry.text.to_string(),
        Object::Rule(entry) => entry.text.to_string(),
    };
    EntryStatus { entry, present: shown.present, repaired: shown.repaired, error: shown.error }
}

fn fixed(network: &Network, view: &View) -> StaticStatus {
    let of = |object: Object| entry_status(&object, view, true);
    let Load { addresses, entries } = &network.fixed;
    StaticStatus {
        addresses: addresses.iter().cloned().map(Object::Address).map(of).collect(),
        routes: entries.routes.iter().cloned().map(Object::Route).map(of).collect(),
        rules: entries.rules.iter().cloned().map(Object::Rule).map(of).collect(),
    }
}

fn contribution(of: &Contribution) -> ContributionStatus {
    ContributionStatus {
        kind: of.tracked.kind().to_owned(),
        name: of.tracked.name().to_owned(),
        weight: of.weight.value,
        reverse: of.weight.reverse,
        state: of.tracked.to_string(),
        contribution: of.points,
    }
}

/// A time of day as status shows it.
pub(super) fn rfc3339(time: SystemTime) -> String {
    // A clock that was set back may show a moment before 1970, of which no date can be written.
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

impl From<&Lateness> for LatenessStatus {
    fn from(lateness: &Lateness) -> Self {
        let bucket = |(bound, count): (Option<Duration>, u64)| LatenessBucket {
            le_ms: bound.map(milliseconds),
            count,
        };
        LatenessStatus {
            count: lateness.count(),
            max_ms: milliseconds(lateness.max()),
            p50_ms: lateness.quantile(50).map(milliseconds),
            p99_ms: lateness.quantile(99).map(milliseconds),
            buckets: lateness.buckets().map(bucket).collect(),
        }
    }
}

/// Milliseconds as status shows them, to the microsecond.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    // Whole microseconds first: 50 us are 0.05 ms, not 0.050000000000000003.
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

/// `ADDRESS/PREFIX` and interface.
pub(super) fn saved_address(address: &DeviceAddress) -> (String, String) {
    (format!("{}/{}", address.address.address, address.address.prefix), address.device.clone())
}

/// The host's interfaces by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Interfaces.
    pub by_name: BTreeMap<String, HostInterface>,
}

impl Interfaces {
    /// Whether `address` is on any interface.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.by_name.values().any(|one| one.addresses.iter().any(|(own, _)| *own == address))
    }

    /// Whether this is on that interface, as the state file writes it.
    pub(super) fn has_saved(&self, (address, device): &(String, String)) -> bool {
        self.by_name.get(device).is_some_and(|interface| {
            interface.addresses.iter().any(|(own, prefix)| format!("{own}/{prefix}") == *address)
        })
    }
}

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Index.
    pub index: NonZeroU32,
    /// Up and running.
    pub up: bool,
    /// Addresses with prefix length, in the kernel's order.
    pub addresses: Vec<(IpAddr, u8)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_as_status_shows_it() {
        let mut lateness = Lateness::default();
        let none = LatenessStatus::from(&lateness);
        assert_eq!((none.count, none.p50_ms, none.buckets.len()), (0, None, 13));
        for micros in [30, 70, 1_400_000] {
            lateness.record(Duration::from_micros(micros));
        }
        let status = LatenessStatus::from(&lateness);
        assert_eq!((status.count, status.max_ms), (3, 1400.0));
        assert_eq!((status.p50_ms, status.p99_ms), (Some(0.1), Some(1400.0)));
        let bucket = |le_ms, count| LatenessBucket { le_ms, count };
        assert_eq!(status.buckets.first(), Some(&bucket(Some(0.05), 1)));
        assert_eq!(status.buckets.get(11..), Some(&[bucket(Some(1000.0), 2), bucket(None, 3)][..]));
    }

    #[test]
    fn milliseconds_to_the_microsecond() {
        for (micros, want) in [(0, 0.0), (50, 0.05), (1_000_000, 1000.0), (u64::MAX, 4_294_967.295)] {
            assert_eq!(milliseconds(Duration::from_micros(micros)), want);
        }
    }

    #[test]
    fn all_of_it_is_shown_and_saved() {
        let status =
            InstanceStatus { name: "VI_1".into(), family: "ipv6".into(), ..InstanceStatus::default() };
        let instance =
            InstanceSnapshot { status: status.clone(), master: true, ..InstanceSnapshot::default() };
        let snapshot = RouterSnapshot {
            instances: vec![Arc::new(instance)],
            strangers: 3,
            send_errors: 4,
            ..RouterSnapshot::default()
        };
        let shown = snapshot.status();
        assert_eq!((shown.instances, shown.strangers, shown.send_errors), (vec![status], 3, 4));
        let saved = snapshot.saved();
        let families: Vec<(&str, bool)> = saved.iter().map(|one| (&*one.family, one.master)).collect();
        assert_eq!(families, [("ipv6", true)]);
    }
}
