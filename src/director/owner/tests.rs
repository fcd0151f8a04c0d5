//! The keeper under a clock of the test's own, then the thread.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lbd_ipvs::fake::FakeIpvs;
use lbd_ipvs::{
    Destination, DestinationStats, Family, Forwarding, Netmask, Op, Protocol, Reading, Scheduler, Service,
    ServiceFlags, Table,
};

use super::*;
use crate::event::Event;

/// A round of the audit over few services.
const AUDIT: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);

fn id(port: u16) -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: SocketAddr::from(([10, 0, 0, 1], port)) }
}

fn real(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], 80))
}

fn weight(weight: u32) -> Destination {
    Destination { forwarding: Forwarding::Nat, weight, upper_threshold: 0, lower_threshold: 0 }
}

fn entry(scheduler: &str, dests: &[(u8, u32)]) -> Entry {
    Entry {
        service: Service {
            scheduler: Scheduler::new(scheduler).expect("name"),
            flags: ServiceFlags::default(),
            persistence_timeout: 0,
            netmask: Netmask::full(Family::Inet),
            persistence_engine: None,
        },
        destinations: dests.iter().map(|(last, to)| (real(*last), weight(*to))).collect(),
    }
}

/// The virtual server whose service has this port.
fn owner_of(port: u16) -> PartId {
    id(port).into()
}

fn part(port: u16, dests: &[(u8, u32)]) -> (PartId, Option<Part>) {
    (owner_of(port), Some([(id(port), entry("rr", dests))].into()))
}

fn table(entries: &[(u16, Entry)]) -> Table {
    Table { services: entries.iter().map(|(port, entry)| (id(*port), entry.clone())).collect() }
}

fn owned(keys: &[(u16, &[u8])]) -> Owned {
    keys.iter().map(|(port, dests)| (id(*port), dests.iter().map(|last| real(*last)).collect())).collect()
}

/// A keeper, its kernel, its state file and its clock.
struct Bed {
    keeper: Keeper,
    kernel: FakeIpvs,
    /// Whether a connection can be made.
    reachable: Arc<Mutex<bool>>,
    dir: tempfile::TempDir,
    now: Instant,
    generation: u64,
    board: Arc<Board>,
    events: tokio::sync::mpsc::Receiver<Event>,
}

/// Options that the tests vary.
fn options(connect: Connect, dir: &tempfile::TempDir, owned: Owned) -> OwnerOptions {
    OwnerOptions {
        connect,
        state: Arc::new(StateFile::open(&dir.path().join("state"), 0).0),
        owned,
        timeouts_before: None,
        flush: false,
        settings: Settings::default(),
        events: EventSender::channel().0,
        processor: || Duration::ZERO,
    }
}

impl Bed {
    fn new(there: Table, owned: Owned) -> Self {
        Self::with(there, owned, |_| {})
    }

    fn with(there: Table, owned: Owned, change: impl FnOnce(&mut OwnerOptions)) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let kernel = FakeIpvs::new();
        kernel.kernel().table = there;
        let reachable = Arc::new(Mutex::new(true));
        let (sender, events) = EventSender::channel();
        let mut options = options(connect(&kernel, &reachable), &dir, owned);
        options.events = sender;
        change(&mut options);
        let now = Instant::now();
        let board: Arc<Board> = Arc::default();
        let keeper = Keeper::start(options, board.clone(), now).expect("starts");
        Bed { keeper, kernel, reachable, dir, now, generation: 0, board, events }
    }

    /// What was told of others' changes.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Drift { found } => told.push(found),
                Event::DriftUntold { more } => told.push(format!("{more} more")),
                other => panic!("{other:?}"),
            }
        }
        told
    }

    fn set(&mut self, changes: Vec<(PartId, Option<Part>)>) {
        self.generation += 1;
        self.keeper.set(self.generation, changes.into_iter().collect());
        self.keeper.converge(self.now);
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.keeper.converge(self.now);
    }

    fn status(&self) -> OwnerStatus {
        self.keeper.status().clone()
    }

    /// What a process started now would find in the state file.
    fn saved(&self) -> Owned {
        StateFile::open(&self.dir.path().join("state"), 0).1.owned
    }

    fn converged(&self) -> bool {
        let status = self.status();
        status.converged_generation == self.generation && status.refused.is_none()
    }
}

fn connect(kernel: &FakeIpvs, reachable: &Arc<Mutex<bool>>) -> Connect {
    let (kernel, reachable) = (kernel.clone(), reachable.clone());
    Box::new(move || {
        if *reachable.lock().expect("flag") { Ok(Box::new(kernel.clone())) } else { Err(IpvsError::NoIpvs) }
    })
}

