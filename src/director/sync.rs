//! The kernel's connection synchronisation daemons (lvs_sync_daemon): kept as they are wanted, by a thread of
//! their own, since the kernel may take a second to start or stop one.
//!
//! Here: what is asked of the kernel, and when. Not here: which roles are wanted (the daemon, from the
//! configuration and the virtual router that they follow), the table (`owner`).

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lbd_ipvs::{IpvsError, SyncDaemon, SyncDaemons, SyncState};
use tracing::{error, warn};

use super::owner::Stop;
use crate::event::{Event, EventSender};
use crate::state_file::StateFile;

/// Makes a connection, now and after each loss.
pub type Connect = Box<dyn FnMut() -> Result<Box<dyn SyncDaemons + Send>, IpvsError> + Send>;

/// Daemons by role.
pub type Wanted = BTreeMap<SyncState, SyncDaemon>;

/// Between two looks at what runs.
const LOOK: Duration = Duration::from_secs(2);
/// First wait before what failed is tried again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long [`SyncHandle::stop`] waits for the thread: two daemons, a second each, and a lost answer.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// What the thread works with.
pub struct SyncOptions {
    /// Makes a connection.
    pub connect: Connect,
    /// Where it is written which daemons are ours, before they are started.
    pub state: Arc<StateFile>,
    /// Those that an earlier process started.
    pub owned: BTreeSet<SyncState>,
    /// Where starts and stops are told.
    pub events: EventSender,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// What runs, as the kernel reports it.
    pub running: Wanted,
    /// Why it is not as it is wanted.
    pub error: Option<String>,
}

/// A handle to the thread. When the last one goes, the thread ends and leaves the daemons as they are.
#[derive(Clone)]
pub struct SyncHandle(Arc<LastHandle>);

struct LastHandle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    filled: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct Mailbox {
    /// The latest counts; `None`: none that was not taken over.
    wanted: Option<Wanted>,
    stop: Option<Stop>,
    status: SyncStatus,
    ended: bool,
}

impl SyncHandle {
    /// Starts the thread. Nothing is asked of the kernel before the first [`SyncHandle::set`].
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(options: SyncOptions) -> std::io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let inside = shared.clone();
        let thread = std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || run(Keeper::new(options), &inside))?;
        Ok(SyncHandle(Arc::new(LastHandle { shared, thread: Mutex::new(Some(thread)) })))
    }

    /// What should run from now on. Never waits.
    pub fn set(&self, wanted: Wanted) {
        self.0.shared.change(|mailbox| mailbox.wanted = Some(wanted));
    }

    /// How it stands.
    pub fn status(&self) -> SyncStatus {
        self.0.shared.mailbox.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    /// Ends the thread, with our daemons stopped or left. Blocks, for 8 s at most.
    pub fn stop(&self, stop: Stop) {
        let shared = &self.0.shared;
        shared.change(|mailbox| mailbox.stop = Some(stop));
        let mailbox = shared.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let (mailbox, _) = shared
            .ended
            .wait_timeout_while(mailbox, STOP_LIMIT, |mailbox| !mailbox.ended)
            .unwrap_or_else(PoisonError::into_inner);
        let ended = mailbox.ended;
        drop(mailbox);
        if !ended {
            warn!(
                limit_s = STOP_LIMIT.as_secs(),
                "connection synchronisation has not ended: it is left behind"
            );
        } else if let Some(thread) = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _panicked = thread.join();
        }
    }
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.shared.change(|mailbox| {
            mailbox.stop.get_or_insert(Stop::Keep);
        });
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Mailbox)) {
        change(&mut self.mailbox.lock().unwrap_or_else(PoisonError::into_inner));
        self.filled.notify_one();
    }

    /// Waits for work, until `wake` at most.
    fn take(&self, wake: Option<Instant>) -> (Option<Wanted>, Option<Stop>) {
        let idle = |mailbox: &mut Mailbox| mailbox.wanted.is_none() && mailbox.stop.is_none();
        let mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mailbox = match wake {
            Some(wake) => {
                let limit = wake.saturating_duration_since(Instant::now());
                let waited = self.filled.wait_timeout_while(mailbox, limit, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.filled.wait_while(mailbox, idle).unwrap_or_else(PoisonError::into_inner),
        };
        (mailbox.wanted.take(), mailbox.stop)
    }
}

/// Says that the thread has ended, whichever way it does.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.mailbox.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.ended.notify_all();
    }
}

