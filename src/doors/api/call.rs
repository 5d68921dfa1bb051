use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};

use super::body::Body;
use super::encode::Format;
use super::response::ApiResponse;
use crate::auth::UnixTime;
use crate::doors::api::{format, parse};
use crate::telemetry::{RecordSlot, RequestLine};

/// A parsed request whose caller has not been authenticated yet.
pub(super) struct Call {
    /// The method.
    pub(super) method: Method,
    /// The request target.
    pub(super) uri: Uri,
    /// The scheme of the client's URL.
    pub(super) scheme: Scheme,
    /// The host of the client's URL, with its port.
    pub(super) host: Option<String>,
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
    let format = match format::negotiate(request.uri(), request.headers()) {
        Ok(format) => format,
        Err(rejection) => return rejection.render(allow, Format::default()),
    };
    let answer = match Call::read(request).await {
        Ok(call) => run(call).await,
        Err(rejection) => Err(rejection),
    };
    answer
        .unwrap_or_else(|rejection| rejection)
        .render(allow, format)
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
            host: self.host.as_deref().unwrap_or_default().as_bytes(),
            path: self.uri.path().as_bytes(),
        }
    }

    /// Parses a request.
    ///
    /// # Errors
    /// The response: 400 or 415 for a body that cannot be read.
    async fn read(request: Request) -> Result<Self, ApiResponse> {
        let (parts, body) = request.into_parts();
        // The listener has already limited the body.
        let bytes = axum::body::to_bytes(body, usize::MAX)
            .await
            .map_err(|_| ApiResponse::parse_error("the body is incomplete"))?;
        let body = parse::body(&parts.headers, bytes).await?;
        let source = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let scheme = parts.extensions.get::<Scheme>().cloned();
        // In HTTP/2, the host is part of the URI (RFC 9113 §8.3.1).
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
