//! What the table's owner does in a turn: plan over the services concerned, remember, send, read back.
//!
//! Blocking calls to the kernel and the state file, but no waiting and no clock: the thread
//! (`super::run`) passes the time and asks when to call again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lbd_ipvs::{Ipvs, IpvsError, Op, ServiceId, Table, TableStats, plan_service};
use tracing::{info, warn};

use super::wants::Wants;
use super::{Connect, OwnerOptions, OwnerStatus, Part, PartId};
use crate::state_file::{Owned, StateFile};

/// First wait before what failed is tried again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Keys of removed destinations stay in the state file this long, so that a real server that goes up
/// and down does not cost a file each time. Too many keys there do no harm.
const SHRINK_DELAY: Duration = Duration::from_secs(5);
/// Tries within one turn when the table was not as thought: someone else writes too.
const STALE_TRIES: usize = 3;

/// The table's owner without its thread.
pub(super) struct Keeper {
    connect: Connect,
    /// `None`: no connection, and `have` is not known.
    kernel: Option<Box<dyn Ipvs + Send>>,
    state: Arc<StateFile>,
    /// A failure to write the state file was reported and is not over.
    state_failing: bool,
    wants: Wants,
    have: Table,
    /// Keys in the state file: all that is ours in the kernel, and some that were.
    recorded: Owned,
    /// The first complete set of wants is there.
    complete: bool,
    generation: u64,
    /// Services to plan now.
    pending: BTreeSet<ServiceId>,
    /// Services that the kernel refused to change: how many operations, and the first one's reason.
    refused: BTreeMap<ServiceId, (usize, IpvsError)>,
    /// When what failed is tried again, and the wait after that.
    retry_at: Option<Instant>,
    wait: Duration,
    shrink_at: Option<Instant>,
    audit_at: Instant,
    audit_interval: Duration,
    /// The time of this turn.
    now: Instant,
    /// The reason of refusal that was logged.
    logged: Option<IpvsError>,
    status: OwnerStatus,
}

impl Keeper {
    /// Connects and reads the table.
    pub(super) fn start(options: OwnerOptions, now: Instant) -> Result<Self, IpvsError> {
        let OwnerOptions { mut connect, state, owned, audit_interval } = options;
        let mut kernel = connect()?;
        let have = kernel.dump()?;
        Ok(Keeper {
            connect,
            kernel: Some(kernel),
            state,
            state_failing: false,
            wants: Wants::default(),
            have,
            recorded: owned,
            complete: false,
            generation: 0,
            pending: BTreeSet::new(),
            refused: BTreeMap::new(),
            retry_at: None,
            wait: FIRST_WAIT,
            shrink_at: None,
            audit_at: now + audit_interval,
            audit_interval,
            now,
            logged: None,
            status: OwnerStatus { dumps: 1, ..OwnerStatus::default() },
        })
    }

    pub(super) fn status(&self) -> &OwnerStatus {
        &self.status
    }

    /// When [`Keeper::converge`] is to be called at the latest.
    pub(super) fn wake_at(&self) -> Instant {
        // Without a connection nothing else can be done, however long it has been due.
        if let (None, Some(at)) = (&self.kernel, self.retry_at) {
            return at;
        }
        [self.retry_at, self.shrink_at].into_iter().flatten().fold(self.audit_at, Instant::min)
    }

    /// Takes over wants; the first call's are complete.
    pub(super) fn set(&mut self, generation: u64, changes: BTreeMap<PartId, Option<Part>>) {
        if generation == 0 {
            return;
        }
        self.generation = generation;
        if !self.complete {
            self.complete = true;
            // What an earlier process left and nobody wants now goes with the first plan.
            self.pending.extend(self.recorded.keys());
        }
        for (id, part) in changes {
            self.pending.extend(self.wants.set(id, part));
        }
    }

    /// Does what is due at `now`.
    pub(super) fn converge(&mut self, now: Instant) {
        self.now = now;
        if !self.complete {
            self.audit_at = now + self.audit_interval;
            return;
        }
        let retry = self.retry_at.is_some_and(|at| at <= now);
        if self.kernel.is_none() && self.retry_at.is_some() && !retry {
            return;
        }
        if retry {
            self.retry_at = None;
            self.pending.extend(self.refused.keys());
        }
        if now >= self.audit_at {
            self.audit_at = now + self.audit_interval;
            self.audit();
        }
        self.settle();
        self.schedule(now);
        if self.shrink_at.is_some_and(|at| at <= now) {
            self.shrink();
        }
    }

    /// After a panic: nothing is known but what is wanted.
    pub(super) fn recover(&mut self, now: Instant) {
        self.status.errors += 1;
        self.kernel = None;
        self.wants.rebuild();
        self.status.refused = Some("the table's owner failed inside: it reads the table again".to_owned());
        self.back_off(now);
    }

