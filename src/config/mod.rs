//! The configuration. The keys as typed ([`raw`]) become a checked [`Config`], or an error that
//! names the place, the key, the value and the expected values.
//!
//! [`Source`] joins the file and the environment; [`check`] and its siblings check them. After
//! that, no code needs to ask whether a required value is present or valid.

mod check;
mod database;
mod environment;
mod error;
mod limits;
mod listener;
mod log;
mod names;
mod peer;
mod pem;
mod postgres;
mod raw;
mod reading;
mod reload;
mod rewrite;
mod route;
mod scalar;
mod source;
mod throttle;
mod tls;
mod upstream;
mod validity;
mod warning;

use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use crate::auth::{self, Policy};
use crate::http::CredentialHeaders;
use crate::store;
use source::Source;

pub use environment::kubernetes_variables;
pub use error::{ConfigError, Mistake, Mistakes, Place};
pub use peer::{Peer, PeerAddress};
pub use tls::{Certificate, ClientCertificates, ClientRoots, Credential, Tls, TlsVersion, Wire};
pub use upstream::{Balance, Ejection, Health, PeerHttp, PeerTls, Upstream};
pub use validity::Validity;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[store]` and `[cache]`.
    pub store: store::Options,
    /// `[service]`.
    pub service: Service,
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `grpc.listen`: the listener for Envoy's gRPC requests; off by default. Port 0 lets the
    /// system choose.
    pub grpc: Option<SocketAddr>,
    /// `metrics.listen`: the listener for `/metrics` and health, 127.0.0.1:8084 by default; `None`
    /// for `"off"`. Port 0 lets the system choose.
    pub metrics: Option<SocketAddr>,
    /// `[realms]`: the two reserved realms, which differ.
    pub realms: auth::Realms,
    /// `[totp]`.
    pub totp: Totp,
    /// `[throttle]`.
    pub throttle: auth::ThrottleSettings,
    /// The realms with `reuse = "once"`, sorted.
    pub one_time_realms: Vec<Box<str>>,
    /// `[credentials]`: three different headers without another meaning.
    pub credential_headers: CredentialHeaders,
    /// `[tls]` and `[[certificate]]`.
    pub tls: Tls,
    /// `[limits]`.
    pub limits: Limits,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[server]`.
    pub server: Server,
    /// `[shutdown]`.
    pub shutdown: Shutdown,
    /// `[log]`.
    pub log: Log,
    /// `[audit]`.
    pub audit: Audit,
    /// `[otlp]`: where traces are sent; nowhere by default.
    pub otlp: Option<Otlp>,
    /// `[compat]`.
    pub compat: Compat,
    /// Each `[[route]]`, in the order of the file: the first match wins. Names are distinct.
    pub routes: Vec<Route>,
    /// Each `[upstream.NAME]`, sorted by name.
    pub upstreams: Vec<Upstream>,
    /// The validity periods of the certificates in each file.
    pub validities: Vec<Validity>,
}

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
    pub wire: Wire,
}

/// `[gateway]`: the listener of the transparent proxy.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// 127.0.0.1:8080 by default; `None` for `"off"`: then nothing is proxied. Port 0 lets the
    /// system choose. Differs from the service listener.
    pub listen: Option<SocketAddr>,
    /// Whether the listener also serves REST and forward-auth; false by default.
    pub serve_api: bool,
    /// PROXY protocol and TLS.
    pub wire: Wire,
}

