//! The admin page: HTML for people, on a listener of its own.
//!
//! The steps of a request: [`guard`] checks host, origin and session → a handler sends requests to
//! the router of `/v1` in the same process, with the permit of the session → it renders a template.
//! So the page can do what `/v1` can do, in the same way.

mod asset;
mod assets;
mod audit;
mod bulk;
mod change;
mod create;
mod disable;
mod fault;
mod form;
mod guard;
mod history;
mod identities;
mod login;
mod nodes;
mod overview;
mod qr;
mod seen;
mod server;
mod sessions;
mod site;
mod state;
mod terms;
mod token;
mod trail;
mod unsent;
mod view;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use change::{Order, confirming};
use fault::Fault;
pub use state::Page;

/// Makes the router of the admin page.
///
/// The body of a request has deadlines and no size limit yet.
pub fn router(page: Page) -> Router {
    let page = Arc::new(page);
    let guard = from_fn_with_state(Arc::clone(&page), guard::guard);
    let identity = |what: &str| format!("/identities/{{id}}{what}");
    Router::new()
        .route("/assets/{name}", get(asset::serve))
        .route("/login", get(login::form).post(login::log_in))
        .route("/link", get(login::link).post(login::use_link))
        .route("/logout", post(login::log_out))
        .route("/", get(overview::overview))
        .route("/identities", get(identities::list))
        .route("/identities/new", get(create::form).post(create::create))
        .route("/identities/bulk", get(bulk::form).post(bulk::create))
        .route(&identity(""), get(identities::show).post(change::edit))
        .route(
            &identity("/disable"),
            get(disable::form).post(disable::disable),
        )
        .route(&identity("/enable"), confirming(Order::Enable))
        .route(&identity("/unthrottle"), confirming(Order::Unthrottle))
        .route(
            &identity("/rotate"),
            get(change::rotate_form).post(change::rotate),
        )
        .route(&identity("/delete"), confirming(Order::Delete))
        .route("/routes", get(server::routes))
        .route("/keys", get(server::keys))
        .route("/audit", get(audit::lines))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}/end", post(sessions::end))
        .fallback(async || Fault::NOT_FOUND)
        .method_not_allowed_fallback(async || Fault::WRONG_METHOD)
        .layer(guard)
        .with_state(page)
}
