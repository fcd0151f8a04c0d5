//! What happened, once: every transition becomes one event, from which the log line, notify scripts
//! and counters are made. Nobody else logs a transition.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lbd_grammar::config::VirtualServerId;
use lbd_vrrp::State;
use tokio::sync::mpsc::error::TrySendError;

/// A transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A virtual router changed its state.
    Vrrp {
        /// vrrp_instance
        instance: Arc<str>,
        /// State before.
        from: State,
        /// State now.
        to: State,
        /// Effective priority.
        priority: u8,
        /// Cause in words.
        reason: String,
    },
    /// A virtual router stopped with the daemon, or was removed by a reload (`deleted`).
    VrrpStopped {
        /// vrrp_instance
        instance: Arc<str>,
        /// Effective priority.
        priority: u8,
        /// Removed by a reload.
        deleted: bool,
    },
    /// A master heard a router with a lower priority.
    VrrpLowerPriority {
        /// vrrp_instance
        instance: Arc<str>,
        /// Own effective priority.
        priority: u8,
    },
    /// The effective priority changed.
    VrrpPriority {
        /// vrrp_instance
        instance: Arc<str>,
        /// Before.
        from: u8,
        /// Now.
        to: u8,
        /// Cause in words.
        reason: String,
    },
    /// A sync group changed its state. Comes after the transitions of its members.
    VrrpGroup {
        /// vrrp_sync_group
        group: Arc<str>,
        /// State before.
        from: State,
        /// State now.
        to: State,
        /// Cause in words.
        reason: String,
    },
    /// A sync group stopped with the daemon, after all virtual routers, or was removed by a reload
    /// (`deleted`).
    VrrpGroupStopped {
        /// vrrp_sync_group
        group: Arc<str>,
        /// Removed by a reload.
        deleted: bool,
    },
    /// Something about a virtual router that somebody should look at began or is over.
    VrrpCondition {
        /// vrrp_instance
        instance: Arc<str>,
        /// Which, as status names it: `split_brain`, `no_peer`, `equal_priority`, `address_list_differs`,
        /// `interval_differs`, `unlisted_peer`, `several_owners`, `clock_skew`.
        condition: &'static str,
        /// It began.
        active: bool,
        /// Who and what, in words.
        detail: String,
    },
    /// A virtual router was heard that is not configured here.
    VrrpForeign {
        /// Interface on which it is heard.
        interface: String,
        /// Its virtual router identifier.
        vrid: u8,
        /// `ipv4` or `ipv6`.
        family: String,
        /// Who sent the advert.
        source: IpAddr,
    },
    /// Someone else removed what a virtual router holds, or what is static, and it was put back.
    Repaired {
        /// vrrp_instance; `None` for what is static.
        instance: Option<Arc<str>>,
        /// Address, route or rule in words.
        what: String,
    },
    /// A vrrp_script's verdict changed.
    Script {
        /// vrrp_script
        name: Arc<str>,
        /// Good now.
        good: bool,
        /// Outcome in words.
        reason: String,
    },
    /// A vrrp_track_process has as many processes as it wants, or no longer.
    TrackedProcess {
        /// vrrp_track_process
        name: Arc<str>,
        /// It has.
        good: bool,
        /// How many there are, in words.
        reason: String,
    },
    /// A checker's state changed. What it meant for its real server came before it, as events of their own.
    Checker {
        /// Its virtual server.
        service: VirtualServerId,
        /// Address and port of the real server.
        address: SocketAddr,
        /// Checker keyword.
        check: &'static str,
        /// Good now.
        up: bool,
        /// The real server is up now, with all its checkers.
        server_up: bool,
        /// The real server's state changed with it.
        server_changed: bool,
        /// Outcome in words.
        reason: String,
    },
    /// A real server went up or down, or is announced as it is.
    RealServer {
        /// Its virtual server.
        service: VirtualServerId,
        /// Address and port.
        address: SocketAddr,
        /// Up now.
        up: bool,
        /// It stays in the table with weight 0 while down.
        inhibited: bool,
        /// What made it so.
        cause: Cause,
        /// Cause in words.
        reason: String,
    },
    /// A real server's weight changed by its checkers.
    Weight {
        /// Its virtual server.
        service: VirtualServerId,
        /// Address and port.
        address: SocketAddr,
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// A virtual server gained or lost its quorum.
    Quorum {
        /// The virtual server.
        service: VirtualServerId,
        /// Gained.
        up: bool,
        /// Live weight.
        weight: u64,
        /// Weight needed (with hysteresis).
        needed: u64,
        /// The sorry server that takes over or leaves.
        sorry_server: Option<SocketAddr>,
        /// What made it so.
        cause: Cause,
    },
    /// A check is good and has something to warn of (certificate_expiry_warning).
    CheckWarning {
        /// Its virtual server.
        service: VirtualServerId,
        /// Address and port.
        address: SocketAddr,
        /// Checker keyword.
        check: &'static str,
        /// What of, in words.
        warning: String,
    },
    /// A real server that a reload took away has left the table: its connections have ended, or its time has.
    Left {
        /// The virtual server that it was of.
        service: VirtualServerId,
        /// Address and port in the table.
        address: SocketAddr,
        /// Connections that it still had.
        connections: u32,
    },
    /// Another program changed what is ours in the kernel's table, and it was put right.
    Drift {
        /// What was found and what was done, in words.
        found: String,
    },
    /// The same, of what was too much to be told one by one.
    DriftUntold {
        /// How many.
        more: u64,
    },
    /// A connection synchronisation daemon was started or stopped.
    Sync {
        /// Which.
        role: lbd_ipvs::SyncState,
        /// Its interface.
        interface: String,
        /// It runs now.
        runs: bool,
    },
    /// A check failed without a change of state (log_all_failures), or was retried.
    CheckFailed {
        /// Its virtual server.
        service: VirtualServerId,
        /// Address and port.
        address: SocketAddr,
        /// Checker keyword.
        check: &'static str,
        /// Cause in words.
        reason: String,
    },
}

