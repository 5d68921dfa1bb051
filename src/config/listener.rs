//! Checks the listeners.

use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use ipnet::IpNet;
use toml::Spanned;

use super::names;
use super::path::{PATH, is_path};
use super::raw::{self, Raw};
use super::scalar::flag;
use super::source::{Checked, Source};
use super::tls::{Tls, Transport};
use crate::http::own_paths;

/// `[service]`: the listener of realmgate's own endpoints.
#[derive(Clone, Debug)]
pub struct Service {
    /// 127.0.0.1:8081 by default. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The networks whose peers may describe original requests; 127.0.0.1/32 and ::1/128 by
    /// default. Without host bits; not empty if there are routes, unless `no_front_proxy` is set.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which a front proxy names the client's address at `/forward-auth`; none by
    /// default.
    pub client_address_header: Option<HeaderName>,
    /// PROXY protocol and TLS.
    pub transport: Transport,
}

impl Service {
    /// Returns whether an address is that of a front proxy, which sends the requests of many
    /// clients.
    pub fn is_front_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|it| it.contains(&address))
    }
}

/// `[gateway]`: the listener of the transparent proxy.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// 127.0.0.1:8080 by default; `None` for `"off"`: then nothing is proxied. Port 0 lets the
    /// system choose. Differs from the service listener.
    pub listen: Option<SocketAddr>,
    /// Whether the listener also serves REST and forward-auth; false by default.
    pub serve_api: bool,
    /// The path at which the listener responds with the health of realmgate itself, to a request
    /// for any host; none by default. Not below a path of the API, and not `/`.
    pub health_path: Option<String>,
    /// PROXY protocol and TLS.
    pub transport: Transport,
}

/// The listeners that can be off, with their default ports.
const CAN_BE_OFF: [(&str, u16); 3] = [
    ("gateway.listen", 8080),
    ("metrics.listen", 8084),
    ("admin.listen", 8083),
];

