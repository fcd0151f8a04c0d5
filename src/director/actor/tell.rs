//! What a pool changed, as events in keepalived's order: servers, weights, quorum.

use std::time::SystemTime;

use lbd_grammar::config::{RealServer, VirtualServerId};

use super::Managed;
use crate::director::pool::{Change, Changes, Pool, QuorumChange, Why};
use crate::event::{Cause, Event, EventSender};

/// Tells of `changes`. `words` are the cause where it was a checker or the operator.
pub(super) fn tell(
    events: &EventSender,
    managed: &mut Managed,
    changes: &Changes,
    cause: Cause,
    words: &str,
) {
    let config = managed.pool.config().clone();
    for change in &changes.list {
        match *change {
            Change::Server { index, up, why } => {
                let Some(real) = config.real_servers.get(index) else { continue };
                if let Some(server) = managed.servers.get_mut(index) {
                    server.since = SystemTime::now();
                }
                let cause = match why {
                    // No checker's own event tells of these.
                    Why::Kept | Why::Relieved | Why::Steady if cause == Cause::Result => Cause::Rule,
                    _ => cause,
                };
                let reason = reason(&managed.pool, index, why, words);
                events.send(server(&config.id, real, up, cause, reason));
            }
            Change::Weight { index, from, to } => {
                let Some(real) = config.real_servers.get(index) else { continue };
                events.send(Event::Weight { service: config.id.clone(), address: real.address, from, to });
            }
            Change::Quorum(change) => quorum(events, &config.id, Some(change), cause),
        }
    }
}

/// Tells that every server leaves (omega, or the virtual server went).
pub(super) fn tell_end(events: &EventSender, pool: &Pool, cause: Cause, words: &str) {
    let config = pool.config();
    for change in pool.ending() {
        match change {
            Change::Server { index, .. } => {
                let Some(real) = config.real_servers.get(index) else { continue };
                let event = server(&config.id, real, false, cause, words.to_owned());
                events.send(without_inhibit(event));
            }
            Change::Quorum(change) => quorum(events, &config.id, Some(change), cause),
            Change::Weight { .. } => {}
        }
    }
}

/// A server that leaves for good is not left with weight 0.
pub(super) fn without_inhibit(mut event: Event) -> Event {
    if let Event::RealServer { inhibited, .. } = &mut event {
        *inhibited = false;
    }
    event
}

pub(super) fn server(
    service: &VirtualServerId,
    real: &RealServer,
    up: bool,
    cause: Cause,
    reason: String,
) -> Event {
    Event::RealServer {
        service: service.clone(),
        address: real.address,
        up,
        inhibited: real.inhibit_on_failure,
        cause,
        reason,
    }
}

pub(super) fn quorum(
    events: &EventSender,
    service: &VirtualServerId,
    change: Option<QuorumChange>,
    cause: Cause,
) {
    if let Some(QuorumChange { up, weight, needed, sorry_server }) = change {
        events.send(Event::Quorum { service: service.clone(), up, weight, needed, sorry_server, cause });
    }
}

/// What our own keywords make of a checker's result, to be said with it.
pub(super) fn remark(pool: &Pool, index: usize) -> Option<String> {
    let (config, view) = (pool.config(), pool.view(index)?);
    let real = config.real_servers.get(index)?;
    if view.kept {
        return Some(format!("the server is kept (keep_at_least {})", config.keep_at_least));
    }
    let held = view.held_until.and(real.flap_damping)?;
    Some(format!("the server stays out for {} s (flap_damping)", held.hold.as_secs()))
}

fn reason(pool: &Pool, index: usize, why: Why, words: &str) -> String {
    let config = pool.config();
    let real = config.real_servers.get(index);
    let mut reason = match why {
        Why::Verdict | Why::Order => words.to_owned(),
        Why::Reload => "the configuration was read again".to_owned(),
        Why::Kept => {
            format!("it fails, but too few others are left (keep_at_least {})", config.keep_at_least)
        }
        Why::Relieved => {
            format!("it fails, and enough others are up (keep_at_least {})", config.keep_at_least)
        }
        Why::Steady => {
            let hold = real.and_then(|real| real.flap_damping).map_or(0, |damping| damping.hold.as_secs());
            format!("{hold} s without a failure (flap_damping)")
        }
    };
    let slow = pool.view(index).and_then(|view| view.slow_until);
    if let Some(real) = real.filter(|_| slow.is_some()) {
        reason.push_str(&format!("; its weight grows for {} s (slow_start)", real.slow_start.as_secs()));
    }
    reason
}
