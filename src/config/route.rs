//! Checks the routes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use http::Method;
use toml::Spanned;

use super::allow::Principals;
use super::denials::denials;
use super::host::{HostPattern, is_host};
use super::network_set::NetworkSet;
use super::networks::Networks;
use super::path::PathPattern;
use super::raw::{self, ALLOW, List, OneOrMany, Table};
use super::rewrite::{Rewrite, rewrite};
use super::scalar::{flag, is_name, naming};
use super::source::{Checked, Rejected, Source, all};
use crate::auth::{Mode, Policy};
use crate::http::{Denials, IdentityHeaders, own_paths};

/// `[[route]]`: the requests that match, who may pass, and the upstream.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name in logs and metrics.
    pub name: String,
    /// The hosts, each once, at most 256; empty matches every host.
    pub hosts: Vec<HostPattern>,
    /// The paths, each once, at most 256; empty matches every path.
    pub paths: Vec<PathPattern>,
    /// The methods, at least one; `None` matches every method.
    pub methods: Option<Vec<Method>>,
    /// The networks of clients, each once; `None` matches every client, and clients whose address
    /// is unknown.
    pub from: Option<Arc<NetworkSet>>,
    /// The principals that may pass.
    pub policy: Policy,
    /// Whether the policy is enforced; true by default.
    pub mode: Mode,
    /// The index of the upstream in [`Config::upstreams`](super::Config::upstreams); `None` only if the proxy is off.
    pub upstream: Option<usize>,
    /// The maximum size of a request body in bytes; `None`, the default, for no limit.
    pub body_bytes: Option<u64>,
    /// Whether a path may contain `//`; false by default.
    pub allow_double_slash: bool,
    /// Whether a path may contain `%2f`; false by default.
    pub allow_encoded_slash: bool,
    /// Whether the path matches in any case; false by default.
    pub ignore_case: bool,
    /// Whether the path also matches with a suffix such as `.json`; false by default.
    pub ignore_suffix: bool,
    /// Which of the last two keys the file does not set.
    pub unsaid: Vec<&'static str>,
    /// How denied requests are responded to, if not as by default.
    pub denials: Option<Arc<Denials>>,
    /// Changes to the request and the response; none by default.
    pub rewrite: Rewrite,
}

/// The maximum number of hosts, and of paths, of a route.
const ENTRIES: usize = 256;

/// The upper limit of `body_bytes`: 1 TiB.
const LONGEST_BODY: i64 = 1 << 40;

/// The upstreams that routes may name.
pub(super) struct Targets<'a> {
    /// The index of each upstream by name.
    places: HashMap<&'a str, usize>,
    /// The names for messages.
    names: String,
    /// Whether each route needs an upstream: not where forward-auth alone asks for routes.
    is_needed: bool,
}

/// The maximum number of upstream names in a message.
const NAMED: usize = 20;

impl<'a> Targets<'a> {
    /// Takes the tables of the upstreams; their order defines the indexes.
    pub(super) fn new(
        upstreams: &'a BTreeMap<String, Spanned<Table<raw::Upstream>>>,
        is_needed: bool,
    ) -> Self {
        let names: Vec<_> = upstreams.keys().take(NAMED).map(String::as_str).collect();
        let others = upstreams.len() - names.len();
        let mut names = names.join(", ");
        if others > 0 {
            names.push_str(&format!(" and {others} more"));
        }
        Self {
            places: upstreams.keys().map(String::as_str).zip(0..).collect(),
            names,
            is_needed,
        }
    }

    /// Describes the valid values of `upstream`.
    fn expected(&self) -> String {
        match &*self.names {
            "" => "a defined upstream (none is defined; write [upstream.NAME] with peers = [\"HOST:PORT\"])".to_owned(),
            names => format!("a defined upstream (defined: {names})"),
        }
    }
}

