//! The request body on its way to the upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use parking_lot::Mutex;
use pingora::{Error, ErrorType, Result};
use tokio::time::Sleep;

use crate::net::http::{Body, BodyError};

/// The maximum length of a body that is kept for a retry on another peer, as in Pingora's own
/// sessions.
const KEPT: usize = 64 << 10;

/// How long to wait for the upstream's `100` before reading the body. A client may send its body
/// without one, and most do after about as long (RFC 9110 §10.1.1).
const WAIT_FOR_CONTINUE: Duration = Duration::from_secs(1);

/// The request body.
pub(super) struct Inbound {
    /// Never locked: the mutex only makes the body `Sync`.
    body: Mutex<Body>,
    is_empty: bool,
    is_expected: bool,
    is_done: bool,
    /// Set while the client waits for a `100`, which the first read sends.
    waits: Option<Pin<Box<Sleep>>>,
    read: usize,
    kept: Option<Kept>,
}

/// What has been received, while it is short enough to keep.
#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    is_cut: bool,
}

impl Inbound {
    /// Takes a body. `is_expected`: its client waits for a `100` before sending it.
    pub(super) fn new(body: Body, is_expected: bool) -> Self {
        let is_empty = body.is_end_stream();
        let waits =
            (is_expected && !is_empty).then(|| Box::pin(tokio::time::sleep(WAIT_FOR_CONTINUE)));
        Self {
            body: Mutex::new(body),
            is_empty,
            is_expected,
            is_done: is_empty,
            waits,
            read: 0,
            kept: None,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    pub(super) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns the number of bytes received.
    pub(super) const fn bytes(&self) -> usize {
        self.read
    }

    /// Returns whether the client waits or has waited for a `100`.
    pub(super) const fn is_expected(&self) -> bool {
        self.is_expected
    }

    /// Sends the `100`.
    pub(super) fn go_on(&mut self) {
        self.waits = None;
    }

    /// Records that the response begins. After that, no `100` is sent.
    pub(super) fn responded(&mut self) {
        self.body.get_mut().lift();
        if self.waits.is_some() {
            self.leave();
        }
    }

    /// Leaves the unread rest to the connection.
    pub(super) fn leave(&mut self) {
        self.waits = None;
        self.is_done = true;
        *self.body.get_mut() = Body::whole(Bytes::new());
    }

    /// Returns the next part, or `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The body is malformed or too slow, or its client has disconnected.
    pub(super) async fn part(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_part(context)).await
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        while !self.is_done {
            if let Some(waits) = &mut self.waits {
                ready!(waits.as_mut().poll(context));
                self.waits = None;
            }
            let body = self.body.get_mut();
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(context)) else {
                self.is_done = true;
                break;
            };
            // Trailers are dropped: Pingora 0.9.1 does not send any to an upstream.
            let Ok(part) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            self.is_done = body.is_end_stream();
            if part.is_empty() {
                continue;
            }
            self.read += part.len();
            self.keep(&part);
            return Poll::Ready(Ok(Some(part)));
        }
        Poll::Ready(Ok(None))
    }

    /// Keeps the parts received from now on for a retry.
    pub(super) fn keep_parts(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// Returns whether the body is too long to be kept.
    pub(super) fn is_cut(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_cut)
    }

    /// Returns the kept body; `None` if it is empty.
    pub(super) fn kept(&self) -> Option<Bytes> {
        let kept = self.kept.as_ref().filter(|kept| !kept.bytes.is_empty())?;
        Some(kept.bytes.clone().freeze())
    }

    fn keep(&mut self, part: &Bytes) {
        let Some(kept) = self.kept.as_mut().filter(|kept| !kept.is_cut) else {
            return;
        };
        if kept.bytes.len() + part.len() <= KEPT {
            // Copied, because a part could hold on to much more memory than it has bytes.
            kept.bytes.extend_from_slice(part);
        } else {
            kept.bytes = BytesMut::new();
            kept.is_cut = true;
        }
    }
}

fn broken(error: BodyError) -> Box<Error> {
    let (kind, text) = match error {
        BodyError::Slow => (ErrorType::ReadTimedout, "the body came too slowly"),
        BodyError::Broken => (ErrorType::InvalidHTTPHeader, "the body is broken"),
        BodyError::Gone => (ErrorType::ConnectionClosed, "the client is gone"),
    };
    Error::explain(kind, text).into_down()
}
