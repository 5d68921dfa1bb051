//! Reading what a request asks for, and deciding on it.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ALLOW, CONTENT_LENGTH, HOST, HeaderValue, UPGRADE};
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::{Admitted, Proxy};
use crate::auth::{Attempt, Decision, UnixTime};
use crate::gateway::answer::Answer;
use crate::gateway::peer_of;
use crate::gateway::request_id::RequestId;
use crate::gateway::route::Question;
use crate::gateway::rules::Rules;
use crate::gateway::target::{Target, host_of, is_plain_method, path_of};
use crate::gateway::upstream::Upstream;
use crate::headers::{Scratch, X_REQUEST_ID};
use crate::telemetry::{self, Door, NO_ROUTE, Note, REFUSED, metrics};

/// What a client may do instead; the upstream may know more.
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

impl Proxy {
    /// Decides on a request: who may pass where, or the answer to give instead.
    pub(super) async fn decide(
        &self,
        session: &Session,
        rules: Arc<Rules>,
        id: RequestId,
        note: &mut Note,
    ) -> Result<Admitted, Answer> {
        let header = session.req_header();
        let door = Door::Proxy;
        let no_route = metrics().no_route();
        let bad = |line| Answer::line(StatusCode::BAD_REQUEST, line);
        let named = |mut answer: Answer| {
            answer.fields.push((X_REQUEST_ID, id.value()));
            answer
        };
        let Some(host) = host(header) else {
            telemetry::refused(door, no_route, REFUSED, note);
            return Err(bad("bad host\n"));
        };
        if !is_plain_method(header.method.as_str()) {
            telemetry::refused(door, no_route, REFUSED, note);
            return Err(bad("bad method\n"));
        }
        if header.method == Method::TRACE {
            telemetry::refused(door, no_route, REFUSED, note);
            // It would send back the fields that are stamped on it (RFC 9110 §9.3.8).
            let mut answer = Answer::line(StatusCode::METHOD_NOT_ALLOWED, "no TRACE here\n");
            answer.fields.push((ALLOW, METHODS));
            return Err(answer);
        }
        let target = Target::read(path_of(header)).map_err(|ambiguity| {
            tracing::info!(door = "proxy", %ambiguity, "refused");
            telemetry::refused(door, no_route, REFUSED, note);
            bad("ambiguous path\n")
        })?;
        let question = Question {
            host,
            target: &target,
            method: &header.method,
        };
        let Some((index, route)) = rules.routes.find(&question) else {
            telemetry::refused(door, no_route, NO_ROUTE, note);
            return Err(Answer::line(StatusCode::NOT_FOUND, "no route\n"));
        };
        if !route.takes(&target) {
            telemetry::refused(door, &route.tally, REFUSED, note);
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
                telemetry::permitted(door, &route.tally, &attempt, &permit, now, note);
                let upstream = rules.upstreams.get(route.upstream);
                let busy = || {
                    tracing::warn!(request = %id, route = %route.name, "too many requests under way");
                    let line = "upstream is busy\n";
                    named(Answer::line(StatusCode::SERVICE_UNAVAILABLE, line))
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
                telemetry::denied(door, &route.tally, &attempt, &denial, note);
                let answer = Answer::denied(&denial);
                Err(match answer.status {
                    StatusCode::SERVICE_UNAVAILABLE => {
                        tracing::warn!(request = %id, "authentication unavailable");
                        named(answer)
                    }
                    _ => answer,
                })
            }
        }
    }
}

/// Says whether a request asks for an upgrade, and has no body before it.
pub(super) fn is_upgrade(session: &mut Session) -> bool {
    let header = session.req_header();
    header.version == Version::HTTP_11
        && header.headers.contains_key(UPGRADE)
        && session.is_body_empty()
}

/// Returns how long a request says that its body is; 0 if it does not say.
pub(super) fn announced(header: &RequestHeader) -> u64 {
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
