//! The request line for logs.

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use pingora::http::RequestHeader;

use super::path_of;
use crate::telemetry::RequestLine;

/// Returns the request line of a header for logs.
pub(crate) fn request_line(header: &RequestHeader) -> RequestLine<'_> {
    let authority = header.uri.authority().map(|it| it.as_str().as_bytes());
    RequestLine {
        method: header.method.as_str().as_bytes(),
        host: first(&header.headers, HOST.as_str())
            .or(authority)
            .unwrap_or_default(),
        path: path_of(header),
    }
}

/// Returns the values to log of a request.
pub(crate) fn request_line_of(parts: &Parts) -> RequestLine<'_> {
    let authority = parts.uri.authority().map(|it| it.as_str().as_bytes());
    RequestLine {
        method: parts.method.as_str().as_bytes(),
        host: first(&parts.headers, HOST.as_str())
            .or(authority)
            .unwrap_or_default(),
        path: parts.uri.path().as_bytes(),
    }
}

/// Returns the value of the first header with a name.
pub(crate) fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    Some(headers.get(name)?.as_bytes())
}
