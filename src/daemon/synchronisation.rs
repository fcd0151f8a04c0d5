//! lvs_sync_daemon: which roles are wanted, by the configuration and the virtual router that they follow.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use lbd_grammar::config::{Config, SyncDaemon as SyncDaemonConfig};
use lbd_ipvs::{SyncDaemon, SyncState};
use tokio::sync::watch;
use tracing::warn;

use super::start::client;
use super::{Daemon, Failure};
use crate::control::snapshot::Parts;
use crate::director::sync::{self, SyncHandle, SyncOptions};
use crate::router::{Router, RouterSnapshot};
use crate::track::synchronised;

/// A task that ends with its owner.
pub(super) struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl AbortOnDrop {
    pub fn of(task: tokio::task::JoinHandle<()>) -> Self {
        AbortOnDrop(task)
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Daemon {
    /// The thread for connection synchronisation, where one is configured or was.
    pub(super) fn start_sync(&mut self, config: &Config, owned: BTreeSet<SyncState>) -> Result<(), Failure> {
        let configured = config.global.sync_daemon.as_ref().is_some_and(|one| self.serves_sync(one));
        if self.shared.parts().sync.is_some() || (!configured && owned.is_empty()) {
            return Ok(());
        }
        let namespace = self.namespace.clone();
        let handle = SyncHandle::start(SyncOptions {
            connect: Box::new(move || Ok(Box::new(client(&namespace)?))),
            state: self.state.clone(),
            owned,
            events: self.events.clone(),
        })
        .map_err(|error| Failure::Run(format!("thread: {error}")))?;
        self.shared.parts().sync = Some(handle);
        Ok(())
    }

    /// With an instance it goes with VRRP, else with the checkers.
    fn serves_sync(&self, daemon: &SyncDaemonConfig) -> bool {
        if daemon.instance.is_some() { self.options.parts.vrrp } else { self.options.parts.checkers }
    }

    /// Has the synchronisation daemons follow what the configuration that runs says.
    pub(super) fn follow(&mut self) {
        let Parts { sync, router, .. } = self.shared.parts().clone();
        let Some(sync) = sync else { return };
        let daemon = self.config.global.sync_daemon.clone().filter(|one| self.serves_sync(one));
        let roles = |roles: &[SyncState]| {
            daemon.iter().flat_map(|one| roles.iter().map(|role| wanted(one, *role))).collect()
        };
        let instance = daemon.as_ref().and_then(|one| one.instance.clone());
        self.following = None;
        match (instance, router) {
            (None, _) => sync.set(roles(&[SyncState::Master, SyncState::Backup])),
            (Some(name), router) => {
                if !self.config.vrrp_instances.iter().any(|one| one.router.name == name) {
                    warn!(
                        "lvs_sync_daemon follows vrrp_instance {name}, which does not run: it stays backup"
                    );
                }
                let Some(router) = router else { return sync.set(roles(&[SyncState::Backup])) };
                let sides = (roles(&[SyncState::Master]), roles(&[SyncState::Backup]));
                let following = tokio::spawn(follow_instance(router.snapshot(), name, sides, sync));
                self.following = Some(AbortOnDrop(following));
            }
        }
    }
}

impl Daemon {
    /// Virtual routers that are to know connections before they preempt: at a start all, at a reload those that
    /// waited still.
    pub(super) fn hold_preemption(&mut self, config: &Config, router: &Arc<Router>) {
        let waiting = self.held_back.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let waits = |name: &Arc<str>| self.starting || waiting.contains(name);
        let rules: Vec<_> = config
            .vrrp_instances
            .iter()
            .filter(|instance| instance.preempt_sync.waits() && waits(&instance.router.name))
            .map(|instance| (instance.router.name.clone(), instance.preempt_sync.clone()))
            .collect();
        self.holding = None;
        if rules.is_empty() && waiting.is_empty() {
            return;
        }
        let (router, held_back) = (router.clone(), self.held_back.clone());
        let hold = move |names: BTreeSet<Arc<str>>| {
            held_back.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&names);
            router.hold_preemption(names);
        };
        hold(rules.iter().map(|(name, _)| name.clone()).collect());
        let looking = synchronised::run(rules, self.started, self.shared.clone(), hold);
        self.holding = Some(AbortOnDrop(tokio::spawn(looking)));
    }
}

/// A daemon of lvs_sync_daemon in one of its roles.
fn wanted(daemon: &SyncDaemonConfig, state: SyncState) -> (SyncState, SyncDaemon) {
    let SyncDaemonConfig { interface, id, max_length, port, ttl, group, instance: _ } = daemon;
    let daemon = SyncDaemon {
        state,
        interface: interface.clone(),
        sync_id: *id,
        max_length: max_length.map(std::num::NonZeroU16::get),
        group: *group,
        port: *port,
        ttl: ttl.map(std::num::NonZeroU8::get),
    };
    (state, daemon)
}

/// lvs_sync_daemon with inst: master while the virtual router is, else backup.
async fn follow_instance(
    mut snapshot: watch::Receiver<Arc<RouterSnapshot>>,
    name: Arc<str>,
    (master, backup): (sync::Wanted, sync::Wanted),
    sync: SyncHandle,
) {
    let mut was = None;
    loop {
        let is_master = {
            let snapshot = snapshot.borrow_and_update();
            let found = snapshot.instances.iter().find(|one| *one.status.name == *name);
            // Before VRRP has begun nobody knows whether it will go on as master.
            snapshot.begun.then(|| found.is_some_and(|one| one.master))
        };
        if let Some(is_master) = is_master
            && was.replace(is_master) != Some(is_master)
        {
            sync.set(if is_master { master.clone() } else { backup.clone() });
        }
        if snapshot.changed().await.is_err() {
            return;
        }
    }
}
