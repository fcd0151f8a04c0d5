//! Keywords of the top level that are no blocks.

use std::time::Duration;

use super::super::call::Call;
use super::super::root::Root;
use super::super::{Part, Row, later, row};
use super::names::text;
use crate::config::{self, IpvsNamespace};
use crate::diagnostic::{Diagnostic, Kind, quote};

/// What the rows below fill.
type B = Root;

/// A name that becomes that of a file: without it lbd would run in another place, so nothing runs.
fn file_name(call: &mut Call<'_, '_>) -> Option<String> {
    let word = call.word()?;
    if !config::is_file_name(word.text) {
        let message = format!("{}: {} cannot be the name of a file", quote(call.name()), quote(word.text));
        let help = "one word without `/` that is not empty, `.` or `..`";
        call.say(Diagnostic::error(Kind::Fatal, Some(word.span), message).help(help));
        return None;
    }
    Some(word.text.to_owned())
}

pub(in super::super) const ROWS: &[Row<Root>] = &[
    row(
        "linkbeat_use_polling",
        "",
        "Ask each tracked interface for its link every second.",
        |b: &mut B, _| b.config.process.linkbeat_polling = true,
    )
    .by(Part::Vrrp),
    row("net_namespace", "NAME", "Network namespace to run in, as `ip netns` names it.", |b: &mut B, c| {
        let place = c.place();
        let name = file_name(c);
        if name.is_some() {
            c.context.spans.namespace.get_or_insert(place);
        }
        c.once(&mut b.config.process.namespace, name);
        b.config.process.pid_dir |= b.config.process.namespace.is_some();
    })
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
    row(
        "use_pid_dir",
        "",
        "A directory of its own for the pid file, as lbd's always has: /run/lbd.",
        |b: &mut B, _| {
            b.config.process.pid_dir = true;
        },
    ),
    row(
        "instance",
        "NAME",
        "Name of this process among several on the host, which gives it files of its own.",
        |b: &mut B, c| {
            let name = file_name(c);
            c.once(&mut b.config.process.instance, name);
            b.config.process.pid_dir |= b.config.process.instance.is_some();
        },
    )
    .example("lb1"),
    row(
        "child_wait_time",
        "SECS",
        "How long each part of lbd may take to stop; at least a second.",
        |b: &mut B, c| {
            let found = c.number(0..=u32::MAX.into()).map(Duration::from_secs);
            b.config.process.child_wait_time = found.unwrap_or(b.config.process.child_wait_time);
        },
    )
    .range("0..=4294967295")
    .default("5"),
];
