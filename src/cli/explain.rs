use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;

use super::error::CliError;
use super::local_store::now;
use super::option_error::OptionError;
use super::output::{BAD, DIM, GOOD, Output, STRONG};
use super::remote::connect;
use super::setup::{load, runtime};
use super::who::Named;
use crate::auth::{Foresight, Principal, PrincipalRef, Source, Store, split_user};
use crate::config::Config;
use crate::doors::v1::explained;
use crate::doors::v1::types::{Explained, Fate, Inquiry, Misfit, Reading, RouteMode, Tried};
use crate::server::{authenticator, store_options};
use crate::store::{self, Intent};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Request method, in upper case
    method: String,
    /// URL, or path and query for a request without a host, encoded as the client sends it
    #[arg(value_name = "URL")]
    url: String,
    /// Caller of the request, assumed to have a valid token; without it, the request has no credential
    #[arg(long, value_name = "NAME@REALM")]
    caller: Option<String>,
    /// With --server: the administrator that authenticates to it. Without --server, the same as --caller
    #[arg(long = "as", value_name = "NAME@REALM")]
    who: Option<String>,
    /// Explain with the configuration and the identities of this server, over its administration API
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Token of the administrator
    #[arg(long, value_name = "TOKEN", requires = "server")]
    token: Option<String>,
    /// File with the seed of the administrator, or `-` for standard input
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        conflicts_with = "token"
    )]
    seed_file: Option<PathBuf>,
    /// Client address, as a trusted party would name it; without this, routes with `from` do not match
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Door whose decision sets the exit code [default: proxy, or forward-auth if there are no routes or no proxy]
    #[arg(long)]
    door: Option<Door>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Door {
    /// The transparent proxy
    Proxy,
    /// The endpoints for nginx, Traefik, Caddy, HAProxy and Envoy, which get a description of the original request
    ForwardAuth,
    /// `/forward-auth`, which checks the credential only
    AnyForwardAuth,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let is_bare = !args.url.starts_with('/') && !args.url.contains("://") && args.url != "*";
    if is_bare && !args.url.is_empty() {
        return Err(OptionError::BareUrl(args.url.escape_debug().to_string()).into());
    }
    if let Some(url) = &args.server {
        let is_proven = args.token.is_some() || args.seed_file.is_some();
        let administrator = args.who.as_ref().filter(|_| is_proven);
        let administrator = administrator.ok_or(OptionError::NoAdministrator)?;
        return run_there(args, url, administrator, output);
    }
    let config = load(config)?;
    crate::telemetry::init(&config.log);
    let who = args.caller.as_deref().or(args.who.as_deref());
    let who = who.map(|who| principal(who, &config));
    let who = who.transpose()?;
    let who = who.as_ref().map(Principal::as_ref);
    let explained = runtime()?.block_on(async {
        let foresight = foresee(&config, who, args.from).await?;
        let request = (&*args.method, &*args.url, args.from);
        Ok::<_, CliError>(explained(&config, request, &foresight).await)
    })?;
    print(args, &explained, output)
}

fn run_there(args: &Args, url: &str, administrator: &str, output: Output) -> Result<(), CliError> {
    let administrator = administrator.parse::<Named>();
    let administrator = administrator.map_err(|_| CliError::NotAPrincipal)?;
    let (token, seed_file) = (args.token.as_deref(), args.seed_file.as_deref());
    let server = connect(url, &administrator, token, seed_file)?;
    let inquiry = Inquiry {
        method: args.method.clone(),
        url: args.url.clone(),
        who: args.caller.clone(),
        from: args.from,
    };
    let explained = runtime()?.block_on(server.post("/v1/explain", &inquiry))?;
    print(args, &explained, output)
}

