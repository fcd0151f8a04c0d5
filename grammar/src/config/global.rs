//! The process as a whole: global_defs and the keywords of the top level.
//!
//! Values that instances and servers inherit are here as well as, resolved, in each of them: they are
//! part of what the file says.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use lbd_health::ScriptId;
use lbd_ipvs::Timeouts;
use lbd_vrrp::{GratuitousArp, Version};

use super::{GarpExtra, ScriptUser};

/// Keywords of the top level that are no blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// net_namespace: where the whole process runs.
    pub namespace: Option<String>,
    /// net_namespace_ipvs: where the IPVS table is, if not there.
    pub ipvs_namespace: Option<IpvsNamespace>,
    /// namespace_with_ipsets
    pub namespace_with_ipsets: bool,
    /// use_pid_dir, or what implies it: a namespace or an instance name.
    pub pid_dir: bool,
    /// instance
    pub instance: Option<String>,
    /// child_wait_time: for each part of a stop.
    pub child_wait_time: Duration,
    /// linkbeat_use_polling
    pub linkbeat_polling: bool,
}

/// Whether a word can be the name of a file, as that of a namespace and of an instance is.
pub fn is_file_name(word: &str) -> bool {
    !(word.is_empty() || word == "." || word == ".." || word.contains(['/', '\0']))
}

/// net_namespace_ipvs
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpvsNamespace {
    /// That of the first process of the host.
    Initial,
    /// A named one.
    Named(String),
}

/// global_defs
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// router_id
    pub router_id: Option<String>,
    /// enable_script_security
    pub script_security: bool,
    /// script_user
    pub script_user: Option<ScriptUser>,
    /// use_symlink_paths: run scripts by the path as written.
    pub symlink_paths: bool,
    /// set_supplementary_groups
    pub supplementary_groups: bool,
    /// Names of processes.
    pub process_names: ProcessNames,
    /// Mail.
    pub mail: Mail,
    /// What is run around the life of the process.
    pub life: LifeScripts,
    /// FIFOs and what is written to them.
    pub fifos: Fifos,
    /// rs_init_notifies
    pub announce_initial_servers: bool,
    /// notify_script_timeout; `None`: as lbd has it.
    pub notify_timeout: Option<Duration>,
    /// checker_log_all_failures
    pub log_all_failures: bool,
    /// dynamic_interfaces
    pub dynamic_interfaces: DynamicInterfaces,
    /// default_interface
    pub default_interface: String,
    /// disable_local_igmp
    pub disable_local_igmp: bool,
    /// Defaults of vrrp_instance, and VRRP as a whole.
    pub vrrp: VrrpGlobal,
    /// vrrp_iptables
    pub iptables: Option<Iptables>,
    /// vrrp_ipsets; none if it stands without a name.
    pub ipsets: Option<Ipsets>,
    /// nftables and its companions.
    pub nftables: Nftables,
    /// nftables_ipvs and its companions.
    pub nftables_ipvs: NftablesIpvs,
    /// How the three processes of keepalived are scheduled.
    pub scheduling: SchedulingOfAll,
    /// lvs_timeouts: 0 leaves the kernel's value.
    pub lvs_timeouts: Timeouts,
    /// lvs_flush
    pub lvs_flush: bool,
    /// lvs_flush_on_stop
    pub lvs_flush_on_stop: FlushOnStop,
    /// lvs_sync_daemon
    pub sync_daemon: Option<SyncDaemon>,
    /// SNMP
    pub snmp: Snmp,
    /// D-Bus
    pub dbus: Dbus,
    /// Receive buffers of netlink sockets.
    pub netlink: NetlinkBuffers,
    /// umask
    pub umask: u16,
    /// random_seed
    pub random_seed: Option<u32>,
    /// Reload
    pub reload: Reload,
    /// include_check, at the end of global_defs.
    pub include_check: IncludeCheck,
    /// config_save_dir
    pub save_dir: Option<String>,
    /// tmp_config_directory
    pub temporary_dir: Option<String>,
    /// iproute_usr_dir
    pub iproute_usr_dir: Option<String>,
    /// iproute_etc_dir
    pub iproute_etc_dir: Option<String>,
    /// Dump files.
    pub dumps: Dumps,
}

