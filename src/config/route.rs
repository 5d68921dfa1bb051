//! Routes.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use http::Method;
use toml::Spanned;

use super::error::ConfigError;
use super::raw::{self, ALLOW, Allow, List, Table};
use super::rewrite::rewrite;
use super::scalar::{flag, is_name, naming, part};
use super::source::Source;
use super::{Route, Upstream};
use crate::auth::{Policy, PrincipalRef, Rule};
use crate::http::CredentialHeaders;

/// The most characters of a host (RFC 1035 §2.3.4, without the last dot).
const HOST_CHARS: usize = 253;

/// The largest bound of a body, in bytes: 1 TiB.
const LONGEST_BODY: i64 = 1 << 40;

/// Where routes may lead.
#[derive(Clone, Copy)]
pub(super) struct Targets<'a> {
    pub(super) upstreams: &'a [Upstream],
    /// Whether each route needs an upstream: not where forward-auth alone asks for routes.
    pub(super) is_needed: bool,
}

impl Targets<'_> {
    /// Says what `upstream` may hold.
    fn expected(self) -> String {
        let names: Vec<_> = self.upstreams.iter().map(|it| &*it.name).collect();
        match names.join(", ") {
            names if names.is_empty() => "a defined upstream (none is defined)".to_owned(),
            names => format!("a defined upstream (defined: {names})"),
        }
    }
}

/// Checks the routes, in their order.
pub(super) fn routes(
    source: &Source<'_>,
    raw: &[Spanned<Table<raw::Route>>],
    targets: Targets<'_>,
    credential: &CredentialHeaders,
) -> Result<Vec<Route>, ConfigError> {
    let mut routes: Vec<Route> = Vec::new();
    for (at, raw) in raw.iter().enumerate() {
        let one = One {
            source,
            at,
            credential,
        };
        let route = one.route(raw, targets)?;
        if let Some(name) = &raw.get_ref().0.name
            && routes.iter().any(|earlier| earlier.name == route.name)
        {
            return Err(one.refuse("name", name, "a name that no earlier route has"));
        }
        if let Some(earlier) = routes.iter().find(|earlier| is_same(earlier, &route)) {
            let expected = format!(
                "another host, path or methods than route {:?}, which matches first",
                earlier.name
            );
            let shown = format!("{:?}", route.name);
            return Err(source.refuse_as(&one.key("name"), shown, raw.span(), expected));
        }
        routes.push(route);
    }
    Ok(routes)
}

/// What the proxy's listener answers itself with `gateway.serve_api`.
const OWN_PATHS: [&str; 2] = ["/ungleichotp", "/forward-auth"];

