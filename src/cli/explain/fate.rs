//! The outcome of a request at a door.

use serde_json::{Value, json};

use crate::auth::Denial;
use crate::cli::output::{BAD, GOOD};
use crate::doors::explain::{Rejected, statuses};

/// The outcome of the request at a door.
pub(super) struct Fate {
    /// `None` if the upstream responds.
    pub(super) status: Option<u16>,
    /// The reason of the denial; `None` if the request passes.
    pub(super) reason: Option<&'static str>,
    detail: Option<String>,
    /// The status and reason of the denial if the route enforced its policy; `None` if it does, or
    /// if the request would pass all the same.
    observed: Option<(u16, &'static str)>,
}

impl Fate {
    pub(super) const fn permit(status: Option<u16>) -> Self {
        Self {
            status,
            reason: None,
            detail: None,
            observed: None,
        }
    }

    pub(super) const fn denial(denial: &Denial, status: u16) -> Self {
        Self {
            status: Some(status),
            reason: Some(denial.reason()),
            detail: None,
            observed: None,
        }
    }

    /// The request passes with `status`, because the route only observes.
    pub(super) const fn observed(status: Option<u16>, denial: &Denial, otherwise: u16) -> Self {
        Self {
            status,
            reason: None,
            detail: None,
            observed: Some((otherwise, denial.reason())),
        }
    }

    pub(super) fn rejected(rejected: &Rejected, status: u16) -> Self {
        Self {
            status: Some(status),
            reason: Some(rejected.reason),
            detail: Some(rejected.to_string()),
            observed: None,
        }
    }

    /// The outcome of a sub-request under an enforced policy.
    pub(super) fn sub_request(denial: Option<&Denial>) -> Self {
        denial.map_or_else(
            || Self::permit(Some(200)),
            |denial| Self::denial(denial, statuses(denial).1),
        )
    }

    /// Describes the outcome. `passed` describes that of a request that passes.
    pub(super) fn text(&self, passed: &str) -> String {
        let Some(reason) = self.reason else {
            return match self.observed {
                None => format!("{GOOD}{passed}{GOOD:#}"),
                Some((status, reason)) => format!(
                    "{BAD}{passed}, not enforced{BAD:#}: mode = \"enforce\" would give {status} {reason}"
                ),
            };
        };
        let status = self.status.unwrap_or_default();
        match &self.detail {
            Some(detail) => format!("{BAD}{status} {reason}{BAD:#}: {detail}"),
            None => format!("{BAD}{status} {reason}{BAD:#}"),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "passes": self.reason.is_none(), "status": self.status, "reason": self.reason,
            "detail": self.detail, "observed": self.observed.map(|(_, reason)| reason),
        })
    }
}
