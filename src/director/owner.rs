//! The owner of the kernel's table: one thread with a blocking client.
//!
//! Start, reload, transition and repair are one path: virtual servers state what they want, the
//! thread unites that, plans and sends the difference, reads back what was refused. Here: the thread,
//! its mailbox and its handle. Not here: what is to be done (`keeper`), whose want it is (`wants`),
//! which real servers are alive (`super::pool`).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lbd_grammar::config::VirtualServerId;
use lbd_ipvs::{Entry, Ipvs, IpvsError, ServiceId, TableStats};
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

use crate::state_file::{Owned, StateFile};

mod keeper;
mod wants;

use keeper::Keeper;

/// What one virtual server wants in the table.
pub type Part = BTreeMap<ServiceId, Entry>;

/// Whose part it is: the virtual server's key.
pub type PartId = VirtualServerId;

/// Makes a connection to the table, now and after each loss.
pub type Connect = Box<dyn FnMut() -> Result<Box<dyn Ipvs + Send>, IpvsError> + Send>;

/// Waiting for the counters longer than this means something is wrong.
const STATS_LIMIT: Duration = Duration::from_secs(5);
/// Callers that wait for the counters at one time; one read answers all of them.
const STATS_WAITERS: usize = 64;
/// How long [`OwnerHandle::stop`] waits for the thread.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What a table owner works with.
pub struct OwnerOptions {
    /// Makes a connection to the table; called on the starting thread first, on the owner's later.
    pub connect: Connect,
    /// Where the keys of what is ours are written before the kernel is changed.
    pub state: Arc<StateFile>,
    /// Keys that an earlier process left in the kernel.
    pub owned: Owned,
    /// Time between two comparisons of the kernel's table with what it should be.
    pub audit_interval: Duration,
}

/// What becomes of our services when the owner stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// They are removed.
    Empty,
    /// They stay, for the next process.
    Keep,
}

/// What the owner has done, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerStatus {
    /// Operations that changed the kernel's table.
    pub writes: u64,
    /// Whole-table reads.
    pub dumps: u64,
    /// Operations refused, connections and reads that failed, panics.
    pub errors: u64,
    /// Operations that put right what someone else had changed.
    pub drift_repaired: u64,
    /// Failures to write the state file.
    pub state_errors: u64,
    /// The latest generation (see [`OwnerHandle::set_parts`]) that was sent to the kernel.
    pub attempted_generation: u64,
    /// The latest generation after which the kernel's table was as wanted.
    pub converged_generation: u64,
    /// What is refused now: `converging, n refused: why`.
    pub refused: Option<String>,
}

/// Starts table owners.
pub struct TableOwner;

impl TableOwner {
    /// Connects and reads the table here and now, then starts the thread. Nothing is changed until
    /// the first [`OwnerHandle::set_parts`].
    ///
    /// # Errors
    /// [`IpvsError::NoIpvs`] (names module and command), [`IpvsError::NoRight`], or what the first
    /// read failed with.
    pub fn start(options: OwnerOptions) -> Result<OwnerHandle, IpvsError> {
        let keeper = Keeper::start(options, Instant::now())?;
        let (publish, status) = watch::channel(keeper.status().clone());
        let shared = Arc::new(Shared::default());
        let inside = shared.clone();
        let thread = std::thread::Builder::new()
            .name("ipvs".into())
            .spawn(move || run(keeper, &inside, &publish))
            .map_err(|error| IpvsError::Unavailable { reason: format!("no thread: {error}") })?;
        let last = Arc::new(LastHandle { shared, thread: Mutex::new(Some(thread)) });
        Ok(OwnerHandle { last, status })
    }
}

/// A handle to a running table owner. When the last one is dropped, the thread ends and leaves the
/// table as it is.
#[derive(Clone)]
pub struct OwnerHandle {
    last: Arc<LastHandle>,
    status: watch::Receiver<OwnerStatus>,
}

impl OwnerHandle {
    /// States what the named virtual servers want from now on; `None`: nothing any more. Never waits;
    /// of several wants of one virtual server that were not worked off yet, the latest counts, so
    /// the mailbox is bounded by the number of virtual servers.
    ///
    /// The first call brings the complete initial set (an empty one where nothing is configured): what
    /// an earlier process owned and no part wants is removed then, and not before.
    ///
    /// Returns the generation that stands for this and all earlier calls in [`OwnerStatus`].
    pub fn set_parts(&self, changes: Vec<(PartId, Option<Part>)>) -> u64 {
        self.last.shared.change(|mailbox| {
            mailbox.generation += 1;
            mailbox.changes.extend(changes);
            mailbox.generation
        })
    }

    /// Counters and standing; the latest value wins.
    pub fn status(&self) -> watch::Receiver<OwnerStatus> {
        self.status.clone()
    }

