//! A kernel's table in memory, for tests: the same errors for the same mistakes, a record of what was
//! done, failures on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use crate::types::{
    DestinationReport, DestinationStats, Family, Forwarding, Netmask, Op, Reading, Scheduler, ServiceFlags,
    ServiceId, SyncDaemon, SyncState, Table, Timeouts, Tunnel,
};
use crate::{Ipvs, IpvsError, SyncDaemons};

/// A table that behaves as the kernel's. Clones share it, so a test keeps a hand on what it gave away.
#[derive(Clone, Debug, Default)]
pub struct FakeIpvs(Arc<Mutex<FakeKernel>>);

/// What [`FakeIpvs`] holds.
#[derive(Debug)]
pub struct FakeKernel {
    /// The table.
    pub table: Table,
    /// Schedulers that are there; all of the mainline kernel's at first.
    pub schedulers: BTreeSet<String>,
    /// Every operation tried, refused ones included.
    pub record: Vec<Op>,
    /// Sizes of the calls of [`Ipvs::apply`].
    pub sends: Vec<usize>,
    /// Calls of [`Ipvs::dump`].
    pub dumps: u64,
    /// The services of each call of [`Ipvs::read`].
    pub reads: Vec<Vec<ServiceId>>,
    /// What the next calls of [`Ipvs`] fail with, one call each; an apply that fails so has changed nothing.
    pub fail: std::collections::VecDeque<IpvsError>,
    /// What is counted for destinations; nothing for those that are not in it.
    pub counters: BTreeMap<(ServiceId, std::net::SocketAddr), DestinationStats>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
}

impl Default for FakeKernel {
    fn default() -> Self {
        FakeKernel {
            table: Table::default(),
            schedulers: Scheduler::KNOWN.iter().map(|name| (*name).to_owned()).collect(),
            record: Vec::new(),
            sends: Vec::new(),
            dumps: 0,
            reads: Vec::new(),
            fail: Default::default(),
            counters: BTreeMap::new(),
            // The kernel's own.
            timeouts: Timeouts { tcp: 900, tcp_fin: 120, udp: 300 },
        }
    }
}

impl FakeIpvs {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kernel's insides, to look at and to change behind the client's back.
    pub fn kernel(&self) -> MutexGuard<'_, FakeKernel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table as it is.
    pub fn table(&self) -> Table {
        self.kernel().table.clone()
    }

    /// The operations tried since the last call.
    pub fn take_record(&self) -> Vec<Op> {
        std::mem::take(&mut self.kernel().record)
    }
}

impl Ipvs for FakeIpvs {
    fn dump(&mut self, ours: &dyn Fn(&ServiceId) -> bool) -> Result<Table, IpvsError> {
        let mut kernel = self.kernel();
        kernel.dumps += 1;
        kernel.may_fail()?;
        let ours = kernel.table.services.iter().filter(|(id, _)| ours(id));
        Ok(Table { services: ours.map(|(id, entry)| (*id, entry.clone())).collect() })
    }

