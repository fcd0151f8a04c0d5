//! Why a virtual router cannot take part, and what surrounds it.
//!
//! Here: values. Not here: how they are found (`engine::surroundings`), what is done about them (`router`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::types::{Family, IfIndex, Priority, TrackerId};

/// Why a virtual router cannot take part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The interface of the adverts, or of an address, is not there.
    InterfaceMissing(String),
    /// It is there and not up and running.
    InterfaceDown(String),
    /// It has no address to send from: of this family, over IPv6 one of the link.
    NoAddress(String, Family),
    /// track_src_ip: the configured source is not on the interface.
    SourceMissing(IpAddr, String),
    /// unicast_fault_no_peer: there is no unicast_peer.
    NoPeer,
    /// A tracked interface of weight 0 is down (with `reverse`: up).
    TrackedInterface(String, Problem),
    /// A tracked script of weight 0 failed (with `reverse`: succeeded).
    Tracker(TrackerId, Problem),
    /// A tracked script of weight 0 has no result yet: nothing is announced meanwhile.
    Waiting(TrackerId),
    /// Another member of the sync group cannot take part.
    Member(Arc<str>),
    /// Another member of the sync group waits for a script's first result.
    MemberWaits(Arc<str>),
}

/// What is wrong with something tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It is bad.
    Bad,
    /// It is good, and tracked in reverse.
    Good,
}

impl Fault {
    /// Whether it only waits: nothing is taken away for it.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Fault::Waiting(_) | Fault::MemberWaits(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::InterfaceMissing(name) => write!(f, "interface {name} does not exist"),
            Fault::InterfaceDown(name) => write!(f, "interface {name} is down"),
            Fault::NoAddress(name, Family::V4) => write!(f, "interface {name} has no IPv4 address"),
            Fault::NoAddress(name, Family::V6) => {
                write!(f, "interface {name} has no usable IPv6 link-local address")
            }
            Fault::SourceMissing(address, name) => write!(f, "source address {address} is not on {name}"),
            Fault::NoPeer => f.write_str("there is no unicast_peer"),
            Fault::TrackedInterface(name, problem) => match problem {
                Problem::Missing => write!(f, "tracked interface {name} does not exist"),
                Problem::Bad => write!(f, "tracked interface {name} is down"),
                Problem::Good => write!(f, "tracked interface {name} is up (reverse)"),
            },
            Fault::Tracker(id, Problem::Good) => write!(f, "script {id} succeeded (reverse)"),
            Fault::Tracker(id, _) => write!(f, "script {id} failed"),
            Fault::Waiting(id) => write!(f, "waiting for the first result of script {id}"),
            Fault::Member(name) => write!(f, "sync group: {name} cannot take part"),
            Fault::MemberWaits(name) => write!(f, "sync group: {name} waits for a script"),
        }
    }
}

/// What surrounds a virtual router, as the engine works it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Index of the interface, if it is there.
    pub interface: Option<IfIndex>,
    /// Index of its parent, if it has one and that is there.
    pub parent: Option<IfIndex>,
    /// Index of the VRF, if it is to be used and is there.
    pub vrf: Option<IfIndex>,
    /// Source address of the adverts.
    pub source: Option<IpAddr>,
    /// Sorted.
    pub faults: Vec<Fault>,
    /// Configured priority with all contributions.
    pub priority: Option<Priority>,
}

impl Situation {
    pub fn waits_only(&self) -> bool {
        self.faults.iter().all(Fault::waits)
    }

    /// Its faults in words.
    pub fn fault_text(&self) -> String {
        let texts: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        texts.join("; ")
    }
}