/// What made a real server or a quorum what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Checkers' results.
    Result,
    /// A start: it is so from the beginning.
    Start,
    /// A reload took it away.
    Removed,
    /// The daemon stops (omega).
    Stop,
    /// A command of the operator.
    Operator,
    /// A rule beside the checkers' results: keep_at_least, flap_damping.
    Rule,
}

/// Where events go: a bounded queue that never blocks its sender. When it is full, the event is
/// dropped, counted and the count logged; states are published besides, so status never lags for good.
#[derive(Clone, Debug)]
pub struct EventSender {
    queue: tokio::sync::mpsc::Sender<Event>,
    dropped: Arc<std::sync::atomic::AtomicU64>,
}

/// Capacity of the queue: 50,000 real servers may fail at once, each with an event of its own and one of
/// its check. Room is taken for what waits only.
pub const EVENT_QUEUE: usize = 131_072;

impl EventSender {
    /// A queue of [`EVENT_QUEUE`] events.
    pub fn channel() -> (Self, tokio::sync::mpsc::Receiver<Event>) {
        let (queue, receiver) = tokio::sync::mpsc::channel(EVENT_QUEUE);
        (EventSender { queue, dropped: Arc::default() }, receiver)
    }

    /// Sends without waiting.
    pub fn send(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(event) {
            let dropped = self.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            // Powers of two: told, without a flood.
            if dropped.is_power_of_two() {
                tracing::warn!(
                    dropped,
                    "too many transitions at once: not all are logged and announced to notify scripts"
                );
            }
        }
    }

    /// Events dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_a_receiver_that_has_gone_is_no_loss() {
        let (events, mut receiver) = EventSender::channel();
        let event = |priority| Event::VrrpLowerPriority { instance: "VI_1".into(), priority };
        for _ in 0..EVENT_QUEUE {
            events.send(event(1));
        }
        assert_eq!(events.dropped(), 0);
        events.send(event(2));
        events.send(event(3));
        assert_eq!(events.dropped(), 2);
        assert!(receiver.try_recv().is_ok());
        events.send(event(4));
        drop(receiver);
        events.send(event(5));
        assert_eq!(events.dropped(), 2);
    }
}
