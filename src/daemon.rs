//! The daemon: start order, signals, reload, stop.
//!
//! Start: the table is complete (adopted and converged) before the first MASTER. Stop: VRRP releases,
//! a short grace, then the table is emptied. Here: which part is started and told when. Not here:
//! what the parts do.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use lbd_grammar::Secrets;
use lbd_grammar::config::{Config, FlushOnStop};
use lbd_health::Tools;
use lbd_ipvs::IpvsError;
use lbd_vrrp::Setup;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::control::HandoverStarted;
use crate::control::server::ControlSocket;
use crate::control::snapshot::{Api, Parts, Request, Shared};
use crate::control::status::ConfigStatus;
use crate::director::actor::DirectorOptions;
use crate::director::checkers::Checkers;
use crate::director::owner::{self, OwnerOptions, Settings, Stop, TableOwner};
use crate::event::EventSender;
use crate::lock::{LockError, LockedFile};
use crate::logging;
use crate::namespace::Namespace;
use crate::notify::Notifier;
use crate::options::{EXIT_STOPPED, Options};
use crate::paths::Paths;
use crate::pid_file::PidFile;
use crate::reload_time::Watcher;
use crate::remember::Remember;
use crate::router::{
    HostWants, Interfaces, Leave, Network, Router, RouterOptions, RouterSnapshot, left_on_host, startup,
};
use crate::script::ScriptRoom;
use crate::signals::{Command, Signals};
use crate::state_file::{Saved, SavedInstance, StateFile};
use crate::track::files::{self, TrackedFiles};

mod around;
mod begin;
mod failure;
pub(crate) mod host;
mod monitoring;
mod planning;
mod reload;
mod saving;
mod synchronisation;
mod threads;
mod tracking;

pub use failure::Failure;

use begin::{Begun, begin};
use monitoring::log_addresses;
use saving::Saver;
use synchronisation::AbortOnDrop;
use threads::Threads;
use tracking::Tracking;

/// How long the table may take to be complete at start before VRRP goes on without it.
const CONVERGE_LIMIT: Duration = Duration::from_secs(30);
/// Between the release of the addresses and the end of the table: packets under way are still balanced.
const GRACE: Duration = Duration::from_millis(250);
/// keepalived waits so long for its notify_stop scripts.
const NOTIFY_STOP_LIMIT: Duration = Duration::from_secs(1);
/// How long a master that resumes waits for the first results of its scripts.
const SCRIPTS_FIRST: Duration = Duration::from_millis(500);
/// A handover that waited longer is not carried out; `lbctl` waits 15 s for the answer.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(10);
/// Reloads and plans waiting. When full, who asks waits.
const REQUEST_QUEUE: usize = 4;

/// Runs the daemon until it is told to stop.
pub fn run(options: Options) -> ExitCode {
    if let Some(mask) = options.umask {
        crate::limits::mask_files(mask);
    }
    let begun = begin(&options);
    let log = logging::start(options.detail);
    if let Err(error) = &log {
        let _closed = writeln!(std::io::stderr(), "lbd: no log: {error}");
    }
    crate::limits::raise_descriptors();
    if options.core_dumps
        && let Err(errno) = crate::limits::allow_core_dumps()
    {
        warn!("-m: no core dumps: {}", errno.desc());
    }
    for notice in &options.notices {
        warn!("{notice}");
    }
    let ended = begun.and_then(|begun| match begun {
        None => Ok(()),
        Some(begun) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::Run(format!("no runtime: {error}")))?;
            let ended = runtime.block_on(Daemon::main(options, begun));
            // Nothing may hold the exit up: what still runs in the background has had its time.
            runtime.shutdown_timeout(Duration::from_millis(100));
            ended
        }
    });
    ExitCode::from(match ended {
        Ok(()) => EXIT_STOPPED,
        Err(failure) => {
            error!("{failure}");
            failure.exit_code()
        }
    })
}

