mod fate;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::check;
use super::error::CliError;
use super::local_store::now;
use super::output::{DIM, Output, STRONG};
use super::setup::{load, runtime};
use crate::auth::{
    Denial, DenialCause, Foresight, Mode, Policy, Principal, PrincipalRef, Source, Store,
    split_user,
};
use crate::config::{Config, Route};
use crate::doors::explain::{
    Explanation, Inquiry, Misfit, REJECTED_SUB_REQUEST, explain, statuses,
};
use crate::server::{authenticator, store_options};
use crate::store::{self, Intent};
use fate::Fate;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Request method, in upper case
    method: String,
    /// URL, or path and query for a request without a host, encoded as the client sends it
    #[arg(value_name = "URL")]
    url: String,
    /// Caller, assumed to have a valid token; without it, the request has no credential
    #[arg(long = "as", value_name = "NAME@REALM")]
    who: Option<String>,
    /// Client address
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Door that decides the exit code [default: proxy, or forward-auth if there are no routes or no proxy]
    #[arg(long)]
    door: Option<Door>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Door {
    /// The transparent proxy
    Proxy,
    /// The endpoints for nginx, Traefik, Caddy, HAProxy and Envoy, which get the original request
    ForwardAuth,
    /// `/forward-auth`, which checks the credential only
    AnyForwardAuth,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let config = load(config)?;
    crate::telemetry::init(&config.log);
    let who = args.who.as_deref().map(|who| principal(who, &config));
    let who = who.transpose()?;
    let (host, target) = parts(&args.url);
    let inquiry = Inquiry {
        method: &args.method,
        host,
        target,
    };
    let explanation = explain(&config, &inquiry);
    let who = who.as_ref().map(Principal::as_ref);
    let account = runtime()?.block_on(async {
        let foresight = foresee(&config, who, args.from).await?;
        // Without routes the application authorizes.
        let policy = explanation
            .route
            .map_or(&Policy::Authenticated, |route| &route.policy);
        Ok::<_, CliError>(Account {
            asked: format!("{} {}", args.method, args.url.escape_debug()),
            by_route: foresight.denial(policy, &config.realms).await,
            by_credential: foresight
                .denial(&Policy::Authenticated, &config.realms)
                .await,
            explanation,
            foresight,
            config: &config,
        })
    })?;
    output.print(&account.json(), || account.text());
    let door = match args.door {
        Some(door) => door,
        None if config.routes.is_empty() || config.gateway.listen.is_none() => Door::ForwardAuth,
        None => Door::Proxy,
    };
    let fate = match door {
        Door::Proxy => account.at_proxy().ok_or(CliError::NoProxy)?,
        Door::ForwardAuth => account.at_forward_auth(),
        Door::AnyForwardAuth => account.at_any_forward_auth(),
    };
    match fate.reason {
        None => Ok(()),
        Some(reason) => Err(CliError::Denied(reason)),
    }
}

/// Splits a URL into its host, if it has one, and its path with the query.
fn parts(url: &str) -> (Option<&str>, &str) {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let Some(rest) = rest else {
        return (None, url);
    };
    // A client never sends the fragment.
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (Some(host), if target.is_empty() { "/" } else { target })
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

/// The collected explanation.
struct Account<'a> {
    asked: String,
    explanation: Explanation<'a>,
    foresight: Foresight<'a>,
    /// The denial under the policy of the route.
    by_route: Option<Denial>,
    /// The denial where only the credential is checked.
    by_credential: Option<Denial>,
    config: &'a Config,
}

