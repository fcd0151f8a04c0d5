use super::*;
use lbd_grammar::config::OwnLink;

const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 5];

fn wanted() -> Wanted {
    Wanted {
        link: OwnLink {
            name: "vrrp.5".into(),
            parent: "eth0".into(),
            kind: OwnLinkKind::Macvlan { mac: MAC },
            group: None,
            addresses: Vec::new(),
            link_local: false,
            ipv6: false,
        },
        group: None,
    }
}

fn eth0() -> Seen {
    Seen { index: 2, name: "eth0".into(), up: true, mac: vec![2, 0, 0, 0, 0, 1], group: 7, ..Seen::default() }
}

fn own() -> Seen {
    Seen {
        index: 9,
        name: "vrrp.5".into(),
        up: true,
        mac: MAC.to_vec(),
        parent: Some(2),
        kind: SeenKind::Macvlan { private: true },
        ..Seen::default()
    }
}

fn known(settled: &[u32]) -> Known {
    let settled = settled.iter().map(|index| (*index, Settled { kind: Kind::Macvlan, ipv6: false }));
    Known { made: ["vrrp.5".to_owned()].into(), settled: settled.collect(), ..Known::default() }
}

#[test]
fn one_macvlan() {
    let create = || Step::Create {
        name: "vrrp.5".into(),
        kind: OwnLinkKind::Macvlan { mac: MAC },
        parent: 2,
        group: 7,
        vrf: None,
    };
    let settle = || Step::Settle {
        index: 9,
        name: "vrrp.5".into(),
        settings: Settled { kind: Kind::Macvlan, ipv6: false },
    };
    let up = || Step::SetUp { index: 9, name: "vrrp.5".into() };
    let delete = || Step::Delete { index: 9, name: "vrrp.5".into() };
    let other_mac = Seen { mac: vec![2; 6], ..own() };
    let other_parent = Seen { parent: Some(3), ..own() };
    let other_mode = Seen { kind: SeenKind::Macvlan { private: false }, ..own() };
    let device = Seen { kind: SeenKind::Other, ..own() };
    let nothing = Known::default();
    for (name, seen, known, steps, troubles) in [
        ("no parent", vec![], nothing.clone(), vec![], 0),
        ("made", vec![eth0()], nothing.clone(), vec![create()], 0),
        ("settled", vec![eth0(), own()], known(&[]), vec![settle()], 0),
        ("set up", vec![eth0(), Seen { up: false, ..own() }], known(&[9]), vec![up()], 0),
        ("as it should be", vec![eth0(), own()], known(&[9]), vec![], 0),
        ("found as it should be", vec![eth0(), own()], nothing.clone(), vec![settle()], 0),
        ("ours with another address", vec![eth0(), other_mac.clone()], known(&[9]), vec![delete()], 0),
        ("ours on another interface", vec![eth0(), other_parent], known(&[9]), vec![delete()], 0),
        ("ours in another mode", vec![eth0(), other_mode], known(&[9]), vec![delete()], 0),
        ("somebody else's", vec![eth0(), other_mac], nothing.clone(), vec![], 1),
        ("a device of the name", vec![eth0(), device.clone()], known(&[9]), vec![], 1),
    ] {
        let (got, trouble) = plan(&[wanted()], &seen, &known, false);
        assert_eq!(got, steps, "{name}");
        assert_eq!(trouble.len(), troubles, "{name}: {trouble:?}");
    }
    for (name, seen, steps) in [
        ("wanted no more", vec![eth0(), own()], vec![delete()]),
        ("gone already", vec![eth0()], vec![]),
        ("the name is a device's by now", vec![eth0(), device], vec![]),
    ] {
        assert_eq!(plan(&[], &seen, &known(&[9]), false).0, steps, "{name}");
        assert_eq!(plan(&[], &seen, &known(&[9]), true).0, [], "{name}: still used");
    }
}

#[test]
fn one_that_got_another_name_gives_way() {
    let indexes = BTreeMap::from([(9, "vrrp.5".to_owned())]);
    let known = Known { indexes, ..known(&[9]) };
    let renamed = Seen { name: "other".into(), ..own() };
    let (steps, troubles) = plan(&[wanted()], &[eth0(), renamed.clone()], &known, false);
    let [Step::Delete { index: 9, .. }, Step::Create { .. }] = steps.as_slice() else { panic!("{steps:?}") };
    assert!(troubles.is_empty());
    let device = Seen { kind: SeenKind::Other, ..renamed };
    let (steps, _) = plan(&[wanted()], &[eth0(), device], &known, false);
    assert!(matches!(steps.as_slice(), [Step::Create { .. }]), "a number of somebody else's: {steps:?}");
}