    /// Removes all that is ours.
    pub(super) fn empty(&mut self) {
        self.wants = Wants::default();
        // Nothing of an incomplete start is in the kernel but what the earlier process left: that is ours too.
        self.complete = true;
        self.pending = self.recorded.keys().copied().collect();
        self.settle();
        self.report();
        if self.kernel.is_none() {
            warn!("our services may be in the kernel still: `lbd` removes them at its next start");
        }
    }

    /// Leaves all in the kernel, with just its keys in the state file.
    pub(super) fn keep(&mut self) {
        if self.shrink_at.is_some() {
            self.shrink();
        }
    }

    pub(super) fn stats(&mut self) -> Result<TableStats, IpvsError> {
        let Some(kernel) = &mut self.kernel else {
            return Err(IpvsError::Unavailable { reason: "there is no connection to it".to_owned() });
        };
        kernel.stats().inspect_err(|error| {
            self.status.errors += 1;
            if error.is_lost() {
                self.kernel = None;
                self.retry_at = Some(self.now);
            }
        })
    }

    /// Plans and sends until the services concerned are as wanted or were refused; reconnects once.
    fn settle(&mut self) {
        let mut reconnected = false;
        for _ in 0..STALE_TRIES {
            if self.kernel.is_none() && (std::mem::replace(&mut reconnected, true) || !self.reconnect()) {
                return;
            }
            if self.pending.is_empty() || self.apply() == Applied::Settled {
                break;
            }
        }
        if self.kernel.is_some() {
            self.status.attempted_generation = self.generation;
            if self.refused.is_empty() && self.pending.is_empty() {
                self.status.converged_generation = self.generation;
            }
        }
    }

    /// Connects and reads the table; all services are planned again then.
    fn reconnect(&mut self) -> bool {
        let table = (self.connect)().and_then(|mut kernel| {
            let table = kernel.dump()?;
            self.kernel = Some(kernel);
            Ok(table)
        });
        match table {
            Ok(table) => {
                self.status.dumps += 1;
                self.have = table;
                self.pending.extend(self.ours());
                true
            }
            Err(error) => {
                self.status.errors += 1;
                self.lost(&error);
                false
            }
        }
    }

    /// One plan over the pending services, one call of the kernel.
    fn apply(&mut self) -> Applied {
        let pending = std::mem::take(&mut self.pending);
        let ops = self.plan(&pending);
        self.record(&pending);
        for id in &pending {
            self.refused.remove(id);
        }
        if ops.is_empty() {
            self.forget(&pending);
            return Applied::Settled;
        }
        let Some(kernel) = &mut self.kernel else {
            self.pending = pending;
            return Applied::Again;
        };
        let results = kernel.apply(&ops);
        let (mut lost, mut stale) = (None, true);
        for (op, result) in ops.iter().zip(results) {
            match result {
                Ok(()) => {
                    self.status.writes += 1;
                    self.have.note(op);
                }
                Err(error) if error.is_lost() => lost = lost.or(Some(error)),
                Err(error) => {
                    self.status.errors += 1;
                    stale &= error.is_stale();
                    self.refused.entry(op.service()).or_insert((0, error)).0 += 1;
                }
            }
        }
        if let Some(error) = lost {
            self.status.errors += 1;
            self.pending = pending;
            self.refused.clear();
            self.lost(&error);
            return Applied::Again;
        }
        if self.refused.is_empty() {
            self.forget(&pending);
            return Applied::Settled;
        }
        let again = stale && pending.iter().any(|id| self.refused.contains_key(id));
        self.forget(&pending);
        if !self.read_back() {
            return Applied::Again;
        }
        // The table was not as thought, and now it is known: what is still to be done may work at once.
        // Reasons that do not go away by reading wait for the retry.
        if again {
            self.pending.extend(pending.iter().filter(|id| self.refused.contains_key(id)));
            return Applied::Again;
        }
        Applied::Settled
    }

    /// Wanted services first, then those that go.
    fn plan(&self, pending: &BTreeSet<ServiceId>) -> Vec<Op> {
        let want = &self.wants.table().services;
        let mut ops = Vec::new();
        for id in pending {
            if let Some(entry) = want.get(id) {
                plan_service(*id, self.have.services.get(id), Some(entry), &mut ops);
            }
        }
        for id in pending {
            // Neither wanted nor ours: another program's.
            if !want.contains_key(id) && self.recorded.contains_key(id) {
                plan_service(*id, self.have.services.get(id), None, &mut ops);
            }
        }
        ops
    }

    /// Reads the whole table after a refusal or for an audit.
    fn read_back(&mut self) -> bool {
        let Some(kernel) = &mut self.kernel else { return false };
        match kernel.dump() {
            Ok(table) => {
                self.status.dumps += 1;
                self.have = table;
                true
            }
            Err(error) => {
                self.status.errors += 1;
                self.lost(&error);
                false
            }
        }
    }

