//! Blocks of `config::network` as text.
//!
//! Here: static blocks, and the words of one address, route or rule. Not here: the blocks of an
//! instance (`vrrp`), which are made of the same lines.

use std::fmt::{self, Display};
use std::net::IpAddr;

use lbd_ipvs::Family;
use lbd_vrrp::{PreferredLifetime, VirtualAddress};

use super::{Writer, seconds, word};
use crate::config::{
    Config, Encapsulation, Lockable, NextHop, Route, RouteMode, RoutePreference, RouteTable, RouteTime,
    RouteType, Rule, RuleAction, StaticAddress,
};

/// static_ipaddress, static_routes and static_rules.
pub(super) fn write(writer: &mut Writer<'_>, config: &Config) {
    writer.lines("static_ipaddress", config.static_addresses.iter().map(static_address));
    writer.lines("static_routes", config.static_routes.iter().map(route));
    writer.lines("static_rules", config.static_rules.iter().map(rule));
}

fn static_address(address: &StaticAddress) -> Vec<String> {
    let mut line = Words(self::address(&address.address));
    line.maybe("track_group", address.track_group.as_ref());
    line.0
}

/// The words of an address line.
pub(super) fn address(vip: &VirtualAddress) -> Vec<String> {
    let VirtualAddress {
        address,
        prefix,
        device,
        scope,
        broadcast,
        label,
        peer,
        home,
        detect_duplicates,
        manage_temporary,
        no_prefix_route,
        auto_join,
        preferred,
        no_track,
        use_vmac,
    } = vip;
    let mut line = Words::default();
    match peer {
        // The prefix length is the peer's.
        Some(peer) => {
            line.word(address);
            line.value("peer", format!("{peer}/{prefix}"));
        }
        None => line.word(format!("{address}/{prefix}")),
    }
    line.maybe("dev", device.as_ref());
    if address.is_ipv4() {
        line.value("scope", scope);
    }
    line.maybe("broadcast", *broadcast);
    line.maybe("label", label.as_ref());
    line.flag("home", *home);
    line.flag("-nodad", *detect_duplicates);
    line.flag("mngtmpaddr", *manage_temporary);
    line.flag("noprefixroute", *no_prefix_route);
    line.flag("autojoin", *auto_join);
    match preferred {
        PreferredLifetime::Forever => line.value("preferred_lft", "forever"),
        PreferredLifetime::Seconds(seconds) => line.value("preferred_lft", seconds),
    }
    line.flag("no_track", *no_track);
    line.flag("use_vmac", *use_vmac);
    line.0
}

/// The words of a route line.
pub(super) fn route(route: &Route) -> Vec<String> {
    let mut line = Words::default();
    line.word(name(RouteType::WORDS, route.kind));
    line.word(route.destination);
    line.word(name(RouteMode::WORDS, route.mode));
    line.maybe("from", route.source);
    line.maybe("src", route.preferred_source);
    line.via(route.gateway, Family::of(route.destination.address));
    line.maybe("dev", route.device.as_ref());
    match &route.table {
        Some(RouteTable::Table(table)) => line.value("table", table),
        Some(RouteTable::Vrf(vrf)) => line.value("vrf", vrf),
        None => {}
    }
    line.value("protocol", &route.protocol);
    line.maybe("scope", route.scope.as_ref());
    line.maybe("tos", route.tos.as_ref());
    line.maybe("metric", route.metric);
    line.flag("onlink", route.on_link);
    line.maybe("expires", route.expires);
    line.metrics(route);
    line.maybe("realms", route.realms.as_ref());
    line.maybe("pref", route.preference.map(|preference| name(RoutePreference::WORDS, preference)));
    line.maybe("ttl-propagate", route.ttl_propagate.map(|on| if on { "enabled" } else { "disabled" }));
    line.flag("no_track", route.no_track);
    line.maybe("track_group", route.track_group.as_ref());
    // Some options of the route are also words of its encapsulation: those of the route come first.
    line.encapsulation(route.encapsulation.as_ref());
    for hop in &route.next_hops {
        line.next_hop(hop, Family::of(route.destination.address));
    }
    line.0
}

/// The words of a rule line.
pub(super) fn rule(rule: &Rule) -> Vec<String> {
    let mut line = Words::default();
    line.flag("not", rule.inverted);
    match (rule.from, rule.family) {
        (Some(from), _) => line.value("from", from),
        (None, Family::Inet) => line.value("from", "all"),
        // Says the family too.
        (None, Family::Inet6) => line.value("from", "::/0"),
    }
    match rule.to {
        Some(to) => line.value("to", to),
        None => line.value("to", "all"),
    }
    line.value("preference", rule.preference);
    line.maybe("tos", rule.tos.as_ref());
    line.maybe("fwmark", rule.mark.map(|mark| format!("{:#x}/{:#x}", mark.value, mark.mask)));
    line.maybe("realms", rule.realms.as_ref());
    line.maybe("suppress_prefixlength", rule.suppress_prefix_length);
    line.maybe("suppress_ifgroup", rule.suppress_group.as_ref());
    line.maybe("iif", rule.input.as_ref());
    line.maybe("oif", rule.output.as_ref());
    line.maybe("tunnel-id", rule.tunnel_id);
    line.maybe("uidrange", rule.uids.as_ref().map(|uids| format!("{}-{}", uids.start(), uids.end())));
    line.value("protocol", &rule.protocol);
    line.maybe("ipproto", rule.ip_protocol.as_ref());
    let ports = |ports: &std::ops::RangeInclusive<u16>| format!("{}-{}", ports.start(), ports.end());
    line.maybe("sport", rule.source_ports.as_ref().map(ports));
    line.maybe("dport", rule.destination_ports.as_ref().map(ports));
    match &rule.action {
        RuleAction::Table(table) => line.value("table", table),
        RuleAction::Vrf => line.word("l3mdev"),
        RuleAction::Goto(target) => line.value("goto", target),
        RuleAction::Nop => line.word("nop"),
        RuleAction::Blackhole => line.word("blackhole"),
        RuleAction::Unreachable => line.word("unreachable"),
        RuleAction::Prohibit => line.word("prohibit"),
    }
    line.flag("no_track", rule.no_track);
    line.maybe("track_group", rule.track_group.as_ref());
    line.0
}

