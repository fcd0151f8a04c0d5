//! The one place that runs programs: MISC_CHECK, vrrp_script, notify scripts, and those around the life of
//! the process.
//!
//! Here: which program an id stands for on this host, and the programs under way. Not here: one
//! program's life (`process`), what happens between fork and exec (`exec_helper`), who may be run as
//! whom (`security`), what an exit status means (the callers).

pub mod disabled;
pub mod exec_helper;
mod process;
mod reap;
pub mod security;
mod sys;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use indexmap::IndexMap;
use lbd_grammar::config::{Global, Script};
use lbd_health::{Programs, ScriptError, ScriptId, ScriptOutcome};
use tokio::sync::watch;
use tracing::{info, warn};

use process::Command;
use security::{HostFiles, HostUsers, Runnable};

/// Runs programs by id.
#[derive(Debug)]
pub struct ScriptRoom {
    helper: PathBuf,
    programs: RwLock<Known>,
    running: Arc<Running>,
    /// Programs whose failure to start was logged already.
    complained: Arc<Mutex<HashSet<ScriptId>>>,
}

type Judged = HashMap<ScriptId, Result<Arc<Runnable>, ScriptError>>;

/// Programs of the latest configuration and of the one before: what a reload takes away is announced
/// by scripts that it takes away too, and checkers of the old one end a moment later.
#[derive(Debug, Default)]
struct Known {
    now: Judged,
    before: Judged,
}

/// Programs under way.
#[derive(Debug)]
struct Running {
    /// Process ids of children that tokio reaps. Held while one is started, so that nobody takes a
    /// child that is not in it yet for an orphan.
    children: Mutex<HashSet<i32>>,
    /// How many have not ended.
    count: watch::Sender<usize>,
    /// Set once: everything under way is ended, nothing is started any more.
    stopping: watch::Sender<bool>,
    /// Starts in a row that the system refused.
    refused: AtomicU64,
}

impl Running {
    fn children(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the system started a process, and says so without a flood: a host that has none left is
    /// asked for many in each second.
    fn note(&self, refusal: Option<&io::Error>, helper: &Path) {
        match refusal {
            Some(error) => {
                let times = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
                if times.is_power_of_two() {
                    warn!(helper = %helper.display(), %error, times, "no process for a script");
                }
            }
            None => {
                let times = self.refused.swap(0, Ordering::Relaxed);
                if times > 0 {
                    info!(times, "there are processes for scripts again");
                }
            }
        }
    }
}

impl Default for ScriptRoom {
    fn default() -> Self {
        Self::new()
    }
}

impl ScriptRoom {
    /// A room without programs, which starts them through this very binary.
    pub fn new() -> Self {
        // The link leads to the running binary, also after the file was replaced by an upgrade.
        Self::with_helper("/proc/self/exe".into())
    }

    /// A room that starts programs through another `lbd` binary.
    pub fn with_helper(helper: PathBuf) -> Self {
        ScriptRoom {
            helper,
            programs: RwLock::default(),
            running: Arc::new(Running {
                children: Mutex::default(),
                count: watch::Sender::new(0),
                stopping: watch::Sender::new(false),
                refused: AtomicU64::new(0),
            }),
            complained: Arc::default(),
        }
    }

