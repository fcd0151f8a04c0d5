//! global_defs.
//!
//! Here: its rows and what they collect. Not here: what instances make of the defaults
//! (`instance`, `resolve`).

use std::net::Ipv4Addr;
use std::time::Duration;

use lbd_vrrp::GratuitousArp;

use super::call::Call;
use super::{Part, Row, Table, row, unserved};
use crate::config::{Global, ScriptUser};

/// What global_defs says.
#[derive(Clone, Debug, Default)]
pub(crate) struct GlobalBuilder {
    pub router_id: Option<String>,
    pub script_security: bool,
    pub script_user: Option<ScriptUser>,
    pub group4: Option<Ipv4Addr>,
    pub version: Option<u8>,
    pub garp: GarpBuilder,
    pub garp_interval: Option<Duration>,
    pub down_timer_adverts: Option<u8>,
    pub check_unicast_source: bool,
    pub lower_priority_no_advert: Option<bool>,
    pub higher_priority_send_advert: Option<bool>,
    pub skip_address_check: Option<bool>,
    pub owner_ignore_adverts: Option<bool>,
}

impl GlobalBuilder {
    /// What is not a default of other blocks.
    pub fn resolved(self) -> Global {
        Global {
            router_id: self.router_id,
            script_security: self.script_security,
            script_user: self.script_user,
        }
    }
}

/// Gratuitous ARP, of global_defs or of an instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct GarpBuilder {
    pub delay: Option<Duration>,
    pub repeat: Option<u32>,
    pub refresh: Option<Duration>,
    pub refresh_repeat: Option<u32>,
    pub lower_priority_delay: Option<Duration>,
    pub lower_priority_repeat: Option<u32>,
}

impl GarpBuilder {
    pub fn delay(&mut self, call: &mut Call<'_, '_>) {
        self.delay = call.seconds(0..=4294).or(self.delay);
    }

    pub fn repeat(&mut self, call: &mut Call<'_, '_>) {
        self.repeat = repeat(call).or(self.repeat);
    }

    pub fn refresh(&mut self, call: &mut Call<'_, '_>) {
        self.refresh = call.seconds(0..=u32::MAX.into()).or(self.refresh);
    }

    pub fn refresh_repeat(&mut self, call: &mut Call<'_, '_>) {
        self.refresh_repeat = repeat(call).or(self.refresh_repeat);
    }

    pub fn lower_priority_delay(&mut self, call: &mut Call<'_, '_>) {
        self.lower_priority_delay = call.seconds(0..=4294).or(self.lower_priority_delay);
    }

    pub fn lower_priority_repeat(&mut self, call: &mut Call<'_, '_>) {
        let count = call.number_as(0..=0x7fff_ffff).map(|count| bounded(call, count));
        self.lower_priority_repeat = count.or(self.lower_priority_repeat);
    }
}

/// A repeat of 0 counts as 1.
fn repeat(call: &mut Call<'_, '_>) -> Option<u32> {
    let count = call.number_as::<u32>(0..=u32::MAX.into())?;
    if count == 0 {
        call.repaired("of 0 is raised to 1", "a number from 1", 1);
        return Some(1);
    }
    Some(bounded(call, count))
}

/// A burst has its bounds.
fn bounded(call: &mut Call<'_, '_>, count: u32) -> u32 {
    let most = GratuitousArp::MOST_REPEATS;
    if count > most {
        call.repaired(format!("of {count} is reduced to {most}"), format!("a number up to {most}"), most);
    }
    count.min(most)
}

fn interval(call: &mut Call<'_, '_>) -> Option<Duration> {
    call.timer(Duration::ZERO, Duration::from_micros(u32::MAX.into()))
}

/// What the rows below fill.
type B = GlobalBuilder;

pub(crate) static TABLE: Table<GlobalBuilder> =
    Table { name: "global_defs", part: Part::Process, rows: &[IDENTITY, MAIL, SCRIPTS, VRRP, FILTER, PROCESSES, LVS, REST] };