struct Daemon {
    options: Options,
    paths: Paths,
    started: Instant,
    /// What runs: to go back to when another one cannot be applied.
    config: Arc<Config>,
    /// What in its file was ignored as wrong.
    mistakes: HashSet<String>,
    /// An earlier process left addresses, routes, rules, or what virtual routers need of the host.
    leftover_addresses: bool,
    /// Where the kernel's table is.
    namespace: Namespace,
    /// What an earlier process left, until the checkers have taken it over.
    saved: Saved,
    state: Arc<StateFile>,
    remember: Remember,
    events: EventSender,
    room: Arc<ScriptRoom>,
    tools: Arc<Tools>,
    notifier: Notifier,
    tracking: Tracking,
    /// The task by which the synchronisation daemons follow a virtual router.
    following: Option<AbortOnDrop>,
    /// The task that lets virtual routers preempt as soon as they may, and which may not yet.
    holding: Option<AbortOnDrop>,
    held_back: Arc<Mutex<BTreeSet<Arc<str>>>>,
    /// The first configuration is not in place yet.
    starting: bool,
    /// Another lbd goes on where this one ends.
    handed_over: bool,
    files: Arc<TrackedFiles>,
    threads: Threads,
    saver: Saver,
    reload_time: Option<Watcher>,
    local: watch::Sender<HashSet<IpAddr>>,
    /// Names a part that ended by itself: without it the daemon is none.
    lost: mpsc::Sender<&'static str>,
    shared: Arc<Shared>,
}

