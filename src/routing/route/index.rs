//! Finds the routes that may match a host and a path without checking all of them.
//!
//! A route matches a path if its prefix equals some of the first segments of the path. A path has
//! as many such prefixes as segments, so each is looked up in the table of its host and in that of
//! any host. Routes that ignore case have tables of their own, which are searched with the path in
//! lower case.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::config;

/// Routes by host and prefix. Each list is in the order of the routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    any_host: Prefixes,
    /// Keys are in lower case.
    hosts: HashMap<Box<str>, Prefixes>,
}

/// The routes with the same prefix.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Their indexes, ascending.
    pub(super) places: Vec<usize>,
    /// Whether one of them depends on the method.
    pub(super) has_methods: bool,
}

#[derive(Debug, Default)]
struct Prefixes {
    exact: Table,
    /// Routes that ignore case; keys are in lower case.
    folded: Table,
}

/// Routes by prefix. A prefix begins with a slash and does not end with one; the empty prefix
/// matches all paths.
#[derive(Debug, Default)]
struct Table {
    routes: HashMap<Box<[u8]>, Held>,
    /// The routes that also match their prefix with a suffix, such as `.json`.
    suffixed: HashMap<Box<[u8]>, Held>,
    longest: usize,
}

impl Index {
    pub(super) fn new(routes: &[config::Route]) -> Self {
        let mut index = Self::default();
        for (place, route) in routes.iter().enumerate() {
            let prefixes = match &route.host {
                None => &mut index.any_host,
                Some(host) => {
                    let host = host.to_ascii_lowercase().into();
                    index.hosts.entry(host).or_default()
                }
            };
            prefixes.add(place, route);
        }
        index
    }

    /// Calls `visit` with each list of routes that match the host and the path.
    pub(super) fn visit<'a>(
        &'a self,
        host: Option<&str>,
        path: &[u8],
        mut visit: impl FnMut(&'a Held),
    ) {
        self.any_host.visit(path, &mut visit);
        if let Some(host) = host
            && !self.hosts.is_empty()
            && let Some(prefixes) = self.of(host)
        {
            prefixes.visit(path, &mut visit);
        }
    }

    fn of(&self, host: &str) -> Option<&Prefixes> {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.hosts.get(&*host.to_ascii_lowercase());
        }
        self.hosts.get(host)
    }
}

impl Prefixes {
    fn add(&mut self, place: usize, route: &config::Route) {
        let prefix = route.path.as_deref().unwrap_or("/").trim_end_matches('/');
        let (table, prefix) = if route.ignore_case {
            (&mut self.folded, prefix.to_ascii_lowercase())
        } else {
            (&mut self.exact, prefix.to_owned())
        };
        table.longest = table.longest.max(prefix.len());
        let prefix = Box::<[u8]>::from(prefix.as_bytes());
        if route.ignore_suffix && !prefix.is_empty() {
            let held = table.suffixed.entry(prefix.clone());
            held.or_default().add(place, route);
        }
        table.routes.entry(prefix).or_default().add(place, route);
    }

    fn visit<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a Held)) {
        if !self.exact.routes.is_empty() {
            self.exact.visit(path, visit);
        }
        if !self.folded.routes.is_empty() {
            self.folded.visit(&in_lower_case(path), visit);
        }
    }
}

impl Held {
    fn add(&mut self, place: usize, route: &config::Route) {
        self.places.push(place);
        self.has_methods |= route.methods.is_some();
    }
}

impl Table {
    fn visit<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a Held)) {
        for end in 0..=path.len().min(self.longest) {
            let routes = match path.get(end) {
                None | Some(b'/') => &self.routes,
                Some(b'.') if !self.suffixed.is_empty() => &self.suffixed,
                Some(_) => continue,
            };
            if let Some(held) = path.get(..end).and_then(|run| routes.get(run)) {
                visit(held);
            }
        }
    }
}

/// Returns a path in lower case as case-insensitive servers see it, including letters that become
/// ASCII.
fn in_lower_case(path: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if path.iter().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let Some(text) = str::from_utf8(path).ok().filter(|text| !text.is_ascii()) else {
        return Cow::Owned(path.to_ascii_lowercase());
    };
    let upper = text.chars().flat_map(char::to_uppercase);
    let lower: String = upper.flat_map(char::to_lowercase).collect();
    Cow::Owned(lower.into_bytes())
}
