//! The director: checkers' reports in; wanted parts for the table owner and events out.
//!
//! One task on the checkers' runtime owns every virtual server's state. Here: starting and ending
//! checkers, reload by identity, status. Not here: what follows from a verdict (`pool`), how a check
//! is made (`lbd_health`), the kernel (`owner`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lbd_grammar::config::{Config, RealServer, VirtualServer, VirtualServerId};
use lbd_health::{
    Check, CheckKind, CheckerHandle, CheckerView, Contribution, Report, ServerState, Start, Tools,
};
use lbd_ipvs::ServiceId;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use super::owner::{OwnerHandle, Part, PartId};
use super::parts::{self, Services};
use super::pool::{Pool, QuorumChange, Standing};
use crate::control::status::{
    CheckState, CheckStatus, RealServerState, RealServerStatus, SorryServerStatus, VirtualServerState,
    VirtualServerStatus,
};
use crate::event::{Cause, Event, EventSender};
use crate::state_file::{SavedCheck, Verdicts};

/// Reports waiting for the director. When full, checkers wait with theirs: nothing is lost.
const REPORT_QUEUE: usize = 4096;
/// Commands waiting for the director. When full, callers wait.
const COMMAND_QUEUE: usize = 16;
/// How long the first checks wait for the table.
const TABLE_FIRST: Duration = Duration::from_secs(5);
/// Reports handled before the wanted parts go out together.
const BATCH: usize = 256;

/// What a director works with.
pub struct DirectorOptions {
    /// The table owner.
    pub owner: OwnerHandle,
    /// What checks need of the process around them.
    pub tools: Arc<Tools>,
    /// Where transitions go.
    pub events: EventSender,
    /// What the checkers of the earlier process found.
    pub saved: Verdicts,
    /// Takes the verdicts to remember; must not block.
    pub remember: Box<dyn Fn(Verdicts) + Send>,
    /// Whether the virtual servers' addresses are on this host (ha_suspend).
    pub local_addresses: watch::Receiver<std::collections::HashSet<std::net::IpAddr>>,
}

/// A running director.
#[derive(Clone)]
pub struct DirectorHandle {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Reload(Arc<Config>, oneshot::Sender<()>),
    Status(oneshot::Sender<Vec<Shown>>),
    Stop(oneshot::Sender<()>),
}

/// The director did not answer in time, or has ended.
#[derive(Debug, thiserror::Error)]
#[error("the checkers' thread did not answer within {} s", LIMIT.as_secs())]
pub struct NoAnswer;

const LIMIT: Duration = Duration::from_secs(10);

impl DirectorHandle {
    /// Starts the director on the current runtime. The initial wants of all virtual servers are with
    /// the table owner when this returns.
    pub fn start(options: DirectorOptions, config: &Config) -> Self {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let (reports, incoming) = mpsc::channel(REPORT_QUEUE);
        let mut director = Director {
            options,
            reports,
            services: Vec::new(),
            places: HashMap::new(),
            next_key: 0,
            verdicts: Verdicts::new(),
            verdicts_changed: false,
            dirty: BTreeMap::new(),
        };
        director.apply(config);
        // Also when it is empty: what an earlier process left is removed with the first set.
        director.options.owner.set_parts(std::mem::take(&mut director.dirty).into_iter().collect());
        director.flush();
        // What the earlier process saw matters for the start only.
        director.options.saved.clear();
        tokio::spawn(director.run(receiver, incoming));
        DirectorHandle { commands }
    }

    /// Takes over a new configuration; returns when the wants are with the table owner.
    ///
    /// # Errors
    /// [`NoAnswer`] after 10 s.
    pub async fn reload(&self, config: Arc<Config>) -> Result<(), NoAnswer> {
        self.ask(|answer| Command::Reload(config, answer)).await
    }

