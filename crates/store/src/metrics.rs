//! The metrics of the store.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use quick_cache::Lifecycle;

/// Metrics of the cache and the database.
#[derive(Debug)]
pub struct StoreMetrics {
    /// The cache of known principals.
    pub known: CacheMetrics,
    /// The cache of unknown principals.
    pub unknown: CacheMetrics,
    /// Cache misses.
    pub misses: u64,
    /// Failed database operations.
    pub failures: u64,
    /// The time since the change log was last read.
    pub log_age: Duration,
    /// The connections to a server; `None` for a file.
    pub pool: Option<PoolMetrics>,
}

/// Metrics of the connections to a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolMetrics {
    /// Connections in use.
    pub used: u64,
    /// Open connections.
    pub open: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// How often all connections were replaced.
    pub generation: u64,
    /// Failovers of the database.
    pub failovers: u64,
    /// How often a server on an old timeline was rejected.
    pub old_servers: u64,
    /// Other servers that accept writes and are not used.
    pub other_writable: u64,
    /// Claims that this node got.
    pub claims: u64,
    /// Claims that this node did not get, because another attempt had them.
    pub claims_denied: u64,
    /// The clock of the server minus that of this node, in seconds; 0 if it is at most 2.
    pub clock_offset: i64,
}

/// Metrics of one cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheMetrics {
    /// Cache hits.
    pub hits: u64,
    /// Entries that were evicted for space.
    pub evictions: u64,
    /// Entries, approximately.
    pub entries: u64,
}

/// The counters of the cache.
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

/// The counter of the entries of a cache that were evicted for space.
#[derive(Clone, Debug, Default)]
pub(super) struct Evicted(Arc<AtomicU64>);

impl Evicted {
    /// Returns their number.
    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<K, V> Lifecycle<K, V> for Evicted {
    type RequestState = ();

    fn begin_request(&self) {}

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        self.count();
    }
}

/// The kind of a database operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A read.
    Read,
    /// A write transaction.
    Write,
}

/// Called after each operation with its duration, including the wait for a connection.
pub type Observer = Box<dyn Fn(Operation, Duration) + Send + Sync>;

/// The counters of the database, and its observer.
#[derive(Default)]
pub(super) struct DatabaseCounts {
    pub(super) observer: OnceLock<Observer>,
    pub(super) failures: AtomicU64,
}

impl DatabaseCounts {
    /// Runs an operation, reports its duration to the observer, and counts a failure.
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
