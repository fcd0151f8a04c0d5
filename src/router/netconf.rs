//! Addresses, routes and rules: a thread of its own that wants, watches and repairs them by rtnetlink.
//!
//! Here: the thread, what is told to whom. Not here: who is to hold what (the engine, `held`), changes
//! (`netconf::change`), what the kernel says (`netconf::listen`), losses (`netconf::losses`), messages (`kernel`),
//! waiting for answers (`talk`).

mod change;
mod listen;
mod losses;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use lbd_vrrp::{Interface, RouterId};
use netlink_packet_route::address::AddressMessage;
use nix::poll::{PollFd, PollFlags};
use tokio::sync::watch;

use super::held::{Book, Held};
use super::kernel::{self, AddressKey, Mirror};
use super::links::{LinkSettings, Links, Post};
use super::mailbox::{LEFTOVERS, Slot, Waker, Want, Wants};
use super::object::{Key, Object};
use super::route::{self, Request};
use super::snapshot::Interfaces;
use super::talk::Line;

/// What could not be added is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Readers are shown what is held at most this often.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Attempts at a list that changes while it is read, and at removals of which the answers were lost.
const ATTEMPTS: usize = 5;

/// What netconf tells the VRRP thread.
#[derive(Debug)]
pub(super) enum Report {
    /// Links and addresses are known and told; nothing is held.
    Ready,
    Interface(Interface),
    InterfaceGone(String),
    /// Its latest word was done, as far as its addresses go; `holds`: it is master.
    AddressesSet {
        router: RouterId,
        holds: bool,
    },
    /// What it holds is removed by someone else again and again.
    AddressLost {
        router: RouterId,
        what: String,
    },
    /// Someone else removed what it holds, and it was put back.
    Repaired {
        router: RouterId,
        what: String,
        /// If it is an address.
        address: Option<(String, IpAddr)>,
        /// Worth an event.
        tell: bool,
    },
    /// Everything wanted was done; the thread ends.
    Stopped,
    /// It failed; if it can it starts anew and says `Ready` again.
    Failed(io::Error),
}

/// What both threads share.
#[derive(Debug)]
pub(super) struct Shared {
    wants: Slot<Wants>,
    links: Arc<Slot<Post>>,
    wake: Waker,
}

impl Shared {
    pub fn new() -> io::Result<Self> {
        Ok(Shared { wants: Slot::default(), links: Arc::default(), wake: Waker::new()? })
    }

    /// Says how links are watched; waits for nothing.
    pub fn watch_links(&self, settings: LinkSettings) {
        self.links.with(|post| post.settings = Some(settings));
        self.wake.wake();
    }

    /// Says what a router wants; waits for nothing.
    pub fn want(&self, want: Want) {
        self.wants.with(|wants| wants.put(want));
        self.wake.wake();
    }

    /// Says what all routers want, to a thread that is ready and knows nothing of it; waits for nothing.
    pub fn want_all(&self, all: Vec<Want>) {
        self.wants.with(|wants| {
            all.into_iter().for_each(|want| wants.put(want));
            wants.complete = true;
        });
        self.wake.wake();
    }

    /// As `want`, and the thread panics with it.
    #[cfg(test)]
    pub fn want_then_panic(&self, want: Want) {
        self.wants.with(|wants| {
            wants.put(want);
            wants.panic = true;
        });
        self.wake.wake();
    }

    /// Do what was wanted and end; waits for nothing.
    pub fn stop(&self) {
        self.wants.with(|wants| wants.stop = true);
        self.wake.wake();
    }
}

/// Where reports go: a bounded queue; when it is full, this thread (not the VRRP thread) waits.
pub(super) struct Reports {
    pub queue: SyncSender<Report>,
    pub waker: Waker,
}

impl Reports {
    /// `false` when nobody reads them any more.
    fn send(&self, report: Report) -> bool {
        let read = self.queue.send(report).is_ok();
        self.waker.wake();
        read
    }
}

/// What is held, for readers.
#[derive(Debug, Default)]
pub(super) struct View {
    pub held: HashMap<Key, Shown>,
    /// How often what each holds was put back.
    pub repaired: BTreeMap<RouterId, u64>,
}

/// Something that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub present: bool,
    /// How often it was put back.
    pub repaired: u64,
    /// Why it could not be added.
    pub error: Option<String>,
}

impl From<&Held> for Shown {
    fn from(held: &Held) -> Self {
        Shown { present: held.is_set(), repaired: held.repaired(), error: held.failing.clone() }
    }
}

/// What the thread publishes.
pub(super) struct Published {
    pub interfaces: watch::Sender<Arc<Interfaces>>,
    pub view: watch::Sender<Arc<View>>,
}

