//! What is tracked outside of VRRP and checkers, and published to them.
//!
//! Here: vrrp_scripts, track_files, connections that are known here. Not here: what a result does to a virtual router (`lbd_vrrp`), running programs
//! (`crate::script`).

pub mod files;
pub mod scripts;
pub mod synchronised;
