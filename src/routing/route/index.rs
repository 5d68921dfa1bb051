//! Finds the routes that may match a host and a path without checking all of them.
//!
//! Hosts are looked up by name, and by each of their parent domains if routes have wildcards. Paths
//! without `*` are looked up in the table of the host by each of their prefixes, of which there are
//! as many as segments. Paths with `*` are in a tree of segments. Routes that ignore case have
//! tables of their own, which are searched with the path in lower case.

use std::borrow::Cow;

use foldhash::quality::RandomState;

use super::held::Held;
use super::stars::Stars;
use crate::config::{self, HostPattern, PathPattern};
use crate::routing::target::in_lower_case;

/// The keys are those of the configuration, so that no client can choose names that collide: a fast
/// hash suffices.
type Map<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Routes by host and path. Each list is in the order of the routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    any_host: Paths,
    /// Keys are in lower case.
    hosts: Map<Box<str>, Paths>,
    /// Hosts with a wildcard, by their domain.
    domains: Map<Box<str>, Domain>,
    /// Whether some path has a `*`, or is exact.
    pub(super) has_shapes: bool,
}

/// The routes for hosts below a domain.
#[derive(Debug, Default)]
struct Domain {
    one_label: Paths,
    labels: Paths,
}

/// The routes of a host.
#[derive(Debug, Default)]
struct Paths {
    plain: Table,
    /// Routes that ignore case; keys are in lower case.
    folded: Table,
}

/// Routes by path. Keys begin with a slash and do not end with one; the empty prefix matches all
/// paths.
#[derive(Debug, Default)]
struct Table {
    prefixes: Map<Box<[u8]>, Held>,
    /// The routes that also match their prefix with a suffix, such as `.json`.
    suffixed: Map<Box<[u8]>, Held>,
    longest: usize,
    /// The routes that match a whole path only.
    whole: Map<Box<[u8]>, Held>,
    whole_suffixed: Map<Box<[u8]>, Held>,
    /// The routes whose path has a `*`.
    stars: Stars,
}

impl Index {
    pub(super) fn new(routes: &[config::Route]) -> Self {
        let mut index = Self::default();
        for (place, route) in routes.iter().enumerate() {
            let is_shape = |path: &PathPattern| path.is_exact() || path.has_star();
            index.has_shapes |= route.paths.iter().any(is_shape);
            if route.hosts.is_empty() {
                index.any_host.add(place, route);
            }
            for host in &route.hosts {
                let domain = host.domain().into();
                let paths = match host {
                    HostPattern::Exact(_) => index.hosts.entry(domain).or_default(),
                    HostPattern::OneLabel(_) => {
                        &mut index.domains.entry(domain).or_default().one_label
                    }
                    HostPattern::Labels(_) => &mut index.domains.entry(domain).or_default().labels,
                };
                paths.add(place, route);
            }
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
        self.of_host(host, |paths| paths.visit(path, &mut visit));
    }

    /// Calls `visit` with each list of routes for the host that some server could match with a path
    /// whose segments servers count differently. `path` has everything decoded and dropped; the
    /// first `single` segments are the same number for every server. Returns whether all were
    /// visited.
    pub(super) fn visit_possible<'a>(
        &'a self,
        host: Option<&str>,
        path: &[u8],
        single: usize,
        visit: &mut impl FnMut(&'a Held),
    ) -> bool {
        let mut is_complete = true;
        self.of_host(host, |paths| {
            is_complete &= paths.plain.visit_possible(path, single, visit);
            let folded = in_lower_case(path);
            is_complete &= paths.folded.visit_possible(&folded, single, visit);
        });
        is_complete
    }

    /// Calls `visit` with the routes of each host pattern that matches a host.
    fn of_host<'a>(&'a self, host: Option<&str>, mut visit: impl FnMut(&'a Paths)) {
        visit(&self.any_host);
        let Some(host) = host else {
            return;
        };
        if self.hosts.is_empty() && self.domains.is_empty() {
            return;
        }
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        if let Some(paths) = self.hosts.get(&*host) {
            visit(paths);
        }
        if self.domains.is_empty() {
            return;
        }
        for (nth, (dot, _)) in host.match_indices('.').enumerate() {
            let domain = host.get(dot + 1..).and_then(|it| self.domains.get(it));
            if let Some(domain) = domain {
                visit(&domain.labels);
                if nth == 0 {
                    visit(&domain.one_label);
                }
            }
        }
    }
}

impl Paths {
    fn add(&mut self, place: usize, route: &config::Route) {
        let table = match route.ignore_case {
            true => &mut self.folded,
            false => &mut self.plain,
        };
        let held = |held: &mut Held| held.add(place, route);
        if route.paths.is_empty() {
            held(table.prefixes.entry(Box::default()).or_default());
        }
        for path in &route.paths {
            let text = match route.ignore_case {
                true => path.text().to_ascii_lowercase(),
                false => path.text().to_owned(),
            };
            if path.has_star() {
                let (is_exact, has_suffix) = (path.is_exact(), route.ignore_suffix);
                table.stars.add(text.as_bytes(), is_exact, has_suffix, held);
                continue;
            }
            let text = Box::<[u8]>::from(text.as_bytes());
            let (exact, suffixed) = match path.is_exact() {
                true => (&mut table.whole, &mut table.whole_suffixed),
                false => {
                    table.longest = table.longest.max(text.len());
                    (&mut table.prefixes, &mut table.suffixed)
                }
            };
            if route.ignore_suffix && !text.is_empty() {
                held(suffixed.entry(text.clone()).or_default());
            }
            held(exact.entry(text).or_default());
        }
    }