/// What an attempt leaves to the next one.
#[derive(Default)]
struct Carried {
    /// Interfaces as the engine was told.
    told: BTreeMap<String, Interface>,
    links: Links,
    book: Book,
    /// Held by an earlier attempt or about to be removed: to go, unless somebody holds it.
    removing: Vec<Object>,
    /// How often what each holds was put back.
    repaired: BTreeMap<RouterId, u64>,
}

/// Starts the thread, in the network namespace of the calling one. When it fails or panics it
/// says so and starts anew after a second, as long as somebody reads its reports.
pub(super) fn spawn(
    shared: Arc<Shared>,
    reports: Reports,
    published: Published,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("netconf".into()).spawn(move || {
        let mut carried = Carried::default();
        loop {
            let attempt = || run(&shared, &reports, &published, &mut carried);
            let error = match catch_unwind(AssertUnwindSafe(attempt)) {
                Ok(Ok(())) => {
                    reports.send(Report::Stopped);
                    return;
                }
                Ok(Err(error)) => error,
                Err(_panic) => io::Error::other("panic in netconf"),
            };
            if !reports.send(Report::Failed(error)) {
                return;
            }
            std::thread::park_timeout(RETRY);
        }
    })
}

fn run(shared: &Shared, reports: &Reports, published: &Published, carried: &mut Carried) -> io::Result<()> {
    let Carried { told, links, book, removing, repaired } = carried;
    removing.extend(book.forget());
    let complete = removing.is_empty();
    let mut netconf = Netconf {
        shared,
        reports,
        interfaces: &published.interfaces,
        view: &published.view,
        show_at: None,
        line: Line::open()?,
        room: 0,
        mirror: Mirror::default(),
        told,
        links,
        book,
        removing,
        repaired,
        complete,
        lost: Vec::new(),
        losses_at: None,
        flapped: BTreeMap::new(),
        collateral: Vec::new(),
        asked: HashSet::new(),
        strays: Vec::new(),
        bystanders: Vec::new(),
        gone: HashSet::new(),
        retry: None,
        watched: BTreeSet::new(),
        compare_at: None,
        compared: None,
    };
    netconf.read_all()?;
    netconf.tell_all();
    netconf.reports.send(Report::Ready);
    netconf.serve()
}

struct Netconf<'a> {
    shared: &'a Shared,
    reports: &'a Reports,
    interfaces: &'a watch::Sender<Arc<Interfaces>>,
    view: &'a watch::Sender<Arc<View>>,
    /// When readers are shown what is held.
    show_at: Option<Instant>,
    line: Line,
    /// Octets of its receive buffer that were asked for last.
    room: u32,
    mirror: Mirror,
    told: &'a mut BTreeMap<String, Interface>,
    links: &'a mut Links,
    book: &'a mut Book,
    removing: &'a mut Vec<Object>,
    repaired: &'a mut BTreeMap<RouterId, u64>,
    /// Every router has said what it wants, or there was nothing before.
    complete: bool,
    /// What is held and went without our doing.
    lost: Vec<Key>,
    /// When that is looked into.
    losses_at: Option<Instant>,
    /// When interfaces were seen not to be up: with them the kernel drops routes and addresses by itself.
    flapped: BTreeMap<String, Instant>,
    /// Held addresses that went with one that was removed here.
    collateral: Vec<Key>,
    /// Addresses of which the removal was asked for last.
    asked: HashSet<AddressKey>,
    /// To be removed.
    strays: Vec<Stray>,
    /// Other people's addresses that went with them.
    bystanders: Vec<AddressMessage>,
    /// Addresses that went since the last batch was sent.
    gone: HashSet<AddressKey>,
    /// When what is missing is tried again.
    retry: Option<Instant>,
    /// Protocols of the routes that are held; with any of them rules are watched too.
    watched: BTreeSet<u8>,
    /// When routes and rules are read and compared with what is held.
    compare_at: Option<Instant>,
    /// When that was done last.
    compared: Option<Instant>,
}

/// Something on an interface that got another name.
#[derive(Clone, Debug)]
struct Stray {
    /// On which it is, with their names before.
    interfaces: Vec<(u32, String)>,
    /// If it is an address.
    address: Option<AddressKey>,
    removal: Request,
}

