//! Upstreams, their peers, and the timeouts of each step to a peer.

mod chosen;
mod discovery;
mod group;
mod health;
mod load;
pub(crate) mod metrics;
mod resolve;
mod state;
mod template;
mod upgrade;
mod watch;

use std::cmp::Ordering as Order;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::Error;
use pingora::lb::selection::{Consistent, RoundRobin};
use pingora::lb::{Backend, Backends, LoadBalancer};
use pingora::protocols::l4::socket::SocketAddr;

use crate::auth::network;
use crate::config::{self, Balance};
use crate::net::admission::Full;
use crate::net::tls_fault::{LogThrottle, fault_of};
pub(crate) use chosen::{Chosen, Next};
use discovery::{Discovery, Known, Shared};
pub(crate) use group::Upstreams;
use load::Load;
pub(crate) use load::UnderWay;
pub(crate) use metrics::{UpstreamEvent, UpstreamMetrics, encode_statuses};
use metrics::{UpstreamStatus, UpstreamTally};
pub(crate) use resolve::Resolver;
pub(crate) use template::NO_ROOTS;
use template::Template;
pub(crate) use template::{SHORT_BODY, set_apart};
pub(crate) use upgrade::Gate;

/// The maximum number of connection attempts.
pub(crate) const MOST_TRIES: usize = 10;

/// The maximum number of steps to select a peer.
const MOST_STEPS: usize = 256;

/// A named group of equivalent peers.
pub(crate) struct Upstream {
    peers: Peers,
    discovery: Arc<Discovery>,
    template: Template,
    /// The health check; `None` if all peers count as healthy.
    check: Option<health::Check>,
    /// The requests in progress, including those from before a reload.
    load: Arc<Load>,
    /// Where the search for the least busy peer begins; rotates.
    turn: AtomicUsize,
    is_watched: AtomicBool,
    /// Limits log lines about TLS.
    logged: LogThrottle,
    settings: config::Upstream,
    /// Event counters.
    pub(crate) tally: Arc<UpstreamTally>,
    resolver: Resolver,
    /// Held while a result of the discovery is applied, so that an older one does not replace a newer one.
    updating: Mutex<()>,
}

/// The peers with their balancer.
enum Peers {
    InTurn(LoadBalancer<RoundRobin>),
    ByHash(LoadBalancer<Consistent>),
}

impl Upstream {
    /// Makes an upstream, or returns `before` if nothing has changed. A changed upstream takes over
    /// the names, the states of peers and the request counts.
    ///
    /// # Errors
    /// The root certificates cannot be read, or a path is too long for a Unix socket.
    fn new(
        settings: &config::Upstream,
        before: Option<&Arc<Self>>,
        metrics: &UpstreamMetrics,
        resolver: &Resolver,
    ) -> io::Result<Arc<Self>> {
        let template = Template::new(settings)?;
        // Equal settings have the same Debug output; `trusts_as` compares the root certificates.
        if let Some(before) = before
            && template.trusts_as(&before.template)
            && format!("{settings:?}") == format!("{:?}", before.settings)
        {
            return Ok(Arc::clone(before));
        }
        let known = before.map(|before| &*before.discovery);
        let discovery = Arc::new(Discovery::new(&settings.peers, known)?);
        let backends = Backends::new(Box::new(Shared(Arc::clone(&discovery))));
        let upstream = Self {
            peers: match settings.balance {
                Balance::RoundRobin | Balance::LeastBusy => {
                    Peers::InTurn(LoadBalancer::from_backends(backends))
                }
                Balance::Hash => Peers::ByHash(LoadBalancer::from_backends(backends)),
            },
            discovery,
            check: health::Check::new(settings, &template),
            template,
            load: before.map_or_else(Arc::default, |it| Arc::clone(&it.load)),
            turn: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
            logged: LogThrottle::default(),
            tally: metrics.of(&settings.name),
            resolver: resolver.clone(),
            updating: Mutex::new(()),
            settings: settings.clone(),
        };
        upstream.update();
        Ok(Arc::new(upstream))
    }

    /// Counts a request, unless too many are in progress in total or for its client address. `None`
    /// stands for an address without a limit of its own.
    pub(crate) fn enter(
        &self,
        address: Option<IpAddr>,
        limits: &config::Limits,
    ) -> Result<UnderWay, Full> {
        let most = self.settings.requests;
        let share = limits.share_of_upstream(most);
        UnderWay::enter(&self.load, most, address.map(network), share)
    }

    /// Returns the next peer for a client, preferably not `last`, which has just failed. `None` if
    /// no peer is healthy.
    pub(crate) fn next(&self, client: Option<IpAddr>, last: Option<&Chosen>) -> Option<Next> {
        let last = last.map(Chosen::address);
        let is_new = |backend: &Backend| Some(&backend.addr) != last;
        let chosen = self
            .choose(client, |backend| {
                is_new(backend) && !self.is_ejected(backend) && !is_standby(backend)
            })
            .or_else(|| self.choose(client, |it| is_new(it) && !self.is_ejected(it)))
            .or_else(|| self.choose(client, is_new))
            .or_else(|| self.choose(client, |_| true))?;
        Some(Next {
            peer: Box::new(self.template.peer(chosen.address())),
            chosen,
        })
    }

    /// Applies the current result of the discovery.
    fn update(&self) {
        let _updating = self.updating.lock();
        // The discovery never waits and never fails.
        let _ = match &self.peers {
            Peers::InTurn(balancer) => balancer.update().now_or_never(),
            Peers::ByHash(balancer) => balancer.update().now_or_never(),
        };
    }

