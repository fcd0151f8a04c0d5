//! In network namespaces of their own. Need root, iproute2 and a kernel with macvlan; otherwise a printed `SKIP`.

use std::process::{Command, Stdio};
use std::time::Instant;

use lbd_grammar::config::{OwnLink, OwnLinkKind, virtual_mac};
use lbd_vrrp::{Family, VirtualAddress};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn ip(arguments: &str) -> bool {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let mut command = Command::new("ip");
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn shows(arguments: &str) -> String {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let output = Command::new("ip").args(words).output().expect("ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn setting(key: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/{key}")).unwrap_or_default().trim().to_owned()
}

/// On a thread in a network namespace of its own with `eth0`, unless that cannot be had.
fn inside(test: &str, act: impl FnOnce(&Path) + Send + 'static) {
    let test = format!("router::host::tests::{test}");
    if !Uid::effective().is_root() {
        return lbd_integration::skip::report(&test, "needs root");
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        assert!(ip("link add eth0 address 02:00:00:00:00:01 type veth peer name peer0"));
        if !ip("link add link eth0 probe type macvlan") {
            return lbd_integration::skip::report(&test, "needs a kernel with macvlan");
        }
        assert!(ip("link delete probe"));
        assert!(ip("link set lo up") && ip("link set eth0 up") && ip("link set peer0 up"));
        assert!(ip("addr add 10.77.0.1/24 dev eth0"));
        let dir = tempfile::tempdir().expect("directory");
        act(&dir.path().join("state"));
    });
    thread.join().expect("the test");
}

fn link(name: &str, vrid: u8, family: Family) -> Wanted {
    let vrid = vrid.try_into().expect("a VRID");
    Wanted {
        link: OwnLink {
            name: name.into(),
            parent: "eth0".into(),
            kind: OwnLinkKind::Macvlan { mac: virtual_mac(family, vrid) },
            group: None,
            addresses: Vec::new(),
            link_local: family == Family::V6,
            ipv6: family == Family::V6,
        },
        group: None,
    }
}

