//! Metrics for Prometheus: what was decided, how long it took, and what is in force. Labels are of few
//! values; a name never is one, and a realm only if there are identities of it.

mod decisions;
mod door;
mod drift;
mod lines;
mod named;
mod process;
mod rejected;
mod store;
mod tls;
mod upstreams;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_appender::non_blocking::ErrorCounter;

use crate::audit::AuditMetrics;
use crate::auth::{Permit, Scope};
use crate::histogram::{Histogram, QUICK};
use crate::store::Cached;
use decisions::Decisions;
pub use decisions::{NO_ROUTE, REFUSED, Tally};
use door::Decided;
pub use door::Door;
use drift::Drift;
use lines::Lines;
use process::Process;
use rejected::RejectedConnections;
pub use tls::TlsFault;
use upstreams::Upstreams;
pub use upstreams::{UpstreamEvent, UpstreamStatus, UpstreamTally};

/// The two ways in which metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// What Prometheus had before: version 0.0.4.
    Text,
}

impl Exposition {
    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InForce {
    digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delayed {
    scope: &'static str,
}

/// A configured name: there are as many as the configuration has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfUpstream {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeersOf {
    upstream: String,
    state: &'static str,
}

/// What is found out when somebody asks for the metrics.
pub struct Present<'a> {
    /// Open client connections.
    pub connections: usize,
    /// Requests under way.
    pub requests: usize,
    /// Whom a delay holds up, by where it is counted.
    pub delayed: [(Scope, usize); 5],
    /// Each upstream in force.
    pub upstreams: Vec<(&'a str, UpstreamStatus)>,
}

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    /// Under names without our prefix.
    common: Registry,
    decisions: Arc<Decisions>,
    decided: [Arc<Histogram>; Door::ALL.len()],
    drift: Drift,
    upstreams: Arc<Upstreams>,
    tls: Arc<tls::TlsFaults>,
    store: Arc<store::InUse>,
    lines: Arc<Lines>,
    over_limit: Counter,
    reloads: Family<Outcome, Counter>,
    last_reload: Gauge,
    config: Family<InForce, Gauge>,
    connections: Gauge,
    requests: Gauge,
    delays: Counter,
    /// Of the audit log.
    pub audit: AuditMetrics,
    /// Of connections that are closed before a request.
    pub rejected: RejectedConnections,
    delayed: Family<Delayed, Gauge>,
    spans: Family<Outcome, Counter>,
    upstream_requests: Family<OfUpstream, Gauge>,
    upstream_peers: Family<PeersOf, Gauge>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Returns the metrics of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("realmgate");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the running program", Info::new(build));
        let started = Gauge::<i64>::default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        started.set(since.map_or(0, |since| since.as_secs().cast_signed()));
        let help = "Start time of realmgate since the Unix epoch";
        registry.register("start_time_seconds", help, started);
        let decisions = Arc::new(Decisions::new());
        registry.register_collector(Box::new(Arc::clone(&decisions)));
        let decided = Door::ALL.map(|_| Arc::new(Histogram::new(QUICK)));
        registry.register_collector(Box::new(Decided(decided.clone())));
        let upstreams = Arc::<Upstreams>::default();
        registry.register_collector(Box::new(Arc::clone(&upstreams)));
        let tls = Arc::<tls::TlsFaults>::default();
        registry.register_collector(Box::new(tls::OfClients(Arc::clone(&tls))));
        let store = Arc::<store::InUse>::default();
        registry.register_collector(Box::new(Arc::clone(&store)));
        let lines = Arc::<Lines>::default();
        registry.register_collector(Box::new(Arc::clone(&lines)));
        let reloads = Family::<Outcome, Counter>::default();
        for outcome in ["applied", "refused"] {
            drop(reloads.get_or_create(&Outcome { outcome }));
        }
        let spans = Family::<Outcome, Counter>::default();
        for outcome in ["sent", "failed"] {
            drop(spans.get_or_create(&Outcome { outcome }));
        }
        let last_reload = Gauge::default();
        last_reload.set(1);
        let mut common = Registry::default();
        common.register_collector(Box::new(Process));
        Self {
            decisions,
            decided,
            drift: Drift::default(),
            upstreams,
            tls,
            store,
            lines,
            over_limit: registered(
                &mut registry,
                "log_lines_over_limit",
                "Log lines that were not written because of log.lines_per_second",
                Counter::default(),
            ),
            reloads: registered(
                &mut registry,
                "config_reloads",
                "Reloads of the configuration, by outcome",
                reloads,
            ),
            last_reload: registered(
                &mut registry,
                "config_last_reload_successful",
                "Whether the last reload of the configuration succeeded",
                last_reload,
            ),
            config: registered(
                &mut registry,
                "config_info",
                "Digest of the active configuration, as in the log",
                Family::default(),
            ),
            connections: registered(
                &mut registry,
                "connections",
                "Open client connections",
                Gauge::default(),
            ),
            requests: registered(
                &mut registry,
                "requests_in_flight",
                "Requests in progress on all listeners except metrics",
                Gauge::default(),
            ),
            delays: registered(
                &mut registry,
                "throttle_delays",
                "Failures that started a delay of a principal or source",
                Counter::default(),
            ),
            delayed: registered(
                &mut registry,
                "throttle_delayed",
                "Principals, unknown names, sources, and principals at trusted sources that are throttled now",
                Family::default(),
            ),
            spans: registered(
                &mut registry,
                "trace_spans",
                "Spans exported to the trace collector, by outcome",
                spans,
            ),
            upstream_requests: registered(
                &mut registry,
                "upstream_requests_in_flight",
                "Requests in progress to an upstream",
                Family::default(),
            ),
            upstream_peers: registered(
                &mut registry,
                "upstream_peers",
                "Peers of an upstream, by state",
                Family::default(),
            ),
            audit: AuditMetrics::new(&mut registry),
            rejected: RejectedConnections::new(&mut registry),
            registry,
            common,
        }
    }

    /// Returns the counts of a route, which it counts in for as long as it is in force.
    pub fn route(&self, name: &str) -> Arc<Tally> {
        self.decisions.of(name)
    }

    /// Returns the counts of what falls under no route.
    pub fn no_route(&self) -> &Arc<Tally> {
        self.decisions.rest()
    }

    /// Returns the counts of an upstream, which it counts in for as long as it is in force.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamTally> {
        self.upstreams.of(name)
    }

    /// Counts a connection of a client on which TLS was not agreed on.
    pub fn count_tls(&self, fault: TlsFault) {
        self.tls.count(fault);
    }

    /// Counts a permit that was given under a route.
    pub fn permitted(&self, door: Door, tally: &Tally, permit: &Permit) {
        tally.permitted(door, permit);
        self.drift.count(permit);
    }

    /// Counts how long a decision took, whatever it was.
    pub fn decided(&self, door: Door, took: Duration) {
        if let Some(histogram) = self.decided.get(door as usize) {
            histogram.observe(took);
        }
    }

    /// Counts a failure that begins a delay.
    pub fn delayed(&self) {
        self.delays.inc();
    }

    /// Shows the metrics of a store from now on, for as long as it is in use.
    pub fn set_store(&self, store: &Arc<Cached>) {
        self.store.set(store);
    }

    /// Shows how many lines of a log were dropped.
    pub fn count_lines(&self, log: &'static str, dropped: ErrorCounter) {
        self.lines.set(log, dropped);
    }

    /// Counts lines of the log beyond its limit.
    pub fn over_limit(&self, lines: u64) {
        self.over_limit.inc_by(lines);
    }

    /// Counts spans that were sent to a collector, which took them or not.
    pub fn sent_spans(&self, spans: u64, is_taken: bool) {
        let outcome = if is_taken { "sent" } else { "failed" };
        self.spans.get_or_create(&Outcome { outcome }).inc_by(spans);
    }

    /// Notes which configuration is in force.
    pub fn in_force(&self, digest: &str) {
        self.config.clear();
        let digest = digest.to_owned();
        self.config.get_or_create(&InForce { digest }).set(1);
    }

    /// Counts an attempt to put another configuration in force.
    pub fn reloaded(&self, is_applied: bool) {
        let outcome = if is_applied { "applied" } else { "refused" };
        self.reloads.get_or_create(&Outcome { outcome }).inc();
        self.last_reload.set(is_applied.into());
    }

    fn set(&self, present: &Present<'_>) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.connections.set(number(present.connections));
        self.requests.set(number(present.requests));
        for (scope, delayed) in present.delayed {
            let scope = scope.as_str();
            let gauge = self.delayed.get_or_create_owned(&Delayed { scope });
            gauge.set(number(delayed));
        }
        self.upstream_requests.clear();
        self.upstream_peers.clear();
        for (name, metrics) in &present.upstreams {
            let upstream = (*name).to_owned();
            let requests = self
                .upstream_requests
                .get_or_create_owned(&OfUpstream { upstream });
            requests.set(number(metrics.requests));
            for (state, peers) in [
                ("healthy", metrics.healthy),
                ("unhealthy", metrics.unhealthy),
                ("ejected", metrics.ejected),
                ("unresolved", metrics.unknown),
            ] {
                let upstream = (*name).to_owned();
                let of = self
                    .upstream_peers
                    .get_or_create_owned(&PeersOf { upstream, state });
                of.set(number(peers));
            }
        }
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// A metric cannot be written, which does not happen to a `String`.
    pub fn text(
        &self,
        exposition: Exposition,
        present: &Present<'_>,
    ) -> Result<String, fmt::Error> {
        self.set(present);
        let mut text = String::new();
        match exposition {
            Exposition::OpenMetrics => {
                text::encode_registry(&mut text, &self.registry)?;
                text::encode_registry(&mut text, &self.common)?;
                self.drift.write(&mut text)?;
                text::encode_eof(&mut text)?;
            }
            Exposition::Text => {
                prometheus_text::encode(&mut text, &self.registry)?;
                prometheus_text::encode(&mut text, &self.common)?;
                self.drift.write(&mut text)?;
            }
        }
        Ok(text)
    }
}

/// Registers a metric, which counts in itself and in the registry.
fn registered<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}
