//! Lines of virtual_ipaddress, virtual_ipaddress_excluded and static_ipaddress.
//!
//! Here: `ADDR[/LEN] [option …]`. Not here: which of them an instance keeps (`instance`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lbd_vrrp::{PreferredLifetime, VirtualAddress};

use super::call::Call;
use super::context::MOST_COMPARED;
use super::line::{self, Line, SCOPES, c_number, longest};
use super::{Keyword, Serves};
use crate::config::StaticAddress;
use crate::diagnostic::quote;
use crate::source::Span;
use crate::suggest::nearest;
use crate::tree::Word;

pub(super) use super::line::words;

/// Words of an address line, for documentation and for did-you-mean.
pub(super) static OPTIONS: [Keyword; 16] = [
    served("dev", "IF", "Interface of the address; by default the instance's, or default_interface.")
        .like("1 to 15 characters", "eth1"),
    served("scope", "SCOPE", "Where an IPv4 address is valid, by name or number; by default everywhere.")
        .like("global, site, link, host, nowhere or 0..=255", "link"),
    served("broadcast", "ADDR|+|-", "Broadcast address of IPv4; + sets the host bits, - clears them.")
        .like("", "+"),
    served("brd", "ADDR|+|-", "Short for broadcast.").like("", "192.0.2.255"),
    served("label", "NAME", "Label of an IPv4 address, as old tools show it.")
        .like("1 to 15 characters", "eth0:1"),
    served("peer", "ADDR[/LEN]", "Address of the other end; its prefix length is the address's.")
        .like("", "192.0.2.2/32"),
    served("home", "", "Marks an IPv6 address as a mobile node's home address."),
    served(
        "-nodad",
        "",
        "Lets the kernel look for duplicates of an IPv6 address, for which it normally does not wait.",
    ),
    served("mngtmpaddr", "", "Template from which the kernel makes IPv6 privacy addresses."),
    served("noprefixroute", "", "The kernel makes no route to the prefix of the address."),
    served("autojoin", "", "The kernel joins the group on the interface, of a multicast address."),
    Keyword {
        default: super::WhenAbsent::Said("0 for an IPv6 address alone (/128), else forever"),
        ..served(
            "preferred_lft",
            "SECS|forever",
            "How long the address is preferred as a source; 0 means never.",
        )
        .like("0..=4294967295", "forever")
    },
    served("no_track", "", "Loss of the address or its interface is no fault, and it is not put back."),
    served(
        "track_group",
        "NAME",
        "Of a static address: the instances of this track_group track its interface.",
    )
    .like("", "G"),
    served("use_vmac", "", "Of a virtual address: put it on a virtual MAC interface on its interface."),
    served("nodad", "", "No look for duplicates of an IPv6 address, which is so anyway."),
];

const NO_BROADCAST: u8 = 31;

const fn served(name: &'static str, arguments: &'static str, help: &'static str) -> Keyword {
    Keyword::new(name, arguments, help)
}

/// The lines of an instance's block, with the place of each.
pub(super) fn addresses(call: &mut Call<'_, '_>) -> Vec<(VirtualAddress, Span)> {
    let mut found = Vec::new();
    for words in super::tracking::lines(call) {
        let Some(first) = words.first().copied() else { continue };
        let line = Line::new(call, words, "address", &OPTIONS);
        if let Some(read) = address(line, false) {
            found.push((read.address, first.span));
        }
    }
    found
}

/// The lines of static_ipaddress.
pub(super) fn static_addresses(call: &mut Call<'_, '_>) -> Vec<StaticAddress> {
    let mut found = Vec::new();
    for words in super::tracking::lines(call) {
        let Some(mut read) = address(Line::new(call, words, "address", &OPTIONS), true) else { continue };
        let device = &mut read.address.device;
        if device.is_none() {
            let (global, built_in) = (&call.context.global, &call.context.global_built_in);
            *device = global.default_interface.clone().or_else(|| built_in.default_interface.clone());
        }
        found.push(read);
    }
    found
}

