//! What is tracked outside of VRRP and checkers, and published to them.
//!
//! Here: vrrp_scripts, track_files, vrrp_track_processes. Not here: what a result does to a virtual router
//! (`lbd_vrrp`), links (`crate::router`), running programs (`crate::script`).

pub mod files;
pub mod processes;
pub mod scripts;
mod wake;