#[test]
fn a_table_found_at_start_is_adopted_and_others_services_are_left_alone() {
    let foreign = entry("wlc", &[(9, 9)]);
    let there = table(&[
        (80, entry("rr", &[(1, 1), (2, 1)])),
        (81, entry("rr", &[(3, 1)])),
        (82, entry("wlc", &[(4, 1)])),
        (999, foreign.clone()),
    ]);
    let mut bed = Bed::new(there.clone(), owned(&[(80, &[1, 2]), (81, &[3])]));
    bed.after(SECOND);
    assert_eq!(bed.kernel.table(), there, "nothing is touched before the first set");
    assert_eq!(bed.kernel.take_record(), []);
    // 80 stays, 81 is no longer wanted, 82 was another program's and is wanted now.
    bed.set(vec![part(80, &[(1, 1), (2, 1)]), part(82, &[(4, 1)])]);
    assert_eq!(
        bed.kernel.take_record(),
        [Op::SetService(id(82), entry("rr", &[]).service), Op::DelService(id(81))]
    );
    let want = table(&[(80, entry("rr", &[(1, 1), (2, 1)])), (82, entry("rr", &[(4, 1)])), (999, foreign)]);
    assert_eq!(bed.kernel.table(), want);
    assert!(bed.converged());
    assert_eq!(bed.saved(), owned(&[(80, &[1, 2]), (82, &[4])]));
}

#[test]
fn an_empty_first_set_removes_what_an_earlier_process_left() {
    let mut bed =
        Bed::new(table(&[(80, entry("rr", &[(1, 1)])), (999, entry("rr", &[]))]), owned(&[(80, &[1])]));
    bed.set(vec![]);
    assert_eq!(bed.kernel.table(), table(&[(999, entry("rr", &[]))]));
    assert_eq!(bed.saved(), Owned::new());
}

#[test]
fn one_destination_more_is_one_write_and_nothing_new_is_none() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1), (2, 1)]), part(81, &[(1, 1)])]);
    assert_eq!(bed.status().writes, 5);
    assert_eq!(bed.kernel.kernel().sends, [5], "one send for all");
    for (name, dests, writes) in [
        ("one more", &[(1, 1), (2, 1), (3, 1)][..], 6),
        ("unchanged", &[(1, 1), (2, 1), (3, 1)], 6),
        ("another weight", &[(1, 1), (2, 5), (3, 1)], 7),
        ("one less", &[(1, 1), (3, 1)], 8),
        ("none", &[], 10),
    ] {
        bed.set(vec![part(80, dests)]);
        assert_eq!(bed.status().writes, writes, "{name}");
        assert!(bed.converged(), "{name}");
    }
    // Each of the two is read once, before it is changed for the first time.
    assert_eq!(bed.kernel.kernel().reads, [vec![id(80), id(81)]], "what is known is not read again");
    bed.set(vec![(owner_of(80), None)]);
    assert_eq!(bed.kernel.table(), table(&[(81, entry("rr", &[(1, 1)]))]));
    assert_eq!(bed.status().errors, 0);
}

#[test]
fn parts_of_one_service_unite() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    let shared = |scheduler: &str, dests: &[(u8, u32)]| -> Option<Part> {
        Some([(id(80), entry(scheduler, dests))].into())
    };
    bed.set(vec![
        (owner_of(1), shared("rr", &[(1, 1), (2, 7)])),
        (owner_of(2), shared("wlc", &[(2, 9), (3, 1)])),
    ]);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 7), (3, 1)]))]));
    bed.set(vec![(owner_of(1), None)]);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("wlc", &[(2, 9), (3, 1)]))]));
    bed.set(vec![(owner_of(2), Some(Part::new()))]);
    assert_eq!(bed.kernel.table(), Table::default());
}

#[test]
fn keys_are_in_the_file_before_the_kernel_is_changed() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[])]);
    // The kernel is gone when it comes to the change: a crash between file and kernel.
    bed.kernel.kernel().fail.push_back(IpvsError::Overrun);
    *bed.reachable.lock().expect("flag") = false;
    bed.set(vec![part(80, &[(1, 1)])]);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[]))]));
    assert_eq!(bed.saved(), owned(&[(80, &[1])]));
    // The next process finds them owned, whether or not they got into the kernel.
    let mut next = Bed::new(table(&[(80, entry("rr", &[(1, 1)]))]), bed.saved());
    next.set(vec![part(81, &[(1, 1)])]);
    assert_eq!(next.kernel.table(), table(&[(81, entry("rr", &[(1, 1)]))]));
}

