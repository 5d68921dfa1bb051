//! What a client is still sending when it has been answered already.

use pingora::Result;
use pingora::protocols::http::ServerSession;

use super::accept::{Ahead, keep_date};
use super::settings::Settings;
use crate::http::answer::Answer;

/// Sends an answer that does not wait for the request's body, and takes in what comes of that: a socket
/// that is closed with bytes unread resets its connection, and the answer may be lost with it (RFC 9112
/// §9.6).
///
/// At most `limits.drain_bytes` and `timeouts.drain`. Over HTTP/1 the client hears at once that nothing
/// follows the answer; it need not wait for the end of this.
///
/// # Errors
/// The client is gone.
pub(crate) async fn answer_early(
    session: &mut ServerSession,
    answer: Answer,
    settings: &Settings,
) -> Result<()> {
    // Not that of an answer that this one takes the place of.
    keep_date(session, None);
    answer.send(session).await?;
    if session.is_body_done() {
        return Ok(());
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
    Ok(())
}

/// Sends the answer to a request that has not been read, and takes in what comes of it, as
/// [`answer_early`] does.
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

/// Reads the rest of a body, and says whether it was no longer than `limit`.
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
