//! The route table. The first match wins. A request without a match is denied, and so is a path for
//! which two servers would find different routes.

mod held;
mod index;
mod stars;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use super::input::MatchInput;
use super::target::{Target, begins_with_encoded_slash};
use crate::auth::{Mode, Policy};
use crate::config::{self, NetworkSet};
use held::Held;
use index::Index;

/// A route of the configuration.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Box<str>,
    pub(crate) policy: Policy,
    pub(crate) mode: Mode,
    /// The index of the upstream; `None` only if the proxy is off.
    pub(crate) upstream: Option<usize>,
    /// The maximum size of a request body in bytes.
    pub(crate) body_bytes: Option<u64>,
    /// Changes to the forwarded request and response.
    pub(crate) rewrite: config::Rewrite,
    methods: Option<Box<[Method]>>,
    from: Option<Arc<NetworkSet>>,
    allow_double_slash: bool,
    allow_encoded_slash: bool,
}

impl Route {
    fn new(route: &config::Route) -> Self {
        Self {
            name: route.name.as_str().into(),
            policy: route.policy.clone(),
            mode: route.mode,
            upstream: route.upstream,
            body_bytes: route.body_bytes,
            rewrite: route.rewrite.clone(),
            methods: route.methods.as_deref().map(Into::into),
            from: route.from.clone(),
            allow_double_slash: route.allow_double_slash,
            allow_encoded_slash: route.allow_encoded_slash,
        }
    }

    fn takes_method(&self, method: &Method) -> bool {
        let methods = self.methods.as_ref();
        methods.is_none_or(|methods| methods.contains(method))
    }

    /// Returns whether the route matches a client. A client whose address is unknown is in no network.
    fn takes_client(&self, client: Option<IpAddr>) -> bool {
        let is_in =
            |networks: &Arc<NetworkSet>| client.is_some_and(|client| networks.contains(client));
        self.from.as_ref().is_none_or(is_in)
    }

    /// Returns whether the route accepts the slashes in a path.
    fn takes(&self, target: &Target<'_>) -> bool {
        // Some servers read a path that begins with two slashes as a host (RFC 3986 §4.2).
        let rest = self.below_prefix(target.literal());
        let is_host = rest.is_some_and(|it| it.starts_with(b"//") || begins_with_encoded_slash(it));
        !is_host
            && (self.allow_double_slash || !target.double_slash)
            && (self.allow_encoded_slash || !target.encoded_slash)
    }

    /// Returns the rest of a path, decoded or not, after the prefix that the route strips. It
    /// begins with a slash. `None` if the route strips no prefix.
    pub(crate) fn below_prefix<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let prefix = self.rewrite.prefix.as_ref()?.as_bytes();
        // Count segments, because the client may have encoded them differently. Each begins with a
        // slash.
        let is_slash = |byte: &&u8| **byte == b'/';
        let segments = prefix.iter().filter(is_slash).count();
        let mut slashes = (0..path.len()).filter(|&at| path.get(at) == Some(&b'/'));
        let rest = slashes.nth(segments).and_then(|at| path.get(at..));
        Some(rest.unwrap_or(b"/"))
    }
}

/// The route that decides a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    /// Its index.
    pub(crate) place: usize,
    pub(crate) route: &'a Route,
    /// Whether some route for the host and path depends on the method, so that no header may
    /// override the method later.
    pub(crate) has_methods: bool,
}

/// Why no route decides a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unrouted {
    /// No route matches.
    None,
    /// The matching route, by its index, does not accept the slashes in the path.
    Slashes(usize),
    /// Servers that read the path in another way would find another route.
    Readings,
}

/// A reading of a path that matches another route than the path as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) path: Box<[u8]>,
    /// The index of the route; `None` if none matches.
    pub(crate) place: Option<usize>,
    /// Whether servers divide the path into segments in different ways, so that the route may match
    /// or not.
    pub(crate) is_divided: bool,
}

/// The routes in their order.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Box<[Route]>,
    index: Index,
    has_networks: bool,
}

impl RouteTable {
    pub(crate) fn new(routes: &[config::Route]) -> Self {
        Self {
            routes: routes.iter().map(Route::new).collect(),
            index: Index::new(routes),
            has_networks: routes.iter().any(|route| route.from.is_some()),
        }
    }