/// Checks the routes in their order.
pub(super) fn routes<'n>(
    source: &Source<'_>,
    raw: &[Spanned<Table<raw::Route>>],
    targets: &Targets<'_>,
    identity: &IdentityHeaders,
    (networks, principals): (&Networks<'n>, &Principals<'n>),
) -> Checked<Vec<Route>> {
    let (mut names, mut matched) = (HashSet::new(), HashMap::new());
    let routes = raw.iter().enumerate().map(|(at, raw)| {
        let one = One {
            source,
            at,
            identity,
            networks,
            principals,
        };
        let name = raw.get_ref().0.name.as_ref();
        let is_again = name.is_some_and(|name| !names.insert(name.get_ref().as_str()));
        let again = name
            .filter(|_| is_again)
            .map(|name| one.reject("name", name, "a name that no earlier route has"));
        let route = one.route(raw, targets)?;
        if let Some(rejected) = again {
            return Err(rejected);
        }
        match matched.entry(criteria(&route)) {
            Entry::Vacant(place) => {
                place.insert(route.name.clone());
                Ok(route)
            }
            Entry::Occupied(earlier) => {
                let earlier: &String = earlier.get();
                let expected = format!(
                    "another host, path, methods or from than route {earlier:?}, which matches first"
                );
                let shown = format!("{:?}", route.name);
                Err(source.reject_as(&one.key("name"), shown, raw.span(), expected))
            }
        }
    });
    all(routes)
}

/// The criteria of a route. No two routes may have the same.
type Criteria = (
    Vec<HostPattern>,
    Vec<PathPattern>,
    Option<Vec<String>>,
    Option<Arc<NetworkSet>>,
    [bool; 2],
);

fn criteria(route: &Route) -> Criteria {
    fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
        let mut items: Vec<_> = items.collect();
        items.sort();
        items
    }
    let methods = route.methods.as_ref();
    (
        sorted(route.hosts.iter().cloned()),
        sorted(route.paths.iter().cloned()),
        methods.map(|methods| sorted(methods.iter().map(ToString::to_string))),
        route.from.clone(),
        [route.ignore_case, route.ignore_suffix],
    )
}

/// Rejects routes that would never match, because realmgate serves their paths itself: the API, if
/// `serve_api` is set, and the path of its health.
pub(super) fn reject_shadowed(
    source: &Source<'_>,
    raw: &[Spanned<Table<raw::Route>>],
    serve_api: bool,
    health_path: Option<&str>,
) {
    for (at, raw) in raw.iter().enumerate() {
        let Some(raw) = &raw.get_ref().0.path else {
            continue;
        };
        let reject_own = |key: &str, path: &str, span: Range<usize>| {
            let path = path.strip_prefix('=').unwrap_or(path);
            let is_own = own_paths::is_public_in_any_case(path.as_bytes());
            let expected = if health_path == Some(path) {
                "another path than gateway.health_path, which realmgate answers itself"
            } else if is_own && serve_api {
                "a path that realmgate does not answer itself (gateway.serve_api is true)"
            } else {
                return;
            };
            source.reject_as(key, source.shown(span.clone()), span, expected);
        };
        let key = format!("route[{at}].path");
        match raw.get_ref() {
            OneOrMany::One(path) => reject_own(&key, path, raw.span()),
            OneOrMany::Many(paths) => {
                for (item, path) in paths.iter().enumerate() {
                    reject_own(&format!("{key}[{item}]"), path.get_ref(), path.span());
                }
            }
        }
    }
}

/// A route being checked.
struct One<'a, 'n> {
    source: &'a Source<'a>,
    at: usize,
    identity: &'a IdentityHeaders,
    networks: &'a Networks<'n>,
    principals: &'a Principals<'n>,
}

