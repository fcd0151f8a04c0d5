//! A daemon's virtual routers: the peers at the other end of its links, and what it leaves in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use super::action::Action;
use super::file;
use super::lines;
use super::network::Network;
use super::peer::Peer;
use super::record::Part;
use super::world::Surroundings;
use crate::netns::Netns;

/// Settings of an interface that a daemon may change.
const SETTINGS: [&str; 6] = [
    "ipv4/conf/IF/accept_local",
    "ipv4/conf/IF/arp_filter",
    "ipv4/conf/IF/arp_ignore",
    "ipv4/conf/IF/promote_secondaries",
    "ipv4/conf/IF/rp_filter",
    "ipv6/conf/IF/disable_ipv6",
];

/// Peers, and what is seen of the kernel.
pub struct Routers<'w> {
    ns: &'w Netns,
    beyond: &'w Netns,
    peers: BTreeMap<String, Peer>,
    changes: Changes,
    /// Links that were cut or joined, and whether they are to come up: the kernel tells so up to a second later.
    turning: Vec<(String, bool)>,
    /// Links that were there before the daemon.
    links: BTreeSet<String>,
    /// [`SETTINGS`] before the daemon.
    settings: BTreeMap<String, String>,
}

impl<'w> Routers<'w> {
    /// Makes the file's peers, silent at first.
    ///
    /// # Errors
    /// When the kernel refuses a socket.
    pub fn new(network: &'w Network, file: &file::File) -> Result<Self> {
        let peers = file
            .peers
            .iter()
            .map(|peer| Ok((peer.name.clone(), Peer::start(&network.beyond, peer)?)))
            .collect::<Result<_>>()?;
        let ns = &network.director;
        Ok(Self {
            ns,
            beyond: &network.beyond,
            peers,
            changes: Changes::new(ns)?,
            turning: Vec::new(),
            links: ns.ip_show(&["-o", "link"])?.lines().filter_map(lines::name).collect(),
            settings: settings(ns)?,
        })
    }

    fn peer(&self, name: &str) -> Result<&Peer> {
        self.peers.get(name).with_context(|| format!("no peer {name}"))
    }

    fn turn(&mut self, link: &str, up: bool) -> Result<()> {
        self.turning.push((link.to_owned(), up));
        self.beyond.ip(&format!("link set {link} {}", if up { "up" } else { "down" }))
    }

    /// Whether the kernel has told of all links that were cut or joined.
    fn turned(&mut self) -> Result<bool> {
        if !self.turning.is_empty() {
            let links = self.ns.ip_show(&["-o", "link"])?;
            let dead = |link: &str| {
                links
                    .lines()
                    .any(|line| lines::name(line).as_deref() == Some(link) && line.contains("NO-CARRIER"))
            };
            self.turning.retain(|(link, up)| *up == dead(link));
        }
        Ok(self.turning.is_empty())
    }

    /// What a part is made of: what `ip` prints, line by line.
    fn show(&self, words: &[&str], line: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
        Ok(self.ns.ip_show(words)?.lines().filter_map(line).collect())
    }

    /// Settings that are not as they were, and those of new interfaces that are not as new ones are.
    fn changed(&self) -> Result<Vec<String>> {
        let before = |key: &str| {
            let parts: Vec<&str> = key.split('/').collect();
            let new = match parts.as_slice() {
                [family, conf, _, name] => format!("{family}/{conf}/default/{name}"),
                _ => String::new(),
            };
            self.settings.get(key).or_else(|| self.settings.get(&new)).cloned()
        };
        Ok(settings(self.ns)?
            .into_iter()
            .filter(|(key, value)| before(key).as_ref() != Some(value))
            .map(|(key, value)| format!("{key} {value}"))
            .collect())
    }
}

impl Surroundings for Routers<'_> {
    fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Advert(name, priority) => self.peer(name)?.advertise(*priority),
            Action::Silent(name) => {
                self.peer(name)?.silence();
                Ok(())
            }
            Action::Cut(link) => self.turn(link, false),
            Action::Join(link) => self.turn(link, true),
            Action::Ip(command) => self.ns.ip(command),
            _ => bail!("{action:?} is not about virtual routers"),
        }
    }

    fn look(&mut self) -> Result<String> {
        if !self.turned()? {
            self.changes.seen += 1;
        }
        Ok(self.changes.count()?.to_string())
    }

    fn state(&mut self) -> Result<Vec<Part>> {
        let links = self.show(&["-details", "-o", "link"], |line| {
            let name = lines::name(line)?;
            (!self.links.contains(&name)).then(|| lines::link(line))
        })?;
        let addresses = self.show(&["-details", "-o", "address"], |line| Some(lines::address(line)))?;
        let routes = lines::whole(&self.ns.ip_show(&["-details", "route", "show", "table", "all"])?);
        let routes = routes.iter().filter_map(|route| lines::of_others(route));
        let mut rules = Vec::new();
        for family in ["-4", "-6"] {
            let of = |line: &str| lines::of_others(line).map(|line| format!("{family} {line}"));
            rules.extend(self.show(&[family, "-details", "rule"], of)?);
        }
        Ok(vec![
            Part::sorted("link", links),
            Part::sorted("address", addresses),
            Part::sorted("route", routes),
            Part::sorted("rule", rules),
            Part::sorted("setting", self.changed()?),
        ])
    }
}

fn settings(ns: &Netns) -> Result<BTreeMap<String, String>> {
    ns.run(|| {
        let mut all = BTreeMap::new();
        let root = Path::new("/proc/sys/net");
        for setting in SETTINGS {
            let Some((conf, name)) = setting.split_once("/IF/") else { continue };
            for entry in fs::read_dir(root.join(conf))? {
                let interface = entry?.file_name().to_string_lossy().into_owned();
                let key = format!("{conf}/{interface}/{name}");
                // Gone since: an interface is removed at this moment.
                if let Ok(value) = fs::read_to_string(root.join(&key)) {
                    all.insert(key, value.trim().to_owned());
                }
            }
        }
        Ok(all)
    })?
}

/// Tells that something has changed, without a look at all of it.
struct Changes {
    socket: OwnedFd,
    seen: u64,
}

impl Changes {
    fn new(ns: &Netns) -> Result<Self> {
        let socket = ns.run(|| {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            // Links, addresses, routes, rules of both families (rtnetlink(7), RTMGRP_*; rules of IPv6 are group 19).
            let groups = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
            Ok::<_, Errno>(socket)
        })?;
        Ok(Self { socket: socket.context("netlink socket")?, seen: 0 })
    }

    /// Grows with each change.
    fn count(&mut self) -> Result<u64> {
        let mut message = [0; 4096];
        loop {
            match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                // More changes than the socket holds are a change.
                Ok(_) | Err(Errno::ENOBUFS) => self.seen += 1,
                Err(Errno::EAGAIN) => return Ok(self.seen),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("netlink socket"),
            }
        }
    }
}