    fn visit<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a Held)) {
        if !self.plain.is_empty() {
            self.plain.visit(path, visit);
        }
        if !self.folded.is_empty() {
            self.folded.visit(&in_lower_case(path), visit);
        }
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.whole.is_empty() && self.stars.is_empty()
    }

    fn visit<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a Held)) {
        for end in 0..=path.len().min(self.longest) {
            let routes = match path.get(end) {
                None | Some(b'/') => &self.prefixes,
                Some(b'.') if !self.suffixed.is_empty() => &self.suffixed,
                Some(_) => continue,
            };
            if let Some(held) = path.get(..end).and_then(|run| routes.get(run)) {
                visit(held);
            }
        }
        if !self.whole.is_empty() {
            self.visit_whole(path, visit);
        }
        if !self.stars.is_empty() {
            self.stars.visit(path, visit);
        }
    }

    fn visit_whole<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a Held)) {
        let path = if path == b"/" { b"" } else { path };
        if let Some(held) = self.whole.get(path) {
            visit(held);
        }
        if self.whole_suffixed.is_empty() {
            return;
        }
        let last = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        for end in (last..path.len()).filter(|&at| path.get(at) == Some(&b'.')) {
            let held = path.get(..end).and_then(|run| self.whole_suffixed.get(run));
            if let Some(held) = held {
                visit(held);
            }
        }
    }

    fn visit_possible<'a>(
        &'a self,
        path: &[u8],
        single: usize,
        visit: &mut impl FnMut(&'a Held),
    ) -> bool {
        if !self.whole.is_empty() {
            // A server that drops the end of the path, for instance from a semicolon on, sees any
            // prefix of it. But no server drops a segment that all of them count.
            let path = if path == b"/" { b"" } else { path };
            let mut segments = 0;
            for end in 0..=path.len() {
                let routes = match path.get(end) {
                    None | Some(b'/') => &self.whole,
                    Some(b'.') => &self.whole_suffixed,
                    Some(_) => continue,
                };
                let held = path.get(..end).and_then(|run| routes.get(run));
                if let Some(held) = held.filter(|_| segments >= single) {
                    visit(held);
                }
                segments += usize::from(path.get(end) == Some(&b'/'));
            }
        }
        self.stars.visit_possible(path, single, visit)
    }
}
