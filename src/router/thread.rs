//! The VRRP thread: waits for time, packets and commands, drives the engine, carries out.
//!
//! Nothing here waits for anything but poll: no netlink, no file, no lock held over a system call.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use lbd_grammar::config::Scheduling;
use lbd_vrrp::net::{Sockets, Wanted};
use lbd_vrrp::wire::datagram::Datagram;
use lbd_vrrp::{
    Action, Authentication, Engine, Event, Family, Identity, IfIndex, Interface, RouterId, Setup, State,
    TrackerId, TrackerResult,
};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::sync::watch;

use super::ThreadWishes;
use super::clock::Clock;
use super::lateness::Lateness;
use super::mailbox::{Commands, LEFTOVERS, Leave, STATIC, Slot, Waker, Want};
use super::moderation::{self, Moderation};
use super::netconf::{self, Report};
use super::network::Network;
use super::object::{Entries, Load};
use super::publish::{Beside, Publisher};
use super::snapshot::{Interfaces, RouterSnapshot, saved_address};
use crate::event::{Event as Announcement, EventSender};
use crate::scheduling::{Automatic, Kind, ThreadScheduling};
use crate::state_file::{SavedInstance, boot_clock_ms};

/// Datagrams taken before timers are looked at again: what waited while this process slept comes
/// first (the master is alive), a flood delays no advert of ours by more than a millisecond.
const DATAGRAMS: usize = 512;
/// The same as [`DATAGRAMS`] before a Backup takes over: more than a receive buffer holds (4 MiB, which the kernel doubles, at 768 octets
/// and more each), so that of all that came in time nothing is left, whatever a flood has put before it.
const DATAGRAMS_BEFORE_TAKEOVER: usize = 16_384;
/// Datagrams that are for no virtual router of ours, or came through a router, are looked at this often,
/// and only so many of them: a flood of them costs next to nothing.
const STRANGERS_EVERY: Duration = Duration::from_millis(200);
const STRANGERS: usize = 64;
/// Panics after which the engine is not started again, unless there is a quiet minute between.
const PANICS: u32 = 5;
const QUIET: Duration = Duration::from_secs(60);
/// Longest wait for netconf when giving up.
const ABANDON_LIMIT: Duration = Duration::from_secs(5);

/// Its name, unless vrrp_process_name says another.
const NAME: &str = "vrrp";

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
    pub setup: Setup,
    /// Routes, rules and what is static.
    pub network: Arc<Network>,
    pub scheduling: Scheduling,
    pub saved: Vec<SavedInstance>,
    /// What the process before left in the kernel.
    pub left: Vec<Load>,
    pub take_over: bool,
    /// Longest wait for netconf when stopping.
    pub stop_limit: Arc<Slot<Duration>>,
    /// Told once that the first snapshot is there; by its end that the thread has ended.
    pub life: SyncSender<()>,
}

/// Adverts of a router, kept apart: the first may go out before anything of it was published.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    last_ms: u64,
}

struct Driver {
    clock: Clock,
    sockets: Sockets,
    waker: Waker,
    commands: Arc<Slot<Commands>>,
    reports: Receiver<Report>,
    first: Vec<Report>,
    netconf: Arc<netconf::Shared>,
    interfaces: watch::Receiver<Arc<Interfaces>>,
    events: EventSender,
    setup: Setup,
    network: Arc<Network>,
    scheduled: ThreadScheduling,
    wishes: Scheduling,
    automatic: Automatic,
    saved: Vec<SavedInstance>,
    left: Vec<Load>,
    take_over: bool,
    stop_limit: Arc<Slot<Duration>>,
    life: SyncSender<()>,
    timer: TimerFd,
    /// What it is set to.
    armed: Option<Instant>,
    engine: Engine,
    actions: Vec<Action>,
    /// Ethernet frames of the actions at hand, sent together.
    frames: Vec<(IfIndex, Vec<u8>)>,
    publisher: Publisher,
    sent: BTreeMap<RouterId, Sent>,
    /// Where the last send failed: told once until one succeeds.
    failing: BTreeSet<(RouterId, IpAddr)>,
    /// Who was to hold something, as netconf was told last, with which routes and rules.
    holders: BTreeMap<RouterId, Arc<Entries>>,
    joined: BTreeSet<(IfIndex, IpAddr)>,
    wanted: Option<Wanted>,
    /// Why the last virtual router changed its state: its group's reason.
    reason: String,
    /// For a new engine after a panic.
    host: BTreeMap<String, Interface>,
    trackers: BTreeMap<TrackerId, TrackerResult>,
    held_back: BTreeSet<Arc<str>>,
    packets: Moderation,
    strangers_at: Option<Instant>,
    begun: bool,
    lateness: Lateness,
    send_errors: u64,
    ended: bool,
}