/// Prints an explanation. The exit code is that of the selected door.
fn print(args: &Args, explained: &Explained, output: Output) -> Result<(), CliError> {
    output.print(explained, || text(args, explained));
    let door = match args.door {
        Some(door) => door,
        None if !explained.has_routes || explained.proxy.is_none() => Door::ForwardAuth,
        None => Door::Proxy,
    };
    let fate = match door {
        Door::Proxy => explained.proxy.as_ref().ok_or(CliError::NoProxy)?,
        Door::ForwardAuth => &explained.forward_auth,
        Door::AnyForwardAuth => &explained.any_forward_auth,
    };
    match &fate.reason {
        None => Ok(()),
        Some(reason) => Err(CliError::Denied(reason.clone())),
    }
}

fn principal(who: &str, config: &Config) -> Result<Principal, CliError> {
    let (name, realm) = split_user(who).map_err(|_| CliError::NotAPrincipal)?;
    let limit = config.credential_headers.name_chars;
    Ok(Principal::new(name, realm, limit)?)
}

/// Predicts the authentication of a principal. Opens the local store for it.
async fn foresee<'a>(
    config: &Config,
    who: Option<PrincipalRef<'a>>,
    source: Option<IpAddr>,
) -> Result<Foresight<'a>, CliError> {
    let Some(who) = who else {
        return Ok(Foresight::no_credential());
    };
    let store: Arc<dyn Store> = store::open(store_options(&config.store)?, Intent::Read).await?;
    let authenticator = authenticator(config, &store).await?;
    let source = Source::of(source);
    Ok(authenticator.foresee(who, source, now()).await?)
}

fn text(args: &Args, explained: &Explained) -> String {
    let asked = format!("{} {}", args.method, args.url.escape_debug());
    let mut text = format!("{STRONG}{asked}{STRONG:#}\n");
    if let (Some(path), None) = (&explained.path, &explained.other_path) {
        let _ = writeln!(text, "path: {path}");
    }
    for Reading {
        path,
        route,
        divided,
    } in &explained.readings
    {
        let _ = match (route, divided) {
            (Some(route), true) => writeln!(
                text,
                "some servers divide it into other segments: route {route} may match or not"
            ),
            (None, true) => writeln!(
                text,
                "some servers divide it into other segments, for which other routes may match"
            ),
            (Some(route), false) => writeln!(
                text,
                "some servers read it as {path}, which matches route {route}"
            ),
            (None, false) => {
                writeln!(
                    text,
                    "some servers read it as {path}, which matches no route"
                )
            }
        };
    }
    if explained.own {
        text.push_str("realmgate serves this path itself on the proxy's listener\n");
    }
    for tried in &explained.routes {
        let is_it = explained.route.as_ref() == Some(&tried.name);
        let why = if is_it && explained.other_path.is_some() {
            "matches the path as written".to_owned()
        } else if is_it {
            let policy = explained.policy.as_deref().unwrap_or_default();
            match explained.mode {
                Some(RouteMode::Observe) => {
                    format!("match; allows NOT ENFORCED, observes: {policy}")
                }
                _ => format!("match; allows {policy}"),
            }
        } else {
            let client = (explained.client.is_some(), args.from);
            let because = |it: &Misfit| because(*it, tried, client);
            let whys: Vec<_> = tried.misfits.iter().map(because).collect();
            format!("no match ({})", whys.join("; "))
        };
        let style = if is_it { STRONG } else { DIM };
        let _ = writeln!(text, "  {style}route {}: {why}{style:#}", tried.name);
    }
    if let Some(effects) = &explained.effects {
        if let Some(denials) = effects.denials() {
            let _ = writeln!(text, "denials: {denials}");
        }
        let _ = writeln!(text, "identity headers: {}", effects.identity_headers);
    }
    if !explained.has_routes {
        text.push_str("no routes: forward-auth allows every authenticated principal\n");
    }
    match (&explained.name, &explained.realm) {
        (Some(name), Some(realm)) => {
            let who = format!("{}@{}", name.escape_debug(), realm.escape_debug());
            let _ = writeln!(text, "{who}: {}", standing(explained));
        }
        _ => text.push_str("no credential\n"),
    }
    let passed = match (&explained.upstream, &explained.upstream_path) {
        _ if explained.own => "realmgate responds itself".to_owned(),
        (Some(upstream), Some(path)) => format!("passes to {upstream} as {path}"),
        _ => "passes".to_owned(),
    };
    let proxy = explained.proxy.as_ref().map(|it| fate(it, &passed));
    let _ = writeln!(text, "proxy: {}", proxy.as_deref().unwrap_or("off"));
    let described = fate(&explained.forward_auth, "200, passes");
    let _ = writeln!(
        text,
        "forward-auth for nginx, Traefik, Caddy, HAProxy or Envoy: {described}"
    );
    let any = fate(&explained.any_forward_auth, "200, passes");
    let _ = write!(
        text,
        "/forward-auth, which ignores routes and checks the credential only: {any}"
    );
    text
}