    /// Every virtual server, without the kernel's counters.
    ///
    /// # Errors
    /// [`NoAnswer`] after 10 s.
    pub async fn status(&self) -> Result<Vec<Shown>, NoAnswer> {
        self.ask(Command::Status).await
    }

    /// Ends all checkers; with omega, the down-notifications are sent first.
    ///
    /// # Errors
    /// [`NoAnswer`] after 10 s.
    pub async fn stop(&self) -> Result<(), NoAnswer> {
        self.ask(Command::Stop).await
    }

    /// Ends when the director does, by [`stop`](Self::stop) or by a panic.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NoAnswer> {
        let (answer, receiver) = oneshot::channel();
        let exchange = async {
            self.commands.send(command(answer)).await.map_err(|_| NoAnswer)?;
            receiver.await.map_err(|_| NoAnswer)
        };
        tokio::time::timeout(LIMIT, exchange).await.map_err(|_| NoAnswer)?
    }
}

/// A virtual server as status shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Without the kernel's counters.
    pub status: VirtualServerStatus,
    /// The services that it drives.
    pub services: Services,
    /// Its real servers' addresses, in the status's order.
    pub addresses: Vec<SocketAddr>,
}

struct Director {
    options: DirectorOptions,
    reports: mpsc::Sender<(u64, Report)>,
    services: Vec<Managed>,
    /// Checker → where it is now; a report of a checker that is gone finds no place.
    places: HashMap<u64, Place>,
    next_key: u64,
    verdicts: Verdicts,
    verdicts_changed: bool,
    dirty: BTreeMap<PartId, Option<Part>>,
}

#[derive(Clone, Copy)]
struct Place {
    service: usize,
    server: usize,
    checker: usize,
}

struct Managed {
    pool: Pool,
    services: Services,
    servers: Vec<Server>,
    suspended: watch::Sender<bool>,
}

struct Server {
    address: SocketAddr,
    since: SystemTime,
    state: ServerState,
    /// In the order of the configuration, as in `state`.
    checkers: Vec<Checker>,
}

struct Checker {
    key: u64,
    check: Arc<Check>,
    last: Option<Report>,
    task: Task,
}

/// Checkers of a real server that a reload keeps, with what they know.
type Kept = Vec<(Checker, CheckerView)>;

