//! Lists the keys that encrypt the seeds.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::call::{self, json};
use super::problem::{Kind, Problem};
use super::query::Query;
use super::state::V1;
use super::types::{self, Key};
use crate::auth::Capability;
use crate::store::{Intent, KeyUse, Sealing};

/// List encryption keys
///
/// Ids and roles of the keys that encrypt the seeds, never a key itself.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "list_keys", tag = "server",
    responses((status = 200, body = types::Keys, description = "All keys")),
)]
pub(super) async fn keys(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        Query::of(&call.uri).end()?;
        let options = api.options.clone();
        let read = move || {
            Sealing::open(&options, Intent::Read)?
                .keys()
                .map_err(Failed::from)
        };
        let keys = tokio::task::spawn_blocking(read).await;
        let keys = match keys {
            Ok(Ok(keys)) => keys,
            Ok(Err(error)) => {
                tracing::error!(%error, door = "rest", "the keys cannot be read");
                return Err(Kind::Unavailable.into());
            }
            Err(_) => return Err(Problem::new(Kind::Unavailable)),
        };
        let items = keys.iter().map(shown).collect();
        json(StatusCode::OK, &types::Keys { items })
    })
    .await
}

/// Why the keys cannot be read.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Open(#[from] crate::store::OpenError),
    #[error(transparent)]
    Read(#[from] crate::store::SealingError),
}

fn shown(key: &KeyUse) -> Key {
    Key {
        id: key.id.to_string(),
        role: key.role.as_str().to_owned(),
        seeds: key.seeds,
        held: key.is_held,
    }
}
