//! Each rule by its exact message, and the near miss that stays silent.

use std::sync::Arc;

use lbd_vrrp::{Authentication, Delivery, Priority, TrackerId, Version, Weight};

use super::*;
use crate::config::SyncGroup;
use crate::load_str;

/// A configuration that was read, changed to what its keywords are to mean.
type Row<'a> = (&'a str, String, fn(&mut Config), &'a [&'a str]);

fn run(rows: &[Row<'_>]) {
    for (name, text, change, want) in rows {
        let loaded = load_str("c", text);
        let mut config = loaded.config.unwrap_or_else(|| panic!("{name}: {:?}", loaded.diagnostics));
        change(&mut config);
        let found = check(&config, &loaded.spans, &Blocks::new(&loaded.sources), &[]);
        assert!(found.iter().all(|one| one.kind == Kind::Lint && one.help.is_some()), "{name}");
        let found: Vec<String> = found
            .into_iter()
            .map(|one| one.settled(&loaded.sources).summary(&loaded.sources))
            // Its own test has it.
            .filter(|one| !one.contains(WITHDRAWN))
            .collect();
        assert_eq!(found, *want, "{name}");
    }
}

const WITHDRAWN: &str = "RFC 3768 took both out of VRRP";

fn as_read(_: &mut Config) {}

/// An instance whose lines begin in line 2.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n  10.0.0.9\n }}\n}}\n"
    )
}

/// A script and an instance whose lines begin in line 5.
fn tracking(lines: &str) -> String {
    format!("vrrp_script chk {{\n script /bin/true\n}}\n{}", instance(lines))
}

/// Statements of a virtual server, from line 6 on.
fn server(lines: &str) -> String {
    format!(
        "virtual_server 10.0.0.9 80 {{\n lb_algo rr\n lb_kind NAT\n protocol UDP\n real_server 10.0.0.2 80 {{ }}\n{lines}\n}}\n"
    )
}

/// A check with these lines, from line 8 on, of a real server with those from line 6 on.
fn checked(real: &str, check: &str) -> String {
    format!(
        "virtual_server 10.0.0.9 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.0.0.2 80 {{\n{real}\n  TCP_CHECK {{\n{check}\n  }}\n }}\n}}\n"
    )
}

fn dropped(config: &mut Config) {
    config.vrrp_instances.iter_mut().for_each(|instance| instance.router.accept = false);
}

fn strict(config: &mut Config) {
    dropped(config);
    config.vrrp_instances.iter_mut().for_each(|instance| instance.router.strict = true);
}

fn strict_3(config: &mut Config) {
    strict(config);
    config.vrrp_instances.iter_mut().for_each(|instance| instance.router.version = Version::V3);
}

fn strict_owner(config: &mut Config) {
    strict(config);
    config.vrrp_instances.iter_mut().for_each(|instance| instance.router.priority = Priority::OWNER);
}

#[test]
fn addresses_that_are_filtered() {
    let both = |lines: &str| format!("{}{}", instance(lines), server(""));
    let global = |text: String| format!("global_defs {{\n vrrp_strict\n}}\n{text}");
    let two = format!(
        "{}vrrp_instance W {{\n interface eth0\n virtual_router_id 2\n virtual_ipaddress {{\n 10.0.0.7\n 10.0.0.8\n }}\n}}\n",
        instance("")
    );
    run(&[
        (
            "no_accept and a virtual server",
            both(" no_accept"),
            dropped,
            &[
                "c:2:2: `no_accept` has packets to 10.0.0.9 dropped before virtual_server UDP 10.0.0.9:80 sees them (the virtual server: c:9:1); remove `no_accept`",
            ],
        ),
        (
            "a group of virtual servers",
            format!(
                "virtual_server_group G {{\n 10.0.0.1-9 80\n}}\n{}virtual_server group G {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.0.0.2 80 {{ }}\n}}\n",
                instance(" no_accept")
            ),
            dropped,
            &[
                "c:5:2: `no_accept` has packets to 10.0.0.9 dropped before virtual_server GROUP G sees them (the virtual server: c:12:1); remove `no_accept`",
            ],
        ),
        ("no_accept without one does what it is for", instance(" no_accept"), dropped, &[]),
        ("accepted", both(" accept"), as_read, &[]),
        (
            "strict and a virtual server",
            both(" strict_mode"),
            strict,
            &[
                "c:2:2: `strict_mode` has packets to 10.0.0.9 dropped before virtual_server UDP 10.0.0.9:80 sees them (the virtual server: c:9:1); remove `strict_mode`",
            ],
        ),
        (
            "strict by global_defs",
            global(instance("")),
            strict,
            &["c:2:2: `vrrp_strict` has packets to 10.0.0.9 dropped on this host; remove `vrrp_strict`"],
        ),
        (
            "version 3 may accept",
            global(instance("")),
            strict_3,
            &[
                "c:2:2: `vrrp_strict` has packets to 10.0.0.9 dropped on this host; add `accept` to the vrrp_instance, or remove `vrrp_strict`",
            ],
        ),
        (
            "one line, one message",
            global(two),
            strict,
            &[
                "c:2:2: `vrrp_strict` has packets to 10.0.0.9 and 2 more addresses dropped on this host; remove `vrrp_strict`",
            ],
        ),
        (
            "strict, and no_accept by itself",
            both(" strict_mode\n no_accept"),
            strict,
            &[
                "c:3:2: `no_accept` has packets to 10.0.0.9 dropped before virtual_server UDP 10.0.0.9:80 sees them (the virtual server: c:10:1); remove `no_accept` and strict mode",
            ],
        ),
        ("accept that is ignored is said to be", both(" strict_mode\n accept"), strict, &[]),
        ("the owner answers", global(both("")), strict_owner, &[]),
    ]);
}

