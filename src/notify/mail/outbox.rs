//! Mails on their way: one at a time, in order, tried again for a bounded time; nobody waits for them.
//!
//! Not here: words (`super`), octets (`message`), the talk (`smtp`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lbd_grammar::config::MailServer;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Letter;
use super::message::message;
use super::smtp::{self, Failure};

/// Mails that may wait; one more pushes the oldest out.
pub const WAITING: usize = 1024;

/// When mails are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// After the relay failed; twice as long each time ...
    pub relay_first: Duration,
    /// ... up to this.
    pub relay_longest: Duration,
    /// After the relay refused a mail for now; four times as long each time, others go before it.
    pub mail_first: Duration,
    /// Times that the relay may refuse a mail for now.
    pub refusals: u32,
    /// A mail that was not sent so long after its event is given up.
    pub age: Duration,
}

impl Default for Pace {
    /// Of a refusing relay: after 5 s, 20 s, 80 s, 5 and 21 min, as greylisting wants.
    fn default() -> Self {
        Pace {
            relay_first: Duration::from_secs(1),
            relay_longest: Duration::from_secs(60),
            mail_first: Duration::from_secs(5),
            refusals: 6,
            age: Duration::from_secs(3600),
        }
    }
}

/// The queue and the task that empties it. Dropping it ends the task.
pub struct Outbox {
    inner: Arc<Inner>,
    abort: AbortHandle,
}

struct Inner {
    pace: Pace,
    waiting: Mutex<VecDeque<Entry>>,
    wake: Notify,
    /// Mails that wait or are under way.
    pending: watch::Sender<usize>,
    /// The daemon stops: each is tried once more, at once.
    closing: watch::Sender<bool>,
    pushed_out: AtomicU64,
    given_up: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    letter: Letter,
    /// Who has not got it.
    to: Vec<String>,
    refusals: u32,
    due: Instant,
    born: Instant,
}

/// A relay that failed.
struct Trouble {
    server: MailServer,
    pause: Duration,
    until: Instant,
    times: u64,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Outbox {
    /// Starts the task on the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(pace: Pace) -> Self {
        let inner = Arc::new(Inner {
            pace,
            waiting: Mutex::default(),
            wake: Notify::new(),
            pending: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            pushed_out: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        });
        let abort = tokio::spawn(inner.clone().work()).abort_handle();
        Outbox { inner, abort }
    }

    /// Queues a mail, without waiting.
    pub fn push(&self, letter: Letter) {
        let inner = &self.inner;
        let now = Instant::now();
        let to = letter.settings.to.clone();
        let mut waiting = inner.waiting();
        if waiting.len() >= WAITING {
            waiting.pop_front();
            inner.done();
            let lost = inner.pushed_out.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                warn!(lost, "too many mails wait for the relay, the oldest is not sent");
            }
        }
        inner.pending.send_modify(|pending| *pending += 1);
        waiting.push_back(Entry { letter, to, refusals: 0, due: now, born: now });
        drop(waiting);
        inner.wake.notify_one();
    }

    /// Tries all that wait once more, at once; what is not sent within `limit` is lost.
    pub async fn drain(&self, limit: Duration) {
        self.inner.closing.send_replace(true);
        self.inner.wake.notify_one();
        let mut pending = self.inner.pending.subscribe();
        let all = pending.wait_for(|pending| *pending == 0);
        if tokio::time::timeout(limit, all).await.is_err() {
            let lost = *self.inner.pending.borrow();
            self.abort.abort();
            warn!(lost, "mails are not sent: the relay did not take them before the stop");
        }
    }

    /// Mails pushed out by newer ones so far.
    #[cfg(test)]
    pub fn pushed_out(&self) -> u64 {
        self.inner.pushed_out.load(Ordering::Relaxed)
    }

    /// Mails, or recipients of one, given up so far.
    #[cfg(test)]
    pub fn given_up(&self) -> u64 {
        self.inner.given_up.load(Ordering::Relaxed)
    }
}

/// What the task does next.
enum Next {
    Send(Entry),
    Wait(Option<Instant>),
}

