//! The transparent proxy: what passes goes on to its upstream with the identity stamped on it.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName};
use http::{StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::answer::Answer;
use super::connection::Connections;
use super::endpoints::Endpoints;
use super::peer_of;
use super::request_id::RequestId;
use super::route::Question;
use super::rules::{Live, Rules};
use super::target::{Target, host_of, is_plain_method};
use super::upstream::{UnderWay, Upstream};
use super::wire::{scheme_of, subject_of};
use crate::auth::{Attempt, Authority, Decision, Permit, UnixTime};
use crate::headers::{
    CredentialHeaders, IdentityHeaders, Scratch, X_CLIENT_SUBJECT, X_FORWARDED_FOR,
    X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
};
use crate::telemetry;

/// No peer of an upstream answers its health check.
const NO_PEER: ErrorType = ErrorType::Custom("NoPeer");

const TOO_LONG: &str = "the body is too large\n";

/// The door.
pub(crate) struct Proxy {
    pub(crate) authority: Arc<Authority>,
    pub(crate) credential_headers: CredentialHeaders,
    pub(crate) identity_headers: IdentityHeaders,
    pub(crate) rules: Live,
    pub(crate) connections: Arc<Connections>,
    /// realmgate's own endpoints, where one port must be enough.
    pub(crate) endpoints: Option<Arc<Endpoints>>,
}

/// What is known of a request on its way through.
#[derive(Default)]
pub(crate) struct Context {
    id: RequestId,
    /// Set once it may pass, and only then.
    admitted: Option<Admitted>,
    /// How many connections have failed.
    failed: usize,
    /// How many bytes of the request's body have come.
    body_bytes: u64,
}

struct Admitted {
    permit: Permit,
    _under_way: UnderWay,
    /// The rules that it was admitted by, whatever is in force by now.
    rules: Arc<Rules>,
    /// The index of the route.
    route: usize,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            id: RequestId::next(),
            admitted: None,
            failed: 0,
            body_bytes: 0,
        }
    }

    async fn early_request_filter(&self, session: &mut Session, _: &mut Context) -> Result<()> {
        self.connections.prepare(session);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        if let Some(endpoints) = &self.endpoints
            && endpoints.answer_public(session).await?
        {
            return Ok(true);
        }
        match self.decide(session).await {
            Ok(admitted) if admitted.is_too_long(announced(session.req_header())) => {
                session.set_keepalive(None);
                let answer = Answer::line(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG);
                answer.send(session).await?;
                Ok(true)
            }
            Ok(admitted) => {
                context.admitted = Some(admitted);
                Ok(false)
            }
            Err(answer) => {
                answer.send(session).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        let admitted = context.admitted.as_ref();
        admitted
            .and_then(Admitted::upstream)
            .and_then(|upstream| upstream.next())
            .ok_or_else(|| Error::explain(NO_PEER, "no peer answers"))
    }

    /// Counts a body of which nobody has said how long it is.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        context: &mut Context,
    ) -> Result<()> {
        context.body_bytes += body.as_ref().map_or(0, |part| part.len() as u64);
        let admitted = context.admitted.as_ref();
        if admitted.is_some_and(|admitted| admitted.is_too_long(context.body_bytes)) {
            let status = ErrorType::HTTPStatus(StatusCode::PAYLOAD_TOO_LARGE.as_u16());
            return Err(Error::explain(status, "the body is too long").into_down());
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        // Nothing gets here without being admitted; if it did, it would end here.
        let admitted = context.admitted.as_ref().ok_or_else(|| {
            Error::explain(ErrorType::InternalError, "a request without a permit")
        })?;
        self.strip(request, admitted)?;
        self.stamp(request, admitted, session, context.id)
    }

    /// Nothing was sent yet when a connection fails: another peer may be tried.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        tracing::warn!(request = %context.id, %peer, error = %error.etype().as_str(), "connecting failed");
        context.failed += 1;
        let upstream = context.admitted.as_ref().and_then(Admitted::upstream);
        error.set_retry(upstream.is_some_and(|upstream| context.failed < upstream.tries()));
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let (status, line) = match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, ErrorType::HTTPStatus(413)) => {
                (Some(StatusCode::PAYLOAD_TOO_LARGE), TOO_LONG)
            }
            (ErrorSource::Downstream, ErrorType::HTTPStatus(code)) => {
                let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_REQUEST);
                (Some(status), "bad request\n")
            }
            (
                ErrorSource::Downstream,
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
            ) => (None, ""),
            (ErrorSource::Downstream, _) => (Some(StatusCode::BAD_REQUEST), "bad request\n"),
            (
                _,
                ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout,
            ) => (Some(StatusCode::GATEWAY_TIMEOUT), "upstream timed out\n"),
            (_, &NO_PEER) => (
                Some(StatusCode::SERVICE_UNAVAILABLE),
                "no upstream is healthy\n",
            ),
            (ErrorSource::Upstream, _) => (Some(StatusCode::BAD_GATEWAY), "upstream unavailable\n"),
            _ => (Some(StatusCode::INTERNAL_SERVER_ERROR), "internal error\n"),
        };
        let cause = error.etype().as_str();
        match status {
            None => tracing::debug!(request = %context.id, cause, "the client is gone"),
            Some(status) => tracing::warn!(request = %context.id, %status, cause, "failed"),
        }
        if let Some(status) = status
            && session.response_written().is_none()
        {
            session.set_keepalive(None);
            let mut answer = Answer::line(status, line);
            answer.fields.push((X_REQUEST_ID, context.id.value()));
            if let Err(error) = answer.send(session).await {
                tracing::debug!(request = %context.id, %error, "the client is gone");
            }
        }
        FailToProxy {
            error_code: status.map_or(0, |status| status.as_u16()),
            can_reuse_downstream: false,
        }
    }

    /// `fail_to_proxy` has said it, with less noise.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    /// The last that is heard of each request.
    async fn logging(&self, _: &mut Session, _: Option<&Error>, _: &mut Context) {
        self.connections.answered();
    }

    /// Goes into Pingora's error logs, where a path or query could hold a secret.
    fn request_summary(&self, session: &Session, context: &Context) -> String {
        format!("{} request {}", session.req_header().method, context.id)
    }
}

