//! track_file: files with a number, published as they change.
//!
//! Here: one thread with an inotify that watches all of them, and the numbers as `watch` values. Not here:
//! what a number means (`lbd_health` for FILE_CHECK), where a path leads (`places`), init_file
//! (`init`). Files are read on this thread only: a dead file system delays nobody else, and a file that
//! changes all the time is read at most every [`PAUSE`]; one of a file system that tells of no changes
//! (/proc, NFS) is read every second.

mod init;
mod places;

pub use init::initialize;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lbd_grammar::config::Config;
use lbd_health::Files;
use lbd_health::check::file::{MAX_FILE, number};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::statfs::{
    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC,
    PROC_SUPER_MAGIC, SMB_SUPER_MAGIC, SYSFS_MAGIC, statfs,
};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use self::places::{Place, places};
use super::wake::{Wake, Woken};

/// Between two passes over files that changed.
pub const PAUSE: Duration = Duration::from_millis(5);
/// Between two readings of a file of whose changes its file system tells nothing.
const EVERY: Duration = Duration::from_secs(1);
/// How long a start or reload waits for the first reading.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// The number of each file, by name.
type Numbers = HashMap<Arc<str>, watch::Sender<Option<i64>>>;

/// All tracked files. Dropping it ends the thread, which there is only once a file is tracked.
#[derive(Default)]
pub struct TrackedFiles {
    numbers: Mutex<Numbers>,
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    commands: mpsc::Sender<Command>,
    /// Its end ends the thread.
    wake: Option<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// The files to track from now on; answered when they were read.
struct Command {
    files: Vec<(PathBuf, watch::Sender<Option<i64>>)>,
    done: oneshot::Sender<()>,
}

impl Files for TrackedFiles {
    fn watch(&self, name: &str) -> Option<watch::Receiver<Option<i64>>> {
        lock(&self.numbers).get(name).map(watch::Sender::subscribe)
    }
}

impl TrackedFiles {
    /// Tracks the files that `config` needs, and no others. A file that keeps its name keeps its
    /// receivers, also with another path. Returns when the files were read, or after 2 s.
    pub async fn track(&self, config: &Config) {
        let wanted = needed(config);
        let files: Vec<(PathBuf, watch::Sender<Option<i64>>)> = {
            let mut numbers = lock(&self.numbers);
            numbers.retain(|name, _| wanted.contains_key(name));
            wanted
                .into_iter()
                .map(|(name, path)| {
                    let sender = numbers.entry(name).or_insert_with(|| watch::Sender::new(None));
                    (path, sender.clone())
                })
                .collect()
        };
        let Some(done) = self.send(files) else { return };
        if tokio::time::timeout(READ_LIMIT, done).await.is_err() {
            warn!("tracked files are not read yet: a file system does not answer");
        }
    }

    fn send(&self, files: Vec<(PathBuf, watch::Sender<Option<i64>>)>) -> Option<oneshot::Receiver<()>> {
        let mut worker = lock(&self.worker);
        if worker.is_none() {
            if files.is_empty() {
                return None;
            }
            match Worker::start() {
                Ok(started) => *worker = Some(started),
                Err(error) => {
                    error!(%error, "track_file: files cannot be watched, what tracks them has no result");
                    return None;
                }
            }
        }
        let (done, waits) = oneshot::channel();
        let worker = worker.as_mut()?;
        let _ended = worker.commands.send(Command { files, done });
        if let Some(wake) = &mut worker.wake {
            wake.wake();
        }
        Some(waits)
    }
}

/// The files that checks, virtual routers and sync groups refer to, with their paths.
fn needed(config: &Config) -> BTreeMap<Arc<str>, PathBuf> {
    let checks = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let names = checks.flat_map(|server| &server.checks).filter_map(|check| match &check.kind {
        lbd_health::CheckKind::File(file) => Some(&file.file),
        _ => None,
    });
    let of_instances = config.vrrp_instances.iter().flat_map(|instance| &instance.router.track_files);
    let of_vrrp = of_instances.chain(config.sync_groups.values().flat_map(|group| &group.track_files));
    names
        .chain(of_vrrp.map(|(id, _)| &id.name))
        .filter_map(|name| {
            let file = config.track_files.get(name)?;
            Some((name.clone(), std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone().into())))
        })
        .collect()
}

