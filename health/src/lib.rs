//! Health checkers of real servers and the per-real-server state machine.
//!
//! Here: what a check is, how one is run, when a server counts as up. Not here: IPVS, quorum, the
//! configuration language, and programs (a MISC_CHECK knows an id and a result).

pub mod types;

pub use types::*;
