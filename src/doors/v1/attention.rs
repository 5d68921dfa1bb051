//! What needs the attention of an administrator.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::call::{self, json};
use super::query::Query;
use super::state::V1;
use super::types::{Attention, Condition, ConditionCount, ThrottledIdentity};
use crate::auth::Capability;

/// The maximum number of throttled identities.
const MOST: usize = 100;

/// Show what needs attention
///
/// How many identities meet each condition, and which ones this node throttles now.
#[utoipa::path(
    get, path = "/v1/attention", operation_id = "get_attention", tag = "server",
    responses((status = 200, body = Attention, description = "What needs attention")),
)]
pub(super) async fn attention(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        Query::of(&call.uri).end()?;
        let mut conditions = Vec::new();
        for condition in Condition::ALL {
            let tally = api.store.count(condition.in_core(), call.now).await?;
            conditions.push(ConditionCount {
                condition,
                count: tally.count,
                is_at_least: tally.is_at_least,
            });
        }
        let mut throttled = Vec::new();
        for principal in api.authenticator.throttled_lately() {
            let Some(identity) = api.store.identity(principal.as_ref()).await? else {
                continue;
            };
            let failures = api.authenticator.failures(&identity, call.now);
            let waits = failures
                .elsewhere_delay
                .max(failures.trusted_delay)
                .as_secs();
            if waits > 0 {
                throttled.push(ThrottledIdentity {
                    id: identity.id.0,
                    name: principal.name().to_owned(),
                    realm: principal.realm().to_owned(),
                    waits,
                });
            }
        }
        throttled.sort_by_key(|it| (std::cmp::Reverse(it.waits), it.id));
        throttled.truncate(MOST);
        let attention = Attention {
            conditions,
            throttled,
        };
        json(StatusCode::OK, &attention)
    })
    .await
}
