//! Virtual routers and their groups.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lbd_health::ScriptId;
use lbd_vrrp::{Gaps, GroupConfig, InstanceConfig, SharedGap, TrackerId, Weight};

use super::{Route, Rule};

/// vrrp_instance. One without virtual_ipaddress is meant to have none (no_virtual_ipaddress).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpInstance {
    /// The virtual router.
    pub router: InstanceConfig,
    /// vrf: of an instance without interface.
    pub vrf: Option<String>,
    /// What adverts and addresses are put on.
    pub link: LinkMode,
    /// use_vmac_addr: addresses on other interfaces get virtual MAC interfaces too.
    pub vmac_addresses: bool,
    /// promote_secondaries: set the kernel's setting of that name on the interface.
    pub promote_secondaries: bool,
    /// virtual_routes, in file order.
    pub routes: Vec<Route>,
    /// virtual_rules, in file order.
    pub rules: Vec<Rule>,
    /// garp_extra_if
    pub garp_extra: Option<GarpExtra>,
    /// What is run on its transitions.
    pub notify: VrrpNotify,
    /// notify_deleted: a removal by a reload is told as DELETED, else as FAULT.
    pub tells_deleted: bool,
    /// preempt_sync_time, preempt_sync_share, preempt_sync_limit: masters of lower priorities are let be until their
    /// connections are known here.
    pub preempt_sync: PreemptSync,
    /// notify_priority_changes: FIFO lines when the priority changes.
    pub tells_priority: bool,
    /// smtp_alert: mail on its transitions.
    pub mail: bool,
}

impl VrrpInstance {
    /// A virtual router on its interface and nothing else.
    pub fn new(router: InstanceConfig) -> Self {
        VrrpInstance {
            router,
            vrf: None,
            link: LinkMode::Plain,
            vmac_addresses: false,
            promote_secondaries: false,
            routes: Vec::new(),
            rules: Vec::new(),
            garp_extra: None,
            notify: VrrpNotify::default(),
            tells_deleted: false,
            preempt_sync: PreemptSync::default(),
            tells_priority: false,
            mail: false,
        }
    }
}

/// When enough of the connections of a master of a lower priority are known here that taking over from it breaks
/// few of them. As soon as either holds, or the limit is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreemptSync {
    /// preempt_sync_time: the kernel's synchronisation daemon has been receiving for so long, 1 s..=1 day.
    pub time: Option<Duration>,
    /// preempt_sync_share: so many percent (1..=100) of the connections that the peer has, as its status at this
    /// `http://` address says.
    pub share: Option<(u8, String)>,
    /// preempt_sync_limit: longest wait from the start, 1 s..=1 day.
    pub limit: Duration,
}

impl PreemptSync {
    /// There is something to wait for.
    pub fn waits(&self) -> bool {
        self.time.is_some() || self.share.is_some()
    }
}

impl Default for PreemptSync {
    /// Waits for nothing; 300 s.
    fn default() -> Self {
        PreemptSync { time: None, share: None, limit: Duration::from_secs(300) }
    }
}

impl VrrpInstance {
    /// What the engine needs of it: it tracks the interfaces of routes and rules too, those of addresses by itself.
    pub(super) fn for_engine(&self) -> InstanceConfig {
        let mut router = self.router.clone();
        let of_routes = self.routes.iter().filter(|route| !route.no_track).flat_map(Route::interfaces);
        let of_rules = self.rules.iter().filter(|rule| !rule.no_track);
        let of_rules = of_rules.flat_map(|rule| [rule.input.as_deref(), rule.output.as_deref()]).flatten();
        for name in of_routes.chain(of_rules) {
            // The loopback interface stands for the host itself.
            if router.interface.as_deref() != Some(name) && name != "lo" {
                track_plainly(&mut router, name);
            }
        }
        let addresses = self.router.addresses.iter().chain(&self.router.excluded_addresses);
        for name in addresses.filter(|one| !one.no_track).filter_map(|one| one.device.as_deref()) {
            if router.track_interfaces.iter().any(|(known, _)| known == name) {
                track_plainly(&mut router, name);
            }
        }
        router
    }
}

/// Tracks an interface because of something that is on it: without a weight, whatever track_interface says, as
/// keepalived 2.2.7 has it.
pub(super) fn track_plainly(router: &mut InstanceConfig, name: &str) {
    let plain = Weight { value: 0, reverse: false };
    match router.track_interfaces.iter_mut().find(|(known, _)| known == name) {
        Some((_, weight)) => *weight = plain,
        None => router.track_interfaces.push((name.to_owned(), plain)),
    }
}

/// What a virtual router puts its adverts and addresses on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkMode {
    /// The interface itself.
    #[default]
    Plain,
    /// use_vmac: a macvlan with the virtual MAC address.
    Vmac(Vmac),
    /// use_ipvlan: an ipvlan.
    Ipvlan(Ipvlan),
}