/// The line of static_routes that says it.
impl Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, &route(self))
    }
}

/// The line of static_rules that says it.
impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, &rule(self))
    }
}

fn line(f: &mut fmt::Formatter<'_>, words: &[String]) -> fmt::Result {
    for (at, one) in words.iter().enumerate() {
        if at > 0 {
            f.write_str(" ")?;
        }
        f.write_str(&word(one))?;
    }
    Ok(())
}

/// The word of a value.
fn name<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map(|(name, _)| *name).expect("every value has a word")
}

/// A line that grows.
#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn word(&mut self, word: impl Display) {
        self.0.push(word.to_string());
    }

    fn value(&mut self, option: &str, value: impl Display) {
        self.word(option);
        self.word(value);
    }

    fn maybe(&mut self, option: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(option, value);
        }
    }

    fn flag(&mut self, option: &str, on: bool) {
        if on {
            self.word(option);
        }
    }

    fn lockable<T>(&mut self, option: &str, value: Option<&Lockable<T>>, shown: impl Fn(&T) -> String) {
        let Some(Lockable { value, locked }) = value else { return };
        self.word(option);
        self.flag("lock", *locked);
        self.word(shown(value));
    }

    fn metrics(&mut self, route: &Route) {
        let metrics = &route.metrics;
        self.lockable("mtu", metrics.mtu.as_ref(), u32::to_string);
        self.lockable("advmss", metrics.advertised_mss.as_ref(), u32::to_string);
        self.lockable("reordering", metrics.reordering.as_ref(), u32::to_string);
        self.lockable("cwnd", metrics.congestion_window.as_ref(), u32::to_string);
        self.lockable("ssthresh", metrics.slow_start_threshold.as_ref(), u32::to_string);
        self.lockable("rtt", metrics.round_trip.as_ref(), time);
        self.lockable("rttvar", metrics.round_trip_variance.as_ref(), time);
        self.lockable("rto_min", metrics.shortest_timeout.as_ref(), time);
        self.lockable("congctl", metrics.congestion_control.as_ref(), String::clone);
        self.maybe("hoplimit", metrics.hop_limit);
        self.maybe("window", metrics.window);
        self.maybe("initcwnd", metrics.initial_congestion_window);
        self.maybe("initrwnd", metrics.initial_receive_window);
        self.maybe("features", metrics.ecn.then_some("ecn"));
        self.maybe("quickack", metrics.quick_ack.map(u8::from));
        self.maybe("fastopen_no_cookie", metrics.fast_open_no_cookie.map(u8::from));
    }

    /// A gateway of another family than the route's says so.
    fn via(&mut self, gateway: Option<IpAddr>, family: Family) {
        let Some(gateway) = gateway else { return };
        self.word("via");
        if Family::of(gateway) != family {
            self.word(Family::of(gateway));
        }
        self.word(gateway);
    }

    fn next_hop(&mut self, hop: &NextHop, family: Family) {
        self.word("nexthop");
        self.via(hop.gateway, family);
        self.maybe("dev", hop.device.as_ref());
        self.maybe("weight", hop.weight);
        self.flag("onlink", hop.on_link);
        self.maybe("realms", hop.realms.as_ref());
        self.encapsulation(hop.encapsulation.as_ref());
    }

    fn encapsulation(&mut self, encapsulation: Option<&Encapsulation>) {
        let Some(encapsulation) = encapsulation else { return };
        self.word("encap");
        match encapsulation {
            Encapsulation::Ip { id, destination, source, tos, ttl, flags } => {
                self.word("ip");
                self.maybe("id", *id);
                self.maybe("dst", *destination);
                self.maybe("src", *source);
                self.maybe("tos", *tos);
                self.maybe("ttl", *ttl);
                self.maybe("flags", *flags);
            }
            Encapsulation::Ip6 { id, destination, source, traffic_class, hop_limit, flags } => {
                self.word("ip6");
                self.maybe("id", *id);
                self.maybe("dst", *destination);
                self.maybe("src", *source);
                self.maybe("tc", *traffic_class);
                self.maybe("hoplimit", *hop_limit);
                self.maybe("flags", *flags);
            }
            Encapsulation::Mpls(labels) => {
                let labels: Vec<String> = labels.iter().map(u32::to_string).collect();
                self.value("mpls", labels.join("/"));
            }
            Encapsulation::Ila(locator) => {
                let groups: Vec<String> = locator.iter().map(|group| format!("{group:x}")).collect();
                self.value("ila", groups.join(":"));
            }
        }
    }
}

fn time(time: &RouteTime) -> String {
    match time {
        RouteTime::Time(time) => format!("{}s", seconds(*time)),
        RouteTime::Kernel(number) => number.to_string(),
    }
}
