//! global_defs and the keywords of the top level: what they mean, what is said of mistakes, and that
//! they are read again as they are written out.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::summaries;
use lbd_grammar::config::*;
use lbd_grammar::{Kind, Loaded, Secrets, WhenAbsent, blocks, dump, load_str};
use lbd_vrrp::{GratuitousArp, Version};
use proptest::strategy::Strategy;

/// What is said beside that something is not supported yet.
fn said(loaded: &Loaded) -> Vec<String> {
    let worth = loaded.diagnostics.iter().filter(|found| found.kind != Kind::Unserved);
    worth.map(|found| found.summary(&loaded.sources)).collect()
}

/// Loads, writes out, loads again: the same configuration and the same text, which is given.
fn written(text: &str) -> (Config, String) {
    let loaded = load_str("c", text);
    let all = summaries(&loaded);
    let config = loaded.config.unwrap_or_else(|| panic!("{text}\n{all:#?}"));
    let written = dump(&config, Secrets::Shown);
    let again = load_str("d", &written);
    let lint = |found: &lbd_grammar::Diagnostic| matches!(found.kind, Kind::Unserved | Kind::Lint);
    assert!(again.diagnostics.iter().all(lint), "{text}\n{written}\n{:#?}", said(&again));
    let second = again.config.expect("a configuration");
    assert_eq!(second, config, "{text}\n{written}");
    assert_eq!(dump(&second, Secrets::Shown), written);
    (config, written)
}

fn global(lines: &str) -> Global {
    written(&format!("global_defs {{\n{lines}\n}}\n")).0.global
}

/// As reference/global_defs.md has them.
#[test]
fn defaults() {
    let config = written("").0;
    let secs = Duration::from_secs;
    let process = Process { child_wait_time: secs(5), ..Process::default() };
    assert_eq!(config.process, process);

    let scheduling = Scheduling { realtime_limit: Duration::from_micros(10_000), ..Scheduling::default() };
    let buffer = Buffer { bytes: Some(65536), force: false };
    let want = Global {
        mail: Mail { connect_timeout: secs(30), ..Mail::default() },
        life: LifeScripts { startup_timeout: secs(10), shutdown_timeout: secs(10), ..LifeScripts::default() },
        default_interface: "eth0".into(),
        vrrp: VrrpGlobal {
            version: Version::V2,
            strict: false,
            group4: [224, 0, 0, 18].into(),
            group6: "ff02::12".parse().expect("an address"),
            garp: GratuitousArp {
                delay: secs(5),
                repeat: 5,
                refresh: secs(0),
                refresh_repeat: 1,
                lower_priority_delay: secs(5),
                lower_priority_repeat: 5,
            },
            garp_interval: secs(0),
            neighbour_interval: secs(0),
            garp_extra: None,
            down_timer_adverts: 3,
            lower_priority_no_advert: false,
            higher_priority_send_advert: false,
            check_unicast_source: false,
            skip_address_check: false,
            owner_ignore_adverts: false,
            v3_checksum_as_v2: false,
            startup_delay: secs(0),
            delay_after_boot: secs(0),
            log_unknown_vrids: false,
            receive_buffers: None,
            receive_buffers_multiplier: 3,
            vmac_prefix: "vrrp".into(),
            vmac_addr_prefix: "vrrp".into(),
        },
        ipsets: Some(Ipsets {
            address4: "keepalived".into(),
            address6: "keepalived6".into(),
            interface6: "keepalived_if6".into(),
            igmp: "keepalived_igmp".into(),
            mld: "keepalived_mld".into(),
            nd: "keepalived_nd".into(),
        }),
        nftables: Nftables { priority: -1, ..Nftables::default() },
        nftables_ipvs: NftablesIpvs {
            table: None,
            priority: -1,
            first_mark: 1000.try_into().expect("not zero"),
        },
        scheduling: SchedulingOfAll {
            vrrp: scheduling.clone(),
            checker: scheduling.clone(),
            bfd: scheduling,
            most_automatic: 0,
            automatic_delay: secs(1),
        },
        snmp: Snmp { virtual_server_interval: secs(5), real_server_interval: secs(5), ..Snmp::default() },
        dbus: Dbus {
            enabled: false,
            service_name: "org.keepalived.Vrrp1".into(),
            no_interface_name: "none".into(),
        },
        netlink: NetlinkBuffers {
            vrrp_command: buffer,
            vrrp_monitor: buffer,
            process_monitor: Buffer::default(),
            lvs_command: buffer,
            lvs_monitor: buffer,
        },
        umask: 0o177,
        dumps: Dumps { json_version: 1, ..Dumps::default() },
        ..Global::default()
    };
    assert_eq!(config.global, want);
    assert_eq!(global(""), want);
}

