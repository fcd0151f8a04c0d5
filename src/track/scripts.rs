//! vrrp_script: programs that run again and again and are good or bad.
//!
//! Here: rise and fall ([`ScriptState`], pure) and one task a script. Not here: weights and FAULT
//! (`lbd_vrrp`), which scripts are tracked (the caller).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lbd_grammar::config::VrrpScript;
use lbd_health::{Programs, ScriptError, ScriptOutcome};
use lbd_vrrp::TrackerId;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::event::{Event, EventSender};
use crate::script::describe;

/// Whether a script counts as good, from the results of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptState {
    rise: u32,
    fall: u32,
    /// `None` before the first result.
    good: Option<bool>,
    /// Results in a row against `good`.
    against: u32,
}

impl ScriptState {
    /// Without a result; `rise` and `fall` of 0 count as 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self::resume(rise, fall, None)
    }

    /// With a verdict from before.
    pub fn resume(rise: u32, fall: u32, good: Option<bool>) -> Self {
        ScriptState { rise: rise.max(1), fall: fall.max(1), good, against: 0 }
    }

    /// The verdict, if there is one.
    pub fn good(&self) -> Option<bool> {
        self.good
    }

    /// Takes the result of a run; the new verdict, if this run changed it. The first result counts at
    /// once, whatever rise and fall.
    pub fn on_result(&mut self, success: bool) -> Option<bool> {
        let Some(good) = self.good else {
            self.good = Some(success);
            return self.good;
        };
        if success == good {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if good { self.fall } else { self.rise } {
            return None;
        }
        self.against = 0;
        self.good = Some(success);
        self.good
    }
}

/// Runs the tracked scripts. Dropping it ends them.
pub struct Tracker {
    shared: Arc<Shared>,
    scripts: HashMap<Arc<str>, Task>,
}

struct Shared {
    programs: Arc<dyn Programs>,
    publish: Box<dyn Fn(TrackerId, bool) + Send + Sync>,
    events: EventSender,
}

struct Task {
    script: VrrpScript,
    good: Arc<Mutex<Option<bool>>>,
    abort: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Between two looks for the first verdicts.
const POLL: Duration = Duration::from_millis(5);

impl Tracker {
    /// Starts each script at once and then every interval; `publish` gets each change of a verdict.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        programs: Arc<dyn Programs>,
        scripts: Vec<(Arc<str>, VrrpScript)>,
        publish: impl Fn(TrackerId, bool) + Send + Sync + 'static,
        events: EventSender,
    ) -> Self {
        let shared = Arc::new(Shared { programs, publish: Box::new(publish), events });
        let mut tracker = Tracker { shared, scripts: HashMap::new() };
        tracker.reload(scripts);
        tracker
    }

    /// Takes another set of scripts. Unchanged ones go on undisturbed; the same program with other times
    /// keeps its verdict; verdicts that are known are published again, for instances that are new.
    pub fn reload(&mut self, scripts: Vec<(Arc<str>, VrrpScript)>) {
        let mut before = std::mem::take(&mut self.scripts);
        for (name, script) in scripts {
            let known = before.remove(&name).filter(|task| task.script.script == script.script);
            let good = known.as_ref().and_then(|task| *lock(&task.good));
            if let Some(good) = good {
                (self.shared.publish)(TrackerId::script(name.clone()), good);
            }
            let task = match known {
                Some(task) if task.script == script => task,
                other => {
                    let first = match other {
                        // Its last run is hardly older than the shorter of the intervals.
                        Some(task) => Instant::now() + script.interval.min(task.script.interval),
                        None => Instant::now(),
                    };
                    self.spawn(&name, script, good, first)
                }
            };
            self.scripts.insert(name, task);
        }
    }

    /// Waits until every script has a verdict, at most `limit`.
    pub async fn settled(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.scripts.values().any(|task| lock(&task.good).is_none()) && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Verdict of a script; `None` before its first result, and for unknown names.
    pub fn good(&self, name: &str) -> Option<bool> {
        self.scripts.get(name).and_then(|task| *lock(&task.good))
    }

    fn spawn(&self, name: &Arc<str>, script: VrrpScript, good: Option<bool>, first: Instant) -> Task {
        let verdict = Arc::new(Mutex::new(good));
        let run = run(self.shared.clone(), name.clone(), script.clone(), verdict.clone(), first);
        Task { script, good: verdict, abort: tokio::spawn(run).abort_handle() }
    }
}

async fn run(
    shared: Arc<Shared>,
    name: Arc<str>,
    script: VrrpScript,
    verdict: Arc<Mutex<Option<bool>>>,
    mut due: Instant,
) {
    let mut state = ScriptState::resume(script.rise, script.fall, *lock(&verdict));
    let mut late = false;
    loop {
        sleep_until(due).await;
        let outcome = shared.programs.run(&script.script, script.timeout).await;
        // No processes left says nothing about what the script checks.
        if outcome != ScriptOutcome::NotStarted(ScriptError::Resources)
            && let Some(good) = state.on_result(outcome == ScriptOutcome::Exited(0))
        {
            *lock(&verdict) = Some(good);
            (shared.publish)(TrackerId::script(name.clone()), good);
            shared.events.send(Event::Script { name: name.clone(), good, reason: describe(outcome) });
        }
        let skipped = skip(&mut due, Instant::now(), script.interval);
        if skipped > 0 && !late {
            info!(script = %name, skipped, "Script {name} is still running when it is due, run skipped");
        }
        late = skipped > 0;
    }
}

/// Moves `due` to its next multiple of `period` that is not before `now`; how many were left out.
fn skip(due: &mut Instant, now: Instant, period: Duration) -> u128 {
    let period = period.max(SHORTEST);
    let late = now.saturating_duration_since(*due).as_nanos();
    let (skipped, rest) = (late / period.as_nanos(), late % period.as_nanos());
    let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or_default());
    if skipped > 0 && rest.is_zero() {
        *due = now;
        return skipped - 1;
    }
    *due = now + (period - rest);
    skipped
}

/// Nothing is run more often than this.
const SHORTEST: Duration = Duration::from_millis(1);

fn lock(verdict: &Mutex<Option<bool>>) -> std::sync::MutexGuard<'_, Option<bool>> {
    verdict.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "scripts/tests.rs"]
mod tests;
