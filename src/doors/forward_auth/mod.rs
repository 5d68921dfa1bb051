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
mod permitted;
mod route_policy;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};

use client::Warned;
pub(super) use client::{GRPC, address};
pub(super) use description::input;
pub(crate) use front_proxy::FrontProxy;
pub(super) use narrowing::Narrowing;
use permitted::{Permitted, bare};
use route_policy::{RoutePolicy, described_policy, is_trusted, route_policy};

use super::authorize::{AuthRequest, authorize};
use super::head::check;
use super::snapshot::{Live, Snapshot};
use crate::auth::{Attempt, Authority, Denial, Permit, Policy, Source, UnixTime};
use crate::http::own_response::OwnResponse;
pub(super) use crate::http::rejection::Rejection;
use crate::http::{
    CredentialHeaders, Denials, IdentityHeaders, IdentityNames, IdentityOf, Scratch,
};
use crate::net::http::{ClientRequest, Reply};
use crate::net::request_line::request_line_of;
use crate::routing::input::MatchInput;
use crate::routing::target::Ambiguity;
use crate::telemetry::{Door, Recorder, RequestLine, RequestRecord};

/// The response header with the names of headers that Envoy removes.
const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The forward-auth door.
pub(crate) struct ForwardAuth {
    authority: Arc<Authority>,
    credential_headers: CredentialHeaders,
    identity_headers: IdentityHeaders,
    /// The permits for a front proxy that the path does not name, and for the others.
    for_any: Permitted,
    for_named: Permitted,
    snapshot: Live,
    pub(super) recorder: Arc<Recorder>,
    warned: Warned,
}

/// The outcome of a sub-request.
pub(super) enum Outcome {
    /// The request may pass to an application with these identity headers, if not the default ones.
    Permitted(Permit, Option<Arc<IdentityOf>>),
    /// The request is denied, on a route that responds in this way if not by default.
    Denied(Denial, Option<Arc<Denials>>),
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
        let no_token = (
            identity_headers.token().clone(),
            HeaderValue::from_static(""),
        );
        Self {
            authority,
            credential_headers,
            for_any: Permitted::new(&identity_headers, [no_token]),
            for_named: Permitted::new(&identity_headers, None),
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
        let ClientRequest {
            parts,
            target,
            peer,
            began,
            now,
            ..
        } = request;
        let peer = peer.source();
        let headers = &parts.headers;
        let (applied, source) = {
            let snapshot = self.snapshot.load();
            let source = self.client_of(&snapshot, peer, proxy.name(), || {
                client::client(headers, proxy, snapshot.client_address_header.as_ref())
            });
            let applied = match proxy {
                FrontProxy::Envoy if has_fragment(target.as_deref()) => {
                    Err(Ambiguity::Character.into())
                }
                _ => route_policy(&snapshot, parts, (peer, source), proxy)
                    .and_then(|applied| check(parts).map(|()| applied)),
            };
            (applied, source)
        };
        let request_line = || self.request_line(parts, peer, proxy);
        let times = (*began, UnixTime::from(*now), request_line);
        match self.judge(source, headers, applied, times, record).await {
            Outcome::Permitted(permit, identity) => {
                if proxy == FrontProxy::Any && parts.uri.query().is_none_or(str::is_empty) {
                    self.snapshot.load().warn_bypassed();
                }
                self.permitted(&permit, identity.as_deref(), parts, proxy)
            }
            Outcome::Denied(denial, denials) => OwnResponse::sub_request_denied(&denial)
                .denied_as(denials.as_deref())
                .named(record.request_id())
                .into(),
            Outcome::Rejected => OwnResponse::empty(StatusCode::FORBIDDEN)
                .named(record.request_id())
                .into(),
        }
    }

    /// Logs and counts an auth request to an endpoint that does not exist.
    pub(super) fn unknown(&self, request: &ClientRequest, record: &mut RequestRecord) {
        let ClientRequest { parts, peer, .. } = request;
        let (door, line) = ((Door::ForwardAuth, None), request_line_of(parts));
        self.recorder
            .rejected(door, peer.source(), Rejection::Endpoint, line, record);
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
        is_trusted(&self.snapshot.load(), peer)
    }

    /// Returns the client address of the original request: for a trusted front proxy the one that
    /// it names, if any, else the address of the peer.
    pub(super) fn client(
        &self,
        peer: Option<IpAddr>,
        front_proxy: &'static str,
        described: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        self.client_of(&self.snapshot.load(), peer, front_proxy, described)
    }

    fn client_of(
        &self,
        snapshot: &Snapshot,
        peer: Option<IpAddr>,
        front_proxy: &'static str,
        described: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        if !is_trusted(snapshot, peer) {
            return peer;
        }
        let client = described();
        if client.is_none() {
            self.warned.warn(front_proxy, peer);
        }
        client
    }

    /// Decides about the credential in a sub-request at the time `now`, with the policy of `applied`.
    /// `began` is when it arrived. `request_line` returns the request line that is logged if it is
    /// denied.
    pub(super) async fn judge<'a>(
        &self,
        source: Option<IpAddr>,
        headers: &HeaderMap,
        applied: Result<RoutePolicy, Rejection>,
        (began, now, request_line): (Instant, UnixTime, impl FnOnce() -> RequestLine<'a>),
        record: &mut RequestRecord,
    ) -> Outcome {
        let door = Door::ForwardAuth;
        let RoutePolicy {
            policy,
            mode,
            tally,
            denials,
            identity,
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
            now,
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
            Ok(permit) => Outcome::Permitted(permit, identity),
            Err(denial) => Outcome::Denied(denial, denials),
        }
    }

