//! Warnings about settings that are valid but probably mistakes.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use ipnet::IpNet;

use super::check::Config;
use super::route::Route;
use super::tls::ClientCertificates;

impl Config {
    /// Returns warnings about settings that are valid but probably mistakes.
    pub fn warnings(&self) -> Vec<String> {
        of_trust(&self.service.trusted_proxies)
            .chain(of_no_proxy(self))
            .chain(of_routes(&self.routes))
            .chain(self.observed_warnings())
            .collect()
    }

    /// Returns warnings about the certificates of listeners, upstreams and CAs: one per file with
    /// certificates that are not valid at `now` or will soon expire, one per chain in the wrong order, and one per
    /// certificate of a listener without names.
    pub fn certificate_warnings(&self, now: SystemTime) -> Vec<String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let warnings = self.validities.iter().filter_map(|it| it.warning(now));
        warnings.collect()
    }
}

/// Networks that are not routed on the Internet: RFC 1918, 6598, 3927 and 4193, link-local and
/// loopback.
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

/// Warns of trusted networks that are public: anybody there can describe any request. A single
/// public address is fine; it is that of a front proxy.
fn of_trust(proxies: &[IpNet]) -> impl Iterator<Item = String> {
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
            "contains every address"
        } else {
            "is not a private network"
        };
        format!(
            "service.trusted_proxies: {network} {all}: anyone there may describe the original \
             request and name the address of the client; list the addresses of your front proxies"
        )
    })
}

/// Warns of settings that have no effect while the proxy is off.
fn of_no_proxy(config: &Config) -> Vec<String> {
    let gateway = &config.gateway;
    if gateway.listen.is_some() {
        return Vec::new();
    }
    let transport = &gateway.transport;
    let keys = [
        ("serve_api", gateway.serve_api),
        ("health_path", gateway.health_path.is_some()),
        ("tls", transport.tls),
        (
            "client_certificates",
            transport.client_certificates != ClientCertificates::Off,
        ),
        ("h2c", transport.h2c),
        ("proxy_protocol", !transport.proxy_protocol.is_empty()),
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

/// Returns warnings about routes, in their order.
fn of_routes(routes: &[Route]) -> Vec<String> {
    let mut warnings = unreached(routes);
    let places = Places::new(routes);
    for (at, route) in routes.iter().enumerate() {
        let later = Later {
            routes,
            places: &places,
            after: at,
        };
        warnings.extend(of_star(route));
        warnings.extend(of_rejected_methods(route));
        warnings.extend(of_spelling(route, &later));
        warnings.extend(of_methods(route, &later));
    }
    warnings
}

/// Warns of routes that never match, because earlier ones match all of their requests.
fn unreached(routes: &[Route]) -> Vec<String> {
    // Grouped by host and lower-case path, so that the time does not grow with the square of the
    // routes.
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
            .flat_map(|routes| routes.iter().take(LOOKS))
            .find(|other| takes_all_of(other, route));
        if let Some(taker) = taker {
            warnings.push(format!(
                "route {:?} never matches: the earlier route {:?} matches all of its requests; move {0:?} \
                 up, or remove it",
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

/// Returns whether one route matches every request that the other one would.
fn takes_all_of(one: &Route, other: &Route) -> bool {
    let (ones, others) = (prefix(one), prefix(other));
    let holds_path = if one.ignore_case {
        holds(&ones.to_ascii_lowercase(), &others.to_ascii_lowercase())
    } else {
        // "/ADMIN" matches no other spelling.
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
        format!("; use {plain:?} to match all paths below it")
    };
    Some(format!(
        "route {:?}: a path is always a prefix, and the * in {path:?} is literal{instead}",
        route.name
    ))
}

/// Warns of methods that are rejected before routes are matched.
fn of_rejected_methods(route: &Route) -> Option<String> {
    let methods = route.methods.as_ref()?;
    let is_rejected = |method: &&Method| [Method::TRACE, Method::CONNECT].contains(*method);
    let rejected: Vec<_> = methods
        .iter()
        .filter(is_rejected)
        .map(Method::as_str)
        .collect();
    (!rejected.is_empty()).then(|| {
        format!(
            "route {:?}: methods names {}, which every listener rejects before it matches routes",
            route.name,
            rejected.join(" and "),
        )
    })
}

/// Warns of a later route that admits more callers and matches other spellings of the path.
fn of_spelling(route: &Route, later: &Later<'_>) -> Option<String> {
    let (prefix, unsaid) = (prefix(route), &route.unsaid);
    if unsaid.is_empty() {
        return None;
    }
    let wider = next(route, later, |other| takes_some_of(other, route))?;
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
        "route {:?} admits callers that route {:?} does not, and matches {}: if its upstream reads these as {prefix}, \
         set {} in route {:?}, otherwise {}",
        wider.name,
        route.name,
        examples.join(" and "),
        keys(true),
        route.name,
        keys(false),
    ))
}

/// Warns of a later route that admits more callers and matches the other methods of the path.
fn of_methods(route: &Route, later: &Later<'_>) -> Option<String> {
    let methods = route.methods.as_ref()?;
    // A route for the same path shows that this is intended.
    if later.take_the_rest_of(route) {
        return None;
    }
    let wider = next(route, later, |other| {
        other
            .methods
            .as_ref()
            .is_none_or(|others| others.iter().any(|method| !methods.contains(method)))
    })?;
    let named: Vec<_> = methods.iter().map(Method::as_str).collect();
    Some(format!(
        "route {:?} matches {} only: other methods of {} match route {:?}, which admits callers that it does not; remove \
         methods, or add a route with the same path and no methods after it",
        route.name,
        named.join(", "),
        prefix(route),
        wider.name,
    ))
}

/// Returns the first later route with a shorter path that matches requests which `route` leaves
/// out, if it admits more callers.
fn next<'a>(
    route: &Route,
    later: &Later<'a>,
    gets_some: impl Fn(&Route) -> bool,
) -> Option<&'a Route> {
    for other in later.above(route) {
        if !meets_host(other, route) || !gets_some(other) {
            continue;
        }
        if other.admits_more_than(route) {
            return Some(other);
        }
        if other.methods.is_none() && holds_host(other, route) {
            return None;
        }
    }
    None
}

/// The maximum number of routes with the same host and path that are compared with another one, so
/// that the time does not grow with the square of the routes. Later ones cause no warning.
const LOOKS: usize = 100;

/// The indexes of routes by path and host.
struct Places<'a> {
    of_paths: HashMap<&'a str, OfPath<'a>>,
}

#[derive(Default)]
struct OfPath<'a> {
    /// All indexes, ascending.
    all: Vec<usize>,
    of_hosts: HashMap<Option<&'a str>, OfHost>,
}

