//! What a reload replaces: as a whole, or not at all.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;
use ipnet::IpNet;

use super::route::RouteTable;
use super::upstream::Upstreams;
use super::wire::Wire;
use crate::config::{self, Config};

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
#[derive(Clone, Copy, Debug)]
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
    /// Makes the rules of a configuration.
    ///
    /// # Errors
    /// A peer's address cannot be used, or nobody vouches for certificates of clients.
    pub(crate) fn new(config: &Config) -> std::io::Result<Self> {
        Ok(Self {
            routes: RouteTable::new(&config.routes),
            upstreams: Upstreams::new(&config.upstreams)?,
            trusted_proxies: config.service.trusted_proxies.as_slice().into(),
            client_address_header: config.service.client_address_header.clone(),
            limits: config.limits,
            timeouts: config.timeouts,
            service: Wire::new(&config.service.wire, &config.tls)?,
            gateway: Wire::new(&config.gateway.wire, &config.tls)?,
            metrics: Wire::new(&config::Wire::default(), &config.tls)?,
        })
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