/// use_vmac
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmac {
    /// Its name; made of vmac_prefix and the virtual router identifier by default.
    pub name: Option<String>,
    /// Its address; the RFC's by default.
    pub mac: Option<[u8; 6]>,
    /// netlink_notify_msg: others are told of it when its link comes up, as the kernel does in any case.
    pub notify: bool,
    /// group: number or name in iproute2's table `group`.
    pub group: Option<String>,
    /// vmac_xmit_base: adverts go over the parent, as they always do with unicast.
    pub advert_on_parent: bool,
}

/// use_ipvlan
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipvlan {
    /// Its name; made as that of a [`Vmac`] by default.
    pub name: Option<String>,
    /// Address and prefix length: the source of adverts. An IPv4 router without stays in FAULT.
    pub address: Option<(IpAddr, u8)>,
    /// Which others on the parent it reaches.
    pub mode: IpvlanMode,
    /// group: number or name in iproute2's table `group`.
    pub group: Option<String>,
}

/// Which others on the parent an ipvlan reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpvlanMode {
    /// All.
    #[default]
    Bridge,
    /// None.
    Private,
    /// Those that an outside switch sends back.
    Vepa,
}

/// garp_extra_if: gratuitous ARP on interfaces that send no adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GarpExtra {
    /// On every other interface of the addresses, not only on virtual MAC interfaces.
    pub all: bool,
    /// Time between two.
    pub interval: Duration,
}

/// Scripts of a vrrp_instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VrrpNotify {
    /// notify_master
    pub master: Option<ScriptId>,
    /// notify_backup
    pub backup: Option<ScriptId>,
    /// notify_fault
    pub fault: Option<ScriptId>,
    /// notify_stop
    pub stop: Option<ScriptId>,
    /// notify_deleted
    pub deleted: Option<ScriptId>,
    /// notify: gets `INSTANCE NAME STATE PRIORITY` appended.
    pub any: Option<ScriptId>,
    /// notify_master_rx_lower_pri
    pub master_rx_lower_priority: Option<ScriptId>,
}

impl VrrpNotify {
    /// All its scripts.
    pub fn scripts(&self) -> impl Iterator<Item = &ScriptId> {
        let VrrpNotify { master, backup, fault, stop, deleted, any, master_rx_lower_priority } = self;
        [master, backup, fault, stop, deleted, any, master_rx_lower_priority].into_iter().flatten()
    }
}

/// vrrp_sync_group: instances that are master together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncGroup {
    /// Names of instances, at least one; an instance is in one group at most.
    pub members: Vec<Arc<str>>,
    /// track_interface, for all members.
    pub track_interfaces: Vec<(String, Weight)>,
    /// track_script, for all members.
    pub trackers: Vec<(TrackerId, Weight)>,
    /// track_file, for all members.
    pub track_files: Vec<(TrackerId, Weight)>,
    /// track_process, for all members.
    pub track_processes: Vec<(TrackerId, Weight)>,
    /// track_bfd, for all members.
    pub track_bfd: Vec<(TrackerId, Weight)>,
    /// sync_group_tracking_weight: what members track may have weights.
    pub tracking_weight: bool,
    /// What is run on the group's transitions; no `deleted` and no `master_rx_lower_priority`.
    pub notify: VrrpNotify,
    /// smtp_alert: mail on the group's transitions.
    pub mail: bool,
}

impl SyncGroup {
    /// What the engine needs of it.
    pub(super) fn for_engine(&self, name: &Arc<str>) -> GroupConfig {
        GroupConfig {
            name: name.clone(),
            members: self.members.clone(),
            trackers: self.trackers.clone(),
            track_files: self.track_files.clone(),
            track_processes: self.track_processes.clone(),
            track_interfaces: self.track_interfaces.clone(),
        }
    }
}

/// garp_group: interfaces with a common gap between gratuitous ARPs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarpGroup {
    /// garp_interval
    pub garp_interval: Option<Duration>,
    /// gna_interval: the same of unsolicited neighbour advertisements.
    pub neighbour_interval: Option<Duration>,
    /// Interfaces, each in one group at most.
    pub interfaces: Vec<String>,
}

impl GarpGroup {
    /// The gap that its interfaces share. What the group does not say has none there.
    pub(super) fn intervals(&self) -> impl Iterator<Item = (String, SharedGap)> + '_ {
        let gaps = Gaps {
            arp: self.garp_interval.unwrap_or_default(),
            neighbour: self.neighbour_interval.unwrap_or_default(),
        };
        let lane = self.interfaces.first().cloned().unwrap_or_default();
        self.interfaces
            .iter()
            .map(move |interface| (interface.clone(), SharedGap { lane: lane.clone(), gaps }))
    }
}
