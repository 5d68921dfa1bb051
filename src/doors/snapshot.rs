//! What a reload replaces: as a whole, or not at all.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;
use ipnet::IpNet;

use crate::config::{self, Config};
use crate::net::accept::Wire;
use crate::net::descriptors;
use crate::routing::route::RouteTable;
use crate::upstream::Upstreams;

/// The rules in force.
pub(crate) struct Rules {
    pub(crate) routes: RouteTable,
    pub(crate) upstreams: Upstreams,
    pub(crate) trusted_proxies: Box<[IpNet]>,
    pub(crate) client_address_header: Option<HeaderName>,
    pub(crate) limits: config::Limits,
    pub(crate) timeouts: config::Timeouts,
    service: Wire,
    gateway: Wire,
    metrics: Wire,
}

/// The listeners that speak HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    /// REST, forward-auth and health.
    Service,
    /// The proxy.
    Gateway,
    /// Metrics and health.
    Metrics,
}

/// The rules, wherever they are looked up. A request keeps those that it began with.
pub(crate) type Live = Arc<ArcSwap<Rules>>;

impl Rules {
    /// Makes the rules of a configuration, with the upstreams that have not changed since `before`.
    ///
    /// # Errors
    /// A peer's address cannot be used, or nobody vouches for certificates of clients.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> std::io::Result<Self> {
        let files = descriptors::limit();
        let limits = config.limits.fitted(files, &config.server);
        let needed = config.limits.files(&config.server);
        if needed > files {
            let config::Limits {
                connections,
                requests,
                connections_per_address,
                ..
            } = limits;
            let requests_per_address = limits.requests_of_address();
            tracing::warn!(
                files,
                needed,
                connections,
                connections_per_address,
                requests,
                requests_per_address,
                "the limits do not fit the number of open files; these hold instead"
            );
        }
        // Without a proxy nobody asks an upstream: no name is looked up, no health is checked.
        let asked = match config.gateway.listen {
            Some(_) => config.upstreams.as_slice(),
            None => &[],
        };
        Ok(Self {
            routes: RouteTable::new(&config.routes),
            upstreams: Upstreams::new(asked, before.map(|it| &it.upstreams))?,
            trusted_proxies: config.service.trusted_proxies.as_slice().into(),
            client_address_header: config.service.client_address_header.clone(),
            limits,
            timeouts: config.timeouts,
            service: Wire::new(&config.service.wire, &config.tls)?,
            gateway: Wire::new(&config.gateway.wire, &config.tls)?,
            metrics: Wire::new(&config::Wire::default(), &config.tls)?,
        })
    }

    /// Says whether an address is a front proxy's, whose clients all come from there.
    pub(crate) fn is_front_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|it| it.contains(&address))
    }

    /// Returns how connections of a listener begin.
    pub(crate) fn wire(&self, listening: Listening) -> &Wire {
        match listening {
            Listening::Service => &self.service,
            Listening::Gateway => &self.gateway,
            Listening::Metrics => &self.metrics,
        }
    }
}