#[test]
fn a_removed_destination_leaves_the_file_later() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1), (2, 1)])]);
    bed.set(vec![part(80, &[(1, 1)])]);
    assert_eq!(bed.saved(), owned(&[(80, &[1, 2])]));
    assert!(bed.keeper.wake_at() <= bed.now + 5 * SECOND);
    bed.after(5 * SECOND);
    assert_eq!(bed.saved(), owned(&[(80, &[1])]));
}

#[test]
fn a_refused_operation_is_reported_and_tried_again_with_back_off() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.kernel.kernel().schedulers.remove("mh");
    let odd = [(id(80), entry("mh", &[(1, 1), (2, 1)]))];
    bed.set(vec![(owner_of(80), Some(odd.clone().into())), part(81, &[(1, 1)])]);
    let status = bed.status();
    let refused = status.refused.clone().expect("refused");
    assert!(refused.contains("3 refused") && refused.contains("modprobe ip_vs_mh"), "{refused}");
    assert_eq!((status.writes, status.errors), (2, 3), "the others went through");
    assert_eq!(
        bed.kernel.kernel().reads,
        [vec![id(80), id(81)], vec![id(80)]],
        "what was refused is read back"
    );
    let refusals = status.refusals.join("\n");
    assert!(refusals.contains("TCP 10.0.0.1:80") && refusals.contains("modprobe ip_vs_mh"), "{refusals}");
    assert_eq!((status.attempted_generation, status.converged_generation), (1, 0));
    // Others' changes go on meanwhile and try nothing again.
    bed.kernel.take_record();
    bed.set(vec![part(81, &[(1, 2)])]);
    assert_eq!(bed.kernel.take_record(), [Op::SetDest(id(81), real(1), weight(2))]);
    assert_eq!(bed.status().converged_generation, 0);
    // 1 s, 2 s, 4 s … 30 s.
    let mut tries = Vec::new();
    for second in 1..=100 {
        bed.after(SECOND);
        if !bed.kernel.take_record().is_empty() {
            tries.push(second);
        }
    }
    assert_eq!(tries, [1, 3, 7, 15, 31, 61, 91]);
    bed.kernel.kernel().schedulers.insert("mh".to_owned());
    bed.after(30 * SECOND);
    assert!(bed.converged(), "{:?}", bed.status());
    assert_eq!(bed.kernel.table(), table(&[(80, odd[0].1.clone()), (81, entry("rr", &[(1, 2)]))]));
}

#[test]
fn a_table_that_another_program_changed_is_put_right_at_once_when_it_shows() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1), (2, 1)])]);
    bed.kernel.kernel().table = Table::default();
    bed.set(vec![part(80, &[(1, 2), (2, 1)])]);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 2), (2, 1)]))]));
    assert!(bed.converged());
    assert!(bed.keeper.wake_at() > bed.now, "nothing is left to try");
    assert_eq!(bed.told(), Vec::<String>::new(), "it showed by itself");
}

#[test]
fn what_goes_goes_in_the_opposite_order() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set([80, 81, 82].map(|port| part(port, &[(1, 1)])).to_vec());
    let _added = bed.kernel.take_record();
    bed.set([80, 81, 82].map(|port| (owner_of(port), None)).to_vec());
    assert_eq!(bed.kernel.take_record(), [82, 81, 80].map(|port| Op::DelService(id(port))));
}

