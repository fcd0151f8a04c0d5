use std::net::IpAddr;
use std::sync::Arc;

use lbd_vrrp::{DeviceAddress, VirtualAddress};

use super::*;
use crate::router::object::Entries;

fn list(last: &[u8]) -> Arc<[DeviceAddress]> {
    let address = |last: &u8| DeviceAddress {
        device: "eth0".into(),
        address: VirtualAddress::new(IpAddr::from([10, 0, 0, *last]), 32),
    };
    last.iter().map(address).collect()
}

fn want(router: u64, hold: &[u8], purge: &[&[u8]]) -> Want {
    let purge = purge.iter().map(|last| Load::of_addresses(list(last))).collect();
    let hold = Load::of_addresses(list(hold));
    Want { router: RouterId(router), holds: !hold.is_empty(), hold, purge }
}

fn last(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    }
}

fn key_last(key: &Key) -> u8 {
    match key {
        Key::Address(_, ip, _) => last(*ip),
        _ => panic!("{key:?}"),
    }
}

/// Addresses with these last octets, and routes and rules in words.
fn load(addresses: &[u8], routes: &[&str], rules: &[&str]) -> Load {
    let route = |line: &&str| lbd_grammar::read_route(line).unwrap_or_else(|| panic!("{line}"));
    let rule = |line: &&str| lbd_grammar::read_rule(line).unwrap_or_else(|| panic!("{line}"));
    let routes: Vec<_> = routes.iter().map(route).collect();
    let rules: Vec<_> = rules.iter().map(rule).collect();
    Load { addresses: list(addresses), entries: Arc::new(Entries::of(&routes, &rules)) }
}

/// What they are, in short: the last octet of an address, the destination of a route, the preference of a rule.
fn short(keys: impl Iterator<Item = Key>) -> Vec<String> {
    let one = |key| match key {
        Key::Address(_, ip, _) => last(ip).to_string(),
        Key::Route(route) => route.destination.to_string(),
        Key::Rule(rule) => format!("#{}", rule.preference),
    };
    keys.map(one).collect()
}

#[test]
fn a_failure_that_lasts_is_told_once() {
    let mut book = Book::default();
    let plan = book.plan(&[want(1, &[1], &[])], |_| false);
    let key = &plan.add[0];
    for (name, failure, news) in [
        ("added at once", None, false),
        ("first failure", Some("A"), true),
        ("the same", Some("A"), false),
        ("the same again", Some("A"), false),
        ("another", Some("B"), true),
        ("added at last", None, true),
        ("still there", None, false),
        ("failing anew", Some("B"), true),
    ] {
        assert_eq!(book.tried(key, failure.map(str::to_owned)).is_some(), news, "{name}");
        assert_eq!(book.get(key).expect("held").is_set(), failure.is_none(), "{name}");
    }
}

/// One after the other; everything that is to be added is there then.
#[test]
fn wants_in_turn() {
    let mut book = Book::default();
    let mut there = HashSet::new();
    let none: &[u8] = &[];
    for (name, wants, add, remove, done) in [
        ("comes", vec![want(1, &[3, 1, 2], &[])], &[3, 1, 2][..], none, vec![(1, 3, None)]),
        ("is there", vec![want(1, &[3, 1, 2], &[])], none, none, vec![(1, 0, None)]),
        ("shared", vec![want(2, &[2, 4], &[])], &[4], none, vec![(2, 1, None)]),
        (
            "last in, first out; what another holds stays",
            vec![want(1, &[], &[])],
            none,
            &[1, 3],
            vec![(1, 0, Some(2))],
        ),
        (
            "moves",
            vec![want(2, &[], &[]), want(3, &[4, 5], &[])],
            &[5],
            &[2],
            vec![(2, 0, Some(1)), (3, 1, None)],
        ),
        (
            "purged: neither what is held nor anything twice",
            vec![want(0, &[], &[&[4, 8, 9], &[9, 8]])],
            none,
            &[9, 8],
            vec![(0, 0, Some(2))],
        ),
        ("purged and held again", vec![want(3, &[4, 5], &[&[5, 6]])], none, &[6], vec![(3, 0, Some(1))]),
        ("goes", vec![want(3, &[], &[&[4, 5]])], none, &[5, 4], vec![(3, 0, Some(2))]),
    ] {
        let plan = book.plan(&wants, |object| there.contains(&object.key()));
        assert_eq!(plan.add.iter().map(key_last).collect::<Vec<_>>(), add, "{name}");
        assert_eq!(plan.replaced, [], "{name}");
        assert_eq!(plan.remove.iter().map(|one| key_last(&one.key())).collect::<Vec<_>>(), remove, "{name}");
        let got: Vec<_> = plan.done.iter().map(|done| (done.router.0, done.added, done.removed)).collect();
        assert_eq!(got, done, "{name}");
        for key in plan.add {
            assert!(book.tried(&key, None).is_none(), "{name}: no news");
            there.insert(key);
        }
        assert!(!book.has_missing(), "{name}");
    }
    assert!(book.held.is_empty() && book.routers.is_empty());
}

