//! Blocks of `config::vrrp` as text.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

use lbd_vrrp::{
    AntiReplay, Authentication, Delivery, Hmac, HmacKey, HmacMode, InstanceConfig, Priority, TrackerId,
    UnicastChecksum, Version, Weight,
};

use super::{Writer, network, seconds, track};
use crate::config::{
    Config, GarpGroup, Ipvlan, IpvlanMode, LinkMode, PreemptSync, SyncGroup, Vmac, VrrpInstance, VrrpNotify,
};

pub(super) fn write(writer: &mut Writer<'_>, config: &Config) {
    for group in &config.garp_groups {
        garp_group(writer, group);
    }
    for found in &config.vrrp_instances {
        writer.block("vrrp_instance", [&found.router.name], |writer| instance(writer, found));
    }
    for (name, members) in &config.track_groups {
        writer.block("track_group", [name], |writer| one_line(writer, members));
    }
    for (name, group) in &config.sync_groups {
        writer.block("vrrp_sync_group", [name], |writer| sync_group(writer, group));
    }
}

fn garp_group(writer: &mut Writer<'_>, group: &GarpGroup) {
    writer.block::<&str>("garp_group", [], |writer| {
        writer.maybe("garp_interval", group.garp_interval.map(seconds));
        writer.maybe("gna_interval", group.neighbour_interval.map(seconds));
        writer.lines("interfaces", group.interfaces.iter().map(|name| vec![name.clone()]));
    });
}

fn one_line(writer: &mut Writer<'_>, members: &[std::sync::Arc<str>]) {
    writer.lines("group", members.iter().map(|name| vec![name.to_string()]));
}

fn sync_group(writer: &mut Writer<'_>, group: &SyncGroup) {
    one_line(writer, &group.members);
    writer.flag("sync_group_tracking_weight", group.tracking_weight);
    writer.lines(
        "track_interface",
        group.track_interfaces.iter().map(|(name, weight)| track::line(name, *weight)),
    );
    trackers(writer, "track_script", &group.trackers);
    trackers(writer, "track_file", &group.track_files);
    trackers(writer, "track_process", &group.track_processes);
    trackers(writer, "track_bfd", &group.track_bfd);
    notify(writer, &group.notify);
    writer.switch("smtp_alert", group.mail);
}

fn trackers(writer: &mut Writer<'_>, keyword: &str, trackers: &[(TrackerId, Weight)]) {
    writer.lines(keyword, trackers.iter().map(|(id, weight)| track::line(&id.name, *weight)));
}

fn notify(writer: &mut Writer<'_>, notify: &VrrpNotify) {
    let VrrpNotify { master, backup, fault, stop, deleted, any, master_rx_lower_priority } = notify;
    writer.script("notify_master", master.as_ref());
    writer.script("notify_backup", backup.as_ref());
    writer.script("notify_fault", fault.as_ref());
    writer.script("notify_stop", stop.as_ref());
    writer.script("notify_deleted", deleted.as_ref());
    writer.script("notify", any.as_ref());
    writer.script("notify_master_rx_lower_pri", master_rx_lower_priority.as_ref());
}

fn instance(writer: &mut Writer<'_>, instance: &VrrpInstance) {
    let router = &instance.router;
    election(writer, router);
    writer.maybe("vrf", instance.vrf.as_ref());
    delivery(writer, router);
    link(writer, instance, matches!(router.delivery, Delivery::Unicast { .. }));
    authentication(writer, &router.authentication);
    writer.lines(
        "track_interface",
        router.track_interfaces.iter().map(|(name, weight)| track::line(name, *weight)),
    );
    trackers(writer, "track_script", &router.trackers);
    trackers(writer, "track_file", &router.track_files);
    trackers(writer, "track_process", &router.track_processes);
    trackers(writer, "track_bfd", &router.track_bfd);
    writer.lines("virtual_ipaddress", router.addresses.iter().map(network::address));
    writer.lines("virtual_ipaddress_excluded", router.excluded_addresses.iter().map(network::address));
    writer.flag("no_virtual_ipaddress", router.addresses.is_empty());
    writer.lines("virtual_routes", instance.routes.iter().map(network::route));
    writer.lines("virtual_rules", instance.rules.iter().map(network::rule));
    notify(writer, &instance.notify);
    // It switches the other thing on with or without a command.
    writer.flag("notify_deleted", instance.tells_deleted && instance.notify.deleted.is_none());
    writer.switch("notify_priority_changes", instance.tells_priority);
    writer.switch("smtp_alert", instance.mail);
    garp(writer, instance);
    preempt_sync(writer, &instance.preempt_sync);
}

