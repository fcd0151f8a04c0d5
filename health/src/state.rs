//! What results mean: one checker's state, and one real server's over its checkers.
//!
//! Here: retry rules, alpha, weights; plain values and functions. Not here: clocks and sockets
//! (`runner`, `check`), quorum and IPVS (the director's).

use std::sync::Arc;
use std::time::Duration;

use crate::types::{Check, CheckKind};

/// How one run of a checker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it says about the server.
    pub verdict: Verdict,
    /// The same in words, for status, events and logs: `connected`, `status 503, wanted 200`.
    pub reason: Arc<str>,
    /// What somebody should look at although the server is good: `certificate expires in 13 days …`.
    pub warning: Option<Arc<str>>,
}

impl Outcome {
    /// The server answered as it should.
    pub fn good(reason: impl Into<Arc<str>>) -> Self {
        Outcome { verdict: Verdict::Good(Contribution::None), reason: reason.into(), warning: None }
    }

    /// The server did not.
    pub fn bad(reason: impl Into<Arc<str>>) -> Self {
        Outcome { verdict: Verdict::Bad, reason: reason.into(), warning: None }
    }

    /// The check could not be made, which says nothing about the server.
    pub fn unknown(reason: impl Into<Arc<str>>) -> Self {
        Outcome { verdict: Verdict::Unknown, reason: reason.into(), warning: None }
    }

    /// The same with a contribution to the weight, where it is good.
    pub fn contributing(mut self, contribution: Contribution) -> Self {
        if let Verdict::Good(own) = &mut self.verdict {
            *own = contribution;
        }
        self
    }

    /// The same with a warning.
    pub fn warned(mut self, warning: Option<Arc<str>>) -> Self {
        self.warning = warning;
        self
    }

    /// Nobody answered who knows how the server is.
    pub fn silent(reason: impl Into<Arc<str>>) -> Self {
        Outcome { verdict: Verdict::Silent, reason: reason.into(), warning: None }
    }
}

/// What one run says about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good, with what it contributes to the weight.
    Good(Contribution),
    /// Bad.
    Bad,
    /// Nothing: a problem on this host (address to bind missing, no sockets left).
    Unknown,
    /// Nothing: who was asked about the server did not answer, which is not the server's fault.
    Silent,
}

/// What a checker contributes to its server's weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contribution {
    /// Nothing.
    #[default]
    None,
    /// The difference between this weight and the configured one (misc_dynamic), so that the weight is
    /// this one where no other checker contributes.
    Weight(u32),
    /// This much.
    Add(i64),
    /// The difference between this part of the configured weight, in percent, and the whole. A part
    /// is rounded down, and at least 1; none (0 %) leaves no weight, whatever others contribute.
    Percent(u32),
}

impl Contribution {
    /// As a number to add, for a server of this configured weight.
    pub fn relative_to(self, configured: u32) -> i64 {
        match self {
            Contribution::None => 0,
            Contribution::Weight(weight) => i64::from(weight) - i64::from(configured),
            Contribution::Add(value) => value,
            Contribution::Percent(percent) => {
                let part = i64::from(configured) * i64::from(percent) / 100;
                let least = i64::from(percent.min(configured).min(1));
                part.max(least) - i64::from(configured)
            }
        }
    }
}

/// When the next run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This long after the end of this run.
    AfterEnd(Duration),
    /// This long after the start of this run, at once if that is over already.
    AfterStart(Duration),
}

/// What follows from one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When to run again.
    pub next: Next,
    /// State of the checker now.
    pub up: bool,
    /// The state is another than before.
    pub changed: bool,
    /// This is the first verdict (of a whole pass over the urls for HTTP_GET).
    pub first: bool,
    /// The run failed and changed nothing: it is retried, or the checker was down already. To be
    /// logged only with log_all_failures.
    pub failed_try: bool,
    /// Contribution to the weight now.
    pub contribution: Contribution,
}

/// State of one checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckerState {
    up: bool,
    has_run: bool,
    /// Failed tries since the last success; starts at `retry`, so that the first run counts at once.
    tries: u32,
    contribution: Contribution,
    /// Url of the next run.
    url: usize,
    /// The url because of which it is down: asked alone until it answers.
    url_failed: bool,
}

impl CheckerState {
    /// A checker that never ran: up, or down with alpha.
    pub fn new(check: &Check) -> Self {
        Self::resume(check, CheckerView::new(check), 0)
    }

    /// A checker of which an earlier process (or configuration) knew the state, with so many retries used.
    pub fn resume(check: &Check, known: CheckerView, tries: u32) -> Self {
        CheckerState {
            up: known.up,
            has_run: known.has_run,
            tries: if known.has_run { tries.min(check.schedule.retry) } else { check.schedule.retry },
            contribution: known.contribution,
            url: 0,
            url_failed: false,
        }
    }

    /// Good now (or assumed to be).
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// A verdict was reached.
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// Retries used since the last success or failure.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Index of the url to ask in the next run; 0 for other checkers.
    pub fn url(&self) -> usize {
        self.url
    }

