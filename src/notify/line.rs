//! The log line of a transition, in the words that people have put alerts on for years.
//!
//! Here: event to level and text, pure. Not here: anything else that writes a log line.

use std::net::SocketAddr;

use lbd_grammar::config::VirtualServerId;
use lbd_ipvs::ServiceId;
use lbd_vrrp::State;
use tracing::Level;

use crate::event::Event;

/// What the configuration and earlier events add to an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Quorum and hysteresis of the virtual server.
    pub quorum: Option<(u32, u32)>,
    /// The real server is down.
    pub down: bool,
    /// Which of the virtual servers of its group it is, 0 for the first.
    pub sequence: usize,
    /// smtp_alert of the object that the event is about.
    pub mail: bool,
    /// State of the virtual router, or of the sync group, as it was told last.
    pub state: Option<State>,
    /// notify_deleted
    pub tells_deleted: bool,
    /// notify_priority_changes
    pub tells_priority: bool,
    /// log_unknown_vrids
    pub warns_foreign: bool,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// INFO for what is as it should be, WARN else.
    pub level: Level,
    /// The words.
    pub text: String,
    /// The cause, a field of its own.
    pub reason: Option<String>,
}

/// Writes the line of `event`.
pub fn log(event: &Event, facts: &Facts) {
    let Line { level, text, reason } = line(event, facts);
    match (level, reason) {
        (Level::WARN, Some(reason)) => tracing::warn!(%reason, "{text}"),
        (Level::WARN, None) => tracing::warn!("{text}"),
        (_, Some(reason)) => tracing::info!(%reason, "{text}"),
        (_, None) => tracing::info!("{text}"),
    }
}

/// The line of `event`.
pub fn line(event: &Event, facts: &Facts) -> Line {
    let because = |reason: &String| (!reason.is_empty()).then(|| reason.clone());
    let level = |good: bool| if good { Level::INFO } else { Level::WARN };
    match event {
        Event::Vrrp { instance, to, reason, .. } => Line {
            level: level(*to != State::Fault),
            text: format!("({instance}) Entering {to} STATE"),
            reason: because(reason),
        },
        Event::VrrpStopped { instance, deleted, .. } => Line {
            level: Level::INFO,
            text: format!("({instance}) {}", if *deleted { "Deleted" } else { "Stopped" }),
            reason: None,
        },
        Event::VrrpLowerPriority { instance, priority } => Line {
            level: Level::WARN,
            text: format!("({instance}) Received advert with a priority lower than ours ({priority})"),
            reason: None,
        },
        Event::VrrpPriority { instance, from, to, reason } => Line {
            level: Level::INFO,
            text: format!("({instance}) Changing effective priority from {from} to {to}"),
            reason: because(reason),
        },
        Event::VrrpGroup { group, to, reason, .. } => Line {
            level: level(*to != State::Fault),
            text: format!("VRRP_Group({group}) Syncing instances to {to} state"),
            reason: because(reason),
        },
        Event::VrrpGroupStopped { group, deleted } => Line {
            level: Level::INFO,
            text: format!("VRRP_Group({group}) {}", if *deleted { "Deleted" } else { "Stopped" }),
            reason: None,
        },
        Event::VrrpCondition { instance, condition, active, detail } => Line {
            level: level(!active),
            text: if *active {
                format!("({instance}) {condition}: {}", condition_words(condition))
            } else {
                format!("({instance}) {condition} is over")
            },
            reason: because(detail),
        },
        Event::VrrpForeign { interface, vrid, family, source } => Line {
            level: level(!facts.warns_foreign),
            text: format!(
                "Unknown virtual router: VRID {vrid} ({family}) of {source} on {interface} is not configured here"
            ),
            reason: None,
        },
        Event::Script { name, good, reason } => Line {
            level: level(*good),
            text: format!("VRRP_Script({name}) {}", if *good { "succeeded" } else { "failed" }),
            reason: because(reason),
        },
        Event::TrackedProcess { name, good, reason } => Line {
            level: level(*good),
            text: format!("Quorum {} for tracked process {name}", if *good { "gained" } else { "lost" }),
            reason: because(reason),
        },
        Event::Checker { service, address, check, up, reason, .. } => Line {
            level: level(*up),
            text: format!(
                "{check} of {} of VS {} {}",
                real_server(service, *address),
                virtual_server(service, facts.sequence),
                if *up { "succeeded" } else { "failed" }
            ),
            reason: because(reason),
        },
        Event::RealServer { service, address, up, inhibited, reason, .. } => {
            let (verb, preposition) = match (up, inhibited) {
                (true, false) => ("Adding", "to"),
                (false, false) => ("Removing", "from"),
                (true, true) => ("Enabling", "of"),
                (false, true) => ("Disabling", "of"),
            };
            Line {
                level: level(*up),
                text: format!(
                    "{verb} service {} {preposition} VS {}",
                    real_server(service, *address),
                    virtual_server(service, facts.sequence)
                ),
                reason: because(reason),
            }
        }
        Event::Weight { service, address, from, to } => Line {
            level: Level::INFO,
            text: format!(
                "Changing weight from {from} to {to} for {} service {} of VS {}",
                if facts.down { "inactive" } else { "active" },
                real_server(service, *address),
                virtual_server(service, facts.sequence)
            ),
            reason: None,
        },
        Event::Quorum { service, up, weight, needed, sorry_server, .. } => {
            let (quorum, hysteresis) = match (facts.quorum, up) {
                (Some((quorum, hysteresis)), _) => (u64::from(quorum), u64::from(hysteresis)),
                (None, _) => (*needed, 0),
            };
            let virtual_server = virtual_server(service, facts.sequence);
            let text = if *up {
                format!("Gained quorum {quorum}+{hysteresis}={needed} <= {weight} for VS {virtual_server}")
            } else {
                format!("Lost quorum {quorum}-{hysteresis}={needed} > {weight} for VS {virtual_server}")
            };
            let reason = sorry_server.map(|sorry| {
                let sorry = real_server(service, sorry);
                if *up {
                    format!("sorry server {sorry} leaves")
                } else {
                    format!("sorry server {sorry} takes over")
                }
            });
            Line { level: level(*up), text, reason }
        }
        Event::CheckWarning { service, address, check, warning } => Line {
            level: Level::WARN,
            text: format!(
                "{check} of {} of VS {} warns",
                real_server(service, *address),
                virtual_server(service, facts.sequence)
            ),
            reason: because(warning),
        },
        Event::Left { service, address, connections } => Line {
            level: level(*connections == 0),
            text: format!(
                "Removing drained service {} from VS {}{}",
                real_server(service, *address),
                virtual_server(service, facts.sequence),
                match connections {
                    0 => String::new(),
                    left => format!(": its drain_timeout is over, {left} connections are cut"),
                }
            ),
            reason: None,
        },
        Event::Drift { found } => Line {
            level: Level::WARN,
            text: format!("Another program changed the IPVS table: {found}"),
            reason: None,
        },
        Event::DriftUntold { more } => Line {
            level: Level::WARN,
            text: format!(
                "Another program changed the IPVS table: {more} more changes within a minute were put right"
            ),
            reason: None,
        },
        Event::Repaired { instance, what } => Line {
            level: Level::WARN,
            text: match instance {
                Some(instance) => format!("({instance}) {what} was removed by someone else and put back"),
                None => format!("Static {what} was removed by someone else and put back"),
            },
            reason: None,
        },
        Event::Sync { role, interface, runs } => Line {
            level: Level::INFO,
            text: format!(
                "IPVS connection synchronisation: {role} {} on {interface}",
                if *runs { "started" } else { "stopped" }
            ),
            reason: None,
        },
        Event::CheckFailed { service, address, check, reason } => Line {
            level: Level::INFO,
            text: format!(
                "{check} of {} of VS {} failed",
                real_server(service, *address),
                virtual_server(service, facts.sequence)
            ),
            reason: because(reason),
        },
    }
}

