//! Changes and deletes an identity.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use http::Method;

use super::create::Shown;
use super::fault::{Errors, Fault};
use super::form::{Form, SMALL};
use super::identities::{Sent, one};
use super::state::Page;
use super::terms::Terms;
use super::token::{confirmed, is_reserved};
use super::view::{Frame, html, see};
use super::visit::Visit;
use crate::doors::v1::new_identity;
use crate::doors::v1::types::{Identity, Rotation};

/// The grace periods to choose from, in seconds.
const GRACES: [(u64, &str); 5] = [
    (0, "none: the old seed ends at once"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (604_800, "7 days"),
    (2_592_000, "30 days"),
];

pub(super) async fn edit(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
    request: Request,
) -> Result<Response, Fault> {
    let form = Form::read(&page, request, SMALL).await?;
    let version = form.version()?;
    let path = format!("/v1/identities/{id}");
    let (old, current): (Identity, _) = visit.get_tagged(&path).await?;
    let typed = Terms::typed(&form);
    let shown = match current == version {
        true => Terms::of(&old),
        // A form that does not say what it showed keeps nothing of what was typed.
        false => Terms::shown(&form).unwrap_or_else(|| typed.clone()),
    };
    let again = async |errors| {
        let sent = Sent {
            version: version.to_owned(),
            typed: typed.clone(),
            shown: shown.clone(),
            errors,
        };
        one(&page, &visit, id, Some(sent), "").await
    };
    let token = form.text("token");
    let changes = match typed.changes(&shown) {
        Ok(changes) if current == version => changes,
        Ok(_) => return again(Errors::default().with_unused_token(token)).await,
        Err(wrong) => {
            let mut errors = Errors::default();
            for (field, detail) in wrong {
                errors.add(field, detail);
            }
            let others = new_identity(&page.api.config.load(), typed.identity(), visit.client.now);
            errors.extend(others.err().into_iter().flat_map(|it| it.errors));
            return again(errors.with_unused_token(token)).await;
        }
    };
    let (patch, body, version) = (Method::PATCH, Some(&changes), Some(version));
    // Failures are counted by name, so a renamed identity has none.
    let is_renamed = changes.name.is_some() || changes.realm.is_some();
    if is_renamed || is_reserved(&page, &old.realm) {
        let tried = visit.rehearse(patch.clone(), &path, body, version).await;
        if let Some(errors) = confirmed(&page, &visit, &form, tried).await? {
            return again(errors).await;
        }
    }
    match visit.change::<Identity>(patch, &path, body, version).await {
        Ok(_) => Ok(see(&format!("/identities/{id}?done=changed"))),
        // The page says what has changed.
        Err(fault) if fault.status == 412 => again(Errors::default()).await,
        Err(fault) => again(fault.errors()?).await,
    }
}

#[derive(Template)]
#[template(path = "rotate.html")]
struct RotateForm {
    frame: Frame,
    it: Identity,
    version: String,
    graces: [(u64, &'static str); 5],
    grace: u64,
    still_valid: bool,
    errors: Errors,
}

/// What is done to an identity when a fresh token confirms it. Without the token, a session that
/// clears failures could guess tokens without being throttled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Delete,
    /// Of an identity in a reserved realm.
    Disable,
    /// Also clears its failures.
    Enable,
    /// Clears its failures.
    Unthrottle,
}

impl Order {
    const fn verb(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Disable => "Disable",
            Self::Enable => "Enable",
            Self::Unthrottle => "Unthrottle",
        }
    }

    /// Says what becomes of the identity.
    const fn effect(self) -> &'static str {
        match self {
            Self::Delete => {
                "and its seed are deleted. The seed cannot be recovered. If its callers may return, disable it \
                 instead."
            }
            Self::Disable => {
                "may no longer authenticate. If no administrator is left, `realmgate identity enable` on the host \
                 brings one back."
            }
            Self::Enable => "may authenticate again, and its failures are forgotten.",
            Self::Unthrottle => "may try again at once: its failures are forgotten.",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Unthrottle => "unthrottle",
        }
    }
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmForm {
    frame: Frame,
    it: Identity,
    version: String,
    order: Order,
    errors: Errors,
}

/// Asks to confirm the deletion of a row that is no identity.
#[derive(Template)]
#[template(path = "row.html")]
struct RowForm {
    frame: Frame,
    id: i64,
    version: String,
    detail: String,
    errors: Errors,
}

pub(super) async fn rotate_form(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
) -> Result<Response, Fault> {
    ask_to_rotate(&page, &visit, id, 604_800, Errors::default()).await
}

async fn ask_to_rotate(
    page: &Page,
    visit: &Visit,
    id: i64,
    grace: u64,
    errors: Errors,
) -> Result<Response, Fault> {
    let path = format!("/v1/identities/{id}");
    let (it, version): (Identity, _) = visit.get_tagged(&path).await?;
    let status = if errors.is_empty() { 200 } else { 422 };
    let view = RotateForm {
        frame: Frame::new(page, Some(visit), "identities"),
        still_valid: it.seeds.len() > 1,
        graces: GRACES,
        it,
        version,
        grace,
        errors,
    };
    Ok(html(status, &view))
}

pub(super) async fn rotate(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
    request: Request,
) -> Result<Response, Fault> {
    let form = Form::read(&page, request, SMALL).await?;
    let version = Some(form.version()?);
    let grace = form.text("grace").parse().unwrap_or(0);
    let rotation = Rotation {
        grace: Some(grace),
        force: form.text("force") == "on",
        seed: None,
    };
    let path = format!("/v1/identities/{id}/rotate");
    let (post, rotation) = (Method::POST, Some(&rotation));
    let tried = visit.rehearse(post.clone(), &path, rotation, version).await;
    if let Some(errors) = confirmed(&page, &visit, &form, tried).await? {
        return ask_to_rotate(&page, &visit, id, grace, errors).await;
    }
    let rotated = visit.change::<Identity>(post, &path, rotation, version);
    match rotated.await {
        Ok(identity) => Ok(Shown::new(&page, &visit, identity, "rotated").page(200)),
        Err(fault) => {
            let errors = fault.errors()?;
            ask_to_rotate(&page, &visit, id, grace, errors).await
        }
    }
}

/// Serves the form that asks for a fresh token, and what it confirms.
pub(super) fn confirming(order: Order) -> MethodRouter<Arc<Page>> {
    type Asked = (State<Arc<Page>>, Extension<Visit>, Path<i64>);
    get(
        move |(State(page), Extension(visit), Path(id)): Asked| async move {
            ask(&page, &visit, id, order, Errors::default()).await
        },
    )
    .post(
        move |(State(page), Extension(visit), Path(id)): Asked, request: Request| async move {
            let form = Form::read(&page, request, SMALL).await?;
            confirmed_order(&page, &visit, id, order, &form).await
        },
    )
}

/// Asks for a fresh token that confirms an order.
pub(super) async fn ask(
    page: &Page,
    visit: &Visit,
    id: i64,
    order: Order,
    errors: Errors,
) -> Result<Response, Fault> {
    let path = format!("/v1/identities/{id}");
    let status = if errors.is_empty() { 200 } else { 422 };
    let frame = Frame::new(page, Some(visit), "identities");
    let (it, version): (Identity, _) = match visit.get_tagged(&path).await {
        Err(Fault {
            bad_row: Some(version),
            detail,
            ..
        }) if order == Order::Delete => {
            let view = RowForm {
                frame,
                id,
                version,
                detail: detail.unwrap_or_default(),
                errors,
            };
            return Ok(html(status, &view));
        }
        found => found?,
    };
    let view = ConfirmForm {
        frame,
        it,
        version,
        order,
        errors,
    };
    Ok(html(status, &view))
}

/// Does what a fresh token confirms, unless the identity has changed since the form was made.
pub(super) async fn confirmed_order(
    page: &Page,
    visit: &Visit,
    id: i64,
    order: Order,
    form: &Form,
) -> Result<Response, Fault> {
    let version = Some(form.version()?);
    let path = format!("/v1/identities/{id}");
    let verb = order.path();
    let (method, path, see_path) = match order {
        Order::Delete => (Method::DELETE, path, "/identities?done=deleted".to_owned()),
        Order::Disable | Order::Enable | Order::Unthrottle => (
            Method::POST,
            format!("{path}/{verb}"),
            format!("/identities/{id}?done={verb}d"),
        ),
    };
    let tried = visit.rehearse::<()>(method.clone(), &path, None, version);
    if let Some(errors) = confirmed(page, visit, form, tried.await).await? {
        return ask(page, visit, id, order, errors).await;
    }
    match visit.order(method, &path, version).await {
        Ok(()) => Ok(see(&see_path)),
        Err(fault) => ask(page, visit, id, order, fault.errors()?).await,
    }
}
