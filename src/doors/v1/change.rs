//! Changes and deletes identities.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::call::{self, Call, closing, empty, json, tagged};
use super::identities::{find, find_row, of};
use super::problem::{Kind, Problem};
use super::query::Query;
use super::shown::{shown, shown_with_seed};
use super::state::V1;
use super::terms;
use super::types::{self, Changes, Rotation};
use super::who::Who;
use crate::audit::{self, LINE};
use crate::auth::{
    self, Capability, Change, ChangeError, Changed, Identity, Permit, Principal, UnixTime,
};
use crate::clock;
use crate::doors::api::change::{Subject, finish};

/// How often a change is tried again that is computed from an identity that others change meanwhile.
const TRIES: u8 = 5;

/// The longest grace period in seconds.
const LONGEST_GRACE: u64 = 365 * 24 * 60 * 60;

/// Change an identity
///
/// Its name, realm, validity or comment. A renamed identity keeps its seed.
#[utoipa::path(
    patch, path = "/v1/identities/{who}", operation_id = "change_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    request_body(
        description = "A JSON merge patch (RFC 7396)",
        content((Changes = "application/merge-patch+json"), (Changes = "application/json")),
    ),
    responses((status = 200, body = types::Identity, description = "The changed identity", headers(("ETag" = String, description = "Its version")))),
)]
pub(super) async fn patch(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    call::handle(&api, request, Capability::Update, async |call, permit| {
        let mut call = call;
        Query::of(&call.uri).end()?;
        let kinds = ["application/merge-patch+json", "application/json"];
        let changes: Changes = call.json(&api, &kinds).await?;
        let limit = api.config.load().credential_headers.name_chars;
        let identity = apply(&api, &call, &permit, &who, |old, now| {
            let mut errors = Vec::new();
            for (field, text) in [("name", &changes.name), ("realm", &changes.realm)] {
                if let Some(text) = text {
                    terms::part(field, text, limit, &mut errors);
                }
            }
            let terms = terms::changed(old.terms(), &changes, now, &mut errors);
            if !errors.is_empty() {
                return Err(Problem::invalid(errors));
            }
            let mut kinds = Vec::new();
            let other = |new: &Option<String>, old: &str| {
                new.as_deref().filter(|new| *new != old).map(Into::into)
            };
            let name = other(&changes.name, old.principal.name());
            let realm = other(&changes.realm, old.principal.realm());
            if name.is_some() || realm.is_some() {
                kinds.push(audit::Kind::IdentityRenamed);
            }
            let has_new_terms = terms != *old.terms();
            if has_new_terms {
                kinds.push(audit::Kind::IdentityChanged);
            }
            let change = Change {
                name,
                realm,
                terms: has_new_terms.then_some(terms),
                ..Change::default()
            };
            Ok((change, kinds))
        });
        changed(&api, &*identity.await?, call.now)
    })
    .await
}