impl Account<'_> {
    /// Returns the policy of the matching route, if there is one.
    fn policy(&self) -> Option<&Policy> {
        self.explanation.route.map(|route| &route.policy)
    }

    /// Returns whether the matching route only observes.
    fn is_observed(&self) -> bool {
        let route = self.explanation.route;
        route.is_some_and(|route| route.mode == Mode::Observe)
    }

    /// Returns the outcome at the proxy, if there is one.
    fn at_proxy(&self) -> Option<Fate> {
        self.config.gateway.listen?;
        let explanation = &self.explanation;
        Some(match (&explanation.rejected, &self.by_route) {
            _ if explanation.is_own => Fate::permit(None),
            (Some(rejected), _) => Fate::rejected(rejected, rejected.status),
            (None, Some(denial)) if self.is_observed() => {
                Fate::observed(None, denial, statuses(denial).0)
            }
            (None, Some(denial)) => Fate::denial(denial, statuses(denial).0),
            (None, None) => Fate::permit(None),
        })
    }

    /// Returns the outcome at the forward-auth endpoints that know the original request.
    fn at_forward_auth(&self) -> Fate {
        let has_routes = !self.config.routes.is_empty();
        match &self.explanation.rejected {
            Some(rejected) if has_routes || rejected.reason != "no_route" => {
                Fate::rejected(rejected, REJECTED_SUB_REQUEST)
            }
            _ => match &self.by_route {
                Some(denial) if self.is_observed() => {
                    Fate::observed(Some(200), denial, statuses(denial).1)
                }
                denial => Fate::sub_request(denial.as_ref()),
            },
        }
    }

    /// Returns the outcome at `/forward-auth`, which does not match the request against the routes.
    fn at_any_forward_auth(&self) -> Fate {
        Fate::sub_request(self.by_credential.as_ref())
    }

    fn rule(&self) -> Option<String> {
        let rule = self.policy()?.rule_for(self.foresight.principal?)?;
        Some(match &rule.name {
            Some(name) => format!("{name}@{}", rule.realm),
            None => format!("realm {}", rule.realm),
        })
    }

    fn upstream(&self) -> Option<String> {
        let route = self.explanation.route?;
        check::upstream(self.config, route)
    }

    fn text(&self) -> String {
        let mut text = format!("{STRONG}{}{STRONG:#}\n", self.asked);
        let explanation = &self.explanation;
        if let (Some(path), None) = (&explanation.path, &explanation.other) {
            let _ = writeln!(text, "path: {path}");
        }
        if let Some((reading, route)) = &explanation.other {
            let route = route.map_or_else(|| "no route".to_owned(), |name| format!("route {name}"));
            let _ = writeln!(
                text,
                "some servers read it as {reading}, which matches {route}"
            );
        }
        if explanation.is_own {
            text.push_str("realmgate serves this path itself on the proxy's listener\n");
        }
        for (route, misfits) in &explanation.tried {
            let is_it = explanation.route.is_some_and(|it| it.name == route.name);
            let why = if is_it && explanation.other.is_some() {
                "matches the path as written".to_owned()
            } else if is_it {
                format!("match; allows {}", check::allowed(route))
            } else {
                let whys: Vec<_> = misfits.iter().map(|it| because(*it, route)).collect();
                format!("no match ({})", whys.join("; "))
            };
            let style = if is_it { STRONG } else { DIM };
            let _ = writeln!(text, "  {style}route {}: {why}{style:#}", route.name);
        }
        if self.config.routes.is_empty() {
            text.push_str("no routes: forward-auth allows every authenticated principal\n");
        }
        if let Some(who) = self.foresight.principal {
            let _ = writeln!(text, "{who:?}: {}", self.standing(who));
        } else {
            text.push_str("no credential\n");
        }
        let passed = match (self.upstream(), &explanation.forwarded) {
            _ if explanation.is_own => "realmgate responds itself".to_owned(),
            (Some(upstream), Some(path)) => format!("passes to {upstream} as {path}"),
            _ => "passes".to_owned(),
        };
        let proxy = self.at_proxy().map(|it| it.text(&passed));
        let _ = writeln!(text, "proxy: {}", proxy.as_deref().unwrap_or("off"));
        let described = self.at_forward_auth().text("200, passes");
        let _ = writeln!(
            text,
            "forward-auth for nginx, Traefik, Caddy, HAProxy or Envoy: {described}"
        );
        let any = self.at_any_forward_auth().text("200, passes");
        let _ = write!(
            text,
            "/forward-auth, which ignores routes and checks the credential only: {any}"
        );
        text
    }

    /// Describes the identity of the principal.
    fn standing(&self, who: PrincipalRef<'_>) -> String {
        let foresight = &self.foresight;
        let mut text = match foresight.cause {
            None => "exists and is enabled".to_owned(),
            Some(cause) => cause.reason().replace('_', " "),
        };
        let is_denied = foresight.cause.is_some() || foresight.retry_after.is_some();
        if let Some(wait) = foresight.retry_after {
            let wait = humantime::format_duration(wait);
            text = match foresight.cause {
                None => format!("throttled for {wait}"),
                Some(_) => format!("{text}; throttled for {wait}"),
            };
        }
        if foresight.is_one_time {
            text.push_str("; each token is valid for one request");
        }
        match (self.policy(), self.rule()) {
            (_, Some(rule)) => {
                let otherwise = if is_denied { "otherwise " } else { "" };
                let _ = write!(text, "; {otherwise}allowed by {rule}");
            }
            (Some(policy), None) if !policy.admits(who, &self.config.realms) => {
                text.push_str("; no rule of the route allows it");
            }
            _ => {}
        }
        text
    }

    fn json(&self) -> Value {
        let explanation = &self.explanation;
        let routes: Vec<_> = explanation
            .tried
            .iter()
            .map(|(route, misfits)| {
                let misfits: Vec<_> = misfits.iter().map(|it| word(*it)).collect();
                json!({ "name": route.name, "misfits": misfits })
            })
            .collect();
        let foresight = &self.foresight;
        json!({
            "path": explanation.path,
            "other_path": explanation.other.as_ref().map(|(path, _)| path),
            "other_route": explanation.other.as_ref().and_then(|(_, route)| *route),
            "routes": routes,
            "route": explanation.route.map(|route| &route.name),
            "policy": self.policy().map(check::policy),
            "mode": explanation.route.map(|route| check::mode(route.mode)),
            "rule": self.rule(),
            "name": foresight.principal.map(PrincipalRef::name),
            "realm": foresight.principal.map(PrincipalRef::realm),
            "refusal": foresight.cause.map(DenialCause::reason),
            "retry_after": foresight.retry_after.map(|it| it.as_secs()),
            "once": foresight.is_one_time,
            "upstream": self.upstream(),
            "upstream_path": explanation.forwarded,
            "own": explanation.is_own,
            "proxy": self.at_proxy().as_ref().map(Fate::json),
            "forward_auth": self.at_forward_auth().json(),
            "any_forward_auth": self.at_any_forward_auth().json(),
        })
    }
}

fn because(misfit: Misfit, route: &Route) -> String {
    match misfit {
        Misfit::Host => format!("host is not {}", route.host.as_deref().unwrap_or("any")),
        Misfit::Path => format!("path is not under {}", route.path.as_deref().unwrap_or("/")),
        Misfit::Method => {
            let methods = route.methods.iter().flatten();
            let methods: Vec<_> = methods.map(http::Method::as_str).collect();
            let methods = match methods.as_slice() {
                [first @ .., last] if !first.is_empty() => {
                    format!("{} or {last}", first.join(", "))
                }
                all => all.join(""),
            };
            format!("method is not {methods}")
        }
    }
}

const fn word(misfit: Misfit) -> &'static str {
    match misfit {
        Misfit::Host => "host",
        Misfit::Path => "path",
        Misfit::Method => "method",
    }
}
