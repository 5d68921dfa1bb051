//! Creates an identity, and shows a seed once.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, Uri};

use super::fault::{Errors, Fault};
use super::form::{Form, SMALL, time};
use super::qr::Qr;
use super::state::Page;
use super::token::{confirmed, is_reserved};
use super::view::{Frame, html};
use super::visit::Visit;
use crate::auth::Algorithm;
use crate::doors::v1::types::{Identity, NewIdentity, NewParameters};
use crate::doors::v1::{closing, new_identity};

#[derive(Template)]
#[template(path = "new.html")]
struct New {
    frame: Frame,
    name: String,
    realm: String,
    comment: String,
    not_before: String,
    expires: String,
    algorithm: String,
    digits: String,
    period: String,
    defaults: crate::auth::Parameters,
    errors: Errors,
}

/// The page with a new seed, which is shown once.
#[derive(Template)]
#[template(path = "shown.html")]
pub(super) struct Shown {
    frame: Frame,
    it: Identity,
    what: &'static str,
    seed: String,
    otpauth: String,
    qr: Option<Qr>,
    until: Option<super::view::When>,
}

impl Shown {
    pub(super) fn new(page: &Page, visit: &Visit, it: Identity, what: &'static str) -> Self {
        let otpauth = it.otpauth.clone().unwrap_or_default();
        let until = it.seeds.get(1).and_then(|it| it.until);
        Self {
            frame: Frame::new(page, Some(visit), "identities"),
            what,
            seed: it.seed.clone().unwrap_or_default(),
            qr: Qr::of(&otpauth),
            until: until.map(Into::into),
            otpauth,
            it,
        }
    }

    pub(super) fn page(&self, status: u16) -> Response {
        closing(html(status, self))
    }
}

pub(super) async fn form(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
) -> Response {
    let query = Form::of_query(uri.query());
    render(&page, &visit, &query, Errors::default())
}

fn render(page: &Page, visit: &Visit, form: &Form, errors: Errors) -> Response {
    let text = |name: &str| form.exact(name).to_owned();
    let status = if errors.is_empty() { 200 } else { 422 };
    let view = New {
        frame: Frame::new(page, Some(visit), "identities"),
        name: text("name"),
        realm: text("realm"),
        comment: text("comment"),
        not_before: text("not_before"),
        expires: text("expires"),
        algorithm: text("algorithm"),
        digits: text("digits"),
        period: text("period"),
        defaults: page.api.config.load().totp.parameters,
        errors,
    };
    html(status, &view)
}

pub(super) async fn create(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Response, Fault> {
    let form = Form::read(&page, request, SMALL).await?;
    let (new, mut errors) = new(&form);
    if !errors.is_empty() {
        // All of them at once.
        let others = new_identity(&page.api.config.load(), new, visit.client.now);
        errors.extend(others.err().into_iter().flat_map(|it| it.errors));
        let errors = errors.with_unused_token(form.text("token"));
        return Ok(render(&page, &visit, &form, errors));
    }
    let path = "/v1/identities";
    if is_reserved(&page, &new.realm) {
        let tried = visit.rehearse(Method::POST, path, Some(&new), None).await;
        if let Some(errors) = confirmed(&page, &visit, &form, tried).await? {
            return Ok(render(&page, &visit, &form, errors));
        }
    }
    let created = visit.change::<Identity>(Method::POST, path, Some(&new), None);
    match created.await {
        Ok(identity) => Ok(Shown::new(&page, &visit, identity, "created").page(201)),
        Err(fault) => {
            let errors = fault.errors()?;
            Ok(render(&page, &visit, &form, errors))
        }
    }
}

/// Reads the fields of the form, as far as they can be read.
fn new(form: &Form) -> (NewIdentity, Errors) {
    let mut errors = Errors::default();
    let mut read = |field| {
        time(form.text(field)).unwrap_or_else(|detail| {
            errors.add(field, detail);
            None
        })
    };
    let (not_before, expires) = (read("not_before"), read("expires"));
    let algorithm = match form.text("algorithm") {
        "" => None,
        name => match name.parse::<Algorithm>() {
            Ok(algorithm) => Some(algorithm),
            Err(_) => {
                errors.add("algorithm", "expected SHA1, SHA256 or SHA512");
                None
            }
        },
    };
    let digits = form.some("digits").map(|it| it.parse());
    if matches!(digits, Some(Err(_))) {
        errors.add("digits", "expected 6 to 8");
    }
    let period = form.some("period").map(|it| it.parse());
    if matches!(period, Some(Err(_))) {
        errors.add("period", "expected 1 to 3600");
    }
    let parameters = NewParameters {
        algorithm,
        digits: digits.and_then(Result::ok),
        period: period.and_then(Result::ok),
    };
    let new = NewIdentity {
        name: form.text("name").to_owned(),
        realm: form.text("realm").to_owned(),
        not_before,
        expires,
        comment: form.some("comment"),
        parameters: Some(parameters),
        seed: form.some("seed"),
    };
    (new, errors)
}
