//! The responses to requests that fail on their way.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

use super::hop::{BAD_RESPONSE, TOO_MANY_FIELDS};

/// No peer of the upstream is healthy.
pub(super) const NO_PEER: ErrorType = ErrorType::Custom("NoPeer");

/// Describes the fault of a response, without any part of the response.
pub(super) fn detail_of(error: &Error) -> Option<&str> {
    let context = error.context.as_ref().map(pingora::ImmutStr::as_str);
    match *error.etype() {
        BAD_RESPONSE => context,
        ErrorType::InvalidHTTPHeader => {
            let parsed = error.root_cause().downcast_ref::<httparse::Error>();
            parsed.map(detail_of_header).or_else(|| {
                // Pingora 0.9.1 has no other way to tell these apart, and their texts quote nothing.
                let context = context.unwrap_or_default();
                let details = [
                    ("Response header larger", "a header of more than 1 MiB"),
                    ("invalid Content-Length", "an invalid Content-Length"),
                ];
                let mut details = details.iter();
                details
                    .find(|(start, _)| context.starts_with(start))
                    .map(|(_, detail)| *detail)
            })
        }
        _ => None,
    }
}

/// Describes why the header of an HTTP/1 response cannot be parsed.
fn detail_of_header(error: &httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "an invalid header name",
        httparse::Error::HeaderValue => "an invalid header value",
        httparse::Error::NewLine => "an invalid line ending",
        httparse::Error::Status => "an invalid status",
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        httparse::Error::Version => "an HTTP version other than 1.0 and 1.1",
        httparse::Error::Token => "bytes that are not HTTP",
    }
}

const TOO_LONG: &str = "the body is too large\n";

/// The progress of a request when it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The client has sent the complete body.
    pub(super) is_sent: bool,
    /// The response header has been sent to the client.
    pub(super) is_answered: bool,
    /// The response has switched to another protocol.
    pub(super) has_switched: bool,
}

/// Returns whether the peer has ended a response early. A connection of another protocol ends without
/// a fault after a long silence, which is noticed on either side.
pub(super) fn is_early_end(error: &Error, progress: Progress) -> bool {
    let is_silence = *error.etype() == ErrorType::ReadTimedout;
    *error.esource() == ErrorSource::Upstream && !(is_silence && progress.has_switched)
}

/// Returns whether an error counts against the peer. A read timeout counts only before its response
/// header and after the complete request body; later, or while the client is still sending, the
/// peer may be fine.
pub(super) fn is_of_the_peer(error: &Error, progress: Progress) -> bool {
    let is_silence = *error.etype() == ErrorType::ReadTimedout;
    let is_excused = !progress.is_sent || progress.is_answered;
    *error.esource() == ErrorSource::Upstream && !(is_silence && is_excused)
}

/// Returns whether the peer reported that it did not process the request (RFC 9113 §8.7): it
/// refused the stream, or the stream is beyond the last one of a GOAWAY.
pub(super) fn is_unprocessed(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| {
        let is_refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        // On a connection that is going away, only such streams end with this error.
        cause.is_remote() && (is_refused || cause.is_go_away())
    })
}

/// Returns the status and the line of the response to an error; no status if the client has
/// disconnected.
pub(super) fn response_to(error: &Error) -> (Option<StatusCode>, &'static str) {
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

/// Returns a short, stable code of an error response for the log, listed in `docs/reasons.md`.
pub(super) fn reason(status: StatusCode, error: &Error) -> &'static str {
    match *error.etype() {
        BAD_RESPONSE | ErrorType::InvalidHTTPHeader if status == StatusCode::BAD_GATEWAY => {
            reason_of_bad_response()
        }
        _ => reason_of(status),
    }
}

const fn reason_of_bad_response() -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_a_connection_of_another_protocol_without_a_fault_on_either_side() {
        let progress = |has_switched| Progress {
            is_sent: true,
            is_answered: true,
            has_switched,
        };
        let silence = || Error::new(ErrorType::ReadTimedout);
        assert!(!is_early_end(&silence().into_up(), progress(true)));
        assert!(!is_early_end(&silence().into_down(), progress(true)));
        assert!(is_early_end(&silence().into_up(), progress(false)));
        let reset = Error::new(ErrorType::ReadError).into_up();
        assert!(is_early_end(&reset, progress(true)));
    }
}
