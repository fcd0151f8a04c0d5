//! virtual_server_group.
//!
//! Here: its lines, and what virtual servers have to know of a group. Not here: those servers
//! (`virtual_server`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use lbd_ipvs::Family;

use super::call::Call;
use super::root::Root;
use super::{Keyword, WhenAbsent, tracking};
use crate::config::{AddressRange, GroupMember, bits};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::tree::Word;

/// Words of a line, for documentation.
pub(super) static OPTIONS: [Keyword; 1] = [Keyword {
    range: "1..=4294967295",
    default: WhenAbsent::Said("a line is `ADDR[-END|/MASK] [PORT]`"),
    example: "7 inet",
    ..Keyword::new("fwmark", "N [inet|inet6]", "What carries this firewall mark.")
}];

/// A group as its virtual servers see it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// It has IPv4, or IPv6: addresses, or marks that say so.
    pub inet: bool,
    pub inet6: bool,
    /// It has addresses, not marks alone.
    pub addresses: bool,
    /// It has marks without a family.
    pub bare_marks: bool,
    /// It has addresses for every port.
    pub any_port: bool,
    /// The ports of its addresses, if they are the same.
    pub port: Option<NonZeroU16>,
    /// They are not.
    pub ports_differ: bool,
}

/// Lowers the block.
pub(super) fn lower(root: &mut Root, call: &mut Call<'_, '_>) {
    let name = call.word();
    let members: Vec<GroupMember> =
        tracking::lines(call).into_iter().filter_map(|line| member(call, &line)).collect();
    let Some(name) = name else { return };
    let place = call.place();
    let warn = |text: String| Diagnostic::warning(Kind::BadValue, Some(name.span), text).label("left out");
    if call.context.server_groups.contains_key(name.text) {
        call.say(
            warn(format!("virtual_server_group {} is given twice", quote(name.text)))
                .related(call.context.spans.server_groups.get(name.text).copied(), "first here")
                .help("put all its lines into one block"),
        );
        return;
    }
    let group: Arc<str> = name.text.into();
    call.context.spans.server_groups.insert(group.clone(), place);
    if members.is_empty() {
        call.context.server_groups.insert(group, None);
        let said = call.said().and_then(|said| call.context.diagnostics.get_mut(said));
        if let Some(diagnostic) = said {
            let consequence =
                "this line is left out, and with it the group, which has no other, and its virtual servers";
            diagnostic.consequence = Some(consequence.to_owned());
            return;
        }
        call.say(
            warn(format!("virtual_server_group {} has no usable line", quote(name.text)))
                .label("left out with its virtual servers")
                .help("add a line `ADDR PORT` or `fwmark N`"),
        );
        return;
    }
    let shape = Shape::of(&members);
    if shape.inet && shape.inet6 && shape.bare_marks {
        call.context.server_groups.insert(group, None);
        call.say(
            warn(format!(
                "virtual_server_group {} has IPv4, IPv6 and a firewall mark without family",
                quote(name.text)
            ))
            .label("left out with its virtual servers")
            .help("write `fwmark N inet` or `fwmark N inet6`"),
        );
        return;
    }
    call.context.server_groups.insert(group.clone(), Some(shape));
    root.config.virtual_server_groups.insert(group, members);
}

impl Shape {
    fn of(members: &[GroupMember]) -> Self {
        let mut shape = Shape::default();
        for member in members {
            match *member {
                GroupMember::Addresses { range, port } => {
                    shape.ports_differ |= shape.addresses && shape.port != port;
                    shape.addresses = true;
                    shape.port = port;
                    shape.any_port |= port.is_none();
                    shape.note(Family::of(range.first()));
                }
                GroupMember::Mark { family: Some(family), .. } => shape.note(family),
                GroupMember::Mark { family: None, .. } => shape.bare_marks = true,
            }
        }
        if shape.ports_differ {
            shape.port = None;
        }
        shape
    }

    fn note(&mut self, family: Family) {
        match family {
            Family::Inet => self.inet = true,
            Family::Inet6 => self.inet6 = true,
        }
    }

    /// The family, if it has one alone.
    pub fn family(&self) -> Option<Family> {
        match (self.inet, self.inet6) {
            (true, false) => Some(Family::Inet),
            (false, true) => Some(Family::Inet6),
            _ => None,
        }
    }
}

/// A line: `fwmark N [inet|inet6]`, or `ADDR[-END|/MASK] [PORT]`.
fn member(call: &mut Call<'_, '_>, line: &[Word<'_>]) -> Option<GroupMember> {
    let (first, rest) = line.split_first()?;
    let mut rest = rest.iter().copied();
    let member = if first.text == "fwmark" {
        let Some(number) = rest.next() else {
            call.bad(*first, "`fwmark` needs a number", "a number from 1 to 4294967295");
            return None;
        };
        let mark = u32::try_from(call.number_in(number, 1..=u32::MAX.into())?).ok()?;
        let families = [("inet", Family::Inet), ("inet6", Family::Inet6)];
        let family = match rest.next() {
            None => None,
            Some(word) => Some(call.choice_in(word, &families)?),
        };
        GroupMember::Mark { mark: NonZeroU32::new(mark)?, family }
    } else {
        let range = range(call, *first)?;
        let port = match rest.next() {
            None => None,
            Some(word) => u16::try_from(call.number_in(word, 0..=65535)?).ok().and_then(NonZeroU16::new),
        };
        GroupMember::Addresses { range, port }
    };
    if let Some(extra) = rest.next() {
        let message = format!("{}: {} is ignored", quote(call.name()), quote(extra.text));
        call.say(
            Diagnostic::warning(Kind::Lint, Some(extra.span), message).help("one address or mark per line"),
        );
    }
    Some(member)
}

/// `ADDR`, `ADDR-END` or `ADDR/MASK`.
fn range(call: &mut Call<'_, '_>, word: Word<'_>) -> Option<AddressRange> {
    match parse_range(word.text) {
        Ok(range) => Some(range),
        Err((why, help)) => {
            call.bad(word, format!("{} {why}", quote(word.text)), help);
            None
        }
    }
}

type Wrong = (&'static str, &'static str);

fn parse_range(text: &str) -> Result<AddressRange, Wrong> {
    const EXAMPLE: &str = "for example 192.0.2.10, 192.0.2.10-20 or 192.0.2.0/28";
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| ("is not an address or range", EXAMPLE));
    let (first, last) = if let Some((first, end)) = text.split_once('-') {
        let first = address(first)?;
        (first, range_end(first, end)?)
    } else if let Some((first, mask)) = text.split_once('/') {
        let first = address(first)?;
        (first, last_of(first, mask)?)
    } else {
        (address(text)?, address(text)?)
    };
    AddressRange::new(first, last).ok_or((
        "has too many addresses",
        "at most 65536: of IPv6 addresses only the last 16 bits may change",
    ))
}

