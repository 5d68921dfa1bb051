//! Finds the routes that are in both configurations, in the same order.

use std::collections::HashMap;
use std::sync::Arc;

use super::effects::EffectId;
use super::pairs::PolicyId;
use super::side::Side;
use crate::config::{HostPattern, NetworkSet, Route};

/// The place of a route in each configuration; [`NOWHERE`] where it is not.
pub(super) type Places = [usize; 2];

/// The place of a route that a configuration does not have.
pub(super) const NOWHERE: usize = usize::MAX;

/// A route, and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) route: &'a Route,
    pub(super) places: Places,
    /// Whether it is not in both configurations, or in another order relative to other routes.
    pub(super) is_changed: bool,
}

/// Returns the routes of both configurations. Those that are kept are one entry.
///
/// A request that no changed route matches is matched by the same routes in the same order in both
/// configurations, so the first of them is the same.
pub(super) fn entries<'a>(sides: &[Side<'a>; 2]) -> Vec<Entry<'a>> {
    let [olds, news] = contents(sides);
    let mut places: HashMap<usize, usize> = HashMap::new();
    for (place, content) in news.iter().enumerate() {
        places.entry(*content).or_insert(place);
    }
    let common = olds.iter().enumerate();
    let common = common.filter_map(|(at, content)| Some((at, *places.get(content)?)));
    let kept = increasing(&common.collect::<Vec<_>>());
    let in_new: HashMap<usize, usize> = kept.iter().copied().collect();
    let kept_new: HashMap<usize, usize> = kept.iter().map(|(at, place)| (*place, *at)).collect();
    let [old, new] = sides.each_ref().map(|side| &side.config().routes);
    let of_old = old.iter().enumerate().map(|(at, route)| {
        let place = in_new.get(&at).copied();
        Entry {
            route,
            places: [at, place.unwrap_or(NOWHERE)],
            is_changed: place.is_none(),
        }
    });
    let of_new = new.iter().enumerate();
    let of_new = of_new.filter(|(place, _)| !kept_new.contains_key(place));
    let of_new = of_new.map(|(place, route)| Entry {
        route,
        places: [NOWHERE, place],
        is_changed: true,
    });
    of_old.chain(of_new).collect()
}

/// All that decides which requests a route matches, who may pass, and what happens to the request.
#[derive(PartialEq, Eq, Hash)]
struct Content<'a> {
    hosts: Vec<&'a HostPattern>,
    paths: Vec<(&'a str, bool)>,
    methods: Option<Vec<&'a str>>,
    from: Option<Arc<NetworkSet>>,
    /// The configuration, if the same addresses name clients on one side only.
    side: Option<usize>,
    policy: Option<PolicyId>,
    effect: Option<EffectId>,
    flags: [bool; 4],
    prefix: Option<&'a http::HeaderValue>,
}

/// Returns a number for each route: the same for routes with the same content.
fn contents(sides: &[Side<'_>; 2]) -> [Vec<usize>; 2] {
    let no_clients = sides.each_ref().map(|side| {
        let config = side.config();
        let balancers = [&config.gateway.transport, &config.service.transport];
        let balancers = balancers.into_iter().flat_map(|it| &it.proxy_protocol);
        let mut all: Vec<_> = balancers.chain(&config.service.trusted_proxies).collect();
        all.sort();
        all.dedup();
        all
    });
    let [old, new] = &no_clients;
    let is_same = old == new;
    let mut numbers = HashMap::new();
    let mut at_side = 0..2;
    sides.each_ref().map(|side| {
        let number = at_side.next().filter(|_| !is_same);
        let routes = side.config().routes.iter().enumerate();
        let contents = routes.map(|(at, route)| {
            let mut hosts: Vec<_> = route.hosts.iter().collect();
            let paths = route.paths.iter().map(|it| (it.text(), it.is_exact()));
            let mut paths: Vec<_> = paths.collect();
            let methods = route.methods.as_ref();
            let mut methods: Option<Vec<_>> =
                methods.map(|it| it.iter().map(http::Method::as_str).collect());
            hosts.sort();
            paths.sort_unstable();
            methods.iter_mut().for_each(|it| it.sort_unstable());
            let content = Content {
                hosts,
                paths,
                methods,
                from: route.from.clone(),
                side: number.filter(|_| route.from.is_some()),
                policy: side.policy(at),
                effect: side.effect(at),
                flags: [
                    route.allow_double_slash,
                    route.allow_encoded_slash,
                    route.ignore_case,
                    route.ignore_suffix,
                ],
                prefix: route.rewrite.prefix.as_ref(),
            };
            let next = numbers.len();
            *numbers.entry(content).or_insert(next)
        });
        contents.collect()
    })
}

/// Returns a longest part of a list whose second numbers increase.
fn increasing(list: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length, the index of the smallest last number; and the index before each.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(list.len());
    let second = |at: usize| list.get(at).map_or(usize::MAX, |it| it.1);
    for at in 0..list.len() {
        let length = ends.partition_point(|end| second(*end) < second(at));
        let last = length.checked_sub(1).and_then(|length| ends.get(length));
        before.push(last.copied());
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut kept = Vec::new();
    let mut next = ends.last().copied();
    while let Some(at) = next {
        kept.extend(list.get(at));
        next = before.get(at).copied().flatten();
    }
    kept.reverse();
    kept
}