#[test]
fn an_audit_repairs_counts_and_tells_drift() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    let ours = [part(80, &[(1, 1), (2, 1), (4, 1)]), part(81, &[(1, 1)]), part(82, &[(1, 1)])];
    bed.set(ours.to_vec());
    bed.after(AUDIT);
    assert_eq!((bed.status().drift_repaired, bed.status().audits), (0, 1));
    {
        let mut kernel = bed.kernel.kernel();
        for op in [
            Op::DelDest(id(80), real(1)),
            Op::SetDest(id(80), real(2), weight(9)),
            Op::SetDest(id(80), real(4), Destination { forwarding: Forwarding::Direct, ..weight(1) }),
            Op::NewDest(id(80), real(3), weight(1)),
            Op::SetService(id(81), entry("wlc", &[]).service),
            Op::DelService(id(82)),
            Op::NewService(id(999), entry("rr", &[]).service),
        ] {
            kernel.table.note(&op);
        }
    }
    bed.after(AUDIT - Duration::from_millis(1));
    assert_eq!(bed.status().drift_repaired, 0);
    bed.after(Duration::from_millis(1));
    assert_eq!(bed.status().drift_repaired, 7);
    let entry_of_80 = entry("rr", &[(1, 1), (2, 1), (4, 1)]);
    let one = || entry("rr", &[(1, 1)]);
    let want = table(&[(80, entry_of_80), (81, one()), (82, one()), (999, entry("rr", &[]))]);
    assert_eq!(bed.kernel.table(), want);
    assert_eq!(
        bed.told(),
        [
            "real server 10.0.1.1:80 of TCP 10.0.0.1:80 was removed: added again",
            "real server 10.0.1.2:80 of TCP 10.0.0.1:80 was given weight 9: set back to 1",
            "real server 10.0.1.4:80 of TCP 10.0.0.1:80 was changed: set back",
            "real server 10.0.1.3:80 was added to TCP 10.0.0.1:80: removed",
            "virtual service TCP 10.0.0.1:81 was given scheduler wlc: set back to rr",
            "virtual service TCP 10.0.0.1:82 was removed: added again",
            "real server 10.0.1.1:80 of TCP 10.0.0.1:82 was removed: added again",
        ]
    );
    bed.after(AUDIT);
    assert_eq!(bed.status().drift_repaired, 7);
    assert!(bed.converged());
}

#[test]
fn a_program_that_fights_is_told_ten_times_a_minute() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1)])]);
    for _ in 0..59 {
        bed.kernel.kernel().table = Table::default();
        bed.after(AUDIT);
    }
    assert_eq!(bed.status().drift_repaired, 2 * 59, "each time it is put right");
    assert_eq!(bed.told().len(), 10);
    bed.after(3 * AUDIT);
    assert_eq!(bed.told(), ["108 more"]);
}

#[test]
fn counters_come_with_the_audit() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1)])]);
    let counted = DestinationStats { active_connections: 3, ..DestinationStats::default() };
    bed.kernel.kernel().counters.insert((id(80), real(1)), counted);
    bed.after(AUDIT);
    let board = bed.board.0.lock().expect("board").clone();
    let found = board.get(&id(80)).expect("a reading");
    assert_eq!((found.at, found.reading.counters(&real(1))), (bed.now, Some(&counted)));
    bed.set(vec![(owner_of(80), None)]);
    assert!(bed.board.0.lock().expect("board").is_empty());
}

#[test]
fn a_plan_says_what_a_set_would_do_and_does_nothing() {
    let foreign = entry("wlc", &[(9, 9)]);
    let mut bed = Bed::new(table(&[(82, foreign.clone()), (999, foreign)]), Owned::new());
    bed.set(vec![part(80, &[(1, 1)]), part(81, &[(1, 1)])]);
    let (before, writes) = (bed.kernel.table(), bed.status().writes);
    bed.kernel.take_record();
    let timeouts = Timeouts { tcp: 100, ..Timeouts::default() };
    let settings = Settings { timeouts, ..Settings::default() };
    let changes =
        || vec![part(80, &[(1, 5), (2, 1)]), (owner_of(81), None), part(82, &[(9, 9)]), part(83, &[])];
    let preview = bed.keeper.preview(changes().into_iter().collect(), settings).expect("a plan");
    assert_eq!(
        preview.ops,
        [
            Op::NewDest(id(80), real(2), weight(1)),
            Op::SetDest(id(80), real(1), weight(5)),
            Op::SetService(id(82), entry("rr", &[]).service),
            Op::NewService(id(83), entry("rr", &[]).service),
            Op::DelService(id(81)),
        ]
    );
    assert_eq!(preview.timeouts, Some(Timeouts { tcp: 100, tcp_fin: 120, udp: 300 }));
    assert_eq!((bed.kernel.table(), bed.status().writes), (before, writes));
    assert_eq!(bed.kernel.take_record(), []);
    bed.keeper.settings(settings);
    bed.set(changes());
    assert_eq!(bed.kernel.take_record(), preview.ops, "and the set does just that");
    assert_eq!(bed.kernel.kernel().timeouts, preview.timeouts.expect("timeouts"));
    let nothing = bed.keeper.preview(changes().into_iter().collect(), settings).expect("a plan");
    assert_eq!((nothing.ops, nothing.timeouts), (vec![], None));
}

