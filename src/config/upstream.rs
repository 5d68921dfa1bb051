//! Checks the upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use toml::Spanned;

use super::host::is_host;
use super::identity_names::Named;
use super::peer::{self, PEERS, Peer};
use super::raw::{self, Opt, Table, Time};
use super::rewrite::authority;
use super::route::Route;
use super::scalar::{flag, is_name, naming};
use super::source::{Checked, Source, all};
use super::tls::Credential;
use crate::http::{IdentityHeaders, IdentityNames};

/// `[upstream.NAME]`: a group of equivalent servers.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The name that routes refer to.
    pub name: String,
    /// At least one.
    pub peers: Vec<Peer>,
    /// How the next peer is selected; round robin by default.
    pub balance: Balance,
    /// TLS to the peers; off by default.
    pub tls: Option<PeerTls>,
    /// The HTTP version of the peers; 1.1 by default.
    pub http: PeerHttp,
    /// The health check; none by default, so that all peers count as healthy.
    pub health: Option<Health>,
    /// When a peer that fails requests is ejected.
    pub ejection: Ejection,
    /// The maximum number of connection attempts per request, 1 to 10; by default one per peer, but
    /// 2 to 4.
    pub tries: usize,
    /// The interval at which peer names are resolved again; 30 s by default.
    pub resolve_interval: Duration,
    /// The maximum number of concurrent requests, 1 to 1,000,000; 10,000 by default.
    pub requests: usize,
    /// The maximum wait for a connection; 5 s by default.
    pub connect_timeout: Duration,
    /// The maximum wait for the next bytes of a response; 60 s by default.
    pub read_timeout: Duration,
    /// The maximum wait for the next bytes of the response to a gRPC call; 1 h by default.
    pub stream_timeout: Duration,
    /// The maximum wait until the peer accepts bytes of a request; 60 s by default.
    pub write_timeout: Duration,
    /// How long an idle connection is kept; 60 s by default.
    pub idle_timeout: Duration,
    /// The headers that name the caller; `None`, the default, for those of `[credentials]` and
    /// `X-Forwarded-User`.
    pub identity_headers: Option<IdentityNames>,
}

/// How the next peer is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest concurrent requests in proportion to its weight.
    LeastBusy,
    /// By the address of the client, stable as long as the peers stay the same (Ketama).
    Hash,
}

/// The HTTP version of the peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerHttp {
    /// HTTP/1.1.
    #[default]
    One,
    /// HTTP/2; without TLS, by prior knowledge.
    Two,
    /// HTTP/2 or HTTP/1.1, negotiated by ALPN.
    Auto,
}

/// TLS to the peers. Their certificates are always verified.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// The host name that their certificates must have, sent as SNI.
    pub server_name: String,
    /// The CAs; `None` for the root certificates of the system.
    pub roots: Option<Credential>,
    /// The client certificate; none by default.
    pub client: Option<Arc<Credential>>,
}

/// When a peer is ejected.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// Consecutive failures, 0 to 1000; 5 by default; 0 for never.
    pub failures: usize,
    /// The duration of the ejection; 10 s by default.
    pub time: Duration,
}

/// The health check of the peers.
#[derive(Clone, Debug)]
pub struct Health {
    /// The path of a GET request that must return 200; `None` if a connection is enough.
    pub path: Option<String>,
    /// The `Host` header of the check. By default the first `upstream_host` of a route to the
    /// upstream, if there is one.
    pub host: Option<http::HeaderValue>,
    /// The interval; 2 s by default.
    pub interval: Duration,
    /// The maximum wait for the connection, and for the response; 1 s by default.
    pub timeout: Duration,
}

/// Checks the upstreams. Resolves no names.
pub(super) fn upstreams(
    source: &Source<'_>,
    raw: &BTreeMap<String, Spanned<Table<raw::Upstream>>>,
    identity: &IdentityHeaders,
) -> Checked<Vec<Upstream>> {
    let mut named = Named::default();
    all(raw.iter().map(|(name, raw)| {
        let key = format!("upstream.{name}.identity_headers");
        let raw_names = raw.get_ref().0.identity_headers.as_ref();
        let names = named.check(source, identity, &key, raw_names);
        let upstream = upstream(source, name, raw)?;
        Ok(Upstream {
            identity_headers: names?,
            ..upstream
        })
    }))
}

