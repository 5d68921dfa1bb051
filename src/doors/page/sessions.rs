//! Lists and ends sessions.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use data_encoding::HEXLOWER;
use http::Uri;

use super::fault::Fault;
use super::form::Form;
use super::state::Page;
use super::view::{Distance, Frame, When, html, see};
use super::visit::{Visit, logged};
use crate::auth::{SessionId, SessionKind};

/// The number of sessions shown.
const MOST: u32 = 200;

#[derive(Template)]
#[template(path = "sessions.html")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    name: String,
    realm: String,
    identity: i64,
    made: When,
    seen: String,
    source: String,
    is_own: bool,
}

pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
) -> Result<Response, Fault> {
    let query = Form::of_query(uri.query());
    let now = visit.client.now;
    let sessions = page.api.store.sessions(MOST).await.map_err(|error| {
        tracing::error!(%error, door = "admin", "the sessions cannot be read");
        Fault::UNAVAILABLE
    })?;
    let open = sessions.into_iter().filter(|it| it.is_open(now));
    let rows = open.map(|it| Row {
        id: HEXLOWER.encode(&it.id.0),
        name: it.principal.name().to_owned(),
        realm: it.principal.realm().to_owned(),
        identity: it.identity.0,
        made: When::of(it.made),
        seen: Distance(it.seen, now).to_string(),
        source: it.source.map(|it| it.to_string()).unwrap_or_default(),
        is_own: it.id == visit.session,
    });
    let view = List {
        frame: Frame::new(&page, Some(&visit), "sessions").done(query.text("done")),
        rows: rows.collect(),
    };
    Ok(html(200, &view))
}

pub(super) async fn end(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let id = HEXLOWER.decode(id.as_bytes()).ok();
    let id = id.and_then(|it| it.try_into().ok()).map(SessionId);
    let id = id.ok_or(Fault::NOT_FOUND)?;
    let found = page.api.store.session(id).await.map_err(|error| {
        tracing::error!(%error, door = "admin", "a session cannot be read");
        Fault::UNAVAILABLE
    })?;
    if let Some(found) = found.filter(|it| it.kind == SessionKind::Session) {
        let work = {
            let (page, visit) = (Arc::clone(&page), visit.clone());
            async move {
                let whose = (&visit.permit, Some(found.principal.as_ref()));
                super::visit::end(&page, &visit.client, id, whose, "administrator").await
            }
        };
        logged(&page, &visit.client, work).await?;
    }
    Ok(see("/sessions?done=ended"))
}