#[test]
fn timeouts_are_set_put_right_and_put_back() {
    const KERNELS: Timeouts = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
    let wanted = |tcp| Settings { timeouts: Timeouts { tcp, ..Timeouts::default() }, ..Settings::default() };
    let now = |bed: &Bed| bed.kernel.kernel().timeouts;
    let mut bed = Bed::with(Table::default(), Owned::new(), |options| options.settings = wanted(60));
    assert_eq!(now(&bed), KERNELS);
    bed.set(vec![]);
    assert_eq!(now(&bed), Timeouts { tcp: 60, ..KERNELS });
    bed.kernel.kernel().timeouts.tcp = 5;
    bed.after(AUDIT);
    assert_eq!(now(&bed), Timeouts { tcp: 60, ..KERNELS });
    let told = bed.told();
    assert!(told.len() == 1 && told[0].contains("tcp 5 s") && told[0].contains("tcp 60 s"), "{told:?}");
    bed.keeper.settings(wanted(70));
    bed.set(vec![]);
    assert_eq!(now(&bed).tcp, 70);
    // A crash: the next process knows what was there before.
    let before = StateFile::open(&bed.dir.path().join("state"), 0).1.timeouts;
    assert_eq!(before, Some(KERNELS));
    let kernel = bed.kernel.clone();
    let mut next = Bed::with(Table::default(), Owned::new(), |options| {
        options.connect = connect(&kernel, &Arc::new(Mutex::new(true)));
        options.settings = wanted(80);
        options.timeouts_before = before;
    });
    next.set(vec![]);
    assert_eq!(kernel.kernel().timeouts.tcp, 80);
    next.keeper.settings(Settings::default());
    next.set(vec![]);
    assert_eq!(kernel.kernel().timeouts, KERNELS, "a reload without lvs_timeouts");
    next.keeper.settings(wanted(90));
    next.set(vec![]);
    next.keeper.empty();
    assert_eq!(kernel.kernel().timeouts, KERNELS, "the stop");
    assert_eq!(StateFile::open(&next.dir.path().join("state"), 0).1.timeouts, None);
    // Without lvs_timeouts they are nobody's business.
    kernel.kernel().timeouts.udp = 1;
    next.after(AUDIT);
    assert_eq!((kernel.kernel().timeouts.udp, next.told().len()), (1, 0));
}

#[test]
fn lvs_flush_removes_what_nobody_wants_and_keeps_what_is_wanted() {
    let there = table(&[(80, entry("rr", &[(1, 1)])), (999, entry("wlc", &[(1, 1)]))]);
    let mut bed = Bed::with(there, Owned::new(), |options| options.flush = true);
    bed.set(vec![part(80, &[(1, 1)])]);
    assert_eq!(bed.kernel.take_record(), [Op::DelService(id(999))]);
    // What comes later stays.
    bed.kernel.kernel().table.note(&Op::NewService(id(998), entry("rr", &[]).service));
    bed.set(vec![part(80, &[(1, 2)])]);
    bed.after(AUDIT);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 2)])), (998, entry("rr", &[]))]));
}

#[test]
fn lvs_flush_on_stop_empties_the_table() {
    for (flush_on_stop, left) in [(false, 1), (true, 0)] {
        let mut bed = Bed::with(table(&[(999, entry("rr", &[]))]), Owned::new(), |options| {
            options.settings.flush_on_stop = flush_on_stop;
        });
        bed.set(vec![part(80, &[(1, 1)])]);
        bed.keeper.empty();
        assert_eq!(bed.kernel.table().services.len(), left, "{flush_on_stop}");
        assert_eq!(bed.saved(), Owned::new());
    }
}

#[test]
fn what_cannot_work_is_refused_by_us() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    let mut odd = entry("rr", &[(1, 1), (2, 1)]);
    let direct = Destination { forwarding: Forwarding::Direct, ..weight(1) };
    odd.destinations.insert(SocketAddr::from(([10, 0, 1, 3], 8080)), direct);
    let mut want = odd.clone();
    // Its service's port is the other servers'.
    let service = ServiceId::Addr { protocol: Protocol::Tcp, vip: SocketAddr::from(([10, 0, 0, 1], 80)) };
    bed.set(vec![(owner_of(80), Some([(service, odd)].into()))]);
    let refused = bed.status().refused.expect("refused");
    assert!(refused.contains("10.0.1.3:8080") && refused.contains("must be 80"), "{refused}");
    want.destinations.remove(&SocketAddr::from(([10, 0, 1, 3], 8080)));
    assert_eq!(bed.kernel.table(), Table { services: [(service, want)].into() }, "the others are done");
}

