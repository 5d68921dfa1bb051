//! The configuration: all sections, checked together.

use std::ffi::OsString;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::admin::Admin;
use super::allow::{Group, Principals};
use super::audit::Audit;
use super::bounds;
use super::compat::Compat;
use super::credentials::default_headers;
use super::database::Store;
use super::error::ConfigError;
use super::include::{self, Includes};
use super::inputs::{InputKind, Inputs};
use super::limits::Limits;
use super::listener::{Gateway, Service};
use super::log::Log;
use super::networks::{Network, Networks};
use super::otlp::Otlp;
use super::places::Places;
use super::raw::Raw;
use super::route::{self, Route, Targets};
use super::scalar::flag;
use super::server::Server;
use super::shutdown::Shutdown;
use super::source::{Checked, Source};
use super::timeouts::Timeouts;
use super::tls::Tls;
use super::totp::Totp;
use super::upstream::{self, Upstream};
use super::validity::Validity;
use crate::auth::{Realms, ThrottleSettings};
use crate::http::{CredentialHeaders, IdentityHeaders, IdentityNames};

/// The maximum size of a configuration file in bytes: enough for some hundred thousand routes.
const FILE_BYTES: u64 = 64 << 20;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[store]` and `[cache]`.
    pub store: Store,
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
    /// `[admin]`.
    pub admin: Admin,
    /// `[realms]`: the two reserved realms, which differ.
    pub realms: Realms,
    /// `[totp]`.
    pub totp: Totp,
    /// `[throttle]`.
    pub throttle: ThrottleSettings,
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
    /// The names of the included files, in their order.
    pub included: Vec<String>,
    /// `[networks]`, sorted by name.
    pub networks: Vec<Network>,
    /// Each `[group.NAME]`, sorted by name.
    pub groups: Vec<Group>,
    /// Each `[[route]]`, in the order of the file, then of the included files: the first match
    /// wins. Names are distinct.
    pub routes: Vec<Route>,
    /// Each `[upstream.NAME]`, sorted by name.
    pub upstreams: Vec<Upstream>,
    /// The validity periods of the certificates in each file.
    pub validities: Vec<Validity>,
    /// Where the routes and other parts are, for warnings.
    pub places: Places,
}

impl Config {
    /// Returns whether an address may be that of a client. That of a front proxy or of a load balancer
    /// never is, whoever names it.
    pub fn may_be_client(&self, address: IpAddr) -> bool {
        let balancers = [&self.gateway.transport, &self.service.transport];
        let mut balancers = balancers.iter().flat_map(|it| &it.proxy_protocol);
        !self.service.is_front_proxy(address) && !balancers.any(|it| it.contains(&address))
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
        Self::read(file, env).0
    }

    /// Like [`Config::load`]. Also returns the files that were read, even if there is an error.
    pub fn read(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Result<Self, ConfigError>, Inputs) {
        let mut inputs = Inputs::default();
        let Some(file) = file else {
            return Self::join("", "defaults", env, inputs);
        };
        inputs.add(file, InputKind::Configuration);
        match read(file) {
            Ok(text) => Self::join(&text, &file.display().to_string(), env, inputs),
            Err(error) => (Err(ConfigError::Unreadable(file.into(), error)), inputs),
        }
    }

    /// Like [`Config::load`], but parses a text. Errors call it `file_name`, and files are included
    /// as if it had this path.
    ///
    /// # Errors
    /// [`ConfigError`] if there are mistakes.
    pub fn parse(
        text: &str,
        file_name: &str,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        Self::join(text, file_name, env, Inputs::default()).0
    }

    /// Joins a text, the files that it includes and the environment.
    fn join(
        text: &str,
        name: &str,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        mut inputs: Inputs,
    ) -> (Result<Self, ConfigError>, Inputs) {
        let Includes { files, mistakes } =
            include::read(text, Path::new(name), FILE_BYTES, &mut inputs);
        let source = Source::new((name, text), (&files, mistakes), inputs, env);
        let config = source.read().and_then(|raw| check(&source, &raw));
        let (outcome, inputs) = source.outcome(config);
        (outcome.map_err(ConfigError::from), inputs)
    }
}

/// Checks all sections, and records every mistake.
fn check(source: &Source<'_>, raw: &Raw) -> Checked<Config> {
    let node = source.node(&raw.server.0);
    let known_node = node.clone().unwrap_or_default();
    let store = source.store(&raw.store.0, &raw.cache.0, known_node.clone());
    let tls = source.tls(raw);
    let known_tls = tls.as_ref().ok();
    let listens = source.listens(raw);
    let service = source.service(&raw.service.0, listens.service, known_tls);
    let gateway = source.gateway(&raw.gateway.0, listens.gateway, known_tls);
    let admin = source.admin(&raw.admin.0, listens.admin, known_tls);
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
    let shutdown = source.shutdown(&raw.shutdown.0);
    let log = source.log(&raw.log.0);
    let audit = source.audit(&raw.audit.0, store.as_ref().ok(), known_node);
    let otlp = source.otlp(&raw.otlp.0);
    let compat = source.compat(&raw.compat.0);
    let default_identity = IdentityHeaders::new(&headers);
    let upstreams = upstream::upstreams(source, &raw.upstream, &default_identity);
    let named = upstreams.iter().flatten();
    let named = named.filter_map(|upstream| upstream.identity_headers.as_ref());
    let identity = default_identity.clone();
    let identity = identity.with(named.flat_map(IdentityNames::names));
    let has_proxy = listens.gateway.ok().is_none_or(|it| it.is_some());
    let targets = Targets::new(&raw.upstream, has_proxy);
    let networks = Networks::new(source, &raw.networks);
    let known_realms = realms.as_ref().cloned().unwrap_or_default();
    let principals = Principals::new(source, &raw.group, headers.name_chars, &known_realms);
    let parties = (&networks, &principals);
    let routes = route::routes(source, &raw.route, &targets, &identity, parties);
    let (networks, groups) = (networks.named(), principals.groups());
    if has_proxy {
        let serve_api = flag(raw.gateway.0.serve_api.as_ref());
        let health_path = raw.gateway.0.health_path.as_ref();
        let health_path = health_path.map(|path| path.get_ref().as_str());
        route::reject_shadowed(source, &raw.route, serve_api, health_path);
    }
    if let Some(proxies) = &raw.service.0.trusted_proxies
        && proxies.get_ref().is_empty()
        && !raw.route.is_empty()
        && !flag(raw.service.0.no_front_proxy.as_ref())
    {
        source.reject(
            "service.trusted_proxies",
            proxies,
            "at least one network while there are routes, since forward-auth would believe nobody \
             (or say service.no_front_proxy = true)",
        );
    }
    bounds::check(source, raw, &default_identity);
    let (mut upstreams, routes) = (upstreams?, routes?);
    upstream::ask_by_host(&mut upstreams, &routes);
    Ok(Config {
        store: store?,
        service: service?,
        gateway: gateway?,
        grpc: listens.grpc?,
        metrics: listens.metrics?,
        admin: admin?,
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
        included: source.text().included(),
        networks,
        groups,
        routes,
        upstreams,
        validities: source.validities(),
        places: Places::new(source, raw),
    })
}

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
