//! Where adverts go and where they come from.

use std::net::IpAddr;

use lbd_vrrp::{Delivery, Family, Peer, UnicastChecksum};

use super::{Nature, is_link_local, powerless, repaired};
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::call::Call;
use crate::keyword::instance::InstanceBuilder;

pub(super) fn delivery(builder: &mut InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) -> Delivery {
    let first = builder.peers.first().map(|(_, span)| *span);
    let peers: Vec<Peer> = std::mem::take(&mut builder.peers).into_iter().map(|(peer, _)| peer).collect();
    let check_source = builder.check_source || call.context.global.check_unicast_source;
    let default_ttl = match nature.family {
        Family::V4 => Some(u8::MAX),
        Family::V6 => None,
    };
    let ttl = builder.unicast_ttl.map(|(ttl, _)| ttl).or(default_ttl);
    if !peers.is_empty() {
        if let Some((_, span)) = builder.group {
            powerless(call, Some(span), "`mcast_dst_ip` has no effect with peers", "remove it");
        }
        // Where the interface cannot do multicast keepalived allows it; nobody says strict there.
        if nature.strict && builder.interface.is_some() {
            let message = "strict mode does not allow unicast";
            call.say(
                Diagnostic::error(Kind::Fatal, first, message)
                    .help("remove `unicast_peer`, or `strict_mode` (or `vrrp_strict` in global_defs)"),
            );
        }
        return Delivery::Unicast { peers, ttl, check_source };
    }
    if let Some((_, span)) = builder.unicast_ttl {
        powerless(call, Some(span), "`unicast_ttl` has no effect without peers", "remove it");
    }
    if let Some(span) = builder.unicast {
        let help = "list the other routers in `unicast_peer { … }`, or remove the unicast keywords";
        if builder.fault_without_peer {
            let message = "unicast is asked for without any usable peer: the instance stays in FAULT";
            call.say(Diagnostic::warning(Kind::Lint, Some(span), message).help(help));
            return Delivery::Unicast { peers, ttl: default_ttl, check_source };
        }
        let message = "unicast is asked for without any usable peer, so adverts go by multicast";
        let lost = call.context.explain_lost(
            builder.lost_before,
            "vrrp_instance",
            &["unicast_peer"],
            "no usable peer is left, so adverts go by multicast",
        );
        if lost {
            return multicast(builder, nature, call);
        }
        call.say(Diagnostic::warning(Kind::Repaired, Some(span), message).help(help));
    }
    multicast(builder, nature, call)
}

fn multicast(builder: &mut InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) -> Delivery {
    builder.unicast_checksum = UnicastChecksum::Detect;
    let (global, built_in) = (&call.context.global, &call.context.global_built_in);
    let group = builder.group.map(|(group, _)| group).or(match nature.family {
        Family::V4 => global.group4.or(built_in.group4).map(IpAddr::V4),
        Family::V6 => global.group6.or(built_in.group6).map(IpAddr::V6),
    });
    Delivery::Multicast { group: group.expect("the groups have defaults") }
}

pub(super) fn source(builder: &InstanceBuilder, call: &mut Call<'_, '_>) -> Option<IpAddr> {
    let (address, span) = builder.source?;
    if builder.interface.is_none() && is_link_local(address) {
        let message = format!("the source {address} is valid on its link only, and there is no `interface`");
        call.say(
            Diagnostic::error(Kind::Fatal, Some(span), message)
                .help("add `interface NAME`, or use an address that is valid everywhere"),
        );
    }
    Some(address)
}

pub(super) fn vrf(builder: &mut InstanceBuilder, call: &mut Call<'_, '_>) -> Option<String> {
    let (name, span) = builder.vrf.take()?;
    if builder.interface.is_some() {
        repaired(call, Some(span), "`vrf` has no effect with `interface`", "remove one of them");
        return None;
    }
    Some(name)
}
