//! What is tracked: scripts, processes, files, BFD sessions, links.

use std::net::IpAddr;
use std::num::NonZeroU8;
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
pub struct TrackProcess {
    /// Program and parameters to look for, never empty.
    pub command: Vec<String>,
    /// What a process must have in common with them.
    pub matching: ProcessMatch,
    /// Fewest processes; 0 only if there may be none at all.
    pub quorum: u16,
    /// Most processes; `None`: any number.
    pub quorum_max: Option<u16>,
    /// How long too few processes are put up with.
    pub terminate_delay: Duration,
    /// How long it takes until new processes count.
    pub fork_delay: Duration,
}

/// When a process is one of those that are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessMatch {
    /// The kernel's name of it, at most 15 characters, is the program's.
    Name,
    /// The first word of its command line is the program; parameters do not matter.
    Program,
    /// Its command line is the program and exactly these parameters.
    Exact,
    /// Its command line begins with these words, of which the last may be the beginning of its own.
    Initial,
    /// Its command line begins with these words.
    Partial,
}

/// track_file
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// File with a number.
    pub path: String,
    /// What is written at start; `None`: nothing.
    pub init: Option<InitFile>,
}

/// init_file
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitFile {
    /// The number.
    pub value: i32,
    /// Also if the file is there already.
    pub overwrite: bool,
}

/// bfd_instance (RFC 5880)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdInstance {
    /// The other end.
    pub neighbor: IpAddr,
    /// This end, of the same family; the kernel's choice by default.
    pub source: Option<IpAddr>,
    /// Required Min RX Interval, 1 ms..=4294967 ms.
    pub min_rx: Duration,
    /// Desired Min TX Interval while up, 1 ms..=4294967 ms.
    pub min_tx: Duration,
    /// The same while not up, 1 s..=4294967 ms.
    pub idle_tx: Duration,
    /// Detect Mult.
    pub multiplier: NonZeroU8,
    /// Waits for the other end to begin.
    pub passive: bool,
    /// TTL or hop limit of what is sent.
    pub ttl: NonZeroU8,
    /// By how much the TTL of what is received may have gone down; `None`: it does not matter.
    pub max_hops: Option<u8>,
    /// UDP port 4784 (RFC 5883) instead of 3784 (RFC 5881).
    pub multihop: bool,
    /// Who is told of its state.
    pub consumers: BfdConsumers,
}

/// Who is told of a BFD session's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BfdConsumers {
    /// VRRP and BFD_CHECK.
    Both,
    /// VRRP alone.
    Vrrp,
    /// BFD_CHECK alone.
    Checkers,
}

/// linkbeat_interfaces: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkbeatInterface {
    /// Interface.
    pub interface: String,
    /// How its link is asked for; `None`: the first way that works.
    pub method: Option<LinkbeatMethod>,
}

/// Ways to ask for the state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkbeatMethod {
    /// Registers of the PHY.
    Mii,
    /// The driver.
    Ethtool,
    /// Flags of the interface.
    Ioctl,
}

/// interface_up_down_delays: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDelay {
    /// Interface.
    pub interface: String,
    /// How long it must be down to count as down, at most 255 s.
    pub down: Duration,
    /// How long it must be up to count as up, at most 255 s.
    pub up: Duration,
}
