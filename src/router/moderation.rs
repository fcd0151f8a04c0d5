//! How often the sockets are looked at while adverts come thick and fast: each look costs more than an advert.

use std::time::{Duration, Instant};

/// Longest wait of an advert. A Backup that would take over meanwhile looks first.
const PAUSE: Duration = Duration::from_micros(250);

/// When the sockets were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moderation {
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Moderation {
    /// So many datagrams were there now.
    pub fn looked(&mut self, now: Instant, count: usize) {
        self.until = None;
        if count > 0 {
            let soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE * 2);
            self.until = soon.then(|| now + PAUSE);
            self.last = Some(now);
        }
    }

    /// How long they are not to be waited for.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
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
        for (name, at, count, want) in [
            ("the first", 0, 1, None),
            ("another, soon after", 20, 1, Some(250)),
            ("after the pause, and there was something", 270, 3, Some(250)),
            ("nothing more", 520, 0, None),
            ("half a millisecond after the last", 770, 1, None),
            ("seldom", 10_770, 9, None),
            ("seldom again", 20_770, 1, None),
        ] {
            let now = start + us(at);
            packets.looked(now, count);
            assert_eq!(packets.pause(now).map(|pause| pause.as_micros()), want, "{name}");
        }
        packets.looked(start + us(20_800), 1);
        assert_eq!(packets.pause(start + us(20_900)), Some(us(150)));
        assert_eq!(packets.pause(start + us(21_050)), None);
    }
}
