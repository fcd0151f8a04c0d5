//! One task a checker, and the only timers of this crate.
//!
//! Here: when a check runs, and that its report is sent. Not here: what it does (`check`), what its
//! outcome means (`state`). Checks share nothing, so a slow one delays no other.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::check;
use crate::check::agent::Agent;
use crate::check::ping::Pings;
use crate::state::{CheckerState, CheckerView, Contribution, Next, Outcome, Step, Verdict};
use crate::tls::{TlsClient, TlsSettings};
use crate::types::{Check, CheckKind, ScriptId, ScriptOutcome};
use crate::warning::Warnings;

/// What checks need of the process around them; shared by all checkers.
pub struct Tools {
    /// Runs the programs of MISC_CHECKs.
    pub programs: Arc<dyn Programs>,
    /// The files of FILE_CHECKs.
    pub files: Arc<dyn Files>,
    /// Sockets of PING_CHECKs.
    pub pings: Pings,
    /// Since when the beat goes on which checks begin together; without it each begins at its own time.
    pub beat: Option<Instant>,
    /// Settings of SSL_GETs; a reload replaces them.
    pub tls: TlsClient,
}

impl Tools {
    /// With these programs; without files, client certificate and verification.
    pub fn new(programs: Arc<dyn Programs>) -> Self {
        Tools {
            programs,
            files: Arc::new(NoFiles),
            pings: Pings::default(),
            beat: None,
            tls: TlsClient::new(TlsSettings::default()),
        }
    }

    /// With these files.
    pub fn with_files(self, files: Arc<dyn Files>) -> Self {
        Tools { files, ..self }
    }

    /// Checks begin on a common beat of 5 ms (a hundredth of the time between two checks where that is
    /// less): the daemon and what it wakes get up once for all that are due.
    pub fn with_beat(self) -> Self {
        Tools { beat: Some(Instant::now()), ..self }
    }
}

/// Runs programs for MISC_CHECK; `src` has the one implementation, tests have fakes.
pub trait Programs: Send + Sync + 'static {
    /// Runs `script`; after `limit` it is ended and the outcome is [`ScriptOutcome::TimedOut`].
    /// Dropping the future ends the program with its whole process group.
    fn run(&self, script: &ScriptId, limit: Duration) -> Pin<Box<dyn Future<Output = ScriptOutcome> + Send>>;
}

/// Files with a number for FILE_CHECK; `src` has the one implementation, tests have fakes.
pub trait Files: Send + Sync + 'static {
    /// The number of the track_file of this name, now and as it changes: `None` until it was read.
    /// When the sender is gone the file is tracked no more.
    fn watch(&self, name: &str) -> Option<watch::Receiver<Option<i64>>>;
}

struct NoFiles;

impl Files for NoFiles {
    fn watch(&self, _: &str) -> Option<watch::Receiver<Option<i64>>> {
        None
    }
}

/// What is known of a checker when its task starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its assumed state.
    pub up: bool,
    /// It reached a verdict earlier (reload, restart).
    pub has_run: bool,
    /// What it added to the weight.
    pub contribution: Contribution,
    /// Retries that it had used up (reload).
    pub tries: u32,
    /// Delay of the first check; `None` is 1 s plus a random part of warmup, as keepalived does.
    pub first: Option<Duration>,
}

impl Start {
    /// Of a checker that never ran: up unless alpha.
    pub fn new(check: &Check) -> Self {
        Start {
            up: !check.starts_down(),
            has_run: false,
            contribution: Contribution::None,
            tries: 0,
            first: None,
        }
    }

    /// The same where the answer is there already: a FILE_CHECK begins with what its file says.
    pub fn informed(check: &Check, tools: &Tools) -> Self {
        let mut start = Start::new(check);
        if let CheckKind::File(file) = &check.kind
            && let Some(number) = tools.files.watch(&file.file).and_then(|numbers| *numbers.borrow())
        {
            let mut state = CheckerState::resume(check, start.view(), 0);
            let step = state.on_outcome(check, &check::file::judge(file, number));
            (start.up, start.has_run, start.contribution) = (step.up, true, step.contribution);
        }
        start
    }