#[test]
fn weights_that_do_nothing() {
    let weight = |priority: &str, weight: &str| {
        tracking(&format!(" priority {priority}\n track_script {{\n  chk weight {weight}\n }}"))
    };
    let two = |priority: &str, one: &str, other: &str| {
        format!(
            "vrrp_script chk2 {{\n script /bin/false\n}}\n{}",
            tracking(&format!(
                " priority {priority}\n track_script {{\n  chk weight {one}\n  chk2 weight {other}\n }}"
            ))
        )
    };
    fn group_of(config: &mut Config, weight: Weight) {
        let members = vec![Arc::from("V")];
        let trackers = vec![(TrackerId::script("chk"), weight)];
        config.sync_groups.insert("G".into(), SyncGroup { members, trackers, ..SyncGroup::default() });
    }
    let grouped = |config: &mut Config| group_of(config, Weight { value: 20, reverse: true });
    let apart = |config: &mut Config| {
        let members = vec![Arc::from("W")];
        let trackers = vec![(TrackerId::script("chk"), Weight { value: 20, reverse: true })];
        config.sync_groups.insert("G".into(), SyncGroup { members, trackers, ..SyncGroup::default() });
    };
    let of_a_file = |config: &mut Config| {
        let router = &mut config.vrrp_instances[0].router;
        router.track_files = vec![(TrackerId::file("F"), Weight { value: 1, reverse: false })];
    };
    run(&[
        (
            "nothing to add",
            weight("254", "20"),
            as_read,
            &[
                "c:7:3: no weight changes the priority of vrrp_instance `V`: it is 254, the highest, anyway (the priority: c:5:2); lower `priority` by as much as the weights add, on all its routers, or use negative weights",
            ],
        ),
        (
            "nothing to take away",
            weight("1", "-20"),
            as_read,
            &[
                "c:7:3: no weight changes the priority of vrrp_instance `V`: it is 1, the lowest, anyway (the priority: c:5:2); raise `priority`, or use `weight 0`: a failure is FAULT then",
            ],
        ),
        (
            "reverse, nothing to take away",
            weight("1", "20 reverse"),
            as_read,
            &[
                "c:7:3: no weight changes the priority of vrrp_instance `V`: it is 1, the lowest, anyway (the priority: c:5:2); raise `priority`, or use `weight 0`: a failure is FAULT then",
            ],
        ),
        (
            "a part is lost",
            weight("250", "20"),
            as_read,
            &[
                "c:7:3: with all that is tracked in order vrrp_instance `V` comes to 270, but 254 is the highest priority: a failure of script `chk` takes away 4, not 20 (the priority: c:5:2); lower `priority` by 16 on all its routers, or the weights",
            ],
        ),
        (
            "a failure that moves nothing",
            two("200", "30", "60"),
            as_read,
            &[
                "c:10:3: with all that is tracked in order vrrp_instance `V` comes to 290, but 254 is the highest priority: a failure of script `chk` takes away 0, not 30 (the priority: c:8:2); lower `priority` by 36 on all its routers, or the weights",
            ],
        ),
        (
            "weights alone are too much",
            two("100", "200", "200"),
            as_read,
            &[
                "c:10:3: with all that is tracked in order vrrp_instance `V` comes to 500, but 254 is the highest priority: a failure of script `chk` takes away 0, not 200 (the priority: c:8:2); lower the weights on all its routers",
            ],
        ),
        ("just the highest", weight("234", "20"), as_read, &[]),
        ("down to the lowest is far enough", weight("100", "-254"), as_read, &[]),
        ("the usual", weight("100", "-20"), as_read, &[]),
        ("FAULT needs no room", weight("254", "0"), as_read, &[]),
        ("the highest, lowered", weight("254", "-20"), as_read, &[]),
        ("what a file adds is not known", weight("254", "20"), of_a_file, &[]),
        (
            "the group's weight counts",
            weight("100", "20"),
            grouped,
            &[
                "c:7:3: weight 20 of script `chk` has no effect: what vrrp_sync_group `G` tracks too has the group's weight, 20 reverse; track it in one of them",
            ],
        ),
        (
            "and is too much, where the instance's is not",
            weight("240", "10"),
            |config| group_of(config, Weight { value: 20, reverse: false }),
            &[
                "c:7:3: weight 10 of script `chk` has no effect: what vrrp_sync_group `G` tracks too has the group's weight, 20; track it in one of them",
                "with all that is tracked in order vrrp_instance `V` comes to 260, but 254 is the highest priority: a failure of script `chk` takes away 14, not 20 (the priority: c:5:2); lower `priority` by 6 on all its routers, or the weights",
            ],
        ),
        (
            "both the same",
            weight("100", "20"),
            |config| group_of(config, Weight { value: 20, reverse: false }),
            &[],
        ),
        (
            "once is not too much",
            weight("230", "20"),
            |config| group_of(config, Weight { value: 20, reverse: false }),
            &[],
        ),
        (
            "without a weight",
            weight("100", "0"),
            grouped,
            &[
                "weight 20 reverse of script `chk` in vrrp_sync_group `G` has no effect on vrrp_instance `V`, which tracks it without a weight (this one counts: c:7:3); track it in one of them",
            ],
        ),
        (
            "an interface with an address on it",
            instance(
                " virtual_ipaddress_excluded {\n  10.1.0.9 dev eth1\n }\n track_interface {\n  eth1 weight 20\n }",
            ),
            as_read,
            &[
                "c:6:3: weight 20 of interface `eth1` has no effect: an address, route or rule that is on it is tracked, without a weight; remove the weight, or add `no_track` to what is on the interface",
            ],
        ),
        (
            "one that is not tracked",
            instance(
                " virtual_ipaddress_excluded {\n  10.1.0.9 dev eth1 no_track\n }\n track_interface {\n  eth1 weight 20\n }",
            ),
            as_read,
            &[],
        ),
        ("of another group", weight("100", "20"), apart, &[]),
    ]);
}

