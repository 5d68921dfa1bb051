//! The metrics of upstreams.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::{
    Histogram, Named, Registry, SLOW, gauge, write_counters, write_gauges, write_histograms,
};
use crate::net::metrics::TlsFaults;
use crate::net::tls_fault::TlsFault;

/// The state of an upstream at a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpstreamStatus {
    /// The requests in progress.
    pub(crate) requests: usize,
    /// The peers that get requests.
    pub(crate) healthy: usize,
    /// The peers whose health check fails.
    pub(crate) unhealthy: usize,
    /// The peers that get no requests for a while because requests failed.
    pub(crate) ejected: usize,
    /// The names of peers that have never been resolved.
    pub(crate) unknown: usize,
}

/// An event of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamEvent {
    /// A connection failed.
    ConnectFailed,
    /// A request failed at a peer without a response.
    RequestFailed,
    /// A request was retried.
    Retried,
    /// A peer was ejected.
    Ejected,
    /// A request got a new connection.
    Connected,
    /// A request got a connection from the pool.
    Reused,
}

/// The events with a metric of their own: its name and help text.
const EVENTS: [(UpstreamEvent, &str, &str); 4] = [
    (
        UpstreamEvent::ConnectFailed,
        "upstream_connect_failures",
        "Connections to an upstream that failed",
    ),
    (
        UpstreamEvent::RequestFailed,
        "upstream_request_failures",
        "Requests that failed without a response of the peer",
    ),
    (
        UpstreamEvent::Retried,
        "upstream_retries",
        "Requests that were retried on another connection",
    ),
    (
        UpstreamEvent::Ejected,
        "upstream_ejections",
        "Peers that were ejected because requests failed",
    ),
];

/// The counters of one upstream.
#[derive(Debug)]
pub(crate) struct UpstreamTally {
    events: [AtomicU64; 6],
    tls: TlsFaults,
    answered: Histogram,
    /// Responses by the first digit of their status; others come first.
    classes: [AtomicU64; CLASSES.len()],
}

/// The status classes, as labels (RFC 9110 §15).
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl UpstreamTally {
    fn new() -> Self {
        Self {
            events: Default::default(),
            tls: TlsFaults::default(),
            answered: Histogram::new(SLOW),
            classes: Default::default(),
        }
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: UpstreamEvent) {
        if let Some(count) = self.events.get(event as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a failed TLS handshake.
    pub(crate) fn count_tls(&self, fault: TlsFault) {
        self.tls.count(fault);
    }

    /// Counts a response by its status and by the time from the decision to its header.
    pub(crate) fn responded(&self, after: Duration, status: StatusCode) {
        self.answered.observe(after);
        let class = usize::from(status.as_u16() / 100);
        let count = self.classes.get(class).or(self.classes.first());
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, event: UpstreamEvent) -> u64 {
        let count = self.events.get(event as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// The counters of all upstreams. All clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamMetrics(Arc<Named<UpstreamTally>>);

impl UpstreamMetrics {
    /// Registers the metrics.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self(Arc::default());
        registry.collect(metrics.clone());
        metrics
    }

    /// Returns the counters of an upstream. They stay the same as long as the upstream stays in the configuration.
    pub(super) fn of(&self, name: &str) -> Arc<UpstreamTally> {
        self.0.of(name, UpstreamTally::new)
    }
}

/// Writes the gauges of upstreams.
///
/// # Errors
/// The encoder fails.
pub(crate) fn encode_statuses(
    encoder: &mut DescriptorEncoder<'_>,
    statuses: &[(&str, UpstreamStatus)],
) -> fmt::Result {
    let requests = statuses.iter();
    write_gauges(
        encoder,
        "upstream_requests_in_flight",
        "Requests in progress to an upstream.",
        requests.map(|(upstream, status)| ([("upstream", *upstream)], gauge(status.requests))),
    )?;
    let peers = statuses.iter().flat_map(|(upstream, status)| {
        let peers = [
            ("healthy", status.healthy),
            ("unhealthy", status.unhealthy),
            ("ejected", status.ejected),
            ("unresolved", status.unknown),
        ];
        peers.map(|(state, peers)| ([("upstream", *upstream), ("state", state)], gauge(peers)))
    });
    write_gauges(
        encoder,
        "upstream_peers",
        "Peers of an upstream, by state.",
        peers,
    )
}

impl Collector for UpstreamMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.all();
        let all = || {
            let all = all.iter();
            all.map(|(upstream, tally)| (("upstream", &**upstream), tally))
        };
        for (event, name, help) in EVENTS {
            let counts = all().map(|(upstream, tally)| ([upstream], tally.of(event)));
            write_counters(&mut encoder, name, help, counts)?;
        }
        let kinds = [
            ("new", UpstreamEvent::Connected),
            ("reused", UpstreamEvent::Reused),
        ];
        write_counters(
            &mut encoder,
            "upstream_connections",
            "Connections used for requests, new or reused",
            all().flat_map(|(upstream, tally)| {
                kinds.map(|(kind, event)| ([upstream, ("kind", kind)], tally.of(event)))
            }),
        )?;
        write_counters(
            &mut encoder,
            "upstream_responses",
            "Responses of an upstream that were forwarded, by status class",
            all().flat_map(|(upstream, tally)| {
                let classes = CLASSES.iter().zip(&tally.classes);
                classes.map(move |(class, count)| {
                    ([upstream, ("class", class)], count.load(Ordering::Relaxed))
                })
            }),
        )?;
        write_counters(
            &mut encoder,
            "upstream_tls_failures",
            "TLS handshakes with an upstream that failed, by reason",
            all().flat_map(|(upstream, tally)| {
                let counts = tally.tls.counts();
                counts.map(move |(reason, count)| ([upstream, ("reason", reason)], count))
            }),
        )?;
        write_histograms(
            &mut encoder,
            "upstream_duration_seconds",
            "Time from the decision to the response header of the upstream",
            all().map(|(upstream, tally)| ([upstream], &tally.answered)),
        )
    }
}