    /// Returns whether there are no routes. Then the application authorizes.
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Returns whether some route depends on the address of the client.
    pub(crate) fn has_networks(&self) -> bool {
        self.has_networks
    }

    /// Returns the first route that does not match only because the address of the client is
    /// unknown, and that comes before the one that matches.
    pub(crate) fn unaddressed(&self, input: &MatchInput<'_>) -> Option<&Route> {
        if !self.has_networks || input.client.is_some() {
            return None;
        }
        let literal = input.target.literal();
        let mut found = self.first(input, literal).0.map_or(usize::MAX, |it| it.0);
        let mut unaddressed = None;
        self.index.visit(input.host, literal, |held| {
            let routes = held.places.iter().take_while(|&&place| place < found);
            let mut routes = routes.filter_map(|&place| Some((place, self.routes.get(place)?)));
            let lacking =
                routes.find(|(_, route)| route.from.is_some() && route.takes_method(&input.method));
            if let Some((place, route)) = lacking {
                (found, unaddressed) = (place, Some(route));
            }
        });
        unaddressed
    }

    /// Returns the number of routes that only observe.
    pub(crate) fn observed(&self) -> usize {
        let is_observed = |route: &&Route| route.mode == Mode::Observe;
        self.routes.iter().filter(is_observed).count()
    }

