//! The typed configuration: what a whole file means, with nothing left to inherit or to check.
//!
//! Here: blocks that join the leaves' types. Not here: where in the files a value stood (`spans`),
//! keywords (`keyword`), and what a leaf crate can say alone (`lbd_ipvs`, `lbd_vrrp`, `lbd_health`).

mod global;
mod network;
mod own_link;
mod track;
mod virtual_server;
mod vrrp;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_health::ScriptId;
use lbd_vrrp::{Gaps, GarpIntervals, InstanceConfig, SharedGap};
use own_link::OwnLinks;

pub use global::*;
pub use network::*;
pub use own_link::{OwnLink, OwnLinkKind, virtual_mac};
pub use track::*;
pub use virtual_server::*;
pub use vrrp::*;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Keywords of the top level.
    pub process: Process,
    /// global_defs
    pub global: Global,
    /// Every program that the configuration names, by the id under which the rest refers to it.
    pub scripts: IndexMap<ScriptId, Script>,
    /// vrrp_script by name: those that are tracked.
    pub vrrp_scripts: IndexMap<Arc<str>, VrrpScript>,
    /// vrrp_track_process by name.
    pub track_processes: IndexMap<Arc<str>, TrackProcess>,
    /// track_file by name.
    pub track_files: IndexMap<Arc<str>, TrackFile>,
    /// bfd_instance by name.
    pub bfd_instances: IndexMap<Arc<str>, BfdInstance>,
    /// linkbeat_interfaces, in file order.
    pub linkbeat_interfaces: Vec<LinkbeatInterface>,
    /// interface_up_down_delays, in file order.
    pub link_delays: Vec<LinkDelay>,
    /// track_group by name: the instances.
    pub track_groups: IndexMap<Arc<str>, Vec<Arc<str>>>,
    /// static_ipaddress, in file order.
    pub static_addresses: Vec<StaticAddress>,
    /// static_routes, in file order.
    pub static_routes: Vec<Route>,
    /// static_rules, in file order.
    pub static_rules: Vec<Rule>,
    /// vrrp_sync_group by name.
    pub sync_groups: IndexMap<Arc<str>, SyncGroup>,
    /// garp_group, in file order.
    pub garp_groups: Vec<GarpGroup>,
    /// vrrp_instance, in file order.
    pub vrrp_instances: Vec<VrrpInstance>,
    /// SSL
    pub tls: Option<ClientTls>,
    /// virtual_server_group by name: its services, never none.
    pub virtual_server_groups: IndexMap<Arc<str>, Vec<GroupMember>>,
    /// virtual_server, in file order; ids are unique. Shared, not copied, with who runs them.
    pub virtual_servers: Vec<Arc<VirtualServer>>,
}

/// A user, and maybe a group, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptUser {
    /// User name.
    pub user: String,
    /// Group name; the user's own group by default.
    pub group: Option<String>,
    /// A colon before the group, or alone: with the supplementary groups of the user.
    pub supplementary: bool,
}

impl ScriptUser {
    /// A user, and the word of its group as written.
    pub fn new(user: &str, group: Option<&str>) -> Self {
        let supplementary = group.is_some_and(|group| group.starts_with(':'));
        let group = group.map(|group| group.strip_prefix(':').unwrap_or(group));
        let group = group.filter(|group| !group.is_empty()).map(str::to_owned);
        Self { user: user.to_owned(), group, supplementary }
    }

    /// The words as written.
    pub fn words(&self) -> impl Iterator<Item = String> + '_ {
        let colon = if self.supplementary { ":" } else { "" };
        let group = format!("{colon}{}", self.group.as_deref().unwrap_or_default());
        std::iter::once(self.user.clone()).chain(Some(group).filter(|group| !group.is_empty()))
    }
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    /// Program and arguments as written, never empty.
    pub argv: Vec<String>,
    /// Its user: its own, else script_user at that place of the file; `None` asks for
    /// `keepalived_script` if that user exists, else root.
    pub user: Option<ScriptUser>,
}

impl Script {
    /// The id of this program: equal programs have equal ids.
    pub fn id(&self) -> ScriptId {
        let mut text = self.argv.join("\0");
        if let Some(user) = &self.user {
            text.push('\0');
            for word in user.words() {
                text.push('\0');
                text.push_str(&word);
            }
        }
        ScriptId(text.into())
    }
}

