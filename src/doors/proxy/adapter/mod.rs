//! The HTTP layer of the proxy: hyper reads requests and writes responses, and Pingora's proxy runs
//! in between.
//!
//! Pingora 0.9.1 accepts requests from any source as a custom session
//! (`pingora::protocols::http::custom::server::Session`), which is undocumented. Its own sessions
//! read and write HTTP in ways that cannot be changed from outside; docs/adr has the reasons.

mod arrival;
mod inbound;
mod outbound;
mod parts;
mod running;
mod session;
mod target;
mod tunnel;

use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, HOST, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response, StatusCode, Version};
use memchr::memchr;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{oneshot, watch};

use super::Proxy;
use crate::doors::endpoints::{is_like_public, is_public};
use crate::doors::request_log::{Received, RequestLog};
use crate::doors::service::{Service, has_path_target};
use crate::http::grpc;
use crate::http::own_response::OwnResponse;
use crate::http::rejection::{METHODS, Rejection};
use crate::net::admission::Entered;
use crate::net::http::{Abort, App, ClientRequest, Interim, Peer, Reply};
use crate::net::request_line::request_line_of;
use crate::routing::target::host_of;
use crate::telemetry::{Door, Recorder};
pub(super) use arrival::Arrival;
use outbound::Message;
use running::{Driven, Running};
use session::Session;
use target::has_other_scheme;

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

    fn handle(
        &self,
        request: ClientRequest,
    ) -> impl Future<Output = Result<Response<Reply>, Abort>> + Send {
        // Not an async function, whose future would hold the request, and is moved several times.
        let way = self.begin(request);
        async move {
            match way {
                Way::Own(request) => Box::pin(self.own.service.handle(*request)).await,
                Way::Over(response) => Ok(*response),
                Way::On(exchange) => exchange.response().await,
            }
        }
    }

    fn reject(&self, rejection: Rejection, parts: &Parts, peer: &Peer) -> OwnResponse {
        let recorder = &self.recorder;
        let mut log = RequestLog::new(recorder, Instant::now());
        let (source, line) = (peer.source(), request_line_of(parts));
        recorder.rejected(
            (Door::Proxy, None),
            source,
            rejection,
            line,
            &mut log.record,
        );
        let answer = rejection.response().named(log.record.request_id());
        if let Some(received) = Received::of(recorder, parts, peer) {
            log.write(recorder, &received, answer.status, answer.line.len() as u64);
        }
        answer
    }

    fn respond(&self, answer: OwnResponse, parts: &Parts) -> Response<Reply> {
        let response = answer.response().map(Bytes::from_static);
        grpc::translate(response, &parts.headers).map(Reply::whole)
    }
}

/// What becomes of a request.
enum Way {
    /// realmgate serves it itself.
    Own(Box<ClientRequest>),
    /// This is its response.
    Over(Box<Response<Reply>>),
    /// Pingora's proxy processes it.
    On(Exchange),
}

/// A request in Pingora's proxy.
struct Exchange {
    running: Running,
    answer: oneshot::Receiver<Message>,
    interim: Interim,
    entered: Option<Entered>,
}

impl Exchange {
    async fn response(self) -> Result<Response<Reply>, Abort> {
        let Self {
            mut running,
            mut answer,
            interim,
            entered,
        } = self;
        loop {
            // Messages are sent by `running` only. To register for them would wake this task once more
            // for each, while it is running.
            let next = std::future::poll_fn(|context| {
                running.poll(context);
                match answer.try_recv() {
                    Ok(message) => Poll::Ready(Ok(message)),
                    Err(TryRecvError::Empty) => Poll::Pending,
                    // The response header is missing, so the connection is closed or the stream reset.
                    Err(TryRecvError::Closed) => Poll::Ready(Err(Abort)),
                }
            });
            let response = match next.await? {
                Message::Interim(status, fields, following) => {
                    interim.send(status, &fields);
                    answer = following;
                    continue;
                }
                Message::Response(response) => response,
                Message::Header(response) => response.map(|body| {
                    let running = mem::replace(&mut running, Running::over());
                    Reply::streamed(Driven { body, running })
                }),
            };
            // If the client disconnects, `running` is dropped with this future or with the response.
            return Ok(response.map(|reply| reply.counting(entered)));
        }
    }
}

