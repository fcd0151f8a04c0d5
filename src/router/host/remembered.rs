//! What a process leaves on the host for the next one: interfaces that it made, and settings as they were before.
//!
//! A file of its own beside the state file, 0600, replaced by rename before the host is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::namespace::Namespace;
use crate::state_file;

/// What the host has of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Interfaces by name.
    #[serde(default)]
    pub links: BTreeSet<String>,
    /// Addresses that they were given, by their names.
    #[serde(default)]
    pub given: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Settings below /proc/sys by key, as they were.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Tables of the packet filter.
    #[serde(default)]
    pub tables: BTreeSet<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    boot_id: String,
    /// Number of the network namespace; 0 where it is not known.
    #[serde(default)]
    namespace: u64,
    #[serde(flatten)]
    left: Remembered,
}

/// The file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    boot_id: String,
    namespace: u64,
    written: Remembered,
}

impl File {
    /// Opens the file beside the state file at `state` and reads what an earlier process of this boot left in the
    /// network namespace of the calling thread.
    pub fn open(state: &Path) -> (Self, Remembered) {
        let mut name = state.as_os_str().to_owned();
        name.push(".host");
        let path = PathBuf::from(name);
        let boot_id = state_file::boot_id();
        let namespace = Namespace::Own.number();
        let read: Written = state_file::read(&path);
        let is_here = [read.namespace, namespace].contains(&0) || read.namespace == namespace;
        let kept = if read.boot_id == boot_id && is_here { read.left } else { Remembered::default() };
        (File { path, boot_id, namespace, written: kept.clone() }, kept)
    }

    /// Writes what is left from now on, if that is news; with nothing left there is no file.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put(&mut self, left: Remembered) -> io::Result<()> {
        if self.written == left {
            return Ok(());
        }
        if left == Remembered::default() {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            state_file::write(
                &self.path,
                &Written { boot_id: self.boot_id.clone(), namespace: self.namespace, left: left.clone() },
            )?;
        }
        self.written = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_until_nothing_is_left() {
        let dir = tempfile::tempdir().expect("directory");
        let state = dir.path().join("state");
        let (mut file, before) = File::open(&state);
        assert_eq!(before, Remembered::default());
        let left = Remembered {
            links: ["vrrp.5".to_owned()].into(),
            settings: BTreeMap::from([("net/ipv4/conf/all/rp_filter".to_owned(), "1".to_owned())]),
            given: BTreeMap::from([("vrrp.5".to_owned(), ["10.0.0.5".parse().expect("address")].into())]),
            tables: ["keepalived".to_owned()].into(),
        };
        file.put(left.clone()).expect("written");
        let (mut file, read) = File::open(&state);
        assert_eq!(read, left);
        let elsewhere = std::thread::spawn({
            let state = state.clone();
            move || {
                let away = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
                away.is_ok().then(|| File::open(&state).1)
            }
        });
        // Without the rights of root there is no other one.
        if let Some(found) = elsewhere.join().expect("thread") {
            assert_eq!(found, Remembered::default(), "another network namespace");
        }
        file.put(Remembered::default()).expect("removed");
        assert!(!dir.path().join("state.host").exists());
        assert_eq!(File::open(&state).1, Remembered::default());
    }
}