impl Config {
    /// What the VRRP engine runs. Its startup delay is vrrp_startup_delay alone: what
    /// vrrp_delay_after_boot adds depends on how long the host is up.
    pub fn vrrp_setup(&self) -> lbd_vrrp::Setup {
        let vrrp = &self.global.vrrp;
        let OwnLinks { links, routers } = OwnLinks::of(self);
        lbd_vrrp::Setup {
            instances: routers,
            groups: self.sync_groups.iter().map(|(name, group)| group.for_engine(name)).collect(),
            garp_intervals: self.garp_intervals(&links),
            startup_delay: vrrp.startup_delay,
            log_unknown_vrids: vrrp.log_unknown_vrids,
        }
    }

    /// Of its own a virtual router's interface has no gap: it shares that of the interface below.
    fn garp_intervals(&self, links: &[OwnLink]) -> GarpIntervals {
        let vrrp = &self.global.vrrp;
        let otherwise = Gaps { arp: vrrp.garp_interval, neighbour: vrrp.neighbour_interval };
        let mut by_interface: BTreeMap<String, SharedGap> =
            self.garp_groups.iter().flat_map(GarpGroup::intervals).collect();
        for OwnLink { name, parent, .. } in links {
            let below = by_interface.get(parent).cloned();
            let shared = below.unwrap_or_else(|| SharedGap { lane: parent.clone(), gaps: otherwise });
            by_interface.insert(name.clone(), shared);
        }
        GarpIntervals { by_interface, otherwise }
    }

    /// Interfaces that virtual routers have of their own, in file order.
    pub fn own_links(&self) -> Vec<OwnLink> {
        OwnLinks::of(self).links
    }

    /// Virtual routers on the interfaces that the file names: with the interfaces of static entries whose track_group they are
    /// in.
    fn routers(&self) -> Vec<InstanceConfig> {
        let devices = self.static_devices();
        let router = |instance: &VrrpInstance| {
            let mut router = instance.for_engine();
            for device in devices.get(&*router.name).into_iter().flatten() {
                let own = router.track_primary && router.interface.as_deref() == Some(*device);
                if !own {
                    track_plainly(&mut router, device);
                }
            }
            router
        };
        self.vrrp_instances.iter().map(router).collect()
    }

    /// Interfaces of the static entries that name a track_group, by its instances.
    fn static_devices(&self) -> HashMap<&str, Vec<&str>> {
        let addresses = self
            .static_addresses
            .iter()
            .map(|address| (address.track_group.as_ref(), address.address.device.as_deref()));
        let routes =
            self.static_routes.iter().map(|route| (route.track_group.as_ref(), route.device.as_deref()));
        let rules = self.static_rules.iter().map(|rule| (rule.track_group.as_ref(), rule.input.as_deref()));
        let mut seen: HashSet<(&str, &str)> = HashSet::new();
        let mut devices: HashMap<&str, Vec<&str>> = HashMap::new();
        for (group, device) in addresses.chain(routes).chain(rules) {
            let (Some(group), Some(device)) = (group, device) else { continue };
            if !seen.insert((group, device)) {
                continue;
            }
            for member in self.track_groups.get(group).into_iter().flatten() {
                devices.entry(member).or_default().push(device);
            }
        }
        devices
    }

    /// Interfaces that the configuration names, each once, in order of appearance.
    pub fn interfaces(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let mut add = |name| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        for instance in &self.vrrp_instances {
            let router = &instance.router;
            let devices = router
                .addresses
                .iter()
                .chain(&router.excluded_addresses)
                .filter_map(|vip| vip.device.as_deref());
            let tracked = router.track_interfaces.iter().map(|(name, _)| name.as_str());
            for name in router.interface.as_deref().into_iter().chain(devices).chain(tracked) {
                add(name);
            }
            instance.routes.iter().flat_map(Route::interfaces).for_each(&mut add);
        }
        let of_groups = self.sync_groups.values().flat_map(|group| &group.track_interfaces);
        let polled = self.linkbeat_interfaces.iter().map(|link| &link.interface);
        let delayed = self.link_delays.iter().map(|link| &link.interface);
        for name in of_groups.map(|(name, _)| name).chain(polled).chain(delayed) {
            add(name.as_str());
        }
        self.static_addresses.iter().filter_map(|one| one.address.device.as_deref()).for_each(&mut add);
        self.static_routes.iter().flat_map(Route::interfaces).for_each(&mut add);
        names
    }