/// Each line and what it is written out as. Nothing is said of any of them.
#[test]
fn what_lines_mean() {
    for (line, want) in [
        ("router_id lb1", "router_id lb1"),
        ("router_id \"a b\"", "router_id \"a b\""),
        ("process_names", "process_names"),
        ("process_name abcdefghijklmno", "process_name abcdefghijklmno"),
        ("lvs_process_name x", "checker_process_name x"),
        ("bfd_process_name x", "bfd_process_name x"),
        ("smtp_server 192.0.2.1", "smtp_server 192.0.2.1 25"),
        ("smtp_server 2001:db8::1 2525", "smtp_server 2001:db8::1 2525"),
        ("smtp_server mail-1.example.org 65535", "smtp_server mail-1.example.org 65535"),
        ("smtp_connect_timeout 4294", "smtp_connect_timeout 4294"),
        ("smtp_alert", "smtp_alert true"),
        ("smtp_alert_vrrp off", "smtp_alert_vrrp false"),
        ("smtp_alert_checker yes", "smtp_alert_checker true"),
        ("no_email_faults", "no_email_faults"),
        ("no_checker_emails", "no_checker_emails true"),
        ("checker_log_all_failures", "checker_log_all_failures true"),
        (
            "notification_email {\n a@b c@d\n e@f\n}",
            "notification_email {\n        a@b\n        c@d\n        e@f\n    }",
        ),
        ("notification_email_from \"A <a@b>\"", "notification_email_from \"A <a@b>\""),
        ("startup_script_timeout 1000", "startup_script_timeout 1000"),
        ("shutdown_script_timeout 1", "shutdown_script_timeout 1"),
        ("startup_script \"/bin/x a\" nobody", "startup_script \"/bin/x a\" nobody"),
        ("script_user nobody :", "script_user nobody :"),
        ("script_user nobody :adm", "script_user nobody :adm"),
        ("notify_fifo /run/f nobody adm", "notify_fifo /run/f nobody adm"),
        ("notify_fifo /f\nnotify_fifo_script /bin/x", "notify_fifo_script \"/bin/x\""),
        ("vrrp_notify_priority_changes", "vrrp_notify_priority_changes true"),
        ("fifo_write_vrrp_states_on_reload", "fifo_write_vrrp_states_on_reload"),
        ("rs_init_notifies", "rs_init_notifies true"),
        ("notify_script_timeout 1", "notify_script_timeout 1\n"),
        ("notify_script_timeout 86400", "notify_script_timeout 86400"),
        ("use_symlink_paths", "use_symlink_paths true"),
        ("set_supplementary_groups on", "set_supplementary_groups true"),
        ("dynamic_interfaces", "dynamic_interfaces\n"),
        ("dynamic_interfaces allow_if_changes", "dynamic_interfaces allow_if_changes"),
        ("default_interface eth1", "default_interface eth1"),
        ("disable_local_igmp", "disable_local_igmp"),
        ("v3_checksum_as_v2 off", "v3_checksum_as_v2\n"),
        ("vrrp_mcast_group6 ff02::99", "vrrp_mcast_group6 ff02::99"),
        ("vrrp_garp_lower_prio_delay 4294", "vrrp_garp_lower_prio_delay 4294"),
        ("vrrp_garp_master_delay 2", "vrrp_garp_lower_prio_delay 2"),
        ("vrrp_garp_master_repeat 2", "vrrp_garp_lower_prio_repeat 2"),
        ("vrrp_garp_interval 0.000001", "vrrp_garp_interval 0.000001"),
        ("vrrp_gna_interval 0.5", "vrrp_gna_interval 0.5"),
        ("vrrp_garp_extra_if 1", "vrrp_garp_extra_if 1"),
        ("vrrp_garp_extra_if all 86400", "vrrp_garp_extra_if all 86400"),
        ("vrrp_vmac_garp_intvl all 7", "vrrp_garp_extra_if all 7"),
        ("vrrp_version 3", "vrrp_version 3"),
        ("vrrp_strict", "vrrp_strict true"),
        ("vrrp_startup_delay 0.001", "vrrp_startup_delay 0.001"),
        ("vrrp_delay_after_boot 59.999999", "vrrp_delay_after_boot 59.999999"),
        ("log_unknown_vrids", "log_unknown_vrids"),
        ("vrrp_rx_bufs_policy mtu", "vrrp_rx_bufs_policy MTU"),
        ("vrrp_rx_bufs_policy Advert", "vrrp_rx_bufs_policy ADVERT"),
        ("vrrp_rx_bufs_policy 4294967295", "vrrp_rx_bufs_policy 4294967295"),
        ("vrrp_rx_bufs_multiplier 1", "vrrp_rx_bufs_multiplier 1"),
        ("vmac_prefix v", "vmac_addr_prefix v"),
        ("vmac_addr_prefix w\nvmac_prefix v", "vmac_addr_prefix w"),
        ("vrrp_iptables", "vrrp_iptables INPUT OUTPUT"),
        ("vrrp_iptables A", "vrrp_iptables A\n"),
        ("vrrp_iptables A B", "vrrp_iptables A B"),
        ("vrrp_ipsets", "vrrp_ipsets\n"),
        ("vrrp_ipsets a", "vrrp_ipsets a a6 a_if6 a_igmp a_mld a_nd"),
        ("vrrp_ipsets a b c d e f", "vrrp_ipsets a b c d e f"),
        (
            "vrrp_ipsets abcdefghijklmnopqrstuvwxyzabcde",
            "abcdefghijklmnopqrstuvwxyzabcd6 abcdefghijklmnopqrstuvwxyza_if6 abcdefghijklmnopqrstuvwxyz_igmp",
        ),
        ("nftables", "nftables keepalived"),
        ("nftables t", "nftables t"),
        ("nftables_priority -2147483648", "nftables_priority -2147483648"),
        ("nftables_ifindex", "nftables_ifindex"),
        ("nftables_counters", "nftables_counters"),
        ("nftables_ipvs", "nftables_ipvs keepalived_ipvs"),
        ("nftables_ipvs_priority 2147483647", "nftables_ipvs_priority 2147483647"),
        ("nftables_ipvs_start_fwmark 4294967295", "nftables_ipvs_start_fwmark 4294967295"),
        ("vrrp_priority -20", "vrrp_priority -20"),
        ("checker_priority 19", "checker_priority 19"),
        ("bfd_no_swap", "bfd_no_swap"),
        ("vrrp_rt_priority 99", "vrrp_rt_priority 99"),
        ("checker_cpu_affinity 3 1 2 1", "checker_cpu_affinity 1 2 3"),
        ("bfd_rlimit_rttime 4294967295", "bfd_rlimit_rttime 4294967295"),
        ("vrrp_rlimit_rtime 2", "vrrp_rlimit_rttime 2"),
        ("max_auto_priority", "max_auto_priority 99"),
        ("max_auto_priority -1", "max_auto_priority -1"),
        ("min_auto_priority_delay 10000000", "min_auto_priority_delay 10000000"),
        ("lvs_timeouts udp 2678400 tcp 0", "lvs_timeouts udp 2678400\n"),
        ("lvs_timeouts tcp 1 tcpfin 2\nlvs_timeouts udp 3", "lvs_timeouts tcp 1 tcpfin 2 udp 3"),
        ("lvs_flush", "lvs_flush\n"),
        ("lvs_flush_on_stop", "lvs_flush_on_stop\n"),
        ("lvs_flush_onstop VS", "lvs_flush_on_stop VS"),
        ("lvs_sync_daemon eth1", "lvs_sync_daemon eth1 id 0"),
        (
            "lvs_sync_daemon eth1 id 255 group ff02::81 ttl 1 port 65535 maxlen 65507",
            "lvs_sync_daemon eth1 id 255 maxlen 65507 port 65535 ttl 1 group ff02::81",
        ),
        ("snmp_socket unix:/x", "snmp_socket unix:/x"),
        ("enable_snmp_keepalived", "enable_snmp_vrrp"),
        ("enable_snmp_rfc", "enable_snmp_rfcv2\n    enable_snmp_rfcv3"),
        ("enable_snmp_checker\nenable_traps", "enable_traps\n    enable_snmp_checker"),
        ("snmp_vs_stats_update_interval 0.001", "snmp_rs_stats_update_interval 0.001"),
        (
            "snmp_rs_stats_update_interval 30",
            "snmp_vs_stats_update_interval 5\n    snmp_rs_stats_update_interval 30",
        ),
        ("enable_dbus", "enable_dbus"),
        ("dbus_service_name a.b", "dbus_service_name a.b"),
        ("dbus_no_interface_name x", "dbus_no_interface_name x"),
        ("vrrp_netlink_cmd_rcv_bufs 0", "vrrp_netlink_cmd_rcv_bufs 0"),
        ("process_monitor_rcv_bufs_force", "process_monitor_rcv_bufs_force true"),
        ("umask 0777", "umask 0777"),
        ("umask 0x3f", "umask 0077"),
        ("umask 63", "umask 0077"),
        ("umask IRUSR|IWUSR|IXUSR|IRGRP", "umask 0740"),
        ("umask IRWXU | IWGRP|IXGRP | IROTH|IWOTH|IXOTH", "umask 0737"),
        ("umask IRWXG|IRWXO", "umask 0077"),
        ("random_seed 0", "random_seed 0"),
        ("reload_check_config", "reload_check_config\n"),
        ("reload_check_config /x", "reload_check_config /x"),
        ("reload_time_file /x", "reload_time_file /x"),
        ("reload_repeat", "reload_repeat"),
        ("reload_file", "reload_file\n"),
        ("reload_file /x", "reload_file /x"),
        ("include_check", "include_check read +match +wildcard_match +brace_match"),
        ("include_check match", "include_check read +match\n"),
        (
            "include_check\ninclude_check -read -match",
            "include_check read -read +wildcard_match +brace_match",
        ),
        ("include_check read\ninclude_check +match", "include_check read +match\n"),
        ("config_save_dir /x", "config_save_dir /x"),
        ("tmp_config_directory /x", "tmp_config_directory /x"),
        ("iproute_usr_dir /x", "iproute_usr_dir /x"),
        ("iproute_etc_dir /x", "iproute_etc_dir /x"),
        ("data_use_instance", "data_use_instance true"),
        ("json_version 2", "json_version 2"),
        ("state_dump_file x/", "state_dump_file x/"),
        ("stats_dump_file /x", "stats_dump_file /x"),
        ("json_dump_file /x", "json_dump_file /x"),
    ] {
        let text = format!("global_defs {{\n{line}\n}}\n");
        assert_eq!(said(&load_str("c", &text)), [""; 0], "{line}");
        let text = written(&text).1;
        assert!(text.contains(want), "{line}: no {want:?} in\n{text}");
    }
}

