//! How often the sockets are looked at while adverts come thick and fast: to wake up costs more than an advert.
//!
//! Above a thousand in a second they are read every millisecond, as long as there are any. A Backup that would take
//! over meanwhile reads first.

use std::time::{Duration, Instant};

/// Time between two looks, and how soon one must follow another for the next to wait.
const PAUSE: Duration = Duration::from_millis(1);
/// Datagrams for which there is room in one call: room costs, too.
const FEW: usize = 4;
/// The same where many wait.
pub(super) const MANY: usize = 64;

/// When the sockets were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moderation {
    last: Option<Instant>,
    until: Option<Instant>,
    count: usize,
}

impl Moderation {
    /// So many datagrams were read; `left`: there are more.
    pub fn looked(&mut self, now: Instant, count: usize, left: bool) {
        let soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE * 3 / 2);
        self.until = (count > 0 && soon && !left).then(|| now + PAUSE);
        if count > 0 {
            self.last = Some(now);
        }
        self.count = count;
    }

    /// How long the sockets are not to be polled, but read then.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now))
    }

    /// So many datagrams may be there.
    pub fn expected(&self) -> usize {
        (self.count * 2).clamp(FEW, MANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_and_many_together() {
        let start = Instant::now();
        let us = Duration::from_micros;
        let mut packets = Moderation::default();
        for (name, at, count, want, expected) in [
            ("the first", 0, 1, None, 4),
            ("another, soon after", 20, 1, Some(us(1000)), 4),
            ("after the pause, and there were some", 1020, 10, Some(us(1000)), 20),
            ("after the next", 2025, 80, Some(us(1000)), 64),
            ("nothing more", 3025, 0, None, 4),
            ("after a while", 4000, 1, None, 4),
            ("seldom", 14_000, 9, None, 18),
            ("seldom again", 24_000, 1, None, 4),
        ] {
            let now = start + us(at);
            packets.looked(now, count, false);
            assert_eq!((packets.pause(now), packets.expected()), (want, expected), "{name}");
        }
        packets.looked(start + us(24_500), 1, false);
        assert_eq!(packets.pause(start + us(25_000)), Some(us(500)));
        assert_eq!(packets.pause(start + us(26_000)), Some(Duration::ZERO), "over");
        packets.looked(start + us(26_000), 512, true);
        assert_eq!(packets.pause(start + us(26_000)), None, "there are more");
    }
}
