//! A list that was sent after its session had ended.

use axum::body::Body;
use axum::extract::Request;
use http::Method;
use http::request::Parts;

use super::form::{Form, LARGE};
use super::state::Page;

/// The path of the form with a list of identities to create.
const BULK: &str = "/identities/bulk";

/// A list of identities to create that was not taken, because the session had ended. The login form
/// keeps it in hidden fields, and after the login it is in its own form again. Never has a token.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) realm: String,
    pub(super) list: String,
}

impl Unsent {
    /// Reads the list of a request without a session; an empty one if it has none, or one that is too
    /// large.
    pub(super) async fn of(page: &Page, parts: &Parts, body: Body) -> Self {
        if parts.method != Method::POST || parts.uri.path() != BULK {
            return Self::default();
        }
        let request = Request::from_parts(parts.clone(), body);
        let form = Form::read(page, request, LARGE).await.unwrap_or_default();
        Self {
            realm: form.text("realm").to_owned(),
            list: form.exact("list").to_owned(),
        }
    }

    /// Reads the hidden fields of a login form.
    pub(super) fn kept(form: &Form) -> Self {
        Self {
            realm: form.exact("unsent_realm").to_owned(),
            list: form.exact("unsent_list").to_owned(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.trim().is_empty()
    }
}
