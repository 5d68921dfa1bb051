//! Predicts a decision about a principal without its token, for `realmgate explain`.

use std::time::Duration;

use super::authority::{Authority, standing};
use super::decision::{Denial, Refusal};
use super::identity::Identity;
use super::principal::PrincipalRef;
use super::store::StoreError;
use super::throttle::{Failures, Source, Subject, Throttled};
use super::time::UnixTime;

/// The predicted outcome for a principal that presents a correct token.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// Why the principal is rejected even with a correct token; `None` if it is not.
    pub refusal: Option<Refusal>,
    /// The remaining throttling delay after too many failures, during which no token is evaluated.
    pub retry_after: Option<Duration>,
    /// Whether each token is accepted only once.
    pub is_once: bool,
}

impl Foresight {
    /// Returns the predicted denial, or `None` if a correct token authenticates the principal.
    pub fn denial(&self) -> Option<Denial> {
        match (self.retry_after, self.refusal) {
            (Some(retry_after), _) => Some(Denial::Throttled {
                retry_after,
                whom: Throttled::Principal,
            }),
            (None, Some(refusal)) => Some(Denial::Refused {
                refusal,
                delay: None,
            }),
            (None, None) => None,
        }
    }
}

impl Authority {
    /// Returns the failures that count against an identity at `now`.
    pub fn failures(&self, identity: &Identity, now: UnixTime) -> Failures {
        let subject = Subject {
            who: identity.principal.as_ref(),
            is_known: true,
            pardoned: identity.pardoned,
            source: Source::default(),
        };
        self.throttle.failures(subject, now)
    }

    /// Predicts the outcome for a principal and a source. Counts no failure and makes no permit.
    ///
    /// # Errors
    /// [`StoreError`] if the identity cannot be read.
    pub async fn foresee(
        &self,
        who: PrincipalRef<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Foresight, StoreError> {
        let record = self.find(who).await?;
        let subject = record.subject(who, source);
        Ok(Foresight {
            refusal: standing(&record, now).err(),
            retry_after: self.throttle.waits(subject, now),
            is_once: self.is_once(who.realm()),
        })
    }
}