impl Netconf<'_> {
    /// vrrp_netlink_monitor_rcv_bufs and its kin, when they changed.
    fn make_room(&mut self) {
        let wanted = self.links.receive_buffer();
        if std::mem::replace(&mut self.room, wanted) == wanted {
            return;
        }
        if let Err(error) = self.line.socket.resize(wanted) {
            tracing::warn!(%error, wanted, "*_netlink_*_rcv_bufs: the receive buffer stays as it is");
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(self.line.socket.fd(), PollFlags::POLLIN),
                PollFd::new(self.shared.wake.fd(), PollFlags::POLLIN),
            ];
            let deadlines =
                [self.retry, self.compare_at, self.losses_at, self.show_at, self.links.deadline()];
            route::wait(&mut fds, deadlines.into_iter().flatten().min())?;
            self.shared.wake.reset();
            self.drain()?;
            self.remove_strays()?;
            for name in self.links.take(Instant::now(), &self.shared.links, &self.shared.wake) {
                self.mirror.touch(&name);
            }
            self.make_room();
            let wants = self.shared.wants.take();
            #[cfg(test)]
            assert!(!wants.panic, "a test asked for a panic");
            let (stop, complete) = (wants.stop, wants.complete);
            let mut wants = wants.in_order();
            if complete && !self.removing.is_empty() {
                let purge = vec![std::mem::take(self.removing).into_iter().collect()];
                wants.push(Want { purge, ..Want::nothing(LEFTOVERS) });
            }
            self.complete |= complete;
            if !wants.is_empty() {
                self.apply(&wants)?;
            }
            if is_due(&mut self.retry) {
                self.add(&self.missing(), |_, _| ())?;
                self.retry_in_time();
            }
            if self.book.has_missing() {
                self.retry.get_or_insert_with(|| Instant::now() + RETRY);
            }
            if is_due(&mut self.compare_at) {
                self.compare()?;
            }
            if is_due(&mut self.losses_at) {
                self.put_back()?;
            }
            self.tell();
            self.show(stop);
            if stop {
                return Ok(());
            }
        }
    }

    /// What is tried again: what was lost a moment ago is not, before that was looked into.
    fn missing(&self) -> Vec<Key> {
        let lost: HashSet<&Key> = self.lost.iter().collect();
        let mut missing = self.book.missing(Instant::now());
        missing.retain(|key| !lost.contains(key));
        missing
    }

    /// Shows readers what is held, if that is different; `now`: without a delay.
    fn show(&mut self, now: bool) {
        if self.book.take_changed() {
            self.show_at.get_or_insert_with(|| Instant::now() + SHOW_EVERY);
        }
        if is_due(&mut self.show_at) || now {
            let held = self.book.all().map(|(key, held)| (key.clone(), held.into())).collect();
            self.view.send_replace(Arc::new(View { held, repaired: self.repaired.clone() }));
        }
    }

    /// Tells everything, whatever was told by an earlier attempt of this thread.
    fn tell_all(&mut self) {
        let mut changes = self.mirror.take_changes();
        changes.names.extend(self.told.keys().cloned());
        self.tell_of(changes);
    }

    /// Tells what is different from what was told last.
    fn tell(&mut self) {
        let changes = self.mirror.take_changes();
        self.tell_of(changes);
    }

    fn tell_of(&mut self, changes: kernel::Changes) {
        if changes.links.is_empty() && changes.names.is_empty() {
            return;
        }
        let now = Instant::now();
        for interface in changes.links.iter().filter_map(|index| self.mirror.for_engine(*index)) {
            let interface = self.links.judge(now, interface);
            if self.told.get(&interface.name) != Some(&interface) {
                self.told.insert(interface.name.clone(), interface.clone());
                self.reports.send(Report::Interface(interface));
            }
        }
        let is_gone = |name: &&String| self.mirror.index_of(name).is_none();
        for name in changes.names.iter().filter(is_gone) {
            self.links.forget(name);
            if self.told.remove(name).is_some() {
                self.reports.send(Report::InterfaceGone(name.clone()));
            }
        }
        self.interfaces.send_if_modified(|interfaces| {
            let mut different = false;
            for index in &changes.links {
                let Some(name) = self.mirror.name_of(*index) else { continue };
                let Some(fresh) = self.mirror.for_readers(*index) else { continue };
                if interfaces.by_name.get(name) != Some(&fresh) {
                    Arc::make_mut(interfaces).by_name.insert(name.to_owned(), fresh);
                    different = true;
                }
            }
            for name in changes.names.iter().filter(is_gone) {
                if interfaces.by_name.contains_key(name) {
                    Arc::make_mut(interfaces).by_name.remove(name);
                    different = true;
                }
            }
            different
        });
    }
}

/// Takes a deadline that has come.
fn is_due(at: &mut Option<Instant>) -> bool {
    at.take_if(|at| Instant::now() >= *at).is_some()
}
