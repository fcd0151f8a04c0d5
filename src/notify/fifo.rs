//! A notify FIFO: made or found, written to without waiting, removed if it was made here.
//!
//! Not here: what is written (`fifo_line`), which FIFOs there are and who reads them (`fifos`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown, geteuid, mkfifo};
use tracing::{info, warn};

/// A FIFO that is open. Dropping it closes it, and removes it if it was made here; that blocks.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    file: File,
    /// Device and inode.
    node: (u64, u64),
    made: bool,
    lost: AtomicU64,
}

/// Why there is no FIFO.
#[derive(Debug, thiserror::Error)]
pub enum FifoError {
    /// Something else has its name.
    #[error("{path} is not a FIFO but {found}: remove it, or name another path")]
    NotFifo {
        /// The path.
        path: PathBuf,
        /// What is there, in words.
        found: &'static str,
    },
    /// Somebody else's, who could read and write what is meant for another.
    #[error("{path} belongs to user {owner}: remove it, or name that user at the keyword")]
    Owner {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The system refused.
    #[error("{path} cannot be {what}: {source}")]
    System {
        /// The path.
        path: PathBuf,
        /// `made`, `opened`, …
        what: &'static str,
        /// Its error.
        source: io::Error,
    },
}

impl Fifo {
    /// Opens the FIFO at `path`, which is made (0644 less the umask, of `owner` if given) when nothing
    /// is there. What is there must be a FIFO of this process's user or of `owner`. Blocks as long as
    /// the file system does, not for a reader.
    ///
    /// # Errors
    /// [`FifoError`]; nothing that was there is changed then.
    pub fn open(path: &Path, owner: Option<(u32, u32)>) -> Result<Self, FifoError> {
        let failed =
            |what| move |source: io::Error| FifoError::System { path: path.to_owned(), what, source };
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
        let made = match mkfifo(path, mode) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(failed("made")(error.into())),
        };
        // The node itself, whatever it is, without any effect on it: examined first, opened then.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let node: OwnedFd =
            open(path, flags, Mode::empty()).map_err(|error| failed("examined")(error.into()))?;
        let node = File::from(node);
        let meta = node.metadata().map_err(failed("examined"))?;
        if !meta.file_type().is_fifo() {
            return Err(FifoError::NotFifo { path: path.to_owned(), found: kind(&meta) });
        }
        let own = geteuid().as_raw();
        if meta.uid() != own && owner.is_none_or(|(uid, _)| uid != meta.uid()) {
            return Err(FifoError::Owner { path: path.to_owned(), owner: meta.uid() });
        }
        // For reading too: it can be opened without a reader, and keeps what was written before one comes.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(format!("/proc/self/fd/{}", node.as_raw_fd()))
            .map_err(failed("opened"))?;
        let fifo = Fifo {
            path: path.to_owned(),
            file,
            node: (meta.dev(), meta.ino()),
            made,
            lost: AtomicU64::new(0),
        };
        if made && let Some((uid, gid)) = owner {
            let given = fchown(&fifo.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            if let Err(error) = given {
                // Without CAP_CHOWN: who may read it still can.
                let fifo = path.display();
                warn!(%fifo, uid, gid, %error, "notify FIFO: it cannot be given to its user, and stays ours");
            }
        }
        Ok(fifo)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line, whole or not at all, without waiting: what does not fit because nobody reads is
    /// lost, counted and the count logged.
    pub fn write(&self, line: &str) {
        let bytes = line.as_bytes();
        // A longer one might be written in part.
        let outcome = if bytes.len() > libc::PIPE_BUF {
            Err(io::Error::other("the line is longer than a FIFO takes at once"))
        } else {
            (&self.file).write(bytes)
        };
        let why = match outcome {
            Ok(_) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    info!(fifo = %self.path.display(), lost, "notify FIFO: it is read again");
                }
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                "it is full: nobody reads it, or not fast enough".to_owned()
            }
            Err(error) => error.to_string(),
        };
        // Powers of two: told, without a flood.
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if lost.is_power_of_two() {
            warn!(fifo = %self.path.display(), lost, "notify FIFO: a line is lost: {why}");
        }
    }

    /// Lines lost since the last one that went through.
    #[cfg(test)]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether its path still leads to it. Blocks as long as the file system does.
    pub fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.node)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if self.made && self.is_in_place() {
            // Gone meanwhile: as wanted.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

fn kind(meta: &std::fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a file"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests;
