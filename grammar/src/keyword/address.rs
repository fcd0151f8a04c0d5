//! Lines of virtual_ipaddress and virtual_ipaddress_excluded.
//!
//! Here: `ADDR[/LEN] [option …]`. Not here: which of them an instance keeps (`instance`).

use std::net::{IpAddr, Ipv4Addr};

use lbd_vrrp::VirtualAddress;

use super::call::Call;
use super::{Keyword, Serves};
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
    Keyword { serves, ..Keyword::new(name, arguments, help) }
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

/// The lines of static_ipaddress.
pub(super) fn static_addresses(call: &mut Call<'_, '_>) -> Vec<crate::config::StaticAddress> {
    call.rest();
    Vec::new()
}

fn address(call: &mut Call<'_, '_>, line: &[Word<'_>]) -> Option<VirtualAddress> {
    let mut words = line.iter().copied();
    let first = words.next()?;
    let Some((address, prefix)) = split(first.text) else {
        let found = format!("{} is not an address", quote(first.text));
        return left_out(call, first, found, "for example 192.0.2.1/24");
    };
    let prefix = prefix.unwrap_or_else(|longest| {
        let message = format!("{} has no valid prefix length: {longest} is used", quote(first.text));
        let fix = format!("{address}/{longest}");
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(first.span), message)
                .help(format!("a number from 0 to {longest}"))
                .fix(first.span, fix),
        );
        longest
    });
    let mut vip = VirtualAddress::new(address, prefix);
    while let Some(option) = words.next() {
        let known = OPTIONS.iter().find(|known| known.name == option.text);
        match known.map(|known| known.serves) {
            Some(Serves::Unserved(means)) => {
                let takes = known.is_some_and(|known| !known.arguments.is_empty());
                if takes && words.next().is_none() {
                    return needs_value(call, option);
                }
                call.context.unserved(option.span, &quote(option.text), means);
            }
            Some(Serves::Served | Serves::By(_)) => match words.next() {
                Some(value) => set(call, &mut vip, option, value)?,
                None => return needs_value(call, option),
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

fn needs_value<T>(call: &mut Call<'_, '_>, option: Word<'_>) -> Option<T> {
    let found = format!("{} needs a value", quote(option.text));
    left_out(call, option, found, "add it, or remove the option")
}

/// Says why an address is left out.
fn left_out<T>(call: &mut Call<'_, '_>, word: Word<'_>, found: String, help: &str) -> Option<T> {
    let message = format!("{}: {found}", quote(call.name()));
    call.say(
        Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("address left out").help(help),
    );
    None
}

/// `None` if the address is left out. As in keepalived that depends on the option: with a label or a
/// broadcast address that cannot be, but not with such a scope.
fn set(call: &mut Call<'_, '_>, vip: &mut VirtualAddress, option: Word<'_>, value: Word<'_>) -> Option<()> {
    match option.text {
        "dev" => vip.device = call.interface_in(value).or(vip.device.take()),
        "scope" => {
            if let Some(scope) = scope(call, value) {
                vip.scope = scope;
            }
        }
        "label" if value.text.len() > 15 => {
            let found = format!("the label {} is too long", quote(value.text));
            return left_out(call, value, found, "1 to 15 characters");
        }
        "label" if value.text.is_empty() => call.bad(value, "the label is empty", "1 to 15 characters"),
        "label" if vip.address.is_ipv6() => call.bad(value, "an IPv6 address has no label", "remove it"),
        "label" => vip.label = Some(value.text.to_owned()),
        _ => broadcast(call, vip, value)?,
    }
    Some(())
}

/// `ADDR|+|-`; `None` if the address is left out.
fn broadcast(call: &mut Call<'_, '_>, vip: &mut VirtualAddress, value: Word<'_>) -> Option<()> {
    let IpAddr::V4(address) = vip.address else {
        let found = "an IPv6 address has no broadcast address".to_owned();
        return left_out(call, value, found, "remove it");
    };
    let host_bits = u32::MAX.checked_shr(vip.prefix.into()).unwrap_or(0);
    vip.broadcast = match value.text {
        "+" | "-" if vip.prefix > 30 => {
            let found = format!("a prefix length of {} leaves no broadcast address", vip.prefix);
            call.bad(value, found, "remove it");
            return Some(());
        }
        "+" => Some(Ipv4Addr::from(u32::from(address) | host_bits)),
        "-" => Some(Ipv4Addr::from(u32::from(address) & !host_bits)),
        text => match text.parse() {
            Ok(broadcast) => Some(broadcast),
            Err(_) => {
                let found = format!("{} is not an IPv4 address", quote(text));
                return left_out(call, value, found, "an address, + or -");
            }
        },
    };
    Some(())
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

/// `ADDR[/LEN]`; instead of a length that cannot be the longest, which keepalived takes then.
fn split(text: &str) -> Option<(IpAddr, Result<u8, u8>)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => Ok(longest),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| longest),
        Some(_) => Err(longest),
    };
    Some((address, prefix.and_then(|prefix| if prefix <= longest { Ok(prefix) } else { Err(longest) })))
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
