//! The metrics that are read at a scrape: connections, requests, throttling and upstreams.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::snapshot::Live;
use crate::auth::{Authority, UnixTime};
use crate::metrics::gauge;
use crate::net::connection::Connections;
use crate::upstream::encode_statuses;

/// Reads gauges from their owners.
pub(super) struct Gauges {
    pub(super) connections: Arc<Connections>,
    pub(super) authority: Arc<Authority>,
    pub(super) snapshot: Live,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            (
                "connections",
                "Open client connections.",
                self.connections.open(),
            ),
            (
                "requests_in_flight",
                "Requests in progress on all listeners except metrics.",
                self.connections.requests(),
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&gauge(value))?;
        }
        let mut family = encoder.encode_descriptor(
            "throttle_delayed",
            "Principals, unknown names, sources, and principals at trusted sources that are throttled now.",
            None,
            MetricType::Gauge,
        )?;
        let now = UnixTime::from(SystemTime::now());
        for (scope, delayed) in self.authority.delayed(now) {
            let labels = [("scope", scope.as_str())];
            family
                .encode_family(&labels)?
                .encode_gauge(&gauge(delayed))?;
        }
        let snapshot = self.snapshot.load_full();
        encoder
            .encode_descriptor(
                "observed_routes",
                "Routes that only observe: they let through what they would deny.",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&gauge(snapshot.routes.observed()))?;
        let statuses: Vec<_> = snapshot.upstreams.statuses().collect();
        encode_statuses(&mut encoder, &statuses)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}
