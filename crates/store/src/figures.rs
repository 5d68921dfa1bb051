//! What the store counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;

/// How the store is doing.
#[derive(Debug)]
pub struct Figures {
    /// The principals that memory knows.
    pub known: CacheFigures,
    /// The principals that it knows not to be there.
    pub unknown: CacheFigures,
    /// How often memory held nothing.
    pub misses: u64,
    /// How often reading or writing failed.
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

/// What the database was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To read.
    Read,
    /// To write, in one transaction.
    Write,
}

/// Called after each operation with the time that it took, the wait for a connection included.
pub type Observer = Box<dyn Fn(Operation, Duration) + Send + Sync>;

/// What is counted of the database.
#[derive(Default)]
pub(super) struct DatabaseCounts {
    pub(super) observer: OnceLock<Observer>,
    pub(super) failures: AtomicU64,
}

impl DatabaseCounts {
    /// Counts how long something took, and whether it failed.
    pub(super) async fn timed<T, E>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, E>>,
        is_failure: impl FnOnce(&E) -> bool,
    ) -> Result<T, E> {
        let began = Instant::now();
        let outcome = work.await;
        if let Some(observe) = self.observer.get() {
            observe(operation, began.elapsed());
        }
        if outcome.as_ref().is_err_and(is_failure) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

impl fmt::Debug for DatabaseCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseCounts")
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
