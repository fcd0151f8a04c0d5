//! Where the values of `lbctl status` come from, and how `lbctl reload` reaches the daemon.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lbd_grammar::{Config, Secrets};
use tokio::sync::{mpsc, oneshot};

use super::plan::{Plan, PlanRequest};
use super::server::{Answer, Backend};
use super::status::SyncDaemonStatus;
use super::status::{ConfigStatus, IpvsStatus, Status};
use super::{HandoverStarted, ReloadOutcome, ServerDone, ServerOrder};
use crate::director::checkers::Checkers;
use crate::director::owner::OwnerHandle;
use crate::director::sync::SyncHandle;
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
    /// Asks the daemon to do something with its configuration or itself.
    pub requests: mpsc::Sender<Request>,
}

/// What the daemon itself is asked for.
pub enum Request {
    /// To read its configuration again.
    Reload(oneshot::Sender<ReloadOutcome>),
    /// To say what that would do.
    Plan(PlanRequest, oneshot::Sender<Result<Plan, String>>),
    /// To end and leave everything in the kernel; when that was asked.
    Handover(Instant, oneshot::Sender<Result<HandoverStarted, String>>),
}

/// The daemon's parts; each is there once it runs.
#[derive(Clone, Default)]
pub struct Parts {
    /// The table owner.
    pub owner: Option<OwnerHandle>,
    /// Connection synchronisation.
    pub sync: Option<SyncHandle>,
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
        let Parts { checkers, router, sync, .. } = self.parts().clone();
        let (virtual_servers, mut ipvs) = match checkers {
            Some(checkers) => checkers.status().await.unwrap_or_else(|error| {
                let ipvs = IpvsStatus { last_error: Some(error.to_string()), ..IpvsStatus::default() };
                (Vec::new(), ipvs)
            }),
            None => Default::default(),
        };
        if let Some(sync) = sync {
            let sync = sync.status();
            let shown = |daemon: &lbd_ipvs::SyncDaemon| SyncDaemonStatus {
                role: daemon.state.to_string(),
                interface: daemon.interface.clone(),
                id: daemon.sync_id,
            };
            ipvs.sync_daemons = sync.running.values().map(shown).collect();
            ipvs.sync_error = sync.error;
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            router_id: self.router_id.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            config: self.config.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ipvs,
            virtual_servers,
            vrrp: router.map(|router| router.status()).unwrap_or_default(),
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
        let requests = self.0.requests.clone();
        Box::pin(async move {
            let stopping = ReloadOutcome { message: STOPPING.to_owned(), ..ReloadOutcome::default() };
            ask(requests, Request::Reload).await.unwrap_or(stopping)
        })
    }

    fn plan(&self, request: PlanRequest) -> Answer<Result<Plan, String>> {
        let requests = self.0.requests.clone();
        Box::pin(async move {
            let question = |answer| Request::Plan(request, answer);
            ask(requests, question).await.unwrap_or_else(|| Err(STOPPING.to_owned()))
        })
    }

    fn handover(&self) -> Answer<Result<HandoverStarted, String>> {
        let requests = self.0.requests.clone();
        let asked = Instant::now();
        Box::pin(async move {
            let question = |answer| Request::Handover(asked, answer);
            ask(requests, question).await.unwrap_or_else(|| Err(STOPPING.to_owned()))
        })
    }
}

const STOPPING: &str = "lbd is stopping";

/// The daemon's answer; `None` when it stops first.
async fn ask<T>(
    requests: mpsc::Sender<Request>,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (answer, receiver) = oneshot::channel();
    requests.send(question(answer)).await.ok()?;
    receiver.await.ok()
}

/// Of thousands of servers this is many megabytes: on a thread where nobody else waits.
async fn dumped(config: Arc<Config>, secrets: Secrets) -> String {
    let text = tokio::task::spawn_blocking(move || lbd_grammar::dump(&config, secrets));
    text.await.expect("the thread is not cancelled; its panic is this task's, which is answered")
}
