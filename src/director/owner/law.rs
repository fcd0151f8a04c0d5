//! The law of the table's owner, over random configurations, foreign entries and interference: in the end the
//! kernel holds what is wanted and what is others', and then nothing more is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use lbd_ipvs::fake::FakeIpvs;
use lbd_ipvs::{
    Destination, Entry, Family, Forwarding, IpvsError, Netmask, Protocol, Scheduler, Service, ServiceFlags,
    ServiceId, Table, Tunnel,
};
use proptest::prelude::*;

use super::*;

/// Services that both may want, so that they meet.
fn id(number: u8) -> ServiceId {
    match number % 8 {
        number @ 0..=4 => ServiceId::Addr {
            protocol: if number == 4 { Protocol::Udp } else { Protocol::Tcp },
            vip: SocketAddr::from(([10, 0, 0, 1], 80 + u16::from(number))),
        },
        5 => ServiceId::Addr { protocol: Protocol::Sctp, vip: "[2001:db8::1]:80".parse().expect("address") },
        number => {
            ServiceId::FwMark { mark: NonZeroU32::new(number.into()).expect("mark"), family: Family::Inet }
        }
    }
}

fn port_of(id: &ServiceId) -> u16 {
    match id {
        ServiceId::Addr { vip, .. } => vip.port(),
        ServiceId::FwMark { .. } => 0,
    }
}

fn real(id: &ServiceId, number: u8) -> SocketAddr {
    let ip = match id.family() {
        Family::Inet => [10, 0, 1, number].into(),
        Family::Inet6 => [0x2001, 0xdb8, 1, 0, 0, 0, 0, number.into()].into(),
    };
    SocketAddr::new(ip, port_of(id))
}

fn entries(id: ServiceId) -> impl Strategy<Value = Entry> {
    let schedulers = prop_oneof![Just("rr"), Just("wlc"), Just("sh"), Just("mh")];
    let service =
        (schedulers, any::<bool>(), 0u32..3).prop_map(move |(scheduler, persistent, flags)| Service {
            scheduler: Scheduler::new(scheduler).expect("name"),
            flags: ServiceFlags(if persistent { 1 } else { 0 } | flags << 3),
            persistence_timeout: if persistent { 60 } else { 0 },
            netmask: Netmask::full(id.family()),
            persistence_engine: None,
        });
    let forwardings =
        prop_oneof![Just(Forwarding::Nat), Just(Forwarding::Direct), Just(Forwarding::Tunnel(Tunnel::Ipip)),];
    let destination = (forwardings, 0u32..3, 0u32..2).prop_map(|(forwarding, weight, lower)| Destination {
        forwarding,
        weight,
        upper_threshold: 2,
        lower_threshold: lower,
    });
    let destinations =
        prop::collection::btree_map((0u8..6).prop_map(move |number| real(&id, number)), destination, 0..5);
    (service, destinations).prop_map(|(service, destinations)| Entry { service, destinations })
}

fn numbered() -> impl Strategy<Value = (u8, Entry)> {
    (0u8..8).prop_flat_map(|number| (Just(number), entries(id(number))))
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A virtual server (by number) wants these services, or nothing any more.
    Want(u8, BTreeMap<u8, Entry>),
    /// Another program has this service as it likes.
    Put(u8, Entry),
    /// Another program removes a service.
    Remove(u8),
    /// Another program empties the table.
    Clear,
    /// The kernel has no such scheduler, or has it again.
    Scheduler(bool),
    /// The next call finds the connection lost, or the module unloaded.
    Lose(bool),
    /// The kernel cannot be reached, or can again.
    Reach(bool),
    /// Time passes.
    Wait(u64),
    /// A new process, after a crash.
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..4, prop::collection::vec(numbered(), 0..4))
            .prop_map(|(server, wants)| Step::Want(server, wants.into_iter().collect())),
        3 => numbered().prop_map(|(number, entry)| Step::Put(number, entry)),
        2 => (0u8..8).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        1 => any::<bool>().prop_map(Step::Scheduler),
        2 => any::<bool>().prop_map(Step::Lose),
        1 => any::<bool>().prop_map(Step::Reach),
        4 => (0u64..40).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

