//! Discards the rest of a request body after an early response.

use pingora::Result;
use pingora::protocols::http::ServerSession;

use super::accept::{Ahead, keep_date};
use super::settings::Settings;
use crate::http::answer::Answer;

/// Sends a response without waiting for the request body, then discards the body. If a socket is
/// closed while bytes are unread, the connection is reset and the response may be lost (RFC 9112
/// §9.6).
///
/// Discards at most `limits.drain_bytes`, for at most `timeouts.drain`. Over HTTP/1, the sending
/// side is closed at once, so the client need not wait for the end.
///
/// # Errors
/// The client has closed the connection.
pub(crate) async fn answer_early(
    session: &mut ServerSession,
    answer: Answer,
    settings: &Settings,
) -> Result<()> {
    // The date of a response that this one replaces must not be kept.
    keep_date(session, None);
    answer.send(session).await?;
    end_early(session, settings).await;
    Ok(())
}

/// Takes in what a client is still sending that has its answer already, as [`answer_early`] does.
pub(crate) async fn end_early(session: &mut ServerSession, settings: &Settings) {
    if session.is_body_done() {
        return;
    }
    if !session.is_http2() {
        session.shutdown().await;
    }
    let taken = tokio::time::timeout(
        settings.timeouts.drain,
        drain(session, settings.limits.drain_bytes),
    );
    if taken.await != Ok(true) {
        tracing::debug!("the request body went on after the response");
    }
}

/// Sends the response to an unread request, and discards its body like [`answer_early`].
pub(crate) async fn refuse(stream: &mut Ahead, answer: Answer, settings: &Settings) {
    let answer = answer.last_bytes();
    let sent = stream.refuse(&answer);
    match tokio::time::timeout(settings.timeouts.write, sent).await {
        Ok(Ok(())) => {
            let drained = stream.drain(settings.limits.drain_bytes);
            let _ = tokio::time::timeout(settings.timeouts.drain, drained).await;
        }
        Ok(Err(_)) | Err(_) => tracing::debug!("the client disconnected"),
    }
}

/// Reads the rest of a body. Returns whether it was at most `limit` bytes long.
async fn drain(session: &mut ServerSession, limit: usize) -> bool {
    let mut left = limit;
    while let Ok(Some(part)) = session.read_request_body().await {
        match left.checked_sub(part.len()) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}
