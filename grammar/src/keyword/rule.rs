//! Lines of virtual_rules and static_rules.
//!
//! Here: options that say which packets, and one that says what becomes of them. Not here: what the
//! options are called (`options`).

use std::ops::RangeInclusive;
use std::sync::Arc;

use lbd_ipvs::Family;

use super::address::track_group;
use super::call::Call;
use super::line::{KEEPALIVED, Line, PROTOCOLS, TABLES, c_number};
use super::options::RULE;
use super::route::keepalived_if_tracked;
use crate::config::{MarkMatch, NameTable, Named, Prefix, Realms, Rule, RuleAction};
use crate::diagnostic::quote;
use crate::tree::Word;

/// The preference of the first rule without one; each further one has one less.
pub(super) const FIRST_PREFERENCE: u32 = 16384;

/// The lines of a block; `fixed` tells a static one from one of an instance.
pub(super) fn rules(call: &mut Call<'_, '_>, fixed: bool) -> Vec<Rule> {
    let lines = super::tracking::lines(call);
    lines
        .into_iter()
        .filter_map(|words| {
            Reading { fixed, ..Reading::default() }.read(Line::new(call, words, "rule", RULE))
        })
        .collect()
}

/// A line being read: what it says so far.
#[derive(Default)]
struct Reading<'s> {
    fixed: bool,
    family: Option<Family>,
    inverted: bool,
    from: Option<Prefix>,
    to: Option<Prefix>,
    preference: Option<u32>,
    tos: Option<Named<u8>>,
    mark: Option<MarkMatch>,
    realms: Option<(Realms, Word<'s>)>,
    suppress_prefix_length: Option<(u32, Word<'s>)>,
    suppress_group: Option<(Named<u32>, Word<'s>)>,
    input: Option<String>,
    output: Option<String>,
    tunnel_id: Option<u32>,
    uids: Option<RangeInclusive<u32>>,
    protocol: Option<(Named<u8>, Word<'s>)>,
    ip_protocol: Option<Named<u8>>,
    source_ports: Option<RangeInclusive<u16>>,
    destination_ports: Option<RangeInclusive<u16>>,
    action: Option<(RuleAction, Word<'s>)>,
    no_track: bool,
    track_group: Option<(Arc<str>, Word<'s>)>,
}

impl<'s> Reading<'s> {
    fn read(mut self, mut line: Line<'_, '_, 's>) -> Option<Rule> {
        while let Some(word) = line.next() {
            self.option(&mut line, word)?;
        }
        self.complete(line)
    }

    fn option(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<()> {
        let all = 0..=u64::from(u32::MAX);
        match word.text {
            "inet" => self.family(line, word, Family::Inet)?,
            "inet6" => self.family(line, word, Family::Inet6)?,
            "from" => {
                line.note("from", word);
                self.from = self.prefix(line, word)?;
            }
            "to" => {
                line.note("to", word);
                self.to = self.prefix(line, word)?;
            }
            "not" => self.inverted = true,
            "preference" | "order" | "priority" => {
                line.note("preference", word);
                self.preference = Some(line.whole(word, all)?);
            }
            "tos" | "dsfield" => {
                line.note("tos", word);
                self.tos = Some(line.named(word, NameTable::Services, &[], 0..=255)?);
            }
            "fwmark" => {
                line.note("fwmark", word);
                self.mark = Some(mark(line, word)?);
            }
            "realms" => {
                line.note("realms", word);
                self.realms = Some((line.realms(word)?, word));
                if *self.family.get_or_insert(Family::Inet) != Family::Inet {
                    return line.left_out(word, "`realms` is for IPv4 rules only", "remove it");
                }
            }
            "suppress_prefixlength" | "sup_pl" => {
                line.note("suppress_prefixlength", word);
                self.suppress_prefix_length = Some((line.whole(word, 0..=0x7fff_ffff)?, word));
            }
            "suppress_ifgroup" | "sup_group" => {
                line.note("suppress_ifgroup", word);
                self.suppress_group =
                    Some((line.named(word, NameTable::Groups, &[("default", 0)], all)?, word));
            }
            "dev" | "iif" => {
                line.note("iif", word);
                self.input = Some(line.interface(word)?);
            }
            "oif" => {
                line.note("oif", word);
                self.output = Some(line.interface(word)?);
            }
            "tunnel-id" => {
                line.note("tunnel-id", word);
                self.tunnel_id = Some(line.whole(word, all)?);
            }
            "uidrange" => {
                line.note("uidrange", word);
                self.uids = Some(range(line, word, 0..=u32::MAX)?);
            }
            "protocol" => {
                line.note("protocol", word);
                self.protocol = Some((line.named(word, NameTable::Protocols, PROTOCOLS, 0..=255)?, word));
            }
            "ipproto" => {
                line.note("ipproto", word);
                self.ip_protocol = Some(ip_protocol(line, word)?);
            }
            "sport" => {
                line.note("sport", word);
                self.source_ports = Some(range(line, word, 1..=u16::MAX)?);
            }
            "dport" => {
                line.note("dport", word);
                self.destination_ports = Some(range(line, word, 1..=u16::MAX)?);
            }
            "no_track" => self.no_track = true,
            "track_group" => {
                line.note("track_group", word);
                let value = line.value(word)?;
                if !self.fixed {
                    let found = "`track_group` is for static rules";
                    return line.left_out(word, found, "remove it: the instance follows its own rules");
                }
                line.unserved(word);
                self.track_group = track_group(line, value).map(|group| (group, word));
            }
            // As in iproute2, a word before an action.
            "type" => match line.value(word)? {
                action @ Word { text: "nop" | "blackhole" | "unreachable" | "prohibit", .. } => {
                    return self.action(line, action);
                }
                other => {
                    let found = format!("{} is no action that `type` may stand before", quote(other.text));
                    return line.left_out(other, found, "nop, blackhole, unreachable or prohibit");
                }
            },
            _ => return self.action(line, word),
        }
        Some(())
    }

    /// What becomes of the packets: one of them.
    fn action(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<()> {
        let action = match word.text {
            "table" | "lookup" => {
                let table = line.named(word, NameTable::Tables, TABLES, 1..=u32::MAX.into())?;
                RuleAction::Table(table)
            }
            "goto" => RuleAction::Goto(line.whole(word, 0..=u32::MAX.into())?),
            "l3mdev" => RuleAction::Vrf,
            "nop" => RuleAction::Nop,
            "blackhole" => RuleAction::Blackhole,
            "unreachable" => RuleAction::Unreachable,
            "prohibit" => RuleAction::Prohibit,
            _ => {
                line.unknown(word, "rule left out");
                return None;
            }
        };
        if let Some((_, before)) = self.action.replace((action, word)) {
            let found = format!("{} and {} are two actions", quote(before.text), quote(word.text));
            return line.left_out(word, found, "a rule has one: remove the other, or write two rules");
        }
        Some(())
    }

    /// `PREFIX|all`; `None` inside is all.
    fn prefix(&mut self, line: &mut Line<'_, '_, 's>, option: Word<'s>) -> Option<Option<Prefix>> {
        let word = line.value(option)?;
        if matches!(word.text, "all" | "any" | "default") {
            return Some(None);
        }
        let prefix = line.prefix_in(word)?;
        self.family(line, word, Family::of(prefix.address))?;
        Some(Some(prefix).filter(|prefix| prefix.length > 0))
    }

    /// Takes the family of a word; the first one decides.
    fn family(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>, family: Family) -> Option<()> {
        if *self.family.get_or_insert(family) == family {
            return Some(());
        }
        let found = match family {
            Family::Inet => format!("{} is of IPv4, the rule of IPv6", quote(word.text)),
            Family::Inet6 => format!("{} is of IPv6, the rule of IPv4", quote(word.text)),
        };
        line.left_out(word, found, "a rule has one family; write one rule for each")
    }

    /// What the options mean together.
    fn complete(mut self, mut line: Line<'_, '_, 's>) -> Option<Rule> {
        let first = line.first()?;
        let Some((action, word)) = self.action.take() else {
            let help = "add one: table T, goto N, nop, blackhole, unreachable, prohibit or l3mdev";
            return line.left_out(first, "this rule has no action", help);
        };
        if !matches!(action, RuleAction::Table(_) | RuleAction::Vrf) {
            let realms = self.realms.as_ref().map(|(_, word)| *word);
            let length = self.suppress_prefix_length.map(|(_, word)| word);
            let group = self.suppress_group.as_ref().map(|(_, word)| *word);
            if let Some(of_table) = realms.or(length).or(group) {
                let found = format!("{} needs a table to look into", quote(of_table.text));
                return line.left_out(of_table, found, "remove it, or write `table T` as the action");
            }
        }
        if let RuleAction::Goto(target) = action {
            match self.preference {
                None => {
                    let help = "add a preference that is lower than the target";
                    return line.left_out(word, "`goto` needs a preference", help);
                }
                Some(own) if own >= target => {
                    let found = format!("`goto` leads back: the preference {own} is not below {target}");
                    return line.left_out(word, found, "a rule of higher preference");
                }
                Some(_) => {}
            }
        }
        let family = self.family.unwrap_or(Family::Inet);
        if let Some((_, word)) = self.track_group.take_if(|_| self.no_track) {
            line.call.bad(word, "`track_group` and `no_track` cannot both be", "remove one of them");
        }
        keepalived_if_tracked(&mut line, &mut self.protocol, self.no_track);
        let preference = self.preference.unwrap_or_else(|| automatic(&mut line, first, family));
        Some(Rule {
            family,
            inverted: self.inverted,
            from: self.from,
            to: self.to,
            preference,
            tos: self.tos,
            mark: self.mark,
            realms: self.realms.map(|(realms, _)| realms),
            suppress_prefix_length: self.suppress_prefix_length.map(|(length, _)| length),
            suppress_group: self.suppress_group.map(|(group, _)| group),
            input: self.input,
            output: self.output,
            tunnel_id: self.tunnel_id,
            uids: self.uids,
            protocol: self.protocol.map_or(Named::Number(KEEPALIVED), |(protocol, _)| protocol),
            ip_protocol: self.ip_protocol,
            source_ports: self.source_ports,
            destination_ports: self.destination_ports,
            action,
            no_track: self.no_track,
            track_group: self.track_group.map(|(group, _)| group),
        })
    }
}

/// The preference of a rule without one: it goes down, so later rules come first.
fn automatic(line: &mut Line<'_, '_, '_>, first: Word<'_>, family: Family) -> u32 {
    let [four, six] = &mut line.call.context.rule_preferences;
    let next = if family == Family::Inet { four } else { six };
    let preference = *next;
    *next = next.saturating_sub(1);
    let message = format!("this rule has no preference: {preference} is used");
    let help = "add `preference N`; without it each further rule comes before the ones above it";
    line.repaired(first, message, help);
    preference
}

/// `N[/MASK]`
fn mark(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<MarkMatch> {
    let word = line.value(option)?;
    let number = |text: &str| c_number(text).and_then(|number| u32::try_from(number).ok());
    let mark = match word.text.split_once('/') {
        None => number(word.text).map(|value| MarkMatch { value, mask: u32::MAX }),
        Some((value, mask)) => number(value).zip(number(mask)).map(|(value, mask)| MarkMatch { value, mask }),
    };
    if mark.is_none() {
        let found = format!("{} is not a mark", quote(word.text));
        return line.left_out(word, found, "write N or N/MASK, numbers from 0 to 4294967295 (0xffffffff)");
    }
    mark
}

/// `A-B`
fn range<T>(
    line: &mut Line<'_, '_, '_>,
    option: Word<'_>,
    whole: RangeInclusive<T>,
) -> Option<RangeInclusive<T>>
where
    T: std::str::FromStr + std::fmt::Display + PartialOrd + Copy,
{
    let word = line.value(option)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<T>().ok().filter(|number| digits && whole.contains(number))
    };
    let (name, text) = (quote(option.text), quote(word.text));
    let limits = format!("numbers from {} to {}", whole.start(), whole.end());
    let Some((low, high)) = word.text.split_once('-') else {
        let help = match number(word.text) {
            Some(single) => format!("write `{} {single}-{single}`", option.text),
            None => format!("write A-B, {limits}"),
        };
        return line.left_out(word, format!("{name} takes a range, and {text} is none"), help);
    };
    match number(low).zip(number(high)) {
        Some((low, high)) if low <= high => Some(low..=high),
        Some((low, high)) => line.left_out(
            word,
            format!("the range {text} ends before it begins"),
            format!("write {high}-{low}"),
        ),
        None => line.left_out(word, format!("{text} is not a range"), format!("write A-B, {limits}")),
    }
}

/// Protocols that every host calls the same; other names stay names.
const IP_PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("sctp", 132),
    ("udplite", 136),
];

/// A decimal number, or a name in any case.
fn ip_protocol(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<Named<u8>> {
    let known = line.peek().and_then(|word| {
        IP_PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.text)).map(|(_, number)| *number)
    });
    if let Some(number) = known {
        line.next();
        return Some(Named::Number(number));
    }
    line.named(option, NameTable::IpProtocols, IP_PROTOCOLS, 0..=255)
}
