//! The difference of two tables as operations, and what an operation does to a table.
//!
//! Pure. Not here: whose services they are (the caller passes only what it may touch), the kernel.

use crate::types::{Destination, Entry, Op, ServiceId, Table};

/// Operations that turn `have` into `want`; empty when they agree. Services come in the order of
/// their keys: first all that are wanted (new ones complete with their destinations, others changed
/// in place), then the deletions, so that what moves from one service to another is there throughout.
///
/// Deletions come in the opposite order. For two minutes the kernel keeps deleted destinations in a list, the
/// latest first, and searches it from there for each new one (net/netfilter/ipvs/ip_vs_ctl.c,
/// `ip_vs_trash_get_dest`): a restart that adds them in order finds each at once. In the same order each search
/// passes all the others, 40 s in all for 40,000.
pub fn plan(have: &Table, want: &Table) -> Vec<Op> {
    let mut ops = Vec::new();
    for (id, entry) in &want.services {
        plan_service(*id, have.services.get(id), Some(entry), &mut ops);
    }
    for (id, entry) in have.services.iter().rev() {
        if !want.services.contains_key(id) {
            plan_service(*id, Some(entry), None, &mut ops);
        }
    }
    ops
}

/// Appends the operations that turn one service from `have` into `want`; `None` is its absence.
///
/// Within a service it is: the service itself, new destinations, destinations that take connections
/// after the change, those that get weight 0, deletions. So the service has somewhere to send
/// connections at every step if it has before and after.
pub fn plan_service(id: ServiceId, have: Option<&Entry>, want: Option<&Entry>, ops: &mut Vec<Op>) {
    let Some(want) = want else {
        if have.is_some() {
            ops.push(Op::DelService(id));
        }
        return;
    };
    let Some(have) = have else {
        ops.push(Op::NewService(id, want.service.clone()));
        ops.extend(want.destinations.iter().map(|(address, to)| Op::NewDest(id, *address, *to)));
        return;
    };
    if have.service != want.service {
        ops.push(Op::SetService(id, want.service.clone()));
    }
    let mut quiescent = Vec::new();
    let mut changed = Vec::new();
    for (address, to) in &want.destinations {
        match have.destinations.get(address) {
            None => ops.push(Op::NewDest(id, *address, *to)),
            Some(from) if from == to => {}
            Some(_) if to.weight == 0 => quiescent.push(Op::SetDest(id, *address, *to)),
            Some(_) => changed.push(Op::SetDest(id, *address, *to)),
        }
    }
    ops.append(&mut changed);
    ops.append(&mut quiescent);
    ops.extend(
        have.destinations
            .keys()
            .rev()
            .filter(|address| !want.destinations.contains_key(address))
            .map(|address| Op::DelDest(id, *address)),
    );
}

impl Table {
    /// Does to this table what the kernel did. An operation on a service that is not there does nothing.
    pub fn note(&mut self, op: &Op) {
        match op {
            Op::NewService(id, service) => {
                self.services
                    .entry(*id)
                    .or_insert_with(|| Entry { service: service.clone(), destinations: Default::default() });
            }
            Op::SetService(id, service) => {
                if let Some(entry) = self.services.get_mut(id) {
                    entry.service = service.clone();
                }
            }
            Op::DelService(id) => {
                self.services.remove(id);
            }
            Op::NewDest(id, address, destination) | Op::SetDest(id, address, destination) => {
                self.put(id, *address, *destination);
            }
            Op::DelDest(id, address) => {
                if let Some(entry) = self.services.get_mut(id) {
                    entry.destinations.remove(address);
                }
            }
        }
    }

    fn put(&mut self, id: &ServiceId, address: std::net::SocketAddr, destination: Destination) {
        if let Some(entry) = self.services.get_mut(id) {
            entry.destinations.insert(address, destination);
        }
    }
}

#[cfg(test)]
mod tests;