impl Adapter {
    /// Begins to handle a request.
    fn begin(&self, mut request: ClientRequest) -> Way {
        if self.own.serves_api {
            if is_public(request.parts.uri.path()) {
                return Way::Own(Box::new(request));
            }
            if let Err(rejection) = check_beside_api(&request) {
                return self.rejected(rejection, &request);
            }
        }
        // hyper drops the rest of the target there, and other servers do not (RFC 9112 §3.2).
        let target = request.target.as_deref().unwrap_or_default();
        if memchr(b'#', target).is_some() || has_other_scheme(&request.parts) {
            return self.rejected(Rejection::NoPath, &request);
        }
        if self.own.service.is_health(&request.parts) {
            return Way::Own(Box::new(request));
        }
        // Not where realmgate serves its API: `check_beside_api` has rejected it there.
        if is_server_wide(&request.parts) {
            return Way::Over(Box::new(self.options(&request)));
        }
        let (head, answer) = oneshot::channel();
        let entered = request.entered.take();
        let interim = mem::replace(&mut request.interim, Interim::none());
        let session = ServerSession::new_custom(Box::new(Session::new(request, head)));
        let (proxy, shutdown) = (Arc::clone(&self.proxy), self.shutdown.clone());
        let running = Running::new(async move {
            proxy.process_new_http(session, &shutdown).await;
        });
        Way::On(Exchange {
            running,
            answer,
            interim,
            entered,
        })
    }

    fn rejected(&self, rejection: Rejection, request: &ClientRequest) -> Way {
        let answer = self.reject(rejection, &request.parts, &request.peer);
        Way::Over(Box::new(self.respond(answer, &request.parts)))
    }

    /// Responds to `OPTIONS *`, which concerns no upstream.
    fn options(&self, request: &ClientRequest) -> Response<Reply> {
        let log = RequestLog::new(&self.recorder, request.began);
        let mut answer = OwnResponse::empty(StatusCode::OK).named(log.record.request_id());
        answer.fields.push((ALLOW, METHODS));
        if let Some(received) = Received::of(&self.recorder, &request.parts, &request.peer) {
            log.write(&self.recorder, &received, answer.status, 0);
        }
        self.respond(answer, &request.parts)
    }
}

/// Checks a request for the application on a listener that also serves the API. A front proxy treats
/// any 200 as a permit, so no auth request may reach the application: neither with a whole URL, nor
/// with a path that some server reads as an endpoint.
///
/// # Errors
/// Why the request is rejected.
fn check_beside_api(request: &ClientRequest) -> Result<(), Rejection> {
    if !has_path_target(request) {
        return Err(Rejection::NoPath);
    }
    match is_like_public(request.parts.uri.path()) {
        true => Err(Rejection::Readings),
        false => Ok(()),
    }
}

/// Returns whether a request asks for the options of the server as a whole (RFC 9110 §9.3.7), and
/// has at most one host, which is valid.
fn is_server_wide(parts: &Parts) -> bool {
    if parts.method != Method::OPTIONS || parts.uri.path() != "*" {
        return false;
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    let is_one = hosts.next().is_none()
        && host
            .zip(authority)
            .is_none_or(|(host, authority)| host.eq_ignore_ascii_case(authority.as_bytes()));
    match authority.or_else(|| str::from_utf8(host?).ok()) {
        Some("") => is_one && parts.version == Version::HTTP_11,
        Some(host) => is_one && host_of(host).is_some(),
        None => host.is_none() && parts.version == Version::HTTP_10,
    }
}
