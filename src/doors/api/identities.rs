use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures_util::future;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{Method, StatusCode};

use super::author::author;
use super::call::{self, Call};
use super::caller::{Resource, admit, denied};
use super::change::{Subject, Unconfirmed, finish};
use super::encode::escaped;
use super::errors::Errors;
use super::metadata;
use super::page::Page;
use super::parts::BrokenOff;
use super::response::{ApiResponse, Spacing};
use super::shape::{Outcome, shape, show};
use super::state::Api;
use crate::audit::{Kind, LINE};
use crate::auth::{
    BadRow, Capability, Change, ChangeError, Changed, Identity, IdentityId, NewIdentity, Permit,
    Policy, Principal, Rows, Seed, Selection, StoreError, Terms,
};

const COLLECTION_ALLOW: &str = "GET, POST, HEAD, OPTIONS";
const MEMBER_ALLOW: &str = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS";
/// The number of identities per read.
const PAGE: u32 = 1000;

/// Serves `/ungleichotp/`: all identities.
pub(super) async fn collection(State(api): State<Arc<Api>>, request: Request) -> Response {
    call::handle(request, COLLECTION_ALLOW, async |call| {
        run_collection(&api, &call).await
    })
    .await
}

/// Serves `/ungleichotp/{id}/`: one identity.
pub(super) async fn member(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let id = match &id {
        Ok(Path(id)) => number(id.strip_suffix(".json").unwrap_or(id)),
        Err(_) => None,
    };
    call::handle(request, MEMBER_ALLOW, async |call| {
        run_member(&api, &call, id).await
    })
    .await
}

async fn run_collection(api: &Arc<Api>, call: &Call) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => {
            let permit = permit(api, call, Capability::List).await?;
            match Page::read(call.query())? {
                Some(page) => part(api, &page).await,
                None => list(api, call, permit).await,
            }
            .map(|answer| answer.with_seeds(api.reveal_seeds))
        }
        Method::POST => {
            let permit = permit(api, call, Capability::Create).await?;
            create(api, call, &permit).await
        }
        Method::OPTIONS => {
            let permit = authenticated(api, call).await?;
            let may = api.authority.is_capable(&permit, Capability::Create);
            Ok(describe(api, "Otp List", may.then_some("POST")))
        }
        _ => wrong_method(api, call).await,
    }
}

async fn run_member(api: &Api, call: &Call, id: Option<IdentityId>) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => {
            permit(api, call, Capability::List).await?;
            show(&*find(api, id).await?, api.reveal_seeds, StatusCode::OK)
        }
        Method::PUT => {
            let permit = permit(api, call, Capability::Update).await?;
            update(api, call, id, Extent::Whole, &permit).await
        }
        Method::PATCH => {
            let permit = permit(api, call, Capability::Update).await?;
            update(api, call, id, Extent::Given, &permit).await
        }
        Method::DELETE => {
            let permit = permit(api, call, Capability::Delete).await?;
            delete(api, call, id, &permit).await
        }
        Method::OPTIONS => {
            let permit = authenticated(api, call).await?;
            let may = api.authority.is_capable(&permit, Capability::Update);
            // Callers who may not change identities must not learn which ids exist.
            let may = may && is_there(api, id).await?;
            Ok(describe(api, "Otp Instance", may.then_some("PUT")))
        }
        _ => wrong_method(api, call).await,
    }
}

async fn permit(api: &Api, call: &Call, capability: Capability) -> Result<Permit, ApiResponse> {
    admit(
        api,
        call,
        Resource::Identities,
        &Policy::Capable(capability),
    )
    .await
}

async fn authenticated(api: &Api, call: &Call) -> Result<Permit, ApiResponse> {
    admit(api, call, Resource::Identities, &Policy::Authenticated).await
}

async fn wrong_method(api: &Api, call: &Call) -> Outcome {
    authenticated(api, call).await?;
    Err(ApiResponse::wrong_method(&call.method))
}

fn describe(api: &Api, name: &str, method: Option<&str>) -> ApiResponse {
    metadata::describe(name, method, api.credential_headers.name_chars)
}