/// Describes the valid values of a listener that can be off; `None` for other keys.
pub(super) fn listen_or_off(key: &str) -> Option<String> {
    let (_, port) = CAN_BE_OFF.iter().find(|(it, _)| *it == key)?;
    Some(format!(r#"{}, or "off""#, listen(*port)))
}

fn listen(port: u16) -> String {
    format!(r#"an IP address and a port such as "127.0.0.1:{port}""#)
}

/// Returns whether two listeners would bind the same port.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// The addresses of the listeners; `None` for a listener that is off.
pub(super) struct Listens {
    pub(super) service: Checked<SocketAddr>,
    pub(super) gateway: Checked<Option<SocketAddr>>,
    pub(super) grpc: Checked<Option<SocketAddr>>,
    pub(super) metrics: Checked<Option<SocketAddr>>,
    pub(super) admin: Checked<Option<SocketAddr>>,
}

impl Source<'_> {
    /// Checks the addresses of the listeners. No two may be the same.
    pub(super) fn listens(&self, raw: &Raw) -> Listens {
        let grpc = raw.grpc.0.listen.as_ref();
        let listens = Listens {
            service: self.listen("service.listen", raw.service.0.listen.as_ref(), 8081),
            gateway: self.listen_or_off("gateway.listen", raw.gateway.0.listen.as_ref()),
            grpc: grpc
                .map(|raw| self.listen("grpc.listen", Some(raw), 8082))
                .transpose(),
            metrics: self.listen_or_off("metrics.listen", raw.metrics.0.listen.as_ref()),
            admin: match &raw.admin.0.listen {
                Some(raw) => self.listen_or_off("admin.listen", Some(raw)),
                None => Ok(None),
            },
        };
        self.apart(raw, &listens);
        listens
    }

    pub(super) fn service(
        &self,
        raw: &raw::Service,
        listen: Checked<SocketAddr>,
        tls: Option<&Tls>,
    ) -> Checked<Service> {
        let trusted_proxies = match &raw.trusted_proxies {
            Some(networks) => self.networks("service.trusted_proxies", networks),
            None => Ok(vec![
                IpNet::from(IpAddr::from([127, 0, 0, 1])),
                IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
            ]),
        };
        let header = raw.client_address_header.as_ref();
        let header = header.map(|raw| self.address_header("service.client_address_header", raw));
        let transport = self.transport("service", &raw.transport(), tls);
        Ok(Service {
            listen: listen?,
            trusted_proxies: trusted_proxies?,
            client_address_header: header.transpose()?,
            transport: transport?,
        })
    }

    pub(super) fn gateway(
        &self,
        raw: &raw::Gateway,
        listen: Checked<Option<SocketAddr>>,
        tls: Option<&Tls>,
    ) -> Checked<Gateway> {
        let transport = self.transport("gateway", &raw.transport(), tls);
        let health_path = raw.health_path.as_ref();
        let health_path = health_path.map(|raw| self.health_path(raw)).transpose();
        Ok(Gateway {
            listen: listen?,
            serve_api: flag(raw.serve_api.as_ref()),
            health_path: health_path?,
            transport: transport?,
        })
    }

    fn health_path(&self, raw: &Spanned<String>) -> Checked<String> {
        let path = raw.get_ref();
        let is_own = own_paths::is_public_in_any_case(path.as_bytes());
        if is_path(path) && path != "/" && !is_own {
            return Ok(path.clone());
        }
        let expected = format!(
            "a path such as \"/healthz\" other than \"/\" and those of the REST API and forward-auth: {PATH}"
        );
        Err(self.reject("gateway.health_path", raw, expected))
    }

    /// Checks the address of a listener that can be off; `None` for `"off"`.
    fn listen_or_off(
        &self,
        key: &str,
        raw: Option<&Spanned<String>>,
    ) -> Checked<Option<SocketAddr>> {
        let port = CAN_BE_OFF.iter().find(|(it, _)| *it == key);
        let port = port.map_or(0, |(_, port)| *port);
        match raw {
            Some(raw) if raw.get_ref() == "off" => Ok(None),
            Some(raw) => raw.get_ref().parse().map(Some).map_err(|_| {
                let expected = listen_or_off(key).unwrap_or_else(|| listen(port));
                self.reject(key, raw, expected)
            }),
            None => self.listen(key, None, port).map(Some),
        }
    }

    fn listen(
        &self,
        key: &str,
        raw: Option<&Spanned<String>>,
        default_port: u16,
    ) -> Checked<SocketAddr> {
        let Some(raw) = raw else {
            return Ok(SocketAddr::from(([127, 0, 0, 1], default_port)));
        };
        raw.get_ref()
            .parse()
            .map_err(|_| self.reject(key, raw, listen(default_port)))
    }

    /// Rejects a listener with the address of another one.
    fn apart(&self, raw: &Raw, listens: &Listens) {
        let listeners = [
            (
                "service.listen",
                listens.service.ok(),
                &raw.service.0.listen,
            ),
            (
                "gateway.listen",
                listens.gateway.ok().flatten(),
                &raw.gateway.0.listen,
            ),
            (
                "grpc.listen",
                listens.grpc.ok().flatten(),
                &raw.grpc.0.listen,
            ),
            (
                "metrics.listen",
                listens.metrics.ok().flatten(),
                &raw.metrics.0.listen,
            ),
            (
                "admin.listen",
                listens.admin.ok().flatten(),
                &raw.admin.0.listen,
            ),
        ];
        for (at, (key, listen, set)) in listeners.iter().enumerate() {
            for (other_key, other, other_set) in listeners.iter().take(at) {
                if let (Some(listen), Some(other)) = (listen, other)
                    && is_same(*listen, *other)
                    && let Some(set) = set.as_ref().or(other_set.as_ref())
                {
                    let expected = format!("another address than {other_key} ({other})");
                    self.reject_as(key, format!("\"{listen}\""), set.span(), expected);
                }
            }
        }
    }

    /// Checks the name of a header that contains an address or a list of addresses.
    fn address_header(&self, key: &str, raw: &Spanned<String>) -> Checked<HeaderName> {
        let name = HeaderName::from_bytes(raw.get_ref().as_bytes()).ok();
        name.filter(names::may_hold_an_address).ok_or_else(|| {
            self.reject(
                key,
                raw,
                r#"a header that contains an address, such as "X-Forwarded-For""#,
            )
        })
    }
}
