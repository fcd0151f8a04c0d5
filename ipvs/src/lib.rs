//! IPVS over generic netlink: typed values, wire messages, a batching client and the table diff.
//!
//! Here: what the kernel's table holds and how to read and change it. Not here: which real servers
//! are alive, configuration text, or who wants what.
//!
//! ```no_run
//! use lbd_ipvs::{Client, Ipvs, Table, plan};
//!
//! let mut kernel = Client::connect()?;
//! let have = kernel.dump()?;
//! let want = Table::default();
//! for result in kernel.apply(&plan(&have, &want)) {
//!     result?;
//! }
//! # Ok::<(), lbd_ipvs::IpvsError>(())
//! ```

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
    /// Reads the whole table. It is not one moment's: another writer may change it meanwhile.
    ///
    /// # Errors
    /// [`IpvsError::NoRight`], or what [`IpvsError::is_lost`] says is a lost connection.
    fn dump(&mut self) -> Result<Table, IpvsError>;

    /// Changes the table. One result per operation, in order; a refused one does not stop the others.
    /// After a result for which [`IpvsError::is_lost`] holds, read the table back: that operation and
    /// those after it may or may not have been done.
    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>>;

    /// Reads the counters of every service and destination.
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    fn stats(&mut self) -> Result<TableStats, IpvsError>;
}
