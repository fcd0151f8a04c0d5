//! What the table's owner does in a turn: plan over the services concerned, remember, send, read back.
//!
//! Blocking calls to the kernel and the state file, but no waiting and no clock: the thread
//! (`super::run`) passes the time and asks when to call again. Not here: the audit (`audit`), lvs_timeouts
//! (`timeouts`), the union of what is wanted (`wants`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lbd_ipvs::{Ipvs, IpvsError, Op, ServiceId, Table, Timeouts, plan_service};
use tracing::{info, warn};

use super::drift::Limiter;
use super::rounds::Rounds;
use super::wants::Wants;
use super::{Board, Connect, OwnerOptions, OwnerStatus, Part, PartId, Settings};
use crate::event::{Event, EventSender};
use crate::state_file::{Owned, StateFile};

mod audit;
mod timeouts;

use timeouts::KeptTimeouts;

/// First wait before what failed is tried again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Keys of removed destinations stay in the state file this long, so that a real server that goes up
/// and down does not cost a file each time. Too many keys there do no harm.
const SHRINK_DELAY: Duration = Duration::from_secs(5);
/// Tries within one turn when the table was not as thought: someone else writes too.
const STALE_TRIES: usize = 3;
/// More services than this are read with one list of all and not one by one.
const READ_EACH: usize = 64;
/// Refusals that are told apart in status and log; beyond it is their number.
const SHOWN: usize = 20;

/// The table's owner without its thread.
pub(super) struct Keeper {
    connect: Connect,
    /// `None`: no connection, and `have` is not known.
    kernel: Option<Box<dyn Ipvs + Send>>,
    state: Arc<StateFile>,
    /// A failure to write the state file was reported and is not over.
    state_failing: bool,
    wants: Wants,
    /// The kernel's table as far as it is `known`.
    have: Table,
    /// Services that were read, or written, since the connection was made.
    known: BTreeSet<ServiceId>,
    /// Keys in the state file: all that is ours in the kernel, and some that were.
    recorded: Owned,
    /// The first complete set of wants is there.
    complete: bool,
    /// lvs_flush: what others have in the table goes with the first set.
    flush: bool,
    generation: u64,
    /// Services to plan now.
    pending: BTreeSet<ServiceId>,
    /// What the kernel refused, by service: how much, and the first of it.
    refused: BTreeMap<ServiceId, Refusals>,
    settings: Settings,
    timeouts: KeptTimeouts,
    /// When what failed is tried again, and the wait after that.
    retry_at: Option<Instant>,
    wait: Duration,
    shrink_at: Option<Instant>,
    rounds: Rounds,
    /// Processor time of this thread, so far.
    processor: fn() -> Duration,
    board: Arc<Board>,
    events: EventSender,
    limiter: Limiter,
    /// The time of this turn.
    now: Instant,
    /// The refusals that were logged.
    logged: BTreeSet<String>,
    status: OwnerStatus,
}

/// What the kernel refused of one service.
#[derive(Debug, Default)]
struct Refusals {
    count: usize,
    /// [`SHOWN`] at most.
    errors: Vec<IpvsError>,
    /// The service itself is among it; without it nothing of it can be there.
    service: bool,
    /// Its destinations that are among it.
    destinations: BTreeSet<SocketAddr>,
}

