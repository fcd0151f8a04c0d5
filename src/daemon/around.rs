//! What is around the work: startup_script and shutdown_script, umask, the file that is there while a reload reads.
//!
//! Here: doing and undoing them. Not here: when.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lbd_grammar::config::{Config, ReloadFile};
use lbd_health::{ScriptId, ScriptOutcome};
use tracing::{info, warn};

use super::Daemon;
use crate::limits;
use crate::script::describe;
use crate::signals::Signals;

/// A program around the life of the process, with its time limit.
pub(super) type LifeScript<'c> = (&'static str, &'c ScriptId, Duration);

/// startup_script
pub(super) fn startup(config: &Config) -> Option<LifeScript<'_>> {
    let life = &config.global.life;
    life.startup.as_ref().map(|id| ("startup_script", id, life.startup_timeout))
}

/// shutdown_script
pub(super) fn shutdown(config: &Config) -> Option<LifeScript<'_>> {
    let life = &config.global.life;
    life.shutdown.as_ref().map(|id| ("shutdown_script", id, life.shutdown_timeout))
}

impl Daemon {
    /// Runs one of the programs; what it answers changes nothing. Returns `false` when it was ended because lbd
    /// was told to stop.
    pub(super) async fn run_life_script(&self, script: LifeScript<'_>, signals: &mut Signals) -> bool {
        let (keyword, id, limit) = script;
        info!("{keyword} begins");
        let mut stopped = false;
        let ignore_interrupt = self.options.ignore_sigint;
        let stop = async {
            signals.stop(ignore_interrupt).await;
            stopped = true;
        };
        let outcome = self.room.run_last(id, limit, stop).await;
        match outcome {
            ScriptOutcome::Exited(0) => info!("{keyword}: exit status 0"),
            ScriptOutcome::TimedOut(_) => {
                warn!("{keyword}: {} ({keyword}_timeout): it was ended, lbd goes on", describe(outcome));
            }
            _ if stopped => warn!("{keyword}: it was ended, since lbd was told to stop"),
            _ => warn!("{keyword}: {}; lbd goes on", describe(outcome)),
        }
        !stopped
    }

    /// umask, unless the command line has one.
    pub(super) fn mask_files(&self, config: &Config) {
        if self.options.umask.is_none() {
            limits::mask_files(config.global.umask.into());
        }
    }

    /// The longest that one part may take to stop: child_wait_time.
    pub(super) fn stop_limit(&self) -> Duration {
        // At once would leave addresses and services.
        self.config.process.child_wait_time.max(Duration::from_secs(1))
    }

    /// reload_file, as the configuration that runs names it.
    pub(super) fn reload_file(&self) -> Option<PathBuf> {
        Some(match self.config.global.reload.file.as_ref()? {
            ReloadFile::BesidePidFile => self.paths.reload_file(),
            ReloadFile::Path(path) => path.into(),
        })
    }

    /// A reload_file that a crash left says that a file is read which is not. (While a start reads, nobody knows
    /// its name yet.)
    pub(super) async fn forget_reload_file(&self) {
        let Some(path) = self.reload_file() else { return };
        within(FORGET_LIMIT, move || Mark::forget(&path)).await;
    }
}

/// Does what may block on a thread of its own, and waits no longer than `limit` for it. Whether it was done.
pub(super) async fn within(limit: Duration, job: impl FnOnce() + Send + 'static) -> bool {
    tokio::time::timeout(limit, tokio::task::spawn_blocking(job)).await.is_ok()
}

/// How long a start waits for the removal of reload_file.
const FORGET_LIMIT: Duration = Duration::from_secs(1);

/// An empty file that says that something is under way.
#[derive(Debug)]
pub(super) struct Mark(PathBuf);

impl Mark {
    /// Says so until it is dropped. Blocks as long as the file system does.
    pub(super) fn of_reload_file(path: &Path) -> Option<Self> {
        Mark::set(path).inspect_err(|error| warn!("reload_file {}: {error}", path.display())).ok()
    }

    fn set(path: &Path) -> io::Result<Self> {
        // What is there already is taken for one that a crash left; of a FIFO nobody is waited for.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(flags)
            .open(path)?;
        if !is_mark(&file.metadata()?) {
            return Err(io::Error::other(NOT_OURS));
        }
        // Whatever the umask: others look for it.
        file.set_permissions(Permissions::from_mode(0o644))?;
        Ok(Mark(path.to_owned()))
    }

    /// Removes one that is there. Anything else of its name stays.
    fn forget(path: &Path) {
        let removed = match fs::symlink_metadata(path) {
            Err(error) => Err(error),
            Ok(found) if !is_mark(&found) => Err(io::Error::other(NOT_OURS)),
            Ok(_) => fs::remove_file(path),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("reload_file {}: it stays: {error}", path.display());
            }
            _ => {}
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        Mark::forget(&self.0);
    }
}

const NOT_OURS: &str = "what is there is no empty file; name another path";

fn is_mark(found: &Metadata) -> bool {
    found.is_file() && found.len() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_there_until_it_is_dropped() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("reload");
        let mark = Mark::set(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        drop(mark);
        assert!(!path.exists());
        fs::write(&path, "").expect("what a crash left");
        drop(Mark::set(&path).expect("taken over"));
        assert!(!path.exists());
        fs::write(&path, "").expect("the same");
        Mark::forget(&path);
        assert!(!path.exists());
        Mark::forget(&path);
    }

    #[test]
    fn what_is_no_mark_is_left_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("reload");
        type Make<'a> = Box<dyn Fn() + 'a>;
        let things: [(&str, Make<'_>); 4] = [
            ("a file", Box::new(|| fs::write(&path, "precious").expect("file"))),
            ("a link", Box::new(|| std::os::unix::fs::symlink("/nonexistent", &path).expect("link"))),
            ("a FIFO", Box::new(|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("FIFO"))),
            ("a folder", Box::new(|| fs::create_dir(&path).expect("folder"))),
        ];
        for (name, make) in things {
            make();
            assert!(Mark::set(&path).is_err(), "{name}");
            Mark::forget(&path);
            assert!(path.symlink_metadata().is_ok(), "{name}");
            let _other_kind = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
        // What took the place of a mark meanwhile.
        let mark = Mark::set(&path).expect("made");
        fs::write(&path, "precious").expect("file");
        drop(mark);
        assert_eq!(fs::read_to_string(&path).expect("it stays"), "precious");
    }
}
