//! Scheduling of the VRRP thread: vrrp_rt_priority, vrrp_rlimit_rttime, vrrp_priority, vrrp_no_swap,
//! vrrp_cpu_affinity.
//!
//! Class, nice value and CPUs are the thread's alone; scripts start from another one and have none of it.
//! The limit of real time and locked memory are the process's. Here: what is wanted is put into effect,
//! and undone when it is no longer wanted. Not here: the limit of real time for scripts (`crate::limits`,
//! `crate::script`), its signal (`crate::signals`).

mod sys;

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::num::NonZeroU8;
use std::time::Duration;

use lbd_grammar::config::Scheduling;
use libc::c_int;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;

use crate::limits;

/// vrrp_rlimit_rttime where the keyword is absent.
const REAL_TIME_LIMIT: Duration = Duration::from_millis(10);
/// Bit of CAP_IPC_LOCK in the capability sets.
const CAP_IPC_LOCK: u32 = 14;
/// The calling thread.
const HERE: Pid = Pid::from_raw(0);

/// Scheduling of the thread on which it was made, which it never leaves.
#[derive(Debug)]
pub struct ThreadScheduling {
    /// What the thread had, where it can be read.
    class: Option<(c_int, c_int)>,
    nice: Option<c_int>,
    cpus: Option<CpuSet>,
    /// What is not as the thread had it.
    changed: Changed,
    _of_this_thread: PhantomData<*const ()>,
}

#[derive(Debug, Default)]
struct Changed {
    class: bool,
    nice: bool,
    cpus: bool,
    limit: bool,
    memory: bool,
}

impl ThreadScheduling {
    /// Of the calling thread, as it is now: what it goes back to when a keyword is taken away.
    pub fn here() -> Self {
        ThreadScheduling {
            class: sys::class().ok(),
            nice: sys::nice().ok(),
            cpus: sched_getaffinity(HERE).ok(),
            changed: Changed::default(),
            _of_this_thread: PhantomData,
        }
    }

    /// Puts the keywords into effect; what is absent becomes what it was at first, and is left alone if it
    /// never was anything else. To be called at the start and after each reload; the same again does no harm.
    ///
    /// Returns a line for each keyword that could not be served, with what is missing; the others are
    /// served all the same.
    pub fn apply(&mut self, wanted: &Scheduling) -> Vec<String> {
        let complaints = [
            self.run_on(&wanted.cpus),
            self.be_nice(wanted.nice),
            self.be_real_time(wanted.realtime),
            self.limit(wanted.realtime_limit),
            self.lock_memory(wanted.no_swap),
        ];
        complaints.into_iter().flatten().collect()
    }

    fn run_on(&mut self, cpus: &BTreeSet<u16>) -> Option<String> {
        if cpus.is_empty() {
            if std::mem::take(&mut self.changed.cpus)
                && let Some(before) = &self.cpus
                && let Err(errno) = sched_setaffinity(HERE, before)
            {
                return Some(format!("vrrp_cpu_affinity is gone, its CPUs stay: {}", errno.desc()));
            }
            return None;
        }
        let mut set = CpuSet::new();
        // What does not fit into the set is missing afterwards.
        for cpu in cpus {
            let _too_high = set.set(usize::from(*cpu));
        }
        match sched_setaffinity(HERE, &set) {
            Ok(()) => self.changed.cpus = true,
            // No CPU of the set is there.
            Err(Errno::EINVAL) => {
                return Some(format!(
                    "vrrp_cpu_affinity {}: this host has no such CPU, or lbd may not use it; VRRP runs on the \
                     CPUs that it had",
                    listed(cpus.iter())
                ));
            }
            Err(errno) => {
                return Some(refused("vrrp_cpu_affinity", &listed(cpus.iter()), errno, "CAP_SYS_NICE"));
            }
        }
        // The kernel leaves out what is not there, and says nothing.
        let now = sched_getaffinity(HERE).ok()?;
        let there = |cpu: &&u16| now.is_set(usize::from(**cpu)).unwrap_or(false);
        let missing = listed(cpus.iter().filter(|cpu| !there(cpu)));
        (!missing.is_empty()).then(|| {
            format!("vrrp_cpu_affinity: of its CPUs, {missing} is not there or not for lbd; VRRP runs on the others")
        })
    }

