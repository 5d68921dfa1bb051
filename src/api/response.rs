//! Answers in the shapes of the old server (Django REST framework).

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::response::Response;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

use super::body::Body;
use super::field::Fault;
use super::format::Format;
use super::parts::{Parts, joined};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer to a call, before the header fields that every answer of a resource has. It may hold a
/// seed, so it has no `Debug`.
pub(super) struct Answer {
    status: StatusCode,
    body: Content,
    spacing: Spacing,
    retry_after: Option<u64>,
    next: Option<HeaderValue>,
    holds_seeds: bool,
}

enum Content {
    None,
    /// JSON.
    Whole(String),
    /// JSON, of an array that is too long to be held.
    Parts(Parts),
}

impl Answer {
    /// Makes an answer of an array that is written as it is read.
    pub(super) fn parts(parts: Parts) -> Self {
        Self {
            body: Content::Parts(parts),
            ..Self::json(StatusCode::OK, String::new())
        }
    }

    /// Makes an answer of JSON.
    pub(super) fn json(status: StatusCode, body: String) -> Self {
        Self {
            status,
            body: Content::Whole(escaped(body)),
            spacing: Spacing::Compact,
            retry_after: None,
            next: None,
            holds_seeds: false,
        }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Content::None,
            spacing: Spacing::Compact,
            retry_after: None,
            next: None,
            holds_seeds: false,
        }
    }

    /// The subject's token is right.
    pub(super) fn verified() -> Self {
        Self::json(StatusCode::OK, r#"{"status":"OK"}"#.to_owned())
    }

    /// The caller has not proved who they are.
    pub(super) fn not_authenticated() -> Self {
        Self::detail(
            StatusCode::FORBIDDEN,
            "Incorrect authentication credentials.",
        )
    }

    /// The caller, or the subject of a verification, may not.
    pub(super) fn not_allowed() -> Self {
        Self::detail(
            StatusCode::FORBIDDEN,
            "You do not have permission to perform this action.",
        )
    }

    /// No such identity.
    pub(super) fn not_found() -> Self {
        Self::detail(StatusCode::NOT_FOUND, "Not found.")
    }

    /// The resource does not know the method.
    pub(super) fn wrong_method(method: &Method) -> Self {
        Self::detail(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("Method \"{method}\" not allowed."),
        )
    }

    /// The caller does not take JSON.
    pub(super) fn not_acceptable() -> Self {
        Self::detail(
            StatusCode::NOT_ACCEPTABLE,
            "Could not satisfy the request Accept header.",
        )
    }

    /// The body is of a type that is not read.
    pub(super) fn unsupported_type(given: &str) -> Self {
        Self::detail(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &format!("Unsupported media type \"{given}\" in request."),
        )
    }

    /// The body is not JSON.
    pub(super) fn parse_error(cause: &str) -> Self {
        Self::detail(
            StatusCode::BAD_REQUEST,
            &format!("JSON parse error - {cause}"),
        )
    }

    /// The body is no form in parts.
    pub(super) fn multipart_error(cause: &str) -> Self {
        Self::detail(
            StatusCode::BAD_REQUEST,
            &format!("Multipart form parse error - {cause}"),
        )
    }

    /// The store cannot answer.
    pub(super) fn unavailable() -> Self {
        Self::detail(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service temporarily unavailable.",
        )
    }

    /// Another identity has that name in that realm.
    pub(super) fn taken() -> Self {
        Self::bad_body("The fields name, realm must make a unique set.")
    }

    /// What the fields say together cannot be.
    pub(super) fn bad_body(message: &str) -> Self {
        let body = format!(r#"{{"non_field_errors":[{}]}}"#, quote(message));
        Self::json(StatusCode::BAD_REQUEST, body)
    }

    /// Says whether seeds are in it. Then the connection ends with it, and its buffers with the connection.
    pub(super) fn with_seeds(mut self, holds_seeds: bool) -> Self {
        self.holds_seeds = holds_seeds;
        self
    }

    /// Says where the next part of a list is.
    pub(super) fn next(mut self, link: Option<HeaderValue>) -> Self {
        self.next = link;
        self
    }

    /// Adds `Retry-After` (RFC 9110 §10.2.3), rounded up to whole seconds.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Makes the response of a resource that knows the methods `allow`.
    pub(super) fn render(self, allow: &'static str, format: Format) -> Response {
        let is_indented = format.indent > 0 && self.spacing == Spacing::Compact;
        let has_body = !matches!(self.body, Content::None);
        let body = match self.body {
            Content::None => HttpBody::empty(),
            Content::Whole(body) if is_indented => indented(body, format.indent).into(),
            Content::Whole(body) => body.into(),
            Content::Parts(parts) => HttpBody::from_stream(joined(parts, format.indent)),
        };
        let mut headers = HeaderMap::new();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        headers.insert(ALLOW, HeaderValue::from_static(allow));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(next) = self.next {
            headers.insert(LINK, next);
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

/// Whether spaces follow the colons and commas of JSON. The old server is of two minds, and indents
/// only the second kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    /// They do, in what verify says of its fields.
    Wide,
    /// They do not.
    Compact,
}

/// What is wrong with the fields of a body.
pub(super) struct Errors(Vec<(&'static str, Vec<String>)>);

impl Errors {
    /// Starts with what is wrong with the body as a whole.
    pub(super) fn new(body: &Body) -> Self {
        let whole = body.fault().map(|text| ("non_field_errors", vec![text]));
        Self(whole.into_iter().collect())
    }

    /// Returns what a field holds, or keeps its faults.
    pub(super) fn take<T>(&mut self, name: &'static str, read: Result<T, Vec<Fault>>) -> Option<T> {
        match read {
            Ok(text) => Some(text),
            Err(faults) => {
                // A body that has no fields is not to blame for each of them.
                if !matches!(self.0.first(), Some(("non_field_errors", _))) {
                    let faults = faults.iter().map(ToString::to_string).collect();
                    self.0.push((name, faults));
                }
                None
            }
        }
    }

    /// Says whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the 400 that names them all.
    pub(super) fn answer(&self, spacing: Spacing) -> Answer {
        let (colon, comma) = match spacing {
            Spacing::Wide => (": ", ", "),
            Spacing::Compact => (":", ","),
        };
        let fields: Vec<String> = self
            .0
            .iter()
            .map(|(name, messages)| {
                let messages: Vec<String> = messages.iter().map(|text| quote(text)).collect();
                format!("{}{colon}[{}]", quote(name), messages.join(comma))
            })
            .collect();
        Answer {
            spacing,
            ..Answer::json(
                StatusCode::BAD_REQUEST,
                format!("{{{}}}", fields.join(comma)),
            )
        }
    }
}

/// Returns the old server's page for a path that it does not know.
pub(super) fn no_such_page() -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let page = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>";
    respond(StatusCode::NOT_FOUND, headers, page.into())
}

/// Returns the redirection to a path and query.
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

fn respond(status: StatusCode, headers: HeaderMap, body: HttpBody) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Escapes U+2028 and U+2029, as the old server does for JavaScript.
pub(super) fn escaped(json: String) -> String {
    if !json.contains(['\u{2028}', '\u{2029}']) {
        return json;
    }
    json.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Writes JSON over several lines, each level `indent` spaces deeper.
pub(super) fn indented(json: String, indent: usize) -> String {
    let spaces = [b' '; 16];
    let spaces = spaces.get(..indent).unwrap_or(&spaces);
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut writer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(spaces));
    let written = serde_json::from_str::<serde_json::Value>(&json)
        .and_then(|value| value.serialize(&mut writer));
    match (written, String::from_utf8(out)) {
        (Ok(()), Ok(text)) => escaped(text),
        _ => json,
    }
}

/// Writes a JSON string.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
