//! The route table: which rule a request falls under. First match wins; no match is denied.

mod index;

use std::sync::Arc;

use http::Method;

use super::target::Target;
use crate::auth::Policy;
use crate::config;
use crate::telemetry::{Tally, metrics};
use index::Index;

/// What a request is matched by.
pub(crate) struct Question<'a> {
    /// Without port, in any case; none if the request named none that could be one.
    pub(crate) host: Option<&'a str>,
    pub(crate) target: &'a Target<'a>,
    pub(crate) method: &'a Method,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Box<str>,
    pub(crate) policy: Policy,
    /// The index of the upstream.
    pub(crate) upstream: usize,
    /// The longest body, in bytes.
    pub(crate) body_bytes: Option<u64>,
    /// What it changes of what it forwards.
    pub(crate) rewrite: config::Rewrite,
    /// What has been decided here.
    pub(crate) tally: Arc<Tally>,
    methods: Option<Box<[Method]>>,
    allow_double_slash: bool,
    allow_encoded_slash: bool,
}

impl Route {
    fn new(route: &config::Route) -> Self {
        Self {
            name: route.name.as_str().into(),
            policy: route.policy.clone(),
            upstream: route.upstream,
            body_bytes: route.body_bytes,
            rewrite: route.rewrite.clone(),
            tally: metrics().route(&route.name),
            methods: route.methods.as_deref().map(Into::into),
            allow_double_slash: route.allow_double_slash,
            allow_encoded_slash: route.allow_encoded_slash,
        }
    }

    fn takes_method(&self, method: &Method) -> bool {
        let methods = self.methods.as_ref();
        methods.is_none_or(|methods| methods.contains(method))
    }

    /// Says whether the route takes a path with the slashes that it has.
    pub(crate) fn takes(&self, target: &Target<'_>) -> bool {
        // What begins with two slashes is a host to some (RFC 3986 §4.2).
        let rest = self.below_prefix(&target.path);
        let is_host = rest.is_some_and(|it| it.starts_with(b"//") || it.starts_with(b"/%2F"));
        !is_host
            && (self.allow_double_slash || !target.double_slash)
            && (self.allow_encoded_slash || !target.encoded_slash)
    }

    /// Returns what is left of a path, decoded or not, where the route takes its prefix off; it begins
    /// with a slash. None where it does not.
    pub(crate) fn below_prefix<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let prefix = self.rewrite.prefix.as_ref()?.as_bytes();
        // By segments, since the client may have spelt them in another way. Each begins with a slash.
        let is_slash = |byte: &&u8| **byte == b'/';
        let segments = prefix.iter().filter(is_slash).count();
        let mut slashes = (0..path.len()).filter(|&at| path.get(at) == Some(&b'/'));
        let rest = slashes.nth(segments).and_then(|at| path.get(at..));
        Some(rest.unwrap_or(b"/"))
    }

    /// Says whether the method decides here, so that nothing may override it behind our back.
    pub(crate) fn has_methods(&self) -> bool {
        self.methods.is_some()
    }
}

/// The rules in their order.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Box<[Route]>,
    index: Index,
}

impl RouteTable {
    pub(crate) fn new(routes: &[config::Route]) -> Self {
        Self {
            routes: routes.iter().map(Route::new).collect(),
            index: Index::new(routes),
        }
    }

    /// Says whether there are none: then the application authorizes.
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Returns the first route that fits, with its index. How long it takes depends on the path, not on
    /// how many routes there are.
    pub(crate) fn find(&self, question: &Question<'_>) -> Option<(usize, &Route)> {
        let mut found: Option<(usize, &Route)> = None;
        self.index.visit(question.host, question.target, |places| {
            // In their order: the first that fits is the first of these.
            let before = found.map_or(usize::MAX, |(place, _)| place);
            let fitting = places
                .iter()
                .take_while(|&&place| place < before)
                .filter_map(|&place| Some((place, self.routes.get(place)?)))
                .find(|(_, route)| route.takes_method(question.method));
            found = fitting.or(found);
        });
        found
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }
}

