//! The plain sections.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use toml::Spanned;

use super::error::ConfigError;
use super::raw::{self, List, Opt, Raw};
use super::scalar::{flag, part};
use super::source::Source;
use super::{
    Compat, Config, Gateway, Server, Service, Shutdown, Timeouts, Tls, Totp, names, route, upstream,
};
use crate::auth::{Algorithm, NAME_CHARS, Parameters, PrincipalRef, Realms};
use crate::http::CredentialHeaders;
use crate::http::reserved::folded;

/// Checks everything, in the order of the reference file.
pub(super) fn check(source: &Source<'_>, raw: &Raw) -> Result<Config, ConfigError> {
    let store = source.store(&raw.store.0, &raw.cache.0)?;
    let tls = source.tls(raw)?;
    let service = source.service(&raw.service.0, &tls)?;
    let gateway = source.gateway(&raw.gateway.0, &tls)?;
    let grpc = match &raw.grpc.0.listen {
        Some(listen) => Some(source.listen("grpc.listen", Some(listen), 8082)?),
        None => None,
    };
    let metrics = source.listen_or_off("metrics.listen", raw.metrics.0.listen.as_ref(), 8084)?;
    source.apart(raw, (&service, &gateway), grpc, metrics)?;
    let credential_headers = source.credentials(&raw.credentials.0)?;
    let realms = source.realms(&raw.realms.0, &raw.credentials.0, &credential_headers)?;
    let totp = source.totp(&raw.totp.0)?;
    let throttle = source.throttle(&raw.throttle.0)?;
    let once = source.once(&raw.realm, credential_headers.name_chars)?;
    let limits = source.limits(&raw.limits.0)?;
    let timeouts = source.timeouts(&raw.timeouts.0)?;
    let server = source.server(&raw.server.0)?;
    let shutdown = Shutdown {
        grace: source.duration("shutdown.grace", raw.shutdown.0.grace.as_ref(), 30_000)?,
    };
    let log = source.log(&raw.log.0)?;
    let audit = source.audit(&raw.audit.0, &store)?;
    let otlp = source.otlp(&raw.otlp.0)?;
    let compat = Compat {
        reveal_seeds: flag(raw.compat.0.reveal_seeds.as_ref()),
    };
    let mut upstreams = upstream::upstreams(source, &raw.upstream)?;
    let targets = route::Targets {
        upstreams: &upstreams,
        is_needed: gateway.listen.is_some(),
    };
    let routes = route::routes(source, &raw.route, targets, &credential_headers)?;
    upstream::ask_by_host(&mut upstreams, &routes);
    if gateway.serve_api && gateway.listen.is_some() {
        route::refuse_shadowed(source, &raw.route, &routes)?;
    }
    if let Some(proxies) = &raw.service.0.trusted_proxies
        && proxies.get_ref().is_empty()
        && !routes.is_empty()
        && !flag(raw.service.0.no_front_proxy.as_ref())
    {
        return Err(source.refuse(
            "service.trusted_proxies",
            proxies,
            "at least one network while there are routes, since forward-auth would believe nobody \
             (or say service.no_front_proxy = true)",
        ));
    }
    Ok(Config {
        store,
        service,
        gateway,
        grpc,
        metrics,
        realms,
        totp,
        throttle,
        once,
        credential_headers,
        tls,
        limits,
        timeouts,
        server,
        shutdown,
        log,
        audit,
        otlp,
        compat,
        routes,
        upstreams,
    })
}

/// The listeners that can be switched off, with their default ports.
const CAN_BE_OFF: [(&str, u16); 2] = [("gateway.listen", 8080), ("metrics.listen", 8084)];

