//! The checkers' thread: a runtime of its own for the director and all checkers, so that nothing else
//! delays a check, and the table owner it feeds.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lbd_grammar::config::Config;
use nix::unistd::{Pid, gettid};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::actor::{DirectorHandle, DirectorOptions, NoAnswer, Shown, Snapshot};
use super::owner::{Counters, OwnerHandle, Stop};
use super::parts;
use crate::control::status::{IpvsStatus, VirtualServerStatus};

/// Checkers, director and table owner, running.
pub struct Checkers {
    owner: OwnerHandle,
    director: DirectorHandle,
    thread: Pid,
    // Dropped (or sent) to end the runtime.
    end: std::sync::Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Checkers {
    /// Starts the thread; the initial wants are with the table owner when this returns.
    ///
    /// # Errors
    /// When the system refuses a thread or a runtime.
    pub async fn start(options: DirectorOptions, config: Arc<Config>) -> std::io::Result<Self> {
        let owner = options.owner.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        let (started, director) = oneshot::channel();
        let thread = std::thread::Builder::new().name("checkers".into()).spawn(move || {
            // Inside the runtime: from outside, each of thousands of checkers would wake it up anew.
            runtime.block_on(async move {
                let began = Instant::now();
                let director = DirectorHandle::start(options, &config);
                debug!("wanted services stated in {} ms", began.elapsed().as_millis());
                let _gone = started.send((director, gettid()));
                drop(config);
                let _closed = ended.await;
            });
            // Programs that still run are ended by their own time limits' drop; nothing is waited for.
            runtime.shutdown_timeout(Duration::from_millis(500));
        })?;
        let (director, id) =
            director.await.map_err(|_| std::io::Error::other("the checkers' thread panicked"))?;
        Ok(Checkers { owner, director, thread: id, end: std::sync::Mutex::new(Some((end, thread))) })
    }

    /// The table owner.
    pub fn owner(&self) -> &OwnerHandle {
        &self.owner
    }

    /// The director.
    pub fn director(&self) -> &DirectorHandle {
        &self.director
    }

    /// The thread that the checks run on.
    pub fn thread(&self) -> Pid {
        self.thread
    }

    /// Virtual servers with the kernel's counters, and the table owner's.
    ///
    /// # Errors
    /// [`NoAnswer`] when the director does not answer.
    pub async fn status(&self) -> Result<(Vec<VirtualServerStatus>, IpvsStatus), NoAnswer> {
        let Snapshot { servers: mut shown, leaving } = self.director.status().await?;
        let counters = self.owner.counters();
        shown.iter_mut().for_each(|one| add_counters(one, &counters));
        let owner = self.owner.status().borrow().clone();
        let ipvs = IpvsStatus {
            writes: owner.writes,
            dumps: owner.dumps,
            errors: owner.errors,
            drift_repaired: owner.drift_repaired,
            last_error: owner.refused,
            refused: owner.refusals,
            audits: owner.audits,
            leaving,
            ..IpvsStatus::default()
        };
        Ok((shown.into_iter().map(|one| one.status).collect(), ipvs))
    }

    /// Ends the checkers, then empties the table or leaves it. Blocking, with limits.
    pub async fn stop(&self, stop: Stop) {
        if let Err(error) = self.director.stop(stop).await {
            warn!(%error, "stopping without the director");
        }
        let ending = self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let owner = self.owner.clone();
        let _panicked = tokio::task::spawn_blocking(move || {
            if let Some((end, thread)) = ending {
                drop(end);
                let _panicked = thread.join();
            }
            owner.stop(stop);
        })
        .await;
    }
}

/// A virtual server and its real servers have the counters of all services that it drives.
fn add_counters(shown: &mut Shown, counters: &Counters) {
    for service in shown.services.iter() {
        let Some(counted) = counters.get(service) else { continue };
        shown.status.traffic.add(&counted.reading.stats);
        for (real, address) in shown.status.real_servers.iter_mut().zip(&shown.addresses) {
            let place = parts::destination(*service, *address);
            let Some(found) = counted.reading.counters(&place) else { continue };
            for (sum, more) in [
                (&mut real.active_connections, found.active_connections),
                (&mut real.inactive_connections, found.inactive_connections),
                (&mut real.persistent_connections, found.persistent_connections),
            ] {
                *sum = sum.saturating_add(more);
            }
            real.traffic.add(&found.stats);
        }
    }
}