/// `[totp]`: how tokens are computed and compared.
#[derive(Clone, Debug)]
pub struct Totp {
    /// The number of steps accepted on each side of the current one, 0 to 10; 1 by default.
    pub window: u8,
    /// The default parameters of new identities.
    pub parameters: auth::Parameters,
    /// The issuer that authenticator apps show, 1 to 64 characters without `:`; `realmgate` by
    /// default.
    pub issuer: Box<str>,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum size of a request header in bytes, 1024 to 1,048,575; 64 KiB by default. For
    /// HTTP/2, the sum of RFC 9113 §6.5.2, where all cookie crumbs count as one field.
    pub header_bytes: usize,
    /// The maximum number of header fields of a request, 8 to 256; 100 by default.
    pub header_fields: usize,
    /// The maximum length of a request target with its query, in bytes, 256 to 65,534; 8 KiB by
    /// default.
    pub target_bytes: usize,
    /// The maximum size of a request body at realmgate's own endpoints, in bytes, 1024 to 16 MiB;
    /// 64 KiB by default.
    pub body_bytes: usize,
    /// The minimum rate of a request body in bytes per second, averaged over each `timeouts.read`,
    /// until the response begins; 0 to 1,000,000, where 0 is no minimum; 100 by default.
    pub body_rate: u64,
    /// The maximum number of bytes of a body that are discarded after an early response, 0 to 1
    /// GiB; 16 MiB by default.
    pub drain_bytes: usize,
    /// The maximum number of connections, 1 to 1,000,000; 20,000 by default.
    pub connections: usize,
    /// The maximum number of connections from one address or one IPv6 /64, 1 to 1,000,000; 1,000 by
    /// default. `service.trusted_proxies` are exempt.
    pub connections_per_address: usize,
    /// The maximum number of concurrent requests on all listeners but the metrics listener, 1 to
    /// 1,000,000; 20,000 by default.
    pub requests: usize,
    /// The maximum number of concurrent requests from one address or one IPv6 /64, 1 to 1,000,000.
    /// By default 1,000, and at most half of those of an upstream. `service.trusted_proxies` are
    /// exempt.
    pub requests_per_address: Option<usize>,
    /// The maximum number of concurrent requests on an HTTP/2 connection, 1 to 1,000; 32 by
    /// default.
    pub streams: u32,
}

/// `[timeouts]`: how long to wait for clients.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a connection may be idle between requests, in whole seconds; 100 s by default.
    pub keep_alive: Duration,
    /// How long a complete request header may take; 10 s by default.
    pub header: Duration,
    /// The maximum wait for the next bytes of a request; 60 s by default.
    pub read: Duration,
    /// The maximum wait until the client accepts bytes of a response; 60 s by default.
    pub write: Duration,
    /// How long a complete request body may take at realmgate's own endpoints; 30 s by default.
    pub body: Duration,
    /// How long a body is discarded after an early response; 5 s by default.
    pub drain: Duration,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name of this node, for the audit log and the database; by default that of the host.
    pub node: Box<str>,
    /// The number of threads that serve requests, at least 1; one per core by default.
    pub threads: usize,
    /// The maximum number of idle connections to upstreams, 1 to 1,000,000; 1,024 by default.
    pub upstream_idle_connections: usize,
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long requests may continue after the signal; 30 s by default.
    pub grace: Duration,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// `human` by default.
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, which accepts them; `info` by default.
    pub filter: String,
    /// The requests in the access log; none by default.
    pub access: Access,
    /// Log one in this many permitted requests, 1 to 1,000,000; 1 by default.
    pub access_one_in: u64,
    /// The file of the access log; by default it goes to the log.
    pub access_file: Option<PathBuf>,
    /// The maximum number of lines per second and module, 1 to 1,000,000; 100 by default. Further
    /// lines are counted.
    pub lines_per_second: u32,
}

/// The requests in the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No requests.
    Off,
    /// Denied requests, and requests with a 5xx response or none.
    Failed,
    /// The same, and a sample of the others.
    All,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The file; no audit log by default. Its head is in a file beside it with the suffix `.head`.
    pub file: Option<PathBuf>,
    /// The maximum number of lines per second that strangers can cause, 0 to 100,000; 100 by
    /// default. Further ones are counted.
    pub denials_per_second: u32,
    /// The interval at which the position of the last line is logged if it has moved; 1 min by
    /// default.
    pub note_every: Duration,
    /// How long repeated denials are counted before a line reports them; 1 min by default.
    pub repeats_every: Duration,
}

/// `[otlp]`: where traces are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The address of the collector for OTLP over gRPC without TLS: `http://`, a host and a port.
    pub endpoint: String,
    /// Record one in this many traces that begin here, 1 to 1,000,000; 1 by default.
    pub one_in: u64,
    /// The maximum wait for the collector; 5 s by default.
    pub timeout: Duration,
}

