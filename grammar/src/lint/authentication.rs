//! Passwords that end early, and authentication that protects from nothing.

use std::net::{IpAddr, Ipv4Addr};

use lbd_vrrp::{Authentication, Delivery, InstanceConfig, Peer};

use super::{Lines, lint};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::tree::Statement;

pub(super) fn check(config: &Config, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    for router in config.vrrp_instances.iter().map(|instance| &instance.router) {
        let block = match &router.authentication {
            Authentication::None => continue,
            Authentication::Pass(_) | Authentication::Ah(_) => ("authentication", "auth_pass"),
            Authentication::Hmac(_) => ("auth_hmac", "key"),
        };
        let Some(object) = lines.object("vrrp_instance", &router.name) else { continue };
        for inner in lines.within(&object, block.0) {
            cut_short(inner, block.1, lines, found);
        }
        found.extend(routed(router, &object, lines));
    }
    found.extend(withdrawn(config, lines));
    if config.tls.is_some() {
        lines.all("SSL").for_each(|block| cut_short(&block, "password", lines, found));
    }
}

/// Secrets with a comment right after them.
fn cut_short(block: &Statement, keyword: &str, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    for line in lines.within(block, keyword) {
        let words = lines.words(line);
        let Some(last) = words.last().filter(|word| words.len() > 1 && !lines.is_quoted(**word)) else {
            continue;
        };
        let Some((place, character @ ('#' | '!'))) = lines.after(*last) else { continue };
        let message = format!("`{keyword}` ends before this `{character}`: a comment begins here");
        found.push(
            lint(Some(place), message)
                .label("not part of it")
                .help("put the whole of it in quotes, on all its routers; or a blank before the comment"),
        );
    }
}

/// PASS and AH, once for all instances.
fn withdrawn(config: &Config, lines: &Lines<'_, '_>) -> Option<Diagnostic> {
    let old = |router: &&InstanceConfig| {
        matches!(router.authentication, Authentication::Pass(_) | Authentication::Ah(_))
    };
    let mut routers = config.vrrp_instances.iter().map(|instance| &instance.router).filter(old);
    let first = routers.next()?;
    let object = lines.object("vrrp_instance", &first.name)?;
    let place = lines
        .within(&object, "authentication")
        .filter_map(|block| lines.place(Some(block), "auth_type"))
        .last();
    let why = match first.authentication {
        Authentication::Ah(_) => "`auth_type AH` rests on MD5 and a password of 8 octets",
        _ => "`auth_type PASS` sends its password in clear text",
    };
    let others = match routers.count() {
        0 => "",
        _ => ", here and in further instances",
    };
    Some(
        lint(place.or(Some(object.head)), format!("{why}{others}; RFC 3768 took both out of VRRP")).help(
            "sign adverts with `auth_hmac { … }` on all its routers, one after the other with `mode receive-only`, \
             then `permissive` (keepalived has it since 2.4.2); or remove `authentication`",
        ),
    )
}

/// PASS and AH through routers.
fn routed(router: &InstanceConfig, object: &Statement, lines: &Lines<'_, '_>) -> Option<Diagnostic> {
    let Delivery::Unicast { peers, .. } = &router.delivery else { return None };
    let (peer, why) = peers.iter().find_map(|peer| Some((peer, far(router, peer)?)))?;
    let (message, help) = match &router.authentication {
        Authentication::Pass(_) => (
            format!(
                "{why}: every router on the way to {} reads the password of `auth_type PASS`",
                peer.address
            ),
            "send adverts through a tunnel such as WireGuard or IPsec, and let VRRP in from the peers alone",
        ),
        Authentication::Ah(_) => (
            format!(
                "{why}: `auth_type AH` covers the addresses, so a translation on the way to {} makes every \
                 advert invalid",
                peer.address
            ),
            "send adverts through a tunnel such as WireGuard or IPsec",
        ),
        Authentication::None | Authentication::Hmac(_) => return None,
    };
    let address = peer.address.to_string();
    let place = lines
        .within(object, "unicast_peer")
        .find_map(|block| lines.within(block, &address).next())
        .map(|line| line.head)
        .or_else(|| lines.place(Some(object), "unicast_peer"));
    let method = lines.last(object, "authentication").and_then(|block| lines.place(Some(block), "auth_type"));
    Some(lint(place, message).related(method, "the authentication").help(help))
}

/// Why a peer is behind routers, as far as this file shows.
///
/// Prefix lengths of interfaces are not known. A link wider than a /16 would hold more than 65,536 hosts:
/// addresses that differ there are of different networks, unless an address of this instance has a prefix
/// that says otherwise. A lower limit of the TTL, other than that of the link itself, says it outright.
fn far(router: &InstanceConfig, peer: &Peer) -> Option<String> {
    if (1..255).contains(&peer.min_ttl) {
        return Some(format!("`min_ttl {}` lets adverts come through routers", peer.min_ttl));
    }
    let (Some(IpAddr::V4(source)), IpAddr::V4(address)) = (router.source, peer.address) else { return None };
    let same = |one: Ipv4Addr, other: Ipv4Addr, prefix: u8| {
        let differ = one.to_bits() ^ other.to_bits();
        differ.leading_zeros() >= prefix.into()
    };
    let on_link = router.addresses.iter().chain(&router.excluded_addresses).any(|vip| match vip.address {
        IpAddr::V4(vip_address) => {
            same(vip_address, source, vip.prefix) && same(vip_address, address, vip.prefix)
        }
        IpAddr::V6(_) => false,
    });
    let near = on_link || same(source, address, 16) || source.is_loopback() || address.is_loopback();
    (!near).then(|| format!("{source} and {address} are in different networks"))
}
