//! What becomes of a request's header on its way to the upstream: strip, then stamp.

use http::header::{AUTHORIZATION, HOST, HeaderName};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::{Admitted, Proxy};
use crate::gateway::peer_of;
use crate::gateway::request_id::RequestId;
use crate::gateway::route::Route;
use crate::gateway::wire::{scheme_of, subject_of};
use crate::headers::{
    CredentialHeaders, IdentityHeaders, X_CLIENT_SUBJECT, X_FORWARDED_FOR, X_FORWARDED_HOST,
    X_FORWARDED_PROTO, X_REQUEST_ID,
};

impl Proxy {
    /// Takes off every field that could pass for ours, and the credential that was consumed.
    pub(super) fn strip(&self, request: &mut RequestHeader, admitted: &Admitted) -> Result<()> {
        let has_methods = admitted
            .rules
            .routes
            .get(admitted.route)
            .is_some_and(Route::has_methods);
        let doomed: Vec<HeaderName> = request
            .headers
            .keys()
            .filter(|name| {
                self.identity_headers.is_reserved(name)
                    || (has_methods && IdentityHeaders::is_method_override(name))
            })
            .cloned()
            .collect();
        for name in &doomed {
            request.remove_header(name);
        }
        // Consumed where somebody proved themselves; where nobody had to, a token still stays here.
        let is_ours = match admitted.permit.principal() {
            Some(_) => CredentialHeaders::is_basic(&request.headers),
            None => self.credential_headers.holds_token(&request.headers),
        };
        if is_ours {
            request.remove_header(&AUTHORIZATION);
        }
        if request.raw_path().first() != Some(&b'/') {
            // Absolute form (RFC 9112 §3.2.2): the path was decided on, so the path is what goes on.
            let origin =
                request.uri.path_and_query().cloned().ok_or_else(|| {
                    Error::explain(ErrorType::InternalError, "a URI without a path")
                })?;
            request.set_uri(origin.into());
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
        request.insert_header(X_REQUEST_ID, id.value())
    }
}
