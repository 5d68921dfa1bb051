//! Predicts the route of a request with the code of the doors.

use std::fmt::{self, Write};
use std::net::IpAddr;

use http::{Method, StatusCode};

use super::endpoints::{is_like_public, is_public};
use crate::auth::Denial;
use crate::config::{Config, Route};
use crate::http::own_response::OwnResponse;
use crate::http::rejection::Rejection;
use crate::routing::input::MatchInput;
use crate::routing::route::{RouteTable, Unrouted};

/// A request to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// The `Host` header; `None` if the request has none.
    pub host: Option<&'a str>,
    /// The path and query as sent.
    pub target: &'a str,
    /// The address of the client; `None` if no trusted party names it.
    pub client: Option<IpAddr>,
}

/// The route of a request, before its credential is read.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The path with everything decoded and removed that some server decodes or removes. `None` if
    /// the path is rejected, whatever the routes are.
    pub path: Option<String>,
    /// The readings of the path for which another route matches, or none, if it is rejected for
    /// them.
    pub others: Vec<Reading<'a>>,
    /// The tried routes in order, with the criteria that do not match. The last one decides if it
    /// is `route`.
    pub tried: Vec<(&'a Route, Vec<Misfit>)>,
    /// The route that decides.
    pub route: Option<&'a Route>,
    /// Why the request is rejected at both doors.
    pub rejected: Option<Rejected>,
    /// Why the proxy's listener rejects the request before it looks for a route.
    pub rejected_at_proxy: Option<Rejected>,
    /// The path for the upstream.
    pub forwarded: Option<String>,
    /// Whether realmgate serves the path itself on the proxy's listener.
    pub is_own: bool,
}

/// A reading of a path.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The path.
    pub path: String,
    /// The name of the route that matches it.
    pub route: Option<&'a str>,
    /// Whether servers divide it into segments in different ways, so that the route may match or
    /// not.
    pub is_divided: bool,
}

/// A criterion of a route that a request does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The method.
    Method,
    /// The network of the client.
    Network,
}

/// Why a request is rejected before its credential is read.
#[derive(Clone, Copy, Debug)]
pub struct Rejected {
    /// A stable code, listed in `docs/reasons.md`.
    pub reason: &'static str,
    /// The status of the proxy's response.
    pub status: u16,
    rejection: Rejection,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)
    }
}

/// Returns the status of a denial at the proxy and at forward-auth.
pub fn statuses(denial: &Denial) -> (u16, u16) {
    let (proxy, sub_request) = (
        OwnResponse::denied(denial),
        OwnResponse::sub_request_denied(denial),
    );
    (proxy.status.as_u16(), sub_request.status.as_u16())
}

/// The status of every rejection at forward-auth.
pub const REJECTED_SUB_REQUEST: u16 = StatusCode::FORBIDDEN.as_u16();

/// Explains how a configuration routes requests.
#[derive(Debug)]
pub struct Explainer<'a> {
    config: &'a Config,
    table: RouteTable,
}

/// How much an explanation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Also the routes that were tried.
    Tried,
    /// The outcome only.
    Outcome,
}