fn wants(links: Vec<Wanted>) -> Wants {
    Wants { links, ..Wants::default() }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn an_interface_of_its_own_comes_and_goes_with_the_router() {
    inside("an_interface_of_its_own_comes_and_goes_with_the_router", |state| {
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").expect("rp_filter");
        let before = setting("net/ipv4/conf/eth0/arp_ignore");
        let host = Host::start(state, wants(vec![link("vrrp.5", 5, Family::V4)]), LIMIT).expect("thread");
        let shown = shows("-details link show vrrp.5");
        assert!(shown.contains("00:00:5e:00:01:05") && shown.contains("macvlan mode private"), "{shown}");
        assert!(shown.contains(",UP"), "{shown}");
        for (key, value) in [
            ("net/ipv4/conf/vrrp.5/arp_ignore", "1"),
            ("net/ipv4/conf/vrrp.5/accept_local", "1"),
            ("net/ipv4/conf/vrrp.5/rp_filter", "0"),
            ("net/ipv4/conf/vrrp.5/promote_secondaries", "1"),
            ("net/ipv4/conf/eth0/arp_ignore", "1"),
            ("net/ipv4/conf/eth0/arp_filter", "1"),
            ("net/ipv4/conf/eth0/rp_filter", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv6/conf/vrrp.5/disable_ipv6", "1"),
        ] {
            assert_eq!(setting(key), value, "{key}");
        }
        host.stop(Leave::Nothing, LIMIT);
        assert!(!ip("link show vrrp.5"), "removed");
        assert_eq!(setting("net/ipv4/conf/all/rp_filter"), "1");
        assert_eq!(setting("net/ipv4/conf/eth0/arp_ignore"), before);
        assert!(!state.with_extension("host").exists(), "nothing is left to be remembered");
    });
}

#[test]
fn one_over_ipv6_has_a_link_local_address() {
    inside("one_over_ipv6_has_a_link_local_address", |state| {
        let own = link("vrrp6.5", 5, Family::V6);
        let host = Host::start(state, wants(vec![own]), LIMIT).expect("thread");
        let shown = shows("-6 addr show dev vrrp6.5");
        // The parent's, which is made of its hardware address.
        assert!(shown.contains("fe80::ff:fe00:1/64"), "{shown}");
        assert_eq!(shown.matches("inet6").count(), 1, "{shown}");
        for (name, value) in [("disable_ipv6", "0"), ("accept_ra", "0"), ("autoconf", "0")] {
            assert_eq!(setting(&format!("net/ipv6/conf/vrrp6.5/{name}")), value, "{name}");
        }
        host.stop(Leave::Nothing, LIMIT);
    });
}

#[test]
fn what_somebody_removes_is_made_again_and_a_parent_may_come_later() {
    inside("what_somebody_removes_is_made_again_and_a_parent_may_come_later", |state| {
        let mut later = link("vrrp.6", 6, Family::V4);
        later.link.parent = "eth1".into();
        let links = vec![link("vrrp.5", 5, Family::V4), later];
        let host = Host::start(state, wants(links), LIMIT).expect("thread");
        assert!(ip("link show vrrp.5") && !ip("link show vrrp.6"));
        assert!(ip("link delete vrrp.5"));
        until("it is made again", || ip("link show vrrp.5"));
        assert!(ip("link add eth1 type veth peer name peer1"));
        until("with its parent", || ip("link show vrrp.6"));
        // The kernel takes it along.
        assert!(ip("link delete eth1"));
        until("without its parent", || !ip("link show vrrp.6"));
        assert!(ip("link add eth1 type veth peer name peer1"));
        until("with its parent again", || ip("link show vrrp.6"));
        if ip("link set vrrp.5 down") && ip("link set vrrp.5 name other5") {
            until("it has its name again", || ip("link show vrrp.5") && !ip("link show other5"));
        }
        assert!(ip("link set vrrp.5 down"));
        until("up again", || shows("link show vrrp.5").contains(",UP"));
        host.stop(Leave::Nothing, LIMIT);
        assert!(!ip("link show vrrp.5") && !ip("link show vrrp.6"));
    });
}

#[test]
fn the_next_process_takes_over_and_removes_what_is_wanted_no_more() {
    inside("the_next_process_takes_over_and_removes_what_is_wanted_no_more", |state| {
        let [five, six] = [5, 6].map(|vrid| link(&format!("vrrp.{vrid}"), vrid, Family::V4));
        let index = || shows("link show vrrp.5").split(':').next().map(str::to_owned);
        let first = Host::start(state, wants(vec![five.clone(), six.clone()]), LIMIT).expect("thread");
        let before = index();
        first.stop(Leave::Everything, LIMIT);
        assert!(ip("link show vrrp.5") && ip("link show vrrp.6"), "left");
        assert!(Host::left_anything(state));
        let second = Host::start(state, wants(vec![five]), LIMIT).expect("thread");
        assert_eq!(index(), before, "the same one");
        assert!(!ip("link show vrrp.6"), "removed");
        second.want(Wants::default(), LIMIT);
        assert!(ip("link show vrrp.5"), "virtual routers may still use it");
        second.release().go();
        until("removed by a reload", || !ip("link show vrrp.5"));
        until("nothing is remembered", || !Host::left_anything(state));
        second.stop(Leave::Nothing, LIMIT);
        assert!(!Host::left_anything(state));
    });
}

#[test]
fn another_interface_of_the_name_is_let_be() {
    inside("another_interface_of_the_name_is_let_be", |state| {
        assert!(ip("link add vrrp.5 type veth peer name other0"));
        let host = Host::start(state, wants(vec![link("vrrp.5", 5, Family::V4)]), LIMIT).expect("thread");
        assert!(shows("-details link show vrrp.5").contains("veth"));
        host.stop(Leave::Nothing, LIMIT);
        assert!(ip("link show vrrp.5"), "still there");
    });
}

#[test]
fn the_packet_filter_and_settings_come_and_go() {
    inside("the_packet_filter_and_settings_come_and_go", |state| {
        let firewall = Firewall {
            table: "keepalived".into(),
            priority: -1,
            closed: [("10.77.0.9".parse().expect("address"), "eth0".to_owned())].into(),
            ..Firewall::default()
        };
        let listed = || {
            let output = Command::new("nft").args(["list", "ruleset"]).output().expect("nft");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let key = "net/ipv4/conf/eth0/promote_secondaries";
        std::fs::write(format!("/proc/sys/{key}"), "0").expect("setting");
        let all = Wants { promote: ["eth0".to_owned()].into(), firewall, ..Wants::default() };
        let host = Host::start(state, all.clone(), LIMIT).expect("thread");
        assert!(listed().contains("10.77.0.9"), "{}", listed());
        assert_eq!(setting(key), "1");
        let other = Firewall { table: "other".into(), ..all.firewall.clone() };
        host.want(Wants { firewall: other, ..all.clone() }, LIMIT);
        assert!(listed().contains("table ip other") && !listed().contains("keepalived"), "{}", listed());
        // Whoever loads another rule set.
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().expect("nft").success());
        until("it is set again", || listed().contains("table ip other"));
        // A crash, and a configuration that needs none.
        host.stop(Leave::Everything, LIMIT);
        let host = Host::start(state, Wants::default(), LIMIT).expect("thread");
        assert_eq!(listed(), "");
        host.stop(Leave::Nothing, LIMIT);
        assert_eq!(setting(key), "0");
    });
}

#[test]
fn a_reload_without_interfaces_of_its_own_has_the_host_as_it_was() {
    inside("a_reload_without_interfaces_of_its_own_has_the_host_as_it_was", |state| {
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").expect("rp_filter");
        let keys =
            ["all/rp_filter", "eth0/rp_filter", "eth0/arp_ignore", "eth0/arp_filter", "eth0/arp_announce"]
                .map(|key| format!("net/ipv4/conf/{key}"));
        let all = || keys.each_ref().map(|key| setting(key));
        let before = all();
        let five = link("vrrp.5", 5, Family::V4);
        let host = Host::start(state, wants(vec![five.clone()]), LIMIT).expect("thread");
        let needed = all();
        assert_eq!(needed.join(" "), "0 1 1 1 2");
        // Before the kernel is changed it is written down what was there: a crash loses nothing.
        let text = std::fs::read_to_string(state.with_extension("host")).expect("remembered");
        for (key, value) in keys.iter().zip(&before) {
            assert!(
                *value == setting(key) || text.contains(&format!("\"{key}\":\"{value}\"")),
                "{key}: {text}"
            );
        }
        host.want(Wants::default(), LIMIT);
        assert_eq!(all(), needed, "it may still be used");
        let stale = host.release();
        host.want(wants(vec![five]), LIMIT);
        stale.go();
        host.want(Wants::default(), LIMIT);
        assert_eq!(all(), needed, "that was said of another reload");
        host.release().go();
        until("as it was", || all() == before);
        until("nothing is remembered", || !Host::left_anything(state));
        host.stop(Leave::Nothing, LIMIT);
    });
}

/// disable_local_igmp, a kill and what the next process makes of it.
#[test]
fn a_setting_of_the_process_outlives_it_until_the_next_one() {
    inside("a_setting_of_the_process_outlives_it_until_the_next_one", |state| {
        let key = "net/ipv4/igmp_link_local_mcast_reports";
        let quiet = || Wants { quiet_igmp: true, ..Wants::default() };
        assert_eq!(setting(key), "1");
        for (name, next, while_it_runs) in
            [("wants it too", quiet(), "0"), ("does not", Wants::default(), "1")]
        {
            let killed = Host::start(state, quiet(), LIMIT).expect("thread");
            assert_eq!(setting(key), "0", "{name}");
            killed.stop(Leave::Everything, LIMIT);
            assert_eq!(setting(key), "0", "{name}: it stays");
            let host = Host::start(state, next, LIMIT).expect("thread");
            assert_eq!(setting(key), while_it_runs, "{name}");
            host.stop(Leave::Nothing, LIMIT);
            assert_eq!(setting(key), "1", "{name}: put right");
            assert!(!Host::left_anything(state), "{name}");
        }
        let host = Host::start(state, quiet(), LIMIT).expect("thread");
        host.stop(Leave::Instances, LIMIT);
        assert_eq!(setting(key), "1", "without lbd nobody needs it");
    });
}

#[test]
fn an_interface_that_somebody_else_made_as_wanted_stays() {
    inside("an_interface_that_somebody_else_made_as_wanted_stays", |state| {
        assert!(ip("link add vrrp.5 link eth0 address 00:00:5e:00:01:05 type macvlan mode private"));
        let key = "net/ipv4/conf/vrrp.5/arp_ignore";
        let host = Host::start(state, wants(vec![link("vrrp.5", 5, Family::V4)]), LIMIT).expect("thread");
        assert!(shows("link show vrrp.5").contains(",UP"));
        assert_eq!(setting(key), "1");
        host.stop(Leave::Nothing, LIMIT);
        assert!(ip("link show vrrp.5"), "it is not ours to remove");
        assert_eq!(setting(key), "0", "its settings are as they were");
    });
}

#[test]
fn what_a_reload_changes_about_an_interface_is_changed_in_place() {
    inside("what_a_reload_changes_about_an_interface_is_changed_in_place", |state| {
        let mut five = link("vrrp.5", 5, Family::V4);
        let address = |last: u8| VirtualAddress::new([10, 77, 0, last].into(), 24);
        five.link.addresses = vec![address(31)];
        let host = Host::start(state, wants(vec![five.clone()]), LIMIT).expect("thread");
        let index = || shows("link show vrrp.5").split(':').next().map(str::to_owned);
        let before = index();
        assert_eq!(setting("net/ipv6/conf/vrrp.5/disable_ipv6"), "1");
        (five.link.addresses, five.link.ipv6, five.group) = (vec![address(32)], true, Some(7));
        host.want(wants(vec![five]), LIMIT);
        assert_eq!(setting("net/ipv6/conf/vrrp.5/disable_ipv6"), "0");
        assert!(shows("link show vrrp.5").contains("group 7"), "{}", shows("link show vrrp.5"));
        let shown = shows("addr show dev vrrp.5");
        assert!(shown.contains("10.77.0.31/24") && shown.contains("10.77.0.32/24"), "{shown}");
        host.release().go();
        until("the old address is gone", || !shows("addr show dev vrrp.5").contains("10.77.0.31/24"));
        assert!(shows("addr show dev vrrp.5").contains("10.77.0.32/24"));
        assert_eq!(index(), before, "the same one");
        // The parent joins a VRF.
        if ip("link add blue type vrf table 10") {
            assert!(ip("link set blue up") && ip("link set eth0 master blue"));
            until("so does it", || shows("link show vrrp.5").contains("master blue"));
            assert!(ip("link set eth0 nomaster"));
            until("and leaves it", || !shows("link show vrrp.5").contains("master"));
        } else {
            lbd_integration::skip::report("router::host::tests::in_a_vrf", "needs a kernel with vrf");
        }
        host.stop(Leave::Nothing, LIMIT);
    });
}

#[test]
fn without_nft_all_else_goes_on() {
    inside("without_nft_all_else_goes_on", |state| {
        let firewall =
            Firewall { table: "keepalived".into(), own: ["vrrp.5".to_owned()].into(), ..Firewall::default() };
        let before = setting("net/ipv4/conf/eth0/arp_ignore");
        let all = Wants { firewall, ..wants(vec![link("vrrp.5", 5, Family::V4)]) };
        let started = Instant::now();
        let host = Host::start_with(state, all.clone(), LIMIT, "/nonexistent/nft".into()).expect("thread");
        assert!(shows("link show vrrp.5").contains(",UP"));
        assert_eq!(setting("net/ipv4/conf/eth0/arp_ignore"), "1");
        host.want(Wants { links: vec![link("vrrp.6", 6, Family::V4)], ..all }, LIMIT);
        assert!(ip("link show vrrp.6"));
        host.release().go();
        until("one goes by a reload", || !ip("link show vrrp.5"));
        host.stop(Leave::Nothing, LIMIT);
        assert!(started.elapsed() < LIMIT, "nobody waited: {:?}", started.elapsed());
        assert!(!ip("link show vrrp.6"));
        assert_eq!(setting("net/ipv4/conf/eth0/arp_ignore"), before);
        assert!(!Host::left_anything(state), "there is no table to be removed");
    });
}
