//! What virtual routers track: scripts, files, processes and links, told to the router.

use std::sync::Arc;

use lbd_grammar::config::{Config, LinkbeatInterface, VrrpScript};
use lbd_vrrp::{Setup, TrackerId, TrackerKind, TrackerResult};
use tokio::sync::watch;

use super::Daemon;
use super::synchronisation::AbortOnDrop;
use crate::router::{LinkSettings, Router};
use crate::track::processes::TrackedProcesses;
use crate::track::scripts::Tracker;

/// What is at work for the virtual routers. Dropping it ends it.
#[derive(Default)]
pub(super) struct Tracking {
    pub scripts: Option<Tracker>,
    processes: Option<TrackedProcesses>,
    /// One task a file.
    numbers: Vec<AbortOnDrop>,
}

impl Daemon {
    /// Tracks what `config` says. What is known of files and processes was told to the router when this returns;
    /// the files themselves are tracked already.
    pub(super) async fn track(&mut self, config: &Config) {
        let Some(router) = self.shared.parts().router.clone() else { return };
        let setup = self.setup(config);
        self.track_scripts(config, &router);
        self.track_numbers(&setup, &router);
        self.track_processes(config, &setup, &router).await;
        router.watch_links(link_settings(config, &setup));
    }

    /// Runs the scripts that a virtual router or a sync group tracks.
    fn track_scripts(&mut self, config: &Config, router: &Arc<Router>) {
        let scripts: Vec<(Arc<str>, VrrpScript)> =
            config.vrrp_scripts.iter().map(|(name, script)| (name.clone(), script.clone())).collect();
        match &mut self.tracking.scripts {
            Some(tracker) => tracker.reload(scripts),
            None => {
                let router = Arc::clone(router);
                self.tracking.scripts = Some(Tracker::start(
                    self.room.clone(),
                    scripts,
                    move |tracker, good| router.tracker(tracker, good),
                    self.events.clone(),
                ));
            }
        }
    }

    fn track_numbers(&mut self, setup: &Setup, router: &Arc<Router>) {
        use lbd_health::Files;
        let names = setup.tracked(TrackerKind::File).into_iter();
        let files = names.filter_map(|name| {
            let number = self.files.watch(&name)?;
            Some((TrackerId::file(name), number))
        });
        self.tracking.numbers = files
            .map(|(id, mut number)| {
                tell(&id, &mut number, router);
                AbortOnDrop::of(tokio::spawn(forward(id, number, Arc::clone(router))))
            })
            .collect();
    }

    async fn track_processes(&mut self, config: &Config, setup: &Setup, router: &Arc<Router>) {
        let wanted = setup.tracked(TrackerKind::Process);
        let tracked = config.track_processes.iter().filter(|(name, _)| wanted.contains(*name));
        let tracked = tracked.map(|(name, process)| (name.clone(), process.clone())).collect();
        let events = &self.events;
        let processes = self.tracking.processes.get_or_insert_with(|| {
            let router = Arc::clone(router);
            TrackedProcesses::new(move |id, result| router.tracker(id, result), events.clone())
        });
        processes.track(tracked, config.global.netlink.process_monitor).await;
    }
}

/// Tells each number of a file.
async fn forward(id: TrackerId, mut number: watch::Receiver<Option<i64>>, router: Arc<Router>) {
    while number.changed().await.is_ok() {
        tell(&id, &mut number, &router);
    }
}

fn tell(id: &TrackerId, number: &mut watch::Receiver<Option<i64>>, router: &Router) {
    if let Some(number) = *number.borrow_and_update() {
        router.tracker(id.clone(), TrackerResult::Number(number));
    }
}

/// Links that are watched beyond what the kernel tells: linkbeat_use_polling is about every interface that a
/// virtual router depends on.
fn link_settings(config: &Config, setup: &Setup) -> LinkSettings {
    let mut polled = config.linkbeat_interfaces.clone();
    if config.process.linkbeat_polling {
        let of_instances = setup.instances.iter().flat_map(|one| {
            let addresses = one.addresses.iter().chain(&one.excluded_addresses);
            let devices = addresses.filter_map(|address| address.device.as_ref());
            one.interface.iter().chain(devices).chain(one.track_interfaces.iter().map(|(name, _)| name))
        });
        let of_groups = setup.groups.iter().flat_map(|group| &group.track_interfaces).map(|(name, _)| name);
        for name in of_instances.chain(of_groups) {
            if !polled.iter().any(|known| known.interface == *name) {
                polled.push(LinkbeatInterface { interface: name.clone(), method: None });
            }
        }
    }
    let receive_buffer = config.global.netlink.of_host();
    LinkSettings { delays: config.link_delays.clone(), polled, receive_buffer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_polled() {
        let text = "linkbeat_interfaces {\n eth0 ETHTOOL\n eth5\n}\ninterface_up_down_delays {\n eth0 1 2\n}\n\
                    vrrp_instance V {\n interface eth0\n virtual_router_id 1\n priority 100\n advert_int 1\n\
                    virtual_ipaddress {\n 192.0.2.1 dev eth1\n}\ntrack_interface {\n eth2 weight 5\n}\n}\n";
        for (name, text, want) in [
            ("named ones", text.to_owned(), &["eth0", "eth5"][..]),
            ("all", format!("linkbeat_use_polling\n{text}"), &["eth0", "eth5", "eth1", "eth2"]),
            (
                "by the instance",
                text.replace("eth0 ETHTOOL\n", "").replace("priority", "linkbeat_use_polling\npriority"),
                &["eth5", "eth0"],
            ),
        ] {
            let config = lbd_grammar::load_str("c", &text).config.expect("a configuration");
            let settings = link_settings(&config, &config.vrrp_setup());
            let polled: Vec<&str> = settings.polled.iter().map(|one| one.interface.as_str()).collect();
            assert_eq!(polled, want, "{name}");
            assert_eq!(settings.delays.len(), 1, "{name}");
        }
    }

    /// The largest counts: there is one socket.
    #[test]
    fn the_receive_buffer_of_netlink() {
        for (keywords, want) in [
            ("", 65_536),
            ("vrrp_netlink_monitor_rcv_bufs 9000000", 9_000_000),
            ("vrrp_netlink_cmd_rcv_bufs 9000000\nlvs_netlink_monitor_rcv_bufs 9000001", 9_000_001),
            ("lvs_netlink_cmd_rcv_bufs 4294967295\nlvs_netlink_cmd_rcv_bufs_force", u32::MAX),
            ("process_monitor_rcv_bufs 9000000", 65_536),
        ] {
            let text = format!("global_defs {{\n{keywords}\n}}\n");
            let loaded = lbd_grammar::load_str("c", &text);
            assert!(loaded.diagnostics.is_empty(), "{keywords}: {:?}", loaded.diagnostics);
            let config = loaded.config.expect("a configuration");
            assert_eq!(link_settings(&config, &config.vrrp_setup()).receive_buffer, want, "{keywords}");
        }
    }
}
