//! Finds the routes that a host and a path may fall under, without looking at the others.
//!
//! A route holds a path if its prefix is a run of whole segments from the path's beginning. A path has as
//! many such runs as segments, so those are looked up, in the table of its host and in that of any host.
//! Routes that ignore case have tables of their own, which are looked up by the path in lower case.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::config;

/// Routes by host and prefix; each list in the order of the routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    any_host: Prefixes,
    /// In lower case.
    hosts: HashMap<Box<str>, Prefixes>,
}

/// The routes of one prefix.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In their order.
    pub(super) places: Vec<usize>,
    /// One of them depends on the method.
    pub(super) has_methods: bool,
}

#[derive(Debug, Default)]
struct Prefixes {
    exact: Table,
    /// Those that ignore case, in lower case.
    folded: Table,
}

/// Routes by prefix, which begins with a slash and does not end with one; the empty one holds all paths.
#[derive(Debug, Default)]
struct Table {
    routes: HashMap<Box<[u8]>, Held>,
    /// Those of them that hold their prefix with a suffix, too.
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

    /// Calls `visit` with each list of routes whose host and prefix fit.
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

/// Writes a path as servers do that ignore case, letters that only become ASCII that way included.
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
