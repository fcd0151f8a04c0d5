//! What survives the process: which services are ours, the last verdicts, who was master.
//!
//! Two files, both 0600 and replaced by rename: `state` (keys and verdicts, written before the kernel
//! is changed) and `state.vrrp` beside it (small, written with every advertisement interval), so that
//! an advertisement does not cost writing thousands of keys. Not here: what is done with it on start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lbd_grammar::config::{GroupKey, VirtualServerId};
use lbd_ipvs::{Family, Protocol, ServiceId};
use serde::{Deserialize, Serialize};

use crate::director::pool::Order;

/// Keys of the kernel's table that belong to this lbd.
pub type Owned = BTreeMap<ServiceId, BTreeSet<SocketAddr>>;

/// Last verdicts of one real server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedServer {
    /// Checkers by a fingerprint of their configuration; left out are those that found what a start
    /// assumes anyway.
    pub checks: BTreeMap<String, SavedCheck>,
    /// What the operator wants of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SavedOrder>,
}

/// What the operator wants of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavedOrder {
    /// Weight 0 and kept.
    Drain,
    /// Out.
    Maint,
    /// This weight.
    Weight(u32),
}

impl From<Order> for SavedOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Drain => SavedOrder::Drain,
            Order::Maint => SavedOrder::Maint,
            Order::Weight(weight) => SavedOrder::Weight(weight),
        }
    }
}

impl From<SavedOrder> for Order {
    fn from(order: SavedOrder) -> Self {
        match order {
            SavedOrder::Drain => Order::Drain,
            SavedOrder::Maint => Order::Maint,
            SavedOrder::Weight(weight) => Order::Weight(weight),
        }
    }
}

/// Last verdict of a checker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCheck {
    /// Good.
    pub up: bool,
    /// Weight that it asked for (misc_dynamic).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Part of the configured weight that it asked for (AGENT_CHECK), in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
}

/// A virtual router as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedInstance {
    /// Interface.
    pub interface: String,
    /// VRID.
    pub vrid: u8,
    /// It was master.
    pub master: bool,
    /// Boot clock of the last advertisement sent, in milliseconds.
    pub last_advert_ms: u64,
    /// Addresses it held, `ADDRESS/PREFIX` and device.
    pub addresses: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TableSection {
    boot_id: String,
    services: Vec<(ServiceId, BTreeSet<SocketAddr>)>,
    verdicts: Vec<(SavedId, SocketAddr, SavedServer)>,
}

/// A virtual server's id in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum SavedId {
    Service(ServiceId),
    Group { group: String, protocol: Option<Protocol>, family: Family },
}

impl From<&VirtualServerId> for SavedId {
    fn from(id: &VirtualServerId) -> Self {
        match id {
            VirtualServerId::Service(service) => SavedId::Service(*service),
            VirtualServerId::Group(GroupKey { group, protocol, family }) => {
                SavedId::Group { group: group.to_string(), protocol: *protocol, family: *family }
            }
        }
    }
}

impl From<&SavedId> for VirtualServerId {
    fn from(id: &SavedId) -> Self {
        match id {
            SavedId::Service(service) => VirtualServerId::Service(*service),
            SavedId::Group { group, protocol, family } => VirtualServerId::Group(GroupKey {
                group: group.as_str().into(),
                protocol: *protocol,
                family: *family,
            }),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct VrrpSection {
    boot_id: String,
    instances: Vec<SavedInstance>,
}

/// Verdicts by virtual server and real server.
pub type Verdicts = BTreeMap<(VirtualServerId, SocketAddr), SavedServer>;

/// What an earlier process left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Its keys.
    pub owned: Owned,
    /// Its verdicts.
    pub verdicts: Verdicts,
    /// Its virtual routers.
    pub instances: Vec<SavedInstance>,
}

/// The state file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    boot_id: String,
    table: Mutex<TableSection>,
}

impl StateFile {
    /// Opens the file at `path` and reads what an earlier process of this boot left; a missing,
    /// damaged or older file reads as empty (a damaged one is reported).
    pub fn open(path: &Path) -> (Self, Saved) {
        let boot_id =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let table: TableSection = read(path);
        let vrrp: VrrpSection = read(&vrrp_path(path));
        let mut saved = Saved::default();
        let mut kept = TableSection { boot_id: boot_id.clone(), ..TableSection::default() };
        if table.boot_id == boot_id {
            saved.owned = table.services.iter().cloned().collect();
            saved.verdicts = table
                .verdicts
                .iter()
                .map(|(id, address, server)| ((id.into(), *address), server.clone()))
                .collect();
            kept = table;
        }
        if vrrp.boot_id == boot_id {
            saved.instances = vrrp.instances;
        }
        (StateFile { path: path.to_owned(), boot_id, table: Mutex::new(kept) }, saved)
    }