impl Inner {
    async fn work(self: Arc<Self>) {
        let mut trouble: Option<Trouble> = None;
        let mut closing = self.closing.subscribe();
        loop {
            match self.next(trouble.as_ref()) {
                Next::Send(entry) => self.attempt(entry, &mut trouble).await,
                Next::Wait(until) => {
                    let due = async {
                        match until {
                            Some(until) => tokio::time::sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = due => {}
                        () = self.wake.notified() => {}
                        Ok(()) = closing.changed() => {}
                    }
                }
            }
        }
    }

    /// The first that is due; those that the relay refused for now stand aside meanwhile.
    fn next(&self, trouble: Option<&Trouble>) -> Next {
        let now = Instant::now();
        let closing = *self.closing.borrow();
        let mut waiting = self.waiting();
        let due = |entry: &Entry| {
            let relay = trouble.filter(|trouble| trouble.server == entry.letter.settings.server);
            relay.map_or(entry.due, |trouble| trouble.until.max(entry.due))
        };
        if let Some(place) = waiting.iter().position(|entry| closing || due(entry) <= now)
            && let Some(entry) = waiting.remove(place)
        {
            return Next::Send(entry);
        }
        Next::Wait(waiting.iter().map(due).min())
    }

    async fn attempt(&self, mut entry: Entry, trouble: &mut Option<Trouble>) {
        // One that is under way when the stop begins is not the last.
        let last = *self.closing.borrow();
        let settings = entry.letter.settings.clone();
        let message = message(&entry.letter);
        let sent =
            smtp::send(&settings.server, &settings.helo, settings.limit, &settings.from, &entry.to, &message);
        let outcome = sent.await;
        let relay_works = !matches!(outcome, Err(Failure::Relay(_)));
        if relay_works && let Some(over) = trouble.take() {
            info!(failures = over.times, "mail relay {} answers again", named(&over.server));
        }
        match outcome {
            Ok(delivery) => {
                for (recipient, why) in delivery.refused {
                    self.lost(&entry.letter, &format!("recipient {recipient}: {why}"));
                }
                match delivery.later.first() {
                    Some((recipient, why)) => {
                        let why = format!("recipient {recipient}: {why}");
                        entry.to = delivery.later.iter().map(|(recipient, _)| recipient.clone()).collect();
                        self.later(entry, &why, last);
                    }
                    None => {
                        debug!(subject = entry.letter.subject, "mail sent");
                        self.done();
                    }
                }
            }
            Err(Failure::Never(why)) => {
                self.lost(&entry.letter, &why);
                self.done();
            }
            Err(Failure::Later(why)) => self.later(entry, &why, last),
            Err(Failure::Relay(why)) => {
                let pace = self.pace;
                let fresh = Trouble {
                    server: settings.server.clone(),
                    pause: pace.relay_first,
                    until: Instant::now(),
                    times: 0,
                };
                let before = trouble.take().filter(|trouble| trouble.server == settings.server);
                let mut now = before.unwrap_or(fresh);
                now.times += 1;
                now.until = Instant::now() + now.pause;
                if now.times.is_power_of_two() {
                    let after = now.pause.as_secs_f64();
                    let failures = now.times;
                    warn!(failures, "mail relay {}: {why}; tried again in {after} s", named(&now.server));
                }
                now.pause = (now.pause * 2).min(pace.relay_longest);
                *trouble = Some(now);
                if last {
                    // It would be the same for the others.
                    let others = std::mem::take(&mut *self.waiting()).len();
                    warn!(lost = others + 1, "mails are not sent: mail relay: {why}");
                    self.pending.send_modify(|pending| *pending = pending.saturating_sub(others));
                    self.done();
                } else {
                    let mut waiting = self.waiting();
                    waiting.push_front(entry);
                    waiting.retain(|entry| {
                        let keep = entry.born.elapsed() < pace.age;
                        if !keep {
                            self.lost(&entry.letter, &why);
                            self.done();
                        }
                        keep
                    });
                }
            }
        }
    }

    /// The relay does not take this one for now; `last`: nor is it asked again.
    fn later(&self, mut entry: Entry, why: &str, last: bool) {
        entry.refusals += 1;
        let over = entry.refusals >= self.pace.refusals || entry.born.elapsed() >= self.pace.age;
        if over || last {
            self.lost(&entry.letter, why);
            return self.done();
        }
        debug!(subject = entry.letter.subject, "mail is tried again later: {why}");
        let factor = 4_u32.saturating_pow(entry.refusals - 1);
        entry.due = Instant::now() + self.pace.mail_first.saturating_mul(factor).min(self.pace.age);
        self.waiting().push_front(entry);
    }

    fn lost(&self, letter: &Letter, why: &str) {
        let lost = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        // Powers of two: told, without a flood.
        if lost.is_power_of_two() {
            warn!(lost, subject = letter.subject, "mail is not sent: {why}");
        }
    }

    fn done(&self) {
        self.pending.send_modify(|pending| *pending = pending.saturating_sub(1));
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(server: &MailServer) -> String {
    use lbd_grammar::config::MailHost;
    match &server.host {
        MailHost::Address(address) => std::net::SocketAddr::new(*address, server.port.get()).to_string(),
        MailHost::Name(name) => format!("{name}:{}", server.port),
    }
}

#[cfg(test)]
mod tests;