    /// Takes the programs of a configuration in place of the earlier ones: looks up users, walks
    /// paths. What runs goes on; those that it no longer has can be run until the next one.
    /// [`security::check`] tells the operator what is wrong with them.
    pub async fn update(&self, scripts: &IndexMap<ScriptId, Script>, global: &Global) {
        let (scripts, global) = (scripts.clone(), global.clone());
        // Name services and network file systems may take their time.
        let judged = tokio::task::spawn_blocking(move || {
            let judge = security::Judge::new(&HostFiles, &HostUsers, &global);
            scripts
                .iter()
                .map(|(id, script)| (id.clone(), judge.judge(id, script).0.map(Arc::new)))
                .collect::<HashMap<_, _>>()
        });
        match judged.await {
            Ok(programs) => {
                let mut known = self.programs.write().unwrap_or_else(PoisonError::into_inner);
                known.before = std::mem::replace(&mut known.now, programs);
                drop(known);
                self.complained.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            Err(error) => warn!(%error, "scripts could not be examined; the earlier ones stay"),
        }
    }

    /// Runs a program with arguments appended to its own; after `limit` its process group is ended.
    /// Dropping the future ends it too.
    pub fn run_with(
        &self,
        id: &ScriptId,
        extra: &[String],
        limit: Duration,
    ) -> impl Future<Output = ScriptOutcome> + Send + use<> {
        self.run_within(id, extra, limit, std::future::pending())
    }

    /// Runs a program that is meant to run on, with arguments appended to its own, until `stop` is
    /// done; then ends it and waits for that. Dropping the future ends it too.
    pub fn run_until<S: Future<Output = ()> + Send>(
        &self,
        id: &ScriptId,
        extra: &[String],
        stop: S,
    ) -> impl Future<Output = ScriptOutcome> + Send + use<S> {
        self.run(id, extra, Duration::MAX, stop, false)
    }

    /// Runs a program when everything else has ended: also after [`ScriptRoom::stop`]. Until `limit`, or
    /// until `stop` is done.
    pub fn run_last<S: Future<Output = ()> + Send>(
        &self,
        id: &ScriptId,
        limit: Duration,
        stop: S,
    ) -> impl Future<Output = ScriptOutcome> + Send + use<S> {
        self.run(id, &[], limit, stop, true)
    }

    /// As [`ScriptRoom::run_until`], within a limit.
    pub fn run_within<S: Future<Output = ()> + Send>(
        &self,
        id: &ScriptId,
        extra: &[String],
        limit: Duration,
        stop: S,
    ) -> impl Future<Output = ScriptOutcome> + Send + use<S> {
        self.run(id, extra, limit, stop, false)
    }

    fn run<S: Future<Output = ()> + Send>(
        &self,
        id: &ScriptId,
        extra: &[String],
        limit: Duration,
        stop: S,
        last: bool,
    ) -> impl Future<Output = ScriptOutcome> + Send + use<S> {
        let program = {
            let known = self.programs.read().unwrap_or_else(PoisonError::into_inner);
            known.now.get(id).or(known.before.get(id)).cloned().unwrap_or(Err(ScriptError::NotExecutable))
        };
        let started = program
            .and_then(|program| {
                let command = Command { helper: &self.helper, program: &program, extra, last };
                process::start(&command, limit, &self.running)
            })
            .map_err(ScriptOutcome::NotStarted);
        let (complained, id) = (self.complained.clone(), id.clone());
        async move {
            let started = match started {
                Ok(started) => started,
                Err(outcome) => return outcome,
            };
            match started.end(stop).await {
                Ok(outcome) => outcome,
                Err((error, text)) => {
                    if complained.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                        warn!("script not run: {text}");
                    }
                    ScriptOutcome::NotStarted(error)
                }
            }
        }
    }

    /// Ends every program under way (TERM, two seconds later KILL) and starts none any more.
    pub async fn stop(&self) {
        self.running.stopping.send_replace(true);
        let mut count = self.running.count.subscribe();
        let _limit = tokio::time::timeout(STOP_LIMIT, count.wait_for(|count| *count == 0)).await;
    }

    /// Programs under way.
    pub fn running(&self) -> usize {
        *self.running.count.borrow()
    }

    /// Reaps processes that were left to this one: the duty of process 1. Never ends; to be spawned by
    /// a daemon that is process 1 (or a subreaper), useless but harmless elsewhere.
    ///
    /// Only children started by this room are told from orphans: who else starts one (`nft`) must do without its
    /// status.
    pub async fn reap_orphans(&self) {
        reap::run(&self.running).await;
    }
}

/// TERM, KILL and their waits.
const STOP_LIMIT: Duration = Duration::from_secs(5);

impl Programs for ScriptRoom {
    fn run(&self, script: &ScriptId, limit: Duration) -> Pin<Box<dyn Future<Output = ScriptOutcome> + Send>> {
        Box::pin(self.run_with(script, &[], limit))
    }
}

/// A program's end in words, for logs.
pub fn describe(outcome: ScriptOutcome) -> String {
    match outcome {
        ScriptOutcome::Exited(status) => format!("exit status {status}"),
        ScriptOutcome::Signalled(signal) => format!("killed by signal {signal}"),
        ScriptOutcome::TimedOut(limit) => format!("timed out after {} s", limit.as_secs_f64()),
        ScriptOutcome::NotStarted(ScriptError::NotExecutable) => {
            "not run: not there or not executable for its user".into()
        }
        ScriptOutcome::NotStarted(ScriptError::Insecure) => {
            "not run: refused by enable_script_security".into()
        }
        ScriptOutcome::NotStarted(ScriptError::Resources) => {
            "not run: no processes or memory left, or lbd is stopping".into()
        }
    }
}
