//! The configuration: what was typed ([`raw`]) becomes what it means ([`Config`]), or an error that
//! names the place, the key, the value and what was expected.
//!
//! [`Source`] joins the file and the environment, [`check`] and its neighbours check them. After that no
//! module asks again whether a value is there or makes sense.

mod check;
mod database;
mod environment;
mod error;
mod limits;
mod listener;
mod log;
mod names;
mod peer;
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

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[store]` and `[cache]`.
    pub store: store::Options,
    /// `[service]`.
    pub service: Service,
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `grpc.listen`: where Envoy asks over gRPC; nowhere unless configured. Port 0 lets the system
    /// choose.
    pub grpc: Option<SocketAddr>,
    /// `metrics.listen`: `/metrics` and health; 127.0.0.1:8084 unless configured, none for `"off"`. Port 0
    /// lets the system choose.
    pub metrics: Option<SocketAddr>,
    /// `[realms]`: the two reserved ones, which differ.
    pub realms: auth::Realms,
    /// `[totp]`.
    pub totp: Totp,
    /// `[throttle]`.
    pub throttle: auth::ThrottleSettings,
    /// The realms with `reuse = "once"`, in order.
    pub once: Vec<Box<str>>,
    /// `[credentials]`: three distinct fields that carry nothing else.
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
    /// `[otlp]`: where traces go; nowhere unless configured.
    pub otlp: Option<Otlp>,
    /// `[compat]`.
    pub compat: Compat,
    /// Each `[[route]]`, in the order of the file: the first match wins. Names are distinct.
    pub routes: Vec<Route>,
    /// Each `[upstream.NAME]`, by name.
    pub upstreams: Vec<Upstream>,
    /// How long the certificates of each file are valid.
    pub validities: Vec<Validity>,
}

/// The listener of realmgate's own endpoints.
#[derive(Clone, Debug)]
pub struct Service {
    /// 127.0.0.1:8081 unless configured; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Who is believed about the original request; 127.0.0.1/32 and ::1/128 unless configured. Without
    /// host bits; not empty if there are routes.
    pub trusted_proxies: Vec<IpNet>,
    /// Where a front proxy that asks at `/forward-auth` names its client; nowhere unless configured.
    pub client_address_header: Option<HeaderName>,
    /// What comes before HTTP.
    pub wire: Wire,
}

/// The listener of the transparent proxy.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// 127.0.0.1:8080 unless configured, none for `"off"`: then nothing is proxied. Port 0 lets the system
    /// choose. Differs from the service's.
    pub listen: Option<SocketAddr>,
    /// Whether it also answers for realmgate's own endpoints; false unless configured.
    pub serve_api: bool,
    /// What comes before HTTP.
    pub wire: Wire,
}

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct Totp {
    /// The steps accepted on each side of the current one, 0 to 10; 1 unless configured.
    pub window: u8,
    /// What new identities get unless they ask for something else.
    pub parameters: auth::Parameters,
    /// How apps label the seeds of this installation, 1 to 64 characters without `:`; `realmgate` unless
    /// configured.
    pub issuer: Box<str>,
}

/// How much is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest header of a request, in bytes on the wire, 1024 to 1,048,575; 64 KiB unless
    /// configured. Of HTTP/2, the sum of RFC 9113 §6.5.2, where all crumbs of a cookie are one field.
    pub header_bytes: usize,
    /// The most header fields of a request, 8 to 256; 100 unless configured.
    pub header_fields: usize,
    /// The longest request target, query included, in bytes, 256 to 65,534; 8 KiB unless
    /// configured.
    pub target_bytes: usize,
    /// The longest request body of realmgate's own endpoints, in bytes, 1024 to 16 MiB; 64 KiB unless
    /// configured.
    pub body_bytes: usize,
    /// The fewest bytes a second of a request's body, over each `timeouts.read`, until its answer begins; 0 to
    /// 1,000,000, where 0 is any; 100 unless configured.
    pub body_rate: u64,
    /// How much of a body is still read after an answer that did not wait for it, in bytes, 0 to 1 GiB;
    /// 16 MiB unless configured.
    pub drain_bytes: usize,
    /// The most connections in all, 1 to 1,000,000; 20,000 unless configured.
    pub connections: usize,
    /// The most connections from one address, or from one /64 of IPv6, 1 to 1,000,000; 1,000 unless
    /// configured. `service.trusted_proxies` are exempt.
    pub connections_per_address: usize,
    /// The most requests under way, of all listeners but that of metrics, 1 to 1,000,000; 20,000 unless
    /// configured.
    pub requests: usize,
    /// The most requests under way from one address, or from one /64 of IPv6, 1 to 1,000,000. Unless
    /// configured 1,000, and no more than half of an upstream's. `service.trusted_proxies` are exempt.
    pub requests_per_address: Option<usize>,
    /// The most requests at a time of one connection of HTTP/2, 1 to 1,000; 32 unless configured.
    pub streams: u32,
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a connection may lie idle between requests, in whole seconds; 100 s unless configured.
    pub keep_alive: Duration,
    /// How long the whole header of a request may take; 10 s unless configured.
    pub header: Duration,
    /// The longest wait for the next bytes of a request; 60 s unless configured.
    pub read: Duration,
    /// The longest wait until bytes of an answer are taken; 60 s unless configured.
    pub write: Duration,
    /// How long the whole body of a request to realmgate's own endpoints may take; 30 s unless
    /// configured.
    pub body: Duration,
    /// How long a body is still read after an answer that did not wait for it; 5 s unless configured.
    pub drain: Duration,
}

/// The process.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How many threads serve requests, at least 1; one a core unless configured.
    pub threads: usize,
    /// How many unused connections to upstreams are kept in all, 1 to 1,000,000; 1,024 unless
    /// configured.
    pub upstream_idle_connections: usize,
}

/// The end.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long requests under way may take after the signal; 30 s unless configured.
    pub grace: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Log {
    /// `human` unless configured.
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, which takes them; `info` unless configured.
    pub filter: String,
    /// Which requests the access log tells of; of none unless configured.
    pub access: Access,
    /// Of how many requests that passed one is told of, 1 to 1,000,000; 1 unless configured.
    pub access_one_in: u64,
    /// Where the access log goes; to the log unless configured.
    pub access_file: Option<PathBuf>,
    /// The most lines that a module writes in a second, 1 to 1,000,000; 100 unless configured. The others are
    /// counted.
    pub lines_per_second: u32,
}

/// Which requests the access log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None.
    Off,
    /// Those that were denied, and those that got 5xx or no answer.
    Failed,
    /// All of those, and one in some of the others.
    All,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Human,
    /// An object a line.
    Json,
}

/// The audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Where it is; none unless configured. Beside it, with `.head` after its name, is its head.
    pub file: Option<PathBuf>,
    /// The most lines that strangers cause in a second, 0 to 100,000; 100 unless configured. The others are
    /// counted.
    pub denials_per_second: u32,
    /// How often the place of the last line is logged, if it has moved; 1 min unless configured.
    pub note_every: Duration,
    /// For how long a denial that repeats is counted before a line says how often it came; 1 min unless
    /// configured.
    pub repeats_every: Duration,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The collector's address for OTLP over gRPC, without TLS: `http://`, a host and a port.
    pub endpoint: String,
    /// Of how many traces that begin here one is recorded, 1 to 1,000,000; 1 unless configured.
    pub one_in: u64,
    /// The longest wait for the collector; 5 s unless configured.
    pub timeout: Duration,
}

