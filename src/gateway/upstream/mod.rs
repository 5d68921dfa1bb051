//! Upstreams: where requests go, and how long each step of going there may take.

mod discovery;
mod health;
mod template;
mod upgrade;

use std::cmp::Ordering as Order;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::lb::selection::{BackendIter, BackendSelection, Consistent, RoundRobin};
use pingora::lb::{Backend, Backends, LoadBalancer};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;
use tokio::time::MissedTickBehavior;

use super::admission::{Full, block};
use crate::config::{self, Balance, PeerAddress};
use crate::telemetry::{UpstreamEvent, UpstreamFigures, UpstreamTally, metrics};
use discovery::{Discovery, State};
use template::Template;
pub(crate) use upgrade::Gate;

/// A file without certificates.
pub(crate) const NO_ROOTS: &str = "/dev/null";

/// How often a connection is tried at most.
pub(crate) const MOST_TRIES: usize = 10;

/// How many steps the search for a peer takes at most.
const MOST_STEPS: usize = 256;

/// One named group of peers that serve the same.
pub(crate) struct Upstream {
    peers: Peers,
    template: Template,
    under_way: AtomicUsize,
    /// The requests under way of each address that has some.
    of_addresses: Mutex<HashMap<IpAddr, usize>>,
    /// Where the search for the least busy peer begins.
    turn: AtomicUsize,
    settings: config::Upstream,
    /// What has happened to it.
    pub(crate) tally: Arc<UpstreamTally>,
}

/// The peers, and whose turn it is.
enum Peers {
    InTurn(LoadBalancer<RoundRobin>),
    ByHash(LoadBalancer<Consistent>),
}

impl Upstream {
    /// Makes a group.
    ///
    /// # Errors
    /// No root of the system can be read.
    pub(crate) fn new(settings: &config::Upstream) -> io::Result<Self> {
        let template = Template::new(settings)?;
        let mut backends = Backends::new(Box::new(Discovery::new(&settings.peers)));
        if let Some(health) = &settings.health {
            backends.set_health_check(health::check(settings, health, &template));
        }
        let peers = match settings.balance {
            Balance::RoundRobin | Balance::LeastBusy => Peers::InTurn(balancer(backends)?),
            Balance::Hash => Peers::ByHash(balancer(backends)?),
        };
        Ok(Self {
            peers,
            template,
            under_way: AtomicUsize::new(0),
            of_addresses: Mutex::default(),
            turn: AtomicUsize::new(0),
            tally: metrics().upstream(&settings.name),
            settings: settings.clone(),
        })
    }

    /// Counts a request in, unless there are too many under way, in all or of its address; none for an
    /// address that may have any number.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limits: &config::Limits,
    ) -> Result<UnderWay, Full> {
        let address = address.map(block);
        if let Some(address) = address {
            let mut of_addresses = self.of_addresses.lock();
            let count = of_addresses.entry(address).or_default();
            if *count >= limits.share_of_upstream(self.settings.requests) {
                return Err(Full::OfAddress);
            }
            *count += 1;
        }
        // Counted even if refused, until this is dropped.
        let entered = UnderWay {
            upstream: Arc::clone(self),
            address,
        };
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        if before < self.settings.requests {
            Ok(entered)
        } else {
            Err(Full::InAll)
        }
    }

    /// Asks the peers whether they answer, and looks up their names, each once an interval, for as long
    /// as somebody else holds this.
    fn watch(self: &Arc<Self>) {
        if let Some(health) = &self.settings.health {
            self.every(health.interval, |upstream| async move {
                upstream.peers.backends().run_health_check(true).await;
            });
        }
        let is_named = |peer: &config::Peer| matches!(peer.address, PeerAddress::Named { .. });
        if self.settings.peers.iter().any(is_named) {
            self.every(self.settings.resolve_interval, |upstream| async move {
                if let Err(error) = upstream.peers.update().await {
                    let (name, error) = (&upstream.settings.name, error.etype().as_str());
                    tracing::warn!(upstream = %name, error, "a name of a peer was not found");
                }
            });
        }
    }

    fn every<F, T>(self: &Arc<Self>, interval: Duration, what: F)
    where
        F: Fn(Arc<Self>) -> T + Send + 'static,
        T: Future<Output = ()> + Send,
    {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let upstream = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                ticks.tick().await;
                let Some(upstream) = upstream.upgrade() else {
                    return;
                };
                what(upstream).await;
            }
        });
    }

    /// Returns the peer that is next for a client, rather not `last`, which has just failed; none if
    /// none answers.
    pub(crate) fn next(&self, client: Option<IpAddr>, last: Option<&Chosen>) -> Option<Next> {
        let last = last.map(|last| &last.address);
        let chosen = self
            .choose(client, |backend| {
                Some(&backend.addr) != last && !self.is_ejected(backend)
            })
            .or_else(|| self.choose(client, |backend| Some(&backend.addr) != last))
            .or_else(|| self.choose(client, |_| true))?;
        Some(Next {
            peer: Box::new(self.template.peer(&chosen.address)),
            chosen,
        })
    }

    fn choose(&self, client: Option<IpAddr>, accept: impl Fn(&Backend) -> bool) -> Option<Chosen> {
        let accept = |backend: &Backend, is_healthy: bool| is_healthy && accept(backend);
        let backends = self.peers.backends();
        let all = backends.get_backend();
        if all.len() == 1 {
            // Nobody's turn, and nothing to look for.
            let only = all.first();
            let is_healthy = |it| self.settings.health.is_none() || backends.ready(it);
            return Chosen::new(only.filter(|it| accept(it, is_healthy(it)))?);
        }
        let chosen = match &self.peers {
            Peers::InTurn(_) if self.settings.balance == Balance::LeastBusy => {
                self.least_busy(accept)
            }
            Peers::InTurn(balancer) => balancer.select_with(b"", MOST_STEPS, accept),
            Peers::ByHash(balancer) => {
                let key = client.map(|client| client.to_canonical().to_string());
                let key = key.as_deref().unwrap_or_default().as_bytes();
                balancer.select_with(key, MOST_STEPS, accept)
            }
        };
        Chosen::new(&chosen?)
    }

    fn least_busy(&self, accept: impl Fn(&Backend, bool) -> bool) -> Option<Backend> {
        let backends = self.peers.backends();
        let all = backends.get_backend();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
        let (before, after) = (all.iter().take(turn), all.iter().skip(turn));
        after
            .chain(before)
            .filter(|backend| accept(backend, backends.ready(backend)))
            .min_by(|one, other| busier(one, other))
            .cloned()
    }

    fn is_ejected(&self, backend: &Backend) -> bool {
        self.settings.ejection.failures > 0
            && state_of(backend).is_some_and(|state| state.is_ejected())
    }

    /// Notes that a request failed at a peer, not by what it answered.
    pub(crate) fn failed(&self, chosen: &Chosen) {
        let ejection = self.settings.ejection;
        if chosen.state.failed(&ejection) {
            let (upstream, peer) = (&self.settings.name, &chosen.address);
            self.tally.count(UpstreamEvent::Ejected);
            tracing::warn!(%upstream, %peer, "a peer fails, and gets no requests for a while");
        }
    }

    /// Returns its name and how it is doing.
    fn figures(&self) -> (&str, UpstreamFigures) {
        let backends = self.peers.backends();
        let mut figures = UpstreamFigures {
            requests: self.under_way.load(Ordering::Relaxed),
            ..UpstreamFigures::default()
        };
        for backend in backends.get_backend().iter() {
            if !backends.ready(backend) {
                figures.unhealthy += 1;
            } else if self.is_ejected(backend) {
                figures.ejected += 1;
            } else {
                figures.healthy += 1;
            }
        }
        (&self.settings.name, figures)
    }

    /// Returns how long a peer may be silent.
    pub(crate) fn read_timeout(&self) -> Duration {
        self.settings.read_timeout
    }

    /// Returns what it is called.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns how often a connection may be tried.
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

    async fn update(&self) -> pingora::Result<()> {
        match self {
            Self::InTurn(balancer) => balancer.update().await,
            Self::ByHash(balancer) => balancer.update().await,
        }
    }
}

