//! The scenarios: what a director must do, seen from outside, with either daemon.
//!
//! Each is a function that builds its lab, and fails with what it saw. Limits here are generous in user-mode-linux
//! ([`Ctx::slack`]); where a time is itself the demand, the scenario runs natively and says so.

mod balance;
mod behind;
mod checkers;
mod differential;
mod drain;
mod drift;
pub mod examples;
mod failover;
mod faults;
mod foreign_many;
mod hostile;
mod inherited;
mod interop;
mod ipv6;
mod keywords;
mod lan;
mod life;
mod machine;
mod mixed;
mod named;
mod namespace;
mod no_right;
mod notifications;
mod own_links;
mod own_rules;
mod packet_filter;
pub mod pair;
mod persistence;
mod plan;
mod preempt_sync;
mod quorum;
mod reload;
mod reload_traffic;
mod rest;
mod restart;
mod sctp;
mod seed;
mod services;
mod steering;
mod strangers;
mod successor;
mod synchronised;
mod telling;
mod thresholds;
mod tracking;
mod tunnels;
mod unloaded;
mod unnoticed;
mod vrrp;
mod weights;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::director::{Daemon, Director};
use crate::kernel::Need;
use crate::netns::Netns;
use crate::run::GUEST;

/// A scenario's entry in the list.
#[derive(Debug)]
pub struct Scenario {
    /// Name, as tests and `bed run` take it.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// What it needs of its kernel.
    pub need: Need,
    /// Time after which it is killed.
    pub limit: Duration,
    /// Whether nothing else of the bed may run beside it (its times are tight).
    pub alone: bool,
    /// Whether it looks at what keepalived does not have.
    pub lbd_only: bool,
    /// The function.
    pub run: fn(&Ctx) -> Result<()>,
}

/// What a scenario is run with.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// The daemon of all directors.
    pub daemon: Daemon,
    /// Whether this is a guest of user-mode-linux.
    pub guest: bool,
}

impl Ctx {
    /// Time to add to what something takes on an idle, native machine.
    pub fn slack(&self) -> Duration {
        Duration::from_millis(if self.guest { 2000 } else { 1000 })
    }

    /// Interval of polls from threads.
    pub fn poll(&self) -> Duration {
        Duration::from_millis(if self.guest { 5 } else { 1 })
    }

    /// A director with this scenario's daemon.
    ///
    /// # Errors
    /// When the binaries cannot be built.
    pub fn director<'lab>(&self, name: &str, ns: &'lab Netns, config: &str) -> Result<Director<'lab>> {
        Director::new(self.daemon, name, ns, config)
    }
}

const fn scenario(
    name: &'static str,
    about: &'static str,
    need: Need,
    seconds: u64,
    run: fn(&Ctx) -> Result<()>,
) -> Scenario {
    Scenario { name, about, need, limit: Duration::from_secs(seconds), alone: false, lbd_only: false, run }
}

impl Scenario {
    const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    const fn lbd_only(mut self) -> Self {
        self.lbd_only = true;
        self
    }
}

