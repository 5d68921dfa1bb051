//! Warnings about routes that never match.

use std::borrow::Cow;
use std::collections::HashMap;

use super::host::HostPattern;
use super::path::{PathPattern, STAR};
use super::route::Route;

/// The maximum number of routes with the same host and path that are compared with another one, so
/// that the time does not grow with the square of the routes. Later ones cause no warning.
pub(super) const LOOKS: usize = 100;

/// The earlier routes by one of their hosts, or any, and one of their paths in lower case; those
/// with a `*` in a path by host alone.
type Earlier<'a> = HashMap<(Option<HostPattern>, Option<PathPattern>), Vec<&'a Route>>;

/// Warns of routes that never match, because an earlier one matches all of their requests. Returns
/// the index of each with the warning.
pub(super) fn unreached(routes: &[Route]) -> Vec<(usize, String)> {
    let mut earlier = Earlier::new();
    let mut warnings = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        if let Some(taker) = taker(&earlier, route) {
            let text = format!(
                "route {:?} never matches: the earlier route {:?} matches all of its requests; move {0:?} \
                 up, or remove it",
                route.name, taker.name,
            );
            warnings.push((at, text));
        }
        for host in hosts(route) {
            for path in &*paths(route) {
                let path = Some(path.to_lower_case()).filter(|path| !path.has_star());
                let earlier = earlier.entry((host.cloned(), path)).or_default();
                if earlier.len() < LOOKS {
                    earlier.push(route);
                }
            }
        }
    }
    warnings
}

/// Returns an earlier route that matches every request that `route` would.
fn taker<'a>(earlier: &Earlier<'a>, route: &Route) -> Option<&'a Route> {
    // The one that is looked for has a host and a path that hold the first ones of this route.
    let path = paths(route).first()?.to_lower_case();
    let same = [path.prefix(), path.clone()];
    let above = path.above().chain(same).map(Some).chain([None]);
    let above: Vec<_> = above.collect();
    let hosts = route.hosts.first().map(HostPattern::wider);
    let hosts = hosts.into_iter().flatten().map(Some).chain([None]);
    let keys = hosts.flat_map(|host| above.iter().map(move |path| (host.clone(), path.clone())));
    keys.filter_map(|key| earlier.get(&key))
        .flatten()
        .find(|other| takes_all_of(other, route))
        .copied()
}

/// Returns whether one route matches every request that the other one would.
fn takes_all_of(one: &Route, other: &Route) -> bool {
    let holds_methods = match (&one.methods, &other.methods) {
        (None, _) => true,
        (Some(ones), Some(others)) => others.iter().all(|method| ones.contains(method)),
        (Some(_), None) => false,
    };
    let holds_paths = || {
        let ones = paths(one);
        let is_held = |path| {
            ones.iter()
                .any(|held| holds_path((one, held), (other, path)))
        };
        paths(other).iter().all(is_held)
    };
    let holds_networks = || match (&one.from, &other.from) {
        (None, _) => true,
        (Some(ones), Some(others)) => ones.holds(others),
        (Some(_), None) => false,
    };
    // The longest lists are compared last.
    holds_methods && holds_hosts(one, other) && holds_paths() && holds_networks()
}

/// Returns whether a path of one route matches every path that one of the other route matches.
pub(super) fn holds_path(
    (one, path): (&Route, &PathPattern),
    (other, held): (&Route, &PathPattern),
) -> bool {
    let holds = if one.ignore_case {
        path.holds_in_any_case(held)
    } else {
        // "/ADMIN" matches no other spelling.
        let is_named = path.segments().any(|segment| segment != STAR);
        path.holds(held) && !(is_named && other.ignore_case)
    };
    // A last segment with a suffix is still a segment.
    let holds_suffixes = match path.segments().last() {
        Some(segment) => segment == STAR,
        None => !path.is_exact(),
    };
    let is_shorter = !path.is_exact() && path.segments().count() < held.segments().count();
    holds && (one.ignore_suffix || !other.ignore_suffix || is_shorter || holds_suffixes)
}

/// Returns whether one route matches every host that the other one matches.
pub(super) fn holds_hosts(one: &Route, other: &Route) -> bool {
    let is_held = |host: &HostPattern| one.hosts.iter().any(|held| held.holds(host));
    one.hosts.is_empty() || (!other.hosts.is_empty() && other.hosts.iter().all(is_held))
}

/// Returns the hosts of a route; `None` for any.
pub(super) fn hosts(route: &Route) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = route.hosts.is_empty().then_some(None);
    any.into_iter().chain(route.hosts.iter().map(Some))
}

/// Returns the paths of a route, at least one.
pub(super) fn paths(route: &Route) -> Cow<'_, [PathPattern]> {
    match route.paths.is_empty() {
        true => Cow::Owned(vec![PathPattern::all()]),
        false => Cow::Borrowed(&route.paths),
    }
}
