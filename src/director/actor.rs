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
use std::time::{Duration, Instant, SystemTime};

use lbd_grammar::config::{Config, RealServer, VirtualServer, VirtualServerId};
use lbd_health::{Check, CheckerHandle, CheckerView, Contribution, Report, ServerState, Start, Tools};
use lbd_ipvs::ServiceId;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use super::owner::{OwnerHandle, Part, PartId, Stop};
use super::parts::{self, Services, Shared};
use super::pool::{Changes, Order, Pool, Standing, first_result_is_told};
use crate::control::status::{LeavingStatus, VirtualServerStatus};
use crate::control::{ServerDone, ServerOrder};
use crate::event::{Cause, Event, EventSender};
use crate::state_file::{SavedCheck, SavedLeaving, Verdicts};

mod leaving;
mod memory;
mod operate;
mod plan;
mod show;
mod tell;

pub use plan::{DirectorPlan, plan_start};

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
    /// What was leaving when the earlier process ended.
    pub saved_leaving: Vec<SavedLeaving>,
    /// Takes what is leaving, to remember; must not block.
    pub remember_leaving: Box<dyn Fn(Vec<SavedLeaving>) + Send>,
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
    Status(oneshot::Sender<Snapshot>),
    Plan(Arc<Config>, oneshot::Sender<DirectorPlan>),
    Operate(ServerOrder, oneshot::Sender<Result<ServerDone, String>>),
    Stop(Stop, oneshot::Sender<()>),
}

/// The director did not answer in time, or has ended.
#[derive(Debug, thiserror::Error)]
#[error("the checkers' thread did not answer within {} s", LIMIT.as_secs())]
pub struct NoAnswer;

