//! The transparent proxy: forwards permitted requests to their upstream with the identity of the
//! caller.

mod adapter;
mod context;
mod decide;
mod expect;
mod failure;
mod forwarded;
mod hop;
mod request;
mod respond;
mod response;
mod tenure;
mod trace;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorType, Result};

use super::snapshot::Live;
use crate::auth::Authority;
use crate::http::CredentialHeaders;
use crate::http::grpc;
use crate::http::own_response::OwnResponse;
use crate::http::rejection::{METHODS, Rejection};
use crate::net::peer_of;
use crate::telemetry::{Recorder, RequestRecord};
use crate::upstream::{Gate, Next, UpstreamEvent, set_apart};
use context::{Authorized, Context, Onward};
use failure::{NO_PEER, Progress};
use request::{announced, is_upgrade, is_upload, max_forwards, needs_policy};
use respond::{After, respond};

use adapter::Arrival;
pub(crate) use adapter::{Adapter, Own};
#[cfg(any(test, fuzzing))]
pub(super) use forwarded::strip;

/// The state of the proxy door.
pub(crate) struct Proxy {
    pub(crate) authority: Arc<Authority>,
    pub(crate) credential_headers: CredentialHeaders,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) snapshot: Live,
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed, because several futures of Pingora hold and move it.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        let id = self.recorder.next_id();
        Box::new(Context {
            id,
            record: RequestRecord::new(id),
            ..Context::default()
        })
    }

    /// Pingora 0.9.1 would add a compression module that is switched off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Self::CTX) -> Result<bool> {
        let snapshot = self.snapshot.load_full();
        let arrival = context.arrival.insert(Arrival::take(session)?);
        let decided = self
            .decide(
                session,
                snapshot,
                (arrival, context.id),
                &mut context.record,
            )
            .await;
        context.decided = Some(Instant::now());
        match decided {
            Ok(authorized) if authorized.is_too_long(|| announced(session.req_header())) => {
                let rejected = Rejection::BodyLength;
                self.log_rejected_body(rejected, &authorized, session, &context.record);
                let answer = rejected.response().failed_as(authorized.denials());
                let answer = answer.named(context.record.request_id());
                respond(session, answer, After::Stay, &authorized.snapshot.net).await?;
                Ok(true)
            }
            Ok(authorized) if is_last_hop(session.req_header()) => {
                let mut answer =
                    OwnResponse::empty(StatusCode::OK).named(context.record.request_id());
                answer.fields.push((ALLOW, METHODS));
                respond(session, answer, After::Stay, &authorized.snapshot.net).await?;
                Ok(true)
            }
            Ok(authorized) => {
                session.set_read_timeout(Some(authorized.snapshot.net.timeouts.read));
                context.authorized = Some(authorized);
                Ok(false)
            }
            Err(answer) => {
                let answer = answer.named(context.record.request_id());
                respond(session, answer, After::Stay, &self.snapshot.load().net).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        let last = context.chosen.take();
        let client = peer_of(session).map(|peer| peer.ip());
        let authorized = context.authorized.as_ref();
        let next = authorized
            .and_then(Authorized::upstream)
            .and_then(|upstream| upstream.next(client, last.as_ref()));
        let Next { mut peer, chosen } =
            next.ok_or_else(|| Error::explain(NO_PEER, "no peer answers"))?;
        context.chosen = Some(chosen);
        if is_upload(session) {
            set_apart(&mut peer);
        }
        if !needs_policy(&session.req_header().headers) {
            peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        }
        if let Some(upstream) = authorized.and_then(Authorized::upstream)
            && grpc::is_call(&session.req_header().headers)
        {
            peer.options.read_timeout = Some(upstream.stream_timeout());
        }
        let may_upgrade = context.arrival.as_ref().is_some_and(|it| it.named.upgrade);
        context.gate = (may_upgrade && is_upgrade(session))
            .then(|| Gate::on(&mut peer))
            .flatten();
        Ok(peer)
    }

    /// Counts a body of unknown length.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        context: &mut Self::CTX,
    ) -> Result<()> {
        context.body_bytes += body.as_ref().map_or(0, Bytes::len) as u64;
        let authorized = context.authorized.as_ref();
        if authorized.is_some_and(|authorized| authorized.is_too_long(|| context.body_bytes)) {
            let status = ErrorType::HTTPStatus(StatusCode::PAYLOAD_TOO_LARGE.as_u16());
            return Err(Error::explain(status, "the body is too long").into_down());
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> Result<()> {
        if context.spans.is_none() {
            context.spans = self.recorder.begin_spans(&session.req_header().headers);
        }
        // No request gets here without a permit; if one did, it would end here.
        let (Some(authorized), Some(arrival)) = (&context.authorized, &context.arrival) else {
            let text = "a request without a permit";
            return Err(Error::explain(ErrorType::InternalError, text));
        };
        let way = Onward {
            id: context.id,
            peer: &arrival.peer,
            spans: context.spans.as_ref(),
            chosen: context.chosen.as_ref(),
            is_continued: match arrival.named.expect {
                true => expect::settle(session, request.version).await?,
                false => false,
            },
        };
        self.forward(request, authorized, session, &way)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> Result<()> {
        response::receive(session, response, context)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> Result<()> {
        response::pass(session, response, (context, &self.authority))
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        hop::mend_trailers(trailers);
        Ok(None)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        context: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if context.has_no_content {
            *body = None;
        }
        Ok(None)
    }

    /// Counts a connection that the request uses.
    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        is_reused: bool,
        _: &HttpPeer,
        _: RawFd,
        _: Option<&Digest>,
        context: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(gate) = &context.gate {
            gate.close();
        }
        if let Some(upstream) = context.authorized.as_ref().and_then(Authorized::upstream) {
            upstream.tally.count(if is_reused {
                UpstreamEvent::Reused
            } else {
                UpstreamEvent::Connected
            });
        }
        if let Some(chosen) = context.chosen.as_ref().filter(|_| !is_reused) {
            chosen.connected();
        }
        Ok(())
    }

    /// Nothing has been sent yet, so another peer may be tried.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        context: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        context.failed += 1;
        let upstream = context.authorized.as_ref().and_then(Authorized::upstream);
        let is_tried_again = upstream.is_some_and(|upstream| context.failed < upstream.tries());
        if let (Some(upstream), Some(chosen)) = (upstream, &context.chosen) {
            if !upstream.failed_to_connect(chosen, &error) {
                tracing::warn!(request_id = %context.id, %peer, error = %error.etype().as_str(), "connecting to a peer failed");
            }
            if is_tried_again {
                upstream.tally.count(UpstreamEvent::Retried);
            }
        }
        error.set_retry(is_tried_again);
        error.into_up()
    }

    /// Retries only without harm: an idempotent method with a buffered body on a reused connection
    /// that was closed, or any method if the peer reported that it did not process the request.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Self::CTX,
        is_reused: bool,
    ) -> Box<Error> {
        let is_idempotent = session.req_header().method.is_idempotent();
        let is_known = !session.as_ref().retry_buffer_truncated();
        if is_known && failure::is_unprocessed(&error) {
            context.unprocessed += 1;
            let upstream = context.authorized.as_ref().and_then(Authorized::upstream);
            let tries = upstream.map_or(0, |upstream| upstream.tries());
            error.set_retry(context.unprocessed < tries);
        } else if is_idempotent && is_known {
            error.retry.decide_reuse(is_reused);
        } else {
            error.set_retry(false);
        }
        // A reused connection may be closed at any time.
        let upstream = context.authorized.as_ref().and_then(Authorized::upstream);
        if let (Some(upstream), Some(chosen)) = (upstream, &context.chosen)
            && failure::is_of_the_peer(&error, progress_of(session))
        {
            if !is_reused {
                upstream.failed(chosen);
            }
            let event = if error.retry() {
                UpstreamEvent::Retried
            } else {
                UpstreamEvent::RequestFailed
            };
            upstream.tally.count(event);
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let (status, line) = failure::response_to(error);
        let progress = progress_of(session);
        let cause = error.etype().as_str();
        match status {
            None => tracing::debug!(request_id = %context.id, cause, "the client disconnected"),
            Some(_) if progress.is_answered => {
                if failure::is_early_end(error, progress) {
                    tracing::warn!(request_id = %context.id, cause, "the response ended early");
                } else {
                    tracing::debug!(request_id = %context.id, cause, "the connection timed out");
                }
            }
            Some(status) => {
                let reason = failure::reason(status, error);
                let detail = failure::detail_of(error);
                tracing::warn!(request_id = %context.id, status = status.as_u16(), reason, cause, detail, "request failed");
            }
        }
        if let Some(status) = status
            && !progress.is_answered
        {
            let denials = context.authorized.as_ref().and_then(Authorized::denials);
            let answer = OwnResponse::line(status, line).failed_as(denials);
            let answer = answer.named(context.record.request_id());
            if let Err(error) =
                respond(session, answer, After::Close, &self.snapshot.load().net).await
            {
                tracing::debug!(request_id = %context.id, %error, "the client disconnected");
            }
        }
        FailToProxy {
            error_code: status.map_or(0, |status| status.as_u16()),
            can_reuse_downstream: false,
        }
    }

    /// `fail_to_proxy` has already logged it.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Self::CTX) {
        if let (None, Some(chosen)) = (error, &context.chosen) {
            chosen.responded();
        }
        context.log(&self.recorder, session);
    }

    /// Used in Pingora's error logs. Without path and query, which could contain a secret.
    fn request_summary(&self, session: &Session, context: &Self::CTX) -> String {
        format!("{} request {}", session.req_header().method, context.id)
    }
}

/// Returns whether this server is the last one that a request may reach (RFC 9110 §7.6.2).
fn is_last_hop(header: &RequestHeader) -> bool {
    max_forwards(&header.method, &header.headers) == Some(0)
}

/// Returns the progress of a request.
fn progress_of(session: &mut Session) -> Progress {
    let is_sent = session.is_body_done();
    let status = session.response_written().map(|header| header.status);
    let has_switched = status == Some(StatusCode::SWITCHING_PROTOCOLS);
    Progress {
        is_sent,
        is_answered: has_switched || status.is_some_and(|it| !it.is_informational()),
        has_switched,
    }
}
