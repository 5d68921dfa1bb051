mod files;

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::connection::Connection;
use super::error::CliError;
use super::nobody::of_nobody;
use super::output::Output;
use super::rows::of_rows;
use super::setup::{load, runtime};
use crate::auth::Mode;
use crate::config::{Config, NetworkSet, Peer, PeerAddress, Route, Transport};
use crate::doors::v1::{effects, policy, texts, upstream};
use crate::doors::{Resolver, most_files};
use crate::server::store_options;
use crate::store::Options;
use files::{missing_directories, readable_secrets, unwritable};

/// The maximum wait for the resolution of peer names.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Exit with code 2 if there are warnings, other than those about open files and missing directories
    #[arg(long)]
    strict: bool,
    /// Also connect to the database, and print its version, role, TLS, lag and schema; changes nothing
    #[arg(long)]
    connect: bool,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let meant = load(config)?;
    let store = store_options(&meant.store)?;
    let mut warnings = warnings(&meant, &store);
    warnings.extend(unknown_names(&meant)?);
    let connection = match args.connect {
        true => Some(Connection::try_out(&store)?),
        false => None,
    };
    warnings.extend(connection.iter().flat_map(Connection::warnings));
    if connection.as_ref().is_some_and(Connection::has_tables) {
        warnings.extend(of_nobody(&meant, store_options(&meant.store)?)?);
        warnings.extend(of_rows(store_options(&meant.store)?)?);
    }
    let strict = warnings.len();
    // These warnings depend on the machine, not on the configuration, so `--strict` ignores them.
    warnings.extend(meant.limits.file_warning(&meant.server, most_files()));
    warnings.extend(missing_directories(&store));
    let from = config.map_or_else(
        || "defaults, no file".to_owned(),
        |path| path.display().to_string(),
    );
    let mut value = json(&meant, &store, &warnings);
    if let (Some(connection), Some(value)) = (&connection, value.as_object_mut()) {
        value.insert("connection".to_owned(), connection.json());
    }
    output.print(&value, || {
        let mut text = text(&meant, &store, &from);
        if let Some(connection) = &connection {
            let _ = write!(text, "\n{}", connection.text());
        }
        text.push_str("\nok");
        text
    });
    for warning in &warnings {
        output.warn(warning);
    }
    match strict {
        many if args.strict && many > 0 => Err(CliError::Warned(many)),
        _ => Ok(()),
    }
}

/// Returns warnings about valid settings that are probably mistakes.
fn warnings(config: &Config, store: &Options) -> Vec<String> {
    let metrics = config.metrics.and_then(exposed);
    let limits = config.limits.warnings(&config.upstreams);
    let certificates = config.certificate_warnings(SystemTime::now());
    let metrics = metrics.into_iter().map(str::to_owned);
    let audit = config.audit.file.as_deref().and_then(unwritable);
    let secrets = readable_secrets(store);
    let warnings = metrics.chain(limits).chain(certificates).chain(audit);
    let warnings = warnings.chain(secrets);
    let of_config = config.warnings().into_iter().map(|it| it.to_string());
    warnings.chain(of_config).collect()
}

/// Resolves the names of all peers concurrently. Returns a warning for each that is not found.
fn unknown_names(config: &Config) -> Result<Vec<String>, CliError> {
    let resolver = Resolver::default();
    let look = |upstream: &str, at: usize, peer: &Peer| {
        let PeerAddress::Named(name) = &peer.address else {
            return None;
        };
        let (key, name) = (format!("upstream.{upstream}.peers[{at}]"), name.clone());
        let resolver = resolver.clone();
        Some(async move {
            let found = tokio::time::timeout(LOOK, resolver.look_up(&name)).await;
            let why = match found {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", LOOK.as_secs()),
            };
            Some(format!(
                "{key} = {name:?}: the name cannot be resolved now ({why}); `serve` keeps trying"
            ))
        })
    };
    // Without a proxy, upstreams are not used.
    let upstreams = match config.gateway.listen {
        Some(_) => config.upstreams.as_slice(),
        None => &[],
    };
    let looks: Vec<_> = upstreams
        .iter()
        .flat_map(|upstream| {
            let peers = upstream.peers.iter().enumerate();
            peers.filter_map(|(at, peer)| look(&upstream.name, at, peer))
        })
        .collect();
    if looks.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = runtime()?;
    let found = runtime.block_on(join_all(looks));
    // A resolver that hangs must not keep the process running.
    runtime.shutdown_background();
    Ok(found.into_iter().flatten().collect())
}

/// Returns a warning if other machines can reach the metrics listener.
pub(super) fn exposed(metrics: SocketAddr) -> Option<&'static str> {
    let is_exposed = !metrics.ip().to_canonical().is_loopback();
    is_exposed.then_some(
        "metrics.listen is not a loopback address: anyone who can reach it can read the names of routes, \
         realms and upstreams, and which credentials fail; keep it on a trusted network",
    )
}

