//! The forward-auth door: one URL and one strict parser per front proxy.
//!
//! A parser reads only the headers of its front proxy, each exactly once. Only trusted proxies may
//! describe the original request.

mod client;
mod description;
mod front_proxy;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod narrowing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Response, StatusCode};
use ipnet::IpNet;

use client::Warned;
pub(super) use client::{GRPC, address};
pub(super) use description::input;
use front_proxy::ENVOY;
pub(crate) use front_proxy::FrontProxy;
pub(super) use narrowing::Narrowing;
use narrowing::narrowing;

use super::authorize::{AuthRequest, authorize};
use super::snapshot::{Live, Snapshot};
use crate::auth::{Attempt, Authority, Denial, Mode, Permit, Policy, Source, UnixTime};
use crate::http::own_response::OwnResponse;
pub(super) use crate::http::rejection::Rejection;
use crate::http::{CredentialHeaders, IdentityHeaders, Scratch};
use crate::net::http::{ClientRequest, Reply};
use crate::net::request_line::request_line_of;
use crate::routing::input::MatchInput;
use crate::routing::target::Ambiguity;
use crate::telemetry::{Door, Recorder, RequestLine, RequestRecord, Tally};

/// Envoy's URL ends with the path of the client, so restrictions are in this header instead of the
/// query.
const X_REALMGATE_NARROW: &str = "x-realmgate-narrow";
/// The response header with the names of headers that Envoy removes.
const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The forward-auth door.
pub(crate) struct ForwardAuth {
    authority: Arc<Authority>,
    credential_headers: CredentialHeaders,
    identity_headers: IdentityHeaders,
    snapshot: Live,
    pub(super) recorder: Arc<Recorder>,
    warned: Warned,
}

/// The policy for a sub-request.
pub(super) struct RoutePolicy {
    /// The principals that may pass.
    policy: Policy,
    /// Whether the policy is enforced.
    mode: Mode,
    /// The counters of the route; `None` without routes.
    tally: Option<Arc<Tally>>,
}

/// The outcome of a sub-request.
pub(super) enum Outcome {
    /// The request may pass.
    Permitted(Permit),
    /// The request is denied.
    Denied(Denial),
    /// The sub-request is invalid: a 403.
    Rejected,
}

impl ForwardAuth {
    pub(crate) fn new(
        authority: Arc<Authority>,
        credential_headers: CredentialHeaders,
        identity_headers: IdentityHeaders,
        snapshot: Live,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self {
            authority,
            credential_headers,
            identity_headers,
            snapshot,
            recorder,
            warned: Warned::default(),
        }
    }

    /// Responds to a sub-request with 200, 401, 403 or 503, and never with a body.
    pub(crate) async fn handle(
        &self,
        request: &ClientRequest,
        proxy: FrontProxy,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        self.decide(request, proxy, record).await.into()
    }

    async fn decide(
        &self,
        ClientRequest {
            parts,
            target,
            peer,
            ..
        }: &ClientRequest,
        proxy: FrontProxy,
        record: &mut RequestRecord,
    ) -> OwnResponse {
        let began = Instant::now();
        let peer = peer.source();
        let headers = &parts.headers;
        let applied = match proxy {
            FrontProxy::Envoy if has_fragment(target.as_deref()) => {
                Err(Ambiguity::Character.into())
            }
            _ => self.route_policy(parts, peer, proxy),
        };
        let snapshot = self.snapshot.load();
        let any = snapshot.client_address_header.as_ref();
        let source = self.client(peer, proxy.name(), || client::client(headers, proxy, any));
        drop(snapshot);
        let request_line = || self.request_line(parts, peer, proxy);
        let outcome = self.judge(source, headers, applied, (began, request_line), record);
        match outcome.await {
            Outcome::Permitted(permit) => self.permitted(&permit, proxy),
            Outcome::Denied(denial) => {
                OwnResponse::sub_request_denied(&denial).named(record.request_id())
            }
            Outcome::Rejected => {
                OwnResponse::empty(StatusCode::FORBIDDEN).named(record.request_id())
            }
        }
    }

