//! Upstreams: where requests go, and how long each step of going there may take.

mod chosen;
mod discovery;
mod group;
mod health;
mod load;
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
use crate::net::tls_fault::{Seldom, fault_of};
use crate::telemetry::{UpstreamEvent, UpstreamFigures, UpstreamTally, metrics};
pub(crate) use chosen::{Chosen, Next};
use discovery::{Discovery, Known, Shared};
pub(crate) use group::Upstreams;
use load::Load;
pub(crate) use load::UnderWay;
pub(crate) use resolve::look_up;
pub(crate) use template::NO_ROOTS;
use template::Template;
pub(crate) use template::{SHORT_BODY, set_apart};
pub(crate) use upgrade::Gate;

/// How often a connection is tried at most.
pub(crate) const MOST_TRIES: usize = 10;

/// How many steps the search for a peer takes at most.
const MOST_STEPS: usize = 256;

/// One named group of peers that serve the same.
pub(crate) struct Upstream {
    peers: Peers,
    discovery: Arc<Discovery>,
    template: Template,
    /// What asks the peers whether they answer; none if all count as healthy.
    check: Option<health::Check>,
    /// Requests, also those from before a reload.
    load: Arc<Load>,
    /// Where the search for the least busy peer begins.
    turn: AtomicUsize,
    is_watched: AtomicBool,
    /// Lines about TLS.
    told: Seldom,
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
    /// Makes a group, or returns the one from before a reload if nothing has changed. Otherwise it takes
    /// over what is known of names and peers, and the count of requests.
    ///
    /// # Errors
    /// No root of the system can be read, or a path cannot be that of a socket.
    fn new(settings: &config::Upstream, before: Option<&Arc<Self>>) -> io::Result<Arc<Self>> {
        let template = Template::new(settings)?;
        // Equal settings print alike, and the template tells the roots of the system apart.
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
            told: Seldom::default(),
            tally: metrics().upstream(&settings.name),
            settings: settings.clone(),
        };
        upstream.peers.update();
        Ok(Arc::new(upstream))
    }

    /// Counts a request in, unless there are too many under way, in all or of its address; none for an
    /// address that may have any number.
    pub(crate) fn enter(
        &self,
        address: Option<IpAddr>,
        limits: &config::Limits,
    ) -> Result<UnderWay, Full> {
        let most = self.settings.requests;
        let share = limits.share_of_upstream(most);
        UnderWay::enter(&self.load, most, address.map(network), share)
    }

    /// Returns the peer that is next for a client, rather not `last`, which has just failed; none if
    /// none answers.
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

    fn choose(&self, client: Option<IpAddr>, accept: impl Fn(&Backend) -> bool) -> Option<Chosen> {
        let accept = |backend: &Backend| self.is_healthy(backend) && accept(backend);
        let backends = self.peers.backends();
        let all = backends.get_backend();
        if all.len() == 1 {
            // Nobody's turn, and nothing to look for.
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

    /// Notes that a request failed at a peer, not by what it answered.
    pub(crate) fn failed(&self, chosen: &Chosen) {
        let ejection = &self.settings.ejection;
        // Where no other peer is left, this one gets the requests all the same.
        if chosen.known.state.failed(ejection) && self.has_another(chosen) {
            chosen.known.state.eject(ejection);
            self.tally.count(UpstreamEvent::Ejected);
            let (upstream, peer) = (&self.settings.name, chosen.address());
            tracing::warn!(%upstream, %peer, "a peer failed and gets no requests for a while");
        }
    }

    /// Notes that a connection to a peer was not made. Why TLS failed is logged now and then; returns
    /// whether it was TLS.
    pub(crate) fn failed_to_connect(&self, chosen: &Chosen, error: &Error) -> bool {
        self.failed(chosen);
        self.tally.count(UpstreamEvent::ConnectFailed);
        let Some((fault, cause)) = fault_of(error) else {
            return false;
        };
        self.tally.count_tls(fault);
        if let Some(withheld) = self.told.may_tell(fault) {
            let (upstream, peer, reason) = (&self.settings.name, chosen.address(), fault.as_str());
            tracing::warn!(%upstream, %peer, reason, cause, withheld, "TLS handshake with a peer failed");
        }
        true
    }

    /// Says whether there is another peer that may get requests.
    fn has_another(&self, chosen: &Chosen) -> bool {
        let backends = self.peers.backends().get_backend();
        backends.iter().any(|backend| {
            &backend.addr != chosen.address()
                && self.is_healthy(backend)
                && !self.is_ejected(backend)
        })
    }

    /// Returns its name and how it is doing.
    fn figures(&self) -> (&str, UpstreamFigures) {
        let backends = self.peers.backends();
        let mut figures = UpstreamFigures {
            requests: self.load.requests(),
            unknown: self.discovery.names().filter(|it| it.is_unknown()).count(),
            ..UpstreamFigures::default()
        };
        let backends = backends.get_backend();
        for backend in backends.iter().filter(|it| !is_standby(it)) {
            if !self.is_healthy(backend) {
                figures.unhealthy += 1;
            } else if self.is_ejected(backend) {
                figures.ejected += 1;
            } else {
                figures.healthy += 1;
            }
        }
        (&self.settings.name, figures)
    }

    /// Returns what to call a peer where the client has named no host: as its certificate does, else as it is
    /// configured.
    pub(crate) fn host(&self, chosen: &Chosen) -> HeaderValue {
        let server_name = self.settings.tls.as_ref().map(|tls| &*tls.server_name);
        let name = match chosen.address() {
            SocketAddr::Inet(_) => server_name.or(Some(&*chosen.known.label)),
            SocketAddr::Unix(_) => server_name,
        };
        name.and_then(|name| HeaderValue::from_str(name).ok())
            .unwrap_or(HeaderValue::from_static("localhost"))
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

    /// Takes what is found by now.
    fn update(&self) {
        // One at a time: what was found first must not replace what was found last.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock();
        // Neither waits for anything, and neither fails.
        let _ = match self {
            Self::InTurn(balancer) => balancer.update().now_or_never(),
            Self::ByHash(balancer) => balancer.update().now_or_never(),
        };
    }
}

fn is_standby(backend: &Backend) -> bool {
    Known::of(backend).is_some_and(|known| known.is_standby(&backend.addr))
}

/// Compares how busy two peers are for their weights.
fn busier(one: &Backend, other: &Backend) -> Order {
    let busy = |backend: &Backend| Known::of(backend).map_or(0, |known| known.state.under_way());
    (busy(one) * other.weight).cmp(&(busy(other) * one.weight))
}
