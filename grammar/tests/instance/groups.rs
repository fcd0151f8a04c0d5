//! vrrp_sync_group, track_group, garp_group.

use std::time::Duration;

use lbd_grammar::{Kind, load_str};

use super::{law, said};

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

/// Mail and FIFO lines of priorities: of an instance in the group, of one without a group, of the group.
#[test]
fn who_is_told_where_it_is_not_said() {
    for (name, global, of_group, of_instance, mail, priorities) in [
        ("built-in", "", "", "", [false; 3], [false; 2]),
        ("all alerts", "smtp_alert", "", "", [true; 3], [false; 2]),
        ("alerts of VRRP count more", "smtp_alert\n smtp_alert_vrrp off", "", "", [false; 3], [false; 2]),
        ("alerts of VRRP alone", "smtp_alert off\n smtp_alert_vrrp", "", "", [true; 3], [false; 2]),
        ("not those of checkers", "smtp_alert_checker", "", "", [false; 3], [false; 2]),
        ("each has its own", "", "smtp_alert", "", [false, false, true], [false; 2]),
        ("its own counts most", "smtp_alert_vrrp", "", "smtp_alert off", [false, true, true], [false; 2]),
        ("all priorities", "vrrp_notify_priority_changes", "", "", [false; 3], [true; 2]),
        ("priorities of a group", "", "notify_priority_changes", "", [false; 3], [true, false]),
        (
            "group before global",
            "vrrp_notify_priority_changes",
            "notify_priority_changes off",
            "",
            [false; 3],
            [false, true],
        ),
        (
            "instance before group",
            "",
            "notify_priority_changes",
            "notify_priority_changes off",
            [false; 3],
            [false; 2],
        ),
    ] {
        let instance = |name: &str, vrid: u8, more: &str| {
            format!(
                "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n no_virtual_ipaddress\n {more}\n}}\n"
            )
        };
        let text = format!(
            "global_defs {{\n {global}\n}}\nvrrp_sync_group G {{\n group {{\n A\n C\n }}\n {of_group}\n}}\n{}{}{}",
            instance("A", 1, of_instance),
            instance("B", 2, ""),
            instance("C", 3, "")
        );
        let loaded = load_str("c", &text);
        assert_eq!(said(&loaded), [""; 0], "{name}");
        let config = loaded.config.expect("a configuration");
        let [a, b, _] = config.vrrp_instances.as_slice() else { panic!("three instances") };
        assert_eq!([a.mail, b.mail, config.sync_groups["G"].mail], mail, "{name}");
        assert_eq!([a.tells_priority, b.tells_priority], priorities, "{name}");
    }
}

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
    let (half, second) = (Duration::from_millis(500), Duration::from_secs(1));
    let gaps = config.vrrp_setup().garp_intervals;
    let gap = |interface: &str| {
        ["10.0.0.1", "fe80::1"].map(|address| gaps.of(interface, address.parse().expect("an address")).1)
    };
    assert_eq!(
        ["eth0", "eth2", "eth3", "eth4"].map(gap),
        [[half, Duration::ZERO], [half, Duration::ZERO], [Duration::ZERO, second], [Duration::ZERO; 2]]
    );
    assert!(loaded.diagnostics.iter().all(|one| one.kind != Kind::Unserved));
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
