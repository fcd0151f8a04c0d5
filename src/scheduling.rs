//! Scheduling of single threads: vrrp_rt_priority and its kin for the VRRP thread, checker_rt_priority and
//! its kin for those of the checkers.
//!
//! Class, nice value and CPUs are a thread's alone; what programs that lbd runs get of them is undone for
//! each ([`inherited`]). The limit of real time and locked memory are the process's ([`crate::limits`]).
//! Here: what is wanted is put into effect, and undone when it is no longer wanted. Not here: the limit of
//! real time for scripts (`crate::script`), its signal (`crate::signals`).

mod sys;

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lbd_grammar::config::{Scheduling, SchedulingOfAll};
use libc::c_int;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use crate::limits::{self, has_capability};

/// vrrp_rlimit_rttime where the keyword is absent.
const REAL_TIME_LIMIT: Duration = Duration::from_millis(10);
/// Bit of CAP_IPC_LOCK in the capability sets.
const CAP_IPC_LOCK: u32 = 14;
/// The calling thread.
const HERE: Pid = Pid::from_raw(0);

/// Whose keywords hold for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// vrrp_…
    Vrrp,
    /// checker_…
    Checkers,
}

impl Kind {
    /// The keyword's name before its first underscore.
    fn prefix(self) -> &'static str {
        match self {
            Kind::Vrrp => "vrrp",
            Kind::Checkers => "checker",
        }
    }

    /// What goes on without a keyword that is refused.
    fn who(self) -> &'static str {
        match self {
            Kind::Vrrp => "VRRP runs",
            Kind::Checkers => "the checkers run",
        }
    }
}

/// How much more often than by its own keyword a thread may get the processor when its timers are late:
/// max_auto_priority, min_auto_priority_delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Automatic {
    /// Highest real-time priority that is taken so; `None`: off.
    pub most: Option<NonZeroU8>,
    /// Whether somebody is to be told that a timer was late and nothing is done.
    pub told: bool,
    /// Lateness of a timer that raises the priority by one.
    pub delay: Duration,
}

impl Automatic {
    /// What the keywords say.
    pub fn of(scheduling: &SchedulingOfAll) -> Self {
        let most = u8::try_from(scheduling.most_automatic).ok().and_then(NonZeroU8::new);
        // 0 is off with a word, -1 without one.
        Automatic { most, told: scheduling.most_automatic == 0, delay: scheduling.automatic_delay }
    }
}

impl Default for Automatic {
    fn default() -> Self {
        Automatic { most: None, told: false, delay: Duration::MAX }
    }
}

/// Scheduling of one thread of this process, to be changed from any.
#[derive(Debug)]
pub struct ThreadScheduling {
    kind: Kind,
    thread: Pid,
    /// Of this process's, for what is the whole process's.
    claim: u32,
    /// What the thread had, where it can be read.
    class: Option<(c_int, c_int)>,
    nice: Option<c_int>,
    cpus: Option<CpuSet>,
    /// What is not as the thread had it.
    changed: Changed,
    /// The real-time priority that was taken because timers were late.
    raised: Option<NonZeroU8>,
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
    pub fn here(kind: Kind) -> Self {
        Self::of(kind, gettid())
    }

    /// The same of another thread of this process, which must outlive the changes.
    pub fn of(kind: Kind, thread: Pid) -> Self {
        static CLAIMS: AtomicU32 = AtomicU32::new(0);
        ThreadScheduling {
            kind,
            thread,
            claim: CLAIMS.fetch_add(1, Ordering::Relaxed),
            class: sys::class(thread).ok(),
            nice: sys::nice(thread).ok(),
            cpus: sched_getaffinity(thread).ok(),
            changed: Changed::default(),
            raised: None,
        }
    }

    /// Puts the keywords into effect; what is absent becomes what it was at first, and is left alone if it
    /// never was anything else. To be called at the start and after each reload; the same again does no harm.
    ///
    /// Returns a line for each keyword that could not be served, with what is missing; the others are
    /// served all the same.
    pub fn apply(&mut self, wanted: &Scheduling) -> Vec<String> {
        self.raised = None;
        if *wanted != Scheduling::default() {
            note_inherited();
        }
        let complaints = [
            self.run_on(&wanted.cpus),
            self.be_nice(wanted.nice),
            self.be_real_time(wanted.realtime),
            self.limit(wanted.realtime_limit),
            self.lock_memory(wanted.no_swap),
        ];
        complaints.into_iter().flatten().collect()
    }

