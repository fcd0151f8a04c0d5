//! What is said about mistakes: once, in order, with the exact place and a remedy.

mod common;

use common::{rendered, summaries};
use lbd_grammar::{Kind, LoadOptions, Severity, exit_code, load_str, load_text};

const GOOD_INSTANCE: &str =
    "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n  10.0.0.9\n }\n}\n";

/// Statements of a virtual server that is otherwise without fault; they begin in line 6.
fn server(lines: &str) -> String {
    format!(
        "virtual_server 10.0.0.1 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.0.0.2 80 {{ }}\n{lines}\n}}\n"
    )
}

/// Statements of a real server; they begin in line 2.
fn real(lines: &str) -> String {
    format!(
        "virtual_server 10.0.0.1 80 {{ lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.0.0.2 80 {{\n{lines}\n}}\n}}\n"
    )
}

/// Statements of an instance that is otherwise without fault; they begin in line 2.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n  10.0.0.9\n }}\n}}\n"
    )
}

#[test]
fn one_mistake_gives_one_diagnostic() {
    let table: Vec<(&str, String, &str)> = vec![
        ("nothing", String::new(), ""),
        ("a good instance", GOOD_INSTANCE.into(), ""),
        ("unknown scheduler", server(" lb_algo wrrr"), "c:6:10: unknown lb_algo `wrrr`; did you mean `wrr`?"),
        (
            "unknown keyword",
            server(" delay_lop 5"),
            "c:6:2: unknown keyword `delay_lop`; did you mean `delay_loop`?",
        ),
        (
            "keyword of another block",
            server(" uthreshold 5"),
            "c:6:2: unknown keyword `uthreshold`; it belongs in `real_server`",
        ),
        (
            "root keyword",
            "virtual_servr 10.0.0.1 80 { }".into(),
            "c:1:1: unknown keyword `virtual_servr`; did you mean `virtual_server`?",
        ),
        (
            "bad number",
            server(" quorum many"),
            "c:6:9: `quorum`: `many` is not a number; a number from 1 to 4294967295",
        ),
        (
            "no hexadecimal",
            server(" weight 0x10"),
            "c:6:9: `weight`: `0x10` is not a number; a number from 1 to 2147483647",
        ),
        (
            "time",
            server(" delay_loop 0"),
            "c:6:13: `delay_loop`: `0` is out of range; a time in seconds from 0.000001 to 18446744073709.551614",
        ),
        ("every two hours", server(" delay_loop 7200\n delay_before_retry 5000\n warmup 5000"), ""),
        (
            "two hours are no time limit",
            server(" connect_timeout 7200"),
            "c:6:18: `connect_timeout`: `7200` is out of range; a time in seconds from 0.000001 to 4294.967295",
        ),
        (
            "missing argument",
            server(" quorum"),
            "c:6:2: `quorum` needs an argument, so it is ignored; write `quorum N`",
        ),
        (
            "extra word",
            server(" quorum 1 hysteresis 0"),
            "c:6:11: `hysteresis` after `quorum` is ignored; one keyword per line: begin a new line before `hysteresis`",
        ),
        (
            "port too large",
            "virtual_server 10.0.0.1 70000 { real_server 10.0.0.2 80 { } }".into(),
            "c:1:25: `virtual_server`: port `70000` is out of range; a port from 1 to 65535",
        ),
        (
            "port of a real server",
            server(" real_server 10.0.0.3 70000 { }"),
            "c:6:23: `real_server`: port `70000` is out of range; a port from 1 to 65535",
        ),
        (
            "wrong family",
            server(" real_server 2001:db8::1 80 { }"),
            "c:6:2: real_server 2001:db8::1 is inet6, the virtual server inet: NAT cannot join them; give an inet address, or use `lvs_method TUN`",
        ),
        (
            "twice",
            server(" real_server 10.0.0.2 80 { }"),
            "c:6:2: real_server 10.0.0.2:80 is given twice (first here: c:5:2); remove one of them",
        ),
        (
            "quorum too large",
            server(" quorum 3"),
            "c:6:2: quorum 3 is more than all real servers together weigh: 1 is used; lower the quorum, or raise weights",
        ),
        ("quorum of all", server(" quorum 2\n real_server 10.0.0.3 80 { }"), ""),
        (
            "another port with DR",
            server(" real_server 10.0.0.3 81 {\n  lvs_method DR\n }"),
            "c:6:2: DR does not change ports: real_server 10.0.0.3 gets port 80; write the virtual server's port, or use `lb_kind NAT`",
        ),
        (
            "another port with TUN",
            server(" sorry_server 10.0.0.3 81\n sorry_server_lvs_method TUN"),
            "c:6:2: TUN does not change ports: sorry_server 10.0.0.3 gets port 80; write the virtual server's port, or use `lb_kind NAT`",
        ),
        ("another port with NAT", server(" real_server 10.0.0.3 81 { }"), ""),
        ("the same port with DR", server(" real_server 10.0.0.3 80 {\n  lvs_method DR\n }"), ""),
        (
            "a long password",
            instance(" authentication {\n  auth_type PASS\n  auth_pass 123456789\n }"),
            "c:4:3: `auth_pass` has 9 octets, an advert has room for 8: only the first 8 are used; shorten it to 8 octets on all routers",
        ),
        (
            "a password that fits",
            instance(" authentication {\n  auth_type PASS\n  auth_pass 12345678\n }"),
            "",
        ),
        (
            "hysteresis too large",
            server(" hysteresis 1"),
            "c:6:2: hysteresis 1 is not below the quorum: 0 is used; write a number below the quorum",
        ),
        (
            "one-packet scheduling of TCP",
            server(" ops"),
            "c:6:2: `ops` is for UDP only and has no effect here; remove it",
        ),
        (
            "a flag before its scheduler",
            server(" sh-port"),
            "c:6:2: `sh-port` has to stand after `lb_algo sh`; put `lb_algo sh` before it, or remove it",
        ),
        (
            "gue without port",
            server(" lb_kind TUN type gue"),
            "c:6:14: `lb_kind`: a gue tunnel needs a port; add `port N`",
        ),
        (
            "sorry server twice as real",
            server(" sorry_server 10.0.0.2 80\n sorry_server_inhibit"),
            "c:6:2: sorry_server 10.0.0.2:80 is also a real_server: both are inhibited, or neither; set sorry_server_inhibit and its inhibit_on_failure alike",
        ),
        (
            "no block",
            server(" real_server 10.0.0.3 80"),
            "c:6:2: `real_server` needs a block, so it is ignored; write `real_server ADDR [PORT] { … }`",
        ),
        (
            "two keywords in a line",
            real(" weight 0 TCP_CHECK {\n connect_timeout 3\n }"),
            "c:5:11: `TCP_CHECK` must stand on a line of its own; one keyword per line: begin a new line before it",
        ),
        (
            "a block where none belongs",
            real(" weight 1 {\n}"),
            "c:5:11: `weight` takes no block; one keyword per line: begin a new line before it",
        ),
        (
            "unserved keyword",
            real(" snmp_name web1"),
            "c:5:2: `snmp_name` is not supported yet; there is no SNMP",
        ),
        (
            "url without path",
            real(" HTTP_GET {\n url {\n }\n url {\n path /\n }\n }"),
            "c:6:2: `url` has no usable `path`, so it is ignored; add `path /`",
        ),
        (
            "digest",
            real(" HTTP_GET {\n url {\n path /\n digest 12\n }\n }"),
            "c:8:9: `digest`: `12` is no MD5 digest; 32 hexadecimal digits",
        ),
        (
            "status code",
            real(" HTTP_GET {\n url {\n path /\n status_code 200 600\n }\n }"),
            "c:8:18: `status_code`: `600` is no status code; N or N-M, from 100 to 599",
        ),
        (
            "script without a path",
            real(" MISC_CHECK {\n }"),
            "c:5:2: `MISC_CHECK` has no usable `misc_path`, so it is left out; add `misc_path \"COMMAND\"` to it",
        ),
        (
            "unquoted command",
            real(" notify_up /bin/x -a"),
            "c:5:19: `notify_up`: `-a` cannot be a user name, and the second word is one; put the whole command in quotes: `notify_up \"/bin/x -a\"`",
        ),
        (
            "unknown virtual server group",
            "virtual_server group x { }".into(),
            "c:1:22: no virtual_server_group `x` is defined; add a block `virtual_server_group x { … }`",
        ),
        (
            "virtual server twice",
            format!("{0}{0}", server("")),
            "c:8:1: virtual_server TCP 10.0.0.1:80 is defined twice (first here: c:1:1); put all its real servers into one block",
        ),
        (
            "no real server",
            "virtual_server 10.0.0.1 80 { lb_algo rr\n lb_kind DR\n protocol TCP }".into(),
            "c:1:1: virtual_server TCP 10.0.0.1:80 has no real_server, so it is left out; add at least one `real_server ADDR PORT { … }`",
        ),
        (
            "advert interval",
            instance(" advert_int 1.6"),
            "c:2:2: `advert_int` of version 2 counts whole seconds: 2 is used; write the same whole number on all its routers",
        ),
        (
            "nopreempt of a master",
            instance(" state MASTER\n priority 100\n nopreempt"),
            "c:4:2: `nopreempt` has no effect with `state MASTER`; use `state BACKUP` on all its routers and a priority below 255, or remove `nopreempt`",
        ),
        ("unknown state", instance(" state MASTR"), "c:2:8: unknown state `MASTR`; did you mean `MASTER`?"),
        (
            "priority",
            instance(" priority 256"),
            "c:2:11: `priority`: `256` is out of range; a number from 1 to 255",
        ),
        (
            "unicast without peers",
            instance(" unicast_src_ip 10.0.0.5"),
            "c:2:2: unicast is asked for without any usable peer, so adverts go by multicast; list the other routers in `unicast_peer { … }`, or remove the unicast keywords",
        ),
        (
            "peer of the other family",
            instance(" unicast_peer {\n 10.0.0.2\n 2001:db8::1\n }"),
            "c:4:2: peer 2001:db8::1 is IPv6, the instance IPv4; remove it",
        ),
        (
            "unknown script",
            instance(" track_script {\n chk\n }"),
            "c:3:2: no usable vrrp_script `chk` is defined before this line; add a block `vrrp_script chk { … }` before it",
        ),
        ("version 3", instance(" version 3"), ""),
        (
            "address twice",
            instance(" virtual_ipaddress {\n 10.0.0.9/24\n }"),
            "c:8:3: address 10.0.0.9 is given twice (first here: c:3:2); remove one of them",
        ),
        (
            "two addresses in a line",
            instance(" virtual_ipaddress {\n 10.0.0.1 10.0.0.2\n }"),
            "c:3:11: unknown option `10.0.0.2` of an address; one address per line: begin a new line before it",
        ),
        (
            "prefix",
            instance(" virtual_ipaddress {\n 10.0.0.1/33\n }"),
            "c:3:2: `10.0.0.1/33` has no valid prefix length: 32 is used; a number from 0 to 32",
        ),
        (
            "weight",
            instance(" track_interface {\n eth1 weight 254\n }\n priority 1"),
            "c:3:14: weight 254 is reduced to 253; a number from -253 to 253",
        ),
        (
            "authentication without password",
            instance(" authentication {\n auth_type PASS\n }"),
            "c:2:2: `authentication` has no usable `auth_pass`, so adverts go without it; write `auth_type PASS` and `auth_pass SECRET` in it, or remove it",
        ),
        (
            "instance twice",
            format!("{GOOD_INSTANCE}{GOOD_INSTANCE}"),
            "c:8:15: vrrp_instance `V` is given twice (first here: c:1:15); remove one of them",
        ),
        (
            "not defined",
            instance(" priority ${PRIO}"),
            "c:2:11: `PRIO` is not defined before this line; define it: `$PRIO=VALUE` on a line before this one",
        ),
        (
            "defined by another name",
            instance(" $PRIO=7\n priority ${PRI}"),
            "c:3:11: `PRI` is not defined before this line; did you mean `${PRIO}`?",
        ),
        (
            "defined later",
            instance(" priority ${PRIO}\n$PRIO=7"),
            "c:2:11: `PRIO` is not defined before this line; move its definition before this line, or its arguments",
        ),
        (
            "NUL",
            server(" quo\0rum 1"),
            "c:6:5: this line holds a NUL byte; remove the byte; the file may be damaged or not be text",
        ),
        ("neighbour adverts", "global_defs {\n vrrp_gna_interval 0.5\n}".into(), ""),
        ("no gap", "global_defs {\n vrrp_garp_interval 0\n vrrp_gna_interval 0\n}".into(), ""),
        (
            "a flood of gratuitous ARP",
            "global_defs {\n vrrp_garp_master_repeat 4294967295\n}".into(),
            "c:2:2: `vrrp_garp_master_repeat` of 4294967295 is reduced to 100; a number up to 100",
        ),
        (
            "a flood of answers",
            instance(" garp_lower_prio_repeat 101"),
            "c:2:2: `garp_lower_prio_repeat` of 101 is reduced to 100; a number up to 100",
        ),
        (
            "interfaces may always appear later",
            "global_defs {\n dynamic_interfaces allow_if_changes\n}".into(),
            "",
        ),
        (
            "a script with a weight out of range",
            format!(
                "vrrp_script S {{\n script /bin/x\n}}\n{}",
                instance(" track_script {\n S weight 300\n }")
            ),
            "c:6:11: `track_script`: `300` is out of range; a number from -254 to 254",
        ),
        (
            "a script tracked with an unknown option",
            format!("vrrp_script S {{\n script /bin/x\n}}\n{}", instance(" track_script {\n S wait\n }")),
            "c:6:4: `track_script`: unknown option `wait`; write `S weight N [reverse|noreverse]`",
        ),
        (
            "a script tracked by a sync group alone",
            format!(
                "vrrp_script S {{\n script /bin/x\n}}\nvrrp_sync_group G {{\n group {{\n V W\n }}\n track_script {{\n S\n }}\n}}\n{GOOD_INSTANCE}{}",
                GOOD_INSTANCE.replace("instance V", "instance W").replace("id 1", "id 2")
            ),
            "",
        ),
        (
            "a script that nobody tracks",
            format!("vrrp_script S {{\n script /bin/x\n}}\n{GOOD_INSTANCE}"),
            "c:1:13: no vrrp_instance tracks vrrp_script `S`, so it does not run; name it in a track_script block, or remove it",
        ),
        ("own interface tracked", instance(" track_interface {\n eth0\n }"), ""),
        (
            "a label too long",
            instance(" virtual_ipaddress {\n 10.0.0.1/24 label eth0:0123456789a\n }"),
            "c:3:20: `virtual_ipaddress`: the label `eth0:0123456789a` is too long; 1 to 15 characters",
        ),
        (
            "an empty label",
            instance(" virtual_ipaddress {\n 10.0.0.1/24 label \"\"\n }"),
            "c:3:20: `virtual_ipaddress`: the label is empty; 1 to 15 characters",
        ),
        (
            "a broadcast address that is none",
            instance(" virtual_ipaddress {\n 10.0.0.1/24 brd x label 0123456789abcdef\n }"),
            "c:3:18: `virtual_ipaddress`: `x` is not an IPv4 address; an address, + or -",
        ),
        (
            "a prefix without a broadcast address",
            instance(" virtual_ipaddress {\n 10.0.0.1/31 brd +\n }"),
            "c:3:18: `virtual_ipaddress`: a prefix length of 31 leaves no broadcast address; remove it",
        ),
        (
            "an unknown scope",
            instance(" virtual_ipaddress {\n 10.0.0.1/24 scope 256\n }"),
            "c:3:20: `virtual_ipaddress`: `256` is not a scope; global, site, link, host, nowhere or a number from 0 to 255",
        ),
        (
            "an option without its value",
            instance(" virtual_ipaddress {\n 10.0.0.1/24 scope\n }"),
            "c:3:14: `virtual_ipaddress`: `scope` needs a value; add it, or remove the option",
        ),
        (
            "a route of a type that no kernel has",
            instance(" virtual_routes {\n nat 10.9.0.0/16 via 10.0.0.1\n }"),
            "c:3:2: `virtual_routes`: no kernel has routes of the type `nat`; remove the line",
        ),
        (
            "garp_master_repeat of none",
            instance(" garp_master_repeat 0"),
            "c:2:2: `garp_master_repeat` of 0 is raised to 1; a number from 1",
        ),
        (
            "garp_master_refresh_repeat of none",
            instance(" garp_master_refresh_repeat 0"),
            "c:2:2: `garp_master_refresh_repeat` of 0 is raised to 1; a number from 1",
        ),
        (
            "vrrp_garp_master_repeat of none",
            "global_defs {\n vrrp_garp_master_repeat 0\n}".into(),
            "c:2:2: `vrrp_garp_master_repeat` of 0 is raised to 1; a number from 1",
        ),
        ("no answers to a lower priority", instance(" garp_lower_prio_repeat 0"), ""),
        (
            "a script with interval 0",
            format!(
                "vrrp_script S {{\n script /bin/x\n interval 0\n}}\n{}",
                instance(" track_script {\n S\n }")
            ),
            "c:3:2: `interval` is below a millisecond: 1 second is used; a time in seconds from 0.001",
        ),
        (
            "a script with timeout 0",
            format!(
                "vrrp_script S {{\n script /bin/x\n timeout 0\n}}\n{}",
                instance(" track_script {\n S\n }")
            ),
            "c:3:2: `timeout` is below a millisecond: 1 second is used; a time in seconds from 0.001",
        ),
        (
            "a script with interval 0.0009",
            format!(
                "vrrp_script S {{\n script /bin/x\n interval 0.0009\n}}\n{}",
                instance(" track_script {\n S\n }")
            ),
            "c:3:2: `interval` is below a millisecond: 1 second is used; a time in seconds from 0.001",
        ),
        (
            "keyword of an instance that has a global form",
            "global_defs {\n garp_master_delay 5\n}".into(),
            "c:2:2: unknown keyword `garp_master_delay`; did you mean `vrrp_garp_master_delay`?",
        ),
        (
            "keyword of an instance whose global namesake is something else",
            "global_defs {\n priority 5\n}".into(),
            "c:2:2: unknown keyword `priority`; it belongs in `vrrp_instance`",
        ),
        (
            "a block of the top level without its prefix",
            "script x {\n}".into(),
            "c:1:1: unknown keyword `script`; did you mean `vrrp_script`?",
        ),
        (
            "a line that is no block",
            "script /bin/x".into(),
            "c:1:1: unknown keyword `script`; it belongs in `vrrp_script`",
        ),
        ("check before a reload", "global_defs {\n reload_check_config\n}".into(), ""),
        (
            "check before a reload, with its own log",
            "global_defs {\n reload_check_config /tmp/x\n}".into(),
            "",
        ),
        (
            "no multicast group",
            instance(" mcast_dst_ip 10.0.0.1"),
            "c:2:15: `mcast_dst_ip`: `10.0.0.1` is no multicast group; a group of 224.0.0.0/4 or ff02::/16",
        ),
        (
            "no global multicast group",
            "global_defs {\n vrrp_mcast_group4 ff02::12\n}".into(),
            "c:2:20: `vrrp_mcast_group4`: `ff02::12` is no IPv4 multicast group; 224.0.0.0/4",
        ),
        ("not a reference", instance(" notify \"/bin/x $HOME ${HOME}\""), ""),
    ];
    let mut wrong = Vec::new();
    for (name, text, want) in table {
        let loaded = load_str("c", &text);
        let mut got = summaries(&loaded);
        // Sound, though not advised.
        got.retain(|one| !one.contains("`auth_type PASS` sends its password"));
        let want: Vec<&str> = if want.is_empty() { vec![] } else { vec![want] };
        if got != want {
            wrong.push(format!("{name}:\n{text}\n got {got:#?}\nwant {want:#?}"));
        }
        assert!(loaded.config.is_some(), "{name}: keepalived survives this, so lbd does");
        for diagnostic in &loaded.diagnostics {
            assert_eq!(diagnostic.severity, Severity::Warning, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_mistake_that_stops_all_is_the_error() {
    const GOOD: &str = "vrrp_instance V {\nversion 3\ninterface eth0\nvirtual_router_id 7\nvirtual_ipaddress {\n192.0.2.9\n}\n}\n";
    for (name, good, bad, want) in [
        ("identifier", "id 7", "id 300", "c:4:19: `virtual_router_id`: `300` is out of range"),
        ("a keyword misspelt", "router_id", "routr_id", "c:4:1: unknown keyword `virtual_routr_id`"),
        ("interface", "interface", "interfce", "c:3:1: unknown keyword `interfce`"),
        (
            "addresses",
            "192.0.2.9",
            "192.0.2.999",
            "c:6:1: `virtual_ipaddress`: `192.0.2.999` is not an address",
        ),
    ] {
        let mut loaded = load_str("c", &GOOD.replace(good, bad));
        loaded.diagnostics.retain(|found| found.kind != Kind::Unserved);
        let said = summaries(&loaded);
        assert!(said.len() == 1 && said[0].starts_with(want), "{name}: {said:#?}");
        assert!(said[0].contains("vrrp_instance `V` cannot run without"), "{name}: {said:#?}");
        assert_eq!(exit_code(&loaded.diagnostics), 3, "{name}");
    }
}

#[test]
fn what_cannot_run_is_an_error() {
    for (name, text, want) in [
        (
            "no identifier",
            "vrrp_instance V {\n interface eth0\n no_virtual_ipaddress\n}",
            "c:1:15: vrrp_instance `V` has no usable `virtual_router_id`; add `virtual_router_id N`, N from 1 to 255, the same on all its routers",
        ),
        (
            "no interface",
            "vrrp_instance V {\n virtual_router_id 1\n no_virtual_ipaddress\n}",
            "c:1:15: vrrp_instance `V` has no usable `interface`; add `interface NAME`",
        ),
        (
            "same identifier",
            "vrrp_instance V {\n interface e\n virtual_router_id 7\n no_virtual_ipaddress\n}\nvrrp_instance W {\n interface e\n virtual_router_id 7\n no_virtual_ipaddress\n}",
            "c:8:2: vrrp_instance `V` and `W` have the same virtual_router_id 7 on e (the other is here: c:3:2); give one of them another number from 1 to 255, the same on all its routers",
        ),
        (
            "unclosed block",
            "global_defs {\n router_id x\n",
            "c:1:13: this block is not closed; add the missing `}`",
        ),
        (
            "one brace too many",
            "global_defs {\n}\n}\n",
            "c:3:1: this `}` closes nothing; remove it, or add the `{` that it belongs to",
        ),
        (
            "unclosed quote",
            "global_defs {\n router_id \"x\n}\n",
            "c:2:12: this quote is not closed; close it on the same line",
        ),
        (
            "brace without keyword",
            "{ }",
            "c:1:1: this `{` has no keyword before it; remove it with its `}`, or put the block's keyword before it",
        ),
    ] {
        let loaded = load_str("c", text);
        assert_eq!(summaries(&loaded), [want], "{name}");
        assert!(loaded.config.is_none(), "{name}");
        assert_eq!(exit_code(&loaded.diagnostics), 3, "{name}");
    }
}

/// What follows from a mistake is said with it, not beside it, where nothing else makes up for it.
#[test]
fn the_only_value_gives_one_diagnostic_too() {
    const ALONE: &str = "(this real server is left out, and with it the virtual server, which has no other)";
    let good = [" lb_algo rr", " lb_kind NAT", " protocol TCP", " real_server 10.0.0.2 80 { }"];
    // name, line of the virtual server, what stands there, the diagnostic, whether it is still served.
    for (name, line, bad, want, served) in [
        (
            "scheduler",
            0,
            " lb_algo wrrr",
            "c:2:10: unknown lb_algo `wrrr`; did you mean `wrr`? (ignored: wlc is used)",
            true,
        ),
        (
            "scheduler by its other name",
            0,
            " lvs_sched wrrr",
            "c:2:12: unknown lvs_sched `wrrr`; did you mean `wrr`? (ignored: wlc is used)",
            true,
        ),
        (
            "no scheduler",
            0,
            " lb_algo",
            "c:2:2: `lb_algo` needs an argument, so it is ignored; write `lb_algo rr|wrr|lc|wlc|lblc|sh|mh|dh|fo|ovf|lblcr|sed|nq|twos` (ignored: wlc is used)",
            true,
        ),
        (
            "misspelt lb_algo",
            0,
            " lb_alg rr",
            "c:2:2: unknown keyword `lb_alg`; did you mean `lb_algo`? (ignored: wlc is used)",
            true,
        ),
        ("absent", 0, "", "c:1:1: no usable `lb_algo`: wlc is used; add `lb_algo wlc`", true),
        (
            "method",
            1,
            " lb_kind DRR",
            "c:3:10: unknown lb_kind `DRR`; did you mean `DR`? (ignored: NAT is used)",
            true,
        ),
        (
            "tunnel",
            1,
            " lvs_method TUN type gue",
            "c:3:17: `lvs_method`: a gue tunnel needs a port; add `port N` (ignored: NAT is used)",
            true,
        ),
        (
            "protocol",
            2,
            " protocol TPC",
            "c:4:11: unknown protocol `TPC`; did you mean `TCP`? (ignored: UDP is used)",
            true,
        ),
        (
            "port of the only real server",
            3,
            " real_server 10.0.0.2 70000 { }",
            "c:5:23: `real_server`: port `70000` is out of range; a port from 1 to 65535 ALONE",
            false,
        ),
        (
            "family of the only real server",
            3,
            " real_server 2001:db8::1 80 { }",
            "c:5:2: real_server 2001:db8::1 is inet6, the virtual server inet: NAT cannot join them; give an inet address, or use `lvs_method TUN` ALONE",
            false,
        ),
        (
            "the only real server without a block",
            3,
            " real_server 10.0.0.2 80",
            "c:5:2: `real_server` needs a block, so it is ignored; write `real_server ADDR [PORT] { … }` ALONE",
            false,
        ),
    ] {
        let mut lines = good;
        *lines.get_mut(line).expect("one of the lines") = bad;
        let loaded = load_str("c", &format!("virtual_server 10.0.0.1 80 {{\n{}\n}}\n", lines.join("\n")));
        assert_eq!(summaries(&loaded), [want.replace("ALONE", ALONE)], "{name}");
        assert_eq!(exit_code(&loaded.diagnostics), 4, "{name}");
        assert_eq!(loaded.config.expect(name).virtual_servers.len(), usize::from(served), "{name}");
    }
    // The value of another block, or of another virtual server, is no reason.
    let real = "virtual_server 10.0.0.1 80 {\n lb_algo rr\n protocol TCP\n real_server 10.0.0.2 80 {\n lvs_method DRR\n }\n}\n";
    let absent = "no usable `lb_kind`: NAT is used; add `lb_kind NAT`, `lb_kind DR` or `lb_kind TUN`";
    assert_eq!(
        summaries(&load_str("c", real)),
        [format!("c:1:1: {absent}"), "c:5:13: unknown lvs_method `DRR`; did you mean `DR`?".into()]
    );
    let two = format!(
        "{}{}",
        server(" lb_algo wrrr"),
        real.replace("10.0.0.1 ", "10.0.0.3 ").replace(" lb_algo rr\n", "")
    );
    let got = summaries(&load_str("c", &two));
    assert!(
        got.contains(&"c:8:1: no usable `lb_algo`: wlc is used; add `lb_algo wlc`".to_owned()),
        "{got:#?}"
    );
}

/// What an undefined name leaves missing is not also said to be missing.
#[test]
fn an_undefined_name_is_the_only_thing_said() {
    let real = "virtual_server 10.0.0.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server ${REAL} 80 {\n }\n}";
    assert_eq!(
        summaries(&load_str("c", real)),
        [
            "c:5:14: `REAL` is not defined before this line; define it: `$REAL=VALUE` on a line before this one \
             (this real server is left out, and with it the virtual server, which has no other)"
        ]
    );
}

#[test]
fn distinct_groups_or_peers_may_share_an_identifier() {
    let one = |name: &str, how: &str| {
        format!(
            "vrrp_instance {name} {{\n interface e\n virtual_router_id 7\n no_virtual_ipaddress\n{how}\n}}\n"
        )
    };
    for (name, left, right, conflict) in [
        ("same group", "", "", true),
        ("two groups", "", "mcast_dst_ip 224.0.0.99", false),
        ("one by unicast", "", "unicast_peer {\n10.0.0.1\n}", false),
        ("other peers", "unicast_peer {\n10.0.0.1\n}", "unicast_peer {\n10.0.0.2\n}", false),
        ("a common peer", "unicast_peer {\n10.0.0.1\n}", "unicast_peer {\n10.0.0.2\n10.0.0.1\n}", true),
    ] {
        let loaded = load_str("c", &format!("{}{}", one("A", left), one("B", right)));
        assert_eq!(loaded.config.is_none(), conflict, "{name}: {:?}", summaries(&loaded));
    }
}

/// An unclosed block hides neither what is wrong in it nor what follows it.
#[test]
fn all_mistakes_are_reported_once_and_in_order() {
    let text = "global_defs {\n routr_id x\n}\nvrrp_instance V {\n interface eth0\n virtual_router_id 300\n virtual_ipaddress {\n  10.0.0.999\n}\nvirtual_server 10.0.0.1 80 {\n lb_algo wrrr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.2 {\n  wieght 1\n }\n}\n";
    let loaded = load_str("c", text);
    assert_eq!(
        summaries(&loaded),
        [
            "c:2:2: unknown keyword `routr_id`; did you mean `router_id`?",
            "c:6:20: `virtual_router_id`: `300` is out of range; a number from 1 to 255 (vrrp_instance `V` cannot run without it)",
            "c:7:20: this block is not closed; add the missing `}`",
            "c:8:3: `virtual_ipaddress`: `10.0.0.999` is not an address; for example 192.0.2.1/24",
            "c:11:10: unknown lb_algo `wrrr`; did you mean `wrr`? (ignored: wlc is used)",
            "c:15:3: unknown keyword `wieght`; did you mean `weight`?",
        ]
    );
}

#[test]
fn the_long_form_shows_the_line_and_the_fix() {
    let loaded = load_str("lb.conf", &server("    lb_algo wrrr # fast"));
    insta::assert_snapshot!(rendered(&loaded), @r"
    warning: unknown lb_algo `wrrr`
     --> lb.conf:6:13
      |
    6 |     lb_algo wrrr # fast
      |             ^^^^ ignored
      |
    help: did you mean `wrr`?
      |
    6 -     lb_algo wrrr # fast
    6 +     lb_algo wrr # fast
      |
    ");
}

#[test]
fn the_long_form_shows_what_follows() {
    let text = server("").replace("lb_algo rr", "lb_algo wrrr");
    insta::assert_snapshot!(rendered(&load_str("lb.conf", &text)), @r"
    warning: unknown lb_algo `wrrr`
     --> lb.conf:2:10
      |
    2 |  lb_algo wrrr
      |          ^^^^ ignored: wlc is used
      |
    help: did you mean `wrr`?
      |
    2 -  lb_algo wrrr
    2 +  lb_algo wrr
      |
    ");
}

#[test]
fn a_password_is_shown_nowhere() {
    let text = instance(" authentication {\n  auth_type PASS\n  auth_pass topsecret1 extra\n }");
    let loaded = load_str("c", &text);
    let long = rendered(&loaded);
    assert!(long.contains("only the first 8 are used"), "{long}");
    let all = format!("{long}{:?}{:?}", summaries(&loaded), loaded.config);
    assert!(!all.contains("topsecret"), "{all}");
}

/// Neither what a definition or a generator brings to the keyword, nor what stands after a misspelt one.
#[test]
fn a_password_of_a_definition_is_shown_nowhere() {
    let block = |line: &str| instance(&format!(" authentication {{\n  auth_type PASS\n  {line}\n }}"));
    for (name, text) in [
        ("two definitions", format!("$P=hush hushhush\n$A=auth_pass ${{P}}\n{}", block("$A"))),
        ("a definition in a word", format!("$P=hushhushhush\n$A=auth_pass x${{P}}\n{}", block("$A"))),
        ("the keyword is defined", format!("$K=auth_pass\n{}", block("$K hush hushhush"))),
        ("a list", block("~LST(P,hushhushhush) auth_pass $P x")),
        ("an escape", format!("$P=hush\\#hush\n{}", block("auth_pass $P"))),
        ("misspelt", block("auth_pas hushhush")),
        ("another word", block("auth_password hushhush")),
    ] {
        let loaded = load_str("c", &text);
        assert!(!loaded.diagnostics.is_empty(), "{name}");
        let all = format!("{}{:?}", rendered(&loaded), summaries(&loaded));
        assert!(!all.contains("hush"), "{name}: {all}");
    }
    let loaded = load_str("c", "$D=eth0eth0eth0eth0\n$K=auth_pass x\nvrrp_instance V {\n interface $D\n}\n");
    assert!(rendered(&loaded).contains("$D=eth0eth0"), "{}", rendered(&loaded));
}

#[test]
fn a_line_of_any_octets_can_be_shown() {
    for text in [&b"\xff"[..], b"x \xffy", b"x y\xff", b"\xf4\x8f\xbf\xbf", b"$X=\xe4\n${X}x\xff z\n"] {
        let loaded = load_text("c", text, &LoadOptions::default());
        assert!(rendered(&loaded).contains("not UTF-8"), "{text:?}");
    }
}

#[test]
fn exit_codes_follow_the_order_3_4_5() {
    use lbd_grammar::Diagnostic;
    let warn = |kind| Diagnostic::warning(kind, None, "");
    let error = Diagnostic::error(Kind::Fatal, None, "");
    for (name, diagnostics, want) in [
        ("clean", vec![], 0),
        ("lint", vec![warn(Kind::Lint)], 0),
        ("include that is missing", vec![warn(Kind::CannotRead)], 0),
        ("script security", vec![warn(Kind::Lint), warn(Kind::ScriptSecurity)], 5),
        ("unserved", vec![warn(Kind::ScriptSecurity), warn(Kind::Unserved)], 4),
        ("missing interface", vec![warn(Kind::MissingInterface)], 4),
        ("repaired", vec![warn(Kind::Repaired)], 4),
        ("error", vec![warn(Kind::Unserved), error], 3),
    ] {
        assert_eq!(exit_code(&diagnostics), want, "{name}");
    }
}

/// A file of nonsense does not give a flood.
#[test]
fn diagnostics_are_limited() {
    let loaded = load_str("c", &"nonsense\n".repeat(100_000));
    assert!(loaded.diagnostics.len() <= 2_001, "{}", loaded.diagnostics.len());
    let long = "x".repeat(1 << 20);
    let loaded = load_str("c", &format!("global_defs {{\n router_id a {long}\n {long} y\n}}"));
    assert_eq!(loaded.diagnostics.len(), 2);
    assert!(rendered(&loaded).len() < 10_000, "a long line is cut");
}
