//! The common handling of HTTP/1 and HTTP/2 requests: limits, counting, and the end of the
//! response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, Entry, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;

use super::app::{App, ClientRequest};
use super::body::Body;
use super::head::Named;
use super::inserted::Text;
use super::interim::Interim;
use super::peer::Peer;
use super::reply::{Abort, Reply};
use super::shared::Shared;
use super::stall;
use super::streams::Open;
use crate::config::Limits;
use crate::http::rejection::Rejection;
use crate::net::bounds;
use crate::net::client::Client;
use crate::net::process::Process;

/// The handler of the requests of a connection, and its limits.
pub(super) struct Front<A> {
    pub(super) app: Arc<A>,
    pub(super) client: Client,
    pub(super) peer: Arc<Peer>,
    pub(super) process: Arc<Process>,
    /// The idle timeout announced to the client (RFC 9112 §9.3).
    pub(super) keep_alive: HeaderValue,
    /// The header lines that keep the connection, with that timeout.
    pub(super) kept: Bytes,
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const KEEP: HeaderValue = HeaderValue::from_static("keep-alive");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A request without a response: its connection is closed, or its stream reset.
#[derive(Debug, Error)]
#[error("the request is not to be answered")]
pub(super) struct Dropped;

/// The transport of a request.
pub(super) enum Carrier {
    One(Arc<Shared>),
    /// Counts the stream until this is dropped.
    Two {
        open: Open,
    },
}

impl<A: App> Front<A> {
    pub(super) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        carrier: Carrier,
    ) -> Result<Response<Sending>, Dropped> {
        let (now, began) = (SystemTime::now(), Instant::now());
        if !self.process.is_clock_usable(now) {
            return Err(Dropped);
        }
        if !self.peer.is_still_good(now) {
            let peer = self.peer.address.map(tracing::field::display);
            tracing::info!(
                peer,
                "client certificate expired or not readable: the connection is closed"
            );
            return Err(Dropped);
        }
        let (parts, incoming) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let version = parts.version;
        let (shared, open) = match &carrier {
            Carrier::One(shared) => (Some(shared), None),
            Carrier::Two { open } => (None, Some(open)),
        };
        let (target, named) = match shared {
            Some(shared) => {
                let mut state = shared.lock();
                state.began = Some(began);
                (state.target.take(), state.named.take())
            }
            None => (None, None),
        };
        let named = named.unwrap_or(match version {
            Version::HTTP_2 => Named::OF_HTTP2,
            _ => Named::ALL,
        });
        let stays = match named.connection {
            true => stays(version, &parts.headers),
            false => version != Version::HTTP_10,
        };
        let expects =
            named.expect && version == Version::HTTP_11 && parts.headers.contains_key(EXPECT);
        let (body, entered) = {
            let settings = self.client.settings.load();
            let (limits, timeouts) = (&settings.limits, &settings.timeouts);
            let body = Body::incoming(incoming, shared.cloned(), open, (limits, timeouts));
            let entered = reject(&parts, named, limits).and_then(|()| self.client.enter(limits));
            (body, entered)
        };
        let response = match entered {
            Ok(_) if parts.method == Method::CONNECT => {
                drop(body);
                closing(StatusCode::METHOD_NOT_ALLOWED)
            }
            Ok(entered) => {
                let request = ClientRequest {
                    interim: Interim::new(shared.filter(|_| version == Version::HTTP_11)),
                    now,
                    began,
                    parts,
                    target,
                    named,
                    body,
                    peer: Arc::clone(&self.peer),
                    entered,
                };
                self.app.handle(request).await.map_err(|Abort| Dropped)?
            }
            Err(rejection) => {
                drop(body);
                let answer = self.app.reject(rejection, &parts, &self.peer);
                let mut response = self.app.respond(answer, &parts);
                response.headers_mut().insert(CONNECTION, CLOSE);
                response
            }
        };
        let (mut parts, mut reply) = response.into_parts();
        if is_head {
            if !parts.headers.contains_key(CONTENT_LENGTH)
                && let Some(length) = reply.size_hint().exact()
                && length > 0
            {
                parts.headers.insert(CONTENT_LENGTH, length.into());
            }
            reply.clear();
        }
        match &carrier {
            Carrier::One(shared) => {
                let has_length = || {
                    reply.exact_size().is_some()
                        || is_head
                        || parts.headers.contains_key(CONTENT_LENGTH)
                };
                // For HTTP/1.0, a body without a length ends with the connection.
                let stays = stays && (version != Version::HTTP_10 || has_length());
                let asked = (version, expects, stays);
                let stays = self.settle(shared, &mut parts, &mut reply, asked);
                if !stays && version == Version::HTTP_10 {
                    // Otherwise hyper would announce keep-alive.
                    parts.version = version;
                }
            }
            Carrier::Two { .. } => {
                parts.headers.remove(CONNECTION);
                if let Some(lines) = reply.take_lines() {
                    lines.add_to(&mut parts.headers);
                }
            }
        }
        Ok(Response::from_parts(parts, Sending { reply, carrier }))
    }

