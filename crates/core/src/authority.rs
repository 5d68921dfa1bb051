//! The authority: authentication by an [`Authenticator`], and the policy above it.

use std::sync::Arc;

use async_trait::async_trait;

use super::credential::{Credential, Presented};
use super::decision::{Attempt, Authenticated, Decision, Denial, Permit};
use super::policy::Policy;
use super::principal::PrincipalRef;
use super::realm::{Capability, Realms};
use super::store::StoreError;
use super::throttle::{Scope, Source};
use super::time::UnixTime;

/// Authenticates principals: says whether a credential is theirs.
///
/// An authenticator knows no policy, and an [`Authenticated`] is no permit: only [`Authority::decide`] makes one.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Authenticates from memory, without waiting and without an allocation. Returns none, and has counted
    /// nothing, if memory does not suffice.
    fn authenticate_now(
        &self,
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Option<Result<Authenticated, Denial>>;

    /// Authenticates where [`Authenticator::authenticate_now`] has returned none.
    ///
    /// # Errors
    /// The denial. An authenticator that cannot decide returns [`Denial::Unavailable`].
    async fn authenticate(
        &self,
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Authenticated, Denial>;

    /// Returns by how many steps a wrong token is off, less than 0 for late, if the authenticator has the seed
    /// and the token is right at another step. For the log only.
    fn clock_offset(&self, credential: &Credential<'_>, now: UnixTime) -> Option<i64>;

    /// Returns how many principals and sources are delayed, by scope.
    fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5];

    /// Resolves if the authenticator can decide about principals that are not in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Decides about attempts at every door. Only the authority makes a [`Permit`].
pub struct Authority {
    authenticator: Arc<dyn Authenticator>,
    realms: Realms,
}

impl Authority {
    /// Makes an authority that authenticates with `authenticator`.
    pub fn new(authenticator: Arc<dyn Authenticator>, realms: Realms) -> Self {
        Self {
            authenticator,
            realms,
        }
    }

    /// Decides whether an attempt passes under a policy at the time `now`.
    ///
    /// Never permits on failure: an authenticator that cannot decide is [`Denial::Unavailable`]. If memory
    /// suffices to decide, this neither waits nor allocates.
    pub async fn decide(&self, attempt: &Attempt<'_>, policy: &Policy, now: UnixTime) -> Decision {
        let proof = self.authenticate(attempt, now);
        match in_order(policy, &self.realms, attempt.principal(), proof).await {
            Ok(Some(authenticated)) => Decision::Permit(Permit::proven(authenticated)),
            Ok(None) => Decision::Permit(Permit::anonymous()),
            Err(denial) => Decision::Denial(denial),
        }
    }

    /// Returns whether the realm of a permit's principal has a capability.
    pub fn is_capable(&self, permit: &Permit, capability: Capability) -> bool {
        let principal = permit.principal();
        principal.is_some_and(|it| self.realms.grant(it.realm(), capability))
    }

    /// Returns by how many steps the token of a refused attempt is off, less than 0 for late. For the log only.
    pub fn clock_offset(
        &self,
        attempt: &Attempt<'_>,
        denial: &Denial,
        now: UnixTime,
    ) -> Option<i64> {
        match (denial, &attempt.presented) {
            (Denial::Refused { .. }, Presented::Credential(credential)) => {
                self.authenticator.clock_offset(credential, now)
            }
            _ => None,
        }
    }

    /// Returns how many principals and sources are delayed, by scope.
    pub fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5] {
        self.authenticator.delayed(now)
    }

    /// Resolves if the authority can decide about principals that are not in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.authenticator.ping().await
    }

    async fn authenticate(
        &self,
        attempt: &Attempt<'_>,
        now: UnixTime,
    ) -> Result<Authenticated, Denial> {
        let credential = match &attempt.presented {
            Presented::Absent => return Err(Denial::NoCredential),
            Presented::Malformed(flaw) => return Err(Denial::Malformed(*flaw)),
            Presented::Credential(credential) => credential,
        };
        let source = attempt.source;
        let authenticator = &*self.authenticator;
        match authenticator.authenticate_now(credential, source, now) {
            Some(outcome) => outcome,
            None => authenticator.authenticate(credential, source, now).await,
        }
    }
}

/// Runs the checks of a decision in their order: whether the policy asks for a proof at all, the proof, the
/// rules of the policy. The rules come last, so that only a principal that has proved itself learns whether it is
/// allowed. Returns none if no proof is asked for; then `proof` is not polled.
///
/// [`Authority::decide`] runs it with an authentication as its `proof`, [`Foresight::denial`](super::Foresight::denial)
/// with a prediction.
pub(super) async fn in_order<P>(
    policy: &Policy,
    realms: &Realms,
    principal: Option<PrincipalRef<'_>>,
    proof: impl Future<Output = Result<P, Denial>>,
) -> Result<Option<P>, Denial> {
    if *policy == Policy::Anyone {
        return Ok(None);
    }
    let proven = proof.await?;
    match principal {
        Some(principal) if policy.admits(principal, realms) => Ok(Some(proven)),
        _ => Err(Denial::NotAllowed),
    }
}

#[cfg(test)]
mod tests;
