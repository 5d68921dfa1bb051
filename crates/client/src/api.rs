//! Requests to `/v1`, realmgate's administration API.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;

use super::caller::Caller;
use super::error::Error;
use super::server::{Server, ServerUrlError};
use super::transport::Transport;

/// Sends requests to the administration API of one server for one caller. Keep it: its connections
/// are reused.
#[derive(Debug)]
pub struct Api {
    server: Server,
    caller: Caller,
    transport: Transport,
}

/// A request to the administration API.
#[derive(Clone, Debug)]
pub struct ApiRequest<'a> {
    /// The method.
    pub method: Method,
    /// The path and query, which begin with `/v1/`.
    pub path: &'a str,
    /// The media type of the body; `None` if there is none.
    pub media_type: Option<&'static str>,
    /// More headers.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// The body.
    pub body: Bytes,
    /// The maximum length of the response body in bytes.
    pub limit: usize,
}

/// A response, read completely.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. It may contain seeds.
    pub body: Bytes,
}

impl Api {
    /// Makes a client for the server at `url`, with a limit for a whole request. Does not connect
    /// yet.
    ///
    /// # Errors
    /// [`ServerUrlError`] if the URL is invalid.
    pub fn new(url: &str, caller: Caller, timeout: Duration) -> Result<Self, ServerUrlError> {
        Ok(Self {
            server: url.parse()?,
            caller,
            transport: Transport::new(timeout),
        })
    }

    /// Sends a request once. Only a failed connection is retried.
    ///
    /// # Errors
    /// The request has no response: [`Error::Invalid`] for a path or a caller that cannot be sent,
    /// and those of connections.
    pub async fn send(&self, asked: ApiRequest<'_>) -> Result<ApiResponse, Error> {
        let uri = self.server.at(asked.path)?;
        let mut request = Request::new(Full::new(asked.body));
        *request.method_mut() = asked.method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(media_type) = asked.media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        for (name, value) in asked.headers {
            headers.insert(name, value.clone());
        }
        for (name, value) in self.credential()? {
            headers.insert(name, value);
        }
        let (parts, body) = self.transport.exchange(request, asked.limit).await?;
        Ok(ApiResponse {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    /// Returns the credential: HTTP Basic, or three headers for a name with a colon, which Basic
    /// cannot hold.
    fn credential(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let caller = &self.caller;
        let value = |text: &str| {
            let mut value = HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| Error::Invalid(format!("{caller} cannot be sent in a header")))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        if !caller.name().contains(':') && !caller.realm().contains(':') {
            return Ok(vec![(AUTHORIZATION, value(&caller.basic())?)]);
        }
        Ok(vec![
            (
                HeaderName::from_static("x-auth-name"),
                value(caller.name())?,
            ),
            (
                HeaderName::from_static("x-auth-realm"),
                value(caller.realm())?,
            ),
            (
                HeaderName::from_static("x-auth-token"),
                value(&caller.proof().now())?,
            ),
        ])
    }
}
