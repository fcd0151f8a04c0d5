//! Notify scripts in order: one after the other for the same object, side by side for others.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lbd_health::ScriptOutcome;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::plan::{Job, Object};
use crate::script::{ScriptRoom, describe};

/// Jobs that may wait for one object; one more pushes the oldest out, and what tells of no state before that: who
/// sends adverts of a lower priority all the time keeps no state from being told. An object that changes that
/// often within a script's time is told of its latest states.
pub const WAITING: usize = 64;

/// Scripts of real and virtual servers at a time, so that a lost rack does not start a thousand
/// processes at once. Virtual routers are not held up by it.
pub const SERVERS_AT_ONCE: usize = 64;

/// The queues of all objects. An object without jobs costs nothing.
pub struct Queues {
    room: Arc<ScriptRoom>,
    waiting: Mutex<HashMap<Object, VecDeque<Job>>>,
    /// Objects with a job that waits or runs.
    busy: watch::Sender<usize>,
    servers: Semaphore,
    /// The daemon stops: only what tells of that is run any more.
    last: watch::Sender<bool>,
    dropped: AtomicU64,
}

impl Queues {
    /// Without jobs.
    pub fn new(room: Arc<ScriptRoom>) -> Self {
        Queues {
            room,
            waiting: Mutex::default(),
            busy: watch::Sender::new(0),
            servers: Semaphore::new(SERVERS_AT_ONCE),
            last: watch::Sender::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    /// Appends a job to its object's queue.
    pub fn push(self: &Arc<Self>, object: Object, job: Job) {
        let mut waiting = self.waiting();
        if let Some(queue) = waiting.get_mut(&object) {
            if queue.len() >= WAITING {
                queue.remove(queue.iter().position(Job::is_remark).unwrap_or_default());
                // Powers of two: told, without a flood.
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                if dropped.is_power_of_two() {
                    warn!(of = %object, dropped, "too many notify scripts wait, the oldest is not run");
                }
            }
            queue.push_back(job);
            return;
        }
        waiting.insert(object.clone(), VecDeque::from([job]));
        drop(waiting);
        self.busy.send_modify(|busy| *busy += 1);
        tokio::spawn(self.clone().work(object));
    }

    /// Runs the jobs of one object until none is left.
    async fn work(self: Arc<Self>, object: Object) {
        while let Some(job) = self.next(&object) {
            let _permit = match object {
                Object::Instance(_) | Object::Group(_) => None,
                Object::Server(..) | Object::Service(_) => self.servers.acquire().await.ok(),
            };
            let outcome = self.room.run_within(&job.script, &job.extra, job.limit, self.over_for(&job)).await;
            if outcome != ScriptOutcome::Exited(0) {
                let Job { state, last, .. } = job;
                let script = job.script.0.split("\0\0").next().unwrap_or_default().replace('\0', " ");
                let ended = matches!(outcome, ScriptOutcome::Signalled(_)) && !last && *self.last.borrow();
                let how = if ended { "ended, because lbd stops".to_owned() } else { describe(outcome) };
                warn!(of = %object, state, script, "notify script: {how}");
            }
        }
        self.busy.send_modify(|busy| *busy = busy.saturating_sub(1));
    }

    /// Done when a job has no time left, whatever its limit.
    async fn over_for(&self, job: &Job) {
        let mut last = self.last.subscribe();
        let _sender_is_here = last.wait_for(|last| *last && !job.last).await;
    }

    /// The next job; without one the queue is removed, under the same lock.
    fn next(&self, object: &Object) -> Option<Job> {
        let mut waiting = self.waiting();
        let job = waiting.get_mut(object).and_then(|queue| {
            let wanted = |job: &Job| job.last || !*self.last.borrow();
            std::iter::from_fn(|| queue.pop_front()).find(wanted)
        });
        if job.is_none() {
            waiting.remove(object);
        }
        job
    }

    /// Waits until no job waits or runs.
    pub async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        let _sender_is_here = busy.wait_for(|busy| *busy == 0).await;
    }

    /// Ends what runs and drops what waits, but for jobs that tell of the stop.
    pub fn hurry(&self) {
        self.last.send_replace(true);
    }

    /// Drops what waits.
    pub fn clear(&self) {
        self.waiting().values_mut().for_each(VecDeque::clear);
    }

    /// Jobs pushed out so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Object, VecDeque<Job>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
