//! How long things took, in buckets.

use std::time::Duration;

/// How often something took how long: a histogram as Prometheus has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// How often it took at most [`Timings::BOUNDS`] of the same index and longer than that
    /// before; the last counts what took longer than all.
    pub counts: [u64; Timings::BOUNDS.len() + 1],
    /// All together.
    pub total: Duration,
}

impl Timings {
    /// Where the buckets end, in milliseconds.
    pub const BOUNDS: [u64; 12] = [2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 30_000];

    /// It took so long once more.
    pub fn add(&mut self, took: Duration) {
        let bucket = Self::BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.counts[bucket] += 1;
        self.total += took;
    }

    /// How often it was.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_that_ends_at_or_after_it() {
        for (millis, bucket) in [(0, 0), (2, 0), (3, 1), (30_000, 11), (30_001, 12)] {
            let mut timings = Timings::default();
            timings.add(Duration::from_millis(millis));
            assert_eq!(timings.counts.iter().position(|count| *count == 1), Some(bucket));
            assert_eq!((timings.count(), timings.total), (1, Duration::from_millis(millis)));
        }
    }
}
