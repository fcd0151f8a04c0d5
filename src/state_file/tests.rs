use super::*;
use std::os::unix::fs::PermissionsExt;

fn service(text: &str) -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: text.parse().expect("address") }
}

#[test]
fn what_is_put_is_read_back_with_mode_0600() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("run/state");
    let (file, saved) = StateFile::open(&path, 7);
    assert_eq!(saved, Saved::default());
    let id = service("10.0.0.1:80");
    let real: SocketAddr = "10.0.0.2:80".parse().expect("address");
    let owned: Owned = [(id, [real].into())].into();
    let group = GroupKey { group: "g".into(), protocol: None, family: Family::Inet6 };
    let found = SavedServer {
        checks: [("TCP".to_owned(), SavedCheck { up: false, weight: Some(7), percent: Some(50) })].into(),
        order: Some(SavedOrder::Weight(3)),
    };
    let verdicts: Verdicts =
        [((id.into(), real), found.clone()), ((VirtualServerId::Group(group), real), found)].into();
    let instance = SavedInstance { interface: "eth0".into(), vrid: 7, master: true, ..Default::default() };
    let leaving = SavedLeaving {
        of: id.into(),
        id,
        service: Service {
            scheduler: lbd_ipvs::Scheduler::new("rr").expect("name"),
            flags: lbd_ipvs::ServiceFlags::PERSISTENT,
            persistence_timeout: 60,
            netmask: lbd_ipvs::Netmask::V6(64),
            persistence_engine: Some("sip".into()),
        },
        address: real,
        destination: Destination {
            forwarding: lbd_ipvs::Forwarding::Tunnel(lbd_ipvs::Tunnel::Ipip),
            weight: 0,
            upper_threshold: 2,
            lower_threshold: 1,
        },
        until_ms: 9,
    };
    file.put_leaving(vec![leaving.clone()]).expect("what leaves is written");
    file.put_owned(&owned).expect("keys are written");
    file.put_verdicts(&verdicts).expect("verdicts are written");
    file.put_instances(vec![instance.clone()]).expect("instances are written");
    let (file, saved) = StateFile::open(&path, 7);
    let none = Saved::default();
    assert_eq!(
        saved,
        Saved {
            owned,
            verdicts: verdicts.clone(),
            instances: vec![instance.clone()],
            leaving: vec![leaving],
            ..none
        }
    );
    for name in ["run/state", "run/state.vrrp"] {
        let mode = fs::metadata(dir.path().join(name)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // A stop that could not do all of its work leaves the names of what is there.
    file.remove(false);
    let saved = StateFile::open(&path, 7).1;
    assert_eq!((saved.owned.len(), saved.instances), (1, vec![instance]));
    file.put_owned(&Owned::new()).expect("keys are written");
    file.remove(true);
    let mut orders = verdicts;
    orders.values_mut().for_each(|server| server.checks.clear());
    let (file, saved) = StateFile::open(&path, 7);
    assert_eq!(saved, Saved { verdicts: orders, ..Saved::default() }, "the operator's wishes stay");
    file.put_verdicts(&Verdicts::new()).expect("verdicts are written");
    file.remove(true);
    assert_eq!(StateFile::open(&path, 7).1, Saved::default());
    assert_eq!(fs::read_dir(dir.path().join("run")).expect("directory").count(), 0);
}

#[test]
fn virtual_routers_of_either_family_and_of_an_older_lbd() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("state");
    let (file, _) = StateFile::open(&path, 7);
    let old = SavedInstance { interface: "eth0".into(), vrid: 7, master: true, ..Default::default() };
    let bare = SavedInstance { family: "ipv6".into(), vrid: 8, ..Default::default() };
    file.put_instances(vec![old.clone(), bare.clone()]).expect("instances are written");
    assert_eq!(StateFile::open(&path, 7).1.instances, [old.clone(), bare]);
    let vrrp = vrrp_path(&path);
    file.put_instances(vec![old.clone()]).expect("instances are written");
    let text = fs::read_to_string(&vrrp).expect("file").replace("\"family\":\"ipv4\",", "");
    assert!(!text.contains("family"), "{text}");
    fs::write(&vrrp, text).expect("file");
    assert_eq!(StateFile::open(&path, 7).1.instances, [old]);
}

#[test]
fn a_file_that_cannot_be_ours_reads_as_empty() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("state");
    let (file, _) = StateFile::open(&path, 7);
    file.put_owned(&[(service("10.0.0.1:80"), BTreeSet::new())].into()).expect("keys are written");
    file.put_timeouts(Some(Timeouts { tcp: 1, tcp_fin: 2, udp: 3 })).expect("timeouts are written");
    file.put_sync(&[SyncState::Master].into()).expect("roles are written");
    let good = fs::read_to_string(&path).expect("file");
    let put = |text: &str| {
        let _gone = fs::remove_file(&path);
        fs::write(&path, text).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    };
    put(&good);
    let saved = StateFile::open(&path, 7).1;
    assert_eq!((saved.owned.len(), saved.timeouts.is_some(), saved.sync.len()), (1, true, 1));
    assert_eq!(StateFile::open(&path, 0).1, saved, "a namespace that is not known");
    assert_eq!(StateFile::open(&path, 8).1, Saved::default(), "another namespace");
    for (name, text) in [
        ("truncated", &good[..good.len() / 2]),
        ("empty", ""),
        ("other boot", "{\"boot_id\":\"x\",\"services\":[],\"verdicts\":[]}"),
        ("newer", &good.replace("\"format\":1", "\"format\":2")),
        ("binary", "\u{0}\u{1}"),
        ("another program's", "{\"boot_id\": 7}"),
        ("a list", "[1, 2]"),
    ] {
        put(text);
        assert_eq!(StateFile::open(&path, 7).1, Saved::default(), "{name}");
    }
    // Before there was a number of the format.
    put(&good.replace("\"format\":1,", "").replace("\"namespace\":7,", ""));
    assert_eq!(StateFile::open(&path, 7).1, saved, "an older one is understood");

    put(&good);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).expect("mode");
    assert_eq!(StateFile::open(&path, 7).1, Saved::default(), "others may write it");
    let other = dir.path().join("other");
    put(&good);
    fs::rename(&path, &other).expect("moved");
    std::os::unix::fs::symlink(&other, &path).expect("link");
    assert_eq!(StateFile::open(&path, 7).1, Saved::default(), "a link");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("directory");
    let (file, saved) = StateFile::open(&path, 7);
    assert_eq!(saved, Saved::default(), "a directory");
    assert!(file.put_owned(&Owned::new()).is_err(), "and it is not replaced");
    fs::remove_dir(&path).expect("removed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("FIFO");
    assert_eq!(StateFile::open(&path, 7).1, Saved::default(), "a FIFO is not waited for");
}