    /// Finds the first matching route. The time depends on the path, not on the number of routes.
    ///
    /// # Errors
    /// [`Unrouted`] if no route matches, or if another one matches a different reading of the path.
    pub(crate) fn resolve(&self, input: &MatchInput<'_>) -> Result<Found<'_>, Unrouted> {
        let literal = input.target.literal();
        let (first, mut has_methods) = self.first(input, literal);
        if let Some((place, route)) = first
            && !route.takes(&input.target)
        {
            return Err(Unrouted::Slashes(place));
        }
        for reading in input.target.readings() {
            let (other, also) = self.first(input, reading);
            if place(other) != place(first) {
                return Err(Unrouted::Readings);
            }
            has_methods |= also;
        }
        if self.index.has_shapes {
            has_methods |= self.check_shape(input, place(first))?;
        }
        let (place, route) = first.ok_or(Unrouted::None)?;
        Ok(Found {
            place,
            route,
            has_methods,
        })
    }

    /// Checks that no server finds another route because it counts the segments of the path
    /// differently, which only matters to paths with a `*` and to exact ones. Returns whether a route
    /// for another spelling depends on the method.
    fn check_shape(&self, input: &MatchInput<'_>, found: Option<usize>) -> Result<bool, Unrouted> {
        let target = &input.target;
        let mut has_methods = false;
        // Some servers serve `/x/` as `/x`.
        let literal = target.literal();
        if let Some(path) = literal.strip_suffix(b"/").filter(|path| !path.is_empty()) {
            let (other, also) = self.first(input, path);
            if place(other) != found {
                return Err(Unrouted::Readings);
            }
            has_methods = also;
        }
        let Some(single) = target.single_segments() else {
            return Ok(has_methods);
        };
        let mut possible = None;
        for reading in target.readings() {
            let mut visit = |held: &Held| {
                let (other, _) = self.first_of(held, input, usize::MAX).unzip();
                possible = possible.into_iter().chain(other).min();
            };
            if !self
                .index
                .visit_possible(input.host, reading, single, &mut visit)
            {
                return Err(Unrouted::Readings);
            }
        }
        match possible {
            Some(possible) if found.is_none_or(|found| possible <= found) => {
                Err(Unrouted::Readings)
            }
            _ => Ok(has_methods),
        }
    }

    /// Returns the readings of the path for which another route matches, or none, so that it is
    /// rejected with [`Unrouted::Readings`]. For explanations.
    pub(crate) fn other_readings(&self, input: &MatchInput<'_>) -> Vec<Reading> {
        let target = &input.target;
        let literal = target.literal();
        let found = place(self.at(input, literal));
        let mut others = Vec::new();
        let mut add = |path: &[u8], place, is_divided| {
            let is_known = others.iter().any(|it: &Reading| *it.path == *path);
            if !is_known && (is_divided || place != found) {
                let path = path.into();
                others.push(Reading {
                    path,
                    place,
                    is_divided,
                });
            }
        };
        for reading in target.readings() {
            add(reading, place(self.at(input, reading)), false);
        }
        if !self.index.has_shapes {
            return others;
        }
        if let Some(path) = literal.strip_suffix(b"/").filter(|path| !path.is_empty()) {
            add(path, place(self.at(input, path)), false);
        }
        let Some(single) = target.single_segments() else {
            return others;
        };
        for reading in target.readings() {
            let mut possible = None;
            let mut visit = |held: &Held| {
                let (other, _) = self.first_of(held, input, usize::MAX).unzip();
                possible = possible.into_iter().chain(other).min();
            };
            let is_complete = self
                .index
                .visit_possible(input.host, reading, single, &mut visit);
            let is_first = |possible| found.is_none_or(|found| possible <= found);
            if !is_complete || possible.is_some_and(is_first) {
                add(reading, possible, true);
            }
        }
        others
    }

    /// Returns the first route that matches `path` as written, with its index.
    pub(crate) fn at(&self, input: &MatchInput<'_>, path: &[u8]) -> Option<(usize, &Route)> {
        self.first(input, path).0
    }

    /// Returns the indexes of all routes for a host that match `path` as written, whatever the method
    /// and the client are, ascending.
    pub(crate) fn candidates(&self, host: Option<&str>, path: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        self.index
            .visit(host, path, |held| places.extend(&held.places));
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Returns the first route that matches `path` as written, and whether some route for the host
    /// and path depends on the method.
    fn first(&self, input: &MatchInput<'_>, path: &[u8]) -> (Option<(usize, &Route)>, bool) {
        let mut found: Option<(usize, &Route)> = None;
        let mut has_methods = false;
        self.index.visit(input.host, path, |held: &Held| {
            has_methods |= held.has_methods;
            let before = found.map_or(usize::MAX, |(place, _)| place);
            found = self.first_of(held, input, before).or(found);
        });
        (found, has_methods)
    }

    /// Returns the first route of a list that takes the rest of the request, if its index is less
    /// than `before`.
    fn first_of(
        &self,
        held: &Held,
        input: &MatchInput<'_>,
        before: usize,
    ) -> Option<(usize, &Route)> {
        // The indexes are ascending, so the first match in the list is the lowest.
        held.places
            .iter()
            .take_while(|&&place| place < before)
            .filter_map(|&place| Some((place, self.routes.get(place)?)))
            .find(|(_, route)| {
                route.takes_method(&input.method) && route.takes_client(input.client)
            })
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }
}

fn place(found: Option<(usize, &Route)>) -> Option<usize> {
    found.map(|(place, _)| place)
}

/// Returns a function that finds the index of a route by host, path and method. For benchmarks.
pub fn lookup(routes: &[config::Route]) -> impl Fn(&str, &[u8], &Method) -> Option<usize> {
    let table = RouteTable::new(routes);
    move |host, path, method| {
        let input = MatchInput {
            host: Some(host),
            method: method.clone(),
            target: Target::read(path).ok()?,
            client: None,
        };
        table.resolve(&input).ok().map(|found| found.place)
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod linear;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostPattern, PathPattern};

    pub(super) fn route(
        name: &str,
        host: Option<&str>,
        path: Option<&str>,
        methods: &[Method],
    ) -> config::Route {
        let hosts = host.map(|host| HostPattern::read(host).unwrap());
        let paths = path.map(|path| PathPattern::read(path).unwrap());
        config::Route {
            name: name.into(),
            hosts: hosts.into_iter().collect(),
            paths: paths.into_iter().collect(),
            methods: (!methods.is_empty()).then(|| methods.to_vec()),
            from: None,
            policy: Policy::Authenticated,
            mode: Mode::Enforce,
            upstream: None,
            body_bytes: None,
            allow_double_slash: false,
            allow_encoded_slash: false,
            ignore_case: false,
            ignore_suffix: false,
            unsaid: Vec::new(),
            denials: None,
            rewrite: config::Rewrite::default(),
        }
    }

    fn found<'a>(
        table: &'a RouteTable,
        host: &str,
        path: &str,
        method: &Method,
    ) -> Option<&'a str> {
        let target = Target::read(path.as_bytes()).unwrap();
        let input = MatchInput {
            host: Some(host),
            target,
            method: method.clone(),
            client: None,
        };
        table.resolve(&input).ok().map(|found| &*found.route.name)
    }

