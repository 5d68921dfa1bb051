use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};

use crate::net::http::{Named, Peer};

/// What is known of a request besides its header. An extension of the header on its way through
/// Pingora.
#[derive(Clone)]
pub(in super::super) struct Arrival {
    pub(in super::super) peer: Arc<Peer>,
    /// When the header was complete.
    pub(in super::super) began: Instant,
    /// The time of the request.
    pub(in super::super) now: SystemTime,
    /// The headers that it may have.
    pub(in super::super) named: Named,
    /// Whether it is an HTTP/1.1 request whose `Host` was empty, which is removed.
    pub(in super::super) has_empty_host: bool,
}

impl Arrival {
    /// Takes it out of the header, which Pingora copies for each try with its extensions.
    ///
    /// # Errors
    /// The request does not come from the adapter.
    pub(in super::super) fn take(session: &mut ServerSession) -> Result<Self> {
        let mut extensions = std::mem::take(session.req_header_mut().extensions_mut());
        extensions.remove().ok_or_else(|| {
            Error::explain(ErrorType::InternalError, "a request without a connection")
        })
    }
}
