//! Response bodies.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::ext::ReasonPhrase;
use thiserror::Error;

use super::lines::Lines;
use super::tunnel::Tunnel;
use crate::http::own_response::OwnResponse;
use crate::net::admission::Entered;

/// The body of a response cannot be completed. The client can tell: over HTTP/1 the connection
/// closes before the end of the body, over HTTP/2 the stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the response ended early")]
pub(crate) struct Abort;

/// A response body.
#[derive(Default)]
pub(crate) struct Reply {
    content: Content,
    ended: Option<Ended>,
    sent: u64,
    entered: Option<Entered>,
    lines: Option<Lines>,
}

/// Called at the end with the number of bytes passed on.
type Ended = Box<dyn FnOnce(u64) + Send>;

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Whole(Bytes),
    Streamed(UnsyncBoxBody<Bytes, Abort>),
    Tunnel(Tunnel),
}

impl Reply {
    /// Makes an empty body.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// Makes a body from bytes in memory.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(match bytes.is_empty() {
            true => Content::Empty,
            false => Content::Whole(bytes),
        })
    }

    /// Makes a streamed body.
    pub(crate) fn streamed<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error = Abort> + Send + 'static,
    {
        Self::of(Content::Streamed(body.boxed_unsync()))
    }

    /// Makes the reply that ends HTTP on a connection, after a 101.
    pub(crate) fn tunnel(tunnel: Tunnel) -> Self {
        Self::of(Content::Tunnel(tunnel))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            ended: None,
            sent: 0,
            entered: None,
            lines: None,
        }
    }

    /// Returns the length of the body, if known.
    pub(crate) fn exact_size(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Calls `ended` once, when the body has been passed on or the client has disconnected.
    #[must_use]
    pub(crate) fn on_end(mut self, ended: impl FnOnce(u64) + Send + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Counts the request as in progress until the body has been passed on.
    #[must_use]
    pub(crate) fn counting(mut self, entered: Option<Entered>) -> Self {
        self.entered = entered;
        self
    }

    /// Adds header lines to the response.
    #[must_use]
    pub(crate) fn with_lines(mut self, lines: Lines) -> Self {
        self.lines = Some(lines);
        self
    }

    pub(super) fn take_lines(&mut self) -> Option<Lines> {
        self.lines.take()
    }

    /// Drops the content, as in a response to HEAD.
    pub(super) fn clear(&mut self) {
        self.content = Content::Empty;
    }

    pub(super) fn take_tunnel(&mut self) -> Option<Tunnel> {
        match std::mem::take(&mut self.content) {
            Content::Tunnel(tunnel) => Some(tunnel.counting(self.entered.take())),
            content => {
                self.content = content;
                None
            }
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Empty | Content::Tunnel(_) => return Poll::Ready(None),
            Content::Whole(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                this.content = Content::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Content::Streamed(body) => Pin::new(body).poll_frame(context),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            this.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty | Content::Tunnel(_) => true,
            Content::Whole(_) => false,
            Content::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty | Content::Tunnel(_) => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(body) => body.size_hint(),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(self.sent);
        }
    }
}

/// Gives an HTTP/1 response the reason phrase of its origin. hyper uses its own for each known
/// status, and `<none>` for others.
pub(crate) fn name_status(parts: &mut Parts, reason: Option<&str>) {
    let known = parts.status.canonical_reason();
    let reason = reason.or((known.is_none()).then_some(""));
    let reason = reason.filter(|reason| known != Some(*reason));
    let reason = reason.map(|reason| ReasonPhrase::try_from(reason.as_bytes()));
    if let Some(Ok(reason)) = reason {
        parts.extensions.insert(reason);
    }
}

impl From<OwnResponse> for Response<Reply> {
    fn from(answer: OwnResponse) -> Self {
        answer
            .response()
            .map(|line| Reply::whole(Bytes::from_static(line)))
    }
}
