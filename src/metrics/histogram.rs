//! A histogram that takes two atomic additions per observation, without locks and lookups.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Bounds for operations in memory and an occasional database access: 1 µs to 1 s, in nanoseconds.
pub const QUICK: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
];

/// Bounds for waits for other programs: 250 µs to 1 min, in nanoseconds.
pub const SLOW: &[u64] = &[
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// A histogram of durations.
pub struct Histogram {
    /// Upper bounds in nanoseconds, inclusive, ascending.
    bounds: &'static [u64],
    /// The number of durations per bucket; the last one has no upper bound.
    counts: Box<[AtomicU64]>,
    /// The sum in nanoseconds, which overflows after 584 years.
    sum: AtomicU64,
}

impl Histogram {
    /// Makes a histogram with ascending bounds in nanoseconds.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = self.bounds.partition_point(|&bound| bound < nanos);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Writes the histogram in seconds.
    ///
    /// # Errors
    /// The encoder fails.
    pub fn write(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let bounds = self.bounds.iter().map(|&bound| seconds(bound));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.write(&mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rounded value for people")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_what_exceeds_them_is_counted() {
        let histogram = Histogram::new(&[10, 20]);
        for nanos in [0, 9, 10, 11, 20, 21, u64::MAX / 2] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let counts: Vec<u64> = histogram
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts, [3, 2, 2]);
    }

    #[test]
    fn bounds_are_in_order() {
        assert!(QUICK.is_sorted() && SLOW.is_sorted());
    }
}
