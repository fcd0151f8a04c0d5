//! global_defs: interfaces, and what virtual routers inherit or share.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::super::call::Call;
use super::super::{Part, Row, row};
use super::GlobalBuilder;
use super::names::text;
use crate::config::{DynamicInterfaces, GarpExtra, ReceiveBuffers};
use crate::diagnostic::{Diagnostic, Kind, quote};

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    row(
        "dynamic_interfaces",
        "[allow_if_changes]",
        "Interfaces may appear later, as they always may.",
        |b: &mut B, c| {
            let Some(word) = c.optional() else {
                b.rest.dynamic_interfaces = DynamicInterfaces::Yes;
                return;
            };
            let found = c.choice_in(word, &[("allow_if_changes", DynamicInterfaces::AllowChanges)]);
            b.rest.dynamic_interfaces = found.unwrap_or(b.rest.dynamic_interfaces);
        },
    )
    .otherwise("interfaces may appear later here too")
    .example("allow_if_changes")
    .by(Part::Network),
    row("default_interface", "IF", "Interface of static addresses that name none.", |b: &mut B, c| {
        b.default_interface = c.interface().or(b.default_interface.take());
    })
    .default("eth0")
    .by(Part::Network),
    row(
        "disable_local_igmp",
        "",
        "No IGMP reports for groups of the link while VRRP runs (sysctl net.ipv4.igmp_link_local_mcast_reports).",
        |b: &mut B, _| b.rest.disable_local_igmp = true,
    )
    .by(Part::Vrrp),
    row("v3_checksum_as_v2", "", "Version 3 checksum over IPv4 without pseudo header.", |b: &mut B, c| {
        // Whatever follows it, it is on.
        c.rest();
        b.v3_checksum_as_v2 = Some(true);
    })
    .by(Part::Vrrp),
    row("vrrp_mcast_group4", "ADDR", "Multicast group of IPv4 adverts.", |b: &mut B, c| {
        b.group4 = c.multicast_group().or(b.group4);
    })
    .range("224.0.0.0/4")
    .default("224.0.0.18")
    .by(Part::Vrrp),
    row("vrrp_mcast_group6", "ADDR", "Multicast group of IPv6 adverts.", |b: &mut B, c| {
        b.group6 = group6(c).or(b.group6);
    })
    .range("ff00::/8, of the link")
    .default("ff02::12")
    .by(Part::Vrrp),
    row("vrrp_down_timer_adverts", "N", "Adverts missed before the master is down.", |b: &mut B, c| {
        b.down_timer_adverts = c.number_as(1..=100).or(b.down_timer_adverts);
    })
    .range("1..=100")
    .default("3")
    .by(Part::Vrrp),
    row("vrrp_lower_prio_no_advert", "[BOOL]", "A master does not answer lower adverts.", |b: &mut B, c| {
        b.lower_priority_no_advert = c.switch().or(b.lower_priority_no_advert);
    })
    .default("false")
    .by(Part::Vrrp),
    row(
        "vrrp_higher_prio_send_advert",
        "[BOOL]",
        "A master sends a last advert before it yields.",
        |b: &mut B, c| {
            b.higher_priority_send_advert = c.switch().or(b.higher_priority_send_advert);
        },
    )
    .default("false")
    .by(Part::Vrrp),
    row("vrrp_version", "2|3", "Default version of IPv4 instances.", |b: &mut B, c| {
        b.version = c.choice(&[("2", 2), ("3", 3)]).or(b.version);
    })
    .default("2")
    .by(Part::Vrrp),
    row("vrrp_check_unicast_src", "", "Unicast adverts must come from a peer.", |b: &mut B, _| {
        b.check_unicast_source = true;
    })
    .by(Part::Vrrp),
    row(
        "vrrp_skip_check_adv_addr",
        "[BOOL]",
        "Compare addresses only when the sender changes.",
        |b: &mut B, c| {
            b.skip_address_check = c.switch().or(b.skip_address_check);
        },
    )
    .default("false")
    .by(Part::Vrrp),
    row("vrrp_strict", "[BOOL]", "Default of strict_mode: hold to the RFC.", |b: &mut B, c| {
        b.strict = c.switch().or(b.strict);
    })
    .by(Part::Vrrp)
    .default("false"),
    row("vrrp_owner_ignore_adverts", "[BOOL]", "The address owner drops adverts.", |b: &mut B, c| {
        b.owner_ignore_adverts = c.switch().or(b.owner_ignore_adverts);
    })
    .default("false")
    .by(Part::Vrrp),
    row("vrrp_startup_delay", "SECS", "Hold VRRP that long after the start.", |b: &mut B, c| {
        delay(c, &mut b.rest.vrrp.startup_delay);
    })
    .range(DELAY)
    .otherwise("no delay")
    .example("5.5")
    .by(Part::Vrrp),
    row("vrrp_delay_after_boot", "SECS", "Hold VRRP until the host is up that long.", |b: &mut B, c| {
        delay(c, &mut b.rest.vrrp.delay_after_boot);
    })
    .range(DELAY)
    .otherwise("no delay; the longer of this and vrrp_startup_delay counts")
    .example("30")
    .by(Part::Vrrp),
    row(
        "log_unknown_vrids",
        "",
        "Log adverts of virtual routers that are not configured here.",
        |b: &mut B, _| b.rest.vrrp.log_unknown_vrids = true,
    )
    .by(Part::Vrrp),
    row(
        "vrrp_rx_bufs_policy",
        "MTU|ADVERT|BYTES",
        "Share of an instance in the receive buffer: multiples of the MTU or of an advert (of 1500 octets each), or octets.",
        receive_buffers,
    )
    .by(Part::Vrrp)
    .range("BYTES 1..=4294967295")
    .otherwise("the buffer has 4 MiB, and more where the shares are more")
    .example("MTU"),
    row("vrrp_rx_bufs_multiplier", "N", "Factor of vrrp_rx_bufs_policy.", |b: &mut B, c| {
        let Some(factor) = c.number_as(1..=u32::MAX.into()) else { return };
        if let Some(second) = c.optional() {
            c.rest();
            c.bad(second, "there must be one number and no more", "remove the others");
            return;
        }
        b.rest.vrrp.receive_buffers_multiplier = factor;
    })
    .by(Part::Vrrp)
    .range("1..=4294967295")
    .default("3"),
    row("vmac_prefix", "STRING", "Beginning of the names of virtual MAC interfaces.", |b: &mut B, c| {
        let prefix = text(c);
        c.once(&mut b.vmac_prefix, prefix);
    })
    .by(Part::Network)
    .default("vrrp"),
    row(
        "vmac_addr_prefix",
        "STRING",
        "Beginning of the names of virtual MAC interfaces of single addresses.",
        |b: &mut B, c| {
            let prefix = text(c);
            c.once(&mut b.vmac_addr_prefix, prefix);
        },
    )
    .by(Part::Network)
    .otherwise("vmac_prefix")
    .example("vip"),
];

