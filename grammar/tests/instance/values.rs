//! What keywords mean.

use std::time::Duration;

use lbd_grammar::config::{GarpExtra, IpvlanMode, LinkMode, VrrpInstance};
use lbd_grammar::{Kind, load_str};
use lbd_vrrp::{
    AntiReplay, Authentication, Delivery, Family, GroupConfig, HmacKey, HmacMode, Peer, Priority, TrackerId,
    UnicastChecksum, Version, Weight,
};

use super::{KEY, config, one, with, with6};

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

    let v = one(&with("authentication {\n auth_type PASS\n }\n authentication {\n auth_pass both\n }"));
    assert_eq!(v.router.authentication, Authentication::Pass(*b"both\0\0\0\0"));

    let v = one(&with("virtual_ipaddress_excluded {\n 10.0.0.8 dev eth1\n }\n garp_extra_if all 30"));
    assert_eq!(v.garp_extra, Some(GarpExtra { all: true, interval: Duration::from_secs(30) }));
    let v = config(&with("lvs_sync_daemon_interface eth3\n linkbeat_use_polling"));
    let daemon = v.global.sync_daemon.expect("a sync daemon");
    assert_eq!((daemon.interface.as_str(), daemon.instance.as_deref(), daemon.id), ("eth3", Some("V"), 7));
    assert_eq!(v.linkbeat_interfaces.len(), 1);
}

#[test]
fn the_setup_of_the_engine() {
    let config = config(
        "global_defs {\n vrrp_garp_interval 0.25\n vrrp_gna_interval 0.5\n vrrp_startup_delay 3.5\n vrrp_delay_after_boot 30\n log_unknown_vrids\n}\n\
         garp_group {\n garp_interval 0.1\n interfaces {\n eth1\n eth2\n }\n}\n\
         garp_group {\n garp_interval 0.2\n gna_interval 0.3\n interface eth3\n}\n\
         vrrp_script s {\n script /bin/s\n}\n\
         vrrp_sync_group G {\n group {\n B\n A\n }\n track_script {\n s weight 4\n }\n track_interface {\n eth7\n }\n}\n\
         vrrp_instance A {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n}\n\
         vrrp_instance B {\n interface eth1\n virtual_router_id 1\n native_ipv6\n no_virtual_ipaddress\n}\n",
    );
    let setup = config.vrrp_setup();
    let names: Vec<&str> = setup.instances.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["A", "B"]);
    let milliseconds = Duration::from_millis;
    for (interface, lane, arp, neighbour) in [
        ("eth0", "eth0", 250, 500),
        // What its group does not say has no gap there.
        ("eth1", "eth1", 100, 0),
        ("eth2", "eth1", 100, 0),
        ("eth3", "eth3", 200, 300),
    ] {
        let gap = |address: &str| setup.garp_intervals.of(interface, address.parse().expect("an address"));
        let want = [(lane, milliseconds(arp)), (lane, milliseconds(neighbour))];
        assert_eq!([gap("10.0.0.1"), gap("fe80::1")], want, "{interface}");
    }
    assert_eq!((setup.startup_delay, setup.log_unknown_vrids), (milliseconds(3500), true));
    let plain = |value| Weight { value, reverse: false };
    let group = GroupConfig {
        name: "G".into(),
        members: vec!["B".into(), "A".into()],
        trackers: vec![(TrackerId::script("s"), plain(4))],
        track_files: Vec::new(),
        track_processes: Vec::new(),
        track_interfaces: vec![("eth7".to_owned(), plain(0))],
    };
    assert_eq!(setup.groups, [group]);
    let nothing = super::config("");
    assert_eq!(nothing.vrrp_setup(), lbd_vrrp::Setup::default());
}