impl Global {
    /// Programs that it names.
    pub fn scripts(&self) -> impl Iterator<Item = &ScriptId> {
        let Fifos { all, vrrp, lvs, .. } = &self.fifos;
        let readers = [all, vrrp, lvs].into_iter().flatten().filter_map(|fifo| fifo.script.as_ref());
        [&self.life.startup, &self.life.shutdown].into_iter().flatten().chain(readers)
    }

    /// The places of those programs.
    pub fn scripts_mut(&mut self) -> impl Iterator<Item = &mut Option<ScriptId>> {
        let Fifos { all, vrrp, lvs, .. } = &mut self.fifos;
        let readers = [all, vrrp, lvs].into_iter().flatten().map(|fifo| &mut fifo.script);
        [&mut self.life.startup, &mut self.life.shutdown].into_iter().chain(readers)
    }
}

/// process_names and the names given one by one; each at most 15 octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessNames {
    /// process_names: keepalived_vrrp and the like.
    pub standard: bool,
    /// process_name
    pub parent: Option<String>,
    /// vrrp_process_name
    pub vrrp: Option<String>,
    /// checker_process_name
    pub checker: Option<String>,
    /// bfd_process_name
    pub bfd: Option<String>,
}

/// Alert mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// notification_email_from
    pub from: Option<String>,
    /// notification_email
    pub to: Vec<String>,
    /// smtp_server
    pub server: Option<MailServer>,
    /// smtp_helo_name
    pub helo: Option<String>,
    /// smtp_connect_timeout
    pub connect_timeout: Duration,
    /// smtp_alert
    pub alert: Option<bool>,
    /// smtp_alert_vrrp
    pub alert_vrrp: Option<bool>,
    /// smtp_alert_checker
    pub alert_checker: Option<bool>,
    /// no_email_faults
    pub no_faults: bool,
    /// no_checker_emails
    pub no_checkers: bool,
}

/// smtp_server
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Where it is.
    pub host: MailHost,
    /// 25 by default.
    pub port: NonZeroU16,
}

/// The host of smtp_server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHost {
    /// An address.
    Address(IpAddr),
    /// A name that is looked up.
    Name(String),
}

/// startup_script, shutdown_script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifeScripts {
    /// startup_script
    pub startup: Option<ScriptId>,
    /// startup_script_timeout
    pub startup_timeout: Duration,
    /// shutdown_script
    pub shutdown: Option<ScriptId>,
    /// shutdown_script_timeout
    pub shutdown_timeout: Duration,
}

/// FIFOs and what is written to them. No two have the same path, except that of VRRP and that of LVS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fifos {
    /// notify_fifo
    pub all: Option<Fifo>,
    /// vrrp_notify_fifo
    pub vrrp: Option<Fifo>,
    /// lvs_notify_fifo
    pub lvs: Option<Fifo>,
    /// vrrp_notify_priority_changes
    pub priority_changes: bool,
    /// fifo_write_vrrp_states_on_reload
    pub states_on_reload: bool,
}

/// A FIFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// Where it is.
    pub path: String,
    /// Its owner: as written, else script_user; `None`: that of scripts without any user.
    pub user: Option<ScriptUser>,
    /// Its reader: gets the path appended.
    pub script: Option<ScriptId>,
}

/// dynamic_interfaces
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DynamicInterfaces {
    /// Absent.
    #[default]
    No,
    /// Interfaces may appear later.
    Yes,
    /// They may also come back as others.
    AllowChanges,
}

