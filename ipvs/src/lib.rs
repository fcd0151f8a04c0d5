//! IPVS over generic netlink: typed values, wire messages, a batching client and the table diff.
//!
//! Here: what the kernel's table holds and how to read and change it. Not here: which real servers
//! are alive, configuration text, or who wants what.
//!
//! ```no_run
//! use lbd_ipvs::{Client, Ipvs, Table, plan};
//!
//! let mut kernel = Client::connect()?;
//! let have = kernel.dump(&|_| true)?;
//! let want = Table::default();
//! for result in kernel.apply(&plan(&have, &want)) {
//!     result?;
//! }
//! # Ok::<(), lbd_ipvs::IpvsError>(())
//! ```

use std::collections::BTreeMap;

pub mod check;
pub mod client;
pub mod error;
pub mod fake;
pub mod plan;
pub mod transport;
pub mod types;
pub mod wire;

pub use client::Client;
pub use error::IpvsError;
pub use plan::{plan, plan_service};
pub use types::*;

/// The kernel's IPVS table: [`Client`] in production, [`fake::FakeIpvs`] in tests.
pub trait Ipvs {
    /// Reads the services of which `ours` says so, with their destinations; all others cost a look at their
    /// key. It is not one moment's table: another writer may change it meanwhile.
    ///
    /// # Errors
    /// [`IpvsError::NoRight`], or what [`IpvsError::is_lost`] says is a lost connection.
    fn dump(&mut self, ours: &dyn Fn(&ServiceId) -> bool) -> Result<Table, IpvsError>;

    /// Reads these services and what they have counted; those that are not there are not in the result.
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    fn read(&mut self, ids: &[ServiceId]) -> Result<BTreeMap<ServiceId, Reading>, IpvsError>;

    /// Changes the table. One result per operation, in order; a refused one does not stop the others.
    /// [`IpvsError::Unsound`] ones are not sent. After a result for which [`IpvsError::is_lost`] holds, read
    /// the table back: that operation and those after it may or may not have been done.
    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>>;

    /// The connection timeouts (`IPVS_CMD_GET_CONFIG`).
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    fn timeouts(&mut self) -> Result<Timeouts, IpvsError>;

    /// Sets the connection timeouts (`IPVS_CMD_SET_CONFIG`); those that are 0 stay as they are.
    ///
    /// # Errors
    /// [`IpvsError::Refused`] (EINVAL) for more than `i32::MAX` / HZ seconds, or as [`Ipvs::dump`].
    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), IpvsError>;

    /// Removes every service of the network namespace, other programs' too (`IPVS_CMD_FLUSH`).
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    fn flush(&mut self) -> Result<(), IpvsError>;
}

/// The kernel's connection synchronisation: [`Client`] in production, [`fake::FakeSync`] in tests. Each call
/// may take the kernel a second.
pub trait SyncDaemons {
    /// The daemons that run (`IPVS_CMD_GET_DAEMON`), at most one of each role.
    ///
    /// # Errors
    /// [`IpvsError::NoRight`], or a lost connection.
    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, IpvsError>;

    /// Starts a daemon (`IPVS_CMD_NEW_DAEMON`).
    ///
    /// # Errors
    /// [`IpvsError::Exists`] when one of that role runs, [`IpvsError::Invalid`] where the table holds
    /// tunnels to real servers of another family (the two exclude each other), [`IpvsError::Refused`]
    /// with ENODEV for an interface that is not there, or a lost connection.
    fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), IpvsError>;

    /// Stops a daemon (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    /// [`IpvsError::Refused`] with ESRCH when none of that role runs, or a lost connection.
    fn stop_daemon(&mut self, state: SyncState) -> Result<(), IpvsError>;
}
