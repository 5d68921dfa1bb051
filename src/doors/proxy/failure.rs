//! What a client is told when a request fails on its way.

use std::time::Duration;

use http::StatusCode;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};
use tokio::time::timeout;

use super::hop::BAD_ANSWER;

/// No peer of an upstream answers its health check.
pub(super) const NO_PEER: ErrorType = ErrorType::Custom("NoPeer");

/// Says what is wrong with an answer, where that holds nothing of the answer.
pub(super) fn detail_of(error: &Error) -> Option<&str> {
    let context = error.context.as_ref().map(pingora::ImmutStr::as_str);
    context.filter(|_| *error.etype() == BAD_ANSWER)
}

const TOO_LONG: &str = "the body is too large\n";

/// What a request has come to when it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The client has sent its body to the end.
    pub(super) is_sent: bool,
    /// The header of an answer has gone to the client.
    pub(super) is_answered: bool,
}

/// Says whether an error speaks against the peer. One that does not say a word has failed; one that waits
/// for the rest of a body, or pauses in its answer, may be as well as any.
pub(super) fn is_of_the_peer(error: &Error, progress: Progress) -> bool {
    let is_silence = *error.etype() == ErrorType::ReadTimedout;
    let is_excused = !progress.is_sent || progress.is_answered;
    *error.esource() == ErrorSource::Upstream && !(is_silence && is_excused)
}

/// Says whether the peer has said that it did nothing with the request (RFC 9113 §8.7): it refused the
/// stream, or the stream is none of those that it still serves.
pub(super) fn is_unprocessed(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| {
        let is_refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        // Of a connection that is going away, only such streams end by that.
        cause.is_remote() && (is_refused || cause.is_go_away())
    })
}

/// Sends what has come of an answer that broke off and is still in a buffer, so that a client of HTTP/1 sees
/// that the request was processed.
pub(super) async fn pass_what_came(session: &mut Session, within: Duration) {
    if session.as_http1().is_none() {
        return;
    }
    // Pingora flushes before it hands the error back.
    let tasks = vec![
        HttpTask::Body(None, false),
        HttpTask::Failed(Error::new(ErrorType::ConnectionClosed)),
    ];
    // The client may be gone.
    let _ = timeout(
        within,
        session.as_downstream_mut().response_duplex_vec(tasks),
    )
    .await;
}

/// Returns the answer to an error as status and line; no status where nobody waits for one.
pub(super) fn answer_to(error: &Error) -> (Option<StatusCode>, &'static str) {
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, ErrorType::HTTPStatus(413)) => {
            (Some(StatusCode::PAYLOAD_TOO_LARGE), TOO_LONG)
        }
        (ErrorSource::Downstream, ErrorType::HTTPStatus(code)) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_REQUEST);
            (Some(status), "bad request\n")
        }
        (
            ErrorSource::Downstream,
            ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed,
        ) => (None, ""),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => (
            Some(StatusCode::REQUEST_TIMEOUT),
            "the body came too slowly\n",
        ),
        (ErrorSource::Downstream, _) => (Some(StatusCode::BAD_REQUEST), "bad request\n"),
        (_, ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            (Some(StatusCode::GATEWAY_TIMEOUT), "upstream timed out\n")
        }
        (_, &NO_PEER) => (
            Some(StatusCode::SERVICE_UNAVAILABLE),
            "no upstream is healthy\n",
        ),
        (ErrorSource::Upstream, _) => (Some(StatusCode::BAD_GATEWAY), "upstream unavailable\n"),
        _ => (Some(StatusCode::INTERNAL_SERVER_ERROR), "internal error\n"),
    }
}

/// Returns a short, stable code of what a client was told, for the log. `docs/reasons.md` has each.
pub(super) fn reason(status: StatusCode, error: &Error) -> &'static str {
    match *error.etype() {
        BAD_ANSWER | ErrorType::InvalidHTTPHeader if status == StatusCode::BAD_GATEWAY => {
            reason_of_bad_answer()
        }
        _ => reason_of(status),
    }
}

const fn reason_of_bad_answer() -> &'static str {
    "upstream_bad_answer"
}

const fn reason_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::REQUEST_TIMEOUT => "body_timeout",
        StatusCode::BAD_GATEWAY => "upstream_unavailable",
        StatusCode::SERVICE_UNAVAILABLE => "no_healthy_peer",
        StatusCode::GATEWAY_TIMEOUT => "upstream_timeout",
        StatusCode::INTERNAL_SERVER_ERROR => "internal_error",
        _ => "bad_request",
    }
}
