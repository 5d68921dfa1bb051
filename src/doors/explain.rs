//! What would become of a request, by the rules that the doors decide by.

use std::fmt::{self, Write};

use http::{Method, StatusCode};

use super::endpoints::is_public;
use crate::auth::Denial;
use crate::config::{Config, Route};
use crate::http::answer::Answer;
use crate::http::refusal::Refusal;
use crate::routing::input::MatchInput;
use crate::routing::route::{RouteTable, Unrouted};

/// A request that nobody has sent.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// As it would be on the wire.
    pub method: &'a str,
    /// The value of `Host`; none for a request without one.
    pub host: Option<&'a str>,
    /// Path and query, as they would be on the wire.
    pub target: &'a str,
}

/// Where a request would go, before anybody looks at its credential.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The path with everything decoded and dropped that some server decodes or drops. None if it is rejected
    /// whatever the routes are.
    pub path: Option<String>,
    /// Another reading of the path for which another route comes first, or none, with the name of that route.
    pub other: Option<(String, Option<&'a str>)>,
    /// The routes that were tried, in their order, with why they do not fit; the last one decides if `route`
    /// names it.
    pub tried: Vec<(&'a Route, Vec<Misfit>)>,
    /// The route that decides.
    pub route: Option<&'a Route>,
    /// Why it goes nowhere, at either door.
    pub refused: Option<Refused>,
    /// The path that the upstream would get.
    pub forwarded: Option<String>,
    /// Whether the proxy's listener answers it itself.
    pub is_own: bool,
}

/// Why a route does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is for another host.
    Host,
    /// It is for another path.
    Path,
    /// It is for other methods.
    Method,
}

/// Why a request is refused before its credential is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// A stable code.
    pub reason: &'static str,
    /// The proxy's answer.
    pub status: u16,
    refusal: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

/// What a door answers to a denial: the proxy, and forward-auth.
pub fn statuses(denial: &Denial) -> (u16, u16) {
    let (proxy, sub_request) = (Answer::denied(denial), Answer::sub_request_denied(denial));
    (proxy.status.as_u16(), sub_request.status.as_u16())
}

/// What forward-auth answers to whatever it refuses.
pub const REFUSED_SUB_REQUEST: u16 = StatusCode::FORBIDDEN.as_u16();

/// Says where a request would go. `config` has the rules.
pub fn explain<'a>(config: &'a Config, inquiry: &Inquiry<'_>) -> Explanation<'a> {
    let raw = inquiry.target.split('?').next().unwrap_or_default();
    let mut explanation = Explanation {
        path: None,
        other: None,
        tried: Vec::new(),
        route: None,
        refused: None,
        forwarded: None,
        is_own: config.gateway.listen.is_some() && config.gateway.serve_api && is_public(raw),
    };
    if let Err(refusal) = find(config, inquiry, raw, &mut explanation) {
        explanation.refused = Some(Refused {
            reason: refusal.reason(),
            status: refusal.answer().status.as_u16(),
            refusal,
        });
    }
    explanation
}

/// Goes the way of `Proxy::decide`.
fn find<'a>(
    config: &'a Config,
    inquiry: &Inquiry<'_>,
    raw: &str,
    explanation: &mut Explanation<'a>,
) -> Result<(), Refusal> {
    let method = Method::from_bytes(inquiry.method.as_bytes()).map_err(|_| Refusal::Method)?;
    let input = MatchInput::read(inquiry.host, &method, raw.as_bytes())?;
    let target = &input.target;
    explanation.path = Some(shown(target.plain()));
    let table = RouteTable::new(&config.routes);
    let place = |path: &[u8]| table.at(&input, path).map(|(place, _)| place);
    let first = place(target.literal());
    let tried = first.map_or(config.routes.len(), |place| place + 1);
    for route in config.routes.iter().take(tried) {
        explanation.tried.push((route, misfits(route, &input)));
    }
    explanation.route = first.and_then(|place| config.routes.get(place));
    let found = table.resolve(&input);
    if let Err(Unrouted::Readings) = found {
        let other = target.readings().find(|reading| place(reading) != first);
        explanation.other = other.map(|reading| {
            let route = place(reading).and_then(|place| config.routes.get(place));
            (shown(reading), route.map(|route| &*route.name))
        });
    }
    let route = found?.route;
    let below = route.below_prefix(raw.as_bytes());
    let query = inquiry.target.strip_prefix(raw).unwrap_or_default();
    let path = below.map_or(raw.into(), String::from_utf8_lossy);
    explanation.forwarded = Some(format!("{path}{query}"));
    Ok(())
}

/// Asks the route table about each criterion of a route by itself.
fn misfits(route: &Route, input: &MatchInput<'_>) -> Vec<Misfit> {
    let fits = |alone: Route| {
        let table = RouteTable::new(&[alone]);
        table.at(input, input.target.literal()).is_some()
    };
    let bare = Route {
        host: None,
        path: None,
        methods: None,
        ..route.clone()
    };
    let criteria = [
        (
            Misfit::Host,
            Route {
                host: route.host.clone(),
                ..bare.clone()
            },
        ),
        (
            Misfit::Path,
            Route {
                path: route.path.clone(),
                ignore_case: route.ignore_case,
                ignore_suffix: route.ignore_suffix,
                ..bare.clone()
            },
        ),
        (
            Misfit::Method,
            Route {
                methods: route.methods.clone(),
                ..bare
            },
        ),
    ];
    let misfit = |(misfit, alone)| (!fits(alone)).then_some(misfit);
    criteria.into_iter().filter_map(misfit).collect()
}

/// Writes bytes that are no visible ASCII in the way of a URL.
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