type Rows = &'static [Row<GlobalBuilder>];

const IDENTITY: Rows = &[
    row(
        "router_id",
        "STRING",
        "Name of this router, in the log at start and in lbctl status.",
        |b: &mut B, c| {
            b.router_id = c.word().map(|word| word.text.to_owned()).or(b.router_id.take());
        },
    )
    .otherwise("none is shown"),
    unserved("process_names", "", "Names for the child processes.", ONE_PROCESS),
    unserved("process_name", "NAME", "Name of the process.", ONE_PROCESS),
    unserved("vrrp_process_name", "NAME", "Name of the VRRP process.", ONE_PROCESS),
    unserved("checker_process_name", "NAME", "Name of the checker process.", ONE_PROCESS),
    unserved("lvs_process_name", "NAME", "Name of the checker process.", ONE_PROCESS),
    unserved("bfd_process_name", "NAME", "Name of the BFD process.", ONE_PROCESS),
];

const ONE_PROCESS: &str = "lbd is one process and keeps its own name";

const MAIL: Rows = &[
    unserved("notification_email", "{ ADDRESS … }", "Recipients of alert mails.", NO_MAIL).block(),
    unserved("notification_email_from", "ADDRESS", "Sender of alert mails.", NO_MAIL),
    unserved("smtp_server", "ADDRESS|NAME [PORT]", "Mail relay.", NO_MAIL),
    unserved("smtp_helo_name", "NAME", "Name given to the mail relay.", NO_MAIL),
    unserved("smtp_connect_timeout", "SECS", "Time limit of the mail relay.", NO_MAIL),
    unserved("smtp_alert", "[BOOL]", "Default of every smtp_alert.", NO_MAIL),
    unserved("smtp_alert_vrrp", "[BOOL]", "Default of smtp_alert for VRRP.", NO_MAIL),
    unserved("smtp_alert_checker", "[BOOL]", "Default of smtp_alert for checkers.", NO_MAIL),
    unserved("no_email_faults", "", "No mail for the FAULT state.", NO_MAIL),
    unserved("no_checker_emails", "[BOOL]", "Mail per real server, not per checker.", NO_MAIL),
];

/// What a mail keyword means until mails are sent.
pub(super) const NO_MAIL: &str = "no alert mail is sent";

const SCRIPTS: Rows = &[
    row("enable_script_security", "", "Refuse scripts that others than root can change.", |b: &mut B, _| {
        b.script_security = true;
    }),
    row("script_user", "USER [GROUP]", "User of scripts that name none.", |b: &mut B, c| {
        b.script_user = c.user().or(b.script_user.take());
    })
    .otherwise("keepalived_script if that user exists, else root"),
    unserved(
        "use_symlink_paths",
        "[BOOL]",
        "Run scripts by the path as configured.",
        "the resolved path is run",
    ),
    unserved(
        "set_supplementary_groups",
        "[BOOL]",
        "Scripts get the supplementary groups of their user.",
        "scripts run as lbd decides it",
    ),
    unserved("startup_script", "CMD [USER [GROUP]]", "Run before anything starts.", "the script is not run"),
    unserved("startup_script_timeout", "SECS", "Its time limit.", "the script is not run"),
    unserved(
        "shutdown_script",
        "CMD [USER [GROUP]]",
        "Run after everything stopped.",
        "the script is not run",
    ),
    unserved("shutdown_script_timeout", "SECS", "Its time limit.", "the script is not run"),
    unserved("notify_fifo", "PATH [USER [GROUP]]", "FIFO for all transitions.", NO_FIFO),
    unserved("notify_fifo_script", "CMD [USER [GROUP]]", "Reader of the FIFO.", NO_FIFO),
    unserved("vrrp_notify_fifo", "PATH [USER [GROUP]]", "FIFO for VRRP transitions.", NO_FIFO),
    unserved("vrrp_notify_fifo_script", "CMD [USER [GROUP]]", "Reader of the FIFO.", NO_FIFO),
    unserved("lvs_notify_fifo", "PATH [USER [GROUP]]", "FIFO for checker transitions.", NO_FIFO),
    unserved("lvs_notify_fifo_script", "CMD [USER [GROUP]]", "Reader of the FIFO.", NO_FIFO),
    unserved("vrrp_notify_priority_changes", "[BOOL]", "FIFO lines on priority changes.", NO_FIFO),
    unserved("fifo_write_vrrp_states_on_reload", "", "FIFO lines after a reload.", NO_FIFO),
    unserved("rs_init_notifies", "[BOOL]", "notify_up for servers that start up.", "they are not announced"),
    unserved("checker_log_all_failures", "[BOOL]", "Default of log_all_failures.", "say it at each checker"),
];