const GONE: &str = "no longer in the configuration";

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
            due: None,
            announce_initial: false,
            verdicts: Verdicts::new(),
            verdicts_changed: false,
            dirty: BTreeMap::new(),
            leaving: leaving::Leavers::default(),
            leaving_due: None,
            leaving_changed: false,
        };
        director.apply(config);
        let saved_leaving = std::mem::take(&mut director.options.saved_leaving);
        director.resume_leaving(saved_leaving, now());
        // Also when it is empty: what an earlier process left is removed with the first set.
        director.options.owner.set_parts(std::mem::take(&mut director.dirty).into_iter().collect());
        // The file names what only the earlier one knew until it is written anew: a third process must not
        // find it there.
        director.verdicts_changed |= director.verdicts != director.options.saved;
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
    pub async fn status(&self) -> Result<Snapshot, NoAnswer> {
        self.ask(Command::Status).await
    }

    /// What a reload with this configuration would do. Does nothing.
    ///
    /// # Errors
    /// [`NoAnswer`] after 10 s.
    pub async fn plan(&self, config: Arc<Config>) -> Result<DirectorPlan, NoAnswer> {
        self.ask(|answer| Command::Plan(config, answer)).await
    }

    /// Does with a real server what the operator wants; the error names what is wrong with the names.
    ///
    /// # Errors
    /// [`NoAnswer`] after 10 s.
    pub async fn operate(&self, order: ServerOrder) -> Result<Result<ServerDone, String>, NoAnswer> {
        self.ask(|answer| Command::Operate(order, answer)).await
    }

    /// Ends all checkers; with omega, the down-notifications are sent first, unless the table is kept.
    ///
    /// # Errors
    /// [`NoAnswer`] after 10 s.
    pub async fn stop(&self, stop: Stop) -> Result<(), NoAnswer> {
        self.ask(|answer| Command::Stop(stop, answer)).await
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

/// Everything that status shows.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Virtual servers.
    pub servers: Vec<Shown>,
    /// Real servers that are no longer configured and stay for their connections.
    pub leaving: Vec<LeavingStatus>,
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
    /// When the first of the pools wants to know of the time.
    due: Option<Instant>,
    /// rs_init_notifies
    announce_initial: bool,
    verdicts: Verdicts,
    verdicts_changed: bool,
    dirty: BTreeMap<PartId, Option<Part>>,
    /// drain_timeout
    leaving: leaving::Leavers,
    /// When they are looked at next.
    leaving_due: Option<Instant>,
    /// It is to be written down.
    leaving_changed: bool,
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
    /// What of them is as another virtual server wants it.
    shared: Shared,
    servers: Vec<Server>,
    suspended: watch::Sender<bool>,
    /// When the pool wants to know of the time.
    due: Option<Instant>,
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
                    Some(Command::Plan(config, answer)) => {
                        let _gone = answer.send(self.plan(&config));
                    }
                    Some(Command::Operate(order, answer)) => {
                        let _gone = answer.send(self.operate(&order));
                    }
                    Some(Command::Stop(stop, done)) => {
                        self.stop(stop);
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
                () = until(self.due.into_iter().chain(self.leaving_due).min()) => {
                    self.on_deadline();
                    self.flush();
                }
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
        if std::mem::take(&mut self.leaving_changed) {
            (self.options.remember_leaving)(self.saved_leaving());
        }
    }

    fn on_report(&mut self, key: u64, report: Report) {
        let Some(place) = self.places.get(&key).copied() else { return };
        let Some(managed) = self.services.get_mut(place.service) else { return };
        let Some(server) = managed.servers.get_mut(place.server) else { return };
        let Some(checker) = server.checkers.get_mut(place.checker) else { return };
        let view = report.view();
        let failed_try = report.failed_try && !report.changed && checker.check.schedule.log_all_failures;
        // By far the most reports say what is known: they cost nothing more.
        let known = server.state.checkers().get(place.checker) == Some(&view);
        if known && !report.first && !failed_try && !report.new_warning {
            checker.last = Some(report);
            return;
        }
        let check = checker.check.clone();
        checker.last = Some(report.clone());
        server.state.set(place.checker, view);
        let config = managed.pool.config().clone();
        let Some(real) = config.real_servers.get(place.server) else { return };
        let (service, address) = (&config.id, real.address);
        let events = &self.options.events;
        if failed_try {
            events.send(Event::CheckFailed {
                service: service.clone(),
                address,
                check: check.kind.keyword(),
                reason: report.reason.to_string(),
            });
        }
        if let Some(warning) = report.warning.as_ref().filter(|_| report.new_warning) {
            events.send(Event::CheckWarning {
                service: service.clone(),
                address,
                check: check.kind.keyword(),
                warning: warning.to_string(),
            });
        }
        let standing = standing(server, real);
        let served = managed.pool.serves(place.server);
        let words = format!("{}: {}", check.kind.keyword(), report.reason);
        let changes = managed.pool.update(now(), place.server, standing);
        let serves = managed.pool.serves(place.server);
        if report.first
            && serves == served
            && first_result_is_told(report.changed, check.schedule.alpha, report.up)
        {
            if let Some(server) = managed.servers.get_mut(place.server) {
                server.since = report.at;
            }
            events.send(tell::server(service, real, serves, Cause::Result, words.clone()));
        }
        tell::tell(events, managed, &changes, Cause::Result, &words);
        if report.changed {
            let remark = tell::remark(&managed.pool, place.server);
            let remark = remark.map_or(String::new(), |remark| format!("; {remark}"));
            events.send(Event::Checker {
                service: service.clone(),
                address,
                check: check.kind.keyword(),
                up: report.up,
                server_up: serves,
                server_changed: serves != served,
                reason: format!("{}{remark}", report.reason),
            });
        }
        self.changed(place.service, &changes);
        self.remember(service, address, &check, view);
    }

    /// Notes what a pool's changes mean for the table and for the time.
    fn changed(&mut self, service: usize, changes: &Changes) {
        if changes.table
            && let Some(managed) = self.services.get(service)
        {
            self.dirty.insert(managed.pool.config().id.clone(), Some(self.part_of(managed)));
        }
        let Some(managed) = self.services.get_mut(service) else { return };
        let due = managed.pool.deadline(now());
        if due != managed.due {
            managed.due = due;
            self.due = self.services.iter().filter_map(|managed| managed.due).min();
        }
    }

    /// Gives every pool that is due its time.
    fn on_deadline(&mut self) {
        let now = now();
        self.look_at_leaving(now);
        for index in 0..self.services.len() {
            let Some(managed) = self.services.get_mut(index) else { continue };
            if managed.due.is_none_or(|due| due > now) {
                continue;
            }
            let changes = managed.pool.tick(now);
            tell::tell(&self.options.events, managed, &changes, Cause::Result, "");
            self.changed(index, &changes);
        }
    }

    /// Makes the running virtual servers those of `config`: what did not change keeps its state.
    fn apply(&mut self, config: &Config) {
        let mut old: HashMap<VirtualServerId, Managed> = std::mem::take(&mut self.services)
            .into_iter()
            .map(|managed| (managed.pool.config().id.clone(), managed))
            .collect();
        self.places.clear();
        self.announce_initial = config.global.announce_initial_servers;
        let at = SystemTime::now();
        let left_before = self.leaving.servers();
        let services: Vec<Services> =
            config.virtual_servers.iter().map(|server| parts::services(&server.id, config)).collect();
        let shared = parts::shared(config, &services);
        for (virtual_server, driven) in config.virtual_servers.iter().zip(services.into_iter().zip(shared)) {
            let managed = match old.remove(&virtual_server.id) {
                // Read again and found the same: nothing of it is looked at.
                Some(managed)
                    if Arc::ptr_eq(managed.pool.config(), virtual_server)
                        && (&managed.services, &managed.shared) == (&driven.0, &driven.1) =>
                {
                    managed
                }
                Some(managed) => self.reconfigure(managed, virtual_server, driven, at),
                None => self.create(virtual_server, driven, at),
            };
            self.places_of(&managed);
            self.services.push(managed);
        }
        for (id, managed) in old {
            let limit = managed.pool.config().drain_timeout;
            self.leaving.add(&id, (&managed.part(), &Part::new()), limit, now());
            self.dirty.insert(id.clone(), None);
            for server in &managed.servers {
                self.forget_server(&id, server);
            }
            tell::tell_end(&self.options.events, &managed.pool, Cause::Removed, GONE);
        }
        self.settle_leaving(left_before, now());
        self.due = self.services.iter().filter_map(|managed| managed.due).min();
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

    fn create(
        &mut self,
        config: &Arc<VirtualServer>,
        (services, shared): (Services, Shared),
        at: SystemTime,
    ) -> Managed {
        let suspended = watch::Sender::new(false);
        let servers: Vec<Server> =
            config.real_servers.iter().map(|real| self.server(&config.id, real, None, at)).collect();
        let orders: Vec<(usize, Order)> = config
            .real_servers
            .iter()
            .enumerate()
            .filter_map(|(index, real)| Some((index, self.saved_order(&config.id, real.address)?)))
            .collect();
        let (pool, change) = Pool::new(now(), config.clone(), &standings(&servers, config), &orders);
        let managed = Managed { pool, services, shared, servers, suspended, due: None };
        self.announce_new(&managed, &|_| true);
        tell::quorum(&self.options.events, &config.id, change, Cause::Start);
        self.dirty.insert(config.id.clone(), Some(managed.part()));
        managed
    }

    fn reconfigure(
        &mut self,
        managed: Managed,
        config: &Arc<VirtualServer>,
        (services, shared): (Services, Shared),
        at: SystemTime,
    ) -> Managed {
        let before = managed.part();
        let Managed { mut pool, servers, suspended, .. } = managed;
        let served = |index: usize, pool: &Pool| pool.serves(index);
        let mut old: HashMap<SocketAddr, (Server, bool)> = servers
            .into_iter()
            .enumerate()
            .map(|(index, server)| (server.address, (server, served(index, &pool))))
            .collect();
        let mut new = Vec::new();
        let servers: Vec<Server> = config
            .real_servers
            .iter()
            .map(|real| {
                let (kept, since) = match old.remove(&real.address) {
                    Some((server, _)) => {
                        let views = server.state.checkers().to_vec();
                        (Some(server.checkers.into_iter().zip(views).collect()), server.since)
                    }
                    None => {
                        new.push(real.address);
                        (None, at)
                    }
                };
                self.server(&config.id, real, kept, since)
            })
            .collect();
        // keepalived runs notify_down for a server that a reload took away.
        for real in &pool.config().real_servers {
            let Some((server, served)) = old.remove(&real.address) else { continue };
            self.forget_server(&config.id, &server);
            if served {
                let reason = match config.drain_timeout {
                    Duration::ZERO => GONE.to_owned(),
                    limit => format!("{GONE}; it stays for its connections, {} s at most", limit.as_secs()),
                };
                let event = tell::server(&config.id, real, false, Cause::Removed, reason);
                self.options.events.send(tell::without_inhibit(event));
            }
        }
        let changes = pool.reconfigure(now(), config.clone(), &standings(&servers, config));
        let due = pool.deadline(now());
        let mut managed = Managed { pool, services, shared, servers, suspended, due };
        self.announce_new(&managed, &|address| new.contains(&address));
        tell::tell(&self.options.events, &mut managed, &changes, Cause::Result, "");
        let after = managed.part();
        self.leaving.add(&config.id, (&before, &after), config.drain_timeout, now());
        if after != before {
            self.dirty.insert(config.id.clone(), Some(after));
        }
        managed
    }

    /// rs_init_notifies: new servers that are up from the beginning are announced.
    fn announce_new(&self, managed: &Managed, is_new: &dyn Fn(SocketAddr) -> bool) {
        if !self.announce_initial {
            return;
        }
        let config = managed.pool.config();
        for (index, real) in config.real_servers.iter().enumerate() {
            if is_new(real.address) && managed.pool.serves(index) {
                let reason = "up from the start".to_owned();
                self.options.events.send(tell::server(&config.id, real, true, Cause::Start, reason));
            }
        }
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
        for (check, same) in checks.iter().zip(matched(&checks, &mut kept, |(checker, _)| &checker.check)) {
            let (checker, view) = match same {
                Some((checker, view)) if checker.check == *check => (checker, view),
                Some((checker, view)) => {
                    self.forget(service, config.address, &checker.check);
                    self.remember(service, config.address, check, view);
                    // Another question may have another answer: it is asked at once.
                    let first = (checker.check.kind != check.kind).then_some(Duration::ZERO);
                    let CheckerView { up, has_run, contribution } = view;
                    // keepalived keeps the retries that were used up, too.
                    let tries = checker.last.as_ref().map_or(0, |report| report.tries);
                    let start = Start { up, has_run, contribution, tries, first };
                    (Checker { last: checker.last.clone(), ..self.checker(check, start) }, view)
                }
                None => {
                    let start = match self.saved(service, config.address, check) {
                        Some(SavedCheck { up, weight, percent }) => Start {
                            up,
                            has_run: true,
                            contribution: weight
                                .map(Contribution::Weight)
                                .or(percent.map(Contribution::Percent))
                                .unwrap_or_default(),
                            tries: 0,
                            first: Some(Duration::ZERO),
                        },
                        None => fresh_start(check, was_up, &self.options.tools),
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

    fn stop(&mut self, stop: Stop) {
        for managed in self.services.drain(..) {
            // Whose table is kept goes on serving.
            if managed.pool.config().omega && stop == Stop::Empty {
                tell::tell_end(&self.options.events, &managed.pool, Cause::Stop, "shutting down");
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
}

impl Managed {
    fn part(&self) -> Part {
        parts::part(&self.services, &self.shared, self.pool.wanted())
    }
}

/// The checks that can be run. A server is as if it were without the others; their keywords were warned about.
fn served(checks: &[Arc<Check>]) -> Cow<'_, [Arc<Check>]> {
    if checks.iter().all(|check| check.kind.is_served()) {
        return Cow::Borrowed(checks);
    }
    checks.iter().filter(|check| check.kind.is_served()).cloned().collect()
}

/// How a checker begins that was not there before.
fn fresh_start(check: &Check, server_was_up: bool, tools: &Tools) -> Start {
    let start = Start::informed(check, tools);
    match server_was_up {
        // A server that serves is not taken out for one question more.
        true => Start { up: true, first: Some(Duration::ZERO), ..start },
        false => start,
    }
}

fn standing(server: &Server, config: &RealServer) -> Standing {
    standing_of(&server.state, config)
}

fn standing_of(state: &ServerState, config: &RealServer) -> Standing {
    Standing {
        alive: state.is_up(),
        failed: state.checkers().iter().any(|view| view.has_run && !view.up),
        weight: state.effective_weight(config.destination.weight),
    }
}

fn standings(servers: &[Server], config: &VirtualServer) -> Vec<Standing> {
    servers.iter().zip(&config.real_servers).map(|(server, config)| standing(server, config)).collect()
}

/// For each check the checker that goes on as it: the same one, else one that asks the same at other
/// times, else one of its kind. What is left in `kept` is gone.
fn matched<K>(checks: &[Arc<Check>], kept: &mut Vec<K>, of: fn(&K) -> &Arc<Check>) -> Vec<Option<K>> {
    let mut matched: Vec<Option<K>> = checks.iter().map(|_| None).collect();
    let rules: [fn(&Check, &Check) -> bool; 3] = [
        |one, other| one == other,
        |one, other| one.kind == other.kind,
        |one, other| one.kind.keyword() == other.kind.keyword(),
    ];
    for same in rules {
        for (check, place) in checks.iter().zip(&mut matched).filter(|(_, place)| place.is_none()) {
            let index = kept.iter().position(|one| same(of(one), check));
            *place = index.map(|index| kept.remove(index));
        }
    }
    matched
}

/// The time on the runtime's clock, which tests may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ends at `due`; without, never.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "actor/tests.rs"]
mod tests;
