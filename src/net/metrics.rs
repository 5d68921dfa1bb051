//! The metrics of client connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::loops::Loops;
use super::tls_fault::TlsFault;
use crate::metrics::{Registry, gauge, write_counters, write_gauges};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The metrics of client connections. All clones share their values.
#[derive(Clone)]
pub(crate) struct NetMetrics {
    rejected: Family<Reason, Counter>,
    pub(crate) tls: Arc<TlsFaults>,
}

impl NetMetrics {
    /// Registers the metrics.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let help = "Connections closed before a request was read, by reason";
        let rejected = registry.register("connections_rejected", help, Family::default());
        let tls = Arc::<TlsFaults>::default();
        registry.collect(ClientFaults(Arc::clone(&tls)));
        Self { rejected, tls }
    }

    /// Shows a reason, with a count of zero, before a connection is rejected for it.
    pub(super) fn show(&self, reason: &'static str) {
        drop(self.rejected.get_or_create_owned(&Reason { reason }));
    }

    /// Counts a connection that was closed before a request was read.
    pub(super) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create_owned(&Reason { reason }).inc();
    }
}

/// Counters of failed TLS handshakes, by fault.
#[derive(Debug, Default)]
pub(crate) struct TlsFaults([AtomicU64; TlsFault::ALL.len()]);

impl TlsFaults {
    pub(crate) fn count(&self, fault: TlsFault) {
        if let Some(count) = self.0.get(fault as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the name and the count of each fault.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        TlsFault::ALL.iter().map(|fault| fault.as_str()).zip(counts)
    }
}

/// The faults of handshakes with clients.
#[derive(Debug)]
struct ClientFaults(Arc<TlsFaults>);

impl Collector for ClientFaults {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        write_counters(
            &mut encoder,
            "tls_failures",
            "TLS handshakes with clients that failed, by reason",
            self.0
                .counts()
                .map(|(reason, count)| ([("reason", reason)], count)),
        )
    }
}

/// The connections of each event loop.
#[derive(Debug)]
pub(crate) struct LoopGauges(pub(crate) Loops);

impl Collector for LoopGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let connections = self.0.connections();
        let connections = (0_u64..).zip(connections);
        write_gauges(
            &mut encoder,
            "loop_connections",
            "Open client connections, by event loop",
            connections.map(|(number, count)| ([("loop", number)], gauge(count))),
        )
    }
}