    /// Returns the request line that is logged for a denied sub-request: that of the original
    /// request, if a trusted front proxy describes it.
    fn request_line<'a>(
        &self,
        parts: &'a Parts,
        peer: Option<IpAddr>,
        proxy: FrontProxy,
    ) -> RequestLine<'a> {
        let is_trusted = self.is_trusted(peer);
        let described = is_trusted.then(|| description::request_line(parts, proxy));
        described
            .flatten()
            .unwrap_or_else(|| request_line_of(parts))
    }

    /// Returns whether a peer may describe original requests.
    pub(super) fn is_trusted(&self, peer: Option<IpAddr>) -> bool {
        trust(peer, &self.snapshot.load().net.trusted_proxies).is_ok()
    }

    /// Returns the client address of the original request: for a trusted front proxy the one that
    /// it names, if any, else the address of the peer.
    pub(super) fn client(
        &self,
        peer: Option<IpAddr>,
        front_proxy: &'static str,
        described: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        if !self.is_trusted(peer) {
            return peer;
        }
        let client = described();
        if client.is_none() {
            self.warned.warn(front_proxy, peer);
        }
        client
    }

    /// Decides about the credential in a sub-request with the policy of `applied`. `began` is when
    /// reading it began. `request_line` returns the request line that is logged if it is denied.
    pub(super) async fn judge<'a>(
        &self,
        source: Option<IpAddr>,
        headers: &HeaderMap,
        applied: Result<RoutePolicy, Rejection>,
        (began, request_line): (Instant, impl FnOnce() -> RequestLine<'a>),
        record: &mut RequestRecord,
    ) -> Outcome {
        let door = Door::ForwardAuth;
        let RoutePolicy {
            policy,
            mode,
            tally,
        } = match applied {
            Ok(applied) => applied,
            Err(rejection) => {
                self.recorder
                    .rejected((door, None), source, rejection, request_line(), record);
                return Outcome::Rejected;
            }
        };
        let mut scratch = Scratch::new();
        let presented = self.credential_headers.read(headers, &mut scratch);
        let attempt = Attempt {
            presented,
            source: Source::of(source),
        };
        let request = AuthRequest {
            door,
            tally: tally.as_ref().unwrap_or(self.recorder.no_route()),
            attempt: &attempt,
            policy: &policy,
            mode,
            now: UnixTime::from(SystemTime::now()),
            began,
        };
        match authorize(
            &self.authority,
            &self.recorder,
            request,
            request_line,
            record,
        )
        .await
        {
            Ok(permit) => Outcome::Permitted(permit),
            Err(denial) => Outcome::Denied(denial),
        }
    }

    /// Makes the 200 with the identity headers, and removes the credential in the way that the
    /// front proxy supports.
    fn permitted(&self, permit: &Permit, proxy: FrontProxy) -> OwnResponse {
        let mut answer = OwnResponse::empty(StatusCode::OK);
        let who = self.identity_headers.who(permit);
        let is_anonymous = who.is_none();
        answer.fields.extend(who.into_iter().flatten());
        let empty = HeaderValue::from_static("");
        match proxy {
            // It treats an empty header in the response as missing.
            FrontProxy::Any => {
                answer
                    .fields
                    .push((self.identity_headers.token().clone(), empty));
            }
            // It would keep the client's headers if the response has none.
            FrontProxy::Caddy if is_anonymous => {
                let names = self.identity_headers.names().cloned();
                answer
                    .fields
                    .extend(names.map(|name| (name, empty.clone())));
            }
            FrontProxy::Envoy => {
                if let Ok(removed) =
                    HeaderValue::from_str(&self.headers_to_remove(permit).join(","))
                {
                    answer.fields.push((REMOVE, removed));
                }
            }
            // They drop the headers in their configuration that are not in the response.
            FrontProxy::Nginx | FrontProxy::Traefik | FrontProxy::Haproxy | FrontProxy::Caddy => {}
        }
        answer
    }

    /// Returns the headers that Envoy removes: the credential, which clients may send on public
    /// routes too, and the identity headers if nobody is authenticated.
    pub(super) fn headers_to_remove(&self, permit: &Permit) -> Vec<&str> {
        let mut removed = vec![
            self.identity_headers.token().as_str(),
            AUTHORIZATION.as_str(),
        ];
        if permit.principal().is_none() {
            removed.extend(self.identity_headers.names().map(HeaderName::as_str));
        }
        removed
    }

    /// Returns the identity headers; `None` for an anonymous permit.
    pub(super) fn who(&self, permit: &Permit) -> Option<[(HeaderName, HeaderValue); 3]> {
        self.identity_headers.who(permit)
    }

    /// Returns the policy for a sub-request: that of the route, narrowed by the front proxy's URL.
    fn route_policy(
        &self,
        parts: &Parts,
        source: Option<IpAddr>,
        proxy: FrontProxy,
    ) -> Result<RoutePolicy, Rejection> {
        let headers = &parts.headers;
        if proxy == FrontProxy::Any {
            let narrowed = narrowing(parts.uri.query().unwrap_or_default())?;
            return Ok(RoutePolicy {
                policy: narrowed.unwrap_or(Policy::Authenticated),
                mode: Mode::Enforce,
                tally: None,
            });
        }
        let narrowed = match proxy {
            FrontProxy::Envoy if !headers.contains_key(X_REALMGATE_NARROW) => "",
            FrontProxy::Envoy => description::once(headers, X_REALMGATE_NARROW)?,
            _ => parts.uri.query().unwrap_or_default(),
        };
        let narrowed = narrowing(narrowed)?;
        let described = match proxy {
            FrontProxy::Envoy => {
                let authority = parts.uri.authority().map(http::uri::Authority::as_str);
                let target = parts.uri.path_and_query().map(PathAndQuery::as_str);
                let target = target.and_then(|it| it.as_bytes().strip_prefix(ENVOY.as_bytes()));
                description::envoy(
                    &parts.method,
                    headers,
                    authority,
                    target.unwrap_or_default(),
                )
            }
            FrontProxy::Nginx => description::nginx(headers),
            _ => description::forwarded(headers),
        };
        self.described_policy(source, described, narrowed)
    }

    /// Returns the policy for a described request, if the peer may describe one.
    pub(super) fn described_policy(
        &self,
        source: Option<IpAddr>,
        described: Result<MatchInput<'_>, Rejection>,
        narrowed: Option<Policy>,
    ) -> Result<RoutePolicy, Rejection> {
        let snapshot = self.snapshot.load();
        trust(source, &snapshot.net.trusted_proxies)?;
        let mut applied = of_route(&snapshot, &described?)?;
        if let Some(narrowed) = narrowed {
            applied.policy = applied.policy.and(narrowed);
            // The front proxy's configuration asks for it, and does not say that it is observed.
            applied.mode = Mode::Enforce;
        }
        Ok(applied)
    }
}

