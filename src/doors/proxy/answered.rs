//! What becomes of the header of an upstream's answer on its way to the client.

use http::HeaderName;
use http::header::CACHE_CONTROL;
use pingora::Result;
use pingora::http::ResponseHeader;

use super::Admitted;
use crate::http::{privatize, targeted};

/// Changes what the route says. Then keeps shared caches from storing what was answered to somebody who has
/// proved who they are, unless the route lets them.
pub(super) fn rewrite(response: &mut ResponseHeader, admitted: &Admitted) -> Result<()> {
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