fn election(writer: &mut Writer<'_>, router: &InstanceConfig) {
    let owner = router.priority == Priority::OWNER;
    // Only an owner that begins as BACKUP has a delay.
    writer.value("state", if owner && router.preempt_delay.is_zero() { "MASTER" } else { "BACKUP" });
    writer.maybe("interface", router.interface.as_ref());
    writer.value("virtual_router_id", router.vrid);
    writer.value("priority", router.priority);
    match router.family {
        lbd_vrrp::Family::V6 if router.version == Version::V3 => writer.flag("native_ipv6", true),
        _ => writer.value("version", router.version.number()),
    }
    writer.switch("strict_mode", router.strict);
    writer.seconds("advert_int", router.advert_interval);
    writer.value("down_timer_adverts", router.down_timer_adverts);
    writer.flag(if router.preempt { "preempt" } else { "nopreempt" }, true);
    writer.seconds("preempt_delay", router.preempt_delay);
    writer.maybe("timer_expired_backup", router.late_backup);
    // Off cannot be said.
    writer.flag("skip_check_adv_addr", router.skip_address_check);
    writer.switch("lower_prio_no_advert", router.lower_priority_no_advert);
    writer.switch("higher_prio_send_advert", router.higher_priority_send_advert);
    // An owner that does not ignore them says nothing: off would mean on.
    if !owner || router.owner_ignore_adverts {
        writer.switch("owner_ignore_adverts", router.owner_ignore_adverts);
    }
    writer.value("debug", router.debug);
    writer.flag(if router.accept { "accept" } else { "no_accept" }, true);
    writer.flag("dont_track_primary", !router.track_primary);
}

fn delivery(writer: &mut Writer<'_>, router: &InstanceConfig) {
    let source = match &router.delivery {
        Delivery::Multicast { group } => {
            // vrrp_mcast_group6 may be one that cannot be said here.
            let of_link = match group {
                IpAddr::V4(_) => true,
                IpAddr::V6(group) => group.segments().first().is_some_and(|first| first & 0xff0f == 0xff02),
            };
            writer.maybe("mcast_dst_ip", Some(group).filter(|_| of_link));
            "mcast_src_ip"
        }
        Delivery::Unicast { peers, ttl, check_source } => {
            writer.flag("unicast_fault_no_peer", peers.is_empty());
            if !peers.is_empty() {
                writer.maybe("unicast_ttl", *ttl);
            }
            writer.flag("check_unicast_src", *check_source);
            writer.lines(
                "unicast_peer",
                peers.iter().map(|peer| {
                    let mut words = vec![peer.address.to_string()];
                    let limits = [("min_ttl", peer.min_ttl, 0), ("max_ttl", peer.max_ttl, u8::MAX)];
                    for (option, ttl, default) in limits {
                        if ttl != default {
                            words.extend([option.to_owned(), ttl.to_string()]);
                        }
                    }
                    words
                }),
            );
            "unicast_src_ip"
        }
    };
    writer.maybe(source, router.source);
    writer.flag("track_src_ip", router.track_source);
    match (router.unicast_checksum, &router.delivery) {
        (UnicastChecksum::Old, Delivery::Unicast { .. }) => writer.flag("old_unicast_checksum", true),
        (UnicastChecksum::New, Delivery::Unicast { .. }) => writer.value("old_unicast_checksum", "never"),
        _ => {}
    }
    writer.switch("v3_checksum_as_v2", router.checksum_without_pseudo_header);
    writer.maybe("kernel_rx_buf_size", router.receive_buffer);
}