pub(super) const NO_FIFO: &str = "no FIFO is written; use notify scripts";

const VRRP: Rows = &[
    row(
        "dynamic_interfaces",
        "[allow_if_changes]",
        "Interfaces may appear later, as they always may.",
        |_, c| {
            if let Some(word) = c.optional() {
                c.choice_in(word, &[("allow_if_changes", ())]);
            }
        },
    ),
    unserved("default_interface", "IF", "Interface of static addresses.", "static addresses are not made"),
    unserved("disable_local_igmp", "", "No IGMP for local groups.", "the host's setting stays"),
    unserved("v3_checksum_as_v2", "", "Version 3 checksum without pseudo header.", NO_V3),
    row("vrrp_mcast_group4", "ADDR", "Multicast group of IPv4 adverts.", |b: &mut B, c| {
        b.group4 = c.multicast_group().or(b.group4);
    })
    .default("224.0.0.18"),
    unserved("vrrp_mcast_group6", "ADDR", "Multicast group of IPv6 adverts.", NO_V3),
    row("vrrp_garp_master_delay", "SECS", "Second burst after becoming master.", |b: &mut B, c| {
        b.garp.delay(c)
    })
    .range("0..=4294, 0 for none")
    .default("5"),
    row("vrrp_garp_master_repeat", "N", "Gratuitous ARPs per address in a burst.", |b: &mut B, c| {
        b.garp.repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .default("5"),
    row("vrrp_garp_master_refresh", "SECS", "Period while master.", |b: &mut B, c| b.garp.refresh(c))
        .range("0..=4294967295, 0 for none")
        .default("0"),
    row("vrrp_garp_master_refresh_repeat", "N", "Gratuitous ARPs per refresh.", |b: &mut B, c| {
        b.garp.refresh_repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .default("1"),
    row("vrrp_garp_lower_prio_delay", "SECS", "Second burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_delay(c);
    })
    .range("0..=4294, 0 for none")
    .otherwise("vrrp_garp_master_delay"),
    row("vrrp_garp_lower_prio_repeat", "N", "Burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_repeat(c);
    })
    .range("0..=2147483647, 0 for none, above 100 is 100")
    .otherwise("vrrp_garp_master_repeat"),
    row("vrrp_down_timer_adverts", "N", "Adverts missed before the master is down.", |b: &mut B, c| {
        b.down_timer_adverts = c.number_as(1..=100).or(b.down_timer_adverts);
    })
    .range("1..=100")
    .default("3"),
    row(
        "vrrp_garp_interval",
        "SECS",
        "Shortest gap between gratuitous ARPs on an interface.",
        |b: &mut B, c| {
            b.garp_interval = interval(c).or(b.garp_interval);
        },
    )
    .range("0..=4294.967295, 0 for none")
    .default("0"),
    row("vrrp_gna_interval", "SECS", "Shortest gap between neighbour adverts.", |_: &mut B, c| {
        if interval(c).is_some_and(|gap| gap > Duration::ZERO) {
            let place = c.place();
            c.context.unserved(place, "`vrrp_gna_interval`", NO_V3);
        }
    })
    .range("0..=4294.967295, 0 for none")
    .default("0"),
    row(
        "vrrp_min_garp",
        "[BOOL]",
        "One gratuitous ARP and no more, where nothing else is said.",
        |b: &mut B, c| {
            if c.switch() == Some(true) {
                let garp = &mut b.garp;
                garp.repeat = garp.repeat.or(Some(1));
                garp.delay = garp.delay.or(Some(Duration::ZERO));
                garp.refresh = garp.refresh.or(Some(Duration::ZERO));
                garp.refresh_repeat = garp.refresh_repeat.or(Some(1));
            }
        },
    ),
    unserved(
        "vrrp_garp_extra_if",
        "[all] SECS",
        "Gratuitous ARP on silent interfaces.",
        "none is sent there",
    ),
    unserved("vrrp_vmac_garp_intvl", "[all] SECS", "Old name of vrrp_garp_extra_if.", "none is sent there"),
    row("vrrp_lower_prio_no_advert", "[BOOL]", "A master does not answer lower adverts.", |b: &mut B, c| {
        b.lower_priority_no_advert = c.switch().or(b.lower_priority_no_advert);
    })
    .default("false"),
    row(
        "vrrp_higher_prio_send_advert",
        "[BOOL]",
        "A master sends a last advert before it yields.",
        |b: &mut B, c| {
            b.higher_priority_send_advert = c.switch().or(b.higher_priority_send_advert);
        },
    )
    .default("false"),
    row("vrrp_version", "2|3", "Default version of IPv4 instances.", |b: &mut B, c| {
        b.version = c.choice(&[("2", 2), ("3", 3)]).or(b.version);
    })
    .default("2"),
    row("vrrp_check_unicast_src", "", "Unicast adverts must come from a peer.", |b: &mut B, _| {
        b.check_unicast_source = true;
    }),
    row(
        "vrrp_skip_check_adv_addr",
        "[BOOL]",
        "Compare addresses only when the sender changes.",
        |b: &mut B, c| {
            b.skip_address_check = c.switch().or(b.skip_address_check);
        },
    )
    .default("false"),
    unserved("vrrp_strict", "[BOOL]", "Hold to the RFC.", "instances run as without it"),
    row("vrrp_owner_ignore_adverts", "[BOOL]", "The address owner drops adverts.", |b: &mut B, c| {
        b.owner_ignore_adverts = c.switch().or(b.owner_ignore_adverts);
    })
    .default("false"),
    unserved("vrrp_startup_delay", "SECS", "Hold VRRP after start.", "VRRP starts at once"),
    unserved("vrrp_delay_after_boot", "SECS", "Hold VRRP after boot.", "VRRP starts at once"),
    unserved("log_unknown_vrids", "", "Log adverts of other virtual routers.", "they are not logged"),
    unserved("vrrp_rx_bufs_policy", "MTU|ADVERT|BYTES", "Receive buffers.", OWN_BUFFERS),
    unserved("vrrp_rx_bufs_multiplier", "N", "Receive buffers.", OWN_BUFFERS),
    unserved("vmac_prefix", "STRING", "Prefix of virtual MAC interfaces.", NO_VMAC),
    unserved("vmac_addr_prefix", "STRING", "Prefix of virtual MAC interfaces.", NO_VMAC),
];

pub(super) const NO_V3: &str = "version 3 and IPv6 come later";
pub(super) const NO_VMAC: &str = "addresses are put on the interface itself, with its own MAC address";
const OWN_BUFFERS: &str = "lbd sizes its buffers itself";

const FILTER: Rows = &[
    unserved("vrrp_iptables", "[IN [OUT]]", "Chains for packet filter rules.", NO_FILTER),
    unserved("vrrp_ipsets", "[NAME …]", "Sets for packet filter rules.", NO_FILTER),
    unserved("nftables", "[TABLE]", "Table for packet filter rules.", NO_FILTER),
    unserved("nftables_priority", "N", "Priority of the chains.", NO_FILTER),
    unserved("nftables_ifindex", "", "Rules by interface index.", NO_FILTER),
    unserved("nftables_ipvs", "[TABLE]", "Groups as firewall marks.", NO_FILTER),
    unserved("nftables_ipvs_priority", "N", "Priority of the chain.", NO_FILTER),
    unserved("nftables_ipvs_start_fwmark", "N", "First mark.", NO_FILTER),
    unserved("nftables_counters", "", "Counters in the rules.", NO_FILTER),
];

const NO_FILTER: &str = "no packet filter rules are made";

const PROCESSES: Rows = &[
    unserved("vrrp_priority", "N", "Nice value.", SCHEDULING),
    unserved("checker_priority", "N", "Nice value.", SCHEDULING),
    unserved("bfd_priority", "N", "Nice value.", SCHEDULING),
    unserved("vrrp_no_swap", "", "Lock the memory.", SCHEDULING),
    unserved("checker_no_swap", "", "Lock the memory.", SCHEDULING),
    unserved("bfd_no_swap", "", "Lock the memory.", SCHEDULING),
    unserved("vrrp_rt_priority", "N", "Real-time priority.", SCHEDULING),
    unserved("checker_rt_priority", "N", "Real-time priority.", SCHEDULING),
    unserved("bfd_rt_priority", "N", "Real-time priority.", SCHEDULING),
    unserved("vrrp_cpu_affinity", "CPU …", "CPUs to run on.", SCHEDULING),
    unserved("checker_cpu_affinity", "CPU …", "CPUs to run on.", SCHEDULING),
    unserved("bfd_cpu_affinity", "CPU …", "CPUs to run on.", SCHEDULING),
    unserved("vrrp_rlimit_rttime", "MICROS", "Limit of real-time running.", SCHEDULING),
    unserved("checker_rlimit_rttime", "MICROS", "Limit of real-time running.", SCHEDULING),
    unserved("bfd_rlimit_rttime", "MICROS", "Limit of real-time running.", SCHEDULING),
    unserved("vrrp_rlimit_rtime", "MICROS", "Old name of vrrp_rlimit_rttime.", SCHEDULING),
    unserved("checker_rlimit_rtime", "MICROS", "Old name of checker_rlimit_rttime.", SCHEDULING),
    unserved("bfd_rlimit_rtime", "MICROS", "Old name of bfd_rlimit_rttime.", SCHEDULING),
    unserved("max_auto_priority", "[N]", "Highest automatic real-time priority.", SCHEDULING),
    unserved("min_auto_priority_delay", "MICROS", "Lateness that raises the priority.", SCHEDULING),
];

const SCHEDULING: &str = "it runs with the service manager's settings";

const LVS: Rows = &[
    unserved(
        "lvs_timeouts",
        "[tcp S] [tcpfin S] [udp S]",
        "The kernel's timeouts.",
        "the kernel's values stay",
    ),
    unserved("lvs_flush", "", "Empty the kernel's table at start.", "services of others are left alone"),
    unserved("lvs_flush_on_stop", "[VS]", "Empty the kernel's table at stop.", "own services are removed"),
    unserved("lvs_flush_onstop", "[VS]", "Old name of lvs_flush_on_stop.", "own services are removed"),
    unserved(
        "lvs_sync_daemon",
        "IF [inst NAME] …",
        "Connection synchronisation.",
        "connections are not synchronised",
    ),
];

const REST: Rows = &[
    unserved("snmp_socket", "SPEC", "SNMP master agent.", NO_SNMP),
    unserved("enable_traps", "", "SNMP notifications.", NO_SNMP),
    unserved("enable_snmp_vrrp", "", "SNMP for VRRP.", NO_SNMP),
    unserved("enable_snmp_keepalived", "", "Old name of enable_snmp_vrrp.", NO_SNMP),
    unserved("enable_snmp_rfc", "", "SNMP by RFC 2787 and 6527.", NO_SNMP),
    unserved("enable_snmp_rfcv2", "", "SNMP by RFC 2787.", NO_SNMP),
    unserved("enable_snmp_rfcv3", "", "SNMP by RFC 6527.", NO_SNMP),
    unserved("enable_snmp_checker", "", "SNMP for checkers.", NO_SNMP),
    unserved("snmp_vs_stats_update_interval", "SECS", "SNMP cache.", NO_SNMP),
    unserved("snmp_rs_stats_update_interval", "SECS", "SNMP cache.", NO_SNMP),
    unserved("enable_dbus", "", "D-Bus interface.", NO_DBUS),
    unserved("dbus_service_name", "NAME", "D-Bus name.", NO_DBUS),
    unserved("dbus_no_interface_name", "NAME", "D-Bus path.", NO_DBUS),
    unserved("vrrp_netlink_cmd_rcv_bufs", "BYTES", "Netlink buffer.", OWN_BUFFERS),
    unserved("vrrp_netlink_cmd_rcv_bufs_force", "[BOOL]", "Netlink buffer.", OWN_BUFFERS),
    unserved("vrrp_netlink_monitor_rcv_bufs", "BYTES", "Netlink buffer.", OWN_BUFFERS),
    unserved("vrrp_netlink_monitor_rcv_bufs_force", "[BOOL]", "Netlink buffer.", OWN_BUFFERS),
    unserved("process_monitor_rcv_bufs", "BYTES", "Process event buffer.", OWN_BUFFERS),
    unserved("process_monitor_rcv_bufs_force", "[BOOL]", "Process event buffer.", OWN_BUFFERS),
    unserved("lvs_netlink_cmd_rcv_bufs", "BYTES", "Netlink buffer.", OWN_BUFFERS),
    unserved("lvs_netlink_cmd_rcv_bufs_force", "[BOOL]", "Netlink buffer.", OWN_BUFFERS),
    unserved("lvs_netlink_monitor_rcv_bufs", "BYTES", "Netlink buffer.", OWN_BUFFERS),
    unserved("lvs_netlink_monitor_rcv_bufs_force", "[BOOL]", "Netlink buffer.", OWN_BUFFERS),
    unserved("umask", "MASK", "File creation mask.", "set it where lbd is started"),
    unserved("random_seed", "N", "Seed of ${_RANDOM}.", "definitions come later"),
    row("reload_check_config", "[LOGFILE]", "Check before a reload, as lbd always does.", |_: &mut B, c| {
        if let Some(file) = c.optional() {
            c.context.unserved(file.span, "the log file of `reload_check_config`", RELOAD_LOG);
        }
    }),
    unserved("reload_time_file", "PATH", "Reload at a time.", NO_TIMED_RELOAD),
    unserved("reload_repeat", "", "Reload every day.", NO_TIMED_RELOAD),
    unserved("reload_file", "[PATH]", "Exists while files are read.", "no such file is made"),
    unserved(
        "include_check",
        "[FLAG …]",
        "Which include problems are errors.",
        "use includer, includem or includea",
    ),
    unserved("config_save_dir", "DIR", "Copies of configurations.", "none is made"),
    unserved("tmp_config_directory", "DIR", "Where a copy is kept.", "lbd needs no copy"),
    unserved("data_use_instance", "[BOOL]", "Names of dump files.", NO_DUMPS),
    unserved("json_version", "1|2", "Layout of dumps.", NO_DUMPS),
    unserved("iproute_usr_dir", "DIR", "Name tables of iproute2.", "the system's tables are read"),
    unserved("iproute_etc_dir", "DIR", "Name tables of iproute2.", "the system's tables are read"),
    unserved("state_dump_file", "PATH", "Dump on SIGUSR1.", NO_DUMPS),
    unserved("stats_dump_file", "PATH", "Dump on SIGUSR2.", NO_DUMPS),
    unserved("json_dump_file", "PATH", "JSON dump.", NO_DUMPS),
];

const NO_SNMP: &str = "there is no SNMP; use lbctl status --json";
const NO_DBUS: &str = "there is no D-Bus interface; use lbctl";
const RELOAD_LOG: &str = "what the check finds is in lbd's own log";
const NO_TIMED_RELOAD: &str = "reload with lbctl reload";
const NO_DUMPS: &str = "no dump is written; use lbctl status --json";
