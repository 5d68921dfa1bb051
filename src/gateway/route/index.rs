//! Finds the routes that a host and a path may fall under, without looking at the others.
//!
//! A route holds a path if its prefix is a run of whole segments from the path's beginning. A path has as
//! many such runs as segments, so those are looked up, in the table of its host and in that of any host.

use std::collections::HashMap;

use crate::config;
use crate::gateway::target::Target;

/// Routes by host and prefix; each list in the order of the routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    any_host: Prefixes,
    /// In lower case.
    hosts: HashMap<Box<str>, Prefixes>,
}

/// Routes by prefix, which begins with a slash and does not end with one; the empty one holds all paths.
#[derive(Debug, Default)]
struct Prefixes {
    routes: HashMap<Box<[u8]>, Vec<usize>>,
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
            let prefix = route.path.as_deref().unwrap_or("/").trim_end_matches('/');
            prefixes.longest = prefixes.longest.max(prefix.len());
            let held = prefixes.routes.entry(prefix.as_bytes().into());
            held.or_default().push(place);
        }
        index
    }

    /// Calls `visit` with each list of routes whose host and prefix fit.
    pub(super) fn visit<'a>(
        &'a self,
        host: Option<&str>,
        target: &Target<'_>,
        mut visit: impl FnMut(&'a [usize]),
    ) {
        let path = target.without_parameters();
        self.any_host.visit(&path, &mut visit);
        if let Some(host) = host
            && !self.hosts.is_empty()
            && let Some(prefixes) = self.of(host)
        {
            prefixes.visit(&path, &mut visit);
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
    fn visit<'a>(&'a self, path: &[u8], visit: &mut impl FnMut(&'a [usize])) {
        if self.routes.is_empty() {
            return;
        }
        let is_end = |at: &usize| matches!(path.get(*at), None | Some(b'/'));
        for end in (0..=path.len().min(self.longest)).filter(is_end) {
            if let Some(routes) = path.get(..end).and_then(|run| self.routes.get(run)) {
                visit(routes);
            }
        }
    }
}