#[test]
fn the_process() {
    for (text, want) in [
        ("net_namespace a", "net_namespace a\nuse_pid_dir\n"),
        ("net_namespace_ipvs", "net_namespace_ipvs\n"),
        ("net_namespace_ipvs b", "net_namespace_ipvs b\n"),
        ("namespace_with_ipsets", "namespace_with_ipsets\n"),
        ("use_pid_dir", "use_pid_dir\n"),
        ("instance x", "instance x\nuse_pid_dir\n"),
        ("child_wait_time 4294967295", "child_wait_time 4294967295\n"),
        ("linkbeat_use_polling", "linkbeat_use_polling\n"),
    ] {
        assert_eq!(said(&load_str("c", text)), [""; 0], "{text}");
        let got = written(text).1;
        assert!(got.contains(want), "{text}: no {want:?} in\n{got}");
    }
}

/// Each value beyond its limits is ignored with one message: what there was stays.
#[test]
fn ranges() {
    let rows: [(&str, &[&str]); 37] = [
        ("smtp_connect_timeout", &["4295", "-1", "x"]),
        ("startup_script_timeout", &["0", "1001"]),
        ("shutdown_script_timeout", &["0", "1001"]),
        ("smtp_server", &["192.0.2.1 0", "192.0.2.1 65536", "a/b", "-a", "10.0.0.256", "\"\""]),
        ("vrrp_mcast_group6", &["224.0.0.18", "2001:db8::1", "x"]),
        ("vrrp_garp_master_delay", &["4295"]),
        ("vrrp_garp_master_repeat", &["4294967296"]),
        ("vrrp_garp_lower_prio_repeat", &["2147483648"]),
        ("vrrp_down_timer_adverts", &["0", "101"]),
        ("vrrp_garp_interval", &["4294.967296", "0.0000001"]),
        ("vrrp_gna_interval", &["4294.967296", "-1"]),
        ("vrrp_garp_extra_if", &["0", "86401", "all", "all 0", "x"]),
        ("vrrp_version", &["1", "4"]),
        ("vrrp_startup_delay", &["0", "0.000999", "4294.967001"]),
        ("vrrp_delay_after_boot", &["0", "4294.968"]),
        ("vrrp_rx_bufs_policy", &["0", "4294967296", "MTUS"]),
        ("vrrp_rx_bufs_multiplier", &["0", "4294967296", "3 4"]),
        ("vrrp_iptables", &["A A", "INPUT INPUT", "abcdefghijklmnopqrstuvwxyzabc"]),
        ("vrrp_ipsets", &["a a", "a a6 a_nd", "abcdefghijklmnopqrstuvwxyzabcdef"]),
        ("nftables_priority", &["2147483648", "-2147483649", "x"]),
        ("nftables_ipvs_start_fwmark", &["0", "4294967296"]),
        ("vrrp_priority", &["-21", "20"]),
        ("checker_cpu_affinity", &["1024", "0 x", "-1"]),
        ("bfd_rlimit_rttime", &["0", "4294967296"]),
        ("max_auto_priority", &["-2", "100"]),
        ("min_auto_priority_delay", &["0", "10000001"]),
        ("lvs_timeouts", &["", "tcp", "tcp 2678401", "tcq 5"]),
        ("lvs_flush_on_stop", &["RS", "vs"]),
        ("snmp_socket", &["", "a b"]),
        ("snmp_vs_stats_update_interval", &["0", "30.000001"]),
        ("umask", &["01000", "0888", "0x200", "512", "IRUSR|FOO", "RUSR", "0x+1"]),
        ("random_seed", &["4294967296", "x"]),
        ("json_version", &["0", "3"]),
        ("iproute_usr_dir", &["a b", ""]),
        ("include_check", &["raed", "read match"]),
        ("dynamic_interfaces", &["x"]),
        ("default_interface", &["abcdefghijklmnop", "a/b"]),
    ];
    let built_in = global("");
    for (keyword, values) in rows {
        for value in values {
            let text = format!("global_defs {{\n {keyword} {value}\n}}\n");
            let loaded = load_str("c", &text);
            let worth: Vec<Kind> = loaded
                .diagnostics
                .iter()
                .map(|found| found.kind)
                .filter(|kind| *kind != Kind::Unserved)
                .collect();
            let got = loaded.config.expect("nothing fatal").global;
            // Of a line of several options the others are kept.
            let kept = *value == "read match" || *value == "tcq 5";
            if *value != "tcq 5" {
                assert_eq!(worth, [Kind::BadValue], "{text}");
            }
            assert!(kept || got == built_in, "{text}");
        }
    }
    for value in ["-1", "4294967296"] {
        let loaded = load_str("c", &format!("child_wait_time {value}\n"));
        assert_eq!(said(&loaded).len(), 1, "{value}");
        assert_eq!(loaded.config.expect("a configuration").process.child_wait_time, Duration::from_secs(5));
    }
}