    /// Decides whether an HTTP/1 connection is kept, and what happens to an unread body. Returns
    /// whether it is kept.
    ///
    /// To set two headers, and to let hyper search them, would cost more than all else here. So the
    /// lines are written behind the status line, if hyper writes this response next.
    fn settle(
        &self,
        shared: &Shared,
        parts: &mut response::Parts,
        reply: &mut Reply,
        (version, expects, stays): (Version, bool, bool),
    ) -> bool {
        let mut state = shared.lock();
        let closes = self.process.is_draining()
            || !stays
            // Without a `100`, the client may or may not send its body.
            || expects && state.leftover.is_some() && state.is_unasked;
        let is_tunnel = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let headers = &mut parts.headers;
        // hyper writes a `100` in front of the response, and `close` into it where it has read the end.
        let is_next = !expects && !state.is_dirty && !state.has_end;
        // Otherwise the next bytes are not those of this response. It then has the version that hyper
        // writes.
        if version == Version::HTTP_10 && !state.is_dirty {
            state.version = b"HTTP/1.1 ";
        }
        let closes = if is_next
            && version == Version::HTTP_11
            && !(closes || is_tunnel)
            && !headers.keys().any(|name| name == CONNECTION)
        {
            state.lines = Some(match reply.take_lines() {
                Some(lines) => Text::One(lines.followed_by(&self.kept)),
                None => Text::All(self.kept.clone()),
            });
            false
        } else {
            if let Some(lines) = reply.take_lines() {
                lines.add_to(headers);
            }
            self.announce(headers, closes, is_tunnel)
        };
        let leftover = state.leftover.take_if(|_| closes);
        state.tunnel = reply.take_tunnel();
        drop(state);
        drop(leftover);
        !closes
    }

    /// Sets the headers that keep or close an HTTP/1 connection. Returns whether it closes.
    fn announce(&self, headers: &mut HeaderMap, closes: bool, is_tunnel: bool) -> bool {
        let closes = match headers.entry(CONNECTION) {
            Entry::Occupied(mut connection) => {
                let closes = closes || connection.get() == "close";
                if closes {
                    connection.insert(CLOSE);
                } else if !is_tunnel {
                    connection.insert(KEEP);
                }
                closes
            }
            Entry::Vacant(connection) => {
                if closes {
                    connection.insert(CLOSE);
                } else if !is_tunnel {
                    connection.insert(KEEP);
                }
                closes
            }
        };
        if !closes && !is_tunnel {
            headers.insert(KEEP_ALIVE, self.keep_alive.clone());
        }
        closes
    }
}

/// Returns whether a client asks to keep the connection (RFC 9112 §9.3).
fn stays(version: Version, headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let mut stays = version != Version::HTTP_10;
    for name in names.map(<[u8]>::trim_ascii) {
        if name.eq_ignore_ascii_case(b"close") {
            return false;
        }
        stays |= name.eq_ignore_ascii_case(b"keep-alive");
    }
    stays
}

/// Returns an empty response that closes the connection.
fn closing(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, CLOSE);
    response
}

/// Checks what is not checked while the header is read.
///
/// # Errors
/// Why the request is rejected.
fn reject(parts: &Parts, named: Named, limits: &Limits) -> Result<(), Rejection> {
    match parts.version {
        Version::HTTP_2 => bounds::check_http2(parts, limits),
        _ if !named.expect => Ok(()),
        _ => bounds::check_http1(parts),
    }
}

/// The body of a response, while it is being sent.
pub(super) struct Sending {
    reply: Reply,
    carrier: Carrier,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.reply).poll_frame(context);
        if let Carrier::Two { .. } = &this.carrier {
            stall::passed(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Carrier::One(shared) = &self.carrier {
            shared.lock().is_answering = false;
        }
    }
}
