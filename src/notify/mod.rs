//! What is announced to whom: the one log line of each transition, FIFO lines, notify scripts, mail.
//!
//! Here: the task that takes events, in their order. Not here: wording (`line`, `fifo_line`), FIFOs
//! (`fifos`), who gets a mail when (`mail`), which scripts an event runs (`plan`), their order (`queue`),
//! running them (`crate::script`).

mod fifo;
mod fifo_line;
mod fifos;
pub mod line;
mod mail;
mod plan;
mod queue;
mod reader;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lbd_grammar::config::Config;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::script::ScriptRoom;
use fifo_line::fifo_line;
use fifos::Fifos;
use mail::outbox::{Outbox, Pace};
use mail::{Host, Rules};
use plan::Plans;
use queue::Queues;

/// Time for scripts of the stop behind others that hang: two seconds until such a one is killed, then a second
/// for each of two.
pub const LAST_LIMIT: Duration = Duration::from_secs(4);

/// Announces events. Dropping it ends the task; scripts that run then go on to their end.
pub struct Notifier {
    told: Arc<Told>,
    drains: mpsc::Sender<oneshot::Sender<()>>,
    abort: AbortHandle,
}

/// All that an announcement needs.
struct Told {
    known: Mutex<Known>,
    queues: Arc<Queues>,
    fifos: Fifos,
    outbox: Outbox,
}

/// What is known of the configuration and of earlier events.
#[derive(Default)]
struct Known {
    plans: Plans,
    rules: Rules,
    host: Option<Host>,
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Notifier {
    /// Starts the task on the current runtime; scripts are known after the first [`update`](Self::update),
    /// FIFOs open after [`open`](Self::open).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(room: Arc<ScriptRoom>, receiver: mpsc::Receiver<Event>) -> Self {
        let told = Arc::new(Told {
            known: Mutex::default(),
            queues: Arc::new(Queues::new(room.clone())),
            fifos: Fifos::new(room),
            outbox: Outbox::start(Pace::default()),
        });
        // Asked by one caller, once.
        let (drains, asked) = mpsc::channel(1);
        let abort = tokio::spawn(announce(told.clone(), receiver, asked)).abort_handle();
        Notifier { told, drains, abort }
    }

    /// Opens the FIFOs of a configuration, closes those that it no longer has, and starts their readers
    /// anew. To be called before [`update`](Self::update), once for each configuration.
    pub async fn open(&self, config: &Config) {
        if lock(&self.told.known).host.is_none() {
            // The name service may take its time.
            let host = tokio::task::spawn_blocking(Host::here).await.ok();
            lock(&self.told.known).host = host;
        }
        self.told.fifos.update(&config.global.fifos).await;
    }

    /// Takes the scripts and mails of a configuration. Objects that it no longer has keep theirs until
    /// the next one, so that their last events are still announced.
    pub fn update(&self, config: &Config) {
        let known = &mut *lock(&self.told.known);
        known.plans.update(config);
        known.rules.update(config, known.host.as_ref());
    }

    /// After a reload: writes the states that it did not change to the FIFOs, if the configuration wants
    /// it (fifo_write_vrrp_states_on_reload).
    pub fn tell_states(&self) {
        let known = lock(&self.told.known);
        for (instance, state, priority) in known.plans.kept_states() {
            let (of, line) = fifo_line::vrrp(&instance, state.as_str(), priority);
            self.told.fifos.write(of, &line);
        }
        for (group, state) in known.plans.kept_group_states() {
            let (of, line) = fifo_line::sync_group(&group, state.as_str());
            self.told.fifos.write(of, &line);
        }
    }

    /// What is to be announced of virtual routers that go on in the kernel without this daemon: that they
    /// stop, as from keepalived.
    pub fn stops(&self) -> Vec<Event> {
        lock(&self.told.known).plans.stops()
    }

    /// Announces what is queued and waits until its scripts have ended, at most `limit`. Scripts that take
    /// longer are ended then, or not begun, so that those of the stop itself can run; they have
    /// [`LAST_LIMIT`] more, what then runs is left to [`ScriptRoom::stop`]. Readers of FIFOs and the mail
    /// relay have `limit`, side by side. Later events are logged and run scripts of the stop, that is all.
    pub async fn drain(&self, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        let (done, announced) = oneshot::channel();
        let all = async {
            if self.drains.send(done).await.is_ok() {
                let _task_is_gone = announced.await;
            }
        };
        let _limit = tokio::time::timeout_at(deadline, all).await;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let scripts = async {
            let queues = &self.told.queues;
            if tokio::time::timeout(left, queues.idle()).await.is_ok() {
                return;
            }
            queues.hurry();
            if tokio::time::timeout(LAST_LIMIT, queues.idle()).await.is_err() {
                queues.clear();
            }
        };
        tokio::join!(scripts, self.told.fifos.close(left), self.told.outbox.drain(left));
    }

    /// Notify scripts dropped because too many waited for the same object.
    pub fn dropped(&self) -> u64 {
        self.told.queues.dropped()
    }
}

async fn announce(
    told: Arc<Told>,
    mut receiver: mpsc::Receiver<Event>,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) {
    loop {
        tokio::select! {
            event = receiver.recv() => match event {
                Some(event) => told.announce(&event),
                None => break,
            },
            Some(done) = asked.recv() => {
                while let Ok(event) = receiver.try_recv() {
                    told.announce(&event);
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

impl Told {
    /// Without waiting for anybody.
    fn announce(&self, event: &Event) {
        let Known { plans, rules, .. } = &mut *lock(&self.known);
        let facts = plans.facts(event);
        line::log(event, &facts);
        for (object, job) in plans.jobs(event) {
            self.queues.push(object, job);
        }
        if let Some((of, line)) = fifo_line(event, &facts) {
            self.fifos.write(of, &line);
        }
        if let Some(letter) = rules.letter(event, &facts) {
            self.outbox.push(letter);
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests/fixtures.rs"]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
