//! The route table: which rule a request falls under. First match wins; no match is denied.

use std::sync::Arc;

use http::Method;

use super::target::Target;
use crate::auth::Policy;
use crate::config;
use crate::telemetry::{Tally, metrics};

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
    host: Option<Box<str>>,
    /// Without the last slash.
    prefix: Box<[u8]>,
    methods: Option<Box<[Method]>>,
    allow_double_slash: bool,
    allow_encoded_slash: bool,
}

impl Route {
    fn new(route: &config::Route) -> Self {
        let path = route.path.as_deref().unwrap_or("/");
        Self {
            name: route.name.as_str().into(),
            policy: route.policy.clone(),
            upstream: route.upstream,
            body_bytes: route.body_bytes,
            rewrite: route.rewrite.clone(),
            tally: metrics().route(&route.name),
            host: route.host.as_deref().map(Into::into),
            prefix: path.trim_end_matches('/').as_bytes().into(),
            methods: route.methods.as_deref().map(Into::into),
            allow_double_slash: route.allow_double_slash,
            allow_encoded_slash: route.allow_encoded_slash,
        }
    }

    fn fits(&self, question: &Question<'_>) -> bool {
        let host = match (&self.host, question.host) {
            (None, _) => true,
            (Some(expected), Some(host)) => host.eq_ignore_ascii_case(expected),
            (Some(_), None) => false,
        };
        host && question.target.is_under(&self.prefix)
            && self
                .methods
                .as_ref()
                .is_none_or(|methods| methods.contains(question.method))
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
pub(crate) struct RouteTable(Box<[Route]>);

impl RouteTable {
    pub(crate) fn new(routes: &[config::Route]) -> Self {
        Self(routes.iter().map(Route::new).collect())
    }

    /// Says whether there are none: then the application authorizes.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first route that fits, with its index.
    pub(crate) fn find(&self, question: &Question<'_>) -> Option<(usize, &Route)> {
        self.0
            .iter()
            .enumerate()
            .find(|(_, route)| route.fits(question))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Route> {
        self.0.get(index)
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