fn run(mut keeper: Keeper, shared: &Shared) {
    let _ended = Ended(shared);
    loop {
        let (wanted, stop) = shared.take(keeper.wake_at());
        if let Some(wanted) = wanted {
            keeper.set(wanted);
        }
        if stop == Some(Stop::Empty) && keeper.is_concerned() {
            keeper.set(Wanted::new());
        }
        let turn = || match stop {
            Some(Stop::Keep) => {}
            _ => keeper.converge(Instant::now()),
        };
        if catch_unwind(AssertUnwindSafe(turn)).is_err() {
            error!("connection synchronisation panicked: it is looked at anew");
            keeper.recover(Instant::now());
        }
        shared.mailbox.lock().unwrap_or_else(PoisonError::into_inner).status.clone_from(&keeper.status);
        if stop.is_some() {
            return;
        }
    }
}

/// What the thread does, without the thread.
struct Keeper {
    options: SyncOptions,
    kernel: Option<Box<dyn SyncDaemons + Send>>,
    wanted: Option<Wanted>,
    /// Both roles are ours while a daemon is configured; else what others started is left alone.
    configured: bool,
    due: Option<Instant>,
    wait: Duration,
    status: SyncStatus,
}

impl Keeper {
    fn new(options: SyncOptions) -> Self {
        Keeper {
            options,
            kernel: None,
            wanted: None,
            configured: false,
            due: None,
            wait: FIRST_WAIT,
            status: SyncStatus::default(),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.due
    }

    fn set(&mut self, wanted: Wanted) {
        self.configured = !wanted.is_empty();
        self.wanted = Some(wanted);
        self.due = None;
    }

    /// Something may run that is ours.
    fn is_concerned(&self) -> bool {
        self.configured || !self.options.owned.is_empty()
    }

    fn recover(&mut self, now: Instant) {
        self.kernel = None;
        self.due = Some(now + FIRST_WAIT);
    }

    /// Starts and stops what is to be; looks again later.
    fn converge(&mut self, now: Instant) {
        let Some(wanted) = self.wanted.clone() else { return };
        if self.due.is_some_and(|due| due > now) {
            return;
        }
        let failed = self.reconcile(&wanted).err().map(|error| error.to_string());
        match &failed {
            None => {
                self.wait = FIRST_WAIT;
                // Nothing of ours: nobody has to look.
                self.due = self.is_concerned().then_some(now + LOOK);
            }
            Some(text) => {
                if self.status.error.as_ref() != Some(text) {
                    warn!("connection synchronisation: {text}");
                }
                self.due = Some(now + self.wait);
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
            }
        }
        self.status.error = failed;
    }

    fn reconcile(&mut self, wanted: &Wanted) -> Result<(), IpvsError> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            none => none.insert((self.options.connect)()?),
        };
        let mut running: Wanted = match kernel.daemons() {
            Ok(daemons) => daemons.into_iter().map(|daemon| (daemon.state, daemon)).collect(),
            Err(error) => {
                self.kernel = None;
                return Err(error);
            }
        };
        let ours = |role: &SyncState| self.configured || self.options.owned.contains(role);
        let steps = plan(wanted, &running, &ours);
        let mut owned = self.options.owned.clone();
        owned.extend(wanted.keys());
        self.note(&owned);
        let mut failed = None;
        for step in steps {
            let Some(kernel) = &mut self.kernel else { break };
            let (role, result) = match &step {
                Step::Stop(role) => (*role, kernel.stop_daemon(*role)),
                Step::Start(daemon) => (daemon.state, kernel.start_daemon(daemon)),
            };
            let event = match (step, result) {
                (_, Err(error)) => {
                    if error.is_lost() {
                        self.kernel = None;
                    }
                    failed = failed.or(Some(error));
                    continue;
                }
                (Step::Stop(_), Ok(())) => {
                    let interface = running.remove(&role).map(|daemon| daemon.interface).unwrap_or_default();
                    Event::Sync { role, interface, runs: false }
                }
                (Step::Start(daemon), Ok(())) => {
                    let interface = daemon.interface.clone();
                    running.insert(role, daemon.as_kept());
                    Event::Sync { role, interface, runs: true }
                }
            };
            self.options.events.send(event);
        }
        self.note(
            &wanted
                .keys()
                .chain(running.keys().filter(|role| self.options.owned.contains(role)))
                .copied()
                .collect(),
        );
        self.status.running = running;
        failed.map_or(Ok(()), Err)
    }

    /// Which are ours, in the state file as well.
    fn note(&mut self, owned: &BTreeSet<SyncState>) {
        if self.options.owned == *owned {
            return;
        }
        self.options.owned.clone_from(owned);
        if let Err(error) = self.options.state.put_sync(owned) {
            warn!(%error, "the state file cannot be written: after a crash synchronisation daemons may stay behind");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Stop(SyncState),
    Start(SyncDaemon),
}

/// What turns `running` into `wanted`: stops come first. Daemons that are neither wanted nor `ours` stay.
fn plan(wanted: &Wanted, running: &Wanted, ours: &dyn Fn(&SyncState) -> bool) -> Vec<Step> {
    let unmet = |role: &SyncState, daemon: &SyncDaemon| {
        wanted.get(role).map_or_else(|| ours(role), |wanted| !wanted.is_met_by(daemon))
    };
    let stops: Vec<Step> = running
        .iter()
        .filter(|(role, daemon)| unmet(role, daemon))
        .map(|(role, _)| Step::Stop(*role))
        .collect();
    let starts = wanted
        .values()
        .filter(|wanted| running.get(&wanted.state).is_none_or(|running| !wanted.is_met_by(running)));
    let starts = starts.cloned().map(Step::Start);
    stops.iter().cloned().chain(starts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_ipvs::fake::FakeSync;

    fn daemon(state: SyncState, id: u8) -> SyncDaemon {
        SyncDaemon {
            state,
            interface: "eth1".into(),
            sync_id: id,
            max_length: None,
            group: None,
            port: None,
            ttl: None,
        }
    }

    fn wanted(roles: &[SyncState], id: u8) -> Wanted {
        roles.iter().map(|role| (*role, daemon(*role, id))).collect()
    }

    struct Bed {
        kernel: FakeSync,
        keeper: Keeper,
        dir: tempfile::TempDir,
        now: Instant,
        _queue: tokio::sync::mpsc::Receiver<Event>,
    }

    fn bed(owned: &[SyncState]) -> Bed {
        let dir = tempfile::tempdir().expect("directory");
        let (events, queue) = EventSender::channel();
        let kernel = FakeSync::default();
        let shared = kernel.clone();
        let keeper = Keeper::new(SyncOptions {
            connect: Box::new(move || Ok(Box::new(shared.clone()))),
            state: Arc::new(StateFile::open(&dir.path().join("state"), 0).0),
            owned: owned.iter().copied().collect(),
            events,
        });
        Bed { kernel, keeper, dir, now: Instant::now(), _queue: queue }
    }

    impl Bed {
        /// Wants this, and what was asked of the kernel then.
        fn set(&mut self, roles: Wanted) -> Vec<String> {
            self.keeper.set(roles);
            self.after(Duration::ZERO)
        }

        fn after(&mut self, time: Duration) -> Vec<String> {
            self.now += time;
            self.keeper.converge(self.now);
            std::mem::take(&mut self.kernel.daemons().record)
        }

        fn saved(&self) -> Vec<SyncState> {
            StateFile::open(&self.dir.path().join("state"), 0).1.sync.into_iter().collect()
        }
    }

    use SyncState::{Backup, Master};

    #[test]
    fn roles_follow_what_is_wanted() {
        let mut bed = bed(&[]);
        assert_eq!(bed.after(LOOK), Vec::<String>::new(), "nothing before the first wish");
        for (name, roles, asked) in [
            ("a backup at first", wanted(&[Backup], 7), vec!["start backup on eth1 id 7"]),
            ("it becomes master", wanted(&[Master], 7), vec!["stop backup", "start master on eth1 id 7"]),
            ("the same again", wanted(&[Master], 7), vec![]),
            ("another id", wanted(&[Master], 8), vec!["stop master", "start master on eth1 id 8"]),
            ("both", wanted(&[Backup, Master], 8), vec!["start backup on eth1 id 8"]),
            ("none any more", wanted(&[], 8), vec!["stop master", "stop backup"]),
            ("still none", wanted(&[], 8), vec![]),
        ] {
            assert_eq!(bed.set(roles.clone()), asked, "{name}");
            assert_eq!(bed.saved(), roles.keys().copied().collect::<Vec<_>>(), "{name}");
            assert_eq!(bed.keeper.status.running.len(), roles.len(), "{name}");
        }
    }

    #[test]
    fn what_runs_already_is_taken_over_and_what_others_run_is_left_alone() {
        let mut ours = bed(&[]);
        ours.kernel.daemons().running.insert(Master, daemon(Master, 7).as_kept());
        assert_eq!(ours.set(wanted(&[Master], 7)), Vec::<String>::new(), "the same runs");
        let mut others = bed(&[]);
        others.kernel.daemons().running.insert(Master, daemon(Master, 7).as_kept());
        assert_eq!(others.set(Wanted::new()), Vec::<String>::new(), "it is not ours");
        assert_eq!(others.keeper.wake_at(), None);
        let mut left = bed(&[Master]);
        left.kernel.daemons().running.insert(Master, daemon(Master, 7).as_kept());
        left.kernel.daemons().running.insert(Backup, daemon(Backup, 7).as_kept());
        assert_eq!(left.set(Wanted::new()), ["stop master"], "an earlier process's goes");
        assert_eq!(left.saved(), []);
    }

    #[test]
    fn when_none_is_configured_any_more_what_others_start_is_left_alone() {
        let mut bed = bed(&[]);
        bed.set(wanted(&[Backup], 7));
        bed.kernel.daemons().running.insert(Master, daemon(Master, 9).as_kept());
        assert_eq!(bed.after(LOOK), ["stop master"], "the roles of one that is configured are ours");
        assert_eq!(bed.set(Wanted::new()), ["stop backup"]);
        bed.kernel.daemons().running.insert(Backup, daemon(Backup, 9).as_kept());
        assert_eq!(bed.after(LOOK), Vec::<String>::new());
        assert!(!bed.keeper.is_concerned(), "nothing of ours is left to be stopped at the end");
    }

    #[test]
    fn what_someone_stops_is_started_again_and_what_is_refused_is_tried_again() {
        let mut bed = bed(&[]);
        bed.set(wanted(&[Backup], 7));
        bed.kernel.daemons().running.clear();
        assert_eq!(bed.after(LOOK - Duration::from_millis(1)), Vec::<String>::new());
        assert_eq!(bed.after(Duration::from_millis(1)), ["start backup on eth1 id 7"]);
        bed.kernel.daemons().running.clear();
        let excluded = || IpvsError::Invalid { request: "start".into(), hint: "mixed".into() };
        let mut waits = Vec::new();
        for second in 2..=70 {
            // The list is answered, the start is refused.
            let ok = bed.kernel.clone();
            ok.daemons().fail.clear();
            let due = bed.keeper.wake_at().is_some_and(|due| due <= bed.now + Duration::from_secs(1));
            if due {
                let now = bed.now + Duration::from_secs(1);
                bed.now = now;
                bed.keeper.kernel = Some(Box::new(Refusing(ok.clone(), excluded())));
                bed.keeper.converge(now);
                waits.push(second);
            } else {
                bed.after(Duration::from_secs(1));
            }
        }
        assert_eq!(waits, [3, 4, 6, 10, 18, 34, 64]);
        assert!(bed.keeper.status.error.as_ref().is_some_and(|error| error.contains("mixed")));
        let kernel = bed.kernel.clone();
        bed.keeper.kernel = Some(Box::new(kernel));
        assert_eq!(bed.after(LONGEST_WAIT), ["start backup on eth1 id 7"]);
        assert_eq!(bed.keeper.status.error, None);
    }

    /// Lists, and refuses to start.
    struct Refusing(FakeSync, IpvsError);

    impl SyncDaemons for Refusing {
        fn daemons(&mut self) -> Result<Vec<SyncDaemon>, IpvsError> {
            SyncDaemons::daemons(&mut self.0)
        }

        fn start_daemon(&mut self, _: &SyncDaemon) -> Result<(), IpvsError> {
            Err(self.1.clone())
        }

        fn stop_daemon(&mut self, state: SyncState) -> Result<(), IpvsError> {
            self.0.stop_daemon(state)
        }
    }

    #[test]
    fn a_lost_connection_is_made_again() {
        let mut bed = bed(&[]);
        bed.set(wanted(&[Backup], 7));
        bed.kernel.daemons().running.clear();
        bed.kernel.daemons().fail.push_back(IpvsError::Unloaded);
        assert_eq!(bed.after(LOOK), Vec::<String>::new());
        assert!(bed.keeper.kernel.is_none() && bed.keeper.status.error.is_some());
        assert_eq!(bed.after(FIRST_WAIT), ["start backup on eth1 id 7"]);
    }

    #[test]
    fn the_thread_stops_ours_or_leaves_them() {
        for (stop, left) in [(Stop::Empty, 0), (Stop::Keep, 1)] {
            let dir = tempfile::tempdir().expect("directory");
            let (events, _queue) = EventSender::channel();
            let kernel = FakeSync::default();
            let shared = kernel.clone();
            let handle = SyncHandle::start(SyncOptions {
                connect: Box::new(move || Ok(Box::new(shared.clone()))),
                state: Arc::new(StateFile::open(&dir.path().join("state"), 0).0),
                owned: BTreeSet::new(),
                events,
            })
            .expect("a thread");
            handle.set(wanted(&[Master], 7));
            let limit = Instant::now() + Duration::from_secs(10);
            while handle.status().running.is_empty() {
                assert!(Instant::now() < limit, "it was not started");
                std::thread::yield_now();
            }
            handle.stop(stop);
            assert_eq!(kernel.daemons().running.len(), left, "{stop:?}");
        }
    }
}
