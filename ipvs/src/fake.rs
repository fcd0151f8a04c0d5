//! A kernel's table in memory, for tests: the same errors for the same mistakes, a record of what was
//! done, failures on demand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use crate::types::{Family, Forwarding, Netmask, Op, Scheduler, ServiceFlags, Table, TableStats, Tunnel};
use crate::{Ipvs, IpvsError};

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
    /// What the next calls of [`Ipvs::dump`], [`Ipvs::apply`] or [`Ipvs::stats`] fail with, one call each;
    /// an apply that fails so has changed nothing.
    pub fail: std::collections::VecDeque<IpvsError>,
    /// What is answered by [`Ipvs::stats`].
    pub stats: TableStats,
}

impl Default for FakeKernel {
    fn default() -> Self {
        FakeKernel {
            table: Table::default(),
            schedulers: Scheduler::KNOWN.iter().map(|name| (*name).to_owned()).collect(),
            record: Vec::new(),
            sends: Vec::new(),
            dumps: 0,
            fail: Default::default(),
            stats: TableStats::default(),
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
    fn dump(&mut self) -> Result<Table, IpvsError> {
        let mut kernel = self.kernel();
        kernel.dumps += 1;
        match kernel.fail.pop_front() {
            Some(error) => Err(error),
            None => Ok(kernel.table.clone()),
        }
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>> {
        let mut kernel = self.kernel();
        kernel.sends.push(ops.len());
        if let Some(error) = kernel.fail.pop_front() {
            return vec![Err(error); ops.len()];
        }
        ops.iter()
            .map(|op| {
                kernel.record.push(op.clone());
                kernel.check(op).map_err(|errno| IpvsError::of_op(op, errno, None))?;
                kernel.table.note(op);
                Ok(())
            })
            .collect()
    }

    fn stats(&mut self) -> Result<TableStats, IpvsError> {
        let mut kernel = self.kernel();
        match kernel.fail.pop_front() {
            Some(error) => Err(error),
            None => Ok(kernel.stats.clone()),
        }
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
