//! Sequence numbers that are times: seconds of UNIX time (32 bits), 1/65536 s (16), a counter (16).
//!
//! They are compared by serial arithmetic (RFC 1982), so that 2106 is a day like any other.

use std::time::Duration;

/// A sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence(pub u64);

const NANOSECONDS: u64 = 1_000_000_000;

impl Sequence {
    /// The time since 1970, with a counter of 0.
    pub fn of_clock(unix: Duration) -> Self {
        let fraction = (u64::from(unix.subsec_nanos()) << 16) / NANOSECONDS;
        Sequence(unix.as_secs() << 32 | fraction << 16)
    }

    pub fn next(self) -> Self {
        Sequence(self.0.wrapping_add(1))
    }

    /// Whether it is newer than `other`.
    pub fn is_after(self, other: Self) -> bool {
        (1..1 << 63).contains(&self.0.wrapping_sub(other.0))
    }

    /// Whether its whole seconds are at most `window`, in whole seconds, from those of `other`.
    pub fn is_within(self, window: Duration, other: Self) -> bool {
        let seconds = |sequence: Sequence| Sequence(sequence.0 & !0xffff_ffff);
        seconds(self).distance(seconds(other)).as_secs() <= window.as_secs()
    }

    /// Time between both, whichever is newer.
    pub fn distance(self, other: Self) -> Duration {
        let difference = self.0.wrapping_sub(other.0);
        let distance = difference.min(difference.wrapping_neg());
        let nanoseconds = ((distance & 0xffff_ffff) * NANOSECONDS) >> 32;
        Duration::from_secs(distance >> 32) + Duration::from_nanos(nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock() {
        for (name, unix, want) in [
            ("1970", Duration::ZERO, 0),
            ("a second", Duration::from_secs(1), 1 << 32),
            ("half a second", Duration::from_millis(500), 0x8000 << 16),
            ("just before a second", Duration::from_nanos(999_999_999), 0xffff << 16),
            ("captured", Duration::new(0x6b00_3fa7, 378_005_982), 0x6b00_3fa7_60c5_0000),
            ("7 February 2106", Duration::from_secs(u64::from(u32::MAX)), 0xffff_ffff << 32),
            ("a second later", Duration::from_secs(1 << 32), 0),
            ("no clock shows", Duration::MAX, 0xffff_ffff_ffff_0000),
        ] {
            assert_eq!(Sequence::of_clock(unix).0, want, "{name}");
        }
    }

    #[test]
    fn order_and_distance() {
        let second = 1_u64 << 32;
        for (name, new, old, after, distance) in [
            ("same", 5 * second, 5 * second, false, Duration::ZERO),
            ("one more", 1, 0, true, Duration::ZERO),
            ("one less", 0, 1, false, Duration::ZERO),
            ("seconds", 7 * second, 5 * second, true, Duration::from_secs(2)),
            ("half a second", second / 2, 0, true, Duration::from_millis(500)),
            ("over the end", second, u64::MAX - second + 1, true, Duration::from_secs(2)),
            ("back over the end", u64::MAX, 0, false, Duration::ZERO),
            ("furthest newer", (1 << 63) - second, 0, true, Duration::from_secs((1 << 31) - 1)),
            ("exactly half is not newer", 1 << 63, 0, false, Duration::from_secs(1 << 31)),
        ] {
            assert_eq!(Sequence(new).is_after(Sequence(old)), after, "{name}");
            assert_eq!(Sequence(new).distance(Sequence(old)), distance, "{name}");
            assert_eq!(Sequence(old).distance(Sequence(new)), distance, "{name}, the other way");
        }
    }
}