/// Reads a line; `fixed` tells a static address from one of an instance.
fn address(mut line: Line<'_, '_, '_>, fixed: bool) -> Option<StaticAddress> {
    let first = line.next()?;
    let Some((address, length)) = line::split(first.text) else {
        let (found, help) = if line.is_option(first) {
            (format!("this line begins with the option {}", quote(first.text)), "begin it with the address")
        } else {
            (format!("{} is not an address", quote(first.text)), "for example 192.0.2.1/24")
        };
        return line.left_out(first, found, help);
    };
    let length = line.length(first, address, length);
    let mut reading = Reading {
        vip: VirtualAddress::new(address, length),
        track_group: None,
        preferred: None,
        first,
        fixed,
    };
    while let Some(word) = line.next() {
        let Some(known) = OPTIONS.iter().find(|known| known.name == word.text) else {
            line.unknown(word, "ignored");
            continue;
        };
        let taken = reading.set(&mut line, word)?;
        if let Serves::Unserved(means) = known.serves
            && taken
        {
            line.call.context.unserved(word.span, &quote(word.text), means);
        }
    }
    let Reading { mut vip, track_group, preferred, .. } = reading;
    vip.preferred = preferred.unwrap_or(PreferredLifetime::default_of(vip.address, vip.prefix));
    Some(StaticAddress { address: vip, track_group })
}

/// A line being read.
struct Reading<'s> {
    vip: VirtualAddress,
    track_group: Option<Arc<str>>,
    preferred: Option<PreferredLifetime>,
    first: Word<'s>,
    fixed: bool,
}