    /// Takes the outcome of a run of `check` (always the same one).
    pub fn on_outcome(&mut self, check: &Check, outcome: &Outcome) -> Step {
        let before = (self.up, self.has_run);
        let delay = match (outcome.verdict, &check.kind) {
            // Ours, not the server's: tried again later, nothing is concluded.
            (Verdict::Unknown | Verdict::Silent, _) => check.schedule.delay_loop,
            (Verdict::Good(_), CheckKind::Http(http)) => {
                self.on_url_good(http.urls.len(), http.fast_recovery, check)
            }
            (Verdict::Bad, CheckKind::Http(_)) => self.on_url_bad(check),
            // Who says so knows: nothing is gained by asking again.
            (Verdict::Bad, CheckKind::File(_) | CheckKind::Agent(_)) => {
                self.fail();
                check.schedule.delay_loop
            }
            (Verdict::Good(contribution), _) => {
                self.succeed(contribution);
                check.schedule.delay_loop
            }
            (Verdict::Bad, _) => {
                if self.may_retry(check) {
                    check.schedule.delay_before_retry
                } else {
                    self.fail();
                    check.schedule.delay_loop
                }
            }
        };
        let changed = self.up != before.0;
        Step {
            next: match check.kind {
                CheckKind::Misc(_) => Next::AfterStart(delay),
                _ => Next::AfterEnd(delay),
            },
            up: self.up,
            changed,
            first: self.has_run && !before.1,
            failed_try: outcome.verdict == Verdict::Bad && !changed,
            contribution: self.contribution,
        }
    }

    /// One url answered: the next one is asked; up needs a whole pass.
    fn on_url_good(&mut self, urls: usize, fast_recovery: bool, check: &Check) -> Duration {
        self.tries = 0;
        if self.url_failed {
            // The url that was asked alone answers again: all urls from the first.
            self.url_failed = false;
            self.url = 0;
        } else {
            self.url += 1;
            if self.url >= urls {
                self.url = 0;
                self.succeed(Contribution::None);
            }
        }
        // No url is known to fail here, so that being down or not having run means recovering.
        let recovering = !self.has_run || !self.up;
        if fast_recovery && recovering { Duration::ZERO } else { check.schedule.delay_loop }
    }

    /// One url failed: it is retried while up, and stays the one that is asked.
    fn on_url_bad(&mut self, check: &Check) -> Duration {
        if self.may_retry(check) {
            return check.schedule.delay_before_retry;
        }
        self.fail();
        self.url_failed = true;
        check.schedule.delay_before_retry.max(check.schedule.delay_loop)
    }

    /// Uses up one retry, if the checker is up and has one left.
    fn may_retry(&mut self, check: &Check) -> bool {
        let retry = self.up && self.tries < check.schedule.retry;
        if retry {
            self.tries += 1;
        }
        retry
    }

    fn succeed(&mut self, contribution: Contribution) {
        self.up = true;
        self.has_run = true;
        self.tries = 0;
        self.contribution = contribution;
    }

    fn fail(&mut self) {
        self.up = false;
        self.has_run = true;
        self.tries = 0;
        self.contribution = Contribution::None;
    }
}

/// One checker as its real server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckerView {
    /// Good, or assumed to be.
    pub up: bool,
    /// It reached a verdict.
    pub has_run: bool,
    /// What it adds to the weight.
    pub contribution: Contribution,
}

impl CheckerView {
    /// A checker that never ran.
    pub fn new(check: &Check) -> Self {
        CheckerView { up: !check.starts_down(), has_run: false, contribution: Contribution::None }
    }
}

/// State of a real server: up while none of its checkers fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerState {
    checkers: Vec<CheckerView>,
}

/// What a result changed about a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerChange {
    /// It went up (`true`) or down.
    pub up: Option<bool>,
    /// Its contributions changed, and with them maybe its weight.
    pub weight: bool,
}

impl ServerState {
    /// A server with these checkers, none of which ran; without checkers it is always up.
    pub fn new(checks: &[Check]) -> Self {
        Self::resume(checks.iter().map(CheckerView::new).collect())
    }

    /// A server whose checkers' states are known (reload, restart), in the order of its checks.
    pub fn resume(checkers: Vec<CheckerView>) -> Self {
        ServerState { checkers }
    }

    /// Its checkers, in order.
    pub fn checkers(&self) -> &[CheckerView] {
        &self.checkers
    }

    /// No checker fails.
    pub fn is_up(&self) -> bool {
        self.failed() == 0
    }

    /// Number of checkers that fail; at the start, of those with alpha.
    pub fn failed(&self) -> usize {
        self.checkers.iter().filter(|checker| !checker.up).count()
    }

    /// Takes the state of the checker with this index; an index that does not exist changes nothing.
    pub fn set(&mut self, index: usize, view: CheckerView) -> ServerChange {
        let before = self.is_up();
        let Some(checker) = self.checkers.get_mut(index) else {
            return ServerChange::default();
        };
        let weight = checker.contribution != view.contribution;
        *checker = view;
        let after = self.is_up();
        ServerChange { up: (before != after).then_some(after), weight }
    }

    /// Configured weight plus contributions, within 0..=2³¹-1 (the kernel's weight is an i32).
    pub fn effective_weight(&self, configured: u32) -> u32 {
        if self.checkers.iter().any(|checker| checker.contribution == Contribution::Percent(0)) {
            return 0;
        }
        let contributions = self
            .checkers
            .iter()
            .fold(0_i64, |sum, checker| sum.saturating_add(checker.contribution.relative_to(configured)));
        let weight = i64::from(configured).saturating_add(contributions).clamp(0, i64::from(i32::MAX));
        u32::try_from(weight).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
