//! What is around the work: startup_script and shutdown_script, umask, the file that is there while a reload reads.
//!
//! Here: doing and undoing them. Not here: when.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
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

    /// reload_file, as the configuration that runs names it; there until it is dropped.
    pub(super) fn reload_file(&self) -> Option<Mark> {
        let path = match self.config.global.reload.file.as_ref()? {
            ReloadFile::BesidePidFile => self.paths.reload_file(),
            ReloadFile::Path(path) => path.into(),
        };
        let made = Mark::set(&path);
        made.inspect_err(|error| warn!("reload_file {}: {error}", path.display())).ok()
    }
}

/// An empty file that says that something is under way.
#[derive(Debug)]
pub(super) struct Mark(PathBuf);

impl Mark {
    fn set(path: &Path) -> io::Result<Self> {
        // What is there already is taken for one that a crash left; of a FIFO nobody is waited for.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(flags)
            .open(path)?;
        Ok(Mark(path.to_owned()))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!("reload_file {}: it cannot be removed: {error}", self.0.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_there_until_it_is_dropped() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("reload");
        let mark = Mark::set(&path).expect("made");
        assert!(path.exists());
        drop(mark);
        assert!(!path.exists());
        std::os::unix::fs::symlink("/nonexistent", &path).expect("link");
        assert!(Mark::set(&path).is_err(), "a link is not followed");
        assert!(path.symlink_metadata().is_ok());
    }
}
