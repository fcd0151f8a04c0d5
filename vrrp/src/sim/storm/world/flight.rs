//! Datagrams under way, the earliest first.

use std::cmp::Ordering;
use std::rc::Rc;
use std::time::Instant;

/// A datagram under way.
pub(super) struct Flight {
    pub at: Instant,
    pub order: u64,
    pub to: usize,
    pub content: Content,
}

#[derive(Clone)]
pub(super) struct Content {
    pub segment: usize,
    pub from: usize,
    /// Priority and interval, as the sender has them.
    pub priority: u8,
    pub octets: Rc<[u8]>,
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flight {}