impl Daemon {
    async fn main(options: Options, begun: Begun) -> Result<(), Failure> {
        let mut signals = Signals::new().map_err(|error| Failure::Run(format!("signals: {error}")))?;
        let path = options.config_path();
        let ignore_interrupt = options.ignore_sigint;
        let Begun { started, checked, config, identity, complaints } = begun;
        for warning in checked.warnings().chain(complaints) {
            warn!("{warning}");
        }
        if options.dump_config {
            for line in lbd_grammar::dump(&config, Secrets::Masked).lines() {
                info!("{line}");
            }
        }
        let paths = Paths::of(&options, &identity);
        let control = ControlSocket::bind(&paths.control_socket)?;
        let _pid_file = PidFile::create(&paths.pid_file)?;
        let _state_lock = lock_state(&paths.state_file)?;
        let namespace = Namespace::of(config.process.ipvs_namespace.as_ref());
        let (state, saved) = StateFile::open(&paths.state_file, namespace.number());
        let state = Arc::new(state);
        let (remember, remember_thread) =
            Remember::start(state.clone()).map_err(|error| Failure::Run(format!("thread: {error}")))?;
        let (events, queue) = EventSender::channel();
        let room = Arc::new(ScriptRoom::new());
        room.update(&config.scripts, &config.global).await;
        if std::process::id() == 1 {
            let room = room.clone();
            tokio::spawn(async move { room.reap_orphans().await });
        }
        let files: Arc<TrackedFiles> = Arc::default();
        let tools = Arc::new(Tools::new(room.clone()).with_files(files.clone()).with_beat());
        if let Some(tls) = checked.tls.clone() {
            tools.tls.replace(tls);
        }
        let notifier = Notifier::start(room.clone(), queue);
        let (requests, mut incoming) = mpsc::channel(REQUEST_QUEUE);
        // One is enough to end the daemon; the other waits unheard.
        let (lost, mut losses) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            started,
            router_id: Mutex::new(config.global.router_id.clone()),
            config: Mutex::new(ConfigStatus {
                path: path.display().to_string(),
                generation: 1,
                loaded_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                last_error: None,
            }),
            running: Mutex::new(config.clone()),
            parts: Mutex::default(),
            requests,
        });
        let mut daemon = Daemon {
            options,
            started,
            config: config.clone(),
            mistakes: checked.mistakes().map(|(message, _)| message.to_owned()).collect(),
            leftover_addresses: left_on_host(&paths.state_file)
                || saved.instances.iter().any(SavedInstance::held_any),
            paths,
            namespace,
            saved: Saved::default(),
            state,
            remember,
            events,
            room,
            tools,
            notifier,
            tracking: Tracking::default(),
            following: None,
            holding: None,
            held_back: Arc::default(),
            starting: true,
            handed_over: false,
            files,
            threads: Threads::default(),
            saver: Saver::default(),
            reload_time: None,
            local: watch::Sender::new(HashSet::new()),
            lost,
            shared: shared.clone(),
        };
        // Texts and diagnostics have been said.
        drop(checked);
        // After the locks, which keep a second lbd from running it too, and before anything else.
        let goes_on = match around::startup(&config) {
            Some(script) => daemon.run_life_script(script, &mut signals).await,
            None => true,
        };
        let started = goes_on
            && tokio::select! {
                started = daemon.start(&config, saved) => match started {
                    Ok(()) => true,
                    Err(failure) => {
                        daemon.remove_left_addresses().await;
                        daemon.run_shutdown_script(&mut signals).await;
                        return Err(failure);
                    }
                },
                () = signals.stop(ignore_interrupt) => false,
            };
        let (stop_control, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(control.serve(Arc::new(Api(shared)), async {
            let _closed = stopped.await;
        }));
        daemon.starting = false;
        let mut ended = Ok(());
        if started {
            info!(
                router_id = config.global.router_id,
                virtual_servers = config.virtual_servers.len(),
                vrrp_instances = config.vrrp_instances.len(),
                "started in {} ms",
                daemon.started.elapsed().as_millis()
            );
            drop(config);
            give_back();
            daemon.watch_reload_time();
            ended = daemon.serve(&mut signals, &mut incoming, &mut losses).await;
        }
        if ended.is_err() {
            // What is in the kernel goes on serving until the next start takes it over.
            daemon.options.keep_ipvs = true;
        }
        // What it undoes is needed as long as the kernel goes on.
        let undo = ended.is_ok() && !daemon.handed_over;
        let addresses_left = daemon.leftover_addresses && daemon.shared.parts().router.is_none();
        info!("stopping");
        daemon.stop().await;
        let _ended = stop_control.send(());
        let _limit = tokio::time::timeout(daemon.stop_limit(), serving).await;
        if undo {
            daemon.run_shutdown_script(&mut signals).await;
        }
        let (state, keep) = (daemon.state.clone(), daemon.options.keep_ipvs || daemon.options.keep_vrrp);
        drop(daemon);
        drop(remember_thread);
        if !keep {
            state.remove(!addresses_left);
        }
        info!("stopped");
        ended
    }

    /// Until told to stop. A stop waits neither for a reload under way nor for those that wait.
    async fn serve(
        &mut self,
        signals: &mut Signals,
        requests: &mut mpsc::Receiver<Request>,
        losses: &mut mpsc::Receiver<&'static str>,
    ) -> Result<(), Failure> {
        let ignore_interrupt = self.options.ignore_sigint;
        loop {
            let request = tokio::select! {
                command = signals.next(ignore_interrupt) => match command {
                    Command::Stop => return Ok(()),
                    Command::Reload => None,
                    Command::RealTimeExceeded => {
                        crate::limits::real_time_exceeded();
                        continue;
                    }
                    Command::Unserved(name) => {
                        warn!("{name}: not supported yet; `lbctl status --json` shows all state");
                        continue;
                    }
                },
                Some(request) = requests.recv() => Some(request),
                Some(part) = losses.recv() => {
                    return Err(Failure::Run(format!("{part} ended by itself: restart lbd")));
                }
            };
            let asker = match request {
                None => None,
                Some(Request::Reload(asker)) => Some(asker),
                Some(Request::Plan(request, asker)) => {
                    tokio::select! {
                        plan = self.plan(request) => {
                            let _gone = asker.send(plan);
                        }
                        () = signals.stop(ignore_interrupt) => return Ok(()),
                        Some(part) = losses.recv() => {
                            return Err(Failure::Run(format!("{part} ended by itself: restart lbd")));
                        }
                    }
                    continue;
                }
                // Who asked has given up, and counts on nothing being done.
                Some(Request::Handover(asked, asker)) if asked.elapsed() > HANDOVER_PATIENCE => {
                    let _gone =
                        asker.send(Err("lbd was busy with a reload; nothing was done, ask again".to_owned()));
                    continue;
                }
                Some(Request::Handover(_, asker)) => {
                    info!("handing over: addresses, table and synchronisation stay for the next lbd");
                    (self.options.keep_ipvs, self.options.keep_vrrp) = (true, true);
                    self.handed_over = true;
                    let _gone = asker.send(Ok(HandoverStarted { pid: std::process::id() }));
                    return Ok(());
                }
            };
            let outcome = tokio::select! {
                outcome = self.reload() => outcome,
                () = signals.stop(ignore_interrupt) => return Ok(()),
            };
            if let Some(asker) = asker {
                let _gone = asker.send(outcome);
            }
        }
    }

    async fn start(&mut self, config: &Arc<Config>, saved: Saved) -> Result<(), Failure> {
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
    fn needs_router(&self, config: &Config) -> bool {
        let watches = self.options.parts.checkers && config.virtual_servers.iter().any(|one| one.ha_suspend);
        let fixed = !(config.static_addresses.is_empty()
            && config.static_routes.is_empty()
            && config.static_rules.is_empty());
        watches || self.options.parts.vrrp && (fixed || !config.vrrp_instances.is_empty())
    }

    async fn start_checkers(&mut self, config: &Arc<Config>) -> Result<(), Failure> {
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

    fn owner_options(&self, settings: Settings) -> OwnerOptions {
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
    fn open_router(&self, config: &Config, saved: Vec<SavedInstance>) -> Result<Router, Failure> {
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

    fn begin_router(&self, router: &Router) {
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

    fn host(&self, config: &Config) -> HostWants {
        if self.options.parts.vrrp { host::wants(config) } else { HostWants::default() }
    }

    /// Without VRRP there are no virtual routers.
    fn setup(&self, config: &Config) -> Setup {
        if !self.options.parts.vrrp {
            return Setup::default();
        }
        let mut setup = config.vrrp_setup();
        let after_boot = config.global.vrrp.delay_after_boot;
        setup.startup_delay = startup::startup_delay(setup.startup_delay, after_boot, startup::uptime());
        setup
    }

    /// Routes, rules and what is static; without VRRP there are none.
    fn network(&self, config: &Config) -> Network {
        if self.options.parts.vrrp { Network::of(config) } else { Network::default() }
    }

    /// Adding comes before removing: programs and tables are there before what needs them.
    async fn apply(&mut self, config: &Arc<Config>) -> Result<(), Failure> {
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
    async fn restore(&mut self) {
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

    /// A start that fails leaves no address of a crashed run without its table.
    async fn remove_left_addresses(&mut self) {
        let router = self.shared.parts().router.take();
        let limit = self.stop_limit();
        if let Some(router) = router.filter(|_| self.leftover_addresses) {
            let stopping = tokio::task::spawn_blocking(move || router.stop(true, limit));
            let _limit = tokio::time::timeout(limit * 2, stopping).await;
        }
    }

    /// When all else has ended.
    async fn run_shutdown_script(&self, signals: &mut Signals) {
        if let Some(script) = around::shutdown(&self.config) {
            self.run_life_script(script, signals).await;
        }
    }

    async fn stop(&mut self) {
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

/// Has the memory of a configuration that is no more given back, on a thread where nobody waits.
fn give_back() {
    tokio::task::spawn_blocking(crate::allocator::trim);
}

/// What of global_defs concerns the table.
fn settings(config: &Config) -> Settings {
    Settings {
        timeouts: config.global.lvs_timeouts,
        flush_on_stop: config.global.lvs_flush_on_stop == FlushOnStop::Table,
    }
}

/// A connection to the table of a namespace.
fn client(namespace: &Namespace) -> Result<lbd_ipvs::Client, IpvsError> {
    let namespace = namespace.clone();
    lbd_ipvs::Client::connect_by(move || {
        let made = namespace.run(|| lbd_ipvs::transport::NetlinkTransport::new(lbd_ipvs::client::TIME_LIMIT));
        made.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    })
}

/// Two daemons that write the same file would forget each other's services.
fn lock_state(path: &Path) -> Result<LockedFile, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    LockedFile::acquire(&lock, 0o600).map_err(|error| {
        let at = path.display();
        match error {
            LockError::Held { .. } => Failure::Run(format!(
                "state file {at}: another lbd uses it; stop that one, or give this one its own --state-file"
            )),
            LockError::Io(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Failure::Rights(format!("state file {at}: {source}; run as root, or use --state-file"))
            }
            error => {
                Failure::Run(format!("state file {at}: {}: {error:?}; use --state-file", lock.display()))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_has_one_daemon() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("run/state");
        let first = lock_state(&path).expect("the first");
        let second = lock_state(&path).expect_err("the second");
        assert_eq!(second.exit_code(), crate::options::EXIT_FAILED);
        assert!(second.to_string().contains("another lbd uses it"), "{second}");
        drop(first);
        lock_state(&path).expect("when the first is gone");
    }
}
