//! The union of what all virtual servers want, by service.

use std::collections::{BTreeMap, BTreeSet};

use lbd_ipvs::{Entry, ServiceId, Table};

use super::{Part, PartId};

/// Parts, and the table they make together.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    parts: BTreeMap<PartId, Part>,
    contributors: BTreeMap<ServiceId, BTreeSet<PartId>>,
    table: Table,
}

impl Wants {
    /// The table that all parts together want.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Replaces one part. Returns the services that it concerned or concerns.
    pub(super) fn set(&mut self, id: PartId, part: Option<Part>) -> BTreeSet<ServiceId> {
        let part = part.unwrap_or_default();
        let mut concerned: BTreeSet<ServiceId> = part.keys().copied().collect();
        for service in &concerned {
            self.contributors.entry(*service).or_default().insert(id.clone());
        }
        let old = if part.is_empty() { self.parts.remove(&id) } else { self.parts.insert(id.clone(), part) };
        for service in old.unwrap_or_default().into_keys() {
            if concerned.insert(service)
                && let Some(contributors) = self.contributors.get_mut(&service)
            {
                contributors.remove(&id);
            }
        }
        for service in &concerned {
            self.unite(*service);
        }
        concerned
    }

    /// Makes the union of one service anew: the first part's service, all parts' destinations, each
    /// as the first part that names it wants it.
    fn unite(&mut self, service: ServiceId) {
        let mut united: Option<Entry> = None;
        let contributors = self.contributors.get(&service).into_iter().flatten();
        for entry in contributors.filter_map(|part| self.parts.get(part)?.get(&service)) {
            match &mut united {
                None => united = Some(entry.clone()),
                Some(united) => {
                    for (address, destination) in &entry.destinations {
                        united.destinations.entry(*address).or_insert(*destination);
                    }
                }
            }
        }
        match united {
            Some(united) => {
                self.table.services.insert(service, united);
            }
            None => {
                self.table.services.remove(&service);
                self.contributors.remove(&service);
            }
        }
    }

    /// Makes the whole table anew from the parts.
    pub(super) fn rebuild(&mut self) {
        let parts = std::mem::take(self).parts;
        for (id, part) in parts {
            let _concerned = self.set(id, Some(part));
        }
    }
}