/// What is used instead of what was written, what is ignored, and what is said of it.
#[test]
fn messages() {
    for (lines, want) in [
        (
            "process_name abcdefghijklmnop",
            &[
                "c:2:1: `process_name` `abcdefghijklmnop` is longer than 15 octets: it is cut to `abcdefghijklmno`; a name of at most 15 octets",
            ][..],
        ),
        (
            "router_id a\nrouter_id b",
            &["c:3:1: `router_id` is given again: this one counts; remove one of them"],
        ),
        ("smtp_connect_timeout 0", &["c:2:1: `smtp_connect_timeout` of 0 is raised to 1; a number from 1"]),
        (
            "startup_script /a\nstartup_script /b",
            &["c:3:1: `startup_script` is given twice; remove one of them; the first counts"],
        ),
        (
            "notify_fifo /a\nnotify_fifo /b",
            &["c:3:1: `notify_fifo` is given twice; remove one of them; the first counts"],
        ),
        (
            "notify_fifo /a\nvrrp_notify_fifo /a\nlvs_notify_fifo /a",
            &[
                "c:3:1: `vrrp_notify_fifo` has the path of `notify_fifo` (first here: c:2:1); give each FIFO a path of its own, or remove this one: `notify_fifo` gets its lines",
                "c:4:1: `lvs_notify_fifo` has the path of `notify_fifo` (first here: c:2:1); give each FIFO a path of its own, or remove this one: `notify_fifo` gets its lines",
            ],
        ),
        (
            "vrrp_notify_fifo /a\nlvs_notify_fifo /a\nvrrp_notify_fifo_script /x\nlvs_notify_fifo_script /y",
            &[
                "c:5:1: `lvs_notify_fifo_script` would be a second reader of the FIFO of `vrrp_notify_fifo`; give the two FIFOs different paths, or remove one of the scripts",
            ],
        ),
        (
            "notify_fifo /a\nnotify_fifo_script </x",
            &[
                "c:3:20: `notify_fifo_script`: a command that begins with `<` is not run here; name the program itself, or write `/bin/sh -c '...'`",
            ],
        ),
        (
            "notify_script_timeout 0",
            &["c:2:23: `notify_script_timeout`: `0` is out of range; a number from 1 to 86400"],
        ),
        (
            "notify_fifo_script /x",
            &[
                "c:2:1: `notify_fifo_script` has no `notify_fifo`, so it is not run; add `notify_fifo PATH`, or remove it",
            ],
        ),
        (
            "notify_fifo\nnotify_fifo_script /x",
            &[
                "c:2:1: `notify_fifo` needs an argument, so it is ignored; write `notify_fifo PATH [USER [GROUP]]` (its script is not run either)",
            ],
        ),
        (
            "vrrp_mcast_group6 ff05::12",
            &[
                "c:2:19: `vrrp_mcast_group6`: `ff05::12` may leave the link; use a group of ff02::/16, as all routers of the link must",
            ],
        ),
        (
            "vrrp_garp_interval 1",
            &[
                "c:2:1: `vrrp_garp_interval` is a second or more: each address waits that long; use a fraction of a second, for example 0.01",
            ],
        ),
        (
            "vrrp_startup_delay 60",
            &[
                "c:2:1: `vrrp_startup_delay` is a minute or more: no address is up before; use less, unless the host needs that long",
            ],
        ),
        (
            "vrrp_garp_extra_if all",
            &["c:2:20: `vrrp_garp_extra_if`: there is no time; write `vrrp_garp_extra_if all SECS`"],
        ),
        (
            "vrrp_rx_bufs_policy ADVERT MTU",
            &[
                "c:2:28: `vrrp_rx_bufs_policy`: only one of MTU, ADVERT and a number counts; a number before MTU, and MTU before ADVERT; remove the others",
            ],
        ),
        (
            "vmac_prefix a\nvmac_prefix b",
            &["c:3:1: `vmac_prefix` is given twice; remove one of them; the first counts"],
        ),
        (
            "vrrp_iptables A A",
            &["c:2:1: `vrrp_iptables`: `A` is there twice, given or derived; give each its own name"],
        ),
        ("nftables\nnftables x", &["c:3:1: `nftables` is given twice; remove one of them; the first counts"]),
        (
            "vrrp_rt_priority 100\nbfd_rt_priority -1",
            &[
                "c:2:1: `vrrp_rt_priority` of 100 is out of range: 99 is used; a number from 1 to 99",
                "c:3:1: `bfd_rt_priority` of -1 is out of range: 1 is used; a number from 1 to 99",
            ],
        ),
        (
            "vrrp_cpu_affinity 1\nvrrp_cpu_affinity 2 x",
            &[
                "c:3:21: `vrrp_cpu_affinity`: `x` is not the number of a CPU, so no CPU is chosen; numbers from 0 to 1023",
            ],
        ),
        ("vrrp_rlimit_rttime 1", &["c:2:1: `vrrp_rlimit_rttime` of 1 is raised to 2; a number from 2"]),
        (
            "lvs_timeouts tcp 5 udp",
            &["c:2:20: `lvs_timeouts`: `udp` has no value; write one after it, or remove it"],
        ),
        (
            "lvs_timeouts tpc 5",
            &[
                "c:2:14: `lvs_timeouts`: `tpc` is no option of it; did you mean `tcp`?",
                "c:2:18: `lvs_timeouts`: `5` is no option of it; one of: tcp, tcpfin, udp",
            ],
        ),
        (
            "lvs_sync_daemon eth0\nlvs_sync_daemon eth1",
            &["c:3:1: `lvs_sync_daemon` is given twice; remove one of them; the first counts"],
        ),
        (
            "lvs_sync_daemon eth0 id 256 ttl 0 group 10.0.0.1 port 1",
            &[
                "c:2:25: `lvs_sync_daemon`: `256` is out of range; a number from 0 to 255",
                "c:2:33: `lvs_sync_daemon`: `0` is out of range; a number from 1 to 255",
                "c:2:41: `lvs_sync_daemon`: `10.0.0.1` is not a multicast address; for example 224.0.0.81",
            ],
        ),
        (
            "lvs_sync_daemon eth0 inst X",
            &[
                "c:2:1: `lvs_sync_daemon` follows vrrp_instance `X`, which is not there; name an instance that is complete, or remove `inst`",
            ],
        ),
        (
            "umask IRUSR|FOO",
            &[
                "c:2:7: `umask`: `FOO` names no bits; a number up to 0777, or names of bits such as IWGRP|IRWXO",
            ],
        ),
        (
            "include_check read match",
            &["c:2:20: `include_check`: `match` is the second word without a sign; write `+match` to add it"],
        ),
        ("include_check raed", &["c:2:15: `include_check`: `raed` is no check; did you mean `read`?"]),
        (
            "tmp_config_directory /a\ntmp_config_directory /b",
            &["c:3:1: `tmp_config_directory` is given twice; remove one of them; the first counts"],
        ),
        (
            "smtp_server a/b",
            &[
                "c:2:13: `smtp_server`: `a/b` is neither an address nor a host name; for example 192.0.2.25 or mail.example.org",
            ],
        ),
    ] {
        let text = format!("global_defs {{\n{lines}\n}}\n");
        assert_eq!(said(&load_str("c", &text)), want, "{lines}");
        written(&text);
    }
    for keyword in ["net_namespace", "net_namespace_ipvs", "instance"] {
        let loaded = load_str("c", &format!("{keyword} a\n{keyword} b\n"));
        let want = format!("c:2:1: `{keyword}` is given twice; remove one of them; the first counts");
        assert_eq!(said(&loaded), [want]);
    }
}

