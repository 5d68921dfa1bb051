//! Shows the last lines of the audit log.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::value::RawValue;

use super::call::{self, json};
use super::problem::{Kind, Problem};
use super::query::{Query, cursor};
use super::state::V1;
use super::time::Timestamp;
use super::types::{AuditEvent, AuditLines, AuditReason};
use crate::audit::{LastError, Wanted, last};
use crate::auth::{Capability, split_user};

const LIST: &str = "audit";

/// Show the audit log
///
/// The last lines of the audit log of this node, newest first. A page may be empty although there are
/// lines before: a response reads at most 16 MiB of the log.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit_lines", tag = "server",
    params(
        ("principal" = Option<String>, Query, description = "Only lines about this NAME@REALM, or by it"),
        ("id" = Option<i64>, Query, description = "Only lines about the identity with this id, under all its names; with `principal`, lines that match one of the two"),
        ("event" = Option<AuditEvent>, Query, description = "Only events of this name"),
        ("reason" = Option<AuditReason>, Query, description = "Only lines with this reason"),
        ("since" = Option<Timestamp>, Query, description = "Only lines from this time on"),
        ("until" = Option<Timestamp>, Query, description = "Only lines before this time"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "The size of a page, 100 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, body = AuditLines, description = "A page")),
)]
pub(super) async fn lines(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        let mut query = Query::of(&call.uri);
        let principal = query.text("principal");
        let who = principal.as_deref().map(split_user);
        if let Some(Err(_)) = who {
            query.reject("principal", "expected NAME@REALM");
        }
        let who = who.and_then(Result::ok);
        let wanted = Wanted {
            principal: who.map(|(name, realm)| (name.to_owned(), realm.to_owned())),
            id: query.parsed("id"),
            event: query.parsed::<AuditEvent>("event").map(|it| it.0),
            reason: query.parsed::<AuditReason>("reason").map(|it| it.0),
            since: query.parsed::<Timestamp>("since").map(|it| it.to_string()),
            until: query.parsed::<Timestamp>("until").map(|it| it.to_string()),
        };
        let limit = query.limit() as usize;
        let before = query.cursor(LIST);
        query.end()?;
        let Some(path) = api.config.load().audit.file.clone() else {
            let detail = "This node has no audit log (`audit.file`).";
            return Err(Problem::new(Kind::NotFound).detail(detail));
        };
        let read = move || last(&path, &wanted, before.as_deref(), limit);
        let page = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(page)) => page,
            Ok(Err(LastError::Cursor)) => {
                let detail = "expected a cursor of the present file of the audit log";
                return Err(Problem::field(Kind::Malformed, "cursor", detail));
            }
            Ok(Err(LastError::Read(error))) => {
                tracing::error!(%error, door = "rest", "the audit log cannot be read");
                return Err(Kind::Unavailable.into());
            }
            Err(_) => return Err(Kind::Unavailable.into()),
        };
        let items = page.lines.into_iter();
        let items = items.filter_map(|line| RawValue::from_string(line).ok());
        let lines = AuditLines {
            items: items.collect(),
            next: page.before.map(|before| cursor(LIST, &before)),
        };
        json(StatusCode::OK, &lines)
    })
    .await
}
