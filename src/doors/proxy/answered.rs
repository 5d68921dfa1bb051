//! What becomes of the header of an upstream's answer on its way to the client.

use http::header::{CACHE_CONTROL, DATE, TRANSFER_ENCODING};
use http::{HeaderName, Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::context::{Admitted, Context};
use super::hop::{self, Way};
use crate::http::{privatize, targeted};
use crate::net::accept::keep_date;

/// Takes the header as it came, before anything is made of it.
///
/// # Errors
/// It cannot be handed on.
pub(super) fn receive(
    session: &Session,
    response: &mut ResponseHeader,
    context: &Context,
) -> Result<()> {
    let way = Way {
        is_upgrade: context.gate.is_some(),
        // Pingora hands on those of HTTP/2 alone.
        has_trailers: response.version == Version::HTTP_2
            && session.req_header().version == Version::HTTP_2,
    };
    hop::mend(response, way)
}

/// Hands the header on.
///
/// # Errors
/// It is one interim answer too many.
pub(super) fn pass(
    session: &mut Session,
    response: &mut ResponseHeader,
    context: &mut Context,
) -> Result<()> {
    // Who speaks HTTP/1.0 knows no chunks (RFC 9112 §7): the body ends with the connection.
    if session.req_header().version == Version::HTTP_10
        && response.remove_header(&TRANSFER_ENCODING).is_some()
    {
        session.set_keepalive(None);
    }
    if response.version == Version::HTTP_10 {
        // Each hop says its own version (RFC 9110 §6.2).
        response.set_version(Version::HTTP_11);
    }
    let is_switch = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if response.status.is_informational() && !is_switch {
        return context.interim(session.is_body_done());
    }
    if let Some(clock) = &context.clock {
        clock.end();
    }
    let Some(admitted) = context.admitted.as_ref() else {
        return Ok(());
    };
    if let (Some(decided), Some(upstream)) = (context.decided, admitted.upstream()) {
        let took = decided.elapsed();
        upstream.tally.answered(took, response.status);
        context.upstream_took = Some(took);
    }
    if is_switch {
        // No body is waited for any more, and who may be silent is the upstream's to say.
        let upstream = admitted.upstream();
        session.set_read_timeout(upstream.map(|upstream| upstream.read_timeout()));
        return Ok(());
    }
    // RFC 9110 §9.3.2, §15.3.5, §15.4.5. Pingora sees to it over HTTP/1 alone.
    context.has_no_content = session.req_header().method == Method::HEAD
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    rewrite(response, admitted)?;
    let mut dates = response.headers.get_all(DATE).iter();
    let one = dates.next().filter(|_| dates.next().is_none());
    keep_date(session, one);
    Ok(())
}

/// Changes what the route says. Then keeps shared caches from storing what was answered to somebody who has
/// proved who they are, unless the route lets them.
fn rewrite(response: &mut ResponseHeader, admitted: &Admitted) -> Result<()> {
    let Some(route) = admitted.route() else {
        return Ok(());
    };
    let rules = &route.rewrite.response_headers;
    for name in &rules.remove {
        response.remove_header(name);
    }
    for (name, value) in &rules.set {
        response.insert_header(name.clone(), value.clone())?;
    }
    if route.rewrite.shared_cache || admitted.permit.principal().is_none() {
        return Ok(());
    }
    if let Some(value) = privatize(&response.headers) {
        response.remove_header(&CACHE_CONTROL);
        response.insert_header("Cache-Control", value)?;
    }
    let doomed: Vec<HeaderName> = targeted(&response.headers).cloned().collect();
    for name in &doomed {
        response.remove_header(name);
    }
    Ok(())
}