/// What fits into 1500 octets: version 2 has 8 octets of authentication data, a signature 28 more.
#[test]
fn addresses_of_an_advert() {
    let hmac = format!("auth_hmac {{\n key 1 {KEY}\n active_key 1\n }}");
    for (name, lines, six, most) in [
        ("version 2", String::new(), false, 255),
        ("version 3, signed", format!("version 3\n {hmac}"), false, 255),
        ("version 2, AH", "authentication {\n auth_type AH\n auth_pass x\n }".to_owned(), false, 255),
        ("IPv6", String::new(), true, 90),
        ("IPv6, signed", hmac.clone(), true, 89),
        ("IPv6 in version 2", "version 2".to_owned(), true, 90),
        ("IPv6 in version 2, signed", format!("version 2\n {hmac}"), true, 88),
    ] {
        let count = 300;
        let address =
            |at: u32| if six { format!("fe80::{at:x}") } else { format!("10.1.{}.{}", at / 200, at % 200) };
        let addresses: Vec<String> = (1..=count).map(address).collect();
        let text = format!(
            "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n{}\n }}\n}}\n",
            addresses.join("\n")
        );
        let loaded = load_str("c", &text);
        let said = loaded.diagnostics.iter().filter(|one| one.kind == Kind::Repaired);
        let said: Vec<&str> = said.map(|one| one.message.as_ref()).collect();
        let want = format!("an advert holds at most {most} of these addresses: the rest is not advertised");
        assert_eq!(said, [want], "{name}");
        let router = &loaded.config.expect("a configuration").vrrp_instances[0].router;
        let kept = router.addresses.iter().chain(&router.excluded_addresses);
        let kept: Vec<String> = kept.map(|vip| vip.address.to_string()).collect();
        assert_eq!((router.addresses.len(), kept), (most, addresses), "{name}");
    }
}

/// track_group: its instances track the interfaces of static entries that name it, with weight 0.
#[test]
fn interfaces_of_static_entries() {
    let tracked = |lines: &str, entries: &str| {
        let instance = |name: &str, vrid: u8, lines: &str| {
            format!(
                "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n no_virtual_ipaddress\n{lines}\n}}\n"
            )
        };
        let text = format!(
            "track_group G {{\n group {{\n V\n }}\n}}\n{entries}\n{}{}",
            instance("V", 1, lines),
            instance("W", 2, "")
        );
        let config = config(&text);
        let setup = config.vrrp_setup();
        let [v, w] = setup.instances.as_slice() else { panic!("two instances") };
        assert!(w.track_interfaces.is_empty(), "not in the group");
        assert_eq!(config.vrrp_instances[0].router.track_primary, v.track_primary);
        let line = |(name, weight): &(String, Weight)| format!("{name} {}", weight.value);
        v.track_interfaces.iter().map(line).collect::<Vec<_>>()
    };
    let address = |device: &str| format!("static_ipaddress {{\n 10.0.0.1/24 dev {device} track_group G\n}}");
    let own = "track_interface {\n eth5 weight 0\n eth6 weight 9\n}";
    for (name, lines, entries, want) in [
        ("an address", "", address("eth5"), &["eth5 0"][..]),
        ("none names it", "", address("eth5").replace("track_group G", ""), &[]),
        ("a route", "", "static_routes {\n 10.1.0.0/16 dev eth6 track_group G\n}".to_owned(), &["eth6 0"]),
        (
            "a rule",
            "",
            "static_rules {\n from 10.1.0.0/16 iif eth7 table 9 preference 5 track_group G\n}".to_owned(),
            &["eth7 0"],
        ),
        ("tracked already", own, address("eth5"), &["eth5 0", "eth6 9"]),
        ("tracked already with a weight, which does not count", own, address("eth6"), &["eth5 0", "eth6 0"]),
        ("the own one", "", address("eth0"), &[]),
        ("the own one, which is not tracked", "dont_track_primary", address("eth0"), &["eth0 0"]),
    ] {
        assert_eq!(tracked(lines, &entries), want, "{name}");
    }
}
