//! Upstreams: where requests go, and how long each step of going there may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::lb::LoadBalancer;
use pingora::lb::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use pingora::lb::selection::RoundRobin;
use pingora::upstreams::peer::HttpPeer;

use tokio::time::MissedTickBehavior;

use crate::config;

/// A file without certificates.
pub(crate) const NO_ROOTS: &str = "/dev/null";

/// How often a connection is tried at most.
pub(crate) const MOST_TRIES: usize = 4;

/// One named group of peers that serve the same.
pub(crate) struct Upstream {
    balancer: LoadBalancer<RoundRobin>,
    under_way: AtomicUsize,
    settings: config::Upstream,
}

impl Upstream {
    /// Makes a group.
    ///
    /// # Errors
    /// A peer's address cannot be used.
    pub(crate) fn new(settings: &config::Upstream) -> std::io::Result<Self> {
        let mut balancer = LoadBalancer::try_from_iter(&settings.peers)?;
        if let Some(health) = &settings.health {
            balancer.set_health_check(check(&settings.name, health));
        }
        Ok(Self {
            balancer,
            under_way: AtomicUsize::new(0),
            settings: settings.clone(),
        })
    }

    /// Counts a request in, unless there are too many under way.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<UnderWay> {
        // Counted even if refused, until this is dropped.
        let entered = UnderWay(Arc::clone(self));
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        (before < self.settings.requests).then_some(entered)
    }

    /// Asks the peers whether they answer, once an interval, for as long as somebody else holds this.
    fn watch(self: &Arc<Self>) {
        let Some(health) = &self.settings.health else {
            return;
        };
        let mut ticks = tokio::time::interval(health.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let upstream = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                ticks.tick().await;
                let Some(upstream) = upstream.upgrade() else {
                    return;
                };
                upstream.balancer.backends().run_health_check(true).await;
            }
        });
    }

    /// Returns the peer whose turn it is; none if none answers.
    pub(crate) fn next(&self) -> Option<Box<HttpPeer>> {
        let backend = self.balancer.select(b"", self.settings.peers.len())?;
        let mut peer = HttpPeer::new(backend.addr, false, String::new());
        peer.options.connection_timeout = Some(self.settings.connect_timeout);
        peer.options.total_connection_timeout = Some(self.settings.connect_timeout);
        peer.options.read_timeout = Some(self.settings.read_timeout);
        peer.options.write_timeout = Some(self.settings.write_timeout);
        peer.options.idle_timeout = Some(self.settings.idle_timeout);
        Some(Box::new(peer))
    }

    /// Returns how often a connection may be tried: once for each peer, at least twice, at most
    /// [`MOST_TRIES`] times.
    pub(crate) fn tries(&self) -> usize {
        self.settings.peers.len().clamp(2, MOST_TRIES)
    }
}

/// A request that counts until this is dropped.
pub(crate) struct UnderWay(Arc<Upstream>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All groups, in the order in which routes count them.
pub(crate) struct Upstreams(Box<[Arc<Upstream>]>);

impl Upstreams {
    /// Makes all groups.
    ///
    /// # Errors
    /// A peer's address cannot be used.
    pub(crate) fn new(settings: &[config::Upstream]) -> std::io::Result<Self> {
        let upstreams = settings.iter().map(|it| Upstream::new(it).map(Arc::new));
        Ok(Self(upstreams.collect::<Result<_, _>>()?))
    }

    /// Begins to ask the peers whether they answer.
    pub(crate) fn watch(&self) {
        self.0.iter().for_each(Upstream::watch);
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Upstream>> {
        self.0.get(index)
    }
}

/// Makes what asks a peer: for a connection, or for a path.
fn check(name: &str, health: &config::Health) -> Box<dyn HealthCheck + Send + Sync> {
    let Some(path) = &health.path else {
        let mut check = TcpHealthCheck::new();
        check.peer_template.options.connection_timeout = Some(health.timeout);
        return check;
    };
    // The name of the upstream stands for its host, which has many addresses.
    let mut options = ConnectorOptions::new(0);
    options.ca_file = Some(NO_ROOTS.to_owned());
    let connector: Connector = Connector::new(Some(options));
    let mut check = HttpHealthCheck::new_custom(name, false, connector);
    if let Ok(uri) = path.parse() {
        check.req.set_uri(uri);
    }
    check.peer_template.options.connection_timeout = Some(health.timeout);
    check.peer_template.options.read_timeout = Some(health.timeout);
    Box::new(check)
}