const DELAY: &str = "0.001..=4294.967";

pub(super) const GARP_ROWS: &[Row<B>] = &[
    row("vrrp_garp_master_delay", "SECS", "Second burst after becoming master.", |b: &mut B, c| {
        b.garp.delay(c)
    })
    .range("0..=4294, 0 for none")
    .default("5")
    .by(Part::Vrrp),
    row("vrrp_garp_master_repeat", "N", "Gratuitous ARPs per address in a burst.", |b: &mut B, c| {
        b.garp.repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .default("5")
    .by(Part::Vrrp),
    row("vrrp_garp_master_refresh", "SECS", "Period while master.", |b: &mut B, c| b.garp.refresh(c))
        .range("0..=4294967295, 0 for none")
        .default("0")
        .by(Part::Vrrp),
    row("vrrp_garp_master_refresh_repeat", "N", "Gratuitous ARPs per refresh.", |b: &mut B, c| {
        b.garp.refresh_repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .default("1")
    .by(Part::Vrrp),
    row("vrrp_garp_lower_prio_delay", "SECS", "Second burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_delay(c);
    })
    .range("0..=4294, 0 for none")
    .otherwise("vrrp_garp_master_delay")
    .example("5")
    .by(Part::Vrrp),
    row("vrrp_garp_lower_prio_repeat", "N", "Burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_repeat(c);
    })
    .range("0..=2147483647, 0 for none, above 100 is 100")
    .otherwise("vrrp_garp_master_repeat")
    .example("5")
    .by(Part::Vrrp),
    row(
        "vrrp_garp_interval",
        "SECS",
        "Shortest gap between gratuitous ARPs on an interface.",
        |b: &mut B, c| {
            b.garp_interval = interval(c).or(b.garp_interval);
        },
    )
    .range("0..=4294.967295, 0 for none")
    .default("0")
    .by(Part::Vrrp),
    row(
        "vrrp_gna_interval",
        "SECS",
        "Shortest gap between neighbour adverts on an interface.",
        |b: &mut B, c| {
            b.gna_interval = interval(c).or(b.gna_interval);
        },
    )
    .range("0..=4294.967295, 0 for none")
    .default("0")
    .by(Part::Vrrp),
    row(
        "vrrp_min_garp",
        "[BOOL]",
        "One gratuitous ARP and no more, where no other value was said before.",
        |b: &mut B, c| {
            if c.switch() == Some(true) {
                b.garp.least(&c.context.global_built_in.garp);
            }
        },
    )
    .otherwise("the values of the other keywords")
    .example("true")
    .by(Part::Vrrp),
    row("vrrp_garp_extra_if", "[all] SECS", EXTRA, |b: &mut B, c| {
        b.garp_extra = extra(c).or(b.garp_extra);
    })
    .by(Part::Vrrp)
    .range("1..=86400")
    .example("all 60"),
    row("vrrp_vmac_garp_intvl", "[all] SECS", "Old name of vrrp_garp_extra_if.", |b: &mut B, c| {
        b.garp_extra = extra(c).or(b.garp_extra);
    })
    .by(Part::Vrrp)
    .range("1..=86400")
    .example("60"),
];

const EXTRA: &str =
    "Period of gratuitous ARP on virtual MAC interfaces without adverts, or on all of the addresses.";

fn group6(call: &mut Call<'_, '_>) -> Option<Ipv6Addr> {
    let word = call.word()?;
    let group = match call.address_in(word)? {
        IpAddr::V6(group) if group.is_multicast() => group,
        _ => {
            call.bad(word, format!("{} is no IPv6 multicast group", quote(word.text)), "ff02::/16");
            return None;
        }
    };
    // RFC 4291 §2.7: scope 2 is the link.
    if group.octets().get(1).is_none_or(|octet| octet & 0x0f != 2) {
        let message = format!("{}: {} may leave the link", quote(call.name()), quote(word.text));
        let diagnostic = Diagnostic::warning(Kind::Lint, Some(word.span), message);
        call.context.report(diagnostic.help("use a group of ff02::/16, as all routers of the link must"));
    }
    Some(group)
}

/// Gaps of a second and more are known to be a mistake more often than not.
fn interval(call: &mut Call<'_, '_>) -> Option<Duration> {
    let gap = call.timer(Duration::ZERO, Duration::from_micros(u32::MAX.into()))?;
    if gap >= Duration::from_secs(1) {
        let message = format!("{} is a second or more: each address waits that long", quote(call.name()));
        let head = call.head();
        let diagnostic = Diagnostic::warning(Kind::Lint, Some(head), message);
        call.context.report(diagnostic.help("use a fraction of a second, for example 0.01"));
    }
    Some(gap)
}

fn delay(call: &mut Call<'_, '_>, slot: &mut Duration) {
    let Some(delay) = call.timer(Duration::from_millis(1), Duration::from_millis(4_294_967)) else { return };
    *slot = delay;
    if delay >= Duration::from_secs(60) {
        let message = format!("{} is a minute or more: no address is up before", quote(call.name()));
        let head = call.head();
        let diagnostic = Diagnostic::warning(Kind::Lint, Some(head), message);
        call.context.report(diagnostic.help("use less, unless the host needs that long"));
    }
}

fn extra(call: &mut Call<'_, '_>) -> Option<GarpExtra> {
    let mut word = call.word()?;
    let all = word.text == "all";
    if all {
        let Some(next) = call.optional() else {
            call.bad(word, "there is no time", format!("write `{} all SECS`", call.name()));
            return None;
        };
        word = next;
    }
    let interval = Duration::from_secs(call.number_in(word, 1..=86400)?);
    Some(GarpExtra { all, interval })
}

/// Octets count before the MTU, and that before the advert, wherever they stand.
fn receive_buffers(builder: &mut B, call: &mut Call<'_, '_>) {
    let Some(first) = call.word() else { return };
    for word in std::iter::once(first).chain(call.rest()) {
        let found = if word.text.eq_ignore_ascii_case("MTU") {
            ReceiveBuffers::Mtu
        } else if word.text.eq_ignore_ascii_case("ADVERT") {
            ReceiveBuffers::Adverts
        } else if word.text.bytes().all(|byte| byte.is_ascii_digit()) {
            let Some(bytes) = call.number_in(word, 1..=u32::MAX.into()) else { continue };
            let Some(bytes) = u32::try_from(bytes).ok().and_then(NonZeroU32::new) else { continue };
            ReceiveBuffers::Bytes(bytes)
        } else {
            let found = format!("{} is neither MTU nor ADVERT nor a number", quote(word.text));
            call.bad(word, found, "MTU, ADVERT or a number of octets");
            continue;
        };
        let rank = |policy: &ReceiveBuffers| match policy {
            ReceiveBuffers::Adverts => 0,
            ReceiveBuffers::Mtu => 1,
            ReceiveBuffers::Bytes(_) => 2,
        };
        let slot = &mut builder.rest.vrrp.receive_buffers;
        let before = slot.as_ref().map(rank);
        if before.is_none_or(|before| before <= rank(&found)) {
            *slot = Some(found);
        }
        if before.is_some_and(|before| before != rank(&found)) {
            call.bad(
                word,
                "only one of MTU, ADVERT and a number counts",
                "a number before MTU, and MTU before ADVERT; remove the others",
            );
        }
    }
}