#[test]
fn weights_with_nopreempt() {
    let lines = |weight: &str, more: &str| {
        tracking(&format!(" nopreempt\n track_script {{\n  chk weight {weight}\n }}\n{more}"))
    };
    run(&[
        (
            "a weight",
            lines("-20", ""),
            as_read,
            &[
                "c:5:2: `nopreempt` leaves a living master alone, so weight -20 of script `chk` never makes this router take over from one, and no router that has `nopreempt` takes over because of it (the weight: c:7:3); use `weight 0`: a failure is FAULT then and another router takes over; or remove `nopreempt`",
            ],
        ),
        ("FAULT", lines("0", ""), as_read, &[]),
        ("undone", lines("-20", " preempt"), as_read, &[]),
    ]);
}

#[test]
fn passwords_that_a_comment_ends() {
    let password =
        |text: &str| instance(&format!(" authentication {{\n  auth_type PASS\n  auth_pass {text}\n }}"));
    let hash = "c:4:15: `auth_pass` ends before this `#`: a comment begins here; put the whole of it in quotes, on all its routers; or a blank before the comment";
    run(&[
        ("a hash", password("ab#cd"), as_read, &[hash]),
        ("only in the comment", password("ab#"), as_read, &[hash]),
        (
            "an exclamation mark",
            password("s3cret!"),
            as_read,
            &[
                "c:4:19: `auth_pass` ends before this `!`: a comment begins here; put the whole of it in quotes, on all its routers; or a blank before the comment",
            ],
        ),
        ("in quotes", password("\"ab#cd\""), as_read, &[]),
        ("a comment after quotes", password("\"ab\"#cd"), as_read, &[]),
        ("a comment", password("ab #cd"), as_read, &[]),
        ("nothing", password("ab"), as_read, &[]),
    ]);
    let loaded = load_str("c", &password("topsecret#more"));
    for said in loaded.diagnostics.iter().map(|one| crate::render(one, &loaded.sources, false)) {
        assert!(!said.contains("topsecret") && !said.contains("more"), "{said}");
    }
}

