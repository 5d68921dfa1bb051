//! The metrics of the store and its cache.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::metrics::{Histogram, QUICK, Registry};
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
        let help = "Identity cache hits";
        let mut family =
            encoder.encode_descriptor("cache_hits", help, None, MetricType::Counter)?;
        for (cache, metrics) in caches {
            let labels = [("cache", cache)];
            let mut counter = family.encode_family(&labels)?;
            counter.encode_counter::<NoLabelSet, _, f64>(&metrics.hits, None)?;
        }
        let help = "Identity cache misses, each a database lookup";
        encoder
            .encode_descriptor("cache_misses", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&metrics.misses, None)?;
        let help = "Identity cache evictions";
        let mut family =
            encoder.encode_descriptor("cache_evictions", help, None, MetricType::Counter)?;
        for (cache, metrics) in caches {
            let labels = [("cache", cache)];
            let mut counter = family.encode_family(&labels)?;
            counter.encode_counter::<NoLabelSet, _, f64>(&metrics.evictions, None)?;
        }
        let help = "Approximate number of identity cache entries";
        let mut family =
            encoder.encode_descriptor("cache_entries", help, None, MetricType::Gauge)?;
        for (cache, metrics) in caches {
            let labels = [("cache", cache)];
            family
                .encode_family(&labels)?
                .encode_gauge(&metrics.entries)?;
        }
        let help = "Duration of database operations, including the wait for a connection";
        let mut family = encoder.encode_descriptor(
            "store_duration_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        let [reading, writing] = &*self.durations;
        for (operation, histogram) in [("read", reading), ("write", writing)] {
            let labels = [("operation", operation)];
            histogram.write(&mut family.encode_family(&labels)?)?;
        }
        let help = "Database operations that failed or timed out";
        encoder
            .encode_descriptor("store_failures", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&metrics.failures, None)?;
        let help = "Time since the change log of the database was last read";
        encoder
            .encode_descriptor("store_log_age_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&metrics.log_age.as_secs_f64())?;
        match &metrics.pool {
            Some(pool) => encode_pool(&mut encoder, pool),
            None => Ok(()),
        }
    }
}

/// Writes the metrics that only a server has.
fn encode_pool(encoder: &mut DescriptorEncoder<'_>, pool: &PoolMetrics) -> fmt::Result {
    let help = "Connections to the database";
    let mut family =
        encoder.encode_descriptor("store_connections", help, None, MetricType::Gauge)?;
    let idle = pool.open.saturating_sub(pool.used);
    for (state, connections) in [("used", pool.used), ("idle", idle)] {
        let labels = [("state", state)];
        family.encode_family(&labels)?.encode_gauge(&connections)?;
    }
    let help = "Requests that wait for a connection to the database";
    encoder
        .encode_descriptor("store_connection_waits", help, None, MetricType::Gauge)?
        .encode_gauge(&pool.waiting)?;
    let help = "How often all connections to the database were replaced";
    encoder
        .encode_descriptor("store_reconnections", help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, f64>(&pool.generation, None)?;
    let help = "Failovers of the database";
    encoder
        .encode_descriptor("store_failovers", help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, f64>(&pool.failovers, None)
}