/// Refuses routes that would never be asked since realmgate answers their path itself.
pub(super) fn refuse_shadowed(
    source: &Source<'_>,
    raw: &[Spanned<Table<raw::Route>>],
    routes: &[Route],
) -> Result<(), ConfigError> {
    for (at, (raw, route)) in raw.iter().zip(routes).enumerate() {
        let path = route.path.as_deref().unwrap_or("/");
        let is_own = OWN_PATHS.iter().any(|own| {
            path.strip_prefix(own)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if let (true, Some(raw)) = (is_own, &raw.get_ref().0.path) {
            let expected =
                "a path that realmgate does not answer itself (gateway.serve_api is true)";
            return Err(source.refuse(&format!("route[{at}].path"), raw, expected));
        }
    }
    Ok(())
}

fn is_same(one: &Route, other: &Route) -> bool {
    let methods = |route: &Route| -> Option<BTreeSet<String>> {
        let methods = route.methods.as_ref()?;
        Some(methods.iter().map(ToString::to_string).collect())
    };
    one.host == other.host && one.path == other.path && methods(one) == methods(other)
}

/// One route under check.
struct One<'a> {
    source: &'a Source<'a>,
    at: usize,
    credential: &'a CredentialHeaders,
}

impl One<'_> {
    fn route(
        &self,
        raw: &Spanned<Table<raw::Route>>,
        targets: Targets<'_>,
    ) -> Result<Route, ConfigError> {
        let Table(table) = raw.get_ref();
        let missing =
            |key, expected: String| self.source.missing(self.key(key), raw.span(), expected);
        let Some(name) = &table.name else {
            return Err(missing("name", naming()));
        };
        if !is_name(name.get_ref()) {
            return Err(self.refuse("name", name, naming()));
        }
        let Some(allow) = &table.allow else {
            return Err(missing("allow", ALLOW.to_owned()));
        };
        let upstream = match &table.upstream {
            None if targets.is_needed => {
                let expected = format!(
                    "{}; with gateway.listen = \"off\" none is needed",
                    targets.expected()
                );
                return Err(missing("upstream", expected));
            }
            None => None,
            Some(upstream) => {
                let mut defined = targets.upstreams.iter();
                let place = defined.position(|it| it.name == *upstream.get_ref());
                if place.is_none() {
                    return Err(self.refuse("upstream", upstream, targets.expected()));
                }
                place
            }
        };
        Ok(Route {
            name: name.get_ref().clone(),
            host: table
                .host
                .as_ref()
                .map(|host| self.host(host))
                .transpose()?,
            path: table
                .path
                .as_ref()
                .map(|path| self.path(path))
                .transpose()?,
            methods: table
                .methods
                .as_ref()
                .map(|methods| self.methods(methods))
                .transpose()?,
            policy: self.policy(allow)?,
            upstream,
            body_bytes: match &table.body_bytes {
                None => None,
                some => Some(self.source.number(
                    &self.key("body_bytes"),
                    some.as_ref(),
                    0,
                    0..=LONGEST_BODY,
                )?),
            },
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
            rewrite: rewrite(
                self.source,
                self.credential,
                &format!("route[{}]", self.at),
                table,
                is_host,
            )?,
        })
    }

    fn host(&self, raw: &Spanned<String>) -> Result<String, ConfigError> {
        let host = raw.get_ref().to_ascii_lowercase();
        if is_host(&host) {
            return Ok(host);
        }
        let expected = if host.contains("://") {
            r#"a host such as "app.example.org", without a scheme"#
        } else {
            r#"a host such as "app.example.org", without port, path or wildcard"#
        };
        Err(self.refuse("host", raw, expected))
    }

    fn path(&self, raw: &Spanned<String>) -> Result<String, ConfigError> {
        let path = raw.get_ref();
        let is_plain = path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"%;?#\\".contains(&byte));
        // No two servers read such a path differently: otherwise every request for it would be rejected.
        let is_canonical = path.starts_with('/')
            && !path.contains("//")
            && !path.contains(":$")
            && !path.split('/').any(|segment| segment.ends_with('.'));
        if is_plain && is_canonical {
            return Ok(path.clone());
        }
        let expected = r#"a path such as "/api/": visible ASCII from "/" on, no "//", no ":$", no segment that ends with ".", none of % ; ? # \"#;
        Err(self.refuse("path", raw, expected))
    }

    fn methods(&self, raw: &Spanned<List>) -> Result<Vec<Method>, ConfigError> {
        const EXPECTED: &str = r#"a method in upper case such as "GET""#;
        let mut methods = Vec::new();
        for (at, raw) in raw.get_ref().iter().enumerate() {
            let text = raw.get_ref();
            let method = Method::from_bytes(text.as_bytes())
                .ok()
                .filter(|_| !text.bytes().any(|byte| byte.is_ascii_lowercase()))
                .ok_or_else(|| self.refuse(&format!("methods[{at}]"), raw, EXPECTED))?;
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        // Whoever may GET may ask for the header alone (RFC 9110 §9.3.2).
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        if methods.is_empty() {
            return Err(self.refuse("methods", raw, r#"at least one method such as "GET""#));
        }
        Ok(methods)
    }

    fn policy(&self, raw: &Spanned<Allow>) -> Result<Policy, ConfigError> {
        match raw.get_ref() {
            Allow::Word(word) if word == "authenticated" => Ok(Policy::Authenticated),
            Allow::Word(word) if word == "anyone" => Ok(Policy::Anyone),
            Allow::Rules(rules) if !rules.is_empty() => rules
                .iter()
                .enumerate()
                .map(|(at, rule)| self.rule(at, rule))
                .collect::<Result<_, _>>()
                .map(Policy::Allow),
            Allow::Word(_) | Allow::Rules(_) => Err(self.refuse("allow", raw, ALLOW)),
        }
    }

    fn rule(&self, at: usize, raw: &Spanned<Table<raw::Rule>>) -> Result<Rule, ConfigError> {
        let Table(rule) = raw.get_ref();
        let key = |key| format!("allow[{at}].{key}");
        let expected = part(self.credential.name_chars);
        let checked = |name, raw: &Spanned<String>| {
            let text = raw.get_ref();
            match PrincipalRef::new("-", text, self.credential.name_chars) {
                Ok(_) => Ok(text.as_str().into()),
                Err(_) => Err(self.refuse(&key(name), raw, expected.clone())),
            }
        };
        let Some(realm) = &rule.realm else {
            let key = self.key(&key("realm"));
            return Err(self.source.missing(key, raw.span(), expected));
        };
        Ok(Rule {
            realm: checked("realm", realm)?,
            name: match &rule.name {
                Some(name) => Some(checked("name", name)?),
                None => None,
            },
        })
    }

    fn key(&self, key: &str) -> String {
        format!("route[{}].{key}", self.at)
    }

    fn refuse<T>(&self, key: &str, raw: &Spanned<T>, expected: impl Into<String>) -> ConfigError {
        self.source.refuse(&self.key(key), raw, expected)
    }
}

/// Says whether it is a name or an address of a host, without a port.
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
