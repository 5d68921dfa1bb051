//! What answers the requests of a listener, and a request as it gets there.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::body::Body;
use super::interim::Interim;
use super::peer::Peer;
use super::reply::{Abort, Reply};
use crate::http::answer::Answer;
use crate::http::refusal::Refusal;
use crate::net::admission::Entered;

/// What answers the requests of a listener.
pub(crate) trait App: Send + Sync + 'static {
    /// Whether a request of HTTP/1 is dropped when its client ends its side of the connection. Otherwise the client
    /// still gets the response.
    const ENDS_WITH_CLIENT: bool;
    /// Whether responses are large: they are written without being copied then.
    const WRITES_MUCH: bool;

    /// Answers a request. Dropped when the client is gone.
    ///
    /// # Errors
    /// There is to be no response: the connection ends, or the stream of HTTP/2 is reset.
    fn answer(&self, asked: Asked) -> impl Future<Output = Result<Response<Reply>, Abort>> + Send;

    /// Logs a request that is rejected for its form or for its number, and returns the response. Of a request that
    /// cannot be parsed only the method, the target and the host are there, as far as they can be read.
    fn refuse(&self, refusal: Refusal, parts: &Parts, peer: &Peer) -> Answer;

    /// Returns the response to a request that is rejected.
    fn respond(&self, answer: Answer, _: &Parts) -> Response<Reply> {
        answer.into()
    }
}

/// A request. Its header keeps the limits, and is framed in one way.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    /// The request target of HTTP/1 as it came, unless it is a path that `parts` have as it came.
    pub(crate) target: Option<Bytes>,
    pub(crate) body: Body,
    pub(crate) peer: Arc<Peer>,
    pub(crate) interim: Interim,
    /// Counts the request as one under way until this is dropped: see [`Reply::counting`].
    pub(crate) entered: Option<Entered>,
}
