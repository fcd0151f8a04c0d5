//! The client against a kernel with IPVS: what the scripts of the other tests take for granted.
//!
//! Needs CAP_NET_ADMIN, and changes the table of the network namespace it makes for itself; without
//! IPVS in the kernel it says so and is counted as skipped. There the proof is `integration/tests/e2e/ipvs.rs`, which runs this
//! program in user-mode-linux.
#![allow(clippy::print_stdout, reason = "a skip is said aloud, so that it can be counted")]
#![allow(clippy::indexing_slicing, reason = "helpers of a test: a panic is the report")]

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::process::Command;
use std::time::{Duration, Instant};

use lbd_integration::skip;
use lbd_ipvs::{
    Client, Destination, Entry, Family, Forwarding, Ipvs, IpvsError, Netmask, Op, Protocol, Scheduler,
    Service, ServiceFlags, ServiceId, Stats, SyncDaemon, SyncDaemons, SyncState, Table, Timeouts, Tunnel,
    TunnelChecksum, plan,
};
use nix::sched::{CloneFlags, unshare};

fn service(scheduler: &str, family: Family) -> Service {
    Service {
        scheduler: Scheduler::new(scheduler).expect("name"),
        flags: ServiceFlags::default(),
        persistence_timeout: 0,
        netmask: Netmask::full(family),
        persistence_engine: None,
    }
}

fn dest(forwarding: Forwarding, weight: u32) -> Destination {
    Destination { forwarding, weight, upper_threshold: 0, lower_threshold: 0 }
}

fn addr(protocol: Protocol, vip: &str) -> ServiceId {
    ServiceId::Addr { protocol, vip: vip.parse().expect("address") }
}

fn mark(mark: u32, family: Family) -> ServiceId {
    ServiceId::FwMark { mark: NonZeroU32::new(mark).expect("mark"), family }
}

