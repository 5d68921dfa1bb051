use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};

use super::body::Body;
use super::encode::Format;
use super::response::{ApiResponse, Content};
use crate::auth::UnixTime;
use crate::doors::api::{format, parse};
use crate::doors::local::Origin;
use crate::telemetry::{RecordSlot, RequestLine};

/// A parsed request whose caller has not been authenticated yet.
pub(super) struct Call {
    /// The method.
    pub(super) method: Method,
    /// The request target.
    pub(super) uri: Uri,
    /// The scheme of the client's URL.
    pub(super) scheme: Scheme,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body.
    pub(super) body: Body,
    /// The address of the client.
    pub(super) source: Option<IpAddr>,
    /// The time of the request.
    pub(super) now: UnixTime,
    /// Receives the decision about the caller.
    pub(super) record: RecordSlot,
}

/// Parses a request, calls `run`, and renders the response in the negotiated format. `allow` lists
/// the methods of the resource.
pub(super) async fn handle<F>(request: Request, allow: &'static str, run: F) -> Response
where
    F: AsyncFnOnce(Call) -> Result<ApiResponse, ApiResponse>,
{
    let (parts, body) = request.into_parts();
    let origin = origin_of(&parts);
    // The listener has already limited the body.
    let body = axum::body::to_bytes(body, usize::MAX).await.ok();
    handle_read(parts, body, origin, allow, run)
        .await
        .map(Content::into_body)
}

/// Like [`handle`], for a body in memory; `None` if it is incomplete.
pub(super) async fn handle_read<F>(
    parts: Parts,
    body: Option<Bytes>,
    origin: Origin,
    allow: &'static str,
    run: F,
) -> http::Response<Content>
where
    F: AsyncFnOnce(Call) -> Result<ApiResponse, ApiResponse>,
{
    let format = match format::negotiate(&parts.uri, &parts.headers) {
        Ok(format) => format,
        Err(rejection) => return rejection.render(allow, Format::default()),
    };
    let body = match body {
        Some(body) => parse::body(&parts.headers, body).await,
        None => Err(ApiResponse::parse_error("the body is incomplete")),
    };
    let answer = match body {
        Ok(body) => {
            let call = Call {
                body,
                method: parts.method,
                uri: parts.uri,
                headers: parts.headers,
                scheme: origin.scheme,
                source: origin.source,
                now: origin.now,
                record: origin.record,
            };
            run(call).await
        }
        Err(rejection) => Err(rejection),
    };
    answer
        .unwrap_or_else(|rejection| rejection)
        .render(allow, format)
}

/// Returns the origin in the extensions of a request.
fn origin_of(parts: &Parts) -> Origin {
    let source = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let scheme = parts.extensions.get::<Scheme>().cloned();
    Origin {
        scheme: scheme.unwrap_or(Scheme::HTTP),
        source: source.map(|ConnectInfo(address)| address.ip()),
        now: UnixTime::from(SystemTime::now()),
        record: parts.extensions.get().cloned().unwrap_or_default(),
    }
}

impl Call {
    /// Returns the query of the target; empty if there is none.
    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Returns the parts that are logged if the request is denied.
    pub(super) fn request_line(&self) -> RequestLine<'_> {
        RequestLine {
            method: self.method.as_str().as_bytes(),
            host: self.host().unwrap_or_default().as_bytes(),
            path: self.uri.path().as_bytes(),
        }
    }

    /// Returns the host of the client's URL, with its port.
    pub(super) fn host(&self) -> Option<&str> {
        // In HTTP/2, the host is part of the URI (RFC 9113 §8.3.1).
        match self.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => self.headers.get(HOST).and_then(|host| host.to_str().ok()),
        }
    }
}
