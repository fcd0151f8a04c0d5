//! The router room: VRRP on its own thread, addresses, routes and rules on another.
//!
//! Here: the handle that the daemon holds. Not here: who is master (`lbd_vrrp`), packets and timers
//! (`thread`), addresses, routes and rules (`netconf`), scripts and log lines about transitions (events).

mod backoff;
mod clock;
mod debounce;
mod held;
mod host;
mod kernel;
pub mod lateness;
mod linkbeat;
mod links;
mod mailbox;
mod moderation;
mod netconf;
mod network;
mod object;
mod publish;
mod repair;
mod route;
mod snapshot;
pub mod startup;
mod talk;
mod thread;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lbd_grammar::config::Scheduling;
use lbd_vrrp::net::{NetError, Sockets};
use lbd_vrrp::{Setup, TrackerId, TrackerResult};
use tokio::sync::watch;

use crate::control::status::VrrpStatus;
use crate::event::EventSender;
use crate::limits::has_capability;
use crate::namespace::Namespace;
use crate::scheduling::Automatic;
use crate::state_file::SavedInstance;
use host::Host;
use mailbox::{Commands, Slot, Waker};
use netconf::{Published, Report, Reports, View};

pub use host::{Firewall, Wants as HostWants, wants as host_wants};
pub use links::LinkSettings;
pub use mailbox::Leave;
pub use network::Network;
pub use snapshot::{HostInterface, InstanceSnapshot, Interfaces, RouterSnapshot};

/// Reports of netconf on their way: all interfaces of a large host. When it is full, netconf waits
/// for the VRRP thread, never the other way round.
const REPORTS: usize = 4096;
/// Time limit of the first dump of links and addresses.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Time limit of the first look at the host, with what is to be done there: `nft` has 5 s.
const HOST_LIMIT: Duration = Duration::from_secs(6);
/// Grace beyond the caller's limit for the threads' own work when stopping.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// Bit of CAP_NET_ADMIN in the capability sets.
const CAP_NET_ADMIN: u32 = 12;

/// What a router is started with.
#[derive(Debug)]
pub struct RouterOptions {
    /// Virtual routers and sync groups.
    pub setup: Setup,
    /// Routes and rules of virtual routers, and what is static.
    pub network: Network,
    /// How the VRRP thread is scheduled.
    pub scheduling: Scheduling,
    /// What the process before left.
    pub saved: Vec<SavedInstance>,
    /// Virtual routers whose addresses are all there go on as masters, whoever put the addresses there.
    pub take_over: bool,
    /// What the virtual routers need of the host.
    pub host: HostWants,
    /// The state file, beside which stands what was changed on the host.
    pub state: PathBuf,
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

/// Whether an earlier process left interfaces, settings or the packet filter of virtual routers on this host, with its
/// state file at `state`.
pub fn left_on_host(state: &Path) -> bool {
    Host::left_anything(state)
}

/// VRRP at work. Its threads run in the network namespace of the thread that started it.
#[derive(Debug)]
pub struct Router {
    commands: Arc<Slot<Commands>>,
    waker: Waker,
    netconf: Arc<netconf::Shared>,
    snapshot: watch::Receiver<Arc<RouterSnapshot>>,
    interfaces: watch::Receiver<Arc<Interfaces>>,
    view: watch::Receiver<Arc<View>>,
    /// As it was said last.
    network: Mutex<Arc<Network>>,
    stop_limit: Arc<Slot<Duration>>,
    /// There while it has anything to do.
    host: Mutex<Option<Host>>,
    begun: AtomicBool,
    /// Number of the network namespace that the threads run in.
    namespace: u64,
    state: PathBuf,
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
        if (any_address || !options.network.is_empty()) && !has_capability(CAP_NET_ADMIN) {
            return Err(RouterError::Permission {
                what: "virtual addresses, routes and rules",
                capability: "CAP_NET_ADMIN",
            });
        }
        let failed = |what| move |source| RouterError::Io { what, source };
        let host = if options.host.is_empty() && !Host::left_anything(&options.state) {
            None
        } else {
            let started = Host::start(&options.state, options.host.clone(), HOST_LIMIT);
            Some(started.map_err(failed("thread links"))?)
        };
        match Self::spawn(options, sockets) {
            Ok(router) => {
                *router.host.lock().unwrap_or_else(PoisonError::into_inner) = host;
                Ok(router)
            }
            Err(error) => {
                if let Some(host) = host {
                    host.stop(Leave::Nothing, HOST_LIMIT);
                }
                Err(error)
            }
        }
    }

