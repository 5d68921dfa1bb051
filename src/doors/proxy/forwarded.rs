//! Prepares the request header for the upstream: strips the client's headers, then sets
//! realmgate's.

use http::header::{
    AUTHORIZATION, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, MAX_FORWARDS, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, VIA,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri, Version};
use memchr::memchr;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr, Result};

use super::Proxy;
use super::context::{Authorized, Onward};
use super::request::{max_forwards, takes_trailers};
use super::trace::pass_on;
use crate::http::request_id::RequestId;
use crate::http::reserved::{has_mark, is_address};
use crate::http::session_cookie;
use crate::http::{
    CredentialHeaders, IdentityHeaders, TRACEPARENT, TRACESTATE, X_CLIENT_SUBJECT, X_FORWARDED_FOR,
    X_FORWARDED_HOST, X_FORWARDED_PREFIX, X_FORWARDED_PROTO, X_REQUEST_ID,
};
use crate::routing::route::Route;

/// The number of headers that are set for most requests, without the identity.
const STAMPED: usize = 5;

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Hop-by-hop headers (RFC 9110 §7.6.1, §11.7), which Pingora removes too, and the announcement of
/// trailers, which are dropped (§6.6.2).
static OF_A_HOP: [HeaderName; 4] = [
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRAILER,
];

impl Proxy {
    /// Prepares the header of a permitted request for the upstream.
    ///
    /// Pingora 0.9.1 keeps the original spelling of names in a second map, which every change would
    /// have to update. Names are therefore sent in lower case, as over HTTP/2; case has no meaning
    /// (RFC 9110 §5.1).
    pub(super) fn forward(
        &self,
        request: &mut RequestHeader,
        authorized: &Authorized,
        session: &Session,
        way: &Onward<'_>,
    ) -> Result<()> {
        let nothing = RequestHeader::from(Request::new(()).into_parts().0);
        let taken = std::mem::replace(request, nothing);
        let target = self.target(&taken, authorized)?;
        let mut parts = Parts::from(taken);
        let fields = &mut parts.headers;
        let (mut has_trace, mut is_of_a_hop) = (false, false);
        for name in fields.keys() {
            has_trace |= name == TRACEPARENT || name == TRACESTATE;
            is_of_a_hop |= OF_A_HOP.contains(name);
        }
        if is_of_a_hop {
            for name in &OF_A_HOP {
                fields.remove(name);
            }
        }
        // Pingora removes it, and gRPC servers require it.
        if parts.version == Version::HTTP_2 && takes_trailers(session.req_header()) {
            fields.insert(TE, TRAILERS);
        }
        if way.is_continued {
            fields.remove(EXPECT);
        }
        if let Some(left) = max_forwards(&parts.method, fields) {
            // A request with 0 does not arrive here: realmgate has responded to it.
            fields.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
        }
        self.strip(fields, authorized, way.id);
        if let Some(route) = authorized.route() {
            rewrite(fields, route);
        }
        self.stamp(fields, authorized, session, way)?;
        if has_trace || way.spans.is_some() {
            pass_on(fields, way.spans);
        }
        parts.uri = Uri::from(target);
        *request = RequestHeader::from(parts);
        Ok(())
    }

    /// Returns the forwarded request target. The host is forwarded in `Host`, of which Pingora
    /// makes `:authority`.
    fn target(&self, request: &RequestHeader, authorized: &Authorized) -> Result<PathAndQuery> {
        let target = request
            .uri
            .path_and_query()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a URI without a path"))?;
        let text = target.as_str().as_bytes();
        let end = memchr(b'?', text).unwrap_or(text.len());
        let (path, query) = text.split_at(end);
        match authorized
            .route()
            .and_then(|route| route.below_prefix(path))
        {
            Some(rest) => PathAndQuery::try_from([rest, query].concat())
                .or_err(ErrorType::InternalError, "a path without its prefix"),
            None => Ok(target.clone()),
        }
    }

    /// Removes the headers that could pass for realmgate's, and the credential.
    fn strip(&self, fields: &mut HeaderMap, authorized: &Authorized, id: RequestId) {
        let passing = authorized
            .route()
            .map_or(&[][..], |route| &route.rewrite.passing);
        let has_methods = authorized.has_methods;
        let is_proved = authorized.permit.principal().is_some();
        let identity = &authorized.snapshot.identity_headers;
        // The debug line tells an operator what to add to `alias_headers` or `pass_headers`.
        let is_logged = tracing::enabled!(tracing::Level::DEBUG);
        let log = |name: &HeaderName| {
            if is_logged && has_mark(name.as_str()) {
                tracing::debug!(request_id = %id, header = %name, "removed a header whose name contains a mark other than a hyphen");
            } else if is_logged && is_address(name.as_str()) {
                tracing::debug!(request_id = %id, header = %name, "removed a header that names a client address");
            }
        };
        strip(fields, identity, passing, (is_proved, has_methods), log);
    }

