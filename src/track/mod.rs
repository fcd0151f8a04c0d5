//! What is tracked outside of VRRP and checkers, and published to them.
//!
//! Here: vrrp_scripts, track_files, vrrp_track_processes, connections that are known here. Not here: what a result
//! does to a virtual router (`lbd_vrrp`), links (`crate::router`), running programs (`crate::script`).

pub mod files;
pub mod processes;
pub mod scripts;
pub mod synchronised;
mod wake;