/// Lists all identities: in one response if a page of the store holds them, else page by page.
async fn list(api: &Arc<Api>, call: &Call, permit: Permit) -> Outcome {
    let (first, next) = read(api, IdentityId(i64::MIN)).await?;
    let Some(next) = next else {
        return Ok(ApiResponse::json(StatusCode::OK, first));
    };
    let api = Arc::clone(api);
    let author = Arc::new(author(&api, call, &permit, Capability::List));
    let rest = stream::try_unfold(Some(next), move |after| {
        let (api, author) = (Arc::clone(&api), Arc::clone(&author));
        async move {
            let Some(after) = after else { return Ok(None) };
            author.confirm().await.map_err(|_| BrokenOff)?;
            let page = read(&api, after).await.map_err(|_| BrokenOff)?;
            Ok(Some(page))
        }
    });
    let parts = stream::once(future::ready(Ok(first))).chain(rest);
    // A page is empty if none of its rows is an identity.
    let parts = parts.try_filter(|page: &String| future::ready(page != "[]"));
    Ok(ApiResponse::parts(parts.map_ok(escaped).boxed()))
}

/// Reads the page after an identity as a JSON array. If the page is full, also returns its last id.
async fn read(api: &Api, after: IdentityId) -> Result<(String, Option<IdentityId>), ApiResponse> {
    let page = api
        .identities
        .identities(&Selection::default(), after, PAGE)
        .await;
    let page = page.map_err(|error| failed(&error))?;
    Ok((write(api, &page)?, page.next))
}

/// Returns the requested part of the list, with a link to the next part.
async fn part(api: &Api, page: &Page) -> Outcome {
    let found = api
        .identities
        .identities(&page.selection, page.after, page.first);
    let found = found.await.map_err(|error| failed(&error))?;
    let body = write(api, &found)?;
    let link = found.next.and_then(|last| page.next(last));
    Ok(ApiResponse::json(StatusCode::OK, body).next(link))
}

/// Formats an array of identities. The responses of ungleich-otp have no place for rows that are none, so these
/// are logged.
fn write(api: &Api, rows: &Rows) -> Result<String, ApiResponse> {
    for BadRow { id, problem, .. } in &rows.bad {
        tracing::error!(id = id.0, %problem, door = "rest", "a row of the database is no identity, and not listed");
    }
    let mut body = "[".to_owned();
    for identity in &rows.identities {
        if body.len() > 1 {
            body.push(',');
        }
        body.push_str(&shape(identity, api.reveal_seeds)?);
    }
    body.push(']');
    Ok(body)
}

/// Creates an identity with a new seed, which is shown only in this response.
async fn create(api: &Api, call: &Call, permit: &Permit) -> Outcome {
    let mut errors = Errors::new(&call.body);
    let limit = api.credential_headers.name_chars;
    let name = errors.take("name", call.body.text("name", limit));
    let realm = errors.take("realm", call.body.text("realm", limit));
    let (Some(name), Some(realm)) = (name, realm) else {
        return Err(errors.response(Spacing::Compact));
    };
    let principal = principal(name, realm, limit)?;
    let seed = Seed::generate().map_err(|error| {
        tracing::error!(%error, door = "rest", "cannot generate a seed");
        ApiResponse::unavailable()
    })?;
    let new = NewIdentity {
        principal,
        seed,
        parameters: api.defaults,
        terms: Terms::default(),
    };
    let (author, store, now) = (
        author(api, call, permit, Capability::Create),
        Arc::clone(&api.identities),
        call.now,
    );
    let created = finish(
        (&api.audit, &api.changes),
        LINE,
        call.record.with_same_id(),
        async move {
            author.confirm().await.map_err(|it| denied(&it))?;
            let created = store.create(new, now).await;
            let identity = created.map_err(|error| rejected(&error))?;
            author
                .record(Kind::IdentityCreated, Subject::of(&identity), None)
                .await?;
            Ok::<_, ApiResponse>(identity)
        },
    );
    let identity = created.await?;
    show(&identity, true, StatusCode::CREATED)
}

/// The fields that an update requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All fields: PUT.
    Whole,
    /// Only the fields in the body change: PATCH.
    Given,
}

