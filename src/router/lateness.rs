//! How late adverts leave: a histogram of fixed buckets.
//!
//! Pure; a few words of memory, nothing that grows. Not here: when an advert was due (the engine's).

use std::time::Duration;

/// Upper bounds of the buckets in microseconds, each included in its bucket; one without bound follows.
pub const BOUNDS_US: [u64; 12] =
    [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000];

/// Lateness of everything recorded so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// By bucket, as [`BOUNDS_US`].
    counts: [u64; BOUNDS_US.len()],
    /// Later than the last bound.
    beyond: u64,
    max: Duration,
}

impl Lateness {
    /// Takes the lateness of one advert; zero when it was on time.
    pub fn record(&mut self, late: Duration) {
        let bounds = BOUNDS_US.map(Duration::from_micros);
        let mut buckets = self.counts.iter_mut().zip(bounds);
        let count = buckets.find(|(_, bound)| late <= *bound).map_or(&mut self.beyond, |(count, _)| count);
        *count = count.saturating_add(1);
        self.max = self.max.max(late);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(self.beyond, |sum, count| sum.saturating_add(*count))
    }

    /// The latest of all; zero before the first.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// A lateness that at least this share of all adverts did not exceed: the upper bound of the bucket in
    /// which the share is reached, so never too small, and never more than [`max`](Self::max). `None`
    /// before the first.
    ///
    /// `percent` is 1..=100; what is outside counts as the nearest of these.
    pub fn quantile(&self, percent: u8) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = u128::from(count) * u128::from(percent.clamp(1, 100));
        let reached = self.buckets().find(|(_, so_far)| u128::from(*so_far) * 100 >= wanted);
        let bound = reached.and_then(|(bound, _)| bound);
        Some(bound.map_or(self.max, |bound| bound.min(self.max)))
    }

    /// Each bucket's upper bound, `None` for the one without, and how many were at most so late: the last
    /// number is that of all.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS_US.into_iter().map(|bound| Some(Duration::from_micros(bound)));
        let counts = self.counts.into_iter().chain([self.beyond]);
        bounds.chain([None]).zip(counts).scan(0_u64, |so_far, (bound, count)| {
            *so_far = so_far.saturating_add(count);
            Some((bound, *so_far))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: &[u64]) -> Lateness {
        let mut lateness = Lateness::default();
        micros.iter().for_each(|late| lateness.record(Duration::from_micros(*late)));
        lateness
    }

    #[test]
    fn each_is_in_the_first_bucket_that_holds_it() {
        for (late, bucket) in [
            (0, 0),
            (50, 0),
            (51, 1),
            (100, 1),
            (200, 2),
            (201, 3),
            (999, 4),
            (1_000, 4),
            (5_000, 6),
            (100_000, 10),
            (100_001, 11),
            (1_000_000, 11),
            (1_000_001, 12),
            (u64::MAX, 12),
        ] {
            let so_far: Vec<u64> = of(&[late]).buckets().map(|(_, count)| count).collect();
            let want: Vec<u64> = (0..13).map(|one| u64::from(one >= bucket)).collect();
            assert_eq!(so_far, want, "{late}");
        }
        let bounds: Vec<Option<Duration>> = of(&[]).buckets().map(|(bound, _)| bound).collect();
        assert_eq!(bounds.first(), Some(&Some(Duration::from_micros(50))));
        assert_eq!(bounds.last(), Some(&None));
    }

    #[test]
    fn quantiles_are_never_too_small() {
        let hundred: Vec<u64> = [40; 98].into_iter().chain([1_500, 7_000]).collect();
        for (name, micros, percent, want) in [
            ("nothing yet", &[][..], 50, None),
            ("one: not more than itself", &[30], 99, Some(30)),
            ("half of two", &[30, 150], 50, Some(50)),
            ("more than half of two", &[30, 150], 51, Some(150)),
            ("98 of a hundred", &hundred, 98, Some(50)),
            ("99 of a hundred: the bound, 1.5 ms is below", &hundred, 99, Some(2_000)),
            ("all of a hundred: the latest", &hundred, 100, Some(7_000)),
            ("beyond the last bound: the latest", &[5_000_000], 50, Some(5_000_000)),
            ("no share is the least", &[30, 150], 0, Some(50)),
        ] {
            assert_eq!(of(micros).quantile(percent), want.map(Duration::from_micros), "{name}");
        }
        let lateness = of(&hundred);
        assert_eq!((lateness.count(), lateness.max()), (100, Duration::from_micros(7_000)));
        assert_eq!((of(&[]).count(), of(&[]).max()), (0, Duration::ZERO));
    }
}
