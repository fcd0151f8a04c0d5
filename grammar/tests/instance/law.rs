//! What is written is what was read.

use lbd_grammar::{Secrets, dump, load_str};

use super::{KEY, config, law, with, with6};

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
