//! Why a request failed, and the errors of a form.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::doors::api::change::Unconfirmed;
use crate::doors::v1::{ProblemKind, types};

/// A page that says why a request failed, unless the handler shows it beside a field.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) title: &'static str,
    pub(super) detail: Option<String>,
    pub(super) errors: Vec<types::FieldError>,
    pub(super) retry_after: Option<u64>,
    /// The version of a row that is no identity.
    pub(super) bad_row: Option<String>,
}

impl From<Unconfirmed> for Fault {
    fn from(_: Unconfirmed) -> Self {
        Self::UNAVAILABLE
    }
}

impl Fault {
    pub(super) const NOT_FOUND: Self = Self::new(404, "There is no such page.");
    pub(super) const WRONG_METHOD: Self = Self::new(405, "The page does not have this method.");
    pub(super) const ENDED: Self = Self::new(401, "Your session has ended.");
    pub(super) const UNAVAILABLE: Self =
        Self::new(503, "This is not available at the moment. Try again.");

    pub(super) const fn new(status: u16, title: &'static str) -> Self {
        Self {
            status,
            title,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            bad_row: None,
        }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) const fn retry_after(mut self, secs: u64) -> Self {
        self.retry_after = Some(secs);
        self
    }

    /// Makes the fault of a problem, whose response had this entity tag.
    pub(super) fn of_problem(problem: types::Problem, tag: Option<&str>) -> Self {
        let is_bad_row = problem.kind == ProblemKind::Unreadable.uri();
        let title = match problem.status {
            409 if is_bad_row => "A row of the database is no identity.",
            404 => "It does not exist, or was deleted.",
            409 => "It conflicts with something that exists.",
            412 => "Somebody has changed it in the meantime.",
            503 => "This is not available at the moment. Try again.",
            _ => "That did not work.",
        };
        let detail = problem.detail.unwrap_or(problem.title);
        let mut errors = problem.errors;
        if problem.kind == ProblemKind::Taken.uri() {
            errors.push(types::FieldError {
                field: "name".to_owned(),
                detail: "expected another name: this one is taken in this realm".to_owned(),
            });
        }
        Self {
            errors,
            bad_row: tag.filter(|_| is_bad_row).map(str::to_owned),
            ..Self::new(problem.status, title).detail(detail)
        }
    }

    /// Returns the errors of a form, or passes the fault on if it has another cause.
    ///
    /// # Errors
    /// The fault.
    pub(super) fn errors(self) -> Result<Errors, Self> {
        match self.status {
            409 | 412 | 422 => Ok(self.fields()),
            _ => Err(self),
        }
    }

    /// Returns the errors of the fields.
    pub(super) fn fields(self) -> Errors {
        Errors {
            of_fields: self.errors,
            general: self.detail.unwrap_or_default(),
            has_token: false,
        }
    }
}

/// Makes the page of a throttled source or principal.
pub(super) fn throttled(retry_after: Duration) -> Fault {
    let secs = retry_after.as_secs().max(1);
    Fault::new(429, "Too many failures.")
        .detail(format!("Try again in {secs} s."))
        .retry_after(secs)
}

/// The guard renders the page, because it knows the session.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let mut response = status.unwrap_or_default().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Returns the name of a member without those that it is in.
fn last(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// The errors of a form.
#[derive(Default)]
pub(super) struct Errors {
    of_fields: Vec<types::FieldError>,
    general: String,
    /// Whether the form has a token that was not used, because something else is wrong.
    has_token: bool,
}

impl Errors {
    pub(super) fn one(field: &str, detail: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, detail);
        errors
    }

    pub(super) fn add(&mut self, field: &str, detail: impl Into<String>) {
        self.of_fields.push(types::FieldError {
            field: field.to_owned(),
            detail: detail.into(),
        });
    }

    /// Adds that the token in the form was not used.
    pub(super) fn with_unused_token(mut self, token: &str) -> Self {
        self.has_token = !token.is_empty();
        self
    }

    pub(super) const fn has_token(&self) -> bool {
        self.has_token
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of_fields.is_empty() && self.general.is_empty()
    }

    /// Adds the errors of fields that have none yet.
    pub(super) fn extend(&mut self, errors: impl IntoIterator<Item = types::FieldError>) {
        for error in errors {
            if self.of(last(&error.field)).is_empty() {
                self.of_fields.push(error);
            }
        }
    }

    /// Returns the error of a field; empty if it has none.
    pub(super) fn of(&self, field: &str) -> &str {
        let mut errors = self.of_fields.iter();
        let found = errors.find(|it| last(&it.field) == field);
        found.map_or("", |it| it.detail.as_str())
    }

    /// Returns the error that belongs to no field; empty if there is none.
    pub(super) fn general(&self) -> &str {
        match self.of_fields.is_empty() {
            true => &self.general,
            false => "",
        }
    }
}
