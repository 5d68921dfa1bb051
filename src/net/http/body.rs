//! Request bodies, with their deadlines.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

use super::allowance::Allowance;
use super::shared::Shared;
use super::streams::Open;
use crate::config::{Limits, Timeouts};

/// Why a body was not read completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BodyError {
    /// It paused for longer than `timeouts.read`, or is slower than `limits.body_rate`.
    #[error("the request body came too slowly")]
    Slow,
    /// It is malformed.
    #[error("the request body is broken")]
    Broken,
    /// The client has disconnected.
    #[error("the client is gone")]
    Gone,
}

/// A request body, read when it is polled.
pub(crate) struct Body {
    content: Content,
    /// Its HTTP/1 connection, which discards the unread rest.
    shared: Option<Arc<Shared>>,
    /// Its HTTP/2 stream, and the bytes and the time after which discarding the rest ends.
    stream: Option<(Open, usize, Duration)>,
    is_polled: bool,
    /// Whether the deadlines are lifted.
    is_lifted: AtomicBool,
    read: u64,
    /// Counts the same for the request from which the body was taken.
    taken: Option<Arc<AtomicU64>>,
    read_timeout: Duration,
    /// The minimum number of bytes per `read_timeout`.
    least: u64,
    /// The start of the interval in which `least` bytes must arrive, and the number that have.
    span: Option<(Instant, u64)>,
    /// Made when it is first needed: most bodies arrive at once.
    sleep: Option<Pin<Box<Sleep>>>,
}

enum Content {
    None,
    Whole(Bytes),
    Incoming(Incoming),
}

impl Body {
    /// Makes the body of a request whose header hyper has read.
    pub(super) fn incoming(
        incoming: Incoming,
        shared: Option<Arc<Shared>>,
        open: Option<&Open>,
        (limits, timeouts): (&Limits, &Timeouts),
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::of(Content::None);
        }
        let least = u128::from(limits.body_rate) * timeouts.read.as_millis() / 1000;
        let mut body = Self::of(Content::Incoming(incoming));
        body.shared = shared;
        if let Some(open) = open {
            body.stream = Some((open.clone(), limits.drain_bytes, timeouts.drain));
        }
        body.read_timeout = timeouts.read;
        body.least = u64::try_from(least).unwrap_or(u64::MAX);
        body
    }

    /// Makes a body that is in memory.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::of(match bytes.is_empty() {
            true => Content::None,
            false => Content::Whole(bytes),
        })
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            shared: None,
            stream: None,
            is_polled: false,
            is_lifted: AtomicBool::new(false),
            read: 0,
            taken: None,
            read_timeout: Duration::MAX,
            least: 0,
            span: None,
            sleep: None,
        }
    }

    /// Returns the number of bytes read.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.taken {
            Some(taken) => taken.load(Ordering::Relaxed),
            None => self.read,
        }
    }

    /// Takes the body, for a handler that owns what it reads.
    pub(crate) fn take(&mut self) -> Self {
        let taken = Arc::new(AtomicU64::new(self.read));
        let mut body = std::mem::replace(self, Self::of(Content::None));
        self.taken = Some(Arc::clone(&taken));
        body.taken = Some(taken);
        body
    }

    /// Lifts the deadlines: the response has begun, and the client may be waiting for more of it.
    pub(crate) fn lift(&self) {
        self.is_lifted.store(true, Ordering::Relaxed);
    }

    fn count(&mut self, bytes: u64) {
        self.read += bytes;
        if let Some(taken) = &self.taken {
            taken.store(self.read, Ordering::Relaxed);
        }
    }

    /// Records a received part. Returns whether the body is fast enough.
    fn came(&mut self, bytes: u64) -> bool {
        self.count(bytes);
        self.sleep = None;
        let now = Instant::now();
        let (began, before) = self.span.unwrap_or((now, 0));
        let came = before + bytes;
        if came >= self.least {
            self.span = Some((now, 0));
            return true;
        }
        self.span = Some((began, came));
        now.duration_since(began) <= self.read_timeout || *self.is_lifted.get_mut()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.is_polled = true;
        let incoming = match &mut this.content {
            Content::None => return Poll::Ready(None),
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::None;
                this.count(bytes.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Content::Incoming(incoming) => incoming,
        };
        match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                if this.span.is_none() && incoming.is_end_stream() {
                    // It has come at once.
                    this.count(length);
                    Poll::Ready(Some(Ok(frame)))
                } else if this.came(length) {
                    Poll::Ready(Some(Ok(frame)))
                } else {
                    Poll::Ready(Some(Err(BodyError::Slow)))
                }
            }
            Poll::Ready(Some(Err(error))) => {
                this.content = Content::None;
                Poll::Ready(Some(Err(match is_malformed(&error) {
                    true => BodyError::Broken,
                    false => BodyError::Gone,
                })))
            }
            Poll::Ready(None) => {
                this.content = Content::None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                this.span.get_or_insert_with(|| (Instant::now(), 0));
                let timeout = this.read_timeout;
                let wait = this.sleep.get_or_insert_with(|| Box::pin(sleep(timeout)));
                ready!(wait.as_mut().poll(context));
                if *this.is_lifted.get_mut() {
                    this.sleep = None;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(BodyError::Slow)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::None => true,
            Content::Whole(_) => false,
            Content::Incoming(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::None => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Incoming(incoming) => incoming.size_hint(),
        }
    }
}

/// Returns whether an error means that the body is malformed.
fn is_malformed(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            );
        }
        source = cause.source();
    }
    false
}

impl Drop for Body {
    fn drop(&mut self) {
        let Content::Incoming(incoming) = std::mem::replace(&mut self.content, Content::None)
        else {
            return;
        };
        if incoming.is_end_stream() {
            return;
        }
        if let Some(stream) = self.stream.take() {
            return discard(incoming, stream);
        }
        let Some(shared) = self.shared.take() else {
            return;
        };
        let mut state = shared.lock();
        state.leftover = Some(incoming);
        state.is_unasked = !self.is_polled;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// Reads the rest of a body over HTTP/2. Without this, h2 would reset the stream behind the
/// response (RFC 9113 §8.1), and some clients that are still sending report the reset and lose the
/// response. `limits.streams` bounds the number of these tasks, as their streams are still open.
fn discard(mut incoming: Incoming, (open, bytes, time): (Open, usize, Duration)) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(timeout(time, async move {
        let _open = open;
        let mut allowance = Allowance::new(bytes);
        // It waits after the frames that have arrived: the connection, which reads further ones, is
        // another task of this thread.
        while let Some(Ok(frame)) = incoming.frame().await {
            if !allowance.take(frame.data_ref().map_or(0, Bytes::len)) {
                return;
            }
        }
    }));
}