#[test]
fn what_is_missing() {
    let mut book = Book::default();
    let plan = book.plan(&[want(1, &[1, 2], &[])], |_| false);
    assert_eq!(book.missing(Instant::now()), plan.add, "before the first attempt");
    let [one, two] = plan.add.as_slice() else { panic!("two") };
    assert!(book.tried(one, Some("no".into())).is_some());
    assert!(book.tried(two, None).is_none());
    assert_eq!(book.missing(Instant::now()), std::slice::from_ref(one));
    assert!(!book.gone(one), "it was not there");
    assert!(book.gone(two));
    assert!(!book.gone(two), "told once");
    assert!(book.has_missing());
    book.plan(&[want(1, &[], &[])], |_| false);
    assert!(!book.has_missing());
    assert!(!book.gone(one), "nobody holds it");
}

const ROUTES: [&str; 2] = ["198.51.100.0/24 dev eth0", "default via 10.0.0.9 dev eth0 table 100"];
const RULES: [&str; 2] = ["from 10.0.0.1 table 100 preference 50", "nop preference 60"];

#[test]
fn addresses_then_routes_then_rules_and_back() {
    let mut book = Book::default();
    let holding = |hold: Load, purge| Want { router: RouterId(1), holds: true, hold, purge };
    let plan = book.plan(&[holding(load(&[1, 2], &ROUTES, &RULES), vec![])], |_| false);
    let all = ["1", "2", "198.51.100.0/24", "0.0.0.0/0", "#50", "#60"];
    assert_eq!(short(plan.add.iter().cloned()), all);
    let done = Done { router: RouterId(1), holds: true, added: 2, removed: None };
    assert_eq!(plan.done, [done], "announcements wait for the addresses only");
    for key in plan.add.iter().rev() {
        book.tried(key, None);
    }
    for key in plan.add.iter().rev() {
        book.gone(key);
    }
    assert_eq!(short(book.missing(Instant::now()).into_iter()), all, "in the same order");
    // Another list of addresses and one rule less; what is purged takes its place among its kind.
    let next = holding(load(&[2], &ROUTES, &RULES[..1]), vec![load(&[7], &["203.0.113.0/24 dev eth0"], &[])]);
    let plan = book.plan(&[next], |_| true);
    let gone = short(plan.remove.iter().map(Object::key));
    assert_eq!(gone, ["#60", "203.0.113.0/24", "7", "1"]);
    // Nothing held is a state, not the absence of one.
    let plan = book.plan(&[holding(Load::default(), vec![])], |_| true);
    assert_eq!(plan.done, [Done { router: RouterId(1), holds: true, added: 0, removed: Some(4) }]);
    assert_eq!(short(plan.remove.iter().map(Object::key)), ["#50", "0.0.0.0/0", "198.51.100.0/24", "2"]);
    assert!(book.held.is_empty() && book.missing.is_empty());
}

/// The options of the one that holds it count; of several, those of the first.
#[test]
fn an_address_that_moves_has_its_new_options() {
    let hold = |router, scope| {
        let mut address = list(&[1])[0].clone();
        address.address.scope = scope;
        Want {
            router: RouterId(router),
            holds: true,
            hold: Load::of_addresses(Arc::new([address])),
            purge: vec![],
        }
    };
    let scopes = |objects: &[Object]| -> Vec<u8> {
        let scope = |object: &Object| match object {
            Object::Address(address) => address.address.scope,
            _ => panic!("{object}"),
        };
        objects.iter().map(scope).collect()
    };
    for (name, before, wants, replaced) in [
        ("to a later one", vec![hold(1, 0)], vec![want(1, &[], &[]), hold(2, 253)], vec![0]),
        ("to an earlier one", vec![hold(2, 0)], vec![hold(1, 253), want(2, &[], &[])], vec![0]),
        ("as it is", vec![hold(1, 0)], vec![want(1, &[], &[]), hold(2, 0)], vec![]),
        ("the first one goes", vec![hold(1, 0), hold(2, 253)], vec![want(1, &[], &[])], vec![0]),
        ("the second one goes", vec![hold(1, 0), hold(2, 253)], vec![want(2, &[], &[])], vec![]),
    ] {
        let mut book = Book::default();
        for key in book.plan(&before, |_| false).add {
            book.tried(&key, None);
            book.made(&key);
        }
        let plan = book.plan(&wants, |_| true);
        assert_eq!(scopes(&plan.replaced), replaced, "{name}");
        assert_eq!((plan.add.len(), plan.remove.len()), (replaced.len(), 0), "{name}");
    }
}

