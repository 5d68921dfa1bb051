//! Lists and shows identities.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::LINK;

use super::call::{self, json, response, tagged};
use super::listing::List;
use super::problem::{Kind, Problem};
use super::query::Query;
use super::shown::shown;
use super::state::V1;
use super::types;
use super::who::{Named, Who, named};
use crate::auth::{
    self, BadRow, Capability, Identity, IdentityId, PrincipalRef, Selection, StoreError,
};

/// The number of identities per read of an export.
const PAGE: u32 = 1000;

/// List identities
///
/// A page ends early, also without any identity, if the search for those that match the parameters
/// takes long; it then has a `next`.
#[utoipa::path(
    get, path = "/v1/identities", operation_id = "list_identities", tag = "identities",
    params(
        ("realm" = Option<String>, Query, description = "Only those of this realm"),
        ("name" = Option<String>, Query, description = "Only those whose names begin with this"),
        ("state" = Option<types::State>, Query, description = "Only those in this state"),
        ("condition" = Option<types::Condition>, Query, description = "Only enabled ones that meet this condition"),
        ("sort" = Option<types::Sort>, Query, description = "The order, `id` by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "The size of a page, 100 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((
        status = 200, body = types::Identities, description = "A page",
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)")),
    )),
)]
pub(super) async fn list(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        let mut query = Query::of(&call.uri);
        let list = List::of(&mut query);
        let limit = query.limit();
        let listing = list.page(&mut query, limit, call.now);
        query.end()?;
        let page = api.store.list(&listing).await?;
        let next = page.next.map(|next| list.cursor(&next));
        let items = page.identities.iter();
        let items = items.map(|it| shown(&api, it, call.now)).collect();
        let link = next.as_deref().map(|next| list.link(limit, next));
        let unreadable = page.bad.iter().map(Into::into).collect();
        let page = types::Identities {
            items,
            next,
            unreadable,
        };
        let mut response = json(StatusCode::OK, &page)?;
        if let Some(Ok(link)) = link {
            response.headers_mut().insert(LINK, link);
        }
        Ok(response)
    })
    .await
}

/// Export identities
///
/// All selected identities, without their seeds, one JSON object a line. For a row of the database that is no
/// identity, the object has the member `unreadable` alone, an `Unreadable`.
#[utoipa::path(
    get, path = "/v1/identities/export", operation_id = "export_identities", tag = "identities",
    params(
        ("realm" = Option<String>, Query, description = "Only those of this realm"),
        ("name" = Option<String>, Query, description = "Only those whose names begin with this"),
        ("state" = Option<types::State>, Query, description = "Only those in this state"),
    ),
    responses((
        status = 200, body = String, content_type = "application/x-ndjson",
        description = "An `Identity` a line. If it breaks off, the connection or stream ends with an error.",
    )),
)]
pub(super) async fn export(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        let mut query = Query::of(&call.uri);
        let selection = List::selecting(&mut query).selection;
        query.end()?;
        let first = lines(&api, call.now, &selection, IdentityId(i64::MIN)).await?;
        let (api, call) = (Arc::clone(&api), Arc::new(call));
        let parts = stream::try_unfold(Some(first), move |part| {
            let (api, call, selection) = (Arc::clone(&api), Arc::clone(&call), selection.clone());
            async move {
                let Some((text, last)) = part else {
                    return Ok::<_, std::io::Error>(None);
                };
                let next = match last {
                    Some(last) => {
                        let next = async {
                            call.confirm(&api).await?;
                            lines(&api, call.now, &selection, last).await
                        };
                        let next = next.await;
                        Some(next.map_err(|_| std::io::Error::other("the export broke off"))?)
                    }
                    None => None,
                };
                Ok(Some((Bytes::from(text), next)))
            }
        });
        let body = Body::from_stream(parts);
        Ok(response(StatusCode::OK, "application/x-ndjson", body))
    })
    .await
}