impl Worker {
    fn start() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let (wake, woken) = Wake::pair()?;
        let (commands, receiver) = mpsc::channel();
        let (files, directories, look_at) = (Vec::new(), HashMap::new(), Instant::now());
        let watcher = Watcher { inotify, files, directories, look_at };
        let thread =
            std::thread::Builder::new().name("files".into()).spawn(move || watcher.run(&woken, &receiver))?;
        Ok(Worker { commands, wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.wake = None;
        // Not joined: it may hang in a file system, and holds nothing that anybody waits for.
        drop(self.thread.take());
    }
}

/// A file as the thread knows it.
struct Tracked {
    path: PathBuf,
    number: watch::Sender<Option<i64>>,
    /// Entries of directories on which it depends.
    places: Vec<Place>,
    /// What was said about it last: each trouble is logged once.
    trouble: Option<String>,
    /// Its file system may not tell of changes.
    silent: bool,
}

struct Watcher {
    inotify: Inotify,
    files: Vec<Tracked>,
    directories: HashMap<PathBuf, WatchDescriptor>,
    /// When files of silent file systems are read next.
    look_at: Instant,
}

/// What happened to directories since the last pass.
#[derive(Default)]
struct Changes {
    /// Events were lost, or a directory is gone: all files are to be looked at.
    all: bool,
    entries: HashSet<(PathBuf, OsString)>,
}

impl Watcher {
    fn run(mut self, woken: &Woken, commands: &mpsc::Receiver<Command>) {
        loop {
            let mut ready = [
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(woken.fd(), PollFlags::POLLIN),
            ];
            if let Err(error) = poll(&mut ready, self.rest())
                && error != nix::errno::Errno::EINTR
            {
                error!(%error, "track_file: files are watched no more");
                return;
            }
            if woken.is_over() {
                return;
            }
            for Command { files, done } in commands.try_iter() {
                self.replace(files);
                let _gone = done.send(());
            }
            self.look_at_silent();
            let changes = self.changes();
            if changes.all || !changes.entries.is_empty() {
                self.look(&changes);
                // Until then, or until told of other files.
                let mut ready = [PollFd::new(woken.fd(), PollFlags::POLLIN)];
                let _interrupted =
                    poll(&mut ready, PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO));
            }
        }
    }

    /// Until a file has to be read, whatever is told.
    fn rest(&self) -> PollTimeout {
        if !self.files.iter().any(|file| file.silent) {
            return PollTimeout::NONE;
        }
        let rest = self.look_at.saturating_duration_since(Instant::now());
        PollTimeout::try_from(rest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    fn look_at_silent(&mut self) {
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        for index in 0..self.files.len() {
            if self.files.get(index).is_some_and(|file| file.silent) {
                self.read(index);
            }
        }
        self.forget_directories();
        self.look_at = now + EVERY;
    }

    fn replace(&mut self, files: Vec<(PathBuf, watch::Sender<Option<i64>>)>) {
        let mut before = std::mem::take(&mut self.files);
        self.files = files
            .into_iter()
            .map(|(path, number)| {
                let same = |old: &Tracked| old.path == path && old.number.same_channel(&number);
                match before.iter().position(same) {
                    Some(index) => before.swap_remove(index),
                    None => Tracked { path, number, places: Vec::new(), trouble: None, silent: false },
                }
            })
            .collect();
        for index in 0..self.files.len() {
            self.read(index);
        }
        self.forget_directories();
    }

    /// Takes the waiting events.
    fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        // Each reading is bounded by its buffer; more of them wait for the next pass.
        for _ in 0..READINGS {
            let Ok(events) = self.inotify.read_events() else { break };
            for event in events {
                self.note(event, &mut changes);
            }
        }
        changes
    }

    fn note(&mut self, event: InotifyEvent, changes: &mut Changes) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            changes.all = true;
            return;
        }
        if event.mask.intersects(GONE) {
            let known = self.directories.len();
            self.directories.retain(|_, watch| *watch != event.wd);
            if self.directories.len() < known {
                let _gone_already = self.inotify.rm_watch(event.wd);
                changes.all = true;
            }
            return;
        }
        let Some(name) = event.name else { return };
        let only_made = event.mask == AddWatchFlags::IN_CREATE;
        // Usually one; a directory that is mounted twice has one watch and two names.
        for (directory, _) in self.directories.iter().filter(|(_, watch)| **watch == event.wd) {
            // What writes a new file closes it, and then it is read.
            if only_made && is_being_written(&directory.join(&name)) {
                continue;
            }
            changes.entries.insert((directory.clone(), name.clone()));
        }
    }

    fn look(&mut self, changes: &Changes) {
        for index in 0..self.files.len() {
            let touched = self.files.get(index).is_some_and(|file| {
                changes.all
                    || file.places.iter().any(|place| {
                        // Few of both, so that looking is cheaper than keeping another map.
                        changes.entries.contains(&(place.directory.clone(), place.name.clone()))
                    })
            });
            if touched {
                self.read(index);
            }
        }
        self.forget_directories();
    }

    /// Watches what a file depends on, then reads it: a change after that is an event.
    fn read(&mut self, index: usize) {
        let Some(file) = self.files.get_mut(index) else { return };
        for _ in 0..WALKS {
            file.places = places(&file.path);
            let (mut news, mut trouble) = (false, None);
            for place in &file.places {
                if self.directories.contains_key(&place.directory) {
                    continue;
                }
                match self.inotify.add_watch(&place.directory, EVENTS) {
                    Ok(watch) => {
                        news = true;
                        self.directories.insert(place.directory.clone(), watch);
                    }
                    // It may have gone since; its own place says so.
                    Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => {}
                    Err(error) => {
                        trouble = Some(format!(
                            "cannot watch {}: {}; changes go unnoticed",
                            place.directory.display(),
                            error.desc()
                        ));
                    }
                }
            }
            if let Some(trouble) = trouble {
                file.complain(&trouble);
            }
            if !news {
                break;
            }
        }
        file.update();
    }

    /// Directories on which no file depends any more.
    fn forget_directories(&mut self) {
        let needed: HashSet<&Path> =
            self.files.iter().flat_map(|file| &file.places).map(|place| place.directory.as_path()).collect();
        let inotify = &self.inotify;
        self.directories.retain(|directory, watch| {
            let keep = needed.contains(directory.as_path());
            if !keep {
                let _gone_already = inotify.rm_watch(*watch);
            }
            keep
        });
    }
}