    fn spawn(options: RouterOptions, sockets: Sockets) -> Result<Router, RouterError> {
        let failed = |what| move |source| RouterError::Io { what, source };
        let waker = Waker::new().map_err(failed("eventfd"))?;
        let (queue, mut reports) = sync_channel(REPORTS);
        let (interfaces_sender, interfaces) = watch::channel(Arc::default());
        let (snapshot_sender, snapshot) = watch::channel(Arc::default());
        let (view_sender, view) = watch::channel(Arc::default());
        let shared = Arc::new(netconf::Shared::new().map_err(failed("eventfd"))?);
        let sink = Reports { queue, waker: waker.clone() };
        let published = Published { interfaces: interfaces_sender, view: view_sender };
        netconf::spawn(Arc::clone(&shared), sink, published).map_err(failed("thread netconf"))?;
        let first = first_reports(&mut reports)?;
        let commands: Arc<Slot<Commands>> = Arc::default();
        let stop_limit: Arc<Slot<Duration>> = Arc::default();
        let (end, ended) = sync_channel(1);
        let network = Arc::new(options.network);
        let parts = thread::Parts {
            sockets,
            waker: waker.clone(),
            commands: Arc::clone(&commands),
            reports,
            first,
            netconf: Arc::clone(&shared),
            interfaces: interfaces.clone(),
            snapshot: snapshot_sender,
            events: options.events,
            setup: options.setup,
            network: Arc::clone(&network),
            scheduling: options.scheduling,
            left: options.saved.iter().map(network::left).collect(),
            saved: options.saved,
            take_over: options.take_over,
            stop_limit: Arc::clone(&stop_limit),
            life: end,
        };
        thread::spawn(parts).map_err(failed("thread vrrp"))?;
        // So that the first snapshot a caller sees has all virtual routers.
        ended.recv_timeout(START_LIMIT).map_err(|_| RouterError::Late)?;
        Ok(Router {
            commands,
            waker,
            netconf: shared,
            snapshot,
            interfaces,
            view,
            network: Mutex::new(network),
            stop_limit,
            host: Mutex::default(),
            begun: AtomicBool::new(false),
            namespace: Namespace::Own.number(),
            state: options.state,
            ended: Mutex::new(ended),
        })
    }

    /// The virtual routers may take part from here on: the table behind the addresses is complete.
    /// Masters of an earlier process go on at once if their last advert is younger than the missed
    /// intervals (down_timer_adverts) after which a peer takes over, and their addresses are still
    /// there; whatever else it left is removed.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.command(|commands| commands.begin = true);
    }

    /// State of all virtual routers; changes with each transition, counter and advert.
    pub fn snapshot(&self) -> watch::Receiver<Arc<RouterSnapshot>> {
        self.snapshot.clone()
    }

    /// The same as the control API shows it, with what is in the kernel.
    pub fn status(&self) -> VrrpStatus {
        let (snapshot, view) = (self.snapshot.borrow().clone(), self.view.borrow().clone());
        snapshot.status_with(&view)
    }

    /// The host's interfaces and addresses.
    pub fn interfaces(&self) -> watch::Receiver<Arc<Interfaces>> {
        self.interfaces.clone()
    }

    /// Has the host as the next configuration needs it, before [`Router::reload`], with which goes what is needed no
    /// more. Waits until what can be had at once is there, 6 s at most.
    ///
    /// # Errors
    /// What the system says when a thread or a socket cannot be had. That the calling thread is in another network
    /// namespace than the one that started the router.
    pub fn prepare(&self, wants: HostWants) -> io::Result<()> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        match &*host {
            Some(host) => host.want(wants, HOST_LIMIT),
            None if wants.is_empty() => {}
            None if Namespace::Own.number() != self.namespace => {
                return Err(io::Error::other("this is another network namespace"));
            }
            None => *host = Some(Host::start(&self.state, wants, HOST_LIMIT)?),
        }
        Ok(())
    }

    /// Goes on with another configuration; virtual routers of the same identity (VRID, interface,
    /// unicast peers) keep their state. A configuration that was not taken up yet is replaced.
    pub fn reload(&self, setup: Setup, scheduling: Scheduling, mut network: Network) {
        let mut last = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.share(&last);
        *last = Arc::new(network);
        let release = self.host.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Host::release);
        self.command(|commands| {
            commands.reload = Some((setup, scheduling, Arc::clone(&last)));
            commands.release = release;
        });
    }

    /// How links are watched beyond what the kernel tells; at first in no way.
    pub fn watch_links(&self, settings: LinkSettings) {
        self.netconf.watch_links(settings);
    }

    /// How the VRRP thread is to be from now on.
    pub fn wish(&self, wishes: ThreadWishes) {
        self.command(|commands| commands.thread = Some(wishes));
    }

    /// The result of something tracked; the latest of each counts.
    pub fn tracker(&self, id: TrackerId, result: impl Into<TrackerResult>) {
        self.command(|commands| {
            commands.trackers.insert(id, result.into());
        });
    }

    /// Virtual routers of these names let masters of lower priorities be, as with nopreempt, and no others.
    pub fn hold_preemption(&self, names: BTreeSet<Arc<str>>) {
        self.command(|commands| commands.hold_preemption = Some(names));
    }

    /// Ends both threads. With `release` masters send priority 0 and the addresses are removed, then
    /// the stops are announced; without, everything is left as it is (handover). Before [`Router::begin`] what an
    /// earlier process left is removed.
    ///
    /// Waits, at most `limit` and a little more.
    pub fn stop(&self, release: bool, limit: Duration) {
        self.end(if release { Leave::Nothing } else { Leave::Everything }, limit);
    }

    /// The same, and says what stays in the kernel.
    pub fn end(&self, leave: Leave, limit: Duration) {
        self.stop_limit.with(|stored| *stored = limit);
        self.command(|commands| commands.stop = Some(leave));
        self.wait_for_end(limit + STOP_GRACE);
        if let Some(host) = self.host.lock().unwrap_or_else(PoisonError::into_inner).take() {
            host.stop(leave, limit);
        }
    }

    fn wait_for_end(&self, limit: Duration) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + limit;
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
    /// Without [`Router::stop`] everything is left as it is. Before [`Router::begin`] nobody uses what was made on the
    /// host: it goes, for which the thread is waited for.
    fn drop(&mut self) {
        self.command(|commands| {
            commands.stop.get_or_insert(Leave::Everything);
        });
        let host = self.host.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(host) = host.filter(|_| !self.begun.load(Ordering::Relaxed)) {
            host.stop(Leave::Nothing, HOST_LIMIT);
        }
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
