//! Matches and authorizes a request.

use std::sync::Arc;

use http::{StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::Proxy;
use super::adapter::Arrival;
use super::context::Authorized;
use crate::auth::{Attempt, Party, Policy, Presented, Source, UnixTime};
use crate::doors::authorize::{AuthRequest, authorize};
use crate::doors::head::host;
use crate::doors::snapshot::Snapshot;
use crate::http::Scratch;
use crate::http::own_response::OwnResponse;
use crate::http::rejection::Rejection;
use crate::http::request_id::RequestId;
use crate::net::admission::Full;
use crate::net::path_of;
use crate::net::request_line::request_line;
use crate::net::source_of;
use crate::routing::input::MatchInput;
use crate::routing::route::Unrouted;
use crate::telemetry::{Door, RequestRecord, Tally};

impl Proxy {
    /// Decides about a request: returns its permit and route, or the response to send instead.
    pub(super) async fn decide(
        &self,
        session: &Session,
        snapshot: Arc<Snapshot>,
        (arrival, id): (&Arrival, RequestId),
        record: &mut RequestRecord,
    ) -> Result<Authorized, OwnResponse> {
        let header = session.req_header();
        let began = arrival.began;
        let door = Door::Proxy;
        let source = source_of(session);
        let request_line = || request_line(header);
        let mut reject = |rejection: Rejection, tally: Option<&Tally>| {
            self.recorder
                .rejected((door, tally), source, rejection, request_line(), record);
            self.recorder.decided(door, began.elapsed(), record);
            rejection.response()
        };
        let input = host_of(header, arrival).and_then(|host| {
            let path = path_of(header);
            MatchInput::read(host, &header.method, path).map_err(Rejection::from)
        });
        let mut input = input.map_err(|rejection| reject(rejection, None))?;
        if snapshot.routes.has_networks() {
            input.client = snapshot.client(source);
            snapshot.warn_unaddressed(&input);
        }
        let found = snapshot.routes.resolve(&input).map_err(|unrouted| {
            let tally = match unrouted {
                Unrouted::Slashes(route) => snapshot.tally(route).map(|tally| &**tally),
                Unrouted::None | Unrouted::Readings => None,
            };
            reject(unrouted.into(), tally)
        })?;
        let route = found.route;
        let mut scratch = Scratch::new();
        let attempt = Attempt {
            presented: match route.policy {
                // The credential is not looked at.
                Policy::Anyone => Presented::Absent,
                _ => self.credential_headers.read(&header.headers, &mut scratch),
            },
            source: Source {
                address: source,
                party: arrival
                    .peer
                    .subject()
                    .and_then(|subject| subject.to_str().ok())
                    .map(Party::Certificate),
            },
        };
        let request = AuthRequest {
            door,
            tally: snapshot
                .tally(found.place)
                .unwrap_or(self.recorder.no_route()),
            attempt: &attempt,
            policy: &route.policy,
            mode: route.mode,
            now: UnixTime::from(arrival.now),
            began,
        };
        let decided = authorize(
            &self.authority,
            &self.recorder,
            request,
            request_line,
            record,
        )
        .await;
        let denials = snapshot.denials(found.place).map(|denials| &**denials);
        let permit = decided.map_err(|denial| OwnResponse::denied(&denial).denied_as(denials))?;
        let upstream = route.upstream.and_then(|it| snapshot.upstreams.get(it));
        let counted = source.filter(|source| !snapshot.net.is_front_proxy(*source));
        let entered = match upstream {
            Some(upstream) => upstream.enter(counted, &snapshot.net.limits),
            None => Err(Full::InAll),
        };
        let under_way = entered.map_err(|full| match full {
            Full::OfAddress => {
                let rejection = Rejection::AddressBusy;
                let at = (Some(door), Some(&*route.name));
                self.recorder
                    .log_rejected(at, source, rejection, request_line(), record);
                rejection.response().failed_as(denials)
            }
            Full::InAll => {
                tracing::warn!(request_id = %id, route = %route.name, reason = "upstream_busy", "too many requests under way to the upstream");
                let line = "upstream is busy\n";
                OwnResponse::line(StatusCode::SERVICE_UNAVAILABLE, line).failed_as(denials)
            }
        })?;
        Ok(Authorized {
            permit,
            _under_way: under_way,
            route: found.place,
            has_methods: found.has_methods,
            snapshot: Arc::clone(&snapshot),
        })
    }

    /// Logs a permitted request whose body is rejected.
    pub(super) fn log_rejected_body(
        &self,
        rejection: Rejection,
        authorized: &Authorized,
        session: &Session,
        record: &RequestRecord,
    ) {
        let (source, line) = (source_of(session), request_line(session.req_header()));
        let route = authorized.route().map(|route| &*route.name);
        let at = (Some(Door::Proxy), route);
        self.recorder
            .log_rejected(at, source, rejection, line, record);
    }
}

/// Returns the host of a request with its port; `None` for HTTP/1.0 without a host, and for an empty
/// `Host`. The HTTP/1 layer has put the authority of an absolute URL into `Host`.
fn host_of<'a>(header: &'a RequestHeader, arrival: &Arrival) -> Result<Option<&'a str>, Rejection> {
    let may_be_missing = header.version == Version::HTTP_10 || arrival.has_empty_host;
    host(&header.headers, &header.uri, may_be_missing)
}