#[test]
fn many_services_of_others_cost_one_look() {
    let others = (1000..6000).map(|port| (port, entry("rr", &[(1, 1)])));
    let mut bed = Bed::new(table(&others.collect::<Vec<_>>()), Owned::new());
    bed.set((0..100).map(|port| part(port + 1, &[(1, 1)])).collect());
    assert!(bed.converged());
    assert_eq!((bed.status().dumps, bed.kernel.kernel().reads.len()), (1, 0));
    bed.after(AUDIT);
    let reads: Vec<ServiceId> = bed.kernel.kernel().reads.concat();
    assert!(reads.iter().all(|read| *read < id(1000)), "the audit does not read others' services");
    bed.keeper.empty();
    assert_eq!(bed.kernel.table().services.len(), 5000);
}

#[test]
fn what_is_refused_is_not_drift() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.kernel.kernel().schedulers.remove("rr");
    bed.set(vec![part(80, &[(1, 1)])]);
    for _ in 0..10 {
        bed.after(AUDIT);
    }
    assert_eq!(bed.status().drift_repaired, 0);
    assert!(bed.status().refused.is_some());
}

#[test]
fn what_is_refused_of_a_service_holds_up_no_repair_of_the_rest() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    let mut odd = entry("rr", &[(1, 1), (2, 1)]);
    let direct = Destination { forwarding: Forwarding::Direct, ..weight(1) };
    odd.destinations.insert(SocketAddr::from(([10, 0, 1, 3], 8080)), direct);
    bed.set(vec![(owner_of(80), Some([(id(80), odd)].into()))]);
    // Long enough for the longest wait between two tries, and not just before one.
    for _ in 0..125 {
        bed.after(AUDIT);
    }
    bed.kernel.kernel().table.note(&Op::DelDest(id(80), real(1)));
    bed.after(AUDIT);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 1)]))]));
    assert_eq!(bed.status().drift_repaired, 1);
    assert_eq!(bed.told(), ["real server 10.0.1.1:80 of TCP 10.0.0.1:80 was removed: added again"]);
    bed.kernel.kernel().table = Table::default();
    bed.after(AUDIT);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 1)]))]));
    assert!(bed.status().refused.is_some_and(|refused| refused.contains("10.0.1.3:8080")));
}

#[test]
fn after_the_module_was_unloaded_the_timeouts_come_with_the_table() {
    let ours = Timeouts { tcp: 60, ..Timeouts::default() };
    let mut bed = Bed::with(Table::default(), Owned::new(), |options| options.settings.timeouts = ours);
    bed.set(vec![part(80, &[(1, 1)])]);
    bed.kernel.kernel().fail.push_back(IpvsError::Unloaded);
    bed.kernel.kernel().table = Table::default();
    bed.kernel.kernel().timeouts = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
    bed.after(AUDIT);
    bed.after(AUDIT);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 1)]))]));
    assert_eq!(bed.kernel.kernel().timeouts.tcp, 60);
    assert_eq!((bed.told(), bed.status().drift_repaired), (vec![], 0), "nobody else changed anything");
}

#[test]
fn a_lost_connection_is_made_again_and_the_table_read() {
    let timed_out = IpvsError::TimedOut { limit_ms: 5000 };
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1)])]);
    // Once: it comes back in the same turn.
    bed.kernel.kernel().fail.push_back(timed_out.clone());
    bed.set(vec![part(80, &[(1, 1), (2, 1)])]);
    assert!(bed.converged());
    assert_eq!(bed.status().errors, 1);
    assert_eq!(bed.kernel.kernel().reads, [vec![id(80)], vec![id(80)]], "once at first, once after the loss");
    // For good: with back-off, and without a turn in between.
    *bed.reachable.lock().expect("flag") = false;
    bed.kernel.kernel().fail.push_back(timed_out);
    bed.set(vec![part(80, &[(1, 1), (2, 1), (3, 1)])]);
    let refused = bed.status().refused.expect("refused");
    assert!(refused.contains("modprobe ip_vs"), "{refused}");
    assert_eq!(bed.status().attempted_generation, 2);
    assert_eq!(bed.keeper.wake_at(), bed.now + SECOND);
    let errors = bed.status().errors;
    bed.set(vec![part(81, &[(1, 1)])]);
    assert_eq!(bed.status().errors, errors, "waits for its time");
    bed.after(SECOND);
    assert_eq!(bed.status().errors, errors + 1);
    assert_eq!(bed.keeper.wake_at(), bed.now + 2 * SECOND);
    assert!(bed.keeper.preview(BTreeMap::new(), Settings::default()).is_err());
    *bed.reachable.lock().expect("flag") = true;
    bed.kernel.kernel().table = Table::default();
    bed.after(2 * SECOND);
    assert!(bed.converged(), "{:?}", bed.status());
    let want = table(&[(80, entry("rr", &[(1, 1), (2, 1), (3, 1)])), (81, entry("rr", &[(1, 1)]))]);
    assert_eq!(bed.kernel.table(), want);
}

