//! The packet filter: what no_accept, strict mode and interfaces of virtual routers' own need, as one text for `nft`.
//!
//! Here: the text, a function of the configuration. The rules stand as long as lbd runs, whoever is master: a
//! Backup does not have the addresses that they are about. Not here: running `nft`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is to be filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// The table, of `ip` and of `ip6`.
    pub table: String,
    /// nftables_priority
    pub priority: i32,
    /// nftables_counters
    pub counters: bool,
    /// Virtual addresses with their interfaces, of routers that do not accept traffic to them (no_accept).
    pub closed: BTreeSet<(IpAddr, String)>,
    /// Interfaces of virtual routers' own with a hardware address of their own.
    pub own: BTreeSet<String>,
    /// Virtual link-local addresses on those.
    pub own_link_local: BTreeSet<Ipv6Addr>,
}

impl Firewall {
    /// Whether there is anything to filter.
    pub fn is_needed(&self) -> bool {
        !(self.closed.is_empty() && self.own.is_empty())
    }

    /// Replaces what is there, in one transaction.
    pub fn text(&self) -> String {
        let mut text = removal(&self.table);
        self.ip(&mut text);
        self.ip6(&mut text);
        text
    }

    fn ip(&self, text: &mut String) {
        // One may be on several interfaces.
        let closed: BTreeSet<Ipv4Addr> = self.closed.iter().filter_map(|(ip, _)| four(*ip)).collect();
        let mut table = Table::new("ip", self);
        if !closed.is_empty() {
            table.set("vips", "ipv4_addr", closed.iter().map(ToString::to_string));
            table.input("ip daddr @vips", "drop");
            table.output("ip saddr @vips", "drop");
        }
        if !self.own.is_empty() {
            // Their parents have joined the groups: switches must not learn the virtual hardware address here.
            table.output("oifname @own ip protocol igmp", "drop");
        }
        table.finish(text);
    }

    fn ip6(&self, text: &mut String) {
        let six = |(ip, device): &(IpAddr, String)| match ip {
            IpAddr::V6(ip) => Some((*ip, device.clone())),
            IpAddr::V4(_) => None,
        };
        let (near, far): (Vec<_>, Vec<_>) =
            self.closed.iter().filter_map(six).partition(|(ip, _)| ip.is_unicast_link_local());
        let mut table = Table::new("ip6", self);
        if !(near.is_empty() && far.is_empty()) {
            let neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }";
            table.input(neighbours, "accept");
        }
        if !far.is_empty() {
            let far: BTreeSet<Ipv6Addr> = far.iter().map(|(ip, _)| *ip).collect();
            table.set("vips", "ipv6_addr", far.iter().map(ToString::to_string));
            table.input("ip6 daddr @vips", "drop");
        }
        if !near.is_empty() {
            let elements = near.iter().map(|(ip, device)| format!("{ip} . \"{device}\""));
            table.set("vips_link_local", "ipv6_addr . ifname", elements);
            table.input("ip6 daddr . iifname @vips_link_local", "drop");
        }
        if !self.own.is_empty() {
            let reports = "{ mld-listener-report, mld-listener-done, mld2-listener-report }";
            table.output(&format!("oifname @own icmpv6 type {reports}"), "drop");
            // The target stands behind the first 8 octets (RFC 4861 §4.4). An own interface may have its parent's
            // link-local address, which hosts must not look for at the virtual hardware address.
            let advert = "oifname @own icmpv6 type nd-neighbor-advert @th,64";
            for address in &self.own_link_local {
                table.output(&format!("{advert},128 0x{:032x}", u128::from(*address)), "accept");
            }
            table.output(&format!("{advert},10 0x3fa"), "drop");
        }
        if !(near.is_empty() && far.is_empty()) {
            let neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }";
            table.output(neighbours, "accept");
        }
        if !far.is_empty() {
            table.output("ip6 saddr @vips", "drop");
        }
        if !near.is_empty() {
            table.output("ip6 saddr . oifname @vips_link_local", "drop");
        }
        table.finish(text);
    }
}

