//! Telling of requests that have been answered.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use pingora::protocols::http::ServerSession;

use crate::http::Trace;
use crate::http::request_id::RequestId;
use crate::net::peer_of;
use crate::net::seen::seen;
use crate::telemetry::{self, Forwarded, Note, Request, Seen, Spans};

/// What is known of a request that is answered here.
pub(crate) struct Told {
    pub(crate) id: RequestId,
    /// When its header was here.
    pub(crate) began: Instant,
    pub(crate) note: Note,
}

impl Told {
    pub(crate) fn new() -> Self {
        let id = RequestId::next();
        Self {
            id,
            began: Instant::now(),
            note: Note::of(id.digits()),
        }
    }

    /// Tells of the request.
    pub(crate) fn tell(&self, session: &ServerSession) {
        tell(session, self.id, self.began, &self.note, None, None);
    }

    /// Tells of a question over gRPC: of the request that it asks about.
    pub(crate) fn tell_of_question(&self, client: Option<SocketAddr>, question: &CheckRequest) {
        if !telemetry::is_watched() {
            return;
        }
        let attributes = question.attributes.as_ref();
        let http = attributes.and_then(|it| it.request.as_ref()?.http.as_ref());
        let seen = http.map(seen_by_envoy).unwrap_or_default();
        let took = self.began.elapsed();
        let request = Request {
            id: &self.id.to_string(),
            began: SystemTime::now() - took,
            took,
            seen,
            status: Some(200),
            client,
            bytes_in: 0,
            bytes_out: 0,
            forwarded: None,
            trace: None,
            spans: None,
        };
        telemetry::answered(&request, &self.note);
    }
}

/// Tells of a request, if somebody listens. The last that is done with it.
pub(crate) fn tell(
    session: &ServerSession,
    id: RequestId,
    began: Instant,
    note: &Note,
    forwarded: Option<Forwarded<'_>>,
    spans: Option<Spans>,
) {
    if !telemetry::is_watched() {
        return;
    }
    let took = began.elapsed();
    let header = session.req_header();
    let id = id.to_string();
    let status = session.response_written();
    let request = Request {
        id: &id,
        began: SystemTime::now() - took,
        took,
        seen: seen(header),
        status: status.map(|header| header.status.as_u16()),
        client: peer_of(session),
        bytes_in: session.body_bytes_read() as u64,
        bytes_out: session.body_bytes_sent() as u64,
        forwarded,
        trace: Trace::read(&header.headers),
        spans: spans.or_else(|| Spans::begin(&header.headers)),
    };
    telemetry::answered(&request, note);
}

/// Returns what is shown of the request that Envoy asks about over gRPC.
pub(crate) fn seen_by_envoy(http: &HttpRequest) -> Seen<'_> {
    Seen {
        method: http.method.as_bytes(),
        host: http.host.as_bytes(),
        path: http.path.as_bytes(),
    }
}
