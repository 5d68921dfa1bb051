//! The handler of a listener, and the requests passed to it.

use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::body::Body;
use super::head::Named;
use super::interim::Interim;
use super::peer::Peer;
use super::reply::{Abort, Reply};
use crate::http::own_response::OwnResponse;
use crate::http::rejection::Rejection;
use crate::net::admission::Entered;

/// Handles the requests of a listener.
pub(crate) trait App: Send + Sync + 'static {
    /// Whether an HTTP/1 request is dropped when its client half-closes the connection. Otherwise
    /// the client still gets the response.
    const ENDS_WITH_CLIENT: bool;
    /// Whether responses are large, and so are written without copying.
    const WRITES_MUCH: bool;

    /// Responds to a request. The future is dropped when the client disconnects.
    ///
    /// # Errors
    /// No response is sent: the connection is closed, or the HTTP/2 stream reset.
    fn handle(
        &self,
        request: ClientRequest,
    ) -> impl Future<Output = Result<Response<Reply>, Abort>> + Send;

    /// Logs a malformed request or one over a limit, and returns the response. For a request that
    /// cannot be parsed, only the method, target and host are set, as far as they are readable.
    fn reject(&self, rejection: Rejection, parts: &Parts, peer: &Peer) -> OwnResponse;

    /// Returns the response to a rejected request.
    fn respond(&self, answer: OwnResponse, _: &Parts) -> Response<Reply> {
        answer.into()
    }
}

/// A request. Its header is within the limits, and its framing is unambiguous.
pub(crate) struct ClientRequest {
    pub(crate) parts: Parts,
    /// The HTTP/1 request target as received, unless it is a path that `parts` contains unchanged.
    pub(crate) target: Option<Bytes>,
    /// The headers that it may have.
    pub(crate) named: Named,
    pub(crate) body: Body,
    pub(crate) peer: Arc<Peer>,
    /// The time of the request.
    pub(crate) now: SystemTime,
    /// When its header was complete.
    pub(crate) began: Instant,
    pub(crate) interim: Interim,
    /// Counts the request as in progress until this is dropped: see [`Reply::counting`].
    pub(crate) entered: Option<Entered>,
}

impl ClientRequest {
    /// Gives the memory of the headers to a response without headers. hyper takes it back for those
    /// of the next request.
    pub(crate) fn lend_headers<T>(&mut self, response: &mut Response<T>) {
        if response.headers().is_empty() {
            let mut headers = mem::take(&mut self.parts.headers);
            headers.clear();
            *response.headers_mut() = headers;
        }
    }
}
