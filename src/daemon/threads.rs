//! Names and scheduling of the process's threads: process_name and its kin, checker_rt_priority and its kin.
//!
//! lbd is one process: what keepalived's keywords say of its children holds for the threads that do the
//! children's work. VRRP's thread schedules itself, and is told here what else is wanted of it. Not here:
//! the system calls (`crate::scheduling`).

use std::ffi::CString;
use std::fs;

use lbd_grammar::config::{Config, ProcessNames, ReceiveBuffers, Scheduling};
use nix::unistd::Pid;
use tracing::{debug, warn};

use super::Daemon;
use crate::control::snapshot::Parts;
use crate::router::ThreadWishes;
use crate::scheduling::{Automatic, Kind, ThreadScheduling};

/// Name of the thread on which health checks run.
const CHECKERS: &str = "checkers";

/// What was done to threads.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// The process's name before it was changed.
    own_name: Option<String>,
    checkers: Option<Thread>,
    table: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    id: Pid,
    scheduling: ThreadScheduling,
    applied: Option<Scheduling>,
}

impl Thread {
    fn of(id: Pid) -> Self {
        Thread { id, scheduling: ThreadScheduling::of(Kind::Checkers, id), applied: None }
    }

    /// What could not be done, unless it was said before.
    fn schedule(&mut self, wanted: &Scheduling) -> Vec<String> {
        if self.applied.as_ref() == Some(wanted) {
            return Vec::new();
        }
        let complaints = self.scheduling.apply(wanted);
        self.applied = Some(wanted.clone());
        complaints
    }
}

impl Daemon {
    /// Names and schedules the threads that are there as a configuration says; the same again does no harm.
    pub(super) fn adjust_threads(&mut self, config: &Config) {
        let names = Names::of(&config.global.process_names);
        self.threads.name_process(names.process.as_deref());
        let scheduling = &config.global.scheduling;
        let Parts { owner, checkers, router, .. } = self.shared.parts().clone();
        if let Some(checkers) = checkers {
            let id = checkers.thread();
            let thread = self.threads.checkers.get_or_insert_with(|| Thread::of(id));
            for complaint in thread.schedule(&scheduling.checker) {
                warn!("{complaint}");
            }
            name_thread(thread.id, names.checkers.as_deref().unwrap_or(CHECKERS));
        }
        if let Some(owner) = owner {
            let id = owner.thread();
            let thread = self.threads.table.get_or_insert_with(|| Thread::of(id));
            // The same as of the other.
            for complaint in thread.schedule(&scheduling.checker) {
                debug!("{complaint}");
            }
        }
        if let Some(router) = router {
            router.wish(ThreadWishes {
                name: names.vrrp,
                automatic: Automatic::of(scheduling),
                receive_buffer: receive_buffer(config),
            });
        }
    }
}

impl Threads {
    /// The process has the name of its first thread, which this is.
    fn name_process(&mut self, name: Option<&str>) {
        if self.own_name.is_none() {
            if name.is_none() {
                return;
            }
            self.own_name = fs::read_to_string("/proc/self/comm").ok().map(|name| name.trim_end().to_owned());
        }
        let Some(name) = name.or(self.own_name.as_deref()).and_then(|name| CString::new(name).ok()) else {
            return;
        };
        if let Err(errno) = nix::sys::prctl::set_name(&name) {
            warn!("process_name {name:?}: {}", errno.desc());
        }
    }
}

fn name_thread(thread: Pid, name: &str) {
    let path = format!("/proc/self/task/{thread}/comm");
    if let Err(error) = fs::write(&path, name) {
        debug!("{path}: {error}");
    }
}

/// Octets of what instances ask for together, since they share a buffer; 0 where none asks.
fn receive_buffer(config: &Config) -> usize {
    /// No advert is larger, whatever the MTU.
    const MOST: u64 = 1500;
    let vrrp = &config.global.vrrp;
    let policy = vrrp.receive_buffers.map_or(0, |policy| match policy {
        ReceiveBuffers::Bytes(octets) => octets.get().into(),
        ReceiveBuffers::Mtu | ReceiveBuffers::Adverts => MOST * u64::from(vrrp.receive_buffers_multiplier),
    });
    let shares = config.vrrp_instances.iter().map(|one| one.router.receive_buffer.map_or(policy, u64::from));
    // The kernel's own limit (its numbers have a sign).
    let most = u64::try_from(i32::MAX / 2).unwrap_or_default();
    usize::try_from(shares.fold(0, u64::saturating_add).min(most)).unwrap_or_default()
}

/// Names that are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    process: Option<String>,
    vrrp: Option<String>,
    checkers: Option<String>,
}

impl Names {
    /// A keyword for one counts more than process_names for all.
    fn of(names: &ProcessNames) -> Self {
        let standard = |name: &str| names.standard.then(|| name.to_owned());
        Names {
            process: names.parent.clone(),
            vrrp: names.vrrp.clone().or_else(|| standard("keepalived_vrrp")),
            checkers: names.checker.clone().or_else(|| standard("keepalived_lvs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_keyword() {
        let own = |name: &str| Some(name.to_owned());
        for (name, wanted, want) in [
            ("none", ProcessNames::default(), (None, None, None)),
            (
                "the standard ones",
                ProcessNames { standard: true, ..ProcessNames::default() },
                (None, own("keepalived_vrrp"), own("keepalived_lvs")),
            ),
            (
                "one by one",
                ProcessNames { standard: true, parent: own("lb"), vrrp: own("v"), ..ProcessNames::default() },
                (own("lb"), own("v"), own("keepalived_lvs")),
            ),
        ] {
            let (process, vrrp, checkers) = want;
            assert_eq!(Names::of(&wanted), Names { process, vrrp, checkers }, "{name}");
        }
    }

    #[test]
    fn shares_in_the_receive_buffer() {
        let two = |global: &str, own: &str| {
            let instance = |name: &str, vrid: u8, inside: &str| {
                format!("vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\n{inside}\n}}\n")
            };
            let text =
                format!("global_defs {{\n{global}\n}}\n{}{}", instance("A", 1, own), instance("B", 2, ""));
            receive_buffer(&lbd_grammar::load_str("c", &text).config.expect("it can run"))
        };
        for (name, global, own, want) in [
            ("nobody asks", "", "", 0),
            ("octets", "vrrp_rx_bufs_policy 70000", "", 140_000),
            ("multiples of the MTU", "vrrp_rx_bufs_policy MTU", "", 9_000),
            ("the factor", "vrrp_rx_bufs_policy ADVERT\nvrrp_rx_bufs_multiplier 10", "", 30_000),
            ("its own share", "vrrp_rx_bufs_policy 70000", "kernel_rx_buf_size 1000", 71_000),
            ("its own share alone", "", "kernel_rx_buf_size 1000", 1_000),
            ("more than there can be", "vrrp_rx_bufs_policy 4294967295", "", 1_073_741_823),
        ] {
            assert_eq!(two(global, own), want, "{name}");
        }
    }
}