/// Describes the identity of the principal.
fn standing(explained: &Explained) -> String {
    let refusal = explained.refusal.as_deref();
    let mut text = refusal.map_or_else(
        || "exists and is enabled; a valid token is assumed".to_owned(),
        |refusal| refusal.replace('_', " "),
    );
    let is_denied = refusal.is_some() || explained.retry_after.is_some();
    if let Some(wait) = explained.retry_after {
        let wait = humantime::format_duration(std::time::Duration::from_secs(wait));
        text = match refusal {
            None => format!("throttled for {wait}"),
            Some(_) => format!("{text}; throttled for {wait}"),
        };
    }
    if explained.once {
        text.push_str("; each token is valid for one request");
    }
    if let Some(exception) = &explained.exception {
        let _ = write!(text, "; excluded by the exception {exception}");
        return text;
    }
    match (&explained.rule, explained.admitted) {
        (Some(rule), _) => {
            let otherwise = if is_denied { "otherwise " } else { "" };
            let _ = write!(text, "; {otherwise}allowed by {rule}");
        }
        (None, Some(false)) => text.push_str("; no rule of the route allows it"),
        _ => {}
    }
    text
}

fn fate(fate: &Fate, passed: &str) -> String {
    let Some(reason) = &fate.reason else {
        return match (&fate.observed, fate.observed_status) {
            (Some(reason), Some(status)) => format!(
                "{BAD}{passed}, not enforced{BAD:#}: mode = \"enforce\" would give {status} {reason}"
            ),
            _ => format!("{GOOD}{passed}{GOOD:#}"),
        };
    };
    let status = fate.status.unwrap_or_default();
    match &fate.detail {
        Some(detail) => format!("{BAD}{status} {reason}{BAD:#}: {detail}"),
        None => format!("{BAD}{status} {reason}{BAD:#}"),
    }
}

fn because(misfit: Misfit, route: &Tried, (has_client, from): (bool, Option<IpAddr>)) -> String {
    match misfit {
        Misfit::Host => format!("host is not {}", either(route.host.as_deref())),
        Misfit::Path => {
            let paths = route.path.as_deref().unwrap_or_default();
            let is = |path: &String| match path.strip_prefix('=') {
                Some(exact) => exact.to_owned(),
                None => format!("under {path}"),
            };
            let paths: Vec<_> = paths.iter().map(is).collect();
            format!("path is not {}", either(Some(&paths)))
        }
        Misfit::Method => format!("method is not {}", either(route.methods.as_deref())),
        Misfit::Network if has_client => {
            format!("client is not in {}", either(route.from.as_deref()))
        }
        Misfit::Network if from.is_some() => {
            "the address is one of a front proxy or load balancer, which is never a client"
                .to_owned()
        }
        Misfit::Network => {
            "no trusted party names the address of the client; try --from".to_owned()
        }
    }
}

/// Joins texts with "or".
fn either(texts: Option<&[String]>) -> String {
    match texts.unwrap_or_default() {
        [first @ .., last] if !first.is_empty() => {
            format!("{} or {last}", first.join(", "))
        }
        all => all.join(""),
    }
}