/// Readings of events in one pass.
const READINGS: usize = 16;
/// Walks along a path that changes while it is walked.
const WALKS: usize = 8;

const EVENTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// The directory is none of that name any more.
const GONE: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_UNMOUNT)
    .union(AddWatchFlags::IN_IGNORED);

impl Tracked {
    /// Publishes the file's number; one out of range leaves the one before.
    fn update(&mut self) {
        self.silent = is_silent(&self.path);
        let octets = match read_start(&self.path) {
            Ok(octets) => octets,
            Err(error) if is_missing(&error) => Vec::new(),
            Err(error) => {
                self.complain(&format!("cannot be read, so its number is 0: {error}"));
                return self.publish(0);
            }
        };
        match number(&octets) {
            Ok(number) => {
                if self.trouble.take().is_some() {
                    info!(path = %self.path.display(), "track_file: the file has a usable number again");
                }
                self.publish(number);
            }
            Err(_out_of_range) => {
                let known = self.number.borrow().unwrap_or(0);
                self.complain(&format!("its number is not within -2^31..=2^31, so it stays at {known}"));
                self.publish(known);
            }
        }
    }

    fn publish(&self, number: i64) {
        self.number.send_if_modified(|known| known.replace(number) != Some(number));
    }

    fn complain(&mut self, trouble: &str) {
        if self.trouble.as_deref() != Some(trouble) {
            warn!(path = %self.path.display(), "track_file {}: {trouble}", self.path.display());
            self.trouble = Some(trouble.to_owned());
        }
    }
}

/// The part of a file that counts. A FIFO or device is not read: it could wait for ever.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut octets = Vec::with_capacity(MAX_FILE);
    file.take(u64::try_from(MAX_FILE).unwrap_or_default()).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Whether the kernel tells nobody of changes there: it makes the files up itself, or another host has them.
fn is_silent(path: &Path) -> bool {
    const SILENT: [FsType; 8] = [
        PROC_SUPER_MAGIC,
        SYSFS_MAGIC,
        DEBUGFS_MAGIC,
        CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
        NFS_SUPER_MAGIC,
        SMB_SUPER_MAGIC,
        FUSE_SUPER_MAGIC,
    ];
    // Of a file that is not there what would hold it.
    let found = path.ancestors().find_map(|at| statfs(at).ok());
    found.is_some_and(|found| SILENT.contains(&found.filesystem_type()))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A regular file with one name that was just made: who made it has it open.
fn is_being_written(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.nlink() == 1)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;
