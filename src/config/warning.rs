//! What a configuration may say, and its writer may not mean.

use std::collections::HashMap;

use http::Method;
use ipnet::IpNet;

use super::{ClientCertificates, Config, Route};

/// Networks that are not routed on the Internet: RFC 1918, 6598, 3927 and 4193, link-local and loopback.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Warns of networks of which anybody may be: everybody there can describe any request. A single public
/// address is that of a front proxy.
pub(super) fn of_trust(proxies: &[IpNet]) -> impl Iterator<Item = String> {
    let is_private = |network: &IpNet| {
        PRIVATE
            .iter()
            .filter_map(|private| private.parse::<IpNet>().ok())
            .any(|private| private.contains(network))
    };
    let is_wide = move |network: &&IpNet| {
        network.prefix_len() < network.max_prefix_len() && !is_private(network)
    };
    proxies.iter().filter(is_wide).map(|network| {
        let all = if network.prefix_len() == 0 {
            "holds every address"
        } else {
            "is no private network"
        };
        format!(
            "service.trusted_proxies: {network} {all}: whoever asks from there is believed about the original \
             request and about the address of the client; list the addresses of your front proxies"
        )
    })
}

/// Warns of settings that have no effect while there is no proxy.
pub(super) fn of_no_proxy(config: &Config) -> Vec<String> {
    let gateway = &config.gateway;
    if gateway.listen.is_some() {
        return Vec::new();
    }
    let keys = [
        ("serve_api", gateway.serve_api),
        ("tls", gateway.wire.tls),
        (
            "client_certificates",
            gateway.wire.client_certificates != ClientCertificates::Off,
        ),
        ("h2c", gateway.wire.h2c),
        ("proxy_protocol", !gateway.wire.proxy_protocol.is_empty()),
    ];
    let keys = keys.into_iter().filter(|(_, is_set)| *is_set);
    let keys = keys.map(|(key, _)| {
        format!("gateway.{key} has no effect, since gateway.listen is \"off\"; delete the line")
    });
    let upstreams = config.upstreams.iter().map(|upstream| {
        format!(
            "upstream {:?} gets no requests, since gateway.listen is \"off\"; delete its table",
            upstream.name
        )
    });
    keys.chain(upstreams).collect()
}

/// Returns what to look at again, in the order of the routes.
pub(super) fn warnings(routes: &[Route]) -> Vec<String> {
    let mut warnings = unreached(routes);
    for (at, route) in routes.iter().enumerate() {
        let later = routes.get(at + 1..).unwrap_or_default();
        warnings.extend(of_star(route));
        warnings.extend(of_refused_methods(route));
        warnings.extend(of_spelling(route, later));
        warnings.extend(of_methods(route, later));
    }
    warnings
}

/// Warns of routes that an earlier one leaves nothing to.
fn unreached(routes: &[Route]) -> Vec<String> {
    // By host and path without regard to case, so that the time does not grow with the square of the routes.
    let mut earlier: HashMap<(Option<&str>, String), Vec<&Route>> = HashMap::new();
    let mut warnings = Vec::new();
    for route in routes {
        let path = prefix(route).to_ascii_lowercase();
        let ends = path.match_indices('/').map(|(at, _)| at);
        let above = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        let hosts = [None, route.host.as_deref()];
        let hosts = hosts.get(usize::from(route.host.is_none())..);
        let taker = above
            .flat_map(|above| {
                hosts
                    .unwrap_or_default()
                    .iter()
                    .map(move |host| (*host, above.to_owned()))
            })
            .filter_map(|place| earlier.get(&place))
            .flatten()
            .find(|other| takes_all_of(other, route));
        if let Some(taker) = taker {
            warnings.push(format!(
                "route {:?} is never reached: route {:?} stands before it and takes all of its requests; move {0:?} \
                 up, or take it out",
                route.name, taker.name,
            ));
        }
        earlier
            .entry((route.host.as_deref(), path))
            .or_default()
            .push(route);
    }
    warnings
}

/// Says whether a route takes each request that another one would.
fn takes_all_of(one: &Route, other: &Route) -> bool {
    let (ones, others) = (prefix(one), prefix(other));
    let holds_path = if one.ignore_case {
        holds(&ones.to_ascii_lowercase(), &others.to_ascii_lowercase())
    } else {
        // "/ADMIN" falls under no other spelling.
        holds(ones, others) && (ones.is_empty() || !other.ignore_case)
    };
    let holds_suffix = one.ignore_suffix || !other.ignore_suffix || ones.len() < others.len();
    let holds_methods = match (&one.methods, &other.methods) {
        (None, _) => true,
        (Some(ones), Some(others)) => others.iter().all(|method| ones.contains(method)),
        (Some(_), None) => false,
    };
    holds_host(one, other) && holds_path && holds_suffix && holds_methods
}