#[test]
fn values_after_mistakes() {
    let cpus =
        global("vrrp_cpu_affinity 1\nvrrp_cpu_affinity 2\nbfd_cpu_affinity 1\nbfd_cpu_affinity x").scheduling;
    assert_eq!(cpus.vrrp.cpus, BTreeSet::from([1, 2]));
    assert_eq!(cpus.bfd.cpus, BTreeSet::new());
    let policy = |lines| global(lines).vrrp.receive_buffers;
    assert_eq!(policy("vrrp_rx_bufs_policy MTU\nvrrp_rx_bufs_policy ADVERT"), Some(ReceiveBuffers::Mtu));
    let bytes = ReceiveBuffers::Bytes(100.try_into().expect("not zero"));
    assert_eq!(policy("vrrp_rx_bufs_policy 100 MTU"), Some(bytes));
    let timeouts = global("lvs_timeouts tcp 5 udp x tcpfin 7").lvs_timeouts;
    assert_eq!((timeouts.tcp, timeouts.tcp_fin, timeouts.udp), (5, 7, 0));
    for (line, group, supplementary) in
        [("a", None, false), ("a b", Some("b"), false), ("a :", None, true), ("a :b", Some("b"), true)]
    {
        let user = global(&format!("script_user {line}")).script_user.expect("a user");
        assert_eq!((user.group.as_deref(), user.supplementary), (group, supplementary), "{line}");
    }
}

