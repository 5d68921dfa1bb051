//! What is known of a request on its way through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Version};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::hop::BAD_ANSWER;
use crate::auth::Permit;
use crate::doors::request_log::log_request;
use crate::doors::snapshot::Snapshot;
use crate::http::request_id::RequestId;
use crate::net::body_clock::BodyClock;
use crate::net::peer_of;
use crate::net::request_line::request_line;
use crate::routing::route::Route;
use crate::telemetry::{self, Forwarded, Request, RequestLine, RequestRecord, Spans};
use crate::upstream::{Chosen, Gate, UnderWay, Upstream};

/// What is known of a request on its way through.
#[derive(Default)]
pub(crate) struct Context {
    pub(super) id: RequestId,
    /// Set once it may pass, and only then.
    pub(super) admitted: Option<Admitted>,
    /// The peer that it is at.
    pub(super) chosen: Option<Chosen>,
    /// What keeps the answer to an upgrade back.
    pub(super) gate: Option<Arc<Gate>>,
    /// How many connections have failed.
    pub(super) failed: usize,
    /// How often a peer has said that it did nothing with the request.
    pub(super) unprocessed: usize,
    /// How many interim answers have come.
    pub(super) interims: usize,
    /// When the first of them came after the request was there as a whole.
    pub(super) waits_since: Option<Instant>,
    /// The answer has no content by definition, whatever comes after its header.
    pub(super) has_no_content: bool,
    /// How many bytes of the request's body have come.
    pub(super) body_bytes: u64,
    /// How its body comes on, until it is here or answered.
    pub(super) clock: Option<Arc<BodyClock>>,
    /// What is told of it if it is ended without an answer.
    pub(super) stopped: Option<Box<Stopped>>,
    /// When its header was here.
    pub(super) began: Option<Instant>,
    /// When it was decided on.
    pub(super) decided: Option<Instant>,
    /// From there to the header of the upstream's answer.
    pub(super) upstream_took: Option<Duration>,
    pub(super) record: RequestRecord,
    /// Its spans, once it goes on.
    pub(super) spans: Option<Spans>,
}

/// A request over HTTP/2 whose body may stop: what serves it is dropped then.
pub(super) struct Stopped {
    method: Method,
    host: Vec<u8>,
    path: Vec<u8>,
    client: Option<SocketAddr>,
}

impl Stopped {
    /// Keeps what is told of a request; nothing if nobody listens.
    pub(super) fn may_be(session: &Session) -> Option<Box<Self>> {
        let header = session.req_header();
        let is_kept = header.version == Version::HTTP_2 && telemetry::is_recording();
        let request_line = request_line(header);
        is_kept.then(|| {
            Box::new(Self {
                method: header.method.clone(),
                host: request_line.host.to_vec(),
                path: request_line.path.to_vec(),
                client: peer_of(session),
            })
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let (Some(stopped), Some(began)) = (self.stopped.take(), self.began) else {
            return;
        };
        let took = began.elapsed();
        let request = Request {
            id: &self.id.to_string(),
            began: SystemTime::now() - took,
            took,
            request_line: RequestLine {
                method: stopped.method.as_str().as_bytes(),
                host: &stopped.host,
                path: &stopped.path,
            },
            status: None,
            client: stopped.client,
            bytes_in: self.body_bytes,
            bytes_out: 0,
            forwarded: None,
            trace: None,
            spans: None,
        };
        telemetry::answered(&request, &self.record);
    }
}

pub(super) struct Admitted {
    pub(super) permit: Permit,
    pub(super) _under_way: UnderWay,
    /// The snapshot that it was admitted by, whatever is in force by now.
    pub(super) snapshot: Arc<Snapshot>,
    /// The index of the route.
    pub(super) route: usize,
    /// Some route for its host and path depends on the method.
    pub(super) has_methods: bool,
}

/// How many interim answers (1xx) a request gets at most.
const MOST_INTERIMS: usize = 16;

impl Context {
    /// Notes an interim answer. `is_sent` says that the request is at the peer as a whole.
    ///
    /// # Errors
    /// There are too many, or they go on for longer than the peer may be silent.
    pub(super) fn interim(&mut self, is_sent: bool) -> Result<()> {
        self.interims += 1;
        if self.interims > MOST_INTERIMS {
            let error = Error::explain(BAD_ANSWER, "too many interim answers");
            return Err(error.into_up());
        }
        if is_sent {
            let since = *self.waits_since.get_or_insert_with(Instant::now);
            let upstream = self.admitted.as_ref().and_then(Admitted::upstream);
            if upstream.is_some_and(|upstream| since.elapsed() > upstream.read_timeout()) {
                let error = Error::explain(ErrorType::ReadTimedout, "interim answers only");
                return Err(error.into_up());
            }
        }
        Ok(())
    }

    /// Tells of the request.
    pub(super) fn log(&mut self, session: &Session) {
        self.stopped = None;
        let Some(began) = self.began.filter(|_| telemetry::is_recording()) else {
            return;
        };
        let upstream = self.admitted.as_ref().and_then(Admitted::upstream);
        let forwarded = upstream.zip(self.chosen.as_ref());
        let forwarded = forwarded.map(|(upstream, chosen)| Forwarded {
            upstream: upstream.name(),
            peer: chosen.address(),
            took: self.upstream_took,
        });
        log_request(session, self.id, began, &self.record, forwarded, self.spans);
    }
}

impl Admitted {
    pub(super) fn route(&self) -> Option<&Route> {
        self.snapshot.routes.get(self.route)
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        let route = self.route()?;
        self.snapshot.upstreams.get(route.upstream?)
    }

    /// Says whether a body of so many bytes is too long here.
    pub(super) fn is_too_long(&self, bytes: u64) -> bool {
        let limit = self.route().and_then(|route| route.body_bytes);
        limit.is_some_and(|limit| bytes > limit)
    }
}

/// How a request goes on.
pub(super) struct Onward<'a> {
    pub(super) id: RequestId,
    pub(super) spans: Option<&'a Spans>,
    /// The peer that it goes to.
    pub(super) chosen: Option<&'a Chosen>,
    /// What it expects is settled here.
    pub(super) is_continued: bool,
}