/// Rotate a seed
///
/// The response is the only one that shows the new seed. The seed before stays valid for `grace`
/// seconds, and the failures that count against the identity are cleared.
#[utoipa::path(
    post, path = "/v1/identities/{who}/rotate", operation_id = "rotate_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    request_body(content = Option<Rotation>, description = "Nothing, to end the seed before at once"),
    responses((status = 200, body = types::Identity, description = "The identity with its new seed", headers(("ETag" = String, description = "Its version")))),
)]
pub(super) async fn rotate(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    call::handle(&api, request, Capability::Update, async |call, permit| {
        let mut call = call;
        Query::of(&call.uri).end()?;
        let rotation: Option<Rotation> = match call.has_body() {
            true => call.json(&api, &["application/json"]).await?,
            false => None,
        };
        let rotation = rotation.unwrap_or_default();
        let mut errors = Vec::new();
        let grace = rotation.grace.filter(|grace| *grace > 0);
        if grace.is_some_and(|grace| grace > LONGEST_GRACE) {
            let detail = format!("expected at most {LONGEST_GRACE}");
            errors.push(super::problem::field_error("grace", detail));
        }
        let seed = terms::seed(rotation.seed.as_deref(), &mut errors)?;
        let (Some(seed), true) = (seed, errors.is_empty()) else {
            return Err(Problem::invalid(errors));
        };
        let until = grace.map(|secs| clock::after(std::time::Duration::from_secs(secs)).into());
        let identity = apply(&api, &call, &permit, &who, |old, now| {
            if let Some(until) = old.previous_until()
                && now < until
                && !rotation.force
            {
                let until = super::time::Timestamp::from(until);
                let detail = format!(
                    "The seed before the current one is valid until {until}, and a rotation would end it now."
                );
                return Err(Problem::new(Kind::SeedStillValid).detail(detail));
            }
            let change = Change {
                seed: Some(seed.clone()),
                grace: until,
                // Failures against the old seed reveal nothing about the new one.
                unthrottle: true,
                ..Change::default()
            };
            Ok((change, vec![audit::Kind::IdentityRotated]))
        });
        let identity = identity.await?;
        if call.is_trial {
            return Ok(empty());
        }
        let shown = shown_with_seed(&api, &identity, &seed, call.now);
        let response = closing(json(StatusCode::OK, &shown)?);
        Ok(tagged(response, &identity))
    })
    .await
}

/// Disable an identity
///
/// It is felt by every node within a second.
#[utoipa::path(
    post, path = "/v1/identities/{who}/disable", operation_id = "disable_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    responses((status = 200, body = types::Identity, description = "The disabled identity", headers(("ETag" = String, description = "Its version")))),
)]
pub(super) async fn disable(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    let change = || Change {
        state: Some(auth::State::Disabled),
        ..Change::default()
    };
    simple(&api, request, &who, audit::Kind::IdentityDisabled, change).await
}

/// Enable an identity
///
/// Also clears the failures that count against it.
#[utoipa::path(
    post, path = "/v1/identities/{who}/enable", operation_id = "enable_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    responses((status = 200, body = types::Identity, description = "The enabled identity", headers(("ETag" = String, description = "Its version")))),
)]
pub(super) async fn enable(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    let change = || Change {
        state: Some(auth::State::Enabled),
        unthrottle: true,
        ..Change::default()
    };
    simple(&api, request, &who, audit::Kind::IdentityEnabled, change).await
}

/// Unthrottle an identity
///
/// Clears the failures that count against it.
#[utoipa::path(
    post, path = "/v1/identities/{who}/unthrottle", operation_id = "unthrottle_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    responses((status = 200, body = types::Identity, description = "The identity", headers(("ETag" = String, description = "Its version")))),
)]
pub(super) async fn unthrottle(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    let change = || Change {
        unthrottle: true,
        ..Change::default()
    };
    simple(
        &api,
        request,
        &who,
        audit::Kind::IdentityUnthrottled,
        change,
    )
    .await
}

/// Delete an identity
///
/// By its id, this also deletes a row of the database that is no identity.
#[utoipa::path(
    delete, path = "/v1/identities/{who}", operation_id = "delete_identity", tag = "identities",
    params(
        ("who" = String, Path, description = "The id, or NAME@REALM"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    responses((status = 204, description = "It is deleted")),
)]
pub(super) async fn delete(State(api): State<Arc<V1>>, who: Who, request: Request) -> Response {
    call::handle(&api, request, Capability::Delete, async |call, permit| {
        Query::of(&call.uri).end()?;
        let (id, version, row) = match find_row(&api, &who).await? {
            Ok(identity) => (identity.id, identity.history.version, None),
            Err(row) => (row.id, row.version, Some(row)),
        };
        let expected = call.expected(id, version)?;
        if call.is_trial {
            return Ok(empty());
        }
        let (author, store) = (call.author(&api, &permit), Arc::clone(&api.store));
        finish(
            (&api.audit, &api.changes),
            LINE,
            call.record(),
            async move {
                let confirmed = author.confirm().await;
                confirmed.map_err(|denial| Problem::from(&denial))?;
                let deleted = store.delete(id, expected).await?;
                let deleted = deleted.ok_or(Kind::NotFound)?;
                let principal = deleted.principal.as_ref();
                let subject = Subject { id, principal };
                match row {
                    Some(row) => author.record_row(subject, &row).await?,
                    None => {
                        let kind = audit::Kind::IdentityDeleted;
                        author.record(kind, subject, None).await?;
                    }
                }
                Ok::<_, Problem>(())
            },
        )
        .await?;
        Ok(empty())
    })
    .await
}

