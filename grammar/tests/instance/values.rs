//! What keywords mean.

use std::time::Duration;

use lbd_grammar::config::{GarpExtra, IpvlanMode, LinkMode, VrrpInstance};
use lbd_vrrp::{
    AntiReplay, Authentication, Delivery, Family, HmacKey, HmacMode, Peer, Priority, UnicastChecksum, Version,
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

    let v = one(&with("authentication {\n auth_type PASS\n }\n authentication {\n auth_pass both\n }"));
    assert_eq!(v.router.authentication, Authentication::Pass(*b"both\0\0\0\0"));

    let v = one(&with("virtual_ipaddress_excluded {\n 10.0.0.8 dev eth1\n }\n garp_extra_if all 30"));
    assert_eq!(v.garp_extra, Some(GarpExtra { all: true, interval: Duration::from_secs(30) }));
    let v = config(&with("lvs_sync_daemon_interface eth3\n linkbeat_use_polling"));
    let daemon = v.global.sync_daemon.expect("a sync daemon");
    assert_eq!((daemon.interface.as_str(), daemon.instance.as_deref(), daemon.id), ("eth3", Some("V"), 7));
    assert_eq!(v.linkbeat_interfaces.len(), 1);
}
