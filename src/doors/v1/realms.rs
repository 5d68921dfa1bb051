//! Lists realms.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::call::{self, json};
use super::query::{Query, cursor};
use super::state::V1;
use super::types::{self, Realm};
use crate::auth::{Capability, RealmCount, Realms};

const LIST: &str = "realms";

/// List realms
///
/// Those that have identities, in the order of their names.
#[utoipa::path(
    get, path = "/v1/realms", operation_id = "list_realms", tag = "identities",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "The size of a page, 100 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, body = types::Realms, description = "A page")),
)]
pub(super) async fn realms(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        let mut query = Query::of(&call.uri);
        let limit = query.limit();
        let after = query.cursor(LIST).unwrap_or_default();
        query.end()?;
        let found = api.store.realms(&after, limit + 1).await?;
        let config = api.config.load();
        let page = found.get(..limit as usize).unwrap_or(&found);
        let is_last = page.len() == found.len();
        let last = page.last().filter(|_| !is_last);
        let next = last.map(|it| cursor(LIST, &it.realm));
        let items = page.iter().map(|it| shown(it, &config.realms)).collect();
        json(StatusCode::OK, &types::Realms { items, next })
    })
    .await
}

fn shown(count: &RealmCount, realms: &Realms) -> Realm {
    let all = [
        (Capability::Verify, types::Capability::Verify),
        (Capability::Create, types::Capability::Create),
        (Capability::List, types::Capability::List),
        (Capability::Update, types::Capability::Update),
        (Capability::Delete, types::Capability::Delete),
    ];
    let granted = all
        .into_iter()
        .filter(|(capability, _)| realms.grant(&count.realm, *capability));
    Realm {
        realm: count.realm.to_string(),
        identities: count.identities,
        disabled: count.disabled,
        capabilities: granted.map(|(_, name)| name).collect(),
    }
}
