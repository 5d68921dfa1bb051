use std::fmt::Display;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use super::body::{Detail, messages, shape};
use super::error::Error;
use crate::tls;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("realmgate/", env!("CARGO_PKG_VERSION")));

/// The maximum time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// The maximum number of characters of a `Content-Type` in an error.
const SHOWN: usize = 100;

/// The pauses before connecting again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// The HTTP client and its limit for a request.
#[derive(Debug)]
pub(super) struct Transport {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// A response, read completely.
pub(super) struct Received {
    pub(super) status: StatusCode,
    /// The clock here minus the server's, in seconds, if the response has a valid `Date`.
    pub(super) clock: Option<i64>,
    pub(super) retry_after: Option<Duration>,
    content_type: String,
    body: Bytes,
}

impl Transport {
    pub(super) fn new(timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(timeout.min(CONNECT)));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::to_servers())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            timeout,
        }
    }

    /// Sends a request and reads its response of at most `limit` bytes.
    pub(super) async fn send(
        &self,
        method: Method,
        uri: Uri,
        body: String,
        limit: usize,
    ) -> Result<Received, Error> {
        let server = origin(&uri);
        let asked = self.ask(method, &uri, Bytes::from(body), limit, &server);
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout {
                server,
                after: self.timeout,
            }),
        }
    }

    async fn ask(
        &self,
        method: Method,
        uri: &Uri,
        body: Bytes,
        limit: usize,
        server: &str,
    ) -> Result<Received, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        for (name, value) in [(ACCEPT, JSON), (CONTENT_TYPE, JSON)] {
            request.headers_mut().insert(name, value);
        }
        let (parts, body) = self.try_exchange(request, limit, server).await?;
        Ok(Received {
            status: parts.status,
            clock: clock(&parts.headers),
            retry_after: retry_after(&parts.headers),
            content_type: text(&parts.headers, CONTENT_TYPE)
                .unwrap_or("no Content-Type")
                .chars()
                .take(SHOWN)
                .collect(),
            body,
        })
    }

    /// Sends a request and reads its response of at most `limit` bytes.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(Parts, Bytes), Error> {
        let server = origin(request.uri());
        let exchanged = self.try_exchange(request, limit, &server);
        match tokio::time::timeout(self.timeout, exchanged).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(Error::Timeout {
                server,
                after: self.timeout,
            }),
        }
    }

    async fn try_exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        limit: usize,
        server: &str,
    ) -> Result<(Parts, Bytes), Error> {
        request.headers_mut().insert(USER_AGENT, AGENT);
        let mut pauses = PAUSES.iter();
        let response = loop {
            match self.http.request(request.clone()).await {
                Ok(response) => break response,
                // Nothing was sent, so it is safe to try again.
                Err(error) if error.is_connect() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => {
                        return Err(Error::Unreachable {
                            server: server.to_owned(),
                            source: Box::new(error),
                        });
                    }
                },
                Err(error) => return Err(broken(server, error)),
            }
        };
        let (parts, body) = response.into_parts();
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Error::Unexpected {
                    status: parts.status,
                    found: format!("more than {limit} bytes"),
                });
            }
            Err(error) => return Err(broken(server, error)),
        };
        Ok((parts, body))
    }
}

impl Received {
    /// Returns the detail of a 403, if it is one that ungleich-otp sends.
    pub(super) fn detail(&self) -> Option<Detail> {
        match self.status {
            StatusCode::FORBIDDEN => Detail::read(&self.body),
            _ => None,
        }
    }

    /// Returns the messages of a 400 on one line.
    pub(super) fn messages(&self) -> Option<String> {
        messages(&self.body)
    }

    pub(super) fn is_json(&self) -> bool {
        self.content_type.starts_with("application/json")
    }

    /// Parses a JSON body. Fails if the status or the content type differs.
    pub(super) fn parse<T: DeserializeOwned>(&self, status: StatusCode) -> Result<T, Error> {
        if self.status != status || !self.is_json() {
            return Err(self.unexpected());
        }
        serde_json::from_slice(&self.body).map_err(|_| self.wrong(shape(&self.body)))
    }

    /// Makes an error for a response with an unexpected status or content type.
    pub(super) fn unexpected(&self) -> Error {
        Error::Unexpected {
            status: self.status,
            found: self.content_type.clone(),
        }
    }

    /// Makes an error for a response with an unexpected body. The body may contain a seed or a
    /// token, so the error shows nothing of it.
    pub(super) fn wrong(&self, what: impl Display) -> Error {
        Error::Unexpected {
            status: self.status,
            found: format!("{}, {what}", self.content_type),
        }
    }
}

fn broken(server: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Broken {
        server: server.to_owned(),
        source: source.into(),
    }
}

fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the clock here minus the `Date` of the response, in seconds.
fn clock(headers: &HeaderMap) -> Option<i64> {
    let there = httpdate::parse_http_date(text(headers, DATE)?).ok()?;
    match SystemTime::now().duration_since(there) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok(),
        Err(behind) => i64::try_from(behind.duration().as_secs())
            .ok()
            .map(|it| -it),
    }
}

/// Reads `Retry-After` in seconds (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, RETRY_AFTER)?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
