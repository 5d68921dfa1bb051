//! What a configuration may say, and its writer may not mean.

use super::Route;

/// Returns what to look at again, in the order of the routes.
pub(super) fn warnings(routes: &[Route]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        let later = routes.get(at + 1..).unwrap_or_default();
        warnings.extend(of_spelling(route, later));
        warnings.extend(of_methods(route, later));
    }
    warnings
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
    let named: Vec<_> = methods.iter().map(http::Method::as_str).collect();
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
    let rest = prefix(other).strip_prefix(prefix(one));
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
