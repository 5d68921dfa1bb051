//! How upstreams are doing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::named::Named;
use super::tls::{TlsFault, TlsFaults};
use crate::histogram::{Histogram, SLOW};

/// How an upstream is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// Requests under way.
    pub requests: usize,
    /// Peers that get requests.
    pub healthy: usize,
    /// Peers that fail their health check.
    pub unhealthy: usize,
    /// Peers that get none for a while, since requests failed.
    pub ejected: usize,
    /// Peers that are named and have no address, since their names were never found.
    pub unknown: usize,
}

/// What happens to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamEvent {
    /// A connection was not made.
    ConnectFailed,
    /// A request failed at a peer, not by what it answered.
    RequestFailed,
    /// A request was tried again.
    Retried,
    /// A peer was ejected.
    Ejected,
    /// A connection was made for a request.
    Connected,
    /// A connection that was kept open was taken for a request.
    Reused,
}

/// The events that are counters of their own, with name and help.
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

/// What has happened to one upstream.
#[derive(Debug)]
pub struct UpstreamTally {
    events: [AtomicU64; 6],
    tls: TlsFaults,
    answered: Histogram,
    /// Answers, by the first digit of their status; what has none of those is first.
    classes: [AtomicU64; CLASSES.len()],
}

/// The classes of statuses, as labels (RFC 9110 §15).
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
    pub fn count(&self, event: UpstreamEvent) {
        if let Some(count) = self.events.get(event as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection on which TLS was not agreed on.
    pub fn count_tls(&self, fault: TlsFault) {
        self.tls.count(fault);
    }

    /// Counts an answer, by the time from the permit to its header and by its status.
    pub fn answered(&self, after: Duration, status: StatusCode) {
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

/// All upstreams.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Named<UpstreamTally>);

impl Upstreams {
    pub(super) fn of(&self, name: &str) -> Arc<UpstreamTally> {
        self.0.of(name, UpstreamTally::new)
    }
}

impl Collector for Upstreams {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.all();
        for (event, name, help) in EVENTS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (upstream, tally) in &all {
                let labels = [("upstream", &**upstream)];
                let mut counter = family.encode_family(&labels)?;
                counter.encode_counter::<NoLabelSet, _, f64>(&tally.of(event), None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "upstream_connections",
            "Connections used for requests, new or reused",
            None,
            MetricType::Counter,
        )?;
        for (upstream, tally) in &all {
            for (kind, event) in [
                ("new", UpstreamEvent::Connected),
                ("reused", UpstreamEvent::Reused),
            ] {
                let labels = [("upstream", &**upstream), ("kind", kind)];
                let mut counter = family.encode_family(&labels)?;
                counter.encode_counter::<NoLabelSet, _, f64>(&tally.of(event), None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "upstream_responses",
            "Responses of an upstream that were forwarded, by status class",
            None,
            MetricType::Counter,
        )?;
        for (upstream, tally) in &all {
            for (class, count) in CLASSES.iter().zip(&tally.classes) {
                let labels = [("upstream", &**upstream), ("class", class)];
                let mut counter = family.encode_family(&labels)?;
                let count = count.load(Ordering::Relaxed);
                counter.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "upstream_tls_failures",
            "TLS handshakes with an upstream that failed, by reason",
            None,
            MetricType::Counter,
        )?;
        for (upstream, tally) in &all {
            for (reason, count) in tally.tls.counts() {
                let labels = [("upstream", &**upstream), ("reason", reason)];
                let mut counter = family.encode_family(&labels)?;
                counter.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "upstream_duration_seconds",
            "Time from the decision to the response header of the upstream",
            None,
            MetricType::Histogram,
        )?;
        for (upstream, tally) in &all {
            let labels = [("upstream", &**upstream)];
            tally.answered.write(&mut family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
