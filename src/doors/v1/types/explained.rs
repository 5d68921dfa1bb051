//! Explanations of requests.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::effects::Effects;

/// A request to be explained.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Inquiry {
    /// The method in upper case.
    #[schema(min_length = 1, max_length = 64)]
    pub method: String,
    /// The URL, or the path and query for a request without a host.
    #[schema(min_length = 1, max_length = 16384)]
    pub url: String,
    /// The caller as NAME@REALM, assumed to have a valid token; null for no credential.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 300)]
    pub who: Option<String>,
    /// The client address that a trusted party names. One in service.trusted_proxies names no
    /// client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 45)]
    pub from: Option<std::net::IpAddr>,
}

/// How a request would be decided.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The path with everything decoded and removed that some server decodes or removes; null if it
    /// is rejected whatever the routes are.
    pub path: Option<String>,
    /// The first of `readings`.
    pub other_path: Option<String>,
    /// The name of its route.
    pub other_route: Option<String>,
    /// The readings of the path that match another route or none, so that the request is rejected.
    #[serde(default)]
    pub readings: Vec<Reading>,
    /// The tried routes in order.
    pub routes: Vec<Tried>,
    /// The route that decides.
    pub route: Option<String>,
    /// Its policy in words.
    pub policy: Option<String>,
    /// Whether it enforces its policy.
    pub mode: Option<RouteMode>,
    /// The rule of the policy that admits the caller.
    pub rule: Option<String>,
    /// The exception of the policy that excludes the caller.
    #[serde(default)]
    pub exception: Option<String>,
    /// The client address with which routes are matched; null if no trusted party names it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub client: Option<std::net::IpAddr>,
    pub name: Option<String>,
    pub realm: Option<String>,
    /// Why the caller is rejected even with a correct token.
    pub refusal: Option<String>,
    /// The rest of its throttling delay in seconds.
    pub retry_after: Option<u64>,
    /// Whether each of its tokens is accepted only once.
    pub once: bool,
    /// Whether the policy of the route admits the caller.
    pub admitted: Option<bool>,
    /// Whether there are routes.
    pub has_routes: bool,
    pub upstream: Option<String>,
    /// What the application and denied clients get; null without a route.
    #[serde(default)]
    pub effects: Option<Effects>,
    /// The path and query for the upstream.
    pub upstream_path: Option<String>,
    /// Whether realmgate serves the path itself on the proxy's listener.
    pub own: bool,
    /// The outcome at the proxy; null if it is off.
    pub proxy: Option<Fate>,
    /// The outcome at the forward-auth endpoints that know the original request.
    pub forward_auth: Fate,
    /// The outcome at `/forward-auth`, which ignores routes.
    pub any_forward_auth: Fate,
}

/// A reading of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reading {
    pub path: String,
    /// The route that matches it; null for none.
    pub route: Option<String>,
    /// Whether servers divide it into segments in different ways, so that the route may match or not.
    pub divided: bool,
}

/// Whether a route enforces its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteMode {
    Enforce,
    /// It only logs and counts what it would deny.
    Observe,
}

/// A tried route.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tried {
    pub name: String,
    /// The criteria that the request does not match.
    pub misfits: Vec<Misfit>,
    pub host: Option<Vec<String>>,
    pub path: Option<Vec<String>>,
    pub methods: Option<Vec<String>>,
    /// The networks of its clients.
    #[serde(default)]
    pub from: Option<Vec<String>>,
}

/// A criterion of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Misfit {
    Host,
    Path,
    Method,
    Network,
}

/// The outcome at a door.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Fate {
    pub passes: bool,
    /// The status; null if the upstream responds.
    pub status: Option<u16>,
    /// The reason of a denial, listed in docs/reasons.md.
    pub reason: Option<String>,
    pub detail: Option<String>,
    /// The reason for which it would be denied if the route enforced its policy.
    pub observed: Option<String>,
    /// The status that it would get then.
    pub observed_status: Option<u16>,
}
