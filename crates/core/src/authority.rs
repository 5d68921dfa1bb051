//! The authority: authentication by an [`Authenticator`], and the policy above it.

use std::sync::Arc;

use async_trait::async_trait;

use super::credential::{Credential, Presented};
use super::decision::{Attempt, Authenticated, Decision, Denial, Permit};
use super::policy::Policy;
use super::principal::PrincipalRef;
use super::realm::{Capability, Realms};
use super::session::{SessionKind, SessionSecret};
use super::store::StoreError;
use super::throttle::{Scope, Source};
use super::time::UnixTime;

/// Authenticates principals: checks that a credential belongs to the principal it names.
///
/// An authenticator knows no policy, and an [`Authenticated`] is not a permit: only
/// [`Authority::decide`] makes one.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Authenticates from memory, without waiting or allocating. Returns `None`, with nothing
    /// counted, if memory does not suffice.
    fn authenticate_now(
        &self,
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Option<Result<Authenticated, Denial>>;

    /// Authenticates a credential for which [`Authenticator::authenticate_now`] has returned
    /// `None`.
    ///
    /// # Errors
    /// The denial. An authenticator that cannot decide returns [`Denial::Unavailable`].
    async fn authenticate(
        &self,
        credential: &Credential<'_>,
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Authenticated, Denial>;

    /// Authenticates by the secret of a session, or uses up a login link. Returns `None` if there is
    /// none, or if it has ended.
    ///
    /// # Errors
    /// The denial.
    async fn resume(
        &self,
        _session: (&SessionSecret, SessionKind),
        _source: Source<'_>,
        _now: UnixTime,
    ) -> Result<Option<Authenticated>, Denial> {
        Ok(None)
    }

    /// Checks that an authenticated principal could still authenticate as it did, whatever the time
    /// of its token: its identity has the seed, may authenticate and has the same name. Counts
    /// nothing.
    ///
    /// # Errors
    /// The denial.
    async fn confirm(&self, proven: &Authenticated, now: UnixTime) -> Result<(), Denial>;

    /// Returns how many steps a wrong token is off, negative for late, if the authenticator has the
    /// seed and the token is right at another step. For the log only.
    fn clock_offset(&self, credential: &Credential<'_>, now: UnixTime) -> Option<i64>;

    /// Returns the number of delayed principals and sources, by scope.
    fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5];

    /// Returns once the authenticator is known to be able to decide on principals that are not in
    /// memory.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Decides on attempts of all listeners. Only the authority makes a [`Permit`].
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

    /// Decides whether an attempt passes under a policy at time `now`.
    ///
    /// Never permits on failure: an authenticator that cannot decide yields
    /// [`Denial::Unavailable`]. Neither waits nor allocates if memory suffices.
    pub async fn decide(&self, attempt: &Attempt<'_>, policy: &Policy, now: UnixTime) -> Decision {
        let proof = self.authenticate(attempt, now);
        match in_order(policy, &self.realms, attempt.principal(), proof).await {
            Ok(Some(authenticated)) => Decision::Permit(Permit::proven(authenticated)),
            Ok(None) => Decision::Permit(Permit::anonymous()),
            Err(Denied { denial, .. }) => Decision::Denial(denial),
        }
    }

    /// Runs the same checks for a policy that is observed and not enforced: returns a permit in any
    /// case, and the denial if [`Authority::decide`] would deny.
    ///
    /// The permit names the principal if it is authenticated, even if the policy does not admit it.
    /// Otherwise the permit is anonymous, whatever the credential claims.
    pub async fn observe(
        &self,
        attempt: &Attempt<'_>,
        policy: &Policy,
        now: UnixTime,
    ) -> (Permit, Option<Denial>) {
        let proof = self.authenticate(attempt, now);
        let (proven, denial) =
            match in_order(policy, &self.realms, attempt.principal(), proof).await {
                Ok(proven) => (proven, None),
                Err(Denied { denial, proven }) => (proven, Some(denial)),
            };
        (
            proven.map_or_else(Permit::anonymous, Permit::proven),
            denial,
        )
    }

    /// Decides on a request that has the secret of a session, or of a login link, which this uses
    /// up. Returns `None` if there is none, or if it has ended.
    ///
    /// # Errors
    /// The denial.
    pub async fn resume(
        &self,
        session: (&SessionSecret, SessionKind),
        source: Source<'_>,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<Option<Permit>, Denial> {
        let resumed = self.authenticator.resume(session, source, now).await?;
        let permit = resumed.map(Permit::proven);
        let principal = permit.as_ref().and_then(Permit::principal);
        match principal {
            None => Ok(None),
            Some(principal) if policy.admits(principal, &self.realms) => Ok(permit),
            Some(_) => Err(Denial::NotAllowed),
        }
    }

    /// Checks that a permit under a policy still holds. A caller must do so before it acts on a permit
    /// that it has had for more than a moment, for example while it read a body: the identity may
    /// have been disabled, renamed, deleted or rotated meanwhile.
    ///
    /// # Errors
    /// The denial.
    pub async fn confirm(
        &self,
        permit: &Permit,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<(), Denial> {
        let confirmed = async {
            let proven = permit.authenticated().ok_or(Denial::NoCredential)?;
            self.authenticator.confirm(proven, now).await
        };
        let confirmed = in_order(policy, &self.realms, permit.principal(), confirmed).await;
        confirmed.map(drop).map_err(|denied| denied.denial)
    }

    /// Returns whether the realm of a permit's principal has a capability.
    pub fn is_capable(&self, permit: &Permit, capability: Capability) -> bool {
        let principal = permit.principal();
        principal.is_some_and(|it| self.realms.grant(it.realm(), capability))
    }

    /// Returns how many steps the token of a rejected attempt is off, negative for late. For the
    /// log only.
    pub fn clock_offset(
        &self,
        attempt: &Attempt<'_>,
        denial: &Denial,
        now: UnixTime,
    ) -> Option<i64> {
        match (denial, &attempt.presented) {
            (Denial::InvalidCredential { .. }, Presented::Credential(credential)) => {
                self.authenticator.clock_offset(credential, now)
            }
            _ => None,
        }
    }

    /// Returns the number of delayed principals and sources, by scope.
    pub fn delayed(&self, now: UnixTime) -> [(Scope, usize); 5] {
        self.authenticator.delayed(now)
    }

    /// Returns once the authority is known to be able to decide on principals that are not in
    /// memory.
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

/// Runs the checks of a decision in order: whether the policy requires authentication, the
/// authentication, the rules of the policy. The rules come last, so that only an authenticated
/// principal learns whether it is allowed. Returns `None` if no authentication is required; `proof`
/// is then not polled. A denial after the authentication comes with its result.
///
/// [`Authority::decide`] passes an authentication as `proof`,
/// [`Foresight::denial`](super::Foresight::denial) a prediction.
pub(super) async fn in_order<P>(
    policy: &Policy,
    realms: &Realms,
    principal: Option<PrincipalRef<'_>>,
    proof: impl Future<Output = Result<P, Denial>>,
) -> Result<Option<P>, Denied<P>> {
    if *policy == Policy::Anyone {
        return Ok(None);
    }
    let proven = proof.await.map_err(|denial| Denied {
        denial,
        proven: None,
    })?;
    match principal {
        Some(principal) if policy.admits(principal, realms) => Ok(Some(proven)),
        _ => Err(Denied {
            denial: Denial::NotAllowed,
            proven: Some(proven),
        }),
    }
}

/// A denial, with the authenticated principal if the policy does not admit it.
pub(super) struct Denied<P> {
    pub(super) denial: Denial,
    pub(super) proven: Option<P>,
}

#[cfg(test)]
mod tests;
