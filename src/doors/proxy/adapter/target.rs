//! The target and the host of an HTTP/1 request, in the form that routes match.

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Uri, Version};

/// Marks an HTTP/1.1 request whose `Host` was empty.
#[derive(Clone, Copy)]
pub(super) struct NoHost;

/// Splits an absolute URL in the request line (RFC 9112 §3.2.2) into a host and a path. One with
/// another host than `Host` stays unchanged, and is rejected: a server in front may have used
/// either.
pub(super) fn take_authority(parts: &mut Parts) {
    if parts.version == Version::HTTP_2 {
        return;
    }
    // Without a scheme it is neither a URL nor a path, and is rejected later.
    let (Some(_), Some(authority)) = (parts.uri.scheme(), parts.uri.authority()) else {
        return;
    };
    if let Some(host) = parts.headers.get(HOST)
        && !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return;
    }
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        parts.headers.insert(HOST, host);
    }
    let path = parts.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
}

/// Removes an empty `Host`, as in a request without an authority (RFC 9112 §3.2). The request then has no
/// host, as in HTTP/1.0.
pub(super) fn take_empty_host(parts: &mut Parts) {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let is_empty = hosts.next().is_some_and(HeaderValue::is_empty) && hosts.next().is_none();
    if is_empty && parts.version == Version::HTTP_11 && parts.uri.authority().is_none() {
        parts.headers.remove(HOST);
        parts.extensions.insert(NoHost);
    }
}