/// What all virtual routers share or inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpGlobal {
    /// vrrp_version
    pub version: Version,
    /// vrrp_strict
    pub strict: bool,
    /// vrrp_mcast_group4
    pub group4: Ipv4Addr,
    /// vrrp_mcast_group6
    pub group6: Ipv6Addr,
    /// vrrp_garp_…
    pub garp: GratuitousArp,
    /// vrrp_garp_interval: shortest gap between two requests on an interface without garp_group; zero
    /// for none.
    pub garp_interval: Duration,
    /// vrrp_gna_interval: the same of unsolicited neighbour advertisements.
    pub neighbour_interval: Duration,
    /// vrrp_garp_extra_if
    pub garp_extra: Option<GarpExtra>,
    /// vrrp_down_timer_adverts
    pub down_timer_adverts: u8,
    /// vrrp_lower_prio_no_advert
    pub lower_priority_no_advert: bool,
    /// vrrp_higher_prio_send_advert
    pub higher_priority_send_advert: bool,
    /// vrrp_check_unicast_src
    pub check_unicast_source: bool,
    /// vrrp_skip_check_adv_addr
    pub skip_address_check: bool,
    /// vrrp_owner_ignore_adverts
    pub owner_ignore_adverts: bool,
    /// v3_checksum_as_v2
    pub v3_checksum_as_v2: bool,
    /// vrrp_startup_delay: zero for none.
    pub startup_delay: Duration,
    /// vrrp_delay_after_boot: zero for none.
    pub delay_after_boot: Duration,
    /// log_unknown_vrids
    pub log_unknown_vrids: bool,
    /// vrrp_rx_bufs_policy
    pub receive_buffers: Option<ReceiveBuffers>,
    /// vrrp_rx_bufs_multiplier
    pub receive_buffers_multiplier: u32,
    /// vmac_prefix
    pub vmac_prefix: String,
    /// vmac_addr_prefix
    pub vmac_addr_prefix: String,
}

impl Default for VrrpGlobal {
    /// As an empty global_defs.
    fn default() -> Self {
        Self {
            version: Version::V2,
            strict: false,
            group4: Ipv4Addr::new(224, 0, 0, 18),
            group6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
            garp: GratuitousArp::default(),
            garp_interval: Duration::ZERO,
            neighbour_interval: Duration::ZERO,
            garp_extra: None,
            down_timer_adverts: 3,
            lower_priority_no_advert: false,
            higher_priority_send_advert: false,
            check_unicast_source: false,
            skip_address_check: false,
            owner_ignore_adverts: false,
            v3_checksum_as_v2: false,
            startup_delay: Duration::ZERO,
            delay_after_boot: Duration::ZERO,
            log_unknown_vrids: false,
            receive_buffers: None,
            receive_buffers_multiplier: 3,
            vmac_prefix: "vrrp".into(),
            vmac_addr_prefix: "vrrp".into(),
        }
    }
}

/// vrrp_rx_bufs_policy: what a receive buffer is sized by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveBuffers {
    /// Multiples of an advert.
    Adverts,
    /// Multiples of the MTU.
    Mtu,
    /// Octets.
    Bytes(NonZeroU32),
}

/// vrrp_iptables: chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iptables {
    /// For what comes in.
    pub input: String,
    /// For what goes out; differs from `input`.
    pub output: Option<String>,
}

/// vrrp_ipsets: names, each at most 31 octets, all different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipsets {
    /// IPv4 addresses.
    pub address4: String,
    /// IPv6 addresses.
    pub address6: String,
    /// Link-local IPv6 addresses with their interface.
    pub interface6: String,
    /// Interfaces without IGMP.
    pub igmp: String,
    /// Interfaces without MLD.
    pub mld: String,
    /// Neighbour discovery.
    pub nd: String,
}

impl Ipsets {
    /// In the order of the keyword's words.
    pub fn names(&self) -> [&str; 6] {
        [&self.address4, &self.address6, &self.interface6, &self.igmp, &self.mld, &self.nd]
    }
}

/// nftables
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nftables {
    /// The table, if the keyword stands there; `keepalived` if an instance needs rules and no keyword
    /// says where.
    pub table: Option<String>,
    /// nftables_priority
    pub priority: i32,
    /// nftables_ifindex
    pub by_index: bool,
    /// nftables_counters
    pub counters: bool,
}

/// nftables_ipvs
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftablesIpvs {
    /// The table, if the keyword stands there.
    pub table: Option<String>,
    /// nftables_ipvs_priority
    pub priority: i32,
    /// nftables_ipvs_start_fwmark
    pub first_mark: NonZeroU32,
}

impl Default for NftablesIpvs {
    fn default() -> Self {
        Self { table: None, priority: 0, first_mark: NonZeroU32::MIN }
    }
}

/// Scheduling of each process of keepalived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulingOfAll {
    /// vrrp_…
    pub vrrp: Scheduling,
    /// checker_…
    pub checker: Scheduling,
    /// bfd_…
    pub bfd: Scheduling,
    /// max_auto_priority: 0 for none, said in the log; −1 for none.
    pub most_automatic: i8,
    /// min_auto_priority_delay: lateness that raises the priority.
    pub automatic_delay: Duration,
}