    fn be_nice(&mut self, nice: i8) -> Option<String> {
        let (wanted, is_default) = match (nice, self.nice) {
            (0, before) if self.changed.nice => (before?, true),
            (0, _) => return None,
            (nice, _) => (c_int::from(nice), false),
        };
        match sys::set_nice(wanted) {
            Ok(()) => self.changed.nice = !is_default,
            Err(errno) if is_default => {
                let remedy = "without CAP_SYS_NICE it stays until a restart";
                return Some(format!(
                    "vrrp_priority is gone, its nice value not: {}; {remedy}",
                    errno.desc()
                ));
            }
            Err(errno) => {
                return Some(refused("vrrp_priority", &nice.to_string(), errno, "CAP_SYS_NICE"));
            }
        }
        None
    }

    fn be_real_time(&mut self, priority: Option<NonZeroU8>) -> Option<String> {
        // Of what this thread might ever start nothing is real-time.
        let reset = libc::SCHED_RESET_ON_FORK;
        let Some(priority) = priority else {
            // The flag stays: taking it off needs rights, and it changes nothing by itself.
            if std::mem::take(&mut self.changed.class)
                && let Some((policy, priority)) = self.class
                && let Err(errno) = sys::set_class(policy | reset, priority)
            {
                self.changed.class = true;
                return Some(format!("vrrp_rt_priority is gone, VRRP stays real-time: {}", errno.desc()));
            }
            return None;
        };
        match sys::set_class(libc::SCHED_RR | reset, c_int::from(priority.get())) {
            Ok(()) => {
                self.changed.class = true;
                None
            }
            Err(errno) => {
                let text = refused("vrrp_rt_priority", &priority.to_string(), errno, "CAP_SYS_NICE");
                Some(match errno {
                    Errno::EPERM => format!(
                        "{text}; with it, the control group has no real-time budget (cpu.rt_runtime_us)"
                    ),
                    _ => text,
                })
            }
        }
    }

    /// Only of a thread that is real-time.
    fn limit(&mut self, limit: Duration) -> Option<String> {
        let limit = if limit.is_zero() { REAL_TIME_LIMIT } else { limit };
        let wanted = self.changed.class.then_some(limit);
        if wanted.is_none() && !self.changed.limit {
            return None;
        }
        match limits::limit_real_time(wanted) {
            Ok(hard) => {
                self.changed.limit = wanted.is_some();
                let lower = wanted.is_some() && Duration::from_micros(hard) <= limit;
                lower.then(|| {
                    format!(
                        "vrrp_rlimit_rttime: the hard limit of the process (RLIMIT_RTTIME) is {hard} us, at which \
                         the kernel kills lbd: raise LimitRTTIME= of its systemd unit"
                    )
                })
            }
            Err(errno) => {
                Some(refused("vrrp_rlimit_rttime", &limit.as_micros().to_string(), errno, "CAP_SYS_RESOURCE"))
            }
        }
    }

    fn lock_memory(&mut self, wanted: bool) -> Option<String> {
        if !wanted {
            if std::mem::take(&mut self.changed.memory)
                && let Err(errno) = munlockall()
            {
                return Some(format!("vrrp_no_swap is gone, memory stays locked: {}", errno.desc()));
            }
            return None;
        }
        // Within a limit the lock would succeed now, and memory that is needed later would be refused.
        if !super::has_capability(CAP_IPC_LOCK)
            && let Some(limit) = memory_limit()
        {
            return Some(format!(
                "vrrp_no_swap: only {} KiB of memory may be locked (RLIMIT_MEMLOCK); give the process CAP_IPC_LOCK, \
                 or LimitMEMLOCK=infinity in its systemd unit; until then VRRP may be paged out",
                limit / 1024
            ));
        }
        // On fault: what is reserved and never used (stacks, arenas) takes no memory.
        let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
        match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault) {
            Ok(()) => {
                self.changed.memory = true;
                None
            }
            Err(errno) => Some(refused("vrrp_no_swap", "", errno, "CAP_IPC_LOCK")),
        }
    }
}

/// Octets that may be locked; `None` if there is no limit, or none that can be read.
fn memory_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != nix::sys::resource::RLIM_INFINITY).then_some(soft)
}

fn listed<'c>(cpus: impl Iterator<Item = &'c u16>) -> String {
    cpus.map(u16::to_string).collect::<Vec<_>>().join(" ")
}

/// Why a keyword is not in effect.
fn refused(keyword: &str, value: &str, errno: Errno, capability: &str) -> String {
    let blank = if value.is_empty() { "" } else { " " };
    let why = match errno {
        Errno::EPERM | Errno::EACCES => format!("not permitted; give the process {capability}"),
        errno => errno.desc().to_owned(),
    };
    format!("{keyword}{blank}{value}: {why}; VRRP runs without it")
}

#[cfg(test)]
mod tests;