    /// Sets the identity, the address of the client, and the original request.
    fn stamp(
        &self,
        fields: &mut HeaderMap,
        authorized: &Authorized,
        session: &Session,
        way: &Onward<'_>,
    ) -> Result<()> {
        let identity = &authorized.snapshot.identity_headers;
        let names = authorized.identity_names();
        let who = match names {
            None => identity.who(&authorized.permit),
            Some(_) => None,
        };
        // Growing once is cheaper than growing for each header. Room for more is dearer to clear.
        fields.reserve(STAMPED + who.as_ref().map_or(0, |who| who.len()));
        for (name, value) in names.into_iter().flat_map(|it| it.who(&authorized.permit)) {
            fields.insert(name, value);
        }
        if let Some(who) = who {
            for (name, value) in who {
                fields.insert(name, value);
            }
        }
        let peer = way.peer;
        if let Some(address) = peer.forwarded_for() {
            fields.insert(X_FORWARDED_FOR, address.clone());
        }
        let header = session.req_header();
        if let Some(host) = header.headers.get(HOST) {
            fields.insert(X_FORWARDED_HOST, host.clone());
        } else if let Some(authority) = header.uri.authority() {
            let host = HeaderValue::from_str(authority.as_str());
            let host = host.or_err(ErrorType::InvalidHTTPHeader, "an authority")?;
            // Pingora 0.9.1 makes `:authority` from `Host` and the scheme of the upstream. Without
            // a `Host`, it forwards the client's `:scheme`, and loses the authority if a prefix is
            // stripped.
            fields.entry(HOST).or_insert_with(|| host.clone());
            fields.insert(X_FORWARDED_HOST, host);
        } else if let (Some(upstream), Some(chosen)) = (authorized.upstream(), way.chosen) {
            // HTTP/1.0 needs no Host, but the request is forwarded as HTTP/1.1 (RFC 9112 §3.2).
            fields.entry(HOST).or_insert_with(|| upstream.host(chosen));
        }
        let scheme = if peer.is_tls { "https" } else { "http" };
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        if let Some(subject) = peer.subject() {
            fields.insert(X_CLIENT_SUBJECT, subject.clone());
        }
        if let Some(prefix) = authorized.route().and_then(|it| it.rewrite.prefix.as_ref()) {
            fields.insert(X_FORWARDED_PREFIX, prefix.clone());
        }
        if header.version == Version::HTTP_2 {
            join_cookies(fields)?;
        }
        fields.insert(X_REQUEST_ID, way.id.value());
        // RFC 9110 §7.6.3.
        fields.append(
            VIA,
            HeaderValue::from_static(match header.version {
                Version::HTTP_2 => "2.0 realmgate",
                Version::HTTP_10 => "1.0 realmgate",
                _ => "1.1 realmgate",
            }),
        );
        Ok(())
    }
}

/// Applies the header rules of the route.
fn rewrite(fields: &mut HeaderMap, route: &Route) {
    let rules = &route.rewrite.request_headers;
    for name in &rules.remove {
        fields.remove(name);
    }
    for (name, value) in &rules.set {
        fields.insert(name.clone(), value.clone());
    }
    if let Some(host) = &route.rewrite.host {
        fields.insert(HOST, host.clone());
    }
}

/// Removes the reserved headers and those with unusual punctuation, except `passing`, and calls
/// `on_removed` with the name of each. Also removes a credential for realmgate, and the cookie of the
/// admin page.
pub(in crate::doors) fn strip(
    fields: &mut HeaderMap,
    identity: &IdentityHeaders,
    passing: &[HeaderName],
    (is_proved, has_methods): (bool, bool),
    mut on_removed: impl FnMut(&HeaderName),
) {
    let is_dropped = |name: &HeaderName| {
        identity.is_dropped(name, passing)
            || (has_methods && IdentityHeaders::is_method_override(name))
    };
    if fields.keys().any(is_dropped) {
        // Copying the others once is cheaper than removing each.
        let mut kept = HeaderMap::with_capacity(fields.len() + STAMPED);
        for (name, value) in &*fields {
            match is_dropped(name) {
                true => on_removed(name),
                false => _ = kept.append(name, value.clone()),
            }
        }
        *fields = kept;
    }
    let (mut has_authorization, mut has_cookie) = (false, false);
    for name in fields.keys() {
        has_authorization |= name == AUTHORIZATION;
        has_cookie |= name == COOKIE;
    }
    // A Basic credential that authenticated the request is removed. On a public route, or under
    // another scheme, a token for realmgate is removed too.
    let is_consumed = || is_proved && CredentialHeaders::is_basic(fields);
    if has_authorization && (is_consumed() || CredentialHeaders::holds_token(fields)) {
        fields.remove(AUTHORIZATION);
    }
    if has_cookie {
        session_cookie::remove(fields);
    }
}

/// Joins the cookie crumbs of HTTP/2 into one `Cookie` header (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) -> Result<()> {
    let mut crumbs = fields.get_all(COOKIE).iter();
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
    fields.insert(COOKIE, joined);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie_and_stay_one() {
        let mut fields = HeaderMap::new();
        join_cookies(&mut fields).unwrap();
        assert!(!fields.contains_key(COOKIE));
        for crumb in ["a=1", "b=2; c=3", "d=\u{e9}"] {
            let crumb = HeaderValue::from_bytes(crumb.as_bytes()).unwrap();
            fields.append(COOKIE, crumb);
        }
        for _ in 0..2 {
            join_cookies(&mut fields).unwrap();
            let all: Vec<_> = fields.get_all(COOKIE).iter().collect();
            assert_eq!(all, ["a=1; b=2; c=3; d=\u{e9}".as_bytes()]);
        }
    }
}
