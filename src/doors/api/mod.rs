//! The REST door: the ungleich-otp 0.8 API as an axum Router.
//!
//! The steps of a request: [`call`] negotiates the [`format`] and parses the body ([`body`]:
//! [`media`], [`json`], [`form`]) → [`caller`] authenticates the caller → [`verify`] or
//! [`identities`] carries out the request → [`response`] renders the response like ungleich-otp,
//! including headers and spacing.

mod author;
mod body;
mod call;
mod caller;
pub(crate) mod change;
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
mod shape;
mod state;
mod verify;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use futures_util::FutureExt;

use super::local::Rest;
pub use state::Api;

/// Makes the router of `/ungleichotp/` and of `/`, which links to it. Other paths get
/// ungleich-otp's 404 page.
///
/// The body of a request must be complete and of limited size. The address of the peer is in the
/// extension [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), if it is known, and the
/// scheme of the client's URL in the extension [`Scheme`](http::uri::Scheme), `http` by default.
pub fn router(api: Api) -> Router {
    router_of(Arc::new(api))
}

/// Makes the router, and the way around it.
pub fn rest(api: Api) -> Rest {
    let api = Arc::new(api);
    Rest {
        router: router_of(Arc::clone(&api)),
        verify: Box::new(move |parts, body, origin| {
            verify::verify_read(Arc::clone(&api), parts, body, origin).boxed()
        }),
    }
}

fn router_of(api: Arc<Api>) -> Router {
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
        .with_state(api)
}

/// Serves a path of one segment below `/ungleichotp/`. With a trailing slash, or a format in its
/// place, it is an identity. Any other segment with a dot is not a path of ungleich-otp.
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

/// Redirects to the same path with a trailing slash, for any method.
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
