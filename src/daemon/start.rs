//! The second stage of a start: each part in its turn, with what the configuration wants of it.
//!
//! The table is complete before the first MASTER. Not here: the first stage (`begin`), what a reload does (`apply`).

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lbd_grammar::config::{Config, FlushOnStop};
use lbd_ipvs::IpvsError;
use lbd_vrrp::Setup;
use tokio::sync::watch;
use tracing::warn;

use super::monitoring::log_addresses;
use super::{CONVERGE_LIMIT, Daemon, Failure, host};
use crate::director::actor::DirectorOptions;
use crate::director::checkers::Checkers;
use crate::director::owner::{self, OwnerOptions, Settings, TableOwner};
use crate::namespace::Namespace;
use crate::remember::Remember;
use crate::router::{HostWants, Interfaces, Network, Router, RouterOptions, RouterSnapshot, startup};
use crate::state_file::{Saved, SavedInstance};
use crate::track::files;

/// How long a master that resumes waits for the first results of its scripts.
const SCRIPTS_FIRST: Duration = Duration::from_millis(500);

impl Daemon {
    pub(super) async fn start(&mut self, config: &Arc<Config>, saved: Saved) -> Result<(), Failure> {
        self.mask_files(config);
        if let Some(directory) = &config.global.save_dir {
            self.saver.prepare(directory).await;
        }
        self.notifier.open(config).await;
        self.notifier.update(config);
        let left_services = !saved.owned.is_empty() || saved.timeouts.is_some();
        // Addresses of virtual routers that the configuration no longer has may be on a peer by now.
        let left_addresses = self.options.parts.vrrp && self.leftover_addresses;
        let needed = self.needs_router(config);
        // It may be refused: before anything is changed.
        let router = if needed || left_addresses {
            match self.open_router(config, saved.instances.clone()) {
                Err(failure) if !needed => {
                    warn!("virtual addresses of an earlier run are not removed: {failure}");
                    None
                }
                router => Some(router?),
            }
        } else {
            None
        };
        if router.is_none() && self.options.address_monitoring {
            warn!("-a: addresses are watched where there are virtual routers only");
        }
        // From here on a stop removes what an earlier run left.
        let router = router.map(Arc::new);
        self.shared.parts().router.clone_from(&router);
        let resumes = self.options.take_over || saved.instances.iter().any(|instance| instance.master);
        self.start_sync(config, saved.sync.clone())?;
        let config_of_files = config.clone();
        let _panicked =
            tokio::task::spawn_blocking(move || files::initialize(config_of_files.track_files.values()))
                .await;
        self.files.track(config).await;
        if self.options.parts.checkers && (!config.virtual_servers.is_empty() || left_services) {
            self.saved = saved;
            match self.start_checkers(config).await {
                Ok(()) => {}
                // Nothing is to be balanced; what an earlier process left cannot be removed.
                Err(failure) if config.virtual_servers.is_empty() => {
                    warn!("services of an earlier run are not removed: {failure}");
                }
                Err(failure) => return Err(failure),
            }
        }
        self.adjust_threads(config);
        if let Some(router) = router {
            self.track(config).await;
            if resumes && let Some(tracker) = &self.tracking.scripts {
                // A master that goes on advertises its priority with what its scripts add.
                tracker.settled(SCRIPTS_FIRST).await;
            }
            self.hold_preemption(config, &router);
            self.begin_router(&router);
        }
        self.follow();
        Ok(())
    }

    /// The router's threads also tell which addresses are on this host (ha_suspend).
    pub(super) fn needs_router(&self, config: &Config) -> bool {
        let watches = self.options.parts.checkers && config.virtual_servers.iter().any(|one| one.ha_suspend);
        let fixed = !(config.static_addresses.is_empty()
            && config.static_routes.is_empty()
            && config.static_rules.is_empty());
        watches || self.options.parts.vrrp && (fixed || !config.vrrp_instances.is_empty())
    }

    pub(super) async fn start_checkers(&mut self, config: &Arc<Config>) -> Result<(), Failure> {
        let saved = self.saved.clone();
        let options = OwnerOptions {
            owned: saved.owned,
            timeouts_before: saved.timeouts,
            // Only at the start: a reload that brings the first virtual server finds a table in use.
            flush: config.global.lvs_flush && self.shared.parts().checkers.is_none() && self.starting,
            ..self.owner_options(settings(config))
        };
        self.namespace.run(|| ())?;
        let owner = tokio::task::spawn_blocking(move || TableOwner::start(options))
            .await
            .map_err(|error| Failure::Run(error.to_string()))??;
        let (remember, leaving) = (self.remember.clone(), self.remember.clone());
        let options = DirectorOptions {
            owner: owner.clone(),
            tools: self.tools.clone(),
            events: self.events.clone(),
            saved: saved.verdicts,
            remember: Box::new(move |verdicts| remember.verdicts(verdicts)),
            saved_leaving: saved.leaving,
            remember_leaving: Box::new(move |servers| leaving.leaving(servers)),
            local_addresses: self.local.subscribe(),
        };
        // Before the waits, which a stop may end: the stop empties what is in the table already.
        self.shared.parts().owner = Some(owner.clone());
        let checkers = Checkers::start(options, config.clone())
            .await
            .map_err(|error| Failure::Run(format!("checkers: {error}")))?;
        let (director, lost) = (checkers.director().clone(), self.lost.clone());
        tokio::spawn(async move {
            director.ended().await;
            let _full = lost.try_send("the director (virtual servers and checks)");
        });
        self.shared.parts().checkers = Some(Arc::new(checkers));
        self.adjust_threads(config);
        self.saved = Saved::default();
        if !owner.flush_wait(CONVERGE_LIMIT).await {
            warn!("the kernel's table is not complete yet: `lbctl status` shows what is refused");
        }
        Ok(())
    }

