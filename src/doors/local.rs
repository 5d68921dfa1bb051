//! The REST routers, with the limits of their request bodies.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::ConnectInfo;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::timeout;
use tower::ServiceExt;

use super::forward_auth;
use crate::auth::UnixTime;
use crate::config::NetworkSet;
use crate::http::own_response::OwnResponse;
use crate::http::{X_FORWARDED_FOR, X_FORWARDED_PROTO};
use crate::net::http::{Abort, BodyError, ClientRequest, Peer, Reply};
use crate::net::settings::{Live, Settings};
use crate::telemetry::{RecordSlot, RequestRecord};

/// The REST router, and the shortcut past it for verifications, which are most of its requests.
pub struct Rest {
    pub(crate) router: Router,
    /// Responds like the router to `POST /ungleichotp/verify/`, without the length of the body.
    pub(crate) verify: Verify,
}

type Verify =
    Box<dyn Fn(Parts, Bytes, Origin) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>;

/// The origin of a request.
pub(crate) struct Origin {
    /// The scheme of the client's URL.
    pub(crate) scheme: Scheme,
    /// The address of the client.
    pub(crate) source: Option<IpAddr>,
    /// The time of the request.
    pub(crate) now: UnixTime,
    /// Receives the decision about the caller.
    pub(crate) record: RecordSlot,
}

/// A router, with the limits of its request bodies.
pub(crate) struct Local {
    router: Router,
    verify: Option<Verify>,
    settings: Live,
}

const VERIFY: &str = "/ungleichotp/verify/";

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
        Self {
            router,
            verify: None,
            settings,
        }
    }

    /// Makes that of the REST API.
    pub(crate) fn rest(rest: Rest, settings: Live) -> Self {
        Self {
            router: rest.router,
            verify: Some(rest.verify),
            settings,
        }
    }

    /// Reads the body of a request, then responds to it.
    pub(crate) async fn handle(
        &self,
        request: &mut ClientRequest,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let (within, most, (client, scheme)) = {
            let settings = self.settings.load();
            let origin = origin(&settings, &request.parts.headers, &request.peer);
            (settings.timeouts.body, settings.limits.body_bytes, origin)
        };
        let read = read_whole_within(&mut request.body, &request.parts.headers, most);
        let body = match read_in_time(read, within).await {
            Ok(body) => body,
            Err(Unread::Broken) => {
                return reject(StatusCode::BAD_REQUEST, "the body is broken\n");
            }
            Err(Unread::TooLarge) => {
                return reject(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
            }
            Err(Unread::Slow) => {
                return reject(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n");
            }
        };
        if let Some(verify) = &self.verify
            && request.parts.method == Method::POST
            && request.parts.uri.path() == VERIFY
        {
            let slot = RecordSlot::new(std::mem::take(record));
            let origin = Origin {
                scheme,
                source: client.map(|client| client.ip()),
                now: UnixTime::from(request.now),
                record: slot.clone(),
            };
            let verified = verify(take_parts(request), body, origin).await;
            let (mut parts, body) = verified.into_parts();
            *record = slot.take();
            parts.headers.insert(CONTENT_LENGTH, body.len().into());
            return Response::from_parts(parts, Reply::whole(body));
        }
        // Boxed, so that other requests have smaller futures.
        Box::pin(self.route(request, Body::from(body), (client, scheme), record)).await
    }

    /// Responds to a request. The router reads the body, with [`read_whole`].
    pub(crate) async fn handle_at_once(
        &self,
        request: &mut ClientRequest,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let body = Body::new(request.body.take().map_err(Unread::from));
        let origin = origin(&self.settings.load(), &request.parts.headers, &request.peer);
        self.route(request, body, origin, record).await
    }

    async fn route(
        &self,
        request: &mut ClientRequest,
        body: Body,
        (client, scheme): (Option<SocketAddr>, Scheme),
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let mut parts = take_parts(request);
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
}

fn take_parts(request: &mut ClientRequest) -> Parts {
    let empty = Request::new(()).into_parts().0;
    std::mem::replace(&mut request.parts, empty)
}

/// Returns the client address and the URL scheme of a request: those given by a trusted proxy, or
/// those of the connection.
fn origin(settings: &Settings, headers: &HeaderMap, peer: &Peer) -> (Option<SocketAddr>, Scheme) {
    let trusted = &settings.trusted_proxies;
    let is_trusted = peer.source().is_none_or(|peer| trusted.contains(peer));
    let named = is_trusted.then(|| forwarded_client(headers, trusted));
    let named = named.flatten().map(|client| SocketAddr::new(client, 0));
    let scheme = is_trusted.then(|| forwarded_scheme(headers)).flatten();
    (
        named.or(peer.address),
        scheme.unwrap_or_else(|| peer.scheme()),
    )
}

/// Waits for a body within a time. Most bodies have arrived with the header, and need no timer.
async fn read_in_time<F>(read: F, within: Duration) -> Result<Bytes, Unread>
where
    F: Future<Output = Result<Bytes, Unread>>,
{
    let mut read = pin!(read);
    let first = poll_fn(|context| Poll::Ready(read.as_mut().poll(context)));
    match first.await {
        Poll::Ready(read) => read,
        Poll::Pending => timeout(within, read).await.unwrap_or(Err(Unread::Slow)),
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
    read_in_time(read, within).await
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
fn forwarded_client(headers: &HeaderMap, trusted: &NetworkSet) -> Option<IpAddr> {
    let mut client = None;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for part in line.to_str().ok()?.rsplit(',') {
            let named = forward_auth::address(part.trim())?;
            client = Some(named);
            if !trusted.contains(named) {
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
