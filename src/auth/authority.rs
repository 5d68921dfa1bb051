use std::sync::Arc;

use super::credential::{Credential, Presented};
use super::decision::{Attempt, Decision, Denial, Permit, Refusal};
use super::policy::Policy;
use super::realm::Realms;
use super::seed::Seed;
use super::store::{Identity, Recall, State, Store};
use super::time::UnixTime;
use super::totp::{Parameters, Totp};

/// What the authority is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The reserved realms.
    pub realms: Realms,
    /// How many steps are accepted on each side of the current one.
    pub window: u8,
    /// The parameters of most identities: unknown principals cost as much work as they do.
    pub parameters: Parameters,
}

/// The one mind behind every door: the only maker of a [`Permit`].
pub struct Authority {
    store: Arc<dyn Store>,
    settings: Settings,
    decoy: Totp,
}

impl Authority {
    /// Makes an authority over a store. The decoy, a random seed, is checked for unknown principals.
    pub fn new(store: Arc<dyn Store>, settings: Settings, decoy: &Seed) -> Self {
        let decoy = Totp::new(decoy, settings.parameters);
        Self {
            store,
            settings,
            decoy,
        }
    }

    /// Returns the store, for what a permit allows.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Decides whether an attempt passes under a policy at the time `now`.
    ///
    /// Never permits on failure: a store that cannot say is [`Denial::Unavailable`]. With the
    /// identity in the cache it neither waits nor allocates.
    pub async fn decide(&self, attempt: &Attempt<'_>, policy: &Policy, now: UnixTime) -> Decision {
        if *policy == Policy::Anyone {
            return Decision::Permit(Permit::anonymous());
        }
        let credential = match &attempt.presented {
            Presented::Absent => return Decision::Denial(Denial::NoCredential),
            Presented::Malformed(flaw) => return Decision::Denial(Denial::Malformed(*flaw)),
            Presented::Credential(credential) => credential,
        };
        let identity = match self.store.recall(credential.principal()) {
            Recall::Known(identity) => Some(identity),
            Recall::Unknown => None,
            Recall::Nothing => match self.store.identity(credential.principal()).await {
                Ok(identity) => identity,
                Err(error) => return Decision::Denial(Denial::Unavailable(error)),
            },
        };
        match self.prove(identity, credential, now) {
            Err(refusal) => Decision::Denial(Denial::Refused(refusal)),
            Ok(_) if !policy.admits(credential.principal(), &self.settings.realms) => {
                Decision::Denial(Denial::NotAllowed)
            }
            Ok(permit) => Decision::Permit(permit),
        }
    }

    /// Checks the token. Every way to a refusal computes every step of the window once, with the decoy
    /// where there is no seed or it may not count, so that the time it takes does not say which it was.
    fn prove(
        &self,
        identity: Option<Arc<Identity>>,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Result<Permit, Refusal> {
        let checkable = match &identity {
            None => Err(Refusal::Unknown),
            Some(identity) => match &identity.totp {
                None => Err(Refusal::BrokenSeed),
                Some(_) if identity.state == State::Disabled => Err(Refusal::Disabled),
                Some(totp) => Ok(totp),
            },
        };
        let token = credential.token().expose();
        let window = self.settings.window;
        let step = match checkable {
            Ok(totp) => totp.check(token, now, window).ok_or(Refusal::WrongToken)?,
            Err(refusal) => {
                std::hint::black_box(self.decoy.check(token, now, window));
                return Err(refusal);
            }
        };
        let identity = identity.ok_or(Refusal::Unknown)?;
        Ok(Permit::proven(identity, step))
    }
}

#[cfg(test)]
mod tests;
