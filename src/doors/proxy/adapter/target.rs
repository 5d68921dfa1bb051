//! The target, the host and the upgrade of an HTTP/1 request, in the form that the proxy expects.

use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Uri, Version};

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

/// Returns whether the request line contains a URL whose scheme is neither `http` nor `https`.
pub(super) fn has_other_scheme(parts: &Parts) -> bool {
    let scheme = parts.uri.scheme();
    let is_other = scheme.is_some_and(|it| *it != Scheme::HTTP && *it != Scheme::HTTPS);
    is_other && parts.version != Version::HTTP_2
}

/// Removes an `Upgrade` that is ignored: all but that of a WebSocket, which a GET of HTTP/1.1 asks
/// for (RFC 6455 §4.1) and which `Connection` names (RFC 9110 §7.8).
pub(super) fn take_ignored_upgrade(parts: &mut Parts) {
    let Some(protocol) = parts.headers.get(UPGRADE) else {
        return;
    };
    let lines = parts.headers.get_all(CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let is_complete = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    if !is_complete {
        parts.headers.remove(UPGRADE);
    }
}

/// Removes an empty `Host`, as in a request without an authority (RFC 9112 §3.2). The request then has no
/// host, as in HTTP/1.0. Returns whether there was one.
pub(super) fn take_empty_host(parts: &mut Parts) -> bool {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let is_empty = hosts.next().is_some_and(HeaderValue::is_empty) && hosts.next().is_none();
    let is_taken = is_empty && parts.version == Version::HTTP_11 && parts.uri.authority().is_none();
    if is_taken {
        parts.headers.remove(HOST);
    }
    is_taken
}
