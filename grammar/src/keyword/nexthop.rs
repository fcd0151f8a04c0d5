//! Where a route goes on: gateways, nexthops and encapsulation.
//!
//! Here: the words after `via`, `nexthop` and `encap`. Not here: the route (`route`).

use std::net::IpAddr;

use super::line::{Line, c_number};
use crate::config::{Encapsulation, NextHop};
use crate::diagnostic::quote;
use crate::tree::Word;

/// A gateway as written.
#[derive(Clone, Copy)]
pub(super) struct Gateway<'s> {
    pub address: IpAddr,
    /// The family is said before it.
    pub explicit: bool,
    pub word: Word<'s>,
}

/// `[inet|inet6] ADDR`
pub(super) fn gateway<'s>(line: &mut Line<'_, '_, 's>, option: Word<'_>) -> Option<Gateway<'s>> {
    let mut word = line.value(option)?;
    let family = Some(word.text).filter(|text| matches!(*text, "inet" | "inet6"));
    if family.is_some() {
        word = line.value(word)?;
    }
    let address = line.address_in(option, word)?;
    if let Some(family) = family.filter(|family| (*family == "inet6") != address.is_ipv6()) {
        let found = format!("{address} is no address of {}", quote(family));
        return line.left_out(word, found, format!("remove `{family}`, or write such an address"));
    }
    Some(Gateway { address, explicit: family.is_some(), word })
}

type Hop<'s> = (NextHop, Option<Gateway<'s>>);

/// What follows the first `nexthop`, up to a word that belongs to none.
pub(super) fn next_hops<'s>(line: &mut Line<'_, '_, 's>, first: Word<'s>) -> Option<Vec<Hop<'s>>> {
    let mut hops = Vec::new();
    let mut begin = Some(first);
    while let Some(word) = begin.take() {
        let hop = next_hop(line)?;
        if hop.0.gateway.is_none() && hop.0.device.is_none() {
            let found = "this nexthop has neither gateway nor interface";
            return line.left_out(word, found, "write `nexthop via ADDR` or `nexthop dev IF`");
        }
        hops.push(hop);
        begin = line.peek().filter(|word| word.text == "nexthop");
        if begin.is_some() {
            line.next();
        }
    }
    Some(hops)
}

fn next_hop<'s>(line: &mut Line<'_, '_, 's>) -> Option<Hop<'s>> {
    let mut hop = NextHop::default();
    let mut via = None;
    while let Some(word) = line.peek() {
        match word.text {
            "via" | "dev" | "oif" | "weight" | "onlink" | "encap" | "realms" => line.next(),
            _ => break,
        };
        match word.text {
            "via" => {
                let gateway = gateway(line, word)?;
                (hop.gateway, via) = (Some(gateway.address), Some(gateway));
            }
            "dev" | "oif" => hop.device = Some(line.interface(word)?),
            "weight" => hop.weight = Some(line.whole(word, 1..=256)?),
            "onlink" => hop.on_link = true,
            "encap" => hop.encapsulation = Some(encapsulation(line, word)?),
            _ => hop.realms = Some(line.realms(word)?),
        }
    }
    Some((hop, via))
}

/// What follows `encap`.
pub(super) fn encapsulation(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<Encapsulation> {
    let kind = line.choice(option, &[("ip", 0), ("ip6", 1), ("mpls", 2), ("ila", 3)])?;
    match kind {
        0 => ip(line, option),
        1 => ip6(line, option),
        2 => {
            let word = line.value(option)?;
            let label = |text: &str| text.parse().ok().filter(|label| *label < 1 << 20);
            match word.text.split('/').map(label).collect() {
                Some(labels) => Some(Encapsulation::Mpls(labels)),
                None => {
                    let found = format!("{} is no MPLS label", quote(word.text));
                    line.left_out(word, found, "labels from 0 to 1048575, joined by `/`")
                }
            }
        }
        _ => {
            let word = line.value(option)?;
            let group = |text: &str| u16::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
            let groups: Option<Vec<u16>> = word.text.trim().split(':').map(group).collect();
            match groups.and_then(|groups| <[u16; 4]>::try_from(groups).ok()) {
                Some(locator) => Some(Encapsulation::Ila(locator)),
                None => {
                    let found = format!("{} is no ILA locator", quote(word.text));
                    line.left_out(word, found, "four hexadecimal groups, for example 2001:db8:0:1")
                }
            }
        }
    }
}

fn ip(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<Encapsulation> {
    let (mut id, mut destination, mut source) = (None, None, None);
    let (mut tos, mut ttl, mut flags) = (None, None, None);
    while let Some(word) = line.peek() {
        match word.text {
            "id" | "dst" | "src" | "tos" | "ttl" | "flags" => line.next(),
            _ => break,
        };
        match word.text {
            "id" => id = Some(line.number(word, 0..=u64::MAX)?),
            "dst" => destination = Some(four(line, word)?),
            "src" => source = Some(four(line, word)?),
            "tos" => tos = Some(line.whole(word, 0..=255)?),
            "ttl" => ttl = Some(line.whole(word, 0..=255)?),
            _ => flags = Some(bits(line, word)?),
        }
    }
    if id.is_none() && destination.is_none() {
        return nowhere(line, option);
    }
    Some(Encapsulation::Ip { id, destination, source, tos, ttl, flags })
}

fn ip6(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<Encapsulation> {
    let (mut id, mut destination, mut source) = (None, None, None);
    let (mut traffic_class, mut hop_limit, mut flags) = (None, None, None);
    while let Some(word) = line.peek() {
        match word.text {
            "id" | "dst" | "src" | "tc" | "hoplimit" | "flags" => line.next(),
            _ => break,
        };
        match word.text {
            "id" => id = Some(line.number(word, 0..=u64::MAX)?),
            "dst" => destination = Some(six(line, word)?),
            "src" => source = Some(six(line, word)?),
            "tc" => traffic_class = Some(line.whole(word, 0..=255)?),
            "hoplimit" => hop_limit = Some(line.whole(word, 0..=255)?),
            _ => flags = Some(bits(line, word)?),
        }
    }
    if id.is_none() && destination.is_none() {
        return nowhere(line, option);
    }
    Some(Encapsulation::Ip6 { id, destination, source, traffic_class, hop_limit, flags })
}

fn nowhere<T>(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<T> {
    line.left_out(option, "the encapsulation leads nowhere", "add `dst ADDR` or `id N` after it")
}

fn bits(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<u16> {
    let word = line.value(option)?;
    let flags = c_number(word.text).and_then(|flags| u16::try_from(flags).ok());
    if flags.is_none() {
        let found = format!("{} is not a number to 65535", quote(word.text));
        return line.left_out(word, found, "a number from 0 to 65535");
    }
    flags
}

fn four(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<std::net::Ipv4Addr> {
    let word = line.value(option)?;
    match line.address_in(option, word)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => line.left_out(word, "`encap ip` has IPv4 addresses", "write `encap ip6` for IPv6"),
    }
}

fn six(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<std::net::Ipv6Addr> {
    let word = line.value(option)?;
    match line.address_in(option, word)? {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => line.left_out(word, "`encap ip6` has IPv6 addresses", "write `encap ip` for IPv4"),
    }
}
