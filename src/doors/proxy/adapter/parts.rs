//! The response body as the connection reads it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::net::http::Abort;

/// A part of a body.
pub(super) enum Piece {
    Part(Bytes),
    Last(Bytes),
    Trailers(HeaderMap),
}

/// A body in memory whose length is not announced.
pub(super) struct Once(pub(super) Option<Bytes>);

impl http_body::Body for Once {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let part = self.0.take().filter(|part| !part.is_empty());
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// A response body that arrives in parts. Fails without a last part, so that it is not mistaken for
/// a complete one.
///
/// Parts are sent by a future that is polled just before this, so that it does not register for them:
/// that would wake its own task for each.
pub(super) struct Stream {
    parts: mpsc::Receiver<Piece>,
    state: State,
}

impl Stream {
    pub(super) fn new(parts: mpsc::Receiver<Piece>) -> Self {
        Self {
            parts,
            state: State::Open,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// It has failed; the parts before are being flushed.
    Broken,
    Over,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match self.state {
            State::Over => return Poll::Ready(None),
            State::Broken => return Poll::Ready(Some(Err(Abort))),
            State::Open => {}
        }
        let frame = match self.parts.try_recv() {
            Err(TryRecvError::Empty) => return Poll::Pending,
            Ok(Piece::Part(part)) => Frame::data(part),
            Ok(Piece::Last(part)) => {
                self.state = State::Over;
                if part.is_empty() {
                    return Poll::Ready(None);
                }
                Frame::data(part)
            }
            Ok(Piece::Trailers(trailers)) => {
                self.state = State::Over;
                Frame::trailers(trailers)
            }
            Err(TryRecvError::Disconnected) => {
                // hyper drops unflushed data when a body fails. It flushes when it has to wait.
                self.state = State::Broken;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Over
    }
}
