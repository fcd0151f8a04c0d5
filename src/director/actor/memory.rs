//! What the next process is to know of checkers and orders, and what the earlier one knew.

use std::net::SocketAddr;

use lbd_grammar::config::VirtualServerId;
use lbd_health::{Check, CheckKind, CheckerView, Contribution};

use super::{Director, Server};
use crate::director::pool::Order;
use crate::state_file::{SavedCheck, SavedOrder, SavedServer};

impl Director {
    /// Notes what a start would not assume by itself.
    pub(super) fn remember(
        &mut self,
        service: &VirtualServerId,
        address: SocketAddr,
        check: &Check,
        view: CheckerView,
    ) {
        let (weight, percent) = match view.contribution {
            Contribution::Weight(weight) => (Some(weight), None),
            Contribution::Percent(percent) => (None, Some(percent)),
            Contribution::None | Contribution::Add(_) => (None, None),
        };
        let plain = view.up && !check.schedule.alpha && weight.is_none() && percent.is_none();
        if plain || !view.has_run {
            return self.forget(service, address, check);
        }
        let now = SavedCheck { up: view.up, weight, percent };
        let server = self.verdicts.entry((service.clone(), address)).or_default();
        self.verdicts_changed |= server.checks.insert(fingerprint(check), now) != Some(now);
    }

    pub(super) fn forget(&mut self, service: &VirtualServerId, address: SocketAddr, check: &Check) {
        if self.verdicts.is_empty() {
            return;
        }
        let key = (service.clone(), address);
        let Some(server) = self.verdicts.get_mut(&key) else { return };
        self.verdicts_changed |= server.checks.remove(&fingerprint(check)).is_some();
        if *server == SavedServer::default() {
            self.verdicts.remove(&key);
        }
    }

    /// A server has gone.
    pub(super) fn forget_server(&mut self, service: &VirtualServerId, server: &Server) {
        if !self.verdicts.is_empty() {
            let gone = self.verdicts.remove(&(service.clone(), server.address));
            self.verdicts_changed |= gone.is_some();
        }
    }

    /// Notes what the operator wants of a server.
    pub(super) fn remember_order(
        &mut self,
        service: &VirtualServerId,
        address: SocketAddr,
        order: Option<Order>,
    ) {
        let key = (service.clone(), address);
        let server = self.verdicts.entry(key.clone()).or_default();
        let order = order.map(SavedOrder::from);
        self.verdicts_changed |= server.order != order;
        server.order = order;
        if *server == SavedServer::default() {
            self.verdicts.remove(&key);
        }
    }

    /// What the operator wanted of a server when the earlier process ended without a stop. From now on it
    /// is to be remembered again.
    pub(super) fn saved_order(&mut self, service: &VirtualServerId, address: SocketAddr) -> Option<Order> {
        let order = self.options.saved.get(&(service.clone(), address))?.order?;
        self.remember_order(service, address, Some(order.into()));
        Some(order.into())
    }

    /// What an earlier process found: the same check, else the only one of its kind.
    pub(super) fn saved(
        &self,
        service: &VirtualServerId,
        address: SocketAddr,
        check: &Check,
    ) -> Option<SavedCheck> {
        // Its file says it anew.
        if matches!(check.kind, CheckKind::File(_)) {
            return None;
        }
        let checks = &self.options.saved.get(&(service.clone(), address))?.checks;
        let alike = || {
            let mut alike = checks.iter().filter(|(print, _)| {
                print.strip_prefix(check.kind.keyword()).is_some_and(|rest| rest.starts_with(' '))
            });
            alike.next().filter(|_| alike.next().is_none()).map(|(_, saved)| saved)
        };
        checks.get(&fingerprint(check)).or_else(alike).copied()
    }
}

/// What a checker asks, as text that the next process understands.
fn fingerprint(check: &Check) -> String {
    match &check.kind {
        CheckKind::Misc(misc) => format!("MISC_CHECK {}", misc.script.0),
        kind => format!("{} {kind:?}", kind.keyword()),
    }
}
