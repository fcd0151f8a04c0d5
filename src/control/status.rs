//! The JSON of `lbctl status --json`: a contract, additive changes only.
//!
//! Here: the shape. Not here: where the values come from (`snapshot`), HTTP (`server`), the table
//! for people (`crate::lbctl`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything `lbctl status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of lbd.
    pub version: String,
    /// router_id, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Seconds since the process started.
    pub uptime_s: f64,
    /// The configuration.
    pub config: ConfigStatus,
    /// Work on the kernel's table.
    pub ipvs: IpvsStatus,
    /// Virtual servers in file order.
    pub virtual_servers: Vec<VirtualServerStatus>,
    /// VRRP.
    pub vrrp: VrrpStatus,
}

/// The configuration that runs, and the last attempt to load one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// File.
    pub path: String,
    /// 1 at start, one more with each successful reload.
    pub generation: u64,
    /// When the running one was loaded, RFC 3339.
    pub loaded_at: String,
    /// Why the last reload was refused; `None` after a successful one.
    pub last_error: Option<String>,
}

/// Counters of the table owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpvsStatus {
    /// Operations that changed the kernel's table.
    pub writes: u64,
    /// Whole-table reads.
    pub dumps: u64,
    /// Operations refused by the kernel, and failed reads.
    pub errors: u64,
    /// Differences found by audits and repaired.
    pub drift_repaired: u64,
    /// What is refused now: `converging, n refused: why`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Each refusal by itself, with object, reason and remedy; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// Times that all of our services were compared with the kernel's.
    #[serde(default)]
    pub audits: u64,
    /// Connection synchronisation daemons that run, where lvs_sync_daemon is configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_daemons: Vec<SyncDaemonStatus>,
    /// Why they are not as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_error: Option<String>,
    /// Real servers that are no longer configured and stay for their connections (drain_timeout).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<LeavingStatus>,
}

/// A connection synchronisation daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemonStatus {
    /// `master` or `backup`.
    pub role: String,
    /// Interface.
    pub interface: String,
    /// 0..=255.
    pub id: u8,
}

/// A real server that is no longer configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingStatus {
    /// The virtual server that it was of.
    pub virtual_server: String,
    /// Address and port in the table.
    pub real_server: String,
    /// Connections that it still has; `null` before they were counted.
    pub connections: Option<u32>,
    /// When it goes at the latest, RFC 3339.
    pub until: String,
}

/// What the kernel has counted since the service or the destination was added, and its rates over the last
/// seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients; 0 with DR and TUN, where they do not pass the director.
    pub out_packets: u64,
    /// Octets from clients.
    pub in_bytes: u64,
    /// Octets to clients.
    pub out_bytes: u64,
    /// Connections per second.
    pub connections_per_s: u64,
    /// Packets from clients per second.
    pub in_packets_per_s: u64,
    /// Packets to clients per second.
    pub out_packets_per_s: u64,
    /// Octets from clients per second.
    pub in_bytes_per_s: u64,
    /// Octets to clients per second.
    pub out_bytes_per_s: u64,
}

impl TrafficStatus {
    /// With another service's or destination's counters.
    pub fn add(&mut self, stats: &lbd_ipvs::Stats) {
        for (sum, more) in [
            (&mut self.connections, stats.connections),
            (&mut self.in_packets, stats.in_packets),
            (&mut self.out_packets, stats.out_packets),
            (&mut self.in_bytes, stats.in_bytes),
            (&mut self.out_bytes, stats.out_bytes),
            (&mut self.connections_per_s, stats.connection_rate),
            (&mut self.in_packets_per_s, stats.in_packet_rate),
            (&mut self.out_packets_per_s, stats.out_packet_rate),
            (&mut self.in_bytes_per_s, stats.in_byte_rate),
            (&mut self.out_bytes_per_s, stats.out_byte_rate),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// State of a virtual server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtualServerState {
    /// Quorum is there.
    Up,
    /// The sorry server answers.
    Sorry,
    /// No quorum and no sorry server.
    #[default]
    Down,
}

/// One virtual server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VirtualServerStatus {
    /// `TCP 10.0.0.1:80`, `FWM 7 inet`, `GROUP name`.
    pub id: String,
    /// Scheduler.
    pub scheduler: String,
    /// `NAT`, `DR` or `TUN`.
    pub forwarding: String,
    /// State.
    pub state: VirtualServerState,
    /// Live weight needed.
    pub quorum: u32,
    /// keep_at_least, 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep_at_least: u32,
    /// Sum of the live servers' weights.
    pub alive_weight: u64,
    /// Seconds, 0 for none.
    pub persistence_timeout_s: u32,
    /// The sorry server.
    pub sorry_server: Option<SorryServerStatus>,
    /// Traffic of all its services.
    #[serde(default)]
    pub traffic: TrafficStatus,
    /// Real servers in file order.
    pub real_servers: Vec<RealServerStatus>,
}

/// The sorry server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SorryServerStatus {
    /// Address and port.
    pub address: String,
    /// Whether it answers now.
    pub active: bool,
}