/// Returns whether an HTTP/1 target contains `#`. hyper drops the rest of the path there, but an
/// application behind Envoy may still receive it. Over HTTP/2, Envoy rejects such paths by default
/// since 1.19.1.
fn has_fragment(target: Option<&[u8]>) -> bool {
    target.is_some_and(|target| target.contains(&b'#'))
}

fn of_route(snapshot: &Snapshot, input: &MatchInput<'_>) -> Result<RoutePolicy, Rejection> {
    if snapshot.routes.is_empty() {
        return Ok(RoutePolicy {
            policy: Policy::Authenticated,
            mode: Mode::Enforce,
            tally: None,
        });
    }
    let found = snapshot.routes.resolve(input)?;
    Ok(RoutePolicy {
        policy: found.route.policy.clone(),
        mode: found.route.mode,
        tally: snapshot.tally(found.place).map(Arc::clone),
    })
}

/// A peer without an address is on a Unix socket, which file permissions protect.
pub(super) fn trust(source: Option<IpAddr>, trusted: &[IpNet]) -> Result<(), Rejection> {
    let is_trusted =
        source.is_none_or(|source| trusted.iter().any(|network| network.contains(&source)));
    if is_trusted {
        Ok(())
    } else {
        Err(Rejection::Untrusted)
    }
}