enum Task {
    /// Started when the table has what is wanted so far: checking does not hold up serving.
    Waiting(Start),
    Running(#[expect(dead_code, reason = "held for its Drop")] CheckerHandle),
}

impl Director {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut incoming: mpsc::Receiver<(u64, Report)>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut local = self.options.local_addresses.clone();
        // Refused or late, the table's owner goes on by itself.
        let _converged = self.options.owner.flush_wait(TABLE_FIRST).await;
        self.start_checkers();
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Reload(config, done)) => {
                        self.apply(&config);
                        self.flush();
                        self.start_checkers();
                        let _gone = done.send(());
                    }
                    Some(Command::Status(answer)) => {
                        let _gone = answer.send(self.status());
                    }
                    Some(Command::Stop(done)) => {
                        self.stop();
                        let _gone = done.send(());
                        return;
                    }
                    None => return,
                },
                _count = incoming.recv_many(&mut batch, BATCH) => {
                    for (key, report) in batch.drain(..) {
                        // One server's trouble is not the others'.
                        let taken = catch_unwind(AssertUnwindSafe(|| self.on_report(key, report)));
                        if taken.is_err() {
                            error!("a checker's report was lost to a panic; its next one counts");
                        }
                    }
                    self.flush();
                }
                Ok(()) = local.changed() => self.suspend(),
            }
        }
    }

    /// Hands the changed wants and verdicts on.
    fn flush(&mut self) {
        if !self.dirty.is_empty() {
            self.options.owner.set_parts(std::mem::take(&mut self.dirty).into_iter().collect());
        }
        if std::mem::take(&mut self.verdicts_changed) {
            (self.options.remember)(self.verdicts.clone());
        }
    }

    fn on_report(&mut self, key: u64, report: Report) {
        let Some(place) = self.places.get(&key).copied() else { return };
        let Some(managed) = self.services.get_mut(place.service) else { return };
        let Some(server) = managed.servers.get_mut(place.server) else { return };
        let Some(checker) = server.checkers.get_mut(place.checker) else { return };
        let check = checker.check.clone();
        checker.last = Some(report.clone());
        server.state.set(place.checker, report.view());
        let virtual_server = managed.pool.config().clone();
        let Some(config) = virtual_server.real_servers.get(place.server) else { return };
        let service = &virtual_server.id;
        let Some(before) = managed.pool.standing(place.server) else { return };
        let standing = standing(server, config);
        if report.failed_try && !report.changed && check.schedule.log_all_failures {
            self.options.events.send(Event::CheckFailed {
                service: service.clone(),
                address: config.address,
                check: check.kind.keyword(),
                reason: report.reason.to_string(),
            });
        }
        if let Some(warning) = report.warning.as_ref().filter(|_| report.new_warning) {
            self.options.events.send(Event::CheckWarning {
                service: service.clone(),
                address: config.address,
                check: check.kind.keyword(),
                warning: warning.to_string(),
            });
        }
        let announced = report.first && check.schedule.alpha && !report.up;
        if standing.alive != before.alive || announced {
            server.since = report.at;
            self.options.events.send(Event::RealServer {
                service: service.clone(),
                address: config.address,
                up: standing.alive,
                inhibited: config.inhibit_on_failure,
                cause: Cause::Result,
                reason: format!("{}: {}", check.kind.keyword(), report.reason),
            });
        }
        if standing.weight != before.weight {
            self.options.events.send(Event::Weight {
                service: service.clone(),
                address: config.address,
                from: before.weight,
                to: standing.weight,
            });
        }
        if standing != before {
            let change = managed.pool.update(place.server, standing);
            self.dirty.insert(service.clone(), Some(managed.part()));
            announce_quorum(&self.options.events, service, change, Cause::Result);
        }
        self.remember(service, config.address, &check, report.view());
    }

    /// Notes what a start would not assume by itself.
    fn remember(&mut self, service: &VirtualServerId, address: SocketAddr, check: &Check, view: CheckerView) {
        let weight = match view.contribution {
            Contribution::Weight(weight) => Some(weight),
            Contribution::None | Contribution::Add(_) | Contribution::Percent(_) => None,
        };
        let plain = view.up && !check.schedule.alpha && weight.is_none();
        if plain || !view.has_run {
            return self.forget(service, address, check);
        }
        let now = SavedCheck { up: view.up, weight };
        let server = self.verdicts.entry((service.clone(), address)).or_default();
        self.verdicts_changed |= server.checks.insert(fingerprint(check), now) != Some(now);
    }

    fn forget(&mut self, service: &VirtualServerId, address: SocketAddr, check: &Check) {
        if self.verdicts.is_empty() {
            return;
        }
        let key = (service.clone(), address);
        let Some(server) = self.verdicts.get_mut(&key) else { return };
        self.verdicts_changed |= server.checks.remove(&fingerprint(check)).is_some();
        if server.checks.is_empty() {
            self.verdicts.remove(&key);
        }
    }

    /// What an earlier process found: the same check, else the only one of its kind.
    fn saved(&self, service: &VirtualServerId, address: SocketAddr, check: &Check) -> Option<SavedCheck> {
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

    /// Makes the running virtual servers those of `config`: what did not change keeps its state.
    fn apply(&mut self, config: &Config) {
        let mut old: HashMap<VirtualServerId, Managed> = std::mem::take(&mut self.services)
            .into_iter()
            .map(|managed| (managed.pool.config().id.clone(), managed))
            .collect();
        self.places.clear();
        let now = SystemTime::now();
        for virtual_server in &config.virtual_servers {
            let services = parts::services(&virtual_server.id, config);
            let managed = match old.remove(&virtual_server.id) {
                Some(managed) => self.reconfigure(managed, virtual_server, services, now),
                None => self.create(virtual_server, services, now),
            };
            self.places_of(&managed);
            self.services.push(managed);
        }
        for (id, managed) in old {
            self.dirty.insert(id, None);
            for server in &managed.servers {
                self.removed(managed.pool.config(), server);
            }
        }
        self.suspend();
    }

    fn places_of(&mut self, managed: &Managed) {
        let service = self.services.len();
        for (server, of) in managed.servers.iter().enumerate() {
            for (checker, of) in of.checkers.iter().enumerate() {
                self.places.insert(of.key, Place { service, server, checker });
            }
        }
    }

    fn create(&mut self, config: &Arc<VirtualServer>, services: Services, now: SystemTime) -> Managed {
        let suspended = watch::Sender::new(false);
        let servers: Vec<Server> =
            config.real_servers.iter().map(|real| self.server(&config.id, real, None, now)).collect();
        let (pool, change) = Pool::new(config.clone(), standings(&servers, config));
        announce_quorum(&self.options.events, &config.id, change, Cause::Start);
        let managed = Managed { pool, services, servers, suspended };
        self.dirty.insert(config.id.clone(), Some(managed.part()));
        managed
    }

    fn reconfigure(
        &mut self,
        managed: Managed,
        config: &Arc<VirtualServer>,
        services: Services,
        now: SystemTime,
    ) -> Managed {
        let before = managed.part();
        let Managed { mut pool, servers, suspended, .. } = managed;
        let mut old: HashMap<SocketAddr, Server> =
            servers.into_iter().map(|server| (server.address, server)).collect();
        let servers: Vec<Server> = config
            .real_servers
            .iter()
            .map(|real| {
                let (kept, since) = old.remove(&real.address).map_or((None, now), |server| {
                    let views = server.state.checkers().to_vec();
                    (Some(server.checkers.into_iter().zip(views).collect()), server.since)
                });
                self.server(&config.id, real, kept, since)
            })
            .collect();
        for server in old.values() {
            self.removed(pool.config(), server);
        }
        let change = pool.reconfigure(config.clone(), standings(&servers, config));
        announce_quorum(&self.options.events, &config.id, change, Cause::Result);
        let managed = Managed { pool, services, servers, suspended };
        let after = managed.part();
        if after != before {
            self.dirty.insert(config.id.clone(), Some(after));
        }
        managed
    }

    /// A real server with its checkers. Of `kept`, those that ask the same go on untouched; those with
    /// other times or parameters start anew from what they know.
    fn server(
        &mut self,
        service: &VirtualServerId,
        config: &RealServer,
        kept: Option<Kept>,
        since: SystemTime,
    ) -> Server {
        let was_up = kept.as_ref().is_some_and(|kept| kept.iter().all(|(_, view)| view.up));
        let mut kept = kept.unwrap_or_default();
        let checks = served(&config.checks);
        let mut checkers = Vec::with_capacity(checks.len());
        let mut views = Vec::with_capacity(checks.len());
        for (check, same) in checks.iter().zip(matched(&checks, &mut kept)) {
            let (checker, view) = match same {
                Some((checker, view)) if checker.check == *check => (checker, view),
                Some((checker, view)) => {
                    self.forget(service, config.address, &checker.check);
                    self.remember(service, config.address, check, view);
                    // Another question may have another answer: it is asked at once.
                    let first = (checker.check.kind != check.kind).then_some(Duration::ZERO);
                    let CheckerView { up, has_run, contribution } = view;
                    let start = Start { up, has_run, contribution, first };
                    (Checker { last: checker.last.clone(), ..self.checker(check, start) }, view)
                }
                None => {
                    let start = match self.saved(service, config.address, check) {
                        Some(SavedCheck { up, weight }) => Start {
                            up,
                            has_run: true,
                            contribution: weight.map_or(Contribution::None, Contribution::Weight),
                            first: Some(Duration::ZERO),
                        },
                        // A server that serves is not taken out for one question more.
                        None if was_up => {
                            let start = Start::informed(check, &self.options.tools);
                            Start { up: true, first: Some(Duration::ZERO), ..start }
                        }
                        None => Start::informed(check, &self.options.tools),
                    };
                    self.remember(service, config.address, check, start.view());
                    (self.checker(check, start), start.view())
                }
            };
            checkers.push(checker);
            views.push(view);
        }
        for (gone, _) in kept {
            self.forget(service, config.address, &gone.check);
        }
        Server { address: config.address, since, state: ServerState::resume(views), checkers }
    }

    fn checker(&mut self, check: &Arc<Check>, start: Start) -> Checker {
        let key = self.next_key;
        self.next_key += 1;
        Checker { key, check: check.clone(), last: None, task: Task::Waiting(start) }
    }

    fn start_checkers(&mut self) {
        for managed in &mut self.services {
            for checker in managed.servers.iter_mut().flat_map(|server| &mut server.checkers) {
                let Task::Waiting(start) = checker.task else { continue };
                checker.task = Task::Running(lbd_health::spawn(
                    checker.key,
                    checker.check.clone(),
                    start,
                    self.options.tools.clone(),
                    managed.suspended.subscribe(),
                    self.reports.clone(),
                ));
            }
        }
    }

    /// A real server that a reload took away is announced as down (keepalived runs notify_down).
    fn removed(&mut self, config: &VirtualServer, server: &Server) {
        for checker in &server.checkers {
            self.forget(&config.id, server.address, &checker.check);
        }
        if server.state.is_up() {
            self.options.events.send(Event::RealServer {
                service: config.id.clone(),
                address: server.address,
                up: false,
                inhibited: false,
                cause: Cause::Removed,
                reason: "no longer in the configuration".to_owned(),
            });
        }
    }

    fn stop(&mut self) {
        for managed in self.services.drain(..) {
            let config = managed.pool.config();
            if !config.omega {
                continue;
            }
            for (index, server) in managed.servers.iter().enumerate() {
                if managed.pool.standing(index).is_some_and(|standing| standing.alive) {
                    self.options.events.send(Event::RealServer {
                        service: config.id.clone(),
                        address: server.address,
                        up: false,
                        inhibited: false,
                        cause: Cause::Stop,
                        reason: "shutting down".to_owned(),
                    });
                }
            }
            if managed.pool.has_quorum() {
                let change = QuorumChange {
                    up: false,
                    weight: 0,
                    needed: u64::from(config.quorum),
                    sorry_server: None,
                };
                announce_quorum(&self.options.events, &config.id, Some(change), Cause::Stop);
            }
        }
    }

    /// ha_suspend: checks run only while the address is on this host.
    fn suspend(&mut self) {
        let local = self.options.local_addresses.borrow();
        for managed in &self.services {
            let config = managed.pool.config();
            let suspended = config.ha_suspend
                && match &config.id {
                    VirtualServerId::Service(ServiceId::Addr { vip, .. }) => !local.contains(&vip.ip()),
                    VirtualServerId::Service(ServiceId::FwMark { .. }) => false,
                    // keepalived finds no address of a group on the host, ever.
                    VirtualServerId::Group(_) => true,
                };
            managed.suspended.send_if_modified(|now| std::mem::replace(now, suspended) != suspended);
        }
    }

    fn status(&self) -> Vec<Shown> {
        let shown = |managed: &Managed| Shown {
            status: managed.status(),
            services: managed.services.clone(),
            addresses: managed.servers.iter().map(|server| server.address).collect(),
        };
        self.services.iter().map(shown).collect()
    }
}

