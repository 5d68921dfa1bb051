//! `Expect: 100-continue` (RFC 9110 §10.1.1). Any other expectation has been refused.

use http::Version;
use http::header::EXPECT;
use pingora::Result;
use pingora::proxy::Session;

/// Says whether the expectation of a request ends here. It does for HTTP/1.0, where it counts for nothing,
/// and where there is no body to wait with. A peer of HTTP/2 could not be heard to say `100`: so realmgate,
/// which has admitted the request, says it.
///
/// # Errors
/// The client is gone.
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
    // Once, however often the request is tried.
    session
        .write_continue_response()
        .await
        .map_err(pingora::Error::into_down)?;
    Ok(true)
}
