//! Waiting with a deadline. Nothing in the bed sleeps to synchronise: it polls for what it wants to see, and says what was
//! missing when the deadline passes.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks of [`until`] and [`until_ok`].
const POLL: Duration = Duration::from_millis(10);

/// Lets time pass between two looks or two packets of a sender.
#[allow(
    clippy::disallowed_methods,
    reason = "the bed's only sleep: a poll interval or a send interval, never a synchronisation"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Polls `look` until it gives a value.
///
/// # Errors
/// When `limit` passes first; the message names `what`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    until_ok(what, limit, || look().ok_or("not seen"))
}

/// Polls `look` until it succeeds.
///
/// # Errors
/// When `limit` passes first; the message names `what` and the last error.
pub fn until_ok<T, E: Display>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= limit => bail!("{what}: not within {limit:?}: {error}"),
            Err(_) => pause(POLL),
        }
    }
}

/// Demands that `look` stays true for `time`.
///
/// # Errors
/// At the first look that fails, with its error.
pub fn throughout<E: Display>(
    what: &str,
    time: Duration,
    mut look: impl FnMut() -> Result<(), E>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(error) = look() {
            bail!("{what}: held for {:?} of {time:?} only: {error}", start.elapsed());
        }
        pause(POLL);
    }
    Ok(())
}

/// Sleeps again and again until told to stop; the most that it slept too long.
pub fn oversleep(stop: &AtomicBool) -> Duration {
    let worst = AtomicU64::new(0);
    watch_machine(stop, &worst);
    Duration::from_micros(worst.load(Ordering::Relaxed))
}

/// The same for who wants to know on the way: `worst` is the most so far, in microseconds.
pub fn watch_machine(stop: &AtomicBool, worst: &AtomicU64) {
    let nap = Duration::from_millis(10);
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        pause(nap);
        let late = start.elapsed().saturating_sub(nap).as_micros();
        worst.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
