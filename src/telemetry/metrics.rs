//! Figures for Prometheus: what was decided, and what is in force. Labels are of few values; a name or a
//! realm never is one.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::auth::Denial;

/// The media type of what [`Metrics::text`] returns.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The transparent proxy.
    Proxy,
    /// A front proxy's question.
    ForwardAuth,
    /// REST.
    Rest,
}

impl Door {
    /// Returns what logs and metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::ForwardAuth => "forward-auth",
            Self::Rest => "rest",
        }
    }
}

impl EncodeLabelValue for Door {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    door: Door,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reloaded {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InForce {
    digest: String,
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

/// How an upstream is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFigures {
    /// Requests under way.
    pub requests: usize,
    /// Peers that get requests.
    pub healthy: usize,
    /// Peers that fail their health check.
    pub unhealthy: usize,
    /// Peers that get none for a while, since requests failed.
    pub ejected: usize,
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
}

/// The figures of this process.
pub struct Metrics {
    registry: Registry,
    decisions: Family<Decided, Counter>,
    permits: [(Door, Counter); 3],
    reloads: Family<Reloaded, Counter>,
    last_reload: Gauge,
    config: Family<InForce, Gauge>,
    connections: Gauge,
    delays: Counter,
    upstream_requests: Family<OfUpstream, Gauge>,
    upstream_peers: Family<PeersOf, Gauge>,
    upstream_events: [(UpstreamEvent, Family<OfUpstream, Counter>); 4],
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Returns the figures of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("realmgate");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program that runs", Info::new(build));
        let started = Gauge::<i64>::default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        started.set(since.map_or(0, |since| since.as_secs().cast_signed()));
        registry.register(
            "start_time_seconds",
            "When the process started, since 1970",
            started,
        );
        let decisions = Family::<Decided, Counter>::default();
        registry.register(
            "decisions",
            "Requests that were decided on, by door and by outcome or the reason of a denial",
            decisions.clone(),
        );
        let permits = [Door::Proxy, Door::ForwardAuth, Door::Rest].map(|door| {
            let outcome = "permitted";
            let counter = decisions.get_or_create_owned(&Decided { door, outcome });
            (door, counter)
        });
        let reloads = Family::<Reloaded, Counter>::default();
        registry.register(
            "config_reloads",
            "Configurations read at SIGHUP, by whether they are in force",
            reloads.clone(),
        );
        for outcome in ["applied", "refused"] {
            drop(reloads.get_or_create(&Reloaded { outcome }));
        }
        let last_reload = Gauge::default();
        last_reload.set(1);
        registry.register(
            "config_last_reload_successful",
            "1 if the configuration that was read last is in force, 0 if an older one is",
            last_reload.clone(),
        );
        let config = Family::default();
        registry.register(
            "config_info",
            "The digest of the configuration in force, as in the log",
            config.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Connections of clients that are open on the HTTP listeners",
            connections.clone(),
        );
        let delays = Counter::default();
        registry.register(
            "throttle_delays",
            "Failures that have begun a delay, of a principal or a source",
            delays.clone(),
        );
        let upstream_requests = Family::default();
        registry.register(
            "upstream_requests_in_flight",
            "Requests under way to an upstream",
            upstream_requests.clone(),
        );
        let upstream_peers = Family::default();
        registry.register(
            "upstream_peers",
            "Peers of an upstream, by whether they get requests",
            upstream_peers.clone(),
        );
        let upstream_events = [
            (
                UpstreamEvent::ConnectFailed,
                "upstream_connect_failures",
                "Connections to an upstream that were not made",
            ),
            (
                UpstreamEvent::RequestFailed,
                "upstream_request_failures",
                "Requests that failed at a peer, not by what it answered",
            ),
            (
                UpstreamEvent::Retried,
                "upstream_retries",
                "Requests that were tried again",
            ),
            (
                UpstreamEvent::Ejected,
                "upstream_ejections",
                "Times that a peer was taken out since requests failed",
            ),
        ]
        .map(|(event, name, help)| {
            let family = Family::default();
            registry.register(name, help, family.clone());
            (event, family)
        });
        Self {
            registry,
            delays,
            upstream_requests,
            upstream_peers,
            upstream_events,
            decisions,
            permits,
            reloads,
            last_reload,
            config,
            connections,
        }
    }

    /// Counts a permit.
    pub fn permitted(&self, door: Door) {
        for (of, counter) in &self.permits {
            if *of == door {
                counter.inc();
            }
        }
    }

    /// Counts a denial, by its reason.
    pub fn denied(&self, door: Door, denial: &Denial) {
        let outcome = denial.reason();
        let decided = Decided { door, outcome };
        self.decisions.get_or_create(&decided).inc();
    }

    /// Counts a failure that begins a delay.
    pub fn delayed(&self) {
        self.delays.inc();
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
        self.reloads.get_or_create(&Reloaded { outcome }).inc();
        self.last_reload.set(is_applied.into());
    }

    /// Notes how the upstreams in force are doing.
    pub fn set_upstreams<'a>(&self, figures: impl Iterator<Item = (&'a str, UpstreamFigures)>) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.upstream_requests.clear();
        self.upstream_peers.clear();
        for (name, figures) in figures {
            let upstream = name.to_owned();
            let requests = self
                .upstream_requests
                .get_or_create_owned(&OfUpstream { upstream });
            requests.set(number(figures.requests));
            for (state, peers) in [
                ("healthy", figures.healthy),
                ("unhealthy", figures.unhealthy),
                ("ejected", figures.ejected),
            ] {
                let upstream = name.to_owned();
                let of = self
                    .upstream_peers
                    .get_or_create_owned(&PeersOf { upstream, state });
                of.set(number(peers));
            }
        }
    }

    /// Counts what happens to an upstream.
    pub fn of_upstream(&self, name: &str, event: UpstreamEvent) {
        for (of, family) in &self.upstream_events {
            if *of == event {
                let upstream = name.to_owned();
                family.get_or_create(&OfUpstream { upstream }).inc();
            }
        }
    }

    /// Notes how many connections are open.
    pub fn set_connections(&self, open: usize) {
        self.connections
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Returns all figures in the text format of OpenMetrics 1.0.
    ///
    /// # Errors
    /// A figure cannot be written, which does not happen to a `String`.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