    fn read(&mut self, ids: &[ServiceId]) -> Result<BTreeMap<ServiceId, Reading>, IpvsError> {
        let mut kernel = self.kernel();
        kernel.reads.push(ids.to_vec());
        kernel.may_fail()?;
        let reading = |id: &ServiceId| {
            let entry = kernel.table.services.get(id)?.clone();
            let report =
                |(address, destination): (&std::net::SocketAddr, &crate::Destination)| DestinationReport {
                    address: *address,
                    destination: *destination,
                    stats: kernel.counters.get(&(*id, *address)).copied().unwrap_or_default(),
                };
            let destinations = entry.destinations.iter().map(report).collect();
            Some((*id, Reading { service: entry.service, stats: Default::default(), destinations }))
        };
        Ok(ids.iter().filter_map(reading).collect())
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>> {
        let mut kernel = self.kernel();
        kernel.sends.push(ops.len());
        if let Some(error) = kernel.fail.pop_front() {
            return vec![Err(error); ops.len()];
        }
        ops.iter()
            .map(|op| {
                if let Some(unsound) = IpvsError::of_unsound(op) {
                    return Err(unsound);
                }
                kernel.record.push(op.clone());
                kernel.check(op).map_err(|errno| IpvsError::of_op(op, errno, None))?;
                kernel.table.note(op);
                Ok(())
            })
            .collect()
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        let mut kernel = self.kernel();
        kernel.may_fail()?;
        Ok(kernel.timeouts)
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), IpvsError> {
        let mut kernel = self.kernel();
        kernel.may_fail()?;
        kernel.timeouts = timeouts.or(kernel.timeouts);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IpvsError> {
        let mut kernel = self.kernel();
        kernel.may_fail()?;
        kernel.table = Table::default();
        Ok(())
    }
}

impl FakeKernel {
    fn may_fail(&mut self) -> Result<(), IpvsError> {
        self.fail.pop_front().map_or(Ok(()), Err)
    }
}

impl FakeKernel {
    /// What the kernel would object to (net/netfilter/ipvs/ip_vs_ctl.c as observed).
    fn check(&self, op: &Op) -> Result<(), Errno> {
        let entry = self.table.services.get(&op.service());
        match op {
            Op::NewService(id, service) | Op::SetService(id, service) => {
                match (op, entry) {
                    (Op::NewService(..), Some(_)) => return Err(Errno::EEXIST),
                    (Op::SetService(..), None) => return Err(Errno::ESRCH),
                    _ => {}
                }
                let name = service.scheduler.as_str();
                if name != "none" && !self.schedulers.contains(name) {
                    return Err(Errno::ENOENT);
                }
                let netmask = match (id.family(), service.netmask) {
                    (Family::Inet, Netmask::V4(_)) => true,
                    (Family::Inet6, Netmask::V6(length)) => (1..=128).contains(&length),
                    _ => false,
                };
                if !netmask || service.flags.contains(ServiceFlags::HASHED) {
                    return Err(Errno::EINVAL);
                }
            }
            Op::DelService(_) => {
                entry.ok_or(Errno::ESRCH)?;
            }
            Op::NewDest(id, address, destination) | Op::SetDest(id, address, destination) => {
                let entry = entry.ok_or(Errno::ESRCH)?;
                if Family::of(address.ip()) != id.family()
                    && !matches!(destination.forwarding, Forwarding::Tunnel(_))
                {
                    return Err(Errno::EINVAL);
                }
                if let Forwarding::Tunnel(Tunnel::Other { kind: 1, port: 0, .. }) = destination.forwarding {
                    return Err(Errno::EINVAL);
                }
                if i32::try_from(destination.weight).is_err()
                    || destination.lower_threshold > destination.upper_threshold
                {
                    return Err(Errno::ERANGE);
                }
                match (op, entry.destinations.contains_key(address)) {
                    (Op::NewDest(..), true) => return Err(Errno::EEXIST),
                    (Op::SetDest(..), false) => return Err(Errno::ENOENT),
                    _ => {}
                }
            }
            Op::DelDest(_, address) => {
                if !entry.ok_or(Errno::ESRCH)?.destinations.contains_key(address) {
                    return Err(Errno::ENOENT);
                }
            }
        }
        Ok(())
    }
}

/// A kernel's synchronisation daemons in memory, for tests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FakeSync(Arc<Mutex<FakeDaemons>>);

/// What [`FakeSync`] holds.
#[derive(Debug, Default)]
pub struct FakeDaemons {
    /// Those that run, with the kernel's defaults filled in.
    pub running: BTreeMap<SyncState, SyncDaemon>,
    /// What was asked, in words.
    pub record: Vec<String>,
    /// What the next calls fail with, one call each.
    pub fail: std::collections::VecDeque<IpvsError>,
}

impl FakeSync {
    /// The insides.
    pub fn daemons(&self) -> MutexGuard<'_, FakeDaemons> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncDaemons for FakeSync {
    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, IpvsError> {
        let mut inside = FakeSync::daemons(self);
        match inside.fail.pop_front() {
            Some(error) => Err(error),
            None => Ok(inside.running.values().cloned().collect()),
        }
    }

    fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), IpvsError> {
        let mut inside = FakeSync::daemons(self);
        let request = format!("start {} on {} id {}", daemon.state, daemon.interface, daemon.sync_id);
        inside.record.push(request.clone());
        if let Some(error) = inside.fail.pop_front() {
            return Err(error);
        }
        if inside.running.contains_key(&daemon.state) {
            return Err(IpvsError::Exists { request });
        }
        inside.running.insert(daemon.state, daemon.clone().as_kept());
        Ok(())
    }

    fn stop_daemon(&mut self, state: SyncState) -> Result<(), IpvsError> {
        let mut inside = FakeSync::daemons(self);
        let request = format!("stop {state}");
        inside.record.push(request.clone());
        if let Some(error) = inside.fail.pop_front() {
            return Err(error);
        }
        match inside.running.remove(&state) {
            Some(_) => Ok(()),
            None => Err(IpvsError::of_request(&request, Errno::ESRCH, None)),
        }
    }
}
