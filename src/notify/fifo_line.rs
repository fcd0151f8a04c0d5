//! The line of a transition in the notify FIFOs: a contract with those who read them, octet by octet.
//!
//! Here: event to text, pure. Not here: FIFOs (`fifo`). A line ends in a newline and nothing else;
//! keepalived appends a NUL octet to those of virtual and real servers in some versions.

use lbd_vrrp::State;

use super::line::{Facts, real_server, virtual_server, way};
use super::plan::LOWER_PRIORITY;
use crate::event::Event;

/// Which FIFOs get a line, besides notify_fifo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// vrrp_notify_fifo
    Vrrp,
    /// lvs_notify_fifo
    Lvs,
}

/// The line of `event`, if it has one.
pub fn fifo_line(event: &Event, facts: &Facts) -> Option<(Of, String)> {
    Some(match event {
        Event::Vrrp { to: State::Initialize, .. } => return None,
        Event::Vrrp { instance, to, priority, .. } => vrrp(instance, to.as_str(), *priority),
        Event::VrrpStopped { instance, priority, deleted } => match (deleted, facts.tells_deleted) {
            (false, _) => vrrp(instance, "STOP", *priority),
            (true, true) => vrrp(instance, "DELETED", *priority),
            // Told already.
            (true, false) if facts.state == Some(State::Fault) => return None,
            (true, false) => vrrp(instance, "FAULT", *priority),
        },
        Event::VrrpLowerPriority { instance, priority } => vrrp(instance, LOWER_PRIORITY, *priority),
        Event::VrrpPriority { instance, to, .. } if facts.tells_priority => {
            let master = facts.state == Some(State::Master);
            vrrp(instance, if master { "MASTER_PRIORITY" } else { "BACKUP_PRIORITY" }, *to)
        }
        Event::VrrpGroup { to: State::Initialize, .. } => return None,
        Event::VrrpGroup { group, to, .. } => sync_group(group, to.as_str()),
        Event::VrrpGroupStopped { group, deleted: false } => sync_group(group, "STOP"),
        Event::RealServer { service, address, up, .. } => {
            let server = real_server(service, *address);
            (Of::Lvs, format!("RS {server} {} {}\n", virtual_server(service, facts.sequence), way(*up)))
        }
        Event::Quorum { service, up, .. } => {
            (Of::Lvs, format!("VS {} {}\n", virtual_server(service, facts.sequence), way(*up)))
        }
        Event::VrrpPriority { .. }
        | Event::VrrpGroupStopped { .. }
        | Event::VrrpCondition { .. }
        | Event::VrrpForeign { .. }
        | Event::Script { .. }
        | Event::TrackedProcess { .. }
        | Event::Checker { .. }
        | Event::Weight { .. }
        | Event::Left { .. }
        | Event::Drift { .. }
        | Event::DriftUntold { .. }
        | Event::Repaired { .. }
        | Event::Sync { .. }
        | Event::CheckFailed { .. }
        | Event::CheckWarning { .. } => return None,
    })
}

/// The line of a virtual router.
pub fn vrrp(instance: &str, state: &str, priority: u8) -> (Of, String) {
    (Of::Vrrp, format!("INSTANCE \"{instance}\" {state} {priority}\n"))
}

/// The line of a sync group, which has no priority.
pub fn sync_group(group: &str, state: &str) -> (Of, String) {
    (Of::Vrrp, format!("GROUP \"{group}\" {state} 0\n"))
}
