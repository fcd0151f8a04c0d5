//! The daemon: its life from the locks to the last word, signals, requests.
//!
//! Here: what follows what. Not here: the order of the parts (`start`, `apply`, `stop`), what they do.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use lbd_grammar::Secrets;
use lbd_grammar::config::Config;
use lbd_health::Tools;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::control::HandoverStarted;
use crate::control::server::ControlSocket;
use crate::control::snapshot::{Api, Request, Shared};
use crate::control::status::ConfigStatus;
use crate::event::EventSender;
use crate::lock::{LockError, LockedFile};
use crate::logging;
use crate::namespace::Namespace;
use crate::notify::Notifier;
use crate::options::{EXIT_STOPPED, Options};
use crate::paths::{Folders, Paths};
use crate::pid_file::PidFile;
use crate::reload_time::Watcher;
use crate::remember::Remember;
use crate::router::left_on_host;
use crate::script::ScriptRoom;
use crate::signals::{Command, Signals};
use crate::state_file::{Saved, SavedInstance, StateFile};
use crate::track::files::TrackedFiles;

mod apply;
mod around;
mod begin;
mod failure;
pub(crate) mod host;
mod monitoring;
mod planning;
mod reload;
mod saving;
mod start;
mod stop;
mod synchronisation;
mod threads;
mod tracking;

pub use failure::Failure;

use begin::{Begun, begin};
use saving::Saver;
use synchronisation::AbortOnDrop;
use threads::Threads;
use tracking::Tracking;

/// How long the table may take to be complete at start before VRRP goes on without it.
const CONVERGE_LIMIT: Duration = Duration::from_secs(30);
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
        // Dropped after all that is in them.
        let _folders = Folders::of(&identity);
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
        daemon.forget_reload_file().await;
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
}

/// Has the memory of a configuration that is no more given back, on a thread where nobody waits.
fn give_back() {
    tokio::task::spawn_blocking(crate::allocator::trim);
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
