//! The REST door: the ungleich-otp 0.8 API as an axum Router.
//!
//! The way of a request: [`call`] finds the [`format`] and reads the body ([`body`]: [`media`], [`json`], [`form`])
//! → [`caller`] finds out who calls and asks the authority → [`verify`] or [`identities`] does what was
//! asked → [`response`] writes the answer as the old server did, down to its headers and its spacing.

mod body;
mod call;
mod caller;
mod change;
mod encode;
mod errors;
mod field;
mod form;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod identities;
mod json;
mod media;
mod metadata;
mod page;
mod parse;
mod parts;
mod python;
mod response;
mod root;
mod state;
mod verify;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;

pub use state::Api;

/// Makes the router of `/ungleichotp/` and of `/`, which names it. Whatever else is asked for is the old server's 404 page.
///
/// A request's body must be complete and bounded when it gets here. The peer's address is read from
/// the extension [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), if there, and the scheme that the client
/// spoke from the extension [`Scheme`](http::uri::Scheme), otherwise `http`.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/", any(root::root))
        .route("/ungleichotp", any(redirect))
        .route("/ungleichotp/", any(identities::collection))
        .route("/ungleichotp.json", any(identities::collection))
        .route("/ungleichotp.json/", any(identities::collection))
        .route("/ungleichotp/verify", any(redirect))
        .route("/ungleichotp/verify/", any(verify::verify))
        .route("/ungleichotp/verify.json", any(verify::verify))
        .route("/ungleichotp/verify.json/", any(verify::verify))
        .route("/ungleichotp/{id}", any(member))
        .route("/ungleichotp/{id}/", any(member))
        .fallback(async || response::no_such_page())
        .with_state(Arc::new(api))
}

/// Answers a path of one segment below `/ungleichotp/`. With a slash at its end it is an identity, and
/// with a format in its place too; a segment with another dot in it is no path of the old server's.
async fn member(
    state: State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let segment = id.as_ref().map_or("", |Path(id)| id);
    let stem = segment.strip_suffix(".json");
    if stem.unwrap_or(segment).contains(['.', '/']) {
        return response::no_such_page();
    }
    if stem.is_some() || path.ends_with('/') {
        identities::member(state, id, request).await
    } else {
        redirect(request).await
    }
}

/// Sends the caller to the same path with the slash at its end, whatever the method.
async fn redirect(request: Request) -> Response {
    let path = request.uri().path();
    let location = match request.uri().query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    response::moved(&location)
}

#[cfg(test)]
mod tests;