/// Makes a change that does not depend on the identity.
async fn simple(
    api: &V1,
    request: Request,
    who: &Who,
    kind: audit::Kind,
    change: impl Fn() -> Change,
) -> Response {
    call::handle(api, request, Capability::Update, async |call, permit| {
        Query::of(&call.uri).end()?;
        let identity = apply(api, &call, &permit, who, |_, _| Ok((change(), vec![kind])));
        changed(api, &*identity.await?, call.now)
    })
    .await
}

fn changed(api: &V1, identity: &Identity, now: UnixTime) -> Result<Response, Problem> {
    let response = json(StatusCode::OK, &shown(api, identity, now))?;
    Ok(tagged(response, identity))
}

/// Changes an identity and writes the change into the audit log. `make` computes the change from the
/// identity, and is called again if others have changed it meanwhile.
async fn apply(
    api: &V1,
    call: &Call,
    permit: &Permit,
    who: &Who,
    make: impl Fn(&Identity, UnixTime) -> Result<(Change, Vec<audit::Kind>), Problem>,
) -> Result<Arc<Identity>, Problem> {
    let mut tries = TRIES;
    loop {
        let identity = find(api, who).await?;
        let expected = call.expected(identity.id, identity.history.version)?;
        let (mut change, kinds) = make(&identity, call.now)?;
        if call.is_trial {
            return is_free(api, &identity, &change).await.map(|()| identity);
        }
        if kinds.is_empty() {
            return Ok(identity);
        }
        change.expected = Some(identity.history.version);
        let new = change.terms.as_ref();
        let mut changes = new.and_then(|new| audit::Changes::of(identity.terms(), new));
        let (id, now) = (identity.id, call.now);
        let (author, store) = (call.author(api, permit), Arc::clone(&api.store));
        let changed = finish(
            (&api.audit, &api.changes),
            LINE,
            call.record(),
            async move {
                let confirmed = author.confirm().await;
                confirmed.map_err(|denial| Problem::from(&denial))?;
                let changed = match store.update(id, change, now).await {
                    Err(ChangeError::Stale) => return Ok(None),
                    changed => changed?,
                };
                let Changed { was, identity } = changed.ok_or(Kind::NotFound)?;
                for kind in kinds {
                    if kind == audit::Kind::IdentityChanged {
                        let subject = Subject::of(&identity);
                        author.record_changes(subject, changes.take()).await?;
                        continue;
                    }
                    let is_renamed = kind == audit::Kind::IdentityRenamed;
                    let was: Option<&Principal> = is_renamed.then_some(&was);
                    author.record(kind, Subject::of(&identity), was).await?;
                }
                Ok::<_, Problem>(Some(identity))
            },
        );
        match changed.await? {
            Some(identity) => return Ok(identity),
            None if expected.is_some() || tries == 0 => return Err(Kind::Stale.into()),
            None => tries -= 1,
        }
    }
}

/// Checks that no other identity has the name and realm that a change gives an identity.
///
/// # Errors
/// 409 if one has them.
async fn is_free(api: &V1, identity: &Identity, change: &Change) -> Result<(), Problem> {
    if change.name.is_none() && change.realm.is_none() {
        return Ok(());
    }
    let old = &identity.principal;
    let name = change.name.as_deref().unwrap_or(old.name());
    let realm = change.realm.as_deref().unwrap_or(old.realm());
    match of(api, name, realm).await? {
        Some(other) if other.id != identity.id => Err(Kind::Taken.into()),
        _ => Ok(()),
    }
}
