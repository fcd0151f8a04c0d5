//! vrrp_track_process: how many processes of a kind there are.
//!
//! Here: one thread that follows the kernel's events about processes, or reads /proc every second where there are
//! none, and the verdicts. Not here: the events (`connector`), /proc (`scan`), who is counted (`census`), how many
//! are enough and for how long (`quorum`), weights and FAULT (`lbd_vrrp`).

mod census;
mod connector;
mod quorum;
mod scan;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use lbd_grammar::config::{Buffer, ProcessMatch, TrackProcess};
use lbd_vrrp::{TrackerId, TrackerResult};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use self::census::Census;
use self::connector::{Connector, DATAGRAM, ProcessEvent};
use self::quorum::Quorum;
use super::wake::{Wake, Woken};
use crate::event::{Event, EventSender};

/// Between two readings of /proc without events, or when events are lost again and again.
const EVERY: Duration = Duration::from_secs(1);
/// The same with events: some of them may have been lost without a word.
const AUDIT: Duration = Duration::from_secs(60);
/// The kernel answers at once, where it does.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);
/// Events taken before verdicts are looked at.
const EVENTS: usize = 4096;
/// How long a start or reload waits for the first counts.
const COUNT_LIMIT: Duration = Duration::from_secs(2);

/// Who gets the results.
pub type Publish = Box<dyn Fn(TrackerId, TrackerResult) + Send>;

/// All tracked processes. Dropping it ends the thread, which there is only once a process is tracked.
pub struct TrackedProcesses {
    publish: Option<Publish>,
    events: EventSender,
    /// Whether events are asked for at all.
    by_events: bool,
    worker: Option<Worker>,
}

struct Worker {
    commands: mpsc::Sender<Command>,
    wake: Wake,
}

/// The processes to track from now on; answered when they were counted.
struct Command {
    processes: Vec<(Arc<str>, TrackProcess)>,
    buffer: Buffer,
    done: oneshot::Sender<()>,
}

impl TrackedProcesses {
    /// Tracks nothing yet; `publish` gets each result that is another one than before, on a thread of its own.
    pub fn new(publish: impl Fn(TrackerId, TrackerResult) + Send + 'static, events: EventSender) -> Self {
        TrackedProcesses { publish: Some(Box::new(publish)), events, by_events: true, worker: None }
    }

    /// Tracks these, and no others. One that is as it was keeps its verdict and its delays; all results are
    /// published again, for virtual routers that are new. Returns when all were counted, or after 2 s.
    /// `buffer`: process_monitor_rcv_bufs.
    pub async fn track(&mut self, processes: Vec<(Arc<str>, TrackProcess)>, buffer: Buffer) {
        if self.worker.is_none() {
            if processes.is_empty() {
                return;
            }
            let Some(publish) = self.publish.take() else { return };
            match Worker::start(publish, self.events.clone(), self.by_events) {
                Ok(worker) => self.worker = Some(worker),
                Err(error) => {
                    error!(%error, "vrrp_track_process: processes cannot be tracked, what tracks them has no result");
                    return;
                }
            }
        }
        let Some(worker) = &mut self.worker else { return };
        let (done, counted) = oneshot::channel();
        let _ended = worker.commands.send(Command { processes, buffer, done });
        worker.wake.wake();
        if tokio::time::timeout(COUNT_LIMIT, counted).await.is_err() {
            warn!("tracked processes are not counted yet: /proc does not answer");
        }
    }
}

impl Worker {
    fn start(publish: Publish, events: EventSender, by_events: bool) -> io::Result<Self> {
        let (wake, woken) = Wake::pair()?;
        // As many as there are reloads; each asker waits for its answer.
        let (commands, receiver) = mpsc::channel();
        let watcher = Watcher::new(publish, events, by_events);
        std::thread::Builder::new().name("processes".into()).spawn(move || watcher.run(&woken, &receiver))?;
        Ok(Worker { commands, wake })
    }
}

/// One vrrp_track_process.
struct Tracked {
    name: Arc<str>,
    process: TrackProcess,
    /// `None` before the first count.
    quorum: Option<Quorum>,
    told: Option<TrackerResult>,
}

/// How changes are noticed.
enum Source {
    /// Nothing is tracked.
    None,
    Events(Box<dyn Feed>),
    Scans,
}

