//! Checks the routes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv6Addr;

use http::Method;
use toml::Spanned;

use super::raw::{self, ALLOW, Allow, List, Table};
use super::rewrite::{Rewrite, rewrite};
use super::scalar::{flag, is_name, naming, part};
use super::source::{Checked, Rejected, Source, all};
use crate::auth::{Mode, Policy, PrincipalRef, Rule};
use crate::http::{CredentialHeaders, own_paths};

/// `[[route]]`: the requests that match, who may pass, and the upstream.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name in logs and metrics.
    pub name: String,
    /// The host in lower case, without port; `None` matches every host.
    pub host: Option<String>,
    /// The prefix of the path, which ends at a segment boundary. Begins with `/` and is in the
    /// canonical form in which paths are compared. `None` matches every path.
    pub path: Option<String>,
    /// The methods, at least one; `None` matches every method.
    pub methods: Option<Vec<Method>>,
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
    /// Changes to the request and the response; none by default.
    pub rewrite: Rewrite,
}

/// The maximum length of a host in characters (RFC 1035 §2.3.4, without the trailing dot).
const HOST_CHARS: usize = 253;

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
            "" => "a defined upstream (none is defined)".to_owned(),
            names => format!("a defined upstream (defined: {names})"),
        }
    }
}

/// Checks the routes in their order.
pub(super) fn routes(
    source: &Source<'_>,
    raw: &[Spanned<Table<raw::Route>>],
    targets: &Targets<'_>,
    credential: &CredentialHeaders,
) -> Checked<Vec<Route>> {
    let (mut names, mut matched) = (HashSet::new(), HashMap::new());
    let routes = raw.iter().enumerate().map(|(at, raw)| {
        let one = One {
            source,
            at,
            credential,
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
                    "another host, path or methods than route {earlier:?}, which matches first"
                );
                let shown = format!("{:?}", route.name);
                Err(source.reject_as(&one.key("name"), shown, raw.span(), expected))
            }
        }
    });
    all(routes)
}

/// The criteria of a route. No two routes may have the same.
type Criteria = (Option<String>, Option<String>, Option<BTreeSet<String>>);

fn criteria(route: &Route) -> Criteria {
    let methods = route.methods.as_ref();
    let methods = methods.map(|methods| methods.iter().map(ToString::to_string).collect());
    (route.host.clone(), route.path.clone(), methods)
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
        let own = [own_paths::REST, own_paths::FORWARD_AUTH];
        let is_own = own
            .iter()
            .any(|own| own_paths::is_below(raw.get_ref(), own));
        if health_path == Some(raw.get_ref()) {
            let expected = "another path than gateway.health_path, which realmgate answers itself";
            source.reject(&format!("route[{at}].path"), raw, expected);
        }
        if is_own && serve_api {
            let expected =
                "a path that realmgate does not answer itself (gateway.serve_api is true)";
            source.reject(&format!("route[{at}].path"), raw, expected);
        }
    }
}

/// A route being checked.
struct One<'a> {
    source: &'a Source<'a>,
    at: usize,
    credential: &'a CredentialHeaders,
}

impl One<'_> {
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
            Some(allow) => self.policy(allow),
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
        let host = table.host.as_ref().map(|host| self.host(host));
        let path = table.path.as_ref().map(|path| self.path(path));
        let methods = table.methods.as_ref().map(|methods| self.methods(methods));
        let body_bytes = table.body_bytes.as_ref().map(|bytes| {
            let key = self.key("body_bytes");
            self.source.number(&key, Some(bytes), 0, 0..=LONGEST_BODY)
        });
        let key = format!("route[{}]", self.at);
        let rewrite = rewrite(self.source, self.credential, &key, table, is_host);
        Ok(Route {
            name: name?,
            host: host.transpose()?,
            path: path.transpose()?,
            methods: methods.transpose()?,
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
            rewrite: rewrite?,
        })
    }

    fn host(&self, raw: &Spanned<String>) -> Checked<String> {
        let host = raw.get_ref().to_ascii_lowercase();
        if is_host(&host) {
            return Ok(host);
        }
        let expected = if host.contains("://") {
            r#"a host such as "app.example.org", without a scheme"#
        } else {
            r#"a host such as "app.example.org", without port, path or wildcard"#
        };
        Err(self.reject("host", raw, expected))
    }

    fn path(&self, raw: &Spanned<String>) -> Checked<String> {
        let path = raw.get_ref();
        if is_path(path) {
            return Ok(path.clone());
        }
        Err(self.reject("path", raw, format!("a path such as \"/api/\": {PATH}")))
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

    fn policy(&self, raw: &Spanned<Allow>) -> Checked<Policy> {
        match raw.get_ref() {
            Allow::Word(word) if word == "authenticated" => Ok(Policy::Authenticated),
            Allow::Word(word) if word == "anyone" => Ok(Policy::Anyone),
            Allow::Rules(rules) if !rules.is_empty() => {
                let rules = rules.iter().enumerate();
                all(rules.map(|(at, rule)| self.rule(at, rule))).map(Policy::Allow)
            }
            Allow::Word(_) | Allow::Rules(_) => Err(self.reject("allow", raw, ALLOW)),
        }
    }

    fn rule(&self, at: usize, raw: &Spanned<Table<raw::Rule>>) -> Checked<Rule> {
        let Table(rule) = raw.get_ref();
        let key = |key| format!("allow[{at}].{key}");
        let expected = part(self.credential.name_chars);
        let checked = |name, raw: &Spanned<String>| {
            let text = raw.get_ref();
            match PrincipalRef::new("-", text, self.credential.name_chars) {
                Ok(_) => Ok(text.as_str().into()),
                Err(_) => Err(self.reject(&key(name), raw, expected.clone())),
            }
        };
        let realm = match &rule.realm {
            Some(realm) => checked("realm", realm),
            None => {
                let key = self.key(&key("realm"));
                Err(self.source.missing(key, raw.span(), expected.clone()))
            }
        };
        let name = rule.name.as_ref().map(|name| checked("name", name));
        Ok(Rule {
            realm: realm?,
            name: name.transpose()?,
        })
    }

    fn key(&self, key: &str) -> String {
        format!("route[{}].{key}", self.at)
    }

    fn reject<T>(&self, key: &str, raw: &Spanned<T>, expected: impl Into<String>) -> Rejected {
        self.source.reject(&self.key(key), raw, expected)
    }
}

/// Describes the valid paths.
pub(super) const PATH: &str = r#"visible ASCII from "/" on, no "//", no ":$", no segment that ends with ".", none of % ; ? # \"#;

/// Returns whether all servers read a path alike. Otherwise every request for it would be rejected.
pub(super) fn is_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"%;?#\\".contains(&byte);
    path.starts_with('/')
        && path.bytes().all(is_plain)
        && !path.contains("//")
        && !path.contains(":$")
        && !path.split('/').any(|segment| segment.ends_with('.'))
}

/// Returns whether a text is a host name or an IP address, without a port.
pub(super) fn is_host(host: &str) -> bool {
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_plain)
    };
    is_v6 || ((1..=HOST_CHARS).contains(&host.len()) && host.split('.').all(is_label))
}
