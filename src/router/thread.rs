//! The VRRP thread: waits for time, packets and commands, drives the engine, carries out.
//!
//! Nothing here waits for anything but poll: no netlink, no file, no lock held over a system call.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use lbd_vrrp::net::{Sockets, Wanted};
use lbd_vrrp::wire::datagram::Datagram;
use lbd_vrrp::{
    Action, DeviceAddress, Engine, Event, IfIndex, InstanceConfig, Interface, RouterId, State, TrackerId,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::sync::watch;

use super::mailbox::{Commands, Slot, Waker, Want};
use super::netconf::{self, Report};
use super::snapshot::{InstanceSnapshot, Interfaces, RouterSnapshot, saved_address};
use crate::event::{Event as Announcement, EventSender};
use crate::state_file::{SavedInstance, boot_clock_ms};

/// Datagrams taken before timers are looked at again: what waited while this process slept comes
/// first (the master is alive), a flood delays no advert of ours by more than a millisecond.
const DATAGRAMS: usize = 512;
/// Datagrams for no virtual router that are counted when something else has woken the thread.
const STRANGERS: usize = 16;
/// Panics after which the engine is not started again, unless there is a quiet minute between.
const PANICS: u32 = 5;
const QUIET: Duration = Duration::from_secs(60);
/// Of the virtual routers, the one that clears up what an earlier process left.
const LEFTOVERS: RouterId = RouterId(0);

/// What the thread is made of.
pub(super) struct Parts {
    pub sockets: Sockets,
    pub waker: Waker,
    pub commands: Arc<Slot<Commands>>,
    pub reports: Receiver<Report>,
    /// Reports that came before this thread.
    pub first: Vec<Report>,
    pub netconf: Arc<netconf::Shared>,
    pub interfaces: watch::Receiver<Arc<Interfaces>>,
    pub snapshot: watch::Sender<Arc<RouterSnapshot>>,
    pub events: EventSender,
    pub instances: Vec<InstanceConfig>,
    pub saved: Vec<SavedInstance>,
    pub take_over: bool,
    /// Longest wait for netconf when stopping.
    pub stop_limit: Arc<Slot<Duration>>,
    /// Told once that the first snapshot is there; by its end that the thread has ended.
    pub life: SyncSender<()>,
}

/// What is kept of a router beside the engine.
#[derive(Clone, Debug)]
struct Seen {
    revision: u64,
    state: State,
    since: SystemTime,
    snapshot: Arc<InstanceSnapshot>,
}

/// Adverts of a router, kept apart: the first may go out before anything of it was published.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    last_ms: u64,
    /// The last send failed: told once until one succeeds.
    failing: bool,
}

struct Driver {
    parts: Parts,
    timer: TimerFd,
    engine: Engine,
    actions: Vec<Action>,
    seen: BTreeMap<RouterId, Seen>,
    sent: BTreeMap<RouterId, Sent>,
    joined: BTreeSet<(IfIndex, Ipv4Addr)>,
    /// For a new engine after a panic.
    host: BTreeMap<String, Interface>,
    trackers: BTreeMap<TrackerId, bool>,
    begun: bool,
    send_errors: u64,
    published: (Vec<RouterId>, bool, u64),
    ended: bool,
}

/// Starts the thread.
pub(super) fn spawn(parts: Parts) -> io::Result<std::thread::JoinHandle<()>> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
    std::thread::Builder::new().name("vrrp".into()).spawn(move || {
        let engine = Engine::new(parts.instances.clone());
        let mut driver = Driver {
            parts,
            timer,
            engine,
            actions: Vec::new(),
            seen: BTreeMap::new(),
            sent: BTreeMap::new(),
            joined: BTreeSet::new(),
            host: BTreeMap::new(),
            trackers: BTreeMap::new(),
            begun: false,
            send_errors: 0,
            published: (Vec::new(), false, 0),
            ended: false,
        };
        driver.supervise();
    })
}

impl Driver {
    /// Runs until told to stop; a panic ends the engine, not the mastership.
    fn supervise(&mut self) {
        let mut panics = 0;
        let mut last = Instant::now();
        while !self.ended {
            if catch_unwind(AssertUnwindSafe(|| self.run())).is_ok() {
                continue;
            }
            panics = if last.elapsed() > QUIET { 1 } else { panics + 1 };
            last = Instant::now();
            tracing::error!(panics, "VRRP engine panicked; starting it again where it was");
            if panics > PANICS || catch_unwind(AssertUnwindSafe(|| self.restart())).is_err() {
                tracing::error!("VRRP engine keeps panicking: it gives up its addresses and ends");
                self.abandon();
                return;
            }
        }
    }

