//! Predicts a decision about a principal without its token, for `realmgate explain`.

use std::time::Duration;

use super::authority;
use super::checked::in_order;
use super::decision::{Denial, DenialCause};
use super::id::IdentityId;
use super::identity::Identity;
use super::local::LocalAuthenticator;
use super::policy::Policy;
use super::principal::{Principal, PrincipalRef};
use super::realm::Realms;
use super::record::unthrottled_at;
use super::store::StoreError;
use super::throttle::{Claimed, Failures, Source, Subject, Verdict};
use super::time::UnixTime;

/// The predicted outcome for a principal that presents a correct token.
#[derive(Clone, Debug)]
pub struct Foresight<'a> {
    /// The principal; `None` if the request has no credential.
    pub principal: Option<PrincipalRef<'a>>,
    /// Why the principal is rejected even with a correct token; `None` if it is not.
    pub cause: Option<DenialCause>,
    /// The remaining throttling delay, during which no token is evaluated.
    pub retry_after: Option<Duration>,
    /// Whether each token is accepted only once.
    pub is_one_time: bool,
    /// The outcome of authentication.
    proof: Result<(), Denial>,
}

impl<'a> Foresight<'a> {
    /// Predicts for a principal that is assumed to exist and to present a valid token.
    pub const fn valid(who: PrincipalRef<'a>) -> Self {
        Self {
            principal: Some(who),
            cause: None,
            retry_after: None,
            is_one_time: false,
            proof: Ok(()),
        }
    }
}

impl Foresight<'_> {
    /// Predicts for a request without a credential.
    pub const fn no_credential() -> Self {
        Self {
            principal: None,
            cause: None,
            retry_after: None,
            is_one_time: false,
            proof: Err(Denial::NoCredential),
        }
    }

    /// Returns the denial under a policy, or `None` for a permit. The checks run in the order in which
    /// [`Authority::decide`](super::Authority::decide) runs them.
    pub async fn denial(&self, policy: &Policy, realms: &Realms) -> Option<Denial> {
        let proof = std::future::ready(self.proof.clone());
        let decided = authority::in_order(policy, realms, self.principal, proof);
        decided.await.err().map(|denied| denied.denial)
    }
}

impl LocalAuthenticator {
    /// Returns the failures that count against an identity at `now`.
    pub fn failures(&self, identity: &Identity, now: UnixTime) -> Failures {
        let time = self.counters.failure_time(now);
        let subject = Subject {
            who: identity.principal.as_ref(),
            is_known: true,
            is_broken: false,
            unthrottled: unthrottled_at(identity.unthrottled(), (now, time)),
            source: Source::default(),
        };
        // Failures are cleared up to the next second, to include those of this one.
        let is_cleared = subject.unthrottled.as_secs() == time.as_secs() + 1;
        let time = if is_cleared {
            subject.unthrottled
        } else {
            time
        };
        self.throttle.failures(subject, time)
    }

    /// Records that an attempt was delayed. An unknown name costs the same, and is not kept: strangers
    /// may invent any.
    pub(super) fn record_delay(&self, identity: Option<&Identity>) {
        match identity {
            Some(identity) => self
                .throttled
                .add(&identity.id, || identity.principal.clone()),
            None => {
                std::hint::black_box(self.throttled.contains(&IdentityId(i64::MIN)));
            }
        }
    }

    /// Returns the identities that may be throttled, of those whose attempts this process has
    /// evaluated lately. [`Self::failures`] says whether one still is.
    pub fn throttled_lately(&self) -> Vec<Principal> {
        self.throttled.values()
    }

    /// Predicts the outcome for a principal and a source. Counts no failure and makes no permit.
    ///
    /// # Errors
    /// [`StoreError`] if the identity cannot be read.
    pub async fn foresee<'a>(
        &self,
        who: PrincipalRef<'a>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Foresight<'a>, StoreError> {
        let record = self.find(who).await?;
        let standing = record.standing(now);
        let time = self.counters.failure_time(now);
        let subject = record.subject(who, source, (now, time));
        // A correct token is not counted.
        let verdict = self.throttle.settle(subject, true, Claimed::Yes, time);
        Ok(Foresight {
            principal: Some(who),
            cause: standing.err(),
            retry_after: match verdict {
                Verdict::Delayed { left, .. } => Some(left),
                Verdict::Pass { .. } | Verdict::Counted { .. } | Verdict::Unclaimed(_) => None,
            },
            is_one_time: self.is_one_time(who.realm()),
            proof: in_order(verdict, standing),
        })
    }
}