/// Only what still has its default; what comes after it counts.
#[test]
fn least_gratuitous_arp() {
    for (name, lines, want) in [
        // delay, repeat, refresh, refresh_repeat, lower delay, lower repeat
        ("alone", "vrrp_min_garp", (0, 1, 0, 1, 0, 1)),
        ("off", "vrrp_min_garp off", (5, 5, 0, 1, 5, 5)),
        (
            "after others",
            "vrrp_garp_master_delay 7\nvrrp_garp_master_refresh 9\nvrrp_min_garp",
            (7, 1, 9, 1, 7, 1),
        ),
        ("after a default that was said", "vrrp_garp_master_delay 5\nvrrp_min_garp", (0, 1, 0, 1, 0, 1)),
        ("before another", "vrrp_min_garp\nvrrp_garp_master_repeat 5", (0, 5, 0, 1, 0, 5)),
        ("lower ones of their own", "vrrp_garp_lower_prio_delay 3\nvrrp_min_garp", (0, 1, 0, 1, 3, 1)),
    ] {
        let garp = global(lines).vrrp.garp;
        let got = (
            garp.delay.as_secs(),
            garp.repeat,
            garp.refresh.as_secs(),
            garp.refresh_repeat,
            garp.lower_priority_delay.as_secs(),
            garp.lower_priority_repeat,
        );
        assert_eq!(got, want, "{name}");
    }
}

