//! What a client is told when a request fails on its way.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

/// No peer of an upstream answers its health check.
pub(super) const NO_PEER: ErrorType = ErrorType::Custom("NoPeer");

pub(super) const TOO_LONG: &str = "the body is too large\n";

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
            ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
        ) => (None, ""),
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
