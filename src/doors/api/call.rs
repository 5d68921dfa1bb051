use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};

use super::body::Body;
use super::encode::Format;
use super::response::Answer;
use crate::auth::UnixTime;
use crate::doors::api::{format, parse};
use crate::telemetry::{RecordSlot, RequestLine};

/// A request that has been read: what it asks and from where, but not yet who asks.
pub(super) struct Call {
    /// Its method.
    pub(super) method: Method,
    /// Its target.
    pub(super) uri: Uri,
    /// The scheme of the URL that its client asked for.
    pub(super) scheme: Scheme,
    /// The host, with its port, that it asked for.
    pub(super) host: Option<String>,
    /// Its header fields.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) body: Body,
    /// The address it comes from.
    pub(super) source: Option<IpAddr>,
    /// When it came.
    pub(super) now: UnixTime,
    /// Where it is noted what was decided on whoever asks.
    pub(super) record: RecordSlot,
}

/// Reads a request, has it answered by `run`, and writes the answer of a resource that knows the
/// methods `allow` in the format that was asked for.
pub(super) async fn answer<F>(request: Request, allow: &'static str, run: F) -> Response
where
    F: AsyncFnOnce(Call) -> Result<Answer, Answer>,
{
    let format = match format::negotiate(request.uri(), request.headers()) {
        Ok(format) => format,
        Err(refusal) => return refusal.render(allow, Format::default()),
    };
    let answer = match Call::read(request).await {
        Ok(call) => run(call).await,
        Err(refusal) => Err(refusal),
    };
    answer
        .unwrap_or_else(|refusal| refusal)
        .render(allow, format)
}

impl Call {
    /// Returns the query of its target; empty without one.
    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Returns what is logged of it if it is denied.
    pub(super) fn request_line(&self) -> RequestLine<'_> {
        RequestLine {
            method: self.method.as_str().as_bytes(),
            host: self.host.as_deref().unwrap_or_default().as_bytes(),
            path: self.uri.path().as_bytes(),
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// The answer: 400 or 415 for its body.
    async fn read(request: Request) -> Result<Self, Answer> {
        let (parts, body) = request.into_parts();
        // The listener bounds the body before it gets here.
        let bytes = axum::body::to_bytes(body, usize::MAX)
            .await
            .map_err(|_| Answer::parse_error("the body is incomplete"))?;
        let body = parse::body(&parts.headers, bytes).await?;
        let source = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let scheme = parts.extensions.get::<Scheme>().cloned();
        // HTTP/2 has it in the URI (RFC 9113 §8.3.1).
        let host = match parts.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
        };
        Ok(Self {
            scheme: scheme.unwrap_or(Scheme::HTTP),
            host: host.map(str::to_owned),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            source: source.map(|ConnectInfo(address)| address.ip()),
            now: UnixTime::from(SystemTime::now()),
            record: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}
