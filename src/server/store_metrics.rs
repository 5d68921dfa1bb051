//! The metrics of the store and its cache.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::{
    Histogram, QUICK, Registry, write_counter, write_counters, write_gauge, write_gauges,
    write_histograms,
};
use crate::store::{Cached, Operation, PoolMetrics};

/// Reads the metrics of a store, as long as it is open.
struct StoreMetrics {
    store: Weak<Cached>,
    durations: Arc<[Histogram; 2]>,
}

/// Registers the metrics of a store.
pub(super) fn register(store: &Arc<Cached>, registry: &mut Registry) {
    let durations = Arc::new([Histogram::new(QUICK), Histogram::new(QUICK)]);
    let observed = Arc::clone(&durations);
    store.observe(Box::new(move |operation, duration| {
        let [reading, writing] = &*observed;
        match operation {
            Operation::Read => reading.observe(duration),
            Operation::Write => writing.observe(duration),
        }
    }));
    registry.collect(StoreMetrics {
        store: Arc::downgrade(store),
        durations,
    });
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreMetrics").finish_non_exhaustive()
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(store) = self.store.upgrade() else {
            return Ok(());
        };
        let metrics = store.metrics();
        let caches = [("known", &metrics.known), ("unknown", &metrics.unknown)];
        let caches = caches.map(|(cache, metrics)| ([("cache", cache)], metrics));
        write_counters(
            &mut encoder,
            "cache_hits",
            "Identity cache hits",
            caches.map(|(labels, metrics)| (labels, metrics.hits)),
        )?;
        write_counter(
            &mut encoder,
            "cache_misses",
            "Identity cache misses, each a database lookup",
            metrics.misses,
        )?;
        write_counters(
            &mut encoder,
            "cache_evictions",
            "Identity cache evictions",
            caches.map(|(labels, metrics)| (labels, metrics.evictions)),
        )?;
        write_gauges(
            &mut encoder,
            "cache_entries",
            "Approximate number of identity cache entries",
            caches.map(|(labels, metrics)| (labels, metrics.entries)),
        )?;
        let [reading, writing] = &*self.durations;
        let durations = [("read", reading), ("write", writing)];
        write_histograms(
            &mut encoder,
            "store_duration_seconds",
            "Duration of database operations, including the wait for a connection",
            durations.map(|(operation, histogram)| ([("operation", operation)], histogram)),
        )?;
        write_counter(
            &mut encoder,
            "store_failures",
            "Database operations that failed or timed out",
            metrics.failures,
        )?;
        write_gauge(
            &mut encoder,
            "store_log_age_seconds",
            "Time since the change log of the database was last read",
            &metrics.log_age.as_secs_f64(),
        )?;
        match &metrics.pool {
            Some(pool) => encode_pool(&mut encoder, pool),
            None => Ok(()),
        }
    }
}

/// Writes the metrics that only a server has.
fn encode_pool(encoder: &mut DescriptorEncoder<'_>, pool: &PoolMetrics) -> fmt::Result {
    let idle = pool.open.saturating_sub(pool.used);
    write_gauges(
        encoder,
        "store_connections",
        "Connections to the database",
        [("used", pool.used), ("idle", idle)].map(|(state, count)| ([("state", state)], count)),
    )?;
    write_gauge(
        encoder,
        "store_connection_waits",
        "Requests that wait for a connection to the database",
        &pool.waiting,
    )?;
    write_counter(
        encoder,
        "store_reconnections",
        "How often all connections to the database were replaced",
        pool.generation,
    )?;
    write_counter(
        encoder,
        "store_failovers",
        "Failovers of the database",
        pool.failovers,
    )?;
    write_counter(
        encoder,
        "store_old_servers",
        "How often a database server on an old timeline was rejected",
        pool.old_servers,
    )?;
    write_gauge(
        encoder,
        "store_other_writable_servers",
        "Other database servers that accept writes, none of which should",
        &pool.other_writable,
    )?;
    write_gauge(
        encoder,
        "store_clock_offset_seconds",
        "The clock of the database minus that of this node; 0 if they differ by at most 2 s",
        &pool.clock_offset,
    )?;
    let claims = [("granted", pool.claims), ("denied", pool.claims_denied)];
    write_counters(
        encoder,
        "store_claims",
        "Claims of attempts beyond the free ones",
        claims.map(|(outcome, count)| ([("outcome", outcome)], count)),
    )
}
