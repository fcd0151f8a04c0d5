//! Lines of virtual_routes and static_routes.
//!
//! Here: `[TYPE] DEST [option …]`. Not here: nexthops and encapsulation (`nexthop`), what the options
//! are called (`options`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lbd_ipvs::Family;

use super::address::track_group;
use super::call::{Call, parse_seconds};
use super::line::{KEEPALIVED, Line, PROTOCOLS, SCOPES, TABLES, split};
use super::nexthop::{self, Gateway};
use super::options::ROUTE;
use crate::config::{
    Encapsulation, Lockable, NameTable, Named, NextHop, Prefix, Realms, Route, RouteMetrics, RouteMode,
    RoutePreference, RouteTable, RouteTime, RouteType,
};
use crate::diagnostic::quote;
use crate::tree::Word;

/// The lines of a block; `fixed` tells a static one from one of an instance.
pub(super) fn routes(call: &mut Call<'_, '_>, fixed: bool) -> Vec<Route> {
    let lines = super::tracking::lines(call);
    lines
        .into_iter()
        .filter_map(|words| Reading::new(fixed).read(Line::new(call, words, "route", ROUTE)))
        .collect()
}

/// A line being read: what it says so far.
#[derive(Default)]
struct Reading<'s> {
    fixed: bool,
    /// What the first word says that tells the family.
    family: Option<Family>,
    destination: Option<(Target, Word<'s>)>,
    kind: Option<(RouteType, Word<'s>)>,
    mode: Option<RouteMode>,
    source: Option<Prefix>,
    preferred_source: Option<IpAddr>,
    gateway: Option<Gateway<'s>>,
    device: Option<String>,
    table: Option<RouteTable>,
    protocol: Option<(Named<u8>, Word<'s>)>,
    scope: Option<Named<u8>>,
    tos: Option<Named<u8>>,
    metric: Option<u32>,
    on_link: bool,
    encapsulation: Option<Encapsulation>,
    expires: Option<u32>,
    metrics: RouteMetrics,
    realms: Option<Realms>,
    preference: Option<RoutePreference>,
    ttl_propagate: Option<bool>,
    next_hops: Vec<(NextHop, Option<Gateway<'s>>)>,
    no_track: bool,
    track_group: Option<(Arc<str>, Word<'s>)>,
}

/// Where a route leads.
#[derive(Clone, Copy)]
enum Target {
    /// Everywhere, of the family that the rest of the line has.
    Default,
    Prefix(Prefix),
}

impl<'s> Reading<'s> {
    fn new(fixed: bool) -> Self {
        Self { fixed, ..Self::default() }
    }

    fn read(mut self, mut line: Line<'_, '_, 's>) -> Option<Route> {
        while let Some(word) = line.next() {
            if let Some((_, kind)) = RouteType::WORDS.iter().find(|(name, _)| *name == word.text) {
                self.kind(&mut line, word, *kind)?;
            } else {
                self.option(&mut line, word)?;
            }
        }
        self.complete(line)
    }

    fn option(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<()> {
        match word.text {
            "inet" => self.family(line, word, Family::Inet),
            "inet6" => self.family(line, word, Family::Inet6),
            // What follows is read as it would be without it.
            "to" => line.peek().map(|_| ()).or_else(|| line.value(word).map(|_| ())),
            "src" => {
                line.note("src", word);
                let value = line.value(word)?;
                let address = line.address_in(word, value)?;
                self.preferred_source = Some(address);
                self.family(line, value, Family::of(address))
            }
            "from" => {
                line.note("from", word);
                let value = line.value(word)?;
                let prefix = line.prefix_in(value)?;
                if prefix.address.is_ipv4() {
                    return line.left_out(value, "`from` is for IPv6 routes only", "make a rule for IPv4");
                }
                self.source = Some(prefix);
                self.family(line, value, Family::Inet6)
            }
            "via" | "gw" => {
                line.note("via", word);
                if word.text == "gw" {
                    line.repaired(word, "`gw` is an old name of `via`", "write `via`");
                }
                let gateway = nexthop::gateway(line, word)?;
                self.gateway = Some(gateway);
                self.of_gateway(line, gateway)
            }
            "as" => {
                line.took("to");
                line.address(word)?;
                line.call.bad(word, "`as` is for MPLS routes, which do not exist here", "remove it");
                Some(())
            }
            "or" => self.or(line, word),
            "nexthop" => self.next_hop(line, word),
            "expires" => {
                line.note("expires", word);
                self.expires = Some(line.whole(word, 0..=u32::MAX.into())?);
                self.only(line, word, Family::Inet6)
            }
            "pref" => {
                line.note("pref", word);
                self.preference = Some(line.choice(word, RoutePreference::WORDS)?);
                self.only(line, word, Family::Inet6)
            }
            "realms" => {
                line.note("realms", word);
                self.realms = Some(line.realms(word)?);
                self.only(line, word, Family::Inet)
            }
            _ => match self.plain(line, word)? {
                true => Some(()),
                false => self.metric(line, word)?.then_some(()).or_else(|| self.destination(line, word)),
            },
        }
    }

    /// Options without a family; `false` if it is none of them.
    fn plain(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<bool> {
        match word.text {
            "dev" | "oif" => {
                line.note("dev", word);
                self.device = Some(line.interface(word)?);
            }
            "table" => {
                line.note("table", word);
                self.table = Some(RouteTable::Table(line.named(
                    word,
                    NameTable::Tables,
                    TABLES,
                    0..=u32::MAX.into(),
                )?));
            }
            "vrf" => {
                line.note("table", word);
                self.table = Some(RouteTable::Vrf(line.interface(word)?));
            }
            "protocol" => {
                line.note("protocol", word);
                self.protocol = Some((line.named(word, NameTable::Protocols, PROTOCOLS, 0..=255)?, word));
            }
            "scope" => {
                line.note("scope", word);
                self.scope = Some(line.named(word, NameTable::Scopes, SCOPES, 0..=255)?);
            }
            "tos" | "dsfield" => {
                line.note("tos", word);
                self.tos = Some(line.named(word, NameTable::Services, &[], 0..=255)?);
            }
            "metric" | "priority" | "preference" => {
                line.note("metric", word);
                self.metric = Some(line.whole(word, 0..=u32::MAX.into())?);
            }
            "onlink" => self.on_link = true,
            "encap" => {
                line.note("encap", word);
                self.encapsulation = Some(nexthop::encapsulation(line, word)?);
            }
            "ttl-propagate" => {
                line.note("ttl-propagate", word);
                self.ttl_propagate = Some(line.choice(word, &[("enabled", true), ("disabled", false)])?);
            }
            "nat" | "xresolve" => {
                let found = format!("no kernel has routes of the type {}", quote(word.text));
                return line.left_out(word, found, "remove the line");
            }
            "add" => self.mode = Some(RouteMode::Add),
            "prepend" => self.mode = Some(RouteMode::Prepend),
            "append" => self.mode = Some(RouteMode::Append),
            "no_track" => self.no_track = true,
            "track_group" => {
                line.note("track_group", word);
                let value = line.value(word)?;
                if !self.fixed {
                    let found = "`track_group` is for static routes";
                    return line.left_out(word, found, "remove it: the instance follows its own routes");
                }
                line.unserved(word);
                self.track_group = track_group(line, value).map(|group| (group, word));
            }
            _ => return Some(false),
        }
        Some(true)
    }

    /// What connections over the route inherit; `false` if the word is none of these options.
    fn metric(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<bool> {
        let metrics = &mut self.metrics;
        let number = |line: &mut Line<'_, '_, 's>| line.whole(word, 0..=u32::MAX.into());
        let switch = |line: &mut Line<'_, '_, 's>| line.number(word, 0..=1).map(|on| on == 1);
        let Some(known) = ROUTE.iter().find(|known| known.name == word.text) else { return Some(false) };
        match word.text {
            "mtu" => metrics.mtu = Some(lockable(line, number)?),
            "advmss" => metrics.advertised_mss = Some(lockable(line, number)?),
            "reordering" => metrics.reordering = Some(lockable(line, number)?),
            "cwnd" => metrics.congestion_window = Some(lockable(line, number)?),
            "ssthresh" => metrics.slow_start_threshold = Some(lockable(line, number)?),
            "rtt" => metrics.round_trip = Some(lockable(line, |line| time(line, word))?),
            "rttvar" => metrics.round_trip_variance = Some(lockable(line, |line| time(line, word))?),
            "rto_min" => metrics.shortest_timeout = Some(lockable(line, |line| time(line, word))?),
            "congctl" => metrics.congestion_control = Some(lockable(line, |line| name(line, word))?),
            "hoplimit" => metrics.hop_limit = Some(line.whole(word, 0..=255)?),
            "window" => metrics.window = Some(number(line)?),
            "initcwnd" => metrics.initial_congestion_window = Some(number(line)?),
            "initrwnd" => metrics.initial_receive_window = Some(number(line)?),
            "quickack" => metrics.quick_ack = Some(switch(line)?),
            "fastopen_no_cookie" => metrics.fast_open_no_cookie = Some(switch(line)?),
            "features" => {
                let value = line.value(word)?;
                if value.text == "ecn" {
                    metrics.ecn = true;
                } else {
                    line.call.bad(value, format!("there is no feature {}", quote(value.text)), "only ecn");
                }
            }
            _ => return Some(false),
        }
        line.note(known.name, word);
        Some(true)
    }

    fn kind(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>, kind: RouteType) -> Option<()> {
        if let Some((_, before)) = self.kind.replace((kind, word)) {
            let found = format!("{} and {} cannot both be", quote(before.text), quote(word.text));
            return line.left_out(word, found, "a route has one type: remove one of them");
        }
        Some(())
    }

    /// Whatever is no option leads somewhere.
    fn destination(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<()> {
        let target = match word.text {
            "default" | "any" | "all" => Target::Default,
            "default6" => {
                self.family(line, word, Family::Inet6)?;
                Target::Default
            }
            text if split(text).is_some() => {
                let prefix = line.prefix_in(word)?;
                self.family(line, word, Family::of(prefix.address))?;
                Target::Prefix(prefix)
            }
            text if text.starts_with(|c: char| c.is_ascii_digit()) || text.contains([':', '/']) => {
                line.prefix_in(word)?;
                return None;
            }
            _ => {
                line.unknown(word, "route left out");
                return None;
            }
        };
        if let Some((_, before)) = self.destination.replace((target, word)) {
            let message = format!("{} gives way to {}", quote(before.text), quote(word.text));
            line.lint(word, message, "one route per line: begin a new line before it");
        }
        Some(())
    }

    /// Takes the family of an address; the first one decides.
    fn family(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>, family: Family) -> Option<()> {
        if *self.family.get_or_insert(family) == family {
            return Some(());
        }
        let found = match family {
            Family::Inet => format!("{} is of IPv4, the route of IPv6", quote(word.text)),
            Family::Inet6 => format!("{} is of IPv6, the route of IPv4", quote(word.text)),
        };
        line.left_out(word, found, "a route has addresses of one family")
    }

    /// An option of one family.
    fn only(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>, family: Family) -> Option<()> {
        if *self.family.get_or_insert(family) == family {
            return Some(());
        }
        let what = if family == Family::Inet { "IPv4" } else { "IPv6" };
        line.left_out(word, format!("{} is for {what} routes only", quote(word.text)), "remove it")
    }

    /// A gateway tells the family, unless it says itself that it is of another.
    fn of_gateway(&mut self, line: &mut Line<'_, '_, 's>, gateway: Gateway<'s>) -> Option<()> {
        let family = Family::of(gateway.address);
        if gateway.explicit || *self.family.get_or_insert(family) == family {
            return Some(());
        }
        wrong_gateway(line, gateway)
    }

    /// The old form of several ways: `via A or B`.
    fn or(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<()> {
        let Some(first) = self.gateway.take() else {
            let found = "`or` has no `via` before it";
            return line.left_out(word, found, "write `nexthop via A nexthop via B`");
        };
        let second = nexthop::gateway(line, word)?;
        self.of_gateway(line, second)?;
        let hop = |gateway: Gateway<'_>| NextHop { gateway: Some(gateway.address), ..NextHop::default() };
        let help = format!("write `nexthop via {} nexthop via {}`", first.address, second.address);
        line.repaired(word, "`or` is the old form of `nexthop`", help);
        self.next_hops = vec![(hop(first), Some(first)), (hop(second), Some(second))];
        Some(())
    }

    /// `nexthop` and all that follows.
    fn next_hop(&mut self, line: &mut Line<'_, '_, 's>, word: Word<'s>) -> Option<()> {
        for (hop, gateway) in nexthop::next_hops(line, word)? {
            if let Some(gateway) = gateway {
                self.of_gateway(line, gateway)?;
            }
            self.next_hops.push((hop, gateway));
        }
        if let Some(rest) = line.peek() {
            let found = format!("{} cannot stand after `nexthop`", quote(rest.text));
            return line.left_out(rest, found, "options of the whole route stand before the first `nexthop`");
        }
        Some(())
    }

    /// What the options mean together.
    fn complete(mut self, mut line: Line<'_, '_, 's>) -> Option<Route> {
        let first = line.first()?;
        let Some((target, _)) = self.destination else {
            let found = format!("this line names no destination: it begins with {}", quote(first.text));
            let help = "begin it with one, for example 192.0.2.0/24 or default";
            return line.left_out(first, found, help);
        };
        let gateways =
            || self.gateway.iter().chain(self.next_hops.iter().filter_map(|(_, via)| via.as_ref()));
        let family = self.family.or_else(|| gateways().next().map(|via| Family::of(via.address)));
        let family = family.unwrap_or(Family::Inet);
        // IPv6 has no gateways of IPv4.
        let odd = gateways().copied().find(|via| family == Family::Inet6 && via.address.is_ipv4());
        if let Some(gateway) = odd {
            return wrong_gateway(&mut line, gateway);
        }
        let realms = self.next_hops.iter().any(|(hop, _)| hop.realms.is_some());
        if realms && family == Family::Inet6 {
            return line.left_out(first, "`realms` is for IPv4 routes only", "remove it");
        }
        let destination = match (target, family) {
            (Target::Prefix(prefix), _) => prefix,
            (Target::Default, Family::Inet) => Prefix { address: IpAddr::from([0; 4]), length: 0 },
            (Target::Default, Family::Inet6) => Prefix { address: IpAddr::from([0; 16]), length: 0 },
        };
        let kind = self.kind.map_or(RouteType::Unicast, |(kind, _)| kind);
        self.track(&mut line);
        // As keepalived does: a type asks for the plain form.
        let usual = if self.kind.is_some() { RouteMode::Add } else { RouteMode::Prepend };
        let protocol = self.protocol.map_or(Named::Number(KEEPALIVED), |(protocol, _)| protocol);
        Some(Route {
            destination,
            kind,
            mode: self.mode.unwrap_or(usual),
            source: self.source,
            preferred_source: self.preferred_source,
            gateway: self.gateway.map(|gateway| gateway.address),
            device: self.device,
            table: self.table,
            protocol,
            scope: self.scope,
            tos: self.tos,
            metric: self.metric,
            on_link: self.on_link,
            encapsulation: self.encapsulation,
            expires: self.expires,
            metrics: self.metrics,
            realms: self.realms,
            preference: self.preference,
            ttl_propagate: self.ttl_propagate,
            next_hops: self.next_hops.into_iter().map(|(hop, _)| hop).collect(),
            no_track: self.no_track,
            track_group: self.track_group.map(|(group, _)| group),
        })
    }

    /// What `track_group` and `no_track` ask of the rest.
    fn track(&mut self, line: &mut Line<'_, '_, 's>) {
        if let Some((_, word)) = self.track_group.take_if(|_| self.no_track) {
            line.call.bad(word, "`track_group` and `no_track` cannot both be", "remove one of them");
        }
        if let Some((_, word)) = self.track_group.take_if(|_| self.device.is_none()) {
            line.call.bad(word, "`track_group` needs an interface", "add `dev IF`");
        }
        // One without interface is not tracked by keepalived, and may say who made it.
        keepalived_if_tracked(line, &mut self.protocol, self.no_track || self.device.is_none());
    }
}

/// What is tracked is recognized by its protocol.
pub(super) fn keepalived_if_tracked<'s>(
    line: &mut Line<'_, '_, 's>,
    protocol: &mut Option<(Named<u8>, Word<'s>)>,
    no_track: bool,
) {
    let other = protocol.take_if(|(protocol, _)| !no_track && *protocol != Named::Number(KEEPALIVED));
    if let Some((_, word)) = other {
        let message = "`protocol` needs `no_track`: 18 (keepalived) is used";
        line.repaired(word, message, "add `no_track`, or remove `protocol`");
    }
}

fn wrong_gateway<T>(line: &mut Line<'_, '_, '_>, gateway: Gateway<'_>) -> Option<T> {
    let (word, address) = (gateway.word, gateway.address);
    if address.is_ipv4() {
        let found = format!("the gateway {address} is of IPv4, the route of IPv6");
        return line.left_out(word, found, "an IPv6 address");
    }
    let found = format!("the gateway {address} is of IPv6, the route of IPv4");
    line.left_out(word, found, format!("an IPv4 address, or `via inet6 {address}` if that is meant"))
}

fn lockable<'s, T>(
    line: &mut Line<'_, '_, 's>,
    value: impl FnOnce(&mut Line<'_, '_, 's>) -> Option<T>,
) -> Option<Lockable<T>> {
    let locked = line.took("lock");
    Some(Lockable { value: value(line)?, locked })
}

fn name(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<String> {
    let word = line.value(option)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // The kernel's limit.
    if word.text.is_empty() || word.text.len() > 15 || !word.text.chars().all(plain) {
        let found = format!("{} cannot be a congestion control", quote(word.text));
        return line.left_out(word, found, "for example cubic, reno or bbr");
    }
    Some(word.text.to_owned())
}

fn time(line: &mut Line<'_, '_, '_>, option: Word<'_>) -> Option<RouteTime> {
    let word = line.value(option)?;
    let time = parse_time(word.text);
    if time.is_none() {
        let found = format!("{} is not a time", quote(word.text));
        let help = format!("{} is a number with ms or s, or one as the kernel counts", quote(option.text));
        return line.left_out(word, found, help);
    }
    time
}

/// Decimal seconds or milliseconds with their unit, or a number as the kernel counts.
fn parse_time(text: &str) -> Option<RouteTime> {
    let most = Duration::from_millis(u32::MAX.into());
    let time = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(text), _) => {
            let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
            let padded = format!("{decimals:0<3}");
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if padded.len() > 3 || !digits(whole) || !digits(&padded) {
                return None;
            }
            Duration::from_millis(whole.parse().ok()?)
                .checked_add(Duration::from_micros(padded.parse().ok()?))?
        }
        (None, Some(text)) => parse_seconds(text).ok()?,
        (None, None) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            return if digits { text.parse().ok().map(RouteTime::Kernel) } else { None };
        }
    };
    Some(RouteTime::Time(time)).filter(|_| time <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let micros = |micros| Some(RouteTime::Time(Duration::from_micros(micros)));
        for (text, want) in [
            ("10ms", micros(10_000)),
            ("2.5s", micros(2_500_000)),
            ("0.125ms", micros(125)),
            ("1.ms", micros(1_000)),
            ("4294967295ms", micros(4_294_967_295_000)),
            ("4294967296ms", None),
            ("18446744073709551615ms", None),
            ("18446744073709551615s", None),
            ("0.1234ms", None),
            ("ms", None),
            ("s", None),
            ("-1s", None),
            ("3h", None),
            ("2.5", None),
            ("", None),
            ("200", Some(RouteTime::Kernel(200))),
            ("4294967296", None),
        ] {
            assert_eq!(parse_time(text), want, "{text}");
        }
    }
}
