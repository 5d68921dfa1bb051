//! The state of a request on its way through the proxy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::adapter::Arrival;
use super::hop::BAD_RESPONSE;
use crate::auth::Permit;
use crate::doors::request_log::log_request;
use crate::doors::snapshot::Snapshot;
use crate::http::request_id::RequestId;
use crate::http::{Denials, IdentityNames};
use crate::net::http::Peer;
use crate::routing::route::Route;
use crate::telemetry::{Forwarded, Recorder, RequestRecord, Spans};
use crate::upstream::{Chosen, Gate, UnderWay, Upstream};

/// The state of a request on its way through the proxy.
#[derive(Default)]
pub(crate) struct Context {
    pub(super) id: RequestId,
    /// Set when the request is permitted, and only then.
    pub(super) authorized: Option<Authorized>,
    /// The current peer.
    pub(super) chosen: Option<Chosen>,
    /// Delays reading the response to an upgrade.
    pub(super) gate: Option<Arc<Gate>>,
    /// The number of failed connections.
    pub(super) failed: usize,
    /// How often a peer reported that it did not process the request.
    pub(super) unprocessed: usize,
    /// The number of interim responses.
    pub(super) interims: usize,
    /// The time of the first interim response after the request was sent completely.
    pub(super) waits_since: Option<Instant>,
    /// Whether the response has no content by definition, whatever follows its header.
    pub(super) has_no_content: bool,
    /// The number of body bytes received from the client.
    pub(super) body_bytes: u64,
    /// Set before the decision.
    pub(super) arrival: Option<Arrival>,
    /// When the decision was made.
    pub(super) decided: Option<Instant>,
    /// The time from the decision to the upstream's response header.
    pub(super) upstream_took: Option<Duration>,
    pub(super) record: RequestRecord,
    /// The spans, once the request is forwarded.
    pub(super) spans: Option<Spans>,
}

pub(super) struct Authorized {
    pub(super) permit: Permit,
    pub(super) _under_way: UnderWay,
    /// The snapshot under which it was permitted, which a reload does not change.
    pub(super) snapshot: Arc<Snapshot>,
    /// The index of the route.
    pub(super) route: usize,
    /// Whether some route for its host and path depends on the method.
    pub(super) has_methods: bool,
}

/// The maximum number of interim responses (1xx) to a request.
const MOST_INTERIMS: usize = 16;

impl Context {
    /// Counts an interim response. `is_sent` means that the peer has the complete request.
    ///
    /// # Errors
    /// There are too many, or the peer sends nothing else for its read timeout.
    pub(super) fn interim(&mut self, is_sent: bool) -> Result<()> {
        self.interims += 1;
        if self.interims > MOST_INTERIMS {
            let error = Error::explain(BAD_RESPONSE, "too many interim answers");
            return Err(error.into_up());
        }
        if is_sent {
            let since = *self.waits_since.get_or_insert_with(Instant::now);
            let upstream = self.authorized.as_ref().and_then(Authorized::upstream);
            if upstream.is_some_and(|upstream| since.elapsed() > upstream.read_timeout()) {
                let error = Error::explain(ErrorType::ReadTimedout, "interim answers only");
                return Err(error.into_up());
            }
        }
        Ok(())
    }

    /// Logs the request.
    pub(super) fn log(&mut self, recorder: &Recorder, session: &Session) {
        let Some(arrival) = self.arrival.as_ref().filter(|_| recorder.is_recording()) else {
            return;
        };
        let upstream = self.authorized.as_ref().and_then(Authorized::upstream);
        let forwarded = upstream.zip(self.chosen.as_ref());
        let forwarded = forwarded.map(|(upstream, chosen)| Forwarded {
            upstream: upstream.name(),
            peer: chosen.address(),
            took: self.upstream_took,
        });
        log_request(
            recorder,
            session,
            self.id,
            arrival.began,
            &self.record,
            forwarded,
            self.spans,
        );
    }
}

impl Authorized {
    pub(super) fn route(&self) -> Option<&Route> {
        self.snapshot.routes.get(self.route)
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        let route = self.route()?;
        self.snapshot.upstreams.get(route.upstream?)
    }

    /// Returns the headers that name the caller to the upstream, if it has its own.
    pub(super) fn identity_names(&self) -> Option<&IdentityNames> {
        let upstream = self.route()?.upstream?;
        self.snapshot.identity(Some(upstream))?.names.as_ref()
    }

    /// Returns how the route responds to denied and failed requests, if not as by default.
    pub(super) fn denials(&self) -> Option<&Denials> {
        self.snapshot.denials(self.route).map(|denials| &**denials)
    }

    /// Returns whether a body of `bytes` bytes exceeds the limit of the route.
    pub(super) fn is_too_long(&self, bytes: impl FnOnce() -> u64) -> bool {
        let limit = self.route().and_then(|route| route.body_bytes);
        limit.is_some_and(|limit| bytes() > limit)
    }
}

/// How a request is forwarded.
pub(super) struct Onward<'a> {
    pub(super) id: RequestId,
    pub(super) peer: &'a Peer,
    pub(super) spans: Option<&'a Spans>,
    /// The peer of the upstream.
    pub(super) chosen: Option<&'a Chosen>,
    /// Whether the proxy has already handled the client's expectation.
    pub(super) is_continued: bool,
}