    /// Makes the 200 with the identity headers, and removes the credential in the way that the
    /// front proxy supports.
    fn permitted(
        &self,
        permit: &Permit,
        identity: Option<&IdentityOf>,
        parts: &Parts,
        proxy: FrontProxy,
    ) -> Response<Reply> {
        let permitted = match proxy {
            FrontProxy::Any => &self.for_any,
            _ => &self.for_named,
        };
        // The prepared lines have the default names only.
        let has_lines = identity.is_none()
            && parts.version == Version::HTTP_11
            && parts.method != Method::HEAD
            && proxy != FrontProxy::Envoy;
        if has_lines
            && let Some(response) =
                IdentityHeaders::with_values(permit, |identity| permitted.response(identity))
        {
            return response;
        }
        let headers = IdentityHeaders::with_values(permit, |identity| permitted.with(identity));
        let mut headers = headers.unwrap_or_else(bare);
        if let Some(names) = own_names(identity) {
            // One of them may be a default header, which `extend` would send twice.
            for (name, value) in names.who(permit) {
                headers.insert(name, value);
            }
        }
        let empty = HeaderValue::from_static("");
        match proxy {
            // It treats an empty header in the response as missing.
            FrontProxy::Any => {
                if permit.principal().is_none() {
                    headers.insert(self.identity_headers.token().clone(), empty.clone());
                }
                for name in identity.iter().flat_map(|it| &it.absent) {
                    headers.insert(name.clone(), empty.clone());
                }
            }
            // It would keep the client's headers if the response has none.
            FrontProxy::Caddy => {
                for name in self.absent(permit, identity) {
                    headers.insert(name.clone(), empty.clone());
                }
            }
            FrontProxy::Envoy => {
                if let Ok(removed) =
                    HeaderValue::from_str(&self.headers_to_remove(permit, identity).join(","))
                {
                    headers.insert(REMOVE, removed);
                }
            }
            // They drop the headers in their configuration that are not in the response.
            FrontProxy::Nginx | FrontProxy::Traefik | FrontProxy::Haproxy => {}
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.headers = headers;
        Response::from_parts(parts, Reply::empty())
    }

    /// Returns the headers that Envoy removes: the credential, which clients may send on public
    /// routes too, and the identity headers that the application does not get.
    pub(super) fn headers_to_remove<'a>(
        &'a self,
        permit: &'a Permit,
        identity: Option<&'a IdentityOf>,
    ) -> Vec<&'a str> {
        let mut removed = vec![
            self.identity_headers.token().as_str(),
            AUTHORIZATION.as_str(),
        ];
        removed.extend(self.absent(permit, identity).map(HeaderName::as_str));
        removed
    }

    /// Returns the identity headers that the application must not get: all of them if nobody is
    /// authenticated, else those of other upstreams.
    fn absent<'a>(
        &'a self,
        permit: &Permit,
        identity: Option<&'a IdentityOf>,
    ) -> impl Iterator<Item = &'a HeaderName> {
        let is_anonymous = permit.principal().is_none();
        let own = own_names(identity)
            .into_iter()
            .flat_map(IdentityNames::names);
        let others = identity.into_iter().flat_map(|it| &it.absent);
        let set = self.identity_headers.names().chain(own);
        set.filter(move |_| is_anonymous).chain(others)
    }

    /// Returns the identity headers: the default ones, which front proxies rely on, and those of the
    /// upstream. None for an anonymous permit.
    pub(super) fn who<'a>(
        &self,
        permit: &Permit,
        identity: Option<&'a IdentityOf>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<'a> {
        let own = own_names(identity);
        let is_default = move |(name, _): &(HeaderName, HeaderValue)| {
            own.is_none_or(|own| own.names().all(|own| own != name))
        };
        let default = self.identity_headers.who(permit).into_iter().flatten();
        let own = own.map(|names| names.who(permit));
        default.filter(is_default).chain(own.into_iter().flatten())
    }

    /// Returns the policy for a described request, if the peer may describe one. `addresses` are
    /// those of the peer and of the client that it names.
    pub(super) fn described_policy(
        &self,
        addresses: (Option<IpAddr>, Option<IpAddr>),
        described: Result<MatchInput<'_>, Rejection>,
        narrowed: Option<Policy>,
    ) -> Result<RoutePolicy, Rejection> {
        described_policy(&self.snapshot.load(), addresses, described, narrowed)
    }
}

/// Returns the names of the identity headers, if the upstream has its own.
fn own_names(identity: Option<&IdentityOf>) -> Option<&IdentityNames> {
    identity?.names.as_ref()
}

/// Returns whether an HTTP/1 target contains `#`. hyper drops the rest of the path there, but an
/// application behind Envoy may still receive it. Over HTTP/2, Envoy rejects such paths by default
/// since 1.19.1.
fn has_fragment(target: Option<&[u8]>) -> bool {
    target.is_some_and(|target| target.contains(&b'#'))
}
