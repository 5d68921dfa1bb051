//! The body of a response.

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

use super::tunnel::Tunnel;
use crate::http::answer::Answer;
use crate::net::admission::Entered;

/// The body of a response cannot be sent to its end. The client sees that: over HTTP/1 the connection ends before the
/// body does, over HTTP/2 the stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the response broke off")]
pub(crate) struct Abort;

/// The body of a response.
#[derive(Default)]
pub(crate) struct Reply {
    content: Content,
    ended: Option<Ended>,
    sent: u64,
    entered: Option<Entered>,
}

/// What is called at the end with the number of bytes of the body that were passed on.
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

    /// Makes a body that is here.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(match bytes.is_empty() {
            true => Content::Empty,
            false => Content::Whole(bytes),
        })
    }

    /// Makes a body that is sent as it comes.
    pub(crate) fn streamed<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error = Abort> + Send + 'static,
    {
        Self::of(Content::Streamed(body.boxed_unsync()))
    }

    /// Makes the end of HTTP on a connection, after a 101.
    pub(crate) fn tunnel(tunnel: Tunnel) -> Self {
        Self::of(Content::Tunnel(tunnel))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            ended: None,
            sent: 0,
            entered: None,
        }
    }

    /// Returns how long the body is, if that is known.
    pub(crate) fn exact_size(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Has `ended` called once when the body has been passed on or the client is gone.
    #[must_use]
    pub(crate) fn on_end(mut self, ended: impl FnOnce(u64) + Send + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Counts the request as one under way until the body has been passed on.
    #[must_use]
    pub(crate) fn counting(mut self, entered: Option<Entered>) -> Self {
        self.entered = entered;
        self
    }

    /// Drops the content, as an answer to HEAD asks for.
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

/// Gives a response over HTTP/1 the reason phrase of its origin. hyper has one of its own for each status that it knows,
/// and writes `<none>` for others.
pub(crate) fn name_status(parts: &mut Parts, reason: Option<&str>) {
    let known = parts.status.canonical_reason();
    let reason = reason.or((known.is_none()).then_some(""));
    let reason = reason.filter(|reason| known != Some(*reason));
    let reason = reason.map(|reason| ReasonPhrase::try_from(reason.as_bytes()));
    if let Some(Ok(reason)) = reason {
        parts.extensions.insert(reason);
    }
}

impl From<Answer> for Response<Reply> {
    fn from(answer: Answer) -> Self {
        answer
            .response()
            .map(|line| Reply::whole(Bytes::from_static(line)))
    }
}