impl<'a> Explainer<'a> {
    /// Builds the table of the routes.
    pub fn new(config: &'a Config) -> Self {
        Self {
            config,
            table: RouteTable::new(&config.routes),
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// Explains how a request is routed.
    pub fn explain(&self, inquiry: &Inquiry<'_>, detail: Detail) -> Explanation<'a> {
        explain(self, inquiry, detail)
    }
}

fn explain<'a>(
    explainer: &Explainer<'a>,
    inquiry: &Inquiry<'_>,
    detail: Detail,
) -> Explanation<'a> {
    let config = explainer.config;
    let raw = inquiry.target.split('?').next().unwrap_or_default();
    let mut explanation = Explanation {
        path: None,
        others: Vec::new(),
        tried: Vec::new(),
        route: None,
        rejected: None,
        forwarded: None,
        rejected_at_proxy: is_like_own(config, raw).then(|| Rejection::Readings.into()),
        is_own: is_own(config, raw),
    };
    if let Err(rejection) = find(explainer, (inquiry, detail), raw, &mut explanation) {
        explanation.rejected = Some(rejection.into());
    }
    explanation
}

impl From<Rejection> for Rejected {
    fn from(rejection: Rejection) -> Self {
        Self {
            reason: rejection.reason(),
            status: rejection.response().status.as_u16(),
            rejection,
        }
    }
}

/// Returns whether the proxy's listener responds to a path itself.
fn is_own(config: &Config, path: &str) -> bool {
    let gateway = &config.gateway;
    let is_health = gateway.health_path.as_deref() == Some(path);
    gateway.listen.is_some() && (is_health || (gateway.serve_api && is_public(path)))
}

/// Returns whether the proxy's listener rejects a path, because some server reads it as one that
/// realmgate serves there.
fn is_like_own(config: &Config, path: &str) -> bool {
    let gateway = &config.gateway;
    gateway.listen.is_some() && gateway.serve_api && !is_public(path) && is_like_public(path)
}

/// Follows the steps of `Proxy::decide`.
fn find<'a>(
    explainer: &Explainer<'a>,
    (inquiry, detail): (&Inquiry<'_>, Detail),
    raw: &str,
    explanation: &mut Explanation<'a>,
) -> Result<(), Rejection> {
    let method = Method::from_bytes(inquiry.method.as_bytes()).map_err(|_| Rejection::Method)?;
    let mut input = MatchInput::read(inquiry.host, &method, raw.as_bytes())?;
    input.client = inquiry.client;
    let target = &input.target;
    explanation.path = Some(shown(target.plain()));
    let Explainer { config, table } = explainer;
    let place = |path: &[u8]| table.at(&input, path).map(|(place, _)| place);
    let first = place(target.literal());
    let tried = match detail {
        Detail::Tried => first.map_or(config.routes.len(), |place| place + 1),
        Detail::Outcome => 0,
    };
    for route in config.routes.iter().take(tried) {
        explanation.tried.push((route, misfits(route, &input)));
    }
    explanation.route = first.and_then(|place| config.routes.get(place));
    let found = table.resolve(&input);
    if let Err(Unrouted::Readings) = found {
        let others = table.other_readings(&input).into_iter();
        let others = others.map(|other| {
            let route = other.place.and_then(|place| config.routes.get(place));
            Reading {
                path: shown(&other.path),
                route: route.map(|route| &*route.name),
                is_divided: other.is_divided,
            }
        });
        explanation.others = others.collect();
    }
    let route = found?.route;
    let below = route.below_prefix(raw.as_bytes());
    let query = inquiry.target.strip_prefix(raw).unwrap_or_default();
    let path = below.map_or(raw.into(), String::from_utf8_lossy);
    explanation.forwarded = Some(format!("{path}{query}"));
    Ok(())
}

/// Matches each criterion of a route separately.
fn misfits(route: &Route, input: &MatchInput<'_>) -> Vec<Misfit> {
    let fits = |alone: Route| {
        let table = RouteTable::new(&[alone]);
        table.at(input, input.target.literal()).is_some()
    };
    let bare = Route {
        hosts: Vec::new(),
        paths: Vec::new(),
        methods: None,
        from: None,
        ..route.clone()
    };
    let criteria = [
        (
            Misfit::Host,
            Route {
                hosts: route.hosts.clone(),
                ..bare.clone()
            },
        ),
        (
            Misfit::Path,
            Route {
                paths: route.paths.clone(),
                ignore_case: route.ignore_case,
                ignore_suffix: route.ignore_suffix,
                ..bare.clone()
            },
        ),
        (
            Misfit::Method,
            Route {
                methods: route.methods.clone(),
                ..bare.clone()
            },
        ),
        (
            Misfit::Network,
            Route {
                from: route.from.clone(),
                ..bare
            },
        ),
    ];
    let misfit = |(misfit, alone)| (!fits(alone)).then_some(misfit);
    criteria.into_iter().filter_map(misfit).collect()
}

/// Percent-encodes all bytes but visible ASCII.
fn shown(path: &[u8]) -> String {
    let mut text = String::new();
    for &byte in path {
        let _ = match byte {
            b'!'..=b'~' => write!(text, "{}", char::from(byte)),
            _ => write!(text, "%{byte:02X}"),
        };
    }
    text
}
