//! realmgate's own responses at the proxy.

use bytes::Bytes;
use http::Version;
use http::header::{CONNECTION, HeaderValue};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;

use crate::http::grpc;
use crate::http::own_response::OwnResponse;
use crate::net::http::Allowance;
use crate::net::settings::Settings;

/// Whether an HTTP/1 connection is kept after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// If the request body has been received completely.
    Stay,
    Close,
}

/// Sends a response without waiting for the request body.
///
/// What the client is still sending is discarded, up to `limits.drain_bytes` and `timeouts.drain`:
/// over HTTP/1 by the connection, over HTTP/2 here. Resetting a stream with unread bytes may lose
/// the response.
///
/// # Errors
/// The client has disconnected.
pub(super) async fn respond(
    session: &mut Session,
    answer: OwnResponse,
    after: After,
    settings: &Settings,
) -> Result<()> {
    let is_two = session.req_header().version == Version::HTTP_2;
    let is_body_here = session.is_body_done();
    let answer = match grpc::is_any_call(&session.req_header().headers) {
        // A call carries the text in its status.
        true => answer.in_text(),
        false => answer,
    };
    let response = answer.response().map(Bytes::from_static);
    let response = grpc::translate(response, &session.req_header().headers);
    let (mut parts, body) = response.into_parts();
    if !is_two && (after == After::Close || !is_body_here) {
        let close = HeaderValue::from_static("close");
        parts.headers.insert(CONNECTION, close);
    }
    let header = Box::new(ResponseHeader::from(parts));
    let tasks = match body.is_empty() {
        true => vec![HttpTask::Header(header, true)],
        false => vec![
            HttpTask::Header(header, false),
            HttpTask::Body(Some(body), true),
        ],
    };
    if !is_two && !is_body_here {
        session.drain_request_body().await?;
    }
    session
        .as_downstream_mut()
        .response_duplex_vec(tasks)
        .await?;
    if !is_two || session.is_body_done() {
        return Ok(());
    }
    let drained = drain(session, settings.limits.drain_bytes);
    if tokio::time::timeout(settings.timeouts.drain, drained).await != Ok(true) {
        tracing::debug!("the request body went on after the response");
    }
    Ok(())
}

/// Reads the rest of a body. Returns whether it was at most `limit` bytes long.
async fn drain(session: &mut Session, limit: usize) -> bool {
    let mut allowance = Allowance::new(limit);
    while let Ok(Some(part)) = session.read_request_body().await {
        if !allowance.take(part.len()) {
            return false;
        }
    }
    true
}