struct Bed {
    keeper: Keeper,
    kernel: FakeIpvs,
    reachable: Arc<Mutex<bool>>,
    dir: tempfile::TempDir,
    now: Instant,
    generation: u64,
    parts: BTreeMap<u8, Part>,
    _events: tokio::sync::mpsc::Receiver<crate::event::Event>,
}

fn keeper(
    kernel: &FakeIpvs,
    reachable: &Arc<Mutex<bool>>,
    dir: &tempfile::TempDir,
    now: Instant,
) -> (Keeper, tokio::sync::mpsc::Receiver<crate::event::Event>) {
    let (connection, open) = (kernel.clone(), reachable.clone());
    let (state, saved) = StateFile::open(&dir.path().join("state"), 0);
    let (events, queue) = EventSender::channel();
    let options = OwnerOptions {
        connect: Box::new(move || match *open.lock().expect("flag") {
            true => Ok(Box::new(connection.clone())),
            false => Err(IpvsError::NoIpvs),
        }),
        state: Arc::new(state),
        owned: saved.owned,
        timeouts_before: saved.timeouts,
        flush: false,
        settings: Settings::default(),
        events,
        processor: || Duration::ZERO,
    };
    (Keeper::start(options, Arc::default(), now).expect("starts"), queue)
}

fn server(number: u8) -> PartId {
    ServiceId::FwMark { mark: NonZeroU32::new(1000 + u32::from(number)).expect("mark"), family: Family::Inet }
        .into()
}

impl Bed {
    fn new(foreign: &BTreeMap<u8, Entry>) -> Self {
        let kernel = FakeIpvs::new();
        kernel.kernel().table =
            Table { services: foreign.iter().map(|(number, entry)| (id(*number), entry.clone())).collect() };
        let reachable = Arc::new(Mutex::new(true));
        let (dir, now) = (tempfile::tempdir().expect("directory"), Instant::now());
        let (keeper, _events) = keeper(&kernel, &reachable, &dir, now);
        let mut bed =
            Bed { keeper, kernel, reachable, dir, now, generation: 0, parts: BTreeMap::new(), _events };
        bed.set(Vec::new());
        bed
    }