/// Reads the lines after an identity. If there may be more, also returns the last id.
async fn lines(
    api: &V1,
    now: auth::UnixTime,
    selection: &Selection,
    after: IdentityId,
) -> Result<(String, Option<IdentityId>), Problem> {
    let page = api.store.identities(selection, after, PAGE).await?;
    let mut text = String::new();
    for identity in &page.identities {
        let line = serde_json::to_string(&shown(api, identity, now));
        text.push_str(&line.map_err(|_| Problem::new(Kind::Unavailable))?);
        text.push('\n');
    }
    for bad in &page.bad {
        let line = serde_json::json!({ "unreadable": types::Unreadable::from(bad) });
        text.push_str(&format!("{line}\n"));
    }
    Ok((text, page.next))
}

/// Show an identity
#[utoipa::path(
    get, path = "/v1/identities/{who}", operation_id = "get_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a known version"),
    ),
    responses(
        (status = 200, body = types::Identity, description = "The identity", headers(("ETag" = String, description = "Its version"))),
        (status = 304, description = "It has not changed"),
        (
            status = 409, body = types::Problem, content_type = "application/problem+json",
            description = "The row of the database is no identity", headers(("ETag" = String, description = "Its version")),
        ),
    ),
)]
pub(super) async fn read(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        Query::of(&call.uri).end()?;
        let identity = find(&api, &who).await?;
        if call.is_known(&identity) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(tagged(response, &identity));
        }
        let response = json(StatusCode::OK, &shown(&api, &identity, call.now))?;
        Ok(tagged(response, &identity))
    })
    .await
}

/// Finds the identity that a path names by its id or as NAME@REALM.
///
/// # Errors
/// 404 if there is none; 400 if the path is ambiguous; 409 if the row is no identity.
pub(super) async fn find(api: &V1, who: &Who) -> Result<Arc<Identity>, Problem> {
    find_row(api, who).await?.map_err(Problem::from)
}

/// Finds the identity that a path names, or the row that it names by its id and that is no identity.
///
/// # Errors
/// Those of [`find`].
pub(super) async fn find_row(
    api: &V1,
    who: &Who,
) -> Result<Result<Arc<Identity>, BadRow>, Problem> {
    let (found, wanted) = match named(who)? {
        Named::Id(None) => (None, "with this id".to_owned()),
        Named::Id(Some(id)) => {
            let found = match api.store.identity_by_id(IdentityId(id)).await {
                Err(StoreError::Row(row)) => return Ok(Err(row)),
                found => found?,
            };
            (found, format!("with the id {id}"))
        }
        Named::Principal(name, realm) => {
            let found = of(api, &name, &realm).await?;
            let limit = api.config.load().credential_headers.name_chars;
            let wanted = match PrincipalRef::new(&name, &realm, limit) {
                Ok(_) => format!("{name:?} in the realm {realm:?}"),
                // Perhaps because it is too long.
                Err(_) => "with this name and realm".to_owned(),
            };
            (found, wanted)
        }
    };
    let missing = || Problem::new(Kind::NotFound).detail(format!("There is no identity {wanted}."));
    found.map(Ok).ok_or_else(missing)
}

/// Returns the identity with a name and realm.
///
/// # Errors
/// 503 if the store cannot be read.
pub(super) async fn of(
    api: &V1,
    name: &str,
    realm: &str,
) -> Result<Option<Arc<Identity>>, Problem> {
    let limit = api.config.load().credential_headers.name_chars;
    let Ok(principal) = PrincipalRef::new(name, realm, limit) else {
        return Ok(None);
    };
    // The cache may have dropped the seeds of a record, of which this is to show the strength.
    match api.store.identity(principal).await? {
        Some(found) => Ok(api.store.identity_by_id(found.id).await?),
        // It may have been created since the last read that did not fail.
        None if api.store.is_failing() => Err(Kind::Unavailable.into()),
        None => Ok(None),
    }
}
