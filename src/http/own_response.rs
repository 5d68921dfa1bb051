//! realmgate's own responses. They keep the connection open.

use bytes::BufMut;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::response::Parts;
use http::{Response, StatusCode};
use pingora::protocols::http::date::get_cached_date;

use super::denials::{Challenge, Denials};
use super::{X_REQUEST_ID, problems};
use crate::auth::Denial;

const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"realmgate\", charset=\"UTF-8\"");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A response to be sent.
pub(crate) struct OwnResponse {
    pub(crate) status: StatusCode,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    /// A line of text for people. Empty in sub-requests, where nginx closes the connection after a
    /// response with a body.
    pub(crate) line: &'static str,
    /// A document that is sent instead of the line.
    problem: Option<&'static str>,
}

impl OwnResponse {
    /// Makes a response without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::line(status, "")
    }

    /// Makes a response with a line of text.
    pub(crate) fn line(status: StatusCode, line: &'static str) -> Self {
        Self {
            status,
            fields: Vec::new(),
            line,
            problem: None,
        }
    }

    /// Makes the proxy's response to a denied request.
    pub(crate) fn denied(denial: &Denial) -> Self {
        let (status, line) = match denial {
            Denial::NoCredential | Denial::Malformed(_) | Denial::InvalidCredential { .. } => {
                (StatusCode::UNAUTHORIZED, "authentication required\n")
            }
            Denial::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, "too many failures\n"),
            Denial::NotAllowed => (StatusCode::FORBIDDEN, "not allowed here\n"),
            Denial::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "authentication unavailable\n",
            ),
        };
        let mut answer = Self::line(status, line);
        if status == StatusCode::UNAUTHORIZED {
            answer.fields.push((WWW_AUTHENTICATE, CHALLENGE));
        }
        if let Denial::Throttled { retry_after, .. } = denial {
            let secs = retry_after.as_secs().max(1);
            answer.fields.push((RETRY_AFTER, HeaderValue::from(secs)));
        }
        answer
    }

    /// Makes the response to a denied sub-request: without a body, and only 401, 403 or 503.
    pub(crate) fn sub_request_denied(denial: &Denial) -> Self {
        let mut answer = Self::denied(denial);
        answer.line = "";
        if let Denial::Throttled { .. } = denial {
            answer.status = StatusCode::UNAUTHORIZED;
            answer.fields.push((WWW_AUTHENTICATE, CHALLENGE));
        }
        answer
    }

    /// Gives a denial the form that its route has for denials. It depends on nothing but the status.
    #[must_use]
    pub(crate) fn denied_as(mut self, denials: Option<&Denials>) -> Self {
        let Some(denials) = denials else {
            return self;
        };
        if denials.challenge != Challenge::Default {
            let count = self.fields.len();
            self.fields.retain(|(name, _)| *name != WWW_AUTHENTICATE);
            if let Challenge::As(challenge) = &denials.challenge
                && self.fields.len() < count
            {
                self.fields.push((WWW_AUTHENTICATE, challenge.clone()));
            }
        }
        self.fields.extend(denials.headers.iter().cloned());
        if denials.is_json && !self.line.is_empty() {
            self.problem = Some(problems::of_denial(self.status));
        }
        self
    }

    /// Gives another response to a request the form that its route has for errors.
    #[must_use]
    pub(crate) fn failed_as(mut self, denials: Option<&Denials>) -> Self {
        if denials.is_some_and(|it| it.is_json) && !self.line.is_empty() {
            self.problem = Some(problems::of_failure(self.status));
        }
        self
    }

    /// Returns the response with the line as its body, whatever the route says.
    #[must_use]
    pub(crate) fn in_text(self) -> Self {
        Self {
            problem: None,
            ..self
        }
    }

    /// Adds the request id under which the log lists the request.
    #[must_use]
    pub(crate) fn named(mut self, request_id: Option<&str>) -> Self {
        let id = request_id.map(HeaderValue::from_str);
        let id = id.and_then(Result::ok);
        self.fields.extend(id.map(|id| (X_REQUEST_ID, id)));
        self
    }

    /// Returns the response.
    pub(crate) fn response(self) -> Response<&'static [u8]> {
        let body = self.body().as_bytes();
        Response::from_parts(self.parts(), body)
    }

    /// Returns the response in HTTP/1.1 with `Connection: close`.
    pub(crate) fn last_bytes(self) -> Vec<u8> {
        let body = self.body();
        let parts = self.parts();
        let date = (DATE, get_cached_date());
        let close = (CONNECTION, HeaderValue::from_static("close"));
        let last = [&date, &close].map(|it| (&it.0, &it.1));
        let mut bytes = Vec::new();
        put_head(&mut bytes, parts.status, parts.headers.iter().chain(last));
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }

    fn body(&self) -> &'static str {
        self.problem.unwrap_or(self.line)
    }

    fn parts(self) -> Parts {
        // Pingora's type would also store each header name as it was written.
        let mut parts = Response::new(()).into_parts().0;
        parts.status = self.status;
        let fields = &mut parts.headers;
        fields.reserve(self.fields.len() + 3);
        if !self.body().is_empty() {
            let media = self.problem.map_or(PLAIN, |_| PROBLEM);
            fields.insert(CONTENT_TYPE, media);
        }
        let length = match self.body().len() {
            0 => HeaderValue::from_static("0"),
            length => HeaderValue::from(length),
        };
        fields.insert(CONTENT_LENGTH, length);
        fields.insert(CACHE_CONTROL, NO_STORE);
        for (name, value) in self.fields {
            fields.insert(name, value);
        }
        parts
    }
}

/// Writes the status line and the headers of an HTTP/1.1 response, and the empty line after them.
pub(crate) fn put_head<'a>(
    bytes: &mut impl BufMut,
    status: StatusCode,
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) {
    bytes.put_slice(b"HTTP/1.1 ");
    bytes.put_slice(status.as_str().as_bytes());
    bytes.put_slice(b" ");
    bytes.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    bytes.put_slice(b"\r\n");
    for (name, value) in headers {
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(b"\r\n");
}
