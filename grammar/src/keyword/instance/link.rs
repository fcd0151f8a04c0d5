//! What adverts and addresses are put on.

use std::net::IpAddr;

use super::{B, Rows, duplicate};
use crate::config::{Ipvlan, IpvlanMode, Vmac};
use crate::diagnostic::quote;
use crate::keyword::call::Call;
use crate::keyword::{Part, row};
use crate::tree::Word;

pub(super) const ROWS: Rows = &[
    row(
        "use_vmac",
        "[[name] IF] [MAC] [netlink_notify_msg] [group G]",
        "An interface of its own with the virtual MAC address.",
        use_vmac,
    )
    .by(Part::Network)
    .range("MAC: six octets, or five before the virtual_router_id; no multicast address")
    .example("vrrp.51"),
    row(
        "use_vmac_addr",
        "",
        "Virtual MAC interfaces for addresses on other interfaces too.",
        |b: &mut B, _| {
            b.vmac_addresses = true;
        },
    )
    .by(Part::Network),
    row("vmac_xmit_base", "", "Adverts go over the parent of the virtual MAC interface.", |b: &mut B, c| {
        b.advert_on_parent = Some(c.place());
    })
    .by(Part::Network),
    row(
        "use_ipvlan",
        "[[name] IF] [ADDR[/LEN]] [bridge|private|vepa] [group G]",
        "An ipvlan interface of its own; its address is the source of adverts.",
        use_ipvlan,
    )
    .by(Part::Network)
    .example("192.0.2.1/24 bridge"),
    row(
        "promote_secondaries",
        "",
        "The kernel keeps secondary addresses when a primary one goes.",
        |b: &mut B, c| {
            b.promote_secondaries = Some(c.place());
        },
    )
    .by(Part::Network),
    row(
        "linkbeat_use_polling",
        "",
        "Old way to name the interface in linkbeat_interfaces.",
        |b: &mut B, c| {
            b.polls_link = Some(c.place());
        },
    ),
    row("dont_track_primary", "", "The own interface down is no fault.", |b: &mut B, _| {
        b.dont_track_primary = true
    }),
];

fn use_vmac(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let mut vmac = Vmac::default();
    let words = call.rest();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.text {
            "name" => vmac.name = named(word, &mut words, call).or(vmac.name),
            "netlink_notify_msg" => vmac.notify = true,
            "group" => vmac.group = group(word, &mut words, call).or(vmac.group),
            text if octets(text).is_some() => vmac.mac = mac(builder, word, call).or(vmac.mac),
            _ if vmac.name.is_none() => vmac.name = call.interface_in(word),
            _ => unknown(word, call),
        }
    }
    if let Some(before) =
        builder.vmac.as_ref().map(|(_, span)| *span).or(builder.ipvlan.as_ref().map(|(_, span)| *span))
    {
        duplicate(call, span, before, "the interface of its own");
        return;
    }
    builder.vmac = Some((vmac, span));
}

fn use_ipvlan(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let mut ipvlan = Ipvlan::default();
    let words = call.rest();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.text {
            "name" => ipvlan.name = named(word, &mut words, call).or(ipvlan.name),
            "bridge" => ipvlan.mode = IpvlanMode::Bridge,
            "private" => ipvlan.mode = IpvlanMode::Private,
            "vepa" => ipvlan.mode = IpvlanMode::Vepa,
            "group" => ipvlan.group = group(word, &mut words, call).or(ipvlan.group),
            text => match prefix(text) {
                Some((address, length)) => {
                    if builder.fits("the source", address, word, call) {
                        ipvlan.address = Some((address, length));
                    }
                }
                None if ipvlan.name.is_none() => ipvlan.name = call.interface_in(word),
                None => unknown(word, call),
            },
        }
    }
    if let Some(before) =
        builder.vmac.as_ref().map(|(_, span)| *span).or(builder.ipvlan.as_ref().map(|(_, span)| *span))
    {
        duplicate(call, span, before, "the interface of its own");
        return;
    }
    builder.ipvlan = Some((ipvlan, span));
}

fn unknown(word: Word<'_>, call: &mut Call<'_, '_>) {
    call.bad(word, format!("{} is not known here", quote(word.text)), "remove it");
}

fn named<'s>(
    option: Word<'s>,
    words: &mut impl Iterator<Item = Word<'s>>,
    call: &mut Call<'_, 's>,
) -> Option<String> {
    match words.next() {
        Some(word) => call.interface_in(word),
        None => {
            call.bad(option, "`name` needs an interface name", "1 to 15 characters without `/`");
            None
        }
    }
}

/// A number or a name of iproute2's table; it is looked up where the interface is made.
fn group<'s>(
    option: Word<'s>,
    words: &mut impl Iterator<Item = Word<'s>>,
    call: &mut Call<'_, 's>,
) -> Option<String> {
    let Some(word) = words.next() else {
        call.bad(option, "`group` needs a number or a name", "for example 0 or default");
        return None;
    };
    let number = word.text.starts_with(|c: char| c.is_ascii_digit());
    if word.text.is_empty() || number && word.text.parse::<u32>().is_err() {
        call.bad(
            word,
            format!("{} is no interface group", quote(word.text)),
            "a number or a name of /etc/iproute2/group",
        );
        return None;
    }
    Some(word.text.to_owned())
}

/// `ADDR[/LEN]`
fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(longest), str::parse).ok()?;
    (length <= longest).then_some((address, length))
}

/// Five or six octets in hexadecimal, with colons.
fn octets(text: &str) -> Option<Vec<u8>> {
    let octets: Option<Vec<u8>> = text
        .split(':')
        .map(|octet| {
            u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() <= 2 && !octet.starts_with('+'))
        })
        .collect();
    octets.filter(|octets| matches!(octets.len(), 5 | 6))
}

/// The last of six octets is the virtual_router_id where only five are given.
fn mac(builder: &mut B, word: Word<'_>, call: &mut Call<'_, '_>) -> Option<[u8; 6]> {
    let mut octets = octets(word.text)?;
    builder.mac_ends_in_vrid = octets.len() == 5;
    octets.resize(6, 0);
    let mac: [u8; 6] = octets.try_into().ok()?;
    let rfc = mac.starts_with(&[0x00, 0x00, 0x5e, 0x00]) && matches!(mac.get(4), Some(1 | 2));
    if mac.first().is_some_and(|first| first & 1 == 1) {
        call.bad(
            word,
            format!("{} is a multicast address", quote(word.text)),
            "an address whose first octet is even",
        );
        return None;
    }
    if rfc {
        call.bad(
            word,
            format!("{} is an address of the RFC's", quote(word.text)),
            "leave it out: the right one is used anyway",
        );
        return None;
    }
    Some(mac)
}