/// Scheduling of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// …_priority: nice value −20..=19.
    pub nice: i8,
    /// …_no_swap
    pub no_swap: bool,
    /// …_rt_priority 1..=99
    pub realtime: Option<NonZeroU8>,
    /// …_cpu_affinity; none means all.
    pub cpus: BTreeSet<u16>,
    /// …_rlimit_rttime
    pub realtime_limit: Duration,
}

/// lvs_flush_on_stop
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushOnStop {
    /// Absent: server by server.
    #[default]
    No,
    /// The whole table.
    Table,
    /// Each service of the configuration.
    Services,
}

/// lvs_sync_daemon
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Interface of the messages.
    pub interface: String,
    /// The vrrp_instance that it follows; without one it sends and receives.
    pub instance: Option<Arc<str>>,
    /// 0..=255: its own, else the virtual_router_id of `instance`, else 0.
    pub id: u8,
    /// maxlen, at most 65507
    pub max_length: Option<NonZeroU16>,
    /// port
    pub port: Option<NonZeroU16>,
    /// ttl
    pub ttl: Option<NonZeroU8>,
    /// group: a multicast address.
    pub group: Option<IpAddr>,
}

/// SNMP
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snmp {
    /// snmp_socket
    pub socket: Option<String>,
    /// enable_traps
    pub traps: bool,
    /// enable_snmp_vrrp
    pub vrrp: bool,
    /// enable_snmp_rfcv2
    pub rfc2: bool,
    /// enable_snmp_rfcv3
    pub rfc3: bool,
    /// enable_snmp_checker
    pub checker: bool,
    /// snmp_vs_stats_update_interval
    pub virtual_server_interval: Duration,
    /// snmp_rs_stats_update_interval
    pub real_server_interval: Duration,
}

/// D-Bus
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dbus {
    /// enable_dbus
    pub enabled: bool,
    /// dbus_service_name
    pub service_name: String,
    /// dbus_no_interface_name
    pub no_interface_name: String,
}

/// Receive buffers of netlink sockets. Where it is permitted all but that of processes may be larger than the host's
/// limit, whatever `force` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetlinkBuffers {
    /// vrrp_netlink_cmd_rcv_bufs
    pub vrrp_command: Buffer,
    /// vrrp_netlink_monitor_rcv_bufs
    pub vrrp_monitor: Buffer,
    /// process_monitor_rcv_bufs
    pub process_monitor: Buffer,
    /// lvs_netlink_cmd_rcv_bufs
    pub lvs_command: Buffer,
    /// lvs_netlink_monitor_rcv_bufs
    pub lvs_monitor: Buffer,
}

impl NetlinkBuffers {
    /// What the socket for interfaces, addresses and routes is asked to have at least, in octets: it is for commands
    /// and for what the kernel tells, of virtual routers and of checkers.
    pub fn of_host(&self) -> u32 {
        let all = [self.vrrp_command, self.vrrp_monitor, self.lvs_command, self.lvs_monitor];
        all.into_iter().filter_map(|one| one.bytes).max().unwrap_or_default()
    }
}

/// A receive buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    /// Octets; the reader's choice without.
    pub bytes: Option<u32>,
    /// Also above the host's limit.
    pub force: bool,
}

/// Reload
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// reload_check_config: with the log file, if one is named.
    pub check: Option<CheckBefore>,
    /// reload_time_file
    pub time_file: Option<String>,
    /// reload_repeat
    pub repeat: bool,
    /// reload_file
    pub file: Option<ReloadFile>,
}

/// reload_check_config
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckBefore {
    /// Where the result goes.
    pub log: Option<String>,
}

/// reload_file
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadFile {
    /// The name of the pid file with another ending.
    BesidePidFile,
    /// This one.
    Path(String),
}

/// include_check: which problems of a plain include are errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncludeCheck {
    /// What matches cannot be read.
    pub read: bool,
    /// Nothing has the name.
    pub matched: bool,
    /// Nothing matches the pattern.
    pub wildcard: bool,
    /// An alternative in braces matches nothing.
    pub brace: bool,
}

/// Dump files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dumps {
    /// state_dump_file
    pub state: Option<String>,
    /// stats_dump_file
    pub stats: Option<String>,
    /// json_dump_file
    pub json: Option<String>,
    /// data_use_instance
    pub with_instance: bool,
    /// json_version: 1 or 2.
    pub json_version: u8,
}
