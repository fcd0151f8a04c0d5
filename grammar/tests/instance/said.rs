//! What is said of mistakes.

use lbd_grammar::{Kind, load_str};

use super::{law, said, summaries, with, with6};

/// One line of [`with`] and all that is said of it.
/// V3-F13.
#[test]
fn what_is_said() {
    for (lines, want) in [
        // Where a result counts it is the shell's; nobody waits for that of a notification.
        (
            "notify_master \"</bin/true\"",
            "c:2:15: `notify_master`: a command that begins with `<` is not run here; name the program itself, or write `/bin/sh -c '...'`",
        ),
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

/// V3-F3, V2-F3: 1 to 255, and no default.
#[test]
fn virtual_router_identifiers() {
    let with =
        |line: &str| format!("vrrp_instance V {{\n interface eth0\n{line}\n no_virtual_ipaddress\n}}\n");
    for (line, runs) in [
        (" virtual_router_id 1", true),
        (" virtual_router_id 255", true),
        (" virtual_router_id 0", false),
        (" virtual_router_id 256", false),
        ("", false),
    ] {
        let loaded = load_str("c", &with(line));
        assert_eq!(loaded.config.is_some(), runs, "{line}: {:?}", said(&loaded));
    }
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
    let pair6 = |one: &str, other: &str| {
        format!("{}{}", with6(one), with6(other).replace("vrrp_instance V", "vrrp_instance W"))
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
        ("other interface", pair("", "").replacen("eth0", "eth1", 1), false),
        (
            "IPv6, same source, common peer",
            pair6(&peers("fe80::2\n fe80::3", "fe80::1"), &peers("fe80::3", "fe80::1")),
            true,
        ),
        (
            "IPv6, same source, distinct peers",
            pair6(&peers("fe80::2", "fe80::1"), &peers("fe80::3", "fe80::1")),
            false,
        ),
        (
            "IPv6, a source of the link on two links",
            pair6(&peers("fe80::2", "fe80::1"), &peers("fe80::2", "fe80::1")).replacen("eth0", "eth1", 1),
            false,
        ),
        ("one without peers", pair("unicast_fault_no_peer", "unicast_fault_no_peer"), false),
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
    // One without an interface hears on all of them.
    let one = |name: &str, peer: &str, more: &str| {
        format!(
            "vrrp_instance {name} {{\n virtual_router_id 7\n unicast_src_ip 10.0.0.1\n unicast_peer {{\n {peer}\n }}\n no_virtual_ipaddress\n{more}\n}}\n"
        )
    };
    for (name, text, clash) in [
        ("none", one("V", "10.0.0.2", "") + &one("W", "10.0.0.2", ""), Some("without an interface")),
        ("none, distinct peers", one("V", "10.0.0.2", "") + &one("W", "10.0.0.3", ""), None),
        ("one", one("V", "10.0.0.2", "interface eth0") + &one("W", "10.0.0.2", ""), Some("on eth0")),
        ("one, distinct peers", one("V", "10.0.0.2", "interface eth0") + &one("W", "10.0.0.3", ""), None),
        ("other VRF", one("V", "10.0.0.2", "vrf blue") + &one("W", "10.0.0.2", "vrf red"), None),
        (
            "same VRF",
            one("V", "10.0.0.2", "vrf blue") + &one("W", "10.0.0.2", "vrf blue"),
            Some("without an interface"),
        ),
    ] {
        let loaded = load_str("c", &text);
        let error = loaded.diagnostics.iter().find(|one| one.kind == Kind::Fatal);
        let want =
            clash.map(|place| format!("vrrp_instance `V` and `W` have the same virtual_router_id 7 {place}"));
        assert_eq!(error.map(|one| one.message.to_string()), want, "{name}");
    }
}

/// Not even that something is not supported yet.
#[test]
fn nothing_is_said_of() {
    let alone = |lines: &str| {
        format!(
            "vrrp_instance V {{\n virtual_router_id 7\n unicast_peer {{\n 10.0.0.2 min_ttl 3 max_ttl 9\n }}\n unicast_src_ip 10.0.0.1\n{lines}\n}}\n"
        )
    };
    let hmac = "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n mode receive-only\n anti_replay time\n time_window 9\n }";
    let group = |lines: &str| {
        format!(
            "track_file f {{\n file /run/f\n}}\nvrrp_sync_group G {{\n group {{\n V\n W\n }}\n{lines}\n}}\n{}{}",
            with(""),
            with6("").replace("instance V", "instance W")
        )
    };
    for (text, want) in [
        (with("version 3\n v3_checksum_as_v2"), &[][..]),
        (with6("version 2"), &[]),
        (with6(hmac), &[]),
        (with("nopreempt\n timer_expired_backup"), &[]),
        (with("version 3\n unicast_peer {\n 10.0.0.2\n }\n old_unicast_checksum"), &[]),
        (alone("no_virtual_ipaddress"), &[]),
        (alone("virtual_ipaddress {\n 10.0.0.9 dev eth0\n }"), &[]),
        (
            alone("no_virtual_ipaddress\n vrf blue"),
            &["c:8:2: `vrf` is not supported yet; its adverts do not go through the VRF"],
        ),
        (group("notify_master /bin/true\n smtp_alert\n notify_priority_changes\n sync_group_tracking_weight"), &[]),
        (
            group("track_file {\n f\n }"),
            &["c:9:1: `track_file` is not supported yet; the files are not tracked; use a vrrp_script"],
        ),
        (
            with("strict_mode\n priority 255"),
            &["c:2:1: `strict_mode` is not supported yet; its rules hold, but traffic to the addresses is accepted all the same"],
        ),
        (
            "global_defs {\n vrrp_priority -5\n vrrp_no_swap\n vrrp_rt_priority 50\n vrrp_cpu_affinity 0\n vrrp_rlimit_rttime 9000\n vrrp_rlimit_rtime 9000\n\
             vrrp_gna_interval 0.1\n vrrp_mcast_group6 ff02::77\n v3_checksum_as_v2\n vrrp_startup_delay 3\n vrrp_delay_after_boot 3\n log_unknown_vrids\n vrrp_version 3\n}\n"
                .to_owned(),
            &[],
        ),
        (
            "global_defs {\n checker_no_swap\n}\n".to_owned(),
            &["c:2:2: `checker_no_swap` is not supported yet; set it where lbd is started: Nice=, CPUAffinity= and the like of its systemd unit"],
        ),
    ] {
        let loaded = load_str("c", &text);
        assert_eq!(summaries(&loaded), want, "{text}");
        assert!(loaded.config.is_some(), "{text}");
    }
}

/// Addresses of an instance without interface have to name theirs.
#[test]
fn addresses_without_an_interface() {
    let text = "vrrp_instance V {\n virtual_router_id 7\n unicast_peer {\n 10.0.0.2\n }\n unicast_src_ip 10.0.0.1\n\
         virtual_ipaddress {\n 10.0.0.8\n 10.0.0.9 dev eth0\n }\n virtual_ipaddress_excluded {\n 10.0.0.10\n }\n}\n";
    let loaded = load_str("c", text);
    let want = |place: &str, address: &str| {
        format!(
            "{place}: {address} names no interface, and vrrp_instance `V` has none; add `dev IF` to it, or `interface IF` to the instance"
        )
    };
    assert_eq!(said(&loaded), [want("c:8:2", "10.0.0.8"), want("c:12:2", "10.0.0.10")]);
    let router = &loaded.config.expect("a configuration").vrrp_instances[0].router;
    assert_eq!((router.addresses.len(), router.excluded_addresses.len()), (1, 0));
    law(&text.replace("10.0.0.8\n", "").replace("10.0.0.10", "10.0.0.10 dev eth1"));
}
