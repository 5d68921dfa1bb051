//! Lists the routes as they are understood.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderName, Method, StatusCode};

use super::call::{self, json};
use super::query::{Query, cursor};
use super::state::V1;
use super::types::{self, RouteMode};
use crate::auth::{Capability, Mode, Policy, Rule};
use crate::config::{Config, NetworkSet, Route};

const LIST: &str = "routes";

/// List routes
///
/// As this node understands its configuration, in the order in which they are tried.
#[utoipa::path(
    get, path = "/v1/routes", operation_id = "list_routes", tag = "server",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "The size of a page, 100 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, body = types::Routes, description = "A page")),
)]
pub(super) async fn routes(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        let mut query = Query::of(&call.uri);
        let limit = query.limit() as usize;
        let position = query.cursor(LIST);
        query.end()?;
        let position: usize = position.and_then(|it| it.parse().ok()).unwrap_or(0);
        let config = api.config.load_full();
        let page = config.routes.iter().skip(position).take(limit);
        let items = page.map(|route| shown(&config, route)).collect();
        let end = position.saturating_add(limit);
        let next = (end < config.routes.len()).then(|| cursor(LIST, &end.to_string()));
        json(StatusCode::OK, &types::Routes { items, next })
    })
    .await
}

fn shown(config: &Config, route: &Route) -> types::Route {
    let upstream = route.upstream.filter(|_| config.gateway.listen.is_some());
    let upstream = upstream.and_then(|at| config.upstreams.get(at));
    types::Route {
        name: route.name.clone(),
        host: texts(&route.hosts),
        path: texts(&route.paths),
        methods: route.methods.as_deref().map(methods),
        from: route
            .from
            .as_deref()
            .map(NetworkSet::listed)
            .and_then(texts),
        policy: policy(&route.policy),
        mode: mode(route.mode),
        upstream: upstream.map(|upstream| types::Upstream {
            name: upstream.name.clone(),
            peers: upstream
                .peers
                .iter()
                .map(|peer| peer.address.to_string())
                .collect(),
        }),
        effects: effects(config, route),
    }
}

/// Returns what applications and denied clients get.
pub fn effects(config: &Config, route: &Route) -> types::Effects {
    let upstream = route.upstream.and_then(|at| config.upstreams.get(at));
    let names = config.identity_headers(upstream);
    let text = |name: Option<HeaderName>| name.map(|name| name.to_string());
    let denials = route.denials.as_deref().cloned().unwrap_or_default();
    let headers = denials.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    types::Effects {
        challenge: denials.challenge.realm().to_owned(),
        errors: denials.errors().to_owned(),
        denial_headers: headers.collect(),
        identity_headers: types::IdentityHeaders {
            name: text(names.name),
            realm: text(names.realm),
            user: text(names.user),
        },
    }
}

/// Returns the texts of hosts or paths; `None` for any.
pub fn texts<T: ToString>(patterns: &[T]) -> Option<Vec<String>> {
    let texts = patterns.iter().map(ToString::to_string);
    (!patterns.is_empty()).then(|| texts.collect())
}

pub(super) fn methods(methods: &[Method]) -> Vec<String> {
    methods.iter().map(ToString::to_string).collect()
}

/// Describes the upstream of a route; `None` if there is no proxy.
pub fn upstream(config: &Config, route: &Route) -> Option<String> {
    let upstream = shown(config, route).upstream?;
    Some(format!("{} ({})", upstream.name, upstream.peers.join(", ")))
}

/// Returns whether a route enforces its policy.
pub(super) const fn mode(mode: Mode) -> RouteMode {
    match mode {
        Mode::Enforce => RouteMode::Enforce,
        Mode::Observe => RouteMode::Observe,
    }
}

/// Describes a policy.
pub fn policy(policy: &Policy) -> String {
    match policy {
        Policy::Anyone => "anyone, no credential needed".to_owned(),
        Policy::Authenticated => "every authenticated principal".to_owned(),
        Policy::Allow(rules) => listed(rules),
        Policy::Capable(capability) => format!("principals that may {capability:?}"),
        Policy::Both(one, other) => format!("{} and {}", self::policy(one), self::policy(other)),
        Policy::Except(of, rules) => format!("{} except {}", self::policy(of), listed(rules)),
    }
}

/// The maximum number of rules in a description.
const RULES: usize = 20;

fn listed(rules: &[Rule]) -> String {
    let shown: Vec<_> = rules.iter().take(RULES).map(ToString::to_string).collect();
    match rules.len().saturating_sub(RULES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
