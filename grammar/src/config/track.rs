//! What is tracked: scripts, processes, files, BFD sessions, links.

use std::time::Duration;

use lbd_health::ScriptId;

/// vrrp_script
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpScript {
    /// The program.
    pub script: ScriptId,
    /// Time between two starts, > 0.
    pub interval: Duration,
    /// Limit of one run, > 0; the interval by default.
    pub timeout: Duration,
    /// Failures in a row that make it bad, ≥ 1.
    pub fall: u32,
    /// Successes in a row that make it good again, ≥ 1.
    pub rise: u32,
}

/// vrrp_track_process
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackProcess {}

/// track_file
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {}

/// bfd_instance
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdInstance {}

/// linkbeat_interfaces: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkbeatInterface {}

/// interface_up_down_delays: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDelay {}
