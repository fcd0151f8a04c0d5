//! The file of reload_time_file: read when it changes, waited for, removed when its time has come.
//!
//! On a thread of its own: a file system that does not answer delays nobody else. Not here: what it may say
//! (`super`), the reload, which is only asked for.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tracing::{error, info, warn};

use super::local::Local;
use super::{LOOK_EVERY, Look, Moment, Schedule};

/// Octets of the longest file that is read.
const LONGEST: u64 = 256;
/// Between two readings of a file that changes all the time.
const PAUSE: Duration = Duration::from_millis(100);

const EVENTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Watches one file until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    path: PathBuf,
    repeat: bool,
    // Its end ends the thread, which is not joined: it may hang in a file system.
    _alive: UnixStream,
}

impl Watcher {
    /// Starts the thread; it calls `reload` each time that the file's time has come. With `repeat` a file
    /// that has only a time of day stays, else it is removed before.
    ///
    /// # Errors
    /// When the system refuses a thread or an inotify.
    pub fn start(path: PathBuf, repeat: bool, reload: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = UnixStream::pair()?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let inside =
            Inside { path: path.clone(), repeat, inotify, watched: false, text: None, schedule: None };
        std::thread::Builder::new().name("reload-time".into()).spawn(move || inside.run(&ended, &reload))?;
        Ok(Watcher { path, repeat, _alive: alive })
    }

    /// Whether it does this.
    pub fn is_for(&self, path: &Path, repeat: bool) -> bool {
        self.path == path && self.repeat == repeat
    }
}

struct Inside {
    path: PathBuf,
    repeat: bool,
    inotify: Inotify,
    /// The folder is, so that changes are events; else the file is looked at now and then.
    watched: bool,
    /// What was read last; `None` before, or if there is no file.
    text: Option<String>,
    schedule: Option<Schedule>,
}

impl Inside {
    fn run(mut self, ended: &UnixStream, reload: &dyn Fn()) {
        loop {
            self.watch();
            self.read();
            let wait = match self.schedule.as_mut().map(|one| one.look(now(), &Local)) {
                Some(Look::Due) => {
                    self.done();
                    reload();
                    continue;
                }
                Some(Look::In(wait)) => wait,
                None => LOOK_EVERY,
            };
            // Up to the next millisecond: poll counts in whole ones.
            let wait = PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut ready = [
                PollFd::new(ended.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    error!(error = errno.desc(), "reload_time_file is watched no more");
                    return;
                }
            }
            let [end, changed] = ready.map(|fd| fd.any().unwrap_or_default());
            if end {
                return;
            }
            if changed {
                self.forget_events();
                let mut ready = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
                let _ended = poll(&mut ready, PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO));
            }
        }
    }

    /// Watches the folder: a file that takes another's place has another inode.
    fn watch(&mut self) {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        // Adding it again changes nothing.
        let watched = self.inotify.add_watch(folder, EVENTS).is_ok();
        if !watched && self.watched {
            warn!("reload_time_file: {} is gone; it is looked for each minute", folder.display());
        }
        self.watched = watched;
    }

    /// Each says the same: look.
    fn forget_events(&self) {
        const READINGS: usize = 16;
        for _ in 0..READINGS {
            if self.inotify.read_events().is_err() {
                return;
            }
        }
    }

    /// What the file says counts from when it says so.
    fn read(&mut self) {
        let text = match read_start(&self.path) {
            Ok(text) => Some(text).filter(|text| !text.trim().is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("\n{error}\n")),
        };
        if text == self.text {
            return;
        }
        self.schedule = text.as_deref().and_then(|text| self.scheduled(text));
        self.text = text;
    }

    fn scheduled(&self, text: &str) -> Option<Schedule> {
        let path = self.path.display();
        // No file begins so: see above.
        if let Some(error) = text.strip_prefix('\n') {
            warn!("reload_time_file {path}: {}; no reload is planned", error.trim_end());
            return None;
        }
        match Moment::parse(text) {
            Err(why) => {
                warn!("reload_time_file {path}: {:?}: {why}; no reload is planned", text.trim_end());
                None
            }
            Ok(moment) => {
                let schedule = Schedule::new(moment, now(), &Local);
                match &schedule {
                    None => warn!("reload_time_file {path}: {} is past; no reload is planned", text.trim()),
                    Some(schedule) => {
                        let at = SystemTime::UNIX_EPOCH
                            + Duration::from_secs(u64::try_from(schedule.due()).unwrap_or_default());
                        info!(
                            "reload_time_file {path}: the next reload is at {}",
                            humantime::format_rfc3339_seconds(at)
                        );
                    }
                }
                schedule
            }
        }
    }

    /// Its time has come.
    fn done(&mut self) {
        info!("reload_time_file {}: it is time to reload", self.path.display());
        let moment = self.text.as_deref().and_then(|text| Moment::parse(text).ok());
        if self.repeat && moment.is_some_and(|moment| moment.is_daily()) {
            self.schedule = moment.and_then(|moment| Schedule::new(moment, now(), &Local));
            return;
        }
        // A file that stays is not looked at again until it says something else.
        self.schedule = None;
        match fs::remove_file(&self.path) {
            Ok(()) => self.text = None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!("reload_time_file {}: it cannot be removed: {error}", self.path.display()),
        }
    }
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn read_start(path: &Path) -> io::Result<String> {
    // A FIFO or device would be waited for.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut octets = Vec::new();
    file.take(LONGEST).read_to_end(&mut octets)?;
    // Blank lines before it count for nothing.
    Ok(String::from_utf8_lossy(&octets).trim_start().to_owned())
}