#[test]
fn without_a_connection_what_is_overdue_does_not_keep_the_thread_awake() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1), (2, 1)])]);
    // Its keys are to be reduced in five seconds, and an audit is due in sixty.
    bed.set(vec![part(80, &[(1, 1)])]);
    *bed.reachable.lock().expect("flag") = false;
    bed.kernel.kernel().fail.push_back(IpvsError::TimedOut { limit_ms: 5000 });
    bed.set(vec![part(80, &[(1, 2)])]);
    for turn in 0..20 {
        let wake = bed.keeper.wake_at();
        assert!(wake > bed.now, "turn {turn}");
        // Woken early, as by a change.
        bed.after((wake - bed.now) / 2);
        assert_eq!(bed.keeper.wake_at(), wake, "turn {turn}");
        bed.after(wake - bed.now);
    }
    *bed.reachable.lock().expect("flag") = true;
    bed.after(30 * SECOND);
    bed.after(5 * SECOND);
    assert!(bed.converged(), "{:?}", bed.status());
    assert_eq!(bed.saved(), owned(&[(80, &[1])]));
}

#[test]
fn a_want_withdrawn_before_it_was_sent_removes_no_other_programs_service() {
    let there = table(&[(999, entry("wlc", &[(1, 1)]))]);
    let mut bed = Bed::new(there.clone(), Owned::new());
    bed.set(vec![]);
    *bed.reachable.lock().expect("flag") = false;
    bed.kernel.kernel().fail.push_back(IpvsError::Overrun);
    bed.after(AUDIT);
    bed.set(vec![part(999, &[(2, 2)])]);
    bed.set(vec![(owner_of(999), None)]);
    *bed.reachable.lock().expect("flag") = true;
    bed.after(2 * SECOND);
    assert!(bed.converged());
    assert_eq!(bed.kernel.table(), there);
}

#[test]
fn after_a_panic_the_table_is_read_and_planned_anew() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1)])]);
    bed.kernel.kernel().table = Table::default();
    bed.keeper.recover(bed.now);
    assert!(bed.status().refused.is_some());
    bed.after(SECOND);
    assert!(bed.converged());
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 1)]))]));
}

#[test]
fn a_state_file_that_cannot_be_written_stops_nothing() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    let path = bed.dir.path().join("state.new");
    // The temporary file's name is taken by a directory.
    std::fs::create_dir(&path).expect("directory");
    bed.set(vec![part(80, &[(1, 1)])]);
    assert!(bed.converged());
    assert_eq!(bed.status().state_errors, 1);
}

#[test]
fn stopping_empties_what_is_ours_alone_in_one_send() {
    let mut bed =
        Bed::new(table(&[(999, entry("rr", &[(1, 1)])), (81, entry("rr", &[]))]), owned(&[(81, &[])]));
    bed.set(vec![part(80, &[(1, 1)]), part(81, &[(1, 1)])]);
    bed.kernel.kernel().sends.clear();
    bed.keeper.empty();
    assert_eq!(bed.kernel.table(), table(&[(999, entry("rr", &[(1, 1)]))]));
    assert_eq!(bed.kernel.kernel().sends, [2]);
    assert_eq!(bed.saved(), Owned::new());
}

/// A thread on a fake kernel.
fn started(kernel: &FakeIpvs, owned: Owned) -> (OwnerHandle, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("directory");
    let options = options(connect(kernel, &Arc::new(Mutex::new(true))), &dir, owned);
    (TableOwner::start(options).expect("starts"), dir)
}

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn the_start_reports_what_is_missing() {
    let dir = tempfile::tempdir().expect("directory");
    let kernel = FakeIpvs::new();
    let options = |reachable| options(connect(&kernel, &Arc::new(Mutex::new(reachable))), &dir, Owned::new());
    assert_eq!(TableOwner::start(options(false)).err(), Some(IpvsError::NoIpvs));
    let no_right = IpvsError::NoRight { request: "list".to_owned() };
    kernel.kernel().fail.push_back(no_right.clone());
    assert_eq!(TableOwner::start(options(true)).err(), Some(no_right));
}

