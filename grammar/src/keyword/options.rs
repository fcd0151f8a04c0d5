//! What the options of route and rule lines are called.
//!
//! Here: the words, for documentation and for did-you-mean. Not here: what they do (`route`, `rule`).

use super::{Keyword, WhenAbsent, line};

const fn route(name: &'static str, arguments: &'static str, help: &'static str) -> Keyword {
    Keyword::new(name, arguments, help)
}

const fn rule(name: &'static str, arguments: &'static str, help: &'static str) -> Keyword {
    Keyword::new(name, arguments, help)
}

const fn said(mut keyword: Keyword, default: &'static str) -> Keyword {
    keyword.default = WhenAbsent::Said(default);
    keyword
}

const NO_KERNEL: &str = "the route is left out";
const BYTE: &str = "0..=255";
const WORD: &str = "0..=4294967295";
const NAMED_BYTE: &str = "0..=255 or a name";
const NAMED_WORD: &str = "0..=4294967295 or a name";

/// Words of a route line.
pub(super) static ROUTE: &[Keyword] = &[
    route("unicast", "", "Type: packets are forwarded; the type of a route that names none."),
    route("local", "", "Type: packets are for this host."),
    route("broadcast", "", "Type: packets are for this host, as broadcasts of the link."),
    route("brd", "", "Short for the type broadcast."),
    route("anycast", "", "Type: packets are for this host among others."),
    route("multicast", "", "Type: a multicast group."),
    route("throw", "", "Type: as if this table had no route; the next rule is asked."),
    route("unreachable", "", "Type: packets are refused with host unreachable."),
    route("prohibit", "", "Type: packets are refused with administratively prohibited."),
    route("blackhole", "", "Type: packets vanish."),
    line::option("nat", "", "Type: address translation, which no kernel of today has.", NO_KERNEL),
    line::option("xresolve", "", "Type: an external resolver, which no kernel has.", NO_KERNEL),
    route("inet", "", "The route is of IPv4."),
    route("inet6", "", "The route is of IPv6."),
    route("to", "[TYPE] DEST", "The destination follows; the word may be left out.").like("", "198.51.100.0/24"),
    route("src", "ADDR", "Source address of the director's own packets on this route.").like("", "192.0.2.1"),
    route("from", "PREFIX", "Only packets of these sources take the route (IPv6).").like("", "2001:db8::/32"),
    route("via", "[inet|inet6] ADDR", "The gateway; after inet6 an IPv4 route may have one of IPv6.")
        .like("", "192.0.2.254"),
    route("gw", "[inet|inet6] ADDR", "Old name of via.").like("", "192.0.2.254"),
    line::option(
        "as",
        "[to] ADDR",
        "Label of an MPLS route; read and ignored, as in keepalived.",
        "such routes are not made: it has no effect",
    )
    .like("", "to 192.0.2.254"),
    route("dev", "IF", "The interface to send on.").like("1 to 15 characters", "eth0"),
    route("oif", "IF", "Same as dev.").like("1 to 15 characters", "eth0"),
    said(route("table", "T", "Routing table.").like(NAMED_WORD, "100"), "main"),
    route("vrf", "IF", "The table of this VRF interface.").like("1 to 15 characters", "blue"),
    said(
        route("protocol", "P", "Who made the route; only what is not tracked may have another than keepalived.")
            .like(NAMED_BYTE, "static"),
        "keepalived (18)",
    ),
    said(
        route("scope", "S", "How far away the destination is.").like(NAMED_BYTE, "link"),
        "the kernel's choice",
    ),
    route("tos", "V", "Only packets with this type of service take the route.").like(NAMED_BYTE, "0x10"),
    route("dsfield", "V", "Same as tos.").like(NAMED_BYTE, "0x10"),
    said(
        route("metric", "N", "Of equal routes the one with the lowest is taken.").like(WORD, "50"),
        "the kernel's choice",
    ),
    route("priority", "N", "Same as metric.").like(WORD, "50"),
    route("preference", "N", "Same as metric.").like(WORD, "50"),
    route("onlink", "", "The gateway is on the link, even if no route says so."),
    route(
        "encap",
        "ip|ip6|mpls|ila …",
        "Wraps packets: ip and ip6 take id, dst, src, tos or tc, ttl or hoplimit, and flags; mpls takes labels, ila a locator.",
    )
    .like("", "ip id 7 dst 192.0.2.9"),
    route("expires", "SECS", "The kernel drops the route after this time (IPv6).").like(WORD, "600"),
    route("mtu", "[lock] N", "Largest packet in octets; lock: no path MTU discovery.").like(WORD, "lock 1400"),
    route("advmss", "[lock] N", "Segment size that peers are offered.").like(WORD, "1360"),
    route("reordering", "[lock] N", "How much packets may change places on this path.").like(WORD, "3"),
    route("cwnd", "[lock] N", "Limit of the congestion window, in segments, with lock.").like(WORD, "lock 20"),
    route("ssthresh", "[lock] N", "First slow start threshold, in segments.").like(WORD, "100"),
    route("hoplimit", "N", "Hop limit of the director's own packets.").like(BYTE, "64"),
    route("window", "N", "Largest window that peers are offered, in octets.").like(WORD, "65535"),
    route("initcwnd", "N", "First congestion window, in segments.").like(WORD, "10"),
    route("initrwnd", "N", "First receive window, in segments.").like(WORD, "10"),
    route("rtt", "[lock] TIME", "First estimate of the round trip; without s or ms in 1/8 ms.")
        .like("a time in s or ms, or a number", "50ms"),
    route("rttvar", "[lock] TIME", "First estimate of its variance; without s or ms in 1/4 ms.")
        .like("a time in s or ms, or a number", "20ms"),
    route("rto_min", "[lock] TIME", "Shortest retransmission timeout; without s or ms in ms.")
        .like("a time in s or ms, or a number", "lock 300ms"),
    route("realms", "[SRC/]DST", "Realms, for classes and accounting (IPv4).").like("each 0..=255 or a name", "1/2"),
    route("features", "ecn", "Explicit congestion notification for connections over this route.").like("", "ecn"),
    route("quickack", "0|1", "Acknowledge at once.").like("0..=1", "1"),
    route("fastopen_no_cookie", "0|1", "TCP fast open without cookies.").like("0..=1", "1"),
    route("congctl", "[lock] NAME", "TCP congestion control; lock: programs cannot choose another.")
        .like("1 to 15 characters", "lock bbr"),
    route("pref", "low|medium|high", "Which of several routers is taken (IPv6, RFC 4191).").like("", "high"),
    route("ttl-propagate", "enabled|disabled", "Whether MPLS carries the hop count on.").like("", "enabled"),
    route("add", "", "Do not add it if there is an equal one; usual with a type."),
    route("prepend", "", "Add it before equal ones; usual without a type."),
    route("append", "", "Add it after equal ones."),
    route("or", "ADDR", "Old form of a second gateway: via A or B.").like("", "192.0.2.253"),
    route(
        "nexthop",
        "via [inet|inet6] ADDR|dev IF [weight N] [onlink] [encap …] [realms R] …",
        "One of several ways, with its share of the flows; stands last, once for each.",
    )
    .like("weight 1..=256", "via 192.0.2.253 dev eth0 weight 2"),
    route("no_track", "", "Loss of the route is no fault; it may have another protocol."),
    route("track_group", "NAME", "Of a static route: the instances of this track_group track its interface.")
    .like("", "G"),
];

