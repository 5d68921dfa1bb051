//! The REST door: the ungleich-otp 0.8 API as an axum Router.
//!
//! The way of a request: [`call`] negotiates and reads the body ([`body`]) → [`caller`] finds out who
//! calls and asks the authority → [`verify`] or [`identities`] does what was asked → [`wire`] writes
//! the answer as the old server did, down to its headers and its spacing.

mod accept;
mod body;
mod call;
mod caller;
mod field;
mod identities;
mod metadata;
mod verify;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::auth::{Authority, Parameters};
use crate::headers::CredentialHeaders;

/// What the REST door needs.
pub struct Api {
    /// Who decides, and whose store is changed.
    pub authority: Arc<Authority>,
    /// Where a credential stands that is not in the body; its `name_chars` bounds the fields of a
    /// body too.
    pub credential_headers: CredentialHeaders,
    /// Whether every answer about an identity shows its seed, as the old server did, and not only
    /// its creation.
    pub reveal_seeds: bool,
    /// The parameters of new identities.
    pub defaults: Parameters,
}

/// Makes the router of `/ungleichotp/`. Whatever else is asked for is the old server's 404 page.
///
/// A request's body must be complete and bounded when it gets here. The peer's address is read from
/// the extension [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), if there.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/ungleichotp", any(redirect))
        .route("/ungleichotp/", any(identities::collection))
        .route("/ungleichotp/verify", any(redirect))
        .route("/ungleichotp/verify/", any(verify::verify))
        .route("/ungleichotp/{id}", any(redirect))
        .route("/ungleichotp/{id}/", any(identities::member))
        .fallback(async || wire::no_such_page())
        .with_state(Arc::new(api))
}

/// Sends the caller to the same path with the slash at its end, whatever the method. A last segment
/// with a dot is no path of the old server's.
async fn redirect(request: Request) -> Response {
    let path = request.uri().path();
    if path.contains('.') {
        return wire::no_such_page();
    }
    let location = match request.uri().query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    wire::moved(&location).into_response()
}

#[cfg(test)]
mod tests;