fn text(config: &Config, store: &Options, from: &str) -> String {
    let mut text = format!("configuration: {from}");
    let _ = match config.included.len() {
        0 => writeln!(text),
        1 => writeln!(text, ", with 1 included file"),
        many => writeln!(text, ", with {many} included files"),
    };
    let _ = writeln!(
        text,
        "service:  {}  REST, forward-auth, health",
        url(config.service.listen, &config.service.transport)
    );
    match config.gateway.listen {
        Some(gateway) => {
            let _ = writeln!(
                text,
                "gateway:  {}  proxy{}",
                url(gateway, &config.gateway.transport),
                if config.gateway.serve_api {
                    ", REST and forward-auth"
                } else {
                    ""
                }
            );
            if let Some(path) = &config.gateway.health_path {
                let _ = writeln!(
                    text,
                    "          {path} is realmgate's own health, for every host"
                );
            }
        }
        None => text.push_str("gateway:  off\n"),
    }
    if let Some(grpc) = config.grpc {
        let _ = writeln!(text, "grpc:     {grpc}  Envoy's ext_authz");
    }
    match config.metrics {
        Some(metrics) => {
            let _ = writeln!(text, "metrics:  http://{metrics}  metrics, health");
        }
        None => text.push_str("metrics:  off\n"),
    }
    if let Some(admin) = config.admin.listen {
        let origin = config.admin.origin.clone();
        let origin = origin.unwrap_or_else(|| url(admin, &config.admin.transport));
        let _ = writeln!(text, "admin:    {origin}  admin page, listens at {admin}");
    }
    let _ = writeln!(
        text,
        "store:    {}, encrypted with {}",
        store.database.location(),
        store.key
    );
    let proxies: Vec<_> = config
        .service
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    let _ = writeln!(text, "trusted front proxies: {}", proxies.join(", "));
    let _ = writeln!(
        text,
        "tokens:   {} digits, {} s, {}, window {}",
        config.totp.parameters.digits(),
        config.totp.parameters.period(),
        config.totp.parameters.algorithm(),
        config.totp.window
    );
    if config.routes.is_empty() {
        text.push_str(
            match config.gateway.listen {
                Some(_) => "routes:   none: the proxy responds with 404, forward-auth allows every authenticated principal\n",
                None => "routes:   none: forward-auth allows every authenticated principal\n",
            }
        );
    } else {
        text.push_str("routes (first match wins; no match is denied):\n");
    }
    for route in &config.routes {
        let _ = writeln!(
            text,
            "  {}: {} {}{}{}{}: {}{}",
            route.name,
            methods(route),
            place(route),
            origin(route),
            spellings(route),
            upstream(config, route).map_or_else(String::new, |it| format!(" → {it}")),
            allowed(route),
            answers(config, route),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn json(config: &Config, store: &Options, warnings: &[String]) -> serde_json::Value {
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| {
            serde_json::json!({
                "name": route.name,
                "host": texts(&route.hosts),
                "path": texts(&route.paths),
                "methods": route.methods.as_ref().map(|_| methods(route)),
                "from": route.from.as_deref().map(NetworkSet::listed).and_then(texts),
                "ignore_case": route.ignore_case,
                "ignore_suffix": route.ignore_suffix,
                "policy": policy(&route.policy),
                "mode": mode(route.mode),
                "upstream": upstream(config, route),
                "effects": effects(config, route),
            })
        })
        .collect();
    serde_json::json!({
        "included": config.included,
        "service": config.service.listen,
        "service_tls": config.service.transport.tls,
        "gateway": config.gateway.listen,
        "gateway_tls": config.gateway.transport.tls,
        "serve_api": config.gateway.serve_api,
        "health_path": config.gateway.health_path,
        "grpc": config.grpc,
        "metrics": config.metrics,
        "admin": config.admin.listen,
        "store": store.database.location().to_string(),
        "key": store.key.to_string(),
        "key_file": store.key.path(),
        "window": config.totp.window,
        "routes": routes,
        "warnings": warnings,
    })
}

/// Describes the hosts and paths of a route.
fn place(route: &Route) -> String {
    let joined = |texts: Option<Vec<String>>| texts.map(|texts| texts.join(", "));
    let hosts = joined(texts(&route.hosts)).unwrap_or_else(|| "any host".to_owned());
    let paths = joined(texts(&route.paths)).unwrap_or_else(|| "/".to_owned());
    let is_one = route.hosts.len() < 2 && route.paths.len() < 2 && paths.starts_with('/');
    let space = if is_one { "" } else { " " };
    format!("{hosts}{space}{paths}")
}

pub(super) fn methods(route: &Route) -> String {
    match &route.methods {
        None => "any method".to_owned(),
        Some(methods) => {
            let names: Vec<_> = methods.iter().map(http::Method::as_str).collect();
            names.join(" ")
        }
    }
}

fn origin(route: &Route) -> String {
    let networks = route
        .from
        .as_deref()
        .map(NetworkSet::listed)
        .and_then(texts);
    networks.map_or_else(String::new, |networks| {
        format!(" from {}", networks.join(", "))
    })
}

fn spellings(route: &Route) -> &'static str {
    match (route.ignore_case, route.ignore_suffix) {
        (false, false) => "",
        (true, false) => " in any case",
        (false, true) => " with any suffix",
        (true, true) => " in any case, with any suffix",
    }
}

/// Describes the responses to denied requests and the identity headers, unless they are the default.
fn answers(config: &Config, route: &Route) -> String {
    let effects = effects(config, route);
    let own = route.upstream.and_then(|at| config.upstreams.get(at));
    let has_names = own.is_some_and(|upstream| upstream.identity_headers.is_some());
    let names = has_names.then(|| format!("identity headers: {}", effects.identity_headers));
    let denials = effects.denials().map(|it| format!("denials: {it}"));
    let texts: Vec<_> = denials.into_iter().chain(names).collect();
    match texts.is_empty() {
        true => String::new(),
        false => format!(" ({})", texts.join("; ")),
    }
}

/// Returns the URL of a listener.
fn url(listen: SocketAddr, transport: &Transport) -> String {
    let scheme = if transport.tls { "https" } else { "http" };
    format!("{scheme}://{listen}")
}

/// Describes who may pass a route.
pub(super) fn allowed(route: &Route) -> String {
    let policy = policy(&route.policy);
    match route.mode {
        Mode::Enforce => policy,
        Mode::Observe => format!("NOT ENFORCED, observes: {policy}"),
    }
}

pub(super) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}