#[test]
fn link_local_addresses() {
    let mut want = wanted();
    (want.link.link_local, want.link.ipv6) = (true, true);
    let settled = BTreeMap::from([(9, Settled::of(&want.link))]);
    let known = Known { settled, ..known(&[]) };
    let address = |text: &str| -> IpAddr { text.parse().expect("address") };
    let with = |addresses: &[&str], seen: Seen| Seen {
        addresses: addresses.iter().map(|one| (address(one), 64)).collect(),
        ..seen
    };
    for (name, parent, own, want_address) in [
        ("of the parent", with(&["2001:db8::1", "fe80::7"], eth0()), own(), Some("fe80::7")),
        ("of its hardware address", eth0(), own(), Some("fe80::ff:fe00:1")),
        ("is there", eth0(), with(&["fe80::1"], own()), None),
        ("no Ethernet", Seen { mac: vec![], ..eth0() }, own(), None),
    ] {
        let (steps, _) = plan(&[want.clone()], &[parent, own], &known, false);
        let got: Vec<IpAddr> = steps
            .iter()
            .map(|step| match step {
                Step::AddAddress { address, .. } => address.address,
                other => panic!("{name}: {other:?}"),
            })
            .collect();
        assert_eq!(got, want_address.map(address).into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn the_vrf_of_the_parent_is_its_own() {
    for (name, in_vrf, want) in [("a VRF", true, Some(4)), ("a bridge", false, None)] {
        let parent = Seen { controller: Some(4), in_vrf, ..eth0() };
        let (steps, _) = plan(&[wanted()], &[parent], &Known::default(), false);
        let [Step::Create { vrf, .. }] = steps.as_slice() else { panic!("{name}: {steps:?}") };
        assert_eq!(*vrf, want, "{name}");
    }
}

/// A reload may leave the interface and change what is about it.
#[test]
fn what_is_made_is_changed_in_place() {
    let settle =
        |kind, ipv6| Step::Settle { index: 9, name: "vrrp.5".into(), settings: Settled { kind, ipv6 } };
    let moved = |group, vrf| Step::Move { index: 9, name: "vrrp.5".into(), group, vrf };
    let with = |change: &dyn Fn(&mut Wanted)| {
        let mut want = wanted();
        change(&mut want);
        want
    };
    let port = |controller, in_vrf, seen: Seen| Seen { controller, in_vrf, ..seen };
    for (name, want, parent, there, steps) in [
        ("IPv6 too", with(&|one| one.link.ipv6 = true), eth0(), own(), vec![settle(Kind::Macvlan, true)]),
        (
            "a router of IPv6",
            with(&|one| (one.link.ipv6, one.link.link_local) = (true, true)),
            eth0(),
            own(),
            vec![settle(Kind::MacvlanSix, true)],
        ),
        ("a group", with(&|one| one.group = Some(3)), eth0(), own(), vec![moved(Some(3), None)]),
        ("no group: as it is", wanted(), eth0(), Seen { group: 3, ..own() }, vec![]),
        ("the parent joined a VRF", wanted(), port(Some(4), true, eth0()), own(), vec![moved(None, Some(4))]),
        ("the parent left its VRF", wanted(), eth0(), port(Some(4), true, own()), vec![moved(None, Some(0))]),
        ("both are there", wanted(), port(Some(4), true, eth0()), port(Some(4), true, own()), vec![]),
        ("the parent is a bridge's port", wanted(), port(Some(4), false, eth0()), own(), vec![]),
        ("somebody made it a bridge's port", wanted(), eth0(), port(Some(4), false, own()), vec![]),
    ] {
        assert_eq!(plan(&[want], &[parent, there], &known(&[9]), false).0, steps, "{name}");
    }
}

#[test]
fn an_address_that_it_was_given_goes_when_another_is_wanted() {
    let address = |text: &str| -> IpAddr { text.parse().expect("address") };
    let (old, new, other) = (address("10.0.0.31"), address("10.0.0.32"), address("10.0.0.100"));
    let mut want = wanted();
    want.link.addresses = vec![VirtualAddress::new(new, 24)];
    let known = Known { given: BTreeMap::from([("vrrp.5".to_owned(), [old].into())]), ..known(&[9]) };
    let there = Seen { addresses: vec![(old, 24), (other, 32)], ..own() };
    let remove = Step::RemoveAddress { index: 9, name: "vrrp.5".into(), address: old, prefix: 24 };
    let add = Step::AddAddress { index: 9, name: "vrrp.5".into(), address: VirtualAddress::new(new, 24) };
    let seen = [eth0(), there];
    let wanted = [want];
    for (name, keep, steps) in [
        ("adverts still leave from it", true, vec![add.clone()]),
        ("it is not used", false, vec![remove, add]),
    ] {
        assert_eq!(plan(&wanted, &seen, &known, keep).0, steps, "{name}");
    }
}
