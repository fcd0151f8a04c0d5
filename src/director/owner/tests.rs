//! The keeper under a clock of the test's own, then the thread.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lbd_ipvs::fake::FakeIpvs;
use lbd_ipvs::{
    Destination, Family, Forwarding, Netmask, Op, Protocol, Scheduler, Service, ServiceFlags, Table,
};

use super::*;

const AUDIT: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn id(port: u16) -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: SocketAddr::from(([10, 0, 0, 1], port)) }
}

fn real(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], 80))
}

fn weight(weight: u32) -> Destination {
    Destination { forwarding: Forwarding::Direct, weight, upper_threshold: 0, lower_threshold: 0 }
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
}

impl Bed {
    fn new(there: Table, owned: Owned) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let kernel = FakeIpvs::new();
        kernel.kernel().table = there;
        let reachable = Arc::new(Mutex::new(true));
        let options = OwnerOptions {
            connect: connect(&kernel, &reachable),
            state: Arc::new(StateFile::open(&dir.path().join("state")).0),
            owned,
            audit_interval: AUDIT,
        };
        let now = Instant::now();
        let keeper = Keeper::start(options, now).expect("starts");
        Bed { keeper, kernel, reachable, dir, now, generation: 0 }
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
        StateFile::open(&self.dir.path().join("state")).1.owned
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
    assert_eq!(bed.status().dumps, 1, "what is known is not read again");
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
    // The kernel is gone when it comes to the change: a crash between file and kernel.
    bed.kernel.kernel().fail.push_back(IpvsError::Overrun);
    *bed.reachable.lock().expect("flag") = false;
    bed.set(vec![part(80, &[(1, 1)])]);
    assert_eq!(bed.kernel.table(), Table::default());
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
    assert_eq!(bed.keeper.wake_at(), bed.now - 5 * SECOND + AUDIT);
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
    assert_eq!((status.writes, status.errors, status.dumps), (2, 3, 2), "the others went through; read back");
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
    assert_eq!(bed.keeper.wake_at(), bed.now + AUDIT, "nothing is left to try");
}

#[test]
fn an_audit_repairs_and_counts_drift() {
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1), (2, 1)])]);
    bed.after(AUDIT);
    assert_eq!((bed.status().drift_repaired, bed.status().dumps), (0, 2));
    {
        let mut kernel = bed.kernel.kernel();
        for op in [
            Op::DelDest(id(80), real(1)),
            Op::SetDest(id(80), real(2), weight(9)),
            Op::NewDest(id(80), real(3), weight(1)),
            Op::NewService(id(999), entry("rr", &[]).service),
        ] {
            kernel.table.note(&op);
        }
    }
    bed.after(AUDIT - SECOND);
    assert_eq!(bed.status().drift_repaired, 0);
    bed.after(SECOND);
    assert_eq!(bed.status().drift_repaired, 3);
    assert_eq!(bed.kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 1)])), (999, entry("rr", &[]))]));
    bed.after(AUDIT);
    assert_eq!(bed.status().drift_repaired, 3);
    assert!(bed.converged());
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
fn a_lost_connection_is_made_again_and_the_table_read() {
    let timed_out = IpvsError::TimedOut { limit_ms: 5000 };
    let mut bed = Bed::new(Table::default(), Owned::new());
    bed.set(vec![part(80, &[(1, 1)])]);
    // Once: it comes back in the same turn.
    bed.kernel.kernel().fail.push_back(timed_out.clone());
    bed.set(vec![part(80, &[(1, 1), (2, 1)])]);
    assert!(bed.converged());
    assert_eq!((bed.status().errors, bed.status().dumps), (1, 2));
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
    assert!(bed.keeper.stats().is_err());
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
    bed.after(AUDIT);
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
    assert!(bed.keeper.stats().is_err());
    bed.set(vec![part(999, &[(2, 2)])]);
    bed.set(vec![(owner_of(999), None)]);
    *bed.reachable.lock().expect("flag") = true;
    bed.after(AUDIT);
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
    let options = OwnerOptions {
        connect: connect(kernel, &Arc::new(Mutex::new(true))),
        state: Arc::new(StateFile::open(&dir.path().join("state")).0),
        owned,
        audit_interval: AUDIT,
    };
    (TableOwner::start(options).expect("starts"), dir)
}

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn the_start_reports_what_is_missing() {
    let dir = tempfile::tempdir().expect("directory");
    let kernel = FakeIpvs::new();
    let options = |reachable| OwnerOptions {
        connect: connect(&kernel, &Arc::new(Mutex::new(reachable))),
        state: Arc::new(StateFile::open(&dir.path().join("state")).0),
        owned: Owned::new(),
        audit_interval: AUDIT,
    };
    assert_eq!(TableOwner::start(options(false)).err(), Some(IpvsError::NoIpvs));
    let no_right = IpvsError::NoRight { request: "list".to_owned() };
    kernel.kernel().fail.push_back(no_right.clone());
    assert_eq!(TableOwner::start(options(true)).err(), Some(no_right));
}

