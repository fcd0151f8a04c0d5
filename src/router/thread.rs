//! The VRRP thread: waits for time, packets and commands, and drives the engine.
//!
//! Nothing of it waits for anything but poll: no netlink, no file, no lock held over a system call. Here: the thread, its
//! waiting, panics. Not here: what comes in (`incoming`), what the engine wants done (`outgoing`), beginning and end
//! (`life`), who gets the processor when (`processor`).

mod incoming;
mod life;
mod outgoing;
mod processor;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use lbd_grammar::config::Scheduling;
use lbd_vrrp::net::{Sockets, Wanted};
use lbd_vrrp::{
    Action, Authentication, Engine, Event, Family, IfIndex, Interface, RouterId, Setup, TrackerId,
    TrackerResult,
};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::sync::watch;

use super::backoff::Backoff;
use super::clock::Clock;
use super::host::Release;
use super::lateness::Lateness;
use super::mailbox::{Commands, Slot, Waker};
use super::moderation::Moderation;
use super::netconf::{self, Report};
use super::network::Network;
use super::object::{Entries, Load};
use super::publish::{Beside, Publisher};
use super::snapshot::{Interfaces, RouterSnapshot};
use crate::event::EventSender;
use crate::scheduling::{Automatic, Kind, ThreadScheduling};
use crate::state_file::SavedInstance;

/// Panics after which the engine is not started again, unless there is a quiet minute between.
const PANICS: u32 = 5;
const QUIET: Duration = Duration::from_secs(60);
/// Sockets that cannot be read are left alone so long at most; a Backup that would take over reads first.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
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
    /// Of sockets that cannot be read.
    deaf: Backoff,
    strangers_at: Option<Instant>,
    /// Who is told when the reload at hand is done.
    release: Option<Release>,
    /// netconf failed, and that was told.
    without_netconf: bool,
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
            deaf: Backoff::new(LONGEST_PAUSE),
            strangers_at: None,
            release: None,
            without_netconf: false,
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

    fn run(&mut self) {
        for report in std::mem::take(&mut self.first) {
            self.take_report(report);
        }
        self.join();
        // What was left when the engine before panicked.
        self.release_host();
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
        let now = self.clock.now();
        let pause = self.packets.pause(now).max(self.deaf.pause(now));
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
