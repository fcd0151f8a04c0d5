//! The router room: VRRP on its own thread, addresses on another.
//!
//! Here: the handle that the daemon holds. Not here: who is master (`lbd_vrrp`), packets and timers
//! (`thread`), addresses (`netconf`), scripts and log lines about transitions (events).

mod clock;
mod held;
mod kernel;
pub mod lateness;
mod mailbox;
mod moderation;
mod netconf;
mod publish;
mod route;
mod snapshot;
pub mod startup;
mod thread;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lbd_grammar::config::Scheduling;
use lbd_vrrp::net::{NetError, Sockets};
use lbd_vrrp::{Setup, TrackerId};
use tokio::sync::watch;

use crate::event::EventSender;
use crate::limits::has_capability;
use crate::scheduling::Automatic;
use crate::state_file::SavedInstance;
use mailbox::{Commands, Slot, Waker};
use netconf::{Report, Reports};

pub use snapshot::{HostInterface, InstanceSnapshot, Interfaces, RouterSnapshot};

/// Reports of netconf on their way: all interfaces of a large host. When it is full, netconf waits
/// for the VRRP thread, never the other way round.
const REPORTS: usize = 4096;
/// Time limit of the first dump of links and addresses.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Grace beyond the caller's limit for the threads' own work when stopping.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// Bit of CAP_NET_ADMIN in the capability sets.
const CAP_NET_ADMIN: u32 = 12;

/// What a router is started with.
#[derive(Debug)]
pub struct RouterOptions {
    /// Virtual routers and sync groups.
    pub setup: Setup,
    /// How the VRRP thread is scheduled.
    pub scheduling: Scheduling,
    /// What the process before left.
    pub saved: Vec<SavedInstance>,
    /// Virtual routers whose addresses are all there go on as masters, whoever put the addresses there.
    pub take_over: bool,
    /// Where transitions go.
    pub events: EventSender,
}

/// What else is wanted of the VRRP thread, once it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadWishes {
    /// vrrp_process_name; `None`: its own.
    pub name: Option<String>,
    /// max_auto_priority
    pub automatic: Automatic,
    /// Octets of the receive buffer; less than lbd takes by itself is no wish.
    pub receive_buffer: usize,
}

/// Why VRRP does not start.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// Rights are missing.
    #[error("{what}: not permitted; give the process {capability} (or run it as root)")]
    Permission {
        /// What for.
        what: &'static str,
        /// Which.
        capability: &'static str,
    },
    /// A socket.
    #[error(transparent)]
    Net(NetError),
    /// Anything else.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The kernel did not tell its links and addresses.
    #[error("the kernel did not list its links and addresses within {} s", START_LIMIT.as_secs())]
    Late,
}

impl RouterError {
    /// Whether rights are missing (exit status 4).
    pub fn is_rights(&self) -> bool {
        matches!(self, RouterError::Permission { .. })
    }
}

impl From<NetError> for RouterError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Permission { what } => RouterError::Permission { what, capability: "CAP_NET_RAW" },
            error => RouterError::Net(error),
        }
    }
}

/// VRRP at work. Its threads run in the network namespace of the thread that started it.
#[derive(Debug)]
pub struct Router {
    commands: Arc<Slot<Commands>>,
    waker: Waker,
    snapshot: watch::Receiver<Arc<RouterSnapshot>>,
    interfaces: watch::Receiver<Arc<Interfaces>>,
    stop_limit: Arc<Slot<Duration>>,
    /// Says once that the VRRP thread works; disconnected when it has ended.
    ended: Mutex<Receiver<()>>,
}