    #[test]
    fn first_match_wins_and_no_match_is_none() {
        let table = RouteTable::new(&[
            route("read", None, Some("/api/"), &[Method::GET]),
            route("api", None, Some("/api"), &[]),
            route("host", Some("b.example"), None, &[]),
        ]);
        assert_eq!(found(&table, "a", "/api/x", &Method::GET), Some("read"));
        assert_eq!(found(&table, "a", "/api", &Method::GET), Some("read"));
        assert_eq!(found(&table, "a", "/api/x", &Method::POST), Some("api"));
        assert_eq!(found(&table, "B.Example", "/x", &Method::GET), Some("host"));
        assert_eq!(found(&table, "xb.example", "/x", &Method::GET), None);
        assert_eq!(found(&table, "a", "/x", &Method::GET), None);
    }

    #[test]
    fn route_matches_its_path_and_everything_below() {
        for (path, prefix, expected) in [
            ("/api", "/api", true),
            ("/api/", "/api", true),
            ("/api/x", "/api/", true),
            ("/apis", "/api", false),
            ("/ap", "/api", false),
            ("/x/api", "/api", false),
            ("/anything", "/", true),
            ("/", "/", true),
            ("/api/%61;x=1", "/api", true),
            ("/api/x.", "/api", true),
        ] {
            let table = RouteTable::new(&[route("it", None, Some(prefix), &[])]);
            let is_found = found(&table, "a", path, &Method::GET).is_some();
            assert_eq!(is_found, expected, "{path} {prefix}");
        }
    }