    pub(super) fn owner_options(&self, settings: Settings) -> OwnerOptions {
        let namespace = self.namespace.clone();
        OwnerOptions {
            connect: Box::new(move || Ok(Box::new(client(&namespace)?))),
            state: self.state.clone(),
            owned: Default::default(),
            timeouts_before: None,
            flush: false,
            settings,
            events: self.events.clone(),
            processor: owner::processor_time,
        }
    }

    /// A router of which no virtual router takes part yet. When it is dropped, nothing has happened.
    pub(super) fn open_router(&self, config: &Config, saved: Vec<SavedInstance>) -> Result<Router, Failure> {
        Ok(Router::start(RouterOptions {
            setup: self.setup(config),
            network: self.network(config),
            scheduling: config.global.scheduling.vrrp.clone(),
            saved: if self.options.parts.vrrp { saved } else { Vec::new() },
            take_over: self.options.take_over && self.starting,
            host: self.host(config),
            state: self.paths.state_file.clone(),
            events: self.events.clone(),
        })?)
    }

    pub(super) fn begin_router(&self, router: &Router) {
        router.begin();
        let (remembering, lost) =
            (remember_instances(router.snapshot(), self.remember.clone()), self.lost.clone());
        tokio::spawn(async move {
            remembering.await;
            let _full = lost.try_send("VRRP");
        });
        tokio::spawn(local_addresses(router.interfaces(), self.local.clone()));
        if self.options.address_monitoring {
            tokio::spawn(log_addresses(router.interfaces()));
        }
    }

    pub(super) fn host(&self, config: &Config) -> HostWants {
        if self.options.parts.vrrp { host::wants(config) } else { HostWants::default() }
    }

    /// Without VRRP there are no virtual routers.
    pub(super) fn setup(&self, config: &Config) -> Setup {
        if !self.options.parts.vrrp {
            return Setup::default();
        }
        let mut setup = config.vrrp_setup();
        let after_boot = config.global.vrrp.delay_after_boot;
        setup.startup_delay = startup::startup_delay(setup.startup_delay, after_boot, startup::uptime());
        setup
    }

    /// Routes, rules and what is static; without VRRP there are none.
    pub(super) fn network(&self, config: &Config) -> Network {
        if self.options.parts.vrrp { Network::of(config) } else { Network::default() }
    }
}

/// What of global_defs concerns the table.
pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        timeouts: config.global.lvs_timeouts,
        flush_on_stop: config.global.lvs_flush_on_stop == FlushOnStop::Table,
    }
}

/// A connection to the table of a namespace.
pub(super) fn client(namespace: &Namespace) -> Result<lbd_ipvs::Client, IpvsError> {
    let namespace = namespace.clone();
    lbd_ipvs::Client::connect_by(move || {
        let made = namespace.run(|| lbd_ipvs::transport::NetlinkTransport::new(lbd_ipvs::client::TIME_LIMIT));
        made.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    })
}

/// Publishes the addresses of this host, for ha_suspend.
async fn local_addresses(
    mut interfaces: watch::Receiver<Arc<Interfaces>>,
    local: watch::Sender<HashSet<IpAddr>>,
) {
    loop {
        let addresses: HashSet<IpAddr> = interfaces
            .borrow_and_update()
            .by_name
            .values()
            .flat_map(|interface| interface.addresses.iter().map(|(address, _)| *address))
            .collect();
        local.send_if_modified(|now| {
            let changed = *now != addresses;
            *now = addresses;
            changed
        });
        if interfaces.changed().await.is_err() {
            return;
        }
    }
}

/// Writes down who is master and when it last said so, for a process that starts after a crash.
async fn remember_instances(mut snapshot: watch::Receiver<Arc<RouterSnapshot>>, remember: Remember) {
    while snapshot.changed().await.is_ok() {
        let snapshot = snapshot.borrow_and_update();
        // Before that nobody is master, and the file still says who was.
        if snapshot.begun {
            remember.instances(snapshot.saved());
        }
    }
}