/// Renames an identity. Its seed stays the same.
async fn update(
    api: &Api,
    call: &Call,
    id: Option<IdentityId>,
    extent: Extent,
    permit: &Permit,
) -> Outcome {
    let identity = find(api, id).await?;
    let mut errors = Errors::new(&call.body);
    let limit = api.credential_headers.name_chars;
    let mut field = |field: &'static str, old: &str| {
        if extent == Extent::Given && !call.body.has(field) {
            return Some(old.to_owned());
        }
        errors.take(field, call.body.text(field, limit).map(str::to_owned))
    };
    let name = field("name", identity.principal.name());
    let realm = field("realm", identity.principal.realm());
    let (Some(name), Some(realm), true) = (name, realm, errors.is_empty()) else {
        return Err(errors.response(Spacing::Compact));
    };
    if (&*name, &*realm) == (identity.principal.name(), identity.principal.realm()) {
        return show(&identity, api.reveal_seeds, StatusCode::OK);
    }
    principal(&name, &realm, limit)?;
    // Only the given fields: another request may be changing the other one.
    let given = |field: &str, value: String| {
        (extent == Extent::Whole || call.body.has(field)).then(|| value.into_boxed_str())
    };
    let change = Change {
        name: given("name", name),
        realm: given("realm", realm),
        ..Change::default()
    };
    let (author, store, now) = (
        author(api, call, permit, Capability::Update),
        Arc::clone(&api.identities),
        call.now,
    );
    let changed = finish(
        (&api.audit, &api.changes),
        LINE,
        call.record.with_same_id(),
        async move {
            author.confirm().await.map_err(|it| denied(&it))?;
            let changed = store.update(identity.id, change, now).await;
            let changed = changed.map_err(|error| rejected(&error))?;
            // The principal at the time of the change, because another request may have changed it
            // before.
            let Changed { was, identity } = changed.ok_or_else(ApiResponse::not_found)?;
            let subject = Subject::of(&identity);
            author
                .record(Kind::IdentityRenamed, subject, Some(&was))
                .await?;
            Ok::<_, ApiResponse>(identity)
        },
    );
    let changed = changed.await?;
    show(&changed, api.reveal_seeds, StatusCode::OK)
}

async fn delete(api: &Api, call: &Call, id: Option<IdentityId>, permit: &Permit) -> Outcome {
    let identity = find(api, id).await?;
    let (author, store) = (
        author(api, call, permit, Capability::Delete),
        Arc::clone(&api.identities),
    );
    finish(
        (&api.audit, &api.changes),
        LINE,
        call.record.with_same_id(),
        async move {
            author.confirm().await.map_err(|it| denied(&it))?;
            let deleted = store.delete(identity.id, None).await;
            let deleted = deleted.map_err(|error| rejected(&error))?;
            let deleted = deleted.ok_or_else(ApiResponse::not_found)?;
            let subject = Subject {
                id: identity.id,
                principal: deleted.principal.as_ref(),
            };
            author.record(Kind::IdentityDeleted, subject, None).await?;
            Ok::<_, ApiResponse>(())
        },
    )
    .await?;
    Ok(ApiResponse::no_content())
}

async fn find(api: &Api, id: Option<IdentityId>) -> Result<Arc<Identity>, ApiResponse> {
    look_up(api, id).await?.ok_or_else(ApiResponse::not_found)
}

async fn is_there(api: &Api, id: Option<IdentityId>) -> Result<bool, ApiResponse> {
    Ok(look_up(api, id).await?.is_some())
}

async fn look_up(api: &Api, id: Option<IdentityId>) -> Result<Option<Arc<Identity>>, ApiResponse> {
    let Some(id) = id else { return Ok(None) };
    let found = api.identities.identity_by_id(id).await;
    found.map_err(|error| failed(&error))
}

/// Parses the id in a path; `None` if no identity can have it.
fn number(text: &str) -> Option<IdentityId> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok().map(IdentityId)).flatten()
}

fn principal(name: &str, realm: &str, limit: usize) -> Result<Principal, ApiResponse> {
    Principal::new(name, realm, limit).map_err(|error| ApiResponse::bad_body(&error.to_string()))
}

fn rejected(error: &ChangeError) -> ApiResponse {
    match error {
        ChangeError::Taken => ApiResponse::taken(),
        // Only `/v1` expects a version.
        ChangeError::Stale => ApiResponse::not_found(),
        ChangeError::Store(error) => failed(error),
    }
}

fn failed(error: &StoreError) -> ApiResponse {
    tracing::error!(%error, door = "rest", "the database operation failed");
    match error {
        StoreError::Unknown => Unconfirmed::Unknown.into(),
        _ => ApiResponse::unavailable(),
    }
}
