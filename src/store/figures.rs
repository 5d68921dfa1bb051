//! What the store counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use moka::notification::RemovalCause;

use crate::histogram::{Histogram, QUICK};

/// How the store is doing.
#[derive(Debug)]
pub struct Figures<'a> {
    /// The principals that memory knows.
    pub known: CacheFigures,
    /// The principals that it knows not to be there.
    pub unknown: CacheFigures,
    /// How often memory held nothing.
    pub misses: u64,
    /// How long reading took.
    pub reading: &'a Histogram,
    /// How long writing took.
    pub writing: &'a Histogram,
    /// How often either failed.
    pub failures: u64,
}

/// How one cache is doing.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheFigures {
    /// How often it held what was asked for.
    pub hits: u64,
    /// How many had to make room.
    pub evictions: u64,
    /// How many it holds, about.
    pub entries: u64,
}

/// What is counted of the cache.
#[derive(Debug, Default)]
pub(super) struct CacheCounts {
    pub(super) known: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) misses: AtomicU64,
}

impl CacheCounts {
    pub(super) fn count(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many principals had to make room for others.
#[derive(Default)]
pub(super) struct Evicted {
    pub(super) known: Arc<AtomicU64>,
    pub(super) unknown: Arc<AtomicU64>,
}

/// Returns what a cache tells of each entry that it drops.
pub(super) fn counting<K, V>(
    evicted: &Arc<AtomicU64>,
) -> impl Fn(Arc<K>, V, RemovalCause) + use<K, V> {
    let evicted = Arc::clone(evicted);
    move |_, _, cause| {
        if cause == RemovalCause::Size {
            evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is counted of the database.
#[derive(Debug)]
pub(super) struct DatabaseCounts {
    pub(super) reading: Histogram,
    pub(super) writing: Histogram,
    pub(super) failures: AtomicU64,
}

impl Default for DatabaseCounts {
    fn default() -> Self {
        Self {
            reading: Histogram::new(QUICK),
            writing: Histogram::new(QUICK),
            failures: AtomicU64::new(0),
        }
    }
}

impl DatabaseCounts {
    /// Counts how long something took, and whether it failed.
    pub(super) async fn timed<T, E>(
        &self,
        histogram: &Histogram,
        work: impl Future<Output = Result<T, E>>,
        is_failure: impl FnOnce(&E) -> bool,
    ) -> Result<T, E> {
        let began = Instant::now();
        let outcome = work.await;
        histogram.observe(began.elapsed());
        if outcome.as_ref().is_err_and(is_failure) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}
