//! A file that one process at a time holds: how a second daemon is told from what a dead one left.
//!
//! Here: opening, locking and reading who holds it. Not here: what the file is for
//! ([`crate::pid_file`], [`crate::control::server`]). The lock is an open-file-description write lock
//! over the whole file, as keepalived's pid files have it, so that either sees the other; the kernel
//! drops it with the process, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};

/// A held file with this process's id in it; removed when dropped.
#[derive(Debug)]
pub struct LockedFile {
    path: PathBuf,
    file: File,
}

/// Why a file is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("held by another process{}", .holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held {
        /// The process id it wrote, if it is one.
        holder: Option<u32>,
    },
    /// The path leads to something that is not a file, and so must not be removed later.
    #[error("is not a regular file")]
    NotAFile,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LockedFile {
    /// Opens or creates the file at `path` with `mode`, makes missing directories (0755), takes the
    /// lock without waiting, and writes the process id and a newline.
    ///
    /// # Errors
    /// [`LockError`]; the file's content is unchanged then.
    pub fn acquire(path: &Path, mode: u32) -> Result<Self, LockError> {
        // The holder may remove the file between open and lock: then this is the lock of nothing. And its folder,
        // as long as nothing of ours is in it.
        for attempt in 1..=ATTEMPTS {
            let mut file = match open(path, mode) {
                Err(error) if vanished(&error) && attempt < ATTEMPTS => continue,
                opened => opened?,
            };
            if !file.metadata()?.is_file() {
                return Err(LockError::NotAFile);
            }
            if !try_lock(&file)? {
                return Err(LockError::Held { holder: read_pid(&mut file) });
            }
            if same_file(&file, path)? {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())?;
                return Ok(LockedFile { path: path.to_owned(), file });
            }
        }
        Err(LockError::Held { holder: None })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // While the lock is held nobody else's file can be here, unless someone replaced it by hand.
        if same_file(&self.file, &self.path).unwrap_or(false) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// Times the file may vanish under our hands before we say that someone else is at it.
const ATTEMPTS: u32 = 16;

/// A folder that goes between its making and the look at it counts as a file that is there.
fn vanished(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

fn open(path: &Path, mode: u32) -> io::Result<File> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    // O_NONBLOCK: opening a FIFO must not wait for its other end.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    let short = |value: i32| i16::try_from(value).map_err(io::Error::other);
    let whole_file = libc::flock {
        l_type: short(libc::F_WRLCK)?,
        l_whence: short(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0, // must be 0: fcntl(2), open file description locks
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file)) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_when_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("deep/er/lock");
        let first = LockedFile::acquire(&path, 0o600).expect("free");
        let pid = std::process::id();
        assert_eq!(fs::read_to_string(&path).expect("file"), format!("{pid}\n"));
        match LockedFile::acquire(&path, 0o600) {
            Err(LockError::Held { holder }) => assert_eq!(holder, Some(pid)),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!path.exists());
        drop(LockedFile::acquire(&path, 0o600).expect("free again"));
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over_and_shortened() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("lock");
        fs::write(&path, "4194304999\nrubbish\n").expect("file");
        let _held = LockedFile::acquire(&path, 0o600).expect("nobody holds it");
        assert_eq!(fs::read_to_string(&path).expect("file"), format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_put_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("lock");
        let held = LockedFile::acquire(&path, 0o600).expect("free");
        fs::remove_file(&path).expect("removed by hand");
        fs::write(&path, "someone else's").expect("file");
        drop(held);
        assert!(path.exists());
    }

    #[test]
    fn only_files_are_taken() {
        let dir = tempfile::tempdir().expect("directory");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        for path in [fifo.as_path(), Path::new("/dev/null")] {
            let got = LockedFile::acquire(path, 0o600);
            assert!(matches!(got, Err(LockError::NotAFile)), "{}: {got:?}", path.display());
        }
    }

    #[test]
    fn never_two_holders_while_files_come_and_go() {
        let dir = tempfile::tempdir().expect("directory");
        let folder = dir.path().join("deep");
        let path = folder.join("lock");
        let (inside, taken) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        match LockedFile::acquire(&path, 0o600) {
                            Ok(held) => {
                                assert!(!inside.swap(true, Ordering::SeqCst), "two holders");
                                std::thread::yield_now();
                                taken.fetch_add(1, Ordering::SeqCst);
                                inside.store(false, Ordering::SeqCst);
                                drop(held);
                                let _another_is_in_it = fs::remove_dir(&folder);
                            }
                            Err(LockError::Held { .. }) => std::thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        assert!(taken.load(Ordering::SeqCst) > 0);
        assert!(!path.exists());
    }
}
