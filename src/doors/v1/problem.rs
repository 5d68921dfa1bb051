//! Problem documents (RFC 9457).

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::tag::etag;
use super::types::{self, FieldError};
use crate::auth::{BadRow, ChangeError, Denial, IdentityId, StoreError};
use crate::doors::api::change::Unconfirmed;
use crate::http::X_REQUEST_ID;
use crate::telemetry::RequestRecord;

/// Defines the kinds of problems with their stable names, statuses and titles.
macro_rules! kinds {
    ($($kind:ident = $name:literal $status:literal $title:literal,)+) => {
        /// The kind of a problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(
                #[doc = $title]
                $kind,
            )+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Returns the type, a stable URI.
            pub const fn uri(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!("urn:realmgate:problem:", $name),)+
                }
            }

            /// Returns the status of the response.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$kind => $status,)+
                }
            }

            /// Describes the kind.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)+
                }
            }
        }
    };
}

kinds! {
    Malformed = "malformed" 400 "The request cannot be parsed.",
    Unauthenticated = "unauthenticated" 401 "The request has no valid credential.",
    NotAllowed = "not-allowed" 403 "The caller may not do this.",
    NotFound = "not-found" 404 "There is no such resource.",
    WrongMethod = "wrong-method" 405 "The resource does not have this method.",
    Slow = "slow" 408 "The body came too slowly.",
    Taken = "name-taken" 409 "Another identity has that name in that realm.",
    SeedStillValid = "seed-still-valid" 409 "The seed before the current one is still valid.",
    Unreadable = "unreadable-row" 409 "The row of the database is no identity.",
    Gone = "gone" 410 "The result of this request no longer exists.",
    Stale = "stale" 412 "The identity has changed since.",
    TooLarge = "too-large" 413 "The body is too large.",
    MediaType = "media-type" 415 "The body has another media type than expected.",
    Invalid = "invalid" 422 "The request has values that are not allowed.",
    KeyReused = "idempotency-key-reused" 422 "The Idempotency-Key belongs to another request.",
    Throttled = "throttled" 429 "Too many failures; the credential was not evaluated.",
    Unavailable = "unavailable" 503 "The store or the audit log is not available.",
    Unconfirmed = "unconfirmed" 503 "The change may have been made.",
    Unlogged = "unlogged" 503 "The change was made, but is not in the audit log yet.",
}

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"realmgate\", charset=\"UTF-8\"");

/// A problem, to be sent.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) detail: Option<String>,
    pub(super) errors: Vec<FieldError>,
    pub(super) retry_after: Option<u64>,
    pub(super) request_id: Option<String>,
    /// The entity tag of a row that is no identity.
    pub(super) tag: Option<String>,
}

impl Problem {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            request_id: None,
            tag: None,
        }
    }

    #[must_use]
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Makes the problem of a single member or parameter.
    pub(super) fn field(kind: Kind, field: &str, detail: impl Into<String>) -> Self {
        Self {
            errors: vec![field_error(field, detail)],
            ..Self::new(kind)
        }
    }

    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Kind::Invalid)
        }
    }

    /// Adds the id under which the log lists the request.
    #[must_use]
    pub(super) fn named(mut self, record: &RequestRecord) -> Self {
        self.request_id = record.request_id().map(str::to_owned);
        self
    }

    /// Returns the document.
    pub(super) fn document(&self) -> types::Problem {
        types::Problem {
            kind: self.kind.uri().to_owned(),
            title: self.kind.title().to_owned(),
            status: self.kind.status(),
            detail: self.detail.clone(),
            errors: self.errors.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// Returns the response.
    pub(super) fn response(&self) -> Response {
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        let status = http::StatusCode::from_u16(self.kind.status());
        *response.status_mut() = status.unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(secs) = self.retry_after {
            headers.insert(RETRY_AFTER, secs.into());
        }
        if let Some(Ok(tag)) = self.tag.as_deref().map(HeaderValue::from_str) {
            headers.insert(ETAG, tag);
        }
        let id = self.request_id.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(id)) = id {
            headers.insert(X_REQUEST_ID, id);
        }
        response
    }
}

pub(super) fn field_error(field: &str, detail: impl Into<String>) -> FieldError {
    FieldError {
        field: field.to_owned(),
        detail: detail.into(),
    }
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

/// The problem of a denied caller.
impl From<&Denial> for Problem {
    fn from(denial: &Denial) -> Self {
        match denial {
            Denial::NoCredential | Denial::Malformed(_) | Denial::InvalidCredential { .. } => {
                Kind::Unauthenticated.into()
            }
            Denial::Throttled { retry_after, .. } => Self {
                retry_after: Some(retry_after.as_secs().max(1)),
                ..Self::new(Kind::Throttled)
            },
            Denial::NotAllowed => Kind::NotAllowed.into(),
            Denial::Unavailable(_) => Kind::Unavailable.into(),
        }
    }
}

impl From<Unconfirmed> for Problem {
    fn from(unconfirmed: Unconfirmed) -> Self {
        let kind = match unconfirmed {
            Unconfirmed::Unloggable => Kind::Unavailable,
            Unconfirmed::Unknown => Kind::Unconfirmed,
            Unconfirmed::Unlogged => Kind::Unlogged,
        };
        Self::new(kind).detail(unconfirmed.detail())
    }
}

/// The problem of a row that is no identity, because somebody has written it with SQL.
impl From<BadRow> for Problem {
    fn from(row: BadRow) -> Self {
        let BadRow {
            id: IdentityId(id),
            version,
            problem,
        } = row;
        let detail = format!(
            "Row {id} of the table identity is no identity: {problem}. Correct it with SQL, or delete it with \
             DELETE /v1/identities/{id}."
        );
        Self {
            tag: Some(etag(IdentityId(id), version)),
            ..Self::new(Kind::Unreadable).detail(detail)
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if let StoreError::Row(row) = error {
            return row.into();
        }
        tracing::error!(%error, door = "rest", "the database operation failed");
        match error {
            StoreError::Unknown => Unconfirmed::Unknown.into(),
            _ => Kind::Unavailable.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Taken => Kind::Taken.into(),
            ChangeError::Stale => Kind::Stale.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn types_are_distinct_uris() {
        let uris: HashSet<_> = Kind::ALL.iter().map(|kind| kind.uri()).collect();
        assert_eq!(uris.len(), Kind::ALL.len());
        for uri in uris {
            assert!(uri.starts_with("urn:realmgate:problem:"), "{uri}");
        }
    }

    #[test]
    fn denials_of_routes_have_the_same_types() {
        for kind in [
            Kind::Unauthenticated,
            Kind::NotAllowed,
            Kind::Throttled,
            Kind::Unavailable,
        ] {
            let status = http::StatusCode::from_u16(kind.status()).unwrap();
            let document = crate::http::problem_of_denial(status);
            let document: serde_json::Value = serde_json::from_str(document).unwrap();
            let expected = serde_json::json!({
                "type": kind.uri(), "title": kind.title(), "status": kind.status(),
            });
            assert_eq!(document, expected);
        }
    }
}
