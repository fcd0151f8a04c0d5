//! IPVS over generic netlink: typed values, wire messages, a batching client and the table diff.
//!
//! Here: what the kernel's table holds and how to read and change it. Not here: which real servers
//! are alive, configuration text, or who wants what.

pub mod types;

pub use types::*;
