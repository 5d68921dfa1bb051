//! Checks the plain sections.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use http::HeaderName;
use toml::Spanned;

use super::raw::{self, Opt, Raw};
use super::route::Targets;
use super::scalar::{flag, part};
use super::source::{Checked, Source};
use super::{Compat, Config, Server, Shutdown, Timeouts, Totp, names, route, upstream};
use crate::auth::{Algorithm, NAME_CHARS, Parameters, PrincipalRef, Realms};
use crate::http::CredentialHeaders;
use crate::http::reserved::folded;

/// Checks all sections, and records every mistake.
pub(super) fn check(source: &Source<'_>, raw: &Raw) -> Checked<Config> {
    let node = source.node(&raw.server.0);
    let known_node = node.clone().unwrap_or_default();
    let store = source.store(&raw.store.0, &raw.cache.0, known_node);
    let tls = source.tls(raw);
    let known_tls = tls.as_ref().ok();
    let listens = source.listens(raw);
    let service = source.service(&raw.service.0, listens.service, known_tls);
    let gateway = source.gateway(&raw.gateway.0, listens.gateway, known_tls);
    let credential_headers = source.credentials(&raw.credentials.0);
    // If these are invalid, check what depends on them with the defaults.
    let headers = credential_headers.as_ref().cloned();
    let headers = headers.unwrap_or_else(|_| default_headers());
    let realms = source.realms(&raw.realms.0, &raw.credentials.0, &headers);
    let totp = source.totp(&raw.totp.0);
    let throttle = source.throttle(&raw.throttle.0);
    let one_time_realms = source.one_time_realms(&raw.realm, headers.name_chars);
    let limits = source.limits(&raw.limits.0);
    let timeouts = source.timeouts(&raw.timeouts.0);
    let server = node.map(|node| source.server(&raw.server.0, node));
    let shutdown = Shutdown {
        grace: source.duration("shutdown.grace", raw.shutdown.0.grace.as_ref(), 30_000),
    };
    let log = source.log(&raw.log.0);
    let audit = source.audit(&raw.audit.0, store.as_ref().ok());
    let otlp = source.otlp(&raw.otlp.0);
    let compat = Compat {
        reveal_seeds: flag(raw.compat.0.reveal_seeds.as_ref()),
    };
    let upstreams = upstream::upstreams(source, &raw.upstream);
    let has_proxy = listens.gateway.ok().is_none_or(|it| it.is_some());
    let targets = Targets::new(&raw.upstream, has_proxy);
    let routes = route::routes(source, &raw.route, &targets, &headers);
    if flag(raw.gateway.0.serve_api.as_ref()) && has_proxy {
        route::refuse_shadowed(source, &raw.route);
    }
    if let Some(proxies) = &raw.service.0.trusted_proxies
        && proxies.get_ref().is_empty()
        && !raw.route.is_empty()
        && !flag(raw.service.0.no_front_proxy.as_ref())
    {
        source.refuse(
            "service.trusted_proxies",
            proxies,
            "at least one network while there are routes, since forward-auth would believe nobody \
             (or say service.no_front_proxy = true)",
        );
    }
    let (mut upstreams, routes) = (upstreams?, routes?);
    upstream::ask_by_host(&mut upstreams, &routes);
    Ok(Config {
        store: store?,
        service: service?,
        gateway: gateway?,
        grpc: listens.grpc?,
        metrics: listens.metrics?,
        realms: realms?,
        totp: totp?,
        throttle,
        one_time_realms: one_time_realms?,
        credential_headers: credential_headers?,
        tls: tls?,
        limits,
        timeouts,
        server: server?,
        shutdown,
        log,
        audit: audit?,
        otlp: otlp?,
        compat,
        routes,
        upstreams,
        validities: source.validities(),
    })
}

/// The default headers of a credential.
fn default_headers() -> CredentialHeaders {
    CredentialHeaders {
        name: HeaderName::from_static("x-auth-name"),
        realm: HeaderName::from_static("x-auth-realm"),
        token: HeaderName::from_static("x-auth-token"),
        name_chars: NAME_CHARS,
    }
}