/// What woke the thread.
#[derive(Clone, Copy, Debug, Default)]
struct Woken {
    told: bool,
    packets: bool,
    /// When the timer that woke it was due.
    due: Option<Instant>,
}

/// Starts the thread.
pub(super) fn spawn(parts: Parts) -> io::Result<std::thread::JoinHandle<()>> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
    let clock = Clock::new()?;
    std::thread::Builder::new().name(NAME.into()).spawn(move || {
        let mut driver = Driver {
            clock,
            sockets: parts.sockets,
            waker: parts.waker,
            commands: parts.commands,
            reports: parts.reports,
            first: parts.first,
            netconf: parts.netconf,
            interfaces: parts.interfaces,
            events: parts.events,
            engine: Engine::new(parts.setup.clone()),
            setup: parts.setup,
            network: parts.network,
            scheduled: ThreadScheduling::here(Kind::Vrrp),
            wishes: parts.scheduling,
            automatic: Automatic::default(),
            saved: parts.saved,
            left: parts.left,
            take_over: parts.take_over,
            stop_limit: parts.stop_limit,
            life: parts.life,
            timer,
            armed: None,
            actions: Vec::new(),
            frames: Vec::new(),
            publisher: Publisher::new(parts.snapshot),
            sent: BTreeMap::new(),
            failing: BTreeSet::new(),
            holders: BTreeMap::new(),
            joined: BTreeSet::new(),
            wanted: None,
            reason: String::new(),
            host: BTreeMap::new(),
            trackers: BTreeMap::new(),
            held_back: BTreeSet::new(),
            packets: Moderation::default(),
            strangers_at: None,
            begun: false,
            lateness: Lateness::default(),
            send_errors: 0,
            ended: false,
        };
        driver.supervise();
    })
}

impl Driver {
    /// Runs until told to stop; a panic ends the engine, not the mastership.
    fn supervise(&mut self) {
        self.schedule();
        let mut panics = 0;
        let mut last = Instant::now();
        while !self.ended {
            if catch_unwind(AssertUnwindSafe(|| self.run())).is_ok() {
                continue;
            }
            panics = if last.elapsed() > QUIET { 1 } else { panics + 1 };
            last = Instant::now();
            tracing::error!(panics, "VRRP engine panicked; starting it again where it was");
            // A stop that was asked for goes on without it.
            if self.ended {
                self.abandon();
                return;
            }
            if panics > PANICS || catch_unwind(AssertUnwindSafe(|| self.restart())).is_err() {
                tracing::error!("VRRP engine keeps panicking: it gives up its addresses and ends");
                self.abandon();
                return;
            }
        }
    }

    fn schedule(&mut self) {
        for complaint in self.scheduled.apply(&self.wishes) {
            tracing::warn!("{complaint}");
        }
    }

    fn take_wishes(&mut self, wishes: ThreadWishes) {
        let ThreadWishes { name, automatic, receive_buffer } = wishes;
        if let Err(error) = self.sockets.receive_buffer(receive_buffer) {
            tracing::warn!(%error, "vrrp_rx_bufs_policy, kernel_rx_buf_size: the receive buffer stays as it is");
        }
        // What was taken by itself is given back.
        if std::mem::replace(&mut self.automatic, automatic).most != automatic.most {
            self.schedule();
        }
        if let Ok(name) = CString::new(name.as_deref().unwrap_or(NAME)) {
            let _kept = nix::sys::prctl::set_name(&name);
        }
    }

