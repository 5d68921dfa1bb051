//! What becomes of a request's header on its way to the upstream: strip, then stamp.

use http::Version;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr, Result};

use super::{Admitted, Proxy};
use crate::gateway::peer_of;
use crate::gateway::request_id::RequestId;
use crate::gateway::route::Route;
use crate::gateway::wire::{scheme_of, subject_of};
use crate::headers::{
    CredentialHeaders, IdentityHeaders, X_CLIENT_SUBJECT, X_FORWARDED_FOR, X_FORWARDED_HOST,
    X_FORWARDED_PREFIX, X_FORWARDED_PROTO, X_REQUEST_ID,
};

impl Proxy {
    /// Takes off every field that could pass for ours, and the credential that was consumed.
    pub(super) fn strip(&self, request: &mut RequestHeader, admitted: &Admitted) -> Result<()> {
        let has_methods = admitted.route().is_some_and(Route::has_methods);
        let is_proved = admitted.permit.principal().is_some();
        let (identity, credential) = (&self.identity_headers, &self.credential_headers);
        strip(request, identity, credential, is_proved, has_methods)
    }

    /// Changes what the route says.
    pub(super) fn rewrite(&self, request: &mut RequestHeader, route: &Route) -> Result<()> {
        let rules = &route.rewrite.request_headers;
        for name in &rules.remove {
            request.remove_header(name);
        }
        for (name, value) in &rules.set {
            request.insert_header(name.clone(), value.clone())?;
        }
        if let Some(host) = &route.rewrite.host {
            request.insert_header(HOST, host.clone())?;
        }
        let raw = request.raw_path();
        let end = raw.iter().position(|&byte| byte == b'?');
        let (path, query) = raw.split_at(end.unwrap_or(raw.len()));
        if let Some(rest) = route.below_prefix(path) {
            let target = [rest, query].concat();
            request.set_raw_path(&target)?;
        }
        Ok(())
    }

    /// Sets the identity, the address of the client and what it asked for.
    pub(super) fn stamp(
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
        if let Some(prefix) = admitted.route().and_then(|it| it.rewrite.prefix.as_ref()) {
            request.insert_header(X_FORWARDED_PREFIX, prefix.clone())?;
        }
        if header.version == Version::HTTP_2 {
            join_cookies(request)?;
        }
        request.insert_header(X_REQUEST_ID, id.value())
    }
}

/// Takes the reserved fields off, and a credential that is ours.
pub(in crate::gateway) fn strip(
    request: &mut RequestHeader,
    identity: &IdentityHeaders,
    credential: &CredentialHeaders,
    is_proved: bool,
    has_methods: bool,
) -> Result<()> {
    let doomed: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|name| {
            identity.is_reserved(name) || (has_methods && IdentityHeaders::is_method_override(name))
        })
        .cloned()
        .collect();
    for name in &doomed {
        request.remove_header(name);
    }
    // Consumed where somebody proved themselves; where nobody had to, and under a scheme that is not ours, a
    // token still stays here.
    let is_consumed = is_proved && CredentialHeaders::is_basic(&request.headers);
    if is_consumed || credential.holds_token(&request.headers) {
        request.remove_header(&AUTHORIZATION);
    }
    if request.raw_path().first() != Some(&b'/') {
        // Absolute form (RFC 9112 §3.2.2): the path was decided on, so the path is what goes on.
        let origin = request.uri.path_and_query().cloned();
        let origin = origin
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a URI without a path"))?;
        request.set_uri(origin.into());
    }
    Ok(())
}

/// Makes one `Cookie` of those that HTTP/2 takes apart (RFC 9113 §8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let mut crumbs = request.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined).or_err(
        ErrorType::InvalidHTTPHeader,
        "cookies that cannot be joined",
    )?;
    request.insert_header(COOKIE, joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie_and_stay_one() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        join_cookies(&mut request).unwrap();
        assert!(!request.headers.contains_key(COOKIE));
        for crumb in ["a=1", "b=2; c=3", "d=\u{e9}"] {
            let crumb = HeaderValue::from_bytes(crumb.as_bytes()).unwrap();
            request.append_header(COOKIE, crumb).unwrap();
        }
        for _ in 0..2 {
            join_cookies(&mut request).unwrap();
            let all: Vec<_> = request.headers.get_all(COOKIE).iter().collect();
            assert_eq!(all, ["a=1; b=2; c=3; d=\u{e9}".as_bytes()]);
        }
    }
}