#[derive(Default)]
struct OfHost {
    /// All indexes, ascending.
    all: Vec<usize>,
    /// The last route that matches every method.
    last_of_all_methods: Option<usize>,
}

impl<'a> Places<'a> {
    fn new(routes: &'a [Route]) -> Self {
        let mut of_paths: HashMap<&str, OfPath<'_>> = HashMap::new();
        for (at, route) in routes.iter().enumerate() {
            let of_path = of_paths.entry(prefix(route)).or_default();
            of_path.all.push(at);
            let of_host = of_path.of_hosts.entry(route.host.as_deref()).or_default();
            of_host.all.push(at);
            if route.methods.is_none() {
                of_host.last_of_all_methods = Some(at);
            }
        }
        Self { of_paths }
    }
}

/// The routes after one.
struct Later<'a> {
    routes: &'a [Route],
    places: &'a Places<'a>,
    after: usize,
}

impl<'a> Later<'a> {
    /// Returns the later routes whose path is shorter and contains that of `route`, and whose host
    /// may be the same, in order.
    fn above(&self, route: &Route) -> impl Iterator<Item = &'a Route> {
        let path = prefix(route);
        let ends = path.match_indices('/').map(|(end, _)| end);
        let above = ends.filter_map(|end| self.places.of_paths.get(path.get(..end)?));
        let mut places: Vec<usize> = Vec::new();
        for of_path in above {
            match route.host.as_deref() {
                None => places.extend(self.after(&of_path.all)),
                host => {
                    let lists = [None, host].map(|host| of_path.of_hosts.get(&host));
                    let lists = lists.into_iter().flatten();
                    places.extend(lists.flat_map(|of_host| self.after(&of_host.all)));
                }
            }
        }
        places.sort_unstable();
        let routes = self.routes;
        places.into_iter().filter_map(move |at| routes.get(at))
    }

    /// Returns whether a later route has the path of `route`, includes its host, and matches every
    /// method.
    fn take_the_rest_of(&self, route: &Route) -> bool {
        let Some(of_path) = self.places.of_paths.get(prefix(route)) else {
            return false;
        };
        let hosts = [None, route.host.as_deref()];
        let of_hosts = hosts
            .into_iter()
            .filter_map(|host| of_path.of_hosts.get(&host));
        let mut lasts = of_hosts.filter_map(|it| it.last_of_all_methods);
        lasts.any(|last| last > self.after)
    }

    /// Returns the indexes among `places` that come after this route, at most [`LOOKS`].
    fn after<'p>(&self, places: &'p [usize]) -> impl Iterator<Item = usize> + use<'p> {
        let first = places.partition_point(|place| *place <= self.after);
        let places = places.get(first..).unwrap_or_default();
        places.iter().take(LOOKS).copied()
    }
}

fn prefix(route: &Route) -> &str {
    route.path.as_deref().unwrap_or("/").trim_end_matches('/')
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