/// Warns of a path with a `*`.
fn of_star(route: &Route) -> Option<String> {
    let path = route.path.as_deref().filter(|path| path.contains('*'))?;
    let plain = path.trim_end_matches('*');
    let instead = if plain.contains('*') {
        String::new()
    } else {
        format!("; write {plain:?} for all below it")
    };
    Some(format!(
        "route {:?}: a path is a prefix already, and the * in {path:?} means itself{instead}",
        route.name
    ))
}

/// Warns of methods that are refused before any route is looked at.
fn of_refused_methods(route: &Route) -> Option<String> {
    let methods = route.methods.as_ref()?;
    let is_refused = |method: &&Method| [Method::TRACE, Method::CONNECT].contains(*method);
    let refused: Vec<_> = methods
        .iter()
        .filter(is_refused)
        .map(Method::as_str)
        .collect();
    (!refused.is_empty()).then(|| {
        format!(
            "route {:?}: methods names {}, which every listener refuses before it looks for a route",
            route.name,
            refused.join(" and "),
        )
    })
}

/// Warns of a route that admits more and gets the other spellings of a path.
fn of_spelling(route: &Route, later: &[Route]) -> Option<String> {
    let (prefix, unsaid) = (prefix(route), &route.unsaid);
    if unsaid.is_empty() {
        return None;
    }
    let shorter = |other: &&Route| self::prefix(other).len() < prefix.len();
    let wider = next(route, later.iter().filter(shorter), |other| {
        takes_some_of(other, route)
    })?;
    let examples: Vec<_> = unsaid
        .iter()
        .map(|key| match *key {
            "ignore_case" => prefix.to_uppercase(),
            _ => format!("{prefix}.json"),
        })
        .collect();
    let keys = |value| {
        let lines = unsaid.iter().map(|key| format!("{key} = {value}"));
        lines.collect::<Vec<_>>().join(", ")
    };
    Some(format!(
        "route {:?} admits callers that route {:?} does not, and gets {}: if its upstream takes them for {prefix}, \
         write {} into route {:?}, otherwise {}",
        wider.name,
        route.name,
        examples.join(" and "),
        keys(true),
        route.name,
        keys(false),
    ))
}

/// Warns of a route that admits more and gets the other methods of a path.
fn of_methods(route: &Route, later: &[Route]) -> Option<String> {
    let methods = route.methods.as_ref()?;
    // Who writes a route for the same path means it.
    let shorter = |other: &&Route| prefix(other).len() < prefix(route).len();
    let is_answered = later.iter().any(|other| {
        other.methods.is_none() && holds_host(other, route) && prefix(other) == prefix(route)
    });
    if is_answered {
        return None;
    }
    let wider = next(route, later.iter().filter(shorter), |other| {
        other
            .methods
            .as_ref()
            .is_none_or(|others| others.iter().any(|method| !methods.contains(method)))
    })?;
    let named: Vec<_> = methods.iter().map(Method::as_str).collect();
    Some(format!(
        "route {:?} takes {} only: other methods of {} fall to route {:?}, which admits callers that it does not; leave \
         methods out, or write a route with the same path and no methods after it",
        route.name,
        named.join(", "),
        prefix(route),
        wider.name,
    ))
}

/// Returns the first of some later routes that gets what a route leaves of its path, if it admits more.
fn next<'a>(
    route: &Route,
    later: impl Iterator<Item = &'a Route>,
    gets_some: impl Fn(&Route) -> bool,
) -> Option<&'a Route> {
    for other in later {
        if !meets_host(other, route) || !holds_path(other, route) || !gets_some(other) {
            continue;
        }
        if !other.policy.is_within(&route.policy) {
            return Some(other);
        }
        if other.methods.is_none() && holds_host(other, route) {
            return None;
        }
    }
    None
}

fn prefix(route: &Route) -> &str {
    route.path.as_deref().unwrap_or("/").trim_end_matches('/')
}

fn holds_path(one: &Route, other: &Route) -> bool {
    holds(prefix(one), prefix(other))
}

fn holds(above: &str, path: &str) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn meets_host(one: &Route, other: &Route) -> bool {
    one.host.is_none() || other.host.is_none() || one.host == other.host
}

fn holds_host(one: &Route, other: &Route) -> bool {
    one.host.is_none() || one.host == other.host
}

fn takes_some_of(one: &Route, other: &Route) -> bool {
    match (&one.methods, &other.methods) {
        (Some(ones), Some(others)) => ones.iter().any(|method| others.contains(method)),
        _ => true,
    }
}
