//! global_defs: SNMP, D-Bus and netlink buffers.

use std::time::Duration;

use super::super::call::Call;
use super::super::{Part, Row, later, row};
use super::GlobalBuilder;
use super::names::{only, text};
use crate::config::Buffer;

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    later("snmp_socket", "SPEC", "Where the SNMP master agent listens.", NO_SNMP, |b: &mut B, c| {
        let socket = only(c);
        c.once(&mut b.rest.snmp.socket, socket);
    })
    .otherwise("unix:/var/agentx/master")
    .example("unix:/var/agentx/master"),
    later("enable_traps", "", "Send SNMP notifications.", NO_SNMP, |b: &mut B, _| b.rest.snmp.traps = true),
    later("enable_snmp_vrrp", "", "VRRP part of keepalived's own MIB.", NO_SNMP, |b: &mut B, _| {
        b.rest.snmp.vrrp = true
    }),
    later("enable_snmp_keepalived", "", "Old name of enable_snmp_vrrp.", NO_SNMP, |b: &mut B, _| {
        b.rest.snmp.vrrp = true;
    }),
    later("enable_snmp_rfc", "", "The MIBs of RFC 2787 and RFC 6527.", NO_SNMP, |b: &mut B, _| {
        b.rest.snmp.rfc2 = true;
        b.rest.snmp.rfc3 = true;
    }),
    later("enable_snmp_rfcv2", "", "The MIB of RFC 2787.", NO_SNMP, |b: &mut B, _| b.rest.snmp.rfc2 = true),
    later("enable_snmp_rfcv3", "", "The MIB of RFC 6527.", NO_SNMP, |b: &mut B, _| b.rest.snmp.rfc3 = true),
    later("enable_snmp_checker", "", "Checker part of keepalived's own MIB.", NO_SNMP, |b: &mut B, _| {
        b.rest.snmp.checker = true;
    }),
    later(
        "snmp_vs_stats_update_interval",
        "SECS",
        "How old statistics of virtual servers may be.",
        NO_SNMP,
        |b: &mut B, c| {
            b.rest.snmp.virtual_server_interval = age(c).unwrap_or(b.rest.snmp.virtual_server_interval);
        },
    )
    .range("0.001..=30")
    .default("5"),
    later(
        "snmp_rs_stats_update_interval",
        "SECS",
        "How old statistics of real servers may be.",
        NO_SNMP,
        |b: &mut B, c| b.real_server_statistics = age(c).or(b.real_server_statistics),
    )
    .range("0.001..=30")
    .otherwise("snmp_vs_stats_update_interval")
    .example("5"),
    later("enable_dbus", "", "D-Bus interface.", NO_DBUS, |b: &mut B, _| b.rest.dbus.enabled = true),
    later("dbus_service_name", "NAME", "Name on the bus.", NO_DBUS, |b: &mut B, c| {
        b.rest.dbus.service_name = text(c).unwrap_or_else(|| std::mem::take(&mut b.rest.dbus.service_name));
    })
    .default("org.keepalived.Vrrp1"),
    later(
        "dbus_no_interface_name",
        "NAME",
        "What stands in object paths for instances without an interface.",
        NO_DBUS,
        |b: &mut B, c| {
            let name = &mut b.rest.dbus.no_interface_name;
            *name = text(c).unwrap_or_else(|| std::mem::take(name));
        },
    )
    .default("none"),
];

const NO_SNMP: &str = "there is no SNMP; use lbctl status --json";
const NO_DBUS: &str = "there is no D-Bus interface; use lbctl";

fn age(call: &mut Call<'_, '_>) -> Option<Duration> {
    call.timer(Duration::from_millis(1), Duration::from_secs(30))
}

pub(super) const BUFFER_ROWS: &[Row<B>] = &[
    row(
        "vrrp_netlink_cmd_rcv_bufs",
        "BYTES",
        "Least receive buffer of netlink, for VRRP's commands.",
        |b: &mut B, c| {
            b.rest.netlink.vrrp_command.bytes(c);
        },
    )
    .range(BYTES)
    .by(Part::Network)
    .default("65536"),
    row("vrrp_netlink_cmd_rcv_bufs_force", "[BOOL]", FORCED, |b: &mut B, c| {
        b.rest.netlink.vrrp_command.force(c);
    })
    .by(Part::Network)
    .default("false"),
    row(
        "vrrp_netlink_monitor_rcv_bufs",
        "BYTES",
        "Least receive buffer of netlink, for what the kernel tells of interfaces, addresses and routes.",
        |b: &mut B, c| {
            b.rest.netlink.vrrp_monitor.bytes(c);
        },
    )
    .range(BYTES)
    .by(Part::Network)
    .default("65536"),
    row("vrrp_netlink_monitor_rcv_bufs_force", "[BOOL]", FORCED, |b: &mut B, c| {
        b.rest.netlink.vrrp_monitor.force(c);
    })
    .by(Part::Network)
    .default("false"),
    row(
        "process_monitor_rcv_bufs",
        "BYTES",
        "Receive buffer for the kernel's events about processes.",
        |b: &mut B, c| {
            b.rest.netlink.process_monitor.bytes(c);
        },
    )
    .range(BYTES)
    .otherwise("1048576, with force where that is permitted")
    .by(Part::Vrrp)
    .example("262144"),
    row(
        "process_monitor_rcv_bufs_force",
        "[BOOL]",
        "The buffer may be larger than the host's limit.",
        |b: &mut B, c| {
            b.rest.netlink.process_monitor.force(c);
        },
    )
    .by(Part::Vrrp)
    .default("false"),
    row(
        "lvs_netlink_cmd_rcv_bufs",
        "BYTES",
        "As vrrp_netlink_cmd_rcv_bufs: lbd has one socket for both.",
        |b: &mut B, c| {
            b.rest.netlink.lvs_command.bytes(c);
        },
    )
    .range(BYTES)
    .by(Part::Network)
    .default("65536"),
    row("lvs_netlink_cmd_rcv_bufs_force", "[BOOL]", FORCED, |b: &mut B, c| {
        b.rest.netlink.lvs_command.force(c);
    })
    .by(Part::Network)
    .default("false"),
    row(
        "lvs_netlink_monitor_rcv_bufs",
        "BYTES",
        "As vrrp_netlink_monitor_rcv_bufs: lbd has one socket for both.",
        |b: &mut B, c| {
            b.rest.netlink.lvs_monitor.bytes(c);
        },
    )
    .range(BYTES)
    .by(Part::Network)
    .default("65536"),
    row("lvs_netlink_monitor_rcv_bufs_force", "[BOOL]", FORCED, |b: &mut B, c| {
        b.rest.netlink.lvs_monitor.force(c);
    })
    .by(Part::Network)
    .default("false"),
];

const BYTES: &str = "0..=4294967295";
const FORCED: &str = "It may be larger than the host's limit, as it always may where that is permitted.";

impl Buffer {
    fn bytes(&mut self, call: &mut Call<'_, '_>) {
        self.bytes = call.number_as(0..=u32::MAX.into()).or(self.bytes);
    }

    fn force(&mut self, call: &mut Call<'_, '_>) {
        self.force = call.switch().unwrap_or(self.force);
    }
}
