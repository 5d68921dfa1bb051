//! Upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use toml::Spanned;

use super::Route;
use super::peer::{self, PEERS, Peer};
use super::raw::{self, Opt, Table, Time};
use super::rewrite::authority;
use super::route::is_host;
use super::scalar::{flag, is_name, naming};
use super::source::{Checked, Source, all};
use super::tls::Credential;

/// Servers that are alike.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// What routes call it.
    pub name: String,
    /// At least one.
    pub peers: Vec<Peer>,
    /// Which peer is next; round robin unless configured.
    pub balance: Balance,
    /// How peers are spoken to with TLS; without it unless configured.
    pub tls: Option<PeerTls>,
    /// The version of HTTP that peers speak; 1.1 unless configured.
    pub http: PeerHttp,
    /// How it is found out which peers answer; none unless configured, and then all count as good.
    pub health: Option<Health>,
    /// When a peer that fails requests gets none for a while.
    pub ejection: Ejection,
    /// How often a connection is tried in all, 1 to 10; once for each peer, at least 2 and at most 4
    /// times, unless configured.
    pub tries: usize,
    /// How often names of peers are looked up again; 30 s unless configured.
    pub resolve_interval: Duration,
    /// The most requests under way at a time, 1 to 1,000,000; 10,000 unless configured.
    pub requests: usize,
    /// The longest wait for a connection; 5 s unless configured.
    pub connect_timeout: Duration,
    /// The longest wait for the next bytes of an answer; 60 s unless configured.
    pub read_timeout: Duration,
    /// The longest wait until bytes of a request are taken; 60 s unless configured.
    pub write_timeout: Duration,
    /// How long an unused connection is kept; 60 s unless configured.
    pub idle_timeout: Duration,
}

/// Which peer is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each in its turn, by its weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way, by its weight.
    LeastBusy,
    /// The same for the same address of a client, as long as the peers stay (Ketama).
    Hash,
}

/// The version of HTTP that peers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerHttp {
    /// 1.1.
    #[default]
    One,
    /// 2, without TLS by prior knowledge.
    Two,
    /// What they agree to (ALPN).
    Auto,
}

/// How peers are spoken to with TLS. They are always verified.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// What they must have a certificate for, and are asked for (SNI).
    pub server_name: String,
    /// Who vouches for them; the roots of the system if none.
    pub roots: Option<Credential>,
    /// What realmgate proves itself by; none unless configured.
    pub client: Option<Arc<Credential>>,
}

/// When a peer gets no requests for a while.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// After so many failures in a row, 0 to 1000; never if 0; 5 unless configured.
    pub failures: usize,
    /// For so long; 10 s unless configured.
    pub time: Duration,
}

/// How it is found out which peers of an upstream answer.
#[derive(Clone, Debug)]
pub struct Health {
    /// What is asked with GET and must be answered with 200; none if a connection is enough.
    pub path: Option<String>,
    /// The `Host` of the question. Unless configured, the first `upstream_host` of a route to it; none if
    /// there is none.
    pub host: Option<http::HeaderValue>,
    /// How often; 2 s unless configured.
    pub interval: Duration,
    /// The longest wait for the connection, and for the answer; 1 s unless configured.
    pub timeout: Duration,
}

/// Checks the upstreams. No name is looked up.
pub(super) fn upstreams(
    source: &Source<'_>,
    raw: &BTreeMap<String, Spanned<Table<raw::Upstream>>>,
) -> Checked<Vec<Upstream>> {
    all(raw.iter().map(|(name, raw)| upstream(source, name, raw)))
}

fn upstream(
    source: &Source<'_>,
    name: &str,
    raw: &Spanned<Table<raw::Upstream>>,
) -> Checked<Upstream> {
    if !is_name(name) {
        let expected = format!("a name of {}", naming());
        return Err(source.refuse_as("upstream", format!("{name:?}"), raw.span(), expected));
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
        write_timeout: timeout("write_timeout", &table.write_timeout, 60_000),
        idle_timeout: timeout("idle_timeout", &table.idle_timeout, 60_000),
        peers: Vec::new(),
    };
    // After everything has been checked.
    Ok(Upstream {
        tls: tls?,
        health: health?,
        peers: peers?,
        ..checked
    })
}

/// Lets a peer be asked whether it answers by the host that it gets requests by.
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

/// Checks how peers are spoken to with TLS.
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
                source.refuse(&key(name), raw, "tls = true beside it");
            }
        }
        return Ok(None);
    }
    let expected = "the name that the peers have a certificate for";
    let server_name = match &table.server_name {
        None => Err(source.missing(key("server_name"), span, expected)),
        Some(name) if ServerName::try_from(name.get_ref().as_str()).is_err() => {
            Err(source.refuse(&key("server_name"), name, expected))
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
        (Some(raw), None) => Err(source.refuse(&key("client_cert"), raw, "client_key beside it")),
        (None, Some(raw)) => Err(source.refuse(&key("client_key"), raw, "client_cert beside it")),
    };
    let roots = table.ca.as_ref();
    let roots = roots.map(|file| source.authorities(&key("ca"), file));
    Ok(Some(PeerTls {
        server_name: server_name?,
        roots: roots.transpose()?,
        client: client?,
    }))
}

/// Checks how peers are asked whether they answer.
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
                source.refuse(&key(name), raw, "health_check beside it");
            }
        }
        if let Some(raw) = &table.health_host {
            source.refuse(&key("health_host"), raw, "health_check beside it");
        }
        return Ok(None);
    };
    let path = match raw.get_ref().as_str() {
        "tcp" => None,
        path if path.starts_with('/') && path.parse::<http::Uri>().is_ok() => Some(path.to_owned()),
        _ => {
            let expected = r#""tcp", or a path such as "/healthz" that is answered with 200"#;
            return Err(source.refuse(&key("health_check"), raw, expected));
        }
    };
    let host = match &table.health_host {
        None => None,
        Some(raw) if path.is_some() => Some(authority(source, &key("health_host"), raw, is_host)?),
        Some(raw) => {
            let expected = "health_check with a path beside it";
            return Err(source.refuse(&key("health_host"), raw, expected));
        }
    };
    Ok(Some(Health {
        path,
        host,
        interval,
        timeout,
    }))
}
