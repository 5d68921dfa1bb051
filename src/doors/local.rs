//! The REST routers, with the limits of their request bodies.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::ConnectInfo;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use ipnet::IpNet;
use thiserror::Error;
use tokio::time::timeout;
use tower::ServiceExt;

use super::forward_auth;
use crate::http::X_FORWARDED_PROTO;
use crate::http::own_response::OwnResponse;
use crate::net::http::{Abort, BodyError, ClientRequest, Peer, Reply};
use crate::net::settings::Live;
use crate::telemetry::{RecordSlot, RequestRecord};

/// The router, with the limits of its request bodies.
pub(crate) struct Local {
    router: Router,
    settings: Live,
}

/// Why a body was not read completely.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Unread {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body is broken")]
    Broken,
    #[error("the body came too slowly")]
    Slow,
}

impl From<BodyError> for Unread {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Slow => Self::Slow,
            BodyError::Broken | BodyError::Gone => Self::Broken,
        }
    }
}

impl Local {
    pub(crate) fn new(router: Router, settings: Live) -> Self {
        Self { router, settings }
    }

    /// Reads the body of a request, then responds to it.
    pub(crate) async fn handle(
        &self,
        request: &mut ClientRequest,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let (within, most) = {
            let settings = self.settings.load();
            (settings.timeouts.body, settings.limits.body_bytes)
        };
        let read = read_whole_within(&mut request.body, &request.parts.headers, most);
        let body = match timeout(within, read).await {
            Ok(Ok(body)) => body,
            Ok(Err(Unread::Broken)) => {
                return reject(StatusCode::BAD_REQUEST, "the body is broken\n");
            }
            Ok(Err(Unread::TooLarge)) => {
                return reject(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
            }
            Ok(Err(Unread::Slow)) | Err(_) => {
                return reject(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n");
            }
        };
        self.route(request, Body::from(body), record).await
    }

    /// Responds to a request. The router reads the body, with [`read_whole`].
    pub(crate) async fn handle_at_once(
        &self,
        request: &mut ClientRequest,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let body = Body::new(request.body.take().map_err(Unread::from));
        self.route(request, body, record).await
    }

    async fn route(
        &self,
        request: &mut ClientRequest,
        body: Body,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let (client, scheme) = self.origin(&request.parts.headers, &request.peer);
        let empty = Request::new(()).into_parts().0;
        let mut parts = std::mem::replace(&mut request.parts, empty);
        let is_head = parts.method == Method::HEAD;
        // The state of the connection does not concern the request.
        for name in [CONNECTION, TRANSFER_ENCODING, EXPECT] {
            parts.headers.remove(name);
        }
        parts.extensions.insert(scheme);
        if let Some(client) = client {
            parts.extensions.insert(ConnectInfo(client));
        }
        let slot = RecordSlot::new(std::mem::take(record));
        parts.extensions.insert(slot.clone());
        let request = Request::from_parts(parts, body);
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        *record = slot.take();
        let (mut parts, body) = response.into_parts();
        if body.size_hint().exact().is_none() {
            let body = body.map_err(|error| {
                tracing::debug!(%error, "a response ended early");
                Abort
            });
            return Response::from_parts(parts, Reply::streamed(body));
        }
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        if parts.status == StatusCode::NO_CONTENT {
            parts.headers.remove(CONTENT_LENGTH);
        } else if !is_head {
            // To HEAD, the router sets the length of the GET response, if known, and drops its
            // body.
            parts.headers.insert(CONTENT_LENGTH, body.len().into());
        }
        Response::from_parts(parts, Reply::whole(body))
    }

    /// Returns the client address and the URL scheme of a request: those given by a trusted proxy,
    /// or those of the connection.
    fn origin(&self, headers: &HeaderMap, peer: &Peer) -> (Option<SocketAddr>, Scheme) {
        let trusted = &self.settings.load().trusted_proxies;
        let is_trusted = peer
            .source()
            .is_none_or(|peer| trusted.iter().any(|network| network.contains(&peer)));
        let named = is_trusted.then(|| forwarded_client(headers, trusted));
        let named = named.flatten().map(|client| SocketAddr::new(client, 0));
        let scheme = is_trusted.then(|| forwarded_scheme(headers)).flatten();
        (
            named.or(peer.address),
            scheme.unwrap_or_else(|| peer.scheme()),
        )
    }
}

/// Reads a body of at most `most` bytes, within a time.
///
/// # Errors
/// [`Unread`].
pub(crate) async fn read_whole(
    mut body: Body,
    headers: &HeaderMap,
    most: usize,
    within: Duration,
) -> Result<Bytes, Unread> {
    let read = read_whole_within(&mut body, headers, most);
    timeout(within, read).await.unwrap_or(Err(Unread::Slow))
}

async fn read_whole_within<B>(
    body: &mut B,
    headers: &HeaderMap,
    most: usize,
) -> Result<Bytes, Unread>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Cause,
{
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(Unread::TooLarge);
    }
    let mut read = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Cause::cause)?;
        let part = frame.into_data().unwrap_or_default();
        if read.len() + more.len() + part.len() > most {
            return Err(Unread::TooLarge);
        }
        if read.is_empty() {
            // Most bodies come in one part.
            read = part;
        } else {
            more.extend_from_slice(&part);
        }
    }
    Ok(match more.is_empty() {
        true => read,
        false => [&read[..], &more[..]].concat().into(),
    })
}

/// An error of a body.
trait Cause {
    fn cause(self) -> Unread;
}

impl Cause for BodyError {
    fn cause(self) -> Unread {
        self.into()
    }
}

impl Cause for axum::Error {
    fn cause(self) -> Unread {
        let error = self.into_inner();
        let unread = error.downcast_ref::<Unread>().copied();
        unread.unwrap_or(Unread::Broken)
    }
}

/// Returns the response to a request whose body is not read. It closes the connection.
fn reject(status: StatusCode, line: &'static str) -> Response<Reply> {
    let mut response = Response::from(OwnResponse::line(status, line));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// Returns the client address behind a chain of trusted proxies: the last one in `X-Forwarded-For`
/// that is not itself trusted. `None` if there is none, or it cannot be parsed.
fn forwarded_client(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = None;
    for line in headers.get_all("x-forwarded-for").iter().rev() {
        for part in line.to_str().ok()?.rsplit(',') {
            let named = forward_auth::address(part.trim())?;
            client = Some(named);
            if !trusted.iter().any(|network| network.contains(&named)) {
                return client;
            }
        }
    }
    client
}

/// Returns the URL scheme the client used with a chain of proxies: the first one in
/// `X-Forwarded-Proto`. `None` if there is none, or it is neither `http` nor `https`.
fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let line = headers.get(X_FORWARDED_PROTO)?.to_str().ok()?;
    let first = line.split(',').next()?.trim();
    let known = [Scheme::HTTP, Scheme::HTTPS];
    let mut known = known.into_iter();
    known.find(|scheme| scheme.as_str().eq_ignore_ascii_case(first))
}