/// What a condition means; nothing for one that is not known here.
fn condition_words(condition: &str) -> &'static str {
    match condition {
        "split_brain" => "another router is master too",
        "no_peer" => "no other router is heard",
        "equal_priority" => "another router has the same priority",
        "address_list_differs" => "another router advertises other addresses",
        "interval_differs" => "another router advertises at another interval",
        "unlisted_peer" => "a router that is no unicast_peer sends adverts",
        "several_owners" => "another router owns the addresses too",
        "clock_skew" => "another router's clock differs from ours",
        "preemption_held" => "a master of a lower priority is let be for now",
        _ => "needs a look",
    }
}

/// Which way a server or a quorum went.
pub fn way(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

/// `[10.0.0.1]:tcp:80`, `FWM 7`, `[group]:0`: of the virtual servers of a group the number too, in the
/// order of the file.
pub fn virtual_server(service: &VirtualServerId, sequence: usize) -> String {
    match service {
        VirtualServerId::Service(ServiceId::Addr { protocol, vip }) => trio(&protocol.to_string(), *vip),
        VirtualServerId::Service(ServiceId::FwMark { mark, .. }) => format!("FWM {mark}"),
        VirtualServerId::Group(key) => format!("[{}]:{sequence}", key.group),
    }
}

/// `[10.0.0.2]:tcp:80`; with a firewall mark there is no protocol.
pub fn real_server(service: &VirtualServerId, address: SocketAddr) -> String {
    match service.protocol() {
        Some(protocol) => trio(&protocol.to_string(), address),
        None => trio("none", address),
    }
}

fn trio(protocol: &str, address: SocketAddr) -> String {
    format!("[{}]:{}:{}", address.ip(), protocol.to_lowercase(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_has_words() {
        for condition in lbd_vrrp::Condition::ALL {
            let words = condition_words(condition.as_str());
            assert_ne!(words, condition_words("one of a later version"), "{condition:?}");
        }
    }
}
