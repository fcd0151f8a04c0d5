//! Health checkers of real servers and the per-real-server state machine.
//!
//! Here: what a check is, how one is run, when a server counts as up. Not here: IPVS, quorum, the
//! configuration language, and programs (a MISC_CHECK knows an id and a result).

pub mod check;
pub mod connect;
mod dial;
pub mod pem;
pub mod runner;
pub mod state;
pub mod tls;
pub mod types;
mod warning;

pub use runner::{CheckerHandle, Files, Programs, Report, Start, Tools, spawn};
pub use state::{CheckerState, CheckerView, Contribution, Outcome, ServerChange, ServerState, Verdict};
pub use tls::{TlsClient, TlsFileError, TlsFiles, TlsSettings};
pub use types::*;
#[cfg(test)]
mod namespace;
