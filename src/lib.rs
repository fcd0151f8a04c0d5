//! The daemon and the CLI: joins the leaf crates to clocks, sockets and the operator.

pub mod control;
pub mod director;
pub mod event;
pub mod options;
pub mod state_file;
