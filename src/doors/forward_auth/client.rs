//! The client address that a front proxy names. Failures are also counted for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName};

use super::front_proxy::FrontProxy;
use crate::http::X_FORWARDED_FOR;

/// The header in which nginx names the client.
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Returns the client address that the front proxy names: the last address in its header, which is
/// the one that it appended itself. `any` is the header that is read at `/forward-auth`.
pub(super) fn client(
    headers: &HeaderMap,
    proxy: FrontProxy,
    any: Option<&HeaderName>,
) -> Option<IpAddr> {
    let name = match proxy {
        FrontProxy::Any => any?,
        FrontProxy::Nginx => &X_REAL_IP,
        FrontProxy::Traefik | FrontProxy::Caddy | FrontProxy::Haproxy | FrontProxy::Envoy => {
            &X_FORWARDED_FOR
        }
    };
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    address(value.to_str().ok()?.rsplit(',').next()?.trim())
}

/// Parses an address with or without a port.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The front proxies that have been warned about, because they name no client.
#[derive(Debug, Default)]
pub(super) struct Warned([AtomicBool; 7]);

impl Warned {
    /// Warns once per process about a front proxy that names no client. Without an address, a
    /// service behind it cannot be distinguished from a stranger who fails as that service.
    pub(super) fn warn(&self, front_proxy: &'static str, peer: Option<IpAddr>) {
        let at = NAMES.iter().position(|name| *name == front_proxy);
        let Some(warned) = at.and_then(|at| self.0.get(at)) else {
            return;
        };
        if !warned.swap(true, Ordering::Relaxed) {
            let peer = peer.map(tracing::field::display);
            if front_proxy == FrontProxy::Any.name() {
                tracing::warn!(front_proxy, peer, "{UNNAMED}; {SET_KEY}");
            } else {
                tracing::warn!(front_proxy, peer, "{UNNAMED}; {SET_HEADER}");
            }
        }
    }
}

const UNNAMED: &str = "this front proxy names no address of its clients, so strangers can throttle the \
                       services behind it";
const SET_HEADER: &str = "docs/forward-auth.md says which header it should set";
const SET_KEY: &str =
    "set service.client_address_header to the header in which it names the client";

/// The name in logs of a front proxy that uses gRPC.
pub(crate) const GRPC: &str = "envoy (gRPC)";
const NAMES: [&str; 7] = [
    FrontProxy::Any.name(),
    FrontProxy::Nginx.name(),
    FrontProxy::Traefik.name(),
    FrontProxy::Caddy.name(),
    FrontProxy::Haproxy.name(),
    FrontProxy::Envoy.name(),
    GRPC,
];

impl FrontProxy {
    /// Returns the name for logs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn address_is_the_last_one_of_the_header_of_the_front_proxy() {
        let expected = Some(IpAddr::from([192, 0, 2, 7]));
        let forwarded = headers("x-forwarded-for", &["203.0.113.9, 192.0.2.7"]);
        for proxy in [
            FrontProxy::Traefik,
            FrontProxy::Caddy,
            FrontProxy::Haproxy,
            FrontProxy::Envoy,
        ] {
            assert_eq!(client(&forwarded, proxy, None), expected, "{proxy:?}");
        }
        assert_eq!(client(&forwarded, FrontProxy::Nginx, None), None);
        let real = headers("x-real-ip", &["192.0.2.7"]);
        assert_eq!(client(&real, FrontProxy::Nginx, None), expected);
        assert_eq!(client(&real, FrontProxy::Envoy, None), None);
    }

    #[test]
    fn endpoint_for_any_front_proxy_reads_the_configured_header_alone() {
        let name = HeaderName::from_static("x-client");
        let reported = headers("x-client", &["[2001:db8::1]:80"]);
        let expected = Some("2001:db8::1".parse().unwrap());
        assert_eq!(client(&reported, FrontProxy::Any, Some(&name)), expected);
        assert_eq!(client(&reported, FrontProxy::Any, None), None);
        let other = headers("x-forwarded-for", &["192.0.2.7"]);
        assert_eq!(client(&other, FrontProxy::Any, Some(&name)), None);
    }

    #[test]
    fn address_that_has_two_readings_is_none() {
        for values in [
            &["192.0.2.7", "192.0.2.8"][..],
            &["192.0.2.7,"],
            &["192.0.2.7 192.0.2.8"],
            &["unknown"],
            &[""],
            &[],
        ] {
            let headers = headers("x-forwarded-for", values);
            assert_eq!(
                client(&headers, FrontProxy::Haproxy, None),
                None,
                "{values:?}"
            );
        }
    }
}
