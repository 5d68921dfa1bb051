//! Warnings about routes that leave requests to a wider one.

use std::collections::HashMap;

use http::Method;

use super::host::HostPattern;
use super::path::{PathPattern, STAR};
use super::route::Route;
use super::unreached::{LOOKS, holds_hosts, holds_path, hosts, paths};

/// Returns warnings about routes, in their order, each with the index of the route.
pub(super) fn of_routes(routes: &[Route]) -> Vec<(usize, String)> {
    let mut warnings = Vec::new();
    let places = Places::new(routes);
    for (at, route) in routes.iter().enumerate() {
        let later = Later {
            routes,
            places: &places,
            after: at,
        };
        let of_route = [
            of_rejected_methods(route),
            of_bare_prefix(route, &later),
            of_spelling(route, &later),
            of_methods(route, &later),
            of_networks(route, &later),
        ];
        warnings.extend(of_route.into_iter().flatten().map(|text| (at, text)));
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

/// Warns of a later route that admits more callers and matches what is in front of a `*` at the end: `/admin/*` does
/// not match `/admin/`.
fn of_bare_prefix(route: &Route, later: &Later<'_>) -> Option<String> {
    paths(route).iter().find_map(|path| {
        let bare = path.before_star()?;
        // A route for it shows that this is intended.
        if later.is_named(route, &bare) {
            return None;
        }
        let wider = next(route, &bare, later, |other| takes_some_of(other, route))?;
        let prefix = bare.text();
        let instead = match path.is_exact() {
            true => String::new(),
            false => format!("write \"{prefix}\" in place of \"{path}\", or "),
        };
        Some(format!(
            "route {:?} does not match {prefix}/: requests for it match route {:?}, which admits callers that it does not; \
             {instead}add a route with path = \"={prefix}\"",
            route.name, wider.name,
        ))
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

/// Warns of a later route that admits more callers and matches clients outside the networks.
fn of_networks(route: &Route, later: &Later<'_>) -> Option<String> {
    let networks = route.from.as_ref()?;
    let others_match = |other: &Route| {
        takes_some_of(other, route) && other.from.as_ref().is_none_or(|it| !networks.holds(it))
    };
    paths(route).iter().find_map(|path| {
        // A route for the same path shows that this is intended.
        if later.take_the_rest_of(route, path) {
            return None;
        }
        let wider = next(route, path, later, others_match)?;
        Some(format!(
            "route {:?} matches the clients in from only: requests of others for {} match route {:?}, which admits callers \
             that it does not; remove from, or add a route with the same path and no from after it",
            route.name,
            path.text(),
            wider.name,
        ))
    })
}

/// Returns the first later route with a wider path that matches requests which `route` leaves out
/// at one of its paths, if it admits more callers.
fn next<'a>(
    route: &Route,
    path: &PathPattern,
    later: &Later<'a>,
    gets_some: impl Fn(&Route) -> bool,
) -> Option<&'a Route> {
    for other in later.around(route, path) {
        if !meets_hosts(other, route) || !gets_some(other) {
            continue;
        }
        if other.admits_more_than(route) {
            return Some(other);
        }
        if matches_all_methods(other) && holds_hosts(other, route) && has_path(other, route, path) {
            return None;
        }
    }
    None
}

/// The indexes of routes by path and host.
#[derive(Default)]
struct Places {
    /// By path in lower case.
    of_texts: HashMap<String, OfPath>,
    /// By the first segment in lower case; only paths with a `*`.
    of_stars: HashMap<String, OfPath>,
}

/// Indexes, each list ascending.
#[derive(Default)]
struct OfPath {
    all: Vec<usize>,
    of_hosts: HashMap<Option<HostPattern>, Vec<usize>>,
}

impl Places {
    fn new(routes: &[Route]) -> Self {
        let mut places = Self::default();
        for (at, route) in routes.iter().enumerate() {
            for path in &*paths(route) {
                let of_text = places.of_texts.entry(path.text().to_ascii_lowercase());
                of_text.or_default().add(at, route);
                if path.has_star() {
                    let of_star = places.of_stars.entry(first_segment(path));
                    of_star.or_default().add(at, route);
                }
            }
        }
        places
    }
}

impl OfPath {
    fn add(&mut self, at: usize, route: &Route) {
        // Several paths of a route may have the same key.
        if self.all.last() == Some(&at) {
            return;
        }
        self.all.push(at);
        for host in hosts(route) {
            self.of_hosts.entry(host.cloned()).or_default().push(at);
        }
    }
}

/// The routes after one.
struct Later<'a> {
    routes: &'a [Route],
    places: &'a Places,
    after: usize,
}

impl<'a> Later<'a> {
    /// Returns the later routes with another path that contains `path`, as far as the case of both
    /// allows, and with a host that `route` has too, in order.
    fn around(&self, route: &Route, path: &PathPattern) -> impl Iterator<Item = &'a Route> {
        let lower = path.to_lower_case();
        let shorter = lower.above();
        let of_texts = shorter.filter_map(|shorter| self.places.of_texts.get(shorter.text()));
        let firsts = [first_segment(path), STAR.to_owned()];
        let of_stars = firsts.iter().filter_map(|it| self.places.of_stars.get(it));
        let (routes, _) = self.after(route, of_texts.chain(of_stars));
        let is_around = move |other: &&Route| {
            let any_case = other.ignore_case || route.ignore_case;
            paths(other).iter().any(|held| {
                let holds = match any_case {
                    true => held.holds_in_any_case(path),
                    false => held.holds(path),
                };
                holds && !held.text().eq_ignore_ascii_case(path.text())
            })
        };
        routes.into_iter().filter(is_around)
    }

    /// Returns whether a later route has the path, includes a host of `route`, and matches every
    /// method.
    fn take_the_rest_of(&self, route: &Route, path: &PathPattern) -> bool {
        let key = path.text().to_ascii_lowercase();
        let (same, is_complete) = self.after(route, self.places.of_texts.get(&key));
        let mut same = same.into_iter();
        let takes = |other: &Route| {
            let is_same = |held: &PathPattern| {
                (other.ignore_case || held.text() == path.text())
                    && held.text().eq_ignore_ascii_case(path.text())
                    && (path.is_exact() || !held.is_exact())
            };
            // Of the requests for any host, a route with hosts takes only some.
            let is_for_host = other.hosts.is_empty() || !route.hosts.is_empty();
            is_for_host && matches_all_methods(other) && paths(other).iter().any(is_same)
        };
        !is_complete || same.any(takes)
    }

    /// Returns whether a route, also an earlier one, has the path in any case, and a host that `route` has too.
    fn is_named(&self, route: &Route, path: &PathPattern) -> bool {
        let key = path.text().to_ascii_lowercase();
        let named = self.places.of_texts.get(&key);
        let named = named.into_iter().flat_map(|it| it.all.iter().take(LOOKS));
        named
            .filter_map(|at| self.routes.get(*at))
            .any(|other| meets_hosts(other, route))
    }

    /// Returns the later routes in the lists with a host that `route` has too, in order, and whether
    /// these are all. Of each list, [`LOOKS`] are looked at, and none that comes after the last one
    /// of these: one that was not looked at might match first.
    fn after<'p>(
        &self,
        route: &Route,
        lists: impl IntoIterator<Item = &'p OfPath>,
    ) -> (Vec<&'a Route>, bool) {
        let hosts = or_wider(route);
        let (mut found, mut horizon) = (Vec::new(), None);
        let mut look = |places: &[usize]| {
            let first = places.partition_point(|place| *place <= self.after);
            let places = places.get(first..).unwrap_or_default();
            found.extend(places.iter().take(LOOKS).copied());
            if places.len() > LOOKS {
                let last = places.get(LOOKS - 1).copied();
                horizon = horizon.into_iter().chain(last).min();
            }
        };
        for list in lists {
            if route.hosts.is_empty() {
                look(&list.all);
                continue;
            }
            let of_hosts = hosts.iter().filter_map(|host| list.of_hosts.get(host));
            of_hosts.for_each(|places| look(places));
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|place| horizon.is_none_or(|horizon| *place <= horizon));
        let routes = found.into_iter().filter_map(|at| self.routes.get(at));
        (routes.collect(), horizon.is_none())
    }
}

/// Returns the first segment of a path in lower case; empty for `/`.
fn first_segment(path: &PathPattern) -> String {
    let first = path.segments().next();
    first.unwrap_or_default().to_ascii_lowercase()
}

fn matches_all_methods(route: &Route) -> bool {
    route.methods.is_none() && route.from.is_none()
}

/// Returns whether `other` matches every request that `route` could match at `path`, as far as the
/// path decides.
fn has_path(other: &Route, route: &Route, path: &PathPattern) -> bool {
    let paths = paths(other);
    paths
        .iter()
        .any(|held| holds_path((other, held), (route, path)))
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
