//! The outcome of checking a credential against a record.

use std::sync::Arc;

use super::decision::{Denial, DenialCause};
use super::identity::Identity;
use super::matching::Match;
use super::record::Record;
use super::throttle::{Claim, Throttled, Verdict};

/// A right token.
pub(super) struct Found {
    pub(super) matched: Match,
    /// Whether [`super::throttle::Throttle::trust`] must record the success.
    pub(super) is_news: bool,
}

/// Why a token does not pass.
pub(super) enum NotFound {
    Denied(Denial),
    /// The attempt may be evaluated with this claim.
    Unclaimed(Claim),
}

impl From<Denial> for NotFound {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// A credential that passed all checks except that for one-time use.
pub(super) struct Passed {
    pub(super) identity: Arc<Identity>,
    pub(super) found: Found,
}

impl Passed {
    /// Combines a record and the token that is right for it.
    pub(super) fn of(record: Record, found: Found) -> Result<Self, Denial> {
        let identity = record.identity.ok_or(invalid(DenialCause::Unknown))?;
        Ok(Self { identity, found })
    }
}

/// Applies the checks of a credential in order: a delay comes before all others and withholds their
/// outcome; then the identity, then the token. Predictions call it too.
pub(super) fn in_order<T>(verdict: Verdict, checked: Result<T, DenialCause>) -> Result<T, Denial> {
    let delay = match verdict {
        Verdict::Delayed { left, whom } => {
            return Err(Denial::Throttled {
                retry_after: left,
                whom,
            });
        }
        Verdict::Counted { delay, .. } => delay,
        Verdict::Pass { .. } => None,
        Verdict::Unclaimed(claim) => {
            return Err(Denial::Throttled {
                retry_after: claim.lasts,
                whom: Throttled::Principal,
            });
        }
    };
    checked.map_err(|cause| Denial::InvalidCredential { cause, delay })
}

pub(super) fn invalid(cause: DenialCause) -> Denial {
    Denial::InvalidCredential { cause, delay: None }
}