    /// Takes the real-time priority above what it has, because a timer of the thread fired late; returns
    /// what is to be said of it. Until the next [`ThreadScheduling::apply`].
    pub fn raise(&mut self, wanted: &Scheduling, most: NonZeroU8) -> Option<Result<String, String>> {
        let now = self.raised.or(wanted.realtime.filter(|_| self.changed.class));
        let next = now.map_or(NonZeroU8::MIN, |now| now.saturating_add(1));
        if next > most {
            return None;
        }
        note_inherited();
        let first = now.is_none();
        match sys::set_class(self.thread, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, next.get().into()) {
            Ok(()) => {
                self.raised = Some(next);
                self.changed.class = true;
                let complaint = first.then(|| self.limit(wanted.realtime_limit)).flatten();
                let remark = complaint.map(|text| format!("; {text}")).unwrap_or_default();
                Some(Ok(format!("real-time priority {next} (max_auto_priority {most}){remark}")))
            }
            Err(errno) => {
                // Not again with each late timer.
                self.raised = Some(most);
                Some(Err(self.refused_word("max_auto_priority", &most.to_string(), errno, "CAP_SYS_NICE")))
            }
        }
    }

    fn run_on(&mut self, cpus: &BTreeSet<u16>) -> Option<String> {
        let keyword = self.keyword("cpu_affinity");
        if cpus.is_empty() {
            if std::mem::take(&mut self.changed.cpus)
                && let Some(before) = &self.cpus
                && let Err(errno) = sched_setaffinity(self.thread, before)
            {
                return Some(format!("{keyword} is gone, its CPUs stay: {}", errno.desc()));
            }
            return None;
        }
        let mut set = CpuSet::new();
        // What does not fit into the set is missing afterwards.
        for cpu in cpus {
            let _too_high = set.set(usize::from(*cpu));
        }
        match sched_setaffinity(self.thread, &set) {
            Ok(()) => self.changed.cpus = true,
            // No CPU of the set is there.
            Err(Errno::EINVAL) => {
                return Some(format!(
                    "{keyword} {}: this host has no such CPU, or lbd may not use it; {} on the CPUs that it had",
                    listed(cpus.iter()),
                    self.kind.who()
                ));
            }
            Err(errno) => {
                return Some(self.refused("cpu_affinity", &listed(cpus.iter()), errno, "CAP_SYS_NICE"));
            }
        }
        // The kernel leaves out what is not there, and says nothing.
        let now = sched_getaffinity(self.thread).ok()?;
        let there = |cpu: &&u16| now.is_set(usize::from(**cpu)).unwrap_or(false);
        let missing = listed(cpus.iter().filter(|cpu| !there(cpu)));
        (!missing.is_empty()).then(|| {
            format!(
                "{keyword}: of its CPUs, {missing} is not there or not for lbd; {} on the others",
                self.kind.who()
            )
        })
    }

