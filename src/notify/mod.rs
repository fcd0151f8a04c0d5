//! What is announced to whom: the one log line of each transition, and notify scripts.
//!
//! Here: the task that takes events. Not here: wording (`line`), which scripts an event runs (`plan`),
//! their order (`queue`), running them (`crate::script`).

pub mod line;
mod plan;
mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lbd_grammar::config::Config;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::script::ScriptRoom;
use plan::Plans;
use queue::Queues;

/// Announces events. Dropping it ends the task; scripts that run then go on to their end.
pub struct Notifier {
    plans: Arc<Mutex<Plans>>,
    queues: Arc<Queues>,
    drains: mpsc::Sender<oneshot::Sender<()>>,
    abort: AbortHandle,
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Notifier {
    /// Starts the task on the current runtime; scripts are known after the first [`update`](Self::update).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(room: Arc<ScriptRoom>, receiver: mpsc::Receiver<Event>) -> Self {
        Self::with_queues(Arc::new(Queues::new(room)), receiver)
    }

    fn with_queues(queues: Arc<Queues>, receiver: mpsc::Receiver<Event>) -> Self {
        let plans = Arc::new(Mutex::new(Plans::default()));
        // Asked by one caller, once.
        let (drains, asked) = mpsc::channel(1);
        let abort = tokio::spawn(announce(plans.clone(), queues.clone(), receiver, asked)).abort_handle();
        Notifier { plans, queues, drains, abort }
    }

    /// Takes the scripts of a configuration. Objects that it no longer has keep theirs until the next
    /// one, so that their last events are still announced.
    pub fn update(&self, config: &Config) {
        lock(&self.plans).update(config);
    }

    /// Announces what is queued and waits until its scripts have ended, at most `limit`; then what
    /// waits is dropped, what runs is left to [`ScriptRoom::stop`]. Later events may still be sent.
    pub async fn drain(&self, limit: Duration) {
        let all = async {
            let (done, announced) = oneshot::channel();
            if self.drains.send(done).await.is_ok() {
                let _task_is_gone = announced.await;
            }
            self.queues.idle().await;
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            self.queues.clear();
        }
    }

    /// Notify scripts dropped because too many waited for the same object.
    pub fn dropped(&self) -> u64 {
        self.queues.dropped()
    }
}

async fn announce(
    plans: Arc<Mutex<Plans>>,
    queues: Arc<Queues>,
    mut receiver: mpsc::Receiver<Event>,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) {
    loop {
        tokio::select! {
            event = receiver.recv() => match event {
                Some(event) => announce_one(&plans, &queues, &event),
                None => break,
            },
            Some(done) = asked.recv() => {
                while let Ok(event) = receiver.try_recv() {
                    announce_one(&plans, &queues, &event);
                }
                let _gone = done.send(());
            }
        }
    }
    // Every sender is gone; a drain has nothing left to wait for.
    while let Some(done) = asked.recv().await {
        let _gone = done.send(());
    }
}

fn announce_one(plans: &Mutex<Plans>, queues: &Arc<Queues>, event: &Event) {
    let jobs = {
        let mut plans = lock(plans);
        line::log(event, &plans.facts(event));
        plans.jobs(event)
    };
    for (object, job) in jobs {
        queues.push(object, job);
    }
}

fn lock(plans: &Mutex<Plans>) -> MutexGuard<'_, Plans> {
    plans.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests/fixtures.rs"]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