/// What is in the way goes first, else the new one comes first.
#[test]
fn routes_that_change() {
    for (name, before, after, first) in [
        ("IPv4 behind each other", "10.0.0.0/8 via 10.0.0.1", "10.0.0.0/8 via 10.0.0.2", false),
        ("IPv4 alone", "add 10.0.0.0/8 via 10.0.0.1", "add 10.0.0.0/8 via 10.0.0.2", true),
        ("another metric", "add 10.0.0.0/8 via 10.0.0.1", "add 10.0.0.0/8 via 10.0.0.2 metric 5", false),
        ("IPv6 over another way", "fd01::/64 via fd00::1 dev a", "fd01::/64 via fd00::2 dev a", false),
        (
            "IPv6 over the same way",
            "fd01::/64 via fd00::1 dev a",
            "fd01::/64 via fd00::1 dev a mtu 1400",
            true,
        ),
        ("IPv6 alone", "fd01::/64 via fd00::1 dev a", "add fd01::/64 via fd00::2 dev a", true),
        ("another weight", "10.0.0.0/8 nexthop dev a weight 2", "10.0.0.0/8 nexthop dev a weight 3", true),
        ("one way of several", "10.0.0.0/8 nexthop dev a nexthop dev b", "10.0.0.0/8 dev b", true),
        ("an option more", "10.0.0.0/8 via 10.0.0.1", "10.0.0.0/8 via 10.0.0.1 mtu 1400", true),
        ("an option less", "10.0.0.0/8 dev a mtu 1400", "append 10.0.0.0/8 dev a", true),
        ("an interface more", "10.0.0.0/8 via 10.0.0.1", "10.0.0.0/8 via 10.0.0.1 dev a", true),
        ("an interface less", "10.0.0.0/8 via 10.0.0.1 dev a", "10.0.0.0/8 via 10.0.0.1", true),
        ("a gateway more", "10.0.0.0/8 dev a", "10.0.0.0/8 via 10.0.0.1 dev a", true),
        ("another interface", "10.0.0.0/8 dev a", "10.0.0.0/8 dev b", false),
        ("other ways", "10.0.0.0/8 nexthop dev a", "10.0.0.0/8 nexthop dev b nexthop dev c", false),
        ("an option, at another metric", "10.0.0.0/8 dev a", "10.0.0.0/8 dev a mtu 1400 metric 5", false),
        ("another table", "add 10.0.0.0/8 dev a table 5", "add 10.0.0.0/8 dev a table 6", false),
    ] {
        let mut book = Book::default();
        let holding = |line: &str| Want {
            router: RouterId(1),
            holds: true,
            hold: load(&[], &[line], &[]),
            purge: vec![],
        };
        let plan = book.plan(&[holding(before)], |_| false);
        plan.add.iter().for_each(|key| assert!(book.tried(key, None).is_none()));
        let plan = book.plan(&[holding(after)], |object| object.to_string().contains(before));
        assert_eq!(
            (plan.add.len(), plan.replaced.len(), plan.remove.len()),
            (1, usize::from(first), usize::from(!first)),
            "{name}"
        );
    }
    // What says nothing about the route itself changes nothing.
    for (before, after) in [
        ("10.0.0.0/8 dev a", "add 10.0.0.0/8 dev a table main metric 0 no_track"),
        ("10.0.0.0/8 dev a", "append 10.0.0.0/8 dev a scope global protocol keepalived"),
        ("fd01::/64 dev a", "append fd01::/64 dev a scope link metric 0 no_track"),
    ] {
        let mut book = Book::default();
        let holding = |line: &str| Want {
            router: RouterId(1),
            holds: true,
            hold: load(&[], &[line], &[]),
            purge: vec![],
        };
        let plan = book.plan(&[holding(before)], |_| false);
        plan.add.iter().for_each(|key| assert!(book.tried(key, None).is_none()));
        let plan = book.plan(&[holding(after)], |_| true);
        assert_eq!((plan.add.len(), plan.replaced.len(), plan.remove.len()), (0, 0, 0), "{before} {after}");
    }
}

#[test]
fn what_is_not_tracked_is_not_missed() {
    let mut book = Book::default();
    let lines = ["10.0.0.0/8 dev a no_track", "fd01::/64 dev a expires 5", "10.1.0.0/16 dev a"];
    let hold = load(&[], &lines, &["nop preference 5 no_track"]);
    let plan = book.plan(&[Want { router: STATIC, holds: true, hold, purge: vec![] }], |_| false);
    for key in &plan.add {
        book.tried(key, None);
        book.made(key);
    }
    let (gone, again) = book.compare(|_| false);
    assert_eq!((short(gone.into_iter()), again.len()), (vec!["10.1.0.0/16".to_owned()], 0));
    assert_eq!(short(book.missing(Instant::now()).into_iter()), ["10.1.0.0/16"]);
}

#[test]
fn what_stands_in_the_place_of_another_is_tried_when_something_changed() {
    let mut book = Book::default();
    let hold = load(&[], &["add 10.0.0.0/8 dev a"], &[]);
    let plan = book.plan(&[Want { router: STATIC, holds: true, hold, purge: vec![] }], |_| false);
    // EEXIST: it counts as there, and is not ours.
    book.tried(&plan.add[0], None);
    assert_eq!(book.compare(|_| false), (vec![], plan.add.clone()));
    assert_eq!(book.compare(|_| true), (vec![], vec![]));
    assert_eq!(book.compare(|_| false), (plan.add.clone(), vec![]), "it was ours meanwhile");
    assert_eq!(book.compare(|_| true), (vec![], vec![]), "someone put it back");
    assert!(!book.has_missing());
}
