//! Virtual servers as status shows them.

use std::time::{Instant, SystemTime};

use lbd_grammar::config::RealServer;
use lbd_health::CheckerView;

use super::{Checker, Director, Managed, Server, Shown, Snapshot};
use crate::control::status::{
    CheckState, CheckStatus, RealServerState, RealServerStatus, SlowStartStatus, SorryServerStatus,
    TrafficStatus, VirtualServerState, VirtualServerStatus,
};
use crate::director::pool::{Order, View};

impl Director {
    pub(super) fn status(&self) -> Snapshot {
        let shown = |managed: &Managed| Shown {
            status: managed.status(),
            services: managed.services.clone(),
            addresses: managed.servers.iter().map(|server| server.address).collect(),
        };
        Snapshot { servers: self.services.iter().map(shown).collect(), leaving: self.leaving_status() }
    }
}

impl Managed {
    fn status(&self) -> VirtualServerStatus {
        let now = Now { instant: super::now(), system: SystemTime::now() };
        let config = self.pool.config();
        VirtualServerStatus {
            id: config.id.to_string(),
            scheduler: config.service.scheduler.as_str().to_owned(),
            forwarding: config.forwarding.to_string(),
            state: if self.pool.has_quorum() {
                VirtualServerState::Up
            } else if self.pool.sorry_active() {
                VirtualServerState::Sorry
            } else {
                VirtualServerState::Down
            },
            quorum: config.quorum,
            keep_at_least: config.keep_at_least,
            alive_weight: self.pool.alive_weight(),
            persistence_timeout_s: config.service.persistence_timeout,
            sorry_server: config.sorry_server.as_ref().map(|sorry| SorryServerStatus {
                address: sorry.address.to_string(),
                active: self.pool.sorry_active(),
            }),
            traffic: TrafficStatus::default(),
            real_servers: self
                .servers
                .iter()
                .zip(&config.real_servers)
                .enumerate()
                .map(|(index, (server, config))| server.status(config, self.pool.view(index), now))
                .collect(),
        }
    }
}

impl Server {
    fn status(&self, config: &RealServer, view: Option<View>, now: Now) -> RealServerStatus {
        let unchecked = self.state.checkers().iter().any(|view| !view.has_run);
        let failed = self.state.checkers().iter().any(|view| view.has_run && !view.up);
        let serving = view.is_some_and(|view| view.serving);
        let order = view.and_then(|view| view.order);
        let weight = view.map_or(0, |view| view.weight);
        let state = match (serving, order) {
            (_, Some(Order::Maint)) => RealServerState::Down,
            (false, _) if config.inhibit_on_failure => RealServerState::Inhibited,
            (false, _) if failed || !unchecked => RealServerState::Down,
            (false, _) => RealServerState::Unknown,
            (true, _) if unchecked && !failed && order.is_none() => RealServerState::Unknown,
            (true, _) if weight == 0 => RealServerState::Drained,
            (true, _) => RealServerState::Up,
        };
        RealServerStatus {
            address: config.address.to_string(),
            weight: config.destination.weight,
            effective_weight: weight,
            state,
            since: humantime::format_rfc3339_millis(self.since).to_string(),
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            traffic: TrafficStatus::default(),
            order: order.map(|order| order.to_string()),
            kept: view.is_some_and(|view| view.kept),
            held_until: view.and_then(|view| view.held_until).map(|until| now.wall(until)),
            slow_start: view.and_then(|view| {
                let until = now.wall(view.slow_until?);
                Some(SlowStartStatus { weight: view.table_weight, until })
            }),
            checks: self
                .checkers
                .iter()
                .zip(self.state.checkers())
                .map(|(checker, view)| checker.status(view))
                .collect(),
        }
    }
}

/// The same moment on both clocks.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    system: SystemTime,
}

impl Now {
    /// A moment to come as RFC 3339.
    fn wall(self, at: Instant) -> String {
        let at = self.system + at.saturating_duration_since(self.instant);
        humantime::format_rfc3339_millis(at).to_string()
    }
}

impl Checker {
    fn status(&self, view: &CheckerView) -> CheckStatus {
        CheckStatus {
            kind: self.check.kind.keyword().to_owned(),
            state: match (view.has_run, view.up) {
                (false, _) => CheckState::Unknown,
                (true, true) => CheckState::Up,
                (true, false) => CheckState::Down,
            },
            warning: self.last.as_ref().and_then(|report| report.warning.as_deref().map(str::to_owned)),
            last_result: self.last.as_ref().map(|report| report.reason.to_string()),
            last_at: self.last.as_ref().map(|report| humantime::format_rfc3339_millis(report.at).to_string()),
            latency_ms: self.last.as_ref().map(|report| report.latency.as_secs_f64() * 1000.0),
        }
    }
}