/// Where events come from: the kernel in production, a socket of the test in tests.
trait Feed: Send {
    /// Can be read when there is something to receive.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Receives a datagram into `buffer` ([`DATAGRAM`] octets), if there is one.
    ///
    /// # Errors
    /// ENOBUFS when events were lost, else what the system says.
    fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>>;
    /// process_monitor_rcv_bufs
    fn resize(&self, buffer: Buffer);
}

struct Watcher {
    root: PathBuf,
    by_events: bool,
    source: Source,
    buffer: Buffer,
    tracked: Vec<Tracked>,
    /// `None` before /proc was read.
    census: Option<Census>,
    /// When /proc is read next.
    scan_at: Option<Instant>,
    /// When it was read last.
    scanned_at: Option<Instant>,
    /// How often events were lost.
    losses: u64,
    /// What was said about /proc last: each trouble is logged once.
    trouble: Option<String>,
    publish: Publish,
    events: EventSender,
}

impl Watcher {
    fn new(publish: Publish, events: EventSender, by_events: bool) -> Self {
        Watcher {
            root: PathBuf::from("/proc"),
            by_events,
            source: Source::None,
            buffer: Buffer::default(),
            tracked: Vec::new(),
            census: None,
            scan_at: None,
            scanned_at: None,
            losses: 0,
            trouble: None,
            publish,
            events,
        }
    }

