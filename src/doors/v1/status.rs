//! Shows the state of this node.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::call::{self, json};
use super::query::Query;
use super::state::V1;
use super::types::{self, Status, Store, Throttled, Totals};
use crate::auth::{Capability, NodeId, SeenNode};

/// Show the state of the node
#[utoipa::path(
    get, path = "/v1/status", operation_id = "get_status", tag = "server",
    responses((status = 200, body = Status, description = "The state")),
)]
pub(super) async fn status(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        Query::of(&call.uri).end()?;
        let config = api.config.load_full();
        let readiness = api.authority.ping().await;
        let throttled = api
            .authority
            .delayed(call.now)
            .map(|(scope, count)| Throttled {
                scope: scope.as_str().to_owned(),
                count: count as u64,
            });
        let (mut totals, mut nodes) = (None, None);
        if readiness.is_ok() {
            totals = api.store.totals().await.ok();
            nodes = api.store.nodes().await.ok();
        }
        let this = api.store.this_node();
        let id = this.as_ref().map(|it| it.node.id);
        let nodes = nodes.unwrap_or_else(|| this.into());
        let status = Status {
            node: config.server.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: api.started.into(),
            now: call.now.into(),
            store: Store {
                location: api.options.database.location().to_string(),
                ready: readiness.is_ok(),
                error: readiness.err().map(|error| error.to_string()),
                position: api.store.position(),
            },
            throttled: throttled.into(),
            routes: config.routes.len() as u64,
            upstreams: config.upstreams.len() as u64,
            identities: totals.map(|it| Totals {
                realms: it.realms,
                identities: it.identities,
                disabled: it.disabled,
            }),
            nodes_total: nodes.total,
            nodes: nodes.nodes.into_iter().map(|it| shown(it, id)).collect(),
        };
        json(StatusCode::OK, &status)
    })
    .await
}

fn shown(seen: SeenNode, this: Option<NodeId>) -> types::Node {
    let (is_missing, is_this) = (seen.is_missing(), this == Some(seen.node.id));
    let node = seen.node;
    types::Node {
        id: node.id.to_string(),
        name: node.name.into(),
        version: node.version.into(),
        started: node.started.into(),
        config: node.config.into(),
        loaded: node.loaded.into(),
        age: seen.age.as_secs(),
        is_missing,
        is_this,
        position: seen.position,
        behind: seen.behind,
    }
}