    fn choose(&self, client: Option<IpAddr>, accept: impl Fn(&Backend) -> bool) -> Option<Chosen> {
        let accept = |backend: &Backend| self.is_healthy(backend) && accept(backend);
        let backends = self.peers.backends();
        let all = backends.get_backend();
        if all.len() == 1 {
            // A single peer needs no selection.
            let only = all.first();
            return Chosen::new(only.filter(|it| accept(it))?);
        }
        let chosen = match &self.peers {
            Peers::InTurn(_) if self.settings.balance == Balance::LeastBusy => {
                self.least_busy(accept)
            }
            Peers::InTurn(balancer) => balancer.select_with(b"", MOST_STEPS, |it, _| accept(it)),
            Peers::ByHash(balancer) => {
                let key = client.map(|client| client.to_canonical().to_string());
                let key = key.as_deref().unwrap_or_default().as_bytes();
                balancer.select_with(key, MOST_STEPS, |it, _| accept(it))
            }
        };
        Chosen::new(&chosen?)
    }

    fn least_busy(&self, accept: impl Fn(&Backend) -> bool) -> Option<Backend> {
        let backends = self.peers.backends();
        let all = backends.get_backend();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
        let (before, after) = (all.iter().take(turn), all.iter().skip(turn));
        after
            .chain(before)
            .filter(|backend| accept(backend))
            .min_by(|one, other| busier(one, other))
            .cloned()
    }

    fn is_healthy(&self, backend: &Backend) -> bool {
        self.check.is_none() || Known::of(backend).is_some_and(|it| it.state.is_healthy())
    }

    fn is_ejected(&self, backend: &Backend) -> bool {
        self.settings.ejection.failures > 0
            && Known::of(backend).is_some_and(|known| known.state.is_ejected())
    }

    /// Records that a request failed at a peer for another reason than its response.
    pub(crate) fn failed(&self, chosen: &Chosen) {
        let ejection = &self.settings.ejection;
        // The only remaining peer is never ejected.
        if chosen.known.state.failed(ejection) && self.has_another(chosen) {
            chosen.known.state.eject(ejection);
            self.tally.count(UpstreamEvent::Ejected);
            let (upstream, peer) = (&self.settings.name, chosen.address());
            tracing::warn!(%upstream, %peer, "a peer failed and gets no requests for a while");
        }
    }

    /// Records a failed connection. Logs TLS failures at a limited rate. Returns whether TLS
    /// failed.
    pub(crate) fn failed_to_connect(&self, chosen: &Chosen, error: &Error) -> bool {
        self.failed(chosen);
        self.tally.count(UpstreamEvent::ConnectFailed);
        let Some((fault, cause)) = fault_of(error) else {
            return false;
        };
        self.tally.count_tls(fault);
        if let Some(withheld) = self.logged.may_log(fault) {
            let (upstream, peer, reason) = (&self.settings.name, chosen.address(), fault.as_str());
            tracing::warn!(%upstream, %peer, reason, cause, withheld, "TLS handshake with a peer failed");
        }
        true
    }

    /// Returns whether there is another healthy peer that is not ejected.
    fn has_another(&self, chosen: &Chosen) -> bool {
        let backends = self.peers.backends().get_backend();
        backends.iter().any(|backend| {
            &backend.addr != chosen.address()
                && self.is_healthy(backend)
                && !self.is_ejected(backend)
        })
    }

    /// Returns the name and the current metrics.
    fn status(&self) -> (&str, UpstreamStatus) {
        let backends = self.peers.backends();
        let mut status = UpstreamStatus {
            requests: self.load.requests(),
            unknown: self.discovery.names().filter(|it| it.is_unknown()).count(),
            ..UpstreamStatus::default()
        };
        let backends = backends.get_backend();
        for backend in backends.iter().filter(|it| !is_standby(it)) {
            if !self.is_healthy(backend) {
                status.unhealthy += 1;
            } else if self.is_ejected(backend) {
                status.ejected += 1;
            } else {
                status.healthy += 1;
            }
        }
        (&self.settings.name, status)
    }

    /// Returns the Host header for requests without a host: the TLS server name, else the
    /// configured name of the peer.
    pub(crate) fn host(&self, chosen: &Chosen) -> HeaderValue {
        let server_name = self.settings.tls.as_ref().map(|tls| &*tls.server_name);
        let name = match chosen.address() {
            SocketAddr::Inet(_) => server_name.or(Some(&*chosen.known.label)),
            SocketAddr::Unix(_) => server_name,
        };
        name.and_then(|name| HeaderValue::from_str(name).ok())
            .unwrap_or(HeaderValue::from_static("localhost"))
    }

    /// Returns the read timeout of a peer.
    pub(crate) fn read_timeout(&self) -> Duration {
        self.settings.read_timeout
    }

    /// Returns the read timeout of a peer for gRPC calls.
    pub(crate) fn stream_timeout(&self) -> Duration {
        self.settings.stream_timeout
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns the maximum number of connection attempts.
    pub(crate) fn tries(&self) -> usize {
        self.settings.tries
    }
}

impl Peers {
    fn backends(&self) -> &Backends {
        match self {
            Self::InTurn(balancer) => balancer.backends(),
            Self::ByHash(balancer) => balancer.backends(),
        }
    }
}

fn is_standby(backend: &Backend) -> bool {
    Known::of(backend).is_some_and(|known| known.is_standby(&backend.addr))
}

/// Compares the numbers of requests in proportion to the weights.
fn busier(one: &Backend, other: &Backend) -> Order {
    let busy = |backend: &Backend| Known::of(backend).map_or(0, |known| known.state.under_way());
    (busy(one) * other.weight).cmp(&(busy(other) * one.weight))
}
