//! Checks how routes change requests and responses.

use http::{HeaderName, HeaderValue};
use toml::Spanned;

use super::header_rules::{HeaderRules, header_rules};
use super::passing;
use super::path::PathPattern;
use super::raw::{self, OneOrMany, Opt, Table};
use super::scalar::flag;
use super::source::{Checked, Source};
use crate::http::IdentityHeaders;

/// How a route changes requests and responses.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// The path prefix that is removed from requests, without its trailing slash; `None` without
    /// `strip_prefix`. It begins with `/` and has at least one segment.
    pub prefix: Option<HeaderValue>,
    /// `upstream_host`: the `Host` header for the upstream; that of the client by default.
    pub host: Option<HeaderValue>,
    /// The client headers that pass although others of their kind are removed. `alias_headers`: at
    /// most 32 names with a character other than letters, digits and `-`, none of which is like a
    /// header with a meaning. `pass_headers`: at most 8 that contain the client's address. None by
    /// default.
    pub passing: Vec<HeaderName>,
    /// Whether shared caches may store responses to authenticated requests; false by default.
    pub shared_cache: bool,
    /// Changes to the headers of the request.
    pub request_headers: HeaderRules,
    /// Changes to the headers of the response.
    pub response_headers: HeaderRules,
}

/// Checks the changes of the route with the dotted path `route`. `host` checks a host.
pub(super) fn rewrite(
    source: &Source<'_>,
    identity: &IdentityHeaders,
    route: &str,
    raw: &raw::Route,
    host: impl Fn(&str) -> bool,
) -> Checked<Rewrite> {
    let rules = |name: &str, raw: &Opt<Table<raw::HeaderRules>>| {
        let key = format!("{route}.{name}");
        header_rules(source, identity, key, raw.as_ref())
    };
    let request_headers = rules("request_headers", &raw.request_headers);
    let aliases = passing::aliases(
        source,
        identity,
        &format!("{route}.alias_headers"),
        &raw.alias_headers,
        request_headers.as_ref().unwrap_or(&HeaderRules::default()),
    );
    let key = format!("{route}.pass_headers");
    let addresses = passing::addresses(source, &key, &raw.pass_headers);
    let prefix = match &raw.strip_prefix {
        Some(strip) if *strip.get_ref() => prefix(source, route, raw, strip).map(Some),
        _ => Ok(None),
    };
    let host = raw.upstream_host.as_ref().map(|raw| {
        let key = format!("{route}.upstream_host");
        authority(source, &key, raw, host)
    });
    let response_headers = rules("response_headers", &raw.response_headers);
    let mut passing = aliases?;
    passing.extend(addresses?);
    Ok(Rewrite {
        passing,
        shared_cache: flag(raw.shared_cache.as_ref()),
        prefix: prefix?,
        host: host.transpose()?,
        request_headers: request_headers?,
        response_headers: response_headers?,
    })
}

fn prefix(
    source: &Source<'_>,
    route: &str,
    raw: &raw::Route,
    strip: &Spanned<bool>,
) -> Checked<HeaderValue> {
    let path = raw.path.as_ref().map(|path| match path.get_ref() {
        OneOrMany::One(path) => Some(path.as_str()),
        OneOrMany::Many(paths) => match paths.as_slice() {
            [path] => Some(path.get_ref().as_str()),
            _ => None,
        },
    });
    let path = path.flatten().map(PathPattern::read);
    let path = path.and_then(Result::ok);
    let path = path.filter(|path| !path.is_exact() && !path.has_star());
    let prefix = path.as_ref().map(PathPattern::text).unwrap_or_default();
    match HeaderValue::from_str(prefix) {
        // The suffix belongs to the segment that would be stripped, and the upstream needs it.
        Ok(value) if !prefix.is_empty() && !flag(raw.ignore_suffix.as_ref()) => Ok(value),
        _ => {
            let expected = "a single path beside it, a prefix without \"*\" other than \"/\", and no ignore_suffix";
            Err(source.reject(&format!("{route}.strip_prefix"), strip, expected))
        }
    }
}

/// Checks a host with or without a port.
pub(super) fn authority(
    source: &Source<'_>,
    key: &str,
    raw: &Spanned<String>,
    is_host: impl Fn(&str) -> bool,
) -> Checked<HeaderValue> {
    let text = raw.get_ref();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text.as_str(), None),
    };
    let is_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    match HeaderValue::from_str(text) {
        Ok(value) if is_port && is_host(host) => Ok(value),
        _ => {
            let expected = r#"a host such as "app.internal" or "app.internal:8080""#;
            Err(source.reject(key, raw, expected))
        }
    }
}
