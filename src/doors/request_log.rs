//! Logs and traces requests when they have their response.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use pingora::protocols::http::ServerSession;

use crate::http::Trace;
use crate::http::request_id::RequestId;
use crate::net::peer_of;
use crate::net::request_line::request_line;
use crate::telemetry::{Forwarded, Recorder, Request, RequestLine, RequestRecord, Spans};

/// A request that realmgate serves itself.
pub(crate) struct RequestLog {
    pub(crate) id: RequestId,
    /// When the header was complete.
    pub(crate) began: Instant,
    pub(crate) record: RequestRecord,
}

impl RequestLog {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        let id = recorder.next_id();
        Self {
            id,
            began: Instant::now(),
            record: RequestRecord::new(id),
        }
    }

    /// Logs the request.
    pub(crate) fn write(&self, recorder: &Recorder, session: &ServerSession) {
        log_request(
            recorder,
            session,
            self.id,
            self.began,
            &self.record,
            None,
            None,
        );
    }

    /// Logs a gRPC auth request, with the request line of the original request.
    pub(crate) fn write_for_envoy(
        &self,
        recorder: &Recorder,
        client: Option<SocketAddr>,
        check: &CheckRequest,
    ) {
        if !recorder.is_recording() {
            return;
        }
        let attributes = check.attributes.as_ref();
        let http = attributes.and_then(|it| it.request.as_ref()?.http.as_ref());
        let request_line = http.map(request_line_of_envoy).unwrap_or_default();
        let took = self.began.elapsed();
        let request = Request {
            id: &self.id.to_string(),
            began: SystemTime::now() - took,
            took,
            request_line,
            status: Some(200),
            client,
            bytes_in: 0,
            bytes_out: 0,
            forwarded: None,
            trace: None,
            spans: None,
        };
        recorder.completed(&request, &self.record);
    }
}

/// Logs and traces a request, if enabled. The last step of each request.
pub(crate) fn log_request(
    recorder: &Recorder,
    session: &ServerSession,
    id: RequestId,
    began: Instant,
    record: &RequestRecord,
    forwarded: Option<Forwarded<'_>>,
    spans: Option<Spans>,
) {
    if !recorder.is_recording() {
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
        request_line: request_line(header),
        status: status.map(|header| header.status.as_u16()),
        client: peer_of(session),
        bytes_in: session.body_bytes_read() as u64,
        bytes_out: session.body_bytes_sent() as u64,
        forwarded,
        trace: Trace::read(&header.headers),
        spans: spans.or_else(|| recorder.begin_spans(&header.headers)),
    };
    recorder.completed(&request, record);
}

/// Returns the request line of the original request in Envoy's auth request.
pub(crate) fn request_line_of_envoy(http: &HttpRequest) -> RequestLine<'_> {
    RequestLine {
        method: http.method.as_bytes(),
        host: http.host.as_bytes(),
        path: http.path.as_bytes(),
    }
}