#[test]
fn the_thread_converges_answers_and_stops() {
    let kernel = FakeIpvs::new();
    let (handle, _dir) = started(&kernel, Owned::new());
    assert_eq!(handle.set_parts(vec![part(80, &[(1, 1)])]), 1);
    assert_eq!(handle.set_parts(vec![part(80, &[(1, 1), (2, 1)])]), 2);
    assert!(handle.flush_wait_blocking(LIMIT));
    assert_eq!(kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 1)]))]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let changes = vec![part(80, &[(1, 1)])];
        let preview = handle.preview(changes, Settings::default()).await.expect("a plan");
        assert_eq!(preview.ops, [Op::DelDest(id(80), real(2))]);
        kernel.kernel().schedulers.remove("fo");
        handle.set_parts(vec![(owner_of(81), Some([(id(81), entry("fo", &[]))].into()))]);
        assert!(!handle.flush_wait(LIMIT).await, "refused is known at once");
        assert!(handle.status().borrow().refused.is_some());
        handle.set_parts(vec![(owner_of(81), None)]);
        assert!(handle.flush_wait(LIMIT).await);
    });
    let other = handle.clone();
    handle.stop(Stop::Keep);
    assert_eq!(kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 1)]))]));
    other.set_parts(vec![part(82, &[(1, 1)])]);
    assert!(!other.flush_wait_blocking(LIMIT), "nobody works it off any more");
    let preview = runtime.block_on(other.preview(Vec::new(), Settings::default()));
    assert!(matches!(preview, Err(IpvsError::Unavailable { .. })));
}

#[test]
fn stop_removes_ours_with_wants_that_were_never_sent() {
    let kernel = FakeIpvs::new();
    kernel.kernel().table = table(&[(80, entry("rr", &[(1, 1)])), (999, entry("rr", &[]))]);
    let (handle, dir) = started(&kernel, owned(&[(80, &[1])]));
    handle.set_parts(vec![part(80, &[(1, 1)]), part(81, &[(1, 1)])]);
    handle.stop(Stop::Empty);
    assert_eq!(kernel.table(), table(&[(999, entry("rr", &[]))]));
    assert_eq!(StateFile::open(&dir.path().join("state"), 0).1.owned, Owned::new());
}

#[test]
fn the_last_handle_ends_the_thread_and_leaves_the_table() {
    let kernel = FakeIpvs::new();
    let (handle, _dir) = started(&kernel, Owned::new());
    handle.set_parts(vec![part(80, &[(1, 1)])]);
    assert!(handle.flush_wait_blocking(LIMIT));
    let mut status = handle.status();
    drop(handle);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    let ended = runtime
        .block_on(async { tokio::time::timeout(LIMIT, status.wait_for(|_| false)).await })
        .expect("the thread ends");
    assert!(ended.is_err(), "the sender is gone");
    drop(ended);
    assert_eq!(kernel.table().services.len(), 1);
}

/// A kernel that fails inside once.
struct Faulty(FakeIpvs, Arc<Mutex<BTreeSet<&'static str>>>);

impl Ipvs for Faulty {
    fn dump(&mut self, ours: &dyn Fn(&ServiceId) -> bool) -> Result<Table, IpvsError> {
        self.0.dump(ours)
    }

    fn read(&mut self, ids: &[ServiceId]) -> Result<BTreeMap<ServiceId, Reading>, IpvsError> {
        self.0.read(ids)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>> {
        let panics = self.1.lock().expect("set").remove("apply");
        assert!(!panics, "a fault for the test");
        self.0.apply(ops)
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        self.0.timeouts()
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), IpvsError> {
        self.0.set_timeouts(timeouts)
    }

    fn flush(&mut self) -> Result<(), IpvsError> {
        self.0.flush()
    }
}

#[test]
fn a_panic_costs_one_turn() {
    let dir = tempfile::tempdir().expect("directory");
    let (kernel, faults) = (FakeIpvs::new(), Arc::new(Mutex::new(BTreeSet::from(["apply"]))));
    let (inside, armed) = (kernel.clone(), faults.clone());
    let connect: Connect = Box::new(move || Ok(Box::new(Faulty(inside.clone(), armed.clone()))));
    let options = options(connect, &dir, Owned::new());
    let handle = TableOwner::start(options).expect("starts");
    handle.set_parts(vec![part(80, &[(1, 1)])]);
    assert!(handle.flush_wait_blocking(LIMIT));
    assert_eq!(kernel.table(), table(&[(80, entry("rr", &[(1, 1)]))]));
    assert_eq!(handle.status().borrow().errors, 1);
    handle.stop(Stop::Keep);
}
