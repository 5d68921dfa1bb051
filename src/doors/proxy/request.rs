//! Properties of a request that concern its body and its connection.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::upstream::SHORT_BODY;

/// The headers that the policy of Pingora 0.9.1 for requests removes or reads. Not a constant, of which
/// each use would make a copy and drop it.
static OF_POLICY: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Returns whether a request has a header that Pingora's policy for requests removes or reads. It
/// looks up each of them, which takes longer than one pass over the names.
pub(super) fn needs_policy(fields: &HeaderMap) -> bool {
    fields.keys().any(|name| OF_POLICY.contains(name))
}

/// Returns whether a request asks for an upgrade and has no body.
pub(super) fn is_upgrade(session: &mut Session) -> bool {
    let header = session.req_header();
    header.version == Version::HTTP_11
        && header.headers.contains_key(UPGRADE)
        && session.is_body_empty()
}

/// Returns whether a request has a long body, or one of unknown length.
pub(super) fn is_upload(session: &mut Session) -> bool {
    !session.is_body_empty() && !(1..=SHORT_BODY).contains(&announced(session.req_header()))
}

/// Returns whether a client accepts trailers (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(request: &RequestHeader) -> bool {
    let is_trailers = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(b"trailers");
    let mut lines = request.headers.get_all(TE).iter();
    lines.any(|line| line.as_bytes().split(|&byte| byte == b',').any(is_trailers))
}

/// Returns the remaining hops of a request, if its `Max-Forwards` is present and applies to its
/// method (RFC 9110 §7.6.2).
pub(super) fn max_forwards(method: &Method, fields: &HeaderMap) -> Option<u64> {
    if *method != Method::OPTIONS {
        return None;
    }
    fields.get(MAX_FORWARDS)?.to_str().ok()?.parse().ok()
}

/// Returns the `Content-Length` of a request; 0 without one.
pub(super) fn announced(header: &RequestHeader) -> u64 {
    let length = header.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}
