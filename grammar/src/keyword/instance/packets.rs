//! Where adverts go, where they come from, and what is checked of them.

use std::net::IpAddr;

use lbd_vrrp::{Peer, UnicastChecksum};

use super::{B, Rows, duplicate};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::{Keyword, Part, row, tracking};
use crate::tree::Word;

pub(super) const ROWS: Rows = &[
    row(
        "unicast_peer",
        "{ ADDR [min_ttl N] [max_ttl N] … }",
        "Send adverts to these routers instead of a group.",
        unicast_peer,
    )
    .block()
    .example("192.0.2.2"),
    row("unicast_src_ip", "ADDR", "Source address of unicast adverts.", |b: &mut B, c| {
        b.unicast = b.unicast.or(Some(c.place()));
        source(b, c);
    })
    .otherwise("the interface's address")
    .example("192.0.2.1"),
    row("mcast_src_ip", "ADDR", "Source address of multicast adverts.", source)
        .otherwise("the interface's address")
        .example("192.0.2.1"),
    row("mcast_dst_ip", "ADDR", "Multicast group of the adverts.", group)
        .range("224.0.0.0/4; with IPv6 a group of the link: ff02::/16")
        .otherwise("vrrp_mcast_group4 or vrrp_mcast_group6")
        .example("224.0.0.18"),
    row("track_src_ip", "", "FAULT while the configured source address is missing.", |b: &mut B, _| {
        b.track_source = true
    }),
    row("unicast_ttl", "N", "TTL or hop limit of unicast adverts.", |b: &mut B, c| {
        let span = c.head();
        b.unicast_ttl = c.number_as(0..=255).map(|ttl| (ttl, span)).or(b.unicast_ttl);
    })
    .range("0..=255")
    .otherwise("255; the kernel's with IPv6")
    .example("255"),
    row("unicast_fault_no_peer", "", "FAULT instead of multicast when there is no peer.", |b: &mut B, c| {
        b.unicast = b.unicast.or(Some(c.place()));
        b.fault_without_peer = true;
    }),
    row("check_unicast_src", "", "Unicast adverts must come from a peer.", |b: &mut B, c| {
        b.unicast = b.unicast.or(Some(c.place()));
        b.check_source = true;
    })
    .otherwise("vrrp_check_unicast_src"),
    row(
        "old_unicast_checksum",
        "[never]",
        "Version 3 checksum that old unicast peers want; never: not even when such a peer is heard.",
        |b: &mut B, c| {
            b.unicast = b.unicast.or(Some(c.place()));
            b.unicast_checksum = match c.optional() {
                None => UnicastChecksum::Old,
                Some(word) => {
                    c.choice_in(word, &[("never", UnicastChecksum::New)]).unwrap_or(b.unicast_checksum)
                }
            };
        },
    )
    .otherwise("used towards peers that are heard to use it")
    .example("never"),
    row(
        "v3_checksum_as_v2",
        "[BOOL]",
        "Version 3 checksum over IPv4 without pseudo header.",
        |b: &mut B, c| {
            b.checksum_without_pseudo_header = c.switch().or(b.checksum_without_pseudo_header);
        },
    )
    .otherwise("v3_checksum_as_v2 of global_defs")
    .example("true"),
    row("accept", "", "Traffic to the virtual addresses is accepted.", |b: &mut B, c| {
        b.accept = Some((true, c.place()));
    })
    .otherwise("accepted; with strict_mode by the owner only"),
    row(
        "no_accept",
        "",
        "Drop traffic to the virtual addresses unless this router owns them.",
        |b: &mut B, c| b.accept = Some((false, c.place())),
    )
    .by(Part::Network),
    row("kernel_rx_buf_size", "BYTES", "Share of this instance in the receive buffer.", |b: &mut B, c| {
        b.receive_buffer = c.number_as(0..=u32::MAX.into()).or(b.receive_buffer);
    })
    .range("0..=4294967295")
    .otherwise("as vrrp_rx_bufs_policy says")
    .example("65536"),
];

fn source(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(word) = call.word() else { return };
    let Some(address) = call.address_in(word) else { return };
    if builder.fits("the source", address, word, call) {
        builder.source = Some((address, span));
    }
}

fn group(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(word) = call.word() else { return };
    let Some(group) = call.address_in(word) else { return };
    let (fits, wanted) = match group {
        IpAddr::V4(group) => (group.is_multicast(), "is no multicast group"),
        // ff02::/16 (RFC 4291 §2.7): adverts never leave the link.
        IpAddr::V6(group) => (
            group.segments().first().is_some_and(|first| first & 0xff0f == 0xff02),
            "is no multicast group of the link",
        ),
    };
    if !fits {
        call.bad(word, format!("{} {wanted}", quote(word.text)), "a group of 224.0.0.0/4 or ff02::/16");
    } else if builder.fits("the group", group, word, call) {
        builder.group = Some((group, span));
    }
}

/// Words of a peer's line, for documentation.
pub(crate) static PEER_OPTIONS: [Keyword; 2] = [
    Keyword { range: "0..=255", ..Keyword::new("min_ttl", "N", "Lowest TTL of its adverts.") },
    Keyword { range: "0..=255", ..Keyword::new("max_ttl", "N", "Highest TTL of its adverts.") },
];

fn unicast_peer(builder: &mut B, call: &mut Call<'_, '_>) {
    builder.unicast = builder.unicast.or(Some(call.place()));
    for line in tracking::lines(call) {
        let Some((first, options)) = line.split_first() else { continue };
        let Some(address) = call.address_in(*first) else { continue };
        if !builder.fits("peer", address, *first, call) {
            continue;
        }
        if let Some((_, before)) = builder.peers.iter().find(|(peer, _)| peer.address == address) {
            let before = *before;
            duplicate(call, first.span, before, &format!("peer {address}"));
            continue;
        }
        let mut peer = Peer::new(address);
        builder.check_source |= ttl_range(&mut peer, options, call);
        builder.peers.push((peer, first.span));
    }
}

/// `[min_ttl N] [max_ttl N]`; whether there was one.
fn ttl_range(peer: &mut Peer, options: &[Word<'_>], call: &mut Call<'_, '_>) -> bool {
    let mut found = false;
    let mut words = options.iter().copied();
    while let Some(option) = words.next() {
        let slot = match option.text {
            "min_ttl" => &mut peer.min_ttl,
            "max_ttl" => &mut peer.max_ttl,
            _ => {
                call.bad(option, format!("{} is not known here", quote(option.text)), "one peer per line");
                continue;
            }
        };
        found = true;
        let Some(number) = words.next() else {
            call.bad(option, format!("{} needs a number", quote(option.text)), "a number from 0 to 255");
            break;
        };
        if let Some(ttl) = call.number_in(number, 0..=255).and_then(|ttl| u8::try_from(ttl).ok()) {
            *slot = ttl;
        }
    }
    if let (true, Some(first)) = (peer.min_ttl > peer.max_ttl, options.first()) {
        let message = format!(
            "no TTL is between {} and {}: all adverts of {} are dropped",
            peer.min_ttl, peer.max_ttl, peer.address
        );
        call.context.report(
            Diagnostic::warning(Kind::Lint, Some(first.span), message).help("exchange the two numbers"),
        );
    }
    found
}