    /// What the real server is to assume until the first report.
    pub fn view(&self) -> CheckerView {
        CheckerView { up: self.up, has_run: self.has_run, contribution: self.contribution }
    }
}

/// What one run of a checker found. Sent after each run, also when nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// State of the checker now.
    pub up: bool,
    /// It reached a verdict, now or earlier.
    pub has_run: bool,
    /// The state is another than before.
    pub changed: bool,
    /// What it adds to the server's weight.
    pub contribution: Contribution,
    /// First verdict of this checker.
    pub first: bool,
    /// It failed without a change of state (a retry follows, or it was down already).
    pub failed_try: bool,
    /// Retries used up now.
    pub tries: u32,
    /// Outcome in words.
    pub reason: Arc<str>,
    /// What somebody should look at although the server is good; it stays until a good run has none.
    pub warning: Option<Arc<str>>,
    /// The warning is another than the last one of this url: to be told once.
    pub new_warning: bool,
    /// End of the run.
    pub at: SystemTime,
    /// Duration of the run.
    pub latency: Duration,
}

impl Report {
    fn new(state: &CheckerState, step: Step, reason: Arc<str>, latency: Duration) -> Self {
        Report {
            up: step.up,
            has_run: state.has_run(),
            changed: step.changed,
            contribution: step.contribution,
            first: step.first,
            failed_try: step.failed_try,
            tries: state.tries(),
            reason,
            warning: None,
            new_warning: false,
            at: SystemTime::now(),
            latency,
        }
    }

    /// For [`ServerState::set`](crate::state::ServerState::set).
    pub fn view(&self) -> CheckerView {
        CheckerView { up: self.up, has_run: self.has_run, contribution: self.contribution }
    }
}

/// A running checker. Dropping it ends the task and with it a check or program under way.
#[derive(Debug)]
pub struct CheckerHandle(AbortHandle);

impl Drop for CheckerHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a checker on the current tokio runtime.
///
/// `key` comes back with each report. While `suspended` is true (ha_suspend) no check is made and the
/// state stays. A full `reports` makes this checker wait and delays its own next run only; the task
/// ends when the receiver is gone.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn<K: Clone + Send + 'static>(
    key: K,
    check: Arc<Check>,
    start: Start,
    tools: Arc<Tools>,
    suspended: watch::Receiver<bool>,
    reports: mpsc::Sender<(K, Report)>,
) -> CheckerHandle {
    if let CheckKind::File(file) = &check.kind {
        // Without ha_suspend, as keepalived: a file is as good as before, whoever has the address.
        let numbers = tools.files.watch(&file.file);
        return CheckerHandle(tokio::spawn(follow(key, check, start, numbers, reports)).abort_handle());
    }
    let due = Instant::now() + start.first.unwrap_or_else(|| first_delay(&check));
    CheckerHandle(tokio::spawn(drive(key, check, start, due, tools, suspended, reports)).abort_handle())
}

/// 1 s plus a random part of warmup, so that thousands of checks don't start together.
fn first_delay(check: &Check) -> Duration {
    FIRST_CHECK + check.schedule.warmup.mul_f64(fastrand::f64())
}

const FIRST_CHECK: Duration = Duration::from_secs(1);

