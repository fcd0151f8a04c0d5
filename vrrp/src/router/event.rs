//! What happens to one virtual router, and what it wants done.
//!
//! Here: values. Not here: what becomes of them (`router`, `engine`).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Situation;
use crate::engine::Action;
use crate::receive::{Received, Refusal};

/// Now, on the clock of deadlines and on that of people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub at: Instant,
    /// Since 1970.
    pub unix: Duration,
}

/// What happened, as one virtual router sees it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// May take part from now on; `resume`: it is master already; `hold`: nobody takes over before.
    Begin { resume: bool, hold: Duration },
    /// Time has passed; harmless when early, late or repeated. The next advert, if one is due, is to come so much
    /// sooner than the interval says.
    Deadline { sooner: Duration },
    /// An acceptable advertisement.
    Advert(Received),
    /// One that is not.
    Refused(Refusal, IpAddr),
    /// Surroundings may have changed; the reason in words.
    Situation(Situation, String),
    /// All members of the sync group wish to be master.
    Elect,
    /// Another member of the sync group left MASTER.
    Yield(Yield),
    /// Another member of the sync group announces its addresses anew: a lower priority was heard.
    AnnounceLower,
    /// The addresses asked for last are on their interfaces.
    AddressesSet,
    /// Somebody removed one of our addresses.
    AddressLost(String),
    /// A master of a lower priority is let be, or no more.
    HoldPreemption(bool),
    /// Takes part no more; `deleted`: by a reload.
    Stop { deleted: bool },
}

/// How a master leaves for Backup, so that its sync group leaves alike.
#[derive(Clone, Debug)]
pub(crate) struct Yield {
    /// With a priority-0 advertisement.
    pub release: bool,
    /// Comes back as soon as a master would have been heard, not after the whole master down interval.
    pub soon: Option<Duration>,
    /// In words.
    pub reason: String,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Act(Action),
    /// So many gratuitous ARP requests or neighbour advertisements for each address.
    Announce(u32),
    /// One gratuitous ARP or neighbour advertisement for each address on the interfaces of garp_extra_if.
    AnnounceExtra,
    /// One for the source address of unicast advertisements.
    AnnounceSource,
    /// Forget those that wait.
    Silence,
    /// A member of a sync group would be master now.
    Wishes,
    /// A member of a sync group that is Backup heard a master that it lets be.
    HearsMaster,
    /// A member of a sync group that is master announces its addresses anew: it heard a lower priority.
    AnnouncesLower,
    /// A member of a sync group left MASTER for Backup.
    Yielded(Yield),
}