impl Router {
    /// Opens the sockets, reads links and addresses, starts both threads. No virtual router takes
    /// part before [`Router::begin`].
    ///
    /// Waits for the kernel's lists, 15 s at most.
    ///
    /// # Errors
    /// [`RouterError::Permission`] naming the capability that is missing.
    pub fn start(options: RouterOptions) -> Result<Router, RouterError> {
        let sockets = Sockets::open()?;
        let any_address = options
            .setup
            .instances
            .iter()
            .any(|one| !(one.addresses.is_empty() && one.excluded_addresses.is_empty()));
        if any_address && !has_capability(CAP_NET_ADMIN) {
            return Err(RouterError::Permission {
                what: "virtual addresses on interfaces",
                capability: "CAP_NET_ADMIN",
            });
        }
        let failed = |what| move |source| RouterError::Io { what, source };
        let waker = Waker::new().map_err(failed("eventfd"))?;
        let (queue, mut reports) = sync_channel(REPORTS);
        let (interfaces_sender, interfaces) = watch::channel(Arc::default());
        let (snapshot_sender, snapshot) = watch::channel(Arc::default());
        let shared = Arc::new(netconf::Shared::new().map_err(failed("eventfd"))?);
        let sink = Reports { queue, waker: waker.clone() };
        netconf::spawn(Arc::clone(&shared), sink, interfaces_sender).map_err(failed("thread netconf"))?;
        let first = first_reports(&mut reports)?;
        let commands: Arc<Slot<Commands>> = Arc::default();
        let stop_limit: Arc<Slot<Duration>> = Arc::default();
        let (end, ended) = sync_channel(1);
        let parts = thread::Parts {
            sockets,
            waker: waker.clone(),
            commands: Arc::clone(&commands),
            reports,
            first,
            netconf: shared,
            interfaces: interfaces.clone(),
            snapshot: snapshot_sender,
            events: options.events,
            setup: options.setup,
            scheduling: options.scheduling,
            saved: options.saved,
            take_over: options.take_over,
            stop_limit: Arc::clone(&stop_limit),
            life: end,
        };
        thread::spawn(parts).map_err(failed("thread vrrp"))?;
        // So that the first snapshot a caller sees has all virtual routers.
        ended.recv_timeout(START_LIMIT).map_err(|_| RouterError::Late)?;
        Ok(Router { commands, waker, snapshot, interfaces, stop_limit, ended: Mutex::new(ended) })
    }

    /// The virtual routers may take part from here on: the table behind the addresses is complete.
    /// Masters of an earlier process go on at once if their last advert is younger than the missed
    /// intervals (down_timer_adverts) after which a peer takes over, and their addresses are still
    /// there; whatever else it left is removed.
    pub fn begin(&self) {
        self.command(|commands| commands.begin = true);
    }

    /// State of all virtual routers; changes with each transition, counter and advert.
    pub fn snapshot(&self) -> watch::Receiver<Arc<RouterSnapshot>> {
        self.snapshot.clone()
    }

    /// The host's interfaces and addresses.
    pub fn interfaces(&self) -> watch::Receiver<Arc<Interfaces>> {
        self.interfaces.clone()
    }

    /// Goes on with another configuration; virtual routers of the same identity (VRID, interface,
    /// unicast peers) keep their state. A configuration that was not taken up yet is replaced.
    pub fn reload(&self, setup: Setup, scheduling: Scheduling) {
        self.command(|commands| commands.reload = Some((setup, scheduling)));
    }

    /// How the VRRP thread is to be from now on.
    pub fn wish(&self, wishes: ThreadWishes) {
        self.command(|commands| commands.thread = Some(wishes));
    }

    /// A tracker's result; the latest of each counts.
    pub fn tracker(&self, id: TrackerId, good: bool) {
        self.command(|commands| {
            commands.trackers.insert(id, good);
        });
    }

    /// Ends both threads. With `release` masters send priority 0 and the addresses are removed, then
    /// the stops are announced; without, everything is left as it is (handover). Before [`Router::begin`] what an
    /// earlier process left is removed.
    ///
    /// Waits, at most `limit` and a little more.
    pub fn stop(&self, release: bool, limit: Duration) {
        self.stop_limit.with(|stored| *stored = limit);
        self.command(|commands| commands.stop = Some(release));
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + limit + STOP_GRACE;
        loop {
            match ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    tracing::error!("VRRP thread did not end in time");
                    return;
                }
                // Said before the end.
                Ok(()) => {}
            }
        }
    }

    fn command(&self, change: impl FnOnce(&mut Commands)) {
        self.commands.with(change);
        self.waker.wake();
    }
}

impl Drop for Router {
    /// Without [`Router::stop`] everything is left as it is.
    fn drop(&mut self) {
        self.command(|commands| {
            commands.stop.get_or_insert(false);
        });
    }
}

/// What netconf tells before it is ready.
fn first_reports(reports: &mut Receiver<Report>) -> Result<Vec<Report>, RouterError> {
    let until = Instant::now() + START_LIMIT;
    let mut first = Vec::new();
    loop {
        match reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Report::Ready) => return Ok(first),
            Ok(Report::Failed(source)) => return Err(RouterError::Io { what: "rtnetlink", source }),
            Ok(report) => first.push(report),
            Err(_) => return Err(RouterError::Late),
        }
    }
}