/// The end of a range: an address, or its last octet (of IPv6 its last 16 bits, in hexadecimal).
fn range_end(first: IpAddr, end: &str) -> Result<IpAddr, Wrong> {
    if let Ok(last) = end.parse::<IpAddr>() {
        return match last.is_ipv4() == first.is_ipv4() {
            false => Err(("has ends of different families", "two addresses of the same family")),
            true if bits(last) < bits(first) => Err(("ends before it begins", "the smaller address first")),
            true => Ok(last),
        };
    }
    let (number, last) = match first {
        IpAddr::V4(first) => {
            let decimal = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
            let number = end.parse::<u8>().ok().filter(|_| decimal);
            let number = number.ok_or((
                "has no valid end",
                "the last octet of the last address, 0 to 255, or the address",
            ))?;
            let [a, b, c, before] = first.octets();
            (number > before, IpAddr::V4(Ipv4Addr::new(a, b, c, number)))
        }
        IpAddr::V6(first) => {
            let plain = (1..=4).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u16::from_str_radix(end, 16).ok().filter(|_| plain);
            let number = number.ok_or((
                "has no valid end",
                "the last group of the last address in hexadecimal, 0 to ffff, or the address",
            ))?;
            let [a, b, c, d, e, f, g, before] = first.segments();
            (number > before, IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, number)))
        }
    };
    if number { Ok(last) } else { Err(("does not end after it begins", "the smaller address first")) }
}

/// The last address of a network.
fn last_of(first: IpAddr, mask: &str) -> Result<IpAddr, Wrong> {
    let (most, help) = match first {
        IpAddr::V4(_) => (32_u32, "a mask from /1 to /32"),
        IpAddr::V6(_) => (128, "a mask from /1 to /128"),
    };
    let plain = !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit());
    let mask = mask.parse::<u32>().ok().filter(|mask| plain && (1..=most).contains(mask));
    let mask = mask.ok_or(("has no valid mask", help))?;
    let host = u128::MAX.checked_shr(128 - (most - mask)).unwrap_or(0);
    if bits(first) & host != 0 {
        return Err(("has bits beyond its mask", "write the first address of the network"));
    }
    let last = bits(first) | host;
    Ok(match first {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(last).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(last)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, want) in [
            ("10.0.0.1", Ok("10.0.0.1 10.0.0.1")),
            ("10.0.0.1-5", Ok("10.0.0.1 10.0.0.5")),
            ("10.0.0.5-5", Err("does not end after it begins")),
            ("10.0.0.1-256", Err("has no valid end")),
            ("10.0.0.1-", Err("has no valid end")),
            ("10.0.0.1-+9", Err("has no valid end")),
            ("10.0.0.250-10.0.1.5", Ok("10.0.0.250 10.0.1.5")),
            ("10.0.0.4-10.0.0.4", Ok("10.0.0.4 10.0.0.4")),
            ("10.0.0.4-10.0.0.3", Err("ends before it begins")),
            ("10.0.0.4-2001:db8::1", Err("has ends of different families")),
            ("10.0.0.0/30", Ok("10.0.0.0 10.0.0.3")),
            ("10.0.0.1/30", Err("has bits beyond its mask")),
            ("10.0.0.1/32", Ok("10.0.0.1 10.0.0.1")),
            ("10.0.0.0/0", Err("has no valid mask")),
            ("10.0.0.0/33", Err("has no valid mask")),
            ("10.0.0.0/16", Ok("10.0.0.0 10.0.255.255")),
            ("10.0.0.0/15", Err("has too many addresses")),
            ("2001:db8::1-ffff", Ok("2001:db8::1 2001:db8::ffff")),
            ("2001:db8::9-10", Ok("2001:db8::9 2001:db8::10")),
            ("2001:db8::1-g", Err("has no valid end")),
            ("2001:db8::1-10000", Err("has no valid end")),
            ("2001:db8::/112", Ok("2001:db8:: 2001:db8::ffff")),
            ("2001:db8::/64", Err("has too many addresses")),
            ("2001:db8::1/128", Ok("2001:db8::1 2001:db8::1")),
            ("web", Err("is not an address or range")),
            ("", Err("is not an address or range")),
        ] {
            let got = parse_range(text).map(|range| format!("{} {}", range.first(), range.last()));
            assert_eq!(got.as_deref().map_err(|(why, _)| *why), want, "{text}");
        }
    }
}