/// Makes a balancer that knows its peers already.
fn balancer<S>(backends: Backends) -> io::Result<LoadBalancer<S>>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    use futures_util::FutureExt;
    let balancer = LoadBalancer::from_backends(backends);
    // The first time nothing is looked up, so there is nothing to wait for.
    match balancer.update().now_or_never() {
        Some(Ok(())) => Ok(balancer),
        _ => Err(io::Error::other("the peers are not known")),
    }
}

fn state_of(backend: &Backend) -> Option<&Arc<State>> {
    backend.ext.get::<Arc<State>>()
}

/// Compares how busy two peers are for their weights.
fn busier(one: &Backend, other: &Backend) -> Order {
    let busy = |backend: &Backend| state_of(backend).map_or(0, |state| state.under_way());
    (busy(one) * other.weight).cmp(&(busy(other) * one.weight))
}

/// Where a request goes next.
pub(crate) struct Next {
    pub(crate) peer: Box<HttpPeer>,
    pub(crate) chosen: Chosen,
}

/// The peer that a request is at, until this is dropped.
pub(crate) struct Chosen {
    address: SocketAddr,
    state: Arc<State>,
}

impl Chosen {
    fn new(backend: &Backend) -> Option<Self> {
        let state = Arc::clone(state_of(backend)?);
        state.enter();
        Some(Self {
            address: backend.addr.clone(),
            state,
        })
    }

    /// Returns where the peer is.
    pub(crate) fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// Notes that the peer answered, whatever it was.
    pub(crate) fn answered(&self) {
        self.state.answered();
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.state.leave();
    }
}

/// A request that counts until this is dropped.
pub(crate) struct UnderWay {
    upstream: Arc<Upstream>,
    address: Option<IpAddr>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.upstream.under_way.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else {
            return;
        };
        let mut of_addresses = self.upstream.of_addresses.lock();
        if let Some(count) = of_addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                of_addresses.remove(&address);
            }
        }
    }
}

/// All groups, in the order in which routes count them.
pub(crate) struct Upstreams(Box<[Arc<Upstream>]>);

impl Upstreams {
    /// Makes all groups.
    ///
    /// # Errors
    /// No root of the system can be read.
    pub(crate) fn new(settings: &[config::Upstream]) -> io::Result<Self> {
        let upstreams = settings.iter().map(|it| Upstream::new(it).map(Arc::new));
        Ok(Self(upstreams.collect::<Result<_, _>>()?))
    }

    /// Begins to ask the peers whether they answer, and to look up their names.
    pub(crate) fn watch(&self) {
        self.0.iter().for_each(Upstream::watch);
    }

    /// Returns the name of each, and how it is doing.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&str, UpstreamFigures)> {
        self.0.iter().map(|upstream| upstream.figures())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Upstream>> {
        self.0.get(index)
    }
}
