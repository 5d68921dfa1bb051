//! Processes the response header of an upstream on its way to the client.

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderName, Method, StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::context::{Authorized, Context};
use super::hop::{self, Way};
use super::request::takes_trailers;
use super::tenure::Tenure;
use crate::auth::Authority;
use crate::http::{privatize, targeted};

/// Processes the header as received, before Pingora acts on it.
///
/// # Errors
/// The header cannot be forwarded.
pub(super) fn receive(
    session: &Session,
    response: &mut ResponseHeader,
    context: &Context,
) -> Result<()> {
    let way = Way {
        is_upgrade: context.gate.is_some(),
        // Pingora reads trailers of HTTP/2 only.
        has_trailers: response.version == Version::HTTP_2 && reaches_client(session.req_header()),
    };
    hop::mend(response, way)
}

/// Returns whether trailers reach the client of a request: over HTTP/1.1, one that accepts them (RFC 9110 §6.5.1).
fn reaches_client(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_2
        || request.version == Version::HTTP_11 && takes_trailers(request)
}

/// Processes the header before it is sent to the client.
///
/// # Errors
/// There were too many interim responses.
pub(super) fn pass(
    session: &mut Session,
    response: &mut ResponseHeader,
    (context, authority): (&mut Context, &Arc<Authority>),
) -> Result<()> {
    if response.version == Version::HTTP_10 {
        // Each hop sends its own version (RFC 9110 §6.2).
        response.set_version(Version::HTTP_11);
    }
    let is_switch = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if response.status.is_informational() && !is_switch {
        return context.interim(session.is_body_done());
    }
    let Some(authorized) = context.authorized.as_ref() else {
        return Ok(());
    };
    if let (Some(decided), Some(upstream)) = (context.decided, authorized.upstream()) {
        let took = decided.elapsed();
        upstream.tally.responded(took, response.status);
        context.upstream_took = Some(took);
    }
    let tenure = |authorized| Tenure::of(authority, authorized, response, context.id);
    if is_switch {
        // From here on, no body is awaited, and the upstream's timeout applies to silence. The client
        // must take what the upstream sends.
        let upstream = authorized.upstream();
        session.set_write_timeout(Some(authorized.snapshot.net.timeouts.write));
        session.set_read_timeout(upstream.map(|upstream| upstream.read_timeout()));
        hold(session, tenure(authorized));
        return Ok(());
    }
    // RFC 9110 §9.3.2, §15.3.5, §15.4.5. Pingora ensures this over HTTP/1 only.
    context.has_no_content = session.req_header().method == Method::HEAD
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if !context.has_no_content {
        hold(session, tenure(authorized));
    }
    rewrite(response, authorized)
}

/// Passes on the permit of a response that may last to the session that sends it.
fn hold(session: &mut Session, tenure: Option<Tenure>) {
    if let Some(tenure) = tenure {
        let header = session.req_header_mut();
        header.extensions_mut().insert(tenure);
    }
}

/// Applies the header rules of the route. Then keeps responses to authenticated requests out of
/// shared caches, unless the route allows them.
fn rewrite(response: &mut ResponseHeader, authorized: &Authorized) -> Result<()> {
    let Some(route) = authorized.route() else {
        return Ok(());
    };
    let rules = &route.rewrite.response_headers;
    for name in &rules.remove {
        response.remove_header(name);
    }
    for (name, value) in &rules.set {
        response.insert_header(name.clone(), value.clone())?;
    }
    if route.rewrite.shared_cache || authorized.permit.principal().is_none() {
        return Ok(());
    }
    if let Some(value) = privatize(&response.headers) {
        response.remove_header(&CACHE_CONTROL);
        response.insert_header("Cache-Control", value)?;
    }
    let removed: Vec<HeaderName> = targeted(&response.headers).cloned().collect();
    for name in &removed {
        response.remove_header(name);
    }
    Ok(())
}
