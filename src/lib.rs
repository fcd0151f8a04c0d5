//! The daemon and the CLI: joins the leaf crates to clocks, sockets and the operator.

pub mod allocator;
pub mod control;
pub mod daemon;
pub mod director;
pub mod event;
pub mod language;
pub mod lbctl;
pub mod limits;
pub mod loading;
pub mod lock;
pub mod logging;
pub mod namespace;
pub mod notify;
pub mod options;
pub mod paths;
pub mod pid_file;
pub mod planning;
pub mod reload_time;
pub mod remember;
pub mod router;
pub mod scheduling;
pub mod script;
pub mod signals;
pub mod state_file;
pub mod track;
