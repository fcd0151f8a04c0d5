//! Virtual servers: which real servers are alive, and what the kernel's table should hold.

pub mod actor;
pub mod checkers;
pub mod owner;
pub mod parts;
pub mod pool;
pub mod sync;
