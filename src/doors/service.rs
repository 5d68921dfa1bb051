//! The listeners without upstreams: service (REST, forward-auth, health), metrics (metrics, health)
//! and admin (the admin page).

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, HOST, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use http::{Response, Version};
use memchr::memchr;

use super::endpoints::{Endpoints, door_of, is_rest};
use super::forward_auth::FrontProxy;
use super::head::check;
use super::request_log::{Received, RequestLog};
use crate::http::own_response::OwnResponse;
use crate::http::rejection::Rejection;
use crate::net::http::{Abort, App, ClientRequest, Peer, Reply};
use crate::net::request_line::request_line_of;
use crate::net::settings::Listening;
use crate::routing::target::{Target, host_of};
use crate::telemetry::{Door, Recorder, RequestRecord};

/// Handles the requests of the service listener, or of the metrics listener.
pub(crate) struct Service {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) listening: Listening,
    /// Where the proxy's listener responds with the health of realmgate itself.
    pub(crate) health_path: Option<Box<str>>,
}

impl App for Service {
    const ENDS_WITH_CLIENT: bool = false;
    const WRITES_MUCH: bool = false;

    async fn handle(&self, mut request: ClientRequest) -> Result<Response<Reply>, Abort> {
        let entered = request.entered.take();
        let mut log = RequestLog::new(&self.recorder, request.began);
        let received = Received::of(&self.recorder, &request.parts, &request.peer);
        let mut response = self.respond(&mut request, &mut log.record).await;
        request.lend_headers(&mut response);
        let status = response.status();
        Ok(response.map(|reply| {
            let reply = reply.counting(entered);
            match received {
                Some(mut received) => {
                    received.bytes = request.body.bytes_read();
                    let recorder = Arc::clone(&self.recorder);
                    reply.on_end(move |sent| log.write(&recorder, &received, status, sent))
                }
                None => reply,
            }
        }))
    }

    fn reject(&self, rejection: Rejection, parts: &Parts, peer: &Peer) -> OwnResponse {
        let mut log = RequestLog::new(&self.recorder, Instant::now());
        self.log_rejection(rejection, parts, peer, &mut log.record);
        let answer = rejection.response().named(log.record.request_id());
        if let Some(received) = Received::of(&self.recorder, parts, peer) {
            log.write(
                &self.recorder,
                &received,
                answer.status,
                answer.line.len() as u64,
            );
        }
        answer
    }
}

impl Service {
    /// Logs a rejection, and counts it if its path is that of a door.
    fn log_rejection(
        &self,
        rejection: Rejection,
        parts: &Parts,
        peer: &Peer,
        record: &mut RequestRecord,
    ) {
        let recorder = &self.recorder;
        let (source, line) = (peer.source(), request_line_of(parts));
        match self.door_of(parts) {
            Some(door) => recorder.rejected((door, None), source, rejection, line, record),
            None => recorder.log_rejected((None, None), source, rejection, line, record),
        }
    }

    /// Returns the door that a request is for; `None` for health, metrics and unknown paths.
    fn door_of(&self, parts: &Parts) -> Option<Door> {
        match self.listening {
            Listening::Metrics => None,
            Listening::Admin => Some(Door::Admin),
            Listening::Service | Listening::Gateway => door_of(parts.uri.path()),
        }
    }

    /// Returns whether the proxy's listener responds to a request with realmgate's own health.
    pub(crate) fn is_health(&self, parts: &Parts) -> bool {
        self.health_path.as_deref() == Some(parts.uri.path())
    }

    async fn respond(
        &self,
        request: &mut ClientRequest,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        if let Err(rejection) = self.check(request) {
            self.log_rejection(rejection, &request.parts, &request.peer, record);
            let mut response = Response::from(rejection.response().named(record.request_id()));
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            return response;
        }
        // Boxed, so that auth requests have smaller futures.
        match self.listening {
            Listening::Metrics => Box::pin(self.endpoints.handle_monitor(request)).await,
            Listening::Admin => {
                Box::pin(self.endpoints.admin.handle_at_once(request, record)).await
            }
            Listening::Gateway if self.is_health(&request.parts) => {
                Box::pin(self.endpoints.handle_health(request)).await.into()
            }
            Listening::Service | Listening::Gateway => self.endpoints.handle(request, record).await,
        }
    }

    /// Checks the request line and the host of a request.
    ///
    /// # Errors
    /// Why it is rejected.
    fn check(&self, request: &ClientRequest) -> Result<(), Rejection> {
        let parts = &request.parts;
        let path = parts.uri.path();
        // A front proxy requests a path. One that lets clients write `x:http://h/healthz` in the
        // request line would forward it, and take our 200 for a permit.
        let is_url = || self.listening != Listening::Admin && is_rest_url(parts);
        if !has_path_target(request) && !is_url() {
            return Err(Rejection::NoPath);
        }
        let target = request.target.as_deref().unwrap_or_default();
        // The target of Envoy's auth request ends with that of the original request.
        let is_envoy = FrontProxy::of(path) == Some(FrontProxy::Envoy);
        if memchr(b'#', target).is_some() && !is_envoy {
            return Err(Rejection::NoPath);
        }
        let door = self.door_of(parts);
        if door == Some(Door::ForwardAuth) {
            // It checks the same, and responds with 403 as to a malformed description.
            return Ok(());
        }
        match check(parts) {
            // The endpoint responds with the methods that it allows.
            Err(Rejection::Trace) if door == Some(Door::Rest) || self.allows_reads(parts) => Ok(()),
            checked => checked,
        }
    }

    /// Returns whether the endpoint of a request allows GET and HEAD only.
    fn allows_reads(&self, parts: &Parts) -> bool {
        match self.listening {
            Listening::Metrics => parts.uri.path() == "/metrics",
            Listening::Gateway => self.is_health(parts),
            Listening::Service | Listening::Admin => false,
        }
    }
}

/// Returns whether a request target begins with the path.
pub(super) fn has_path_target(request: &ClientRequest) -> bool {
    match (&request.target, request.parts.version) {
        (Some(target), _) => target.first() == Some(&b'/'),
        (None, Version::HTTP_2) => request.parts.uri.path().starts_with('/'),
        (None, _) => true,
    }
}

/// Returns whether a request target is the URL of a REST resource (RFC 9112 §3.2.2) with the same
/// host as `Host`, and with a path that all servers read alike.
fn is_rest_url(parts: &Parts) -> bool {
    let url = &parts.uri;
    let is_http = [Scheme::HTTP, Scheme::HTTPS]
        .iter()
        .any(|it| url.scheme() == Some(it));
    let mut hosts = parts.headers.get_all(HOST).iter();
    let is_same_host = match (url.authority(), hosts.next(), hosts.next()) {
        (Some(authority), Some(host), None) => {
            let authority = authority.as_str();
            host_of(authority).is_some() && host.as_bytes() == authority.as_bytes()
        }
        _ => false,
    };
    let path = url.path();
    let is_plain = Target::read(path.as_bytes()).is_ok_and(|target| {
        let has_slashes = target.double_slash || target.encoded_slash;
        !has_slashes && target.plain() == path.as_bytes()
    });
    is_http && is_same_host && is_plain && is_rest(path)
}