    /// Takes virtual servers and checks from `running` where they are the same in both: what goes on is held
    /// once, and that it is the same is seen without reading it.
    pub fn share(&mut self, running: &Config) {
        let known: HashMap<&VirtualServerId, &Arc<VirtualServer>> =
            running.virtual_servers.iter().map(|server| (&server.id, server)).collect();
        for server in &mut self.virtual_servers {
            let Some(known) = known.get(&server.id) else { continue };
            if *known == server {
                *server = Arc::clone(known);
            } else if let Some(changed) = Arc::get_mut(server) {
                changed.share(known);
            }
        }
    }

    /// Every virtual IP address of the configuration.
    pub fn virtual_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vrrp_instances
            .iter()
            .flat_map(|instance| instance.router.addresses.iter().chain(&instance.router.excluded_addresses))
            .map(|vip| vip.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is on an interface decides, not a weight.
    #[test]
    fn interfaces_with_something_on_them_are_tracked_without_weight() {
        let text = |more: &str, lines: &str| {
            format!(
                "track_group T {{\n group {{\n  V\n }}\n}}\n{more}\nvrrp_instance V {{\n interface eth0\n \
                 virtual_router_id 1\n virtual_ipaddress {{\n  10.0.0.9\n }}\n track_interface {{\n  eth1 weight 5\n  \
                 eth2 weight 7 reverse\n }}\n{lines}\n}}\n"
            )
        };
        let both = vec![("eth1", 5, false), ("eth2", 7, true)];
        for (name, more, lines, want) in [
            ("nothing", "", "", both.clone()),
            ("a route", "", "virtual_routes {\n10.8.0.0/16 dev eth1\n}", vec![("eth1", 0, false), both[1]]),
            (
                "one that is not tracked",
                "",
                "virtual_routes {\n10.8.0.0/16 dev eth1 no_track\n}",
                both.clone(),
            ),
            (
                "a route on another",
                "",
                "virtual_routes {\n10.8.0.0/16 dev eth3\n}",
                vec![both[0], both[1], ("eth3", 0, false)],
            ),
            (
                "a rule",
                "",
                "virtual_rules {\nfrom 10.8.0.0/16 iif eth2 table 7 priority 9\n}",
                vec![both[0], ("eth2", 0, false)],
            ),
            (
                "an address",
                "",
                "virtual_ipaddress_excluded {\n10.0.1.9 dev eth1\n}",
                vec![("eth1", 0, false), both[1]],
            ),
            (
                "one that is not tracked",
                "",
                "virtual_ipaddress_excluded {\n10.0.1.9 dev eth1 no_track\n}",
                both.clone(),
            ),
            (
                "a static entry of the group",
                "static_routes {\n10.8.0.0/16 dev eth2 track_group T\n}",
                "",
                vec![both[0], ("eth2", 0, false)],
            ),
            ("another static entry", "static_routes {\n10.8.0.0/16 dev eth2\n}", "", both.clone()),
        ] {
            let config = crate::load_str("c", &text(more, lines)).config.expect(name);
            let setup = config.vrrp_setup();
            let tracked = setup.instances[0].track_interfaces.iter();
            let tracked: Vec<_> =
                tracked.map(|(name, weight)| (name.as_str(), weight.value, weight.reverse)).collect();
            assert_eq!(tracked, want, "{name}");
        }
    }

    #[test]
    fn what_did_not_change_is_shared() {
        let text = |weight: u32, port: u16| {
            let server = |vip: u8, weight: u32, port: u16| {
                format!(
                    "virtual_server 10.0.0.{vip} 80 {{\nlb_algo rr\nlb_kind NAT\nreal_server 10.1.0.1 80 {{\nweight {weight}\nTCP_CHECK {{\n}}\n}}\n\
                     real_server 10.1.0.2 80 {{\nTCP_CHECK {{\nconnect_port {port}\n}}\n}}\n}}\n"
                )
            };
            server(1, 1, 80) + &server(2, weight, port)
        };
        let load = |weight, port| crate::load_str("c", &text(weight, port)).config.expect("a configuration");
        let running = load(1, 80);
        let mut next = load(2, 81);
        let same = load(2, 81);
        next.share(&running);
        assert!(next == same, "nothing else changes");
        let [before, after] = [&running, &next].map(|config| &config.virtual_servers);
        assert!(Arc::ptr_eq(&before[0], &after[0]));
        assert!(!Arc::ptr_eq(&before[1], &after[1]));
        let check =
            |servers: &[Arc<VirtualServer>], real: usize| servers[1].real_servers[real].checks[0].clone();
        assert!(Arc::ptr_eq(&check(before, 0), &check(after, 0)), "its weight alone changed");
        assert!(!Arc::ptr_eq(&check(before, 1), &check(after, 1)));
        next.share(&Config::default());
        assert!(next == same);
    }
}
