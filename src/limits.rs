//! Limits of resources that lbd changes for itself: how many descriptors it may have open (a check under
//! way has one, and a director may have tens of thousands of checks that hang), and how long VRRP may run
//! in real time without waiting.
//!
//! Here: setting them for this process, and what they were before, which programs that lbd runs get
//! back. Not here: setting them for those (`script::exec_helper`).

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

static INHERITED: OnceLock<u64> = OnceLock::new();
static REAL_TIME: Mutex<RealTime> = Mutex::new(RealTime { inherited: None, wanted: None, exceeded: 0 });

/// Soft limits of `RLIMIT_RTTIME` in microseconds.
struct RealTime {
    inherited: Option<u64>,
    wanted: Option<u64>,
    /// How often it was exceeded.
    exceeded: u64,
}

/// Raises the soft limit of descriptors (`RLIMIT_NOFILE`) to the hard one.
pub fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let _called_once = INHERITED.set(soft);
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    });
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is (RLIMIT_NOFILE)");
    }
}

/// The soft limit of descriptors before [`raise_descriptors`]; `None` if that was not called.
pub fn inherited_descriptors() -> Option<u64> {
    INHERITED.get().copied()
}

/// Sets how long a real-time thread of this process may run without waiting (`RLIMIT_RTTIME`, soft, in
/// microseconds, at most the hard limit); with `None` as it was before the first call. A thread that
/// exceeds it goes on: the kernel sends SIGXCPU, which is to be caught ([`real_time_exceeded`]).
///
/// Returns the hard limit in microseconds, which stays as it is and at which the kernel ends the process.
///
/// # Errors
/// What the kernel says.
pub fn limit_real_time(limit: Option<Duration>) -> nix::Result<u64> {
    let mut state = real_time();
    let (soft, hard) = getrlimit(Resource::RLIMIT_RTTIME)?;
    let inherited = *state.inherited.get_or_insert(soft);
    state.wanted = limit.map(|limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).min(hard));
    setrlimit(Resource::RLIMIT_RTTIME, state.wanted.unwrap_or(inherited), hard)?;
    Ok(hard)
}

/// The soft limit before [`limit_real_time`] in microseconds; `None` if that was not called.
pub fn inherited_real_time() -> Option<u64> {
    real_time().inherited
}

/// To be called on SIGXCPU: says so, and sets the limit again, which the kernel raises by a second each
/// time it is exceeded.
pub fn real_time_exceeded() {
    let mut state = real_time();
    state.exceeded += 1;
    let times = state.exceeded;
    let Some(wanted) = state.wanted else {
        if times.is_power_of_two() {
            warn!(times, "the limit of processor time is exceeded (RLIMIT_CPU, RLIMIT_RTTIME)");
        }
        return;
    };
    if times.is_power_of_two() {
        warn!(
            times,
            "VRRP ran for {wanted} us in real time without waiting (vrrp_rlimit_rttime); it goes on"
        );
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_RTTIME) {
        let _stays_raised = setrlimit(Resource::RLIMIT_RTTIME, wanted.min(hard), hard);
    }
}

fn real_time() -> MutexGuard<'static, RealTime> {
    REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
