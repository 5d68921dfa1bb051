//! What would become of a principal, without its token.

use std::time::Duration;

use super::authority::{Authority, standing};
use super::decision::{Denial, Refusal};
use super::identity::Identity;
use super::principal::PrincipalRef;
use super::store::StoreError;
use super::throttle::{Failures, Source, Subject, Throttled};
use super::time::UnixTime;

/// What would become of a principal that presents a token that is right, wherever it may pass.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// Why it would be refused all the same.
    pub refusal: Option<Refusal>,
    /// How long nobody gets a verdict on it, after too many failures.
    pub retry_after: Option<Duration>,
    /// Whether each token is good for one use.
    pub is_once: bool,
}

impl Foresight {
    /// Returns why it would be denied; none if whom it is about proves itself.
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
    /// Returns what counts against an identity at the time `now`.
    pub fn failures(&self, identity: &Identity, now: UnixTime) -> Failures {
        let subject = Subject {
            who: identity.principal.as_ref(),
            is_known: true,
            pardoned: identity.pardoned,
            source: Source::default(),
        };
        self.throttle.failures(subject, now)
    }

    /// Says what would become of a principal at a source. Nothing is counted, and nothing permitted.
    ///
    /// # Errors
    /// [`StoreError`].
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
