//! Logs and traces requests when they have their response.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use http::request::Parts;
use http::{Method, StatusCode};
use pingora::protocols::http::ServerSession;

use crate::http::Trace;
use crate::http::request_id::RequestId;
use crate::net::http::Peer;
use crate::net::peer_of;
use crate::net::request_line::{request_line, request_line_of};
use crate::telemetry::{Forwarded, Recorder, Request, RequestLine, RequestRecord, Spans};

/// A request that realmgate serves itself.
pub(crate) struct RequestLog {
    pub(crate) id: RequestId,
    /// When the header was complete.
    pub(crate) began: Instant,
    pub(crate) record: RequestRecord,
}

impl RequestLog {
    pub(crate) fn new(recorder: &Recorder, began: Instant) -> Self {
        let id = recorder.next_id();
        Self {
            id,
            began,
            record: RequestRecord::new(id),
        }
    }

    /// Logs and traces a request with the status and body length of its response.
    pub(crate) fn write(
        &self,
        recorder: &Recorder,
        received: &Received,
        status: StatusCode,
        bytes_out: u64,
    ) {
        let took = self.began.elapsed();
        let request = Request {
            id: &self.id.to_string(),
            began: SystemTime::now() - took,
            took,
            request_line: RequestLine {
                method: received.method.as_str().as_bytes(),
                host: &received.host,
                path: &received.path,
            },
            status: Some(status.as_u16()),
            client: received.client,
            bytes_in: received.bytes,
            bytes_out,
            forwarded: None,
            trace: received.trace,
            spans: received.spans,
        };
        recorder.completed(&request, &self.record);
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

/// The values to log of a request.
pub(crate) struct Received {
    method: Method,
    host: Vec<u8>,
    path: Vec<u8>,
    client: Option<SocketAddr>,
    trace: Option<Trace>,
    spans: Option<Spans>,
    /// The length of its body in bytes.
    pub(crate) bytes: u64,
}

impl Received {
    /// Copies the values to log of a request. Returns `None` if requests are neither logged nor
    /// traced.
    pub(crate) fn of(recorder: &Recorder, parts: &Parts, peer: &Peer) -> Option<Box<Self>> {
        if !recorder.is_recording() {
            return None;
        }
        let line = request_line_of(parts);
        Some(Box::new(Self {
            method: parts.method.clone(),
            host: line.host.to_vec(),
            path: line.path.to_vec(),
            client: peer.address,
            trace: Trace::read(&parts.headers),
            spans: recorder.begin_spans(&parts.headers),
            bytes: 0,
        }))
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
