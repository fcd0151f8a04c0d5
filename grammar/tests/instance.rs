//! vrrp_instance and its groups: what each keyword means, what is said of it, and that it is written
//! out again.

mod common;

use std::time::Duration;

use common::summaries;
use lbd_grammar::config::{Config, GarpExtra, IpvlanMode, LinkMode, VrrpInstance};
use lbd_grammar::{Kind, Loaded, Secrets, dump, load_str};
use lbd_vrrp::{
    AntiReplay, Authentication, Delivery, Family, HmacKey, HmacMode, Peer, Priority, UnicastChecksum, Version,
};

/// What is said besides what is not supported yet, without related places.
fn said(loaded: &Loaded) -> Vec<String> {
    let said = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.kind != Kind::Unserved);
    said.map(|diagnostic| {
        let place = diagnostic.span.map(|span| loaded.sources.place(span).to_string());
        let help = diagnostic.help.as_deref().unwrap_or_default();
        format!("{}: {}; {help}", place.unwrap_or_default(), diagnostic.message)
    })
    .collect()
}

fn config(text: &str) -> Config {
    let loaded = load_str("c", text);
    let said = summaries(&loaded);
    loaded.config.unwrap_or_else(|| panic!("{text}\n{said:#?}"))
}

/// An instance on eth0 with an address and these lines.
fn with(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n 10.0.0.9\n }}\n}}\n"
    )
}

fn with6(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n fe80::9\n }}\n}}\n"
    )
}

fn one(text: &str) -> VrrpInstance {
    config(text).vrrp_instances.remove(0)
}

