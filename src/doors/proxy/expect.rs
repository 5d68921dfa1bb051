//! `Expect: 100-continue` (RFC 9110 §10.1.1). Any other expectation has been rejected.

use http::Version;
use http::header::EXPECT;
use pingora::Result;
use pingora::proxy::Session;

/// Returns whether the expectation is removed before forwarding. It is for HTTP/1.0, which has no
/// expectations, and for requests without a body. If the peer speaks HTTP/2, the proxy sends the
/// `100` itself, because Pingora does not pass on that of the peer.
///
/// # Errors
/// The client has closed the connection.
pub(super) async fn settle(session: &mut Session, spoken_to_peer: Version) -> Result<bool> {
    let header = session.req_header();
    if !header.headers.contains_key(EXPECT) {
        return Ok(false);
    }
    let is_old = header.version == Version::HTTP_10;
    if is_old || session.is_body_empty() {
        return Ok(true);
    }
    if spoken_to_peer != Version::HTTP_2 {
        return Ok(false);
    }
    // Only once, even if the request is tried again.
    session
        .write_continue_response()
        .await
        .map_err(pingora::Error::into_down)?;
    Ok(true)
}
