//! The pid file: other programs read it, a second daemon is stopped by it.
//!
//! Here: the file and what is said when it is taken. Not here: the lock ([`crate::lock`]), its path
//! ([`crate::options`]).

use std::io;
use std::path::{Path, PathBuf};

use crate::lock::{LockError, LockedFile};

/// The pid file of this process, mode 0644, decimal pid and a newline; locked while it lives and
/// removed when dropped.
#[derive(Debug)]
pub struct PidFile(#[expect(dead_code, reason = "held for its Drop")] LockedFile);

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another daemon runs.
    #[error(
        "pid file {}: lbd (or keepalived) is running already{}; stop it first, or give this one its own --pid, \
         --control-socket and --state-file", .path.display(), of_pid(*.holder)
    )]
    Running {
        /// The pid file.
        path: PathBuf,
        /// Its process id, if it wrote one.
        holder: Option<u32>,
    },
    /// A device, directory or FIFO.
    #[error("pid file {} is not a regular file; name another one with --pid", .0.display())]
    NotAFile(PathBuf),
    /// The system refused.
    #[error("pid file {}: {}; {}", .path.display(), .source, remedy(.source))]
    Io {
        /// The pid file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PidFileError {
    /// Whether it failed for missing rights (exit status 4).
    pub fn is_rights(&self) -> bool {
        matches!(self, PidFileError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl PidFile {
    /// Writes and locks the file; missing directories are made with mode 0755.
    ///
    /// # Errors
    /// [`PidFileError`], with the remedy in its text.
    pub fn create(path: &Path) -> Result<Self, PidFileError> {
        LockedFile::acquire(path, 0o644).map(PidFile).map_err(|error| match error {
            LockError::Held { holder } => PidFileError::Running { path: path.to_owned(), holder },
            LockError::NotAFile => PidFileError::NotAFile(path.to_owned()),
            LockError::Io(source) => PidFileError::Io { path: path.to_owned(), source },
        })
    }
}

/// ` (pid 7)` when it is known.
pub(crate) fn of_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// What to do when a file of the run directory cannot be made.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run lbd as root",
        io::ErrorKind::ReadOnlyFilesystem => "name a place that can be written",
        io::ErrorKind::StorageFull => "make room",
        _ => "name another place",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_daemon_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("run/lbd.pid");
        let held = PidFile::create(&path).expect("first");
        let pid = std::process::id();
        assert_eq!(std::fs::read_to_string(&path).expect("file"), format!("{pid}\n"));
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let text = PidFile::create(&path).expect_err("second").to_string();
        for word in [format!("running already (pid {pid})"), "--pid".into(), path.display().to_string()] {
            assert!(text.contains(&word), "{text}");
        }
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn errors_name_the_file_and_what_to_do() {
        for (path, words) in [
            ("/dev/null", "pid file /dev/null is not a regular file; name another one with --pid"),
            ("/proc/nothing/lbd.pid", "pid file /proc/nothing/lbd.pid: "),
            ("/dev/null/lbd.pid", "; name another place"),
        ] {
            let text = PidFile::create(Path::new(path)).expect_err(path).to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
