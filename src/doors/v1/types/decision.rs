//! Decisions, and what changes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::doors::v1::time::Timestamp;

/// A credential to be decided about.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    pub name: String,
    pub realm: String,
    pub token: String,
    /// The address of the client that presented it, at which failures count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 45)]
    pub source: Option<std::net::IpAddr>,
}

/// A decision about a credential.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    pub decision: Decision,
    /// The principal of a permit.
    pub name: Option<String>,
    pub realm: Option<String>,
    /// How it was proved: `token`.
    pub proof: Option<String>,
    /// How long the permit holds, exclusive; null if the credential is accepted only once.
    pub until: Option<Timestamp>,
    /// The kind of a denial.
    pub denial: Option<DenialKind>,
    /// The rest of a throttling delay in seconds.
    pub retry_after: Option<u64>,
}

/// The outcome of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Permit,
    Deny,
}

/// The kind of a denial. The reason is only in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DenialKind {
    /// The credential is malformed.
    Malformed,
    /// It is wrong, or its principal may not authenticate.
    Refused,
    /// There were too many failures: it was not evaluated.
    Throttled,
}

/// The changes after a position.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Feed {
    /// The principals that changed, oldest first.
    pub changed: Vec<PrincipalName>,
    /// Whether more may have changed than listed, so that everything known must be dropped.
    pub reset: bool,
    /// The position to go on from, as `after`.
    pub next: i64,
}

/// A principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalName {
    pub name: String,
    pub realm: String,
}
