//! Lines of virtual_ipaddress and virtual_ipaddress_excluded.
//!
//! Here: `ADDR[/LEN] [option …]`. Not here: which of them an instance keeps (`instance`).

use std::net::{IpAddr, Ipv4Addr};

use lbd_vrrp::VirtualAddress;

use super::call::Call;
use super::{Keyword, Serves, WhenAbsent};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::suggest::nearest;
use crate::tree::{self, Word};

/// Words of an address line, for documentation and for did-you-mean.
pub(super) static OPTIONS: [Keyword; 16] = [
    option("dev", "IF", "Interface.", Serves::Served),
    option("scope", "SCOPE", "global, link, host, site, nowhere or a number.", Serves::Served),
    option("broadcast", "ADDR|+|-", "Broadcast address; + and - set the host bits.", Serves::Served),
    option("brd", "ADDR|+|-", "Same as broadcast.", Serves::Served),
    option("label", "NAME", "Label, at most 15 characters.", Serves::Served),
    option("peer", "ADDR[/LEN]", "Address of the other end.", Serves::Unserved(NO_OPTION)),
    option("home", "", "Home address.", Serves::Unserved(NO_OPTION)),
    option("-nodad", "", "Duplicate address detection.", Serves::Unserved(NO_OPTION)),
    option("mngtmpaddr", "", "Template of temporary addresses.", Serves::Unserved(NO_OPTION)),
    option("noprefixroute", "", "No route to the prefix.", Serves::Unserved(NO_OPTION)),
    option("autojoin", "", "Join the group.", Serves::Unserved(NO_OPTION)),
    option("preferred_lft", "SECS|forever", "Preferred lifetime.", Serves::Unserved(NO_OPTION)),
    option("no_track", "", "Its loss does not matter.", Serves::Unserved(NO_OPTION)),
    option("track_group", "NAME", "Group of a static address.", Serves::Unserved(NO_OPTION)),
    option("use_vmac", "", "On a virtual MAC interface.", Serves::Unserved(NO_OPTION)),
    option("nodad", "", "No duplicate address detection.", Serves::Unserved(NO_OPTION)),
];

const NO_OPTION: &str = "the address is used without it";

const fn option(name: &'static str, arguments: &'static str, help: &'static str, serves: Serves) -> Keyword {
    Keyword { name, arguments, range: "", default: WhenAbsent::Nothing, help, serves, block: false }
}

/// The lines of a block, with the place of each.
pub(super) fn addresses(call: &mut Call<'_, '_>) -> Vec<(VirtualAddress, Span)> {
    let mut found = Vec::new();
    for line in super::tracking::lines(call) {
        let Some(first) = line.first().copied() else { continue };
        if let Some(address) = address(call, &line) {
            found.push((address, first.span));
        }
    }
    found
}

fn address(call: &mut Call<'_, '_>, line: &[Word<'_>]) -> Option<VirtualAddress> {
    let mut words = line.iter().copied();
    let first = words.next()?;
    let (address, prefix) = match split(first.text) {
        Some(parsed) => parsed,
        None => {
            let found = format!("{} is not an address", quote(first.text));
            call.bad(first, found, "for example 192.0.2.1/24");
            return None;
        }
    };
    let mut vip = VirtualAddress { address, prefix, device: None, scope: 0, broadcast: None, label: None };
    while let Some(option) = words.next() {
        let known = OPTIONS.iter().find(|known| known.name == option.text);
        match known.map(|known| known.serves) {
            Some(Serves::Unserved(means)) => {
                let takes = known.is_some_and(|known| !known.arguments.is_empty());
                call.context.unserved(option.span, &quote(option.text), means);
                if takes {
                    words.next();
                }
            }
            Some(Serves::Served) => match words.next() {
                Some(value) => set(call, &mut vip, option, value),
                None => call.bad(
                    option,
                    format!("{} needs a value", quote(option.text)),
                    "add it, or remove the option",
                ),
            },
            None => unknown(call, option),
        }
    }
    Some(vip)
}

fn unknown(call: &mut Call<'_, '_>, word: Word<'_>) {
    let message = format!("unknown option {} of an address", quote(word.text));
    let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored");
    let is_address = split(word.text).is_some();
    let near = nearest(word.text, OPTIONS.iter().map(|known| known.name));
    call.say(match near {
        _ if is_address => diagnostic.help("one address per line: begin a new line before it"),
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
        None => diagnostic.help("remove it"),
    });
}

fn set(call: &mut Call<'_, '_>, vip: &mut VirtualAddress, option: Word<'_>, value: Word<'_>) {
    match option.text {
        "dev" => vip.device = call.interface_in(value).or(vip.device.take()),
        "scope" => {
            if let Some(scope) = scope(call, value) {
                vip.scope = scope;
            }
        }
        "label" if value.text.is_empty() || value.text.len() > 15 => {
            call.bad(value, format!("the label {} is too long", quote(value.text)), "1 to 15 characters");
        }
        "label" => vip.label = Some(value.text.to_owned()),
        _ => {
            let IpAddr::V4(address) = vip.address else {
                call.bad(value, "an IPv6 address has no broadcast address", "remove it");
                return;
            };
            let host_bits = u32::MAX.checked_shr(vip.prefix.into()).unwrap_or(0);
            vip.broadcast = match value.text {
                "+" => Some(Ipv4Addr::from(u32::from(address) | host_bits)),
                "-" => Some(Ipv4Addr::from(u32::from(address) & !host_bits)),
                text => match text.parse() {
                    Ok(broadcast) => Some(broadcast),
                    Err(_) => {
                        let found = format!("{} is not an IPv4 address", quote(text));
                        call.bad(value, found, "an address, + or -");
                        vip.broadcast
                    }
                },
            };
        }
    }
}

/// Names of iproute2's default table, or a number.
fn scope(call: &mut Call<'_, '_>, word: Word<'_>) -> Option<u8> {
    if let Ok(number) = word.text.parse() {
        return Some(number);
    }
    let names =
        [("global", 0), ("universe", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];
    call.choice_in(word, &names)
}

/// `ADDR[/LEN]`.
fn split(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
    };
    (prefix <= longest).then_some((address, prefix))
}

/// The words of a line that is an item of a block.
pub(super) fn words<'s>(call: &mut Call<'_, 's>, head: Span) -> Vec<Word<'s>> {
    let (words, open) = tree::words(call.context.sources, head);
    match open {
        Some(open) => {
            call.context.report_open_quote(open);
            Vec::new()
        }
        None => words,
    }
}
