//! Asking a peer whether it answers: for a connection, or for a path.

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::lb::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use pingora::protocols::l4::socket::SocketAddr;

use super::NO_ROOTS;
use super::template::Template;
use crate::config;

/// Makes what asks.
pub(super) fn check(
    upstream: &config::Upstream,
    health: &config::Health,
    template: &Template,
) -> Box<dyn HealthCheck + Send + Sync> {
    let Some(path) = &health.path else {
        let mut check = TcpHealthCheck::new();
        check.peer_template.options.connection_timeout = Some(health.timeout);
        return check;
    };
    let mut options = ConnectorOptions::new(0);
    options.ca_file = Some(NO_ROOTS.to_owned());
    let connector: Connector = Connector::new(Some(options));
    // The name stands for its host, which has many addresses.
    let host = upstream.tls.as_ref().map(|tls| &tls.server_name);
    let host = host.unwrap_or(&upstream.name);
    let mut check = HttpHealthCheck::new_custom(host, upstream.tls.is_some(), connector);
    if let Ok(uri) = path.parse() {
        check.req.set_uri(uri);
    }
    let nowhere = SocketAddr::Inet(std::net::SocketAddr::from(([0, 0, 0, 0], 0)));
    check.peer_template = template.peer(&nowhere);
    check.peer_template.options = template.options().clone();
    check.peer_template.options.connection_timeout = Some(health.timeout);
    check.peer_template.options.total_connection_timeout = Some(health.timeout);
    check.peer_template.options.read_timeout = Some(health.timeout);
    Box::new(check)
}