fn upstream(
    source: &Source<'_>,
    name: &str,
    raw: &Spanned<Table<raw::Upstream>>,
) -> Checked<Upstream> {
    if !is_name(name) {
        let expected = format!("a name of {}", naming());
        return Err(source.reject_as("upstream", format!("{name:?}"), raw.span(), expected));
    }
    let key = |key: &str| format!("upstream.{name}.{key}");
    let Table(table) = raw.get_ref();
    let timeout =
        |name: &str, raw: &Opt<Time>, default| source.duration(&key(name), raw.as_ref(), default);
    let peers = match &table.peers {
        Some(peers) => peer::peers(source, &key("peers"), peers),
        None => Err(source.missing(key("peers"), raw.span(), PEERS)),
    };
    let tls = tls(source, &key, raw.span(), table);
    let http = source.word(
        &key("http"),
        table.http.as_ref(),
        PeerHttp::One,
        r#""1.1" or "2", or with tls "auto""#,
        |word| match word {
            "1.1" => Some(PeerHttp::One),
            "2" => Some(PeerHttp::Two),
            "auto" if flag(table.tls.as_ref()) => Some(PeerHttp::Auto),
            _ => None,
        },
    );
    let balance = source.word(
        &key("balance"),
        table.balance.as_ref(),
        Balance::RoundRobin,
        r#""round-robin", "least-busy" or "hash""#,
        |word| match word {
            "round-robin" => Some(Balance::RoundRobin),
            "least-busy" => Some(Balance::LeastBusy),
            "hash" => Some(Balance::Hash),
            _ => None,
        },
    );
    let health = health(source, &key, table);
    let tries = peers.as_ref().map_or(2, |peers| peers.len().clamp(2, 4));
    let checked = Upstream {
        name: name.to_owned(),
        balance,
        tls: None,
        http,
        health: None,
        ejection: Ejection {
            failures: source.number(
                &key("eject_failures"),
                table.eject_failures.as_ref(),
                5,
                0..=1000,
            ),
            time: timeout("eject_time", &table.eject_time, 10_000),
        },
        tries: source.number(&key("tries"), table.tries.as_ref(), tries, 1..=10),
        resolve_interval: timeout("resolve_interval", &table.resolve_interval, 30_000),
        requests: source.number(
            &key("requests"),
            table.requests.as_ref(),
            10_000,
            1..=1_000_000,
        ),
        connect_timeout: timeout("connect_timeout", &table.connect_timeout, 5_000),
        read_timeout: timeout("read_timeout", &table.read_timeout, 60_000),
        stream_timeout: timeout("stream_timeout", &table.stream_timeout, 3_600_000),
        write_timeout: timeout("write_timeout", &table.write_timeout, 60_000),
        idle_timeout: timeout("idle_timeout", &table.idle_timeout, 60_000),
        peers: Vec::new(),
        identity_headers: None,
    };
    // Fail only here, after everything has been checked.
    Ok(Upstream {
        tls: tls?,
        health: health?,
        peers: peers?,
        ..checked
    })
}

/// Uses the `upstream_host` of the first route to an upstream for its health checks, unless one is
/// configured.
pub(super) fn ask_by_host(upstreams: &mut [Upstream], routes: &[Route]) {
    for route in routes {
        let upstream = route.upstream.and_then(|at| upstreams.get_mut(at));
        if let Some(health) = upstream.and_then(|it| it.health.as_mut())
            && health.path.is_some()
            && health.host.is_none()
        {
            health.host.clone_from(&route.rewrite.host);
        }
    }
}

/// Checks the TLS settings of an upstream.
fn tls(
    source: &Source<'_>,
    key: &dyn Fn(&str) -> String,
    span: std::ops::Range<usize>,
    table: &raw::Upstream,
) -> Checked<Option<PeerTls>> {
    if !flag(table.tls.as_ref()) {
        let alone = [
            ("server_name", &table.server_name),
            ("ca", &table.ca),
            ("client_cert", &table.client_cert),
            ("client_key", &table.client_key),
        ];
        for (name, raw) in alone {
            if let Some(raw) = raw {
                source.reject(&key(name), raw, "tls = true beside it");
            }
        }
        return Ok(None);
    }
    let expected = "the name that the peers have a certificate for";
    let server_name = match &table.server_name {
        None => Err(source.missing(key("server_name"), span, expected)),
        Some(name) if ServerName::try_from(name.get_ref().as_str()).is_err() => {
            Err(source.reject(&key("server_name"), name, expected))
        }
        Some(name) => Ok(name.get_ref().clone()),
    };
    let client = match (&table.client_cert, &table.client_key) {
        (None, None) => Ok(None),
        (Some(cert), Some(private)) => {
            let (cert_key, key_key) = (key("client_cert"), key("client_key"));
            let credential = source.credential((&cert_key, cert), (&key_key, private));
            credential.map(|it| Some(Arc::new(it)))
        }
        (Some(raw), None) => Err(source.reject(&key("client_cert"), raw, "client_key beside it")),
        (None, Some(raw)) => Err(source.reject(&key("client_key"), raw, "client_cert beside it")),
    };
    let roots = table.ca.as_ref();
    let roots = roots.map(|file| source.authorities(&key("ca"), file));
    Ok(Some(PeerTls {
        server_name: server_name?,
        roots: roots.transpose()?,
        client: client?,
    }))
}

/// Checks the health check of an upstream.
fn health(
    source: &Source<'_>,
    key: &dyn Fn(&str) -> String,
    table: &raw::Upstream,
) -> Checked<Option<Health>> {
    let pause =
        |name: &str, raw: &Opt<Time>, default| source.duration(&key(name), raw.as_ref(), default);
    let interval = pause("health_interval", &table.health_interval, 2_000);
    let timeout = pause("health_timeout", &table.health_timeout, 1_000);
    let Some(raw) = &table.health_check else {
        let alone = [
            ("health_interval", &table.health_interval),
            ("health_timeout", &table.health_timeout),
        ];
        for (name, raw) in alone {
            if let Some(raw) = raw {
                source.reject(&key(name), raw, "health_check beside it");
            }
        }
        if let Some(raw) = &table.health_host {
            source.reject(&key("health_host"), raw, "health_check beside it");
        }
        return Ok(None);
    };
    let path = match raw.get_ref().as_str() {
        "tcp" => None,
        path if path.starts_with('/') && path.parse::<http::Uri>().is_ok() => Some(path.to_owned()),
        _ => {
            let expected = r#""tcp", or a path such as "/healthz" that returns 200"#;
            return Err(source.reject(&key("health_check"), raw, expected));
        }
    };
    let host = match &table.health_host {
        None => None,
        Some(raw) if path.is_some() => Some(authority(source, &key("health_host"), raw, is_host)?),
        Some(raw) => {
            let expected = "health_check with a path beside it";
            return Err(source.reject(&key("health_host"), raw, expected));
        }
    };
    Ok(Some(Health {
        path,
        host,
        interval,
        timeout,
    }))
}
