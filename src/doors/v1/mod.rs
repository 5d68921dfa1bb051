//! `/v1`: the whole administration over REST.
//!
//! The steps of a request: [`call`] authenticates the caller and reads the body → a handler carries
//! it out → its JSON is one of [`types`], and its failures are [`problem`] documents. [`document`]
//! describes all of them as OpenAPI.

mod attention;
mod audit;
mod call;
mod change;
mod create;
mod decide;
mod document;
mod explain;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod identities;
mod keys;
mod listing;
mod parse;
mod problem;
mod query;
mod realms;
mod routes;
mod shown;
mod state;
mod status;
mod tag;
mod terms;
mod time;
pub mod types;
mod who;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};

pub use call::Acting;
pub(crate) use call::closing;
pub use document::document;
pub use explain::{explained, predicted};
pub use problem::Kind as ProblemKind;
pub use routes::{effects, policy, texts, upstream};
pub use shown::{otpauth, show};
pub use state::V1;
pub use terms::new_identity;
pub use time::Timestamp;

use problem::{Kind, Problem};

use crate::telemetry::{RecordSlot, RequestRecord};

/// Makes the router of `/v1`.
///
/// The body of a request has deadlines and no size limit yet. The address of the client is in the
/// extension [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), if it is known.
pub fn router(v1: Arc<V1>) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(document::openapi))
        .route("/v1/identities", get(identities::list).post(create::create))
        .route("/v1/identities/bulk", post(create::bulk))
        .route("/v1/identities/export", get(identities::export))
        .route(
            "/v1/identities/{who}",
            get(identities::read)
                .patch(change::patch)
                .delete(change::delete),
        )
        .route("/v1/identities/{who}/rotate", post(change::rotate))
        .route("/v1/identities/{who}/disable", post(change::disable))
        .route("/v1/identities/{who}/enable", post(change::enable))
        .route("/v1/identities/{who}/unthrottle", post(change::unthrottle))
        .route("/v1/realms", get(realms::realms))
        .route("/v1/routes", get(routes::routes))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/decide", post(decide::decide))
        .route("/v1/changes", get(decide::changes))
        .route("/v1/audit", get(audit::lines))
        .route("/v1/keys", get(keys::keys))
        .route("/v1/status", get(status::status))
        .route("/v1/attention", get(attention::attention))
        .fallback(async |request: Request| unrouted(&request, Kind::NotFound))
        .method_not_allowed_fallback(wrong_method)
        .with_state(v1)
}

async fn wrong_method(request: Request) -> Response {
    unrouted(&request, Kind::WrongMethod)
}

/// Rejects a request that no operation serves.
fn unrouted(request: &Request, kind: Kind) -> Response {
    let record = request.extensions().get::<RecordSlot>();
    let record = record.map_or_else(RequestRecord::default, RecordSlot::with_same_id);
    Problem::new(kind).named(&record).response()
}