/// Returns how both doors find the place of a route, by host, path and method. For benchmarks.
pub fn lookup(routes: &[config::Route]) -> impl Fn(&str, &[u8], &Method) -> Option<usize> {
    let table = RouteTable::new(routes);
    move |host, path, method| {
        let question = Question {
            host: Some(host),
            target: &Target::read(path).ok()?,
            method,
        };
        table.find(&question).map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(
        name: &str,
        host: Option<&str>,
        path: Option<&str>,
        methods: &[Method],
    ) -> config::Route {
        config::Route {
            name: name.into(),
            host: host.map(Into::into),
            path: path.map(Into::into),
            methods: (!methods.is_empty()).then(|| methods.to_vec()),
            policy: Policy::Authenticated,
            upstream: 0,
            body_bytes: None,
            allow_double_slash: false,
            allow_encoded_slash: false,
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
        let question = Question {
            host: Some(host),
            target: &target,
            method,
        };
        table.find(&question).map(|(_, route)| &*route.name)
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
    fn route_holds_its_path_and_what_is_below() {
        for (path, prefix, expected) in [
            ("/api", "/api", true),
            ("/api/", "/api", true),
            ("/api/x", "/api/", true),
            ("/apis", "/api", false),
            ("/ap", "/api", false),
            ("/x/api", "/api", false),
            ("/anything", "/", true),
            ("/", "/", true),
            ("/%61pi/x", "/api", true),
            ("/api;x=1/y", "/api", true),
            ("/a;x/b;y/c", "/a/b", true),
            ("/a;x/bc", "/a/b", false),
            ("/api%2fx", "/api", false),
            ("/api%3bx", "/api", true),
        ] {
            let table = RouteTable::new(&[route("it", None, Some(prefix), &[])]);
            let is_found = found(&table, "a", path, &Method::GET).is_some();
            assert_eq!(is_found, expected, "{path} {prefix}");
        }
    }

    /// Looks at one route after the other, as the words of the configuration say it.
    fn first<'a>(
        routes: &'a [config::Route],
        host: &str,
        path: &str,
        method: &Method,
    ) -> Option<&'a str> {
        let fits = |route: &&config::Route| {
            let prefix = route.path.as_deref().unwrap_or("/").trim_end_matches('/');
            let rest = path.strip_prefix(prefix);
            route
                .host
                .as_deref()
                .is_none_or(|it| it.eq_ignore_ascii_case(host))
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                && route.methods.as_ref().is_none_or(|it| it.contains(method))
        };
        routes.iter().find(fits).map(|route| &*route.name)
    }

    #[test]
    fn index_finds_what_a_walk_along_the_list_finds() {
        let hosts = [None, Some("a.example"), Some("B.example")];
        let paths = [
            None,
            Some("/"),
            Some("/a"),
            Some("/a/"),
            Some("/a/b"),
            Some("/b"),
            Some("/a/b/c"),
        ];
        let methods: [&[Method]; 3] = [&[], &[Method::GET], &[Method::POST, Method::PUT]];
        let mut dice = 1_u64;
        let mut roll = move |sides: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) as usize % sides
        };
        for _ in 0..300 {
            let routes: Vec<_> = (0..roll(12))
                .map(|at| {
                    let (host, path) = (hosts[roll(3)], paths[roll(7)]);
                    route(&at.to_string(), host, path, methods[roll(3)])
                })
                .collect();
            let table = RouteTable::new(&routes);
            for host in ["a.example", "A.Example", "b.example", "c.example"] {
                for path in ["/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c/d", "/b", "/c/a"] {
                    for method in [Method::GET, Method::POST, Method::DELETE] {
                        let expected = first(&routes, host, path, &method);
                        assert_eq!(found(&table, host, path, &method), expected, "{host}{path}");
                    }
                }
            }
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
