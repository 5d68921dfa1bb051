//! Where the parts of a configuration are, for warnings.

use std::collections::HashMap;
use std::fmt;

use toml::Spanned;

use super::error::Place;
use super::raw::{Raw, Table};
use super::source::Source;

/// Where the parts of a configuration are. They do not belong to its meaning, so the Debug output,
/// from which the digest is made, has none of them.
#[derive(Clone, Default)]
pub struct Places {
    files: Vec<Box<str>>,
    routes: Vec<At>,
    groups: HashMap<Box<str>, At>,
    networks: HashMap<Box<str>, At>,
    upstreams: HashMap<Box<str>, At>,
    /// By the dotted path of the key.
    keys: HashMap<&'static str, Place>,
}

/// Returns where a key begins, if it is set.
fn start<T>(raw: &Option<Spanned<T>>) -> Option<usize> {
    raw.as_ref().map(|raw| raw.span().start)
}

/// The index of a file, and a line.
type At = (u32, u32);

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

impl Places {
    pub(super) fn new(source: &Source<'_>, raw: &Raw) -> Self {
        let mut places = Self::default();
        let text = source.text();
        let mut at = |start: usize| -> At {
            let name = text.name(start);
            // The parts of a file stand together.
            let file = match places.files.iter().rposition(|it| **it == *name) {
                Some(file) => file,
                None => {
                    places.files.push(name.into());
                    places.files.len() - 1
                }
            };
            let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
            (number(file), number(text.line(start)))
        };
        places.routes = raw.route.iter().map(|it| at(it.span().start)).collect();
        let named = raw
            .group
            .iter()
            .map(|(name, it)| (&**name, it.span().start));
        places.groups = named
            .map(|(name, start)| (name.into(), at(start)))
            .collect();
        let named = raw
            .networks
            .iter()
            .map(|(name, it)| (&**name, it.span().start));
        places.networks = named
            .map(|(name, start)| (name.into(), at(start)))
            .collect();
        let named = raw
            .upstream
            .iter()
            .map(|(name, it)| (&**name, it.span().start));
        places.upstreams = named
            .map(|(name, start)| (name.into(), at(start)))
            .collect();
        let (Table(gateway), Table(service)) = (&raw.gateway, &raw.service);
        let include = raw.include.first();
        let keys = [
            ("include", include.map(|item| item.span().start)),
            ("service.trusted_proxies", start(&service.trusted_proxies)),
            ("gateway.serve_api", start(&gateway.serve_api)),
            ("gateway.health_path", start(&gateway.health_path)),
            ("gateway.tls", start(&gateway.tls)),
            (
                "gateway.client_certificates",
                start(&gateway.client_certificates),
            ),
            ("gateway.h2c", start(&gateway.h2c)),
            ("gateway.proxy_protocol", start(&gateway.proxy_protocol)),
        ];
        let keys = keys.into_iter();
        let keys = keys.filter_map(|(key, start)| Some((key, source.place(start?))));
        places.keys = keys.collect();
        places
    }

    fn place(&self, (file, line): At) -> Option<Place> {
        let file = self.files.get(usize::try_from(file).ok()?)?;
        Some(Place::Line(file.to_string(), usize::try_from(line).ok()?))
    }

    /// Returns the place of a route, by its index.
    pub fn route(&self, route: usize) -> Option<Place> {
        self.place(*self.routes.get(route)?)
    }

    /// Returns the place of a group.
    pub fn group(&self, name: &str) -> Option<Place> {
        self.place(*self.groups.get(name)?)
    }

    /// Returns the place of a name of `[networks]`.
    pub(super) fn network(&self, name: &str) -> Option<Place> {
        self.place(*self.networks.get(name)?)
    }

    /// Returns the place of an upstream.
    pub(super) fn upstream(&self, name: &str) -> Option<Place> {
        self.place(*self.upstreams.get(name)?)
    }

    /// Returns the place of a key that warnings are about, if it is set.
    pub(super) fn key(&self, key: &str) -> Option<Place> {
        self.keys.get(key).cloned()
    }
}
