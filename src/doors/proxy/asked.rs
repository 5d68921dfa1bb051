//! Properties of a request that concern its body and its connection.

use http::Version;
use http::header::{CONTENT_LENGTH, UPGRADE};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::upstream::SHORT_BODY;

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

/// Returns the `Content-Length` of a request; 0 without one.
pub(super) fn announced(header: &RequestHeader) -> u64 {
    let length = header.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}