#[test]
fn withdrawn_authentication_is_said_once() {
    let with = |name: &str, lines: &str| instance(lines).replace("instance V", &format!("instance {name}"));
    let old = |kind: &str| format!(" authentication {{\n  auth_type {kind}\n  auth_pass x\n }}");
    let hmac = " auth_hmac {\n  key 1 0123456789abcdef0123456789abcdef\n  active_key 1\n }";
    let help = "sign adverts with `auth_hmac { … }` on all its routers, one after the other with `mode receive-only`, then `permissive` (keepalived has it since 2.4.2); or remove `authentication`";
    let pass = "`auth_type PASS` sends its password in clear text";
    let header = "`auth_type AH` rests on MD5 and a password of 8 octets";
    for (name, text, want) in [
        ("none", with("V", ""), None),
        ("signed", with("V", hmac), None),
        ("PASS", with("V", &old("PASS")), Some(format!("c:3:3: {pass}; {WITHDRAWN}; {help}"))),
        ("AH", with("V", &old("AH")), Some(format!("c:3:3: {header}; {WITHDRAWN}; {help}"))),
        (
            "the first of several",
            with("V", hmac)
                + &with("W", &old("AH")).replace("id 1", "id 2")
                + &with("X", &old("PASS")).replace("id 1", "id 3"),
            Some(format!("c:14:3: {header}, here and in further instances; {WITHDRAWN}; {help}")),
        ),
        ("no effect with version 3", with("V", &(" version 3\n".to_owned() + &old("PASS"))), None),
    ] {
        let loaded = load_str("c", &text);
        let said = loaded.diagnostics.iter().filter(|one| one.message.contains(WITHDRAWN));
        let said: Vec<String> = said.map(|one| one.summary(&loaded.sources)).collect();
        assert_eq!(said, Vec::from_iter(want), "{name}");
    }
}

#[test]
fn authentication_through_routers() {
    let lines = |kind: &str, source: &str, peer: &str| {
        instance(&format!(
            " unicast_src_ip {source}\n unicast_peer {{\n  {peer}\n }}\n authentication {{\n  auth_type {kind}\n  auth_pass secret\n }}"
        ))
    };
    let header = |config: &mut Config| {
        config.vrrp_instances[0].router.authentication = Authentication::Ah(*b"secret\0\0");
    };
    let none = |config: &mut Config| {
        config.vrrp_instances[0].router.authentication = Authentication::None;
    };
    let hops = |config: &mut Config| {
        if let Delivery::Unicast { peers, .. } = &mut config.vrrp_instances[0].router.delivery {
            peers[0].min_ttl = 250;
        }
    };
    let this_link = |config: &mut Config| {
        if let Delivery::Unicast { peers, .. } = &mut config.vrrp_instances[0].router.delivery {
            peers[0].min_ttl = 255;
        }
    };
    let wide = |config: &mut Config| config.vrrp_instances[0].router.addresses[0].prefix = 8;
    run(&[
        (
            "another private block",
            lines("PASS", "10.1.0.1", "192.168.1.2"),
            as_read,
            &[
                "c:4:3: 10.1.0.1 and 192.168.1.2 are in different networks: every router on the way to 192.168.1.2 reads the password of `auth_type PASS` (the authentication: c:7:3); send adverts through a tunnel such as WireGuard or IPsec, and let VRRP in from the peers alone",
            ],
        ),
        (
            "AH",
            lines("PASS", "10.1.0.1", "203.0.113.2"),
            header,
            &[
                "c:4:3: 10.1.0.1 and 203.0.113.2 are in different networks: `auth_type AH` covers the addresses, so a translation on the way to 203.0.113.2 makes every advert invalid (the authentication: c:7:3); send adverts through a tunnel such as WireGuard or IPsec",
            ],
        ),
        (
            "routers by its own words",
            lines("PASS", "10.1.0.1", "10.1.0.2"),
            hops,
            &[
                "c:4:3: `min_ttl 250` lets adverts come through routers: every router on the way to 10.1.0.2 reads the password of `auth_type PASS` (the authentication: c:7:3); send adverts through a tunnel such as WireGuard or IPsec, and let VRRP in from the peers alone",
            ],
        ),
        ("one link by its own words", lines("PASS", "10.1.0.1", "10.1.0.2"), this_link, &[]),
        ("maybe one link", lines("PASS", "10.1.0.1", "10.1.255.2"), as_read, &[]),
        ("one wide link", lines("PASS", "10.1.0.1", "10.2.0.2"), wide, &[]),
        ("nothing to read", lines("PASS", "10.1.0.1", "192.168.1.2"), none, &[]),
    ]);
}

