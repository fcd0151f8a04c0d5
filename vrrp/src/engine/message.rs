//! What goes into an engine and what comes out.
//!
//! Here: values. Not here: what becomes of them (`engine`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Foreign, Interface};
use crate::receive::Refusal;
use crate::router::Condition;
use crate::types::{
    IfIndex, InstanceConfig, Priority, Setup, State, TrackerId, TrackerResult, VirtualAddress,
};
use crate::wire::datagram::Datagram;

/// Handle of a virtual router, never used twice by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u64);

/// A virtual address with the interface it belongs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceAddress {
    /// Interface.
    pub device: String,
    /// The address.
    pub address: VirtualAddress,
}

impl DeviceAddress {
    /// All addresses of `config`, advertised ones first.
    pub fn all_of(config: &InstanceConfig) -> Vec<Self> {
        let addresses = config.addresses.iter().chain(&config.excluded_addresses);
        addresses
            .map(|address| DeviceAddress {
                device: config.device_of(address).to_owned(),
                address: address.clone(),
            })
            .collect()
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Time has passed. Harmless when early, late or repeated.
    Deadline,
    /// A datagram was received on an interface.
    Datagram {
        /// Where it came in.
        interface: IfIndex,
        /// Anything.
        datagram: Datagram<'a>,
    },
    /// An interface is there, or is different from before.
    Interface(Interface),
    /// An interface is there no more.
    InterfaceGone(String),
    /// Something tracked has a result.
    Tracker(TrackerId, TrackerResult),
    /// [`Action::SetAddresses`] of this router was done (as far as the kernel allowed).
    AddressesSet(RouterId),
    /// Somebody else removed an address that this router holds.
    AddressLost {
        /// Whose it was.
        router: RouterId,
        /// Address and interface in words.
        what: String,
    },
    /// Somebody else removed an address that this router holds, and it was put back: hosts are told anew where
    /// it is.
    AddressRestored {
        /// Whose it is.
        router: RouterId,
        /// Its interface.
        device: String,
        /// The address.
        address: IpAddr,
    },
    /// The routers may take part from now on; those named are master already: their addresses
    /// are there and their last advert is young.
    Begin {
        /// Masters of an earlier process; if there are any, the start-up delay is over.
        resume: Vec<RouterId>,
    },
    /// Virtual routers of these names let masters of lower priorities be, as with nopreempt, and no others.
    HoldPreemption(BTreeSet<Arc<str>>),
    /// Another configuration.
    Reload(Setup),
    /// Release everything.
    Stop,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement.
    SendAdvert {
        /// Sender.
        router: RouterId,
        /// Out of this interface; `None`: where the routing table says (unicast without interface).
        interface: Option<IfIndex>,
        /// The group or a peer.
        destination: IpAddr,
        /// Whole IP datagram.
        packet: Vec<u8>,
        /// When a timer wanted it; `None` if something else did.
        due: Option<Instant>,
    },
    /// Send an Ethernet frame (gratuitous ARP, unsolicited neighbour advertisement).
    SendFrame {
        /// Out of this interface.
        interface: IfIndex,
        /// Frame.
        frame: Vec<u8>,
    },
    /// Make these the addresses that the router holds; take away all others that it held, and
    /// those of `purge` even if it never held them. An address that another router holds stays.
    /// Answered with [`Event::AddressesSet`], if it holds any.
    SetAddresses {
        /// Whose.
        router: RouterId,
        /// It is master, with or without addresses.
        holds: bool,
        /// Wanted, in order.
        hold: Arc<[DeviceAddress]>,
        /// Unwanted unless in `hold`.
        purge: Option<Arc<[DeviceAddress]>>,
    },
    /// The state changed.
    Transition {
        /// Whose.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Effective priority.
        priority: Priority,
        /// Cause in words.
        reason: String,
    },
    /// All members of a sync group are in this state; told after theirs.
    GroupTransition {
        /// Its name.
        group: Arc<str>,
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// The effective priority changed.
    PriorityChanged {
        /// Whose.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Before.
        from: Priority,
        /// Now.
        to: Priority,
        /// Cause in words.
        reason: String,
    },
    /// A master heard a lower priority (or the same from a lower address). At most one a second.
    HeardLowerPriority {
        /// Who.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Own effective priority.
        priority: Priority,
    },
    /// Something is wrong around a router, or is over.
    Condition {
        /// Whose.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// What.
        condition: Condition,
        /// It begins.
        active: bool,
        /// Who and what, in words.
        detail: String,
    },
    /// A virtual router that is not configured here was heard for the first time: to be logged.
    Foreign(Foreign),
    /// A router stopped taking part. Its addresses are being removed.
    Stopped {
        /// Who.
        router: RouterId,
        /// Its name.
        instance: Arc<str>,
        /// Effective priority.
        priority: Priority,
        /// By a reload.
        deleted: bool,
    },
    /// A sync group takes part no more; told after all virtual routers.
    GroupStopped {
        /// Its name.
        group: Arc<str>,
        /// By a reload.
        deleted: bool,
    },
    /// The first refusal of this cause and sender since the master changed: to be logged.
    Refused {
        /// For whom it was.
        instance: Arc<str>,
        /// Who sent it.
        source: IpAddr,
        /// Why.
        cause: Refusal,
    },
}
