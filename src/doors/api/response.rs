//! Responses in the format of ungleich-otp (Django REST framework).

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::encode::{Format, escaped, indented, quote};
use super::parts::{Parts, joined};
use crate::http::X_REQUEST_ID;
use crate::telemetry::RequestRecord;

/// The number of headers of most responses, with those that the connection adds.
const HEADERS: usize = 8;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The response to a call, without the headers that are common to all responses of a resource. It
/// may contain a seed, so it has no `Debug`.
pub(super) struct ApiResponse {
    status: StatusCode,
    body: Content,
    spacing: Spacing,
    retry_after: Option<u64>,
    next: Option<HeaderValue>,
    /// Boxed, because few responses have one.
    request: Option<Box<HeaderValue>>,
    holds_seeds: bool,
}

/// The body of a response.
pub(super) enum Content {
    None,
    /// JSON.
    Whole(String),
    /// A JSON array that is too long to be held in memory, with its indentation.
    Parts(Parts, usize),
}

impl Content {
    /// Returns the body as axum sends it.
    pub(super) fn into_body(self) -> HttpBody {
        match self {
            Self::None => HttpBody::empty(),
            Self::Whole(body) => body.into(),
            Self::Parts(parts, indent) => HttpBody::from_stream(joined(parts, indent)),
        }
    }

    /// Returns a body in memory; lists have none.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::None | Self::Parts(..) => Bytes::new(),
            Self::Whole(body) => body.into(),
        }
    }
}

impl ApiResponse {
    /// Makes a response with an array that is sent while it is read.
    pub(super) fn parts(parts: Parts) -> Self {
        Self {
            body: Content::Parts(parts, 0),
            ..Self::json(StatusCode::OK, String::new())
        }
    }

    /// Makes a JSON response.
    pub(super) fn json(status: StatusCode, body: String) -> Self {
        Self {
            status,
            body: Content::Whole(escaped(body)),
            spacing: Spacing::Compact,
            retry_after: None,
            next: None,
            request: None,
            holds_seeds: false,
        }
    }

    /// Makes a JSON response whose body already has spaces.
    pub(super) fn spaced(status: StatusCode, body: String, spacing: Spacing) -> Self {
        Self {
            spacing,
            ..Self::json(status, body)
        }
    }

    /// Makes a 204.
    pub(super) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Content::None,
            spacing: Spacing::Compact,
            retry_after: None,
            next: None,
            request: None,
            holds_seeds: false,
        }
    }

    /// The subject's token is correct.
    pub(super) fn verified() -> Self {
        Self::json(StatusCode::OK, r#"{"status":"OK"}"#.to_owned())
    }

    /// The caller is not authenticated.
    pub(super) fn not_authenticated() -> Self {
        Self::detail(
            StatusCode::FORBIDDEN,
            "Incorrect authentication credentials.",
        )
    }

    /// The caller is not allowed to do this, or the subject of a verification was rejected.
    pub(super) fn not_allowed() -> Self {
        Self::detail(
            StatusCode::FORBIDDEN,
            "You do not have permission to perform this action.",
        )
    }

    /// The identity does not exist.
    pub(super) fn not_found() -> Self {
        Self::detail(StatusCode::NOT_FOUND, "Not found.")
    }

    /// The resource does not support the method.
    pub(super) fn wrong_method(method: &Method) -> Self {
        Self::detail(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("Method \"{method}\" not allowed."),
        )
    }

    /// The caller does not accept JSON.
    pub(super) fn not_acceptable() -> Self {
        Self::detail(
            StatusCode::NOT_ACCEPTABLE,
            "Could not satisfy the request Accept header.",
        )
    }

    /// The media type of the body is not supported.
    pub(super) fn unsupported_type(given: &str) -> Self {
        Self::detail(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &format!("Unsupported media type \"{given}\" in request."),
        )
    }

    /// The body is not valid JSON.
    pub(super) fn parse_error(cause: &str) -> Self {
        Self::detail(
            StatusCode::BAD_REQUEST,
            &format!("JSON parse error - {cause}"),
        )
    }

    /// The body is not a valid multipart form.
    pub(super) fn multipart_error(cause: &str) -> Self {
        Self::detail(
            StatusCode::BAD_REQUEST,
            &format!("Multipart form parse error - {cause}"),
        )
    }

    /// The store is unavailable.
    pub(super) fn unavailable() -> Self {
        Self::detail(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service temporarily unavailable.",
        )
    }

    /// A change was made or may have been made; `detail` explains it.
    pub(super) fn not_confirmed(detail: &str) -> Self {
        Self::detail(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Another identity has the same name and realm.
    pub(super) fn taken() -> Self {
        Self::bad_body("The fields name, realm must make a unique set.")
    }

    /// The combination of fields is invalid.
    pub(super) fn bad_body(message: &str) -> Self {
        let body = format!(r#"{{"non_field_errors":[{}]}}"#, quote(message));
        Self::json(StatusCode::BAD_REQUEST, body)
    }

    /// Marks a response that contains seeds. Then the connection is closed after it, which zeroes
    /// its buffers.
    pub(super) fn with_seeds(mut self, holds_seeds: bool) -> Self {
        self.holds_seeds = holds_seeds;
        self
    }

    /// Adds the link to the next part of a list.
    pub(super) fn next(mut self, link: Option<HeaderValue>) -> Self {
        self.next = link;
        self
    }

    /// Adds the request id of the log.
    pub(super) fn named(mut self, record: &RequestRecord) -> Self {
        let id = record.request_id().map(HeaderValue::from_str);
        self.request = id.and_then(Result::ok).map(Box::new);
        self
    }

    /// Adds `Retry-After` (RFC 9110 §10.2.3), rounded up to whole seconds.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Makes the HTTP response of a resource that supports the methods `allow`.
    pub(super) fn render(self, allow: &'static str, format: Format) -> http::Response<Content> {
        let is_indented = format.indent > 0 && self.spacing == Spacing::Compact;
        let has_body = !matches!(self.body, Content::None);
        let body = match self.body {
            Content::Whole(body) if is_indented => Content::Whole(indented(body, format.indent)),
            Content::Parts(parts, _) => Content::Parts(parts, format.indent),
            body => body,
        };
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        headers.insert(ALLOW, HeaderValue::from_static(allow));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(next) = self.next {
            headers.insert(LINK, next);
        }
        if let Some(id) = self.request {
            headers.insert(X_REQUEST_ID, *id);
        }
        if self.holds_seeds {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if has_body {
            headers.insert(CONTENT_TYPE, JSON);
        }
        respond(self.status, headers, body)
    }

    fn detail(status: StatusCode, text: &str) -> Self {
        Self::json(status, format!(r#"{{"detail":{}}}"#, quote(text)))
    }
}

/// Whether JSON has spaces after colons and commas. ungleich-otp used both forms, and indents only
/// the compact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    /// With spaces, in the faults of a verification.
    Wide,
    /// Without spaces.
    Compact,
}

/// Returns ungleich-otp's page for an unknown path.
pub(super) fn no_such_page() -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let page = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>";
    respond(StatusCode::NOT_FOUND, headers, page.into())
}

/// Returns a redirect to a path and query.
pub(super) fn moved(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return no_such_page();
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(LOCATION, location);
    respond(StatusCode::MOVED_PERMANENTLY, headers, HttpBody::empty())
}

fn respond<B>(status: StatusCode, headers: HeaderMap, body: B) -> http::Response<B> {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
