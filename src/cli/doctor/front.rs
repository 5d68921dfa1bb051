//! The front proxies that the command knows.

use clap::ValueEnum;

use super::site::Received;

/// The server that asks realmgate, or realmgate itself as the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Front {
    Nginx,
    Traefik,
    Caddy,
    Haproxy,
    Envoy,
    /// The transparent proxy
    Realmgate,
}

/// Guesses the front proxy by the headers of a response.
pub(super) fn front_of(good: &Received) -> Option<Front> {
    let of = |name| good.reply.header(name).unwrap_or_default().to_lowercase();
    let (server, via) = (of("server"), of("via"));
    if server.starts_with("nginx") {
        Some(Front::Nginx)
    } else if server.starts_with("caddy") || via.contains("caddy") {
        Some(Front::Caddy)
    } else if server.starts_with("envoy") {
        Some(Front::Envoy)
    } else if via.contains("realmgate")
        || good
            .reply
            .text
            .to_lowercase()
            .contains("via: 1.1 realmgate")
    {
        Some(Front::Realmgate)
    } else {
        None
    }
}