async fn drive<K: Clone>(
    key: K,
    check: Arc<Check>,
    start: Start,
    mut due: Instant,
    tools: Arc<Tools>,
    mut suspended: watch::Receiver<bool>,
    reports: mpsc::Sender<(K, Report)>,
) {
    let mut state = CheckerState::resume(&check, start.view(), start.tries);
    // Boxed: few checkers have one.
    let mut agent = Agent::of(&check, start.up, start.contribution).map(Box::new);
    let mut complained = false;
    let mut warnings = Warnings::default();
    loop {
        sleep_until(due).await;
        if *suspended.borrow() {
            if suspended.wait_for(|suspended| !suspended).await.is_err() {
                return;
            }
            // Back into the old rhythm, not all checkers at once.
            due = rejoin(due, Instant::now(), check.schedule.delay_loop);
            continue;
        }
        let began = Instant::now();
        let url = state.url();
        let outcome = match (&check.kind, &mut agent) {
            (CheckKind::Agent(of), Some(agent)) => unwound(Box::pin(check::agent::run(of, agent))).await,
            _ => unwound(check::run(&check, url, &tools)).await,
        };
        let ended = Instant::now();
        if *suspended.borrow() {
            due = ended;
            continue;
        }
        let ours = outcome.verdict == Verdict::Unknown;
        if ours && !complained {
            tracing::warn!(check = check.kind.keyword(), target = %target(&check), reason = %outcome.reason,
                "check could not be made; the server's state stays as it is");
        }
        complained = ours;
        let new_warning = warnings.note(url, &outcome);
        let step = state.on_outcome(&check, &outcome);
        let report = Report {
            warning: warnings.shown(),
            new_warning,
            ..Report::new(&state, step, outcome.reason, ended - began)
        };
        if reports.send((key.clone(), report)).await.is_err() {
            return;
        }
        due = match step.next {
            Next::AfterEnd(delay) => on_beat(tools.beat, ended, delay),
            Next::AfterStart(delay) => on_beat(tools.beat, began, delay),
        };
    }
}

/// `delay` after `from`, at the nearest beat.
fn on_beat(beat: Option<Instant>, from: Instant, delay: Duration) -> Instant {
    let due = from + delay;
    let period = (delay / BEATS).min(BEAT);
    match beat {
        Some(origin) if period >= TICK => {
            let since = due.saturating_duration_since(origin) + period / 2;
            let over = since.as_nanos() % period.as_nanos();
            origin + since.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or_default()))
        }
        _ => due,
    }
}

const BEAT: Duration = Duration::from_millis(5);
/// Beats from one check to the next, at least: no check is early or late by more than 0.5 % of its time.
const BEATS: u32 = 100;
/// The runtime's timers are no finer.
const TICK: Duration = Duration::from_millis(1);

/// A checker that is told: of what its file says, at once and whenever that changes.
async fn follow<K: Clone>(
    key: K,
    check: Arc<Check>,
    start: Start,
    numbers: Option<watch::Receiver<Option<i64>>>,
    reports: mpsc::Sender<(K, Report)>,
) {
    let CheckKind::File(file) = &check.kind else { return };
    let mut state = CheckerState::resume(&check, start.view(), start.tries);
    let Some(mut numbers) = numbers else {
        let outcome = Outcome::unknown(format!("{}: no such track_file", file.file));
        let step = state.on_outcome(&check, &outcome);
        let report = Report::new(&state, step, outcome.reason, Duration::ZERO);
        let _gone = reports.send((key, report)).await;
        return;
    };
    loop {
        let number = *numbers.borrow_and_update();
        if let Some(number) = number {
            let outcome = check::file::judge(file, number);
            let step = state.on_outcome(&check, &outcome);
            let report = Report::new(&state, step, outcome.reason, Duration::ZERO);
            if reports.send((key.clone(), report)).await.is_err() {
                return;
            }
        }
        if numbers.changed().await.is_err() {
            return;
        }
    }
}

/// The first of `due`, `due + period`, … that is not before `now`.
fn rejoin(due: Instant, now: Instant, period: Duration) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let period = period.as_nanos().max(1);
    let missing = (period - late % period) % period;
    now + Duration::from_nanos(u64::try_from(missing).unwrap_or_default())
}

/// A panic in a check ends this run, not the checker: it is tried again after delay_loop.
async fn unwound(run: impl Future<Output = Outcome>) -> Outcome {
    let mut run = std::pin::pin!(run);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))).unwrap_or_else(|_| {
            tracing::error!("a check panicked; this is a bug in lbd");
            Poll::Ready(Outcome::unknown("internal error: the check panicked"))
        })
    })
    .await
}

fn target(check: &Check) -> String {
    match (check.kind.connection(), check.kind.script()) {
        (Some(connection), _) => connection.target.to_string(),
        (None, Some(script)) => script.0.replace('\0', " "),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
#[path = "runner/tests.rs"]
mod tests;