impl Admitted {
    fn upstream(&self) -> Option<&Arc<Upstream>> {
        let route = self.rules.routes.get(self.route)?;
        self.rules.upstreams.get(route.upstream)
    }

    /// Says whether a body of so many bytes is too long here.
    fn is_too_long(&self, bytes: u64) -> bool {
        let route = self.rules.routes.get(self.route);
        route.is_some_and(|route| route.body_bytes.is_some_and(|limit| bytes > limit))
    }
}

impl Proxy {
    /// Decides on a request: who may pass where, or the answer to give instead.
    async fn decide(&self, session: &Session) -> Result<Admitted, Answer> {
        let header = session.req_header();
        let bad = |line| Answer::line(StatusCode::BAD_REQUEST, line);
        let host = host(header).ok_or_else(|| bad("bad host\n"))?;
        if !is_plain_method(header.method.as_str()) {
            return Err(bad("bad method\n"));
        }
        let target = Target::read(path(header)).map_err(|ambiguity| {
            tracing::info!(door = "proxy", %ambiguity, "refused");
            bad("ambiguous path\n")
        })?;
        let question = Question {
            host,
            target: &target,
            method: &header.method,
        };
        let rules = self.rules.load_full();
        let Some((index, route)) = rules.routes.find(&question) else {
            return Err(Answer::line(StatusCode::NOT_FOUND, "no route\n"));
        };
        if !route.takes(&target) {
            return Err(bad("ambiguous path\n"));
        }
        let mut scratch = Scratch::new();
        let attempt = Attempt {
            presented: self.credential_headers.read(&header.headers, &mut scratch),
            source: peer_of(session).map(|peer| peer.ip().to_canonical()),
        };
        let now = UnixTime::from(SystemTime::now());
        match self.authority.decide(&attempt, &route.policy, now).await {
            Decision::Permit(permit) => {
                let upstream = rules.upstreams.get(route.upstream);
                let busy = || {
                    tracing::warn!(route = %route.name, "too many requests under way");
                    Answer::line(StatusCode::SERVICE_UNAVAILABLE, "upstream is busy\n")
                };
                let under_way = upstream.and_then(Upstream::enter).ok_or_else(busy)?;
                Ok(Admitted {
                    permit,
                    _under_way: under_way,
                    route: index,
                    rules: Arc::clone(&rules),
                })
            }
            Decision::Denial(denial) => {
                telemetry::denied("proxy", Some(&route.name), &attempt, &denial);
                Err(Answer::denied(&denial))
            }
        }
    }

