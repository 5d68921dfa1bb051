//! The settings that all connections share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;

use super::accept::Acceptor;
use super::descriptors;
use super::metrics::NetMetrics;
use crate::config::{self, Config, NetworkSet};

/// The seconds by which the announced idle timeout of HTTP/1.1 is less than `timeouts.keep_alive`.
const MARGIN: u64 = 1;

/// The settings of connections. A reload replaces them.
pub(crate) struct Settings {
    pub(crate) trusted_proxies: NetworkSet,
    pub(crate) limits: config::Limits,
    pub(crate) timeouts: config::Timeouts,
    pub(super) keep_alive: KeepAlive,
    service: Acceptor,
    gateway: Acceptor,
    metrics: Acceptor,
    admin: Acceptor,
}

/// The idle timeout as it is announced to HTTP/1 clients (RFC 9112 §9.3). The connections share its text.
#[derive(Clone)]
pub(super) struct KeepAlive {
    /// The value of the header.
    pub(super) header: HeaderValue,
    /// The header lines that keep a connection.
    pub(super) lines: Bytes,
}

impl KeepAlive {
    fn new(timeouts: &config::Timeouts) -> Self {
        // Clients such as Node's use a connection until the last moment that is announced. Their
        // request would be lost if the connection closed in the same moment.
        let announced = timeouts.keep_alive.as_secs().saturating_sub(MARGIN).max(1);
        let value = format!("timeout={announced}");
        let lines = format!("connection: keep-alive\r\nkeep-alive: {value}\r\n");
        let header = HeaderValue::try_from(value);
        Self {
            header: header.unwrap_or(HeaderValue::from_static("timeout=60")),
            lines: lines.into(),
        }
    }
}

/// The HTTP listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    /// REST, forward-auth and health.
    Service,
    /// The proxy.
    Gateway,
    /// Metrics and health.
    Metrics,
    /// The admin page.
    Admin,
}

/// The settings in force. A connection reads them again for each request.
pub(crate) type Live = Arc<ArcSwap<Settings>>;

impl Settings {
    /// Makes the settings of a configuration, with limits that fit the number of open files.
    ///
    /// # Errors
    /// A certificate is invalid, or the CA of client certificates is missing.
    pub(crate) fn new(config: &Config, metrics: &NetMetrics) -> std::io::Result<Self> {
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
                "the limits do not fit the number of open files and are lowered"
            );
        }
        Ok(Self {
            trusted_proxies: config.service.trusted_proxies[..].into(),
            limits,
            timeouts: config.timeouts,
            keep_alive: KeepAlive::new(&config.timeouts),
            service: Acceptor::new(&config.service.transport, &config.tls, metrics)?,
            gateway: Acceptor::new(&config.gateway.transport, &config.tls, metrics)?,
            metrics: Acceptor::new(&config::Transport::default(), &config.tls, metrics)?,
            admin: Acceptor::new(&config.admin.transport, &config.tls, metrics)?,
        })
    }

    /// Returns whether an address is that of a front proxy, which sends the requests of many
    /// clients.
    pub(crate) fn is_front_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.contains(address)
    }

    /// Returns whether an address is that of a load balancer, which names its clients with the PROXY
    /// protocol.
    pub(crate) fn is_load_balancer(&self, address: IpAddr) -> bool {
        let peer = SocketAddr::new(address, 0);
        self.gateway.is_load_balancer(peer) || self.service.is_load_balancer(peer)
    }

    /// Returns how the connections of a listener begin.
    pub(crate) fn acceptor(&self, listening: Listening) -> &Acceptor {
        match listening {
            Listening::Service => &self.service,
            Listening::Gateway => &self.gateway,
            Listening::Metrics => &self.metrics,
            Listening::Admin => &self.admin,
        }
    }
}