fn link(writer: &mut Writer<'_>, instance: &VrrpInstance, unicast: bool) {
    let named = |name: &Option<String>| {
        name.iter().flat_map(|name| ["name".to_owned(), name.clone()]).collect::<Vec<_>>()
    };
    let grouped = |group: &Option<String>| {
        group.iter().flat_map(|group| ["group".to_owned(), group.clone()]).collect::<Vec<_>>()
    };
    match &instance.link {
        LinkMode::Plain => {}
        LinkMode::Vmac(Vmac { name, mac, notify, group, advert_on_parent }) => {
            let mac = mac.map(|mac| mac.map(|octet| format!("{octet:02x}")).join(":"));
            let notify = notify.then(|| "netlink_notify_msg".to_owned());
            writer.line("use_vmac", named(name).into_iter().chain(mac).chain(notify).chain(grouped(group)));
            writer.flag("vmac_xmit_base", *advert_on_parent && !unicast);
        }
        LinkMode::Ipvlan(Ipvlan { name, address, mode, group }) => {
            let address = address.map(|(address, length)| format!("{address}/{length}"));
            let mode = match mode {
                IpvlanMode::Bridge => "bridge",
                IpvlanMode::Private => "private",
                IpvlanMode::Vepa => "vepa",
            };
            let words = named(name).into_iter().chain(address).chain([mode.to_owned()]);
            writer.line("use_ipvlan", words.chain(grouped(group)));
        }
    }
    writer.flag("use_vmac_addr", instance.vmac_addresses);
    writer.flag("promote_secondaries", instance.promote_secondaries);
}

fn authentication(writer: &mut Writer<'_>, authentication: &Authentication) {
    let (kind, password) = match authentication {
        Authentication::None => return,
        Authentication::Hmac(found) => return hmac(writer, found),
        Authentication::Pass(password) => ("PASS", password),
        Authentication::Ah(password) => ("AH", password),
    };
    // It is padded with zeros.
    let end = password.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    let (password, _) = crate::octets::text(password.get(..end).unwrap_or_default().to_vec());
    writer.block::<&str>("authentication", [], |writer| {
        writer.value("auth_type", kind);
        writer.secret("auth_pass", &[], &password);
    });
}

fn hmac(writer: &mut Writer<'_>, hmac: &Hmac) {
    writer.block::<&str>("auth_hmac", [], |writer| {
        for (id, key) in &hmac.keys {
            let id = id.to_string();
            match key {
                HmacKey::Text(octets) => {
                    writer.secret("key", &[&id], &crate::octets::text(octets.clone()).0);
                }
                HmacKey::Hex(octets) => {
                    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
                    writer.secret("key", &[&id], &format!("hex:{digits}"));
                }
                HmacKey::File(path) => {
                    let (path, _) = crate::octets::text(path.as_os_str().as_bytes().to_vec());
                    writer.line("key", [id, format!("file:{path}")]);
                }
            }
        }
        writer.value("active_key", hmac.active);
        match hmac.anti_replay {
            AntiReplay::Monotonic => writer.value("anti_replay", "monotonic"),
            AntiReplay::Time { window } => {
                writer.value("anti_replay", "time");
                // Longer ones come from advert_int alone.
                writer.maybe("time_window", Some(window.as_secs()).filter(|window| *window <= 300));
            }
        }
        writer.value(
            "mode",
            match hmac.mode {
                HmacMode::Enforce => "enforce",
                HmacMode::Permissive => "permissive",
                HmacMode::ReceiveOnly => "receive-only",
            },
        );
    });
}

fn garp(writer: &mut Writer<'_>, instance: &VrrpInstance) {
    let garp = &instance.router.garp;
    writer.value("garp_master_delay", garp.delay.as_secs());
    writer.value("garp_master_repeat", garp.repeat);
    writer.value("garp_master_refresh", garp.refresh.as_secs());
    writer.value("garp_master_refresh_repeat", garp.refresh_repeat);
    writer.value("garp_lower_prio_delay", garp.lower_priority_delay.as_secs());
    writer.value("garp_lower_prio_repeat", garp.lower_priority_repeat);
    match instance.garp_extra {
        Some(extra) => {
            let all = extra.all.then(|| "all".to_owned());
            writer.line("garp_extra_if", all.into_iter().chain([extra.interval.as_secs().to_string()]));
        }
        None => writer.value("garp_extra_if", 0),
    }
}

fn preempt_sync(writer: &mut Writer<'_>, sync: &PreemptSync) {
    if !sync.waits() {
        return;
    }
    writer.maybe("preempt_sync_time", sync.time.map(|time| time.as_secs()));
    if let Some((percent, url)) = &sync.share {
        writer.line("preempt_sync_share", [percent.to_string(), url.clone()]);
    }
    writer.value("preempt_sync_limit", sync.limit.as_secs());
}