/// State of a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RealServerState {
    /// Takes connections.
    Up,
    /// Out of the table.
    Down,
    /// Failed and in the table with weight 0.
    Inhibited,
    /// Up with weight 0.
    Drained,
    /// Not checked yet.
    #[default]
    Unknown,
}

/// One real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RealServerStatus {
    /// Address and port.
    pub address: String,
    /// Configured weight.
    pub weight: u32,
    /// Weight with its checkers' contributions.
    pub effective_weight: u32,
    /// State.
    pub state: RealServerState,
    /// When it entered the state, RFC 3339.
    pub since: String,
    /// The kernel's count.
    pub active_connections: u32,
    /// The kernel's count.
    pub inactive_connections: u32,
    /// Persistence templates, the kernel's count.
    #[serde(default)]
    pub persistent_connections: u32,
    /// Its traffic in all services of the virtual server.
    #[serde(default)]
    pub traffic: TrafficStatus,
    /// What the operator wants of it: `drain`, `maint`, `weight 5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// It fails and is kept in the table (keep_at_least).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// It is kept out until then, RFC 3339 (flap_damping).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<String>,
    /// It starts slowly (slow_start).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStartStatus>,
    /// Its checkers in file order.
    pub checks: Vec<CheckStatus>,
}

/// A real server that starts slowly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowStartStatus {
    /// Weight in the table now.
    pub weight: u32,
    /// When it has its whole weight, RFC 3339.
    pub until: String,
}

/// State of a checker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// Good.
    Up,
    /// Bad.
    Down,
    /// Not run yet.
    #[default]
    Unknown,
}

/// One checker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// `TCP_CHECK` …
    #[serde(rename = "type")]
    pub kind: String,
    /// State.
    pub state: CheckState,
    /// Outcome of the last run in words.
    pub last_result: Option<String>,
    /// What somebody should look at although the server is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// End of the last run, RFC 3339.
    pub last_at: Option<String>,
    /// Duration of the last run in milliseconds.
    pub latency_ms: Option<f64>,
}

/// VRRP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VrrpStatus {
    /// Instances in file order.
    pub instances: Vec<InstanceStatus>,
    /// Sync groups in file order.
    pub sync_groups: Vec<SyncGroupStatus>,
    /// Virtual routers that are heard and not configured here.
    #[serde(default)]
    pub foreign: Vec<ForeignStatus>,
    /// How late adverts were sent.
    #[serde(default)]
    pub advert_lateness: LatenessStatus,
    /// VRRP datagrams that were for no virtual router of ours, those among them that nobody read.
    #[serde(default)]
    pub strangers: u64,
    /// Adverts and gratuitous ARP that the kernel did not take.
    #[serde(default)]
    pub send_errors: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    #[serde(default)]
    pub receive_overflows: u64,
    /// Datagrams that are cut short or no IP at all.
    #[serde(default)]
    pub malformed: u64,
    /// What is static: static_ipaddress, static_routes, static_rules.
    #[serde(default)]
    pub static_entries: StaticStatus,
}

/// What is static.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticStatus {
    /// static_ipaddress, in file order.
    pub addresses: Vec<EntryStatus>,
    /// static_routes, in file order.
    pub routes: Vec<EntryStatus>,
    /// static_rules, in file order.
    pub rules: Vec<EntryStatus>,
}

/// Something that is held in the kernel, or would be by a master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryStatus {
    /// `ADDRESS/PREFIX on INTERFACE`, or the line of the route or rule.
    pub entry: String,
    /// It is there.
    pub present: bool,
    /// How often it was put back after someone else removed it, since it is held.
    pub repaired: u64,
    /// Why it could not be added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A virtual router that is not configured here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignStatus {
    /// Interface on which it is heard.
    pub interface: String,
    /// VRID.
    pub vrid: u8,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Who sent the last advert.
    pub source: String,
    /// When that came, RFC 3339.
    pub last_at: String,
    /// Adverts.
    pub adverts: u64,
}

/// How late adverts were sent: the time from when each was due until it was handed to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatenessStatus {
    /// Adverts that were measured.
    pub count: u64,
    /// The latest of all in milliseconds.
    pub max_ms: f64,
    /// At least half of them were not later, in milliseconds; `null` before the first.
    pub p50_ms: Option<f64>,
    /// At least 99 of a hundred were not later, in milliseconds; `null` before the first.
    pub p99_ms: Option<f64>,
    /// The histogram behind it.
    pub buckets: Vec<LatenessBucket>,
}

