//! The body of a request on its way in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use parking_lot::Mutex;
use pingora::{Error, ErrorType, Result};
use tokio::time::Sleep;

use crate::net::face::{Body, BodyError};

/// How much of a body is kept so that it can be sent to another peer, as Pingora does for its own sessions.
const KEPT: usize = 64 << 10;

/// How long a body is waited with for the `100` of the upstream. A client may send its body without one, and most
/// do after about as long (RFC 9110 §10.1.1).
const WAIT_FOR_CONTINUE: Duration = Duration::from_secs(1);

/// The body of a request.
pub(super) struct Inbound {
    /// The lock is never taken: it only makes the body `Sync`.
    body: Mutex<Body>,
    is_empty: bool,
    is_expected: bool,
    is_done: bool,
    /// Set while the client waits for a `100`, which the first read sends.
    waits: Option<Pin<Box<Sleep>>>,
    read: usize,
    kept: Option<Kept>,
}

/// What has come so far, as long as it is short.
#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    is_cut: bool,
}

impl Inbound {
    /// Takes a body. `is_expected` says that its client waits for a `100` before it sends it.
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

    /// Returns how many bytes have come.
    pub(super) const fn bytes(&self) -> usize {
        self.read
    }

    /// Says whether the client waits for a `100`, or has.
    pub(super) const fn is_expected(&self) -> bool {
        self.is_expected
    }

    /// Lets the client send its body.
    pub(super) fn go_on(&mut self) {
        self.waits = None;
    }

    /// Notes that the response begins. A client that waits for a `100` is not asked for its body any more.
    pub(super) fn answered(&mut self) {
        self.body.get_mut().lift();
        if self.waits.is_some() {
            self.leave();
        }
    }

    /// Leaves what has not come to the connection.
    pub(super) fn leave(&mut self) {
        self.waits = None;
        self.is_done = true;
        *self.body.get_mut() = Body::whole(Bytes::new());
    }

    /// Returns the next part; none at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The body is broken, slow, or its client is gone.
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
            // Trailers go no further: Pingora 0.9.1 sends none to an upstream.
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

    /// Keeps from now on what comes, for another try.
    pub(super) fn keep_parts(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// Says whether what came is too long to be kept.
    pub(super) fn is_cut(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_cut)
    }

    /// Returns what was kept; none if that is nothing.
    pub(super) fn kept(&self) -> Option<Bytes> {
        let kept = self.kept.as_ref().filter(|kept| !kept.bytes.is_empty())?;
        Some(kept.bytes.clone().freeze())
    }

    fn keep(&mut self, part: &Bytes) {
        let Some(kept) = self.kept.as_mut().filter(|kept| !kept.is_cut) else {
            return;
        };
        if kept.bytes.len() + part.len() <= KEPT {
            // A part could hold on to much more memory than it has bytes.
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