    /// Compares our services with the kernel's and puts right what someone else changed.
    fn audit(&mut self) {
        if self.kernel.is_none() || !self.read_back() {
            return;
        }
        let known: BTreeSet<ServiceId> =
            self.ours().into_iter().filter(|id| !self.refused.contains_key(id)).collect();
        let drifted: BTreeSet<ServiceId> =
            self.plan(&known).iter().map(Op::service).filter(|id| !self.pending.contains(id)).collect();
        if drifted.is_empty() {
            return;
        }
        let writes = self.status.writes;
        let waiting = std::mem::replace(&mut self.pending, drifted);
        let services = self.pending.len();
        let _applied = self.apply();
        self.pending.extend(waiting);
        let repaired = self.status.writes - writes;
        self.status.drift_repaired += repaired;
        warn!(services, repaired, "another program changed our services: put right");
    }

    /// All services that are wanted or were ours.
    fn ours(&self) -> BTreeSet<ServiceId> {
        self.recorded.keys().chain(self.wants.table().services.keys()).copied().collect()
    }

    /// Writes the keys of what will be ours, before it is.
    fn record(&mut self, pending: &BTreeSet<ServiceId>) {
        let mut more = false;
        for id in pending {
            let Some(entry) = self.wants.table().services.get(id) else { continue };
            more |= !self.recorded.contains_key(id);
            let keys = self.recorded.entry(*id).or_default();
            for address in entry.destinations.keys() {
                more |= keys.insert(*address);
            }
        }
        if more {
            self.write_keys();
        }
    }

    /// Forgets the keys of services that are gone; those of destinations later.
    fn forget(&mut self, pending: &BTreeSet<ServiceId>) {
        let mut less = false;
        for id in pending {
            let wanted = self.wants.table().services.get(id);
            if wanted.is_none() && !self.have.services.contains_key(id) {
                less |= self.recorded.remove(id).is_some();
            } else if let Some(entry) = wanted
                && self.recorded.get(id).is_some_and(|keys| keys.len() > entry.destinations.len())
            {
                self.shrink_at = self.shrink_at.or(Some(self.now + SHRINK_DELAY));
            }
        }
        if less {
            self.write_keys();
        }
    }

    /// Reduces the keys to what is there or wanted.
    fn shrink(&mut self) {
        self.shrink_at = None;
        let before = self.recorded.clone();
        for (id, keys) in &mut self.recorded {
            let there = self.have.services.get(id);
            let wanted = self.wants.table().services.get(id);
            keys.retain(|address| {
                there.into_iter().chain(wanted).any(|entry| entry.destinations.contains_key(address))
            });
        }
        if self.recorded != before {
            self.write_keys();
        }
    }

    /// A state file that cannot be written is reported once and stops nothing.
    fn write_keys(&mut self) {
        match self.state.put_owned(&self.recorded) {
            Ok(()) => self.state_failing = false,
            Err(error) => {
                self.status.state_errors += 1;
                if !std::mem::replace(&mut self.state_failing, true) {
                    warn!(%error, "the state file cannot be written: services may stay behind after a crash");
                }
            }
        }
    }

    /// The connection is gone.
    fn lost(&mut self, error: &IpvsError) {
        self.kernel = None;
        let text = format!("no connection to the table: {error}");
        if self.status.refused.as_ref() != Some(&text) {
            warn!("{text}");
        }
        self.status.refused = Some(text);
    }

    /// Sets the next try, and says how it stands.
    fn schedule(&mut self, now: Instant) {
        if self.kernel.is_none() {
            self.back_off(now);
            return;
        }
        self.report();
        if !self.refused.is_empty() || !self.pending.is_empty() {
            self.pending.clear();
            if self.retry_at.is_none() {
                self.back_off(now);
            }
        } else {
            self.retry_at = None;
            self.wait = FIRST_WAIT;
        }
    }

    fn back_off(&mut self, now: Instant) {
        self.retry_at = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// Says what is refused, once.
    fn report(&mut self) {
        let count: usize = self.refused.values().map(|(count, _)| count).sum();
        // Where a service was refused, its real servers were too: the service's reason tells more.
        let first = self.refused.values().map(|(_, error)| error).min_by_key(|error| error.is_stale());
        let text = first.map(|first| format!("converging, {count} refused: {first}"));
        match (&text, &self.status.refused) {
            // One line a reason, not one for each number of refusals.
            (Some(text), _) if self.logged.as_ref() != first => warn!("{text}"),
            (None, Some(_)) => info!("the kernel's table is as wanted again"),
            _ => {}
        }
        self.logged = first.cloned();
        self.status.refused = text;
    }
}

#[derive(PartialEq, Eq)]
enum Applied {
    /// Done, or to be tried later.
    Settled,
    /// Worth another try at once.
    Again,
}