/// Ways of the old server that are off unless configured.
#[derive(Clone, Copy, Debug)]
pub struct Compat {
    /// Whether lists show seeds.
    pub reveal_seeds: bool,
}

/// What one `[[route]]` matches, who passes, and where to.
#[derive(Clone, Debug)]
pub struct Route {
    /// What logs and metrics call it.
    pub name: String,
    /// The host that must match, in lower case, without port; none matches every host.
    pub host: Option<String>,
    /// The prefix of the path that must match, on a segment boundary. It begins with `/` and is in the
    /// one form that paths are compared in. None matches every path.
    pub path: Option<String>,
    /// The methods of which one must match, at least one; none matches every method.
    pub methods: Option<Vec<http::Method>>,
    /// Who passes.
    pub policy: Policy,
    /// The place of its upstream in [`Config::upstreams`]. None only where `gateway.listen` is off.
    pub upstream: Option<usize>,
    /// The longest request body, in bytes; none for any length, as unless configured.
    pub body_bytes: Option<u64>,
    /// Whether `//` may stand in a path; false unless configured.
    pub allow_double_slash: bool,
    /// Whether `%2f` may stand in a path; false unless configured.
    pub allow_encoded_slash: bool,
    /// Whether the path matches in any case; false unless configured.
    pub ignore_case: bool,
    /// Whether the path matches with a suffix such as `.json` as well; false unless configured.
    pub ignore_suffix: bool,
    /// Which of these two keys the file does not set.
    pub unsaid: Vec<&'static str>,
    /// What it changes; nothing unless configured.
    pub rewrite: Rewrite,
}

/// What a route changes of a request and of its answer.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// The route's path without its last slash, which is taken off what the upstream gets; none
    /// without `strip_prefix`. It begins with `/` and holds a segment.
    pub prefix: Option<http::HeaderValue>,
    /// `upstream_host`: the `Host` that the upstream gets; the client's unless configured.
    pub host: Option<http::HeaderValue>,
    /// The headers of a client that go on although others of their kind are removed. `alias_headers`: at most
    /// 32 whose names hold a mark, each like none that means something. `pass_headers`: at most 8 that name
    /// the client's address. None unless configured.
    pub passing: Vec<HeaderName>,
    /// Whether shared caches may keep what is answered to those who have proved themselves; false unless
    /// configured.
    pub shared_cache: bool,
    /// Of what goes to the upstream.
    pub request_headers: HeaderRules,
    /// Of what the upstream answers.
    pub response_headers: HeaderRules,
}

/// Header fields to be set and removed: never identity, framing or `Host`, and each field once.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// At most 32, each in the place of all of its name.
    pub set: Vec<(HeaderName, http::HeaderValue)>,
    /// At most 32.
    pub remove: Vec<HeaderName>,
}

impl Config {
    /// Returns what the writer of the file may not have meant, for people.
    pub fn warnings(&self) -> Vec<String> {
        warning::of_trust(&self.service.trusted_proxies)
            .chain(warning::of_no_proxy(self))
            .chain(warning::warnings(&self.routes))
            .collect()
    }

    /// Reads a file, or takes the defaults if there is none, and lets the variables
    /// `REALMGATE_<SECTION>_<KEY>` of the environment override single keys.
    ///
    /// # Errors
    /// [`ConfigError`].
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

    /// As [`Config::load`], from a text; errors call it `file_name`.
    ///
    /// # Errors
    /// [`ConfigError`], except that it cannot be read.
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

/// The most of a configuration file, in bytes: some hundred thousand routes.
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