#[test]
fn the_thread_converges_answers_and_stops() {
    let kernel = FakeIpvs::new();
    kernel.kernel().stats.services.insert(id(80), Default::default());
    let (handle, _dir) = started(&kernel, Owned::new());
    assert_eq!(handle.set_parts(vec![part(80, &[(1, 1)])]), 1);
    assert_eq!(handle.set_parts(vec![part(80, &[(1, 1), (2, 1)])]), 2);
    assert!(handle.flush_wait_blocking(LIMIT));
    assert_eq!(kernel.table(), table(&[(80, entry("rr", &[(1, 1), (2, 1)]))]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        assert_eq!(handle.stats().await.expect("counters").services.len(), 1);
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
    assert!(matches!(runtime.block_on(other.stats()), Err(IpvsError::Unavailable { .. })));
}

#[test]
fn stop_removes_ours_with_wants_that_were_never_sent() {
    let kernel = FakeIpvs::new();
    kernel.kernel().table = table(&[(80, entry("rr", &[(1, 1)])), (999, entry("rr", &[]))]);
    let (handle, dir) = started(&kernel, owned(&[(80, &[1])]));
    handle.set_parts(vec![part(80, &[(1, 1)]), part(81, &[(1, 1)])]);
    handle.stop(Stop::Empty);
    assert_eq!(kernel.table(), table(&[(999, entry("rr", &[]))]));
    assert_eq!(StateFile::open(&dir.path().join("state")).1.owned, Owned::new());
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
    fn dump(&mut self) -> Result<Table, IpvsError> {
        self.0.dump()
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>> {
        let panics = self.1.lock().expect("set").remove("apply");
        assert!(!panics, "a fault for the test");
        self.0.apply(ops)
    }

    fn stats(&mut self) -> Result<TableStats, IpvsError> {
        self.0.stats()
    }
}

#[test]
fn a_panic_costs_one_turn() {
    let dir = tempfile::tempdir().expect("directory");
    let (kernel, faults) = (FakeIpvs::new(), Arc::new(Mutex::new(BTreeSet::from(["apply"]))));
    let (inside, armed) = (kernel.clone(), faults.clone());
    let options = OwnerOptions {
        connect: Box::new(move || Ok(Box::new(Faulty(inside.clone(), armed.clone())))),
        state: Arc::new(StateFile::open(&dir.path().join("state")).0),
        owned: Owned::new(),
        audit_interval: AUDIT,
    };
    let handle = TableOwner::start(options).expect("starts");
    handle.set_parts(vec![part(80, &[(1, 1)])]);
    assert!(handle.flush_wait_blocking(LIMIT));
    assert_eq!(kernel.table(), table(&[(80, entry("rr", &[(1, 1)]))]));
    assert_eq!(handle.status().borrow().errors, 1);
    handle.stop(Stop::Keep);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever is set, refused and lost on the way: in the end the kernel holds what is wanted and
    /// what was another program's, and the file holds our keys.
    #[test]
    fn any_history_converges(
        steps in proptest::collection::vec(
            (0u16..4, proptest::option::of(proptest::collection::btree_set(1u8..5, 0..4)), 0u8..6),
            1..20,
        ),
    ) {
        let mut bed = Bed::new(table(&[(999, entry("wlc", &[(1, 1)])), (3, entry("rr", &[(1, 1)]))]), owned(&[(3, &[1])]));
        bed.set(vec![]);
        let mut want = BTreeMap::new();
        for (port, dests, fault) in steps {
            {
                let mut kernel = bed.kernel.kernel();
                match fault {
                    0 => kernel.fail.push_back(IpvsError::Overrun),
                    1 => { kernel.schedulers.remove("rr"); }
                    2 => { kernel.schedulers.insert("rr".to_owned()); }
                    3 => { kernel.table.services.remove(&id(port)); }
                    _ => {}
                }
            }
            let dests: Option<Vec<(u8, u32)>> = dests.map(|dests| dests.into_iter().map(|last| (last, 1)).collect());
            match &dests {
                Some(dests) => { want.insert(port, entry("rr", dests)); }
                None => { want.remove(&port); }
            }
            bed.set(vec![dests.map_or((owner_of(port), None), |dests| part(port, &dests))]);
            bed.after(SECOND);
        }
        bed.kernel.kernel().schedulers.insert("rr".to_owned());
        bed.kernel.kernel().fail.clear();
        // The longest wait before a retry, then an audit.
        bed.after(AUDIT);
        bed.after(AUDIT);
        let mut expected: Vec<_> = want.into_iter().collect();
        expected.push((999, entry("wlc", &[(1, 1)])));
        proptest::prop_assert_eq!(bed.kernel.table(), table(&expected));
        proptest::prop_assert!(bed.converged(), "{:?}", bed.status());
        let keys: Owned = expected.iter().filter(|(port, _)| *port != 999)
            .map(|(port, entry)| (id(*port), entry.destinations.keys().copied().collect())).collect();
        proptest::prop_assert_eq!(bed.saved(), keys);
    }
}
