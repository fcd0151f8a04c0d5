//! How often the sockets are looked at while adverts come thick and fast: to wake up costs more than an advert.

use std::time::{Duration, Instant};

/// How long others are waited for, to be read together. A Backup that would take over meanwhile looks first.
const PAUSE: Duration = Duration::from_micros(200);
/// Adverts come thick and fast when some came so short a time ago.
const BUSY: Duration = Duration::from_millis(1);

/// When the sockets were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moderation {
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Moderation {
    /// Something is there: whether it waits for more.
    pub fn waits(&mut self, now: Instant) -> bool {
        let busy = self.last.is_some_and(|last| now.saturating_duration_since(last) < BUSY);
        self.until = busy.then(|| now + PAUSE);
        busy
    }

    /// How long the sockets are not to be polled.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now))
    }

    /// So many datagrams were read.
    pub fn looked(&mut self, now: Instant, count: usize) {
        self.until = None;
        if count > 0 {
            self.last = Some(now);
        }
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
        for (name, at, waits) in [
            ("the first", 0, false),
            ("another, soon after", 20, true),
            ("soon after that", 1200, true),
            ("a millisecond after the last look", 2400, false),
            ("seldom", 12_400, false),
        ] {
            let now = start + us(at);
            assert_eq!(packets.pause(now), None, "{name}");
            assert_eq!(packets.waits(now), waits, "{name}");
            assert_eq!(packets.pause(now + us(50)), waits.then(|| us(150)), "{name}");
            let read = now + if waits { us(200) } else { Duration::ZERO };
            packets.looked(read, 1);
        }
        assert!(packets.waits(start + us(12_500)));
        assert_eq!(packets.pause(start + us(13_000)), Some(Duration::ZERO), "over");
        packets.looked(start + us(13_000), 0);
        assert!(!packets.waits(start + us(13_400)), "nothing was read since");
    }
}