    /// Waits until everything set so far is in the kernel: `true`; `false` as soon as the kernel has
    /// refused some of it ([`OwnerStatus::refused`] says why), or after `limit`.
    pub async fn flush_wait(&self, limit: Duration) -> bool {
        let generation = self.last.shared.mailbox().generation;
        let mut status = self.status.clone();
        let attempted = status.wait_for(|status| status.attempted_generation >= generation);
        match tokio::time::timeout(limit, attempted).await {
            Ok(Ok(status)) => status.converged_generation >= generation,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// [`OwnerHandle::flush_wait`] for a thread that may block.
    pub fn flush_wait_blocking(&self, limit: Duration) -> bool {
        let shared = &self.last.shared;
        let mailbox = shared.mailbox();
        let generation = mailbox.generation;
        let (mailbox, _) = shared
            .progress
            .wait_timeout_while(mailbox, limit, |mailbox| mailbox.attempted < generation && !mailbox.ended)
            .unwrap_or_else(PoisonError::into_inner);
        mailbox.converged >= generation
    }

    /// Reads the counters of the whole table.
    ///
    /// # Errors
    /// What the read failed with; [`IpvsError::Unavailable`] after 5 s, or when 64 callers wait already.
    pub async fn stats(&self) -> Result<TableStats, IpvsError> {
        let unavailable = |reason: &str| IpvsError::Unavailable { reason: reason.to_owned() };
        let (answer, receiver) = oneshot::channel();
        self.last.shared.change(|mailbox| {
            mailbox.stats.retain(|waiting| !waiting.is_closed());
            if mailbox.stats.len() >= STATS_WAITERS {
                return Err(unavailable("too many ask at once"));
            }
            mailbox.stats.push(answer);
            Ok(())
        })?;
        match tokio::time::timeout(STATS_LIMIT, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(unavailable("the table's owner has stopped")),
            Err(_) => Err(unavailable("the table's owner is busy")),
        }
    }

    /// Ends the thread, with what is ours removed or kept. Blocks, for 15 s at most.
    pub fn stop(self, stop: Stop) {
        let shared = &self.last.shared;
        shared.change(|mailbox| mailbox.stop = Some(stop));
        let (mailbox, _) = shared
            .progress
            .wait_timeout_while(shared.mailbox(), STOP_LIMIT, |mailbox| !mailbox.ended)
            .unwrap_or_else(PoisonError::into_inner);
        let ended = mailbox.ended;
        drop(mailbox);
        if !ended {
            warn!(limit_s = STOP_LIMIT.as_secs(), "the table's owner has not ended: it is left behind");
        } else if let Some(thread) = self.last.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _panicked = thread.join();
        }
    }
}

/// Ends the thread when the last handle goes.
struct LastHandle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.shared.change(|mailbox| mailbox.stop.get_or_insert(Stop::Keep).to_owned());
    }
}

/// Between the handles and the thread.
#[derive(Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    filled: Condvar,
    progress: Condvar,
}

#[derive(Default)]
struct Mailbox {
    generation: u64,
    changes: BTreeMap<PartId, Option<Part>>,
    stats: Vec<oneshot::Sender<Result<TableStats, IpvsError>>>,
    stop: Option<Stop>,
    taken: u64,
    attempted: u64,
    converged: u64,
    ended: bool,
}

/// What a turn of the thread has to do.
struct Work {
    generation: u64,
    changes: BTreeMap<PartId, Option<Part>>,
    stats: Vec<oneshot::Sender<Result<TableStats, IpvsError>>>,
    stop: Option<Stop>,
}

impl Shared {
    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Mailbox) -> R) -> R {
        let result = change(&mut self.mailbox());
        self.filled.notify_one();
        result
    }

    /// Waits for work, until `wake` at most.
    fn take(&self, wake: Instant) -> Work {
        let limit = wake.saturating_duration_since(Instant::now());
        let (mut mailbox, _) = self
            .filled
            .wait_timeout_while(self.mailbox(), limit, |mailbox| {
                mailbox.generation == mailbox.taken && mailbox.stats.is_empty() && mailbox.stop.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        mailbox.taken = mailbox.generation;
        Work {
            generation: mailbox.generation,
            changes: std::mem::take(&mut mailbox.changes),
            stats: std::mem::take(&mut mailbox.stats),
            stop: mailbox.stop,
        }
    }

    fn publish(&self, status: &OwnerStatus, publish: &watch::Sender<OwnerStatus>) {
        publish.send_if_modified(|old| {
            let modified = old != status;
            if modified {
                old.clone_from(status);
            }
            modified
        });
        let mut mailbox = self.mailbox();
        mailbox.attempted = status.attempted_generation;
        mailbox.converged = status.converged_generation;
        drop(mailbox);
        self.progress.notify_all();
    }
}

/// Says that the thread has ended, whichever way it does.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut mailbox = self.0.mailbox();
        mailbox.ended = true;
        mailbox.stats.clear();
        drop(mailbox);
        self.0.progress.notify_all();
    }
}

/// The thread.
fn run(mut keeper: Keeper, shared: &Shared, publish: &watch::Sender<OwnerStatus>) {
    let _ended = Ended(shared);
    loop {
        let work = shared.take(keeper.wake_at());
        let stop = work.stop;
        // One actor's panic is one lost turn: the table is read again and what is wanted sent again.
        if catch_unwind(AssertUnwindSafe(|| turn(&mut keeper, work))).is_err() {
            error!("the table's owner panicked: the table is read and planned anew");
            keeper.recover(Instant::now());
        }
        shared.publish(keeper.status(), publish);
        if stop.is_some() {
            return;
        }
    }
}

fn turn(keeper: &mut Keeper, work: Work) {
    keeper.set(work.generation, work.changes);
    match work.stop {
        None => keeper.converge(Instant::now()),
        Some(Stop::Keep) => {
            keeper.converge(Instant::now());
            keeper.keep();
        }
        Some(Stop::Empty) => keeper.empty(),
    }
    if !work.stats.is_empty() {
        let stats = keeper.stats();
        for waiting in work.stats {
            let _gone = waiting.send(stats.clone());
        }
    }
}

#[cfg(test)]
mod tests;