impl Reading<'_> {
    /// Takes over an option, and says whether it counts; `None` if the address is left out. As in
    /// keepalived that depends on the option: with a label or a broadcast address that cannot be, but
    /// not with such a scope.
    fn set(&mut self, line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<bool> {
        match option.text {
            "dev" => {
                let device = line.interface(option)?;
                if self.vip.device.replace(device).is_some() {
                    let found = "`dev` is given twice in one line";
                    return line.left_out(option, found, "remove one of them: an address has one interface");
                }
            }
            "scope" => self.scope(line, option)?,
            "broadcast" | "brd" => {
                line.note("broadcast", option);
                let value = line.value(option)?;
                self.broadcast(line, value)?;
            }
            "label" => {
                line.note("label", option);
                let value = line.value(option)?;
                self.label(line, value)?;
            }
            "peer" => {
                let value = line.value(option)?;
                return Some(self.peer(line, value).is_some());
            }
            "home" => return Some(self.flag(line, option, |vip| vip.home = true)),
            "-nodad" => return Some(self.flag(line, option, |vip| vip.detect_duplicates = true)),
            "nodad" => return Some(self.flag(line, option, |vip| vip.detect_duplicates = false)),
            "mngtmpaddr" => return Some(self.flag(line, option, |vip| vip.manage_temporary = true)),
            "noprefixroute" => self.vip.no_prefix_route = true,
            "autojoin" => self.vip.auto_join = true,
            "preferred_lft" => {
                line.note("preferred_lft", option);
                let value = line.value(option)?;
                let Some(preferred) = lifetime(line, value) else { return Some(false) };
                self.preferred = Some(preferred);
            }
            "no_track" => self.vip.no_track = true,
            "track_group" => {
                let value = line.value(option)?;
                if !self.fixed {
                    line.call.bad(option, "`track_group` is for static addresses", "remove it");
                } else if self.track_group.is_none() {
                    self.track_group = track_group(line, value);
                } else {
                    line.call.bad(option, "`track_group` is given twice in one line", "remove one of them");
                }
                return Some(self.track_group.is_some());
            }
            "use_vmac" if self.fixed => {
                line.call.bad(option, "`use_vmac` is for addresses of an instance", "remove it");
                return Some(false);
            }
            "use_vmac" => self.vip.use_vmac = true,
            _ => {}
        }
        Some(true)
    }

    /// A flag of IPv6: whether it has a meaning here.
    fn flag(&mut self, line: &mut Line<'_, '_, '_>, option: Word<'_>, set: fn(&mut VirtualAddress)) -> bool {
        let six = self.vip.address.is_ipv6();
        if six {
            set(&mut self.vip);
        } else {
            line.lint(
                option,
                format!("{} has no meaning for an IPv4 address", quote(option.text)),
                "remove it",
            );
        }
        six
    }

    fn scope(&mut self, line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<()> {
        line.note("scope", option);
        let value = line.value(option)?;
        let named = SCOPES.iter().find(|(name, _)| *name == value.text).map(|(_, scope)| *scope);
        let scope = named.or_else(|| c_number(value.text).and_then(|scope| u8::try_from(scope).ok()));
        match scope {
            Some(_) if self.vip.address.is_ipv6() => {
                line.call.bad(option, "the scope of an IPv6 address follows from it", "remove it");
            }
            Some(scope) => self.vip.scope = scope,
            None => {
                let help = match nearest(value.text, SCOPES.iter().map(|(name, _)| *name)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "global, site, link, host, nowhere or a number from 0 to 255".to_owned(),
                };
                line.call.bad(value, format!("{} is not a scope", quote(value.text)), help);
            }
        }
        Some(())
    }

    fn label(&mut self, line: &mut Line<'_, '_, '_>, value: Word<'_>) -> Option<()> {
        if value.text.len() > 15 {
            let found = format!("the label {} is too long", quote(value.text));
            return line.left_out(value, found, "1 to 15 characters");
        }
        if value.text.is_empty() {
            line.call.bad(value, "the label is empty", "1 to 15 characters");
        } else if self.vip.address.is_ipv6() {
            line.call.bad(value, "an IPv6 address has no label", "remove it");
        } else {
            self.vip.label = Some(value.text.to_owned());
        }
        Some(())
    }

    /// `ADDR|+|-`; `None` if the address is left out.
    fn broadcast(&mut self, line: &mut Line<'_, '_, '_>, value: Word<'_>) -> Option<()> {
        let IpAddr::V4(address) = self.vip.address else {
            return line.left_out(value, "an IPv6 address has no broadcast address", "remove it");
        };
        let prefix = self.vip.prefix;
        let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        self.vip.broadcast = match value.text {
            "+" | "-" if prefix >= NO_BROADCAST => {
                let found = format!("a prefix length of {prefix} leaves no broadcast address");
                line.call.bad(value, found, "remove it");
                return Some(());
            }
            "+" => Some(Ipv4Addr::from(u32::from(address) | host_bits)),
            "-" => Some(Ipv4Addr::from(u32::from(address) & !host_bits)),
            text => match text.parse() {
                Ok(broadcast) => Some(broadcast),
                Err(_) => {
                    let found = format!("{} is not an IPv4 address", quote(text));
                    return line.left_out(value, found, "an address, + or -");
                }
            },
        };
        Some(())
    }

    /// `ADDR[/LEN]`: the address of the other end, whose prefix length counts.
    fn peer(&mut self, line: &mut Line<'_, '_, '_>, value: Word<'_>) -> Option<()> {
        let Some((peer, length)) = line::split(value.text) else {
            let found = format!("{} is not an address", quote(value.text));
            line.call.bad(value, found, "`peer` takes an address, for example 192.0.2.2");
            return None;
        };
        let address = self.vip.address;
        if peer.is_ipv4() != address.is_ipv4() {
            let found = format!("the peer {peer} is of another family than {address}");
            line.call.bad(value, found, "an address of the same family");
            return None;
        }
        if let Some(before) = self.vip.peer {
            let found = format!("the peer {peer} is a second one");
            line.call.bad(value, found, format!("remove it: {before} counts"));
            return None;
        }
        let length = line.length(value, peer, length);
        let own = self.vip.prefix;
        if own != longest(address) && own != length {
            let message = format!("the prefix length {own} of {address} gives way to the peer's, {length}");
            line.repaired(
                self.first,
                message,
                format!("write `{address} peer {peer}/{own}` if {own} is meant"),
            );
        }
        self.vip.prefix = length;
        self.vip.peer = Some(peer);
        Some(())
    }
}

fn lifetime(line: &mut Line<'_, '_, '_>, value: Word<'_>) -> Option<PreferredLifetime> {
    if value.text == "forever" {
        return Some(PreferredLifetime::Forever);
    }
    // The largest number is how the kernel writes forever.
    match line.call.number_in(value, 0..=u32::MAX.into()).and_then(|number| u32::try_from(number).ok())? {
        u32::MAX => Some(PreferredLifetime::Forever),
        seconds => Some(PreferredLifetime::Seconds(seconds)),
    }
}

/// The group that a static entry names; it must stand before.
pub(super) fn track_group(line: &mut Line<'_, '_, '_>, value: Word<'_>) -> Option<Arc<str>> {
    let context = &mut line.call.context;
    if let Some((group, _)) = context.track_groups.get_key_value(value.text) {
        return Some(group.clone());
    }
    if context.explain_lost(0, "", &["track_group"], "static entries that name it are without it") {
        return None;
    }
    let names = context.track_groups.keys().take(MOST_COMPARED);
    let near = nearest(value.text, names.map(|name| &**name)).map(str::to_owned);
    let found = format!("no track_group {} is defined before this line", quote(value.text));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add a block `track_group {} {{ … }}` before it", value.text),
    };
    line.call.bad(value, found, help);
    None
}
