//! Limits of resources and rights of the whole process, as far as lbd changes or asks for them: how many
//! descriptors it may have open (a check under way has one, and a director may have tens of thousands of
//! checks that hang), how long a thread may run in real time without waiting, locked memory, core dumps,
//! permissions of new files, capabilities.
//!
//! Here: setting them for this process, and what they were before, which programs that lbd runs get
//! back. Not here: setting them for those (`script::exec_helper`), and what is a single thread's
//! (`scheduling`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use tracing::warn;

static INHERITED: OnceLock<u64> = OnceLock::new();
static CORE: OnceLock<u64> = OnceLock::new();
static REAL_TIME: Mutex<RealTime> =
    Mutex::new(RealTime { inherited: None, claims: BTreeMap::new(), exceeded: 0 });
static LOCKED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Soft limits of `RLIMIT_RTTIME` in microseconds.
struct RealTime {
    inherited: Option<u64>,
    /// By who wants it.
    claims: BTreeMap<u32, u64>,
    /// How often it was exceeded.
    exceeded: u64,
}

impl RealTime {
    /// The process has one: the longest that a thread may take.
    fn wanted(&self) -> Option<u64> {
        self.claims.values().copied().max()
    }
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
/// microseconds, at most the hard limit); with `None` `claim` wants nothing any more, and without any claim
/// it is as it was before the first call. Of several the longest holds. A thread that exceeds it goes on:
/// the kernel sends SIGXCPU, which is to be caught ([`real_time_exceeded`]).
///
/// Returns the hard limit in microseconds, which stays as it is and at which the kernel ends the process.
///
/// # Errors
/// What the kernel says.
pub fn limit_real_time(claim: u32, limit: Option<Duration>) -> nix::Result<u64> {
    let mut state = real_time();
    let (soft, hard) = getrlimit(Resource::RLIMIT_RTTIME)?;
    let inherited = *state.inherited.get_or_insert(soft);
    match limit {
        Some(limit) => {
            let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).min(hard);
            state.claims.insert(claim, micros);
        }
        None => {
            state.claims.remove(&claim);
        }
    }
    setrlimit(Resource::RLIMIT_RTTIME, state.wanted().unwrap_or(inherited), hard)?;
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
    let Some(wanted) = state.wanted() else {
        if times.is_power_of_two() {
            warn!(times, "the limit of processor time is exceeded (RLIMIT_CPU, RLIMIT_RTTIME)");
        }
        return;
    };
    if times.is_power_of_two() {
        warn!(
            times,
            "a thread ran for {wanted} us in real time without waiting (vrrp_rlimit_rttime, \
             checker_rlimit_rttime); it goes on"
        );
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_RTTIME) {
        let _stays_raised = setrlimit(Resource::RLIMIT_RTTIME, wanted.min(hard), hard);
    }
}

fn real_time() -> MutexGuard<'static, RealTime> {
    REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the memory of this process from being paged out as long as anybody claims it.
///
/// # Errors
/// What the kernel says.
pub fn lock_memory(claim: u32, wanted: bool) -> nix::Result<()> {
    let mut claims = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    if wanted {
        // On fault: what is reserved and never used (stacks, arenas) takes no memory.
        let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
        mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
        claims.insert(claim);
    } else if claims.remove(&claim) && claims.is_empty() {
        munlockall()?;
    }
    Ok(())
}

/// Octets that may be locked; `None` if there is no limit, or none that can be read.
pub fn lockable_memory() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// Raises the soft limit of core dumps (`RLIMIT_CORE`) as far as it goes: without a limit where the rights
/// are there, else to the hard one.
///
/// # Errors
/// What the kernel says.
pub fn allow_core_dumps() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    let _called_once = CORE.set(soft);
    setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY)
        .or_else(|_| setrlimit(Resource::RLIMIT_CORE, hard, hard))
}

/// The soft limit of core dumps before [`allow_core_dumps`]; `None` if that was not called.
pub fn inherited_core_dumps() -> Option<u64> {
    CORE.get().copied()
}

/// Sets the permissions that new files of this process do not get.
pub fn mask_files(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

/// Whether this thread has a capability; where that cannot be read the kernel will say so later.
pub fn has_capability(bit: u32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return true };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_none_or(|set| set >> bit & 1 == 1)
}
