//! What virtual routers need of the host: interfaces of their own (macvlan, ipvlan), settings of the kernel, the
//! packet filter; on a thread of its own. Interfaces are made at the start and when their parent appears, made again
//! when somebody removes them, and removed when no virtual router uses them any more.
//!
//! Here: the thread's handle. Not here: the thread (`worker`), what is to be done (`plan`), messages (`message`), which
//! settings (`sysctl`), the filter's text (`firewall`). Addresses of virtual routers come and go elsewhere (`netconf`),
//! which waits for these interfaces as for any other.

mod firewall;
mod message;
mod nft;
mod plan;
mod remembered;
mod sysctl;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::mailbox::{Leave, Slot, Waker};
use remembered::{File, Remembered};
use worker::Worker;

pub use firewall::Firewall;
pub use plan::Wanted;

/// The program that sets the packet filter.
const NFT: &str = "nft";

/// What virtual routers want of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Interfaces of their own.
    pub links: Vec<Wanted>,
    /// promote_secondaries: interfaces whose setting of this name is 1.
    pub promote: BTreeSet<String>,
    /// disable_local_igmp: memberships of groups of the link are not reported.
    pub quiet_igmp: bool,
    /// The packet filter.
    pub firewall: Firewall,
}

impl Wants {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.promote.is_empty() && !self.quiet_igmp && !self.firewall.is_needed()
    }
}

#[derive(Debug, Default)]
struct Orders {
    wants: Option<Order>,
    /// Virtual routers use nothing any more that was wanted before the order of this number.
    released: Option<u64>,
    stop: Option<Leave>,
}

#[derive(Debug)]
struct Order {
    number: u64,
    wants: Wants,
    /// What is wanted no more stays until it is released.
    keep: bool,
    /// Who is told when it was looked after.
    done: SyncSender<()>,
}

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Host {
    orders: Arc<Slot<Orders>>,
    waker: Waker,
    /// Of the last order.
    number: AtomicU64,
    /// Disconnected when the thread has ended.
    life: std::sync::Mutex<Receiver<()>>,
}

/// Says that virtual routers have gone on to what was wanted last.
#[derive(Debug)]
pub(super) struct Release {
    orders: Arc<Slot<Orders>>,
    waker: Waker,
    number: u64,
}

impl Release {
    /// What is wanted no more may go. Waits for nothing.
    pub fn go(self) {
        self.orders.with(|orders| orders.released = Some(self.number));
        self.waker.wake();
    }
}

impl Host {
    /// Whether an earlier process left anything on the host.
    pub fn left_anything(state: &Path) -> bool {
        File::open(state).1 != Remembered::default()
    }

    /// Starts the thread in the network namespace of the calling one, and waits until what can be had at once is
    /// there, `limit` at most. What an earlier process left (`state`: the state file, beside which it stands) and
    /// is wanted no more goes.
    pub fn start(state: &Path, wants: Wants, limit: Duration) -> io::Result<Self> {
        Self::start_with(state, wants, limit, NFT.into())
    }

    fn start_with(state: &Path, wants: Wants, limit: Duration, nft: OsString) -> io::Result<Self> {
        let orders: Arc<Slot<Orders>> = Arc::default();
        let waker = Waker::new()?;
        let mut worker = Worker::new(Arc::clone(&orders), waker.clone(), File::open(state), nft)?;
        let (end, life) = sync_channel(1);
        std::thread::Builder::new().name("links".into()).spawn(move || {
            // Its end says that the thread has ended.
            let _end = end;
            while catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                tracing::error!("what virtual routers need of the host: panic; looking at it anew");
                worker.look_later();
            }
        })?;
        let host = Host { orders, waker, number: AtomicU64::new(0), life: std::sync::Mutex::new(life) };
        host.order(wants, false, limit);
        Ok(host)
    }

    /// Goes on with other wants, and waits until what can be had at once is there, `limit` at most. What is wanted no
    /// more stays until [`Host::release`].
    pub fn want(&self, wants: Wants, limit: Duration) {
        self.order(wants, true, limit);
    }

    fn order(&self, wants: Wants, keep: bool, limit: Duration) {
        let (done, waits) = sync_channel(1);
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.orders.with(|orders| orders.wants = Some(Order { number, wants, keep, done }));
        self.waker.wake();
        if waits.recv_timeout(limit).is_err() {
            tracing::warn!(
                "interfaces and the packet filter of virtual routers are not there yet: the kernel is slow"
            );
        }
    }

    /// For whoever knows when virtual routers have gone on to what was wanted last.
    pub fn release(&self) -> Release {
        Release {
            orders: Arc::clone(&self.orders),
            waker: self.waker.clone(),
            number: self.number.load(Ordering::Relaxed),
        }
    }

    /// Ends the thread; unless it is to be left what it made goes, and settings are set back. Waits, at most `limit`.
    pub fn stop(&self, leave: Leave, limit: Duration) {
        self.orders.with(|orders| orders.stop = Some(leave));
        self.waker.wake();
        let life = self.life.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if life.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "interfaces and the packet filter of virtual routers may be left until the next start: the kernel or nft did \
                 not answer in time"
            );
        }
    }
}

impl Drop for Host {
    /// Without [`Host::stop`] everything is left as it is.
    fn drop(&mut self) {
        self.orders.with(|orders| {
            orders.stop.get_or_insert(Leave::Everything);
        });
        self.waker.wake();
    }
}

/// What the routers of a configuration want of the host.
pub fn wants(
    links: Vec<lbd_grammar::config::OwnLink>,
    promote: BTreeSet<String>,
    quiet_igmp: bool,
    firewall: Firewall,
) -> Wants {
    // Names of groups are numbers since the file was read.
    let wanted = |link: lbd_grammar::config::OwnLink| {
        let group = link.group.as_deref().and_then(|group| group.parse().ok());
        Wanted { link, group }
    };
    Wants { links: links.into_iter().map(wanted).collect(), promote, quiet_igmp, firewall }
}