    fn run(mut self, woken: &Woken, commands: &mpsc::Receiver<Command>) {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            if let Err(error) = self.wait(woken) {
                error!(%error, "vrrp_track_process: processes are tracked no more");
                return;
            }
            if woken.is_over() {
                return;
            }
            let mut answers = Vec::new();
            for Command { processes, buffer, done } in commands.try_iter() {
                self.replace(processes, buffer);
                answers.push(done);
            }
            self.take_events(&mut datagram);
            if self.scan_at.is_some_and(|at| Instant::now() >= at) {
                self.scan();
            }
            self.judge();
            for done in answers {
                let _gone = done.send(());
            }
        }
    }

    /// Until something happens, or is due.
    fn wait(&self, woken: &Woken) -> io::Result<()> {
        let deadlines = self.tracked.iter().filter_map(|one| one.quorum.as_ref()?.deadline());
        let mut fds = vec![PollFd::new(woken.fd(), PollFlags::POLLIN)];
        if let Source::Events(feed) = &self.source {
            fds.push(PollFd::new(feed.fd(), PollFlags::POLLIN));
        }
        wait(&mut fds, deadlines.chain(self.scan_at).min())
    }

    fn replace(&mut self, processes: Vec<(Arc<str>, TrackProcess)>, buffer: Buffer) {
        let mut before = std::mem::take(&mut self.tracked);
        let tracked = processes.into_iter().map(|(name, process)| {
            let known = before.iter().position(|old| old.name == name && old.process == process);
            let quorum = known.and_then(|at| before.swap_remove(at).quorum);
            Tracked { name, process, quorum, told: None }
        });
        self.tracked = tracked.collect();
        self.census = None;
        if self.tracked.is_empty() {
            (self.source, self.scan_at) = (Source::None, None);
            return;
        }
        // Events begin before /proc is read: what happens meanwhile is told.
        match &self.source {
            Source::None => self.source = self.open(buffer),
            Source::Events(feed) if self.buffer != buffer => feed.resize(buffer),
            Source::Events(_) | Source::Scans => {}
        }
        self.buffer = buffer;
        self.scan();
    }

    fn open(&self, buffer: Buffer) -> Source {
        if !self.by_events {
            return Source::Scans;
        }
        match Connector::open(buffer).and_then(answered) {
            Ok(connector) => Source::Events(Box::new(connector)),
            Err(error) => {
                warn!(
                    "vrrp_track_process: the kernel tells no process events here ({error}); /proc is read every \
                     second instead. They need CAP_NET_ADMIN and the host's own process and network namespaces"
                );
                Source::Scans
            }
        }
    }

    fn take_events(&mut self, datagram: &mut [u8]) {
        for _ in 0..EVENTS {
            let Source::Events(feed) = &self.source else { return };
            match feed.receive(datagram) {
                Ok(None) => return,
                Ok(Some(datagram)) => connector::events(datagram).for_each(|event| self.take_event(event)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.lose(),
                Err(error) => {
                    warn!(%error, "vrrp_track_process: no more process events; /proc is read every second instead");
                    self.source = Source::Scans;
                    self.scan_soon();
                }
            }
        }
    }

    /// The kernel had no room for events.
    fn lose(&mut self) {
        self.losses += 1;
        // Powers of two: told, without a flood.
        if self.losses.is_power_of_two() {
            info!(
                times = self.losses,
                "vrrp_track_process: process events came too fast, /proc is read anew (process_monitor_rcv_bufs \
                 makes more room)"
            );
        }
        self.scan_soon();
    }

    /// At once, but no sooner after the last reading than without events: who makes processes as fast as he can
    /// does not keep this thread reading.
    fn scan_soon(&mut self) {
        let soonest = self.scanned_at.map_or_else(Instant::now, |at| at + EVERY);
        self.scan_at = Some(self.scan_at.map_or(soonest, |at| at.min(soonest)));
    }

    fn take_event(&mut self, event: ProcessEvent) {
        let meant = match event {
            ProcessEvent::Exec(process) | ProcessEvent::Name(process) => {
                self.meant(process, self.needs_arguments())
            }
            _ => Vec::new(),
        };
        let Some(census) = &mut self.census else { return };
        match event {
            ProcessEvent::Fork { parent, child } => census.forked(parent, child),
            ProcessEvent::Exec(process) | ProcessEvent::Name(process) => census.set(process, meant),
            ProcessEvent::Exit(process) => census.gone(process),
            ProcessEvent::Listening(_) => {}
        }
    }

    /// Counts all processes anew.
    fn scan(&mut self) {
        let pause = if matches!(self.source, Source::Events(_)) { AUDIT } else { EVERY };
        self.scan_at = Some(Instant::now() + pause);
        let processes = match scan::processes(&self.root) {
            Ok(processes) => processes,
            // What was counted before stays.
            Err(error) => return self.complain(&error.to_string()),
        };
        self.trouble = None;
        let arguments = self.needs_arguments();
        let mut census = Census::new(self.tracked.len());
        for process in processes {
            census.set(process, self.meant(process, arguments));
        }
        self.census = Some(census);
        self.scanned_at = Some(Instant::now());
    }

    /// The places of those that track a process.
    fn meant(&self, process: i32, arguments: bool) -> Vec<usize> {
        let Some(looks) = scan::looks(&self.root, process, arguments) else { return Vec::new() };
        let is_meant = |(_, one): &(usize, &Tracked)| census::is_meant(&one.process, &looks);
        self.tracked.iter().enumerate().filter(is_meant).map(|(place, _)| place).collect()
    }

    fn needs_arguments(&self) -> bool {
        self.tracked.iter().any(|one| one.process.matching != ProcessMatch::Name)
    }

    /// Tells what is different.
    fn judge(&mut self) {
        let Some(census) = &self.census else { return };
        let now = Instant::now();
        for (place, one) in self.tracked.iter_mut().enumerate() {
            let running = census.count(place);
            let news = match &mut one.quorum {
                Some(quorum) => quorum.on_count(now, running),
                None => true,
            };
            let quorum = one.quorum.get_or_insert_with(|| Quorum::new(&one.process, running));
            let result = quorum.result();
            if one.told.replace(result) != Some(result) {
                (self.publish)(TrackerId::process(one.name.clone()), result);
            }
            if news {
                let (name, good, reason) = (one.name.clone(), quorum.good(), quorum.words());
                self.events.send(Event::TrackedProcess { name, good, reason });
            }
        }
    }

    fn complain(&mut self, trouble: &str) {
        if self.trouble.as_deref() != Some(trouble) {
            warn!("vrrp_track_process: {}: {trouble}; processes are not counted", Path::display(&self.root));
            self.trouble = Some(trouble.to_owned());
        }
    }
}

/// Waits for the first event: where the kernel tells none it is silent.
fn answered(connector: Connector) -> io::Result<Connector> {
    let until = Instant::now() + ANSWER_LIMIT;
    let mut datagram = vec![0; DATAGRAM];
    loop {
        match connector.receive(&mut datagram) {
            Ok(None) => {}
            Ok(Some(octets)) => match connector::events(octets).next() {
                Some(ProcessEvent::Listening(Some(errno))) => {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                // Others listen already; that it is told is what counts.
                Some(_) => return Ok(connector),
                None => continue,
            },
            // More than there is room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(connector),
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
        }
        wait(&mut [PollFd::new(connector.fd(), PollFlags::POLLIN)], Some(until))?;
    }
}

fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<()> {
    let limit = match until {
        None => PollTimeout::NONE,
        // Up to the next millisecond: poll counts in whole ones.
        Some(until) => {
            let rest = until.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX)
        }
    };
    match poll(fds, limit) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
#[path = "processes/tests.rs"]
mod tests;