impl Source<'_> {
    fn credentials(&self, raw: &raw::Credentials) -> Checked<CredentialHeaders> {
        let default = default_headers();
        let fields = [
            ("credentials.name_header", &raw.name_header, default.name),
            ("credentials.realm_header", &raw.realm_header, default.realm),
            ("credentials.token_header", &raw.token_header, default.token),
        ];
        let field = |(key, raw, default): &(&str, &Opt<String>, HeaderName)| match raw {
            Some(raw) => self.field(key, raw),
            None => Ok(default.clone()),
        };
        let name_chars = raw.name_chars.as_ref();
        let name_chars = self.number("credentials.name_chars", name_chars, NAME_CHARS, 1..=128);
        let [name, realm, token] = fields.each_ref().map(field);
        let headers = CredentialHeaders {
            name: name?,
            realm: realm?,
            token: token?,
            name_chars,
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

    fn field(&self, key: &str, raw: &Spanned<String>) -> Checked<HeaderName> {
        let Ok(field) = HeaderName::from_bytes(raw.get_ref().as_bytes()) else {
            return Err(self.refuse(key, raw, "the name of a header"));
        };
        if names::is_taken(&field) {
            return Err(self.refuse(key, raw, "a header without another meaning"));
        }
        Ok(field)
    }

    fn realms(
        &self,
        raw: &raw::Realms,
        credentials: &raw::Credentials,
        headers: &CredentialHeaders,
    ) -> Checked<Realms> {
        let limit = headers.name_chars;
        let name = |key, raw: &Opt<String>, default: &str| {
            let name = raw.as_ref().map_or(default, |raw| raw.get_ref());
            // A default can only be too long if the limit was configured.
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
        let admin = name("realms.admin", &raw.admin, defaults.admin());
        let auth = name("realms.auth", &raw.auth, defaults.auth());
        let (admin, auth) = (admin?, auth?);
        if admin == auth
            && let Some(set) = raw.auth.as_ref().or(raw.admin.as_ref())
        {
            let expected = "another realm than realms.admin";
            return Err(self.refuse_as("realms.auth", format!("{auth:?}"), set.span(), expected));
        }
        Ok(Realms::new(&admin, &auth))
    }

    fn totp(&self, raw: &raw::Totp) -> Checked<Totp> {
        let default = Parameters::default();
        let algorithm = match &raw.algorithm {
            None => Ok(default.algorithm()),
            Some(raw) => raw.get_ref().parse().map_err(|_| {
                let expected = format!(
                    "one of {}",
                    Algorithm::ALL.map(Algorithm::as_str).join(", ")
                );
                self.refuse("totp.algorithm", raw, expected)
            }),
        };
        let digits = self.number("totp.digits", raw.digits.as_ref(), default.digits(), 6..=8);
        let period = self.number(
            "totp.period",
            raw.period.as_ref(),
            default.period(),
            1..=3600,
        );
        let issuer = self.word(
            "totp.issuer",
            raw.issuer.as_ref(),
            "realmgate".into(),
            "1 to 64 characters, no colon, no control character",
            |text| is_issuer(text).then(|| text.into()),
        );
        Ok(Totp {
            window: self.number("totp.window", raw.window.as_ref(), 1, 0..=10),
            // Both numbers are within the bounds of `Parameters::new`.
            parameters: Parameters::new(algorithm?, digits, period).unwrap_or(default),
            issuer,
        })
    }

    fn timeouts(&self, raw: &raw::Timeouts) -> Timeouts {
        let default = Duration::from_secs(100);
        Timeouts {
            keep_alive: self.seconds("timeouts.keep_alive", raw.keep_alive.as_ref(), default),
            header: self.duration("timeouts.header", raw.header.as_ref(), 10_000),
            read: self.duration("timeouts.read", raw.read.as_ref(), 60_000),
            write: self.duration("timeouts.write", raw.write.as_ref(), 60_000),
            body: self.duration("timeouts.body", raw.body.as_ref(), 30_000),
            drain: self.duration("timeouts.drain", raw.drain.as_ref(), 5_000),
        }
    }

    /// Returns the name of this node: the configured one, or the name of the host.
    fn node(&self, raw: &raw::Server) -> Checked<Box<str>> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_node = |name: &str| (1..=64).contains(&name.len()) && name.chars().all(is_plain);
        match &raw.node {
            Some(node) if !is_node(node.get_ref()) => Err(self.refuse(
                "server.node",
                node,
                "1 to 64 letters, digits, dots, hyphens and underscores",
            )),
            Some(node) => Ok(node.get_ref().as_str().into()),
            None => {
                let host = rustix::system::uname();
                let host = host.nodename().to_string_lossy();
                let host: String = host.chars().filter(|c| is_plain(*c)).take(64).collect();
                Ok(match host.is_empty() {
                    true => "node".into(),
                    false => host.into(),
                })
            }
        }
    }

    fn server(&self, raw: &raw::Server, node: Box<str>) -> Server {
        let threads = match self.number("server.threads", raw.threads.as_ref(), 0, 0..=1024) {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        Server {
            node,
            threads,
            upstream_idle_connections: self.number(
                "server.upstream_idle_connections",
                raw.upstream_idle_connections.as_ref(),
                1024,
                1..=1_000_000,
            ),
        }
    }
}

/// Returns whether an authenticator app can show a text as the issuer. A colon would end it.
fn is_issuer(text: &str) -> bool {
    let is_shown = |c: char| c != ':' && !c.is_control();
    (1..=64).contains(&text.chars().count()) && text.chars().all(is_shown)
}