/// All of them.
pub const ALL: &[Scenario] = &[
    scenario(
        "vrrp_crash",
        "kill -9 of the master and its cable pulled: the peer is on time",
        Need::Netns,
        40,
        vrrp::crash,
    )
    .alone(),
    scenario(
        "vrrp_stop",
        "orderly stop of the master: the peer after its skew time",
        Need::Netns,
        40,
        vrrp::stop,
    )
    .alone(),
    scenario(
        "vrrp_tracking",
        "file, process, link and its delays move priority and state",
        Need::Netns,
        60,
        tracking::tracking,
    )
    .lbd_only(),
    scenario(
        "vrrp_process_words",
        "vrrp_track_process: names, command lines, parameters, numbers and delays",
        Need::Netns,
        60,
        tracking::processes,
    )
    .lbd_only(),
    scenario(
        "vrrp_group_tracking",
        "trackers of a sync group and a static track_group, rise and fall, a reversed weight",
        Need::Netns,
        60,
        tracking::groups,
    )
    .lbd_only(),
    scenario("vrrp_one_master", "never two masters on a whole link", Need::Netns, 60, vrrp::one_master)
        .alone(),
    scenario(
        "vrrp_interop",
        "lbd and keepalived as a pair, in every dialect that both speak",
        Need::Netns,
        180,
        interop::interop,
    )
    .alone(),
    scenario("vrrp_wire", "fields and times of what a pair sends", Need::Netns, 90, wire::wire).alone(),
    scenario(
        "host_keywords",
        "names, tables, buffers and interfaces of the host as global_defs has them",
        Need::Netns,
        60,
        keywords::host_keywords,
    )
    .lbd_only(),
    scenario(
        "packet_filter",
        "the filter of a router that does not accept, its keywords, and what somebody else removes",
        Need::Netns,
        60,
        packet_filter::packet_filter,
    )
    .lbd_only(),
    scenario(
        "vrrp_defaults",
        "what virtual routers take from global_defs, on the wire",
        Need::Netns,
        60,
        keywords::defaults,
    )
    .alone()
    .lbd_only(),
    scenario(
        "vrrp_inherited",
        "what virtual routers inherit from global_defs, with the keywords and without",
        Need::Netns,
        90,
        inherited::inherited,
    )
    .alone()
    .lbd_only(),
    scenario(
        "vrrp_garp_group",
        "one gap between announcements of all interfaces of a garp_group",
        Need::Netns,
        60,
        inherited::garp_group,
    )
    .alone(),
    scenario("vrrp_floods", "five floods of wrong adverts", Need::Netns, 120, strangers::floods)
        .alone()
        .lbd_only(),
    scenario(
        "vrrp_signatures",
        "auth_hmac: roll-out, replays, wrong keys",
        Need::Netns,
        60,
        strangers::signatures,
    )
    .alone()
    .lbd_only(),
    scenario(
        "vrrp_forged_owner",
        "priority 255 by somebody else, without and with auth_hmac",
        Need::Netns,
        60,
        strangers::forged_owner,
    )
    .lbd_only(),
    scenario(
        "own_links",
        "virtual routers on an ipvlan of their own and in a VRF",
        Need::Ipvs,
        90,
        own_links::own_links,
    )
    .lbd_only(),
    scenario(
        "dr",
        "direct routing: 10/10/10, a dead server leaves and returns, sorry server",
        Need::Ipvs,
        60,
        balance::dr,
    ),
    scenario("nat", "the same with address translation", Need::Ipvs, 60, balance::nat),
    scenario("tun", "the same with IP in IP", Need::Ipvs, 60, balance::tun),
    scenario(
        "failover",
        "DR with two directors under traffic: crash, return, stop",
        Need::Ipvs,
        90,
        failover::failover,
    ),
    scenario("restart", "kill -9 and start within a second under traffic", Need::Ipvs, 90, restart::restart)
        .alone()
        .lbd_only(),
    scenario(
        "reload",
        "reloads write what changed, and a broken file nothing",
        Need::Ipvs,
        90,
        reload::reload_writes,
    )
    .lbd_only(),
    scenario(
        "seed_docker_dr",
        "seed: two directors, DR, wlc, persistence, unicast",
        Need::Ipvs,
        120,
        seed::docker_dr,
    ),
    scenario(
        "seed_lvs_http_get",
        "seed: HTTP_GET, sorry server on the director",
        Need::Ipvs,
        120,
        seed::lvs_http_get,
    ),
    scenario(
        "seed_nginx_ha_script",
        "seed: killall -0 nginx, weight -5",
        Need::Netns,
        60,
        seed::nginx_ha_script,
    ),
    scenario(
        "seed_vpc_unicast_notify",
        "seed: equal priorities, unicast, notify",
        Need::Netns,
        60,
        seed::vpc_unicast_notify,
    ),
    scenario(
        "seed_dual_master",
        "seed: two virtual routers, each node master of one",
        Need::Netns,
        60,
        seed::dual_master,
    ),
    scenario(
        "seed_gateway_pair",
        "seed: broadcast, scope, label, preempt_delay (300 s where LBD_WHOLE_DELAYS is set), notify scripts",
        Need::Netns,
        420,
        seed::gateway_pair,
    ),
    scenario(
        "seed_havip_nopreempt",
        "seed: VIP and route of a second interface, script as fault, no pre-emption",
        Need::Netns,
        120,
        seed::havip_nopreempt,
    ),
    scenario(
        "seed_floating_ip_notify",
        "seed: only notify_master, script as fault",
        Need::Netns,
        60,
        seed::floating_ip_notify,
    )
    // keepalived resolves the link `pidof` before it runs it, and the script fails.
    .lbd_only(),
    scenario(
        "missing_interface",
        "FAULT with the reason, recovery",
        Need::Netns,
        60,
        faults::missing_interface,
    )
    .lbd_only(),
    scenario("no_ipvs", "virtual servers on a kernel without IPVS", Need::NoIpvs, 40, faults::no_ipvs)
        .lbd_only(),
    scenario("second_daemon", "a second daemon on the same socket", Need::Netns, 60, faults::second_daemon)
        .lbd_only(),
    scenario("no_privileges", "a start without rights", Need::Netns, 30, faults::no_privileges).lbd_only(),
    scenario(
        "lbctl_without_socket",
        "lbctl where no daemon listens",
        Need::Netns,
        30,
        faults::lbctl_without_socket,
    )
    .lbd_only(),
    scenario("examples_dr", "conf.d: dr and sorry", Need::Ipvs, 90, examples::dr_and_sorry),
    scenario("examples_nat_tun", "conf.d: nat and tun", Need::Ipvs, 90, examples::nat_and_tun),
    scenario("examples_checks", "conf.d: http and misc", Need::Ipvs, 90, examples::checks),
    scenario("examples_vrrp", "conf.d: the VRRP pair", Need::Netns, 60, examples::vrrp),
    scenario("examples_tracking", "conf.d: script tracking", Need::Netns, 60, examples::tracking),
    scenario(
        "checkers",
        "every kind of checker: up, down for two reasons, up again",
        Need::Ipvs,
        60,
        checkers::checkers,
    ),
    scenario("misc_dynamic", "weights follow a script's exit status", Need::Ipvs, 60, weights::misc_dynamic),
    scenario("quorum", "quorum with hysteresis both ways, the sorry server", Need::Ipvs, 60, quorum::quorum),
    scenario("inhibit", "inhibit_on_failure with a held connection", Need::Ipvs, 60, quorum::inhibit),
    scenario("group", "virtual_server_group: a range and a mark, TCP and UDP", Need::Ipvs, 60, quorum::group),
    scenario(
        "telling",
        "FIFO lines, scripts and mails of real servers, quorum and VRRP",
        Need::Ipvs,
        60,
        telling::telling,
    ),
    scenario(
        "checkers_told",
        "no_checker_emails, checker_log_all_failures: a server of two checkers",
        Need::Ipvs,
        60,
        telling::checkers_told,
    )
    .lbd_only(),
    scenario(
        "notifications",
        "every notify script and FIFO line of instances and groups, in order",
        Need::Netns,
        60,
        notifications::notifications,
    )
    .lbd_only(),
    scenario(
        "own_rules",
        "slow_start, keep_at_least, flap_damping, agents that set weights",
        Need::Ipvs,
        90,
        own_rules::own_rules,
    )
    .lbd_only(),
    scenario(
        "hostile",
        "all kinds of broken and malicious servers beside healthy ones",
        Need::Ipvs,
        90,
        hostile::hostile,
    )
    .lbd_only(),
    scenario(
        "services",
        "everything that IPVS has is in the kernel's table, changed in place and taken over",
        Need::Ipvs,
        60,
        services::services,
    ),
    scenario(
        "persistence",
        "clients, networks and marks that stay with a server; datagrams that do not",
        Need::Ipvs,
        60,
        persistence::persistence,
    ),
    scenario(
        "thresholds",
        "weights and thresholds decide, and others after a reload",
        Need::Ipvs,
        60,
        thresholds::thresholds,
    ),
    scenario("ipv6_dr", "IPv6, DR: 10/10/10, a dead server leaves and returns", Need::Ipvs, 60, ipv6::dr),
    scenario("ipv6_nat", "the same with address translation", Need::Ipvs, 60, ipv6::nat),
    scenario("ipv6_tun", "the same with IPv6 in IPv6", Need::Ipvs, 60, ipv6::tun),
    scenario(
        "tunnels",
        "GUE and GRE, with and without checksums: on the wire, and answered",
        Need::Ipvs,
        60,
        tunnels::tunnels,
    ),
    scenario(
        "mixed_family",
        "IPv4 by real servers of IPv6 and the other way round",
        Need::Ipvs,
        60,
        mixed::mixed_family,
    ),
    scenario("sctp", "SCTP with address and port translation: 10/10/10", Need::Ipvs, 60, sctp::sctp),
    scenario("sick_servers", "real servers that hang or reset", Need::Ipvs, 60, faults::sick_servers),
    scenario(
        "drift",
        "another program changes the table: put right, told, others' kept",
        Need::Ipvs,
        120,
        drift::drift,
    )
    .lbd_only(),
    scenario("handover", "lbctl handover and a new lbd under traffic", Need::Ipvs, 90, successor::handover)
        .alone()
        .lbd_only(),
    scenario("take_over", "lbd goes on after keepalived -I -V", Need::Ipvs, 90, successor::take_over)
        .alone()
        .lbd_only(),
    scenario("sync", "connection synchronisation follows VRRP", Need::Ipvs, 120, synchronised::sync)
        .lbd_only(),
    scenario(
        "preempt_sync",
        "who returns preempts once connections were synchronised, or are as many as the peer's",
        Need::Ipvs,
        120,
        preempt_sync::synchronised,
    )
    .lbd_only(),
    scenario(
        "preempt_sync_limit",
        "who returns preempts although connections are never synchronised",
        Need::Netns,
        60,
        preempt_sync::limit,
    )
    .lbd_only(),
    scenario("drain", "drain_timeout and lbctl server, with open connections", Need::Ipvs, 120, drain::drain)
        .lbd_only(),
    scenario(
        "reload_traffic",
        "twenty reloads under traffic: nobody notices",
        Need::Ipvs,
        90,
        reload_traffic::reload_traffic,
    )
    .alone()
    .lbd_only(),
    scenario("plan", "lbctl plan says what a reload then does", Need::Ipvs, 60, plan::plan).lbd_only(),
    scenario("unloaded", "ip_vs is unloaded under a director", Need::Ipvs, 60, unloaded::unloaded).lbd_only(),
    scenario(
        "namespace",
        "net_namespace_ipvs, lvs_flush, lvs_flush_on_stop, lvs_timeouts",
        Need::Ipvs,
        60,
        namespace::namespace,
    )
    .lbd_only(),
    scenario("foreign_many", "beside 100,000 entries of others", Need::Ipvs, 90, foreign_many::foreign_many)
        .lbd_only(),
    scenario(
        "life_namespace",
        "net_namespace, -s and instance: where lbd runs, and lbctl finds it",
        Need::Netns,
        40,
        life::namespace,
    )
    .lbd_only(),
    scenario(
        "life_scripts",
        "startup_script and shutdown_script: order, user, time limit",
        Need::Netns,
        40,
        life::scripts,
    )
    .lbd_only(),
    scenario(
        "life_reload",
        "reload_time_file, reload_file, config_save_dir, reload_check_config, umask",
        Need::Netns,
        40,
        life::reload,
    )
    .lbd_only(),
    scenario(
        "life_keywords",
        "keywords of the process that no other scenario is about",
        Need::Netns,
        60,
        keywords::keywords,
    )
    .lbd_only(),
    scenario(
        "life_rest",
        "random_seed, include_check, child_wait_time, buffers of netlink",
        Need::Netns,
        90,
        rest::rest,
    )
    .lbd_only(),
    scenario(
        "life_process_events",
        "process_monitor_rcv_bufs: room for the kernel's events about processes",
        Need::Netns,
        60,
        rest::process_events,
    )
    .lbd_only(),
    scenario(
        "life_machine",
        "time since the boot, real time that is taken by itself, real time of the checkers",
        Need::Ipvs,
        60,
        machine::machine,
    )
    .lbd_only(),
    scenario(
        "life_threads",
        "names and scheduling of threads, disable_local_igmp",
        Need::Ipvs,
        40,
        life::threads,
    )
    .lbd_only(),
    scenario("no_right", "a start without rights on a kernel with IPVS", Need::Ipvs, 30, no_right::no_right)
        .lbd_only(),
    scenario(
        "differential_even",
        "files of integration/differential: keepalived and lbd do the same",
        Need::Ipvs,
        240,
        differential::even,
    ),
    scenario("differential_odd", "the other half of these files", Need::Ipvs, 240, differential::odd),
    scenario(
        "differential_vrrp",
        "files of integration/differential/vrrp: the same with virtual routers",
        Need::Netns,
        120,
        differential::vrrp,
    )
    .alone(),
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Runs a scenario in this process and prints its verdict.
pub fn exec(name: &str, daemon: Daemon) -> ExitCode {
    let Some(scenario) = find(name) else {
        eprintln!("no scenario {name}");
        return ExitCode::from(2);
    };
    let ctx = Ctx { daemon, guest: std::env::var_os(GUEST).is_some() };
    match (scenario.run)(&ctx) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(Skip(reason)) => {
                eprintln!("SCENARIO SKIPPED: {reason}");
                ExitCode::SUCCESS
            }
            None => {
                eprintln!("SCENARIO FAILED: {}", format!("{error:#}").replace('\n', "\n  "));
                ExitCode::FAILURE
            }
        },
    }
}

/// An error that means "cannot run here".
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Prints a step and its figures into the scenario's log.
#[macro_export]
macro_rules! step {
    ($($arg:tt)*) => { eprintln!("--- {}", format_args!($($arg)*)) };
}