    fn set(&mut self, changes: Vec<(PartId, Option<Part>)>) {
        self.generation += 1;
        self.keeper.set(self.generation, changes.into_iter().collect());
        self.keeper.converge(self.now);
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.keeper.converge(self.now);
        }
    }

    /// What all virtual servers want together, worked out without the owner's own union.
    fn wanted(&self) -> BTreeMap<ServiceId, Entry> {
        let mut wanted: BTreeMap<ServiceId, Entry> = BTreeMap::new();
        let mut servers: Vec<(PartId, &Part)> =
            self.parts.iter().map(|(number, part)| (server(*number), part)).collect();
        servers.sort_by(|one, other| one.0.cmp(&other.0));
        for (id, entry) in servers.into_iter().flat_map(|(_, part)| part) {
            let united = wanted.entry(*id).or_insert_with(|| entry.clone());
            for (address, destination) in &entry.destinations {
                united.destinations.entry(*address).or_insert(*destination);
            }
        }
        wanted
    }

    /// `ours`: services that were wanted at some time, by which they became ours.
    fn happen(
        &mut self,
        step: Step,
        foreign: &mut BTreeMap<ServiceId, Entry>,
        ours: &mut BTreeSet<ServiceId>,
    ) {
        match step {
            Step::Want(number, wants) => {
                let part: Part = wants.into_iter().map(|(number, entry)| (id(number), entry)).collect();
                ours.extend(part.keys());
                for id in part.keys() {
                    foreign.remove(id);
                }
                self.parts.insert(number, part.clone());
                self.set(vec![(server(number), (!part.is_empty()).then_some(part))]);
            }
            Step::Put(number, entry) => {
                let id = id(number);
                // What is ours, or may still be, is put right or removed; the rest is theirs for good.
                if !ours.contains(&id) {
                    foreign.insert(id, entry.clone());
                }
                self.kernel.kernel().table.services.insert(id, entry);
            }
            Step::Remove(number) => {
                self.kernel.kernel().table.services.remove(&id(number));
                foreign.remove(&id(number));
            }
            Step::Clear => {
                self.kernel.kernel().table = Table::default();
                foreign.clear();
            }
            Step::Scheduler(there) => {
                let mut kernel = self.kernel.kernel();
                if there {
                    kernel.schedulers.insert("mh".to_owned());
                } else {
                    kernel.schedulers.remove("mh");
                }
            }
            Step::Lose(unloaded) => {
                let error =
                    if unloaded { IpvsError::Unloaded } else { IpvsError::TimedOut { limit_ms: 5000 } };
                self.kernel.kernel().fail.push_back(error);
            }
            Step::Reach(there) => *self.reachable.lock().expect("flag") = there,
            Step::Wait(seconds) => self.wait(seconds),
            Step::Crash => {
                *self.reachable.lock().expect("flag") = true;
                self.kernel.kernel().fail.clear();
                (self.keeper, self._events) = keeper(&self.kernel, &self.reachable, &self.dir, self.now);
                let parts = self.parts.iter().map(|(number, part)| (server(*number), Some(part.clone())));
                let parts = parts.collect();
                self.generation = 0;
                self.set(parts);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 128 } else { 4096 }))]

    #[test]
    fn whatever_happens_the_table_converges(
        foreign in prop::collection::btree_map(0u8..8, Just(()), 0..4)
            .prop_flat_map(|numbers| {
                numbers.into_keys().map(|number| (Just(number), entries(id(number)))).collect::<Vec<_>>()
            }),
        steps in prop::collection::vec(steps(), 1..24),
    ) {
        let foreign: BTreeMap<u8, Entry> = foreign.into_iter().collect();
        let mut bed = Bed::new(&foreign);
        let mut theirs: BTreeMap<ServiceId, Entry> =
            foreign.into_iter().map(|(number, entry)| (id(number), entry)).collect();
        let mut ours = BTreeSet::new();
        for step in steps {
            bed.happen(step, &mut theirs, &mut ours);
        }
        *bed.reachable.lock().expect("flag") = true;
        bed.kernel.kernel().fail.clear();
        bed.kernel.kernel().schedulers.insert("mh".to_owned());
        // The longest wait before what failed is tried again, and a round of the audit.
        bed.wait(32);
        let wanted = bed.wanted();
        let have = bed.kernel.table().services;
        for (id, entry) in &wanted {
            prop_assert_eq!(have.get(id), Some(entry), "{} is not as wanted", id);
        }
        for (id, entry) in theirs.iter().filter(|(id, _)| !wanted.contains_key(id)) {
            prop_assert_eq!(have.get(id), Some(entry), "{} was another program's", id);
        }
        for id in have.keys() {
            // A service that was ours may be put there by another program after it was let go.
            prop_assert!(wanted.contains_key(id) || theirs.contains_key(id) || ours.contains(id), "{} is nobody's", id);
        }
        prop_assert_eq!(&bed.keeper.status().refused, &None);
        bed.kernel.take_record();
        let writes = bed.keeper.status().writes;
        bed.set(bed.parts.clone().into_iter().map(|(number, part)| (server(number), Some(part))).collect());
        bed.wait(10);
        prop_assert_eq!(bed.kernel.take_record(), vec![], "the second run writes");
        prop_assert_eq!(bed.keeper.status().writes, writes);
        // And the file holds what is ours, no less.
        let saved = StateFile::open(&bed.dir.path().join("state"), 0).1.owned;
        for (id, entry) in &wanted {
            let keys = saved.get(id);
            prop_assert!(keys.is_some_and(|keys| entry.destinations.keys().all(|key| keys.contains(key))), "{}", id);
        }
    }
}