    /// Takes off every field that could pass for ours, and the credential that was consumed.
    fn strip(&self, request: &mut RequestHeader, admitted: &Admitted) -> Result<()> {
        let has_methods = admitted
            .rules
            .routes
            .get(admitted.route)
            .is_some_and(super::route::Route::has_methods);
        let doomed: Vec<HeaderName> = request
            .headers
            .keys()
            .filter(|name| {
                self.identity_headers.is_reserved(name)
                    || (has_methods && IdentityHeaders::is_method_override(name))
            })
            .cloned()
            .collect();
        for name in &doomed {
            request.remove_header(name);
        }
        // Consumed where somebody proved themselves; where nobody had to, a token still stays here.
        let is_ours = match admitted.permit.principal() {
            Some(_) => CredentialHeaders::is_basic(&request.headers),
            None => self.credential_headers.holds_token(&request.headers),
        };
        if is_ours {
            request.remove_header(&AUTHORIZATION);
        }
        if request.raw_path().first() != Some(&b'/') {
            // Absolute form (RFC 9112 §3.2.2): the path was decided on, so the path is what goes on.
            let origin =
                request.uri.path_and_query().cloned().ok_or_else(|| {
                    Error::explain(ErrorType::InternalError, "a URI without a path")
                })?;
            request.set_uri(origin.into());
        }
        Ok(())
    }

    fn stamp(
        &self,
        request: &mut RequestHeader,
        admitted: &Admitted,
        session: &Session,
        id: RequestId,
    ) -> Result<()> {
        if let Some(who) = self.identity_headers.who(&admitted.permit) {
            for (name, value) in who {
                request.insert_header(name, value)?;
            }
        }
        if let Some(peer) = peer_of(session) {
            let address = peer.ip().to_canonical().to_string();
            request.insert_header(X_FORWARDED_FOR, address)?;
        }
        let header = session.req_header();
        if let Some(host) = header.headers.get(HOST) {
            request.insert_header(X_FORWARDED_HOST, host.clone())?;
        } else if let Some(authority) = header.uri.authority() {
            request.insert_header(X_FORWARDED_HOST, authority.as_str())?;
        }
        request.insert_header(X_FORWARDED_PROTO, scheme_of(session))?;
        if let Some(subject) = subject_of(session) {
            request.insert_header(X_CLIENT_SUBJECT, subject.clone())?;
        }
        request.insert_header(X_REQUEST_ID, id.value())
    }
}

/// Returns how long a request says that its body is; 0 if it does not say.
fn announced(header: &RequestHeader) -> u64 {
    let length = header.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// Returns the host that was asked for; `Some(None)` for HTTP/1.0 without one, none if there must be
/// one (RFC 9112 §3.2) or it cannot be one.
fn host(header: &RequestHeader) -> Option<Option<&str>> {
    let named = header
        .headers
        .get(HOST)
        .map(|value| value.to_str().ok())
        .or_else(|| header.uri.authority().map(|it| Some(it.as_str())));
    match named {
        Some(named) => host_of(named?).map(Some),
        None => (header.version == Version::HTTP_10).then_some(None),
    }
}

/// Returns the path as it was on the wire, without the query; of the absolute form, its path.
fn path(header: &RequestHeader) -> &[u8] {
    let raw = header.raw_path();
    let is_absolute_form = ["http://", "https://"].iter().any(|scheme| {
        raw.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    if is_absolute_form && header.raw_path_is_utf8() {
        return header.uri.path().as_bytes();
    }
    raw.split(|&byte| byte == b'?').next().unwrap_or_default()
}
