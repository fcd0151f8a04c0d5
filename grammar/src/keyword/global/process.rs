//! Keywords of the top level that are no blocks.

use std::time::Duration;

use super::super::root::Root;
use super::super::{Part, Row, later, row};
use super::names::text;
use crate::config::IpvsNamespace;

/// What the rows below fill.
type B = Root;

pub(in super::super) const ROWS: &[Row<Root>] = &[
    row(
        "linkbeat_use_polling",
        "",
        "Ask each tracked interface for its link every second.",
        |b: &mut B, _| b.config.process.linkbeat_polling = true,
    )
    .by(Part::Vrrp),
    later(
        "net_namespace",
        "NAME",
        "Network namespace to run in.",
        "start lbd in it: ip netns exec NAME lbd …",
        |b: &mut B, c| {
            let name = text(c);
            c.once(&mut b.config.process.namespace, name);
            b.config.process.pid_dir |= b.config.process.namespace.is_some();
        },
    )
    .otherwise("the namespace that it is started in")
    .example("lvs"),
    row(
        "net_namespace_ipvs",
        "[NAME]",
        "Network namespace of the IPVS table; without a name that of the host's first process.",
        |b: &mut B, c| {
            let found =
                if c.has_more() { text(c).map(IpvsNamespace::Named) } else { Some(IpvsNamespace::Initial) };
            c.once(&mut b.config.process.ipvs_namespace, found);
        },
    )
    .otherwise("the namespace that lbd runs in")
    .example("lvs")
    .by(Part::Director),
    later(
        "namespace_with_ipsets",
        "",
        "Use sets of addresses in a namespace too, which old kernels cannot.",
        "lbd uses no ipsets: its rules are of nftables, which each namespace has its own of",
        |b: &mut B, _| b.config.process.namespace_with_ipsets = true,
    ),
    later(
        "use_pid_dir",
        "",
        "Pid files in a directory of their own.",
        "give the pid file with -p",
        |b: &mut B, _| {
            b.config.process.pid_dir = true;
        },
    ),
    later(
        "instance",
        "NAME",
        "Name of this process among several on the host.",
        "give each its own -p and --control-socket",
        |b: &mut B, c| {
            let name = text(c);
            c.once(&mut b.config.process.instance, name);
            b.config.process.pid_dir |= b.config.process.instance.is_some();
        },
    )
    .example("lb1"),
    later(
        "child_wait_time",
        "SECS",
        "How long to wait for the children at the end.",
        "lbd has none",
        |b: &mut B, c| {
            let found = c.number(0..=u32::MAX.into()).map(Duration::from_secs);
            b.config.process.child_wait_time = found.unwrap_or(b.config.process.child_wait_time);
        },
    )
    .range("0..=4294967295")
    .default("5"),
];
