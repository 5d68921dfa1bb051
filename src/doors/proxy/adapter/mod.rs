//! The HTTP layer of the proxy: hyper reads requests and writes responses, and Pingora's proxy runs
//! in between.
//!
//! Pingora 0.9.1 accepts requests from any source as a custom session
//! (`pingora::protocols::http::custom::server::Session`), which is undocumented. Its own sessions
//! read and write HTTP in ways that cannot be changed from outside; docs/adr has the reasons.

mod inbound;
mod outbound;
mod parts;
mod running;
mod session;
mod tunnel;

use std::mem;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use memchr::memchr;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::{oneshot, watch};

use super::Proxy;
use crate::doors::endpoints::is_public;
use crate::doors::request_log::{Received, RequestLog};
use crate::doors::service::Service;
use crate::http::answer::Answer as OwnAnswer;
use crate::http::grpc;
use crate::http::rejection::Rejection;
use crate::net::http::{Abort, App, ClientRequest, Interim, Peer, Reply};
use crate::net::request_line::request_line_of;
use crate::telemetry::{Door, Recorder};
use outbound::Answer;
use running::{Driven, Running};
use session::Session;

/// Handles the requests of the gateway listener.
pub(crate) struct Adapter {
    proxy: Arc<HttpProxy<Proxy>>,
    /// realmgate's own endpoints, for deployments with a single port, and its health.
    own: Own,
    recorder: Arc<Recorder>,
    /// Never changes: connections handle a shutdown by themselves.
    shutdown: ShutdownWatch,
}

/// The endpoints that realmgate serves itself on this listener.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) service: Arc<Service>,
    /// Whether REST and forward-auth are among them.
    pub(crate) serves_api: bool,
}

impl Adapter {
    pub(crate) fn new(proxy: HttpProxy<Proxy>, own: Own, recorder: Arc<Recorder>) -> Self {
        Self {
            proxy: Arc::new(proxy),
            own,
            recorder,
            shutdown: watch::channel(false).1,
        }
    }
}

impl App for Adapter {
    const ENDS_WITH_CLIENT: bool = true;
    const WRITES_MUCH: bool = true;

    async fn answer(&self, mut request: ClientRequest) -> Result<Response<Reply>, Abort> {
        if self.own.serves_api && is_public(request.parts.uri.path()) {
            return self.own.service.answer(request).await;
        }
        // hyper drops the rest of the target there, and other servers do not (RFC 9112 §3.2).
        let target = request.target.as_deref().unwrap_or_default();
        if memchr(b'#', target).is_some() {
            let answer = self.reject(Rejection::NoPath, &request.parts, &request.peer);
            return Ok(self.respond(answer, &request.parts));
        }
        if self.own.service.is_health(&request.parts) {
            return self.own.service.answer(request).await;
        }
        let (head, mut answer) = oneshot::channel();
        let entered = request.entered.take();
        let interim = mem::replace(&mut request.interim, Interim::none());
        let session = ServerSession::new_custom(Box::new(Session::new(request, head)));
        let (proxy, shutdown) = (Arc::clone(&self.proxy), self.shutdown.clone());
        let mut running = Running::new(async move {
            proxy.process_new_http(session, &shutdown).await;
        });
        loop {
            let next = std::future::poll_fn(|context| {
                running.poll(context);
                Pin::new(&mut answer).poll(context)
            });
            // The response header is missing, so the connection is closed or the stream reset.
            let response = match next.await.map_err(|_| Abort)? {
                Answer::Interim(status, fields, following) => {
                    interim.send(status, &fields);
                    answer = following;
                    continue;
                }
                Answer::Response(response) => response,
                Answer::Header(response) => response.map(|body| {
                    let running = mem::replace(&mut running, Running::over());
                    Reply::streamed(Driven { body, running })
                }),
            };
            // If the client disconnects, `running` is dropped with this future or with the response.
            return Ok(response.map(|reply| reply.counting(entered)));
        }
    }

    fn reject(&self, rejection: Rejection, parts: &Parts, peer: &Peer) -> OwnAnswer {
        let recorder = &self.recorder;
        let mut log = RequestLog::new(recorder);
        let (source, line) = (peer.source(), request_line_of(parts));
        recorder.rejected(
            (Door::Proxy, None),
            source,
            rejection,
            line,
            &mut log.record,
        );
        let answer = rejection.answer().named(log.record.request_id());
        if let Some(received) = Received::of(recorder, parts, peer) {
            log.write(recorder, &received, answer.status, answer.line.len() as u64);
        }
        answer
    }

    fn respond(&self, answer: OwnAnswer, parts: &Parts) -> Response<Reply> {
        let response = answer.response().map(Bytes::from_static);
        grpc::translate(response, &parts.headers).map(Reply::whole)
    }
}

/// Returns the connection of a request.
pub(super) fn connection_of(session: &ServerSession) -> Option<&Peer> {
    let peer = session.req_header().extensions.get::<Arc<Peer>>();
    peer.map(Arc::as_ref)
}
