//! realmgate's own responses at the proxy.

use bytes::Bytes;
use http::Version;
use http::header::{CONNECTION, HeaderValue};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;

use crate::http::answer::Answer;
use crate::http::grpc;
use crate::net::settings::Settings;

/// Whether the connection of HTTP/1 stays after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// As long as the body of the request has come.
    Stay,
    Close,
}

/// Sends a response that does not wait for the request's body.
///
/// What the client is still sending is taken in and dropped, up to `limits.drain_bytes` and `timeouts.drain`: over
/// HTTP/1 by the connection, over HTTP/2 here. A stream that is reset with bytes unread may take the response with
/// it.
///
/// # Errors
/// The client is gone.
pub(super) async fn respond(
    session: &mut Session,
    answer: Answer,
    after: After,
    settings: &Settings,
) -> Result<()> {
    let is_two = session.req_header().version == Version::HTTP_2;
    let is_body_here = session.is_body_done();
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

/// Reads the rest of a body, and says whether it was no longer than `limit`.
async fn drain(session: &mut Session, limit: usize) -> bool {
    let mut left = limit;
    while let Ok(Some(part)) = session.read_request_body().await {
        match left.checked_sub(part.len()) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}