/// Removes the tables, whether they are there or not.
pub(super) fn removal(table: &str) -> String {
    ["ip", "ip6"].map(|family| format!("table {family} {table}\ndelete table {family} {table}\n")).concat()
}

fn four(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// A table being written.
struct Table<'a> {
    family: &'static str,
    of: &'a Firewall,
    sets: String,
    input: String,
    output: String,
}

impl<'a> Table<'a> {
    fn new(family: &'static str, of: &'a Firewall) -> Self {
        let mut table =
            Table { family, of, sets: String::new(), input: String::new(), output: String::new() };
        if !of.own.is_empty() {
            table.set("own", "ifname", of.own.iter().map(|name| format!("\"{name}\"")));
        }
        table
    }

    fn set(&mut self, name: &str, kind: &str, elements: impl Iterator<Item = String>) {
        let elements: Vec<String> = elements.collect();
        let _infallible = writeln!(
            self.sets,
            "  set {name} {{\n    type {kind}\n    elements = {{ {} }}\n  }}",
            elements.join(", ")
        );
    }

    fn input(&mut self, matching: &str, verdict: &str) {
        self.input.push_str(&self.rule(matching, verdict));
    }

    fn output(&mut self, matching: &str, verdict: &str) {
        self.output.push_str(&self.rule(matching, verdict));
    }

    fn rule(&self, matching: &str, verdict: &str) -> String {
        let counter = if self.of.counters { " counter" } else { "" };
        format!("    {matching}{counter} {verdict}\n")
    }

    fn finish(self, text: &mut String) {
        let Table { family, of, sets, input, output } = self;
        let Firewall { table, priority, .. } = of;
        let _infallible = write!(
            text,
            "table {family} {table} {{\n{sets}  chain in {{\n    type filter hook input priority {priority}; policy \
             accept;\n{input}  }}\n  chain out {{\n    type filter hook output priority {priority}; policy \
             accept;\n{output}  }}\n}}\n"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::nft;
    use super::*;

    fn everything() -> Firewall {
        let closed = [("10.0.0.1", "eth0"), ("2001:db8::1", "eth0"), ("fe80::1", "vrrp6.5")];
        Firewall {
            table: "keepalived".into(),
            priority: -1,
            counters: true,
            closed: closed.map(|(ip, device)| (ip.parse().expect("address"), device.to_owned())).into(),
            own: ["vrrp.5".to_owned(), "vrrp6.5".to_owned()].into(),
            own_link_local: ["fe80::1".parse().expect("address")].into(),
        }
    }

    #[test]
    fn the_text_of_everything() {
        insta::assert_snapshot!(everything().text());
    }

    /// In a network namespace of its own, if the host has `nft` and its families.
    #[test]
    fn nft_takes_every_text() {
        if !nix::unistd::Uid::effective().is_root() || !std::path::Path::new("/usr/sbin/nft").exists() {
            let reason = "needs root and Debian's nftables";
            return lbd_integration::skip::report(
                "router::host::firewall::tests::nft_takes_every_text",
                reason,
            );
        }
        let all = everything();
        let closed_only = Firewall { own: BTreeSet::new(), own_link_local: BTreeSet::new(), ..all.clone() };
        let own_only = Firewall { closed: BTreeSet::new(), counters: false, ..all.clone() };
        let nft = |text: &str| nft::run("nft".as_ref(), text, nft::LIMIT);
        let inside = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
            for one in [all.clone(), closed_only, own_only, all] {
                assert!(one.is_needed());
                nft(&one.text()).expect("taken");
            }
            nft(&removal("keepalived")).expect("removed");
            nft(&removal("keepalived")).expect("though it is not there");
            nft("list table ip keepalived\n").expect_err("removed");
        });
        inside.join().expect("inside");
    }
}