/// Words of a rule line.
pub(super) static RULE: &[Keyword] = &[
    rule("inet", "", "The rule is for IPv4."),
    rule("inet6", "", "The rule is for IPv6."),
    said(rule("from", "PREFIX|all", "Packets of these sources.").like("", "192.0.2.0/24"), "all"),
    said(rule("to", "PREFIX|all", "Packets to these destinations.").like("", "198.51.100.0/24"), "all"),
    rule("not", "", "All packets but those that the rule describes."),
    said(
        rule("preference", "N", "Place of the rule: the lowest is asked first.").like(WORD, "100"),
        "from 16384 down, one for each rule without; say it",
    ),
    rule("order", "N", "Same as preference.").like(WORD, "100"),
    rule("priority", "N", "Same as preference.").like(WORD, "100"),
    rule("table", "T", "Action: look the destination up in this table.")
        .like("1..=4294967295 or a name", "100"),
    rule("lookup", "T", "Same as table.").like("1..=4294967295 or a name", "100"),
    rule("tos", "V", "Packets with this type of service.").like(NAMED_BYTE, "0x10"),
    rule("dsfield", "V", "Same as tos.").like(NAMED_BYTE, "0x10"),
    rule("fwmark", "N[/MASK]", "Packets with this mark; the mask says which of its bits count.")
        .like("each 0..=4294967295", "0x5/0xff"),
    rule("realms", "[SRC/]DST", "Realms for what the table gives (IPv4).")
        .like("each 0..=255 or a name", "1/2"),
    rule("suppress_prefixlength", "N", "Routes of the table with at most this prefix length do not count.")
        .like("0..=2147483647", "0"),
    rule("sup_pl", "N", "Short for suppress_prefixlength.").like("0..=2147483647", "0"),
    rule("suppress_ifgroup", "G", "Routes of the table with an interface of this group do not count.")
        .like(NAMED_WORD, "5"),
    rule("sup_group", "G", "Short for suppress_ifgroup.").like(NAMED_WORD, "5"),
    rule("dev", "IF", "Packets that came in there; lo for the director's own.")
        .like("1 to 15 characters", "eth0"),
    rule("iif", "IF", "Same as dev.").like("1 to 15 characters", "eth0"),
    rule("oif", "IF", "Packets of sockets that are bound to this interface.")
        .like("1 to 15 characters", "eth1"),
    rule("tunnel-id", "N", "Packets that came through this tunnel.").like(WORD, "7"),
    rule("uidrange", "A-B", "Packets of the processes of these users.")
        .like("each 0..=4294967295", "1000-1999"),
    rule("l3mdev", "", "Action: look the destination up in the table of the packet's VRF."),
    said(
        rule(
            "protocol",
            "P",
            "Who made the rule; only what is not tracked may have another than keepalived.",
        )
        .like(NAMED_BYTE, "static"),
        "keepalived (18)",
    ),
    rule("ipproto", "P", "Packets of this protocol.").like(NAMED_BYTE, "tcp"),
    rule("sport", "A-B", "Packets from these ports; one port is written A-A.")
        .like("each 1..=65535", "80-80"),
    rule("dport", "A-B", "Packets to these ports; one port is written A-A.").like("each 1..=65535", "80-443"),
    rule("goto", "N", "Action: go on with the rule of this preference, which is a higher one.")
        .like(WORD, "200"),
    rule("nop", "", "Action: go on with the next rule."),
    rule("blackhole", "", "Action: packets vanish."),
    rule("unreachable", "", "Action: packets are refused with network unreachable."),
    rule("prohibit", "", "Action: packets are refused with administratively prohibited."),
    rule("type", "ACTION", "May stand before nop, blackhole, unreachable and prohibit.")
        .like("", "blackhole"),
    rule("no_track", "", "Loss of the rule is no fault; it may have another protocol."),
    rule("track_group", "NAME", "Of a static rule: the instances of this track_group track its interface.")
        .like("", "G"),
];
