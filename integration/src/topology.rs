//! Networks in which traffic really passes: hosts (namespaces) on bridges in a switch namespace.
//!
//! ```text
//! c --- front --- a, b --- back --- r1..rN      NAT
//! c, a, b, r1..rN, s all on front               DR, TUN
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::netns::Netns;

/// Name of the bridge all hosts of DR and TUN are on.
pub const FRONT: &str = "front";
/// Name of the bridge between directors and real servers of NAT.
pub const BACK: &str = "back";

/// A network card of a host.
#[derive(Clone, Debug)]
pub struct Nic {
    /// [`FRONT`] or [`BACK`].
    pub lan: &'static str,
    /// Name in the host.
    pub dev: String,
    /// `ADDRESS/LENGTH`, or empty for none.
    pub address: String,
}

/// A host that is to be made.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Name in the lab: `c`, `a`, `b`, `r1` …; at most 8 characters.
    pub name: String,
    /// Its cards.
    pub nics: Vec<Nic>,
}

/// A host with `eth0` on the front network.
pub fn host(name: &str, address: &str) -> HostSpec {
    HostSpec {
        name: name.to_owned(),
        nics: vec![Nic { lan: FRONT, dev: "eth0".to_owned(), address: address.to_owned() }],
    }
}

/// A host with `eth0` on `lan`.
pub fn host_on(name: &str, lan: &'static str, address: &str) -> HostSpec {
    HostSpec {
        name: name.to_owned(),
        nics: vec![Nic { lan, dev: "eth0".to_owned(), address: address.to_owned() }],
    }
}

impl HostSpec {
    /// Adds a card.
    #[must_use]
    pub fn nic(mut self, lan: &'static str, dev: &str, address: &str) -> Self {
        self.nics.push(Nic { lan, dev: dev.to_owned(), address: address.to_owned() });
        self
    }
}

/// How real servers get their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Direct routing.
    Dr,
    /// Network address translation.
    Nat,
    /// IP in IP.
    Tun,
}

impl Forwarding {
    /// The word of `lb_kind`.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Dr => "DR",
            Self::Nat => "NAT",
            Self::Tun => "TUN",
        }
    }
}

/// Hosts on bridges. Dropping it removes all of it, the daemons inside included.
#[derive(Debug)]
pub struct Lab {
    hosts: BTreeMap<String, Netns>,
    switch: Netns,
}

impl Lab {
    /// Makes the switch and the hosts, cards up, addresses set, forwarding on, no redirects, no reverse-path filter.
    ///
    /// # Errors
    /// When the kernel or iproute2 refuses.
    pub fn new(specs: &[HostSpec]) -> Result<Self> {
        let switch = Netns::new("sw")?;
        let mut hosts = BTreeMap::new();
        let mut wiring = String::new();
        for lan in [FRONT, BACK] {
            writeln!(wiring, "link add {lan} type bridge stp_state 0 mcast_snooping 0")?;
            writeln!(wiring, "link set {lan} up")?;
        }
        for spec in specs {
            let ns = Netns::new(&spec.name)?;
            ns.sysctl(&[
                ("ipv4/ip_forward", "1"),
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv4/conf/all/send_redirects", "0"),
                ("ipv4/conf/default/send_redirects", "0"),
                ("ipv4/icmp_ratelimit", "0"),
            ])?;
            for nic in &spec.nics {
                let (port, dev) = (port(&spec.name, &nic.dev), &nic.dev);
                writeln!(wiring, "link add name {port} type veth peer name {dev} netns {}", ns.name())?;
                writeln!(wiring, "link set {port} master {} up", nic.lan)?;
            }
            hosts.insert(spec.name.clone(), ns);
        }
        switch.ip(&wiring).context("wiring the switch")?;
        let lab = Self { hosts, switch };
        for spec in specs {
            let mut batch = String::new();
            for nic in &spec.nics {
                if !nic.address.is_empty() {
                    writeln!(batch, "address add {} dev {}", nic.address, nic.dev)?;
                }
                writeln!(batch, "link set {} up", nic.dev)?;
            }
            lab.host(&spec.name).ip(&batch)?;
        }
        Ok(lab)
    }

    /// The host's namespace.
    ///
    /// # Panics
    /// When the lab has no such host: a mistake of the scenario.
    pub fn host(&self, name: &str) -> &Netns {
        self.hosts.get(name).unwrap_or_else(|| panic!("the lab has no host {name}"))
    }

    /// The switch's namespace.
    pub fn switch(&self) -> &Netns {
        &self.switch
    }

    /// Pulls (`false`) or plugs (`true`) the cable of a card, on the switch's side.
    ///
    /// # Errors
    /// When there is no such card.
    pub fn cable(&self, host: &str, dev: &str, plugged: bool) -> Result<()> {
        self.switch.ip(&format!("link set {} {}", port(host, dev), if plugged { "up" } else { "down" }))
    }

    /// Keeps a card from all others that are isolated too (`true`), its carrier on: two hosts that do not hear each other.
    ///
    /// # Errors
    /// When there is no such card.
    pub fn isolate(&self, host: &str, dev: &str, apart: bool) -> Result<()> {
        let word = if apart { "on" } else { "off" };
        self.switch.ip(&format!("link set {} type bridge_slave isolated {word}", port(host, dev)))
    }

    /// Makes a host take packets for `vip` without answering ARP for it: a real server of DR or TUN.
    ///
    /// # Errors
    /// When the kernel refuses (TUN: no `ipip`).
    pub fn accept_vip(&self, host: &str, vip: &str, forwarding: Forwarding) -> Result<()> {
        let ns = self.host(host);
        ns.sysctl(&[("ipv4/conf/all/arp_ignore", "1"), ("ipv4/conf/all/arp_announce", "2")])?;
        match forwarding {
            Forwarding::Nat => Ok(()),
            Forwarding::Dr => ns.ip(&format!("address add {vip}/32 dev lo")),
            Forwarding::Tun => {
                ns.ip(&format!("link set tunl0 up\naddress add {vip}/32 dev tunl0\n"))?;
                ns.sysctl(&[("ipv4/conf/tunl0/rp_filter", "0"), ("ipv4/conf/eth0/rp_filter", "0")])
            }
        }
    }

    /// Sets a host's default route.
    ///
    /// # Errors
    /// When the gateway is not reachable.
    pub fn default_route(&self, host: &str, via: &str) -> Result<()> {
        self.host(host).ip(&format!("route replace default via {via}"))
    }
}

fn port(host: &str, dev: &str) -> String {
    format!("{host}-{dev}")
}
