//! What a reload does when its configuration is taken, and what is taken back when a part refuses it.
//!
//! Not here: reading and judging it (`reload`).

use std::collections::BTreeSet;
use std::sync::Arc;

use lbd_grammar::config::Config;
use tracing::{error, warn};

use super::start::settings;
use super::{CONVERGE_LIMIT, Daemon, Failure};

impl Daemon {
    /// Adding comes before removing: programs and tables are there before what needs them.
    pub(super) async fn apply(&mut self, config: &Arc<Config>) -> Result<(), Failure> {
        let checkers = self.shared.parts().checkers.clone();
        let router = self.shared.parts().router.clone();
        // It may be refused: before anything is changed.
        let opened = match router {
            None if self.needs_router(config) => Some(self.open_router(config, Vec::new())?),
            _ => None,
        };
        self.start_sync(config, BTreeSet::new())?;
        self.mask_files(config);
        self.room.update(&config.scripts, &config.global).await;
        self.notifier.open(config).await;
        self.files.track(config).await;
        match checkers {
            Some(checkers) => {
                checkers.owner().set_settings(settings(config));
                self.notifier.update(config);
                checkers
                    .director()
                    .reload(config.clone())
                    .await
                    .map_err(|error| Failure::Run(error.to_string()))?;
                if !checkers.owner().flush_wait(CONVERGE_LIMIT).await {
                    warn!("the kernel's table is not complete yet: `lbctl status` shows what is refused");
                }
            }
            None if self.options.parts.checkers && !config.virtual_servers.is_empty() => {
                self.start_checkers(config).await?;
            }
            None => {}
        }
        self.notifier.update(config);
        // What is tracked is known before who tracks it: no virtual router waits for it, and no priority jumps.
        match (router, opened) {
            (Some(router), _) => {
                let (before, wants) = (router.clone(), self.host(config));
                let prepared = tokio::task::spawn_blocking(move || before.prepare(wants)).await;
                if let Ok(Err(error)) = prepared {
                    error!(%error, "interfaces and the packet filter of virtual routers stay as they were");
                }
                self.hold_preemption(config, &router);
                let scheduling = config.global.scheduling.vrrp.clone();
                self.track(config).await;
                router.reload(self.setup(config), scheduling, self.network(config));
            }
            (None, Some(router)) => {
                let router = Arc::new(router);
                self.shared.parts().router = Some(Arc::clone(&router));
                self.track(config).await;
                self.begin_router(&router);
            }
            (None, None) => {}
        }
        self.notifier.tell_states();
        Ok(())
    }

    /// Takes back what of a configuration was applied before it was refused. Virtual routers are never
    /// among it: they come last in [`Daemon::apply`].
    pub(super) async fn restore(&mut self) {
        let config = self.config.clone();
        self.mask_files(&config);
        self.room.update(&config.scripts, &config.global).await;
        self.notifier.open(&config).await;
        self.notifier.update(&config);
        let checkers = self.shared.parts().checkers.clone();
        self.files.track(&config).await;
        self.track(&config).await;
        if let Some(checkers) = &checkers {
            checkers.owner().set_settings(settings(&config));
        }
        if let Some(checkers) = checkers
            && let Err(error) = checkers.director().reload(config).await
        {
            error!(%error, "the virtual servers may be those of the refused configuration");
        }
    }
}