impl One<'_, '_> {
    fn route(&self, raw: &Spanned<Table<raw::Route>>, targets: &Targets<'_>) -> Checked<Route> {
        let Table(table) = raw.get_ref();
        let missing =
            |key, expected: String| self.source.missing(self.key(key), raw.span(), expected);
        let name = match &table.name {
            None => Err(missing("name", naming())),
            Some(name) if is_name(name.get_ref()) => Ok(name.get_ref().clone()),
            Some(name) => Err(self.reject("name", name, naming())),
        };
        let policy = match &table.allow {
            Some(allow) => {
                let route = format!("route[{}]", self.at);
                self.principals.policy(&route, allow, table.except.as_ref())
            }
            None => Err(missing("allow", ALLOW.to_owned())),
        };
        let mode = match &table.mode {
            None => Ok(Mode::default()),
            Some(mode) => match mode.get_ref().as_str() {
                "enforce" => Ok(Mode::Enforce),
                "observe" => Ok(Mode::Observe),
                _ => Err(self.reject("mode", mode, r#""enforce" or "observe""#)),
            },
        };
        let upstream = match &table.upstream {
            None if targets.is_needed => {
                let expected = targets.expected();
                let off = "with gateway.listen = \"off\" none is needed";
                Err(missing("upstream", format!("{expected}; {off}")))
            }
            None => Ok(None),
            Some(upstream) => match targets.places.get(upstream.get_ref().as_str()) {
                Some(place) => Ok(Some(*place)),
                None => Err(self.reject("upstream", upstream, targets.expected())),
            },
        };
        let hosts = self.entries("host", table.host.as_ref(), HostPattern::read, Clone::clone);
        let same_path = |path: &PathPattern| (path.text().to_owned(), path.is_exact());
        let paths = self.entries("path", table.path.as_ref(), PathPattern::read, same_path);
        let methods = table.methods.as_ref().map(|methods| self.methods(methods));
        let from = table.from.as_ref();
        let from = from.map(|from| self.networks.from(&self.key("from"), from));
        let body_bytes = table.body_bytes.as_ref().map(|bytes| {
            let key = self.key("body_bytes");
            self.source.number(&key, Some(bytes), 0, 0..=LONGEST_BODY)
        });
        let key = format!("route[{}]", self.at);
        let denials = denials(self.source, self.identity, &key, table);
        let rewrite = rewrite(self.source, self.identity, &key, table, is_host);
        Ok(Route {
            name: name?,
            hosts: hosts?,
            paths: paths?,
            methods: methods.transpose()?,
            from: from.transpose()?,
            policy: policy?,
            mode: mode?,
            upstream: upstream?,
            body_bytes,
            allow_double_slash: flag(table.allow_double_slash.as_ref()),
            allow_encoded_slash: flag(table.allow_encoded_slash.as_ref()),
            ignore_case: flag(table.ignore_case.as_ref()),
            ignore_suffix: flag(table.ignore_suffix.as_ref()),
            unsaid: [
                ("ignore_case", &table.ignore_case),
                ("ignore_suffix", &table.ignore_suffix),
            ]
            .into_iter()
            .filter_map(|(key, raw)| raw.is_none().then_some(key))
            .collect(),
            denials: denials?.map(Arc::new),
            rewrite: rewrite?,
        })
    }

    /// Checks a key with one text or several. `read` checks one; no two may have the same `essence`.
    fn entries<T, E: Eq + Hash>(
        &self,
        key: &str,
        raw: Option<&Spanned<OneOrMany>>,
        read: impl Fn(&str) -> Result<T, String>,
        essence: impl Fn(&T) -> E,
    ) -> Checked<Vec<T>> {
        let Some(raw) = raw else {
            return Ok(Vec::new());
        };
        let mut seen = HashSet::new();
        let list = match raw.get_ref() {
            OneOrMany::One(one) => {
                let read = read(one).map_err(|expected| self.reject(key, raw, expected))?;
                return Ok(vec![read]);
            }
            OneOrMany::Many(list) => list,
        };
        if !(1..=ENTRIES).contains(&list.len()) {
            return Err(self.reject(key, raw, format!("1 to {ENTRIES} entries")));
        }
        all(list.iter().enumerate().map(|(at, raw)| {
            let key = format!("{key}[{at}]");
            let read = read(raw.get_ref()).map_err(|expected| self.reject(&key, raw, expected))?;
            match seen.insert(essence(&read)) {
                true => Ok(read),
                false => Err(self.reject(&key, raw, "each entry once")),
            }
        }))
    }

    fn methods(&self, raw: &Spanned<List>) -> Checked<Vec<Method>> {
        const EXPECTED: &str = r#"a method in upper case such as "GET""#;
        let named = raw.get_ref().iter().enumerate().map(|(at, raw)| {
            let text = raw.get_ref();
            Method::from_bytes(text.as_bytes())
                .ok()
                .filter(|_| !text.bytes().any(|byte| byte.is_ascii_lowercase()))
                .ok_or_else(|| self.reject(&format!("methods[{at}]"), raw, EXPECTED))
        });
        let mut methods = Vec::new();
        for method in all(named)? {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        // A client that may use GET may also use HEAD (RFC 9110 §9.3.2).
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        if methods.is_empty() {
            return Err(self.reject("methods", raw, r#"at least one method such as "GET""#));
        }
        Ok(methods)
    }

    fn key(&self, key: &str) -> String {
        format!("route[{}].{key}", self.at)
    }

    fn reject<T>(&self, key: &str, raw: &Spanned<T>, expected: impl Into<String>) -> Rejected {
        self.source.reject(&self.key(key), raw, expected)
    }
}
