use http::{HeaderMap, HeaderName, Method};

use super::client::client;
use super::description;
use super::narrowing::narrowing;
use crate::auth::{Names, Policy};
use crate::doors::forward_auth::{FrontProxy, Rejection};
use crate::doors::fuzzing::assert_plain;
use crate::http::fuzzing::fields;
use crate::routing::input::MatchInput;
use crate::routing::target::{host_of, is_plain_method};

/// Parses a description. The first line of the input is the path and query of the sub-request, the
/// second its method; the rest are headers.
///
/// # Panics
/// An ambiguous description is accepted, or a query that allows nobody.
pub fn forward_auth(data: &[u8]) {
    let mut lines = data.splitn(3, |&byte| byte == b'\n');
    let address = lines.next().unwrap_or_default();
    let method = lines.next().unwrap_or_default();
    let headers = fields(lines.next().unwrap_or_default());
    let Ok(address) = str::from_utf8(address) else {
        return;
    };
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    narrow(query);
    let Some(proxy) = FrontProxy::of(path) else {
        return;
    };
    let any = HeaderName::from_static("x-forwarded-for");
    if let Some(client) = client(&headers, proxy, Some(&any)) {
        assert_eq!(client, client.to_canonical());
    }
    if let Ok(described) = describe(proxy, path, method, &headers) {
        assert_described(&described);
    }
}

fn describe<'a>(
    proxy: FrontProxy,
    path: &'a str,
    method: &[u8],
    headers: &'a HeaderMap,
) -> Result<MatchInput<'a>, Rejection> {
    match proxy {
        FrontProxy::Any => Err(Rejection::NoRoute),
        FrontProxy::Nginx => description::nginx(headers),
        FrontProxy::Envoy => {
            let method = Method::from_bytes(method).map_err(|_| Rejection::Malformed("method"))?;
            let target = path
                .strip_prefix(super::front_proxy::ENVOY)
                .unwrap_or_default();
            description::envoy(&method, headers, None, target.as_bytes())
        }
        _ => description::forwarded(headers),
    }
}

/// Checks that a description has one meaning.
pub(crate) fn assert_described(described: &MatchInput<'_>) {
    assert_eq!(described.host.and_then(host_of), described.host);
    assert!(described.host.is_some());
    assert!(is_plain_method(described.method.as_str()));
    assert_plain(described.target.literal(), &described.target);
}

fn narrow(query: &str) {
    match narrowing(query) {
        Ok(None) => assert!(query.bytes().all(|byte| byte == b'&'), "{query:?}"),
        Ok(Some(Policy::Allow(rules))) => {
            assert!((1..=16 * 16).contains(&rules.len()));
            assert!(rules.iter().all(|rule| !rule.realm.is_empty()));
            let is_named = query.split('&').any(|pair| pair.starts_with("name="));
            assert_eq!(rules.iter().all(|rule| rule.name != Names::All), is_named);
        }
        Ok(Some(other)) => unreachable!("{other:?}"),
        Err(_) => {}
    }
}