    /// max_auto_priority: who is late gets the processor sooner.
    fn mind_lateness(&mut self, due: Instant) {
        let late = self.clock.now().saturating_duration_since(due);
        if late <= self.automatic.delay {
            return;
        }
        let late_us = late.as_micros();
        match self.automatic.most {
            Some(most) => match self.scheduled.raise(&self.wishes, most) {
                Some(Ok(done)) => tracing::info!(late_us, "a timer of VRRP was late: it has {done} now"),
                Some(Err(complaint)) => tracing::warn!(late_us, "a timer of VRRP was late: {complaint}"),
                None => {}
            },
            None if std::mem::take(&mut self.automatic.told) => tracing::info!(
                late_us,
                "a timer of VRRP was late; vrrp_rt_priority or max_auto_priority would give it the processor sooner \
                 (said once; max_auto_priority -1: never)"
            ),
            None => {}
        }
    }

    fn run(&mut self) {
        for report in std::mem::take(&mut self.first) {
            self.take_report(report);
        }
        self.join();
        // What was left when the engine before panicked.
        self.take_reports();
        self.take_commands();
        self.publish();
        let _told_before = self.life.try_send(());
        while !self.ended {
            let woken = match self.wait() {
                Ok(woken) => woken,
                Err(error) => {
                    tracing::error!(%error, "VRRP thread cannot wait");
                    self.abandon();
                    return;
                }
            };
            self.engine.set_clock(self.clock.now(), Clock::unix());
            if let Some(due) = woken.due {
                self.mind_lateness(due);
            }
            if woken.told {
                self.waker.reset();
                self.take_reports();
                self.take_commands();
            }
            if self.ended {
                return;
            }
            // Who would take over looks first whether a master was heard meanwhile.
            if woken.packets || self.engine.takeover_due(self.clock.now()) {
                self.take_datagrams();
            }
            let now = self.clock.now();
            if self.engine.deadline().is_some_and(|at| now >= at) {
                self.engine.on_event(now, Event::Deadline, &mut self.actions);
                self.carry_out();
            }
            self.take_strangers(now);
            self.publish();
        }
    }

