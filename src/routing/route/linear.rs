//! Compares the table with a linear search for the first match.
//!
//! `cargo test --lib linear -- --nocapture` prints how many tables and requests were compared.

use http::Method;

use super::tests::route;
use super::{RouteTable, Unrouted};
use crate::config::{self, HostPattern, PathPattern, STAR};
use crate::routing::input::MatchInput;
use crate::routing::target::Target;

const HOSTS: [&str; 8] = [
    "a.example",
    "B.example",
    "x.a.example",
    "*.example",
    "**.example",
    "*.a.example",
    "**.a.example",
    "example",
];
const PATHS: [&str; 18] = [
    "/", "=/", "/a", "/a/", "=/a", "/a/b", "=/a/b", "/b", "/a/b/c", "/*", "=/*", "/a/*", "=/a/*",
    "/*/b", "/*/*/c", "=/*/b/*", "/a/*/c", "/*/*",
];
const METHODS: [&[Method]; 3] = [&[], &[Method::GET], &[Method::POST, Method::PUT]];

/// The requests.
const TO_HOSTS: [Option<&str>; 9] = [
    None,
    Some("a.example"),
    Some("A.Example"),
    Some("b.example"),
    Some("x.a.example"),
    Some("y.x.a.example"),
    Some("example"),
    Some("badexample"),
    Some("c.other"),
];
const TO_PATHS: [&str; 14] = [
    "/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c/d", "/b", "/c/a", "/x/b", "/x/b/", "/x/b/y",
    "/x/y/c", "/a/x/c", "/z/",
];

/// Returns whether a host pattern matches, label by label.
fn fits_host(pattern: &HostPattern, host: &str) -> bool {
    let text = pattern.to_string();
    let named: Vec<_> = text.split('.').collect();
    let host = host.to_ascii_lowercase();
    let there: Vec<_> = host.split('.').collect();
    match named[0] {
        "*" => there.len() == named.len() && there[1..] == named[1..],
        "**" => there.len() >= named.len() && there.ends_with(&named[1..]),
        _ => there == named,
    }
}

/// Returns whether a path pattern matches, segment by segment.
fn fits_path(pattern: &PathPattern, path: &str) -> bool {
    let text = pattern.to_string();
    let (text, is_exact) = match text.strip_prefix('=') {
        Some(text) => (text, true),
        None => (&*text, false),
    };
    let split = |path: &'_ str| -> Vec<String> {
        let path = path.trim_start_matches('/');
        let segments = path.split('/').map(str::to_owned);
        segments.filter(|_| !path.is_empty()).collect()
    };
    let named: Vec<_> = split(text.trim_end_matches('/'));
    let there = split(path);
    let mut pairs = named.iter().zip(&there);
    (there.len() == named.len() || (there.len() > named.len() && !is_exact))
        && pairs.all(|(named, there)| match &**named {
            STAR => !there.is_empty(),
            named => named == there,
        })
}

fn first(
    routes: &[config::Route],
    host: Option<&str>,
    path: &str,
    method: &Method,
) -> Option<usize> {
    let fits = |route: &config::Route| {
        let mut hosts = route.hosts.iter();
        let mut paths = route.paths.iter();
        (route.hosts.is_empty() || host.is_some_and(|host| hosts.any(|it| fits_host(it, host))))
            && (route.paths.is_empty() || paths.any(|it| fits_path(it, path)))
            && route.methods.as_ref().is_none_or(|it| it.contains(method))
    };
    routes.iter().position(fits)
}

#[test]
fn table_finds_the_same_as_a_linear_search() {
    let mut dice = 1_u64;
    let mut roll = move |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as usize % sides
    };
    let (tables, mut compared, mut refused) = (1000, 0, 0);
    for _ in 0..tables {
        let routes: Vec<_> = (0..roll(12))
            .map(|at| {
                let mut route = route(&at.to_string(), None, None, METHODS[roll(3)]);
                for _ in 0..roll(3) {
                    let host = HostPattern::read(HOSTS[roll(HOSTS.len())]).unwrap();
                    route.hosts.push(host);
                }
                for _ in 0..roll(4) {
                    let path = PathPattern::read(PATHS[roll(PATHS.len())]).unwrap();
                    route.paths.push(path);
                }
                route
            })
            .collect();
        let table = RouteTable::new(&routes);
        for host in TO_HOSTS {
            for path in TO_PATHS {
                for method in [Method::GET, Method::POST, Method::DELETE] {
                    let input = MatchInput {
                        host,
                        method: method.clone(),
                        target: Target::read(path.as_bytes()).unwrap(),
                        client: None,
                    };
                    let found = match table.resolve(&input) {
                        Ok(found) => Ok(Some(found.place)),
                        Err(Unrouted::None) => Ok(None),
                        Err(_) => Err(()),
                    };
                    let expected = first(&routes, host, path, &method);
                    let unslashed = path.strip_suffix('/').filter(|it| !it.is_empty());
                    let unslashed = unslashed.unwrap_or(path);
                    let expected = match first(&routes, host, unslashed, &method) == expected {
                        true => Ok(expected),
                        // Some servers see another route.
                        false => Err(()),
                    };
                    assert_eq!(found, expected, "{host:?} {path} {method} {routes:#?}");
                    compared += 1;
                    refused += usize::from(expected.is_err());
                }
            }
        }
    }
    println!("{tables} route tables, {compared} requests, {refused} of them ambiguous");
    assert!(compared > 300_000 && refused > 1_000);
}