    #[test]
    fn segment_that_a_route_names_has_one_spelling() {
        for path in [
            "/%61pi/x",
            "/api;x=1/y",
            "/api;",
            "/api%3bx",
            "/a%2570i",
            "/api.",
            "/api%20",
            "/api./x",
            "/api%3fx",
            "/%ef%bd%81pi",
            "/ap%c4%b1",
            "/ap%c4%b0",
            "/x/../api",
            "/api%2fx",
            "/%2fapi",
            "//api",
            "//x/api",
            "/api%252fx",
            "/%252fapi",
            "/%252fx/api",
            "/%20/api",
            "/.../api",
        ] {
            for catch_all in [None, Some("/")] {
                let mut routes = vec![route("api", None, Some("/api"), &[])];
                routes.extend(catch_all.map(|path| route("all", None, Some(path), &[])));
                for route in &mut routes {
                    route.allow_double_slash = true;
                    route.allow_encoded_slash = true;
                }
                if path.contains("%c4%b") {
                    // Only a server that ignores case reads U+0130 and U+0131 as an i.
                    routes[0].ignore_case = true;
                }
                let table = RouteTable::new(&routes);
                let Ok(target) = Target::read(path.as_bytes()) else {
                    continue;
                };
                let input = MatchInput {
                    host: Some("a"),
                    target,
                    method: Method::GET,
                    client: None,
                };
                let found = table.resolve(&input);
                assert!(
                    matches!(found, Err(Unrouted::Readings)),
                    "{path}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn path_that_falls_under_one_route_in_every_reading_passes() {
        let mut routes = vec![
            route("api", None, Some("/api"), &[]),
            route("all", None, None, &[]),
        ];
        for route in &mut routes {
            route.allow_double_slash = true;
            route.allow_encoded_slash = true;
        }
        let table = RouteTable::new(&routes);
        for (path, expected) in [
            ("/api/x;v=1", "api"),
            ("/api/caf%C3%A9", "api"),
            ("/api//x", "api"),
            ("/api/a%2Fb", "api"),
            ("/api/a%252Fb", "api"),
            ("/api/x.", "api"),
            ("/x%20y", "all"),
            ("//x", "all"),
            ("/x;jsessionid=1", "all"),
            ("/x/api;v=1", "all"),
        ] {
            assert_eq!(
                found(&table, "a", path, &Method::GET),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn route_may_hold_its_path_in_any_case_and_with_any_suffix() {
        let mut folded = route("folded", None, Some("/Api/v1"), &[]);
        folded.ignore_case = true;
        let mut suffixed = route("suffixed", None, Some("/shop/cart"), &[]);
        suffixed.ignore_suffix = true;
        let mut both = route("both", Some("b.example"), Some("/admin"), &[]);
        both.ignore_case = true;
        both.ignore_suffix = true;
        let table = RouteTable::new(&[folded, suffixed, both, route("all", None, None, &[])]);
        for (host, path, expected) in [
            ("a", "/api/v1", "folded"),
            ("a", "/API/V1/x", "folded"),
            ("a", "/api/v1.json", "all"),
            ("a", "/api/v10", "all"),
            ("a", "/shop/cart", "suffixed"),
            ("a", "/shop/cart.json", "suffixed"),
            ("a", "/shop/cart.tar.gz/x", "suffixed"),
            ("a", "/shop/cart./x", "suffixed"),
            ("a", "/shop.json/cart", "all"),
            ("a", "/shop/carts.json", "all"),
            ("a", "/shop/Cart", "all"),
            ("b.example", "/ADMIN.json", "both"),
            ("b.example", "/Admin.x/y", "both"),
            ("b.example", "/administer", "all"),
            ("b.example", "/x.admin", "all"),
            ("a", "/admin", "all"),
        ] {
            assert_eq!(
                found(&table, host, path, &Method::GET),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn methods_matter_where_any_route_for_host_and_path_has_some() {
        let table = RouteTable::new(&[
            route("delete", Some("a.example"), Some("/x"), &[Method::DELETE]),
            route("x", None, Some("/x"), &[]),
            route("put", None, Some("/y/z"), &[Method::PUT]),
            route("all", None, None, &[]),
        ]);
        for (host, path, expected) in [
            ("a.example", "/x", true),
            ("a.example", "/x/y", true),
            ("a.example", "/", false),
            ("b.example", "/x", false),
            ("b.example", "/y/z", true),
            ("b.example", "/y", false),
        ] {
            let target = Target::read(path.as_bytes()).unwrap();
            let input = MatchInput {
                host: Some(host),
                target,
                method: Method::POST,
                client: None,
            };
            let found = table.resolve(&input).unwrap();
            assert_eq!(found.has_methods, expected, "{host}{path}");
        }
    }

    fn resolved(paths: &[&str], path: &str) -> Result<String, &'static str> {
        let routes: Vec<_> = paths
            .iter()
            .map(|path| config::Route {
                allow_double_slash: true,
                allow_encoded_slash: true,
                ..route(path, None, Some(path), &[])
            })
            .collect();
        let table = RouteTable::new(&routes);
        let input = MatchInput {
            host: Some("a"),
            method: Method::GET,
            target: Target::read(path.as_bytes()).map_err(|_| "unreadable")?,
            client: None,
        };
        match table.resolve(&input) {
            Ok(found) => Ok(found.route.name.to_string()),
            Err(Unrouted::None) => Err("none"),
            Err(Unrouted::Slashes(_)) => Err("slashes"),
            Err(Unrouted::Readings) => Err("readings"),
        }
    }

    #[test]
    fn star_is_one_segment_and_an_exact_path_is_the_whole_path() {
        let routes = ["=/", "=/healthz", "/users/*/keys", "=/files/*", "/x/*/y/*"];
        for (path, expected) in [
            ("/", Ok("=/")),
            ("/healthz", Ok("=/healthz")),
            ("/healthz/x", Err("none")),
            ("/healthzx", Err("none")),
            ("/users/alice/keys", Ok("/users/*/keys")),
            ("/users/a.b%40c/keys/1", Ok("/users/*/keys")),
            ("/users/alice/keysx", Err("none")),
            ("/users/keys", Err("none")),
            ("/users/a/b/keys", Err("none")),
            ("/files/a", Ok("=/files/*")),
            ("/files/a/b", Err("none")),
            ("/files", Err("none")),
            ("/x/1/y/2/z", Ok("/x/*/y/*")),
            ("/x/1/y", Err("none")),
            // Some servers serve these as the exact path.
            ("/healthz/", Err("readings")),
            ("/files/a/", Err("readings")),
            // These have an empty segment, or are two for some server.
            ("/users//keys", Err("readings")),
            ("/users/a%2fb/keys", Err("readings")),
            ("/users/%2fa/keys", Err("readings")),
            ("/users/%252f/keys", Err("readings")),
            ("/users/a%25252fb/keys", Err("readings")),
            ("/users/a%25%32%66b/keys", Err("readings")),
            ("/users/a;x/keys", Err("readings")),
            ("/users/a%3bx/keys", Err("readings")),
            ("/users/a%3fx/keys", Err("readings")),
            ("/users/%20/keys", Err("readings")),
            ("/users/.../keys", Err("readings")),
            ("/users//alice/keys", Err("readings")),
            ("//users/alice/keys", Err("readings")),
            ("//h/users/alice/keys", Err("readings")),
            ("/healthz;x", Err("readings")),
            ("/healthz%3fx/y", Err("readings")),
            ("/z/y;/healthz", Err("none")),
            // A dot segment is never a segment.
            ("/users/../keys", Err("unreadable")),
            ("/users/%2e%2e/keys", Err("unreadable")),
            ("/users/..;/keys", Err("unreadable")),
            ("/users/%ef%bc%8e%ef%bc%8e/keys", Err("unreadable")),
            ("/users/a%ef%bc%8fb/keys", Err("unreadable")),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(resolved(&routes, path), expected, "{path}");
        }
    }

    #[test]
    fn ambiguous_segment_matters_only_where_a_star_or_an_exact_path_could_match() {
        for (routes, path, expected) in [
            (&["/users/*/keys", "/"][..], "/users/a//b", Ok("/")),
            (&["/users/*/keys", "/"], "/users/a/x//keys", Ok("/")),
            (
                &["/users/*/keys", "/"],
                "/users/a/keys//b",
                Ok("/users/*/keys"),
            ),
            (
                &["/users/*/keys", "/"],
                "/users/a/keys/b;x",
                Ok("/users/*/keys"),
            ),
            (&["/users/*", "/"], "/users//x", Err("readings")),
            (&["/", "/users/*/keys"], "/users/a//keys", Ok("/")),
            (&["=/users/*", "/"], "/users/a/b/c;x", Ok("/")),
            (&["=/users/*", "/"], "/users/a;x/c", Err("readings")),
            (&["=/users/*", "/"], "/users/a/;x/c", Err("unreadable")),
            (&["=/healthz", "/"], "/healthz/", Err("readings")),
            (&["/", "=/healthz"], "/healthz/", Ok("/")),
            (&["=/healthz", "/"], "/healthz/a/b;x", Ok("/")),
            (&["=/healthz", "/"], "/x/healthz;x", Ok("/")),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(resolved(routes, path), expected, "{routes:?} {path}");
        }
    }

    #[test]
    fn other_readings_are_those_that_make_a_path_ambiguous() {
        let paths = ["=/healthz", "/api", "/users/*/keys", "/"];
        let routes: Vec<_> = paths
            .iter()
            .map(|path| config::Route {
                allow_double_slash: true,
                allow_encoded_slash: true,
                ..route(path, None, Some(path), &[])
            })
            .collect();
        let table = RouteTable::new(&routes);
        for (path, expected) in [
            ("/healthz", ""),
            ("/healthz/", "/healthz =/healthz"),
            ("/healthz;x", "/healthz =/healthz"),
            ("/%61pi", "/api /api"),
            ("/x/api;v", ""),
            ("/api/x;v", ""),
            ("/users/a;x/keys", "/users/a/keys /users/*/keys divided"),
            ("/users//keys", "/users/keys /users/*/keys divided"),
        ] {
            let input = MatchInput {
                host: Some("a"),
                method: Method::GET,
                target: Target::read(path.as_bytes()).unwrap(),
                client: None,
            };
            let readings = table.other_readings(&input);
            let is_rejected = matches!(table.resolve(&input), Err(Unrouted::Readings));
            assert_eq!(is_rejected, !readings.is_empty(), "{path}");
            let text = |it: &Reading| {
                let path = String::from_utf8_lossy(&it.path);
                let route = it.place.map_or("none", |place| paths[place]);
                let divided = if it.is_divided { " divided" } else { "" };
                format!("{path} {route}{divided}")
            };
            let texts: Vec<_> = readings.iter().map(text).collect();
            assert_eq!(texts.join(", "), expected, "{path}");
        }
    }

    #[test]
    fn wildcard_host_is_whole_labels_more() {
        let table = RouteTable::new(&[
            route("exact", Some("a.example.org"), None, &[]),
            route("one", Some("*.example.org"), None, &[]),
            route("more", Some("**.example.org"), None, &[]),
        ]);
        for (host, expected) in [
            ("a.example.org", Some("exact")),
            ("A.EXAMPLE.ORG", Some("exact")),
            ("b.example.org", Some("one")),
            ("B.Example.Org", Some("one")),
            ("xn--bcher-kva.example.org", Some("one")),
            ("b.a.example.org", Some("more")),
            ("c.b.a.example.org", Some("more")),
            ("example.org", None),
            ("badexample.org", None),
            ("a.badexample.org", None),
            ("a.example.org.evil", None),
            ("org", None),
            ("[::1]", None),
        ] {
            assert_eq!(found(&table, host, "/", &Method::GET), expected, "{host}");
        }
    }

    #[test]
    fn paths_with_stars_may_match_in_any_case_and_with_any_suffix() {
        let mut folded = route("folded", None, Some("/Users/*/Keys"), &[]);
        folded.ignore_case = true;
        let mut suffixed = route("suffixed", None, Some("/files/*/list"), &[]);
        suffixed.ignore_suffix = true;
        let mut whole = route("whole", None, Some("=/status"), &[]);
        whole.ignore_suffix = true;
        let table = RouteTable::new(&[folded, suffixed, whole, route("all", None, None, &[])]);
        for (path, expected) in [
            ("/USERS/Alice/keys", "folded"),
            ("/users/alice/keys.json", "all"),
            ("/files/a/list.json/x", "suffixed"),
            ("/files/a/list.tar.gz", "suffixed"),
            ("/files/a/LIST", "all"),
            ("/files.x/a/list", "all"),
            ("/status.json", "whole"),
            ("/status.json/x", "all"),
            ("/Status", "all"),
        ] {
            assert_eq!(
                found(&table, "a", path, &Method::GET),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn slashes_are_taken_only_where_allowed() {
        let double = Target::read(b"/a//b").unwrap();
        let encoded = Target::read(b"/a%2Fb").unwrap();
        let mut open = route("open", None, None, &[]);
        let strict = Route::new(&open);
        assert!(!strict.takes(&double) && !strict.takes(&encoded));
        open.allow_double_slash = true;
        let lenient = Route::new(&open);
        assert!(lenient.takes(&double) && !lenient.takes(&encoded));
    }

    #[test]
    fn prefix_is_taken_off_by_segments() {
        let mut plain = route("plain", None, Some("/api/v1/"), &[]);
        plain.rewrite.prefix = Some(http::HeaderValue::from_static("/api/v1"));
        plain.allow_double_slash = true;
        plain.allow_encoded_slash = true;
        let route = Route::new(&plain);
        for (path, expected) in [
            ("/api/v1", "/"),
            ("/api/v1/", "/"),
            ("/api/v1/x/y", "/x/y"),
            ("/%61pi/v%31/x", "/x"),
            ("/api;a=1/v1;b/x", "/x"),
            ("/api/v1/x//y", "/x//y"),
        ] {
            assert_eq!(
                route.below_prefix(path.as_bytes()),
                Some(expected.as_bytes())
            );
        }
        for (path, expected) in [
            ("/api/v1/x//y", true),
            ("/api/v1//x", false),
            ("/api/v1/%2fx", false),
            ("/api/v1/x%2fy", true),
        ] {
            let target = Target::read(path.as_bytes()).unwrap();
            assert_eq!(route.takes(&target), expected, "{path}");
        }
        plain.rewrite.prefix = None;
        assert_eq!(Route::new(&plain).below_prefix(b"/api/v1/x"), None);
    }
}
