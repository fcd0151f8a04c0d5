//! Virtual servers: which real servers are alive, and what the kernel's table should hold.

pub mod pool;
