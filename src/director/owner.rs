//! The owner of the kernel's table: one thread with a blocking client.
//!
//! Start, reload, transition and repair are one path: virtual servers state what they want, the
//! thread unites that, plans and sends the difference, reads back what was refused. Here: the thread,
//! its mailbox and its handle. Not here: what is to be done (`keeper`), whose want it is (`wants`),
//! which real servers are alive (`super::pool`).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lbd_grammar::config::VirtualServerId;
use lbd_ipvs::{Entry, Ipvs, IpvsError, Reading, ServiceId, Timeouts};
use nix::unistd::{Pid, gettid};
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

use crate::event::EventSender;
use crate::state_file::{Owned, StateFile};

mod drift;
mod keeper;
mod rounds;
mod wants;

pub use keeper::Preview;

use keeper::Keeper;

/// What one virtual server wants in the table.
pub type Part = BTreeMap<ServiceId, Entry>;

/// Whose part it is: the virtual server's key.
pub type PartId = VirtualServerId;

/// Makes a connection to the table, now and after each loss.
pub type Connect = Box<dyn FnMut() -> Result<Box<dyn Ipvs + Send>, IpvsError> + Send>;

/// Waiting for a preview longer than this means something is wrong.
const PREVIEW_LIMIT: Duration = Duration::from_secs(10);
/// Callers that wait for a preview at one time; more are told to come again.
const PREVIEW_WAITERS: usize = 4;
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
    /// The connection timeouts that an earlier process replaced.
    pub timeouts_before: Option<Timeouts>,
    /// lvs_flush: what others have in the table goes when the first set of parts is there.
    pub flush: bool,
    /// What holds from the start.
    pub settings: Settings,
    /// Where what others did to our services is told.
    pub events: EventSender,
    /// Processor time of the calling thread so far ([`processor_time`]).
    pub processor: fn() -> Duration,
}

/// What of global_defs concerns the table; a reload may change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// lvs_timeouts; 0 leaves what the kernel has.
    pub timeouts: Timeouts,
    /// lvs_flush_on_stop without VS: the whole table is emptied at the stop, others' services too.
    pub flush_on_stop: bool,
}

/// Processor time that the calling thread has used (`CLOCK_THREAD_CPUTIME_ID`).
pub fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
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
    /// Each refusal by itself, with its object, reason and remedy; the first 20.
    pub refusals: Vec<String>,
    /// Times that all of our services were compared with the kernel's.
    pub audits: u64,
}

/// What the kernel has counted for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// When it was read.
    pub at: Instant,
    /// The service with its counters.
    pub reading: Reading,
}

/// Counters by service, as the audit last read them.
pub type Counters = BTreeMap<ServiceId, Arc<Counted>>;

/// Where the audit leaves the counters.
#[derive(Debug, Default)]
struct Board(Mutex<Counters>);

