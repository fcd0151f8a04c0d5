//! Where the values of `lbctl status` come from, and how `lbctl reload` reaches the daemon.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lbd_grammar::{Config, Secrets};
use tokio::sync::{mpsc, oneshot};

use super::server::{Answer, Backend};
use super::status::{ConfigStatus, InstanceStatus, IpvsStatus, Status, VrrpStatus};
use super::{ReloadOutcome, ServerDone, ServerOrder};
use crate::director::checkers::Checkers;
use crate::director::owner::OwnerHandle;
use crate::router::Router;

/// What the control API reads while the daemon works.
pub struct Shared {
    /// Start of the process.
    pub started: Instant,
    /// router_id
    pub router_id: Mutex<Option<String>>,
    /// About the configuration that runs.
    pub config: Mutex<ConfigStatus>,
    /// That configuration.
    pub running: Mutex<Arc<Config>>,
    /// What runs.
    pub parts: Mutex<Parts>,
    /// Asks the daemon to read its configuration again.
    pub reloads: mpsc::Sender<oneshot::Sender<ReloadOutcome>>,
}

/// The daemon's parts; each is there once it runs.
#[derive(Clone, Default)]
pub struct Parts {
    /// The table owner.
    pub owner: Option<OwnerHandle>,
    /// Checkers, director, and the table owner too.
    pub checkers: Option<Arc<Checkers>>,
    /// VRRP.
    pub router: Option<Arc<Router>>,
}

impl Shared {
    /// What runs.
    pub fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn status(&self) -> Status {
        let Parts { checkers, router, .. } = self.parts().clone();
        let (virtual_servers, ipvs) = match checkers {
            Some(checkers) => checkers.status().await.unwrap_or_else(|error| {
                let ipvs = IpvsStatus { last_error: Some(error.to_string()), ..IpvsStatus::default() };
                (Vec::new(), ipvs)
            }),
            None => Default::default(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            router_id: self.router_id.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            config: self.config.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ipvs,
            virtual_servers,
            vrrp: VrrpStatus {
                instances: router.map(|router| instances(&router)).unwrap_or_default(),
                sync_groups: Vec::new(),
            },
        }
    }
}

/// The control API's view of the daemon.
pub struct Api(pub Arc<Shared>);

impl Backend for Api {
    fn status(&self) -> Answer<Status> {
        let shared = self.0.clone();
        Box::pin(async move { shared.status().await })
    }

    fn config(&self, secrets: Secrets) -> Answer<String> {
        let config = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(dumped(config, secrets))
    }

    fn server(&self, order: ServerOrder) -> Answer<Result<ServerDone, String>> {
        let checkers = self.0.parts().checkers.clone();
        Box::pin(async move {
            let Some(checkers) = checkers else {
                return Err("there are no virtual servers".to_owned());
            };
            checkers.director().operate(order).await.unwrap_or_else(|error| Err(error.to_string()))
        })
    }

    fn reload(&self) -> Answer<ReloadOutcome> {
        let reloads = self.0.reloads.clone();
        Box::pin(async move {
            let (answer, receiver) = oneshot::channel();
            let asked = reloads.send(answer).await.is_ok();
            match receiver.await {
                Ok(outcome) if asked => outcome,
                _ => ReloadOutcome { message: "lbd is stopping".to_owned(), ..ReloadOutcome::default() },
            }
        })
    }
}

/// Of thousands of servers this is many megabytes: on a thread where nobody else waits.
async fn dumped(config: Arc<Config>, secrets: Secrets) -> String {
    let text = tokio::task::spawn_blocking(move || lbd_grammar::dump(&config, secrets));
    text.await.expect("the thread is not cancelled; its panic is this task's, which is answered")
}

fn instances(router: &Router) -> Vec<InstanceStatus> {
    router.snapshot().borrow().instances.iter().map(|instance| instance.status.clone()).collect()
}
