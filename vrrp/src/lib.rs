//! VRRP: wire formats, the election engine without I/O, sockets.
//!
//! Here: who is master and what is sent. Not here: putting addresses on interfaces, running
//! scripts, the configuration language, the clock (the caller's).

pub mod auth;
pub mod engine;
pub mod hmac;
pub mod net;
pub mod receive;
pub mod router;
mod secret;
#[cfg(test)]
mod sim;
pub mod timers;
mod tracker;
pub mod types;
pub mod wire;

pub use engine::{Action, DeviceAddress, Engine, Event, Foreign, Group, Identity, Interface, RouterId};
pub use router::Condition;
pub use types::*;