impl Board {
    /// What was counted; `None`: the service is not there.
    fn note(&self, at: Instant, found: Vec<(ServiceId, Option<Reading>)>) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, reading) in found {
            match reading {
                Some(reading) => board.insert(id, Arc::new(Counted { at, reading })),
                None => board.remove(&id),
            };
        }
    }

    fn forget(&self, id: &ServiceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Starts table owners.
pub struct TableOwner;

impl TableOwner {
    /// Connects and looks at the table here and now, then starts the thread. Nothing is changed until
    /// the first [`OwnerHandle::set_parts`].
    ///
    /// # Errors
    /// [`IpvsError::NoIpvs`] (names module and command), [`IpvsError::NoRight`], or what the first
    /// read failed with.
    pub fn start(options: OwnerOptions) -> Result<OwnerHandle, IpvsError> {
        let board: Arc<Board> = Arc::default();
        let keeper = Keeper::start(options, board.clone(), Instant::now())?;
        let (publish, status) = watch::channel(keeper.status().clone());
        let shared = Arc::new(Shared::default());
        let inside = shared.clone();
        let (tell, told) = sync_channel(1);
        let no_thread =
            |why: &dyn std::fmt::Display| IpvsError::Unavailable { reason: format!("no thread: {why}") };
        let thread = std::thread::Builder::new()
            .name("ipvs".into())
            .spawn(move || {
                let _gone = tell.send(gettid());
                run(keeper, &inside, &publish);
            })
            .map_err(|error| no_thread(&error))?;
        let id = told.recv().map_err(|error| no_thread(&error))?;
        let last = Arc::new(LastHandle { shared, thread: Mutex::new(Some(thread)) });
        Ok(OwnerHandle { last, status, board, thread: id })
    }
}

/// What a first set of parts would ask of the kernel, without an owner. Blocks; changes nothing.
///
/// # Errors
/// As [`TableOwner::start`].
pub fn preview_of_start(
    options: OwnerOptions,
    changes: Vec<(PartId, Option<Part>)>,
) -> Result<Preview, IpvsError> {
    let settings = options.settings;
    let mut keeper = Keeper::start(options, Arc::default(), Instant::now())?;
    keeper.preview(changes.into_iter().collect(), settings)
}

/// A handle to a running table owner. When the last one is dropped, the thread ends and leaves the
/// table as it is.
#[derive(Clone)]
pub struct OwnerHandle {
    last: Arc<LastHandle>,
    status: watch::Receiver<OwnerStatus>,
    board: Arc<Board>,
    thread: Pid,
}

impl OwnerHandle {
    /// The owner's thread.
    pub fn thread(&self) -> Pid {
        self.thread
    }

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

    /// What of global_defs holds from now on. Counts as a change of its own, as [`OwnerHandle::set_parts`].
    pub fn set_settings(&self, settings: Settings) -> u64 {
        self.last.shared.change(|mailbox| {
            mailbox.generation += 1;
            mailbox.settings = Some(settings);
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

    /// What the kernel has counted, as the audit read it last: within a second up to 1,000 destinations, within
    /// nine at 40,000.
    pub fn counters(&self) -> Counters {
        self.board.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What [`OwnerHandle::set_parts`] and [`OwnerHandle::set_settings`] would ask of the kernel now. Changes
    /// nothing.
    ///
    /// # Errors
    /// What the table could not be read for; [`IpvsError::Unavailable`] after 10 s, or when four wait already.
    pub async fn preview(
        &self,
        changes: Vec<(PartId, Option<Part>)>,
        settings: Settings,
    ) -> Result<Preview, IpvsError> {
        let unavailable = |reason: &str| IpvsError::Unavailable { reason: reason.to_owned() };
        let (answer, receiver) = oneshot::channel();
        let question = Question { changes: changes.into_iter().collect(), settings, answer };
        self.last.shared.change(|mailbox| {
            mailbox.questions.retain(|waiting| !waiting.answer.is_closed());
            if mailbox.ended {
                return Err(unavailable("the table's owner has stopped"));
            }
            if mailbox.questions.len() >= PREVIEW_WAITERS {
                return Err(unavailable("too many ask at once"));
            }
            mailbox.questions.push(question);
            Ok(())
        })?;
        match tokio::time::timeout(PREVIEW_LIMIT, receiver).await {
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
    settings: Option<Settings>,
    questions: Vec<Question>,
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
    settings: Option<Settings>,
    questions: Vec<Question>,
    stop: Option<Stop>,
}

/// Somebody wants to know what a change would do.
struct Question {
    changes: BTreeMap<PartId, Option<Part>>,
    settings: Settings,
    answer: oneshot::Sender<Result<Preview, IpvsError>>,
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
                mailbox.generation == mailbox.taken && mailbox.questions.is_empty() && mailbox.stop.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        mailbox.taken = mailbox.generation;
        Work {
            generation: mailbox.generation,
            changes: std::mem::take(&mut mailbox.changes),
            settings: mailbox.settings.take(),
            questions: std::mem::take(&mut mailbox.questions),
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
        mailbox.questions.clear();
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
    if let Some(settings) = work.settings {
        keeper.settings(settings);
    }
    keeper.set(work.generation, work.changes);
    match work.stop {
        None => keeper.converge(Instant::now()),
        Some(Stop::Keep) => {
            keeper.converge(Instant::now());
            keeper.keep();
        }
        Some(Stop::Empty) => keeper.empty(),
    }
    for question in work.questions {
        let _gone = question.answer.send(keeper.preview(question.changes, question.settings));
    }
}

#[cfg(test)]
mod law;
#[cfg(test)]
mod tests;
