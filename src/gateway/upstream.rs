//! Upstreams: where requests go, and how long each step of going there may take.

use pingora::lb::LoadBalancer;
use pingora::lb::selection::RoundRobin;
use pingora::upstreams::peer::HttpPeer;

use crate::config;

/// How often a connection is tried at most.
pub(crate) const MOST_TRIES: usize = 4;

/// One named group of peers that serve the same.
pub(crate) struct Upstream {
    balancer: LoadBalancer<RoundRobin>,
    settings: config::Upstream,
}

impl Upstream {
    /// Makes a group.
    ///
    /// # Errors
    /// A peer's address cannot be used.
    pub(crate) fn new(settings: &config::Upstream) -> std::io::Result<Self> {
        Ok(Self {
            balancer: LoadBalancer::try_from_iter(&settings.peers)?,
            settings: settings.clone(),
        })
    }

    /// Returns the peer whose turn it is.
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

/// All groups, in the order in which routes count them.
pub(crate) struct Upstreams(Box<[Upstream]>);

impl Upstreams {
    /// Makes all groups.
    ///
    /// # Errors
    /// A peer's address cannot be used.
    pub(crate) fn new(settings: &[config::Upstream]) -> std::io::Result<Self> {
        let upstreams: Result<_, _> = settings.iter().map(Upstream::new).collect();
        Ok(Self(upstreams?))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Upstream> {
        self.0.get(index)
    }
}