    fn run(&mut self) {
        for report in std::mem::take(&mut self.parts.first) {
            self.take_report(report);
        }
        self.publish();
        let _told_before = self.parts.life.try_send(());
        while !self.ended {
            if let Err(error) = self.wait() {
                tracing::error!(%error, "VRRP thread cannot wait");
                self.abandon();
                return;
            }
            self.parts.waker.reset();
            self.take_reports();
            self.take_commands();
            if self.ended {
                return;
            }
            self.take_datagrams();
            if self.engine.deadline().is_some_and(|at| Instant::now() >= at) {
                self.feed(Event::Deadline);
            }
            self.publish();
        }
    }

    /// Until the next deadline, a packet, a command or a report.
    fn wait(&mut self) -> io::Result<()> {
        match self.engine.deadline() {
            Some(at) => {
                // An Instant does not tell its value: the absolute time is the clock's plus the rest.
                let clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
                let rest = at.saturating_duration_since(Instant::now());
                let due = clock + TimeSpec::from_duration(rest);
                self.timer.set(Expiration::OneShot(due), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        let own = [self.timer.as_fd(), self.parts.waker.fd()].into_iter();
        let all = own.chain(self.parts.sockets.receive_fds());
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.parts.reports.try_recv() {
            self.take_report(report);
        }
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Interface(interface) => {
                self.host.retain(|_, other| other.index != interface.index);
                self.host.insert(interface.name.clone(), interface.clone());
                self.feed(Event::Interface(interface));
                self.join();
            }
            Report::InterfaceGone(name) => {
                self.host.remove(&name);
                self.feed(Event::InterfaceGone(name));
                self.join();
            }
            Report::AddressesSet(router) => self.feed(Event::AddressesSet(router)),
            Report::AddressLost { router, what } => self.feed(Event::AddressLost { router, what }),
            Report::Failed(error) => {
                tracing::error!(%error, "netconf failed: virtual addresses cannot be changed until it is back");
            }
            // It started anew and knows nothing of what is held.
            Report::Ready => {
                let hold = |router: &lbd_vrrp::router::Router| (router.id(), router.held());
                for (router, hold) in self.engine.routers().iter().map(hold).collect::<Vec<_>>() {
                    self.want(Want { router, hold, purge: Vec::new() });
                }
            }
            Report::Stopped => {}
        }
    }

    fn take_commands(&mut self) {
        let commands = self.parts.commands.take();
        #[cfg(test)]
        assert!(!commands.panic, "a test asked for a panic");
        if let Some(instances) = commands.reload {
            self.parts.instances.clone_from(&instances);
            self.feed(Event::Reload(instances));
            self.join();
        }
        for (id, good) in commands.trackers {
            self.trackers.insert(id.clone(), good);
            self.feed(Event::Tracker(id, good));
        }
        if commands.begin && !self.begun {
            self.begun = true;
            self.begin();
        }
        if let Some(release) = commands.stop {
            self.stop(release);
        }
    }

    fn take_datagrams(&mut self) {
        let mut taken = 0;
        while taken < DATAGRAMS {
            match self.take_batch(|sockets, take| sockets.receive(take)) {
                0 => break,
                count => taken += count,
            }
        }
        self.take_batch(|sockets, take| sockets.strangers(STRANGERS, take));
    }

    fn take_batch(
        &mut self,
        read: impl FnOnce(&mut Sockets, &mut dyn FnMut(IfIndex, Datagram<'_>)) -> io::Result<usize>,
    ) -> usize {
        let Driver { parts, engine, actions, .. } = self;
        let mut take = |interface, datagram: Datagram<'_>| {
            // The engine speaks IPv4 only, and reads the header itself.
            let Some(header) = datagram.header else { return };
            let octets = header.emit(datagram.payload);
            // One time for each: a deadline that passes meanwhile is seen after them.
            engine.on_event(Instant::now(), Event::Datagram { interface, octets: &octets }, actions);
        };
        let count = read(&mut parts.sockets, &mut take).unwrap_or_else(|error| {
            tracing::debug!(%error, "VRRP socket");
            0
        });
        self.carry_out();
        count
    }

    fn feed(&mut self, event: Event) {
        self.engine.on_event(Instant::now(), event, &mut self.actions);
        self.carry_out();
    }

    /// Masters of the process before go on where it ended; whatever else it left is removed.
    fn begin(&mut self) {
        let resume = self.resumable();
        let held: BTreeSet<(String, String)> = self
            .engine
            .routers()
            .iter()
            .filter(|router| resume.contains(&router.id()))
            .flat_map(|router| DeviceAddress::all_of(router.config()))
            .map(|address| saved_address(&address))
            .collect();
        let leftovers = self.parts.saved.iter().flat_map(|saved| &saved.addresses);
        let purge = leftovers.filter(|saved| !held.contains(*saved)).filter_map(from_saved).collect();
        self.feed(Event::Begin { resume });
        self.want(Want { router: LEFTOVERS, hold: Vec::new(), purge });
    }

    fn resumable(&self) -> Vec<RouterId> {
        let now = boot_clock_ms();
        let interfaces = Arc::clone(&self.parts.interfaces.borrow());
        let resumable = |router: &&lbd_vrrp::router::Router| {
            let config = router.config();
            // As long as a peer with the same settings waits for us at least (its skew time comes on
            // top): two intervals would be gone after a crash just before an advert, a second's pause
            // and a slow start.
            let young = config.advert_interval * u32::from(config.down_timer_adverts);
            let own: Vec<_> = DeviceAddress::all_of(config).iter().map(saved_address).collect();
            let taken_over =
                self.parts.take_over && !own.is_empty() && own.iter().all(|one| interfaces.has_saved(one));
            taken_over
                || self.parts.saved.iter().any(|saved| {
                    saved.master
                    && (saved.interface == config.interface_name() && saved.vrid == config.vrid.get())
                    && Duration::from_millis(now.saturating_sub(saved.last_advert_ms)) < young
                    // Of several with this VRID the one whose addresses these are.
                    && (saved.addresses.is_empty() || saved.addresses.iter().any(|one| own.contains(one)))
                    && saved.addresses.iter().all(|one| interfaces.has_saved(one))
                })
        };
        self.engine.routers().iter().filter(resumable).map(|router| router.id()).collect()
    }

    fn stop(&mut self, release: bool) {
        self.ended = true;
        if !release {
            self.parts.netconf.wants.with(|wants| wants.stop = true);
            self.parts.netconf.wake.notify_one();
            return;
        }
        self.engine.on_event(Instant::now(), Event::Stop, &mut self.actions);
        let stopped: Vec<Action> =
            self.actions.extract_if(.., |action| matches!(action, Action::Stopped { .. })).collect();
        self.carry_out();
        self.publish();
        self.finish_netconf();
        // Scripts of the stop run after the addresses are gone.
        self.actions = stopped;
        self.carry_out();
    }

    fn finish_netconf(&mut self) {
        self.parts.netconf.wants.with(|wants| wants.stop = true);
        self.parts.netconf.wake.notify_one();
        let until = Instant::now() + self.parts.stop_limit.with(|limit| *limit);
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match self.parts.reports.recv_timeout(rest) {
                Ok(Report::Stopped | Report::Failed(_)) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    tracing::error!("virtual addresses may be left: the kernel did not answer in time");
                    return;
                }
            }
        }
    }

    /// After a panic: a new engine that takes over what the old one had.
    fn restart(&mut self) {
        let masters: BTreeSet<(String, u8)> = self
            .seen
            .values()
            .filter(|seen| seen.state == State::Master)
            .map(|seen| (seen.snapshot.status.interface.clone(), seen.snapshot.status.vrid))
            .collect();
        let old: Vec<RouterId> = self.seen.keys().copied().collect();
        self.actions.clear();
        self.seen.clear();
        self.sent.clear();
        self.engine = Engine::new(self.parts.instances.clone());
        for interface in self.host.values().cloned().collect::<Vec<_>>() {
            self.feed(Event::Interface(interface));
        }
        for (id, good) in self.trackers.clone() {
            self.feed(Event::Tracker(id, good));
        }
        if self.begun {
            let was = |router: &&lbd_vrrp::router::Router| {
                masters.contains(&(router.config().interface_name().to_owned(), router.config().vrid.get()))
            };
            let resume = self.engine.routers().iter().filter(was).map(|router| router.id()).collect();
            self.feed(Event::Begin { resume });
        }
        let new: BTreeSet<RouterId> = self.engine.routers().iter().map(|router| router.id()).collect();
        for router in old.into_iter().filter(|router| !new.contains(router)) {
            self.want(Want { router, hold: Vec::new(), purge: Vec::new() });
        }
    }

    /// Gives up without the engine's help: peers take over when our adverts stay away.
    fn abandon(&mut self) {
        self.ended = true;
        for router in self.seen.keys().copied().collect::<Vec<_>>() {
            self.want(Want { router, hold: Vec::new(), purge: Vec::new() });
        }
        self.finish_netconf();
    }

    fn carry_out(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            self.carry_out_one(action);
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        let events = &self.parts.events;
        match action {
            Action::SendAdvert { router, interface, destination, packet } => {
                let result = self.parts.sockets.send_packet(Some(interface), destination.into(), &packet);
                self.note_sent(router, destination, result);
            }
            Action::SendFrame { interface, frame } => {
                if self.parts.sockets.send_frames(&[(interface, &frame)]).1.is_some() {
                    self.send_errors += 1;
                }
            }
            Action::SetAddresses { router, hold, purge } => self.want(Want { router, hold, purge }),
            Action::Transition { instance, from, to, priority, reason, .. } => {
                events.send(Announcement::Vrrp { instance, from, to, priority: priority.0, reason });
            }
            Action::PriorityChanged { instance, from, to, reason, .. } => {
                events.send(Announcement::VrrpPriority { instance, from: from.0, to: to.0, reason });
            }
            Action::HeardLowerPriority { instance, priority, .. } => {
                events.send(Announcement::VrrpLowerPriority { instance, priority: priority.0 });
            }
            Action::Stopped { instance, priority, deleted, .. } => {
                events.send(Announcement::VrrpStopped { instance, priority: priority.0, deleted });
            }
            Action::Refused { instance, source, cause } => {
                tracing::warn!(
                    instance = &*instance, %source, cause = cause.as_str(),
                    "advertisement: {}", cause.explain()
                );
            }
        }
    }

    fn note_sent(&mut self, router: RouterId, destination: Ipv4Addr, result: io::Result<()>) {
        let sent = self.sent.entry(router).or_default();
        match result {
            Ok(()) => *sent = Sent { last_ms: boot_clock_ms(), failing: false },
            Err(error) => {
                self.send_errors += 1;
                if !std::mem::replace(&mut sent.failing, true) {
                    let named = self.engine.routers().iter().find(|one| one.id() == router);
                    let instance = named.map(|one| &*one.config().name);
                    tracing::warn!(instance, %destination, %error, "advertisement could not be sent");
                }
            }
        }
    }

    fn want(&mut self, want: Want) {
        self.parts.netconf.wants.with(|wants| wants.put(want));
        self.parts.netconf.wake.notify_one();
    }

    /// Sets filters, joins and leaves groups so that exactly what the engine wants comes in.
    fn join(&mut self) {
        let ipv4 = self.engine.routers().iter().map(|router| router.config().vrid.get()).collect();
        if let Err(error) = self.parts.sockets.adapt(&Wanted { ipv4, ..Wanted::default() }) {
            tracing::error!(%error, "VRRP sockets");
        }
        let wanted = self.engine.memberships();
        for (interface, group) in self.joined.difference(&wanted) {
            // The interface may be gone, and the membership with it.
            let _gone = self.parts.sockets.leave(IpAddr::V4(*group), *interface);
        }
        self.joined.retain(|one| wanted.contains(one));
        for (interface, group) in wanted {
            if self.joined.contains(&(interface, group)) {
                continue;
            }
            match self.parts.sockets.join(IpAddr::V4(group), interface) {
                Ok(()) => {
                    self.joined.insert((interface, group));
                }
                // Tried again with the next change of an interface.
                Err(error) => {
                    tracing::warn!(%group, interface, %error, "multicast group could not be joined")
                }
            }
        }
    }

    /// Publishes what changed; a router without change keeps its part.
    fn publish(&mut self) {
        let mut changed = false;
        let mut order = Vec::with_capacity(self.engine.routers().len());
        for router in self.engine.routers() {
            order.push(router.id());
            let state = router.state();
            let seen = self.seen.entry(router.id()).or_insert_with(|| Seen {
                revision: u64::MAX,
                state,
                since: SystemTime::now(),
                snapshot: Arc::default(),
            });
            let revision = router.revision();
            let last_ms = self.sent.get(&router.id()).map_or(0, |sent| sent.last_ms);
            if seen.revision == revision && seen.snapshot.last_advert_ms == last_ms {
                continue;
            }
            changed = true;
            seen.revision = revision;
            if std::mem::replace(&mut seen.state, state) != state {
                seen.since = SystemTime::now();
            }
            seen.snapshot = Arc::new(InstanceSnapshot::of(router, seen.since, last_ms));
        }
        let published = (order, self.begun, self.engine.strangers());
        if !changed && published == self.published {
            return;
        }
        let order: BTreeSet<RouterId> = published.0.iter().copied().collect();
        self.seen.retain(|id, _| order.contains(id));
        self.sent.retain(|id, _| order.contains(id));
        let of = |id: &RouterId| self.seen.get(id).map(|seen| Arc::clone(&seen.snapshot));
        let snapshot = RouterSnapshot {
            instances: published.0.iter().filter_map(of).collect(),
            begun: self.begun,
            strangers: self.engine.strangers(),
            send_errors: self.send_errors,
        };
        self.published = published;
        self.parts.snapshot.send_replace(Arc::new(snapshot));
    }
}

/// `ADDRESS/PREFIX` and interface as the state file has them; what does not parse is left alone.
fn from_saved((address, device): &(String, String)) -> Option<DeviceAddress> {
    let (address, prefix) = address.split_once('/')?;
    let address = lbd_vrrp::VirtualAddress::new(address.parse().ok()?, prefix.parse().ok()?);
    Some(DeviceAddress { device: device.clone(), address })
}
