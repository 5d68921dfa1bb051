//! The REST router behind Pingora: a session becomes an `http::Request`, its answer a session's.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::ConnectInfo;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use ipnet::IpNet;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use tower::ServiceExt;

use super::forward_auth;
use crate::http::X_FORWARDED_PROTO;
use crate::http::answer::{Answer, send};
use crate::net::accept::scheme_of;
use crate::net::linger::answer_early;
use crate::net::peer_of;
use crate::net::settings::Live;
use crate::telemetry::{RecordSlot, RequestRecord};

/// The router with the bounds of what it may be handed.
pub(crate) struct Local {
    router: Router,
    settings: Live,
}

/// Why a body was not read to its end.
enum BodyError {
    TooLarge,
    Broken,
}

impl Local {
    pub(crate) fn new(router: Router, settings: Live) -> Self {
        Self { router, settings }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The client is gone, or the answer broke off: the connection must end.
    pub(crate) async fn answer(
        &self,
        session: &mut ServerSession,
        record: &mut RequestRecord,
    ) -> Result<()> {
        let limit = self.settings.load().timeouts.body;
        let body = match tokio::time::timeout(limit, self.read_body(session)).await {
            Ok(Ok(body)) => body,
            Ok(Err(BodyError::Broken)) => {
                return self
                    .refuse(session, StatusCode::BAD_REQUEST, "the body is broken\n")
                    .await;
            }
            Ok(Err(BodyError::TooLarge)) => {
                return self
                    .refuse(
                        session,
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "the body is too large\n",
                    )
                    .await;
            }
            Err(_) => {
                return self
                    .refuse(
                        session,
                        StatusCode::REQUEST_TIMEOUT,
                        "the body came too slowly\n",
                    )
                    .await;
            }
        };
        let mut request = self.request(session, body);
        let slot = RecordSlot::new(std::mem::take(record));
        request.extensions_mut().insert(slot.clone());
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        *record = slot.take();
        let (mut parts, body) = response.into_parts();
        // That of HTTP/2 stays: it has streams of others.
        if parts.headers.remove(CONNECTION).is_some() {
            session.set_keepalive(None);
        }
        let mut header =
            ResponseHeader::build_no_case(parts.status, Some(parts.headers.len() + 1))?;
        for (name, value) in &parts.headers {
            header.append_header(name.clone(), value.clone())?;
        }
        if body.size_hint().exact().is_none() {
            return stream(session, header, body).await;
        }
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        if parts.status == StatusCode::NO_CONTENT {
            header.remove_header(&CONTENT_LENGTH);
        } else if session.req_header().method != Method::HEAD {
            // To HEAD the router has said how long the answer to GET is, if it knows, and dropped the answer.
            header.insert_header(CONTENT_LENGTH, body.len())?;
        }
        send(session, header, body).await
    }

    async fn read_body(&self, session: &mut ServerSession) -> Result<Bytes, BodyError> {
        let settings = self.settings.load_full();
        let announced = session
            .req_header()
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > settings.limits.body_bytes) {
            return Err(BodyError::TooLarge);
        }
        let keep_alive = session.get_keepalive();
        let header = session.req_header();
        // Who speaks HTTP/1.0 does not know it (RFC 9110 §10.1.1).
        if header.version != Version::HTTP_10 && header.headers.contains_key(EXPECT) {
            session
                .write_continue_response()
                .await
                .map_err(|_| BodyError::Broken)?;
        }
        let mut body = BytesMut::new();
        while let Some(part) = session
            .read_request_body()
            .await
            .map_err(|_| BodyError::Broken)?
        {
            if body.len() + part.len() > settings.limits.body_bytes {
                return Err(BodyError::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        // `100 Continue` marks the connection for closing; the body is read, so it can live on.
        if keep_alive.is_some() {
            session.set_keepalive(Some(settings.timeouts.keep_alive.as_secs()));
        }
        Ok(body.freeze())
    }

    /// Refuses a request whose body stays unread: the connection ends with the answer.
    async fn refuse(
        &self,
        session: &mut ServerSession,
        status: StatusCode,
        line: &'static str,
    ) -> Result<()> {
        session.set_keepalive(None);
        answer_early(
            session,
            Answer::line(status, line),
            &self.settings.load_full(),
        )
        .await
    }

    /// Returns the address that a request comes from, and the scheme of the URL that its client asked for:
    /// what a trusted proxy says of them, or those of the connection.
    fn origin(&self, session: &ServerSession) -> (Option<SocketAddr>, Scheme) {
        let peer = peer_of(session);
        let trusted = &self.settings.load().trusted_proxies;
        let is_trusted = peer.is_none_or(|peer| {
            let peer = peer.ip().to_canonical();
            trusted.iter().any(|network| network.contains(&peer))
        });
        let headers = &session.req_header().headers;
        let named = is_trusted.then(|| forwarded_client(headers, trusted));
        let named = named.flatten().map(|client| SocketAddr::new(client, 0));
        let scheme = is_trusted.then(|| forwarded_scheme(headers)).flatten();
        let is_tls = || scheme_of(session) == "https";
        let scheme = scheme.unwrap_or_else(|| {
            if is_tls() {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            }
        });
        (named.or(peer), scheme)
    }

    fn request(&self, session: &ServerSession, body: Bytes) -> Request<Body> {
        let header = session.req_header();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = header.method.clone();
        *request.uri_mut() = header.uri.clone();
        *request.version_mut() = header.version;
        *request.headers_mut() = fields(&header.headers);
        let (client, scheme) = self.origin(session);
        request.extensions_mut().insert(scheme);
        if let Some(client) = client {
            request.extensions_mut().insert(ConnectInfo(client));
        }
        request
    }
}

/// Returns the address of the client of a chain of trusted proxies: the last one in `X-Forwarded-For` that is
/// not itself trusted. None where there is none, or it cannot be read.
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

/// Returns the scheme that the client of a chain of proxies spoke: the first one in `X-Forwarded-Proto`. None
/// where there is none, or it is neither `http` nor `https`.
fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let line = headers.get(X_FORWARDED_PROTO)?.to_str().ok()?;
    let first = line.split(',').next()?.trim();
    let known = [Scheme::HTTP, Scheme::HTTPS];
    let mut known = known.into_iter();
    known.find(|scheme| scheme.as_str().eq_ignore_ascii_case(first))
}

/// Sends a body of which nobody knows yet how long it is, as it comes. One that breaks off ends the
/// connection, so that nobody takes it for whole (RFC 9112 §8).
async fn stream(
    session: &mut ServerSession,
    mut header: ResponseHeader,
    mut body: Body,
) -> Result<()> {
    match session.req_header().version {
        Version::HTTP_11 => header.insert_header(TRANSFER_ENCODING, "chunked")?,
        Version::HTTP_2 => {}
        // Who knows no chunks takes the end of the connection for the end of the body.
        _ => session.set_keepalive(None),
    }
    session.write_response_header(Box::new(header)).await?;
    if session.req_header().method == Method::HEAD {
        return Ok(());
    }
    while let Some(frame) = body.frame().await {
        let broken = |error| Error::because(ErrorType::InternalError, "an answer", error);
        if let Ok(part) = frame.map_err(broken)?.into_data() {
            session.write_response_body(part, false).await?;
        }
    }
    session.write_response_body(Bytes::new(), true).await
}

/// Copies the fields that are about the request and not about the connection it came on.
fn fields(headers: &HeaderMap) -> HeaderMap {
    let mut fields = headers.clone();
    for name in [CONNECTION, TRANSFER_ENCODING, EXPECT] {
        fields.remove(name);
    }
    fields
}
