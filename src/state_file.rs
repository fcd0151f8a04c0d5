//! What survives the process: which services are ours, the last verdicts, who was master.
//!
//! Two files, both 0600 and replaced by rename: `state` (keys and verdicts, written before the kernel
//! is changed) and `state.vrrp` beside it (small, written with every advertisement interval), so that
//! an advertisement does not cost writing thousands of keys. Not here: what is done with it on start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lbd_grammar::config::{GroupKey, VirtualServerId};
use lbd_ipvs::{Destination, Family, Protocol, Service, ServiceId, SyncState, Timeouts};
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

/// A real server that is no longer configured and stays for its connections (drain_timeout).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedLeaving {
    /// The virtual server that it was of.
    pub of: VirtualServerId,
    /// A service that it is in.
    pub id: ServiceId,
    /// That service, for when nobody else wants it.
    pub service: Service,
    /// Its address and port there.
    pub address: SocketAddr,
    /// With weight 0.
    pub destination: Destination,
    /// Boot clock at which it goes at the latest, in milliseconds.
    pub until_ms: u64,
}

/// A virtual router as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedInstance {
    /// Interface; empty for one that has none.
    pub interface: String,
    /// VRID; 0, which none has: what is static.
    pub vrid: u8,
    /// `ipv4` or `ipv6`; the first in files of a time when there was no other.
    #[serde(default = "ipv4")]
    pub family: String,
    /// It was master.
    pub master: bool,
    /// Boot clock of the last advertisement sent, in milliseconds.
    pub last_advert_ms: u64,
    /// Addresses it held, `ADDRESS/PREFIX` and device.
    pub addresses: Vec<(String, String)>,
    /// Routes it held, as lines of virtual_routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Rules it held, as lines of virtual_rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl SavedInstance {
    /// It held anything.
    pub fn held_any(&self) -> bool {
        !(self.addresses.is_empty() && self.routes.is_empty() && self.rules.is_empty())
    }
}

impl Default for SavedInstance {
    fn default() -> Self {
        SavedInstance {
            interface: String::new(),
            vrid: 0,
            family: ipv4(),
            master: false,
            last_advert_ms: 0,
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
        }
    }
}

fn ipv4() -> String {
    "ipv4".to_owned()
}