    /// Writes the keys; returns when they are in the file, so that the kernel may be changed.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_owned(&self, owned: &Owned) -> io::Result<()> {
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        table.services = owned.iter().map(|(id, dests)| (*id, dests.clone())).collect();
        write(&self.path, &*table)
    }

    /// Writes the verdicts.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_verdicts(&self, verdicts: &Verdicts) -> io::Result<()> {
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        table.verdicts =
            verdicts.iter().map(|((id, address), server)| (id.into(), *address, server.clone())).collect();
        write(&self.path, &*table)
    }

    /// Writes the virtual routers.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_instances(&self, instances: Vec<SavedInstance>) -> io::Result<()> {
        write(&vrrp_path(&self.path), &VrrpSection { boot_id: self.boot_id.clone(), instances })
    }

    /// Removes the files after an orderly stop: the first unless it names services that are in the
    /// kernel still (the stop could not remove them), the second if there are `no_addresses`.
    pub fn remove(&self, no_addresses: bool) {
        let table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if table.services.is_empty() {
            let _gone = fs::remove_file(&self.path);
        }
        if no_addresses {
            let _gone = fs::remove_file(vrrp_path(&self.path));
        }
    }
}

/// Milliseconds of the boot clock (`CLOCK_BOOTTIME`), which goes on over a crash of this process.
pub fn boot_clock_ms() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        seconds * 1000 + u64::try_from(time.tv_nsec()).unwrap_or_default() / 1_000_000
    })
}

fn vrrp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".vrrp");
    PathBuf::from(name)
}

fn read<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> T {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "state file is damaged: starting without it");
            T::default()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "state file cannot be read: starting without it");
            T::default()
        }
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn service(text: &str) -> ServiceId {
        ServiceId::Addr { protocol: Protocol::Tcp, vip: text.parse().expect("address") }
    }

    #[test]
    fn what_is_put_is_read_back_with_mode_0600() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("run/state");
        let (file, saved) = StateFile::open(&path);
        assert_eq!(saved, Saved::default());
        let id = service("10.0.0.1:80");
        let real: SocketAddr = "10.0.0.2:80".parse().expect("address");
        let owned: Owned = [(id, [real].into())].into();
        let group = GroupKey { group: "g".into(), protocol: None, family: Family::Inet6 };
        let found = SavedServer {
            checks: [("TCP".to_owned(), SavedCheck { up: false, weight: Some(7), percent: Some(50) })].into(),
            order: Some(SavedOrder::Weight(3)),
        };
        let verdicts: Verdicts =
            [((id.into(), real), found.clone()), ((VirtualServerId::Group(group), real), found)].into();
        let instance =
            SavedInstance { interface: "eth0".into(), vrid: 7, master: true, ..Default::default() };
        file.put_owned(&owned).expect("keys are written");
        file.put_verdicts(&verdicts).expect("verdicts are written");
        file.put_instances(vec![instance.clone()]).expect("instances are written");
        let (file, saved) = StateFile::open(&path);
        assert_eq!(saved, Saved { owned, verdicts, instances: vec![instance.clone()] });
        for name in ["run/state", "run/state.vrrp"] {
            let mode = fs::metadata(dir.path().join(name)).expect("file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        // A stop that could not do all of its work leaves the names of what is there.
        file.remove(false);
        let saved = StateFile::open(&path).1;
        assert_eq!((saved.owned.len(), saved.instances), (1, vec![instance]));
        file.put_owned(&Owned::new()).expect("keys are written");
        file.remove(true);
        assert_eq!(StateFile::open(&path).1, Saved::default());
        assert_eq!(fs::read_dir(dir.path().join("run")).expect("directory").count(), 0);
    }

    #[test]
    fn a_damaged_file_or_one_of_another_boot_reads_as_empty() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("state");
        for (name, text) in [
            ("damaged", "{\"boot_id\":"),
            ("other boot", "{\"boot_id\":\"x\",\"services\":[],\"verdicts\":[]}"),
            ("binary", "\u{0}\u{1}"),
        ] {
            fs::write(&path, text).expect("file");
            assert_eq!(StateFile::open(&path).1, Saved::default(), "{name}");
        }
    }
}