/// What a text means is what its dump means, and nothing is said of the dump but what lbd does not
/// serve and what is lawful though odd.
fn law(text: &str) {
    let config = config(text);
    let written = dump(&config, Secrets::Shown);
    let again = load_str("dump", &written);
    for diagnostic in &again.diagnostics {
        let lawful = matches!(diagnostic.kind, Kind::Unserved | Kind::Lint);
        assert!(lawful, "{text}\n{written}\n{:#?}", summaries(&again));
    }
    assert_eq!(again.config.as_ref(), Some(&config), "{text}\n{written}");
    assert_eq!(dump(&config, Secrets::Shown), dump(&again.config.expect("loads"), Secrets::Shown));
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

const LINES: &[&str] = &[
    "",
    "state MASTER",
    "priority 255\n preempt_delay 3",
    "state BACKUP\n priority 255\n preempt_delay 3",
    "priority 7\n nopreempt\n timer_expired_backup 9\n debug 3\n kernel_rx_buf_size 70000",
    "preempt_delay 1.5\n advert_int 3\n down_timer_adverts 9\n skip_check_adv_addr off\n lower_prio_no_advert\n higher_prio_send_advert",
    "version 3\n advert_int 0.25\n v3_checksum_as_v2\n no_accept",
    "strict_mode",
    "strict_mode\n state MASTER",
    "strict_mode\n version 3\n accept",
    "mcast_src_ip 10.0.0.1\n track_src_ip\n mcast_dst_ip 224.0.0.99",
    "unicast_src_ip 10.0.0.1\n unicast_peer {\n 10.0.0.2 min_ttl 3 max_ttl 9\n 10.0.0.3\n }\n unicast_ttl 4",
    "version 3\n unicast_peer {\n 10.0.0.2\n }\n old_unicast_checksum never\n check_unicast_src",
    "version 3\n unicast_peer {\n 10.0.0.2\n }\n old_unicast_checksum",
    "old_unicast_checksum",
    "unicast_fault_no_peer\n unicast_src_ip 10.0.0.1",
    "use_vmac",
    "use_vmac v0 02:00:00:00:01 netlink_notify_msg group 7\n vmac_xmit_base\n use_vmac_addr",
    "use_vmac name name\n unicast_peer {\n 10.0.0.3\n }",
    "use_ipvlan name ipv 10.0.0.4/24 private group default\n promote_secondaries",
    "use_ipvlan",
    "use_ipvlan 10.0.0.4 vepa\n dont_track_primary\n linkbeat_use_polling",
    "authentication {\n auth_type PASS\n auth_pass \"a b#!\"\n }",
    "authentication {\n auth_type AH\n auth_pass grün\n }",
    "smtp_alert\n notify_priority_changes\n notify_deleted",
    "notify_deleted \"/bin/d 1\" nobody\n notify_stop /bin/s\n notify_fault /bin/f\n notify /bin/n\n notify_master_rx_lower_pri /bin/l",
    "garp_master_delay 3\n garp_master_repeat 2\n garp_master_refresh 60\n garp_master_refresh_repeat 3\n garp_lower_prio_delay 9\n garp_lower_prio_repeat 0",
    "virtual_ipaddress_excluded {\n 10.0.0.8 dev eth1\n }\n garp_extra_if all 30",
    "lvs_sync_daemon_interface eth3",
    "virtual_routes {\n 10.1.0.0/24 via 10.0.0.3 dev eth0 metric 3\n blackhole 10.2.0.0/24\n }\n virtual_rules {\n from 10.1.0.0/24 table 7 preference 9\n }",
    "virtual_ipaddress {\n 10.0.0.7/24 brd + dev eth1 scope link label eth1:x\n 10.0.0.8 no_track use_vmac\n }\n garp_extra_if 3",
    "track_interface {\n eth4 weight -5 reverse\n eth5\n }",
];

#[test]
fn what_is_written_is_what_was_read() {
    for lines in LINES {
        law(&with(lines));
    }
    for lines in [
        "",
        "version 2",
        "native_ipv6",
        "strict_mode",
        "mcast_dst_ip ff02::99",
        "mcast_src_ip fe80::1\n track_src_ip",
        "unicast_peer {\n fe80::2\n }\n unicast_src_ip fe80::1",
        "unicast_peer {\n fe80::2\n }\n unicast_ttl 8",
        "use_ipvlan",
        "use_vmac 02:00:00:00:00:07",
    ] {
        law(&with6(lines));
    }
    for text in [
        "vrrp_instance V {\n virtual_router_id 7\n unicast_peer {\n 10.0.0.2\n }\n unicast_src_ip 10.0.0.1\n vrf blue\n no_virtual_ipaddress\n}\n",
        "global_defs {\n vrrp_version 3\n vrrp_strict\n vrrp_owner_ignore_adverts\n smtp_alert\n vrrp_garp_extra_if all 9\n vrrp_mcast_group6 ff05::7\n v3_checksum_as_v2\n vrrp_notify_priority_changes\n}\n\
         vrrp_instance V {\n interface eth0\n virtual_router_id 7\n priority 255\n virtual_ipaddress {\n fe80::9\n }\n}\n\
         vrrp_instance W {\n interface eth0\n virtual_router_id 7\n smtp_alert off\n virtual_ipaddress {\n 10.0.0.9\n }\n}\n",
    ] {
        law(text);
    }
    for (keys, rest) in [
        (format!("key 1 {KEY}\n key 9 hex:{}\n key 3 file:/etc/lbd/key", "aB".repeat(32)), ""),
        (format!("key 1 {KEY}"), "time_window 7\n mode permissive"),
        (format!("key 1 {KEY}"), "anti_replay monotonic\n mode receive-only"),
    ] {
        law(&with(&format!("version 3\n auth_hmac {{\n {keys}\n active_key 1\n {rest}\n }}")));
        law(&with(&format!("advert_int 255\n auth_hmac {{\n {keys}\n active_key 1\n {rest}\n }}")));
    }
}

const GLOBALS: &[&str] = &[
    "vrrp_version 3",
    "vrrp_strict",
    "vrrp_owner_ignore_adverts",
    "vrrp_check_unicast_src",
    "vrrp_skip_check_adv_addr",
    "vrrp_lower_prio_no_advert\n vrrp_higher_prio_send_advert",
    "vrrp_garp_lower_prio_delay 3\n vrrp_garp_interval 0.5\n vrrp_gna_interval 0.25",
    "vrrp_garp_extra_if all 9",
    "smtp_alert_vrrp\n vrrp_notify_priority_changes",
    "vrrp_down_timer_adverts 9\n v3_checksum_as_v2",
    "vrrp_mcast_group4 224.0.0.77\n vrrp_mcast_group6 ff05::7",
];

proptest::proptest! {
    /// Whatever stands together, as long as it loads.
    #[test]
    fn any_lines_are_written_as_they_were_read(
        lines in proptest::sample::subsequence(LINES, 0..6),
        globals in proptest::sample::subsequence(GLOBALS, 0..4),
        six: bool,
        priority in 1_u8..,
    ) {
        let mut lines = lines;
        let priority = format!("priority {priority}");
        lines.push(&priority);
        let instance = if six { with6(&lines.join("\n ")) } else { with(&lines.join("\n ")) };
        let text = format!("global_defs {{\n {}\n}}\n{instance}", globals.join("\n "));
        if load_str("c", &text).config.is_some() {
            law(&text);
        }
    }
}

const GROUPS: &str = "vrrp_script s {\n script /bin/s\n weight 3\n}\n\
    vrrp_sync_group G {\n group {\n A\n B nowhere\n }\n track_interface {\n eth7 weight 5\n }\n track_script {\n s\n }\n\
    notify_master /bin/m\n notify_backup /bin/b\n notify_fault /bin/f\n notify_stop /bin/t\n notify /bin/n\n smtp_alert\n notify_priority_changes\n}\n\
    vrrp_sync_group H {\n group {\n B\n C\n }\n}\n\
    track_group T {\n group {\n A C\n }\n}\ntrack_group T {\n group {\n A\n }\n}\n\
    garp_group {\n garp_interval 0.5\n interface eth0\n interfaces {\n eth1 eth2\n }\n}\n\
    garp_group {\n gna_interval 1\n interfaces {\n eth2\n eth3\n }\n}\ngarp_group {\n interface eth4\n}\n\
    vrrp_instance A {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n track_script {\n s\n }\n track_interface {\n eth9 weight 2\n }\n}\n\
    vrrp_instance B {\n interface eth3\n virtual_router_id 1\n no_virtual_ipaddress\n notify_priority_changes off\n}\n\
    vrrp_instance C {\n interface eth5\n virtual_router_id 1\n no_virtual_ipaddress\n}\n";

#[test]
fn groups() {
    let loaded = load_str("c", GROUPS);
    assert_eq!(
        said(&loaded),
        [
            "c:5:17: vrrp_sync_group `G` does not allow the weights of what its members track: interfaces get weight 0, the others are not tracked; add `sync_group_tracking_weight` to the group, or remove the weights",
            "c:8:4: there is no vrrp_instance `nowhere`; remove it, or add the instance",
            "c:24:17: vrrp_sync_group `H` has a single member; add the instances that are to be master together with it, or remove the group",
            "c:26:2: vrrp_instance `B` is in a vrrp_sync_group already; remove one of them",
            "c:35:13: track_group `T` is given twice; remove one of them",
            "c:50:2: interface `eth2` is in a garp_group already; remove one of them",
            "c:54:1: this `garp_group` has no interval, so it is left out; add `garp_interval SECS` or `gna_interval SECS`",
        ]
    );
    let config = loaded.config.expect("a configuration");
    let group = &config.sync_groups["G"];
    assert_eq!(group.members.iter().map(|name| &**name).collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!((group.track_interfaces.len(), group.trackers.len(), group.mail), (1, 1, true));
    assert_eq!(group.notify.scripts().count(), 5);
    assert_eq!(config.track_groups["T"].len(), 2);
    assert_eq!(config.garp_groups.iter().map(|group| group.interfaces.len()).collect::<Vec<_>>(), [3, 1]);
    let [a, b, c] = config.vrrp_instances.as_slice() else { panic!("three instances") };
    assert_eq!([a, b, c].map(|one| one.tells_priority), [true, false, false]);
    assert_eq!((a.router.trackers.len(), a.router.track_interfaces[0].1.value), (0, 0));
    let gaps = |one: &VrrpInstance| (one.router.garp.interval, one.router.garp.neighbour_interval);
    let (half, second) = (Duration::from_millis(500), Duration::from_secs(1));
    assert_eq!(
        [a, b, c].map(gaps),
        [(half, Duration::ZERO), (Duration::ZERO, second), (Duration::ZERO, Duration::ZERO)]
    );
    law(GROUPS);
    law(&GROUPS.replace("smtp_alert\n notify_priority", "sync_group_tracking_weight\n notify_priority"));
}

#[test]
fn an_owner_in_a_group_and_groups_without_members() {
    for (name, text, want) in [
        (
            "owner",
            "vrrp_sync_group G {\n group {\n A B\n }\n track_interface {\n eth7 weight 5\n }\n}\n",
            "c:6:2: weights in vrrp_sync_group `G` are 0: a member has priority 255; write `weight 0`, or give the member a priority below 255",
        ),
        (
            "no group",
            "vrrp_sync_group G {\n}\n",
            "c:1:17: vrrp_sync_group `G` has no members, so it is left out; name its instances in `group { … }`, or remove it",
        ),
        (
            "empty group",
            "track_group G {\n group {\n }\n}\n",
            "c:2:2: track_group `G` has no members, so it is left out; name its instances in `group { … }`, or remove it",
        ),
        (
            "typo",
            "track_group G {\n group {\n Aa\n }\n}\n",
            "c:3:2: there is no vrrp_instance `Aa`; did you mean `A`?",
        ),
        (
            "twice",
            "track_group G {\n group {\n A\n B\n }\n group {\n B\n }\n}\n",
            "c:6:2: `group` is given twice; put all members into one of them",
        ),
        (
            "no interface",
            "garp_group {\n garp_interval 1\n}\n",
            "c:1:1: this `garp_group` has no interface, so it is left out; add `interface NAME`",
        ),
        (
            "old",
            "vrrp_sync_group G {\n group {\n A B\n }\n global_tracking\n}\n",
            "c:5:2: `global_tracking` has no effect any more; remove it",
        ),
    ] {
        let rest = "vrrp_instance A {\n interface eth0\n virtual_router_id 1\n priority 255\n no_virtual_ipaddress\n}\n\
            vrrp_instance B {\n interface eth0\n virtual_router_id 2\n no_virtual_ipaddress\n}\n";
        let loaded = load_str("c", &format!("{text}{rest}"));
        assert_eq!(said(&loaded), [want], "{name}");
        assert!(loaded.config.is_some(), "{name}");
    }
}

#[test]
fn defaults() {
    let plain = one(&with(""));
    let want = lbd_vrrp::InstanceConfig {
        addresses: plain.router.addresses.clone(),
        ..lbd_vrrp::InstanceConfig::new("V", "eth0", std::num::NonZeroU8::new(7).expect("not 0"))
    };
    assert_eq!(plain, VrrpInstance::new(want));
    let six = one(&with6("")).router;
    assert_eq!((six.version, six.family), (Version::V3, Family::V6));
    assert_eq!(six.delivery, Delivery::Multicast { group: "ff02::12".parse().expect("an address") });
    assert_eq!(six.unserved(), Some("an IPv6 instance"));
    let strict = one(&with("strict_mode")).router;
    assert_eq!((strict.accept, strict.lower_priority_no_advert, strict.down_timer_adverts), (false, true, 3));
    assert_eq!((strict.garp.lower_priority_repeat, strict.garp.lower_priority_delay), (0, Duration::ZERO));
    let owner = one(&with("strict_mode\n priority 255")).router;
    assert_eq!((owner.accept, owner.owner_ignore_adverts), (true, true));
    assert_eq!(one(&with("timer_expired_backup\n nopreempt")).router.late_backup, Some(Priority(254)));
}

#[test]
fn values() {
    let v = one(&with("version 3\n advert_int 0.25\n no_accept\n old_unicast_checksum never\n unicast_peer {\n 10.0.0.2 min_ttl 3\n }")).router;
    assert_eq!((v.advert_interval, v.accept), (Duration::from_millis(250), false));
    assert_eq!(v.unicast_checksum, UnicastChecksum::New);
    let peer = Peer { min_ttl: 3, ..Peer::new(std::net::Ipv4Addr::new(10, 0, 0, 2)) };
    assert_eq!(v.delivery, Delivery::Unicast { peers: vec![peer], ttl: Some(255), check_source: true });

    let LinkMode::Vmac(vmac) = one(&with("use_vmac v0 02:00:00:00:01 group 7\n vmac_xmit_base")).link else {
        panic!("a virtual MAC address")
    };
    assert_eq!((vmac.name.as_deref(), vmac.mac), (Some("v0"), Some([2, 0, 0, 0, 1, 7])));
    assert_eq!((vmac.group.as_deref(), vmac.advert_on_parent), (Some("7"), true));
    let LinkMode::Ipvlan(ipvlan) = one(&with("use_ipvlan name bridge 10.0.0.4/24 vepa")).link else {
        panic!("an ipvlan")
    };
    assert_eq!((ipvlan.name.as_deref(), ipvlan.mode), (Some("bridge"), IpvlanMode::Vepa));
    assert_eq!(ipvlan.address, Some(("10.0.0.4".parse().expect("an address"), 24)));

    let v = one(&with(&format!(
        "advert_int 4\n auth_hmac {{\n key 2 {KEY}\n key 3 hex:{}\n active_key 3\n mode permissive\n }}",
        "0f".repeat(64)
    )));
    let Authentication::Hmac(hmac) = v.router.authentication else { panic!("signed") };
    assert_eq!((hmac.keys.len(), hmac.active.get(), hmac.mode), (2, 3, HmacMode::Permissive));
    assert_eq!(hmac.keys[1].1, HmacKey::Hex(vec![15; 64]));
    assert_eq!(hmac.anti_replay, AntiReplay::Time { window: Duration::from_secs(12) });
    let v = one(&with("authentication {\n auth_type AH\n auth_pass secret\n }"));
    assert_eq!(v.router.authentication, Authentication::Ah(*b"secret\0\0"));

    let v = one(&with("virtual_ipaddress_excluded {\n 10.0.0.8 dev eth1\n }\n garp_extra_if all 30"));
    assert_eq!(v.garp_extra, Some(GarpExtra { all: true, interval: Duration::from_secs(30) }));
    let v = config(&with("lvs_sync_daemon_interface eth3\n linkbeat_use_polling"));
    let daemon = v.global.sync_daemon.expect("a sync daemon");
    assert_eq!((daemon.interface.as_str(), daemon.instance.as_deref(), daemon.id), ("eth3", Some("V"), 7));
    assert_eq!(v.linkbeat_interfaces.len(), 1);
}

/// One line of [`with`] and all that is said of it.
#[test]
fn what_is_said() {
    for (lines, want) in [
        ("priority 300", "c:2:10: `priority`: `300` is out of range; a number from 1 to 255"),
        ("state BACKUP\n priority 100\n state FOO", "c:4:8: unknown state `FOO`; one of: MASTER, BACKUP"),
        ("state MASTER\n state BACKUP", "c:3:2: `state BACKUP` after `state MASTER`; remove one of them"),
        ("version 3\n version 2", "c:3:2: `version 2` in an instance of version 3; remove one of them"),
        (
            "mcast_src_ip 10.0.0.1\n native_ipv6",
            "c:3:2: `native_ipv6` in an IPv4 instance; remove it, or use IPv6 addresses",
        ),
        (
            "advert_int 1.5",
            "c:2:1: `advert_int` of version 2 counts whole seconds: 2 is used; write the same whole number on all its routers",
        ),
        (
            "version 3\n advert_int 50",
            "c:3:2: `advert_int` of version 3 is 40.95 seconds at most, which is used; write the same time on all its routers",
        ),
        (
            "version 3\n advert_int 1.015",
            "c:3:2: `advert_int` of version 3 counts hundredths of a second: 1.02 is used; write the same time on all its routers",
        ),
        (
            "preempt_delay 3\n nopreempt",
            "c:2:1: `preempt_delay` has no effect with `nopreempt`; remove one of them",
        ),
        (
            "priority 255\n nopreempt",
            "c:3:2: `nopreempt` has no effect with priority 255; use `state BACKUP` on all its routers and a priority below 255, or remove `nopreempt`",
        ),
        (
            "timer_expired_backup 7",
            "c:2:1: `timer_expired_backup` has no effect without `nopreempt`; add `nopreempt`, or remove it",
        ),
        (
            "thread_timer_expired\n nopreempt",
            "c:2:1: `thread_timer_expired` is an old name; write `timer_expired_backup`",
        ),
        ("owner_ignore_adverts", "c:2:1: `owner_ignore_adverts` needs priority 255; remove it"),
        (
            "priority 255\n owner_ignore_adverts off",
            "c:3:2: `owner_ignore_adverts` cannot be switched off with priority 255; remove it",
        ),
        (
            "strict_mode\n preempt_delay 3",
            "c:3:2: `preempt_delay` has no effect with strict mode; remove one of them",
        ),
        ("strict_mode\n down_timer_adverts 4", "c:3:2: strict mode: `down_timer_adverts` is 3; remove it"),
        (
            "strict_mode\n lower_prio_no_advert off",
            "c:3:2: strict mode: `lower_prio_no_advert` is true; remove it",
        ),
        (
            "strict_mode\n accept",
            "c:3:2: strict mode: only the owner accepts traffic to the addresses in version 2; remove `accept`, or `strict_mode`",
        ),
        (
            "strict_mode\n state MASTER\n priority 9",
            "c:1:15: strict mode: only priority 255 begins as MASTER; it begins as BACKUP; write `state BACKUP`",
        ),
        (
            "strict_mode\n authentication {\n auth_type PASS\n auth_pass x\n }",
            "c:3:2: `authentication` cannot go with strict mode; remove one of them",
        ),
        (
            "version 3\n authentication {\n auth_type PASS\n auth_pass x\n }",
            "c:3:2: `authentication` cannot go with version 3; remove one of them",
        ),
        (
            "authentication {\n auth_type PASS\n }",
            "c:2:1: `authentication` has no usable `auth_pass`, so adverts go without it; write `auth_type PASS` and `auth_pass SECRET` in it, or remove it",
        ),
        (
            "strict_mode\n use_vmac 02:00:00:00:00:01",
            "c:3:2: strict mode: the virtual MAC address is the RFC's; remove the MAC address",
        ),
        (
            "strict_mode\n use_vmac\n vmac_xmit_base",
            "c:4:2: strict mode: adverts go over the virtual MAC interface; remove `vmac_xmit_base`",
        ),
        ("vmac_xmit_base", "c:2:1: `vmac_xmit_base` has no effect without `use_vmac`; remove it"),
        (
            "use_vmac\n promote_secondaries",
            "c:3:2: `promote_secondaries` is always set on virtual MAC interfaces; remove it",
        ),
        (
            "use_vmac\n use_ipvlan 10.0.0.1",
            "c:3:2: the interface of its own is given twice; remove one of them",
        ),
        (
            "use_vmac 01:00:00:00:00:01",
            "c:2:10: `use_vmac`: `01:00:00:00:00:01` is a multicast address; an address whose first octet is even",
        ),
        (
            "use_vmac 00:00:5e:00:01:07",
            "c:2:10: `use_vmac`: `00:00:5e:00:01:07` is an address of the RFC's; leave it out: the right one is used anyway",
        ),
        (
            "use_ipvlan",
            "c:2:1: an ipvlan of an IPv4 instance needs an address: the instance stays in FAULT; write `use_ipvlan ADDR/LEN`, an address of the interface's network",
        ),
        ("unicast_ttl 3", "c:2:1: `unicast_ttl` has no effect without peers; remove it"),
        (
            "check_unicast_src",
            "c:2:1: unicast is asked for without any usable peer, so adverts go by multicast; list the other routers in `unicast_peer { … }`, or remove the unicast keywords",
        ),
        (
            "unicast_fault_no_peer",
            "c:2:1: unicast is asked for without any usable peer: the instance stays in FAULT; list the other routers in `unicast_peer { … }`, or remove the unicast keywords",
        ),
        (
            "unicast_peer {\n 10.0.0.2 min_ttl 300\n }",
            "c:3:19: `unicast_peer`: `300` is out of range; a number from 0 to 255",
        ),
        (
            "unicast_peer {\n 10.0.0.2 max_ttl\n }",
            "c:3:11: `unicast_peer`: `max_ttl` needs a number; a number from 0 to 255",
        ),
        (
            "unicast_peer {\n 10.0.0.2 min_ttl 9 max_ttl 3\n }",
            "c:3:11: no TTL is between 9 and 3: all adverts of 10.0.0.2 are dropped; exchange the two numbers",
        ),
        (
            "unicast_peer {\n 10.0.0.2\n }\n mcast_dst_ip 224.0.0.9",
            "c:5:2: `mcast_dst_ip` has no effect with peers; remove it",
        ),
        (
            "mcast_dst_ip 10.0.0.2",
            "c:2:14: `mcast_dst_ip`: `10.0.0.2` is no multicast group; a group of 224.0.0.0/4 or ff02::/16",
        ),
        ("vrf blue", "c:2:1: `vrf` has no effect with `interface`; remove one of them"),
        (
            "garp_extra_if 3",
            "c:2:1: `garp_extra_if` has no effect: no address is on an interface that sends no adverts; remove it",
        ),
        (
            "priority 255\n track_interface {\n eth7 weight 3\n }",
            "c:4:2: a weight has no effect with priority 255; use a priority below 255, or `weight 0`",
        ),
        (
            "auth_hmac {\n active_key 1\n }",
            "c:3:2: `auth_hmac` has no usable `key`, so adverts are not signed; add `key ID VALUE`",
        ),
        (
            "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n }",
            "c:2:1: `auth_hmac` has no usable `active_key`, so adverts are not signed; add `active_key ID` with the number of a key",
        ),
        (
            "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 2\n }",
            "c:4:2: `auth_hmac` has no usable key 2, which `active_key` names: adverts are not signed; name a key that there is",
        ),
        (
            "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n }",
            "c:4:2: key 1 is given twice; give it another number",
        ),
        (
            "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n key 2 short\n active_key 1\n }",
            "c:4:2: key 2 has 5 octets; 32 to 64 octets of text, 64 to 128 hexadecimal digits after `hex:`, or a path after `file:`",
        ),
        (
            "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n anti_replay monotonic\n time_window 9\n }",
            "c:6:2: `time_window` has no effect with `anti_replay monotonic`; remove it",
        ),
        (
            "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n }\n authentication {\n auth_type PASS\n auth_pass x\n }",
            "c:6:2: `authentication` cannot go with `auth_hmac`; remove one of them",
        ),
        (
            "strict_mode\n auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n mode permissive\n }",
            "c:6:2: strict mode: `mode` is enforce; remove it",
        ),
    ] {
        let text = with(lines);
        let loaded = load_str("c", &text);
        // What strictness does to the addresses is another test's.
        let mut said = said(&loaded);
        said.retain(|line| !line.contains("dropped on this host"));
        assert_eq!(said, [want], "{text}");
        assert!(loaded.config.is_some(), "{text}");
        law(&text);
    }
    // What follows from the mistake is part of its diagnostic.
    let text = with("unicast_peer {\n fe80::1\n }\n unicast_src_ip 10.0.0.1")
        .replace("unicast_peer", "mcast_dst_ip 224.0.0.18\n unicast_peer");
    let loaded = load_str("c", &text);
    assert_eq!(said(&loaded), ["c:4:2: peer fe80::1 is IPv6, the instance IPv4; remove it"]);
    assert!(loaded.diagnostics[0].consequence.is_some());
    let ah = with6("authentication {\n auth_type AH\n auth_pass x\n }\n version 2");
    assert_eq!(
        said(&load_str("c", &ah)),
        ["c:2:1: `auth_type AH` cannot go with IPv6; use `auth_hmac { … }`, or `auth_type PASS`"]
    );
    let global = "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 2001:db8::1\n }\n}\n";
    assert_eq!(
        said(&load_str("c", global)),
        [
            "c:5:2: the first address of an IPv6 instance is of the link (RFC 9568 §5.2.9), 2001:db8::1 is not; put an address of fe80::/10 before it"
        ]
    );
}

#[test]
fn what_cannot_run() {
    let none =
        |lines: &str| format!("vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n{lines}\n}}\n");
    for (text, want) in [
        (with("strict_mode\n unicast_peer {\n 10.0.0.2\n }"), "c:4:2: strict mode does not allow unicast; remove `unicast_peer`, or `strict_mode` (or `vrrp_strict` in global_defs)"),
        (none(" version 3"), "c:1:15: vrrp_instance `V` has no address to advertise; add `virtual_ipaddress { … }`, or say `no_virtual_ipaddress`"),
        (none(" strict_mode\n no_virtual_ipaddress"), "c:5:2: strict mode: vrrp_instance `V` needs an address; add `virtual_ipaddress { … }`; `no_virtual_ipaddress` has no effect in strict mode"),
        ("vrrp_instance V {\n virtual_router_id 7\n no_virtual_ipaddress\n unicast_peer {\n fe80::2\n }\n unicast_src_ip fe80::1\n}\n".to_owned(), "c:7:2: the source fe80::1 is valid on its link only, and there is no `interface`; add `interface NAME`, or use an address that is valid everywhere"),
        ("vrrp_instance V {\n virtual_router_id 7\n no_virtual_ipaddress\n unicast_src_ip 10.0.0.1\n}\n".to_owned(), "c:1:15: vrrp_instance `V` has no usable `interface`; add `interface NAME`"),
    ] {
        let loaded = load_str("c", &text);
        assert_eq!(said(&loaded), [want], "{text}");
        assert!(loaded.config.is_none(), "{text}");
    }
}

/// The same number is one virtual router where adverts of one reach the other.
#[test]
fn identifiers() {
    let pair = |one: &str, other: &str| {
        format!("{}{}", with(one), with(other).replace("vrrp_instance V", "vrrp_instance W"))
    };
    let peers = |peer: &str, source: &str| format!("unicast_peer {{\n {peer}\n }}\n unicast_src_ip {source}");
    for (name, text, clash) in [
        ("both multicast", pair("", ""), true),
        ("vmac does not help", pair("use_vmac", ""), true),
        ("version does not help", pair("version 3", ""), true),
        ("other group", pair("mcast_dst_ip 224.0.0.9", ""), false),
        ("other family", format!("{}{}", with(""), with6("").replace("instance V", "instance W")), false),
        ("both IPv6", format!("{}{}", with6(""), with6("").replace("instance V", "instance W")), true),
        (
            "same source, common peer",
            pair(&peers("10.0.0.2", "10.0.0.1"), &peers("10.0.0.2 min_ttl 3", "10.0.0.1")),
            true,
        ),
        (
            "same source, distinct peers",
            pair(&peers("10.0.0.2", "10.0.0.1"), &peers("10.0.0.3", "10.0.0.1")),
            false,
        ),
        ("other source", pair(&peers("10.0.0.2", "10.0.0.1"), &peers("10.0.0.2", "10.0.0.4")), false),
    ] {
        let loaded = load_str("c", &text);
        assert_eq!(loaded.config.is_none(), clash, "{name}: {:#?}", summaries(&loaded));
        if clash {
            let error = loaded.diagnostics.iter().find(|one| one.kind == Kind::Fatal).expect("an error");
            assert_eq!(error.related.len(), 1, "{name}");
            assert!(
                error.message.contains("`V` and `W` have the same virtual_router_id 7 on eth0"),
                "{name}"
            );
        }
    }
}

/// One that does not run yet is in the configuration, and said not to run once.
#[test]
fn what_does_not_run_yet_is_left_out_by_the_daemon() {
    for (text, want) in [
        (
            with("version 3"),
            "c:2:1: VRRP version 3 is not supported yet; vrrp_instance `V` is left out: it does not run on this host; version 3 and IPv6 come later",
        ),
        (
            with6(""),
            "c:6:2: an IPv6 instance is not supported yet; vrrp_instance `V` is left out: it does not run on this host; version 3 and IPv6 come later",
        ),
    ] {
        let loaded = load_str("c", &text);
        let unserved: Vec<String> = summaries(&loaded);
        assert_eq!(unserved, [want], "{text}");
        let config = loaded.config.expect("a configuration");
        assert_eq!((config.vrrp_instances.len(), config.served_instances().count()), (1, 0), "{text}");
    }
}

#[test]
fn secrets_are_masked() {
    let text = with(&format!("auth_hmac {{\n key 1 {KEY}\n active_key 1\n }}"));
    let text = format!(
        "{text}{}",
        with("authentication {\n auth_type PASS\n auth_pass hush\n }")
            .replace("V {", "W {")
            .replace("id 7", "id 8")
    );
    let config = config(&text);
    let masked = dump(&config, Secrets::Masked);
    assert!(!masked.contains(KEY) && !masked.contains("hush"), "{masked}");
    assert!(!format!("{config:?}").contains("hush"));
}
