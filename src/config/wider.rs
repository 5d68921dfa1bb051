//! Warnings about routes that leave requests to a wider one.

use std::collections::HashMap;

use http::Method;

use super::host::HostPattern;
use super::path::{PathPattern, STAR};
use super::route::Route;
use super::unreached::{LOOKS, holds_hosts, hosts, paths};

/// Returns warnings about routes, in their order.
pub(super) fn of_routes(routes: &[Route]) -> Vec<String> {
    let mut warnings = Vec::new();
    let places = Places::new(routes);
    for (at, route) in routes.iter().enumerate() {
        let later = Later {
            routes,
            places: &places,
            after: at,
        };
        warnings.extend(of_rejected_methods(route));
        warnings.extend(of_spelling(route, &later));
        warnings.extend(of_methods(route, &later));
    }
    warnings
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

/// Warns of a later route that admits more callers and matches other spellings of a path.
fn of_spelling(route: &Route, later: &Later<'_>) -> Option<String> {
    paths(route)
        .iter()
        .find_map(|path| of_spelling_at(route, path, later))
}

fn of_spelling_at(route: &Route, path: &PathPattern, later: &Later<'_>) -> Option<String> {
    let prefix = path.text();
    // A `*` holds a suffix already, and has no case.
    let ends_with_star = path.segments().last() == Some(STAR);
    let is_named = path.segments().any(|segment| segment != STAR);
    let unsaid: Vec<_> = route
        .unsaid
        .iter()
        .filter(|key| match **key {
            "ignore_case" => is_named,
            _ => !ends_with_star,
        })
        .collect();
    if unsaid.is_empty() {
        return None;
    }
    let wider = next(route, path, later, |other| takes_some_of(other, route))?;
    let examples: Vec<_> = unsaid
        .iter()
        .map(|key| match **key {
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

/// Warns of a later route that admits more callers and matches the other methods of a path.
fn of_methods(route: &Route, later: &Later<'_>) -> Option<String> {
    paths(route)
        .iter()
        .find_map(|path| of_methods_at(route, path, later))
}

fn of_methods_at(route: &Route, path: &PathPattern, later: &Later<'_>) -> Option<String> {
    let methods = route.methods.as_ref()?;
    // A route for the same path shows that this is intended.
    if later.take_the_rest_of(route, path) {
        return None;
    }
    let wider = next(route, path, later, |other| {
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
        path.text(),
        wider.name,
    ))
}

/// Returns the first later route with a shorter path that matches requests which `route` leaves
/// out at one of its paths, if it admits more callers.
fn next<'a>(
    route: &Route,
    path: &PathPattern,
    later: &Later<'a>,
    gets_some: impl Fn(&Route) -> bool,
) -> Option<&'a Route> {
    for other in later.above(route, path) {
        if !meets_hosts(other, route) || !gets_some(other) {
            continue;
        }
        if other.admits_more_than(route) {
            return Some(other);
        }
        if other.methods.is_none() && other.from.is_none() && holds_hosts(other, route) {
            return None;
        }
    }
    None
}

/// The indexes of routes by path and host.
struct Places {
    of_paths: HashMap<String, OfPath>,
}

#[derive(Default)]
struct OfPath {
    /// All indexes, ascending.
    all: Vec<usize>,
    of_hosts: HashMap<Option<HostPattern>, OfHost>,
}

#[derive(Default)]
struct OfHost {
    /// All indexes, ascending.
    all: Vec<usize>,
    /// The last route that matches every method.
    last_of_all_methods: Option<usize>,
}

impl Places {
    fn new(routes: &[Route]) -> Self {
        let mut of_paths: HashMap<String, OfPath> = HashMap::new();
        for (at, route) in routes.iter().enumerate() {
            for path in paths(route).iter().filter(|path| !path.is_exact()) {
                let of_path = of_paths.entry(path.text().to_owned()).or_default();
                of_path.all.push(at);
                for host in hosts(route) {
                    let of_host = of_path.of_hosts.entry(host.cloned()).or_default();
                    of_host.all.push(at);
                    if route.methods.is_none() && route.from.is_none() {
                        of_host.last_of_all_methods = Some(at);
                    }
                }
            }
        }
        Self { of_paths }
    }
}

/// The routes after one.
struct Later<'a> {
    routes: &'a [Route],
    places: &'a Places,
    after: usize,
}

impl<'a> Later<'a> {
    /// Returns the later routes with a prefix that is shorter than `path` and contains it, and with
    /// a host that `route` has too, in order.
    fn above(&self, route: &Route, path: &PathPattern) -> impl Iterator<Item = &'a Route> {
        let above = path.above();
        let above = above.filter_map(|above| self.places.of_paths.get(above.text()));
        let mut places: Vec<usize> = Vec::new();
        let hosts = or_wider(route);
        for of_path in above {
            if route.hosts.is_empty() {
                places.extend(self.after(&of_path.all));
                continue;
            }
            let lists = hosts.iter().filter_map(|host| of_path.of_hosts.get(host));
            places.extend(lists.flat_map(|of_host| self.after(&of_host.all)));
        }
        places.sort_unstable();
        places.dedup();
        let routes = self.routes;
        places.into_iter().filter_map(move |at| routes.get(at))
    }

    /// Returns whether a later route has the path, includes a host of `route`, and matches every
    /// method.
    fn take_the_rest_of(&self, route: &Route, path: &PathPattern) -> bool {
        let Some(of_path) = self.places.of_paths.get(path.text()) else {
            return false;
        };
        let hosts = or_wider(route);
        let of_hosts = hosts.iter().filter_map(|host| of_path.of_hosts.get(host));
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

/// Returns the hosts of a route and those that include one of them; `None` for any.
fn or_wider(route: &Route) -> Vec<Option<HostPattern>> {
    let wider = route.hosts.iter().flat_map(HostPattern::wider).map(Some);
    std::iter::once(None).chain(wider).collect()
}

fn meets_hosts(one: &Route, other: &Route) -> bool {
    // Two patterns either have no host in common, or one holds the other.
    let meets = |one: &HostPattern, other: &HostPattern| one.holds(other) || other.holds(one);
    let mut pairs = one
        .hosts
        .iter()
        .flat_map(|one| other.hosts.iter().map(move |other| (one, other)));
    one.hosts.is_empty() || other.hosts.is_empty() || pairs.any(|(one, other)| meets(one, other))
}

fn takes_some_of(one: &Route, other: &Route) -> bool {
    match (&one.methods, &other.methods) {
        (Some(ones), Some(others)) => ones.iter().any(|method| others.contains(method)),
        _ => true,
    }
}