/// Format of the files; one with a higher number is of a newer lbd.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TableSection {
    #[serde(default)]
    format: u32,
    boot_id: String,
    /// Which table the keys are of: the network namespace's number, 0 where it is not known.
    #[serde(default)]
    namespace: u64,
    services: Vec<(ServiceId, BTreeSet<SocketAddr>)>,
    verdicts: Vec<(SavedId, SocketAddr, SavedServer)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeouts: Option<Timeouts>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    sync: BTreeSet<SyncState>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leaving: Vec<(SavedId, ServiceId, Service, SocketAddr, Destination, u64)>,
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
    /// The connection timeouts that it replaced (lvs_timeouts).
    pub timeouts: Option<Timeouts>,
    /// The synchronisation daemons that it started.
    pub sync: BTreeSet<SyncState>,
    /// Real servers that were leaving.
    pub leaving: Vec<SavedLeaving>,
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
    /// Opens the file at `path` and reads what an earlier process of this boot left for the table of the network
    /// namespace with this number ([`crate::namespace`]). A file that is missing, damaged, of an earlier boot, of
    /// another namespace, of a newer lbd or not this user's reads as empty; where that is not as usual, a line
    /// says so.
    pub fn open(path: &Path, namespace: u64) -> (Self, Saved) {
        let boot_id = boot_id();
        let table: TableSection = read(path);
        let vrrp: VrrpSection = read(&vrrp_path(path));
        let mut saved = Saved::default();
        let fresh =
            TableSection { format: FORMAT, boot_id: boot_id.clone(), namespace, ..TableSection::default() };
        let kept = if table.boot_id != boot_id {
            fresh
        } else if table.format > FORMAT {
            not_used(
                path,
                &format!("it is of a newer lbd (format {}, this one knows {FORMAT})", table.format),
            );
            fresh
        } else if [table.namespace, namespace].iter().all(|one| *one != 0) && table.namespace != namespace {
            not_used(path, "it is about the IPVS table of another network namespace");
            fresh
        } else {
            saved.owned = table.services.iter().cloned().collect();
            saved.verdicts = table
                .verdicts
                .iter()
                .map(|(id, address, server)| ((id.into(), *address), server.clone()))
                .collect();
            saved.timeouts = table.timeouts;
            saved.sync = table.sync.clone();
            let leaving = table.leaving.iter().cloned();
            saved.leaving = leaving
                .map(|(of, id, service, address, destination, until_ms)| SavedLeaving {
                    of: (&of).into(),
                    id,
                    service,
                    address,
                    destination,
                    until_ms,
                })
                .collect();
            TableSection { format: FORMAT, namespace, ..table }
        };
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
        self.put(|table| table.services = owned.iter().map(|(id, dests)| (*id, dests.clone())).collect())
    }

    /// Writes the connection timeouts that were there before ours; `None` when ours are not set.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_timeouts(&self, before: Option<Timeouts>) -> io::Result<()> {
        self.put(|table| table.timeouts = before)
    }

    /// Writes which real servers are leaving.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_leaving(&self, leaving: Vec<SavedLeaving>) -> io::Result<()> {
        let saved = |one: SavedLeaving| {
            let SavedLeaving { of, id, service, address, destination, until_ms } = one;
            ((&of).into(), id, service, address, destination, until_ms)
        };
        self.put(|table| table.leaving = leaving.into_iter().map(saved).collect())
    }

    /// Writes which synchronisation daemons are ours.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_sync(&self, roles: &BTreeSet<SyncState>) -> io::Result<()> {
        self.put(|table| table.sync.clone_from(roles))
    }

    /// Writes the verdicts.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_verdicts(&self, verdicts: &Verdicts) -> io::Result<()> {
        self.put(|table| {
            table.verdicts = verdicts
                .iter()
                .map(|((id, address), server)| (id.into(), *address, server.clone()))
                .collect();
        })
    }

    fn put(&self, change: impl FnOnce(&mut TableSection)) -> io::Result<()> {
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut table);
        write(&self.path, &*table)
    }

    /// Writes the virtual routers.
    ///
    /// # Errors
    /// What the file system says; the old file is still there then.
    pub fn put_instances(&self, instances: Vec<SavedInstance>) -> io::Result<()> {
        write(&vrrp_path(&self.path), &VrrpSection { boot_id: self.boot_id.clone(), instances })
    }

    /// Tidies up after an orderly stop. What the operator wants of real servers stays; the first file goes if
    /// that is nothing and if it names nothing that is in the kernel still (the stop could not remove it), the
    /// second if there are `no_addresses`.
    pub fn remove(&self, no_addresses: bool) {
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (_, _, server) in &mut table.verdicts {
            server.checks.clear();
        }
        table.verdicts.retain(|(_, _, server)| server.order.is_some());
        table.leaving.clear();
        let TableSection { services, verdicts, timeouts, sync, .. } = &*table;
        if services.is_empty() && verdicts.is_empty() && timeouts.is_none() && sync.is_empty() {
            let _gone = fs::remove_file(&self.path);
        } else if let Err(error) = write(&self.path, &*table) {
            tracing::warn!(file = %self.path.display(), %error, "the state file cannot be written");
        }
        if no_addresses {
            let _gone = fs::remove_file(vrrp_path(&self.path));
        }
    }
}

/// Names this boot of the kernel; empty where that cannot be read.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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

/// Reads a file of this process's kind; one that is missing, damaged or not this user's reads as empty.
pub(crate) fn read<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> T {
    let bytes = match read_own(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return T::default(),
        Err(error) => {
            not_used(path, &error.to_string());
            return T::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        not_used(path, &format!("it is damaged: {error}"));
        T::default()
    })
}

/// Whoever could write the file could have us remove services: only this user, or root.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let open = fs::OpenOptions::new()
        .read(true)
        // A FIFO would be waited for.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = open.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link"),
        _ => error,
    })?;
    let found = file.metadata()?;
    let owner = nix::unistd::geteuid().as_raw();
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if found.uid() != owner && found.uid() != 0 {
        return Err(io::Error::other(format!("it belongs to user {}, not to {owner}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!("others may write it (mode {:04o})", found.mode() & 0o7777)));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, LONGEST), &mut bytes)?;
    Ok(bytes)
}

/// More than a hundred times the state of 40,000 real servers.
const LONGEST: u64 = 1 << 30;

fn not_used(path: &Path, why: &str) {
    tracing::warn!(
        "state file {}: {why}: starting without it; what an earlier lbd left in the kernel is taken over where the \
         configuration names it, and stays where it does not",
        path.display()
    );
}

/// Replaces a file by rename, with mode 0600.
///
/// # Errors
/// What the file system says; the old file is still there then.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
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
mod tests;