    /// Until the next deadline, a packet, a command or a report.
    fn wait(&mut self) -> io::Result<Woken> {
        let deadlines = [self.engine.deadline(), self.publisher.deadline(), self.strangers_at];
        match deadlines.into_iter().flatten().min() {
            // Woken too early it is set anew then: with each advert that a Backup hears its deadline moves away.
            Some(at) if self.armed.is_some_and(|armed| armed <= at) => {}
            Some(at) => {
                let due = self.clock.absolute(at);
                self.timer.set(Expiration::OneShot(due), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
                self.armed = Some(at);
            }
            None if self.armed.is_none() => {}
            None => {
                self.timer.unset()?;
                self.armed = None;
            }
        }
        let pause = self.packets.pause(self.clock.now());
        let own = [self.timer.as_fd(), self.waker.fd()].into_iter();
        let sockets = self.sockets.receive_fds().filter(|_| pause.is_none());
        let mut fds: Vec<_> = own.chain(sockets).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut fds, pause.map(TimeSpec::from_duration), None) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => {
                return Ok(Woken { packets: pause.is_some(), ..Woken::default() });
            }
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or_default());
        let due = if ready.next().unwrap_or_default() { self.armed.take() } else { None };
        let told = ready.next().unwrap_or_default();
        // Whatever ended a pause: what came meanwhile counts.
        let packets = pause.is_some() || ready.any(|ready| ready);
        Ok(Woken { told, packets, due })
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
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
            Report::AddressesSet { router, holds: true } => self.feed(Event::AddressesSet(router)),
            Report::AddressesSet { holds: false, .. } => {}
            Report::AddressLost { router, what } => self.feed(Event::AddressLost { router, what }),
            Report::Repaired { router, what, address, tell } => {
                if tell {
                    let instance = self.name_of(router);
                    self.events.send(Announcement::Repaired { instance, what });
                }
                if let Some((device, address)) = address {
                    self.feed(Event::AddressRestored { router, device, address });
                }
            }
            Report::Failed(error) => {
                tracing::error!(%error, "netconf failed: virtual addresses cannot be changed until it is back");
            }
            // It started anew and knows nothing of what is held.
            Report::Ready => {
                let mut all: Vec<Want> =
                    self.engine.routers().iter().map(|router| self.want_of(router)).collect();
                if self.begun {
                    all.push(self.want_static());
                }
                all.iter().for_each(|want| self.note_holder(want));
                self.netconf.want_all(all);
            }
            Report::Stopped => {}
        }
    }

    /// One after the other, each out of the slot before it is carried out: a panic costs that one only.
    fn take_commands(&mut self) {
        #[cfg(test)]
        assert!(
            !self.commands.with(|commands| std::mem::take(&mut commands.panic)),
            "a test asked for a panic"
        );
        if let Some((setup, wishes, network)) = self.commands.with(|commands| commands.reload.take()) {
            self.setup.clone_from(&setup);
            self.network = network;
            self.feed(Event::Reload(setup));
            self.join();
            self.hold_anew();
            if self.wishes != wishes {
                self.wishes = wishes;
                self.schedule();
            }
        }
        if let Some(names) = self.commands.with(|commands| commands.hold_preemption.take()) {
            self.held_back.clone_from(&names);
            self.feed(Event::HoldPreemption(names));
        }
        if let Some(wishes) = self.commands.with(|commands| commands.thread.take()) {
            self.take_wishes(wishes);
        }
        while let Some((id, result)) = self.commands.with(|commands| commands.trackers.pop_first()) {
            self.trackers.insert(id.clone(), result);
            self.feed(Event::Tracker(id, result));
        }
        if self.commands.with(|commands| std::mem::take(&mut commands.begin)) && !self.begun {
            self.begun = true;
            self.begin();
        }
        if let Some(leave) = self.commands.with(|commands| commands.stop.take()) {
            self.stop(leave);
        }
    }

    fn take_datagrams(&mut self) {
        let started = self.clock.now();
        let (mut taken, mut left, mut batch) = (0, true, self.packets.expected());
        loop {
            // One time for each batch: a deadline that passes meanwhile is seen after them.
            let now = self.clock.now();
            let most = if self.engine.takeover_due(now) { DATAGRAMS_BEFORE_TAKEOVER } else { DATAGRAMS };
            if taken >= most {
                break;
            }
            let Driver { sockets, engine, actions, .. } = self;
            let mut take = |interface, datagram: Datagram<'_>| {
                engine.on_event(now, Event::Datagram { interface, datagram }, actions);
            };
            let result = sockets.receive(batch, &mut take);
            self.carry_out();
            match result {
                Ok(got) => {
                    (taken, batch) = (taken + got.read, moderation::MANY);
                    left = got.more;
                    if !left {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "VRRP socket");
                    break;
                }
            }
        }
        // With some left it goes on at once.
        self.packets.looked(started, taken, left);
    }

    fn take_strangers(&mut self, now: Instant) {
        if self.strangers_at.is_some_and(|at| now < at) {
            return;
        }
        self.strangers_at = Some(now + STRANGERS_EVERY);
        let Driver { sockets, engine, actions, .. } = self;
        let mut take = |interface, datagram: Datagram<'_>| {
            engine.on_event(now, Event::Datagram { interface, datagram }, actions);
        };
        if let Err(error) = sockets.strangers(STRANGERS, &mut take) {
            tracing::debug!(%error, "VRRP socket");
        }
        self.carry_out();
    }

    fn feed(&mut self, event: Event<'_>) {
        self.engine.on_event(self.clock.now(), event, &mut self.actions);
        self.carry_out();
    }

    /// Masters of the process before go on where it ended; whatever else it left is removed.
    fn begin(&mut self) {
        let delay = self.setup.startup_delay;
        if !delay.is_zero() {
            let seconds = delay.as_secs_f64();
            tracing::info!(seconds, "VRRP waits (vrrp_startup_delay, vrrp_delay_after_boot)");
        }
        let resume = self.resumable();
        if self.network.has_static() {
            let fixed = self.want_static();
            self.want(fixed);
        }
        self.feed(Event::Begin { resume });
        self.remove_leftovers();
    }

    /// Removes what an earlier process left, but for what is held, which was said before.
    fn remove_leftovers(&mut self) {
        let purge = std::mem::take(&mut self.left);
        self.want(Want { purge, ..Want::nothing(LEFTOVERS) });
    }

    fn resumable(&self) -> Vec<RouterId> {
        let now = boot_clock_ms();
        let interfaces = Arc::clone(&self.interfaces.borrow());
        let resumable = |router: &&lbd_vrrp::router::Router| {
            let config = router.config();
            // As long as a peer with the same settings waits for us at least (its skew time comes on
            // top): two intervals would be gone after a crash just before an advert, a second's pause
            // and a slow start.
            let young = config.advert_interval * u32::from(config.down_timer_adverts);
            let own: Vec<_> = router.addresses().iter().map(saved_address).collect();
            let taken_over =
                self.take_over && !own.is_empty() && own.iter().all(|one| interfaces.has_saved(one));
            taken_over
                || self.saved.iter().any(|saved| {
                    saved.master
                    && (saved.interface == config.interface_name() && saved.vrid == config.vrid.get())
                    && saved.family == config.family.to_string().to_lowercase()
                    && Duration::from_millis(now.saturating_sub(saved.last_advert_ms)) < young
                    // Of several with this VRID the one whose addresses these are.
                    && (saved.addresses.is_empty() || saved.addresses.iter().any(|one| own.contains(one)))
                    && saved.addresses.iter().all(|one| interfaces.has_saved(one))
                })
        };
        self.engine.routers().iter().filter(resumable).map(lbd_vrrp::router::Router::id).collect()
    }

    fn stop(&mut self, leave: Leave) {
        self.ended = true;
        if leave != Leave::Everything {
            self.network = Arc::new(self.network.without_static());
        }
        if leave == Leave::Everything || leave == Leave::Instances && !self.holders.contains_key(&STATIC) {
            self.netconf.stop();
            return;
        }
        if leave == Leave::Instances {
            self.want(Want::nothing(STATIC));
            self.finish_netconf(self.stop_limit.with(|limit| *limit));
            return;
        }
        if !self.begun {
            self.remove_leftovers();
        }
        self.engine.on_event(self.clock.now(), Event::Stop, &mut self.actions);
        let told =
            |action: &mut Action| matches!(action, Action::Stopped { .. } | Action::GroupStopped { .. });
        let stopped: Vec<Action> = self.actions.extract_if(.., told).collect();
        self.carry_out();
        if self.holders.contains_key(&STATIC) {
            self.want(Want::nothing(STATIC));
        }
        self.publish();
        self.finish_netconf(self.stop_limit.with(|limit| *limit));
        // Scripts of the stop run after the addresses are gone.
        self.actions = stopped;
        self.carry_out();
    }

    fn finish_netconf(&mut self, limit: Duration) {
        self.netconf.stop();
        let until = Instant::now() + limit;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match self.reports.recv_timeout(rest) {
                Ok(Report::Stopped) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Report::Failed(error)) => {
                    tracing::error!(%error, "netconf failed: virtual addresses may be left");
                    return;
                }
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
        // As the engine still knows it, or as it was published.
        let identity = |router: &lbd_vrrp::router::Router| Identity::of(router.config());
        let before: Vec<(Identity, State)> =
            self.engine.routers().iter().map(|router| (identity(router), router.state())).collect();
        let published: BTreeSet<(String, u8, String)> = self
            .publisher
            .seen
            .values()
            .filter(|seen| seen.state == State::Master)
            .map(|seen| &seen.snapshot.status)
            .map(|status| (status.interface.clone(), status.vrid, status.family.clone()))
            .collect();
        let old: Vec<RouterId> = self.holders.keys().copied().collect();
        self.actions.clear();
        self.frames.clear();
        self.publisher.forget();
        self.sent.clear();
        // The start-up delay is of the start of the process.
        let startup_delay = if self.begun { Duration::ZERO } else { self.setup.startup_delay };
        self.engine = self.engine.successor(Setup { startup_delay, ..self.setup.clone() });
        self.engine.set_clock(self.clock.now(), Clock::unix());
        for interface in self.host.values().cloned().collect::<Vec<_>>() {
            self.feed(Event::Interface(interface));
        }
        for (id, result) in self.trackers.clone() {
            self.feed(Event::Tracker(id, result));
        }
        self.feed(Event::HoldPreemption(self.held_back.clone()));
        if self.begun {
            let was = |router: &&lbd_vrrp::router::Router| {
                let own = identity(router);
                if let Some((_, state)) = before.iter().find(|(other, _)| *other == own) {
                    return *state == State::Master;
                }
                let config = router.config();
                let family = config.family.to_string().to_lowercase();
                published.contains(&(config.interface_name().to_owned(), config.vrid.get(), family))
            };
            let resume = self.engine.routers().iter().filter(was).map(lbd_vrrp::router::Router::id).collect();
            self.feed(Event::Begin { resume });
        }
        let new: BTreeSet<RouterId> =
            self.engine.routers().iter().map(lbd_vrrp::router::Router::id).collect();
        for router in old.into_iter().filter(|router| *router != STATIC && !new.contains(router)) {
            self.want(Want::nothing(router));
        }
    }

    /// Gives up, with as much of the engine's help as there is: where it cannot send priority 0, peers take over
    /// when our adverts stay away.
    fn abandon(&mut self) {
        self.ended = true;
        let release = || self.engine.on_event(self.clock.now(), Event::Stop, &mut self.actions);
        let _panicked = catch_unwind(AssertUnwindSafe(release));
        let _panicked = catch_unwind(AssertUnwindSafe(|| self.carry_out()));
        for router in self.holders.keys().copied().collect::<Vec<_>>() {
            self.want(Want::nothing(router));
        }
        self.finish_netconf(ABANDON_LIMIT);
    }

    fn carry_out(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.carry_out_one(action);
        }
        self.actions = actions;
        if !self.frames.is_empty() {
            let frames: Vec<(IfIndex, &[u8])> =
                self.frames.iter().map(|(interface, frame)| (*interface, frame.as_slice())).collect();
            let (sent, error) = self.sockets.send_frames(&frames);
            if error.is_some() {
                self.send_errors += u64::try_from(frames.len() - sent).unwrap_or(u64::MAX);
            }
            self.frames.clear();
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        let events = &self.events;
        match action {
            Action::SendAdvert { router, interface, destination, packet, due } => {
                let result = self.sockets.send_packet(interface, destination, &packet);
                if let Some(due) = due {
                    self.lateness.record(self.clock.now().saturating_duration_since(due));
                }
                self.note_sent(router, destination, result);
            }
            Action::SendFrame { interface, frame } => self.frames.push((interface, frame)),
            Action::SetAddresses { router, holds, hold, purge } => {
                // Of one that a reload took away there is no name any more; what it held netconf knows.
                let entries = self.entries_of(router);
                let (hold, unheld) = if holds {
                    (Load { addresses: hold, entries }, Arc::default())
                } else {
                    (Load::default(), entries)
                };
                let purge =
                    purge.into_iter().map(|addresses| Load { addresses, entries: Arc::clone(&unheld) });
                self.want(Want { router, holds, hold, purge: purge.collect() });
            }
            Action::Transition { instance, from, to, priority, reason, .. } => {
                self.reason.clone_from(&reason);
                events.send(Announcement::Vrrp { instance, from, to, priority: priority.0, reason });
            }
            Action::GroupTransition { group, from, to } => {
                events.send(Announcement::VrrpGroup { group, from, to, reason: self.reason.clone() });
            }
            Action::PriorityChanged { instance, from, to, reason, .. } => {
                events.send(Announcement::VrrpPriority { instance, from: from.0, to: to.0, reason });
            }
            Action::HeardLowerPriority { instance, priority, .. } => {
                events.send(Announcement::VrrpLowerPriority { instance, priority: priority.0 });
            }
            Action::Condition { instance, condition, active, detail, .. } => {
                let condition = condition.as_str();
                events.send(Announcement::VrrpCondition { instance, condition, active, detail });
            }
            Action::Foreign(foreign) => {
                let family = foreign.family.to_string().to_lowercase();
                let (interface, vrid, source) = (foreign.interface, foreign.vrid, foreign.source);
                events.send(Announcement::VrrpForeign { interface, vrid, family, source });
            }
            Action::Stopped { instance, priority, deleted, .. } => {
                events.send(Announcement::VrrpStopped { instance, priority: priority.0, deleted });
            }
            Action::GroupStopped { group, deleted } => {
                events.send(Announcement::VrrpGroupStopped { group, deleted });
            }
            Action::Refused { instance, source, cause } => {
                tracing::warn!(
                    instance = &*instance, %source, cause = cause.as_str(),
                    "advertisement: {}", cause.explain()
                );
            }
        }
    }

    fn note_sent(&mut self, router: RouterId, destination: IpAddr, result: io::Result<()>) {
        let sent = self.sent.entry(router).or_default();
        match result {
            Ok(()) => {
                sent.last_ms = boot_clock_ms();
                if !self.failing.is_empty() {
                    self.failing.remove(&(router, destination));
                }
            }
            Err(error) => {
                self.send_errors += 1;
                if self.failing.insert((router, destination)) {
                    let named = self.engine.routers().iter().find(|one| one.id() == router);
                    let instance = named.map(|one| &*one.config().name);
                    tracing::warn!(instance, %destination, %error, "advertisement could not be sent");
                }
            }
        }
    }

    fn want(&mut self, want: Want) {
        self.note_holder(&want);
        self.netconf.want(want);
    }

    fn note_holder(&mut self, want: &Want) {
        if want.holds {
            self.holders.insert(want.router, Arc::clone(&want.hold.entries));
        } else {
            self.holders.remove(&want.router);
        }
    }

    /// What a virtual router wants in its state.
    fn want_of(&self, router: &lbd_vrrp::router::Router) -> Want {
        if router.state() != State::Master {
            return Want::nothing(router.id());
        }
        let entries = self.network.entries(&router.config().name);
        let hold = Load { addresses: router.held(), entries };
        Want { router: router.id(), holds: true, hold, purge: Vec::new() }
    }

    fn want_static(&self) -> Want {
        let (holds, hold) = (self.network.has_static(), self.network.fixed.clone());
        Want { router: STATIC, holds, hold, purge: Vec::new() }
    }

    /// After a reload: those whose routes and rules are others now, which the engine does not know, and what is
    /// static.
    fn hold_anew(&mut self) {
        let differs = |router: &&lbd_vrrp::router::Router| {
            let before = self.holders.get(&router.id());
            before.is_some_and(|before| *before != self.network.entries(&router.config().name))
        };
        let mut wants: Vec<Want> =
            self.engine.routers().iter().filter(differs).map(|router| self.want_of(router)).collect();
        if self.begun && (self.network.has_static() || self.holders.contains_key(&STATIC)) {
            wants.push(self.want_static());
        }
        wants.into_iter().for_each(|want| self.want(want));
    }

    fn entries_of(&self, router: RouterId) -> Arc<Entries> {
        if !self.network.has_entries() {
            return Arc::default();
        }
        self.name_of(router).map(|name| self.network.entries(&name)).unwrap_or_default()
    }

    fn name_of(&self, router: RouterId) -> Option<Arc<str>> {
        let named = self.engine.routers().iter().find(|one| one.id() == router);
        named.map(|one| Arc::clone(&one.config().name))
    }

    /// Sets filters, joins and leaves groups so that exactly what the engine wants comes in.
    fn join(&mut self) {
        let mut filters = Wanted::default();
        for router in self.engine.routers() {
            let config = router.config();
            let set = match (config.family, &config.authentication) {
                (Family::V6, _) => &mut filters.ipv6,
                (Family::V4, Authentication::Ah(_)) => &mut filters.ah,
                (Family::V4, _) => &mut filters.ipv4,
            };
            set.insert(config.vrid.get());
        }
        if self.wanted.as_ref() != Some(&filters) {
            match self.sockets.adapt(&filters) {
                Ok(()) => self.wanted = Some(filters),
                Err(error) => tracing::error!(%error, "some adverts cannot be received"),
            }
        }
        let wanted = self.engine.memberships();
        for (interface, group) in self.joined.difference(&wanted) {
            // The interface may be gone, and the membership with it.
            let _gone = self.sockets.leave(*group, *interface);
        }
        self.joined.retain(|one| wanted.contains(one));
        for (interface, group) in wanted {
            if self.joined.contains(&(interface, group)) {
                continue;
            }
            match self.sockets.join(group, interface) {
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

    fn publish(&mut self) {
        let Driver { publisher, engine, sent, sockets, clock, lateness, network, .. } = self;
        let known: usize = engine.routers().len();
        if sent.len() > known {
            let known: BTreeSet<RouterId> =
                engine.routers().iter().map(lbd_vrrp::router::Router::id).collect();
            sent.retain(|id, _| known.contains(id));
            self.failing.retain(|(id, _)| known.contains(id));
        }
        let (begun, send_errors) = (self.begun, self.send_errors);
        let beside = || Beside {
            send_errors,
            overflows: sockets.overflows(),
            malformed: sockets.malformed(),
            lateness: *lateness,
            network: Arc::clone(network),
        };
        let last_ms = |id| sent.get(&id).map_or(0, |sent| sent.last_ms);
        publisher.look(clock.now(), engine, begun, &last_ms, beside);
    }
}
