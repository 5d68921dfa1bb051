//! Reading what a request asks for, and deciding on it.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::HOST;
use http::{StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::Proxy;
use super::asked::Rejected;
use super::context::Admitted;
use crate::auth::{Attempt, Decision, Party, Source, UnixTime};
use crate::doors::snapshot::Snapshot;
use crate::http::Scratch;
use crate::http::answer::Answer;
use crate::http::refusal::Refusal;
use crate::http::request_id::RequestId;
use crate::net::accept::subject_of;
use crate::net::admission::Full;
use crate::net::path_of;
use crate::net::seen::seen;
use crate::net::source_of;
use crate::routing::route::{Question, Unrouted};
use crate::routing::target::{Target, host_of};
use crate::telemetry::{self, Door, Note, Tally, metrics};

impl Proxy {
    /// Decides on a request: who may pass where, or the answer to give instead.
    pub(super) async fn decide(
        &self,
        session: &Session,
        snapshot: Arc<Snapshot>,
        id: RequestId,
        note: &mut Note,
    ) -> Result<Admitted, Rejected> {
        let header = session.req_header();
        let door = Door::Proxy;
        let source = source_of(session);
        let seen = seen(header);
        let mut refuse = |refusal: Refusal, tally: &Tally| {
            refusal.tell(door, tally, source, seen, note);
            refusal.answer()
        };
        let asked = host(header).ok_or(Refusal::Host).and_then(|host| {
            Refusal::of_method(&header.method)?;
            Ok((host, Target::read(path_of(header))?))
        });
        let (host, target) = asked.map_err(|refusal| refuse(refusal, metrics().no_route()))?;
        let question = Question {
            host,
            target: &target,
            method: &header.method,
        };
        let found = snapshot.routes.find(&question).map_err(|unrouted| {
            let tally = match unrouted {
                Unrouted::Slashes(route) => &route.tally,
                Unrouted::None | Unrouted::Readings => metrics().no_route(),
            };
            refuse(unrouted.into(), tally)
        })?;
        let route = found.route;
        let mut scratch = Scratch::new();
        let attempt = Attempt {
            presented: self.credential_headers.read(&header.headers, &mut scratch),
            source: Source {
                address: source,
                party: subject_of(session)
                    .and_then(|subject| subject.to_str().ok())
                    .map(Party::Certificate),
            },
        };
        let now = UnixTime::from(SystemTime::now());
        match self.authority.decide(&attempt, &route.policy, now).await {
            Decision::Permit(permit) => {
                telemetry::permitted(door, &route.tally, &attempt, &permit, note);
                let upstream = route.upstream.and_then(|it| snapshot.upstreams.get(it));
                let counted = source.filter(|source| !snapshot.net.is_front_proxy(*source));
                let entered = match upstream {
                    Some(upstream) => upstream.enter(counted, &snapshot.net.limits),
                    None => Err(Full::InAll),
                };
                let busy = |full| match full {
                    Full::OfAddress => {
                        let refusal = Refusal::AddressBusy;
                        refusal.tell_of_route(Some(route), source, seen, note);
                        refusal.answer()
                    }
                    Full::InAll => {
                        tracing::warn!(request_id = %id, route = %route.name, reason = "upstream_busy", "too many requests under way to the upstream");
                        let line = "upstream is busy\n";
                        Answer::line(StatusCode::SERVICE_UNAVAILABLE, line)
                    }
                };
                let under_way = entered.map_err(busy)?;
                Ok(Admitted {
                    permit,
                    _under_way: under_way,
                    route: found.place,
                    has_methods: found.has_methods,
                    snapshot: Arc::clone(&snapshot),
                })
            }
            Decision::Denial(denial) => {
                telemetry::denied(door, &route.tally, &attempt, &denial, seen, note);
                Err(Rejected {
                    answer: Answer::denied(&denial),
                    denial: Some(denial),
                })
            }
        }
    }
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
