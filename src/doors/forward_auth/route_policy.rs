//! The policy for a sub-request.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;

use super::description;
use super::front_proxy::{ENVOY, FrontProxy};
use super::narrowing::narrowing;
use crate::auth::{Mode, Policy};
use crate::config::NetworkSet;
use crate::doors::snapshot::Snapshot;
use crate::http::rejection::Rejection;
use crate::http::{Denials, IdentityOf};
use crate::routing::input::MatchInput;
use crate::telemetry::Tally;

/// Envoy's URL ends with the path of the client, so restrictions are in this header instead of the
/// query.
const X_REALMGATE_NARROW: &str = "x-realmgate-narrow";

/// The policy for a sub-request.
pub(in crate::doors) struct RoutePolicy {
    /// The principals that may pass.
    pub(super) policy: Policy,
    /// Whether the policy is enforced.
    pub(super) mode: Mode,
    /// The counters of the route; `None` without routes.
    pub(super) tally: Option<Arc<Tally>>,
    /// How the route responds to denied requests, if not as by default.
    pub(super) denials: Option<Arc<Denials>>,
    /// The identity headers of the application; `None` if no upstream has names of its own.
    pub(super) identity: Option<Arc<IdentityOf>>,
}

/// Returns the policy for a sub-request: that of the route, narrowed by the front proxy's URL.
pub(super) fn route_policy(
    snapshot: &Snapshot,
    parts: &Parts,
    addresses: (Option<IpAddr>, Option<IpAddr>),
    proxy: FrontProxy,
) -> Result<RoutePolicy, Rejection> {
    let headers = &parts.headers;
    if proxy == FrontProxy::Any {
        let narrowed = match parts.uri.query() {
            Some(query) => narrowing(query)?,
            None => None,
        };
        return Ok(RoutePolicy {
            policy: narrowed.unwrap_or(Policy::Authenticated),
            mode: Mode::Enforce,
            tally: None,
            denials: None,
            identity: snapshot.identity(None).map(Arc::clone),
        });
    }
    let narrowed = match proxy {
        FrontProxy::Envoy if !headers.contains_key(X_REALMGATE_NARROW) => "",
        FrontProxy::Envoy => match description::once(headers, X_REALMGATE_NARROW)? {
            // A restriction that is lost must not allow everyone.
            "" => return Err(Rejection::Query),
            narrowed => narrowed,
        },
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
    described_policy(snapshot, addresses, described, narrowed)
}

/// Returns the policy for a described request, if the peer may describe one. `client` is the address
/// that it names, if any.
pub(super) fn described_policy(
    snapshot: &Snapshot,
    (peer, client): (Option<IpAddr>, Option<IpAddr>),
    described: Result<MatchInput<'_>, Rejection>,
    narrowed: Option<Policy>,
) -> Result<RoutePolicy, Rejection> {
    trust(peer, &snapshot.net.trusted_proxies)?;
    let mut described = described?;
    if snapshot.routes.has_networks() {
        described.client = snapshot.client(client);
        snapshot.warn_unaddressed(&described);
    }
    let mut applied = of_route(snapshot, &described)?;
    if let Some(narrowed) = narrowed {
        applied.policy = applied.policy.and(narrowed);
        // The front proxy's configuration asks for it, and does not say that it is observed.
        applied.mode = Mode::Enforce;
    }
    Ok(applied)
}

fn of_route(snapshot: &Snapshot, input: &MatchInput<'_>) -> Result<RoutePolicy, Rejection> {
    if snapshot.routes.is_empty() {
        return Ok(RoutePolicy {
            policy: Policy::Authenticated,
            mode: Mode::Enforce,
            tally: None,
            denials: None,
            identity: snapshot.identity(None).map(Arc::clone),
        });
    }
    let found = snapshot.routes.resolve(input)?;
    Ok(RoutePolicy {
        policy: found.route.policy.clone(),
        mode: found.route.mode,
        tally: snapshot.tally(found.place).map(Arc::clone),
        denials: snapshot.denials(found.place).map(Arc::clone),
        identity: snapshot.identity(found.route.upstream).map(Arc::clone),
    })
}

/// Returns whether a peer may describe original requests.
pub(super) fn is_trusted(snapshot: &Snapshot, peer: Option<IpAddr>) -> bool {
    trust(peer, &snapshot.net.trusted_proxies).is_ok()
}

/// A peer without an address is on a Unix socket, which file permissions protect.
fn trust(source: Option<IpAddr>, trusted: &NetworkSet) -> Result<(), Rejection> {
    match source.is_none_or(|source| trusted.contains(source)) {
        true => Ok(()),
        false => Err(Rejection::Untrusted),
    }
}