/// Adverts that were at most so late.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatenessBucket {
    /// Milliseconds; `null` for however late.
    pub le_ms: Option<f64>,
    /// How many, those of the buckets before included.
    pub count: u64,
}

/// One instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Name.
    pub name: String,
    /// Interface of the adverts.
    pub interface: String,
    /// The interface below, where that one is of its own (use_vmac, use_ipvlan).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_interface: Option<String>,
    /// VRID.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `INIT`, `BACKUP`, `MASTER` or `FAULT`.
    pub state: String,
    /// When it entered the state, RFC 3339.
    pub since: String,
    /// Configured.
    pub priority: u8,
    /// With the trackers' contributions.
    pub effective_priority: u8,
    /// What makes the one of the other: everything that it, or its sync group, tracks, also what adds nothing.
    /// The sum is kept within 1..=254.
    #[serde(default)]
    pub priority_contributions: Vec<ContributionStatus>,
    /// The master's address, if known.
    pub master: Option<String>,
    /// Advertised addresses with prefix.
    pub addresses: Vec<String>,
    /// Why it is in FAULT.
    pub fault_reasons: Vec<String>,
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Adverts accepted.
    pub adverts_received: u64,
    /// Adverts refused, by cause; causes never seen are left out.
    pub adverts_dropped: BTreeMap<String, u64>,
    /// The vrrp_sync_group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_group: Option<String>,
    /// Its own advertisement interval in milliseconds.
    #[serde(default)]
    pub advert_interval_ms: f64,
    /// Priority of the master's last advert, its own while it is master.
    #[serde(default)]
    pub master_priority: Option<u8>,
    /// When the last advert was accepted, RFC 3339.
    #[serde(default)]
    pub last_advert_received: Option<String>,
    /// What somebody should look at.
    #[serde(default)]
    pub conditions: Vec<ConditionStatus>,
    /// Other routers of this virtual router, at most 8.
    #[serde(default)]
    pub heard: Vec<HeardStatus>,
    /// Adverts of priority 0 sent.
    #[serde(default)]
    pub priority_zero_sent: u64,
    /// Adverts of priority 0 accepted.
    #[serde(default)]
    pub priority_zero_received: u64,
    /// Times that it became master.
    #[serde(default)]
    pub became_master: u64,
    /// Times that it ceased to be master.
    #[serde(default)]
    pub released_master: u64,
    /// virtual_routes, in file order.
    #[serde(default)]
    pub routes: Vec<EntryStatus>,
    /// virtual_rules, in file order.
    #[serde(default)]
    pub rules: Vec<EntryStatus>,
    /// Of a master: addresses, routes and rules that it holds and that are not in the kernel, with the reason where
    /// there is one.
    #[serde(default)]
    pub missing: Vec<String>,
    /// How often something that it holds was put back after someone else removed it.
    #[serde(default)]
    pub repaired: u64,
}

/// What something tracked does to the priority of a virtual router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContributionStatus {
    /// `interface`, `script`, `file` or `process`; later versions may know more.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// -254..=254; with 0 what is bad means FAULT.
    pub weight: i16,
    /// Good and bad change places.
    pub reverse: bool,
    /// How it is, in words: `up`, `down`, `missing`; `succeeded`, `failed`; a file's number; `runs`,
    /// `0 of 1 running`; `no result yet`.
    pub state: String,
    /// Added to the priority now; 0 also where it means FAULT.
    pub contribution: i32,
}

/// Something about a virtual router that somebody should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionStatus {
    /// `split_brain`, `no_peer`, `equal_priority`, `address_list_differs`, `interval_differs`, `several_owners`,
    /// `unlisted_peer`, `clock_skew`; later versions may know more.
    pub name: String,
    /// Who and what, in words.
    pub detail: String,
    /// When it began, RFC 3339.
    pub since: String,
}

/// Another router of a virtual router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeardStatus {
    /// Where its adverts come from.
    pub address: String,
    /// Priority of the last one.
    pub priority: u8,
    /// Advertisement interval of the last one in milliseconds.
    pub interval_ms: f64,
    /// When that came, RFC 3339.
    pub last_at: String,
    /// Adverts accepted.
    pub adverts: u64,
}

/// One sync group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGroupStatus {
    /// Name.
    pub name: String,
    /// `INIT`, `BACKUP`, `MASTER` or `FAULT`.
    pub state: String,
    /// Members.
    pub members: Vec<String>,
    /// When it entered the state, RFC 3339.
    #[serde(default)]
    pub since: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
