//! The stop: VRRP releases, a short grace, then the table is emptied; scripts and FIFOs last.

use std::time::Duration;

use super::tracking::Tracking;
use super::{Daemon, around};
use crate::control::snapshot::Parts;
use crate::director::owner::Stop;
use crate::router::Leave;
use crate::signals::Signals;

/// Between the release of the addresses and the end of the table: packets under way are still balanced.
const GRACE: Duration = Duration::from_millis(250);
/// keepalived waits so long for its notify_stop scripts.
const NOTIFY_STOP_LIMIT: Duration = Duration::from_secs(1);

impl Daemon {
    /// A start that fails leaves no address of a crashed run without its table.
    pub(super) async fn remove_left_addresses(&mut self) {
        let router = self.shared.parts().router.take();
        let limit = self.stop_limit();
        if let Some(router) = router.filter(|_| self.leftover_addresses) {
            let stopping = tokio::task::spawn_blocking(move || router.stop(true, limit));
            let _limit = tokio::time::timeout(limit * 2, stopping).await;
        }
    }

    /// When all else has ended.
    pub(super) async fn run_shutdown_script(&self, signals: &mut Signals) {
        if let Some(script) = around::shutdown(&self.config) {
            self.run_life_script(script, signals).await;
        }
    }

    pub(super) async fn stop(&mut self) {
        let limit = self.stop_limit();
        let Parts { owner, checkers, router, sync } = std::mem::take(&mut *self.shared.parts());
        let stop = if self.options.keep_ipvs { Stop::Keep } else { Stop::Empty };
        self.tracking = Tracking::default();
        self.following = None;
        self.holding = None;
        self.reload_time = None;
        // Beside the rest: it may take the kernel a second.
        let syncing = sync.map(|sync| tokio::task::spawn_blocking(move || sync.stop(stop)));
        if let Some(router) = router {
            let leave = match (self.handed_over, self.options.keep_vrrp) {
                (true, _) => Leave::Everything,
                // What is static goes all the same, as with keepalived.
                (false, true) => Leave::Instances,
                (false, false) => Leave::Nothing,
            };
            let stopping = tokio::task::spawn_blocking(move || router.end(leave, limit));
            let _limit = tokio::time::timeout(limit * 2, stopping).await;
            if leave == Leave::Instances {
                self.notifier.stops().into_iter().for_each(|event| self.events.send(event));
            }
            if checkers.is_some() {
                tokio::time::sleep(GRACE).await;
            }
        }
        if let Some(checkers) = checkers {
            let _limit = tokio::time::timeout(limit * 2, checkers.stop(stop)).await;
        } else if let Some(owner) = owner {
            let stopping = tokio::task::spawn_blocking(move || owner.stop(stop));
            let _limit = tokio::time::timeout(limit * 2, stopping).await;
        }
        if let Some(syncing) = syncing {
            let _limit = tokio::time::timeout(limit * 2, syncing).await;
        }
        self.notifier.drain(NOTIFY_STOP_LIMIT).await;
        self.room.stop().await;
    }
}
