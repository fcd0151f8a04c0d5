//! The control API over a Unix socket.

pub mod status;