fn real(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn apply_all(client: &mut Client, ops: &[Op]) {
    for (op, result) in ops.iter().zip(client.apply(ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
}

fn become_table(client: &mut Client, want: &Table) {
    let have = client.dump(&|_| true).expect("dump");
    let ops = plan(&have, want);
    apply_all(client, &ops);
    let have = client.dump(&|_| true).expect("dump");
    assert_eq!(&have, want);
    assert_eq!(plan(&have, want), []);
}

/// One of everything that the types can say and every kernel since 5.3 takes.
fn everything() -> Table {
    let v4 = service("rr", Family::Inet);
    let v6 = service("wlc", Family::Inet6);
    let gue = Tunnel::Gue { port: NonZeroU16::new(6080).expect("port"), checksum: TunnelChecksum::Remote };
    let gre = Tunnel::Gre { checksum: TunnelChecksum::Checksum };
    let rows = [
        (
            addr(Protocol::Tcp, "10.9.0.1:80"),
            Service { flags: ServiceFlags::default(), ..v4.clone() },
            vec![
                (real("10.9.1.1:80"), dest(Forwarding::Direct, 1)),
                (real("10.9.1.2:8080"), dest(Forwarding::Nat, 65_536)),
                (
                    real("10.9.1.3:80"),
                    Destination {
                        forwarding: Forwarding::Nat,
                        weight: 0,
                        upper_threshold: 1000,
                        lower_threshold: 900,
                    },
                ),
                (real("10.9.1.4:80"), dest(Forwarding::Tunnel(Tunnel::Ipip), 1)),
                (real("10.9.1.5:80"), dest(Forwarding::Tunnel(gue), 1)),
                (real("10.9.1.6:80"), dest(Forwarding::Tunnel(gre), 1)),
                (real("[2001:db8:9::4]:80"), dest(Forwarding::Tunnel(Tunnel::Ipip), 2)),
            ],
        ),
        (
            addr(Protocol::Udp, "10.9.0.1:53"),
            Service {
                flags: ServiceFlags::ONE_PACKET,
                scheduler: Scheduler::new("sh").expect("name"),
                ..v4.clone()
            },
            // The director's own address (a sorry server): the method comes back as it was sent.
            vec![
                (real("10.9.1.1:53"), dest(Forwarding::Nat, 1)),
                (real("127.0.0.1:53"), dest(Forwarding::Direct, 1)),
                (real("127.0.0.2:5353"), dest(Forwarding::Nat, 1)),
            ],
        ),
        (
            addr(Protocol::Tcp, "10.9.0.2:0"),
            Service {
                flags: ServiceFlags::PERSISTENT,
                persistence_timeout: 600,
                netmask: Netmask::V4("255.255.255.0".parse().expect("mask")),
                ..v4.clone()
            },
            vec![(real("10.9.1.1:0"), dest(Forwarding::Direct, 1))],
        ),
        (
            addr(Protocol::Tcp, "[2001:db8:9::1]:443"),
            Service {
                flags: ServiceFlags::PERSISTENT,
                persistence_timeout: 60,
                netmask: Netmask::V6(64),
                ..v6.clone()
            },
            vec![(real("[2001:db8:9::2]:443"), dest(Forwarding::Direct, 3))],
        ),
        (
            addr(Protocol::Sctp, "10.9.0.1:5060"),
            Service {
                flags: ServiceFlags::SCHED_1.with(ServiceFlags::SCHED_2),
                scheduler: Scheduler::new("mh").expect("name"),
                ..v4.clone()
            },
            vec![],
        ),
        (mark(7, Family::Inet), v4.clone(), vec![(real("10.9.1.1:0"), dest(Forwarding::Direct, 1))]),
        (mark(7, Family::Inet6), v6, vec![(real("[2001:db8:9::2]:0"), dest(Forwarding::Direct, 1))]),
        (
            mark(u32::MAX, Family::Inet),
            Service { scheduler: Scheduler::new("none").expect("name"), ..v4 },
            vec![],
        ),
    ];
    Table {
        services: rows
            .into_iter()
            .map(|(id, service, dests)| (id, Entry { service, destinations: dests.into_iter().collect() }))
            .collect(),
    }
}

#[test]
fn kernel_round_trip() {
    // The threads of a test binary share nothing but the process: only this one is in the namespace.
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        skip::report("kernel_round_trip", &format!("no network namespace of its own ({error})"));
        return;
    }
    let mut client = match Client::connect() {
        Err(error @ IpvsError::NoIpvs) => {
            assert!(error.to_string().contains("modprobe ip_vs"));
            skip::report("kernel_round_trip", "no IPVS in this kernel");
            return;
        }
        other => other.expect("connects"),
    };
    let _ = Command::new("ip").args(["link", "set", "lo", "up"]).status();

    let info = client.info().expect("info");
    assert!(info.version >= 0x01_02_01 && info.connection_table_size >= 256, "{info:?}");
    assert_eq!(client.dump(&|_| true).expect("dump"), Table::default(), "a new namespace's table is empty");

    println!("every kind of service and destination, in place, and back");
    let want = everything();
    become_table(&mut client, &want);
    let mut changed = want.clone();
    let web = addr(Protocol::Tcp, "10.9.0.1:80");
    let entry = changed.services.get_mut(&web).expect("web");
    entry.service.scheduler = Scheduler::new("wrr").expect("name");
    entry.destinations.remove(&real("10.9.1.1:80"));
    entry.destinations.insert(real("10.9.1.2:8080"), dest(Forwarding::Nat, 2));
    entry.destinations.insert(real("10.9.1.3:80"), dest(Forwarding::Direct, 3));
    entry.destinations.insert(real("10.9.1.9:80"), dest(Forwarding::Nat, i32::MAX.unsigned_abs()));
    changed.services.remove(&mark(7, Family::Inet));
    let sticky = changed.services.get_mut(&addr(Protocol::Tcp, "10.9.0.2:0")).expect("sticky");
    sticky.service.flags = ServiceFlags::default().with(ServiceFlags::PERSISTENT);
    sticky.service.persistence_timeout = 30;
    let udp = changed.services.get_mut(&addr(Protocol::Udp, "10.9.0.1:53")).expect("udp");
    udp.service.flags = ServiceFlags::default();
    become_table(&mut client, &changed);
    become_table(&mut client, &want);

    println!("one service, counters, zero");
    let ids: Vec<ServiceId> =
        want.services.keys().copied().chain([addr(Protocol::Tcp, "10.9.0.99:1")]).collect();
    let readings = client.read(&ids).expect("readings");
    assert_eq!(readings.len(), want.services.len(), "what is not there is left out");
    for (id, entry) in &want.services {
        let reading = &readings[id];
        assert_eq!(&reading.entry(), entry, "{id}");
        assert!(reading.is(entry), "{id}");
        assert_eq!(reading.stats, Stats::default(), "{id}");
    }
    let one = client.dump(&|id| *id == web).expect("dump");
    assert_eq!(one.services.iter().collect::<Vec<_>>(), [(&web, &want.services[&web])]);
    client.zero(None).expect("zero");
    client.zero(Some(&web)).expect("zero");
    let gone = client.zero(Some(&mark(99, Family::Inet))).expect_err("not there");
    assert!(matches!(gone, IpvsError::NoService { .. }), "{gone}");

    println!("timeouts");
    let before = client.timeouts().expect("timeouts");
    client.set_timeouts(Timeouts { tcp: before.tcp + 1, tcp_fin: 0, udp: 301 }).expect("set");
    let after = client.timeouts().expect("timeouts");
    assert_eq!(after, Timeouts { tcp: before.tcp + 1, udp: 301, ..before });
    client.set_timeouts(before).expect("set");

    refusals(&mut client, &web);
    daemons(&mut client);
    batches(&mut client);

    println!("flush");
    client.flush().expect("flush");
    assert_eq!(client.dump(&|_| true).expect("dump"), Table::default());
    assert_eq!(client.unread(), 0);
    println!("kernel_round_trip: done");
}

/// Each mistake's meaning, in the kernel's numbers.
fn refusals(client: &mut Client, web: &ServiceId) {
    println!("refusals");
    let absent = addr(Protocol::Tcp, "10.9.0.99:1");
    let web_service = service("rr", Family::Inet);
    let nat = |weight| dest(Forwarding::Nat, weight);
    let threshold = Destination { lower_threshold: 2, upper_threshold: 1, ..nat(1) };
    type Check = fn(&IpvsError) -> bool;
    let rows: Vec<(&str, Op, Check)> = vec![
        ("exists", Op::NewService(*web, web_service.clone()), |error| {
            matches!(error, IpvsError::Exists { .. })
        }),
        ("no service", Op::SetService(absent, web_service.clone()), |error| {
            matches!(error, IpvsError::NoService { .. })
        }),
        ("no service to remove", Op::DelService(absent), |error| {
            matches!(error, IpvsError::NoService { .. })
        }),
        (
            "scheduler",
            Op::NewService(absent, service("nosuch", Family::Inet)),
            |error| matches!(error, IpvsError::UnknownScheduler { scheduler, .. } if scheduler == "nosuch"),
        ),
        ("no service for it", Op::NewDest(absent, real("10.9.1.1:80"), nat(1)), |error| {
            matches!(error, IpvsError::NoService { .. })
        }),
        ("destination exists", Op::NewDest(*web, real("10.9.1.2:8080"), nat(1)), |error| {
            matches!(error, IpvsError::Exists { .. })
        }),
        ("no destination", Op::SetDest(*web, real("10.9.1.99:80"), nat(1)), |error| {
            matches!(error, IpvsError::NoDestination { .. })
        }),
        ("none to remove", Op::DelDest(*web, real("10.9.1.99:80")), |error| {
            matches!(error, IpvsError::NoDestination { .. })
        }),
        ("weight", Op::NewDest(*web, real("10.9.1.99:80"), nat(1 << 31)), |error| {
            matches!(error, IpvsError::OutOfRange { .. })
        }),
        ("threshold", Op::NewDest(*web, real("10.9.1.99:80"), threshold), |error| {
            matches!(error, IpvsError::OutOfRange { .. })
        }),
        (
            "family",
            Op::NewDest(*web, real("[2001:db8:9::99]:80"), nat(1)),
            |error| matches!(error, IpvsError::Invalid { hint, .. } if hint.contains("TUN")),
        ),
        (
            "GUE without port",
            Op::NewDest(
                *web,
                real("10.9.1.99:80"),
                dest(Forwarding::Tunnel(Tunnel::Other { kind: 1, port: 0, flags: 0 }), 1),
            ),
            |error| matches!(error, IpvsError::Unsound { .. }),
        ),
        (
            "DR to another port, which the kernel takes without a word",
            Op::NewDest(*web, real("10.9.1.99:81"), dest(Forwarding::Direct, 1)),
            |error| matches!(error, IpvsError::Unsound { reason, .. } if reason.contains("must be 80")),
        ),
    ];
    // All in one send, between two that work.
    let mut ops = vec![Op::NewService(absent, web_service)];
    ops.extend(rows.iter().filter(|(_, op, _)| op.service() != absent).map(|(_, op, _)| op.clone()));
    ops.push(Op::DelService(absent));
    let results = client.apply(&ops);
    assert_eq!((results.first(), results.last()), (Some(&Ok(())), Some(&Ok(()))));
    assert!(results[1..results.len() - 1].iter().all(Result::is_err), "{results:?}");
    for (name, op, check) in rows {
        let error = client.apply(&[op])[0].clone().expect_err(name);
        assert!(check(&error), "{name}: {error}");
    }
}

fn daemons(client: &mut Client) {
    println!("sync daemons");
    let daemon = SyncDaemon {
        state: SyncState::Master,
        interface: "lo".to_owned(),
        sync_id: 51,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    };
    let excluded = client.start_daemon(&daemon).expect_err("a mixed-family tunnel is there");
    assert!(matches!(&excluded, IpvsError::Invalid { hint, .. } if hint.contains("family")), "{excluded}");
    apply_all(client, &[Op::DelDest(addr(Protocol::Tcp, "10.9.0.1:80"), real("[2001:db8:9::4]:80"))]);
    client.start_daemon(&daemon).expect("starts");
    let twice = client.start_daemon(&daemon).expect_err("runs already");
    assert!(matches!(twice, IpvsError::Exists { .. }), "{twice}");
    let running = client.daemons().expect("list");
    assert_eq!(running.len(), 1);
    let group: IpAddr = "224.0.0.81".parse().expect("address");
    assert_eq!(running[0].interface, "lo");
    assert_eq!((running[0].state, running[0].sync_id), (SyncState::Master, 51));
    assert_eq!((running[0].group, running[0].port), (Some(group), NonZeroU16::new(8848)));
    // At once, and again: the kernel may not answer the request itself.
    let begun = Instant::now();
    for _ in 0..5 {
        client.stop_daemon(SyncState::Master).expect("stops");
        assert_eq!(client.daemons().expect("list"), []);
        client.start_daemon(&daemon).expect("starts");
    }
    client.stop_daemon(SyncState::Master).expect("stops");
    assert!(begun.elapsed() < Duration::from_secs(30), "no wait ran into its limit");
    let none = client.stop_daemon(SyncState::Master).expect_err("none runs");
    assert!(matches!(none, IpvsError::Refused { .. }), "{none}");
    let nowhere = SyncDaemon { interface: "nowhere".to_owned(), ..daemon };
    let nowhere = client.start_daemon(&nowhere).expect_err("no such interface");
    assert!(nowhere.to_string().contains("ENODEV"), "{nowhere}");
}

fn batches(client: &mut Client) {
    println!("batches");
    let id = mark(1000, Family::Inet);
    let mut ops = vec![Op::NewService(id, service("rr", Family::Inet))];
    for number in 0..10_000u32 {
        let address = SocketAddr::new(IpAddr::from((0x0A0A_0000 + number).to_be_bytes()), 80);
        ops.push(Op::NewDest(id, address, dest(Forwarding::Nat, 1)));
    }
    let begun = Instant::now();
    apply_all(client, &ops);
    println!("  10,000 adds in {} ms", begun.elapsed().as_millis());
    // All fail: the answers of a whole send have to fit.
    let begun = Instant::now();
    let results = client.apply(&ops);
    assert_eq!(results.len(), ops.len());
    for result in &results {
        assert!(matches!(result, Err(IpvsError::Exists { .. })), "{result:?}");
    }
    println!("  10,001 refusals in {} ms", begun.elapsed().as_millis());
    let begun = Instant::now();
    let table = client.dump(&|_| true).expect("dump");
    assert_eq!(table.services[&id].destinations.len(), 10_000);
    println!("  dump in {} ms", begun.elapsed().as_millis());
    apply_all(client, &[Op::DelService(id)]);

    let mut want = client.dump(&|_| true).expect("dump");
    for number in 0..1_000u16 {
        let id = addr(Protocol::Tcp, &format!("10.20.0.1:{}", number + 1));
        let destinations = (1..=10u8)
            .map(|last| (SocketAddr::from(([10, 20, 1, last], number + 1)), dest(Forwarding::Direct, 1)))
            .collect();
        want.services.insert(id, Entry { service: service("rr", Family::Inet), destinations });
    }
    let have = client.dump(&|_| true).expect("dump");
    let begun = Instant::now();
    let ops = plan(&have, &want);
    apply_all(client, &ops);
    println!("  1,000 services of ten in {} ms", begun.elapsed().as_millis());
    let begun = Instant::now();
    assert_eq!(client.dump(&|_| true).expect("dump"), want);
    println!("  dump of them in {} ms", begun.elapsed().as_millis());
}