impl Keeper {
    /// Connects, and sees that the table can be read.
    pub(super) fn start(options: OwnerOptions, board: Arc<Board>, now: Instant) -> Result<Self, IpvsError> {
        let OwnerOptions { mut connect, state, owned, timeouts_before, flush, settings, events, processor } =
            options;
        let mut kernel = connect()?;
        let have = kernel.timeouts()?;
        Ok(Keeper {
            connect,
            kernel: Some(kernel),
            state,
            state_failing: false,
            wants: Wants::default(),
            have: Table::default(),
            known: BTreeSet::new(),
            recorded: owned,
            complete: false,
            flush,
            generation: 0,
            pending: BTreeSet::new(),
            refused: BTreeMap::new(),
            settings,
            timeouts: KeptTimeouts::new(timeouts_before, have),
            retry_at: None,
            wait: FIRST_WAIT,
            shrink_at: None,
            rounds: Rounds::new(now),
            processor,
            board,
            events,
            limiter: Limiter::default(),
            now,
            logged: BTreeSet::new(),
            status: OwnerStatus::default(),
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
        let others = [self.retry_at, self.shrink_at, self.limiter.due()];
        others.into_iter().flatten().fold(self.rounds.due(), Instant::min)
    }

    /// What of lvs_timeouts and lvs_flush_on_stop holds from now on.
    pub(super) fn settings(&mut self, settings: Settings) {
        if settings.timeouts != self.settings.timeouts {
            self.timeouts.refused = None;
        }
        self.settings = settings;
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
            self.rounds.put_off(now);
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
        self.settle();
        self.keep_timeouts(retry);
        if now >= self.rounds.due() && self.kernel.is_some() {
            self.audit();
            if self.kernel.is_none() {
                self.settle();
            }
        }
        self.schedule(now);
        if self.shrink_at.is_some_and(|at| at <= now) {
            self.shrink();
        }
        if let Some(more) = self.limiter.over(now) {
            self.events.send(Event::DriftUntold { more });
        }
    }

    /// What [`Keeper::set`] with these changes and [`Keeper::converge`] would ask of the kernel now.
    pub(super) fn preview(
        &mut self,
        changes: BTreeMap<PartId, Option<Part>>,
        settings: Settings,
    ) -> Result<Preview, IpvsError> {
        let mut wants = self.wants.clone();
        let mut concerned: BTreeSet<ServiceId> = self.refused.keys().chain(&self.pending).copied().collect();
        for (id, part) in changes {
            concerned.extend(wants.set(id, part));
        }
        // What nobody knows yet is read, and not taken over: a plan changes nothing.
        let mut have = self.have.clone();
        let unknown: Vec<ServiceId> = concerned.difference(&self.known).copied().collect();
        let Some(kernel) = &mut self.kernel else {
            return Err(IpvsError::Unavailable { reason: "there is no connection to it".to_owned() });
        };
        if !unknown.is_empty() {
            let concerned: BTreeSet<ServiceId> = unknown.iter().copied().collect();
            match kernel.dump(&|id| concerned.contains(id)) {
                Ok(table) => have.services.extend(table.services),
                Err(error) => {
                    self.status.errors += 1;
                    self.lost(&error);
                    return Err(error);
                }
            }
        }
        let ops = plan(&concerned, &have, wants.table(), &self.recorded);
        let timeouts = self.timeouts.wanted(settings.timeouts).filter(|wanted| *wanted != self.timeouts.have);
        Ok(Preview { ops, have, timeouts })
    }

    /// After a panic: nothing is known but what is wanted.
    pub(super) fn recover(&mut self, now: Instant) {
        self.status.errors += 1;
        self.kernel = None;
        self.wants.rebuild();
        self.status.refused = Some("the table's owner failed inside: it reads the table again".to_owned());
        self.back_off(now);
    }

    /// Removes all that is ours; with lvs_flush_on_stop all that there is.
    pub(super) fn empty(&mut self) {
        self.wants = Wants::default();
        // Nothing of an incomplete start is in the kernel but what the earlier process left: that is ours too.
        self.complete = true;
        self.settings.timeouts = Timeouts::default();
        if self.settings.flush_on_stop && self.kernel.is_none() {
            self.reconnect();
        }
        if self.settings.flush_on_stop
            && let Some(kernel) = &mut self.kernel
        {
            match kernel.flush() {
                Ok(()) => {
                    self.status.writes += 1;
                    self.have = Table::default();
                    self.known.extend(self.recorded.keys());
                }
                Err(error) => warn!("lvs_flush_on_stop: {error}; what is ours is removed one by one"),
            }
        }
        self.pending = self.recorded.keys().copied().collect();
        self.settle();
        self.keep_timeouts(true);
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

    /// Connects; all that is ours is read and planned again then.
    fn reconnect(&mut self) -> bool {
        self.known.clear();
        self.have = Table::default();
        match (self.connect)() {
            Ok(kernel) => {
                self.kernel = Some(kernel);
                self.pending.extend(self.ours());
                // A module that was loaded anew has the kernel's own.
                let Some(timeouts) = self.look(|kernel| kernel.timeouts()) else { return false };
                self.timeouts.have = timeouts;
                self.learn()
            }
            Err(error) => {
                self.status.errors += 1;
                self.lost(&error);
                false
            }
        }
    }

    /// Reads what is to be planned and is not known: services that were not ours before may be there.
    fn learn(&mut self) -> bool {
        let unknown: BTreeSet<ServiceId> = self.pending.difference(&self.known).copied().collect();
        let everything = std::mem::take(&mut self.flush);
        if everything {
            let learnt = self.look(|kernel| kernel.dump(&|_| true));
            let Some(table) = learnt else {
                self.flush = true;
                return false;
            };
            self.status.dumps += 1;
            let wanted = self.wants.table();
            let others = table.services.iter().filter(|(id, _)| !wanted.services.contains_key(id));
            let others: Vec<_> =
                others.map(|(id, entry)| (*id, entry.destinations.keys().copied().collect())).collect();
            if !others.is_empty() {
                info!(services = others.len(), "lvs_flush: what nobody wants is removed");
            }
            self.pending.extend(others.iter().map(|(id, _)| *id));
            self.known.extend(table.services.keys().chain(&unknown));
            self.recorded.extend(others);
            self.have = table;
            return true;
        }
        unknown.is_empty() || self.read(&unknown)
    }

    /// Reads these services, whatever is known of them.
    fn read(&mut self, ids: &BTreeSet<ServiceId>) -> bool {
        let table = if ids.len() > READ_EACH {
            self.status.dumps += 1;
            self.look(|kernel| kernel.dump(&|id| ids.contains(id)))
        } else {
            let ids: Vec<ServiceId> = ids.iter().copied().collect();
            let readings = self.look(|kernel| kernel.read(&ids));
            readings.map(|readings| Table {
                services: readings.into_iter().map(|(id, reading)| (id, reading.entry())).collect(),
            })
        };
        let Some(table) = table else { return false };
        self.have.services.retain(|id, _| !ids.contains(id));
        self.have.services.extend(table.services);
        self.known.extend(ids);
        true
    }

    /// Asks the kernel; a failure is noted.
    fn look<T>(&mut self, ask: impl FnOnce(&mut dyn Ipvs) -> Result<T, IpvsError>) -> Option<T> {
        let kernel = self.kernel.as_mut()?;
        match ask(kernel.as_mut()) {
            Ok(found) => Some(found),
            Err(error) => {
                self.status.errors += 1;
                self.lost(&error);
                None
            }
        }
    }

    /// One plan over the pending services, one call of the kernel.
    fn apply(&mut self) -> Applied {
        if !self.learn() {
            return Applied::Again;
        }
        let pending = std::mem::take(&mut self.pending);
        let ops = plan(&pending, &self.have, self.wants.table(), &self.recorded);
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
                    let refusals = self.refused.entry(op.service()).or_default();
                    refusals.count += 1;
                    match op {
                        Op::NewDest(_, address, _) | Op::SetDest(_, address, _) | Op::DelDest(_, address) => {
                            refusals.destinations.insert(*address);
                        }
                        Op::NewService(..) | Op::SetService(..) | Op::DelService(_) => {
                            refusals.service = true
                        }
                    }
                    if refusals.errors.len() < SHOWN {
                        refusals.errors.push(error);
                    }
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
        let refused: BTreeSet<ServiceId> =
            pending.iter().filter(|id| self.refused.contains_key(id)).copied().collect();
        self.forget(&pending);
        if refused.is_empty() {
            return Applied::Settled;
        }
        if !self.read(&refused) {
            return Applied::Again;
        }
        self.forget(&refused);
        // The table was not as thought, and now it is known: what is still to be done may work at once.
        // Reasons that do not go away by reading wait for the retry.
        let rest = plan(&refused, &self.have, self.wants.table(), &self.recorded);
        if stale || rest.iter().any(|op| !self.is_refused(op)) {
            self.pending.extend(refused);
            return Applied::Again;
        }
        Applied::Settled
    }

    /// Whether the kernel, or we, refused this operation last time.
    fn is_refused(&self, op: &Op) -> bool {
        let Some(refusals) = self.refused.get(&op.service()) else { return false };
        match op {
            Op::NewDest(_, address, _) | Op::SetDest(_, address, _) | Op::DelDest(_, address) => {
                let absent = !self.have.services.contains_key(&op.service());
                refusals.destinations.contains(address) || (refusals.service && absent)
            }
            Op::NewService(..) | Op::SetService(..) | Op::DelService(_) => refusals.service,
        }
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
                self.known.remove(id);
                self.board.forget(id);
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
        let written = self.state.put_owned(&self.recorded);
        self.written(written);
    }

    fn written(&mut self, written: std::io::Result<()>) {
        match written {
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
        // With the next connection everything is read and tried anew.
        self.refused.clear();
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
        if !self.refused.is_empty() || !self.pending.is_empty() || self.timeouts.refused.is_some() {
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

    /// Says what is refused, each thing once.
    fn report(&mut self) {
        let refusals = || self.refused.values().flat_map(|one| &one.errors).chain(&self.timeouts.refused);
        let count = self.refused.values().map(|one| one.count).sum::<usize>()
            + usize::from(self.timeouts.refused.is_some());
        // Where a service was refused, its real servers were too: the service's reason tells more.
        let mut shown: Vec<&IpvsError> = refusals().filter(|error| !error.is_stale()).collect();
        if shown.is_empty() {
            shown = refusals().collect();
        }
        shown.truncate(SHOWN);
        let shown: Vec<String> = shown.into_iter().map(ToString::to_string).collect();
        let text = shown.first().map(|first| format!("converging, {count} refused: {first}"));
        if text.is_none() && self.status.refused.is_some() {
            info!("the kernel's table is as wanted again");
        }
        for line in shown.iter().filter(|line| !self.logged.contains(*line)) {
            warn!("{line}");
        }
        self.logged = shown.iter().cloned().collect();
        self.status.refusals = shown;
        self.status.refused = text;
    }
}

/// What a set of wants would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Operations on the table, in their order.
    pub ops: Vec<Op>,
    /// The table before them.
    pub have: Table,
    /// The connection timeouts that would be set.
    pub timeouts: Option<Timeouts>,
}

/// Wanted services first, then those that go, in the opposite order (as [`lbd_ipvs::plan`]).
fn plan(concerned: &BTreeSet<ServiceId>, have: &Table, want: &Table, ours: &Owned) -> Vec<Op> {
    let mut ops = Vec::new();
    for id in concerned {
        if let Some(entry) = want.services.get(id) {
            plan_service(*id, have.services.get(id), Some(entry), &mut ops);
        }
    }
    for id in concerned.iter().rev() {
        // Neither wanted nor ours: another program's.
        if !want.services.contains_key(id) && ours.contains_key(id) {
            plan_service(*id, have.services.get(id), None, &mut ops);
        }
    }
    ops
}

#[derive(PartialEq, Eq)]
enum Applied {
    /// Done, or to be tried later.
    Settled,
    /// Worth another try at once.
    Again,
}
