//! VRRP: wire formats, the election engine without I/O, sockets.
//!
//! Here: who is master and what is sent. Not here: putting addresses on interfaces, running
//! scripts, the configuration language, the clock (the caller's).

pub mod types;

pub use types::*;