    fn be_nice(&mut self, nice: i8) -> Option<String> {
        let (wanted, is_default) = match (nice, self.nice) {
            (0, before) if self.changed.nice => (before?, true),
            (0, _) => return None,
            (nice, _) => (c_int::from(nice), false),
        };
        match sys::set_nice(self.thread, wanted) {
            Ok(()) => self.changed.nice = !is_default,
            Err(errno) if is_default => {
                let remedy = "without CAP_SYS_NICE it stays until a restart";
                return Some(format!(
                    "{} is gone, its nice value not: {}; {remedy}",
                    self.keyword("priority"),
                    errno.desc()
                ));
            }
            Err(errno) => {
                return Some(self.refused("priority", &nice.to_string(), errno, "CAP_SYS_NICE"));
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
                && let Err(errno) = sys::set_class(self.thread, policy | reset, priority)
            {
                self.changed.class = true;
                return Some(format!(
                    "{} is gone, the thread stays real-time: {}",
                    self.keyword("rt_priority"),
                    errno.desc()
                ));
            }
            return None;
        };
        match sys::set_class(self.thread, libc::SCHED_RR | reset, c_int::from(priority.get())) {
            Ok(()) => {
                self.changed.class = true;
                None
            }
            Err(errno) => {
                let text = self.refused("rt_priority", &priority.to_string(), errno, "CAP_SYS_NICE");
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
        match limits::limit_real_time(self.claim, wanted) {
            Ok(hard) => {
                self.changed.limit = wanted.is_some();
                let lower = wanted.is_some() && Duration::from_micros(hard) <= limit;
                lower.then(|| {
                    format!(
                        "{}: the hard limit of the process (RLIMIT_RTTIME) is {hard} us, at which the kernel kills \
                         lbd: raise LimitRTTIME= of its systemd unit",
                        self.keyword("rlimit_rttime")
                    )
                })
            }
            Err(errno) => {
                let value = limit.as_micros().to_string();
                Some(self.refused("rlimit_rttime", &value, errno, "CAP_SYS_RESOURCE"))
            }
        }
    }

    fn lock_memory(&mut self, wanted: bool) -> Option<String> {
        let keyword = self.keyword("no_swap");
        if !wanted {
            if std::mem::take(&mut self.changed.memory)
                && let Err(errno) = limits::lock_memory(self.claim, false)
            {
                return Some(format!("{keyword} is gone, memory stays locked: {}", errno.desc()));
            }
            return None;
        }
        // Within a limit the lock would succeed now, and memory that is needed later would be refused.
        if !has_capability(CAP_IPC_LOCK)
            && let Some(limit) = limits::lockable_memory()
        {
            return Some(format!(
                "{keyword}: only {} KiB of memory may be locked (RLIMIT_MEMLOCK); give the process CAP_IPC_LOCK, or \
                 LimitMEMLOCK=infinity in its systemd unit; until then it may be paged out",
                limit / 1024
            ));
        }
        match limits::lock_memory(self.claim, true) {
            Ok(()) => {
                self.changed.memory = true;
                None
            }
            Err(errno) => Some(self.refused("no_swap", "", errno, "CAP_IPC_LOCK")),
        }
    }

    fn keyword(&self, rest: &str) -> String {
        format!("{}_{rest}", self.kind.prefix())
    }

    fn refused(&self, rest: &str, value: &str, errno: Errno, capability: &str) -> String {
        self.refused_word(&self.keyword(rest), value, errno, capability)
    }

    /// Why a keyword is not in effect.
    fn refused_word(&self, keyword: &str, value: &str, errno: Errno, capability: &str) -> String {
        let blank = if value.is_empty() { "" } else { " " };
        let why = match errno {
            Errno::EPERM | Errno::EACCES => format!("not permitted; give the process {capability}"),
            errno => errno.desc().to_owned(),
        };
        format!("{keyword}{blank}{value}: {why}; {} without it", self.kind.who())
    }
}

fn listed<'c>(cpus: impl Iterator<Item = &'c u16>) -> String {
    cpus.map(u16::to_string).collect::<Vec<_>>().join(" ")
}

/// What threads had before any was changed.
#[derive(Clone, Debug)]
pub struct Inherited {
    /// Nice value.
    pub nice: c_int,
    /// Numbers of the CPUs.
    pub cpus: Vec<usize>,
}

static INHERITED: OnceLock<Option<Inherited>> = OnceLock::new();

/// What programs get back that a thread with another scheduling starts; `None` as long as no thread has
/// one. (That they are not real-time, and not before others, the kernel sees to.)
pub fn inherited() -> Option<&'static Inherited> {
    INHERITED.get().and_then(Option::as_ref)
}

/// By the process's first thread, which never has another one.
fn note_inherited() {
    INHERITED.get_or_init(|| {
        let first = Pid::this();
        let set = sched_getaffinity(first).ok()?;
        let cpus = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect();
        Some(Inherited { nice: sys::nice(first).ok()?, cpus })
    });
}

/// For the calling thread what [`inherited`] says; as much of it as there are rights for.
pub fn restore(nice: Option<c_int>, cpus: &[usize]) {
    if let Some(nice) = nice {
        // Less than before needs a right that lbd may not have.
        let _refused = sys::set_nice(HERE, nice);
    }
    if !cpus.is_empty() {
        let mut set = CpuSet::new();
        for cpu in cpus {
            let _too_high = set.set(*cpu);
        }
        let _refused = sched_setaffinity(HERE, &set);
    }
}

#[cfg(test)]
mod tests;