/// script_user holds for what stands after it; the output keeps that order.
#[test]
fn scripts_of_the_process() {
    let text = "global_defs {\n startup_script /bin/a\n script_user nobody\n shutdown_script '/bin/b c'\n\
        notify_fifo /f\n notify_fifo_script /bin/r root :\n vrrp_notify_fifo /g\n vrrp_notify_fifo_script /bin/r\n}\n";
    let (config, written) = written(text);
    let user = |id: &Option<lbd_health::ScriptId>| {
        let script = &config.scripts[id.as_ref().expect("a script")];
        script.user.as_ref().map(|user| (user.user.clone(), user.group.clone(), user.supplementary))
    };
    assert_eq!(user(&config.global.life.startup), None);
    assert_eq!(user(&config.global.life.shutdown), Some(("nobody".into(), None, false)));
    let reader = |fifo: &Option<Fifo>| user(&fifo.as_ref().expect("a FIFO").script);
    assert_eq!(reader(&config.global.fifos.all), Some(("root".into(), None, true)));
    assert_eq!(reader(&config.global.fifos.vrrp), Some(("nobody".into(), None, false)));
    assert_eq!(config.scripts.len(), 4);
    assert!(written.find("startup_script") < written.find("script_user nobody"), "{written}");

    let fifos =
        global("notify_fifo /f\nscript_user nobody adm\nvrrp_notify_fifo /g\nlvs_notify_fifo /h root").fifos;
    let owner = |fifo: Option<Fifo>| fifo.expect("a FIFO").user;
    assert_eq!(owner(fifos.all), None);
    assert_eq!(owner(fifos.vrrp), Some(ScriptUser::new("nobody", Some("adm"))));
    assert_eq!(owner(fifos.lvs), Some(ScriptUser::new("root", None)));
}

#[test]
fn the_sync_daemon_follows_an_instance() {
    let instance =
        "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n";
    for (line, id, instance_of) in [
        ("eth1 inst V", 51, Some("V")),
        ("eth1 V", 51, Some("V")),
        ("eth1 V 7", 7, Some("V")),
        ("eth1 V 7 port 5", 7, Some("V")),
        ("eth1 inst V id 0", 0, Some("V")),
        ("eth1 id 7 inst V", 7, Some("V")),
        ("eth1 id 7", 7, None),
    ] {
        let text = format!("global_defs {{\n lvs_sync_daemon {line}\n}}\n{instance}");
        assert_eq!(said(&load_str("c", &text)), [""; 0], "{line}");
        let daemon = written(&text).0.global.sync_daemon.expect("a daemon");
        assert_eq!((daemon.id, daemon.instance.as_deref()), (id, instance_of), "{line}");
    }
    let text = format!(
        "global_defs {{\n lvs_sync_daemon eth1 inst VV\n}}\n{}",
        instance.replace("nce V ", "nce VI ")
    );
    let loaded = load_str("c", &text);
    assert_eq!(
        said(&loaded),
        ["c:2:2: `lvs_sync_daemon` follows vrrp_instance `VV`, which is not there; did you mean `VI`?"]
    );
    assert_eq!(
        said(&load_str("c", "global_defs {\n lvs_sync_daemon eth1 prot 5\n}\n")),
        ["c:2:2: `lvs_sync_daemon` follows vrrp_instance `prot`, which is not there; did you mean `port`?"]
    );
    assert_eq!(loaded.config.expect("a configuration").global.sync_daemon, None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(150))]

    /// Any keyword with any words: what is kept of it can be written and read again.
    #[test]
    fn whatever_is_kept_is_written_out(lines in proptest::collection::vec((0_usize..200, words()), 1..12)) {
        let keywords = &blocks().find(|block| block.name == "global_defs").expect("global_defs").keywords;
        let mut text = String::from("global_defs {\n");
        for (index, words) in lines {
            let keyword = keywords[index % keywords.len()];
            let block = if keyword.block { ["{\n", "\n}"] } else { ["", ""] };
            text.push_str(&format!("{} {}{}{}\n", keyword.name, block[0], words.join(" "), block[1]));
        }
        text.push_str("}\n");
        if load_str("c", &text).config.is_some() {
            written(&text);
        }
    }
}