impl Managed {
    fn part(&self) -> Part {
        parts::part(&self.services, self.pool.wanted())
    }

    fn status(&self) -> VirtualServerStatus {
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
            alive_weight: self.pool.alive_weight(),
            persistence_timeout_s: config.service.persistence_timeout,
            sorry_server: config.sorry_server.as_ref().map(|sorry| SorryServerStatus {
                address: sorry.address.to_string(),
                active: self.pool.sorry_active(),
            }),
            real_servers: self
                .servers
                .iter()
                .zip(&config.real_servers)
                .map(|(server, config)| server.status(config))
                .collect(),
        }
    }
}

impl Server {
    fn status(&self, config: &RealServer) -> RealServerStatus {
        let standing = standing(self, config);
        let unchecked = self.state.checkers().iter().any(|view| !view.has_run);
        let failed = self.state.checkers().iter().any(|view| view.has_run && !view.up);
        let state = if failed {
            if config.inhibit_on_failure { RealServerState::Inhibited } else { RealServerState::Down }
        } else if unchecked {
            RealServerState::Unknown
        } else if standing.weight == 0 {
            RealServerState::Drained
        } else {
            RealServerState::Up
        };
        RealServerStatus {
            address: config.address.to_string(),
            weight: config.destination.weight,
            effective_weight: standing.weight,
            state,
            since: humantime::format_rfc3339_millis(self.since).to_string(),
            active_connections: 0,
            inactive_connections: 0,
            checks: self
                .checkers
                .iter()
                .zip(self.state.checkers())
                .map(|(checker, view)| checker.status(view))
                .collect(),
        }
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

/// The checks that can be run. A server is as if it were without the others; their keywords were warned about.
fn served(checks: &[Arc<Check>]) -> Cow<'_, [Arc<Check>]> {
    if checks.iter().all(|check| check.kind.is_served()) {
        return Cow::Borrowed(checks);
    }
    checks.iter().filter(|check| check.kind.is_served()).cloned().collect()
}

fn standing(server: &Server, config: &RealServer) -> Standing {
    Standing { alive: server.state.is_up(), weight: server.state.effective_weight(config.destination.weight) }
}

fn standings(servers: &[Server], config: &VirtualServer) -> Vec<Standing> {
    servers.iter().zip(&config.real_servers).map(|(server, config)| standing(server, config)).collect()
}

/// For each check the checker that goes on as it: the same one, else one that asks the same at other
/// times, else one of its kind. What is left in `kept` is gone.
fn matched(checks: &[Arc<Check>], kept: &mut Kept) -> Vec<Option<(Checker, CheckerView)>> {
    let mut matched: Vec<Option<(Checker, CheckerView)>> = checks.iter().map(|_| None).collect();
    let rules: [fn(&Check, &Check) -> bool; 3] = [
        |one, other| one == other,
        |one, other| one.kind == other.kind,
        |one, other| one.kind.keyword() == other.kind.keyword(),
    ];
    for same in rules {
        for (check, place) in checks.iter().zip(&mut matched).filter(|(_, place)| place.is_none()) {
            let index = kept.iter().position(|(checker, _)| same(&checker.check, check));
            *place = index.map(|index| kept.remove(index));
        }
    }
    matched
}

fn announce_quorum(
    events: &EventSender,
    service: &VirtualServerId,
    change: Option<QuorumChange>,
    cause: Cause,
) {
    if let Some(QuorumChange { up, weight, needed, sorry_server }) = change {
        events.send(Event::Quorum { service: service.clone(), up, weight, needed, sorry_server, cause });
    }
}

/// What a checker asks, as text that the next process understands.
fn fingerprint(check: &Check) -> String {
    match &check.kind {
        CheckKind::Misc(misc) => format!("MISC_CHECK {}", misc.script.0),
        kind => format!("{} {kind:?}", kind.keyword()),
    }
}

#[cfg(test)]
#[path = "actor/tests.rs"]
mod tests;