/// `[compat]`: behavior of ungleich-otp that is off by default.
#[derive(Clone, Copy, Debug)]
pub struct Compat {
    /// Whether lists contain seeds.
    pub reveal_seeds: bool,
}

/// `[[route]]`: the requests that match, who may pass, and the upstream.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name in logs and metrics.
    pub name: String,
    /// The host in lower case, without port; `None` matches every host.
    pub host: Option<String>,
    /// The prefix of the path, which ends at a segment boundary. Begins with `/` and is in the
    /// canonical form in which paths are compared. `None` matches every path.
    pub path: Option<String>,
    /// The methods, at least one; `None` matches every method.
    pub methods: Option<Vec<http::Method>>,
    /// The principals that may pass.
    pub policy: Policy,
    /// The index of the upstream in [`Config::upstreams`]; `None` only if the proxy is off.
    pub upstream: Option<usize>,
    /// The maximum size of a request body in bytes; `None`, the default, for no limit.
    pub body_bytes: Option<u64>,
    /// Whether a path may contain `//`; false by default.
    pub allow_double_slash: bool,
    /// Whether a path may contain `%2f`; false by default.
    pub allow_encoded_slash: bool,
    /// Whether the path matches in any case; false by default.
    pub ignore_case: bool,
    /// Whether the path also matches with a suffix such as `.json`; false by default.
    pub ignore_suffix: bool,
    /// Which of the last two keys the file does not set.
    pub unsaid: Vec<&'static str>,
    /// Changes to the request and the response; none by default.
    pub rewrite: Rewrite,
}

/// How a route changes requests and responses.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// The path prefix that is removed from requests, without its trailing slash; `None` without
    /// `strip_prefix`. It begins with `/` and has at least one segment.
    pub prefix: Option<http::HeaderValue>,
    /// `upstream_host`: the `Host` header for the upstream; that of the client by default.
    pub host: Option<http::HeaderValue>,
    /// The client headers that pass although others of their kind are removed. `alias_headers`: at
    /// most 32 names with a character other than letters, digits and `-`, none of which is like a
    /// header with a meaning. `pass_headers`: at most 8 that contain the client's address. None by
    /// default.
    pub passing: Vec<HeaderName>,
    /// Whether shared caches may store responses to authenticated requests; false by default.
    pub shared_cache: bool,
    /// Changes to the headers of the request.
    pub request_headers: HeaderRules,
    /// Changes to the headers of the response.
    pub response_headers: HeaderRules,
}

/// Headers to set and to remove. None of them concerns identity, framing or `Host`, and none is
/// listed twice.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// At most 32. Each replaces all headers of its name.
    pub set: Vec<(HeaderName, http::HeaderValue)>,
    /// At most 32.
    pub remove: Vec<HeaderName>,
}

impl Config {
    /// Returns warnings about settings that are valid but probably mistakes.
    pub fn warnings(&self) -> Vec<String> {
        warning::of_trust(&self.service.trusted_proxies)
            .chain(warning::of_no_proxy(self))
            .chain(warning::warnings(&self.routes))
            .collect()
    }

    /// Reads a file, or uses the defaults without one. Environment variables
    /// `REALMGATE_<SECTION>_<KEY>` override single keys.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read, or if there are mistakes.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let Some(file) = file else {
            return Self::parse("", "defaults", env);
        };
        let text = read(file).map_err(|error| ConfigError::Unreadable(file.into(), error))?;
        Self::parse(&text, &file.display().to_string(), env)
    }

    /// Like [`Config::load`], but parses a text. Errors call it `file_name`.
    ///
    /// # Errors
    /// [`ConfigError`] if there are mistakes.
    pub fn parse(
        text: &str,
        file_name: &str,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let source = Source::new(file_name, text, env);
        let config = source.read().and_then(|raw| check::check(&source, &raw));
        Ok(source.outcome(config)?)
    }
}

#[cfg(test)]
mod tests;

/// The maximum size of a configuration file in bytes: enough for some hundred thousand routes.
const FILE_BYTES: u64 = 64 << 20;

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file)?;
    opened.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        let error = format!("it is longer than {FILE_BYTES} bytes");
        return Err(std::io::Error::other(error));
    }
    Ok(text)
}