fn words() -> impl Strategy<Value = Vec<String>> {
    const WORDS: &[&str] = &[
        "0",
        "1",
        "2",
        "3",
        "50",
        "99",
        "1000",
        "65536",
        "4294967295",
        "-1",
        "-20",
        "0.001",
        "1.5",
        "30",
        "on",
        "off",
        "true",
        "x",
        "y",
        "\"a b\"",
        "\"\"",
        "\"#!{}\"",
        "'q",
        "\"$X\"",
        "\"@y z\"",
        "\"~SEQ(a,2)\"",
        "\"\\\\\"",
        "all",
        "MTU",
        "ADVERT",
        "VS",
        "tcp",
        "udp",
        "tcpfin",
        "inst",
        "id",
        "ttl",
        "port",
        "maxlen",
        "group",
        "224.0.0.18",
        "ff02::12",
        "ff05::1",
        "10.0.0.1",
        "mail.example.org",
        "eth0",
        "/bin/x",
        "\"/bin/x 'a b'\"",
        "nobody",
        ":",
        ":adm",
        "IRWXU",
        "IRUSR|IWGRP",
        "0177",
        "0x1f",
        "read",
        "+match",
        "-read",
        "brace_match",
        "allow_if_changes",
        "abcdefghijklmnopqrst",
    ];
    proptest::collection::vec(proptest::sample::select(WORDS).prop_map(str::to_owned), 0..5)
}

/// The files of the world, whole: they are read again as they are written out.
#[test]
fn files_keep_what_they_say() {
    let mut count = 0;
    for folder in ["corpus", "seeds"] {
        let Some(files) = common::shared("files_keep_what_they_say", folder) else { return };
        for (name, text) in files {
            if load_str(&name, &text).config.is_some() {
                written(&text);
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn nftables_without_a_word() {
    for (name, of_global, of_instance, want) in [
        ("no rules", "", "", None),
        ("traffic is dropped", "", "no_accept", Some("keepalived")),
        ("the owner's is not", "", "no_accept\npriority 255", None),
        ("an interface of its own", "", "use_vmac", Some("keepalived")),
        ("strict mode drops too", "vrrp_strict", "", Some("keepalived")),
        ("iptables", "vrrp_iptables", "no_accept", None),
        ("another table", "nftables x", "no_accept", Some("x")),
    ] {
        let text = format!(
            "global_defs {{\n{of_global}\n}}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\n{of_instance}\nvirtual_ipaddress {{\n10.0.0.1\n}}\n}}\n"
        );
        let config = written(&text).0;
        assert_eq!(config.global.nftables.table.as_deref(), want, "{name}");
    }
}

/// Every keyword of both tables with its example, alone and all together.
#[test]
fn every_keyword() {
    let aliases = ["lvs_process_name", "vrrp_vmac_garp_intvl", "lvs_flush_onstop"];
    let mut lines = String::new();
    let mut count = 0;
    for keyword in blocks().find(|block| block.name == "global_defs").expect("global_defs").keywords.iter() {
        let arguments = match (keyword.example, keyword.default) {
            ("", WhenAbsent::Text(text)) => text,
            (example, _) => example,
        };
        let line = match keyword.block {
            true => format!("{} {{\n{arguments}\n}}\n", keyword.name),
            false => format!("{} {arguments}\n", keyword.name),
        };
        let alone = format!("global_defs {{\n{line}}}\n");
        if !keyword.name.ends_with("fifo_script") {
            assert_eq!(said(&load_str("c", &alone)), [""; 0], "{line}");
        }
        written(&alone);
        count += 1;
        if !aliases.contains(&keyword.name) {
            lines.push_str(&line);
        }
    }
    assert!(count >= 140, "{count}");
    let root = "net_namespace a\nnet_namespace_ipvs b\nnamespace_with_ipsets\nuse_pid_dir\ninstance c\nchild_wait_time 9\nlinkbeat_use_polling\n";
    let text = format!("{root}global_defs {{\n{lines}}}\n");
    assert_eq!(said(&load_str("c", &text)), [""; 0], "{text}");
    let config = written(&text).0;
    assert_ne!(config.process, Process::default());
}

#[test]
fn a_sender_in_two_words_is_taken_together() {
    for (line, want, said) in [
        ("\"Load Balancer\" <lb@x.org>", "Load Balancer <lb@x.org>", "they are taken together"),
        ("lb@x.org <lb@x.org>", "lb@x.org", "one word and no more"),
        ("lb@x.org # why", "lb@x.org", ""),
    ] {
        let loaded = load_str("c", &format!("global_defs {{\nnotification_email_from {line}\n}}\n"));
        let found: Vec<String> = loaded.diagnostics.iter().map(|one| one.message.clone()).collect();
        assert_eq!(found.len(), usize::from(!said.is_empty()), "{line}: {found:?}");
        assert!(found.iter().all(|one| one.contains(said)), "{line}: {found:?}");
        let config = loaded.config.expect("a configuration");
        assert_eq!(config.global.mail.from.as_deref(), Some(want), "{line}");
    }
}