#[test]
fn virtual_servers() {
    run(&[
        (
            "persistence and single packets",
            server(" persistence_timeout 50\n ops"),
            as_read,
            &[
                "c:7:2: persistence keeps a client on one server for 50 s, so `ops` cannot schedule each of its datagrams by itself (persistence: c:6:2); remove one of them",
            ],
        ),
        ("single packets", server(" ops"), as_read, &[]),
        ("persistence", server(" persistence_timeout 50"), as_read, &[]),
        (
            "the sorry server is a real server",
            server(" sorry_server 10.0.0.2 80"),
            as_read,
            &[
                "c:6:2: sorry_server 10.0.0.2:80 is also a real_server: if it is the one that failed, all clients are sent to it (the real server: c:5:2); give it a server of its own, which says that the service is out of order",
            ],
        ),
        ("another port", server(" sorry_server 10.0.0.2 81"), as_read, &[]),
    ]);
}

#[test]
fn checks_that_wait_too_long() {
    run(&[
        (
            "in the check",
            checked("  delay_loop 2", "   connect_timeout 10\n   retry 2\n   delay_before_retry 1"),
            as_read,
            &[
                "c:8:4: `connect_timeout` 10 s is longer than delay_loop 2 s: a server that does not answer counts as down only after up to 34 s (the time between checks: c:6:3); write a shorter timeout, or a longer delay_loop",
            ],
        ),
        (
            "of all checks, said once",
            server(
                " protocol TCP\n connect_timeout 2.5\n delay_loop 1\n real_server 10.0.0.3 80 {\n  TCP_CHECK {\n  }\n }\n real_server 10.0.0.4 80 {\n  TCP_CHECK {\n  }\n }",
            ),
            as_read,
            &[
                "c:7:2: `connect_timeout` 2.5 s is longer than delay_loop 1 s: a server that does not answer counts as down only after up to 7 s (the time between checks: c:8:2); write a shorter timeout, or a longer delay_loop",
            ],
        ),
        (
            "a program",
            server(
                " delay_loop 5\n real_server 10.0.0.3 80 {\n  MISC_CHECK {\n   misc_path /bin/true\n   misc_timeout 6\n  }\n }",
            ),
            as_read,
            &[
                "c:10:4: `misc_timeout` 6 s is longer than delay_loop 5 s: a server that does not answer counts as down only after up to 11 s (the time between checks: c:6:2); write a shorter timeout, or a longer delay_loop",
            ],
        ),
        (
            "silence that is an answer",
            server(" delay_loop 2\n connect_timeout 3\n real_server 10.0.0.3 80 {\n  UDP_CHECK {\n  }\n }"),
            as_read,
            &[],
        ),
        (
            "silence that is none",
            server(
                " delay_loop 2\n connect_timeout 3\n real_server 10.0.0.3 80 {\n  UDP_CHECK {\n   require_reply\n  }\n }",
            ),
            as_read,
            &[
                "c:7:2: `connect_timeout` 3 s is longer than delay_loop 2 s: a server that does not answer counts as down only after up to 9 s (the time between checks: c:6:2); write a shorter timeout, or a longer delay_loop",
            ],
        ),
        ("as long", checked("  delay_loop 10", "   connect_timeout 10"), as_read, &[]),
        ("nobody wrote a timeout", checked("  delay_loop 1", ""), as_read, &[]),
    ]);
}

#[test]
fn one_mistake_one_diagnostic() {
    // The inhibit that was put right is said at the same place.
    let loaded = load_str("c", &server(" sorry_server 10.0.0.2 80\n sorry_server_inhibit"));
    assert_eq!(loaded.diagnostics.len(), 1, "{:?}", loaded.diagnostics);
}

#[test]
fn what_cannot_run_has_no_lints() {
    let text = format!("{}\n}}\n", server(" ops\n persistence_timeout 9"));
    let kinds: Vec<Kind> = load_str("c", &text).diagnostics.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::Syntax]);
}

#[test]
fn every_rule_says_why() {
    for (name, why) in lints() {
        assert!(!name.is_empty() && why.ends_with('.') && !why.contains("  "), "{name}: {why}");
    }
}