/// Says what the address of a listener that can be switched off may be; none for another key.
pub(super) fn listen_or_off(key: &str) -> Option<String> {
    let (_, port) = CAN_BE_OFF.iter().find(|(it, _)| *it == key)?;
    Some(format!(r#"{}, or "off""#, listen(*port)))
}

fn listen(port: u16) -> String {
    format!(r#"an IP address and a port such as "127.0.0.1:{port}""#)
}

/// Says whether two listeners would want the same port.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

impl Source<'_> {
    fn service(&self, raw: &raw::Service, tls: &Tls) -> Result<Service, ConfigError> {
        Ok(Service {
            listen: self.listen("service.listen", raw.listen.as_ref(), 8081)?,
            trusted_proxies: match &raw.trusted_proxies {
                Some(networks) => self.networks("service.trusted_proxies", networks)?,
                None => vec![
                    IpNet::from(IpAddr::from([127, 0, 0, 1])),
                    IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
                ],
            },
            client_address_header: match &raw.client_address_header {
                Some(raw) => Some(self.address_header("service.client_address_header", raw)?),
                None => None,
            },
            wire: self.wire("service", &raw.wire(), tls)?,
        })
    }

    pub(super) fn networks(
        &self,
        key: &str,
        raw: &Spanned<List>,
    ) -> Result<Vec<IpNet>, ConfigError> {
        let network = |(at, raw): (usize, &Spanned<String>)| {
            let refuse = |expected: String| self.refuse(&format!("{key}[{at}]"), raw, expected);
            let text = raw.get_ref();
            let network: IpNet = text
                .parse()
                .or_else(|_| text.parse().map(|address: IpAddr| address.into()))
                .map_err(|_| refuse(r#"an address or a network such as "10.0.0.0/8""#.into()))?;
            if network != network.trunc() {
                let meant = network.trunc();
                return Err(refuse(format!("a network without host bits, \"{meant}\"")));
            }
            Ok(network)
        };
        raw.get_ref().iter().enumerate().map(network).collect()
    }

    /// Reads the address of a listener that can be switched off; none for `"off"`.
    fn listen_or_off(
        &self,
        key: &str,
        raw: Option<&Spanned<String>>,
        default_port: u16,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        match raw {
            Some(raw) if raw.get_ref() == "off" => Ok(None),
            Some(raw) => raw.get_ref().parse().map(Some).map_err(|_| {
                let expected = listen_or_off(key).unwrap_or_else(|| listen(default_port));
                self.refuse(key, raw, expected)
            }),
            None => self.listen(key, None, default_port).map(Some),
        }
    }

    /// Refuses a listener at the address of another one.
    fn apart(
        &self,
        raw: &Raw,
        (service, gateway): (&Service, &Gateway),
        grpc: Option<SocketAddr>,
        metrics: Option<SocketAddr>,
    ) -> Result<(), ConfigError> {
        let listeners = [
            (
                "service.listen",
                Some(service.listen),
                &raw.service.0.listen,
            ),
            ("gateway.listen", gateway.listen, &raw.gateway.0.listen),
            ("grpc.listen", grpc, &raw.grpc.0.listen),
            ("metrics.listen", metrics, &raw.metrics.0.listen),
        ];
        for (at, (key, listen, set)) in listeners.iter().enumerate() {
            for (other_key, other, other_set) in listeners.iter().take(at) {
                if let (Some(listen), Some(other)) = (listen, other)
                    && is_same(*listen, *other)
                    && let Some(set) = set.as_ref().or(other_set.as_ref())
                {
                    let expected = format!("another address than {other_key} ({other})");
                    return Err(self.refuse_as(key, format!("\"{listen}\""), set.span(), expected));
                }
            }
        }
        Ok(())
    }

    fn gateway(&self, raw: &raw::Gateway, tls: &Tls) -> Result<Gateway, ConfigError> {
        Ok(Gateway {
            listen: self.listen_or_off("gateway.listen", raw.listen.as_ref(), 8080)?,
            serve_api: flag(raw.serve_api.as_ref()),
            wire: self.wire("gateway", &raw.wire(), tls)?,
        })
    }

    fn listen(
        &self,
        key: &str,
        raw: Option<&Spanned<String>>,
        default_port: u16,
    ) -> Result<SocketAddr, ConfigError> {
        let Some(raw) = raw else {
            return Ok(SocketAddr::from(([127, 0, 0, 1], default_port)));
        };
        raw.get_ref()
            .parse()
            .map_err(|_| self.refuse(key, raw, listen(default_port)))
    }

    fn credentials(&self, raw: &raw::Credentials) -> Result<CredentialHeaders, ConfigError> {
        let fields = [
            ("credentials.name_header", &raw.name_header, "x-auth-name"),
            (
                "credentials.realm_header",
                &raw.realm_header,
                "x-auth-realm",
            ),
            (
                "credentials.token_header",
                &raw.token_header,
                "x-auth-token",
            ),
        ];
        let field = |(key, raw, default): (_, &Opt<String>, _)| match raw {
            Some(raw) => self.field(key, raw),
            None => Ok(HeaderName::from_static(default)),
        };
        let [name, realm, token] = fields.map(field);
        let headers = CredentialHeaders {
            name: name?,
            realm: realm?,
            token: token?,
            name_chars: self.number(
                "credentials.name_chars",
                raw.name_chars.as_ref(),
                NAME_CHARS,
                1..=128,
            )?,
        };
        let names = [&headers.name, &headers.realm, &headers.token];
        let [name, realm, token] = names.map(|name| folded(name.as_str()));
        for ((key, raw, _), is_again) in fields.iter().zip([
            name == realm || name == token,
            realm == name || realm == token,
            token == name || token == realm,
        ]) {
            if let Some(raw) = raw
                && is_again
            {
                let expected = "a header of its own, every mark counting as \"-\"";
                return Err(self.refuse(key, raw, expected));
            }
        }
        Ok(headers)
    }

    fn field(&self, key: &str, raw: &Spanned<String>) -> Result<HeaderName, ConfigError> {
        let Ok(field) = HeaderName::from_bytes(raw.get_ref().as_bytes()) else {
            return Err(self.refuse(key, raw, "the name of a header field"));
        };
        if names::is_taken(&field) {
            return Err(self.refuse(key, raw, "a header field that means nothing else"));
        }
        Ok(field)
    }

    /// Reads the name of a header that holds an address, or a list of addresses.
    fn address_header(&self, key: &str, raw: &Spanned<String>) -> Result<HeaderName, ConfigError> {
        let name = HeaderName::from_bytes(raw.get_ref().as_bytes()).ok();
        name.filter(names::may_hold_an_address).ok_or_else(|| {
            self.refuse(
                key,
                raw,
                r#"a header with an address in it, such as "X-Forwarded-For""#,
            )
        })
    }

    fn realms(
        &self,
        raw: &raw::Realms,
        credentials: &raw::Credentials,
        headers: &CredentialHeaders,
    ) -> Result<Realms, ConfigError> {
        let limit = headers.name_chars;
        let name = |key, raw: &Opt<String>, default: &str| {
            let name = raw.as_ref().map_or(default, |raw| raw.get_ref());
            // A default is too long only where the limit was set.
            let set = match (raw, &credentials.name_chars) {
                (Some(raw), _) => Some(raw.span()),
                (None, limit) => limit.as_ref().map(Spanned::span),
            };
            match set {
                Some(span) if PrincipalRef::new("-", name, limit).is_err() => {
                    let expected = part(limit);
                    Err(self.refuse_as(key, format!("{name:?}"), span, expected))
                }
                _ => Ok(name.to_owned()),
            }
        };
        let defaults = Realms::default();
        let admin = name("realms.admin", &raw.admin, defaults.admin())?;
        let auth = name("realms.auth", &raw.auth, defaults.auth())?;
        if admin == auth
            && let Some(set) = raw.auth.as_ref().or(raw.admin.as_ref())
        {
            let expected = "another realm than realms.admin";
            return Err(self.refuse_as("realms.auth", format!("{auth:?}"), set.span(), expected));
        }
        Ok(Realms::new(&admin, &auth))
    }

    fn totp(&self, raw: &raw::Totp) -> Result<Totp, ConfigError> {
        let default = Parameters::default();
        let algorithm = match &raw.algorithm {
            None => default.algorithm(),
            Some(raw) => raw.get_ref().parse().map_err(|_| {
                let expected = format!(
                    "one of {}",
                    Algorithm::ALL.map(Algorithm::as_str).join(", ")
                );
                self.refuse("totp.algorithm", raw, expected)
            })?,
        };
        let digits = self.number("totp.digits", raw.digits.as_ref(), default.digits(), 6..=8)?;
        let period = self.number(
            "totp.period",
            raw.period.as_ref(),
            default.period(),
            1..=3600,
        )?;
        Ok(Totp {
            window: self.number("totp.window", raw.window.as_ref(), 1, 0..=10)?,
            // Both numbers are within the bounds that it asks for.
            parameters: Parameters::new(algorithm, digits, period).unwrap_or(default),
            issuer: match &raw.issuer {
                None => "realmgate".into(),
                Some(issuer) if is_issuer(issuer.get_ref()) => issuer.get_ref().as_str().into(),
                Some(issuer) => {
                    let expected = "1 to 64 characters, no colon, no control character";
                    return Err(self.refuse("totp.issuer", issuer, expected));
                }
            },
        })
    }

    fn timeouts(&self, raw: &raw::Timeouts) -> Result<Timeouts, ConfigError> {
        let default = Duration::from_secs(100);
        Ok(Timeouts {
            keep_alive: self.seconds("timeouts.keep_alive", raw.keep_alive.as_ref(), default)?,
            header: self.duration("timeouts.header", raw.header.as_ref(), 10_000)?,
            read: self.duration("timeouts.read", raw.read.as_ref(), 60_000)?,
            write: self.duration("timeouts.write", raw.write.as_ref(), 60_000)?,
            body: self.duration("timeouts.body", raw.body.as_ref(), 30_000)?,
            drain: self.duration("timeouts.drain", raw.drain.as_ref(), 5_000)?,
        })
    }

    fn server(&self, raw: &raw::Server) -> Result<Server, ConfigError> {
        let threads = match self.number("server.threads", raw.threads.as_ref(), 0, 0..=1024)? {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        Ok(Server {
            threads,
            upstream_idle_connections: self.number(
                "server.upstream_idle_connections",
                raw.upstream_idle_connections.as_ref(),
                1024,
                1..=1_000_000,
            )?,
        })
    }
}

/// Says whether apps can show a text as the issuer of a seed: a colon ends it.
fn is_issuer(text: &str) -> bool {
    let is_shown = |c: char| c != ':' && !c.is_control();
    (1..=64).contains(&text.chars().count()) && text.chars().all(is_shown)
}
