//! Why a virtual router cannot take part, and what surrounds it.
//!
//! Here: values. Not here: how they are found (`engine::surroundings`), what is done about them (`router`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::types::{Family, IfIndex, Priority, TrackerId, TrackerKind, TrackerResult, Weight};

/// Why a virtual router cannot take part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The interface of the adverts, or of an address, is not there.
    InterfaceMissing(String),
    /// It is there and not up and running.
    InterfaceDown(String),
    /// It carries no multicast, and there is no unicast_peer.
    NoMulticast(String),
    /// It has no address to send from: of this family, over IPv6 one of the link.
    NoAddress(String, Family),
    /// track_src_ip: the configured source is not on the interface.
    SourceMissing(IpAddr, String),
    /// unicast_fault_no_peer: there is no unicast_peer.
    NoPeer,
    /// A tracked interface of weight 0 is down (with `reverse`: up).
    TrackedInterface(String, Problem),
    /// Something tracked with weight 0 is bad (with `reverse`: good), or the number of a file takes more from
    /// the priority than there is.
    Tracker(TrackerId, TrackerResult, Weight),
    /// Something tracked with weight 0 has no result yet: nothing is announced meanwhile.
    Waiting(TrackerId),
    /// Another member of the sync group cannot take part.
    Member(Arc<str>),
    /// Another member of the sync group waits for the first result of something that it tracks.
    MemberWaits(Arc<str>),
}

/// How a tracked interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It is down.
    Bad,
    /// It is up, which is a problem if it is tracked in reverse.
    Good,
}

/// What something tracked does to the priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// What it is.
    pub tracked: Tracked,
    /// With which weight.
    pub weight: Weight,
    /// Added to the configured priority; 0 where it is a fault, or has no result yet.
    pub points: i32,
}

/// Something tracked, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// An interface.
    Interface(String, Problem),
    /// Something with a result; `None` before the first.
    Tracker(TrackerId, Option<TrackerResult>),
}

impl Tracked {
    /// `interface`, `script`, `file`, `process`, `bfd`.
    pub fn kind(&self) -> &'static str {
        match self {
            Tracked::Interface(..) => "interface",
            Tracked::Tracker(id, _) => id.kind.as_str(),
        }
    }

    /// Its name, unique among its kind.
    pub fn name(&self) -> &str {
        match self {
            Tracked::Interface(name, _) => name,
            Tracked::Tracker(id, _) => &id.name,
        }
    }
}

/// How it is: `up`, `failed`, `3`, `0 of 1 running`.
impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tracked::Interface(_, Problem::Missing) => f.write_str("missing"),
            Tracked::Interface(_, Problem::Bad) => f.write_str("down"),
            Tracked::Interface(_, Problem::Good) => f.write_str("up"),
            Tracked::Tracker(_, None) => f.write_str("no result yet"),
            Tracked::Tracker(id, Some(result)) => match (id.kind, result) {
                (TrackerKind::Script, TrackerResult::Good) => f.write_str("succeeded"),
                (TrackerKind::Script, TrackerResult::Bad) => f.write_str("failed"),
                (TrackerKind::Process, TrackerResult::Good) => f.write_str("runs"),
                (_, result) => result.fmt(f),
            },
        }
    }
}

impl Fault {
    /// Whether it only waits: nothing is taken away for it.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Fault::Waiting(_) | Fault::MemberWaits(_))
    }

    /// Whether it is not of another member of the sync group.
    pub(crate) fn is_own(&self) -> bool {
        !matches!(self, Fault::Member(_) | Fault::MemberWaits(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::InterfaceMissing(name) => write!(f, "interface {name} does not exist"),
            Fault::InterfaceDown(name) => write!(f, "interface {name} is down"),
            Fault::NoMulticast(name) => {
                write!(f, "interface {name} carries no multicast: name the other routers in unicast_peer")
            }
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
            Fault::Tracker(id, result, weight) => {
                f.write_str(&id.told(*result))?;
                match (weight.value, weight.reverse) {
                    (0, false) => Ok(()),
                    (0, true) => f.write_str(" (reverse)"),
                    (value, false) => write!(f, " times weight {value}"),
                    (value, true) => write!(f, " times weight {value} (reverse)"),
                }
            }
            Fault::Waiting(id) => write!(f, "waiting for the first result of {} {id}", id.kind),
            Fault::Member(name) => write!(f, "sync group: {name} cannot take part"),
            Fault::MemberWaits(name) => write!(f, "sync group: {name} waits for a first result"),
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
    /// What they are: interfaces, then the rest, those of the instance before those that only its group tracks.
    pub contributions: Vec<Contribution>,
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
