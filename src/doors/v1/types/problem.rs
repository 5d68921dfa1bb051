//! Problems.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable identifier of the kind of problem, listed in docs/admin-api.md.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The members and parameters that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<FieldError>,
    /// The id of the request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// Describes the problem on one line.
    pub fn text(&self) -> String {
        let mut text = self.detail.clone().unwrap_or_else(|| self.title.clone());
        for error in &self.errors {
            text.push_str(&format!(" {}: {}.", error.field, error.detail));
        }
        text
    }
}

/// What is wrong with a member or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}
